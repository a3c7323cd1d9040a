//! What the rules about claims share: which claims matter, where their volumes come from, and one finding for claims
//! that fail for one reason.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::prelude::*;

/// A claim that wanted replicas use, or will use.
pub(super) struct Used<'a> {
    /// The claim.
    pub claim: &'a PersistentVolumeClaim,
    /// The lowest replica it is for.
    pub ordinal: i32,
    /// The name the pod of that replica has or will have.
    pub replica: String,
    /// The pods of wanted replicas that mount it.
    pub pods: Vec<&'a Pod>,
}

impl Used<'_> {
    pub fn name(&self) -> &str {
        &self.claim.metadata.name
    }
}

/// The claims of wanted replicas that are `wanted`, lowest replica first: those made from the set's own templates, and
/// those its pods mount besides.
pub(super) fn used<'a>(
    snapshot: &Snapshot<'a>,
    wanted: impl Fn(&PersistentVolumeClaim) -> bool,
) -> Result<Vec<Used<'a>>, Unseen> {
    let wanted: BTreeMap<&str, &'a PersistentVolumeClaim> = (snapshot.claims()?.iter().copied())
        .filter(|claim| wanted(claim))
        .map(|claim| (claim.metadata.name.as_str(), claim))
        .collect();
    let mut all: Vec<Used<'a>> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    if wanted.is_empty() {
        return Ok(all);
    }
    for replica in snapshot.replicas()? {
        let mut names: Vec<String> = replica.slots.iter().map(|slot| slot.name.clone()).collect();
        for mounted in replica.pod.into_iter().flat_map(Pod::claim_names) {
            if !names.contains(&mounted) {
                names.push(mounted);
            }
        }
        for claim in names.iter().filter_map(|name| wanted.get(name.as_str()).copied()) {
            let pod = replica.pod.filter(|pod| pod.claim_names().any(|name| name == claim.metadata.name));
            let at = *known.entry(&claim.metadata.name).or_insert(all.len());
            match all.get_mut(at) {
                Some(used) => used.pods.extend(pod),
                None => all.push(Used {
                    claim,
                    ordinal: replica.ordinal,
                    replica: replica.name.clone(),
                    pods: pod.into_iter().collect(),
                }),
            }
        }
    }
    Ok(all)
}

/// The claims of wanted replicas that have no volume yet and are not about to go.
pub(super) fn pending<'a>(snapshot: &Snapshot<'a>) -> Result<Vec<Used<'a>>, Unseen> {
    used(snapshot, |claim| claim.status.phase == "Pending" && !claim.metadata.is_terminating())
}

/// Where the volume of a claim comes from.
pub(super) enum Source<'a> {
    /// The volume it names.
    Named,
    /// One that somebody makes by hand, of the class it names, or of none.
    ByHand,
    /// Its class, on demand.
    Class(&'a StorageClass),
    /// Nowhere: its class does not exist (any more), and nobody makes volumes of that name by hand either.
    MissingClass(&'a str),
    /// Nowhere, unless by hand: it names no class, and no class is the default one.
    NoDefault,
}

/// Where the volume of this claim comes from.
pub(super) fn source<'a>(
    snapshot: &Snapshot<'a>,
    claim: &'a PersistentVolumeClaim,
) -> Result<Source<'a>, Unseen> {
    if !claim.spec.volume_name.is_empty() {
        return Ok(Source::Named);
    }
    let Some(name) = claim.class() else {
        return Ok(snapshot.class_of(claim)?.map_or(Source::NoDefault, Source::Class));
    };
    if name.is_empty() {
        return Ok(Source::ByHand);
    }
    Ok(match snapshot.class_of(claim)? {
        Some(class) if class.provisions() => Source::Class(class),
        Some(_) => Source::ByHand,
        None if is_served(snapshot, claim)? => Source::ByHand,
        None if provisioner(snapshot, name)?.is_some() => Source::MissingClass(name),
        None if of_class(snapshot, name)?.next().is_some() => Source::ByHand,
        None => Source::MissingClass(name),
    })
}

/// The volumes of a class.
pub(super) fn of_class<'a>(
    snapshot: &Snapshot<'a>,
    class: &str,
) -> Result<impl Iterator<Item = &'a PersistentVolume>, Unseen> {
    Ok(snapshot.volumes()?.iter().filter(move |volume| volume.spec.storage_class_name == class))
}

/// Finds disks and makes volumes of them; no class has to be there for that (sig-storage-local-static-provisioner).
const LOCAL: &str = "local-volume-provisioner-";

/// Who has made volumes of the class on demand, as its volumes and claims say: then there was a `StorageClass` of that
/// name, whether it still exists or not.
pub(super) fn provisioner<'a>(snapshot: &Snapshot<'a>, class: &str) -> Result<Option<&'a str>, Unseen> {
    let of_volumes = of_class(snapshot, class)?
        .filter_map(|it| it.metadata.annotations.get("pv.kubernetes.io/provisioned-by"));
    if let Some(name) = of_volumes.map(String::as_str).find(|name| !name.starts_with(LOCAL)) {
        return Ok(Some(name));
    }
    let claims = snapshot.claims()?.iter().filter(|claim| claim.class() == Some(class));
    Ok(claims
        .flat_map(|claim| PROVISIONER.iter().filter_map(|key| claim.metadata.annotations.get(*key)))
        .map(String::as_str)
        .next())
}

/// Whether a volume is there that the claim will be bound to.
pub(super) fn is_served(snapshot: &Snapshot<'_>, claim: &PersistentVolumeClaim) -> Result<bool, Unseen> {
    Ok(snapshot.volumes()?.iter().any(|volume| volume.fits(claim)))
}

/// Whether the scheduler has chosen a node for the volume. Only then is a class that waits for it asked for one.
pub(super) fn is_node_chosen(claim: &PersistentVolumeClaim) -> bool {
    claim.metadata.annotations.contains_key("volume.kubernetes.io/selected-node")
}

/// Whether the provisioner of the class has been asked: the volume controller says so on the PVC
/// (`persistentvolume/pv_controller.go:setClaimProvisioner`), and a provisioner looks at no other.
pub(super) fn is_provisioner_asked(claim: &PersistentVolumeClaim) -> bool {
    PROVISIONER.iter().any(|key| claim.metadata.annotations.contains_key(*key))
}

/// Where the volume controller writes which provisioner it has asked.
const PROVISIONER: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];

/// Whether a node has been chosen for a pod of the claim. The scheduler gives the pod its node only once the volume is
/// made, and says so on the claim before that.
pub(super) fn has_node(used: &Used<'_>) -> bool {
    is_node_chosen(used.claim) || used.pods.iter().any(|pod| !pod.spec.node_name.is_empty())
}

/// A claim that fails, and why.
pub(super) struct Case<'a> {
    pub used: Used<'a>,
    pub because: String,
    pub remedy: Vec<Command>,
}

/// Holds a claim as long as a pod on a node uses it.
pub(super) const PROTECTION: &str = "kubernetes.io/pvc-protection";

/// A claim of an earlier time, where that is the cause: it was never bound, and its template would give the replica one
/// of another class, which exists. `because` tells of it, and the remedy makes the claim again; no data is in it.
pub(super) fn outdated(
    snapshot: &Snapshot<'_>,
    used: &Used<'_>,
) -> Result<Option<(String, Vec<Command>)>, Unseen> {
    let (set, claim) = (snapshot.set, used.claim);
    let replica = snapshot.replica(used.ordinal)?;
    let slot = replica.and_then(|replica| replica.slots.iter().find(|slot| slot.name == used.name()));
    let Some(template) = slot.map(|slot| slot.template) else { return Ok(None) };
    let Some(class) = snapshot.class_of(template)?.filter(|class| class.provisions()) else {
        return Ok(None);
    };
    let same = claim.class() == Some(class.metadata.name.as_str());
    let never_bound = claim.status.phase == "Pending" && claim.spec.volume_name.is_empty();
    // Somebody made it so that the replica starts with data; the template would give it an empty volume.
    let filled = claim.spec.data_source.is_some()
        || claim.spec.data_source_ref.is_some()
        || claim.spec.selector.is_some();
    snapshot.pods()?;
    let mut users = snapshot.namespace.users(used.name());
    let replica_alone = users.all(|pod| pod.metadata.name == used.replica && pod.spec.node_name.is_empty());
    let held = claim.metadata.finalizers.iter().any(|finalizer| finalizer != PROTECTION);
    if same || !never_bound || filled || !replica_alone || held {
        return Ok(None);
    }
    let (name, template) = (&set.metadata.name, &template.metadata.name);
    let age = snapshot.since(claim.metadata.creation_timestamp).map(words::age);
    let older = claim.metadata.creation_timestamp < set.metadata.creation_timestamp;
    let of_old = match age.filter(|_| older) {
        Some(age) => format!("the PVC is {age} old, older than {name}, and was never bound"),
        None => "the PVC was never bound".to_owned(),
    };
    let asks = match slot.and_then(|slot| slot.template.class()) {
        Some(class) => format!("uses class {class}"),
        None => format!("uses the default class, which is {}", class.metadata.name),
    };
    let because = format!("volumeClaimTemplate {template} of {name} {asks}; {of_old}");
    Ok(Some((because, anew(snapshot, used))))
}

/// Lets the controller make claim and pod again. The pod goes second, as the claim cannot be gone before it.
pub(super) fn anew(snapshot: &Snapshot<'_>, used: &Used<'_>) -> Vec<Command> {
    let at = home(snapshot);
    let claim = kubectl("delete pvc").name(used.name()).with("--wait=false").namespace(at);
    let pods: Vec<&str> = used.pods.iter().map(|pod| pod.metadata.name.as_str()).collect();
    match pods.as_slice() {
        [] => vec![claim],
        pods => vec![claim, kubectl("delete pod").names(pods).namespace(at)],
    }
}

/// The command that shows the claim with its events.
pub(super) fn describe(snapshot: &Snapshot<'_>, used: &Used<'_>) -> Command {
    kubectl("describe pvc").name(used.name()).namespace(home(snapshot))
}

/// The command that shows where volumes can come from: the classes, or what could serve as one.
pub(super) fn look_for_class(snapshot: &Snapshot<'_>) -> Result<Command, Unseen> {
    let kind = if snapshot.classes()?.is_empty() { "csidrivers" } else { "storageclass" };
    Ok(kubectl("get").with(kind))
}

/// One finding for all claims that fail for the same reason, about the first. `what` gets the first, the names of all,
/// and whether they are several.
pub(super) fn findings(
    rule: &'static Rule,
    cases: Vec<Case<'_>>,
    what: impl Fn(&Used<'_>, &str, bool) -> String,
) -> Vec<Finding> {
    let mut groups: Vec<Vec<Case<'_>>> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for case in cases {
        let at = *known.entry(case.because.clone()).or_insert(groups.len());
        match groups.get_mut(at) {
            Some(group) => group.push(case),
            None => groups.push(vec![case]),
        }
    }
    groups
        .into_iter()
        .map(|group| {
            let names: Vec<&str> = group.iter().map(|case| case.used.name()).collect();
            let several = names.len() > 1;
            let noun = if several { "PVCs" } else { "PVC" };
            let what = what(&group[0].used, &format!("{noun} {}", words::list(&names, 3)), several);
            let mut finding = rule.about(Kind::PersistentVolumeClaim, names[0], what);
            for name in &names[1..] {
                finding = finding.also(Kind::PersistentVolumeClaim, *name);
            }
            let mut given = HashSet::new();
            for case in &group {
                // Its pods find no node, or cannot even be created. What a pod does on a node has other causes.
                for pod in case.used.pods.iter().filter(|pod| pod.spec.node_name.is_empty()) {
                    finding = finding.absorbs(Kind::Pod, &pod.metadata.name);
                }
                if case.used.pods.is_empty() {
                    finding = finding.absorbs(Kind::Pod, &case.used.replica);
                }
                for command in &case.remedy {
                    if given.insert(command.to_string()) {
                        finding = finding.remedy(command.clone());
                    }
                }
            }
            finding.because(&group[0].because)
        })
        .collect()
}

/// The classes there are, in words.
pub(super) fn classes(snapshot: &Snapshot<'_>) -> Result<String, Unseen> {
    let names: Vec<String> = (snapshot.classes()?.iter())
        .map(|class| {
            let default = if class.is_default() { " (default)" } else { "" };
            format!("{}{default}", class.metadata.name)
        })
        .collect();
    Ok(match names.as_slice() {
        [] => "the cluster has no StorageClass".to_owned(),
        [one] => format!("the cluster has StorageClass {one}"),
        several => format!("the cluster has StorageClasses {}", words::list(several, 4)),
    })
}
