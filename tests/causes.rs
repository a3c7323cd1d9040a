//! Findings whose cause the API knows: what they say to change is carried out as printed, on the real control plane, and ends
//! them. The test plays what the fake kubelet is not: the registry, and the application behind a port.

use std::fs;

use serde_json::{Value, json};

use crate::doctor::{finds, found};
use crate::recover::{set, uids};
use crate::support::findings::{finding, paste};
use crate::support::verdict::agree;
use crate::support::{self, Binding, Namespace};

const IMAGE: &str = "image: 'web:1'";

/// The StatefulSet with these annotations of its pods, this in the spec of its container, and this in that of its pods.
fn with(name: &str, replicas: i32, annotations: &str, container: &str, pod: &str) -> String {
    let labels = format!("template: {{metadata: {{labels: {{app: {name}}}");
    set(name, replicas, "")
        .replace(&labels, &format!("{labels}, annotations: {{{annotations}}}"))
        .replace(IMAGE, &format!("{IMAGE}{container}"))
        .replace("terminationGracePeriodSeconds: 1", &format!("terminationGracePeriodSeconds: 1{pod}"))
}

/// Makes the fake kubelet treat a pod in another way.
fn mode(ns: &Namespace, pod: &str, mode: &str) {
    ns.kubectl(&["annotate", "--overwrite", "pod", pod, &format!("fake.test/mode={mode}")]).ok();
}

/// Waits until the pod is another one than before.
fn again(ns: &Namespace, pod: &str, before: &Value) -> Value {
    ns.wait_pod(pod, "made again", |now| !now.is_null() && now["metadata"]["uid"] != *before)
}

fn uid(ns: &Namespace, pod: &str) -> Value {
    ns.kubectl_json(&["get", "pod", pod])["metadata"]["uid"].clone()
}

/// The errors and warnings.
fn bad(ns: &Namespace) -> Vec<String> {
    found(ns, &[]).into_iter().filter(|it| !it.contains(" note ")).collect()
}

/// Waits until these are the errors and warnings.
fn only(ns: &Namespace, expected: &[&str]) {
    ns.wait(&format!("only {expected:?}"), support::PATIENCE, || {
        let bad = bad(ns);
        if bad == expected { Ok(()) } else { Err(format!("{bad:?}")) }
    });
}

fn template(ns: &Namespace, set: &str) -> Value {
    ns.kubectl_json(&["get", "sts", set])["spec"]["template"]["spec"].clone()
}

#[test]
fn a_probe_of_a_port_that_is_not_there_is_sent_to_the_one_that_is() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("ports");
    let probe = |port: &str, declared: &str| {
        format!(", ports: [{declared}], readinessProbe: {{tcpSocket: {{port: {port}}}}}")
    };
    let http = "{name: http, containerPort: 80}";
    ns.apply(&with("named", 1, "", &probe("htpp", http), ""));
    ns.apply(&with("number", 1, "fake.test/mode: unready", &probe("8080", "{containerPort: 80}"), ""));
    // The same that once were ready, that are declared, and that are not ready although all is well with the port.
    ns.apply(&with("ready", 2, "", &probe("8080", "{containerPort: 80}"), ""));
    ns.apply(&with("right", 1, "fake.test/mode: unready", &probe("http", http), ""));
    for name in ["named-0", "number-0", "right-0"] {
        ns.wait_pod_status(name, "Running");
    }
    ns.wait_ready("ready", 2);
    if !ns.age("20m") {
        return;
    }
    for pod in ["named-0", "ready-1"] {
        mode(&ns, pod, "unready");
        ns.kubectl(&["wait", &format!("pod/{pod}"), "--for=condition=Ready=False", "--timeout=120s"]).ok();
    }
    ns.age("20m");
    let all = ["named-0", "number-0", "ready-1", "right-0"].map(|pod| format!("STS404 error Pod/{pod}"));
    only(&ns, &all.each_ref().map(String::as_str));
    for silent in ["ready-1", "right-0"] {
        let found = finding(&ns, "STS404", silent, &[]);
        assert!(!found["because"].as_str().unwrap().contains("asks"), "{found}");
        assert!(!found.to_string().contains("kubectl patch"), "{found}");
    }
    let named = finding(
        &ns,
        "STS404",
        "named-0",
        &["asks the port named htpp", "declares only 80 (http): set readinessProbe.tcpSocket.port to http"],
    );
    let before = uid(&ns, "named-0");
    paste(&ns, &named["try"]);
    again(&ns, "named-0", &before);
    ns.wait_rolled_out("named", 1);
    assert_eq!(template(&ns, "named")["containers"][0]["readinessProbe"]["tcpSocket"]["port"], "http");

    let number = finding(
        &ns,
        "STS404",
        "number-0",
        &["asks port 8080, where nothing listens", "set readinessProbe.tcpSocket.port to 80"],
    );
    let before = uid(&ns, "number-0");
    paste(&ns, &number["or"]);
    let pod = again(&ns, "number-0", &before);
    assert_eq!(pod["spec"]["containers"][0]["readinessProbe"]["tcpSocket"]["port"], 80);
    // The application listens there.
    mode(&ns, "number-0", "ready");
    ns.wait_ready("number", 1);
    for pod in ["ready-1", "right-0"] {
        mode(&ns, pod, "ready");
    }
    only(&ns, &[]);
    agree(&ns);
}

#[test]
fn a_readiness_gate_that_nobody_opens_is_taken_away_or_opened() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("gates");
    let gates = |types: &str| format!(", readinessGates: [{types}]");
    let own = "{conditionType: example.com/registered}";
    let balanced = "{conditionType: target-health.elbv2.k8s.aws/web}";
    ns.apply(&with("own", 1, "", "", &gates(&format!("{own}, {{conditionType: example.com/open}}"))));
    ns.apply(&with("hand", 1, "", "", &gates(own)));
    ns.apply(&with("set", 1, "", "", &gates(balanced)));
    ns.apply(&with("young", 1, "", "", &gates(own)));
    ns.apply(&with("open", 1, "", "", &gates(own)));
    for name in ["own-0", "hand-0", "set-0", "young-0", "open-0"] {
        ns.wait_pod_status(name, "Running");
    }
    let condition = |pod: &str, condition: Value| {
        let patch = json!({"status": {"conditions": [condition]}}).to_string();
        ns.kubectl(&["patch", "pod", pod, "--subresource=status", "-p", &patch]).ok();
    };
    condition("own-0", json!({"type": "example.com/open", "status": "True"}));
    condition("open-0", json!({"type": "example.com/registered", "status": "True"}));
    condition(
        "set-0",
        json!({"type": "target-health.elbv2.k8s.aws/web", "status": "False", "reason": "Target.FailedHealthChecks",
            "message": "Health checks failed with these codes: [404]"}),
    );
    ns.wait_ready("open", 1);
    if !ns.age("20m") {
        return;
    }
    ns.delete(&["pod", "young-0"]);
    ns.wait_pod_status("young-0", "Running");
    let all = ["hand-0", "own-0", "set-0"].map(|pod| format!("STS404 error Pod/{pod}"));
    only(&ns, &all.each_ref().map(String::as_str));

    let of_set = finding(
        &ns,
        "STS404",
        "set-0",
        &[
            "is False: Target.FailedHealthChecks: Health checks failed",
            "aws-load-balancer-controller sets it",
        ],
    );
    assert_eq!(of_set["try"], json!([format!("kubectl describe pod set-0 -n {}", ns.name)]));
    let of_hand = finding(&ns, "STS404", "hand-0", &["the controller of example.com must set it"]);
    let before = uid(&ns, "hand-0");
    paste(&ns, &of_hand["or"]);
    ns.wait_ready("hand", 1);
    assert_eq!(uid(&ns, "hand-0"), before, "no pod was replaced");

    let of_own = finding(&ns, "STS404", "own-0", &["remove example.com/registered from readinessGates"]);
    let before = uid(&ns, "own-0");
    paste(&ns, &of_own["try"]);
    again(&ns, "own-0", &before);
    assert_eq!(template(&ns, "own")["readinessGates"], json!([{"conditionType": "example.com/open"}]));
    condition("own-0", json!({"type": "example.com/open", "status": "True"}));
    ns.wait_rolled_out("own", 1);
    paste(&ns, &of_set["or"]);
    ns.wait_rolled_out("set", 1);
    condition("young-0", json!({"type": "example.com/registered", "status": "True"}));
    ns.wait_ready("young", 1);
    only(&ns, &[]);
    agree(&ns);
}

#[test]
fn a_registry_that_asks_for_a_login_gets_one() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("logins");
    let denied = "fake.test/mode: imagepull, fake.test/message: 'failed to resolve reference \"ghcr.io/me/web:1\": failed to \
                  authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token: 403 \
                  Forbidden'";
    let secret = ", imagePullSecrets: [{name: regcred}]";
    let of = |name: &str, notes: &str, pod: &str| {
        let manifest = with(name, 1, notes, "", pod);
        manifest.replace(IMAGE, "image: 'ghcr.io/me/web:1'")
    };
    ns.apply(&of("none", denied, ""));
    ns.apply(&of("absent", denied, secret));
    ns.apply(&of("opaque", denied, &secret.replace("regcred", "opaque")));
    // Its Secret is missing too, and nothing asks for it.
    ns.apply(&of("public", "", secret));
    ns.kubectl(&["create", "secret", "generic", "opaque", "--from-literal=.dockerconfigjson={}"]).ok();
    for pod in ["none-0", "absent-0", "opaque-0"] {
        ns.wait_pod_status(pod, "ImagePullBackOff");
    }
    ns.wait_ready("public", 1);
    for pod in ["absent-0", "public-0"] {
        let uid = uid(&ns, pod);
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let event = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{pod}.secret")}, "type": "Warning",
            "reason": "FailedToRetrieveImagePullSecret", "firstTimestamp": now, "lastTimestamp": now, "count": 1,
            "message": "Unable to retrieve some image pull secrets (regcred); attempting to pull the image may not succeed.",
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": pod, "namespace": ns.name, "uid": uid},
            "source": {"component": "kubelet"},
        });
        ns.apply(&event.to_string());
    }
    let of_absent =
        finding(&ns, "STS401", "absent-0", &["type kubernetes.io/dockerconfigjson", "of the pod template"]);
    let all = ["absent-0", "none-0", "opaque-0"].map(|pod| format!("STS401 error Pod/{pod}"));
    only(&ns, &all.each_ref().map(String::as_str));

    // The login of the user who pastes.
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".docker")).unwrap();
    let login = json!({"auths": {"ghcr.io": {"auth": "bWU6cGFzcw=="}}}).to_string();
    fs::write(home.path().join(".docker/config.json"), &login).unwrap();
    let paste_at_home = |commands: &Value| {
        let commands = commands.as_array().unwrap();
        assert!(!commands.is_empty());
        for command in commands.iter().filter_map(Value::as_str) {
            ns.shell(&format!("export HOME='{}'; {command}", home.path().display())).ok();
        }
    };
    let is_login = |name: &str| {
        let secret = ns.kubectl_json(&["get", "secret", name]);
        assert_eq!(secret["type"], "kubernetes.io/dockerconfigjson");
        assert!(secret["data"][".dockerconfigjson"].as_str().is_some_and(|data| data.len() > 40), "{secret}");
    };
    paste_at_home(&of_absent["try"]);
    is_login("regcred");
    mode(&ns, "absent-0", "ready");
    ns.wait_ready("absent", 1);

    let of_opaque =
        finding(&ns, "STS401", "opaque-0", &["Secret opaque does not help", "a login for ghcr.io"]);
    paste_at_home(&of_opaque["try"]);
    is_login("opaque");
    mode(&ns, "opaque-0", "ready");
    ns.wait_ready("opaque", 1);

    let of_none = finding(
        &ns,
        "STS401",
        "none-0",
        &["add a Secret for its registry (ghcr.io-pull) to imagePullSecrets"],
    );
    assert!(of_none["or"].to_string().contains("kubectl edit statefulset none"), "{of_none}");
    let before = uid(&ns, "none-0");
    paste_at_home(&of_none["try"]);
    is_login("ghcr.io-pull");
    let pod = again(&ns, "none-0", &before);
    assert_eq!(pod["spec"]["imagePullSecrets"], json!([{"name": "ghcr.io-pull"}]));
    mode(&ns, "none-0", "ready");
    ns.wait_ready("none", 1);
    only(&ns, &[]);
    agree(&ns);
}

#[test]
fn a_misspelt_image_is_corrected_by_one_that_runs() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("misspelt");
    ns.apply(&set("good", 1, "").replace("web:1", "does.not-exist/web:1"));
    ns.apply(&set("typo", 1, "").replace("web:1", "does.not.exist/web:2"));
    ns.apply(&set("tag", 1, "").replace("web:1", "other.example/db:nope"));
    ns.wait_ready("good", 1);
    for pod in ["typo-0", "tag-0"] {
        ns.wait_pod_status(pod, "ImagePullBackOff");
    }
    let of_tag = finding(&ns, "STS401", "tag-0", &["correct the image of container web"]);
    assert!(!of_tag.to_string().contains("similar"), "{of_tag}");
    let of_typo = finding(&ns, "STS401", "typo-0", &["good-0 runs a similar image: does.not-exist/web:2"]);
    paste(&ns, &of_typo["try"]);
    ns.wait_ready("typo", 1);
    finds(&ns, &["STS401 error Pod/tag-0"]);
    agree(&ns);
}

#[test]
fn a_pvc_that_names_the_wrong_pv_gets_one() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("named");
    let class = cluster.unique("named");
    let volume = |name: &str, class: &str, size: &str, more: &str| {
        cluster.apply(&format!(
            "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: {name}}}, spec: {{capacity: {{storage: {size}}}, \
             accessModes: [ReadWriteOnce], storageClassName: {class}, persistentVolumeReclaimPolicy: Retain, hostPath: {{path: \
             /{name}}}{more}}}}}"
        ));
    };
    let claim = |name: &str, volume: &str, size: &str| {
        ns.apply(&format!(
            "{{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {{name: {name}}}, spec: {{accessModes: [ReadWriteOnce], \
             storageClassName: {class}, volumeName: {volume}, resources: {{requests: {{storage: {size}}}}}}}}}"
        ));
    };
    let of = |name: &str, size: &str| {
        let templates = format!(
            "volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{accessModes: [ReadWriteOnce], storageClassName: {class}, \
             resources: {{requests: {{storage: {size}}}}}}}}}],"
        );
        ns.apply(&set(name, 1, &templates));
    };
    // One that names a PV that is gone, beside one that is free; one that names a PV of another class; one that names a PV
    // that was kept of another PVC; and one with which all is well.
    let [free, other, kept, right] = ["free", "other", "kept", "right"].map(|hint| cluster.unique(hint));
    volume(&free, &class, "1Gi", "");
    volume(&other, "elsewhere", "3Gi", "");
    let gone = format!(", claimRef: {{namespace: {}, name: data-gone-0, uid: d5b0e8e5-1}}", ns.name);
    volume(&kept, &class, "4Gi", &gone);
    volume(&right, &class, "5Gi", &format!(", claimRef: {{namespace: {}, name: data-right-0}}", ns.name));
    claim("data-lost-0", &cluster.unique("lost"), "1Gi");
    claim("data-other-0", &other, "3Gi");
    claim("data-kept-0", &kept, "4Gi");
    claim("data-right-0", &right, "5Gi");
    for (name, size) in [("lost", "1Gi"), ("other", "3Gi"), ("kept", "4Gi"), ("right", "5Gi")] {
        of(name, size);
    }
    ns.wait_ready("right", 1);
    let all =
        ["kept", "lost", "other"].map(|name| format!("STS203 error PersistentVolumeClaim/data-{name}-0"));
    only(&ns, &all.each_ref().map(String::as_str));
    let pvc = |name: &str| ns.kubectl_json(&["get", "pvc", name])["spec"]["volumeName"].clone();

    let of_other =
        finding(&ns, "STS203", "data-other-0", &[&format!("set spec.storageClassName of PV {other} to ")]);
    paste(&ns, &of_other["try"]);
    ns.wait_ready("other", 1);
    let of_kept = finding(&ns, "STS203", "data-kept-0", &["remove its claimRef", "with the data on it"]);
    paste(&ns, &of_kept["try"]);
    ns.wait_ready("kept", 1);
    assert_eq!(pvc("data-kept-0"), json!(kept));
    let of_lost = finding(
        &ns,
        "STS203",
        "data-lost-0",
        &[&format!("create the PVC again without volumeName: it gets PV {free}, which matches and is free")],
    );
    paste(&ns, &of_lost["try"]);
    ns.wait_ready("lost", 1);
    assert_eq!(pvc("data-lost-0"), json!(free));
    only(&ns, &[]);
    agree(&ns);
    ns.delete(&["sts", "--all"]);
    ns.delete(&["pvc", "--all"]);
    cluster.kubectl(&["delete", "pv", &free, &other, &kept, &right]).ok();
}

#[test]
fn a_foreground_deletion_that_waits_for_an_unknown_object_lets_it_go() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("unknown");
    for name in ["held", "slow"] {
        ns.apply(&set(name, 1, ""));
        ns.wait_ready(name, 1);
    }
    let uid = ns.kubectl_json(&["get", "sts", "held"])["metadata"]["uid"].clone();
    let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "held", "uid": uid, "blockOwnerDeletion": true});
    ns.apply(
        &json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "backup", "ownerReferences": [owner],
            "finalizers": ["backup.example.com/done"]}, "data": {"a": "b"}})
        .to_string(),
    );
    // This one still stops.
    ns.patch("pod/slow-0", &json!({"metadata": {"finalizers": ["example.com/hold"]}}));
    for name in ["held", "slow"] {
        ns.delete(&["sts", name, "--cascade=foreground", "--wait=false"]);
    }
    ns.wait("the pod to be gone", support::PATIENCE, || {
        if uids(&ns).contains_key("held-0") { Err("it is there".to_owned()) } else { Ok(()) }
    });
    only(&ns, &[]);
    if !ns.age("30m") {
        return;
    }
    let found = finding(&ns, "STS310", "held", &["blockOwnerDeletion: true", "keeps it"]);
    paste(&ns, &found["try"]);
    ns.wait("the StatefulSet to be gone", support::PATIENCE, || {
        let run = ns.kubectl(&["get", "sts", "held"]);
        if run.stderr.contains("not found") { Ok(()) } else { Err(run.to_string()) }
    });
    let left = ns.kubectl_json(&["get", "configmap", "backup"]);
    assert_eq!(left["metadata"]["ownerReferences"], Value::Null, "it was released");
    let of_slow =
        finding(&ns, "STS310", "slow", &["pod slow-0 is blocked by the finalizer example.com/hold"]);
    paste(&ns, &of_slow["try"]);
    only(&ns, &[]);
    ns.patch("configmap/backup", &json!({"metadata": {"finalizers": null}}));
}

#[test]
fn pods_on_a_node_that_does_not_keep_them_are_brought_away() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("pressure");
    let full = "fake.test/mode: failed, fake.test/reason: Evicted, fake.test/message: 'The node had condition: [DiskPressure]. '";
    let tolerations = ", tolerations: [{key: example.com/db, operator: Exists, effect: NoExecute, tolerationSeconds: 60}, \
                       {operator: Exists}]";
    ns.apply(&with("any", 1, full, "", tolerations));
    let only_own =
        ", tolerations: [{key: example.com/db, operator: Exists, effect: NoExecute, tolerationSeconds: 60}]";
    ns.apply(&with("own", 1, full, "", only_own));
    ns.apply(&with("well", 1, "", "", tolerations));
    ns.wait_ready("well", 1);
    only(&ns, &["STS413 error Pod/any-0", "STS413 error Pod/own-0"]);
    let of_own = finding(&ns, "STS413", "own-0", &["DiskPressure"]);
    assert!(!of_own["because"].as_str().unwrap().contains("toleration"), "{of_own}");
    let of_any = finding(
        &ns,
        "STS413",
        "any-0",
        &["node.kubernetes.io/disk-pressure", "a toleration of every taint: remove it"],
    );
    paste(&ns, &of_any["try"]);
    let left = template(&ns, "any")["tolerations"].clone();
    assert_eq!(left.as_array().map(Vec::len), Some(1), "{left}");
    assert_eq!(left[0]["tolerationSeconds"], 60, "{left}");
    // Its node has room now.
    for name in ["any", "own"] {
        let clean = json!({"spec": {"template": {"metadata": {"annotations": {"fake.test/mode": "ready"}}}}});
        ns.patch(&format!("sts/{name}"), &clean);
        ns.wait_rolled_out(name, 1);
    }
    if ns.age("10m") {
        only(&ns, &[]);
    }
}

#[test]
fn a_pod_below_the_partition_gets_more_memory_in_place() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("resize");
    let limited = ", resources: {limits: {memory: 64Mi, cpu: 100m}}";
    let strategy = "updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}},";
    let manifest = set("web", 2, strategy).replace(IMAGE, &format!("{IMAGE}{limited}"));
    ns.apply(&manifest);
    ns.wait_ready("web", 2);
    mode(&ns, "web-0", "oom");
    ns.wait_pod_status("web-0", "CrashLoopBackOff");
    let before = uid(&ns, "web-0");
    let found = finding(&ns, "STS407", "web-0", &["with a memory limit of 64Mi"]);
    assert!(found["try"].to_string().contains("--subresource=resize"), "{found}");
    paste(&ns, &found["try"]);
    let pod = ns.kubectl_json(&["get", "pod", "web-0"]);
    assert_eq!(pod["metadata"]["uid"], before, "it is the same pod");
    assert_eq!(pod["spec"]["containers"][0]["resources"]["limits"]["memory"], "128Mi");
    assert_eq!(pod["status"]["qosClass"], "Guaranteed");
    assert_eq!(template(&ns, "web")["containers"][0]["resources"]["limits"]["memory"], "64Mi");
    mode(&ns, "web-0", "ready");
    ns.wait_ready("web", 2);
    ns.wait("no error to be left", support::PATIENCE, || {
        let bad: Vec<String> = bad(&ns).into_iter().filter(|it| it.contains(" error ")).collect();
        if bad.is_empty() { Ok(()) } else { Err(format!("{bad:?}")) }
    });
}

#[test]
fn a_set_that_shares_the_pvcs_of_another_gets_its_own() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("shared");
    let class = cluster.storage_class("shared", Binding::Immediate, false);
    let of = |name: &str, template: &str, notes: &str| {
        let templates = format!(
            "spec: {{volumeClaimTemplates: [{{metadata: {{name: {template}}}, spec: {{accessModes: [ReadWriteOnce], \
             storageClassName: {class}, resources: {{requests: {{storage: 1Gi}}}}}}}}], replicas:"
        );
        let mounts = format!(
            ", volumeMounts: [{{name: tmp, mountPath: /tmp}}, {{name: {template}, mountPath: /data}}]"
        );
        with(name, 1, notes, &mounts, ", volumes: [{name: tmp, emptyDir: {}}]")
            .replace("spec: {replicas:", &templates)
    };
    ns.apply(&of("db", "data-prod", ""));
    // Another name of the PVC, and all is well.
    ns.apply(&of("cache", "data", ""));
    ns.wait_ready("db", 1);
    ns.wait_ready("cache", 1);
    only(&ns, &[]);
    ns.apply(&of("prod-db", "data", "fake.test/mode: unready"));
    ns.wait_pod_status("prod-db-0", "Running");
    let shared = finding(
        &ns,
        "STS214",
        "prod-db",
        &["db created them", "no pod of prod-db is ready", "with volumeClaimTemplate data-own"],
    );
    let (mine, theirs) = (uid(&ns, "prod-db-0"), uid(&ns, "db-0"));
    let claim = ns.kubectl_json(&["get", "pvc", "data-prod-db-0"])["metadata"]["uid"].clone();
    paste(&ns, &shared["try"]);
    let pod = again(&ns, "prod-db-0", &mine);
    assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][1]["name"], "data-own");
    mode(&ns, "prod-db-0", "ready");
    ns.wait_ready("prod-db", 1);
    assert_eq!(ns.kubectl_json(&["get", "pvc", "data-own-prod-db-0"])["status"]["phase"], "Bound");
    assert_eq!(ns.kubectl_json(&["get", "pvc", "data-prod-db-0"])["metadata"]["uid"], claim);
    assert_eq!(uid(&ns, "db-0"), theirs, "the other was left alone");
    only(&ns, &[]);
    agree(&ns);
}

#[test]
fn pods_of_a_scheduler_that_does_not_run_get_the_one_that_does() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("scheduler");
    ns.apply(&with("web", 1, "", "", ", schedulerName: volcano"));
    ns.wait_pod("web-0", "there", |pod| !pod.is_null());
    if !ns.age("10m") {
        return;
    }
    let found = finding(&ns, "STS405", "web-0", &["no scheduler with that name has processed it"]);
    paste(&ns, &found["or"]);
    ns.wait_ready("web", 1);
    only(&ns, &[]);
}

#[test]
fn a_pod_that_never_becomes_ready_can_get_another_template() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("back");
    let manual = set("manual", 1, "updateStrategy: {type: OnDelete},");
    let labels = "metadata: {labels: {app: manual}";
    ns.apply(&manual.replace(labels, &format!("{labels}, annotations: {{fake.test/mode: unready}}")));
    ns.apply(&set("rolled", 2, ""));
    // Not ready in the same way, with no other template than its own.
    ns.apply(&with("first", 1, "fake.test/mode: unready", "", ""));
    ns.wait_ready("rolled", 2);
    let unready = |set: &str, mode: &str| {
        let annotations = json!({"fake.test/mode": mode});
        ns.patch(
            &format!("sts/{set}"),
            &json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}),
        );
    };
    unready("rolled", "unready");
    let updated = |pod: &Value| pod["metadata"]["annotations"]["fake.test/mode"] == "unready";
    ns.wait_pod("rolled-1", "updated", updated);
    for pod in ["manual-0", "first-0", "rolled-1"] {
        ns.wait_pod_status(pod, "Running");
    }
    if !ns.age("20m") {
        return;
    }
    unready("manual", "ready");
    let offers = |pod: &str| {
        let found = finding(&ns, "STS404", pod, &[]);
        format!("{}{}", found["try"], found["or"])
    };
    assert!(offers("rolled-1").contains("kubectl sts undo rolled"), "{}", offers("rolled-1"));
    assert!(
        !offers("first-0").contains("undo") && !offers("first-0").contains("delete"),
        "{}",
        offers("first-0")
    );
    let of_manual = finding(&ns, "STS404", "manual-0", &[]);
    assert_eq!(of_manual["or"], json!([format!("kubectl delete pod manual-0 -n {}", ns.name)]));
    paste(&ns, &of_manual["or"]);
    ns.wait_ready("manual", 1);
    paste(&ns, &json!([format!("kubectl sts undo rolled -n {}", ns.name)]));
    ns.wait_rolled_out("rolled", 2);
    only(&ns, &["STS404 error Pod/first-0"]);
}
