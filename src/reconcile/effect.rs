//! What a write is about, whether it had an effect, and why one that is left was not agreed to.

use crate::kinds::Pod;
use crate::plan::Step;
use crate::snapshot::Snapshot;
use crate::words;

/// What tells one version of the set from another.
pub(super) fn version(now: &Snapshot<'_>) -> String {
    let meta = &now.set.metadata;
    format!("{} {}", meta.uid, meta.resource_version)
}

/// Whether the cluster shows that a write was done; `before` is the version of the set at that time.
pub(super) fn has_effect(step: &Step, before: Option<&str>, now: &Snapshot<'_>) -> bool {
    match step {
        Step::Patch(_) => before.is_none_or(|before| before != version(now)),
        Step::DeletePod { seen, .. } => {
            let is_it = |pod: &&Pod| pod.metadata.uid == *seen;
            let pods = now.pods().unwrap_or_default();
            pods.iter().copied().find(is_it).is_none_or(|pod| pod.metadata.is_terminating())
        }
        Step::Await { .. } => true,
    }
}

/// Whether the object of a step is not the one any more that was seen.
pub(super) fn is_another(step: &Step, now: &Snapshot<'_>) -> bool {
    match step {
        Step::Patch(patch) => {
            let meta = &now.set.metadata;
            meta.uid != patch.seen || (patch.generation != 0 && patch.generation != meta.generation)
        }
        Step::DeletePod { pod, seen, .. } => {
            let pods = now.pods().unwrap_or_default();
            pods.iter().any(|other| other.metadata.name == *pod && other.metadata.uid != *seen)
        }
        Step::Await { .. } => false,
    }
}

/// The object a step is about: `StatefulSet web`.
pub(super) fn object(step: &Step) -> String {
    match step {
        Step::Patch(patch) => format!("StatefulSet {}", patch.set),
        Step::DeletePod { pod, .. } => format!("pod {pod}"),
        Step::Await { pods, .. } => words::list(pods, 3),
    }
}

/// A write in words: `patch StatefulSet web`.
pub(super) fn describe(step: &Step) -> String {
    let verb = match step {
        Step::Patch(_) => "patch",
        Step::DeletePod { evict: true, .. } => "evict",
        Step::DeletePod { evict: false, .. } => "delete",
        Step::Await { .. } => "wait for",
    };
    format!("{verb} {}", object(step))
}

/// Why a write that is left is none of those agreed to; `scaled` has the replicas wanted before and now, where they differ.
pub(super) fn drift(write: &Step, agreed: &[Step], scaled: Option<(i32, i32)>) -> String {
    let same = |other: &Step| match (write, other) {
        (Step::Patch(one), Step::Patch(other)) => one.body == other.body,
        (Step::DeletePod { pod: one, .. }, Step::DeletePod { pod: other, .. }) => one == other,
        _ => false,
    };
    let shown = agreed.iter().any(same);
    let scaled = scaled.map(|(before, now)| format!(" (replicas {before} → {now})")).unwrap_or_default();
    match write {
        Step::Patch(patch) if shown || !scaled.is_empty() => {
            format!("another client changed the spec of {}{scaled}", patch.set)
        }
        Step::Patch(patch) => format!("a change is needed that the plan did not show: {}", patch.note),
        Step::DeletePod { pod, .. } if shown => format!("{pod} has been replaced: it is another pod now"),
        Step::DeletePod { pod, note, .. } => {
            format!("{pod} would have to be deleted, which the plan did not show: {note}")
        }
        Step::Await { .. } => "another client changed something".to_owned(),
    }
}
