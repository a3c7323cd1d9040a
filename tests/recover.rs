//! `recover` on the real control plane: exactly the stuck pod, or a refusal that changes nothing.

#[path = "recover/interrupted.rs"]
mod interrupted;
#[path = "recover/refusals.rs"]
mod refusals;
#[path = "recover/several.rs"]
mod several;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{self, Namespace};

pub fn set(name: &str, replicas: i32, spec: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{clusterIP: None, selector: {{app: {name}}}, \
         ports: [{{port: 80}}]}}}}\n---\n{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: {name}}}, spec: \
         {{replicas: {replicas}, serviceName: {name}, selector: {{matchLabels: {{app: {name}}}}}, {spec} template: {{metadata: \
         {{labels: {{app: {name}}}}}, spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: web, image: 'web:1'}}]}}}}}}}}\n"
    )
}

/// Each pod's uid.
pub fn uids(ns: &Namespace) -> BTreeMap<String, String> {
    let pods = ns.kubectl_json(&["get", "pods"]);
    let text = |pod: &Value, key: &str| pod["metadata"][key].as_str().unwrap().to_owned();
    pods["items"].as_array().unwrap().iter().map(|pod| (text(pod, "name"), text(pod, "uid"))).collect()
}

/// A good template, a bad one, and the good one again.
pub fn trap(ns: &Namespace, name: &str, replicas: u64, stuck: &str, spec: &str) {
    ns.apply(&set(name, i32::try_from(replicas).unwrap(), spec));
    ns.wait_ready(name, replicas);
    let set = format!("sts/{name}");
    ns.kubectl(&["set", "image", &set, "web=web:does-not-exist"]).ok();
    ns.wait_pod_status(stuck, "ImagePullBackOff");
    ns.kubectl(&["set", "image", &set, "web=web:1"]).ok();
    put_back(ns, name, stuck);
}

/// Waits until the controller knows of a template that this pod does not have.
pub fn put_back(ns: &Namespace, name: &str, stuck: &str) {
    ns.wait("the controller to see the template put back", support::PATIENCE, || {
        let set = ns.kubectl_json(&["get", "sts", name]);
        let pod = ns.kubectl_json(&["get", "pod", stuck]);
        let seen = set["status"]["observedGeneration"] == set["metadata"]["generation"];
        let back = set["status"]["updateRevision"] != pod["metadata"]["labels"]["controller-revision-hash"];
        if seen && back { Ok(()) } else { Err(set["status"].to_string()) }
    });
}

/// Recovers: first a plan that writes nothing, then the same for real; only `stuck` is replaced.
fn recovers(ns: &Namespace, name: &str, replicas: u64, stuck: &str) {
    let before = uids(ns);
    let plan: Value =
        serde_json::from_str(&ns.sts(&["recover", name, "--dry-run=client", "-o", "json"]).code(0).stdout)
            .unwrap();
    assert_eq!(uids(ns), before, "a dry run writes nothing");
    let deleted: Vec<&str> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["do"] == "delete")
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    assert_eq!(deleted, [stuck], "{plan}");
    let refused = ns.sts(&["recover", name]).code(4);
    assert!(refused.stderr.contains("confirmation required, but stdin is not a terminal"), "{refused}");
    assert_eq!(uids(ns), before, "nothing is written without consent");

    let run = ns.sts(&["recover", name, "--yes"]).code(0);
    assert!(run.stdout.contains(&format!("delete pod {stuck}: done")), "{run}");
    ns.wait_rolled_out(name, replicas);
    let after = uids(ns);
    for (pod, uid) in &before {
        assert_eq!(after[pod] == *uid, pod != stuck, "{pod}: only {stuck} is replaced\n{run}");
    }
    let again = ns.sts(&["recover", name, "--yes"]).code(0);
    assert!(again.stdout.contains("nothing to do"), "{again}");
    assert_eq!(uids(ns), after);
}

#[test]
fn exactly_the_stuck_pod_is_replaced() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("recover");
    trap(&ns, "web", 3, "web-2", "");
    recovers(&ns, "web", 3, "web-2");
}

#[test]
fn ordinals_that_start_at_five_are_counted_right() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("recover-start");
    trap(&ns, "web", 3, "web-7", "ordinals: {start: 5},");
    recovers(&ns, "web", 3, "web-7");
}

#[test]
fn a_partition_is_kept() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("recover-partition");
    trap(&ns, "web", 3, "web-2", "updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}},");
    recovers(&ns, "web", 3, "web-2");
}

#[test]
fn without_the_stanza_the_partition_is_set_first() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("recover-nil");
    trap(&ns, "web", 3, "web-2", "updateStrategy: {type: RollingUpdate},");
    recovers(&ns, "web", 3, "web-2");
    let set = ns.kubectl_json(&["get", "sts", "web"]);
    assert_eq!(set["spec"]["updateStrategy"]["rollingUpdate"]["partition"], 0);
}

#[test]
fn a_first_revision_that_was_bad_is_got_over() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("recover-first");
    ns.apply(&set("web", 3, "").replace("web:1", "web:does-not-exist"));
    ns.wait_pod_status("web-0", "ImagePullBackOff");
    ns.kubectl(&["set", "image", "sts/web", "web=web:1"]).ok();
    ns.wait("doctor to see the trap", support::PATIENCE, || {
        let run = ns.sts(&["doctor"]);
        if run.stdout.contains("STS301") { Ok(()) } else { Err(run.to_string()) }
    });
    ns.sts(&["recover", "web", "--yes"]).code(0);
    ns.wait_rolled_out("web", 3);
}

#[test]
fn what_deleting_would_not_help_is_refused() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("recover-refused");
    ns.apply(&set("ondelete", 1, "updateStrategy: {type: OnDelete},"));
    ns.apply(
        &set("slow", 1, "").replace(
            "labels: {app: slow}}",
            "labels: {app: slow}, annotations: {fake.test/ready-delay: 1h}}",
        ),
    );
    ns.apply(&set("bad", 1, "").replace("web:1", "web:does-not-exist"));
    ns.wait_ready("ondelete", 1);
    ns.wait_pod_status("bad-0", "ImagePullBackOff");
    ns.wait_pod_status("slow-0", "Running");
    trap(&ns, "held", 2, "held-1", "");
    ns.patch("pod/held-1", &serde_json::json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    let before = uids(&ns);
    for (name, reason) in [
        ("ondelete", "on-delete"),
        ("slow", "merely-slow"),
        ("bad", "same-revision"),
        ("held", "pod-has-finalizers"),
    ] {
        let run = ns.sts(&["recover", name, "--yes"]).code(4);
        assert!(run.stderr.contains(&format!("({reason})")), "{run}");
        assert_eq!(run.stdout, "", "{run}");
    }
    assert_eq!(uids(&ns), before);
    ns.patch("pod/held-1", &serde_json::json!({"metadata": {"finalizers": null}}));
}

#[test]
fn a_missing_permission_is_said_before_anything_is_written() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("recover-rbac");
    trap(&ns, "web", 2, "web-1", "");
    let bob = ns.user(
        "bob",
        "- {apiGroups: [apps], resources: [statefulsets], verbs: [get, list, watch]}\n- {apiGroups: [''], resources: [pods], verbs: [get, list, watch]}",
    );
    let before = uids(&ns);
    let run = ns.sts_as(&bob, &["recover", "web", "--yes"]).code(4);
    assert!(run.stderr.contains("you are not allowed to delete pods; nothing was changed"), "{run}");
    assert_eq!(uids(&ns), before);
}
