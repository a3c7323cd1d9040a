//! What is told of a set at the end.

use serde_json::{Value, json};

use super::{Account, ProgressReporter, Typed};
use crate::cluster::live::Live;
use crate::controller::{Idle, Next};
use crate::paste::kubectl;
use crate::reconcile::{Outcome, Report};
use crate::render::{Continues, Page, continues, finding, finding_json, sentence, skipped, skipped_json};
use crate::rules::{self, Skipped, Stuck, stuck};
use crate::snapshot::Snapshot;
use crate::words;

/// What is told of a set at the end.
pub(in crate::commands) struct OfSet {
    name: String,
    namespace: String,
    seconds: i64,
    rest: String,
    /// What is worth knowing although it ended well.
    notes: Vec<String>,
    /// What it is stuck on, or was when the time was over.
    stuck: Option<Stuck>,
    /// The last lines of a check that failed.
    said: Vec<String>,
    /// Whether it is certain that it is stuck.
    is_stuck: bool,
    /// What could not be looked at.
    not_seen: Vec<Skipped>,
    /// What the controller goes on with although nobody waits for it.
    continues: Option<Continues>,
    /// Whether it was only watched, so that there is nothing to run again.
    pub(in crate::commands) only_watched: bool,
    /// What to type next: label and command.
    pub(super) typed: Typed,
}

impl OfSet {
    pub(in crate::commands) fn of(
        live: &Live,
        name: &str,
        namespace: &str,
        report: &Report,
        teller: &ProgressReporter,
    ) -> OfSet {
        let rest = live.look(|snapshot| {
            let snapshot = snapshot?;
            let next = crate::controller::next(snapshot).ok()?;
            Some(match next {
                Next::Settled(Idle::Done) => complete(snapshot.set.replicas()),
                next => sentence(snapshot, &next),
            })
        });
        let (is_stuck, stuck) = match &report.outcome {
            Outcome::Stuck(stuck) => (true, Some((**stuck).clone())),
            outcome => (false, live.look(|now| now.and_then(|now| known(now, outcome)))),
        };
        OfSet {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            seconds: teller.seconds,
            notes: live.look(|now| now.map_or(Vec::new(), |now| notes(now, &report.outcome))),
            stuck,
            is_stuck,
            said: match &report.outcome {
                Outcome::Failed(_, said) => said.clone(),
                _ => Vec::new(),
            },
            rest: rest.unwrap_or_else(|| "the StatefulSet is gone".to_owned()),
            not_seen: live.look(|now| now.map_or(Vec::new(), |now| rules::skipped(now.unseen(), &[]))),
            continues: live.look(|now| now.and_then(|now| unattended(now, &report.outcome))),
            only_watched: false,
            typed: Vec::new(),
        }
    }
}

/// What continues, where watching it ended first.
fn unattended(now: &Snapshot<'_>, outcome: &Outcome) -> Option<Continues> {
    matches!(outcome, Outcome::Interrupted | Outcome::TimedOut).then(|| continues(now)).flatten()
}

/// That nothing is left to do, in words.
fn complete(replicas: i32) -> String {
    match replicas {
        0 => "complete: scaled to 0".to_owned(),
        1 => "complete: the pod is available".to_owned(),
        many => format!("complete: all {many} pods are available"),
    }
}

/// What is worth knowing of a good end.
fn notes(now: &Snapshot<'_>, outcome: &Outcome) -> Vec<String> {
    let is_told = matches!(outcome, Outcome::Reached) && now.set.replicas() > 0 && now.is_unprobed();
    is_told
        .then(|| "no readiness probe: Ready only means that the container has started".to_owned())
        .into_iter()
        .collect()
}

/// What it was stuck on, where time was up before that was certain.
fn known(now: &Snapshot<'_>, outcome: &Outcome) -> Option<Stuck> {
    matches!(outcome, Outcome::TimedOut).then(|| stuck(now)).flatten()
}

impl OfSet {
    /// What to type next, of the command itself and for what continues without it.
    fn typed(&self) -> impl Iterator<Item = &(&'static str, String)> {
        self.typed.iter().chain(self.continues.iter().flat_map(|continues| &continues.typed))
    }
}

impl Account for OfSet {
    fn state(&self) -> String {
        self.rest.clone()
    }

    fn interrupted(&self) -> String {
        let how = if self.only_watched { "stopped watching" } else { "interrupted" };
        match &self.continues {
            Some(continues) => format!("{how}; {}", continues.what),
            None => format!("{how}: {}", self.rest),
        }
    }

    fn text(&self, page: &mut Page, outcome: &Outcome, sentence: &str) {
        for note in &self.notes {
            page.field("  note", 11, note);
        }
        let age = words::age(jiff::SignedDuration::from_secs(self.seconds));
        page.field(&format!("{age:>6}"), 8, &format!("{}: {sentence}", self.name));
        if let Some(stuck) = &self.stuck {
            for found in &stuck.findings {
                page.gap();
                finding(page, &stuck.set, found, false);
            }
            if self.is_stuck && stuck.findings.is_empty() {
                let command = kubectl("describe pod").name(&stuck.on).namespace(&self.namespace);
                page.command("  try", 11, &command.to_string());
            }
        }
        skipped(page, &self.not_seen);
        for line in &self.said {
            page.field("        |", 10, line);
        }
        if let Outcome::Refused(refusal) = outcome {
            page.field("  try", 11, &refusal.hint);
        }
        let is_undone = matches!(outcome, Outcome::Drifted(_) | Outcome::Interrupted);
        if is_undone && !self.only_watched {
            page.field("  try", 11, "the same command again: it shows what is left to do now, and asks");
        }
        if self.typed().next().is_some() {
            page.gap();
        }
        let width = self.typed().map(|(label, _)| label.len()).max().unwrap_or(0).max(4);
        for (label, command) in self.typed() {
            page.command(&format!("  {label}"), width + 4, command);
        }
    }

    fn json(&self, value: &mut Value) {
        let findings: Vec<Value> = self.stuck.as_ref().map_or_else(Vec::new, |stuck| {
            stuck.findings.iter().map(|found| finding_json(&stuck.set, found)).collect()
        });
        value["metadata"] = json!({"name": self.name, "namespace": self.namespace});
        value["seconds"] = self.seconds.into();
        value["findings"] = findings.into();
        value["notes"] = self.notes.clone().into();
        value["notLookedAt"] = skipped_json(&self.not_seen);
        if self.typed().next().is_some() {
            value["type"] =
                self.typed().map(|(label, command)| json!({"label": label, "command": command})).collect();
        }
        if let Some(stuck) = self.stuck.as_ref().filter(|_| self.is_stuck) {
            value["stuckOn"] = stuck.on.clone().into();
        }
        if !self.said.is_empty() {
            value["said"] = self.said.clone().into();
        }
    }

    fn names(&self) -> Vec<String> {
        vec![format!("statefulset.apps/{}", self.name)]
    }
}
