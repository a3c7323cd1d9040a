//! What somebody agrees to with a plan: its writes, and every pod that restarts because of it.

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
}

impl Agreement {
    /// What is agreed to with this plan, which must come from [`plan_in_full`].
    pub fn to(plan: &Plan) -> Agreement {
        Agreement { steps: plan.agreed(), restarts: plan.restarts.iter().cloned().collect() }
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
