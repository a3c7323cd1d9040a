//! What watching and acting have in common: telling what happens, and how it ended.

use serde_json::{Value, json};

use crate::cluster::live::Live;
use crate::error::Exit;
use crate::reconcile::{Entry, Outcome, Report, Witness};
use crate::render::live::Stream;
use crate::render::{Look, Output, Page, View, finding, finding_json, sentence, step_json, step_text};
use crate::snapshot::Snapshot;
use crate::words;

/// Tells what happens while it happens.
pub(super) struct Teller {
    stream: Stream,
    started: Option<jiff::Timestamp>,
    seconds: i64,
}

impl Teller {
    pub(super) fn new(look: Look, output: Output) -> Teller {
        Teller { stream: Stream::new(look, output), started: None, seconds: 0 }
    }
}

impl Witness for Teller {
    fn look(&mut self, snapshot: &Snapshot<'_>) {
        let started = *self.started.get_or_insert(snapshot.taken_at);
        self.seconds = snapshot.taken_at.duration_since(started).as_secs();
        self.stream.look(snapshot);
    }

    fn trouble(&mut self, why: Option<&str>) {
        self.stream.trouble(why);
    }
}

/// How it ended, with what was done.
pub(super) struct Ending {
    name: String,
    namespace: String,
    seconds: i64,
    rest: String,
    report: Report,
}

impl Ending {
    pub(super) fn of(live: &Live, name: &str, namespace: &str, report: Report, teller: &Teller) -> Ending {
        let rest = live.look(|snapshot| {
            let snapshot = snapshot?;
            let next = crate::controller::next(snapshot).ok()?;
            Some(sentence(snapshot, &next))
        });
        Ending {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            seconds: teller.seconds,
            rest: rest.unwrap_or_else(|| "the set is gone".to_owned()),
            report,
        }
    }

    /// How the process ends.
    pub(super) fn exit(&self) -> Exit {
        match &self.report.outcome {
            Outcome::Reached => Exit::Good,
            Outcome::Stuck(_) | Outcome::Gone => Exit::Bad,
            Outcome::Drifted(_) | Outcome::Refused(_) => Exit::Refused,
            Outcome::Unseen(_) => Exit::Cluster,
            Outcome::TimedOut => Exit::TimedOut,
        }
    }

    fn word(&self) -> &'static str {
        match &self.report.outcome {
            Outcome::Reached => "reached",
            Outcome::Stuck(_) => "stuck",
            Outcome::Gone => "gone",
            Outcome::Drifted(_) => "drifted",
            Outcome::Refused(_) => "refused",
            Outcome::Unseen(_) => "unseen",
            Outcome::TimedOut => "timed-out",
        }
    }

    fn sentence(&self) -> String {
        match &self.report.outcome {
            Outcome::Reached => format!("settled: {}", self.rest),
            Outcome::Stuck(stuck) if stuck.findings.is_empty() => {
                format!(
                    "stuck on {}: it runs, and has not become ready in the time its probes give it",
                    stuck.on
                )
            }
            Outcome::Stuck(stuck) => format!("stuck on {}", stuck.on),
            Outcome::Gone => "the set is gone".to_owned(),
            Outcome::Drifted(_) => "stopped: the cluster is not any more as it was shown".to_owned(),
            Outcome::Refused(refusal) => format!("stopped: {}", refusal.because),
            Outcome::Unseen(unseen) => format!("stopped: could not see {unseen}"),
            Outcome::TimedOut => format!("timed out: {}", self.rest),
        }
    }
}

impl View for Ending {
    fn text(&self, page: &mut Page) {
        let age = words::age(jiff::SignedDuration::from_secs(self.seconds));
        page.field(&format!("{age:>6}"), 8, &format!("{}: {}", self.name, self.sentence()));
        if let Outcome::Stuck(stuck) = &self.report.outcome {
            for found in &stuck.findings {
                page.gap();
                finding(page, &stuck.set, found, false);
            }
            if stuck.findings.is_empty() {
                let command = format!("kubectl describe pod {} -n {}", stuck.on, self.namespace);
                page.command("  try", 11, &command);
            }
        }
        if let Outcome::Refused(refusal) = &self.report.outcome {
            page.field("  try", 11, &refusal.hint);
        }
        if !self.report.journal.is_empty() {
            page.gap();
            page.line("done:");
            for Entry { at, step, result } in &self.report.journal {
                page.field(
                    &format!("  {}", at.strftime("%H:%M:%SZ")),
                    13,
                    &format!("{}: {result}", step_text(step)),
                );
            }
        }
    }

    fn json(&self) -> Value {
        let findings = match &self.report.outcome {
            Outcome::Stuck(stuck) => {
                stuck.findings.iter().map(|found| finding_json(&stuck.set, found)).collect()
            }
            _ => Vec::new(),
        };
        let journal: Vec<_> = self
            .report
            .journal
            .iter()
            .map(|entry| json!({"at": entry.at.to_string(), "step": step_json(&entry.step), "result": entry.result}))
            .collect();
        let mut value = json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "Result",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "outcome": self.word(),
            "text": self.sentence(),
            "seconds": self.seconds,
            "findings": findings,
            "journal": journal,
        });
        match &self.report.outcome {
            Outcome::Stuck(stuck) => value["stuckOn"] = stuck.on.clone().into(),
            Outcome::Refused(refusal) => value["reason"] = refusal.reason.into(),
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
