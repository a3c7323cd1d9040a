//! Causes that are easily taken for others, on the real control plane: each is told from its healthy or broken sibling, and
//! the advice is carried out as printed.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::doctor::{finds, found};
use crate::recover::{set, uids};
use crate::support::findings::pasted;
use crate::support::verdict::agree;
use crate::support::{self, Binding, Namespace};

/// The finding with this code about this object.
fn finding(ns: &Namespace, code: &str, name: &str) -> Value {
    let run = ns.sts(&["doctor", "-o", "json"]);
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"));
    let is_it = |finding: &&Value| finding["code"] == code && finding["object"]["name"] == name;
    let found = report["findings"].as_array().unwrap().iter().find(is_it);
    found.unwrap_or_else(|| panic!("no {code} about {name}: {run}")).clone()
}

/// Runs what the finding says to try, in a shell, as printed.
fn try_it(ns: &Namespace, code: &str, name: &str) -> Vec<String> {
    let found = finding(ns, code, name);
    let commands: Vec<String> =
        found["try"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect();
    assert!(!commands.is_empty(), "{found}");
    for command in &commands {
        pasted(ns, command).ok();
    }
    commands
}

#[track_caller]
fn says(found: &Value, text: &str) {
    let because = found["because"].as_str().unwrap();
    assert!(because.contains(text), "{text:?} is not in {because:?}");
}

/// The StatefulSet `name` with its Service of the same name, without the latter.
fn without_service(name: &str, replicas: i32, spec: &str) -> String {
    set(name, replicas, spec).split_once("---\n").unwrap().1.to_owned()
}

fn service(name: &str, spec: &str) -> String {
    format!("---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{{spec}}}}}\n")
}

#[test]
fn a_service_that_clients_may_need_is_never_less_than_a_warning() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("clients");
    ns.apply(&without_service("gone", 2, ""));
    ns.apply(&without_service("lone", 1, ""));
    ns.apply(&without_service("plain", 2, ""));
    ns.apply(&service("plain", "selector: {app: plain}, ports: [{port: 80}]"));
    ns.apply(&without_service("other", 2, ""));
    ns.apply(&service("other", "clusterIP: None, selector: {app: another}"));
    ns.apply(&set("good", 2, ""));
    for (name, replicas) in [("gone", 2), ("lone", 1), ("plain", 2), ("other", 2), ("good", 2)] {
        ns.wait_ready(name, replicas);
    }
    finds(
        &ns,
        &[
            "STS101 error StatefulSet/gone",
            "STS101 warning StatefulSet/lone",
            "STS102 error Service/plain",
            "STS103 error Service/other",
        ],
    );
    if !ns.age("40d") {
        return;
    }
    finds(
        &ns,
        &[
            "STS101 note StatefulSet/lone",
            "STS101 warning StatefulSet/gone",
            "STS102 warning Service/plain",
            "STS103 error Service/other",
        ],
    );
    for (code, name) in [("STS101", "lone"), ("STS101", "gone"), ("STS102", "plain"), ("STS103", "other")] {
        try_it(&ns, code, name);
    }
    finds(&ns, &[]);
}

#[test]
fn a_forgotten_scheduling_gate_is_a_warning() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("gates");
    let gated = set("web", 2, "podManagementPolicy: Parallel,").replace(
        "terminationGracePeriodSeconds: 1",
        "schedulingGates: [{name: example.com/quota}], terminationGracePeriodSeconds: 1",
    );
    ns.apply(&gated);
    for pod in ["web-0", "web-1"] {
        ns.wait_pod_status(pod, "SchedulingGated");
    }
    finds(&ns, &["STS405 note Pod/web-0"]);
    if !ns.age("11m") {
        return;
    }
    finds(&ns, &["STS405 warning Pod/web-0"]);
    says(&finding(&ns, "STS405", "web-0"), "example.com/quota");
    try_it(&ns, "STS405", "web-0");
    ns.wait_ready("web", 2);
    finds(&ns, &[]);
}

#[test]
fn a_gate_of_the_template_does_not_hold_back_the_next_pod() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("gates-ordered");
    ns.apply(&set("web", 2, "").replace(
        "terminationGracePeriodSeconds: 1",
        "schedulingGates: [{name: example.com/quota}], terminationGracePeriodSeconds: 1",
    ));
    ns.wait_pod_status("web-0", "SchedulingGated");
    if !ns.age("11m") {
        return;
    }
    finds(&ns, &["STS405 warning Pod/web-0"]);
    says(&finding(&ns, "STS405", "web-0"), "which the pod template also has");
    try_it(&ns, "STS405", "web-0");
    ns.wait_ready("web", 2);
    finds(&ns, &[]);
}

/// The host names under which the endpoints of a Service publish pods.
fn hosts(ns: &Namespace, service: &str) -> Vec<String> {
    let label = format!("kubernetes.io/service-name={service}");
    let slices = ns.kubectl_json(&["get", "endpointslices", "-l", &label]);
    let endpoints =
        slices["items"].as_array().unwrap().iter().filter_map(|slice| slice["endpoints"].as_array());
    let hosts = endpoints.flatten().filter_map(|endpoint| endpoint["hostname"].as_str());
    let mut hosts: Vec<String> = hosts.map(str::to_owned).collect();
    hosts.sort();
    hosts
}

/// The uid of each PVC.
fn claims(ns: &Namespace) -> BTreeMap<String, String> {
    let claims = ns.kubectl_json(&["get", "pvc"]);
    let text = |claim: &Value, key: &str| claim["metadata"][key].as_str().unwrap().to_owned();
    claims["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|claim| (text(claim, "name"), text(claim, "uid")))
        .collect()
}

#[test]
fn a_misspelt_service_name_is_corrected_and_not_doubled() {
    let Some(cluster) = support::cluster() else { return };
    let class = cluster.storage_class("ssd", Binding::Immediate, false);
    // All replicas ready, or one that cannot find the others.
    for unready in [false, true] {
        let ns = cluster.namespace("misspelt");
        let volumes = format!(
            "persistentVolumeClaimRetentionPolicy: {{whenDeleted: Delete}}, volumeClaimTemplates: [{{metadata: {{name: data}}, \
             spec: {{accessModes: [ReadWriteOnce], storageClassName: {class}, resources: {{requests: {{storage: 1Gi}}}}}}}}],"
        );
        let wrong = without_service("db", 3, &volumes).replace("serviceName: db", "serviceName: db-headles");
        ns.apply(&service("db-headless", "clusterIP: None, selector: {app: db}, ports: [{port: 80}]"));
        ns.apply(&service("db-metrics", "clusterIP: None, selector: {app: db}, ports: [{port: 9187}]"));
        ns.apply(&wrong);
        ns.wait_ready("db", 3);
        let (pods, volumes) = (uids(&ns), claims(&ns));
        finds(&ns, &["STS101 error StatefulSet/db"]);
        assert_eq!(hosts(&ns, "db-headless"), Vec::<String>::new(), "no replica has a name there");
        let found = finding(&ns, "STS101", "db");
        says(
            &found,
            "; Service db-headless is headless and selects these pods: serviceName is probably misspelt, and cannot be",
        );
        if unready {
            ns.kubectl(&["annotate", "pod", "db-1", "fake.test/mode=unready"]).ok();
            ns.wait_pod("db-1", "not Ready", |pod| {
                pod["status"]["conditions"]
                    .as_array()
                    .is_some_and(|all| all.iter().any(|it| it["type"] == "Ready" && it["status"] == "False"))
            });
        }
        let tried = try_it(&ns, "STS101", "db");
        assert_eq!(
            tried.iter().any(|line| line.starts_with("kubectl delete pod db-1 ")),
            unready,
            "{tried:?}"
        );
        ns.wait("every replica to have its name", support::PATIENCE, || {
            let hosts = hosts(&ns, "db-headless");
            let new = uids(&ns).iter().all(|(name, uid)| pods[name] != *uid);
            if hosts == ["db-0", "db-1", "db-2"] && new { Ok(()) } else { Err(format!("{hosts:?}")) }
        });
        ns.wait_rolled_out("db", 3);
        assert_eq!(claims(&ns), volumes, "no PVC was created again");
        assert_eq!(ns.kubectl_json(&["get", "sts", "db"])["spec"]["serviceName"], "db-headless");
        finds(&ns, &[]);
        // Its manifest, once corrected, still applies.
        ns.apply(&wrong.replace("db-headles,", "db-headless,"));
        finds(&ns, &[]);
    }
}

#[test]
fn a_second_service_under_the_misspelt_name_is_no_cure() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("doubled");
    ns.apply(&service("db-headless", "clusterIP: None, selector: {app: db}, ports: [{port: 80}]"));
    ns.apply(&without_service("db", 2, "").replace("serviceName: db", "serviceName: db-headles"));
    ns.wait_ready("db", 2);
    // Ages are in seconds.
    if !ns.age("1m") {
        return;
    }
    ns.kubectl(&["create", "service", "clusterip", "db-headles", "--clusterip=None"]).ok();
    ns.kubectl(&["set", "selector", "service", "db-headles", "app=db"]).ok();
    finds(&ns, &["STS105 note StatefulSet/db"]);
    assert_eq!(hosts(&ns, "db-headless"), Vec::<String>::new());
    try_it(&ns, "STS105", "db");
    ns.wait_rolled_out("db", 2);
    ns.wait("the replicas to have names", support::PATIENCE, || {
        let hosts = hosts(&ns, "db-headless");
        if hosts == ["db-0", "db-1"] { Ok(()) } else { Err(format!("{hosts:?}")) }
    });
    finds(&ns, &[]);
}

#[test]
fn the_headless_service_that_is_there_is_the_one_to_name() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("named");
    // One for clients; one of another application; one that does not exist while two would do.
    ns.apply(&service("plain", "selector: {app: plain}, ports: [{port: 80}]"));
    ns.apply(&service("plain-hl", "clusterIP: None, selector: {app: plain}"));
    ns.apply(&without_service("plain", 2, ""));
    ns.apply(&service("other", "clusterIP: None, selector: {app: mysql}"));
    ns.apply(&service("pg", "clusterIP: None, selector: {app: other}"));
    ns.apply(&without_service("other", 2, "updateStrategy: {type: OnDelete},"));
    ns.apply(&service("several", "clusterIP: None, selector: {app: several}"));
    ns.apply(&service("several-peers", "clusterIP: None, selector: {app: several}"));
    ns.apply(&without_service("several", 2, "").replace("serviceName: several", "serviceName: severl-peers"));
    for name in ["plain", "other", "several"] {
        ns.wait_ready(name, 2);
    }
    finds(
        &ns,
        &["STS101 error StatefulSet/several", "STS102 error Service/plain", "STS103 error Service/other"],
    );
    let before = ns.kubectl_json(&["get", "services"])["items"].clone();
    says(&finding(&ns, "STS101", "several"), "several-peers and several are headless and select these pods");
    says(&finding(&ns, "STS102", "plain"), "serviceName should probably be plain-hl");
    says(&finding(&ns, "STS103", "other"), "serviceName should probably be pg");
    for (code, name) in [("STS101", "several"), ("STS102", "plain"), ("STS103", "other")] {
        try_it(&ns, code, name);
    }
    for (name, service) in [("plain", "plain-hl"), ("other", "pg"), ("several", "several-peers")] {
        assert_eq!(ns.kubectl_json(&["get", "sts", name])["spec"]["serviceName"], service);
    }
    // OnDelete: pod by pod.
    ns.wait("only the second pod of other to be left", support::PATIENCE, || {
        let found = found(&ns, &[]);
        if found == ["STS106 error Pod/other-1"] { Ok(()) } else { Err(format!("{found:?}")) }
    });
    try_it(&ns, "STS106", "other-1");
    finds(&ns, &[]);
    assert_eq!(ns.kubectl_json(&["get", "services"])["items"], before, "no Service was touched");
}

#[test]
fn standbys_are_told_from_replicas_that_are_broken() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("standby");
    let with = |name: &str, replicas: i32, spec: &str, annotations: &str| {
        let labels = format!("template: {{metadata: {{labels: {{app: {name}}}");
        set(name, replicas, spec)
            .replace(&labels, &format!("{labels}, annotations: {{{annotations}}}"))
            .replace("image: 'web:1'", "image: 'web:1', readinessProbe: {httpGet: {path: /leader, port: 80}}")
    };
    let parallel = "podManagementPolicy: Parallel,";
    ns.apply(&with("lock", 3, parallel, "fake.test/mode: unready, fake.test/mode-1: ready"));
    // One of three may be a standby, or broken.
    ns.apply(&with("sick", 3, parallel, "fake.test/mode-2: unready"));
    // No replica is ready.
    ns.apply(&with("down", 2, parallel, "fake.test/mode: unready"));
    // It was created one by one, so each was ready once.
    ns.apply(&with("turns", 2, "", ""));
    ns.wait_ready("turns", 2);
    ns.kubectl(&["annotate", "pod", "turns-0", "fake.test/mode=unready"]).ok();
    for (name, ready) in [("lock", 1), ("sick", 2), ("turns", 1)] {
        ns.wait_ready(name, ready);
    }
    for pod in ["lock-0", "lock-2", "sick-2", "down-0", "down-1"] {
        ns.wait_pod_status(pod, "Running");
    }
    if !ns.age("2h") {
        return;
    }
    let errors = ["down-0", "lock-0", "sick-2", "turns-0"].map(|pod| format!("STS404 error Pod/{pod}"));
    let of_pods = |ns: &Namespace| -> Vec<String> {
        found(ns, &[]).into_iter().filter(|finding| !finding.starts_with("STS307")).collect()
    };
    assert_eq!(of_pods(&ns), errors);
    ns.age("20d");
    let expected = [
        "STS404 error Pod/down-0",
        "STS404 note Pod/lock-0",
        "STS404 note Pod/turns-0",
        "STS404 warning Pod/sick-2",
    ];
    assert_eq!(of_pods(&ns), expected);
    let found = finding(&ns, "STS404", "lock-0");
    says(&found, "lock-1 is ready on the same revision; this looks like active/standby");
    assert_eq!(found["otherObjects"][0]["name"], "lock-2", "{found}");
    says(&finding(&ns, "STS404", "sick-2"), "a standby that waits for a lock, or a broken replica");
    ns.sts(&["doctor", "lock"]).code(0);
    try_it(&ns, "STS404", "lock-0");
    agree(&ns);
    // A container that was restarted is no standby, nor is one in an update.
    ns.kubectl(&["annotate", "--overwrite", "pod", "lock-0", "fake.test/mode=crashloop"]).ok();
    ns.wait_pod_status("lock-0", "CrashLoopBackOff");
    let of_lock = ns.sts(&["doctor", "lock"]).code(1);
    assert!(of_lock.stdout.contains("✗ STS402 crash-loop   lock-0 keeps crashing"), "{of_lock}");
    assert!(of_lock.stdout.contains("✗ STS404 never-ready   lock-2 does not become ready"), "{of_lock}");
}

/// Writes a Warning event about a pod as the kubelet does, seen just now.
fn warn(ns: &Namespace, pod: &str, reason: &str, message: &str) {
    let uid = uids(ns)[pod].clone();
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let name = format!("{pod}.{}", reason.to_lowercase());
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "type": "Warning", "reason": reason, "message": message,
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": ns.name, "uid": uid},
        "source": {"component": "kubelet", "host": "node-1"}, "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    });
    ns.apply(&event.to_string());
}

#[test]
fn a_kubelet_that_changes_owners_is_at_work() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("owner");
    let slow = |name: &str, spec: &str, delay: &str| {
        let labels = format!("template: {{metadata: {{labels: {{app: {name}}}");
        set(name, 1, spec).replace(&labels, &format!("{labels}, annotations: {{fake.test/delay: {delay}}}"))
    };
    ns.apply(&slow("db", "", "3h"));
    ns.apply(&slow("gpu", "", "30h"));
    ns.apply(&slow("mute", "", "30h"));
    for pod in ["db-0", "gpu-0", "mute-0"] {
        ns.wait_pod_status(pod, "ContainerCreating");
    }
    if !ns.age("49m") {
        return;
    }
    warn(
        &ns,
        "db-0",
        "VolumePermissionChangeInProgress",
        "Setting volume ownership for 6f/volumes/kubernetes.io~csi/pvc-1/mount, processed 1300000 files.",
    );
    warn(
        &ns,
        "db-0",
        "FailedMount",
        "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], failed to process volumes=[]: context deadline exceeded",
    );
    warn(&ns, "gpu-0", "FailedPrepareDynamicResources", "Failed to prepare dynamic resources: no driver");
    finds(&ns, &["STS404 error Pod/gpu-0", "STS404 error Pod/mute-0", "STS404 note Pod/db-0"]);
    let found = finding(&ns, "STS404", "db-0");
    says(&found, "processed 1300000 files");
    says(&found, "OnRootMismatch");
    says(
        &finding(&ns, "STS404", "gpu-0"),
        "says: FailedPrepareDynamicResources: Failed to prepare dynamic resources: no driver",
    );
    says(&finding(&ns, "STS404", "mute-0"), "no Warning event says why");
    let status: Value = serde_json::from_str(&ns.sts(&["status", "db", "-o", "json"]).ok()).unwrap();
    assert_eq!(status["stuckOn"], Value::Null, "{status}");
    agree(&ns);

    // It waits for the pod to be ready, and starts nothing over.
    let before = uids(&ns)["db-0"].clone();
    std::thread::scope(|scope| {
        let tried = scope.spawn(|| try_it(&ns, "STS404", "db-0"));
        std::thread::sleep(std::time::Duration::from_secs(5));
        let set = ns.kubectl_json(&["get", "sts", "db"]);
        assert_eq!(set["metadata"]["generation"], 1, "it was not waited for");
        assert_eq!(uids(&ns)["db-0"], before);
        ns.age("3h");
        tried.join().unwrap();
    });
    let pod = ns.wait_pod("db-0", "on the new template", |pod| {
        pod["metadata"]["uid"] != before.as_str() && !pod.is_null()
    });
    assert_eq!(pod["spec"]["securityContext"]["fsGroupChangePolicy"], "OnRootMismatch");
    finds(&ns, &["STS404 error Pod/gpu-0", "STS404 error Pod/mute-0"]);
}

#[test]
fn only_a_template_that_was_put_back_is_called_back() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("back");
    let rollout = |name: &str| -> String {
        let status: Value = serde_json::from_str(&ns.sts(&["status", name, "-o", "json"]).ok()).unwrap();
        status["rollout"].as_str().unwrap().to_owned()
    };
    let revision = |name: &str| {
        ns.kubectl_json(&["get", "sts", name])["status"]["updateRevision"].as_str().unwrap().to_owned()
    };
    // Created again over the pods of an earlier one, with another template, in two ways.
    for (name, strategy) in [("again", ""), ("manual", "updateStrategy: {type: OnDelete},")] {
        ns.apply(&set(name, 2, strategy));
        ns.wait_ready(name, 2);
        let old = revision(name);
        ns.delete(&["sts", name, "--cascade=orphan"]);
        ns.apply(&set(name, 2, strategy).replace("web:1", "web:does-not-exist"));
        let text = ns.wait("a pod of the old revision beside the new", support::PATIENCE, || {
            let status = ns.kubectl_json(&["get", "sts", name])["status"].clone();
            let text = rollout(name);
            let both = status["currentRevision"] == status["updateRevision"] && text.contains("still on");
            if both { Ok(text) } else { Err(format!("{status} {text}")) }
        });
        let new = revision(name);
        assert!(text.starts_with(&format!("{new}, ")) && text.contains(&format!("still on {old}")), "{text}");
        assert!(!text.contains("back"), "{text}");
    }
    // A template that was put back.
    ns.apply(&set("undone", 2, ""));
    ns.wait_ready("undone", 2);
    if !ns.age("5m") {
        return;
    }
    let good = revision("undone");
    ns.kubectl(&["set", "image", "sts/undone", "web=web:does-not-exist"]).ok();
    ns.wait_pod_status("undone-1", "ImagePullBackOff");
    let bad = revision("undone");
    ns.kubectl(&["rollout", "undo", "sts/undone"]).ok();
    ns.wait("the old template to be back", support::PATIENCE, || {
        let text = rollout("undone");
        let expected = format!("rolled back to {good}, 1 pod still on {bad}");
        if text == expected { Ok(()) } else { Err(text) }
    });
}

/// A set with a partition whose update waits.
fn held_back(ns: &Namespace, name: &str, spec: &str, partition: i32) {
    let strategy =
        format!("{spec} updateStrategy: {{type: RollingUpdate, rollingUpdate: {{partition: {partition}}}}},");
    ns.apply(&set(name, 3, &strategy));
    ns.wait_ready(name, 3);
    ns.patch(
        &format!("sts/{name}"),
        &json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2", "readinessProbe":
            {"httpGet": {"path": "/", "port": 80}}}]}}}}),
    );
    let updated = u64::try_from((3 - partition).max(0)).unwrap();
    ns.wait("the pods above the partition to be updated", support::PATIENCE, || {
        let set = ns.kubectl_json(&["get", "sts", name]);
        let status = &set["status"];
        let done = status["observedGeneration"] == set["metadata"]["generation"]
            && status["updatedReplicas"].as_u64().unwrap_or(0) == updated
            && status["readyReplicas"] == 3;
        if done { Ok(()) } else { Err(status.to_string()) }
    });
}

#[test]
fn a_fix_above_the_partition_is_brought_to_the_pod_that_needs_it() {
    let Some(cluster) = support::cluster() else { return };
    for (spec, partition, pod) in [
        ("", 2, "web-0"),
        ("", 3, "web-1"),
        ("podManagementPolicy: Parallel,", 2, "web-0"),
        ("podManagementPolicy: Parallel,", 2, "web-1"),
    ] {
        let ns = cluster.namespace("above");
        held_back(&ns, "web", spec, partition);
        let quiet: Vec<String> = found(&ns, &[]).into_iter().filter(|it| it.starts_with("STS311")).collect();
        assert_eq!(quiet, Vec::<String>::new(), "all pods are well");
        ns.kubectl(&["annotate", "pod", pod, "fake.test/mode=crashloop"]).ok();
        ns.wait_pod_status(pod, "CrashLoopBackOff");
        finds(&ns, &["STS311 warning StatefulSet/web", &format!("STS402 error Pod/{pod}")]);
        agree(&ns);
        try_it(&ns, "STS311", "web");
        ns.wait_pod(pod, "on the new template", |pod| pod["spec"]["containers"][0]["image"] == "web:2");
        ns.wait_ready("web", 3);
        let left: Vec<String> = found(&ns, &[]).into_iter().filter(|it| !it.contains(" note ")).collect();
        assert_eq!(left, Vec::<String>::new(), "{spec} {partition} {pod}");
    }
}

#[test]
fn a_fix_above_the_partition_reaches_a_set_that_never_came_up() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("first");
    let strategy = "updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 3}},";
    ns.apply(&set("web", 3, strategy).replace("web:1", "web:nope"));
    ns.wait_pod_status("web-0", "ImagePullBackOff");
    finds(&ns, &["STS304 note StatefulSet/web", "STS401 error Pod/web-0"]);
    ns.kubectl(&["set", "image", "sts/web", "web=web:2"]).ok();
    finds(&ns, &["STS311 warning StatefulSet/web", "STS401 error Pod/web-0"]);
    agree(&ns);
    try_it(&ns, "STS311", "web");
    ns.wait_rolled_out("web", 3);
    finds(&ns, &[]);
}

#[test]
fn a_canary_that_is_the_fix_is_ended_with_it() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-fix");
    ns.apply(&set("web", 3, ""));
    ns.wait_ready("web", 3);
    ns.sts(&["canary", "web", "--image", "web=web:2", "--partition", "2", "--yes"]).code(0);
    ns.kubectl(&["annotate", "pod", "web-0", "fake.test/mode=crashloop"]).ok();
    ns.wait_pod_status("web-0", "CrashLoopBackOff");
    finds(&ns, &["STS311 warning StatefulSet/web", "STS402 error Pod/web-0"]);
    let tried = try_it(&ns, "STS311", "web");
    assert!(tried.last().unwrap().contains("kubectl sts promote web"), "{tried:?}");
    ns.wait_rolled_out("web", 3);
    let set = ns.kubectl_json(&["get", "sts", "web"]);
    assert_eq!(set["metadata"]["annotations"]["kubectl-sts/canary"], Value::Null, "{set}");
    finds(&ns, &[]);
}

#[test]
fn a_pod_that_is_not_ready_below_the_partition_is_deleted_for_the_fix() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("unready-fix");
    let strategy = "updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 2}},";
    ns.apply(
        &set("web", 3, strategy)
            .replace("image: 'web:1'", "image: 'web:1', readinessProbe: {httpGet: {path: /, port: 80}}"),
    );
    ns.wait_ready("web", 3);
    ns.kubectl(&["set", "image", "sts/web", "web=web:2"]).ok();
    ns.wait_pod("web-2", "updated", |pod| pod["spec"]["containers"][0]["image"] == "web:2");
    ns.wait_ready("web", 3);
    ns.kubectl(&["annotate", "pod", "web-0", "fake.test/mode=unready"]).ok();
    ns.wait_ready("web", 2);
    if !ns.age("5m") {
        return;
    }
    // It may be replaying its log.
    finds(&ns, &["STS404 warning Pod/web-0"]);
    ns.age("10m");
    finds(&ns, &["STS311 warning StatefulSet/web", "STS404 error Pod/web-0"]);
    let tried = try_it(&ns, "STS311", "web");
    assert!(tried.last().unwrap().starts_with("kubectl delete pod web-0 "), "{tried:?}");
    ns.wait_rolled_out("web", 3);
    finds(&ns, &[]);
}

#[test]
fn a_parallel_set_whose_replicas_count_on_each_other_gets_a_note_also_when_all_are_ready() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("order");
    let with = |name: &str, annotations: &str, inits: &str| {
        let labels = format!("template: {{metadata: {{labels: {{app: {name}}}");
        set(name, 3, "podManagementPolicy: Parallel,")
            .replace(&labels, &format!("{labels}, annotations: {{{annotations}}}"))
            .replace("containers:", &format!("{inits} containers:"))
    };
    let clone = "initContainers: [{name: clone, image: 'web:1'}],";
    // db-1 crashes until db-0 is ready.
    ns.apply(&with(
        "db",
        "fake.test/ready-delay-0: 4s, fake.test/mode-1: crashloop, fake.test/then-1: ready, fake.test/then-after-1: 8s",
        "",
    ));
    // The second is prepared and ready long before the first.
    ns.apply(&with("clones", "fake.test/ready-delay-0: 12s", clone));
    // The same without anything to prepare; and all at once.
    ns.apply(&with("plain", "fake.test/ready-delay-0: 12s", ""));
    ns.apply(&with("at-once", "", clone));
    for name in ["db", "clones", "plain", "at-once"] {
        ns.wait_ready(name, 3);
    }
    finds(&ns, &["STS307 note StatefulSet/clones", "STS307 note StatefulSet/db"]);
    let what = |name: &str| finding(&ns, "STS307", name)["what"].as_str().unwrap().to_owned();
    assert!(what("db").ends_with("db-1 failed until db-0 was ready"), "{}", what("db"));
    assert!(what("clones").ends_with("clones-1 was ready before clones-0"), "{}", what("clones"));
    if !ns.age("2h") {
        return;
    }
    finds(&ns, &["STS307 note StatefulSet/db"]);
    ns.age("1d");
    finds(&ns, &[]);
}
