//! How watching or acting ended, with what was done.

use serde_json::{Value, json};

use super::{Teller, Typed};
use crate::cluster::live::Live;
use crate::error::Exit;
use crate::paste::kubectl;
use crate::plan::Step;
use crate::reconcile::{Entry, Outcome, Report};
use crate::render::{
    Page, View, finding, finding_json, sentence, skipped, skipped_json, step_json, step_text,
};
use crate::rules::{self, Skipped, Stuck, stuck};
use crate::snapshot::Snapshot;
use crate::words;

/// How it ended, with what was done.
pub(in crate::commands) struct Ending {
    name: String,
    namespace: String,
    seconds: i64,
    rest: String,
    /// What is worth knowing although it ended well.
    notes: Vec<String>,
    /// What it was stuck on when the time was over.
    stuck: Option<Stuck>,
    /// What could not be looked at.
    not_seen: Vec<Skipped>,
    pub(super) report: Report,
    /// What to type next: label and command.
    pub(super) typed: Typed,
}

impl Ending {
    pub(in crate::commands) fn of(
        live: &Live,
        name: &str,
        namespace: &str,
        report: Report,
        teller: &Teller,
    ) -> Ending {
        let rest = live.look(|snapshot| {
            let snapshot = snapshot?;
            let next = crate::controller::next(snapshot).ok()?;
            Some(sentence(snapshot, &next))
        });
        Ending {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            seconds: teller.seconds,
            notes: live.look(|now| now.map_or(Vec::new(), |now| notes(now, &report.outcome))),
            stuck: live.look(|now| now.and_then(|now| known(now, &report.outcome))),
            rest: rest.unwrap_or_else(|| "the set is gone".to_owned()),
            not_seen: live.look(|now| now.map_or(Vec::new(), |now| rules::skipped(now.unseen(), &[]))),
            report,
            typed: Vec::new(),
        }
    }

    /// How the process ends.
    pub(in crate::commands) fn exit(&self) -> Exit {
        match &self.report.outcome {
            Outcome::Reached => Exit::Good,
            Outcome::Stuck(_) | Outcome::Gone | Outcome::Failed(..) => Exit::Bad,
            Outcome::Drifted(_) | Outcome::Refused(_) => Exit::Refused,
            Outcome::Unseen(_) => Exit::Cluster,
            Outcome::Error(error) => error.exit(),
            Outcome::TimedOut => Exit::TimedOut,
            Outcome::Interrupted => Exit::Interrupted,
        }
    }

    fn word(&self) -> &'static str {
        match &self.report.outcome {
            Outcome::Reached => "reached",
            Outcome::Stuck(_) => "stuck",
            Outcome::Gone => "gone",
            Outcome::Failed(..) => "failed",
            Outcome::Drifted(_) => "drifted",
            Outcome::Refused(_) => "refused",
            Outcome::Unseen(_) => "unseen",
            Outcome::Error(_) => "error",
            Outcome::TimedOut => "timed-out",
            Outcome::Interrupted => "interrupted",
        }
    }

    fn sentence(&self) -> String {
        match &self.report.outcome {
            Outcome::Reached if self.report.needed_nothing() => {
                "nothing to do any more: the cluster changed after the plan was shown".to_owned()
            }
            Outcome::Reached => format!("settled: {}", self.rest),
            Outcome::Stuck(stuck) => {
                let waits = stuck.waits_for.as_ref().map_or(String::new(), |pod| {
                    format!(" (the controller waits for {pod} first, which is not ready either)")
                });
                let late = if stuck.is_late {
                    ": it runs, and has not become ready in the time its probes give it"
                } else {
                    ""
                };
                format!("stuck on {}{waits}{late}", stuck.on)
            }
            Outcome::Gone => "the set is gone".to_owned(),
            Outcome::Failed(what, _) => format!("stopped: {what}"),
            Outcome::Drifted(what) => {
                format!("stopped: the cluster changed after the plan was shown: {what}")
            }
            Outcome::Error(error) => format!("stopped: {}", error.what()),
            Outcome::Refused(refusal) => format!("stopped: {}", refusal.because),
            Outcome::Unseen(unseen) => format!("stopped: could not see {unseen}"),
            Outcome::TimedOut => format!("timed out: {}", self.rest),
            Outcome::Interrupted => format!("interrupted: {}", self.rest),
        }
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

impl View for Ending {
    fn text(&self, page: &mut Page) {
        for note in &self.notes {
            page.field("  note", 11, note);
        }
        let age = words::age(jiff::SignedDuration::from_secs(self.seconds));
        page.field(&format!("{age:>6}"), 8, &format!("{}: {}", self.name, self.sentence()));
        if let Outcome::Stuck(stuck) = &self.report.outcome {
            for found in &stuck.findings {
                page.gap();
                finding(page, &stuck.set, found, false);
            }
            if stuck.findings.is_empty() {
                let command = kubectl("describe pod").name(&stuck.on).namespace(&self.namespace);
                page.command("  try", 11, &command.to_string());
            }
        }
        for found in self.stuck.iter().flat_map(|stuck| &stuck.findings) {
            page.gap();
            if let Some(stuck) = &self.stuck {
                finding(page, &stuck.set, found, false);
            }
        }
        skipped(page, &self.not_seen);
        if let Outcome::Failed(_, said) = &self.report.outcome {
            for line in said {
                page.field("        |", 10, line);
            }
        }
        if let Outcome::Refused(refusal) = &self.report.outcome {
            page.field("  try", 11, &refusal.hint);
        }
        if let Outcome::Drifted(_) = &self.report.outcome {
            page.field("  try", 11, "the same command again: it shows what is left to do now, and asks");
        }
        if !self.typed.is_empty() {
            page.gap();
        }
        for (label, command) in &self.typed {
            page.command(&format!("  {label}"), 8, command);
        }
        if !self.report.journal.is_empty() {
            page.gap();
            page.line("done:");
            for Entry { at, step, result } in &self.report.journal {
                let (what, result) = (step_text(step), result.text());
                page.field(
                    &format!("  {}", at.strftime("%H:%M:%SZ")),
                    13,
                    &match step {
                        Step::Patch(patch) => format!("{what} ({}): {result}", patch.note),
                        Step::DeletePod { .. } | Step::Await { .. } => format!("{what}: {result}"),
                    },
                );
            }
        }
    }

    fn json(&self) -> Value {
        let stuck = match &self.report.outcome {
            Outcome::Stuck(stuck) => Some(&**stuck),
            _ => self.stuck.as_ref(),
        };
        let findings: Vec<Value> = stuck.map_or_else(Vec::new, |stuck| {
            stuck.findings.iter().map(|found| finding_json(&stuck.set, found)).collect()
        });
        let journal: Vec<_> = self
            .report
            .journal
            .iter()
            .map(|entry| json!({"at": entry.at.to_string(), "step": step_json(&entry.step), "result": entry.result.text()}))
            .collect();
        let mut value = json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "Result",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "outcome": self.word(),
            "text": self.sentence(),
            "seconds": self.seconds,
            "findings": findings,
            "notes": self.notes,
            "journal": journal,
            "notLookedAt": skipped_json(&self.not_seen),
        });
        if !self.typed.is_empty() {
            let typed = self.typed.iter();
            value["type"] =
                typed.map(|(label, command)| json!({"label": label, "command": command})).collect();
        }
        match &self.report.outcome {
            Outcome::Stuck(stuck) => value["stuckOn"] = stuck.on.clone().into(),
            Outcome::Refused(refusal) => value["reason"] = refusal.reason.into(),
            Outcome::Failed(_, said) => value["said"] = said.clone().into(),
            _ => {}
        }
        value
    }

    fn names(&self) -> Vec<String> {
        vec![format!("statefulset.apps/{}", self.name)]
    }

    fn is_streamed(&self) -> bool {
        true
    }
}
