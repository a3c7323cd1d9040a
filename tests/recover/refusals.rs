//! What `recover` will not do, each with its own word, and nothing written.

use super::{put_back, set, trap, uids};
use crate::support::{self, Namespace};

/// Nothing at all is written: the same pods, and the same version of the set.
fn refused(ns: &Namespace, args: &[&str], reason: &str) {
    let version = || ns.kubectl_json(&["get", "sts", args[0]])["metadata"]["generation"].clone();
    let before = (uids(ns), version());
    for flags in [&["--dry-run=client"][..], &["--yes"]] {
        let run = ns.sts(&[&["recover"], args, flags].concat()).code(4);
        assert!(run.stderr.contains(&format!("({reason})")), "{reason} expected\n{run}");
        assert!(run.stderr.lines().count() > 1, "it says what to do instead\n{run}");
    }
    let run = ns.sts(&[&["recover"], args, &["--yes", "-o", "json"]].concat()).code(4);
    let refusal: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        (refusal["kind"].as_str(), refusal["reason"].as_str()),
        (Some("Refusal"), Some(reason)),
        "{run}"
    );
    assert_eq!((uids(ns), version()), before);
}

#[test]
fn below_the_partition_it_would_come_back_as_it_is() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("refused-below");
    let partition = "updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}},";
    ns.apply(&set("web", 2, partition).replace("web:1", "web:does-not-exist"));
    ns.wait_pod_status("web-0", "ImagePullBackOff");
    ns.kubectl(&["set", "image", "sts/web", "web=web:1"]).ok();
    put_back(&ns, "web", "web-0");
    refused(&ns, &["web"], "below-partition");
}

#[test]
fn a_slow_pod_of_an_abandoned_revision_may_yet_come() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("refused-slow");
    ns.apply(&set("web", 2, ""));
    ns.wait_ready("web", 2);
    ns.patch(
        "sts/web",
        &serde_json::json!({"spec": {"template": {"metadata": {"annotations": {"fake.test/ready-delay": "1h"}}}}}),
    );
    ns.wait_pod("web-1", "running, not ready, and new", |pod| {
        pod["metadata"]["annotations"]["fake.test/ready-delay"] == "1h" && pod["status"]["phase"] == "Running"
    });
    ns.kubectl(&["rollout", "undo", "sts/web"]).ok();
    put_back(&ns, "web", "web-1");
    refused(&ns, &["web"], "merely-slow");
}

#[test]
fn a_pod_that_is_leaving_already_is_left() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("refused-leaving");
    trap(&ns, "web", 2, "web-1", "");
    ns.patch("pod/web-1", &serde_json::json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    ns.delete(&["pod", "web-1", "--wait=false"]);
    ns.wait_pod("web-1", "leaving", |pod| !pod["metadata"]["deletionTimestamp"].is_null());
    refused(&ns, &["web"], "terminating");
    ns.patch("pod/web-1", &serde_json::json!({"metadata": {"finalizers": null}}));
}

#[test]
fn a_set_on_its_way_out_is_left() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("refused-deleting");
    trap(&ns, "web", 2, "web-1", "");
    ns.patch("sts/web", &serde_json::json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    ns.delete(&["sts", "web", "--wait=false", "--cascade=orphan"]);
    refused(&ns, &["web"], "set-deleting");
    let run = ns.sts(&["undo", "web", "--yes"]).code(4);
    assert!(run.stderr.contains("(set-deleting)"), "{run}");
    ns.patch("sts/web", &serde_json::json!({"metadata": {"finalizers": null}}));
}

#[test]
fn a_pod_of_a_lost_node_is_left() {
    let Some(cluster) = support::cluster() else { return };
    let taint = cluster.unique("lost");
    let Some(node) = cluster.node("recover-lost", &["--taints", &format!("{taint}=yes:NoSchedule")]) else {
        return;
    };
    let ns = cluster.namespace("refused-lost");
    let on = format!(
        "tolerations: [{{operator: Exists}}], nodeSelector: {{kubernetes.io/hostname: {}}}, terminationGracePeriodSeconds",
        node.name
    );
    let set = set("web", 1, "").replace("terminationGracePeriodSeconds", &on);
    ns.apply(&set);
    ns.wait_ready("web", 1);
    ns.kubectl(&["set", "image", "sts/web", "web=web:does-not-exist"]).ok();
    ns.wait_pod_status("web-0", "ImagePullBackOff");
    ns.kubectl(&["set", "image", "sts/web", "web=web:1"]).ok();
    put_back(&ns, "web", "web-0");
    cluster.lose_node(&node.name, true);
    ns.wait("the node to be lost", support::PATIENCE, || {
        let nodes = cluster.kubectl(&["get", "node", &node.name, "--no-headers"]).stdout;
        if nodes.contains("NotReady") { Ok(()) } else { Err(nodes) }
    });
    refused(&ns, &["web"], "node-lost");
    cluster.lose_node(&node.name, false);
}

#[test]
fn a_budget_is_asked_when_evicting() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("refused-budget");
    // A pod that runs and crashes: budgets do not count pods that are Pending.
    ns.apply(&set("web", 2, ""));
    ns.wait_ready("web", 2);
    ns.patch(
        "sts/web",
        &serde_json::json!({"spec": {"template": {"metadata": {"annotations": {"fake.test/mode": "crashloop"}}}}}),
    );
    ns.wait_pod_status("web-1", "CrashLoopBackOff");
    ns.kubectl(&["rollout", "undo", "sts/web"]).ok();
    put_back(&ns, "web", "web-1");
    ns.apply(
        "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: web}, spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}}",
    );
    ns.wait("the budget to be counted", support::PATIENCE, || {
        let budget = ns.kubectl_json(&["get", "pdb", "web"]);
        if budget["status"]["expectedPods"] == 2 { Ok(()) } else { Err(budget["status"].to_string()) }
    });
    ns.wait("the trap to be seen", support::PATIENCE, || {
        let run = ns.sts(&["recover", "web", "--dry-run=client"]);
        if run.code == 0 { Ok(()) } else { Err(run.to_string()) }
    });
    refused(&ns, &["web", "--evict"], "budget");
    // A deletion asks no budget, and it is said who manages the set.
    ns.patch(
        "sts/web",
        &serde_json::json!({"metadata": {"ownerReferences": [
            {"apiVersion": "example.com/v1", "kind": "Database", "name": "main", "uid": "1-2-3", "controller": true}]}}),
    );
    let plan = ns.sts(&["recover", "web", "--dry-run=client"]).ok();
    assert!(plan.contains("Database main manages this StatefulSet"), "{plan}");
}
