//! What becomes of a pod once it is made, and what its status says at each age.

use jiff::{SignedDuration, Timestamp};
use kubectl_sts::kinds::PodStatus;
use serde_json::{Value, json};

/// What becomes of the pods of a revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is ready after some seconds.
    Good,
    /// It is ready after a time in which others would be reported.
    Slow,
    ImagePull,
    CrashLoop,
    /// It is ready for a moment between two crashes.
    Flaps,
    NeverReady,
    Config,
    /// It never starts, and nothing says why.
    Silent,
    /// No node can take it, so that it has none.
    Unschedulable,
    /// It ends, and the controller replaces it, again and again.
    Finishes,
}

/// Those of which a pod is never available.
pub const BROKEN: [Fate; 6] =
    [Fate::ImagePull, Fate::CrashLoop, Fate::NeverReady, Fate::Config, Fate::Silent, Fate::Unschedulable];

/// Seconds of one round of [`Fate::Flaps`], and for how many of them it is ready.
const ROUND: (i64, i64) = (14, 3);

/// A pod's life.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    pub fate: Fate,
    pub born: Timestamp,
    /// Seconds until it is ready.
    pub starts: i64,
    /// Seconds it takes to end.
    pub ends: i64,
    pub ends_at: Option<Timestamp>,
    /// The state that its status shows.
    pub shown: Option<(Fate, i64)>,
}

impl Life {
    /// Which of its states it is in; the status changes with it only.
    pub fn stage(&self, now: Timestamp) -> (Fate, i64) {
        let age = now.duration_since(self.born).as_secs();
        let stage = match self.fate {
            Fate::Good | Fate::Slow | Fate::Finishes => i64::from(age >= 1) + i64::from(age >= self.starts),
            Fate::CrashLoop => 1 + age / 20,
            Fate::Flaps => 1 + age / ROUND.0 * 2 + i64::from(age % ROUND.0 >= ROUND.1),
            Fate::ImagePull | Fate::Config | Fate::NeverReady | Fate::Silent | Fate::Unschedulable => 1,
        };
        (self.fate, if age < 1 { 0 } else { stage })
    }

    /// What its kubelet reports of it.
    pub fn status(&self, now: Timestamp) -> PodStatus {
        let age = now.duration_since(self.born).as_secs();
        let at = |age: i64| (self.born + SignedDuration::from_secs(age)).to_string();
        let waiting = |reason: &str, message: &str, restarts: i64, last: Value| {
            let state = json!({"waiting": {"reason": reason, "message": message}});
            self.pending(json!([container(false, restarts, state, last)]), at(0))
        };
        let starting = || waiting("ContainerCreating", "", 0, json!({}));
        let crashed = |from: i64, to: i64| json!({"terminated": {"exitCode": 1, "reason": "Error", "startedAt": at(from), "finishedAt": at(to)}});
        let status = match self.fate {
            _ if age < 1 => starting(),
            Fate::Good | Fate::Slow | Fate::Finishes if age < self.starts => starting(),
            Fate::Good | Fate::Slow => {
                let state = json!({"running": {"startedAt": at(1)}});
                running("True", at(self.starts), container(true, 0, state, json!({})))
            }
            Fate::Finishes => json!({"phase": "Failed", "startTime": at(0)}),
            Fate::ImagePull => waiting("ImagePullBackOff", "Back-off pulling image \"web:2\"", 0, json!({})),
            Fate::Config => waiting("CreateContainerConfigError", "secret \"web\" not found", 0, json!({})),
            Fate::CrashLoop => {
                let ended = age / 20 * 20;
                waiting("CrashLoopBackOff", "", 3 + age / 20, crashed(ended, ended))
            }
            Fate::Flaps => {
                let (round, ready) = ROUND;
                let (number, within) = (age / round, age % round);
                let begun = number * round;
                if within < ready {
                    let state = json!({"running": {"startedAt": at(begun)}});
                    let last =
                        if number == 0 { json!({}) } else { crashed(begun - round, begun - round + ready) };
                    running("True", at(begun), container(true, number, state, last))
                } else {
                    let state = json!({"waiting": {"reason": "CrashLoopBackOff", "message": ""}});
                    let container = container(false, number + 1, state, crashed(begun, begun + ready));
                    running("False", at(begun + ready), container)
                }
            }
            Fate::NeverReady => {
                let state = json!({"running": {"startedAt": at(1)}});
                running("False", at(0), container(false, 0, state, json!({})))
            }
            Fate::Silent => self.pending(json!([]), at(0)),
            Fate::Unschedulable => json!({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                 "message": "0/3 nodes are available: 3 Insufficient cpu.", "lastTransitionTime": at(0)}]}),
        };
        serde_json::from_value(status).unwrap()
    }

    fn pending(&self, containers: Value, since: String) -> Value {
        json!({
            "phase": "Pending", "startTime": self.born.to_string(), "containerStatuses": containers,
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": since},
                {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "lastTransitionTime": since},
            ],
        })
    }
}

fn running(ready: &str, since: String, container: Value) -> Value {
    json!({
        "phase": "Running", "startTime": since, "containerStatuses": [container],
        "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}],
    })
}

fn container(ready: bool, restarts: i64, state: Value, last: Value) -> Value {
    json!({"name": "web", "image": "web:1", "ready": ready, "started": ready, "restartCount": restarts,
           "state": state, "lastState": last})
}
