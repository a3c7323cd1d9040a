//! Pods of StatefulSets and of Deployments, healthy and broken.

use serde_json::{Map, Value, json};

use super::data::{
    Broken, PODS_OF_APP, REPLICAS, Scale, Set, address, age, ago, meta, namespace, node, pod_uid,
};
use super::managed::own;
use super::random::Random;
use super::workloads::{owner, revision_of, template};

/// What the status of a pod follows from.
struct State {
    broken: Option<Broken>,
    age: i64,
    node: usize,
    address: String,
}

pub fn of_set(set: &Set, ordinal: usize) -> Value {
    let mut random = Random::of("pod", set.index * REPLICAS + ordinal);
    let broken = set.is_broken(ordinal);
    // A broken pod is that of the last update: two days and some hours ago, far from where a shown age changes.
    let age = if broken.is_some() { 217_800 } else { age(&mut random) };
    let name = format!("{}-{ordinal}", set.name);
    let revision = revision_of(set, ordinal);
    let template = template(set, revision);
    let mut metadata = meta("Pod", &name, Some(&set.namespace), age, &mut random);
    metadata["uid"] = pod_uid(set, ordinal).into();
    metadata["generateName"] = format!("{}-", set.name).into();
    let mut labels = set.labels();
    labels["apps.kubernetes.io/pod-index"] = ordinal.to_string().into();
    labels["controller-revision-hash"] = set.revisions[revision].as_str().into();
    labels["statefulset.kubernetes.io/pod-name"] = name.as_str().into();
    metadata["labels"] = labels;
    metadata["annotations"] = template["metadata"]["annotations"].clone();
    metadata["ownerReferences"] = json!([owner("apps/v1", "StatefulSet", &set.name, &set.uid)]);
    let state =
        State { broken, age, node: set.nodes[ordinal], address: address(set.index * REPLICAS + ordinal) };
    let mut spec = template["spec"].clone();
    spec["hostname"] = name.as_str().into();
    spec["subdomain"] = super::network::name("Service", set, true).into();
    let volumes = spec["volumes"].as_array_mut().expect("volumes");
    for claim in set.templates() {
        volumes.insert(
            0,
            json!({"name": claim, "persistentVolumeClaim": {"claimName": format!("{claim}-{name}")}}),
        );
    }
    admit(&mut spec, &mut random);
    finish(metadata, spec, &state, &mut random)
}

/// The hash and the suffix come from the seed.
pub fn app_pod_name(index: usize) -> String {
    let app = index / PODS_OF_APP;
    format!("{}-{}", replica_set(app).0, Random::of("app-pod", index).suffix(5))
}

fn replica_set(app: usize) -> (String, String) {
    let mut random = Random::of("ReplicaSet", app);
    (format!("web-{app:05}-{}", random.suffix(10)), random.uid())
}

pub fn of_app(index: usize, scale: Scale) -> Value {
    let app = index / PODS_OF_APP;
    let name = app_pod_name(index);
    let mut random = Random::of("app-pod-spec", index);
    let age = age(&mut random);
    let namespace = namespace(app, scale);
    let mut metadata = meta("Pod", &name, Some(&namespace), age, &mut random);
    let (replica_set, uid) = replica_set(app);
    metadata["generateName"] = format!("{replica_set}-").into();
    let hash = replica_set.rsplit('-').next().unwrap_or_default();
    metadata["labels"] = json!({
        "app.kubernetes.io/instance": format!("web-{app:05}"), "app.kubernetes.io/managed-by": "Helm",
        "app.kubernetes.io/name": "web", "app.kubernetes.io/version": "3.2.1", "pod-template-hash": hash,
    });
    metadata["annotations"] = json!({"checksum/config": random.hex(64), "prometheus.io/port": "9090",
        "prometheus.io/scrape": "true"});
    metadata["ownerReferences"] = json!([owner("apps/v1", "ReplicaSet", &replica_set, &uid)]);
    let mut spec = template(&Set::of(0, scale), 0)["spec"].take();
    let main = &mut spec["containers"][0];
    main["name"] = "web".into();
    main["image"] = format!("registry.example.com/shop/web-{app:05}:3.2.1").into();
    let mounts = main["volumeMounts"].as_array_mut().expect("mounts");
    mounts.truncate(2);
    let main = main.take();
    spec["containers"] = json!([main]);
    let spec_fields = spec.as_object_mut().expect("a spec");
    spec_fields.remove("initContainers");
    spec["serviceAccount"] = "web".into();
    spec["serviceAccountName"] = "web".into();
    spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"]
        ["labelSelector"]["matchLabels"] = json!({"app.kubernetes.io/instance": format!("web-{app:05}")});
    admit(&mut spec, &mut random);
    let broken = index.is_multiple_of(100).then_some(Broken::CrashLoop);
    let state = State {
        broken,
        age,
        node: random.below(scale.nodes),
        address: address(scale.sets * REPLICAS + index),
    };
    finish(metadata, spec, &state, &mut random)
}

/// What admission adds to a pod: its token, tolerations, priority.
fn admit(spec: &mut Value, random: &mut Random) {
    let volume = format!("kube-api-access-{}", random.suffix(5));
    let mount = json!({"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": volume, "readOnly": true});
    for field in ["containers", "initContainers"] {
        for container in spec[field].as_array_mut().into_iter().flatten() {
            container["volumeMounts"].as_array_mut().expect("mounts").push(mount.clone());
        }
    }
    let field = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    spec["volumes"].as_array_mut().expect("volumes").push(
        json!({"name": volume, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
            {"downwardAPI": {"items": [{"fieldRef": field, "path": "namespace"}]}},
        ]}}),
    );
    let toleration = |key: &str| json!({"effect": "NoExecute", "key": format!("node.kubernetes.io/{key}"), "operator": "Exists", "tolerationSeconds": 300});
    spec["tolerations"] = json!([toleration("not-ready"), toleration("unreachable")]);
    spec["enableServiceLinks"] = true.into();
    spec["preemptionPolicy"] = "PreemptLowerPriority".into();
    spec["priority"] = 0.into();
}

/// Adds the status, and what each writer owns.
fn finish(mut metadata: Value, mut spec: Value, state: &State, random: &mut Random) -> Value {
    let is_placed = state.broken != Some(Broken::Unschedulable);
    if is_placed {
        spec["nodeName"] = node(state.node).into();
        metadata["annotations"]["k8s.v1.cni.cncf.io/network-status"] = format!(
            "[{{\n    \"name\": \"aws-cni\",\n    \"interface\": \"dummy{}\",\n    \"ips\": [\n        \"{}\"\n    ],\n    \"mac\": \
             \"0a:58:{}\",\n    \"default\": true,\n    \"dns\": {{}}\n}}]",
            random.hex(10),
            state.address,
            random.hex(8)
        )
        .into();
    }
    let status = if is_placed { placed(&spec, state, random) } else { pending(state) };
    let mut object =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status});
    let at = ago(state.age);
    own(
        &mut object,
        "kube-controller-manager",
        "Update",
        "",
        &at,
        &[
            "metadata/annotations",
            "metadata/generateName",
            "metadata/labels",
            "metadata/ownerReferences",
            "spec/affinity",
            "spec/containers",
            "spec/dnsPolicy",
            "spec/enableServiceLinks",
            "spec/hostname",
            "spec/initContainers",
            "spec/restartPolicy",
            "spec/schedulerName",
            "spec/securityContext",
            "spec/serviceAccount",
            "spec/serviceAccountName",
            "spec/subdomain",
            "spec/terminationGracePeriodSeconds",
            "spec/volumes",
        ],
    );
    if is_placed {
        own(
            &mut object,
            "multus",
            "Update",
            "status",
            &at,
            &["metadata/annotations/k8s.v1.cni.cncf.io~1network-status"],
        );
        own(
            &mut object,
            "kubelet",
            "Update",
            "status",
            &at,
            &[
                "status/conditions",
                "status/containerStatuses",
                "status/hostIP",
                "status/hostIPs",
                "status/initContainerStatuses",
                "status/phase",
                "status/podIP",
                "status/podIPs",
                "status/startTime",
            ],
        );
    } else {
        own(&mut object, "kube-scheduler", "Update", "status", &at, &["status/conditions"]);
    }
    object
}

fn condition(kind: &str, is_true: bool, at: &str, reason: &str, message: &str) -> Value {
    let mut condition = json!({"lastProbeTime": null, "lastTransitionTime": at,
        "status": if is_true { "True" } else { "False" }, "type": kind});
    if !reason.is_empty() {
        condition["reason"] = reason.into();
        condition["message"] = message.into();
    }
    condition
}

fn pending(state: &State) -> Value {
    let message = "0/300 nodes are available: 300 Insufficient memory. preemption: 0/300 nodes are available: 300 No \
                   preemption victims found for incoming pod.";
    json!({"conditions": [condition("PodScheduled", false, &ago(state.age), "Unschedulable", message)],
        "phase": "Pending", "qosClass": "Burstable"})
}

fn placed(spec: &Value, state: &State, random: &mut Random) -> Value {
    let started = ago(state.age - 20);
    let all = spec["containers"].as_array().expect("containers");
    let main = all[0]["name"].as_str().unwrap_or_default();
    let ready = state.broken.is_none();
    let (reason, message) = match ready {
        true => ("", String::new()),
        false => ("ContainersNotReady", format!("containers with unready status: [{main}]")),
    };
    let at = ago(state.age);
    let conditions = json!([
        condition("PodReadyToStartContainers", true, &started, "", ""),
        condition("Initialized", true, &started, "", ""),
        condition("Ready", ready, &started, reason, &message),
        condition("ContainersReady", ready, &started, reason, &message),
        condition("PodScheduled", true, &at, "", ""),
    ]);
    let statuses: Vec<Value> = all
        .iter()
        .enumerate()
        .map(|(index, container)| {
            container_status(container, state.broken.filter(|_| index == 0), &started, random)
        })
        .collect();
    let host = address(5_000_000 + state.node);
    let mut status = json!({"conditions": conditions, "containerStatuses": statuses, "hostIP": host,
        "hostIPs": [{"ip": host}], "phase": if state.broken == Some(Broken::ImagePull) { "Pending" } else { "Running" },
        "podIP": state.address, "podIPs": [{"ip": state.address}], "qosClass": "Burstable", "startTime": at});
    if let Some(init) = spec["initContainers"].as_array() {
        let done = init.iter().map(|container| {
            let mut status = container_status(container, None, &started, random);
            let id = status["containerID"].clone();
            status["started"] = false.into();
            status["state"] = json!({"terminated": {"containerID": id, "exitCode": 0, "finishedAt": started,
                "reason": "Completed", "startedAt": at}});
            status
        });
        status["initContainerStatuses"] = done.collect();
    }
    status
}

fn container_status(container: &Value, broken: Option<Broken>, started: &str, random: &mut Random) -> Value {
    let image = container["image"].as_str().unwrap_or_default();
    let repository = image.split(':').next().unwrap_or_default();
    let mounts: Vec<Value> = container["volumeMounts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|mount| {
            let mut shown = Map::new();
            for key in ["mountPath", "name", "readOnly"] {
                if let Some(value) = mount.get(key) {
                    shown.insert(key.to_owned(), value.clone());
                }
            }
            if shown.contains_key("readOnly") {
                shown.insert("recursiveReadOnly".to_owned(), "Disabled".into());
            }
            Value::Object(shown)
        })
        .collect();
    let id = format!("containerd://{}", random.hex(64));
    let base = json!({"image": image, "name": container["name"], "volumeMounts": mounts});
    let more = match broken {
        None => {
            json!({"containerID": id, "imageID": format!("{repository}@sha256:{}", random.hex(64)), "lastState": {},
            "ready": true, "restartCount": 0, "started": true, "state": {"running": {"startedAt": started}}})
        }
        Some(Broken::ImagePull) => json!({"imageID": "", "lastState": {}, "ready": false, "restartCount": 0,
            "started": false, "state": {"waiting": {"message": format!("Back-off pulling image \"{image}\""),
                "reason": "ImagePullBackOff"}}}),
        Some(_) => json!({"containerID": id, "imageID": format!("{repository}@sha256:{}", random.hex(64)),
            "lastState": {"terminated": {"containerID": id, "exitCode": 1, "finishedAt": ago(120), "reason": "Error",
                "startedAt": ago(125)}},
            "ready": false, "restartCount": 24, "started": false, "state": {"waiting": {"message":
                format!("back-off 5m0s restarting failed container={}", container["name"].as_str().unwrap_or_default()),
                "reason": "CrashLoopBackOff"}}}),
    };
    let mut status = base;
    status.as_object_mut().expect("a status").extend(more.as_object().expect("fields").clone());
    status
}
