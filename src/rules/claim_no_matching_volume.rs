//! A claim waits for a volume that somebody makes by hand, and no volume suits it.

use serde_json::json;

use super::claims::{self, Case, Source};
use super::prelude::*;
use crate::paste::echo;

pub const RULE: Rule = Rule {
    code: "STS203",
    name: "claim-no-matching-volume",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/claim-no-matching-volume.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let mut cases = Vec::new();
    for used in claims::pending(snapshot)? {
        let claim = used.claim;
        let case = match claims::source(snapshot, claim)? {
            Source::Named => named(snapshot, used)?,
            Source::ByHand if !claims::is_served(snapshot, claim)? => Some(unserved(snapshot, used)?),
            _ => None,
        };
        cases.extend(case);
    }
    Ok(claims::findings(&RULE, cases, |first, names, several| {
        let (has, names_it, it) = if several { ("have", "name", "them") } else { ("has", "names", "it") };
        match first.claim.spec.volume_name.as_str() {
            "" => format!("{names} {has} no matching PV"),
            volume => format!("{names} {names_it} PV {volume}, which cannot be bound to {it}"),
        }
    }))
}

/// A claim that names its volume gets that one or none.
fn named<'a>(snapshot: &Snapshot<'a>, used: claims::Used<'a>) -> Result<Option<Case<'a>>, Unseen> {
    let claim = used.claim;
    let asked = &claim.spec.volume_name;
    let Some(volume) = snapshot.volume_of(claim)? else {
        // Who made the PVC for a certain PV wants the data of that one.
        let named = needed(claim).replacen("create a PV ", &format!("create a PV named {asked} "), 1);
        let absent = format!("PV {asked} does not exist");
        if let Some((other, remedy)) = another(snapshot, &used)? {
            return Ok(Some(Case { because: format!("{absent}{named}; or {other}"), used, remedy }));
        }
        let remedy = made(snapshot, &used)?.unwrap_or_else(|| kubectl("get pv"));
        return Ok(Some(Case { because: format!("{absent}{named}"), used, remedy: vec![remedy] }));
    };
    if volume.is_of(claim) {
        return Ok(None);
    }
    let because = match (holder(snapshot, volume, claim), volume.mismatch(claim)) {
        (Some(holder), _) => format!("PV {asked} is {holder}"),
        (None, Some(mismatch)) => format!("PV {asked} does not match: {mismatch}"),
        (None, None) => return Ok(None),
    };
    if let Some(remedy) = release(volume, claim) {
        return Ok(Some(Case { used, because, remedy: vec![remedy] }));
    }
    if let Some((why, remedy)) = classed(volume, claim) {
        return Ok(Some(Case { used, because: format!("{because}; {why}"), remedy: vec![remedy] }));
    }
    let is_kept = volume.status.phase == "Released" && volume.mismatch(claim).is_none();
    if is_kept {
        let because = format!("{because}; {KEPT}");
        return Ok(Some(Case { used, because, remedy: vec![look(volume), unreserve(volume)] }));
    }
    if let Some((other, remedy)) = another(snapshot, &used)? {
        return Ok(Some(Case { because: format!("{because}; {other}"), used, remedy }));
    }
    Ok(Some(Case { used, because, remedy: vec![look(volume)] }))
}

/// What becomes of a volume whose data belonged to another PVC.
const KEPT: &str =
    "if its data may be used for this PVC, remove its claimRef, which makes it available with the data on it";

/// A volume that the claim would be bound to if it named none, and the commands that make the claim again without a name: a
/// PVC that has not been bound holds no data. The name is in the template too where all of its PVCs have it.
fn another(
    snapshot: &Snapshot<'_>,
    used: &claims::Used<'_>,
) -> Result<Option<(String, Vec<Command>)>, Unseen> {
    let mut free = used.claim.clone();
    free.spec.volume_name.clear();
    let replica = snapshot.replica(used.ordinal)?;
    let slot = replica.and_then(|replica| replica.slots.iter().find(|slot| slot.name == used.name()));
    let Some(template) = slot.map(|slot| slot.template) else { return Ok(None) };
    // Its owner would put it back.
    if !template.spec.volume_name.is_empty() && snapshot.set.metadata.controller().is_some() {
        return Ok(None);
    }
    // What the controller makes instead.
    let anew = PersistentVolumeClaim {
        metadata: used.claim.metadata.clone(),
        spec: ClaimSpec { volume_name: String::new(), ..template.spec.clone() },
        ..PersistentVolumeClaim::default()
    };
    let suits = |volume: &&PersistentVolume| {
        volume.mismatch(&free).is_none() && (volume.fits(&anew) || is_of_earlier(volume, used.claim))
    };
    let volumes = snapshot.volumes()?;
    let suitable = volumes.iter().filter(suits);
    let Some(volume) = suitable.min_by_key(|volume| !is_of_earlier(volume, used.claim)) else {
        return Ok(None);
    };
    let held = used.claim.metadata.finalizers.iter().any(|finalizer| finalizer != claims::PROTECTION);
    let is_on_node = used.pods.iter().any(|pod| !pod.spec.node_name.is_empty());
    if held || is_on_node || used.claim.is_bound() {
        return Ok(None);
    }
    let name = &volume.metadata.name;
    let is_earlier = is_of_earlier(volume, used.claim);
    let (what, release) = match release(volume, &free).filter(|_| is_earlier) {
        Some(release) => (format!("PV {name}, which an earlier PVC of this name had"), Some(release)),
        None => (format!("PV {name}, which matches and is free"), None),
    };
    let place = snapshot
        .set
        .spec
        .volume_claim_templates
        .iter()
        .position(|it| it.metadata.name == template.metadata.name);
    let renamed = place.filter(|_| !template.spec.volume_name.is_empty()).map(|place| {
        let path = format!("/spec/volumeClaimTemplates/{place}/spec/volumeName");
        super::rollouts::recreated_by(snapshot, &json!([{"op": "remove", "path": path}]))
    });
    let steps = release.into_iter().chain(renamed).chain(claims::anew(snapshot, used));
    Ok(Some((format!("create the PVC again without volumeName: it gets {what}"), steps.collect())))
}

/// Gives a volume that is meant for the claim the class of the claim, where it lacks nothing else.
fn classed(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<(String, Command)> {
    let class = claim.class().unwrap_or_default();
    let with = PersistentVolume {
        spec: VolumeSpec { storage_class_name: class.to_owned(), ..volume.spec.clone() },
        ..volume.clone()
    };
    let is_free = volume.spec.claim_ref.is_none() || volume.is_of(claim);
    if !is_free || volume.spec.storage_class_name == class || with.mismatch(claim).is_some() {
        return None;
    }
    let name = &volume.metadata.name;
    let patch = json!({"spec": {"storageClassName": class}});
    let patch = kubectl("patch pv").name(name).with("--type=merge").patch(&patch);
    Some((format!("set spec.storageClassName of PV {name} to {class:?}"), patch))
}

fn unserved<'a>(snapshot: &Snapshot<'a>, used: claims::Used<'a>) -> Result<Case<'a>, Unseen> {
    let claim = used.claim;
    let class = claim.class().unwrap_or_default();
    let (wanted, these) = match class {
        "" => ("storageClassName is \"\", so no PV is provisioned".to_owned(), "without a class"),
        class => (format!("class {class} has no dynamic provisioning"), "of that class"),
    };
    let ranked = (snapshot.volumes()?.iter())
        .filter_map(|volume| Some((Near::of(volume, claim)?, volume.metadata.name.as_str(), volume)));
    let nearest = ranked.min_by_key(|(near, name, _)| (*near, *name));
    let Some((near, name, volume)) = nearest else {
        let number = claims::of_class(snapshot, class)?.count();
        let there = match number {
            0 => format!("there is no PV {these}"),
            1 => format!("the only PV {these} belongs to another PVC"),
            number => format!("all {number} PVs {these} belong to other PVCs"),
        };
        let made = made(snapshot, &used)?;
        let create = if made.is_some() { String::new() } else { needed(claim) };
        let remedy = made.unwrap_or_else(|| kubectl("get pv"));
        return Ok(Case { used, because: format!("{wanted}, and {there}{create}"), remedy: vec![remedy] });
    };
    let mismatch = volume.mismatch(claim).unwrap_or_default();
    let holder = holder(snapshot, volume, claim).unwrap_or_else(|| volume.status.phase.clone());
    let (there, remedy) = match near {
        Near::Earlier if mismatch.is_empty() => (format!("PV {name} is {holder}"), release(volume, claim)),
        Near::Earlier => (format!("PV {name} ({holder}) does not match: {mismatch}"), None),
        Near::Own => {
            let (why, patch) = classed(volume, claim).unzip();
            let why = why.map_or(String::new(), |why| format!("; {why}"));
            (format!("PV {name} is reserved for this PVC but does not match: {mismatch}{why}"), patch)
        }
        Near::Kept => {
            let because = format!("{wanted}, and PV {name} matches, but is {holder}; {KEPT}");
            return Ok(Case { because, used, remedy: vec![look(volume), unreserve(volume)] });
        }
        Near::Reserved => {
            let open = look_for_holder(snapshot, volume);
            // Whether its claim comes into it is to be seen first.
            let free = if open.is_some() { "" } else { "; removing its claimRef makes it available" };
            // What it holds may be the data of another application: whether to give it away is for its owner to say.
            let open = open.or_else(|| Some(unreserve(volume)));
            (format!("PV {name} matches, but is {holder}{free}"), open)
        }
        Near::Unlike => {
            let why = if mismatch.is_empty() { format!("it is {holder}") } else { mismatch };
            let made = made(snapshot, &used)?;
            let create = if made.is_some() { String::new() } else { needed(claim) };
            (format!("the closest, PV {name}, does not match: {why}{create}"), made)
        }
    };
    let remedy = vec![remedy.unwrap_or_else(|| look(volume))];
    Ok(Case { because: format!("{wanted}, and {there}"), used, remedy })
}

/// What a volume that the claim is not bound to is to it, the most telling first. All others are somebody else's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Near {
    /// It holds the data of an earlier claim of the name.
    Earlier,
    /// It is reserved for the claim, and does not suit it.
    Own,
    /// It would suit, but is reserved for a claim that has not taken it.
    Reserved,
    /// It would suit, but holds the data of a claim that is gone.
    Kept,
    /// It is free, of the class, and does not suit.
    Unlike,
}

impl Near {
    fn of(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<Near> {
        let suits = volume.mismatch(claim).is_none();
        match (&volume.spec.claim_ref, volume.status.phase.as_str()) {
            (Some(_), _) if is_of_earlier(volume, claim) => Some(Near::Earlier),
            (Some(_), _) if volume.is_of(claim) => Some(Near::Own),
            (Some(_), "Available") if suits => Some(Near::Reserved),
            (Some(_), "Released") if suits => Some(Near::Kept),
            (Some(_), _) => None,
            (None, _) if volume.spec.storage_class_name == claim.class().unwrap_or_default() => {
                Some(Near::Unlike)
            }
            (None, _) => None,
        }
    }
}

/// Whether the volume belonged to a claim of the same name that was deleted: its data is this replica's.
fn is_of_earlier(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    !volume.is_of(claim)
        && volume.spec.claim_ref.as_ref().is_some_and(|reference| {
            reference.name == claim.metadata.name && reference.namespace == claim.metadata.namespace
        })
}

/// Who has the volume, if it is not free for the claim.
fn holder(
    snapshot: &Snapshot<'_>,
    volume: &PersistentVolume,
    claim: &PersistentVolumeClaim,
) -> Option<String> {
    let reference = volume.spec.claim_ref.as_ref().filter(|_| !volume.is_of(claim))?;
    let (name, namespace) = (&reference.name, &reference.namespace);
    Some(match volume.status.phase.as_str() {
        _ if is_of_earlier(volume, claim) => format!("still reserved for an earlier PVC named {name}"),
        "Released" => format!("still reserved for PVC {name} in namespace {namespace}, which was deleted"),
        // Its claim would have it by now, if it were there and suited.
        "Available" => {
            let claim =
                if snapshot.lacks_claim(namespace, name) { "does not exist" } else { "is not bound to it" };
            format!("reserved for PVC {name} in namespace {namespace}, which {claim}")
        }
        _ => format!("bound to PVC {name} in namespace {namespace}"),
    })
}

/// The command that shows whether the claim exists for which the volume is reserved, where that is not known.
fn look_for_holder(snapshot: &Snapshot<'_>, volume: &PersistentVolume) -> Option<Command> {
    let Reference { name, namespace, .. } = volume.spec.claim_ref.as_ref()?;
    let open = volume.status.phase != "Released" && !snapshot.lacks_claim(namespace, name);
    open.then(|| kubectl("get pvc").name(name).namespace(namespace))
}

/// The command that shows a volume: what it is, where its data is, and for whom it is kept.
fn look(volume: &PersistentVolume) -> Command {
    kubectl("get pv").name(&volume.metadata.name).with("-o yaml")
}

/// Which volume it takes.
fn needed(claim: &PersistentVolumeClaim) -> String {
    let class = match claim.class().unwrap_or_default() {
        "" => "without a storageClassName".to_owned(),
        class => format!("with storageClassName {class}"),
    };
    let modes = words::list(&claim.spec.access_modes, 4);
    format!("; create a PV {class}, at least {} and accessModes {modes}", claim.requested())
}

/// Makes a volume available that is reserved for a claim that does not exist.
fn unreserve(volume: &PersistentVolume) -> Command {
    kubectl("patch pv")
        .name(&volume.metadata.name)
        .with("--type=merge")
        .patch(&json!({"spec": {"claimRef": null}}))
}

/// Gives the claim the volume of its predecessor back, with the data on it.
fn release(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<Command> {
    (is_of_earlier(volume, claim) && volume.mismatch(claim).is_none()).then(|| {
        kubectl("patch pv")
            .name(&volume.metadata.name)
            .patch(&json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}}))
    })
}

/// A volume for the claim, in a folder of one node. Only where it is made as the other volumes of the class are made, and
/// none of them may hold the data: else a database would start empty, on the root disk of a node.
fn made(snapshot: &Snapshot<'_>, used: &claims::Used<'_>) -> Result<Option<Command>, Unseen> {
    let claim = used.claim;
    let class = claim.class().unwrap_or_default();
    let mut others = claims::of_class(snapshot, class)?.peekable();
    let as_usual = others.peek().is_some()
        && others.all(|other| other.spec.host_path.is_some() && other.status.phase != "Released");
    let plain = claim.mode() == "Filesystem"
        && claim.spec.access_modes == ["ReadWriteOnce"]
        && claim.spec.selector.is_none();
    if !as_usual || !plain {
        return Ok(None);
    }
    let name = match claim.spec.volume_name.as_str() {
        "" => format!("{}-{}", claim.metadata.namespace, claim.metadata.name),
        asked => asked.to_owned(),
    };
    let mut volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": claim.requested()},
            "accessModes": claim.spec.access_modes,
            "storageClassName": class,
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": claim.metadata.namespace, "name": claim.metadata.name},
            "hostPath": {"path": format!("/srv/{name}"), "type": "DirectoryOrCreate"},
        },
    });
    // Without it the data would lie wherever the pod happens to run.
    if let Some(host) = host(snapshot, used) {
        volume["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": HOST_LABEL, "operator": "In", "values": [host]}
        ]}]}});
    }
    Ok(Some(echo(&volume.to_string()).piped_into(kubectl("apply -f -"))))
}

const HOST_LABEL: &str = "kubernetes.io/hostname";

/// A node for the volume: one that can run pods, another for each replica.
fn host<'a>(snapshot: &Snapshot<'a>, used: &claims::Used<'_>) -> Option<&'a str> {
    let hosts: Vec<&str> = (snapshot.nodes().ok()?.iter())
        .filter(|node| node.is_ready() && !node.spec.unschedulable)
        .filter(|node| !node.spec.taints.iter().any(|taint| taint.effect != "PreferNoSchedule"))
        .filter_map(|node| node.metadata.labels.get(HOST_LABEL).map(String::as_str))
        .collect();
    let index = usize::try_from(used.ordinal).ok()?;
    hosts.get(index.checked_rem(hosts.len())?).copied()
}
