//! What is predicted to happen, in words and for programs.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::controller::{self, End, Idle, Move};
use crate::kinds::StatefulSet;
use crate::plan::Plan;
use crate::snapshot::{Snapshot, Verb, parse_pod_name};
use crate::words;

/// How many groups of pods are told one by one.
const MOST: usize = 6;

/// A course with the names of the pods.
#[derive(Clone, Debug)]
pub struct ForecastView {
    moves: Vec<Named>,
    end: End,
    waits_for: Option<String>,
    /// The partition at the end.
    partition: i32,
}

#[derive(Clone, Debug)]
struct Named {
    pod: String,
    /// The revision it is made from; `None` for a deletion.
    made: Option<Made>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Made {
    /// Full name; empty where the server has not named it yet.
    revision: String,
    short: String,
    /// The one it may be made from instead.
    or: Option<String>,
}

impl ForecastView {
    /// The course of a plan in the names of this set.
    pub fn of(now: &Snapshot<'_>, plan: &Plan, course: &controller::Forecast) -> ForecastView {
        let set = now.set;
        let short = |revision| set.short_revision(revision).to_owned();
        let moves = course.moves.iter().map(|it| match it {
            Move::Delete(ordinal, _) => Named { pod: set.pod_name(*ordinal), made: None },
            Move::Create { ordinal, revision, or } => Named {
                pod: set.pod_name(*ordinal),
                made: Some(Made { revision: revision.clone(), short: short(revision), or: or.clone() }),
            },
        });
        let partition = plan.partition().unwrap_or_else(|| set.partition());
        let (moves, end) = (moves.collect(), course.end);
        ForecastView { moves, end, waits_for: waits_for(set, end), partition }
    }

    /// `postgres-2 is recreated on 85b44c86db, then the rollout is complete`.
    pub fn text(&self) -> String {
        let mut groups: Vec<(Vec<&str>, String)> = Vec::new();
        let mut skip = HashSet::new();
        // For each move the next one of the same pod.
        let mut nexts = vec![None; self.moves.len()];
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (at, one) in self.moves.iter().enumerate().rev() {
            nexts[at] = last.insert(&one.pod, at);
        }
        for (at, (one, next)) in self.moves.iter().zip(nexts).enumerate() {
            if skip.contains(&at) {
                continue;
            }
            let later = next.and_then(|next| Some((next, self.moves.get(next)?)));
            let what = match (&one.made, later) {
                (None, Some((index, Named { made: Some(made), .. }))) => {
                    skip.insert(index);
                    format!("recreated on {}", made.word())
                }
                (None, _) => "deleted".to_owned(),
                (Some(made), _) => format!("created on {}", made.word()),
            };
            match groups.last_mut() {
                Some((pods, last)) if *last == what => pods.push(&one.pod),
                _ => groups.push((vec![&one.pod], what)),
            }
        }
        let mut parts: Vec<String> =
            groups.iter().map(|(pods, what)| format!("{} {} {what}", in_order(pods), are(pods))).collect();
        if parts.len() > MOST {
            let more = parts.len() - MOST;
            parts.truncate(MOST);
            parts.push(format!("{more} more"));
        }
        let pod = self.waits_for.as_deref().unwrap_or_default();
        let end = match self.end {
            End::Refused(_, Verb::Create) => format!("the API server refuses to create {pod}"),
            End::Refused(_, Verb::Delete) => format!("the API server refuses to delete {pod}"),
            End::Refused(_, Verb::Update) => format!("the API server refuses to update {pod}"),
            End::Blocked(..) => format!("the controller waits for {pod}"),
            End::At(Idle::Partition) => format!("the rollout pauses at partition {}", self.partition),
            End::At(Idle::OnDelete) => "outdated pods stay until you delete them".to_owned(),
            End::At(Idle::Deleting) => "the StatefulSet is deleted".to_owned(),
            End::Endless => "the same again, without an end".to_owned(),
            End::At(Idle::Done | Idle::Unobserved | Idle::UnknownStrategy) => {
                "the rollout is complete".to_owned()
            }
        };
        if parts.is_empty() { end } else { format!("{}, then {end}", parts.join("; ")) }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let moves: Vec<Value> = self
            .moves
            .iter()
            .map(|one| match &one.made {
                None => json!({"do": "delete", "pod": one.pod}),
                Some(made) => json!({
                    "do": "create", "pod": one.pod,
                    "revision": (!made.revision.is_empty()).then_some(&made.revision), "orRevision": made.or,
                }),
            })
            .collect();
        json!({"moves": moves, "end": end_word(self.end), "waitsFor": self.waits_for})
    }
}

/// How a course ends, as programs are told.
fn end_word(end: End) -> &'static str {
    match end {
        End::At(Idle::Partition) => "partition",
        End::At(Idle::OnDelete) => "on-delete",
        End::At(Idle::Deleting) => "deleting",
        End::At(Idle::Done | Idle::Unobserved | Idle::UnknownStrategy) => "complete",
        End::Blocked(..) => "blocked",
        End::Refused(_, Verb::Create) => "creation-refused",
        End::Refused(_, Verb::Delete) => "deletion-refused",
        End::Refused(_, Verb::Update) => "update-refused",
        End::Endless => "endless",
    }
}

/// The pod that is waited for in the end.
fn waits_for(set: &StatefulSet, end: End) -> Option<String> {
    match end {
        End::Blocked(ordinal, _) | End::Refused(ordinal, _) => Some(set.pod_name(ordinal)),
        End::At(_) | End::Endless => None,
    }
}

fn are(pods: &[&str]) -> &'static str {
    if pods.len() == 1 { "is" } else { "are" }
}

/// `postgres-4 down to postgres-0` where nothing is left out.
fn in_order(pods: &[&str]) -> String {
    let ordinals: Vec<i32> =
        pods.iter().filter_map(|pod| parse_pod_name(pod)).map(|(_, ordinal)| ordinal).collect();
    let by = |step: i32| ordinals.windows(2).all(|pair| pair[1] - pair[0] == step);
    match pods {
        [first, .., last] if pods.len() > 3 && by(-1) => format!("{first} down to {last}"),
        [first, .., last] if pods.len() > 3 && by(1) => format!("{first} up to {last}"),
        pods => words::list(pods, usize::MAX),
    }
}

impl Made {
    fn word(&self) -> String {
        let one = if self.revision.is_empty() { "the new template" } else { &self.short };
        match &self.or {
            Some(_) => format!("{one}, or another revision"),
            None => one.to_owned(),
        }
    }
}
