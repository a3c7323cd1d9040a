//! `status`: sets on one line each, or one set on a screen.

mod many;
mod one;
mod row;

use std::time::Duration;

use super::logs::{self, LogArgs};
use super::probe::ProbeArgs;
use super::{notes, trials, watch};
use crate::cli::{Answer, Global, SetFilter, Ui, heading};
use crate::cluster::inventory::Want;
use crate::error::{Error, Exit, Result};
use crate::reconcile::Limits;
use crate::render::{Output, column_path};
use crate::rules::{Filter, Skipped, of_set};
use crate::snapshot::Snapshot;

/// Show StatefulSets, or the details of one
///
/// Without a name: one line for each StatefulSet, the worst first. With one name: its replicas with pod, revision, node, PVC and PV, the partition, what the controller does next, and what is wrong. With -L or --show-labels: the list also for one name.
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # Show all StatefulSets of the cluster"
    "  kubectl sts status -A"
    ""
    "  # Show the details of one StatefulSet"
    "  kubectl sts status postgres -n shop"
    ""
    "  # Show the label tier of each StatefulSet as a column"
    "  kubectl sts status -L tier"
    ""
    "Reads StatefulSets, pods, PVCs, PVs, StorageClasses, Services, EndpointSlices, ControllerRevisions and Warning \
     events, and nodes, quotas and autoscalers where they matter; for one StatefulSet also the last lines of the logs of failing \
     containers. Where no event says why a pod of it is missing, it asks the API server for a dry run of the pod. With --probe-dns it also connects to the DNS pods of the cluster. Changes nothing. Names what it may not read."
))]
pub struct Args {
    /// StatefulSets to show; without names, all
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    choice: SetFilter,
    /// Follow one StatefulSet as `watch` does, until interrupted
    #[arg(short, long, conflicts_with = "probe_dns", help_heading = heading::WAITING)]
    watch: bool,
    /// Sort the list by a path of the JSON: .replicas, .metadata.name
    #[arg(long, value_name = "PATH", value_parser = column_path, conflicts_with = "watch", help_heading = heading::OUTPUT)]
    sort_by: Option<String>,
    /// Show these labels of the StatefulSets as columns of the list: app,tier
    #[arg(short = 'L', long, value_name = "LABEL,...", value_delimiter = ',', value_parser = label, conflicts_with = "watch", help_heading = heading::OUTPUT)]
    label_columns: Vec<String>,
    /// Show all labels of the StatefulSets in the last column of the list
    #[arg(long, conflicts_with = "watch", help_heading = heading::OUTPUT)]
    show_labels: bool,
    #[command(flatten)]
    logs: LogArgs,
    #[command(flatten)]
    probe: ProbeArgs,
}

/// The key of a label.
fn label(text: &str) -> std::result::Result<String, String> {
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
    match !text.is_empty() && text.chars().all(is_key) {
        true => Ok(text.to_owned()),
        false => Err("give keys of labels, such as app,app.kubernetes.io/version".to_owned()),
    }
}

pub(super) async fn run(global: &Global, args: &Args, streams: &Ui) -> Result<Answer> {
    if args.watch {
        let [name] = args.names.as_slice() else {
            return Err(Error::usage("only one StatefulSet can be followed")
                .hint("name it: kubectl sts status NAME -w"));
        };
        let limits =
            Limits { timeout: None, stuck_after: Duration::MAX, stable_for: Duration::MAX, endless: true };
        return Box::pin(watch::follow(global, name, limits, args.logs, streams)).await;
    }
    let want = if global.output == Output::Wide { Want::Everything } else { Want::Diagnosis };
    let mut sight = global.observe(args.choice.all_namespaces, want, streams.warn).await?;
    let chosen = sight.choose(&args.names, &args.choice)?;
    args.probe.ask(&mut sight, &chosen).await?;
    let labels = many::Labels { columns: args.label_columns.clone(), all: args.show_labels };
    // Only a list has columns, so one StatefulSet is a list of one then, as in kubectl get.
    let is_list = labels.any() && global.output.is_text();
    let is_one = !is_list
        && args.names.len() == 1
        && sight.observed.sets.iter().filter(|set| chosen(set)).count() == 1;
    if is_one {
        trials::ask(&mut sight, &chosen).await;
    }
    let namespaces = sight.observed.namespaces();
    let mut screens = Vec::new();
    for namespace in namespaces.values() {
        for set in namespace.sets.iter().copied().filter(|set| chosen(set)) {
            let snapshot = Snapshot::of(&sight.observed, namespace, set);
            let (mut findings, unseen) = of_set(&snapshot, &Filter::default());
            // A list shows no findings.
            if let Some(lines) = args.logs.lines(global.output).filter(|_| is_one) {
                let logs = logs::of(&sight, &logs::runs(&findings), lines).await;
                for finding in &mut findings {
                    logs::tell(&snapshot, finding, &logs, lines);
                }
            }
            let untried = trials::Untried::of(&sight.observed.trials);
            screens.push(one::Screen::of(&snapshot, findings, &unseen, untried));
        }
    }
    let is_unread = screens.iter().any(|screen| Skipped::any_failure(&screen.skipped));
    let view: Box<dyn crate::render::View> = match screens.pop() {
        Some(screen) if is_one => Box::new(screen),
        last => {
            screens.extend(last);
            let namespaces = args.choice.all_namespaces || !global.from.is_empty();
            let list = many::List::new(screens, sight.place.clone(), namespaces, labels);
            Box::new(match &args.sort_by {
                Some(path) => list.sorted_by(path),
                None => list,
            })
        }
    };
    Ok(Answer { view, exit: if is_unread { Exit::Cluster } else { Exit::Good } })
}
