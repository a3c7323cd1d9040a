//! Services, EndpointSlices and events.

use serde_json::{Value, json};

use super::data::{Broken, REPLICAS, Scale, Set, address, age, ago, meta, node, pod_uid, zone};
use super::managed::own;
use super::random::Random;
use super::workloads::owner;

/// The name of the headless or the other Service of a StatefulSet, or of its EndpointSlice.
pub fn name(kind: &str, set: &Set, headless: bool) -> String {
    let service = if headless { format!("{}-headless", set.name) } else { set.name.clone() };
    match kind {
        "Service" => service,
        _ => format!("{service}-{}", Random::of("slice", set.index * 2 + usize::from(headless)).suffix(5)),
    }
}

fn service_uid(set: &Set, headless: bool) -> String {
    Random::of("service-uid", set.index * 2 + usize::from(headless)).uid()
}

pub fn service(set: &Set, headless: bool) -> Value {
    let mut random = Random::of("Service", set.index * 2 + usize::from(headless));
    let name = name("Service", set, headless);
    let age = age(&mut random);
    let mut metadata = meta("Service", &name, Some(&set.namespace), age, &mut random);
    metadata["uid"] = service_uid(set, headless).into();
    metadata["labels"] = set.labels();
    metadata["annotations"] = json!({"meta.helm.sh/release-name": set.name,
        "meta.helm.sh/release-namespace": set.namespace,
        "service.alpha.kubernetes.io/tolerate-unready-endpoints": "false"});
    let ip = if headless {
        "None".to_owned()
    } else {
        format!("172.20.{}.{}", set.index / 250, set.index % 250 + 1)
    };
    let mut object = json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata,
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "database", "port": 5432, "protocol": "TCP", "targetPort": "database"},
                {"name": "http", "port": 8080, "protocol": "TCP", "targetPort": 8080}],
            "selector": set.selector(), "sessionAffinity": "None", "type": "ClusterIP"},
        "status": {"loadBalancer": {}}});
    own(
        &mut object,
        "helm",
        "Update",
        "",
        &ago(age),
        &[
            "metadata/annotations",
            "metadata/labels",
            "spec/clusterIP",
            "spec/internalTrafficPolicy",
            "spec/selector",
            "spec/sessionAffinity",
            "spec/type",
        ],
    );
    object
}

pub fn slice(set: &Set, headless: bool) -> Value {
    let mut random = Random::of("EndpointSlice", set.index * 2 + usize::from(headless));
    let (service, name) = (name("Service", set, headless), name("EndpointSlice", set, headless));
    let age = age(&mut random);
    let mut metadata = meta("EndpointSlice", &name, Some(&set.namespace), age, &mut random);
    let mut labels = set.labels();
    labels["endpointslice.kubernetes.io/managed-by"] = "endpointslice-controller.k8s.io".into();
    labels["kubernetes.io/service-name"] = service.as_str().into();
    if headless {
        labels["service.kubernetes.io/headless"] = "".into();
    }
    metadata["labels"] = labels;
    metadata["generateName"] = format!("{service}-").into();
    metadata["generation"] = 7.into();
    metadata["annotations"] = json!({"endpoints.kubernetes.io/last-change-trigger-time": ago(7200)});
    metadata["ownerReferences"] = json!([owner("v1", "Service", &service, &service_uid(set, headless))]);
    let placed = (0..REPLICAS).filter(|ordinal| set.is_broken(*ordinal) != Some(Broken::Unschedulable));
    let endpoints: Vec<Value> = placed
        .map(|ordinal| {
            let ready = set.is_broken(ordinal).is_none();
            let at = set.nodes[ordinal];
            let mut endpoint = json!({"addresses": [address(set.index * REPLICAS + ordinal)],
                "conditions": {"ready": ready, "serving": ready, "terminating": false}, "nodeName": node(at),
                "targetRef": {"kind": "Pod", "name": format!("{}-{ordinal}", set.name), "namespace": set.namespace,
                    "uid": pod_uid(set, ordinal)},
                "zone": zone(at)});
            if headless {
                endpoint["hostname"] = format!("{}-{ordinal}", set.name).into();
            }
            endpoint
        })
        .collect();
    let mut object = json!({"addressType": "IPv4", "apiVersion": "discovery.k8s.io/v1", "endpoints": endpoints,
        "kind": "EndpointSlice", "metadata": metadata,
        "ports": [{"name": "database", "port": 5432, "protocol": "TCP"}, {"name": "http", "port": 8080, "protocol": "TCP"}]});
    own(
        &mut object,
        "kube-controller-manager",
        "Update",
        "",
        &ago(7200),
        &[
            "addressType",
            "endpoints",
            "metadata/annotations",
            "metadata/generateName",
            "metadata/labels",
            "metadata/ownerReferences",
            "ports",
        ],
    );
    // Endpoints and ports are owned as a whole here (listType=atomic).
    if let Some(entry) = object["metadata"]["managedFields"][0]["fieldsV1"].as_object_mut() {
        entry.insert("f:ports".to_owned(), json!({}));
    }
    object
}

fn event_set(index: usize, scale: Scale) -> Set {
    Set::of(index / 3 % scale.sets, scale)
}

pub fn event_namespace(index: usize, scale: Scale) -> String {
    event_set(index, scale).namespace
}

pub fn event_name(index: usize, scale: Scale) -> String {
    let set = event_set(index, scale);
    format!("{}-{}.18{}", set.name, index % REPLICAS, Random::of("event", index).hex(14))
}

/// One in five is a warning; those of broken pods say what is wrong with them, the others are of another pod's past.
pub fn event(index: usize, scale: Scale) -> Value {
    let mut random = Random::of("Event", index);
    let set = event_set(index, scale);
    let ordinal = index % REPLICAS;
    let (kind, reason, message, from) = match (set.is_broken(ordinal), index % 5) {
        (Some(Broken::Unschedulable), _) => (
            "Warning",
            "FailedScheduling",
            "0/300 nodes are available: 300 Insufficient memory. preemption: 0/300 nodes are available: 300 No preemption \
             victims found for incoming pod.",
            "default-scheduler",
        ),
        (Some(Broken::CrashLoop), _) => {
            ("Warning", "BackOff", "Back-off restarting failed container database in pod", "kubelet")
        }
        (Some(Broken::ImagePull), _) => ("Warning", "Failed", "Error: ImagePullBackOff", "kubelet"),
        (None, 0) => (
            "Warning",
            "Unhealthy",
            "Readiness probe failed: Get \"http://10.128.0.7:8080/readyz\": context deadline exceeded (Client.Timeout \
             exceeded while awaiting headers)",
            "kubelet",
        ),
        (None, 1) => (
            "Normal",
            "Pulled",
            "Container image \"registry.example.com/platform/databases/server\" already present on machine",
            "kubelet",
        ),
        (None, 2) => ("Normal", "Created", "Created container: database", "kubelet"),
        (None, 3) => ("Normal", "Started", "Started container database", "kubelet"),
        (None, _) => (
            "Normal",
            "SuccessfulAttachVolume",
            "AttachVolume.Attach succeeded for volume",
            "attachdetach-controller",
        ),
    };
    let age = 300 + random.below(3000) as i64;
    let metadata = meta("Event", &event_name(index, scale), Some(&set.namespace), age, &mut random);
    let source = match from {
        "kubelet" => json!({"component": from, "host": node(set.nodes[ordinal])}),
        _ => json!({"component": from}),
    };
    let mut involved = json!({"apiVersion": "v1", "kind": "Pod", "name": format!("{}-{ordinal}", set.name),
        "namespace": set.namespace, "resourceVersion": "40000000", "uid": pod_uid(&set, ordinal)});
    if from == "kubelet" {
        involved["fieldPath"] = "spec.containers{database}".into();
    }
    let mut object = json!({"apiVersion": "v1", "count": 1 + random.below(30), "eventTime": null, "firstTimestamp": ago(age),
        "involvedObject": involved, "kind": "Event", "lastTimestamp": ago(age - 200), "message": message,
        "metadata": metadata, "reason": reason, "reportingComponent": from,
        "reportingInstance": source["host"].as_str().unwrap_or_default(), "source": source, "type": kind});
    own(
        &mut object,
        from,
        "Update",
        "",
        &ago(age - 200),
        &[
            "count",
            "firstTimestamp",
            "involvedObject",
            "lastTimestamp",
            "message",
            "reason",
            "reportingComponent",
            "reportingInstance",
            "source",
            "type",
        ],
    );
    object
}
