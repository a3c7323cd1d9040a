//! Remedies for what the field sees most, on the real control plane: each is carried out as printed, and ends what it is for.

use kubectl_sts::controller::MaxUnavailable;
use serde_json::{Value, json};

use crate::doctor::{finds, found};
use crate::recover::{set, uids};
use crate::support::findings::{finding, paste};
use crate::support::freeze::Freeze;
use crate::support::verdict::agree;
use crate::support::{self, Binding, Namespace};

/// Writes a Warning event about an object, seen just now.
fn warn(ns: &Namespace, kind: &str, name: &str, reason: &str, message: &str) {
    let uid = ns.kubectl_json(&["get", kind, name])["metadata"]["uid"].clone();
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{name}.{}", reason.to_lowercase())},
        "type": "Warning", "reason": reason, "message": message, "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        "involvedObject": {"apiVersion": "v1", "kind": kind, "name": name, "namespace": ns.name, "uid": uid},
        "source": {"component": "test"},
    });
    ns.apply(&event.to_string());
}

/// The StatefulSet with this in the spec of its pods, and annotations by which the fake kubelet does not start them.
fn unstarted(name: &str, replicas: i32, set_spec: &str, pod_spec: &str) -> String {
    let labels = format!("template: {{metadata: {{labels: {{app: {name}}}");
    set(name, replicas, set_spec)
        .replace(&labels, &format!("{labels}, annotations: {{fake.test/delay: 30h}}"))
        .replace("terminationGracePeriodSeconds: 1", &format!("terminationGracePeriodSeconds: 1{pod_spec}"))
}

fn templates(class: &str, modes: &str) -> String {
    format!(
        "volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{accessModes: [{modes}], storageClassName: {class}, \
         resources: {{requests: {{storage: 1Gi}}}}}}}}],"
    )
}

#[test]
fn an_update_without_the_stanza_that_goes_in_circles_ends_with_a_partition() {
    let Some(cluster) = support::cluster().filter(|cluster| !cluster.plane.is_borrowed()) else { return };
    let ns = cluster.namespace("circles");
    let nil = "updateStrategy: {type: RollingUpdate},";
    let parallel = "podManagementPolicy: Parallel,";
    // The same with the stanza, and without it where the pods are updated in order.
    ns.apply(&set(
        "given",
        4,
        &format!("{parallel} updateStrategy: {{type: RollingUpdate, rollingUpdate: {{partition: 0}}}},"),
    ));
    ns.apply(&set("ordered", 2, nil));
    ns.apply(&set("web", 4, &format!("{parallel} {nil}")));
    for (name, replicas) in [("given", 4), ("ordered", 2), ("web", 4)] {
        ns.wait_ready(name, replicas);
    }
    for name in ["given", "web"] {
        let pod = format!("{name}-0");
        ns.kubectl(&["annotate", "pod", &pod, "fake.test/mode=unready"]).ok();
        ns.kubectl(&["wait", &format!("pod/{pod}"), "--for=condition=Ready=False", "--timeout=60s"]).ok();
    }
    for name in ["given", "ordered", "web"] {
        ns.kubectl(&["set", "image", &format!("sts/{name}"), "web=web:2"]).ok();
    }
    if !cluster.is_from(37) {
        return ends_without_circles(cluster, &ns);
    }
    for (name, replicas) in [("given", 4), ("ordered", 2)] {
        ns.wait_rolled_out(name, replicas);
    }
    let found = finding(&ns, "STS317", "web", &["without rollingUpdate"]);
    assert!(found["what"].as_str().unwrap().starts_with("web-0 is created on the old revision"), "{found}");
    finds(&ns, &["STS317 error StatefulSet/web"]);
    paste(&ns, &found["try"]);
    ns.wait_rolled_out("web", 4);
    finds(&ns, &[]);
}

/// Before 1.37 a Parallel set is updated one pod after another, where its broken pods do not use up maxUnavailable.
fn ends_without_circles(cluster: &'static support::Cluster, ns: &Namespace) {
    if MaxUnavailable::of(Some(&cluster.version())) == MaxUnavailable::Trapping {
        for name in ["given", "web"] {
            let pod = format!("{name}-0");
            let found = finding(ns, "STS404", &pod, &["running, but not ready"]);
            assert_eq!(found["blocks"]["action"], "update", "{found}");
            ns.kubectl(&["annotate", "pod", &pod, "fake.test/mode-"]).ok();
        }
    }
    for (name, replicas) in [("given", 4), ("ordered", 2), ("web", 4)] {
        ns.wait_rolled_out(name, replicas);
    }
    finds(ns, &[]);
}

#[test]
fn a_policy_that_refuses_pods_lets_this_namespace_go() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("exempt");
    let freeze =
        Freeze::with(&ns, "CREATE", "false", |ns| ns.kubectl(&["run", "x", "--image=x", "--dry-run=server"]));
    ns.apply(&set("web", 2, ""));
    let found = finding(&ns, "STS411", "web-0", &["denied request", "exclude namespace"]);
    assert!(found["or"].to_string().contains("kubectl edit statefulset web"), "{found}");
    paste(&ns, &found["try"]);
    ns.wait_ready("web", 2);
    finds(&ns, &[]);
    let binding = ns.kubectl_json(&["get", "validatingadmissionpolicybinding", &ns.name]);
    let actions = &binding["spec"]["validationActions"];
    assert_eq!(*actions, json!(["Deny"]), "it denies elsewhere");
    drop(freeze);
}

#[test]
fn what_a_volume_needs_is_named_by_what_the_driver_says() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("mounts");
    let class = cluster.storage_class("mounts", Binding::Immediate, false);
    let host = ", volumes: [{name: conf, hostPath: {path: /srv/conf, type: Directory}}]";
    ns.apply(&unstarted("gone", 1, &templates(&class, "ReadWriteOnce"), ""));
    ns.apply(&unstarted("held", 1, &templates(&class, "ReadWriteOnce"), ""));
    ns.apply(&unstarted("host", 1, "", host));
    ns.apply(&unstarted("slow", 1, &templates(&class, "ReadWriteOnce"), ""));
    for pod in ["gone-0", "held-0", "host-0", "slow-0"] {
        ns.wait_pod_status(pod, "ContainerCreating");
    }
    if !ns.age("3m") {
        return;
    }
    let volume = |claim: &str| {
        ns.kubectl_json(&["get", "pvc", claim])["spec"]["volumeName"].as_str().unwrap().to_owned()
    };
    let (gone, held) = (volume("data-gone-0"), volume("data-held-0"));
    warn(
        &ns,
        "Pod",
        "gone-0",
        "FailedAttachVolume",
        &format!(
            "AttachVolume.Attach failed for volume \"{gone}\" : rpc error: code = NotFound desc = volume vol-1 not found"
        ),
    );
    warn(
        &ns,
        "Pod",
        "host-0",
        "FailedMount",
        "MountVolume.SetUp failed for volume \"conf\" : hostPath type check failed: /srv/conf is not a directory",
    );
    warn(
        &ns,
        "Pod",
        "held-0",
        "FailedAttachVolume",
        &format!(
            "Multi-Attach error for volume \"{held}\" Volume is already exclusively attached to one node and can't be attached to \
             another"
        ),
    );
    let attachment = format!("csi-{}", ns.name);
    cluster.apply(&format!(
        "{{apiVersion: storage.k8s.io/v1, kind: VolumeAttachment, metadata: {{name: {attachment}}}, spec: {{attacher: csi.example.com, \
         nodeName: gone-{}, source: {{persistentVolumeName: {held}}}}}}}",
        ns.name
    ));
    let of_held = finding(
        &ns,
        "STS211",
        "held-0",
        &[&format!("gone-{}, which does not exist (VolumeAttachment {attachment})", ns.name)],
    );
    paste(&ns, &of_held["try"]);
    ns.wait("the attachment to be gone", support::PATIENCE, || {
        let run = cluster.kubectl(&["get", "volumeattachment", &attachment]);
        if run.stderr.contains("not found") { Ok(()) } else { Err(run.to_string()) }
    });

    let before = uids(&ns);
    let of_host = finding(&ns, "STS212", "host-0", &["/srv/conf", "DirectoryOrCreate"]);
    paste(&ns, &of_host["try"]);
    let pod = ns.wait_pod("host-0", "made again", |pod| {
        !pod.is_null() && pod["metadata"]["uid"] != before["host-0"].as_str()
    });
    assert_eq!(pod["spec"]["volumes"][0]["hostPath"]["type"], "DirectoryOrCreate");
    assert_eq!(pod["spec"]["volumes"][0]["hostPath"]["path"], "/srv/conf");

    let claim = ns.kubectl_json(&["get", "pvc", "data-gone-0"])["metadata"]["uid"].clone();
    let of_gone = finding(&ns, "STS212", "gone-0", &["the disk of the PV does not exist", "an empty volume"]);
    paste(&ns, &of_gone["try"]);
    ns.wait("a new PVC", support::PATIENCE, || {
        let now = ns.kubectl(&["get", "pvc", "data-gone-0", "-o", "json"]);
        let now: Value = serde_json::from_str(&now.stdout).map_err(|error| error.to_string())?;
        let is_new = now["metadata"]["uid"] != claim && now["status"]["phase"] == "Bound";
        if is_new { Ok(()) } else { Err(now.to_string()) }
    });
    // The pods that were made again are young; of the one without an event nothing was said.
    let left: Vec<String> = found(&ns, &[]).into_iter().filter(|it| it.contains("STS21")).collect();
    assert_eq!(left, ["STS211 warning Pod/held-0"], "its event is still there");
    agree(&ns);
}

#[test]
fn a_volume_of_an_access_mode_that_the_driver_lacks_is_asked_for_in_another() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("modes");
    // Nothing provisions for it.
    let class = cluster.unique("modes");
    let of_class = |provisioner: &str| {
        format!(
            "{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: {class}}}, provisioner: {provisioner}}}"
        )
    };
    cluster.apply(&of_class("csi.example.com"));
    ns.apply(&set("db", 2, &(templates(&class, "ReadWriteMany") + "podManagementPolicy: Parallel,")));
    for claim in ["data-db-0", "data-db-1"] {
        ns.wait("the PVC", support::PATIENCE, || {
            let run = ns.kubectl(&["get", "pvc", claim]);
            if run.code == 0 { Ok(()) } else { Err(run.stderr) }
        });
        warn(
            &ns,
            "PersistentVolumeClaim",
            claim,
            "ProvisioningFailed",
            "failed to provision volume with StorageClass: NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes",
        );
    }
    let of_both = finding(&ns, "STS204", "data-db-0", &["cannot provide ReadWriteMany"]);
    assert_eq!(of_both["otherObjects"][0]["name"], "data-db-1", "{of_both}");
    let set = ns.kubectl_json(&["get", "sts", "db"])["metadata"]["uid"].clone();
    paste(&ns, &of_both["try"]);
    let after = ns.kubectl_json(&["get", "sts", "db"]);
    assert_ne!(after["metadata"]["uid"], set);
    for claim in ["data-db-0", "data-db-1"] {
        ns.wait("a PVC in the other mode", support::PATIENCE, || {
            let run = ns.kubectl(&["get", "pvc", claim, "-o", "jsonpath={.spec.accessModes}"]);
            if run.stdout.contains("ReadWriteOnce\"") { Ok(()) } else { Err(run.to_string()) }
        });
    }
    // Nothing provisions for the class, which is said after 2 minutes.
    let left: Vec<String> = found(&ns, &[]).into_iter().filter(|it| !it.contains(" note ")).collect();
    assert_eq!(left, Vec::<String>::new());
    agree(&ns);
    cluster.kubectl(&["delete", "storageclass", &class]).ok();
}

#[test]
fn pods_that_must_be_near_others_and_devices_that_do_not_exist_are_named() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("near");
    let near = |app: &str| {
        format!(
            "terminationGracePeriodSeconds: 1, affinity: {{podAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: [{{topologyKey: \
             kubernetes.io/hostname, labelSelector: {{matchLabels: {{app: {app}}}}}}}]}}}}"
        )
    };
    let grace = "terminationGracePeriodSeconds: 1";
    // Its own pods, and those of another.
    ns.apply(&set("self", 2, "").replace(grace, &near("self")));
    ns.apply(&set("other", 1, "").replace(grace, &near("self")));
    ns.apply(&set("web", 1, "").replace(grace, &near("cache")));
    ns.wait_ready("self", 2);
    ns.wait_ready("other", 1);
    let found = finding(
        &ns,
        "STS405",
        "web-0",
        &["podAffinity requires a pod with app=cache on the same node", "has no such pod"],
    );
    paste(&ns, &found["try"]);
    ns.wait_rolled_out("web", 1);
    finds(&ns, &[]);

    let claims = "resourceClaims: [{name: gpu, resourceClaimName: gpu}],";
    ns.apply(
        &set("gpu", 1, "")
            .replace(grace, &format!("{claims} {grace}"))
            .replace("image: 'web:1'", "image: 'web:1', resources: {claims: [{name: gpu}]}"),
    );
    ns.wait_pod("gpu-0", "there", |pod| !pod.is_null());
    // The scheduler says nothing, and is given a minute to.
    if !ns.age("3m") {
        return;
    }
    let found = finding(&ns, "STS405", "gpu-0", &["create ResourceClaim gpu in namespace"]);
    assert_eq!(found["what"], "gpu-0 waits for its ResourceClaims");
    let device = cluster.unique("gpu");
    ns.apply(&format!(
        "{{apiVersion: resource.k8s.io/v1, kind: ResourceClaim, metadata: {{name: gpu}}, spec: {{devices: {{requests: [{{name: gpu, \
         exactly: {{deviceClassName: {device}}}}}]}}}}}}"
    ));
    finding(&ns, "STS405", "gpu-0", &[&format!("DeviceClass {device} does not exist")]);
    cluster.apply(&format!(
        "{{apiVersion: resource.k8s.io/v1, kind: DeviceClass, metadata: {{name: {device}}}, spec: {{}}}}"
    ));
    finding(&ns, "STS405", "gpu-0", &["no suitable node has enough free devices"]);
    agree(&ns);
    cluster.kubectl(&["delete", "deviceclass", &device]).ok();
}

#[test]
fn a_pvc_that_was_deleted_under_its_pod_comes_back_with_its_data() {
    let Some(cluster) = support::cluster() else { return };
    let class = cluster.storage_class("doomed", Binding::Immediate, false);
    for policy in ["", "persistentVolumeClaimRetentionPolicy: {whenScaled: Delete},"] {
        let ns = cluster.namespace("doomed");
        ns.apply(&set("db", 3, &(templates(&class, "ReadWriteOnce") + policy)));
        ns.wait_ready("db", 3);
        finds(&ns, &[]);
        let claim = |name: &str| ns.kubectl_json(&["get", "pvc", name]);
        let before = ["data-db-1", "data-db-2"].map(claim);
        for name in ["data-db-1", "data-db-2"] {
            ns.delete(&["pvc", name, "--wait=false"]);
        }
        finds(&ns, &["STS208 error PersistentVolumeClaim/data-db-1"]);
        let of_both = finding(
            &ns,
            "STS208",
            "data-db-1",
            &["data is destroyed with it", "a new PVC that gets the same PV"],
        );
        assert_eq!(of_both["otherObjects"][0]["name"], "data-db-2", "{of_both}");
        let first = uids(&ns)["db-0"].clone();
        paste(&ns, &of_both["try"]);
        ns.wait_ready("db", 3);
        for old in &before {
            let now = claim(old["metadata"]["name"].as_str().unwrap());
            assert_ne!(now["metadata"]["uid"], old["metadata"]["uid"]);
            assert_eq!(now["spec"]["volumeName"], old["spec"]["volumeName"], "the PV with the data");
            let volume = old["spec"]["volumeName"].as_str().unwrap();
            let volume = cluster.kubectl(&["get", "pv", volume, "-o", "json"]).ok();
            let volume: Value = serde_json::from_str(&volume).unwrap();
            assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Retain");
        }
        assert_eq!(uids(&ns)["db-0"], first, "its PVC was not deleted");
        finds(&ns, &[]);
        for old in &before {
            let patch = json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}}).to_string();
            let volume = old["spec"]["volumeName"].as_str().unwrap();
            cluster.kubectl(&["patch", "pv", volume, "-p", &patch]).ok();
        }
    }
}

#[test]
fn a_service_whose_endpoints_are_written_by_hand_stays_and_the_pods_get_their_own() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("by-hand");
    let manifest = set("db", 2, "podManagementPolicy: Parallel,");
    let (_, without_service) = manifest.split_once("---\n").unwrap();
    ns.apply("{apiVersion: v1, kind: Service, metadata: {name: db}, spec: {ports: [{port: 5432}]}}");
    ns.apply(without_service);
    ns.wait_ready("db", 2);
    finds(&ns, &["STS102 note Service/db"]);
    ns.kubectl(&["annotate", "pod", "db-1", "fake.test/mode=unready"]).ok();
    ns.kubectl(&["wait", "pod/db-1", "--for=condition=Ready=False", "--timeout=60s"]).ok();
    let before = ns.kubectl_json(&["get", "service", "db"]);
    let found = finding(&ns, "STS102", "db", &["it has no selector", "a headless Service of their own"]);
    paste(&ns, &found["try"]);
    assert_eq!(ns.kubectl_json(&["get", "sts", "db"])["spec"]["serviceName"], "db-pods");
    assert_eq!(ns.kubectl_json(&["get", "service", "db"])["metadata"]["uid"], before["metadata"]["uid"]);
    ns.wait("the pods to have their names", support::PATIENCE, || {
        let pods = ns.kubectl_json(&["get", "pods"]);
        let named = pods["items"].as_array().unwrap().iter().all(|pod| pod["spec"]["subdomain"] == "db-pods");
        let all = pods["items"].as_array().unwrap().len() == 2;
        if named && all { Ok(()) } else { Err(pods.to_string()) }
    });
    let left: Vec<String> =
        crate::doctor::found(&ns, &[]).into_iter().filter(|it| it.starts_with("STS10")).collect();
    assert_eq!(left, Vec::<String>::new());
}
