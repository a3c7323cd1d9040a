//! The controller cannot bring a pod in line with its StatefulSet, so nothing moves any more.

use serde_json::json;

use super::prelude::*;
use super::refused::{changes, lift, quoted};
use crate::controller::{lacks_volume, missing_volumes};
use crate::messages::admission::is_conflict;
use crate::snapshot::{Replica, Verb};

pub const RULE: Rule = Rule {
    code: "STS309",
    name: "pod-update-refused",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/pod-update-refused.md"),
    check,
};

const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
/// The same, for `kubectl label`.
const POD_NAME_IS: &str = "statefulset.kubernetes.io/pod-name=";

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    if snapshot.set.metadata.is_terminating() {
        return Ok(Vec::new());
    }
    let replicas = snapshot.replicas()?;
    let lacking: Vec<(&Replica<'_>, &Pod)> = replicas
        .iter()
        .filter_map(|replica| Some((replica, replica.pod?)))
        .filter(|(_, pod)| !pod.metadata.is_terminating() && lacks_volume(snapshot.set, pod))
        .collect();
    if let [(_, pod), others @ ..] = lacking.as_slice() {
        let names: Vec<&str> = lacking.iter().map(|(replica, _)| replica.name.as_str()).collect();
        let finding = without_volume(snapshot, pod, &names);
        return Ok(vec![
            others.iter().fold(finding, |finding, (replica, _)| finding.also(Kind::Pod, &replica.name)),
        ]);
    }
    let mut found = Vec::new();
    for (replica, pod) in replicas.iter().filter_map(|replica| Some((replica, replica.pod?))) {
        let Some(refused) = snapshot.refused_for(Verb::Update, pod)? else { continue };
        // Another write came first; the controller tries again at once.
        if is_conflict(refused.said) {
            continue;
        }
        if is_in_line(snapshot.set, replica, pod) {
            continue;
        }
        let name = &replica.name;
        let (allow, lifted) = lift(snapshot, refused.said, true);
        let (wants, remedy, instead): (_, _, Vec<Command>) = if is_named(replica, pod) {
            let (remedy, instead) = match keep_owners(snapshot) {
                Some(keep) => (vec![keep], lifted.into_iter().take(1).filter(changes).collect()),
                None => (lifted, Vec::new()),
            };
            (
                "must change the owner of the PVCs of the pod (persistentVolumeClaimRetentionPolicy)",
                remedy,
                instead,
            )
        } else {
            let label = kubectl("label pod").name(name).joined(POD_NAME_IS, name).with("--overwrite");
            ("must restore the name label of the pod", vec![label.namespace(home(snapshot))], Vec::new())
        };
        let finding =
            RULE.about(Kind::Pod, name, format!("the controller cannot update {name}")).because(format!(
                "it {wants}, but {}; until that succeeds, no replica is created, updated or deleted{allow}",
                quoted(snapshot, &refused)
            ));
        let finding = remedy.into_iter().fold(finding, Finding::remedy);
        found.push(instead.into_iter().fold(finding, Finding::instead));
    }
    Ok(found)
}

/// Takes back a retention policy that the PVCs do not follow yet. Not the other way round: their owner would be the set
/// again for good, and its deletion that of the data.
fn keep_owners(snapshot: &Snapshot<'_>) -> Option<Command> {
    let set = snapshot.set;
    let patch = json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"}}});
    (set.spec.persistent_volume_claim_retention_policy.when_deleted == "Delete").then(|| {
        kubectl("patch statefulset")
            .name(&set.metadata.name)
            .namespace(home(snapshot))
            .with("--type=merge")
            .patch(&patch)
    })
}

/// Whether the controller has nothing to change at the pod and its PVCs: it was refused, and has succeeded since
/// (`stateful_set_utils.go:identityMatches`, and `isClaimOwnerUpToDate` for a replica that is wanted).
fn is_in_line(set: &StatefulSet, replica: &Replica<'_>, pod: &Pod) -> bool {
    let owned = set.spec.persistent_volume_claim_retention_policy.when_deleted == "Delete";
    let is_owned = |claim: &PersistentVolumeClaim| {
        let mut owners = claim.metadata.owner_references.iter();
        owners.any(|owner| owner.kind == "StatefulSet" && owner.uid == set.metadata.uid)
    };
    is_named(replica, pod) && replica.claims().all(|claim| is_owned(claim) == owned)
}

/// Whether the pod has its name label.
fn is_named(replica: &Replica<'_>, pod: &Pod) -> bool {
    pod.metadata.labels.get(POD_NAME_LABEL).is_some_and(|name| *name == replica.name)
}

/// Pods that were made before the claim templates they lack; the first of them, and the names of all.
fn without_volume(snapshot: &Snapshot<'_>, pod: &Pod, names: &[&str]) -> Finding {
    let set = snapshot.set;
    let volumes = missing_volumes(set, pod);
    let (noun, pronoun) = if volumes.len() == 1 { ("volume", "it") } else { ("volumes", "them") };
    let verb = if names.len() == 1 { "lacks" } else { "lack" };
    let what = format!("{} {verb} the {noun} {}", words::list(names, 3), words::list(&volumes, 3));
    // Events are not needed to know it.
    let refused = snapshot.refused_for(Verb::Update, pod).ok().flatten();
    let said = refused.map_or(String::new(), |refused| format!("; {}", quoted(snapshot, &refused)));
    RULE
        .about(Kind::Pod, &pod.metadata.name, what)
        .because(format!(
            "the volumeClaimTemplates of {} define {pronoun}, and a running pod cannot get another volume: each such \
             pod must be deleted, the lowest ordinal first (PVCs are kept); until then no replica is created, updated or \
             deleted{said}",
            set.metadata.name
        ))
        .remedy(sts("recover").name(&set.metadata.name).namespace(home(snapshot)))
}
