//! The storage rules on the real control plane: each fault gives one error about its object, and what is shown to try
//! mends it.

use serde_json::json;

use crate::doctor::{found, run_remedy};
use crate::support::{self, Binding, Cluster, Namespace};

/// A set of two with one claim each, of the class given as YAML (`null` leaves it out).
fn db(ns: &Namespace, class: &str, more: &str) {
    ns.apply(&format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: db}}, spec: {{clusterIP: None, selector: {{app: db}}}}}}\n---\n\
         apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: db}}\nspec:\n  replicas: 2\n  serviceName: db\n  \
         selector: {{matchLabels: {{app: db}}}}\n  template:\n    metadata: {{labels: {{app: db}}}}\n    spec:\n      \
         terminationGracePeriodSeconds: 1\n{more}      containers: [{{name: db, image: \"db:1\", volumeMounts: \
         [{{name: data, mountPath: /data}}]}}]\n  volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{accessModes: \
         [ReadWriteOnce], storageClassName: {class}, resources: {{requests: {{storage: 1Gi}}}}}}}}]\n"
    ));
}

/// Waits until doctor's only error is this one; notes and warnings may come along.
fn the_error(ns: &Namespace, expected: &str) {
    ns.wait(&format!("doctor to find {expected}"), support::PATIENCE, || {
        let found = found(ns, &[]);
        let errors: Vec<&String> = found.iter().filter(|finding| finding.contains(" error ")).collect();
        if errors == [expected] { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

/// Waits until doctor finds no error.
fn no_error(ns: &Namespace) {
    ns.wait("doctor to find no error", support::PATIENCE, || {
        let found = found(ns, &[]);
        if found.iter().any(|finding| finding.contains(" error ")) {
            Err(format!("{found:?}"))
        } else {
            Ok(())
        }
    });
}

/// A volume made by hand, in a folder of a node.
fn volume(cluster: &Cluster, name: &str, class: &str, size: &str, more: &str) {
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: {name}}}, spec: {{capacity: {{storage: {size}}}, \
         accessModes: [ReadWriteOnce], storageClassName: \"{class}\", persistentVolumeReclaimPolicy: Retain, hostPath: \
         {{path: /{name}}}{more}}}}}"
    ));
}

/// Takes a volume away as no `kubectl delete` alone does.
fn lose_volume(cluster: &Cluster, name: &str) {
    cluster.kubectl(&["delete", "pv", name, "--wait=false"]).ok();
    let free = "{\"metadata\":{\"finalizers\":null}}";
    cluster.kubectl(&["patch", "pv", name, "--type=merge", "-p", free]).ok();
}

/// What is said, however it is broken into lines.
fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_claim_of_volumes_made_by_hand_gets_the_one_shown_and_later_its_old_one() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("static");
    let class = cluster.unique("by-hand");
    // How volumes are made here is seen from this one.
    volume(cluster, &cluster.unique("small"), &class, "100Mi", "");
    db(&ns, &class, "");
    the_error(&ns, "STS203 error PersistentVolumeClaim/data-db-0");
    run_remedy(&ns, "STS203");
    // The next replica has the same trouble, of its own.
    the_error(&ns, "STS203 error PersistentVolumeClaim/data-db-1");
    run_remedy(&ns, "STS203");
    ns.wait_ready("db", 2);
    no_error(&ns);

    let volume =
        ns.kubectl_json(&["get", "pvc", "data-db-1"])["spec"]["volumeName"].as_str().unwrap().to_owned();
    ns.delete(&["pvc", "data-db-1", "--wait=false"]);
    ns.delete(&["pod", "db-1"]);
    the_error(&ns, "STS203 error PersistentVolumeClaim/data-db-1");
    let text = ns.sts(&["doctor"]).stdout;
    assert!(text.contains(&format!("kubectl patch pv {volume} ")), "{text}");
    run_remedy(&ns, "STS203");
    ns.wait_ready("db", 2);
    let claim = ns.kubectl_json(&["get", "pvc", "data-db-1"]);
    assert_eq!(claim["spec"]["volumeName"], json!(volume));
}

#[test]
fn a_provisioner_that_does_not_run_is_found_after_minutes_and_not_before() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("provisioner");
    let class = cluster.unique("absent");
    cluster.apply(&format!(
        "{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: {class}}}, provisioner: absent.csi.example.com}}"
    ));
    db(&ns, &class, "");
    ns.wait_pod("db-0", "unschedulable", |pod| pod["status"]["conditions"][0]["reason"] == "Unschedulable");
    no_error(&ns);
    ns.age("12m");
    the_error(&ns, "STS204 error PersistentVolumeClaim/data-db-0");
    cluster.kubectl(&["delete", "storageclass", &class]).ok();
}

#[test]
fn a_claim_that_waits_for_its_pod_is_a_note_without_the_finding_about_the_pod() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("consumer");
    let class = cluster.storage_class("late", Binding::WaitForFirstConsumer, false);
    db(&ns, &class, "      nodeSelector: {disk: no-such}\n");
    ns.wait_pod("db-0", "unschedulable", |pod| pod["status"]["conditions"][0]["reason"] == "Unschedulable");
    the_error(&ns, "STS405 error Pod/db-0");
    ns.age("12m");
    ns.wait("doctor to note the claim", support::PATIENCE, || {
        let found = found(&ns, &["--only", "STS205"]);
        if found == ["STS205 note PersistentVolumeClaim/data-db-0"] {
            Ok(())
        } else {
            Err(format!("{found:?}"))
        }
    });
    // It only follows from what is wrong with the pod.
    the_error(&ns, "STS405 error Pod/db-0");
    let all = found(&ns, &[]);
    assert!(!all.iter().any(|finding| finding.starts_with("STS205")), "{all:?}");
}

#[test]
fn a_volume_in_another_zone_is_found() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("zone");
    let volume = cluster.unique("far");
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: {volume}}}, spec: {{capacity: {{storage: 1Gi}}, \
         accessModes: [ReadWriteOnce], storageClassName: \"\", claimRef: {{namespace: {}, name: data-db-0}}, hostPath: \
         {{path: /far}}, nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchExpressions: [{{key: \
         topology.kubernetes.io/zone, operator: In, values: [far-away]}}]}}]}}}}}}}}",
        ns.name
    ));
    db(&ns, "\"\"", "");
    the_error(&ns, "STS206 error PersistentVolumeClaim/data-db-0");
}

#[test]
fn a_disk_in_a_closed_node_is_an_error_after_minutes_and_not_before() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("closed");
    let Some(node) = cluster.node("disk", &[]) else { return };
    cluster.kubectl(&["cordon", &node.name]).ok();
    volume(
        cluster,
        &cluster.unique("pinned"),
        "",
        "1Gi",
        &format!(
            ", claimRef: {{namespace: {}, name: data-db-0}}, nodeAffinity: {{required: {{nodeSelectorTerms: \
             [{{matchExpressions: [{{key: kubernetes.io/hostname, operator: In, values: [{}]}}]}}]}}}}",
            ns.name, node.name
        ),
    );
    db(&ns, "\"\"", "");
    ns.wait("doctor to warn of the cordon", support::PATIENCE, || {
        let found = found(&ns, &[]);
        let warned = found.iter().any(|it| it == "STS206 warning PersistentVolumeClaim/data-db-0");
        let errors = found.iter().any(|it| it.contains(" error "));
        if warned && !errors { Ok(()) } else { Err(format!("{found:?}")) }
    });
    ns.age("12m");
    the_error(&ns, "STS206 error PersistentVolumeClaim/data-db-0");
    let text = ns.sts(&["doctor"]).stdout;
    assert!(text.contains(&node.name), "{text}");
    run_remedy(&ns, "STS206");
    ns.wait_pod("db-0", "it is ready", |pod| pod["status"]["phase"] == "Running");

    cluster.lose_node(&node.name, true);
    cluster.kubectl(&["wait", "--for=condition=Ready=Unknown", "--timeout=60s", "node", &node.name]).ok();
    ns.delete(&["pod", "db-0", "--force"]);
    ns.wait("doctor to warn of the node", support::PATIENCE, || {
        let found = found(&ns, &[]);
        let warned = found.iter().any(|it| it == "STS206 warning PersistentVolumeClaim/data-db-0");
        // The scheduler may have taken the node before it saw the taint.
        let get = ["get", "pod", "db-0", "--ignore-not-found", "-o", "jsonpath={.spec.nodeName}"];
        if !ns.kubectl(&get).stdout.is_empty() {
            ns.delete(&["pod", "db-0", "--force"]);
        }
        if warned { Ok(()) } else { Err(format!("{found:?}")) }
    });
    let text = on_one_line(&ns.sts(&["doctor"]).stdout);
    assert!(text.contains(&format!("only on {}, which has been unreachable", node.name)), "{text}");
}

#[test]
fn a_class_that_was_deleted_is_missed_though_volumes_of_it_are_there() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("class-gone");
    let class = cluster.storage_class("gone", Binding::Immediate, false);
    db(&ns, &class, "");
    ns.wait_ready("db", 2);
    let manifest = cluster.kubectl(&["get", "storageclass", &class, "-o", "yaml"]).ok();
    cluster.kubectl(&["delete", "storageclass", &class]).ok();
    no_error(&ns);
    ns.kubectl(&["scale", "sts/db", "--replicas=3"]).ok();
    the_error(&ns, "STS201 error PersistentVolumeClaim/data-db-2");
    let text = on_one_line(&ns.sts(&["doctor"]).stdout);
    assert!(
        text.contains("no longer exists") && text.contains("kubectl get pv ") && !text.contains("hostPath"),
        "{text}"
    );
    run_remedy(&ns, "STS201");
    cluster.apply(&manifest);
    ns.wait_ready("db", 3);
    no_error(&ns);
}

#[test]
fn a_claim_of_an_earlier_time_is_made_again_as_the_template_says() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("outdated");
    let old = cluster.unique("old");
    ns.apply(&format!(
        "{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: data-db-1}}, spec: {{accessModes: \
         [ReadWriteOnce], storageClassName: {old}, resources: {{requests: {{storage: 1Gi}}}}}}}}"
    ));
    ns.age("10d");
    let class = cluster.storage_class("new", Binding::WaitForFirstConsumer, false);
    db(&ns, &class, "");
    the_error(&ns, "STS201 error PersistentVolumeClaim/data-db-1");
    run_remedy(&ns, "STS201");
    ns.wait_ready("db", 2);
    no_error(&ns);
    let claim = ns.kubectl_json(&["get", "pvc", "data-db-1"]);
    assert_eq!(claim["spec"]["storageClassName"], json!(class));
}

#[test]
fn a_lost_claim_is_found_and_its_replica_starts_again() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("lost");
    let class = cluster.storage_class("ssd", Binding::Immediate, false);
    db(&ns, &class, "");
    ns.wait_ready("db", 2);
    let name =
        ns.kubectl_json(&["get", "pvc", "data-db-1"])["spec"]["volumeName"].as_str().unwrap().to_owned();
    lose_volume(cluster, &name);
    the_error(&ns, "STS207 error PersistentVolumeClaim/data-db-1");
    let text = on_one_line(&ns.sts(&["doctor"]).stdout);
    assert!(text.contains("cannot be restarted") && !text.contains("delete pvc"), "{text}");
    ns.delete(&["pod", "db-1"]);
    the_error(&ns, "STS207 error PersistentVolumeClaim/data-db-1");

    // The storage was still there. A reservation by name alone does not bring a claim back that was bound before.
    volume(
        cluster,
        &name,
        &class,
        "1Gi",
        &format!(
            ", claimRef: {{apiVersion: v1, kind: PersistentVolumeClaim, namespace: {}, name: data-db-1}}",
            ns.name
        ),
    );
    ns.wait("doctor to see the reservation", support::PATIENCE, || {
        let text = on_one_line(&ns.sts(&["doctor"]).stdout);
        if text.contains("lacks the uid of the PVC") { Ok(()) } else { Err(text) }
    });
    run_remedy(&ns, "STS207");
    ns.wait_ready("db", 2);
    no_error(&ns);

    lose_volume(cluster, &name);
    ns.delete(&["pod", "db-1"]);
    the_error(&ns, "STS207 error PersistentVolumeClaim/data-db-1");
    run_remedy(&ns, "STS207");
    ns.wait_ready("db", 2);
    no_error(&ns);
}

#[test]
fn a_claim_that_cannot_grow_is_a_warning_and_one_that_grows_is_none() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("resize");
    db(&ns, &cluster.storage_class("grows", Binding::Immediate, true), "");
    ns.wait_ready("db", 2);
    ns.patch("pvc/data-db-1", &json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}));
    assert_eq!(found(&ns, &[]), Vec::<String>::new());
    let uid = ns.kubectl_json(&["get", "pvc", "data-db-1"])["metadata"]["uid"].as_str().unwrap().to_owned();
    ns.apply(&format!(
        "{{apiVersion: v1, kind: Event, metadata: {{name: resize}}, type: Warning, reason: VolumeResizeFailed, message: \
         refused, lastTimestamp: {}, involvedObject: {{apiVersion: v1, kind: PersistentVolumeClaim, namespace: {}, name: \
         data-db-1, uid: {uid}}}}}",
        jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        ns.name
    ));
    assert_eq!(found(&ns, &[]), ["STS215 warning PersistentVolumeClaim/data-db-1"]);
    run_remedy(&ns, "STS215");
}

#[test]
fn a_deleted_claim_is_found_while_its_pod_holds_it_and_while_a_finalizer_does() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("terminating");
    db(&ns, &cluster.storage_class("ssd", Binding::Immediate, false), "");
    ns.wait_ready("db", 2);
    ns.patch(
        "pvc/data-db-1",
        &json!({"metadata": {"finalizers": ["kubernetes.io/pvc-protection", "backup.example.com/copy"]}}),
    );
    ns.delete(&["pvc", "data-db-1", "--wait=false"]);
    the_error(&ns, "STS208 error PersistentVolumeClaim/data-db-1");
    run_remedy(&ns, "STS208");
    let volume =
        ns.kubectl_json(&["get", "pvc", "data-db-1"])["spec"]["volumeName"].as_str().unwrap().to_owned();
    let kept = ns.kubectl_json(&["get", "pv", &volume]);
    assert_eq!(kept["spec"]["persistentVolumeReclaimPolicy"], "Retain");

    ns.delete(&["pod", "db-1"]);
    ns.wait("the controller to fail", support::PATIENCE, || {
        let events = ns.kubectl(&["get", "events", "--field-selector=reason=FailedCreate"]).ok();
        if events.contains("is being deleted") { Ok(()) } else { Err(events) }
    });
    ns.age("12m");
    the_error(&ns, "STS208 error PersistentVolumeClaim/data-db-1");
    ns.patch("pvc/data-db-1", &json!({"metadata": {"finalizers": null}}));
    ns.wait_ready("db", 2);
    no_error(&ns);
    cluster.kubectl(&["delete", "pv", &volume, "--wait=false"]).ok();
}

#[test]
fn a_quota_that_is_too_small_is_found_and_raised_far_enough() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("quota");
    ns.apply(
        "{apiVersion: v1, kind: ResourceQuota, metadata: {name: storage}, spec: {hard: {requests.storage: 500Mi, \
         persistentvolumeclaims: \"0\"}}}",
    );
    ns.wait("the quota to be counted", support::PATIENCE, || {
        let quota = ns.kubectl_json(&["get", "resourcequota", "storage"]);
        if quota["status"]["used"].is_object() { Ok(()) } else { Err(quota.to_string()) }
    });
    db(&ns, &cluster.storage_class("ssd", Binding::Immediate, false), "");
    the_error(&ns, "STS209 error ResourceQuota/storage");
    run_remedy(&ns, "STS209");
    ns.wait_ready("db", 2);
    no_error(&ns);
}

#[test]
fn pods_adopted_under_another_service_have_no_names() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("subdomain");
    let class = cluster.storage_class("ssd", Binding::Immediate, false);
    db(&ns, &class, "");
    ns.wait_ready("db", 2);
    let set = ns.kubectl(&["get", "statefulset", "db", "-o", "yaml"]).ok();
    ns.delete(&["statefulset", "db", "--cascade=orphan"]);
    ns.apply("{apiVersion: v1, kind: Service, metadata: {name: pods}, spec: {clusterIP: None, selector: {app: db}}}");
    let set = set
        .replace("serviceName: db", "serviceName: pods")
        .replace("\"serviceName\":\"db\"", "\"serviceName\":\"pods\"");
    ns.kubectl_in(&["create", "-f", "-"], &set).ok();
    ns.wait_ready("db", 2);
    ns.age("12m");
    the_error(&ns, "STS106 error Pod/db-0");
    run_remedy(&ns, "STS106");
    ns.wait_rolled_out("db", 2);
    no_error(&ns);
}
