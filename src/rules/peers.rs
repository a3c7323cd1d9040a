//! Replicas that wait for peers which are created only after them.

use serde_json::json;

use super::old_data::born;
use super::prelude::*;
use super::rollouts::recreated;
use crate::controller::{self, Blocker, Next};

/// Says of a pod that runs and is not ready why that may be so for good: its peers ran before, all of them are gone, and an
/// OrderedReady `StatefulSet` creates none before this one is ready
/// (`stateful_set_control.go:processReplica`, which stops at the first replica that is not). A quorum that is asked for by the
/// readiness probe then never comes together.
///
/// That the peers were there before is seen by their PVCs, which are created with a pod and stay. PVCs of an earlier
/// installation prove nothing, as no pod of this one ran with them.
pub(super) fn awaited(snapshot: &Snapshot<'_>, pod: &Pod, finding: Finding) -> Finding {
    let missing = missing(snapshot, pod).unwrap_or_default();
    if missing.is_empty() {
        return finding;
    }
    let first = &pod.metadata.name;
    let (their, exist, them, all) = match missing.len() {
        1 => ("its PVC", "exists", "it", "it is"),
        _ => ("their PVCs", "exist", "them", "all are"),
    };
    let names = words::list(&missing, 3);
    let service = match snapshot.service() {
        Ok(Some(service)) if service.is_headless() && !service.spec.publish_not_ready_addresses => format!(
            "; to find each other by name before they are ready, they need publishNotReadyAddresses: true in Service {}",
            service.metadata.name
        ),
        _ => String::new(),
    };
    let because = format!(
        "{}; {names} ran before ({their} still {exist}), and OrderedReady creates {them} only after {first} is ready: if {first} \
         becomes ready only together with {them}, this is a deadlock; with podManagementPolicy: Parallel {all} created at once: \
         the command recreates the StatefulSet for that, and keeps its pods and PVCs; or use a readinessProbe that does not ask \
         for the other replicas{service}",
        finding.because
    );
    let parallel = json!({"spec": {"podManagementPolicy": "Parallel"}});
    finding.because(because).remedy(recreated(snapshot, &parallel))
}

/// The replicas above this one that are gone and were there.
fn missing<'s>(snapshot: &'s Snapshot<'_>, pod: &Pod) -> Result<Vec<&'s str>, Unseen> {
    let set = snapshot.set;
    let status = &set.status;
    let waits = match controller::next(snapshot)? {
        Next::Wait { on, because: Blocker::NotReady } => pod.metadata.name == set.pod_name(on),
        _ => false,
    };
    // In an update the new template may be why, and a StatefulSet that is created again would forget where it came from.
    let updates = controller::current_revision(snapshot) != status.update_revision
        || pod.revision() != status.update_revision;
    if set.is_parallel()
        || !waits
        || updates
        || pod.restarts() > 0
        || set.spec.volume_claim_templates.is_empty()
    {
        return Ok(Vec::new());
    }
    let born = born(snapshot);
    let mut missing = Vec::new();
    for replica in snapshot.replicas()?.iter().filter(|replica| replica.name != pod.metadata.name) {
        match replica.pod {
            Some(_) => continue,
            None if replica.foreign_pod.is_some() => return Ok(Vec::new()),
            None => {}
        }
        let ran = replica.slots.iter().all(|slot| {
            slot.claim.is_some_and(|claim| {
                claim.is_bound()
                    && !claim.metadata.is_terminating()
                    && claim.metadata.creation_timestamp >= born
            })
        });
        if ran {
            missing.push(replica.name.as_str());
        }
    }
    Ok(missing)
}
