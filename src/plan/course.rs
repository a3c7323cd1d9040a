//! What the controller makes of a plan, by the model run forward.

use super::{Plan, SetPatch, Step};
use crate::controller::{Change, End, Forecast, courses, courses_unblocked};
use crate::snapshot::{Snapshot, Unseen, parse_pod_name};

/// The name a template's revision has in a course as long as the server has not named it.
pub const NEW: &str = "";

/// Which pods go and come if all of the plan is done, and where it ends. Pods that are stuck now stay so until they are
/// deleted; all others are taken to become available.
///
/// # Errors
/// [`Unseen`] when pods could not be read.
pub fn forecast(now: &Snapshot<'_>, plan: &Plan) -> Result<Forecast, Unseen> {
    courses(now, &changes(plan))
}

/// The same if what is in the way goes, in a minute or in a year: the controller continues then, and nobody is asked again.
/// `None` where nothing is in the way.
///
/// # Errors
/// [`Unseen`] when pods could not be read.
pub(super) fn forecast_unblocked(
    now: &Snapshot<'_>,
    plan: &Plan,
    as_it_is: &Forecast,
) -> Result<Option<Forecast>, Unseen> {
    match as_it_is.end {
        End::Blocked(..) | End::Refused(..) => courses_unblocked(now, &changes(plan)).map(Some),
        End::At(_) | End::Endless => Ok(None),
    }
}

impl Plan {
    /// The partition that its steps lead to, if they change it.
    pub fn partition(&self) -> Option<i32> {
        changes(self).iter().rev().find_map(|change| change.partition)
    }
}

/// What the steps of a plan change, in order.
fn changes(plan: &Plan) -> Vec<Change> {
    let mut changes: Vec<Change> = Vec::new();
    // A pause is followed by the next write at once, before the rollout could end there.
    let mut paused: Option<Change> = None;
    let mut waits_for: Vec<i32> = Vec::new();
    let ordinal = |pod: &String| parse_pod_name(pod).map(|(_, ordinal)| ordinal);
    for step in &plan.steps {
        match step {
            Step::Patch(patch) if patch.pauses => paused = Some(change(patch)),
            Step::Patch(patch) => {
                let change = change(patch);
                let partition =
                    change.partition.or_else(|| paused.take().and_then(|paused| paused.partition));
                let waits_for = std::mem::take(&mut waits_for);
                changes.push(Change { partition, waits_for, ..change });
            }
            Step::DeletePod { pod, .. } => {
                let delete = ordinal(pod).into_iter().collect();
                let waits_for = std::mem::take(&mut waits_for);
                changes.push(Change { delete, waits_for, ..Change::default() });
            }
            Step::CreateSnapshot { .. }
            | Step::PatchVolume(_)
            | Step::DeletePvc { .. }
            | Step::CreatePvc { .. }
            | Step::AwaitPvc { .. } => {}
            Step::Await { pods, .. } => waits_for = pods.iter().filter_map(ordinal).collect(),
        }
    }
    changes.extend(paused);
    changes
}

fn change(patch: &SetPatch) -> Change {
    let at = |path: &str| patch.body.pointer(path);
    let number =
        |path: &str| at(path).and_then(serde_json::Value::as_i64).and_then(|number| number.try_into().ok());
    Change {
        // On a recording an earlier template is known by its name only.
        template: patch.revision.clone().or_else(|| at("/spec/template").map(|_| NEW.to_owned())),
        partition: number("/spec/updateStrategy/rollingUpdate/partition"),
        replicas: number("/spec/replicas"),
        delete: Vec::new(),
        waits_for: Vec::new(),
    }
}
