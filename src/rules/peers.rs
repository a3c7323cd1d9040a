//! Replicas that wait for peers which are created, or get a DNS name, only after them.

use std::collections::HashMap;

use jiff::SignedDuration;
use serde_json::json;

use super::log::this_run;
use super::old_data::born;
use super::pods::{DEADLINE, Group};
use super::prelude::*;
use super::rollouts::recreated;
use super::services;
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

/// How long an init container may take to find its peers. Scripts that give up after a while have done so by then.
const SEARCH: SignedDuration = SignedDuration::from_mins(1);

/// An init container, and the replicas that it names: which, and whether under the governing Service.
type Search<'a> = (&'a str, Vec<(i32, bool)>);

/// What an init container waits for that does not come before it has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Held<'a> {
    /// The init container.
    pub container: &'a str,
    /// Its peers that are created only after its pod is ready.
    uncreated: Vec<i32>,
    /// Its peers, or itself, that have no DNS name before they are ready, and wait as well.
    unpublished: Vec<i32>,
}

/// The pods whose init containers wait for good: for a pod that OrderedReady creates only after theirs
/// (`stateful_set_control.go:processReplica`), or for the name of one that waits in the same way, as the Service gives a pod
/// its name only once it is ready (`endpoint_controller.go:addEndpointSubset`, and the same for slices).
pub(super) fn held<'a>(snapshot: &Snapshot<'a>) -> Result<HashMap<i32, Held<'a>>, Unseen> {
    let set = snapshot.set;
    let replicas = snapshot.replicas()?;
    let mut waiting: HashMap<i32, Search<'a>> = HashMap::new();
    for replica in replicas {
        let Some(pod) = replica.pod.filter(|pod| !pod.metadata.is_terminating()) else { continue };
        if let Some(found) = searching(snapshot, pod) {
            waiting.insert(replica.ordinal, found);
        }
    }
    if waiting.is_empty() {
        return Ok(HashMap::new());
    }
    let is_absent = |peer: i32| {
        set.in_range(peer)
            && replicas.iter().any(|it| it.ordinal == peer && it.pod.is_none() && it.foreign_pod.is_none())
    };
    let comes_after = |own: i32, peer: i32| !set.is_parallel() && peer > own && is_absent(peer);
    let hides = match snapshot.service() {
        Ok(Some(service)) => service.is_headless() && !service.spec.publish_not_ready_addresses,
        _ => false,
    };
    // Who waits for one that waits may wait for good: who does not, falls out one after another.
    loop {
        let ends: Vec<i32> = (waiting.iter())
            .filter(|(own, (_, peers))| {
                !peers.iter().any(|(peer, governed)| {
                    comes_after(**own, *peer) || (hides && *governed && waiting.contains_key(peer))
                })
            })
            .map(|(own, _)| *own)
            .collect();
        if ends.is_empty() {
            break;
        }
        waiting.retain(|own, _| !ends.contains(own));
    }
    let each = waiting.iter().map(|(own, (container, peers))| {
        let of = |is_it: &dyn Fn(i32, bool) -> bool| {
            let found = peers.iter().filter(|(peer, governed)| is_it(*peer, *governed));
            let mut found: Vec<i32> = found.map(|(peer, _)| *peer).collect();
            found.sort_unstable();
            found.dedup();
            found
        };
        let uncreated = of(&|peer, _| comes_after(*own, peer));
        let unpublished = of(&|peer, governed| {
            hides && governed && (waiting.contains_key(&peer) || comes_after(*own, peer))
        });
        (*own, Held { container, uncreated, unpublished })
    });
    Ok(each.collect())
}

/// The init container of a pod that runs and names replicas in a command that waits: which, and whether under the name of the
/// governing Service.
fn searching<'a>(snapshot: &Snapshot<'_>, pod: &'a Pod) -> Option<Search<'a>> {
    let runs = pod.status.init_container_statuses.iter().find(|status| {
        let started = status.state.running.as_ref().and_then(|running| running.started_at);
        !pod.is_sidecar(&status.name) && snapshot.since(started).is_some_and(|time| time > SEARCH)
    })?;
    let container = pod.spec.init_containers.iter().find(|init| init.name == runs.name)?;
    let governed = |rest: &str| rest.split('.').next() == Some(pod.spec.subdomain.as_str());
    let own = container.peers().filter(|(peer, ordinal, _)| *peer == snapshot.set.pod_name(*ordinal));
    let peers: Vec<(i32, bool)> = own.map(|(_, ordinal, rest)| (ordinal, governed(rest))).collect();
    (!peers.is_empty()).then_some((container.name.as_str(), peers))
}

/// The finding about pods whose init container waits for good.
pub(super) fn deadlocked(
    snapshot: &Snapshot<'_>,
    rule: &'static Rule,
    group: &Group<'_>,
    held: &Held<'_>,
) -> Finding {
    let set = snapshot.set;
    let Held { container, uncreated, unpublished } = held;
    let names = |ordinals: &[i32]| {
        let names: Vec<String> = ordinals.iter().map(|ordinal| set.pod_name(*ordinal)).collect();
        words::list(&names, 3)
    };
    let pod = group.pod();
    let says = if uncreated.is_empty() {
        let what = "a DNS name that exists only after";
        [
            format!("waits in its init container {container} for {what} the pod is ready"),
            format!("wait in their init container {container} for {what} the pods are ready"),
        ]
    } else {
        let peers = names(uncreated);
        let are = if uncreated.len() == 1 { "is" } else { "are" };
        [
            format!("waits in its init container {container} for {peers}, which {are} created only after it"),
            format!(
                "wait in their init container {container} for {peers}, which {are} created only after them"
            ),
        ]
    };
    let mut because =
        format!("the command of {container} names what it waits for; {}", group.unready(snapshot));
    if !uncreated.is_empty() {
        because += &format!(
            "; OrderedReady creates {} only after {pod} is ready, so this is a deadlock; with podManagementPolicy: Parallel \
             all pods are created at once: the command recreates the StatefulSet for that, and keeps its pods and PVCs",
            names(uncreated)
        );
    }
    let service = &set.spec.service_name;
    if !unpublished.is_empty() {
        because += &format!(
            "; Service {service} lacks publishNotReadyAddresses, so {} {} no DNS name until it is ready",
            names(unpublished),
            if unpublished.len() == 1 { "has" } else { "each have" }
        );
    }
    because += "; or let the main container wait instead of an init container";
    let late = group.longest(snapshot).is_some_and(|time| time > DEADLINE);
    let finding = group
        .finding(rule, &says)
        .because(because)
        .told_by(this_run(snapshot, group.first().pod, container))
        .only(if late { Severity::Error } else { Severity::Warning });
    let publish = json!({"spec": {"publishNotReadyAddresses": true}});
    let finding = match unpublished.is_empty() {
        true => finding,
        false => finding.remedy(services::patch(snapshot, service, &publish)),
    };
    let finding = match uncreated.is_empty() {
        true => finding,
        false => finding.remedy(recreated(snapshot, &json!({"spec": {"podManagementPolicy": "Parallel"}}))),
    };
    group.back(snapshot).into_iter().fold(finding, Finding::instead)
}
