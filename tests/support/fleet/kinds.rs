//! The kinds that the server has, for its lists and for its discovery.

/// A kind.
pub struct Kind {
    pub kind: &'static str,
    /// As in `apps/v1`.
    pub api_version: &'static str,
    pub plural: &'static str,
    pub is_namespaced: bool,
    pub short: &'static str,
    /// Its message in the table of `protobuf.rs`; empty for custom resources, which have no protobuf.
    pub message: &'static str,
}

const fn kind(
    kind: &'static str,
    api_version: &'static str,
    plural: &'static str,
    is_namespaced: bool,
    short: &'static str,
    message: &'static str,
) -> Kind {
    Kind { kind, api_version, plural, is_namespaced, short, message }
}

const ADMISSION: &str = "admissionregistration.k8s.io/v1";
const STORAGE: &str = "storage.k8s.io/v1";

pub const KINDS: &[Kind] = &[
    kind("Pod", "v1", "pods", true, "po", "core.Pod"),
    kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims", true, "pvc", "core.PersistentVolumeClaim"),
    kind("PersistentVolume", "v1", "persistentvolumes", false, "pv", "core.PersistentVolume"),
    kind("Service", "v1", "services", true, "svc", "core.Service"),
    kind("Event", "v1", "events", true, "ev", "core.Event"),
    kind("Node", "v1", "nodes", false, "no", "core.Node"),
    kind("Namespace", "v1", "namespaces", false, "ns", "core.Namespace"),
    kind("ResourceQuota", "v1", "resourcequotas", true, "quota", "core.ResourceQuota"),
    kind("LimitRange", "v1", "limitranges", true, "limits", "core.LimitRange"),
    kind("ReplicationController", "v1", "replicationcontrollers", true, "rc", "core.ReplicationController"),
    kind("StatefulSet", "apps/v1", "statefulsets", true, "sts", "apps.StatefulSet"),
    kind("ControllerRevision", "apps/v1", "controllerrevisions", true, "", "apps.ControllerRevision"),
    kind("Deployment", "apps/v1", "deployments", true, "deploy", "apps.Deployment"),
    kind("ReplicaSet", "apps/v1", "replicasets", true, "rs", "apps.ReplicaSet"),
    kind("DaemonSet", "apps/v1", "daemonsets", true, "ds", "apps.DaemonSet"),
    kind("Job", "batch/v1", "jobs", true, "", "batch.Job"),
    kind("CronJob", "batch/v1", "cronjobs", true, "cj", "batch.CronJob"),
    kind("EndpointSlice", "discovery.k8s.io/v1", "endpointslices", true, "", "discovery.EndpointSlice"),
    kind(
        "PodDisruptionBudget",
        "policy/v1",
        "poddisruptionbudgets",
        true,
        "pdb",
        "policy.PodDisruptionBudget",
    ),
    kind(
        "HorizontalPodAutoscaler",
        "autoscaling/v2",
        "horizontalpodautoscalers",
        true,
        "hpa",
        "autoscaling.HorizontalPodAutoscaler",
    ),
    kind("StorageClass", STORAGE, "storageclasses", false, "sc", "storage.StorageClass"),
    kind("CSINode", STORAGE, "csinodes", false, "", "storage.CSINode"),
    kind("CSIStorageCapacity", STORAGE, "csistoragecapacities", true, "", "storage.CSIStorageCapacity"),
    kind("VolumeAttachment", STORAGE, "volumeattachments", false, "", "storage.VolumeAttachment"),
    kind(
        "ValidatingWebhookConfiguration",
        ADMISSION,
        "validatingwebhookconfigurations",
        false,
        "",
        "admissionregistration.ValidatingWebhookConfiguration",
    ),
    kind(
        "MutatingWebhookConfiguration",
        ADMISSION,
        "mutatingwebhookconfigurations",
        false,
        "",
        "admissionregistration.MutatingWebhookConfiguration",
    ),
    kind(
        "ValidatingAdmissionPolicyBinding",
        ADMISSION,
        "validatingadmissionpolicybindings",
        false,
        "",
        "admissionregistration.ValidatingAdmissionPolicyBinding",
    ),
    kind("VolumeSnapshot", "snapshot.storage.k8s.io/v1", "volumesnapshots", true, "vs", ""),
];

/// The lists of the naive plan: everything of nine kinds.
pub const NAIVE: &[&str] = &[
    "pods",
    "statefulsets",
    "persistentvolumeclaims",
    "persistentvolumes",
    "storageclasses",
    "services",
    "endpointslices",
    "events",
    "controllerrevisions",
];

impl Kind {
    pub fn of_plural(plural: &str) -> &'static Kind {
        KINDS.iter().find(|kind| kind.plural == plural).unwrap_or_else(|| panic!("no kind {plural}"))
    }

    /// As in `/apis/apps/v1`.
    pub fn prefix(&self) -> String {
        let root = if self.api_version.contains('/') { "apis" } else { "api" };
        format!("/{root}/{}", self.api_version)
    }
}
