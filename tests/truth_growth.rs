//! Volumes that grow, volumes that are kept and data that is older than its StatefulSet, on the real control plane.

use std::thread;

use serde_json::{Value, json};

use crate::doctor::{finds, found, run_remedy};
use crate::recover::set;
use crate::support::{self, Binding, Cluster, Namespace};

fn db(class: &str, spec: &str) -> String {
    set("db", 2, &format!(
        "{spec} volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{accessModes: [ReadWriteOnce], storageClassName: {class}, \
         resources: {{requests: {{storage: 1Gi}}}}}}}}],"
    ))
    .replace("image: 'web:1'", "image: 'web:1', readinessProbe: {httpGet: {path: /, port: 80}}")
}

fn class(cluster: &Cluster) -> String {
    cluster.storage_class("grows", Binding::Immediate, true)
}

fn finding(ns: &Namespace, code: &str) -> Value {
    let run = ns.sts(&["doctor", "-o", "json"]);
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"));
    let findings = report["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["code"] == code).unwrap_or_else(|| panic!("{run}")).clone()
}

/// Asks for a larger volume.
fn grow(ns: &Namespace, claim: &str) {
    ns.patch(&format!("pvc/{claim}"), &json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}));
}

/// Writes the status of a PVC.
fn status(ns: &Namespace, claim: &str, status: &Value) {
    let patch = json!({"status": status}).to_string();
    ns.kubectl(&["patch", "pvc", claim, "--subresource=status", "--type=merge", "-p", &patch]).ok();
}

/// The words of a driver that grows only what is not attached.
fn refuse(ns: &Namespace, claim: &str) {
    let uid = ns.kubectl_json(&["get", "pvc", claim])["metadata"]["uid"].clone();
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{claim}.resize")}, "type": "Warning",
        "reason": "VolumeResizeFailed",
        "message": "resize volume pvc-1 failed: rpc error: code = FailedPrecondition desc = failed to expand volume. Volume is \
                    attached to node \"node-1\". Only offline volume expansion is supported",
        "lastTimestamp": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "involvedObject": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": ns.name, "name": claim, "uid": uid},
    });
    ns.apply(&event.to_string());
}

#[test]
fn a_volume_that_grows_only_detached_is_detached_grown_and_attached_again() {
    let Some(cluster) = support::cluster() else { return };
    let class = class(cluster);
    for policy in ["", "persistentVolumeClaimRetentionPolicy: {whenScaled: Delete},"] {
        let ns = cluster.namespace("offline");
        ns.apply(&db(&class, policy));
        ns.wait_ready("db", 2);
        let claim = ns.kubectl_json(&["get", "pvc", "data-db-1"]);
        let volume = claim["spec"]["volumeName"].as_str().unwrap().to_owned();
        grow(&ns, "data-db-1");
        finds(&ns, &[]);
        refuse(&ns, "data-db-1");
        finds(&ns, &["STS215 warning PersistentVolumeClaim/data-db-1"]);
        thread::scope(|scope| {
            // The driver: the volume grows once no pod has it.
            let driver = scope.spawn(|| {
                ns.wait("db-1 to leave the volume", support::PATIENCE, || {
                    let pods = ns.pods();
                    if pods.contains_key("db-1") { Err(format!("{pods:?}")) } else { Ok(()) }
                });
                let size = json!({"spec": {"capacity": {"storage": "2Gi"}}}).to_string();
                cluster.kubectl(&["patch", "pv", &volume, "--type=merge", "-p", &size]).ok();
            });
            run_remedy(&ns, "STS215");
            driver.join().unwrap();
        });
        ns.wait_ready("db", 2);
        status(&ns, "data-db-1", &json!({"capacity": {"storage": "2Gi"}}));
        finds(&ns, &[]);
        let after = ns.kubectl_json(&["get", "pvc", "data-db-1"]);
        assert_eq!(after["metadata"]["uid"], claim["metadata"]["uid"], "the PVC was kept: {policy}");
        let set = ns.kubectl_json(&["get", "sts", "db"]);
        let when = set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"].clone();
        assert_eq!(when, if policy.is_empty() { "Retain" } else { "Delete" });
    }
}

#[test]
fn a_file_system_that_waits_for_its_pod_gets_a_new_one() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("pending");
    ns.apply(&db(&class(cluster), ""));
    ns.wait_ready("db", 2);
    grow(&ns, "data-db-0");
    let pending = |minutes: i64| {
        let then = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(minutes);
        let then = then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        json!({"conditions": [{"type": "FileSystemResizePending", "status": "True", "lastTransitionTime": then}]})
    };
    // It may take a moment; and where the kubelet has failed, another finding says so.
    status(&ns, "data-db-0", &pending(1));
    finds(&ns, &[]);
    status(&ns, "data-db-0", &pending(20));
    finds(&ns, &["STS218 warning PersistentVolumeClaim/data-db-0"]);
    let failed = json!({"allocatedResources": {"storage": "2Gi"}, "allocatedResourceStatuses": {"storage": "NodeResizeInfeasible"}});
    status(&ns, "data-db-0", &failed);
    finds(&ns, &["STS215 warning PersistentVolumeClaim/data-db-0"]);
    status(&ns, "data-db-0", &json!({"allocatedResourceStatuses": null}));
    finds(&ns, &["STS218 warning PersistentVolumeClaim/data-db-0"]);
    let before = ns.kubectl_json(&["get", "pod", "db-0"])["metadata"]["uid"].clone();
    run_remedy(&ns, "STS218");
    ns.wait_pod("db-0", "a new pod", |pod| {
        pod["metadata"]["uid"].is_string() && pod["metadata"]["uid"] != before
    });
    // The kubelet, when it mounts the volume.
    status(&ns, "data-db-0", &json!({"conditions": null, "capacity": {"storage": "2Gi"}}));
    ns.wait_ready("db", 2);
    finds(&ns, &[]);
}

#[test]
fn data_of_an_earlier_installation_is_named_and_kept() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("reinstalled");
    let manifest = db(&class(cluster), "podManagementPolicy: Parallel,");
    ns.apply(&manifest);
    ns.wait_ready("db", 2);
    if !ns.age("60d") {
        return;
    }
    // Created again around its pods: it has its revisions, and its data.
    ns.delete(&["sts", "db", "--cascade=orphan"]);
    ns.apply(&manifest);
    ns.wait_ready("db", 2);
    finds(&ns, &[]);
    ns.delete(&["sts", "db", "--cascade=foreground"]);
    ns.apply(&manifest);
    ns.wait_ready("db", 2);
    finds(&ns, &["STS219 note StatefulSet/db"]);
    // One that fails says it itself.
    ns.kubectl(&["annotate", "pod", "db-0", "fake.test/mode=unready"]).ok();
    ns.wait_ready("db", 1);
    ns.age("20h");
    ns.wait("doctor to find the pod", support::PATIENCE, || {
        let all = found(&ns, &[]);
        if all == ["STS404 error Pod/db-0"] { Ok(()) } else { Err(format!("{all:?}")) }
    });
    let it = finding(&ns, "STS404");
    let because = it["because"].as_str().unwrap();
    assert!(
        because.contains("PVC data-db-0 is 60d older than db") && because.contains("keep the PVC"),
        "{it}"
    );
    assert!(!it["try"].to_string().contains("delete pvc"), "{it}");
    ns.kubectl(&["annotate", "--overwrite", "pod", "db-0", "fake.test/mode=ready"]).ok();
    ns.wait_ready("db", 2);
    finds(&ns, &["STS219 note StatefulSet/db"]);
    ns.age("1d");
    finds(&ns, &[]);
}

#[test]
fn a_volume_that_prune_kept_is_shown_until_it_is_restored() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("kept-pv");
    ns.apply(&db(&class(cluster), ""));
    ns.wait_ready("db", 2);
    ns.kubectl(&["scale", "sts/db", "--replicas=1"]).ok();
    ns.wait("db-1 to be gone", support::PATIENCE, || {
        if ns.pods().contains_key("db-1") { Err("db-1 is there".to_owned()) } else { Ok(()) }
    });
    finds(&ns, &["STS210 warning StatefulSet/db"]);
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("backup");
    let folder = folder.to_str().unwrap();
    ns.sts(&["prune-pvcs", "db", "--retain", "--yes", "--backup", folder]).ok();
    finds(&ns, &["STS220 note StatefulSet/db"]);
    let said = finding(&ns, "STS220");
    let file = format!("{}.data-db-1.pvc.yaml", ns.name);
    assert!(said["because"].as_str().unwrap().contains(&file), "{said}");
    let status = ns.sts(&["status", "db"]).ok();
    assert!(status.contains("STS220"), "{status}");
    ns.sts(&["restore-pvc", &format!("{folder}/{file}"), "--yes"]).ok();
    finds(&ns, &["STS210 warning StatefulSet/db"]);
    ns.kubectl(&["scale", "sts/db", "--replicas=2"]).ok();
    ns.wait_ready("db", 2);
    finds(&ns, &[]);
}
