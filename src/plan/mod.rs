//! What is left to do: one file a goal, each a pure function of a snapshot.
//!
//! A step carries what was seen, and is compared by it: a step agreed to can be told from one that only looks like it.

mod agreement;
mod canary;
mod course;
mod merge;
mod permission;
pub mod prune;
mod recover;
pub mod restore;
mod rollout;
mod step;
pub mod template;
mod undo;

use std::time::Duration;

use crate::snapshot::{Snapshot, Unseen};
use crate::words;

pub use agreement::{Agreement, plan_in_full};
pub use canary::{Abort, Canary, Change, Stamp, edited, is_canary, is_rolled_back, stable};
pub use course::forecast;
pub use permission::{Permission, SNAPSHOT_GROUP};
pub use recover::Recover;
pub use rollout::Rollout;
pub use step::{PatchKind, Pvc, SetPatch, Step, VolumeChange, VolumePatch};
pub use undo::{LastWritten, Undo, UndoTarget, aim};

/// What a goal is about.
pub trait Subject {
    /// What there is of it at one moment: what a goal is planned from.
    type Now<'a>;
}

/// One StatefulSet, with all that belongs to it.
#[derive(Clone, Copy, Debug)]
pub enum OneSet {}

impl Subject for OneSet {
    type Now<'a> = Snapshot<'a>;
}

/// Something to be reached.
pub trait Goal<S: Subject = OneSet> {
    /// All steps that are left; none means it is reached.
    ///
    /// # Errors
    /// [`Stop`] when it will not or cannot be done from here.
    fn plan(&self, now: &S::Now<'_>) -> Result<Plan, Stop>;

    /// Why it ends when what is waited for has not come after all the time it may take; `None` where there is no more
    /// to say than that.
    fn overdue(&self, _now: &S::Now<'_>, _waited: Duration) -> Option<Refusal> {
        None
    }

    /// Whether it is about one pod template, and ends when another client replaces that.
    fn is_of_one_template(&self) -> bool {
        false
    }
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It will not be done: why, and what to type instead.
    Refused(Refusal),
    /// What it needs to know could not be seen.
    Unseen(Unseen),
}

impl From<Unseen> for Stop {
    fn from(unseen: Unseen) -> Stop {
        Stop::Unseen(unseen)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Stop {
        Stop::Refused(refusal)
    }
}

/// A no before anything is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A stable word for programs, such as `merely-slow`.
    pub reason: &'static str,
    /// Why not, as a sentence without a period.
    pub because: String,
    /// What to type or look at instead.
    pub hint: String,
}

/// What will be done, as it is shown before anything is written.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What for: `recover postgres in shop`.
    pub headline: String,
    /// How far it goes, where that is not all: `2 of 5 pods (postgres-4, then postgres-3) are updated`.
    pub extent: String,
    /// What is worth knowing before agreeing, such as a difference of templates: label and text.
    pub facts: Vec<(&'static str, String)>,
    /// What must be considered although it does not forbid the plan.
    pub warnings: Vec<String>,
    /// All steps, in order.
    pub steps: Vec<Step>,
    /// Writes that may become needed on the way, and are agreed to with the rest.
    pub if_needed: Vec<Step>,
    /// Every pod that restarts because of the plan, by name, in the order in which they go; filled in by
    /// [`plan_in_full`].
    pub restarts: Vec<String>,
    /// How things stand at the end.
    pub then: String,
    /// Whether `then` says no more than the predicted sequence, and need not be shown beside it.
    pub is_then_expected: bool,
    /// What is not touched.
    pub stays: String,
    /// How to go back, where there is a command for it.
    pub back: String,
    /// The revision of the template that it rolls out, where that is there already.
    pub template: Option<String>,
    /// Whether something is half done now: an interruption waits for the steps that finish it.
    pub is_half_done: bool,
}

/// What is not touched: these pods, and all PVCs.
fn unchanged<T: AsRef<str>>(pods: &[T]) -> String {
    let names: Vec<&str> = pods.iter().map(AsRef::as_ref).collect();
    match names.len() {
        0..=4 => words::list(&[&names[..], &["all PVCs"]].concat(), usize::MAX),
        _ => format!("{}, and all PVCs", words::list(&names, 4)),
    }
}

impl Plan {
    /// The steps that write, in order.
    pub fn writes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.writes())
    }

    /// What it is for and how far it goes; `place` stands between them.
    pub fn title(&self, place: &str) -> String {
        match self.extent.as_str() {
            "" => format!("{}{place}", self.headline),
            extent => format!("{}{place}: {extent}", self.headline),
        }
    }

    /// Everything that is agreed to with this plan.
    pub fn agreed(&self) -> Vec<Step> {
        self.steps.iter().chain(&self.if_needed).cloned().collect()
    }
}
