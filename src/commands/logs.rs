//! The logs of failing containers: which are shown, and how much of them.

use std::pin::pin;

use tokio::time::timeout;

use crate::cli::{Observation, PATIENCE, heading};
use crate::cluster::connect::Connection;
use crate::cluster::logs;
use crate::kinds::{Said, StatefulSet};
use crate::render::Output;
use crate::render::spinner::Spinner;
use crate::rules::Finding;
use crate::snapshot::{Log, LogOf, NotRead, Observed, Snapshot, termination_message};

/// How many lines are shown at most.
const MOST: u16 = 200;

/// How much of the logs is shown.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(super) struct LogArgs {
    /// Show this number of the last lines in the log of a failing container (0 to 200)
    #[arg(long, value_name = "LINES", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=i64::from(MOST)),
          help_heading = heading::OUTPUT)]
    logs: u16,
    /// Do not read logs
    #[arg(long, conflicts_with = "logs", help_heading = heading::OUTPUT)]
    no_logs: bool,
}

impl LogArgs {
    /// How many lines; `None` where no log is to be read. Names alone do not show any, and what pipelines show others may read.
    pub(super) fn lines(self, output: Output) -> Option<usize> {
        let is_shown =
            output.is_text() || matches!(output, Output::Json | Output::Yaml | Output::Template(_));
        let is_wanted = !self.no_logs && self.logs > 0 && is_shown;
        is_wanted.then(|| usize::from(self.logs))
    }
}

/// The runs whose logs findings ask for, each once.
pub(super) fn runs<'f>(findings: impl IntoIterator<Item = &'f Finding>) -> Vec<LogOf> {
    let mut runs: Vec<LogOf> = Vec::new();
    for run in findings.into_iter().filter_map(|finding| finding.run.as_ref()) {
        if !runs.contains(run) {
            runs.push(run.clone());
        }
    }
    runs
}

/// Reads the logs of these runs.
pub(super) async fn read(connection: &Connection, runs: &[LogOf], lines: usize) -> Vec<Log> {
    if runs.is_empty() {
        return Vec::new();
    }
    let mut reading = pin!(logs::read(connection, runs, lines));
    if let Ok(logs) = timeout(PATIENCE, &mut reading).await {
        return logs;
    }
    let _sign = Spinner::start("reading logs");
    reading.await
}

/// The logs of these runs: those of the recording, where there is no cluster to ask.
pub(super) async fn of(sight: &Observation, runs: &[LogOf], lines: usize) -> Vec<Log> {
    let mut logs = match &sight.connection {
        Some(connection) => read(connection, runs, lines).await,
        None => sight.observed.logs.clone(),
    };
    for run in runs {
        let message = message(&sight.observed, run);
        match logs.iter_mut().find(|log| log.of == *run) {
            Some(log) if log.message.is_empty() => log.message = message,
            None if !message.is_empty() => {
                let lines = Err(NotRead::Other("it is not in the file".to_owned()));
                logs.push(Log { of: run.clone(), lines, is_cut: false, message });
            }
            Some(_) | None => {}
        }
    }
    logs
}

fn message(observed: &Observed, run: &LogOf) -> Vec<Said> {
    let mut pods = observed.pods.as_deref().unwrap_or_default().iter();
    let pod = pods.find(|pod| pod.metadata.name == run.pod && pod.metadata.namespace == run.namespace);
    pod.map(|pod| termination_message(pod, run)).unwrap_or_default()
}

/// Adds to findings what their logs say.
pub(super) async fn add(sight: &Observation, findings: &mut [(&StatefulSet, Finding)], lines: Option<usize>) {
    let Some(lines) = lines else { return };
    let logs = of(sight, &runs(findings.iter().map(|(_, finding)| finding)), lines).await;
    let namespaces = sight.observed.namespaces();
    for (set, finding) in findings.iter_mut().filter(|(_, finding)| finding.run.is_some()) {
        if let Some(namespace) = namespaces.get(set.metadata.namespace.as_str()) {
            tell(&Snapshot::of(&sight.observed, namespace, set), finding, &logs, lines);
        }
    }
}

/// Adds to a finding what its log says, if it is among these.
pub(super) fn tell(snapshot: &Snapshot<'_>, finding: &mut Finding, logs: &[Log], lines: usize) {
    let Some(log) = logs.iter().find(|log| Some(&log.of) == finding.run.as_ref()) else { return };
    finding.add_log(snapshot, log, lines);
}
