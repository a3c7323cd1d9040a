//! `status`: sets on one line each, or one set on a screen.

mod many;
mod one;
mod row;

use std::time::Duration;

use super::{notes, watch};
use crate::cli::{Answer, Global, SetFilter, Ui, heading};
use crate::cluster::inventory::Want;
use crate::error::{Error, Exit, Result};
use crate::reconcile::Limits;
use crate::render::Output;
use crate::rules::{Filter, of_set};
use crate::snapshot::Snapshot;

/// Show StatefulSets, or the details of one
///
/// Without a name: one line for each StatefulSet, the worst first. With one name: its replicas with pod, revision, node, PVC and PV, the partition, what the controller does next, and what is wrong.
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # Show all StatefulSets of the cluster"
    "  kubectl sts status -A"
    ""
    "  # Show the details of one StatefulSet"
    "  kubectl sts status postgres -n shop"
    ""
    "Reads StatefulSets, pods, PVCs, PVs, StorageClasses, Services, EndpointSlices, ControllerRevisions and Warning \
     events, and nodes, quotas and autoscalers where they matter. Changes nothing. Names what it may not read."
))]
pub struct Args {
    /// StatefulSets to show; without names, all
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    choice: SetFilter,
    /// Follow one StatefulSet as `watch` does, until interrupted
    #[arg(short, long, help_heading = heading::WAITING)]
    watch: bool,
}

pub(super) async fn run(global: &Global, args: &Args, streams: &Ui) -> Result<Answer> {
    if args.watch {
        let [name] = args.names.as_slice() else {
            return Err(Error::usage("only one StatefulSet can be followed")
                .hint("name it: kubectl sts status NAME -w"));
        };
        let limits =
            Limits { timeout: None, stuck_after: Duration::MAX, stable_for: Duration::MAX, endless: true };
        return watch::follow(global, name, limits, streams).await;
    }
    let want = if global.output == Output::Wide { Want::Everything } else { Want::Diagnosis };
    let sight = global.observe(args.choice.all_namespaces, want, streams.warn).await?;
    let chosen = sight.choose(&args.names, &args.choice)?;
    let namespaces = sight.observed.namespaces();
    let mut screens = Vec::new();
    for namespace in namespaces.values() {
        for set in namespace.sets.iter().copied().filter(|set| chosen(set)) {
            let snapshot = Snapshot::of(&sight.observed, namespace, set);
            let (findings, unseen) = of_set(&snapshot, &Filter::default());
            screens.push(one::Screen::of(&snapshot, findings, &unseen));
        }
    }
    let single = args.names.len() == 1 && screens.len() == 1;
    let view: Box<dyn crate::render::View> = match screens.pop() {
        Some(screen) if single => Box::new(screen),
        last => {
            screens.extend(last);
            let namespaces = args.choice.all_namespaces || !global.from.is_empty();
            Box::new(many::List::new(screens, sight.place.clone(), namespaces))
        }
    };
    Ok(Answer { view, exit: Exit::Good })
}
