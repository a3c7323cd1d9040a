//! `record`: what can be observed, as a file.

mod file;

use std::path::Path;

use serde_json::Value;

use super::probe::ProbeArgs;
use super::{logs, notes};
use crate::cli::{Answer, Global, SetFilter, heading};
use crate::cluster::inventory::Want;
use crate::cluster::logs::LINES;
use crate::cluster::recorded;
use crate::error::{Error, Exit, Result};
use crate::paste::sts;
use crate::render::{Output, Page, View, render};
use crate::rules::{Filter, diagnose};

/// Record the state of StatefulSets to a file, without secrets
///
/// Every command that reads takes the file with --from, so you can send it to a colleague or attach it to a bug report. A recording has no Secrets, no values of environment variables, no commands and arguments, and only the annotations that this tool knows.
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # Record a namespace"
    "  kubectl sts record -n shop > shop.yaml"
    ""
    "  # Record the cluster, and diagnose the recording"
    "  kubectl sts record -A --to cluster.yaml"
    "  kubectl sts doctor --from cluster.yaml"
    ""
    "Reads StatefulSets, ControllerRevisions, pods, PVCs, PVs, StorageClasses, Services, EndpointSlices, \
     PodDisruptionBudgets, autoscalers, quotas, nodes and Warning events, and with --logs the logs of failing containers. With --probe-dns it also connects to the DNS pods of the cluster. Changes nothing in the cluster."
))]
pub struct Args {
    /// StatefulSets to record; without names, all
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    choice: SetFilter,
    /// Write to this file, which must not exist yet, instead of standard output
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, help_heading = heading::OUTPUT)]
    to: Option<String>,
    /// Record the last lines of the logs of failing containers, too; an application may write secrets to them
    #[arg(long, help_heading = heading::OUTPUT)]
    logs: bool,
    #[command(flatten)]
    probe: ProbeArgs,
}

pub(super) async fn run(global: &Global, args: &Args, warn: fn(&str)) -> Result<Answer> {
    let to = args.to.as_deref().map(Path::new);
    if let Some(path) = to.filter(|path| file::is_there(path)) {
        return Err(unwritten(path).because("the file already exists"));
    }
    let mut sight = global.observe(args.choice.all_namespaces, Want::Everything, warn).await?;
    let chosen = sight.choose(&args.names, &args.choice)?;
    let is_part = !args.names.is_empty() || args.choice.selector.is_some() || sight.observed.chosen.is_some();
    if !sight.observed.sets.iter().any(&chosen) {
        return Err(Error::cluster(format!(
            "no StatefulSets found {}, so there is nothing to record",
            sight.place
        )));
    }
    args.probe.ask(&mut sight, &chosen).await?;
    if is_part {
        recorded::keep(&mut sight.observed, chosen);
    } else {
        sight.observed.sets.retain(|set| chosen(set));
    }
    sight.observed.logs = if args.logs {
        let found = diagnose(&sight.observed, |set| sight.observed.is_about(set), &Filter::default());
        logs::of(&sight, &logs::runs(found.findings.iter().map(|(_, finding)| finding)), LINES).await
    } else {
        Vec::new()
    };
    let recording = serde_json::to_value(recorded::recording(&sight.observed)?)
        .map_err(|error| Error::cluster("could not write the recording").because(error))?;
    let recording = Recording { value: recording, written_to: args.to.clone() };
    if let Some(path) = to {
        let output = if global.output == Output::Json { Output::Json } else { Output::Yaml };
        let text = render(&recording, output, crate::render::Style::PLAIN)?;
        file::write_new(path, &text).map_err(|error| unwritten(path).because(error))?;
    }
    Ok(Answer { view: Box::new(recording), exit: Exit::Good })
}

fn unwritten(path: &Path) -> Error {
    Error::cluster(format!("could not write {}", path.display()))
}

struct Recording {
    value: Value,
    written_to: Option<String>,
}

impl View for Recording {
    fn text(&self, page: &mut Page) {
        match &self.written_to {
            Some(path) => {
                let read = sts("doctor --from").path(path);
                page.line(&format!("{path} written"));
                page.command("  try", 11, &read.to_string());
            }
            None => {
                // Not through the page's lines: file contents are escaped by YAML, not stripped.
                page.raw(&crate::render::yaml(&self.value).unwrap_or_default());
            }
        }
    }

    fn json(&self) -> Value {
        self.value.clone()
    }

    fn names(&self) -> Vec<String> {
        let items = self.value["objects"].as_array().map(Vec::as_slice).unwrap_or_default();
        items
            .iter()
            .map(|item| {
                let kind = item["kind"].as_str().unwrap_or_default().to_lowercase();
                format!("{kind}/{}", item["metadata"]["name"].as_str().unwrap_or_default())
            })
            .collect()
    }
}
