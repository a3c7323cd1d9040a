//! How watching or acting ended, with what was done: the same for every command.

use serde_json::{Value, json};

use crate::cli::Answer;
use crate::error::{Error, Exit, Result};
use crate::reconcile::{Entry, Outcome, Report};
use crate::render::{Page, View, step_json};

/// What a command tells of its end besides the outcome and what was written.
pub(in crate::commands) trait Account {
    /// How things stand.
    fn state(&self) -> String;
    /// The same, where it ended well.
    fn reached(&self) -> String {
        self.state()
    }
    /// The same, where it was left before its end.
    fn left(&self, _outcome: &Outcome) -> String {
        self.state()
    }
    /// Writes it for people; the sentence says how it ended.
    fn text(&self, page: &mut Page, outcome: &Outcome, sentence: &str);
    /// Adds its members.
    fn json(&self, value: &mut Value);
    /// The objects it is about, as `kubectl get -o name` writes them.
    fn names(&self) -> Vec<String>;
    /// How the process ends, if not as the outcome says.
    fn exit(&self, _outcome: &Outcome) -> Option<Exit> {
        None
    }
    /// Whether there is something to tell although nothing was written.
    fn is_always_told(&self) -> bool {
        false
    }
}

/// How it ended, with what was done.
pub(in crate::commands) struct Ending {
    report: Report,
    account: Box<dyn Account>,
}

impl Ending {
    /// The end that a report tells of.
    ///
    /// # Errors
    /// When a request failed before anything was done: then there is nothing else to tell.
    pub(in crate::commands) fn of(mut report: Report, account: impl Account + 'static) -> Result<Ending> {
        let has_done = report.journal.iter().any(|entry| !entry.is_refused());
        report.outcome = match report.outcome {
            Outcome::Error(error) if !has_done && !account.is_always_told() => return Err(error),
            outcome => outcome,
        };
        Ok(Ending { report, account: Box::new(account) })
    }

    /// The same as an answer.
    pub(in crate::commands) fn answer(self) -> Answer {
        let exit = self.exit();
        Answer { view: Box::new(self), exit }
    }

    /// How the process ends.
    fn exit(&self) -> Exit {
        let outcome = &self.report.outcome;
        self.account.exit(outcome).unwrap_or_else(|| match outcome {
            Outcome::Reached => Exit::Good,
            Outcome::Stuck(_) | Outcome::Gone | Outcome::Failed(..) => Exit::Bad,
            Outcome::Drifted(_) | Outcome::Refused(_) => Exit::Refused,
            Outcome::Unseen(_) => Exit::Cluster,
            Outcome::Error(error) => error.exit(),
            Outcome::TimedOut => Exit::TimedOut,
            Outcome::Interrupted => Exit::Interrupted,
        })
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
                "nothing to do: the cluster changed after the plan was shown".to_owned()
            }
            Outcome::Reached => self.account.reached(),
            Outcome::Stuck(stuck) => {
                let waits = stuck.waits_for.as_ref().map_or(String::new(), |pod| {
                    format!(" (the controller waits for {pod} first, and that pod is not ready either)")
                });
                let late =
                    if stuck.is_late { ": running, but not ready in the time its probes allow" } else { "" };
                format!("stuck on {}{waits}{late}", stuck.on)
            }
            Outcome::Gone => "the StatefulSet no longer exists".to_owned(),
            Outcome::Failed(what, _) => format!("stopped: {what}"),
            Outcome::Drifted(what) => {
                format!("stopped: the cluster changed after the plan was shown: {what}")
            }
            Outcome::Error(error) => format!("stopped: {}", in_one_line(error)),
            Outcome::Refused(refusal) => format!("stopped: {}", refusal.because),
            Outcome::Unseen(unseen) => format!("stopped: could not read {unseen}"),
            Outcome::TimedOut => format!("timed out: {}", self.account.left(&self.report.outcome)),
            Outcome::Interrupted => format!("interrupted: {}", self.account.left(&self.report.outcome)),
        }
    }
}

/// An error as a part of a sentence.
fn in_one_line(error: &Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join("; ").trim_start_matches("error: ").to_owned()
}

impl View for Ending {
    fn text(&self, page: &mut Page) {
        self.account.text(page, &self.report.outcome, &self.sentence());
        if self.report.journal.is_empty() {
            return;
        }
        page.gap();
        page.line("done:");
        for Entry { at, step, result } in &self.report.journal {
            let (what, result) = (step.text(), result.text());
            let what = match step.changes() {
                Some(change) => format!("{what} ({change})"),
                None => what,
            };
            page.field(&format!("  {}", at.strftime("%H:%M:%SZ")), 13, &format!("{what}: {result}"));
        }
    }

    fn json(&self) -> Value {
        let journal: Vec<_> = self
            .report
            .journal
            .iter()
            .map(|entry| json!({"at": entry.at.to_string(), "step": step_json(&entry.step), "result": entry.result.text()}))
            .collect();
        let mut value = json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "Result",
            "outcome": self.word(),
            "text": self.sentence(),
            "journal": journal,
        });
        if let Outcome::Refused(refusal) = &self.report.outcome {
            value["reason"] = refusal.reason.into();
        }
        self.account.json(&mut value);
        value
    }

    fn names(&self) -> Vec<String> {
        self.account.names()
    }

    fn is_streamed(&self) -> bool {
        true
    }

    fn is_ending(&self) -> bool {
        true
    }
}
