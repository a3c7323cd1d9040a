//! A command from its plan to its end, as src/commands carries it out.

use std::time::Duration;

use kubectl_sts::plan::*;
use kubectl_sts::reconcile::{Limits, Observer, Outcome, Report, reconcile};
use kubectl_sts::snapshot::Snapshot;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::scenario::Typed;
use super::simulation::Simulation;

/// Tells the change of a canary from others.
pub const DIGEST: &str = "c";

pub const TIMEOUT: Duration = Duration::from_secs(240);

pub struct Nobody;

impl Observer for Nobody {
    fn look(&mut self, _: &Snapshot<'_>) {}
    fn trouble(&mut self, why: Option<&str>) {
        assert_eq!(why, None, "nothing is watched that could be down");
    }
}

enum Aim {
    Recover(Recover),
    Undo(Undo),
    Abort(Abort),
    Canary(Canary),
}

/// A plan that was shown and agreed to.
pub struct Agreed {
    aim: Aim,
    /// The steps of a canary that are still to be looked after.
    all_steps: Vec<usize>,
    pub plan: Plan,
    pub agreement: Agreement,
}

fn template(revision: &str) -> Value {
    json!({"metadata": {"annotations": {"revision": revision}}, "$patch": "replace"})
}

fn stamp(now: &Snapshot<'_>) -> Stamp {
    Stamp { by: "test@simulation".to_owned(), at: now.taken_at }
}

impl Typed {
    /// The goal, made from the cluster as the command makes it.
    fn aim(&self, sim: &Simulation, now: &Snapshot<'_>) -> Result<Aim, Stop> {
        let canary = |change: Option<Change>, steps: &[i32], goes_on: bool| Canary {
            change,
            steps: steps.to_vec(),
            ladder: if goes_on { Vec::new() } else { steps.to_vec() },
            goes_on,
            allow_unhealthy: false,
            finish: true,
            stamp: stamp(now),
            facts: Vec::new(),
            warnings: Vec::new(),
        };
        Ok(match self {
            Typed::Recover { evict } => Aim::Recover(Recover { evict: *evict, first: true }),
            Typed::Undo(target) => Aim::Undo(Undo {
                target: (*target).to_owned(),
                data: json!({"spec": {"template": template(target)}}),
                facts: Vec::new(),
                warnings: Vec::new(),
            }),
            Typed::Abort => {
                let stable = stable(now).map_err(Stop::Refused)?;
                let data = Some(json!({"spec": {"template": template(&stable)}}));
                Aim::Abort(Abort { stable, data, stamp: stamp(now), warnings: Vec::new() })
            }
            Typed::Canary { steps, image } => {
                let lines: Vec<String> = Some("image of container web: web:1 → web:2".to_owned())
                    .filter(|_| sim.template() != "C")
                    .into_iter()
                    .collect();
                let template = json!({"metadata": {"annotations": {"revision": "C"}}});
                let change = image.then(|| Change { template, digest: DIGEST.to_owned(), lines });
                if let Some(refusal) = change.as_ref().and_then(|change| {
                    edited(now, change, &json!({"metadata": {"annotations": {"revision": sim.template()}}}))
                }) {
                    return Err(Stop::Refused(refusal));
                }
                Aim::Canary(canary(change, steps, false))
            }
            Typed::Promote(partition) => Aim::Canary(canary(None, &[*partition], true)),
        })
    }

    /// Shows the plan, and it is agreed to.
    pub fn agree(&self, sim: &Simulation) -> Result<Agreed, Stop> {
        let gone = || Stop::Refused(Refusal { reason: "gone", because: String::new(), hint: String::new() });
        sim.look(|now| {
            let now = now.ok_or_else(gone)?;
            let aim = self.aim(sim, now)?;
            let (plan, all_steps) = match &aim {
                Aim::Recover(goal) => (plan_in_full(goal, now)?, Vec::new()),
                Aim::Undo(goal) => (plan_in_full(goal, now)?, Vec::new()),
                Aim::Abort(goal) => (plan_in_full(goal, now)?, Vec::new()),
                Aim::Canary(goal) => (plan_in_full(goal, now)?, goal.all_steps(now)?),
            };
            let agreement = Agreement::to(&plan);
            Ok(Agreed { aim, all_steps, plan, agreement })
        })
    }
}

impl Agreed {
    /// The plans of the goals that a canary is carried out by, one after another, as they are at its beginning.
    pub fn parts(&self, now: &Snapshot<'_>) -> Vec<Result<Plan, Stop>> {
        let Aim::Canary(goal) = &self.aim else { return Vec::new() };
        let all = self.all_steps.iter().map(|step| goal.up_to(*step)).chain([goal.ending()]);
        all.map(|goal| goal.plan(now)).collect()
    }

    /// Carries out what was agreed to.
    pub async fn run(&self, sim: &mut Simulation) -> Report {
        let started = Instant::now();
        let limits = || Limits {
            timeout: Some(TIMEOUT.saturating_sub(started.elapsed())),
            stuck_after: Duration::from_secs(5),
            stable_for: Duration::ZERO,
            endless: false,
        };
        let agreement = &self.agreement;
        let canary = match &self.aim {
            Aim::Recover(goal) => {
                let goal = Recover { first: false, ..*goal };
                return reconcile(sim, &goal, agreement, &limits(), &mut Nobody).await;
            }
            Aim::Undo(goal) => return reconcile(sim, goal, agreement, &limits(), &mut Nobody).await,
            Aim::Abort(goal) => return reconcile(sim, goal, agreement, &limits(), &mut Nobody).await,
            Aim::Canary(goal) => goal,
        };
        let mut journal = Vec::new();
        let all_steps = self.all_steps.iter().map(|rung| canary.up_to(*rung));
        for goal in all_steps.chain([canary.ending()]) {
            let report = reconcile(sim, &goal, agreement, &limits(), &mut Nobody).await;
            journal.extend(report.journal);
            if !matches!(report.outcome, Outcome::Reached) {
                return Report { journal, ..report };
            }
        }
        Report { outcome: Outcome::Reached, journal, agreed_to_write: agreement.writes() }
    }
}
