//! The storage rules on the real control plane: each fault gives one error about its object, and what is shown to try
//! mends it.

use serde_json::json;

use crate::doctor::{found, run_remedy};
use crate::support::{self, Binding, Namespace};

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

#[test]
fn a_claim_without_a_class_gets_the_volume_shown_and_later_its_old_one() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("static");
    db(&ns, "\"\"", "");
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
fn a_claim_that_waits_for_its_pod_is_a_note_beside_what_the_pod_waits_for() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("consumer");
    let class = cluster.storage_class("late", Binding::WaitForFirstConsumer, false);
    db(&ns, &class, "      nodeSelector: {disk: no-such}\n");
    ns.wait_pod("db-0", "unschedulable", |pod| pod["status"]["conditions"][0]["reason"] == "Unschedulable");
    the_error(&ns, "STS405 error Pod/db-0");
    ns.age("12m");
    ns.wait("doctor to note the claim", support::PATIENCE, || {
        let found = found(&ns, &[]);
        let noted = found.iter().any(|finding| finding == "STS205 note PersistentVolumeClaim/data-db-0");
        if noted { Ok(()) } else { Err(format!("{found:?}")) }
    });
    the_error(&ns, "STS405 error Pod/db-0");
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
fn a_lost_claim_is_found_and_its_replica_starts_again() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("lost");
    db(&ns, &cluster.storage_class("ssd", Binding::Immediate, false), "");
    ns.wait_ready("db", 2);
    let volume =
        ns.kubectl_json(&["get", "pvc", "data-db-1"])["spec"]["volumeName"].as_str().unwrap().to_owned();
    cluster.kubectl(&["delete", "pv", &volume, "--wait=false"]).ok();
    cluster
        .kubectl(&["patch", "pv", &volume, "--type=merge", "-p", "{\"metadata\":{\"finalizers\":null}}"])
        .ok();
    the_error(&ns, "STS207 error PersistentVolumeClaim/data-db-1");
    let text = ns.sts(&["doctor"]).stdout;
    assert!(text.contains("cannot start again") && !text.contains("delete pvc"), "{text}");
    ns.delete(&["pod", "db-1"]);
    the_error(&ns, "STS207 error PersistentVolumeClaim/data-db-1");
    run_remedy(&ns, "STS207");
    ns.wait_ready("db", 2);
    no_error(&ns);
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
