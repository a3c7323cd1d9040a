//! What comes of runs with interference, word for word: `tests/reconcile/runs.txt` keeps how each ended, and what it wrote.
//! `BLESS=1` writes what comes of them now; read the difference.

use std::fmt::Write as _;

use kubectl_sts::reconcile::{Outcome, Report};

use super::{are_chosen, kept};

/// Writes how a run ended and what it wrote.
pub fn write(text: &mut String, heading: &str, report: &Report) {
    let said = match &report.outcome {
        Outcome::Drifted(what) => format!("drifted: {what}"),
        Outcome::Stuck(stuck) => format!("stuck: {}", stuck.because()),
        Outcome::Refused(refusal) => {
            format!("refused: {}, {}, {}", refusal.reason, refusal.because, refusal.hint.replace('\n', " | "))
        }
        Outcome::Unseen(unseen) => format!("unseen: {unseen}"),
        Outcome::Failed(what, said) => format!("failed: {what} {said:?}"),
        Outcome::Error(error) => format!("error: {}", error.to_string().replace('\n', " | ")),
        Outcome::Reached => "reached".to_owned(),
        Outcome::TimedOut => "timed out".to_owned(),
        Outcome::Interrupted => "interrupted".to_owned(),
        Outcome::Gone => "gone".to_owned(),
    };
    let nothing = if report.needed_nothing() { ", needed nothing" } else { "" };
    let _ = writeln!(text, "## {heading}: {said}{nothing}");
    for entry in &report.journal {
        let is = [entry.is_done(), entry.is_refused()];
        let _ =
            writeln!(text, "  {} {}: {} {is:?}", entry.at, entry.step.sentence("now"), entry.result.text());
    }
}

pub fn compare(text: &str) {
    if are_chosen() {
        return;
    }
    kept::compare("reconcile/runs.txt", text);
}
