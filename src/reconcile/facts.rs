//! What the loop has to know of how things stand, besides the plan: whether a write had an effect, why one that is left was
//! not agreed to, and whether something is stuck.

use jiff::Timestamp;

use super::journal::{Entry, Replacement};
use crate::kinds::{PersistentVolume, Pod, RETAIN, Strategy};
use crate::plan::prune::phase::{Claim, Volume};
use crate::plan::prune::{Claims, Deletions, Known, SnapshotState};
use crate::plan::restore::{Remains, Returning, Returns};
use crate::plan::{
    Agreement, Goal, OneSet, Plan, Step, Stop, Subject, VolumeChange, VolumePatch, plan_in_full,
};
use crate::rules::{Stuck, stuck};
use crate::snapshot::Snapshot;

/// What is asked of how things stand.
pub trait Facts: Subject + Sized {
    /// When it was looked.
    fn taken_at(now: &Self::Now<'_>) -> Timestamp;

    /// All steps that are left, with every pod that restarts because of them.
    ///
    /// # Errors
    /// As [`Goal::plan`].
    fn plan(goal: &dyn Goal<Self>, now: &Self::Now<'_>) -> Result<Plan, Stop> {
        goal.plan(now)
    }

    /// What tells one version of the object from another, for [`Facts::has_effect`].
    fn version(_now: &Self::Now<'_>) -> String {
        String::new()
    }

    /// Whether the cluster shows that a write was done; `before` is the version at that time.
    fn has_effect(step: &Step, before: Option<&str>, now: &Self::Now<'_>) -> bool;

    /// Whether the object of a step is not the one any more that was seen, and the plan would not say so.
    fn is_another(_step: &Step, _now: &Self::Now<'_>) -> bool {
        false
    }

    /// Whether it has to settle although no step is left, and what it is stuck on if something is waited for.
    fn standing(_now: &Self::Now<'_>, _is_at_rest: bool, _waits: bool) -> Standing {
        Standing::default()
    }

    /// Says so if another client has replaced what the agreement is about.
    fn other_template(_agreement: &Agreement, _now: &Self::Now<'_>) -> Option<String> {
        None
    }

    /// How many replicas are wanted.
    fn replicas(_now: &Self::Now<'_>) -> Option<i32> {
        None
    }

    /// What has to come back in place of what a step deletes, as the journal's `entry`.
    fn replacement(_step: &Step, _now: &Self::Now<'_>, _entry: usize) -> Option<Replacement> {
        None
    }

    /// Notes what came back in the journal; says so if something else did than was shown.
    fn check_replacements(
        _now: &Self::Now<'_>,
        _replacements: &mut Vec<Replacement>,
        _journal: &mut [Entry],
    ) -> Option<String> {
        None
    }
}

/// See [`Facts::standing`].
#[derive(Default)]
pub struct Standing {
    /// What is ready now was not a moment ago, and may not be in another one.
    pub settles: bool,
    /// What it is stuck on.
    pub stuck: Option<Stuck>,
}

impl Facts for OneSet {
    fn taken_at(now: &Snapshot<'_>) -> Timestamp {
        now.taken_at
    }

    fn plan(goal: &dyn Goal, now: &Snapshot<'_>) -> Result<Plan, Stop> {
        plan_in_full(goal, now)
    }

    fn version(now: &Snapshot<'_>) -> String {
        let meta = &now.set.metadata;
        format!("{} {}", meta.uid, meta.resource_version)
    }

    fn has_effect(step: &Step, before: Option<&str>, now: &Snapshot<'_>) -> bool {
        match step {
            // The controller writes the status all the time, which changes the resourceVersion too.
            Step::Patch(patch) if patch.generation != 0 => now.set.metadata.generation != patch.generation,
            Step::Patch(_) => before.is_none_or(|before| before != Self::version(now)),
            Step::DeletePod { seen, .. } => {
                let is_it = |pod: &&Pod| pod.metadata.uid == *seen;
                let pods = now.pods().unwrap_or_default();
                pods.iter().copied().find(is_it).is_none_or(|pod| pod.metadata.is_terminating())
            }
            Step::Await { .. } | Step::AwaitPvc { .. } => true,
            Step::CreateSnapshot { .. }
            | Step::PatchVolume(_)
            | Step::DeletePvc { .. }
            | Step::CreatePvc { .. } => false,
        }
    }

    fn is_another(step: &Step, now: &Snapshot<'_>) -> bool {
        match step {
            Step::Patch(patch) => {
                let meta = &now.set.metadata;
                meta.uid != patch.seen || (patch.generation != 0 && patch.generation != meta.generation)
            }
            Step::DeletePod { pod, seen, .. } => {
                let pods = now.pods().unwrap_or_default();
                pods.iter().any(|other| other.metadata.name == *pod && other.metadata.uid != *seen)
            }
            Step::CreateSnapshot { .. }
            | Step::PatchVolume(_)
            | Step::DeletePvc { .. }
            | Step::CreatePvc { .. }
            | Step::Await { .. }
            | Step::AwaitPvc { .. } => false,
        }
    }

    fn standing(now: &Snapshot<'_>, is_at_rest: bool, waits: bool) -> Standing {
        // Whoever deletes the pods of an OnDelete set looks after them.
        let on_delete = now.set.strategy() == Strategy::OnDelete;
        let settles = is_at_rest && !on_delete && now.unsteady().is_some();
        Standing { settles, stuck: if waits || settles { stuck(now) } else { None } }
    }

    fn other_template(agreement: &Agreement, now: &Snapshot<'_>) -> Option<String> {
        agreement.other_template(now)
    }

    fn replicas(now: &Snapshot<'_>) -> Option<i32> {
        Some(now.set.replicas())
    }

    fn replacement(step: &Step, now: &Snapshot<'_>, entry: usize) -> Option<Replacement> {
        Replacement::of(step, now, entry)
    }

    fn check_replacements(
        now: &Snapshot<'_>,
        replacements: &mut Vec<Replacement>,
        journal: &mut [Entry],
    ) -> Option<String> {
        super::journal::check_replacements(now, replacements, journal)
    }
}

impl Facts for Deletions {
    fn taken_at(now: &Claims) -> Timestamp {
        now.taken_at
    }

    fn has_effect(step: &Step, _before: Option<&str>, now: &Claims) -> bool {
        let Some(pvc) = step.pvc() else { return true };
        let Some(known) = now.known.iter().find(|known| known.item.pvc == *pvc) else { return true };
        match step {
            Step::PatchVolume(patch) => is_patched(patch, known),
            Step::DeletePvc { .. } => known.state.claim != Claim::There,
            Step::CreateSnapshot { .. } => known.snapshot != SnapshotState::Missing,
            Step::Await { .. } | Step::AwaitPvc { .. } => true,
            Step::Patch(_) | Step::DeletePod { .. } | Step::CreatePvc { .. } => false,
        }
    }
}

/// Whether a volume is as the patch has made it; one that is destroyed or another's since was.
fn is_patched(patch: &VolumePatch, known: &Known) -> bool {
    let Volume::Its { policy, noted, .. } = &known.state.volume else { return true };
    match &patch.change {
        VolumeChange::Guard { .. } => policy == RETAIN && noted.is_some(),
        VolumeChange::Keep => policy == RETAIN && noted.is_none(),
        VolumeChange::GiveBack { policy: wanted, .. } => policy == wanted && noted.is_none(),
        VolumeChange::Free => false,
    }
}

impl Facts for Returns {
    fn taken_at(now: &Returning) -> Timestamp {
        now.taken_at
    }

    fn has_effect(step: &Step, _before: Option<&str>, now: &Returning) -> bool {
        let Some(pvc) = step.pvc() else { return true };
        let Some(remains) = now.all.iter().find(|remains| remains.deleted.pvc == *pvc) else { return true };
        match step {
            Step::PatchVolume(patch) => {
                remains.volume.as_ref().is_none_or(|volume| is_returned(patch, volume, remains))
            }
            Step::CreatePvc { .. } => remains.claim.is_some(),
            Step::Await { .. } | Step::AwaitPvc { .. } => true,
            Step::Patch(_)
            | Step::DeletePod { .. }
            | Step::CreateSnapshot { .. }
            | Step::DeletePvc { .. } => false,
        }
    }
}

/// Whether a volume is as the patch has made it.
fn is_returned(patch: &VolumePatch, volume: &PersistentVolume, remains: &Remains) -> bool {
    let policy = &volume.spec.persistent_volume_reclaim_policy;
    match &patch.change {
        VolumeChange::Free => {
            let holder = volume.spec.claim_ref.as_ref().map_or("", |reference| &reference.uid);
            holder.is_empty() || holder != remains.deleted.pvc.uid
        }
        VolumeChange::GiveBack { policy: wanted, .. } => {
            policy == wanted && remains.earlier_policy().is_none()
        }
        VolumeChange::Guard { .. } | VolumeChange::Keep => policy == RETAIN,
    }
}

/// Why a write that is left is none of those agreed to; `scaled` has the replicas wanted before and now, where they differ.
pub(super) fn drift(write: &Step, agreement: &Agreement, scaled: Option<(i32, i32)>) -> String {
    let shown = agreement.steps().iter().any(|other| is_alike(write, other));
    let scaled = scaled.map(|(before, now)| format!(" (replicas {before} → {now})")).unwrap_or_default();
    match write {
        Step::Patch(patch) if shown || !scaled.is_empty() => {
            format!("another client changed the spec of {}{scaled}", patch.set)
        }
        Step::DeletePod { pod, .. } if shown => format!("{pod} was replaced by another pod of the same name"),
        Step::DeletePod { pod, note, .. } => {
            format!("{pod} would have to be deleted, but the plan did not show that: {note}")
        }
        Step::Patch(_)
        | Step::CreateSnapshot { .. }
        | Step::PatchVolume(_)
        | Step::DeletePvc { .. }
        | Step::CreatePvc { .. } => {
            let what = if write.pvc().is_some() { format!("{}: ", write.text()) } else { String::new() };
            format!("a change is necessary that the plan did not show: {what}{}", write.note())
        }
        Step::Await { .. } | Step::AwaitPvc { .. } => "another client changed something".to_owned(),
    }
}

/// Whether a step looks like another, whatever was seen of its object.
fn is_alike(one: &Step, other: &Step) -> bool {
    match one {
        Step::Patch(patch) => matches!(other, Step::Patch(other) if patch.body == other.body),
        Step::DeletePod { pod, .. } => matches!(other, Step::DeletePod { pod: other, .. } if pod == other),
        Step::CreateSnapshot { .. }
        | Step::PatchVolume(_)
        | Step::DeletePvc { .. }
        | Step::CreatePvc { .. }
        | Step::Await { .. }
        | Step::AwaitPvc { .. } => one == other,
    }
}
