//! PVCs, PVs, StorageClasses, nodes and namespaces.

use serde_json::{Value, json};

use super::data::{REPLICAS, Set, address, age, ago, meta, zone};
use super::managed::own;
use super::random::Random;

pub const CLASSES: [&str; 4] = ["gp2", "gp3", "io2", "local"];
const DRIVER: &str = "ebs.csi.aws.com";

/// What PVC and PV have in common.
pub struct Claim {
    pub name: String,
    pub uid: String,
    pub volume: String,
    age: i64,
}

/// The PVCs of a StatefulSet: template and ordinal. An odd one has one more, of a replica that no longer exists.
pub fn claims(set: &Set) -> Vec<(&'static str, usize)> {
    let replicas = if set.index.is_multiple_of(2) { REPLICAS } else { REPLICAS + 1 };
    let templates = set.templates().iter();
    templates.flat_map(|template| (0..replicas).map(move |ordinal| (*template, ordinal))).collect()
}

impl Claim {
    pub fn of(set: &Set, template: &str, ordinal: usize) -> Claim {
        let mut random = Random::of(template, set.index * 8 + ordinal);
        let uid = random.uid();
        Claim {
            name: format!("{template}-{}-{ordinal}", set.name),
            volume: format!("pvc-{uid}"),
            uid,
            age: age(&mut random),
        }
    }
}

pub fn claim(set: &Set, number: usize) -> Value {
    let (template, ordinal) = claims(set)[number];
    let claim = Claim::of(set, template, ordinal);
    let mut random = Random::of("claim", set.index * 8 + number);
    let mut metadata =
        meta("PersistentVolumeClaim", &claim.name, Some(&set.namespace), claim.age, &mut random);
    metadata["uid"] = claim.uid.as_str().into();
    metadata["labels"] = set.selector();
    metadata["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
    let node = super::data::node(set.nodes[ordinal % REPLICAS]);
    metadata["annotations"] = json!({
        "pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes",
        "volume.kubernetes.io/selected-node": node, "volume.kubernetes.io/storage-provisioner": DRIVER,
    });
    let size = json!({"storage": "100Gi"});
    let mut object = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata,
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": size}, "storageClassName": "gp3",
            "volumeMode": "Filesystem", "volumeName": claim.volume},
        "status": {"accessModes": ["ReadWriteOnce"], "capacity": size, "phase": "Bound"}});
    let at = ago(claim.age);
    own(
        &mut object,
        "kube-scheduler",
        "Update",
        "",
        &at,
        &["metadata/annotations/volume.kubernetes.io~1selected-node"],
    );
    let manager = "kube-controller-manager";
    own(
        &mut object,
        manager,
        "Update",
        "",
        &at,
        &[
            "metadata/annotations",
            "metadata/labels",
            "spec/accessModes",
            "spec/resources",
            "spec/storageClassName",
            "spec/volumeMode",
            "spec/volumeName",
        ],
    );
    own(
        &mut object,
        manager,
        "Update",
        "status",
        &at,
        &["status/accessModes", "status/capacity", "status/phase"],
    );
    object
}

pub fn volume(set: &Set, number: usize) -> Value {
    let (template, ordinal) = claims(set)[number];
    let claim = Claim::of(set, template, ordinal);
    let mut random = Random::of("volume", set.index * 8 + number);
    let mut metadata = meta("PersistentVolume", &claim.volume, None, claim.age, &mut random);
    metadata["finalizers"] = json!([
        "external-provisioner.volume.kubernetes.io/finalizer",
        "kubernetes.io/pv-protection",
        "external-attacher/ebs-csi-aws-com"
    ]);
    metadata["annotations"] = json!({
        "pv.kubernetes.io/provisioned-by": DRIVER,
        "volume.kubernetes.io/provisioner-deletion-secret-name": "",
        "volume.kubernetes.io/provisioner-deletion-secret-namespace": "",
    });
    let identity = format!("{}-{}-{DRIVER}", 1_790_000_000 + random.below(900_000), random.below(9999));
    let zone = zone(set.nodes[ordinal % REPLICAS]);
    let mut object = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata,
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "100Gi"},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": claim.name,
                "namespace": set.namespace, "resourceVersion": "39000000", "uid": claim.uid},
            "csi": {"driver": DRIVER, "fsType": "ext4", "volumeAttributes": {
                "storage.kubernetes.io/csiProvisionerIdentity": identity}, "volumeHandle": format!("vol-{}", random.hex(17))},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "topology.kubernetes.io/zone", "operator": "In", "values": [zone]}]}]}},
            "persistentVolumeReclaimPolicy": "Delete", "storageClassName": "gp3", "volumeMode": "Filesystem",
        },
        "status": {"lastPhaseTransitionTime": ago(claim.age), "phase": "Bound"}});
    let at = ago(claim.age);
    own(
        &mut object,
        "csi-provisioner",
        "Update",
        "",
        &at,
        &[
            "metadata/annotations",
            "spec/accessModes",
            "spec/capacity",
            "spec/claimRef",
            "spec/csi",
            "spec/nodeAffinity",
            "spec/persistentVolumeReclaimPolicy",
            "spec/storageClassName",
            "spec/volumeMode",
        ],
    );
    own(&mut object, "kube-controller-manager", "Update", "status", &at, &["status/phase"]);
    object
}

pub fn class(index: usize) -> Value {
    let mut random = Random::of("StorageClass", index);
    let name = CLASSES[index];
    let mut metadata = meta("StorageClass", name, None, age(&mut random), &mut random);
    if name == "gp3" {
        metadata["annotations"] = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    }
    json!({"allowVolumeExpansion": true, "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": metadata,
        "parameters": {"type": name}, "provisioner": DRIVER, "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer"})
}

pub fn node(index: usize) -> Value {
    let mut random = Random::of("Node", index);
    let age = age(&mut random);
    let name = super::data::node(index);
    let mut metadata = meta("Node", &name, None, age, &mut random);
    metadata["labels"] = json!({
        "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "node.kubernetes.io/instance-type": "m6i.4xlarge",
        "topology.kubernetes.io/region": "eu-central-1", "topology.kubernetes.io/zone": zone(index),
    });
    metadata["annotations"] = json!({"node.alpha.kubernetes.io/ttl": "0",
        "csi.volume.kubernetes.io/nodeid": format!("{{\"{DRIVER}\":\"i-{}\"}}", random.hex(17)),
        "volumes.kubernetes.io/controller-managed-attach-detach": "true"});
    let beat = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({"lastHeartbeatTime": ago(30), "lastTransitionTime": ago(age), "message": message, "reason": reason,
            "status": status, "type": kind})
    };
    let amounts = |cpu: &str, memory: &str| json!({"cpu": cpu, "ephemeral-storage": "83873772Ki", "hugepages-1Gi": "0", "hugepages-2Mi": "0", "memory": memory, "pods": "110"});
    let images: Vec<Value> = (0..12)
        .map(|number| {
            let image = format!("registry.example.com/platform/image-{number:02}");
            json!({"names": [format!("{image}@sha256:{}", random.hex(64)), format!("{image}:1.{number}.0")],
                "sizeBytes": 10_000_000 + random.below(400_000_000)})
        })
        .collect();
    let mut object = json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata,
    "spec": {"providerID": format!("aws:///{}/i-{}", zone(index), random.hex(17))},
    "status": {
        "addresses": [{"address": address(5_000_000 + index), "type": "InternalIP"}, {"address": name, "type": "Hostname"}],
        "allocatable": amounts("15890m", "61000000Ki"), "capacity": amounts("16", "64000000Ki"),
        "conditions": [
            beat("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            beat("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            beat("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            beat("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}, "images": images,
        "nodeInfo": {"architecture": "amd64", "bootID": random.uid(), "containerRuntimeVersion": "containerd://2.0.5",
            "kernelVersion": "6.12.10", "kubeProxyVersion": "v1.34.2", "kubeletVersion": "v1.34.2", "machineID": random.hex(32),
            "operatingSystem": "linux", "osImage": "Amazon Linux 2023.6.20250303", "systemUUID": random.uid()},
    }});
    own(
        &mut object,
        "kubelet",
        "Update",
        "",
        &ago(age),
        &["metadata/annotations", "metadata/labels", "spec/providerID"],
    );
    own(
        &mut object,
        "kubelet",
        "Update",
        "status",
        &ago(30),
        &["status/allocatable", "status/capacity", "status/conditions", "status/images"],
    );
    object
}

pub fn namespace(name: &str) -> Value {
    let mut random = Random::of(name, 0);
    let mut metadata = meta("Namespace", name, None, age(&mut random), &mut random);
    metadata["labels"] = json!({"kubernetes.io/metadata.name": name});
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata, "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"}})
}
