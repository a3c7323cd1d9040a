//! The volume of a claim is gone.

use serde_json::json;

use super::claims::{self, Case};
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS207",
    name: "claim-lost",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/claim-lost.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let mut cases = Vec::new();
    for used in
        claims::used(snapshot, |claim| claim.status.phase == "Lost" && !claim.metadata.is_terminating())?
    {
        let name = &used.claim.spec.volume_name;
        let volume = snapshot.volume_of(used.claim);
        let holder = volume.as_ref().ok().and_then(|volume| volume.as_ref()?.spec.claim_ref.as_ref());
        let running = used.pods.iter().find(|pod| pod.is_ready()).map(|pod| pod.metadata.name.as_str());
        let is_there = matches!(volume, Ok(Some(_)));
        let (because, remedy) = match (holder, running) {
            // The controller binds a volume that names no claim, or this one by uid (`pv_controller.go:syncBoundClaim`).
            (None, _) if is_there => continue,
            (Some(holder), _) if holder.uid == used.claim.metadata.uid && !holder.uid.is_empty() => continue,
            (Some(holder), _) if is_reserved(holder, used.claim) => (
                format!(
                    "the claimRef of its PV {name} lacks the uid of the PVC; remove the claimRef, and the PV is bound again with its data"
                ),
                vec![
                    kubectl("patch pv")
                        .name(name)
                        .with("--type=json")
                        .patch(&json!([{"op": "remove", "path": "/spec/claimRef"}])),
                ],
            ),
            // What it has mounted may be the last of the data.
            (_, Some(pod)) => (
                format!(
                    "{}; {pod} is still running, but cannot be restarted: copy its data out of the pod before anything else (with \
                     kubectl cp, or the backup of the application)",
                    fate(name, holder, volume.is_ok())
                ),
                vec![claims::describe(snapshot, &used)],
            ),
            (Some(_), None) => {
                let hope = "the replica can only start with an empty volume";
                (format!("{}; {hope}", fate(name, holder, true)), anew(snapshot, &used))
            }
            (None, None) => (
                format!(
                    "{}; if the storage still exists, create a PV with that name to get the data back; otherwise the replica \
                     can only start with an empty volume",
                    fate(name, None, volume.is_ok())
                ),
                anew(snapshot, &used),
            ),
        };
        cases.push(Case { used, because, remedy });
    }
    Ok(claims::findings(&RULE, cases, |_, names, several| {
        format!("{names} {}", if several { "have lost their PVs" } else { "has lost its PV" })
    }))
}

/// Whether the volume was reserved for the claim by hand. That serves a claim that was never bound; this one it does not.
fn is_reserved(holder: &Reference, claim: &PersistentVolumeClaim) -> bool {
    let (name, namespace) = (&claim.metadata.name, &claim.metadata.namespace);
    holder.name == *name && holder.namespace == *namespace && holder.uid.is_empty()
}

fn fate(volume: &str, holder: Option<&Reference>, is_seen: bool) -> String {
    match holder {
        Some(holder) => {
            format!("its PV {volume} is bound to PVC {} in namespace {}", holder.name, holder.namespace)
        }
        None if is_seen => format!("its PV {volume} no longer exists"),
        None => format!("its PV {volume} is gone or belongs to another PVC"),
    }
}

/// Makes the claim again, where there is somebody to make the volume too; else a look at it.
fn anew(snapshot: &Snapshot<'_>, used: &claims::Used<'_>) -> Vec<Command> {
    let class = snapshot.class_of(used.claim).ok().flatten();
    if class.is_some_and(StorageClass::provisions) {
        return claims::anew(snapshot, used);
    }
    vec![claims::describe(snapshot, used)]
}
