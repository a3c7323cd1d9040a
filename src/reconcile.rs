//! The loop: observe, plan, do the first step if it was agreed to, look again.

mod cluster;
mod facts;
pub mod interrupt;
mod journal;
mod run;

use std::time::Duration;

use crate::error::Error;
use crate::plan::{Agreement, Goal, OneSet, Refusal, Stop, Subject};
use crate::rules::Stuck;
use crate::snapshot::Unseen;

pub use cluster::{Cluster, Now};
pub use facts::{Facts, Standing};
pub use interrupt::Acting;
pub use journal::{Entry, EntryResult, Replacement};
use run::Run;

/// How it ended.
#[derive(Debug)]
pub enum Outcome {
    /// The goal is reached.
    Reached,
    /// What would be done is not what was agreed to: in which way.
    Drifted(String),
    /// What is waited for will not come by itself; with the findings that say why, and the words for them.
    Stuck(Box<Stuck>),
    /// The goal cannot be reached from here any more.
    Refused(Refusal),
    /// What it needs to know could not be seen.
    Unseen(Unseen),
    /// What was reached did not stay good, or a check said no: what, and what it said.
    Failed(String, Vec<String>),
    /// A request failed for good, after this was begun.
    Error(Error),
    /// Time is up.
    TimedOut,
    /// Ctrl-C.
    Interrupted,
    /// The set is gone.
    Gone,
}

/// When to give up, and when to believe.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// The longest it may take in all.
    pub timeout: Option<Duration>,
    /// How long evidence of being stuck must hold.
    pub stuck_after: Duration,
    /// How long the goal must stay reached.
    pub stable_for: Duration,
    /// Whether to go on for ever, past being reached and being stuck.
    pub endless: bool,
}

/// What was done.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Every write, in order.
    pub journal: Vec<Entry>,
    /// Whether writes had been agreed to.
    pub agreed_to_write: bool,
}

impl Report {
    /// Whether the goal was reached without any of the writes that had been agreed to.
    pub fn needed_nothing(&self) -> bool {
        matches!(self.outcome, Outcome::Reached) && self.agreed_to_write && self.journal.is_empty()
    }
}

/// Sees what happens while it happens.
pub trait Observer<S: Subject = OneSet> {
    /// How things stand now; called at every look, at least once a second.
    fn look(&mut self, now: &S::Now<'_>);
    /// The picture may be old, because of this.
    fn trouble(&mut self, why: Option<&str>);
}

/// Brings the cluster to the goal by what was agreed to, and nothing else. It keeps nothing: called again after an
/// interruption it continues where the cluster is.
pub async fn reconcile<C: Cluster>(
    cluster: &mut C,
    goal: &dyn Goal<C::Of>,
    agreement: &Agreement,
    limits: &Limits,
    witness: &mut dyn Observer<C::Of>,
) -> Report {
    let mut run = Run::of(cluster, goal, agreement, limits, witness);
    let outcome = run.until_the_end().await;
    Report { outcome, journal: run.journal, agreed_to_write: agreement.writes() }
}

impl From<Stop> for Outcome {
    fn from(stop: Stop) -> Outcome {
        match stop {
            Stop::Refused(refusal) => Outcome::Refused(refusal),
            Stop::Unseen(unseen) => Outcome::Unseen(unseen),
        }
    }
}
