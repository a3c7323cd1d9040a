//! Deletions that do not end and volumes that do not come, on the real control plane: the cause is named, and what is shown
//! to try, carried out as printed, ends it.

use serde_json::{Value, json};

use crate::doctor::{found, run_remedy};
use crate::support::freeze::Freeze;
use crate::support::{self, Binding, Cluster, Namespace};

/// A set of two with one PVC each. `metadata` and `spec` are YAML flow mappings without braces; `pod` are lines.
fn web(class: &str, metadata: &str, spec: &str, pod: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: web}}, spec: {{clusterIP: None, selector: {{app: web}}}}}}\n---\n\
         apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: web{metadata}}}\nspec:\n  replicas: 2\n  serviceName: web\n\
         {spec}  selector: {{matchLabels: {{app: web}}}}\n  template:\n    metadata: {{labels: {{app: web}}}}\n    spec:\n      \
         terminationGracePeriodSeconds: 1\n{pod}      containers: [{{name: web, image: \"web:1\", volumeMounts: \
         [{{name: data, mountPath: /data}}]}}]\n  volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{accessModes: \
         [ReadWriteOnce], storageClassName: {class}, resources: {{requests: {{storage: 1Gi}}}}}}}}]\n"
    )
}

fn class(cluster: &Cluster) -> String {
    cluster.storage_class("fast", Binding::Immediate, false)
}

/// Waits until doctor finds this among others, and gives the finding.
fn finds(ns: &Namespace, expected: &str) -> Value {
    ns.wait(&format!("doctor to find {expected}"), support::PATIENCE, || {
        let all = found(ns, &[]);
        if all.iter().any(|one| one == expected) { Ok(()) } else { Err(format!("{all:?}")) }
    });
    let code = expected.split(' ').next().unwrap();
    let report: Value = serde_json::from_str(&ns.sts(&["doctor", "-o", "json"]).stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["code"] == code).unwrap_or_else(|| panic!("{report}")).clone()
}

/// Waits until doctor no longer finds such a thing.
fn is_over(ns: &Namespace, code: &str) {
    ns.wait(&format!("{code} to be over"), support::PATIENCE, || {
        let all = found(ns, &[]);
        if all.iter().any(|one| one.starts_with(code)) { Err(format!("{all:?}")) } else { Ok(()) }
    });
}

fn is_silent_about(ns: &Namespace, code: &str) {
    let all = found(ns, &[]);
    assert!(!all.iter().any(|one| one.starts_with(code)), "{all:?}");
}

fn uid(ns: &Namespace, object: &str) -> Value {
    ns.kubectl_json(&["get", object])["metadata"]["uid"].clone()
}

/// Waits until an object is gone.
fn gone(ns: &Namespace, object: &str) {
    ns.wait(&format!("{object} to be gone"), support::PATIENCE, || {
        let run = ns.kubectl(&["get", object, "-o", "jsonpath={.metadata.finalizers}"]);
        if run.code == 0 { Err(run.stdout) } else { Ok(()) }
    });
}

fn because(finding: &Value) -> &str {
    finding["because"].as_str().unwrap()
}

#[test]
fn a_deletion_held_by_an_operator_is_finished_and_the_pods_and_pvcs_stay() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("held");
    let policy = "  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}\n";
    let class = class(cluster);
    let manifest = |finalizers: &str| web(&class, finalizers, policy, "");
    ns.apply(&manifest(", finalizers: [first.example.com/drain, ops.example.com/backup]"));
    ns.wait_ready("web", 2);
    ns.delete(&["sts", "web", "--wait=false"]);
    ns.delete(&["pod", "web-1"]);
    is_silent_about(&ns, "STS310");
    let (pod, claims) = (uid(&ns, "pod/web-0"), [uid(&ns, "pvc/data-web-0"), uid(&ns, "pvc/data-web-1")]);
    ns.age("2h");
    let finding = finds(&ns, "STS310 error StatefulSet/web");
    let what = finding["what"].as_str().unwrap();
    assert!(what.contains("first.example.com/drain and ops.example.com/backup"), "{what}");
    assert!(because(&finding).contains("ops.example.com"), "{finding}");
    assert!(because(&finding).contains("web-1 is missing"), "{finding}");
    run_remedy(&ns, "STS310");
    gone(&ns, "sts/web");
    ns.apply(&manifest(""));
    ns.wait_ready("web", 2);
    assert_eq!(uid(&ns, "pod/web-0"), pod);
    assert_eq!([uid(&ns, "pvc/data-web-0"), uid(&ns, "pvc/data-web-1")], claims);
    let owner = ns.kubectl_json(&["get", "pod/web-0"])["metadata"]["ownerReferences"][0]["uid"].clone();
    assert_eq!(owner, uid(&ns, "sts/web"));
    is_over(&ns, "STS310");
}

#[test]
fn a_foreground_deletion_that_waits_for_a_pod_names_it_and_a_young_one_is_silent() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("foreground");
    ns.apply(&web(
        &class(cluster),
        "",
        "  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}\n",
        "",
    ));
    ns.wait_ready("web", 2);
    ns.patch("pod/web-1", &json!({"metadata": {"finalizers": ["drain.example.com/wait"]}}));
    ns.delete(&["sts", "web", "--cascade=foreground", "--wait=false"]);
    gone(&ns, "pod/web-0");
    is_silent_about(&ns, "STS310");
    ns.age("2h");
    let finding = finds(&ns, "STS310 error StatefulSet/web");
    assert!(
        because(&finding).contains("pod web-1 is blocked by the finalizer drain.example.com/wait"),
        "{finding}"
    );
    run_remedy(&ns, "STS310");
    gone(&ns, "sts/web");
    gone(&ns, "pvc/data-web-1");
}

#[test]
fn an_orphaning_that_the_garbage_collector_cannot_do_is_done_by_hand() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("orphaning");
    let policy = "  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}\n";
    let manifest = web(&class(cluster), "", policy, "");
    ns.apply(&manifest);
    ns.wait_ready("web", 2);
    let _freeze = Freeze::as_controller(&ns, "pods", "UPDATE", |ns| {
        ns.kubectl(&["annotate", "pods", "--all", "some=text", "--dry-run=server"])
    });
    ns.delete(&["sts", "web", "--cascade=orphan", "--wait=false"]);
    let all = ["pod/web-0", "pod/web-1", "pvc/data-web-0", "pvc/data-web-1"];
    let uids = || all.map(|object| uid(&ns, object));
    let before = uids();
    ns.age("2h");
    let finding = finds(&ns, "STS310 error StatefulSet/web");
    let what = finding["what"].as_str().unwrap();
    assert!(what.contains("the garbage collector has not finished"), "{finding}");
    assert!(because(&finding).contains("kube-controller-manager does not run"), "{finding}");
    run_remedy(&ns, "STS310");
    gone(&ns, "sts/web");
    // The garbage collector deletes what still names an owner that is gone, within seconds.
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(uids(), before);
    is_over(&ns, "STS310");
}

#[test]
fn a_foreground_deletion_that_waits_for_a_kubelet_ends_with_its_report() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("foreground-node");
    // Pods of other tests would be lost with it.
    let Some(node) = cluster.node("silent", &["--taints", "test=silent:NoSchedule"]) else { return };
    let at = format!(
        "      nodeSelector: {{kubernetes.io/hostname: {}}}\n      tolerations: [{{key: test, operator: Exists}}]\n",
        node.name
    );
    ns.apply(&web(&class(cluster), "", "", &at));
    ns.wait_ready("web", 2);
    cluster.lose_node(&node.name, true);
    ns.delete(&["sts", "web", "--cascade=foreground", "--wait=false"]);
    ns.age("2h");
    let finding = finds(&ns, "STS310 error StatefulSet/web");
    let said = format!("the kubelet of {} has not reported that it terminated", node.name);
    assert!(because(&finding).contains(&said), "{finding}");
    assert!(
        finding["try"].to_string().contains(&format!("kubectl describe node {}", node.name)),
        "{finding}"
    );
    run_remedy(&ns, "STS310");
    cluster.lose_node(&node.name, false);
    gone(&ns, "sts/web");
}

#[test]
fn a_volume_deleted_under_its_pvc_is_kept_by_retain() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("pv-deleted");
    ns.apply(&web(&class(cluster), "", "", ""));
    ns.wait_ready("web", 2);
    is_silent_about(&ns, "STS216");
    let volume =
        |pvc: &str| ns.kubectl_json(&["get", pvc])["spec"]["volumeName"].as_str().unwrap().to_owned();
    let volumes = [volume("pvc/data-web-0"), volume("pvc/data-web-1")];
    cluster.kubectl(&["delete", "pv", &volumes[0], &volumes[1], "--wait=false"]).ok();
    let finding = finds(&ns, "STS216 warning PersistentVolumeClaim/data-web-0");
    assert!(finding["what"].as_str().unwrap().contains("data-web-0 and data-web-1"), "{finding}");
    run_remedy(&ns, "STS216");
    let finding = finds(&ns, "STS216 note PersistentVolumeClaim/data-web-0");
    assert!(because(&finding).contains("its storage is kept"), "{finding}");
    let shown = ns.kubectl_json(&["get", "pv", &volumes[1]]);
    run_remedy(&ns, "STS216");

    // The page's way out, for web-1: the object goes with its PVC, the folder stays, and is given to the next PVC.
    let folder = shown["spec"]["hostPath"]["path"].as_str().unwrap().to_owned();
    ns.kubectl(&["scale", "sts/web", "--replicas=1"]).ok();
    gone(&ns, "pod/web-1");
    ns.delete(&["pvc", "data-web-1"]);
    gone(&ns, &format!("pv/{}", volumes[1]));
    assert!(std::path::Path::new(&folder).is_dir(), "{folder}");
    let mut manifest = shown;
    for field in ["uid", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "finalizers"] {
        manifest["metadata"].as_object_mut().unwrap().remove(field);
    }
    for field in ["uid", "resourceVersion"] {
        manifest["spec"]["claimRef"].as_object_mut().unwrap().remove(field);
    }
    manifest.as_object_mut().unwrap().remove("status");
    ns.kubectl_in(&["create", "-f", "-"], &manifest.to_string()).ok();
    ns.kubectl(&["scale", "sts/web", "--replicas=2"]).ok();
    ns.wait_ready("web", 2);
    assert_eq!(volume("pvc/data-web-1"), volumes[1]);
    let finding = finds(&ns, "STS216 note PersistentVolumeClaim/data-web-0");
    assert_eq!(finding["otherObjects"], json!([]), "{finding}");
    cluster.kubectl(&["delete", "pv", &volumes[1], "--wait=false"]).ok();
}

#[test]
fn node_name_in_the_template_is_blamed_and_a_node_selector_binds_the_volume() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("node-name");
    let late = cluster.storage_class("late", Binding::WaitForFirstConsumer, false);
    ns.apply(&web(&late, "", "", "      nodeName: node-1\n"));
    let finding = finds(&ns, "STS217 error PersistentVolumeClaim/data-web-0");
    assert!(because(&finding).contains("nodeName: node-1 in the pod template of web"), "{finding}");
    ns.age("1h");
    let all = found(&ns, &[]);
    assert!(!all.iter().any(|one| one.starts_with("STS204")), "{all:?}");
    // As on a real kubelet, where no pod becomes ready without its volume, the first one only is there.
    run_remedy(&ns, "STS217");
    ns.wait("every PVC to be bound", support::PATIENCE, || {
        let claims = ns.kubectl_json(&["get", "pvc"]);
        let phases: Vec<&Value> =
            claims["items"].as_array().unwrap().iter().map(|it| &it["status"]["phase"]).collect();
        if phases == ["Bound", "Bound"] { Ok(()) } else { Err(format!("{phases:?}")) }
    });
    ns.wait_rolled_out("web", 2);
    let pod = ns.kubectl_json(&["get", "pod/web-1"]);
    assert_eq!(pod["spec"]["nodeName"], "node-1");
    is_over(&ns, "STS217");
}

#[test]
fn a_pvc_that_waits_for_an_unscheduled_pod_is_no_case_of_a_node_not_chosen() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("no-node");
    let late = cluster.storage_class("late", Binding::WaitForFirstConsumer, false);
    ns.apply(&web(&late, "", "", "      nodeSelector: {disk: no-such}\n"));
    ns.wait_pod("web-0", "unschedulable", |pod| pod["status"]["conditions"][0]["reason"] == "Unschedulable");
    ns.age("1h");
    is_silent_about(&ns, "STS217");
    is_silent_about(&ns, "STS204");
}

#[test]
fn an_old_pvc_that_a_finalizer_has_held_for_hours_is_an_error_and_goes() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("stale");
    let policy = "  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}\n";
    ns.apply(&web(&class(cluster), "", policy, ""));
    ns.wait_ready("web", 2);
    let finalizers = json!(["kubernetes.io/pvc-protection", "backup.example.com/hold"]);
    ns.patch("pvc/data-web-1", &json!({"metadata": {"finalizers": finalizers}}));
    ns.kubectl(&["scale", "sts/web", "--replicas=1"]).ok();
    gone(&ns, "pod/web-1");
    ns.kubectl(&["scale", "sts/web", "--replicas=2"]).ok();
    finds(&ns, "STS412 note Pod/web-1");
    ns.age("3h");
    let finding = finds(&ns, "STS412 error Pod/web-1");
    assert!(
        because(&finding).contains("backup.example.com/hold has blocked its deletion for 3h"),
        "{finding}"
    );
    run_remedy(&ns, "STS412");
    ns.wait_ready("web", 2);
    is_over(&ns, "STS412");
}

#[test]
fn an_old_pvc_that_another_pod_uses_is_an_error_that_names_the_pod() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("peek");
    let policy = "  persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}\n";
    ns.apply(&web(&class(cluster), "", policy, ""));
    ns.wait_ready("web", 2);
    peek(&ns, "data-web-1");
    ns.kubectl(&["scale", "sts/web", "--replicas=1"]).ok();
    gone(&ns, "pod/web-1");
    ns.kubectl(&["scale", "sts/web", "--replicas=2"]).ok();
    ns.age("3h");
    let finding = finds(&ns, "STS412 error Pod/web-1");
    assert!(because(&finding).contains("pod peek uses it"), "{finding}");
    run_remedy(&ns, "STS412");
    ns.wait_ready("web", 2);
    is_over(&ns, "STS412");
}

/// Another pod that uses a PVC.
fn peek(ns: &Namespace, claim: &str) {
    ns.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: peek}}, spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: peek, \
         image: \"peek:1\"}}], volumes: [{{name: data, persistentVolumeClaim: {{claimName: {claim}}}}}]}}}}"
    ));
    ns.wait_pod("peek", "running", |pod| pod["status"]["phase"] == "Running");
}

#[test]
fn a_deleted_pvc_that_keeps_its_replica_from_being_created_is_let_go_with_its_data_kept() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("held-pvc");
    ns.apply(&web(&class(cluster), "", "", ""));
    ns.wait_ready("web", 2);
    let volume =
        ns.kubectl_json(&["get", "pvc/data-web-1"])["spec"]["volumeName"].as_str().unwrap().to_owned();
    let finalizers = json!(["kubernetes.io/pvc-protection", "backup.example.com/hold"]);
    ns.patch("pvc/data-web-1", &json!({"metadata": {"finalizers": finalizers}}));
    ns.delete(&["pvc", "data-web-1", "--wait=false"]);
    ns.delete(&["pod", "web-1"]);
    is_silent_about(&ns, "STS208");
    ns.age("3h");
    let finding = finds(&ns, "STS208 error PersistentVolumeClaim/data-web-1");
    assert!(
        because(&finding).contains("backup.example.com/hold has blocked its deletion for 3h"),
        "{finding}"
    );
    run_remedy(&ns, "STS208");
    ns.wait_ready("web", 2);
    is_over(&ns, "STS208");
    let kept = cluster.kubectl(&["get", "pv", &volume, "-o", "jsonpath={.status.phase}"]).ok();
    assert_eq!(kept, "Released");
    cluster.kubectl(&["delete", "pv", &volume, "--wait=false"]).ok();

    // The same with another pod that uses it.
    let volume =
        ns.kubectl_json(&["get", "pvc/data-web-1"])["spec"]["volumeName"].as_str().unwrap().to_owned();
    peek(&ns, "data-web-1");
    ns.delete(&["pvc", "data-web-1", "--wait=false"]);
    ns.delete(&["pod", "web-1"]);
    ns.age("3h");
    let finding = finds(&ns, "STS208 error PersistentVolumeClaim/data-web-1");
    assert!(because(&finding).contains("pod peek uses it"), "{finding}");
    run_remedy(&ns, "STS208");
    ns.wait_ready("web", 2);
    is_over(&ns, "STS208");
    cluster.kubectl(&["delete", "pv", &volume, "--wait=false"]).ok();
}

/// A definition of objects that a StatefulSet can be made from.
fn brokers(cluster: &Cluster) {
    cluster.apply(
        "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: brokers.mq.example.com}, spec: \
         {group: mq.example.com, scope: Namespaced, names: {plural: brokers, singular: broker, kind: Broker}, versions: [{name: \
         v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: \
         true}}}]}}",
    );
    cluster
        .kubectl(&["wait", "crd/brokers.mq.example.com", "--for=condition=Established", "--timeout=60s"])
        .ok();
}

#[test]
fn a_bad_image_that_came_by_an_operator_is_to_be_changed_in_its_object() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("operator");
    brokers(cluster);
    ns.apply(
        "{apiVersion: mq.example.com/v1, kind: Broker, metadata: {name: main}, spec: {image: \"web:1\"}}",
    );
    let owner = json!({"apiVersion": "mq.example.com/v1", "kind": "Broker", "name": "main", "uid": uid(&ns, "broker/main"), "controller": true});
    ns.apply(&web(&class(cluster), "", "", ""));
    ns.patch("sts/web", &json!({"metadata": {"ownerReferences": [owner]}}));
    ns.wait_ready("web", 2);
    // The operator: what stands in its object is what the StatefulSet gets.
    let operate = || {
        let broker = ns.kubectl_json(&["get", "broker/main"]);
        let image = broker["spec"]["image"].as_str().unwrap().to_owned();
        ns.kubectl(&["set", "image", "sts/web", &format!("web={image}")]).ok();
    };
    ns.patch("broker/main", &json!({"spec": {"image": "web:nope"}}));
    operate();
    let finding = finds(&ns, "STS401 error Pod/web-1");
    let tries: Vec<&str> = finding["try"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(
        tries.iter().any(|line| line.starts_with("kubectl edit Broker.v1.mq.example.com main -n ")),
        "{finding}"
    );
    assert!(!tries.iter().any(|line| line.contains("sts undo")), "{finding}");
    assert!(because(&finding).contains("Broker main controls StatefulSet web"), "{finding}");
    // The same as the plan of the command that would be taken back.
    let plan = ns.sts(&["undo", "web", "--dry-run=client"]).stdout;
    assert!(plan.contains("Broker main manages this StatefulSet (ownerReference)"), "{plan}");
    for line in tries {
        ns.shell(&format!("KUBE_EDITOR='sed -i s/nope/2/' {line}")).ok();
    }
    operate();
    ns.wait("doctor to go on to the trap", support::PATIENCE, || {
        let all = found(&ns, &[]);
        if all.iter().any(|one| one.starts_with("STS301")) { Ok(()) } else { Err(format!("{all:?}")) }
    });
    run_remedy(&ns, "STS301");
    ns.wait_rolled_out("web", 2);
    is_over(&ns, "STS");
}

#[test]
fn who_delivers_a_service_is_named_beside_a_change_of_it() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("delivered");
    ns.apply(&web(&class(cluster), "", "", ""));
    ns.wait_ready("web", 2);
    ns.kubectl(&["patch", "service/web", "-p", "{\"spec\":{\"selector\":{\"app\":\"wbe\"}}}"]).ok();
    let plain = finds(&ns, "STS103 error Service/web");
    assert!(!because(&plain).contains("manages"), "{plain}");
    ns.kubectl(&["label", "service/web", "app.kubernetes.io/managed-by=Helm"]).ok();
    let finding = finds(&ns, "STS103 error Service/web");
    let said = "Helm manages Service web (label app.kubernetes.io/managed-by) and may revert the change";
    assert!(because(&finding).contains(said), "{finding}");
}

/// A manifest of each kind that names a PVC in its pod template and runs no pod now.
fn at_rest(kind: &str, claim: &str) -> String {
    let pod = format!(
        "{{metadata: {{labels: {{app: rest}}}}, spec: {{restartPolicy: POLICY, nodeSelector: {{disk: no-such}}, containers: [{{name: rest, \
         image: \"rest:1\"}}], volumes: [{{name: data, persistentVolumeClaim: {{claimName: {claim}}}}}]}}}}"
    );
    let always = pod.replace("POLICY", "Always");
    let never = pod.replace("POLICY", "Never");
    let (group, spec) = match kind {
        "Deployment" | "ReplicaSet" => (
            "apps/v1",
            format!("{{replicas: 0, selector: {{matchLabels: {{app: rest}}}}, template: {always}}}"),
        ),
        "ReplicationController" => {
            ("v1", format!("{{replicas: 0, selector: {{app: rest}}, template: {always}}}"))
        }
        "DaemonSet" => {
            ("apps/v1", format!("{{selector: {{matchLabels: {{app: rest}}}}, template: {always}}}"))
        }
        "Job" => ("batch/v1", format!("{{suspend: true, template: {never}}}")),
        "CronJob" => (
            "batch/v1",
            format!(
                "{{suspend: true, schedule: \"0 3 * * *\", jobTemplate: {{spec: {{template: {never}}}}}}}"
            ),
        ),
        other => panic!("{other} is no workload"),
    };
    format!("{{apiVersion: {group}, kind: {kind}, metadata: {{name: rest-{claim}}}, spec: {spec}}}")
}

#[test]
fn what_a_workload_at_rest_names_is_kept_by_doctor_and_prune_alike() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("at-rest");
    let kinds = ["Deployment", "ReplicaSet", "ReplicationController", "DaemonSet", "Job", "CronJob"];
    let manifest = web(&class(cluster), "", "  podManagementPolicy: Parallel\n", "");
    ns.apply(&manifest.replace("replicas: 2", "replicas: 7"));
    ns.wait_ready("web", 7);
    ns.kubectl(&["scale", "sts/web", "--replicas=1"]).ok();
    ns.wait_ready("web", 1);
    let claim = |at: usize| format!("data-web-{}", at + 1);
    for (at, kind) in kinds.iter().enumerate() {
        ns.apply(&at_rest(kind, &claim(at)));
    }
    let dir = tempfile::tempdir().unwrap();
    // What the rule names, live and of a recording, and what prune-pvcs would delete.
    let left_over = |round: usize| -> Vec<String> {
        let file = dir.path().join(format!("{round}.yaml"));
        let path = file.to_str().unwrap();
        ns.sts(&["record", "--to", path]).ok();
        let named = |run: &support::Run| -> Vec<String> {
            let report: Value = serde_json::from_str(&run.stdout).unwrap();
            let findings = report["findings"].as_array().unwrap();
            let finding =
                findings.iter().find(|finding| finding["code"] == "STS210").cloned().unwrap_or_default();
            let names = finding["otherObjects"].as_array().cloned().unwrap_or_default();
            assert!(!finding["because"].as_str().unwrap_or_default().contains("not checked"), "{finding}");
            names.iter().map(|object| object["name"].as_str().unwrap().to_owned()).collect()
        };
        let live = named(&ns.sts(&["doctor", "-o", "json"]));
        assert_eq!(named(&ns.sts(&["doctor", "-o", "json", "--from", path])), live);
        for args in [&["prune-pvcs", "-o", "name"][..], &["prune-pvcs", "-o", "name", "--from", path]] {
            let mut names: Vec<String> =
                (ns.sts(args).ok().lines()).map(|line| line.rsplit('/').next().unwrap().to_owned()).collect();
            names.sort();
            assert_eq!(names, live, "{args:?}");
        }
        // A recording of a recording is the same recording.
        assert_eq!(ns.sts(&["record", "--from", path]).ok(), std::fs::read_to_string(&file).unwrap());
        live
    };
    ns.wait("the scale-down", support::PATIENCE, || {
        let pods = ns.pods();
        if pods.keys().filter(|name| name.starts_with("web-")).count() == 1 {
            Ok(())
        } else {
            Err(format!("{pods:?}"))
        }
    });
    assert_eq!(left_over(0), Vec::<String>::new());
    for (at, kind) in kinds.iter().enumerate() {
        ns.delete(&[kind, &format!("rest-{}", claim(at))]);
        let expected: Vec<String> = (0..=at).map(claim).collect();
        assert_eq!(left_over(at + 1), expected, "without the {kind}");
    }

    // Who may not read them is told that they were not checked.
    let reader = "- {apiGroups: [apps], resources: [statefulsets, controllerrevisions], verbs: [list]}\n\
                  - {apiGroups: [\"\"], resources: [pods, persistentvolumeclaims, services, events], verbs: [list]}\n\
                  - {apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: [list]}\n";
    let kubeconfig = ns.user("reader", reader);
    ns.wait("the finding of a reader", support::PATIENCE, || {
        let run = ns.sts_as(&kubeconfig, &["doctor"]);
        let text = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = "not checked: deployments";
        if text.contains("STS210") && text.contains(said) && text.contains("forbidden") {
            Ok(())
        } else {
            Err(run.to_string())
        }
    });
}

#[test]
fn a_scheduler_that_chooses_no_node_for_the_volume_is_blamed() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("scheduler");
    let late = cluster.storage_class("late", Binding::WaitForFirstConsumer, false);
    ns.apply(&web(&late, "", "  podManagementPolicy: Parallel\n", "      schedulerName: mine\n"));
    for pod in ["web-0", "web-1"] {
        ns.wait_pod(pod, "there", |pod| pod["metadata"]["uid"].is_string());
    }
    is_silent_about(&ns, "STS217");
    // What such a scheduler does.
    for pod in ["web-0", "web-1"] {
        let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": {"kind": "Node", "name": "node-2"}});
        let path = format!("/api/v1/namespaces/{}/pods/{pod}/binding", ns.name);
        ns.kubectl_in(&["create", "--raw", &path, "-f", "-"], &binding.to_string()).ok();
    }
    let finding = ns.wait("one finding for both", support::PATIENCE, || {
        let finding = finds(&ns, "STS217 error PersistentVolumeClaim/data-web-0");
        if finding["otherObjects"].as_array().is_some_and(|all| all.len() == 1) {
            Ok(finding)
        } else {
            Err(finding.to_string())
        }
    });
    assert!(because(&finding).contains("the scheduler mine assigns nodes without setting it"), "{finding}");
    run_remedy(&ns, "STS217");
    ns.wait_rolled_out("web", 2);
    is_over(&ns, "STS217");
    for claim in ["data-web-0", "data-web-1"] {
        assert_eq!(ns.kubectl_json(&["get", "pvc", claim])["status"]["phase"], "Bound");
    }
}
