//! What is told of a set at the end.

use serde_json::{Value, json};

use super::{Account, Ongoing, ProgressReporter, Typed, ongoing};
use crate::cluster::live::Live;
use crate::commands::logs;
use crate::controller::{Idle, Next};
use crate::paste::kubectl;
use crate::reached;
use crate::reconcile::{Outcome, Report};
use crate::render::{Page, finding, finding_json, sentence, skipped, skipped_json, unread_logs};
use crate::rules::{self, Skipped, Stuck, stuck};
use crate::snapshot::Snapshot;
use crate::words;

/// What is told of a set at the end.
pub(in crate::commands) struct OfSet {
    name: String,
    namespace: String,
    seconds: i64,
    rest: String,
    /// The same, where it ended well.
    reached: String,
    /// Whether anything was to be changed, so that the cluster is named.
    is_acting: bool,
    /// What continues in the cluster, if the command stopped watching before the end.
    pub(super) ongoing: Option<Ongoing>,
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
            Some((sentence(snapshot, &next), complete(snapshot, &next)))
        });
        let (rest, reached) = rest.unwrap_or_else(|| {
            let gone = "the StatefulSet no longer exists";
            (gone.to_owned(), gone.to_owned())
        });
        let is_left = matches!(report.outcome, Outcome::Interrupted | Outcome::TimedOut);
        let ongoing = live.look(|now| now.filter(|_| is_left).map(ongoing));
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
            rest,
            reached,
            is_acting: report.agreed_to_write,
            ongoing,
            not_seen: live.look(|now| now.map_or(Vec::new(), |now| rules::skipped(now.unseen(), &[]))),
            typed: Vec::new(),
        }
    }
}

impl OfSet {
    /// Adds what the logs say of what it is stuck on.
    pub(in crate::commands) async fn read_logs(&mut self, live: &Live, lines: Option<usize>) {
        let (Some(stuck), Some(lines)) = (&mut self.stuck, lines) else { return };
        let read = logs::read(live.connection(), &logs::runs(&stuck.findings), lines).await;
        live.look(|now| {
            if let Some(now) = now {
                stuck.findings.iter_mut().for_each(|finding| logs::tell(now, finding, &read, lines));
            }
        });
    }

    /// What to type next: label and command.
    fn typed(&self) -> &Typed {
        self.ongoing.as_ref().map_or(&self.typed, |ongoing| &ongoing.typed)
    }
}

/// How it ended well.
fn complete(now: &Snapshot<'_>, next: &Next) -> String {
    match next {
        Next::Settled(Idle::Done) if now.set.replicas() > 0 => "the rollout is complete".to_owned(),
        Next::Settled(Idle::Partition) if now.set.partition() < now.set.replicas() => {
            let (partition, first) = (now.set.partition(), now.set.pod_name(now.set.boundary()));
            format!("the rollout is paused at partition {partition} ({first})")
        }
        next => sentence(now, next),
    }
}

/// What is worth knowing of a good end.
fn notes(now: &Snapshot<'_>, outcome: &Outcome) -> Vec<String> {
    let is_told = matches!(outcome, Outcome::Reached) && now.set.replicas() > 0 && now.is_unprobed();
    is_told
        .then(|| "no readiness probe: Ready means only that the containers have started".to_owned())
        .into_iter()
        .collect()
}

/// What it was stuck on, where time was up before that was certain.
fn known(now: &Snapshot<'_>, outcome: &Outcome) -> Option<Stuck> {
    matches!(outcome, Outcome::TimedOut).then(|| stuck(now)).flatten()
}

impl Account for OfSet {
    fn state(&self) -> String {
        self.rest.clone()
    }

    fn reached(&self) -> String {
        self.reached.clone()
    }

    fn left(&self, outcome: &Outcome) -> String {
        match (outcome, &self.ongoing) {
            (Outcome::Interrupted, Some(ongoing)) => format!("stopped watching; {}", ongoing.text),
            (_, Some(ongoing)) if ongoing.is_moving => format!("{}; {}", self.rest, ongoing.text),
            _ => self.rest.clone(),
        }
    }

    fn text(&self, page: &mut Page, outcome: &Outcome, sentence: &str) {
        for note in &self.notes {
            page.field("  note", 11, note);
        }
        let age = words::age(jiff::SignedDuration::from_secs(self.seconds));
        let place = if self.is_acting { reached::suffix() } else { String::new() };
        page.field(&format!("{age:>6}"), 8, &format!("{}: {sentence}{place}", self.name));
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
        unread_logs(page, self.stuck.iter().flat_map(|stuck| &stuck.findings));
        for line in &self.said {
            page.field("        |", 10, line);
        }
        if let Outcome::Refused(refusal) = outcome {
            page.hint("  try", 11, &refusal.hint);
        }
        if let Outcome::Drifted(_) | Outcome::Interrupted = outcome
            && self.is_acting
        {
            page.field("  try", 11, "run the same command again: it shows what is left to do and asks");
        }
        if !self.typed().is_empty() {
            page.gap();
        }
        for (label, command) in self.typed() {
            page.command(&format!("  {label}"), 11, command);
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
        if !self.typed().is_empty() {
            let typed = self.typed().iter();
            value["type"] =
                typed.map(|(label, command)| json!({"label": label, "command": command})).collect();
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
