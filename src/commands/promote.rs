//! `promote`: a canary goes on.

use serde_json::Value;

use super::act::Consent;
use super::canary::{Verification, climb, managed, stamp};
use super::notes;
use crate::cli::{Answer, Global, Ui, heading};
use crate::error::Result;
use crate::plan::Canary;
use crate::snapshot::Snapshot;

/// Continue a canary on the next pods, or on all
///
/// Without a flag, it continues with the next of the canary's --steps, or else with one more pod. If the last step is not complete yet, it completes that one. At partition 0, when every pod is available, it removes the annotation kubectl-sts/canary.
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # Update the next pods"
    "  kubectl sts promote postgres"
    ""
    "  # Update pods with index 1 and above"
    "  kubectl sts promote postgres --partition 1"
    ""
    "  # Update all pods, without asking"
    "  kubectl sts promote postgres --full --yes"
    ""
    "Reads what `watch` reads. Patches the partition, and at the end removes the annotation kubectl-sts/canary."
))]
pub struct Args {
    /// StatefulSet to update
    #[arg(value_name = "NAME")]
    name: String,
    /// Update pods with this index and above, counted from the first ordinal
    #[arg(long, value_name = "N", conflicts_with = "full", value_parser = clap::value_parser!(i32).range(0..), help_heading = heading::HOW_FAR)]
    partition: Option<i32>,
    /// Update all pods
    #[arg(long, help_heading = heading::HOW_FAR)]
    full: bool,
    /// How well the pods have to do.
    #[command(flatten)]
    looking: Verification,
    /// What is agreed to.
    #[command(flatten)]
    consent: Consent,
}

pub(super) async fn run(global: &Global, args: &Args, streams: &Ui) -> Result<Answer> {
    let make = |now: &Snapshot<'_>, raw: Option<&Value>| -> Result<Canary> {
        let to = match (args.full, args.partition) {
            (true, _) => 0,
            (false, Some(partition)) => partition,
            (false, None) => next(now),
        };
        Ok(Canary {
            facts: Vec::new(),
            change: None,
            steps: vec![to],
            ladder: Vec::new(),
            goes_on: true,
            allow_unhealthy: false,
            finish: true,
            stamp: stamp(now),
            warnings: managed(now.set, raw),
        })
    };
    Box::pin(climb(global, &args.name, &args.consent, &args.looking, streams, make)).await
}

/// Where a canary goes next by itself. What is under way is finished first, so that the same command again after an
/// interruption does not go further than it was to go.
fn next(now: &Snapshot<'_>) -> i32 {
    let set = now.set;
    let partition = set.partition().min(set.replicas());
    let done = set.is_observed()
        && now
            .above(partition)
            .is_ok_and(|pods| pods.iter().all(|replica| now.is_updated_and_available(replica)));
    if !done {
        return partition;
    }
    let mark = now.mark().flatten();
    let planned = mark.and_then(|mark| mark.steps.into_iter().find(|step| *step < partition));
    planned.unwrap_or((partition - 1).max(0))
}
