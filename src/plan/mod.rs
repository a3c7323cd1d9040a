//! What is left to do: one file a goal, each a pure function of a snapshot.
//!
//! A step carries what was seen, and is compared by it: a step agreed to can be told from one that only looks like it.

mod agreement;
mod canary;
mod course;
mod merge;
pub mod prune;
mod recover;
mod rollout;
pub mod template;
mod undo;

use serde_json::{Value, json};

use crate::snapshot::{Snapshot, Unseen};

pub use agreement::{Agreement, plan_in_full};
pub use canary::{Abort, Canary, Change, Stamp, edited, stable};
pub use course::forecast;
pub use recover::Recover;
pub use rollout::Rollout;
pub use undo::{Aim, Undo, Written, aim};

/// Something to be reached.
pub trait Goal {
    /// All steps that are left; none means it is reached.
    ///
    /// # Errors
    /// [`Stop`] when it will not or cannot be done from here.
    fn plan(&self, now: &Snapshot<'_>) -> Result<Plan, Stop>;
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
    /// What is not touched.
    pub stays: String,
    /// How to go back, where there is a command for it.
    pub back: String,
}

impl Plan {
    /// The steps that write, in order.
    pub fn writes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.writes())
    }

    /// Everything that is agreed to with this plan.
    pub fn agreed(&self) -> Vec<Step> {
        self.steps.iter().chain(&self.if_needed).cloned().collect()
    }
}

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// Changes the set, in one write.
    Patch(SetPatch),
    /// Deletes a pod, which the controller makes anew.
    DeletePod {
        /// The pod's name.
        pod: String,
        /// The uid it had when it was looked at.
        seen: String,
        /// Whether to ask the budgets, by eviction.
        evict: bool,
        /// What happens to it, for people.
        note: String,
    },
    /// Waits, writing nothing.
    Await {
        /// The pods waited for, in the order in which they come.
        pods: Vec<String>,
        /// What for, as the end of `wait for postgres-2 …`: `to be available`.
        until: String,
    },
}

impl Step {
    /// Whether anything is written.
    pub fn writes(&self) -> bool {
        !matches!(self, Step::Await { .. })
    }
}

/// How a patch is read by the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// application/merge-patch+json.
    Merge,
    /// application/strategic-merge-patch+json.
    Strategic,
}

/// A change of the set.
#[derive(Clone, Debug)]
pub struct SetPatch {
    /// The set's name.
    pub set: String,
    /// The uid it had when it was looked at.
    pub seen: String,
    /// The generation it had: whoever changes the spec in between makes this another step.
    pub generation: i64,
    /// How the body is meant.
    pub kind: PatchKind,
    /// The change, without preconditions.
    pub body: Value,
    /// The revision whose template it puts back, by name; `None` where the template, if it has one, is new.
    pub revision: Option<String>,
    /// Whether it only stops a rollout where that has come to. It restarts no pod, so it is agreed to wherever that is.
    pub pauses: bool,
    /// What changes, for people: `partition 0 → 3`.
    pub note: String,
}

impl SetPatch {
    /// The body as it is sent: with the uid and resourceVersion seen last, so that it fails if anything came between.
    pub fn with_preconditions(&self, resource_version: &str) -> Value {
        let mut body = self.body.clone();
        if !body["metadata"].is_object() {
            body["metadata"] = json!({});
        }
        body["metadata"]["uid"] = self.seen.clone().into();
        body["metadata"]["resourceVersion"] = resource_version.into();
        body
    }
}

impl PartialEq for SetPatch {
    /// The same change of the same object as it was seen. Words for people do not count; nor, for a pause, where the
    /// rollout has come to.
    fn eq(&self, other: &SetPatch) -> bool {
        let SetPatch { set: _, seen, generation, kind, body, revision: _, pauses, note: _ } = self;
        *seen == other.seen
            && *generation == other.generation
            && *kind == other.kind
            && *pauses == other.pauses
            && (*pauses || *body == other.body)
    }
}

impl PartialEq for Step {
    /// The same step: the same object as it was seen, and the same change. Words for people do not count.
    fn eq(&self, other: &Step) -> bool {
        match self {
            Step::Patch(patch) => matches!(other, Step::Patch(other) if patch == other),
            Step::DeletePod { pod: _, seen, evict, note: _ } => {
                matches!(other, Step::DeletePod { seen: s, evict: e, .. } if (seen, evict) == (s, e))
            }
            Step::Await { pods, until } => {
                matches!(other, Step::Await { pods: p, until: u } if (pods, until) == (p, u))
            }
        }
    }
}
