//! More than one stuck pod: all are in one plan, and each is waited for before the next.

use kubectl_sts::controller::MaxUnavailable;
use serde_json::Value;

use super::{put_back, set, uids};
use crate::support::{self, Namespace};

/// Whether a rollout can have two pods down at a time: the field that asks for it is not stored where the gate is off.
fn two_at_a_time(cluster: &support::Cluster) -> bool {
    MaxUnavailable::of(Some(&cluster.version())) != MaxUnavailable::Ignored
}

/// Four pods, of which 2 and 3 are stuck on an abandoned revision: 3 from the start, 2 some time after it was ready.
fn two_stuck(ns: &Namespace) {
    let spec = "updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 2}},";
    ns.apply(&set("web", 4, spec));
    ns.wait_ready("web", 4);
    let bad = serde_json::json!({"spec": {"template": {"metadata": {"annotations": {
        "fake.test/mode-3": "imagepull",
        "fake.test/then-2": "imagepull", "fake.test/then-after-2": "8s",
    }}}}});
    ns.patch("sts/web", &bad);
    ns.wait_pod_status("web-3", "ImagePullBackOff");
    ns.wait_pod_status("web-2", "ImagePullBackOff");
}

#[test]
fn two_stuck_pods_are_freed_one_after_the_other() {
    let Some(cluster) = support::cluster().filter(|cluster| two_at_a_time(cluster)) else { return };
    let ns = cluster.namespace("recover-two");
    two_stuck(&ns);
    ns.kubectl(&["rollout", "undo", "sts/web"]).ok();
    put_back(&ns, "web", "web-2");
    both(&ns, "recover");
}

#[test]
fn undo_frees_two_stuck_pods_too() {
    let Some(cluster) = support::cluster().filter(|cluster| two_at_a_time(cluster)) else { return };
    let ns = cluster.namespace("undo-two");
    two_stuck(&ns);
    both(&ns, "undo");
}

fn both(ns: &Namespace, command: &str) {
    let before = uids(ns);
    let plan = ns.sts(&[command, "web", "--dry-run=client", "-o", "json"]).ok();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let all =
        [plan["steps"].as_array().unwrap(), plan["ifNeeded"].as_array().unwrap()].map(Vec::as_slice).concat();
    let planned: Vec<&Value> =
        all.iter().filter(|step| step["do"] == "delete").map(|step| &step["uid"]).collect();
    assert_eq!(planned, [&before["web-2"], &before["web-3"]], "{plan}");
    assert_eq!(uids(ns), before);

    let run = ns.sts(&[command, "web", "--yes", "-o", "json"]).code(0);
    let result: Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
    let journal = result["journal"].as_array().unwrap();
    let deleted =
        journal.iter().filter(|entry| entry["step"]["do"] == "delete" && entry["result"] != "not done");
    let deleted: Vec<&Value> = deleted.map(|entry| &entry["step"]["uid"]).collect();
    assert_eq!(deleted, planned, "what was shown is what was done\n{run}");
    assert_eq!(result["outcome"], "reached");
    ns.wait_rolled_out("web", 4);
    let after = uids(ns);
    for pod in ["web-0", "web-1"] {
        assert_eq!(after[pod], before[pod], "{pod} is not touched\n{run}");
    }
}
