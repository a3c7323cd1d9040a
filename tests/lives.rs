//! What only the course of a pod's life tells, on the real control plane: pods that come and go, that wait for a node, or
//! that an earlier set has left.

use serde_json::json;

use crate::doctor::{finds, found, run_remedy};
use crate::support::{self, Namespace};

fn set(name: &str, annotations: &str, pod: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{clusterIP: None, selector: {{app: {name}}}, \
         ports: [{{port: 80}}]}}}}\n---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}}}\nspec:\n  \
         replicas: 1\n  serviceName: {name}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: \
         {{labels: {{app: {name}}}, annotations: {{{annotations}}}}}\n    spec: {{terminationGracePeriodSeconds: 1, {pod} \
         containers: [{{name: web, image: \"web:1\"}}]}}\n"
    )
}

/// An event as another component would write it.
fn event(ns: &Namespace, reason: &str, pod: &str, message: &str) {
    let uid = ns.kubectl_json(&["get", "pod", pod])["metadata"]["uid"].clone();
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{pod}.1"), "namespace": ns.name},
        "type": "Normal", "reason": reason, "message": message, "count": 1,
        "firstTimestamp": now, "lastTimestamp": now, "source": {"component": "cluster-autoscaler"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": ns.name, "uid": uid},
    });
    ns.apply(&event.to_string());
}

#[test]
fn pods_evicted_one_after_another_are_found() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("evicted");
    let modes = "fake.test/mode: failed, fake.test/reason: Evicted, fake.test/message: \"The node was low on resource: \
                 ephemeral-storage.\"";
    ns.apply(&set("web", modes, ""));
    finds(&ns, &["STS413 error Pod/web-0"]);
    let said = ns.sts(&["doctor"]).stdout;
    assert!(said.contains("low on resource: ephemeral-storage"), "{said}");
}

#[test]
fn a_node_that_is_coming_is_waited_for() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("scale-up");
    ns.apply(&set("web", "", "nodeSelector: {pool: large},"));
    finds(&ns, &["STS405 error Pod/web-0"]);
    event(&ns, "TriggeredScaleUp", "web-0", "pod triggered scale-up: [{large 1->2 (max: 5)}]");
    finds(&ns, &["STS405 note Pod/web-0"]);
    assert_eq!(ns.sts(&["doctor"]).code, 0);
}

#[test]
fn a_pod_of_an_earlier_set_that_does_not_go_is_found() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("earlier");
    ns.apply(&set("web", "", ""));
    ns.wait_ready("web", 1);
    ns.patch("pod/web-0", &json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    ns.delete(&["sts", "web", "--wait=false"]);
    ns.wait_pod("web-0", "leaving", |pod| !pod["metadata"]["deletionTimestamp"].is_null());
    ns.apply(&set("web", "", ""));
    ns.wait_pod("web-0", "to have ended", |pod| {
        pod["status"]["containerStatuses"][0]["state"]["running"].is_null()
    });
    assert_eq!(found(&ns, &[]), Vec::<String>::new(), "the garbage collector may take a moment");
    ns.age("5m");
    finds(&ns, &["STS408 error Pod/web-0"]);
    ns.patch("pod/web-0", &json!({"metadata": {"finalizers": null}}));
    ns.wait_ready("web", 1);
    finds(&ns, &[]);
}

#[test]
fn a_scale_down_that_waits_for_itself_is_found_and_freed() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("deadlock");
    let modes = "fake.test/then-1: crashloop, fake.test/then-after-1: 8s, fake.test/then-2: crashloop, \
                 fake.test/then-after-2: 5s";
    ns.apply(&set("web", modes, "").replace("replicas: 1", "replicas: 3"));
    ns.wait_pod_status("web-1", "CrashLoopBackOff");
    ns.wait_pod_status("web-2", "CrashLoopBackOff");
    ns.kubectl(&["scale", "sts/web", "--replicas=1"]).ok();
    finds(&ns, &["STS305 error Pod/web-2"]);
    let run = ns.sts(&["recover", "web", "--yes"]).code(4);
    assert!(run.stderr.contains("(scale-down)"), "{run}");
    run_remedy(&ns, "STS305");
    ns.wait("both to be gone", support::PATIENCE, || {
        let pods = ns.pods();
        if pods.len() == 1 { Ok(()) } else { Err(format!("{pods:?}")) }
    });
    finds(&ns, &[]);
}
