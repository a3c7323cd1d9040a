//! `watch`: a rollout or scaling, until it is settled or stuck.

use std::time::Duration;

use super::act::{Ending, OfSet, ProgressReporter};
use super::logs::LogArgs;
use super::notes;
use crate::cli::{Answer, Global, Ui, heading};
use crate::cluster::connect::connect;
use crate::cluster::live::Live;
use crate::error::{Error, Result};
use crate::paste::sts;
use crate::plan::{Agreement, Rollout};
use crate::reconcile::{Limits, reconcile};
use crate::words::parse_duration;

/// Follow a rollout or scale operation until it completes or gets stuck
///
/// Complete: the controller has nothing left to do, and every replica is available. With a partition, only the pods at and above it count; with OnDelete, it completes when you have deleted every outdated pod. Stuck: a replica that the controller waits for will not become available by itself, and the cause is shown.
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # Follow until the rollout is complete or stuck"
    "  kubectl sts watch postgres"
    ""
    "  # In a pipeline"
    "  kubectl sts watch postgres --timeout 10m --stable-for 1m"
    ""
    "Reads what `status` reads, and watches the StatefulSet, its pods, PVCs and Warning events; at the end, reads the last lines of the log of a \
     container that it is stuck on. Changes nothing."
))]
pub struct Args {
    /// StatefulSet to follow
    #[arg(value_name = "NAME")]
    name: String,
    /// Give up after this time, with exit code 124 (default: never)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = heading::WAITING)]
    timeout: Option<Duration>,
    /// Report "complete" only after the rollout has stayed complete for this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "0s", help_heading = heading::WAITING)]
    stable_for: Duration,
    /// Report "stuck" only after the problem has lasted this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s", help_heading = heading::WAITING)]
    stuck_after: Duration,
    #[command(flatten)]
    logs: LogArgs,
}

pub(super) async fn run(global: &Global, args: &Args, streams: &Ui) -> Result<Answer> {
    let limits = Limits {
        timeout: args.timeout.filter(|timeout| !timeout.is_zero()),
        stuck_after: args.stuck_after,
        stable_for: args.stable_for,
        endless: false,
    };
    Box::pin(follow(global, &args.name, limits, args.logs, streams)).await
}

/// Follows one set; also what `status -w` does, without an end.
pub(super) async fn follow(
    global: &Global,
    name: &str,
    limits: Limits,
    logs: LogArgs,
    streams: &Ui,
) -> Result<Answer> {
    if !global.from.is_empty() {
        return Err(Error::usage("a recording is a snapshot and cannot be watched")
            .hint(sts("status").name(name).with("--from").path(&global.from[0]).after("show it with")));
    }
    let name = crate::cli::bare(name)?;
    let connection = connect(&global.connect, global.namespace.as_deref(), streams.warn).await?;
    let namespace = connection.namespace.clone();
    let mut live = Live::start(connection, &namespace, name).await?;
    let mut teller = ProgressReporter::new(streams.look, global.output);
    let report = reconcile(&mut live, &Rollout, &Agreement::to_nothing(), &limits, &mut teller).await;
    let mut account = OfSet::of(&live, name, &namespace, &report, &teller);
    drop(teller);
    Box::pin(account.read_logs(&live, logs.lines(global.output))).await;
    Ending::of(report, account).map(Ending::answer)
}
