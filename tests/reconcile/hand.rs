//! What is planned of StatefulSets that no random cluster has: with an owner, a node that is lost, refused requests, no probe.

use jiff::Timestamp;
use kubectl_sts::cluster::recorded::{self, Absent};
use kubectl_sts::plan::{Abort, Canary, Goal, Recover, Stamp, Undo};
use kubectl_sts::snapshot::{CANARY, Snapshot};
use serde_json::{Value, json};

use super::plans::{planned, refused};

const NOW: &str = "2026-11-20T12:01:00Z";

/// A set of three on its way from A to B, of which web-2 has B and web-0 and web-1 have A; all pods are ready for hours.
struct Hand {
    set: Value,
    pods: Vec<Value>,
    others: Vec<Value>,
}

fn pod(ordinal: usize, revision: &str) -> Value {
    let name = format!("web-{ordinal}");
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "creationTimestamp": "2026-11-20T10:00:00Z",
            "labels": {"app": "web", "controller-revision-hash": format!("web-{revision}")},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "set", "controller": true}],
        },
        "spec": {"nodeName": "node-a", "containers": [{"name": "web", "image": "web", "readinessProbe": {"periodSeconds": 1}}]},
        "status": ready(true),
    })
}

fn ready(is_ready: bool) -> Value {
    json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": if is_ready { "True" } else { "False" }, "lastTransitionTime": "2026-11-20T10:00:20Z"}],
        "containerStatuses": [{"name": "web", "ready": is_ready, "started": true, "restartCount": 0, "image": "web", "imageID": "",
            "state": {"running": {"startedAt": "2026-11-20T10:00:10Z"}}}],
    })
}

/// It cannot be pulled.
fn broken() -> Value {
    json!({
        "phase": "Pending",
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-20T10:00:20Z"}],
        "containerStatuses": [{"name": "web", "ready": false, "restartCount": 0, "image": "web", "imageID": "",
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}],
    })
}

fn event(kind: &str, name: &str, reason: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "web.1", "namespace": "shop"}, "type": "Warning",
        "reason": reason, "message": message, "lastTimestamp": "2026-11-20T12:00:30Z",
        "involvedObject": {"kind": kind, "name": name, "namespace": "shop", "uid": if kind == "Pod" { name } else { "set" }},
    })
}

impl Hand {
    fn new() -> Hand {
        Hand {
            set: json!({
                "apiVersion": "apps/v1", "kind": "StatefulSet",
                "metadata": {"name": "web", "namespace": "shop", "uid": "set", "generation": 1, "resourceVersion": "1"},
                "spec": {
                    "replicas": 3, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}},
                    "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                    "template": {
                        "metadata": {"labels": {"app": "web"}},
                        "spec": {"containers": [{"name": "web", "image": "web", "readinessProbe": {"periodSeconds": 1}}]},
                    },
                },
                "status": {"observedGeneration": 1, "replicas": 3, "currentRevision": "web-a", "updateRevision": "web-b"},
            }),
            pods: vec![pod(0, "a"), pod(1, "a"), pod(2, "b")],
            others: Vec::new(),
        }
    }

    /// The template is that of before, and a pod of the abandoned revision b is broken.
    fn trapped() -> Hand {
        let mut hand = Hand::new();
        hand.set["status"]["updateRevision"] = "web-a".into();
        hand.pods[2]["status"] = broken();
        hand
    }

    /// All pods are on the template.
    fn at_rest() -> Hand {
        let mut hand = Hand::new();
        hand.set["status"]["updateRevision"] = "web-a".into();
        hand.pods[2] = pod(2, "a");
        hand
    }

    fn with(mut self, change: impl FnOnce(&mut Hand)) -> Hand {
        change(&mut self);
        self
    }

    fn look<R>(&self, look: impl FnOnce(&Snapshot<'_>) -> R) -> R {
        let objects = [&self.set].into_iter().chain(&self.pods).chain(&self.others);
        let text = objects.map(Value::to_string).collect::<Vec<_>>().join("\n");
        let now: Timestamp = NOW.parse().unwrap();
        let mut observed = recorded::read(&[("hand".to_owned(), text)], Absent::Empty, now).unwrap();
        observed.taken_at = now;
        let namespaces = observed.namespaces();
        look(&Snapshot::of(&observed, &namespaces["shop"], &observed.sets[0]))
    }

    fn plan(&self, goal: &dyn Goal) -> String {
        self.look(|now| {
            let mut text = String::new();
            match goal.plan(now) {
                Ok(plan) => planned(&mut text, &plan),
                Err(stop) => refused(&mut text, &stop),
            }
            text
        })
    }

    #[track_caller]
    fn plans(&self, goal: &dyn Goal, wanted: &[&str], others: &[&str]) {
        let text = self.plan(goal);
        for wanted in wanted {
            assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
        }
        for other in others {
            assert!(!text.contains(other), "{other:?} in\n{text}");
        }
    }
}

fn recover() -> Recover {
    Recover { evict: false, first: true }
}

fn stamp() -> Stamp {
    Stamp { by: "test".to_owned(), at: NOW.parse().unwrap() }
}

fn canary(steps: &[i32], goes_on: bool) -> Canary {
    Canary {
        change: None,
        steps: steps.to_vec(),
        ladder: Vec::new(),
        goes_on,
        allow_unhealthy: false,
        finish: true,
        stamp: stamp(),
        facts: vec![("check", "every pod".to_owned())],
        warnings: vec!["somebody else writes it".to_owned()],
    }
}

fn undo() -> Undo {
    Undo {
        target: "web-a".to_owned(),
        data: json!({"spec": {"template": {}}}),
        facts: vec![("template", "image: b → a".to_owned())],
        warnings: vec!["somebody else writes it".to_owned()],
    }
}

fn abort() -> Abort {
    let data = Some(json!({"spec": {"template": {}}}));
    Abort {
        stable: "web-a".to_owned(),
        data,
        stamp: stamp(),
        warnings: vec!["somebody else writes it".to_owned()],
    }
}

fn marked(hand: &mut Hand) {
    let mark = json!({"stable": "web-a", "partition": 0, "by": "test", "at": "2026-11-20T11:00:00Z", "change": null});
    hand.set["metadata"]["annotations"] = json!({CANARY: mark.to_string()});
}

#[test]
fn what_a_command_found_besides_is_shown_with_its_plan() {
    let warning = ["  warning: somebody else writes it"];
    Hand::at_rest().plans(&canary(&[2], false), &[warning[0], "  check: every pod"], &[]);
    Hand::new().plans(&undo(), &[warning[0], "  template: image: b → a"], &[]);
    Hand::new().with(marked).plans(&abort(), &warning, &[]);
}

#[test]
fn a_canary_without_a_probe_says_how_little_ready_means() {
    let unprobed = "no container has a readiness probe";
    let without = || {
        Hand::at_rest().with(|hand| {
            let container = &mut hand.set["spec"]["template"]["spec"]["containers"][0];
            container.as_object_mut().unwrap().remove("readinessProbe");
        })
    };
    without().plans(&canary(&[2], false), &[unprobed], &[]);
    Hand::at_rest().plans(&canary(&[2], false), &[], &[unprobed]);
    let gated = without().with(|hand| {
        hand.set["spec"]["template"]["spec"]["readinessGates"] = json!([{"conditionType": "example.com/up"}]);
    });
    gated.plans(&canary(&[2], false), &[], &[unprobed]);
}

#[test]
fn a_recovery_says_who_may_revert_it_and_what_it_cannot_delete() {
    let delete = "DeletePod { pod: \"web-2\"";
    Hand::trapped().plans(&recover(), &[delete, "(grace period 30s)"], &["manages"]);
    let owned = Hand::trapped().with(|hand| {
        hand.set["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "example.com/v1", "kind": "Database", "name": "shop", "uid": "x", "controller": true}]);
        hand.set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 5.into();
        hand.pods[2]["spec"]["terminationGracePeriodSeconds"] = 5.into();
    });
    owned.plans(
        &recover(),
        &[delete, "manages this StatefulSet and may revert these changes", "(grace period 5s)"],
        &[],
    );
    let held = Hand::trapped().with(|hand| {
        hand.pods[2]["metadata"]["finalizers"] = json!(["example.com/hold"]);
    });
    held.plans(
        &recover(),
        &["refused: pod-has-finalizers", "example.com/hold", "kubectl get pod web-2"],
        &[delete],
    );
    let node = |age: &str| {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-a", "uid": "n"},
            "spec": {"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": age}]},
            "status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "lastTransitionTime": age}]},
        })
    };
    let lost = Hand::trapped().with(|hand| hand.others.push(node("2026-11-20T11:00:00Z")));
    lost.plans(
        &recover(),
        &["refused: node-lost", "web-2 is on node node-a", "kubectl describe node node-a"],
        &[delete],
    );
    let leaving = Hand::trapped().with(|hand| {
        hand.pods[2]["metadata"]["deletionTimestamp"] = "2026-11-20T12:00:50Z".into();
        hand.pods[2]["metadata"]["deletionGracePeriodSeconds"] = 30.into();
    });
    let held = Hand {
        pods: leaving
            .pods
            .iter()
            .cloned()
            .map(|mut pod| {
                if pod["metadata"]["name"] == "web-2" {
                    pod["metadata"]["finalizers"] = json!(["example.com/hold"]);
                }
                pod
            })
            .collect(),
        ..Hand::trapped()
    };
    held.plans(&recover(), &["refused: terminating", "it has finalizers: example.com/hold"], &[]);
}

#[test]
fn a_recovery_tells_what_is_not_its_to_mend() {
    // The broken pod has the revision it would get again: below a partition, on the template, or as part of a scale-down.
    let broken_0 = |hand: &mut Hand| hand.pods[0]["status"] = broken();
    let below = Hand::new().with(|hand| {
        broken_0(hand);
        hand.set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 1.into();
    });
    for (hand, wanted) in [
        (below, ["refused: ", "web-0"]),
        (Hand::at_rest().with(broken_0), ["refused: ", "web-0"]),
        (Hand::new().with(|hand| hand.pods[2]["status"] = broken()), ["refused: ", "web-2"]),
    ] {
        hand.plans(&recover(), &wanted, &["DeletePod"]);
    }
    let slow = Hand::at_rest().with(|hand| hand.pods[1]["status"] = ready(false));
    slow.plans(&recover(), &["refused: "], &["DeletePod"]);
    let young = Hand::at_rest().with(|hand| {
        hand.pods[1]["status"] = ready(false);
        for path in [
            "/status/containerStatuses/0/state/running/startedAt",
            "/status/conditions/0/lastTransitionTime",
            "/metadata/creationTimestamp",
        ] {
            *hand.pods[1].pointer_mut(path).unwrap() = "2026-11-20T12:00:59Z".into();
        }
    });
    young.plans(
        &recover(),
        &["refused: merely-slow", "web-1 is not stuck, it only needs more time"],
        &["DeletePod"],
    );
    Hand::at_rest().plans(&recover(), &[], &["DeletePod"]);
    let gone = Hand::at_rest().with(|hand| {
        hand.pods.remove(2);
        let mut stranger = pod(2, "a");
        stranger["metadata"].as_object_mut().unwrap().remove("ownerReferences");
        stranger["metadata"]["labels"] = json!({});
        hand.pods.push(stranger);
    });
    gone.plans(&recover(), &["refused: ", "web-2"], &["DeletePod"]);
}

#[test]
fn an_undo_says_what_the_api_server_refused_the_controller() {
    let said = "admission webhook \"guard.example.com\" denied the request: not now";
    let refused = Hand::new().with(|hand| {
        let message = format!("delete Pod web-2 in StatefulSet web failed error: {said}");
        hand.others.push(event("StatefulSet", "web", "FailedDelete", &message));
    });
    refused.plans(
        &undo(),
        &[
            "warning: the API server refused",
            "to delete web-2",
            "not now",
            "the rollback stops there until the deletion is allowed",
        ],
        &[],
    );
    let needless = Hand::new().with(|hand| {
        let message = format!("delete Pod web-1 in StatefulSet web failed error: {said}");
        hand.others.push(event("StatefulSet", "web", "FailedDelete", &message));
        hand.pods[2] = pod(2, "a");
        hand.pods[2]["status"] = ready(false);
        hand.pods[1] = pod(1, "b");
    });
    needless.plans(&undo(), &["to delete web-1", "this rollback needs no deletion"], &[]);
    Hand::new().plans(&undo(), &[], &["refused"]);
}

#[test]
fn an_abort_deletes_what_is_stuck_and_leaves_what_only_may_be() {
    let at = |change: &dyn Fn(&mut Value)| {
        Hand::new().with(|hand| {
            marked(hand);
            hand.set["status"]["updateRevision"] = "web-a".into();
            change(&mut hand.pods[2]);
        })
    };
    let now = "  - DeletePod { pod: \"web-2\"";
    let needed = "  - if needed: DeletePod { pod: \"web-2\"";
    at(&|pod| pod["status"] = broken()).plans(
        &abort(),
        &[now, "ImagePullBackOff on old revision b"],
        &[needed],
    );
    // Not ready for longer than its probes allow.
    at(&|pod| pod["status"] = ready(false)).plans(&abort(), &[now, "not ready on old revision b"], &[needed]);
    at(&|_| ()).plans(&abort(), &[needed, "note: \"on old revision b"], &[now]);
    for status in [broken(), ready(false)] {
        let held = at(&|pod| {
            pod["status"] = status.clone();
            pod["metadata"]["finalizers"] = json!(["example.com/hold"]);
        });
        held.plans(&abort(), &["refused: pod-has-finalizers", "kubectl get pod web-2"], &[]);
    }
    at(&|pod| pod["metadata"]["finalizers"] = json!(["example.com/hold"])).plans(&abort(), &[needed], &[now]);
}
