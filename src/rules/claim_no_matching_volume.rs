//! A claim waits for a volume that somebody makes by hand, and no volume suits it.

use serde_json::{Value, json};

use super::claims::{self, Case, Source};
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS203",
    name: "claim-no-matching-volume",
    severity: Severity::Error,
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
        let (verb, asks) = if several { ("find", "ask") } else { ("finds", "asks") };
        match first.claim.spec.volume_name.as_str() {
            "" => format!("{names} {verb} no volume"),
            volume => format!("{names} {asks} for the volume {volume} and cannot have it"),
        }
    }))
}

/// A claim that names its volume gets that one or none.
fn named<'a>(snapshot: &Snapshot<'a>, used: claims::Used<'a>) -> Result<Option<Case<'a>>, Unseen> {
    let claim = used.claim;
    let asked = &claim.spec.volume_name;
    let Some(volume) = snapshot.volume_of(claim)? else {
        let remedy = manifest(snapshot, &used, asked).into_iter().collect();
        return Ok(Some(Case { because: format!("there is no PersistentVolume {asked}"), used, remedy }));
    };
    if volume.is_of(claim) {
        return Ok(None);
    }
    let because = match (holder(volume, claim), volume.mismatch(claim)) {
        (Some(holder), _) => format!("{asked} is {holder}"),
        (None, Some(mismatch)) => format!("{asked} does not suit it: {mismatch}"),
        (None, None) => return Ok(None),
    };
    let remedy = release(volume, claim).into_iter().collect();
    Ok(Some(Case { used, because, remedy }))
}

fn unserved<'a>(snapshot: &Snapshot<'a>, used: claims::Used<'a>) -> Result<Case<'a>, Unseen> {
    let claim = used.claim;
    let wanted = match claim.class() {
        None | Some("") => "it asks for no class, so that nobody makes a volume for it".to_owned(),
        Some(class) => format!("volumes of class {class} are made by hand"),
    };
    let volumes = snapshot.volumes()?;
    let nearest = volumes.iter().filter_map(|volume| Some((nearness(volume, claim)?, volume)));
    let (near, remedy) = match nearest.min_by_key(|(rank, volume)| (*rank, volume.metadata.name.as_str())) {
        Some((_, volume)) => {
            let why = (volume.mismatch(claim))
                .or_else(|| holder(volume, claim).map(|holder| format!("it is {holder}")));
            let why = why.unwrap_or_else(|| format!("it is {}", volume.status.phase));
            (
                format!("the nearest, {}, does not suit it: {why}", volume.metadata.name),
                release(volume, claim),
            )
        }
        None if volumes.is_empty() => ("there is none at all".to_owned(), None),
        None => {
            let class = claim.class().unwrap_or_default();
            let taken = volumes.iter().filter(|volume| volume.spec.storage_class_name == class).count();
            match taken {
                0 => ("there is none".to_owned(), None),
                taken => {
                    (format!("the {} there are taken by other claims", words::count(taken, "volume")), None)
                }
            }
        }
    };
    let name = format!("{}-{}", claim.metadata.namespace, claim.metadata.name);
    let remedy = remedy.or_else(|| manifest(snapshot, &used, &name)).into_iter().collect();
    Ok(Case { used, because: format!("{wanted}, and {near}"), remedy })
}

/// How far a volume is from suiting the claim; `None` for those that are plainly somebody else's.
fn nearness(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<u8> {
    let class = claim.class().unwrap_or_default();
    let same_class = volume.spec.storage_class_name == class;
    match &volume.spec.claim_ref {
        Some(_) if is_of_earlier(volume, claim) => Some(0),
        None if same_class => Some(1),
        Some(_) if same_class && volume.status.phase == "Released" => Some(2),
        Some(_) if volume.is_of(claim) => Some(1),
        None => Some(3),
        Some(_) => None,
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
fn holder(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<String> {
    let reference = volume.spec.claim_ref.as_ref().filter(|_| !volume.is_of(claim))?;
    if is_of_earlier(volume, claim) {
        return Some(format!("still kept for an earlier claim of the name {}", reference.name));
    }
    let kept = if volume.status.phase == "Released" { "still kept for" } else { "bound to" };
    Some(format!("{kept} {} in {}", reference.name, reference.namespace))
}

/// Gives the claim the volume of its predecessor back, with the data on it.
fn release(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<String> {
    (is_of_earlier(volume, claim) && volume.mismatch(claim).is_none()).then(|| {
        format!(
            "kubectl patch pv {} -p '{{\"spec\":{{\"claimRef\":{{\"uid\":null,\"resourceVersion\":null}}}}}}'",
            volume.metadata.name
        )
    })
}

/// A volume for the claim, in a folder of one node. Where a folder will not do, there is no short answer.
fn manifest(snapshot: &Snapshot<'_>, used: &claims::Used<'_>, name: &str) -> Option<String> {
    let claim = used.claim;
    let selector = claim.spec.selector.as_ref();
    if claim.mode() == "Block" || selector.is_some_and(|selector| !selector.match_expressions.is_empty()) {
        return None;
    }
    let mut volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": claim.requested()},
            "accessModes": claim.spec.access_modes,
            "storageClassName": claim.class().unwrap_or_default(),
            "persistentVolumeReclaimPolicy": "Retain",
            "claimRef": {"namespace": claim.metadata.namespace, "name": claim.metadata.name},
            "hostPath": {"path": format!("/srv/{name}"), "type": "DirectoryOrCreate"},
        },
    });
    if let Some(labels) = selector.map(|selector| &selector.match_labels).filter(|labels| !labels.is_empty())
    {
        volume["metadata"]["labels"] = json!(labels);
    }
    // Without it the data would lie wherever the pod happens to run.
    if let Some(host) = host(snapshot, used) {
        volume["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": HOST_LABEL, "operator": "In", "values": [host]}
        ]}]}});
    }
    let volume = Value::to_string(&volume);
    (!volume.contains('\'')).then(|| format!("echo '{volume}' | kubectl apply -f -"))
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
