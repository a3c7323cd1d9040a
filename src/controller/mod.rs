//! What the StatefulSet controller will do next, and what it waits for: pure, and per server version.
//!
//! Modelled on `pkg/controller/statefulset` of Kubernetes 1.37.1; earlier versions differ where said.

mod cells;
mod course;
mod next;
mod world;

use crate::kinds::{Pod, StatefulSet, Strategy};
use crate::snapshot::{ServerVersion, Snapshot, Unseen, parse_pod_name};

pub use course::{Assume, Change, End, Forecast, Move, Refusal, course, courses, courses_unblocked};
pub use next::{Action, Blocker, Idle, Next, Purpose, next};
pub use world::World;

/// How the server treats `maxUnavailable` (gate MaxUnavailableStatefulSet). Gates are not in the API, so the version
/// decides: on in 1.35.0 to 1.35.3, off from 1.35.4 to 1.36 (kubernetes/kubernetes#137926, #137904), on again from
/// 1.37 with the fix for Parallel sets (#137666, #139466).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxUnavailable {
    /// The field is ignored: one pod at a time.
    Ignored,
    /// It counts, and in a Parallel set old broken pods use it up (#137409).
    Trapping,
    /// It counts, and a Parallel set replaces its old broken pods first.
    Counted,
}

impl MaxUnavailable {
    /// What this version does; an unknown one is taken for the newest.
    pub fn of(server: Option<&ServerVersion>) -> MaxUnavailable {
        match server.and_then(ServerVersion::numbers) {
            Some((1, 35, 0..=3)) => MaxUnavailable::Trapping,
            Some((1, minor, _)) if minor < 37 => MaxUnavailable::Ignored,
            _ => MaxUnavailable::Counted,
        }
    }
}

/// The revision the controller takes for the current one: the update's where the status names none, or one that is gone
/// (`stateful_set_control.go:getStatefulSetRevisions`).
pub fn current_revision<'a>(snapshot: &Snapshot<'a>) -> &'a str {
    let status = &snapshot.set.status;
    let revisions = snapshot.revisions().unwrap_or_default();
    let exists = |name: &str| revisions.iter().any(|revision| revision.metadata.name == name);
    // Hand-written files seldom bring their revisions.
    let gone = exists(&status.update_revision) && !exists(&status.current_revision);
    if status.current_revision.is_empty() || gone {
        &status.update_revision
    } else {
        &status.current_revision
    }
}

/// The claim templates of which the pod has no volume (`stateful_set_utils.go:storageMatches`): it was made before the
/// StatefulSet was created again with more of them. Pods in hand-written files, which have no uid, seldom name their volumes.
pub fn missing_volumes<'a>(set: &'a StatefulSet, pod: &Pod) -> Vec<&'a str> {
    let Some((_, ordinal)) = parse_pod_name(&pod.metadata.name).filter(|_| !pod.metadata.uid.is_empty())
    else {
        return Vec::new();
    };
    let templates = set.spec.volume_claim_templates.iter().map(|template| template.metadata.name.as_str());
    let is_mounted = |template: &&str| {
        let mut volumes = pod.spec.volumes.iter().filter(|volume| volume.name == **template);
        let claim = volumes.next_back().and_then(|volume| volume.persistent_volume_claim.as_ref());
        claim.is_some_and(|claim| claim.claim_name == set.claim_name(template, ordinal))
    };
    templates.filter(|template| !is_mounted(template)).collect()
}

/// Whether there are such templates.
pub fn lacks_volume(set: &StatefulSet, pod: &Pod) -> bool {
    !missing_volumes(set, pod).is_empty()
}

/// The revision a pod with this ordinal would be made from if it were created now
/// (`stateful_set_utils.go:newVersionedStatefulSetPod`). Where `rollingUpdate` is absent this follows
/// `status.currentReplicas`, which moves while pods are deleted: there it is a forecast, and what comes back must be
/// looked at ([`may_get`]).
pub fn would_get<'a>(snapshot: &Snapshot<'a>, ordinal: i32) -> &'a str {
    made_from(snapshot.set, current_revision(snapshot), ordinal)
}

/// The same, where the current revision is known.
fn made_from<'a>(set: &'a StatefulSet, current: &'a str, ordinal: i32) -> &'a str {
    let boundary = match (set.strategy(), set.rolling_update()) {
        (Strategy::RollingUpdate, Some(rolling)) => rolling.partition,
        (Strategy::RollingUpdate, None) => set.status.current_replicas,
        _ => 0,
    };
    side(set, current, ordinal, boundary)
}

fn side<'a>(set: &'a StatefulSet, current: &'a str, ordinal: i32, boundary: i32) -> &'a str {
    if i64::from(ordinal) < i64::from(set.start()) + i64::from(boundary) {
        current
    } else {
        &set.status.update_revision
    }
}

/// The revision the replica may get instead, where the controller races with itself: without the `rollingUpdate` stanza it
/// reads the stored `status.currentReplicas`, which it may or may not have written anew between a pod's end and its
/// successor's creation. Seen on 1.37.1: after a graceful deletion always the new count, after a forced one either.
pub fn may_get<'a>(snapshot: &Snapshot<'a>, ordinal: i32) -> Option<&'a str> {
    let current = current_revision(snapshot);
    let replicas = snapshot.replicas().ok()?.iter().chain(snapshot.condemned().ok()?);
    // `computeReplicaStatus`, once this replica's pod is on its way out.
    let left = || {
        let left = replicas.filter(|replica| replica.ordinal != ordinal).filter_map(|replica| replica.pod);
        let left = left.filter(|pod| !pod.metadata.is_terminating() && pod.revision() == current).count();
        i32::try_from(left).unwrap_or(i32::MAX)
    };
    may_be_made_from(snapshot.set, current, ordinal, left)
}

/// The same, where the current revision is known, and how many other pods of it stay.
fn may_be_made_from<'a>(
    set: &'a StatefulSet,
    current: &'a str,
    ordinal: i32,
    left: impl FnOnce() -> i32,
) -> Option<&'a str> {
    if set.strategy() != Strategy::RollingUpdate || set.rolling_update().is_some() {
        return None;
    }
    let other = side(set, current, ordinal, left());
    (other != made_from(set, current, ordinal)).then_some(other)
}

/// A pod that keeps the whole set from going on, and that the controller will never replace by itself, although it
/// would come back on another revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap<'a> {
    /// The pod that has to go.
    pub ordinal: i32,
    /// The revision it has.
    pub has: &'a str,
    /// The revision its successor gets, once `rollingUpdate` is given where it is absent.
    pub would_get: &'a str,
}

/// Whether the set is caught by a pod of an abandoned revision (kubernetes/kubernetes#67250): the controller walks an
/// ordered set upwards, stops at the first pod that is not available, and so never comes to replacing old pods. Whether
/// that pod may still become ready by waiting is for the caller to judge.
///
/// # Errors
/// [`Unseen`] when pods could not be read.
pub fn trap<'a>(snapshot: &Snapshot<'a>) -> Result<Option<Trap<'a>>, Unseen> {
    let set = snapshot.set;
    let ordered = !set.is_parallel();
    let trapping = MaxUnavailable::of(snapshot.server) == MaxUnavailable::Trapping;
    if set.strategy() != Strategy::RollingUpdate || set.metadata.is_terminating() || !(ordered || trapping) {
        return Ok(None);
    }
    let mut blocked = snapshot.replicas()?.iter().filter_map(|replica| {
        let pod = replica.pod?;
        let stuck = !pod.metadata.is_terminating() && !pod.is_finished() && !snapshot.is_available(pod);
        stuck.then_some((replica.ordinal, pod.revision()))
    });
    // Without the stanza the cure is to add it first, with partition 0, so that the successor gets the update.
    let cured = set.rolling_update().is_none();
    let trap = |(ordinal, has): (i32, &'a str)| {
        let would_get = if cured { &set.status.update_revision } else { would_get(snapshot, ordinal) };
        (!has.is_empty() && has != would_get).then_some(Trap { ordinal, has, would_get })
    };
    if ordered {
        // Lower replicas that are missing are created first, and a terminating one is waited for.
        return Ok(match next(snapshot)? {
            Next::Wait { on, because: Blocker::NotReady | Blocker::NotYetAvailable } => {
                blocked.find(|(ordinal, _)| *ordinal == on).and_then(trap)
            }
            _ => None,
        });
    }
    let all: Vec<_> = blocked.collect();
    let budget =
        usize::try_from(next::max_unavailable(set, MaxUnavailable::of(snapshot.server))).unwrap_or(1);
    Ok(if all.len() >= budget { all.into_iter().filter_map(trap).next_back() } else { None })
}
