//! Pods that no node takes, on the real scheduler: what stands in the way is named, and what is printed removes it.

use serde_json::Value;

use crate::doctor::finds;
use crate::recover::set;
use crate::support::findings::{self, paste};
use crate::support::{self, Binding, Namespace, Node};

/// The finding about this pod, once it is there and says this.
fn finding(ns: &Namespace, pod: &str, parts: &[&str]) -> Value {
    findings::finding(ns, "STS405", pod, parts)
}

/// Keeps the pods of other tests away from the node.
const KEPT: &str = "example.com/kept";

/// A set on this node alone, with more in the spec of its pods.
fn on(node: &Node, name: &str, replicas: i32, set_spec: &str, tolerates: bool, spec: &str) -> String {
    let tolerations =
        if tolerates { format!("tolerations: [{{key: {KEPT}, operator: Exists}}], ") } else { String::new() };
    set(name, replicas, set_spec).replace(
        "terminationGracePeriodSeconds: 1",
        &format!(
            "terminationGracePeriodSeconds: 1, {tolerations}nodeSelector: {{kubernetes.io/hostname: {}}}{spec}",
            node.name
        ),
    )
}

#[test]
fn a_node_that_stands_in_the_way_is_opened_and_labels_are_corrected() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("scheduled");
    let Some(node) = cluster.node("kept", &["--taints", &format!("{KEPT}=yes:NoSchedule")]) else { return };
    let name = &node.name;
    // The taint of the one node that has the label.
    ns.apply(&on(&node, "taint", 1, "", false, ""));
    let found = finding(&ns, "taint-0", &["only ", name, &format!("has the taint {KEPT}=yes:NoSchedule")]);
    assert!(found["or"].to_string().contains(&format!("kubectl taint node {name} ")), "{found}");
    paste(&ns, &found["try"]);
    ns.wait_rolled_out("taint", 1);
    finds(&ns, &[]);
    // The same, cordoned.
    cluster.kubectl(&["cordon", name]).ok();
    ns.apply(&on(&node, "cordon", 1, "", true, ""));
    let found = finding(&ns, "cordon-0", &[&format!("{name} is cordoned")]);
    assert_eq!(
        found["try"][0].as_str().unwrap().split(" --").next(),
        Some(format!("kubectl uncordon {name}").as_str())
    );
    paste(&ns, &found["try"]);
    ns.wait_ready("cordon", 1);
    finds(&ns, &[]);
    // A label that no node has, and one with a spelling that no node has.
    let (none, key) = (format!("none-{}", ns.name), format!("tier-{}", ns.name));
    cluster.kubectl(&["label", "node", name, &format!("{key}=gold")]).ok();
    let spec = |label: &str| {
        format!(
            "terminationGracePeriodSeconds: 1, tolerations: [{{key: {KEPT}, operator: Exists}}], nodeSelector: {{{label}}}"
        )
    };
    ns.apply(
        &set("none", 1, "").replace("terminationGracePeriodSeconds: 1", &spec(&format!("{none}: here"))),
    );
    let found = finding(&ns, "none-0", &[&format!("no node has the label {none}=here")]);
    assert!(found["try"].to_string().contains("kubectl label node "), "{found}");
    paste(&ns, &found["try"]);
    ns.wait_ready("none", 1);
    ns.apply(
        &set("spelt", 1, "").replace("terminationGracePeriodSeconds: 1", &spec(&format!("{key}: gould"))),
    );
    let found = finding(&ns, "spelt-0", &[&format!("{key}=gould; the nodes have {key}=gold")]);
    paste(&ns, &found["try"]);
    ns.wait_rolled_out("spelt", 1);
    finds(&ns, &[]);
}

/// Required anti-affinity to the pods with this label, by host.
fn apart(name: &str) -> String {
    format!(
        ", affinity: {{podAntiAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: [{{topologyKey: kubernetes.io/hostname, \
         labelSelector: {{matchLabels: {{app: {name}}}}}}}]}}}}"
    )
}

#[test]
fn replicas_that_must_not_share_a_node_are_told_from_those_that_may() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("apart");
    let Some(node) = cluster.node("apart", &["--taints", &format!("{KEPT}=yes:NoSchedule")]) else { return };
    for name in ["few", "loose"] {
        ns.apply(&on(&node, name, 2, "", true, &apart(name)));
        let pod = format!("{name}-1");
        let found = finding(
            &ns,
            &pod,
            &["anti-affinity allows one pod for each node", &format!("{name}-0 is there")],
        );
        assert!(found["try"][0].as_str().unwrap().contains("--replicas=1"), "{found}");
        let replicas = if name == "few" {
            paste(&ns, &found["try"]);
            1
        } else {
            paste(&ns, &found["or"]);
            2
        };
        ns.wait_rolled_out(name, replicas);
        finds(&ns, &[]);
    }
    // A port of the node.
    ns.apply(
        &on(&node, "port", 2, "", true, "")
            .replace("image: 'web:1'", "image: 'web:1', ports: [{containerPort: 8080, hostPort: 8080}]"),
    );
    let found = finding(&ns, "port-1", &["host port 8080 can be used only once on each node"]);
    paste(&ns, &found["or"]);
    ns.wait_rolled_out("port", 2);
    finds(&ns, &[]);
    // Nobody serves this scheduler.
    ns.apply(&on(&node, "nobody", 1, "", true, ", schedulerName: nobody"));
    ns.wait_pod("nobody-0", "created", |pod| !pod.is_null());
    if !ns.age("3m") {
        return;
    }
    let found = finding(&ns, "nobody-0", &["no scheduler with that name has processed it"]);
    paste(&ns, &found["try"]);
    ns.wait_rolled_out("nobody", 1);
    finds(&ns, &[]);
}

fn volumes(class: &str, mode: &str, size: &str) -> String {
    format!(
        "volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{accessModes: [{mode}], storageClassName: {class}, \
         resources: {{requests: {{storage: {size}}}}}}}}}],"
    )
}

#[test]
fn volumes_that_no_node_can_use_are_told_apart() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("volumes");
    let Some(node) = cluster.node("volumes", &["--taints", &format!("{KEPT}=yes:NoSchedule")]) else {
        return;
    };
    // One pod at a time.
    let class = cluster.storage_class("once", Binding::Immediate, false);
    ns.apply(&on(&node, "once", 1, &volumes(&class, "ReadWriteOncePod", "1Gi"), true, ""));
    ns.wait_ready("once", 1);
    ns.kubectl(&["scale", "sts/once", "--replicas=0"]).ok();
    ns.wait("the pod to be gone", support::PATIENCE, || {
        let run = ns.kubectl(&["get", "pod", "once-0"]);
        if run.code == 0 { Err(run.to_string()) } else { Ok(()) }
    });
    ns.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: peek}}, spec: {{terminationGracePeriodSeconds: 1, tolerations: [{{key: {KEPT}, \
         operator: Exists}}], nodeSelector: {{kubernetes.io/hostname: {}}}, containers: [{{name: sh, image: 'sh:1'}}], volumes: \
         [{{name: data, persistentVolumeClaim: {{claimName: data-once-0}}}}]}}}}",
        node.name
    ));
    ns.wait_pod_status("peek", "Running");
    ns.kubectl(&["scale", "sts/once", "--replicas=1"]).ok();
    let found = finding(&ns, "once-0", &["pod peek uses PVC data-once-0", "ReadWriteOncePod"]);
    paste(&ns, &found["try"]);
    ns.wait_ready("once", 1);
    finds(&ns, &[]);
    // As many volumes as the driver can attach.
    let driver = format!("{}.example.com", ns.name);
    // Another one, without a limit.
    let local = format!("local-{driver}");
    ns.apply(&format!(
        "{{apiVersion: storage.k8s.io/v1, kind: CSINode, metadata: {{name: {}}}, spec: {{drivers: [{{name: {driver}, nodeID: one, \
         allocatable: {{count: 1}}}}]}}}}\n---\n{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: {driver}}}, \
         provisioner: {driver}}}\n---\n{{apiVersion: storage.k8s.io/v1, kind: CSIDriver, metadata: {{name: {local}}}, spec: \
         {{attachRequired: false, storageCapacity: true}}}}\n---\n{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: \
         {{name: {local}}}, provisioner: {local}, volumeBindingMode: WaitForFirstConsumer}}",
        node.name
    ));
    for number in 0..2 {
        ns.apply(&format!(
            "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: {}-{number}}}, spec: {{capacity: {{storage: 1Gi}}, \
             accessModes: [ReadWriteOnce], storageClassName: {driver}, persistentVolumeReclaimPolicy: Retain, csi: {{driver: {driver}, \
             volumeHandle: h{number}}}}}}}",
            ns.name
        ));
    }
    ns.apply(&on(&node, "many", 2, &volumes(&driver, "ReadWriteOnce", "1Gi"), true, ""));
    let found = finding(
        &ns,
        "many-1",
        &["exceed max volume count", &format!("{} takes at most 1 volume of {driver}", node.name)],
    );
    paste(&ns, &found["try"]);
    ns.wait_rolled_out("many", 1);
    // Too little free space.
    ns.apply(&format!(
        "{{apiVersion: storage.k8s.io/v1, kind: CSIStorageCapacity, metadata: {{name: free}}, storageClassName: {local}, capacity: \
         10Gi, nodeTopology: {{matchLabels: {{kubernetes.io/hostname: {}}}}}}}",
        node.name
    ));
    ns.apply(&on(&node, "free", 1, &volumes(&local, "ReadWriteOnce", "100Gi"), true, ""));
    finding(
        &ns,
        "free-0",
        &[
            "did not have enough free storage",
            &format!(
                "requests 100Gi of class {local}, but at most 10Gi is free, where kubernetes.io/hostname={}",
                node.name
            ),
        ],
    );
    ns.delete(&["sts", "free", "many"]);
    for object in [
        format!("storageclass/{driver}"),
        format!("storageclass/{local}"),
        format!("csidriver/{local}"),
        format!("csinode/{}", node.name),
        format!("pv/{}-0", ns.name),
        format!("pv/{}-1", ns.name),
    ] {
        cluster.kubectl(&["delete", "--wait=false", &object]);
    }
}
