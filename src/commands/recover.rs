//! `recover`: a set that cannot free itself.

use super::act::{Consent, Consented, confirm_plan, idle, permitted, recorded, see_through, stopped};
use super::notes;
use crate::cli::{Answer, Global, Ui, bare, heading};
use crate::cluster::Performed;
use crate::cluster::connect::connect;
use crate::cluster::live::Live;
use crate::error::{Error, Result};
use crate::plan::{Agreement, Goal, Plan, Recover, Step, plan_in_full};
use crate::snapshot::Snapshot;

/// Recover a rollout blocked by a broken pod
///
/// A StatefulSet with ordered updates waits for a broken pod of an old revision and never replaces it, even if the template is correct again (kubernetes/kubernetes#67250). This command deletes exactly the pods that block the rollout, one at a time, with their own grace period, and waits for each replacement. It does not change the template, and it never touches PVCs. It refuses if deleting the pod would not help.
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # Show what would be done"
    "  kubectl sts recover postgres --dry-run"
    ""
    "  # In a pipeline"
    "  kubectl sts recover postgres --yes --timeout 10m"
    ""
    "Reads what `watch` reads. Deletes pods, or evicts them with --evict. If the StatefulSet has no rollingUpdate \
     field, sets its partition to 0 first."
))]
pub struct Args {
    /// StatefulSet to recover
    #[arg(value_name = "NAME")]
    name: String,
    /// Evict pods instead of deleting them, which respects PodDisruptionBudgets
    #[arg(long, help_heading = heading::SAFETY)]
    evict: bool,
    /// What is agreed to.
    #[command(flatten)]
    consent: Consent,
}

pub(super) async fn run(global: &Global, args: &Args, streams: &Ui) -> Result<Answer> {
    let (name, consent) = (bare(&args.name)?, &args.consent);
    let goal = Recover { evict: args.evict, first: true };
    if !global.from.is_empty() {
        return recorded(global, name, streams, |now| plan_in_full(&goal, now).map_err(stopped)).await;
    }
    let connection = connect(&global.connect, global.namespace.as_deref(), streams.warn).await?;
    let namespace = connection.namespace.clone();
    let mut live = Live::start(connection, &namespace, name).await?;
    loop {
        if args.evict {
            live.catch_up().await?;
            let plan = live.look(|now| now.map(|now| goal.plan(now)));
            if let Some(Ok(plan)) = plan {
                permitted(live.connection(), &plan).await?;
                allowed(&mut live, &plan).await?;
            }
        }
        let plan = match confirm_plan(&mut live, name, &goal, consent, global, streams).await? {
            Consented::To(plan) => plan,
            Consented::Nothing(plan) => return Ok(idle(&live, plan, name)),
            Consented::Answered(answer) => return Ok(answer),
        };
        let (agreement, under_way) = (Agreement::to(&plan), Recover { first: false, ..goal });
        let none = |_: Option<&Snapshot<'_>>| Vec::new();
        let done =
            see_through(&mut live, name, &under_way, &agreement, consent, global, streams, none).await?;
        if let Some(answer) = done {
            return Ok(answer);
        }
    }
}

/// Asks the disruption budgets by evictions without effect, before anything is agreed to.
async fn allowed(live: &mut Live, plan: &Plan) -> Result<()> {
    for step in plan.writes() {
        if let Step::DeletePod { pod, evict: true, .. } = step
            && let Performed::Conflict(message)
            | Performed::TooManyRequests(message)
            | Performed::Forbidden(message) = live.perform(step, true).await?
        {
            return Err(Error::refused(format!("{pod} cannot be evicted now"))
                .reason("budget")
                .because(message)
                .hint("run it without --evict: a deletion ignores the budget, and the pod is not ready, so it serves no requests"));
        }
    }
    Ok(())
}
