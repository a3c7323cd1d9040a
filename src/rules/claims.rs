//! What the rules about claims share: which claims matter, where their volumes come from, and one finding for claims
//! that fail for one reason.

use std::collections::BTreeMap;

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
            match all.iter_mut().find(|used| used.name() == claim.metadata.name) {
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
    /// Nowhere: its class does not exist, and no volume of that name either.
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
        None if snapshot.volumes()?.iter().any(|volume| volume.spec.storage_class_name == name) => {
            Source::ByHand
        }
        None => Source::MissingClass(name),
    })
}

/// Whether a volume is there that the claim will be bound to.
pub(super) fn is_served(snapshot: &Snapshot<'_>, claim: &PersistentVolumeClaim) -> Result<bool, Unseen> {
    Ok(snapshot.volumes()?.iter().any(|volume| volume.fits(claim)))
}

/// Whether a node has been chosen for a pod of the claim. The scheduler gives the pod its node only once the volume is
/// made, and says so on the claim before that.
pub(super) fn has_node(used: &Used<'_>) -> bool {
    used.claim.metadata.annotations.contains_key("volume.kubernetes.io/selected-node")
        || used.pods.iter().any(|pod| !pod.spec.node_name.is_empty())
}

/// A claim that fails, and why.
pub(super) struct Case<'a> {
    pub used: Used<'a>,
    pub because: String,
    pub remedy: Vec<String>,
}

/// One finding for all claims that fail for the same reason, about the first. `what` gets the first, the names of all,
/// and whether they are several.
pub(super) fn findings(
    rule: &'static Rule,
    cases: Vec<Case<'_>>,
    what: impl Fn(&Used<'_>, &str, bool) -> String,
) -> Vec<Finding> {
    let mut groups: Vec<Vec<Case<'_>>> = Vec::new();
    for case in cases {
        match groups.iter_mut().find(|group| group[0].because == case.because) {
            Some(group) => group.push(case),
            None => groups.push(vec![case]),
        }
    }
    groups
        .into_iter()
        .map(|group| {
            let names: Vec<&str> = group.iter().map(|case| case.used.name()).collect();
            let what = what(&group[0].used, &words::list(&names, 3), names.len() > 1);
            let mut finding = rule.about(Kind::PersistentVolumeClaim, names[0], what);
            for name in &names[1..] {
                finding = finding.also(Kind::PersistentVolumeClaim, *name);
            }
            for case in &group {
                // Its pods find no node, or cannot even be created. What a pod does on a node has other causes.
                for pod in case.used.pods.iter().filter(|pod| pod.spec.node_name.is_empty()) {
                    finding = finding.absorbs(Kind::Pod, &pod.metadata.name);
                }
                if case.used.pods.is_empty() {
                    finding = finding.absorbs(Kind::Pod, &case.used.replica);
                }
                for command in &case.remedy {
                    if !finding.remedy.contains(command) {
                        finding = finding.remedy(command);
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
        [one] => format!("the cluster has the StorageClass {one}"),
        several => format!("the cluster has the StorageClasses {}", words::list(several, 4)),
    })
}
