//! `watch`: a rollout or scaling, until it is settled or stuck.

use std::time::Duration;

use super::act::{Ending, OfSet, ProgressReporter};
use super::help;
use crate::cli::{Answer, Global, Ui};
use crate::cluster::connect::{connect, parse_duration};
use crate::cluster::live::Live;
use crate::error::{Error, Result};
use crate::paste::sts;
use crate::plan::{Agreement, Rollout};
use crate::reconcile::{Limits, reconcile};

/// Follows a rollout or a scaling until it is settled or stuck, and says on what
///
/// Settled: the controller has nothing left to do, and every replica is available. With a partition that is when the
/// part at and above it is done; with OnDelete when you have deleted every old pod. Stuck: a replica it waits for shows
/// evidence that it will not become available by itself.
#[derive(clap::Args, Debug)]
#[command(after_help = help!(
    "Reads what `status` reads, and watches the set, its pods, claims and warnings; writes nothing."
    ""
    "Examples:"
    "  kubectl sts watch postgres                                      until it is settled or stuck"
    "  kubectl sts watch postgres --timeout 10m --stable-for 1m        in a pipeline"
))]
pub struct Args {
    /// The set to watch
    #[arg(value_name = "NAME")]
    name: String,
    /// Give up after this time, with exit code 124 [default: never]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Settled only once it has stayed so for this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "0s")]
    stable_for: Duration,
    /// Stuck only once the evidence has held for this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s")]
    stuck_after: Duration,
}

pub(super) async fn run(global: &Global, args: &Args, streams: &Ui) -> Result<Answer> {
    let limits = Limits {
        timeout: args.timeout.filter(|timeout| !timeout.is_zero()),
        stuck_after: args.stuck_after,
        stable_for: args.stable_for,
        endless: false,
    };
    follow(global, &args.name, limits, streams).await
}

/// Follows one set; also what `status -w` does, without an end.
pub(super) async fn follow(global: &Global, name: &str, limits: Limits, streams: &Ui) -> Result<Answer> {
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
    account.only_watched = true;
    drop(teller);
    Ending::of(report, account).map(Ending::answer)
}
