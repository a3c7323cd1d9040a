//! What somebody agrees to with a plan: its writes, and every pod that restarts because of it.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use super::course::forecast_unblocked;
use super::{Goal, Plan, Step, Stop, forecast};
use crate::controller::{Move, Purpose};
use crate::snapshot::{Snapshot, Unseen, parse_pod_name};

/// The writes that were shown, and the pods that were named to restart. Nothing beyond it is done without asking again.
#[derive(Clone, Debug, Default)]
pub struct Agreement {
    steps: Vec<Step>,
    restarts: BTreeSet<String>,
    /// The revision of the template that it is about, once the controller has made it.
    revision: OnceCell<String>,
}

impl Agreement {
    /// What is agreed to with this plan, which must come from [`plan_in_full`].
    pub fn to(plan: &Plan) -> Agreement {
        let restarts = plan.restarts.iter().cloned().collect();
        let revision = plan.template.clone().map(OnceCell::from).unwrap_or_default();
        Agreement { steps: plan.agreed(), restarts, revision }
    }

    /// An agreement to watch only.
    pub fn to_nothing() -> Agreement {
        Agreement::default()
    }

    /// The steps that were shown, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Whether anything may be written.
    pub fn writes(&self) -> bool {
        self.steps.iter().any(Step::writes)
    }

    /// Whether this very write was shown.
    pub fn covers(&self, step: &Step) -> bool {
        self.steps.contains(step)
    }

    /// Pods that a plan restarts although they were not named, in its order.
    pub fn beyond<'p>(&self, plan: &'p Plan) -> Vec<&'p str> {
        let named = |pod: &&String| !self.restarts.contains(*pod);
        plan.restarts.iter().filter(named).map(String::as_str).collect()
    }

    /// Says so if another client has replaced the template since that of this agreement was seen: its own, if it brings
    /// one.
    pub fn other_template(&self, now: &Snapshot<'_>) -> Option<String> {
        let (set, generation) = (now.set, now.set.metadata.generation);
        let patches = || self.steps.iter().filter_map(Step::patch).filter(|patch| patch.generation != 0);
        let mut brings =
            self.steps.iter().filter(|step| step.brings_template()).filter_map(Step::patch).peekable();
        let is_brought = brings.peek().is_some();
        if !set.is_observed() || brings.any(|patch| generation <= patch.generation) {
            return None;
        }
        let update = &set.status.update_revision;
        let Some(revision) = self.revision.get() else {
            let last = patches().map(|patch| patch.generation).filter(|of| *of < generation).max();
            if is_brought && last.is_some_and(|last| generation > last + 1) {
                // The template may be theirs.
                return Some("another client changed the spec in the same moment".to_owned());
            }
            let _ = self.revision.set(update.clone());
            return None;
        };
        (revision != update).then(|| {
            format!(
                "another client changed the pod template: the update is to revision {}, no longer to {}",
                set.short_revision(update),
                set.short_revision(revision)
            )
        })
    }
}

/// The plan of a goal, with every pod that restarts because of it.
///
/// # Errors
/// As [`Goal::plan`].
pub fn plan_in_full(goal: &dyn Goal, now: &Snapshot<'_>) -> Result<Plan, Stop> {
    let mut plan = goal.plan(now)?;
    plan.restarts = restarts(now, &plan)?;
    Ok(plan)
}

/// The pods that are deleted to come back, by us or by the controller, from now until the plan is done: those of the
/// forecast, those that follow once what is in the way has gone, and those of deletions that may become needed. Pods that a scale-down removes and pods that have ended are
/// replaced whatever the plan does, so they are not part of it.
fn restarts(now: &Snapshot<'_>, plan: &Plan) -> Result<Vec<String>, Unseen> {
    if plan.steps.is_empty() {
        return Ok(Vec::new());
    }
    let (mut pods, mut known) = (Vec::new(), BTreeSet::new());
    let mut add = |pod: String| {
        let here = parse_pod_name(&pod).is_some_and(|(_, ordinal)| now.set.in_range(ordinal));
        if here && known.insert(pod.clone()) {
            pods.push(pod);
        }
    };
    let as_it_is = forecast(now, plan)?;
    let unblocked = forecast_unblocked(now, plan, &as_it_is)?;
    for step in as_it_is.moves.iter().chain(unblocked.iter().flat_map(|forecast| &forecast.moves)) {
        match step {
            Move::Delete(ordinal, None | Some(Purpose::Update)) => add(now.set.pod_name(*ordinal)),
            Move::Delete(_, Some(Purpose::ScaleDown | Purpose::Replace)) | Move::Create { .. } => {}
        }
    }
    for step in plan.if_needed.iter().chain(&plan.steps) {
        if let Some(pod) = step.deleted_pod() {
            add(pod.to_owned());
        }
    }
    Ok(pods)
}
