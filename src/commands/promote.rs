//! `promote`: a canary goes on.

use serde_json::Value;

use super::act::Consent;
use super::canary::{Verification, climb, managed, stamp};
use super::help;
use crate::cli::{Answer, Global, Ui};
use crate::error::Result;
use crate::plan::Canary;
use crate::snapshot::Snapshot;

/// Goes on with a canary: to the next pods, or to all of them
///
/// Without a flag to the next of the --steps the canary was begun with, else to one pod more; while the pods that are
/// to move already are on their way, it finishes that. At partition 0, when every pod is available, the mark of the
/// canary is removed.
#[derive(clap::Args, Debug)]
#[command(after_help = help!(
    "Writes the partition, and at the end removes the annotation kubectl-sts/canary."
    ""
    "Examples:"
    "  kubectl sts promote postgres                           the next pods"
    "  kubectl sts promote postgres --partition 1"
    "  kubectl sts promote postgres --full --yes              all of them"
))]
pub struct Args {
    /// The set
    #[arg(value_name = "NAME")]
    name: String,
    /// Move the pods from this index up, counted from the first ordinal
    #[arg(long, value_name = "N", conflicts_with = "full", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// Move all pods
    #[arg(long)]
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
