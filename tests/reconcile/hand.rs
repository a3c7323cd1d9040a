//! What is planned of StatefulSets that no random cluster has: with an owner, a node that is lost, refused requests, no probe.

use jiff::Timestamp;
use kubectl_sts::cluster::recorded::{self, Absent};
use kubectl_sts::plan::{
    Abort, Agreement, Canary, Change, Goal, Recover, Stamp, Step, Undo, is_canary, is_rolled_back,
};
use kubectl_sts::reconcile::{Entry, EntryResult, Outcome, Report};
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
    let creates = Hand::new().with(|hand| {
        let message = format!("delete Pod web-1 in StatefulSet web failed error: {said}");
        hand.others.push(event("StatefulSet", "web", "FailedDelete", &message));
        hand.pods.remove(0);
    });
    creates.plans(&undo(), &["to delete web-1", "this rollback needs no deletion"], &[]);
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
    // The same, for a moment: it may still become ready, and is deleted all the same.
    let just = at(&|pod| {
        pod["status"] = ready(false);
        pod["status"]["conditions"][0]["lastTransitionTime"] = "2026-11-20T12:00:50Z".into();
    });
    just.plans(&abort(), &[now, "note: \"not ready on old revision b"], &[needed]);
    for status in [broken(), ready(false)] {
        let held = at(&|pod| {
            pod["status"] = status.clone();
            pod["metadata"]["finalizers"] = json!(["example.com/hold"]);
        });
        held.plans(&abort(), &["refused: pod-has-finalizers", "kubectl get pod web-2"], &[]);
    }
    at(&|pod| pod["metadata"]["finalizers"] = json!(["example.com/hold"])).plans(&abort(), &[needed], &[now]);
}

#[test]
fn a_recovery_that_helps_nothing_says_why_and_what_does() {
    let broken_0 = |hand: &mut Hand| hand.pods[0]["status"] = broken();
    let partition =
        |hand: &mut Hand| hand.set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 1.into();
    let unready = |hand: Hand, ordinal: usize| hand.with(|hand| hand.pods[ordinal]["status"] = ready(false));
    let leaving = |at: &str| {
        Hand::trapped().with(|hand| {
            hand.pods[2]["metadata"]["deletionTimestamp"] = at.into();
            hand.pods[2]["metadata"]["deletionGracePeriodSeconds"] = 30.into();
        })
    };
    let below = || Hand::new().with(|hand| (broken_0(hand), partition(hand)).1);
    for (hand, wanted) in [
        (
            below(),
            ["refused: below-partition", "so it would be recreated on a again", "kubectl sts doctor web"],
        ),
        // Nothing is updated: the partition means nothing.
        (
            Hand::at_rest().with(|hand| (broken_0(hand), partition(hand)).1),
            [
                "refused: same-revision",
                "the cause is the pod template or the application",
                "kubectl sts doctor web",
            ],
        ),
        (
            unready(Hand::at_rest(), 1),
            [
                "refused: same-revision",
                "web-1 is stuck (not ready) on the revision",
                "kubectl sts doctor web",
            ],
        ),
        (
            unready(Hand::new(), 2),
            ["refused: same-revision", "web-2 is stuck (not ready) on the revision", "kubectl sts undo web"],
        ),
        // It was well before the update, and is no trap for that.
        (
            unready(Hand::new(), 1),
            [
                "refused: may-become-ready",
                "web-1 is stuck (not ready) on a, the revision from before the update: it blocks the update",
                "it is recreated on b: kubectl delete pod web-1 -n shop",
            ],
        ),
        (
            leaving("2026-11-20T12:00:50Z"),
            ["refused: terminating", "web-2 is already being deleted", "kubectl sts watch web"],
        ),
        (
            Hand::at_rest().with(|hand| {
                let stranger = &mut hand.pods[2]["metadata"];
                stranger.as_object_mut().unwrap().remove("ownerReferences");
                stranger["labels"] = json!({});
            }),
            ["refused: ", "web-2", "kubectl"],
        ),
    ] {
        hand.plans(&recover(), &wanted, &["DeletePod"]);
    }
    // What an interrupted recovery leaves behind is seen through.
    let through = "  - Await { pods: [\"web-2\"], until: \"to be available on a\" }";
    leaving("2026-11-20T12:01:30Z").plans(&recover(), &[through], &["refused"]);
    let late = Hand::new().with(|hand| {
        hand.set["spec"]["podManagementPolicy"] = "Parallel".into();
        hand.pods[0]["status"] = broken();
    });
    late.plans(&recover(), &["refused: merely-slow", "web is not stuck, the controller is working"], &[]);
}

#[test]
fn pods_that_lack_a_volume_are_named_with_how_many_are_ready() {
    let lacking = |ready_ones: usize| {
        Hand::at_rest().with(|hand| {
            hand.set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
            for (ordinal, pod) in hand.pods.iter_mut().enumerate() {
                pod["status"] = ready(ordinal < ready_ones);
            }
            hand.others.push(event(
                "StatefulSet",
                "web",
                "FailedUpdate",
                "update Pod web-2 in StatefulSet web failed error: Pod \"web-2\" is invalid: spec: Forbidden: pod updates may not \
                 change fields other than",
            ));
        })
    };
    let delete = "DeletePod { pod: \"web-0\", seen: \"web-0\", evict: false, note: \"lacks volume data;";
    lacking(3).plans(&recover(), &[delete, "3 of these pods are Ready now"], &[]);
    lacking(1).plans(&recover(), &[delete, "1 of these pods is Ready now"], &[]);
    lacking(0).plans(&recover(), &[delete], &["Ready now"]);
}

#[test]
fn the_pvc_of_an_earlier_pod_is_waited_for() {
    let hand = Hand::at_rest().with(|hand| {
        hand.set["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": {}}]);
        for pod in &mut hand.pods {
            let claim = format!("data-{}", pod["metadata"]["name"].as_str().unwrap());
            pod["spec"]["volumes"] = json!([{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]);
        }
        hand.pods.remove(2);
        hand.others.push(json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": "data-web-2", "namespace": "shop", "uid": "c", "deletionTimestamp": "2026-11-20T12:00:55Z",
                "finalizers": ["kubernetes.io/pvc-protection"],
            },
            "spec": {}, "status": {"phase": "Bound"},
        }));
    });
    hand.plans(&recover(), &["refused: ", "web-2"], &["name-taken", "DeletePod"]);
    let goes_on = Recover { evict: false, first: false };
    hand.plans(&goes_on, &["until: \"the earlier PVC of web-2 to be deleted\""], &["refused"]);
}

#[test]
fn an_abort_waits_for_no_pod_from_before_the_canary() {
    let waits = |created: &str| {
        let hand = Hand::new().with(|hand| {
            marked(hand);
            hand.set["status"]["updateRevision"] = "web-a".into();
            hand.pods[0]["status"] = ready(false);
            hand.pods[0]["metadata"]["creationTimestamp"] = created.into();
        });
        hand.plan(&abort()).contains("Await { pods: [\"web-2\", \"web-0\"]")
    };
    // The canary began at 11:00.
    assert_eq!([waits("2026-11-20T10:59:59Z"), waits("2026-11-20T11:00:00Z")], [false, true]);
}

#[test]
fn a_canary_is_told_from_a_rollout() {
    let told = |hand: &Hand| hand.look(|now| (is_canary(now), is_rolled_back(now)));
    let held = |hand: &mut Hand| hand.set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 1.into();
    assert_eq!(told(&Hand::new()), (false, false));
    assert_eq!(told(&Hand::new().with(held)), (true, false), "by hand");
    assert_eq!(told(&Hand::at_rest().with(held)), (false, false), "nothing is updated");
    assert_eq!(told(&Hand::new().with(marked)), (true, false));
    assert_eq!(told(&Hand::at_rest().with(marked)), (true, true));
    let unobserved = Hand::at_rest().with(marked).with(|hand| hand.set["metadata"]["generation"] = 2.into());
    assert_eq!(told(&unobserved), (true, false));
    unobserved.plans(&canary(&[0], true), &["Await { pods: [], until: \"the controller\" }"], &[]);
    let new = Hand::at_rest().with(|hand| hand.set["metadata"]["generation"] = 2.into());
    let refused =
        "refused: rollout-in-flight\n  because the controller has not yet observed the newest spec of web";
    new.plans(&canary(&[1], false), &[refused], &[]);
}

#[test]
fn a_canary_by_hand_that_holds_no_pod_back_says_where_its_partition_goes() {
    // Every pod has the update, but for the controller's last word on it.
    let hand = Hand::new().with(|hand| {
        for (ordinal, pod) in hand.pods.iter_mut().enumerate() {
            *pod = self::pod(ordinal, "b");
        }
        hand.pods[2]["status"] = ready(false);
        hand.set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 1.into();
    });
    hand.plans(
        &canary(&[0], true),
        &["then: the partition is 0", "unchanged: all PVCs"],
        &["change the template next"],
    );
    let annotates = "kubectl-sts/canary\":\"{";
    hand.plans(&canary(&[0], true), &["partition 1 → 0"], &[annotates]);
    // The first pod from the partition up is not below it.
    let first = hand.with(|hand| hand.pods[1] = pod(1, "a"));
    first.plans(&canary(&[0], true), &["partition 1 → 0"], &[annotates]);
    let held = first.with(|hand| hand.pods[0] = pod(0, "a"));
    held.plans(&canary(&[0], true), &["partition 1 → 0", annotates], &[]);
    // Where nothing is done nothing is left unchanged.
    Hand::at_rest().plans(&canary(&[0], true), &["then: every pod is on a"], &["unchanged:"]);
}

#[test]
fn a_canary_that_is_complete_leaves_nothing_unchanged() {
    let hand = Hand::new().with(marked).with(|hand| {
        hand.pods[1] = pod(1, "b");
        hand.set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 1.into();
    });
    let complete = "then: the canary is already complete at partition 1 (web-1)";
    hand.plans(&canary(&[1], true), &[complete], &["unchanged:", "keeps revision"]);
}

#[test]
fn the_stable_revision_is_that_of_the_pods_where_the_controller_lags() {
    let hand = Hand::new().with(|hand| {
        for (ordinal, pod) in hand.pods.iter_mut().enumerate() {
            *pod = self::pod(ordinal, "b");
        }
        hand.set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 2.into();
    });
    hand.plans(&canary(&[1], false), &[r#"\"stable\":\"web-b\""#], &["web-a"]);
}

#[test]
fn a_pod_that_is_late_is_told_from_one_that_only_needs_time() {
    let unready = |since: &str| {
        Hand::at_rest().with(|hand| {
            hand.pods[1]["status"] = ready(false);
            hand.pods[1]["status"]["conditions"][0]["lastTransitionTime"] = since.into();
        })
    };
    let late = "web-1 has run for longer than its probes allow and may still become ready";
    unready("2026-11-20T12:00:50Z").plans(&recover(), &["refused: merely-slow", late], &[]);
    // A warning for now, of a pod that was well before the update.
    let before = Hand::new().with(|hand| hand.pods[1] = unready("2026-11-20T11:58:00Z").pods.remove(1));
    let slow = "web-1 is on the revision from before the update and may still become ready";
    before.plans(&recover(), &["refused: merely-slow", slow], &[]);
    let slow = "web-1 is not stuck, it only needs more time";
    unready("2026-11-20T12:00:59Z").plans(&recover(), &["refused: merely-slow", slow], &[]);
}

#[test]
fn an_agreement_is_about_one_template() {
    let agreed = |hand: &Hand, goal: &dyn Goal| hand.look(|now| Agreement::to(&goal.plan(now).unwrap()));
    let at = |generation: i64, observed: i64, update: &str| {
        Hand::at_rest().with(|hand| {
            hand.set["metadata"]["generation"] = generation.into();
            hand.set["status"]["observedGeneration"] = observed.into();
            hand.set["status"]["updateRevision"] = format!("web-{update}").into();
        })
    };
    let other = |agreement: &Agreement, hand: &Hand| hand.look(|now| agreement.other_template(now));
    let template = json!({"metadata": {"labels": {"v": "2"}}});
    let change = Change { template, digest: "d".to_owned(), lines: vec!["v: 1 → 2".to_owned()] };
    let brings = |steps: &[i32]| Canary { change: Some(change.clone()), ..canary(steps, false) };
    let gone = |update: &str, before: &str| {
        Some(format!(
            "another client changed the pod template: the update is to revision {update}, no longer to {before}"
        ))
    };

    // One that brings a template: until that is seen, nothing is known of its revision.
    let agreement = agreed(&at(1, 1, "a"), &brings(&[2]));
    for hand in [at(1, 1, "a"), at(2, 1, "a"), at(2, 2, "b"), at(2, 2, "b"), at(3, 2, "b")] {
        assert_eq!(other(&agreement, &hand), None);
    }
    assert_eq!(other(&agreement, &at(3, 3, "c")), gone("c", "b"));
    assert_eq!(other(&agreement, &at(9, 9, "b")), None, "it was only scaled");
    // Its patch and another one at once: nobody knows whose template it is.
    let agreement = agreed(&at(1, 1, "a"), &brings(&[2]));
    assert_eq!(
        other(&agreement, &at(3, 3, "b")).as_deref(),
        Some("another client changed the spec in the same moment")
    );
    // Its own next patch changes no template.
    let agreement = agreed(&at(1, 1, "a"), &brings(&[2, 1]));
    assert_eq!(other(&agreement, &at(3, 3, "b")), None);
    assert_eq!(other(&agreement, &at(4, 4, "c")), gone("c", "b"));

    // One about the template that is there: that of the plan, whatever is seen first.
    let agreement = agreed(&Hand::at_rest().with(marked), &canary(&[0], true));
    assert_eq!(other(&agreement, &at(2, 2, "a")), None);
    assert_eq!(other(&agreement, &at(2, 2, "b")), gone("b", "a"));
    assert_eq!(other(&Agreement::to_nothing(), &at(2, 2, "b")), None);
}

#[test]
fn nothing_was_needed_where_the_goal_is_reached_without_the_writes_agreed_to() {
    let entry = Entry {
        at: NOW.parse().unwrap(),
        step: Step::Await { pods: Vec::new(), until: String::new() },
        result: EntryResult::Done,
    };
    let report = |outcome: Outcome, journal: Vec<Entry>, agreed_to_write: bool| {
        Report { outcome, journal, agreed_to_write }.needed_nothing()
    };
    assert!(report(Outcome::Reached, Vec::new(), true));
    assert!(!report(Outcome::Reached, vec![entry], true));
    assert!(!report(Outcome::Reached, Vec::new(), false));
    assert!(!report(Outcome::TimedOut, Vec::new(), true));
}
