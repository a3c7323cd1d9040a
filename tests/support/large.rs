//! StatefulSets of any size, as recordings: what the program does with them must grow with the number of pods, not with
//! its square.

use serde_json::{Value, json};

/// How the set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// One revision, all pods available.
    Healthy,
    /// A rollout that is half done.
    Half,
    /// A canary on the five highest pods.
    Canary,
    /// The highest pod is stuck on an abandoned revision.
    Trapped,
    /// Every other pod cannot pull its image.
    Sick,
    /// Scaled down to a tenth; the claims are still there.
    LeftOver,
}

pub const STATES: [State; 6] =
    [State::Healthy, State::Half, State::Canary, State::Trapped, State::Sick, State::LeftOver];

const TIME: &str = "2026-09-01T10:00:00Z";
const OLD: &str = "web-aaaaaaaaaa";
const NEW: &str = "web-bbbbbbbbbb";

/// A list of the set `web` in namespace `shop`, and everything around `size` of its replicas.
pub fn recording(state: State, size: i32) -> String {
    let pods = if state == State::LeftOver { size / 10 } else { size };
    let mut items = vec![set(state, size, pods)];
    items.extend((1..).zip([OLD, NEW]).map(|(number, name)| revision(name, number)));
    items.push(
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 80}]}}),
    );
    items
        .push(json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "std"},
        "provisioner": "example.com/x"}));
    for index in 0..pods {
        let (has, bad) = match state {
            State::Healthy | State::LeftOver => (NEW, false),
            State::Half => (if index >= size / 2 { NEW } else { OLD }, false),
            State::Canary => (if index >= size - 5 { NEW } else { OLD }, false),
            State::Trapped if index == size - 1 => (NEW, true),
            State::Trapped => (OLD, false),
            State::Sick => (NEW, index % 2 == 0),
        };
        items.push(pod(index, size, has, bad));
        if bad {
            items.push(json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("e{index}"),
                "namespace": "shop"}, "type": "Warning", "reason": "Failed", "lastTimestamp": TIME, "count": 3,
                "message": format!("Failed to pull image \"web:2\": try {index}"),
                "involvedObject": {"kind": "Pod", "namespace": "shop", "name": format!("web-{index}"),
                    "uid": format!("pod-{index}")}}));
        }
    }
    for index in 0..size {
        items.extend(claim(index));
    }
    for index in 0..=size / 20 {
        items.push(json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": format!("node-{index}")},
            "status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": TIME}]}}));
    }
    for from in (0..pods).step_by(100) {
        let endpoints: Vec<Value> = (from..pods.min(from + 100))
            .map(|index| {
                let name = format!("web-{index}");
                json!({"addresses": [address(index)], "hostname": name, "conditions": {"ready": true},
                    "targetRef": {"kind": "Pod", "namespace": "shop", "name": name}})
            })
            .collect();
        items.push(json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {
            "name": format!("web-{from}"), "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "endpoints": endpoints, "ports": []}));
    }
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

fn owner() -> Value {
    json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "set", "controller": true}])
}

fn address(index: i32) -> String {
    format!("10.{}.{}.{}", index >> 16, (index >> 8) & 255, index & 255)
}

fn template(image: i32) -> Value {
    json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": format!("web:{image}")}]}})
}

fn set(state: State, size: i32, pods: i32) -> Value {
    let (current, update) = match state {
        State::Healthy | State::Sick | State::LeftOver => (NEW, NEW),
        State::Half | State::Canary => (OLD, NEW),
        State::Trapped => (OLD, OLD),
    };
    let partition = if state == State::Canary { size - 5 } else { 0 };
    let mark = json!({"stable": OLD, "partition": 0, "by": "me", "at": TIME}).to_string();
    let annotations = if state == State::Canary { json!({"kubectl-sts/canary": mark}) } else { Value::Null };
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "web", "namespace": "shop", "uid": "set", "generation": 3, "creationTimestamp": TIME,
            "annotations": annotations},
        "spec": {"replicas": pods, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": partition}},
            "template": template(2),
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
                "storageClassName": "std", "resources": {"requests": {"storage": "1Gi"}}}}]},
        "status": {"observedGeneration": 3, "replicas": pods, "readyReplicas": pods, "availableReplicas": pods,
            "currentReplicas": pods, "updatedReplicas": pods, "currentRevision": current, "updateRevision": update}})
}

fn revision(name: &str, number: i32) -> Value {
    let mut template = template(number);
    template["$patch"] = "replace".into();
    json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": name, "namespace": "shop",
        "uid": name, "creationTimestamp": format!("2026-08-0{number}T09:00:00Z"), "ownerReferences": owner()},
        "revision": number, "data": {"spec": {"template": template}}})
}

fn pod(index: i32, size: i32, revision: &str, bad: bool) -> Value {
    let ready = if bad { "False" } else { "True" };
    let state = match bad {
        true => json!({"waiting": {"reason": "ImagePullBackOff", "message": "no"}}),
        false => json!({"running": {"startedAt": TIME}}),
    };
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("web-{index}"), "namespace": "shop", "uid": format!("pod-{index}"),
            "creationTimestamp": TIME, "labels": {"app": "web", "controller-revision-hash": revision},
            "ownerReferences": owner()},
        "spec": {"nodeName": format!("node-{}", index % (size / 20 + 1)), "subdomain": "web",
            "hostname": format!("web-{index}"), "containers": [{"name": "web", "image": "web:1"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": format!("data-web-{index}")}}]},
        "status": {"phase": if bad { "Pending" } else { "Running" }, "startTime": TIME, "podIP": address(index),
            "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": TIME},
                {"type": "Ready", "status": ready, "lastTransitionTime": TIME}],
            "containerStatuses": [{"name": "web", "image": "web:1", "ready": !bad, "started": !bad,
                "restartCount": 0, "state": state}]}})
}

fn claim(index: i32) -> [Value; 2] {
    let (name, volume) = (format!("data-web-{index}"), format!("pv-{index}"));
    let size = json!({"storage": "1Gi"});
    [
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "shop",
            "uid": format!("claim-{index}"), "creationTimestamp": TIME, "labels": {"app": "web"}},
            "spec": {"volumeName": volume, "storageClassName": "std", "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": size}}, "status": {"phase": "Bound", "capacity": size}}),
        json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
            "spec": {"claimRef": {"kind": "PersistentVolumeClaim", "name": name, "namespace": "shop",
                "uid": format!("claim-{index}")}, "persistentVolumeReclaimPolicy": "Delete", "storageClassName": "std",
                "capacity": size}, "status": {"phase": "Bound"}}),
    ]
}
