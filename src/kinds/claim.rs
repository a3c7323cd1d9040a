//! Storage: PersistentVolumeClaim, PersistentVolume and StorageClass.

use super::{Condition, Empty, LabelSelector, Map, Meta, Quantity, Reference, Said, condition, partial};

/// The annotation on a volume that holds the reclaim policy it had before a deletion of its PVC began.
pub const EARLIER_POLICY: &str = "kubectl-sts/reclaim-policy";
/// The annotation on a volume that says for which PVC, by uid, the policy was noted; in a backup it says of which PVC the
/// manifest is.
pub const CLAIM_UID: &str = "kubectl-sts/claim-uid";
/// The reclaim policy that keeps a volume when its PVC is deleted.
pub const RETAIN: &str = "Retain";

partial! {
    /// v1 PersistentVolumeClaim.
    struct PersistentVolumeClaim {
        metadata: Meta => 1,
        spec: ClaimSpec => 2,
        status: ClaimStatus => 3,
    }

    /// v1 PersistentVolumeClaimSpec.
    struct ClaimSpec {
        storage_class_name: Option<String> => 5,
        volume_name: String => 3,
        volume_mode: String => 6,
        access_modes: Vec<String> => 1,
        resources: ClaimResources => 2,
        selector: Option<LabelSelector> => 4,
        data_source: Option<TypedReference> => 7,
        data_source_ref: Option<TypedReference> => 8,
    }

    /// v1 TypedLocalObjectReference and TypedObjectReference.
    struct TypedReference {
        kind: String => 2,
        name: String => 3,
        namespace: String => 4,
    }

    /// v1 VolumeResourceRequirements; quantities as written.
    struct ClaimResources {
        requests: Map => 2 via quantities,
    }

    /// v1 PersistentVolumeClaimStatus.
    struct ClaimStatus {
        phase: String => 1,
        capacity: Map => 3 via quantities,
        conditions: Vec<Condition> => 4,
        allocated_resource_statuses: Map => 7,
    }

    /// v1 PersistentVolume.
    struct PersistentVolume {
        metadata: Meta => 1,
        spec: VolumeSpec => 2,
        status: VolumeStatus => 3,
    }

    /// v1 PersistentVolumeSpec, without its source, which can hold names of secrets and hosts; of a folder of the node
    /// it is known that it is one, and of a CSI volume the driver.
    struct VolumeSpec {
        capacity: Map => 1 via quantities,
        access_modes: Vec<String> => 3,
        claim_ref: Option<Reference> => 4,
        persistent_volume_reclaim_policy: String => 5,
        storage_class_name: String => 6,
        volume_mode: String => 8,
        node_affinity: Option<VolumeAffinity> => 9,
        host_path: Option<Empty> => 2 / 3,
        csi: Option<CsiSource> => 2 / 22,
    }

    /// v1 VolumeNodeAffinity.
    struct VolumeAffinity {
        required: Option<NodeSelector> => 1,
    }

    /// v1 CSIPersistentVolumeSource, without its attributes and references to Secrets.
    struct CsiSource {
        driver: String => 1,
    }

    /// v1 NodeSelector: terms are alternatives.
    struct NodeSelector {
        node_selector_terms: Vec<NodeTerm> => 1,
    }

    /// v1 NodeSelectorTerm: expressions hold together.
    struct NodeTerm {
        match_expressions: Vec<super::Requirement> => 1,
    }

    /// v1 PersistentVolumeStatus.
    struct VolumeStatus {
        phase: String => 1,
        reason: String => 3,
        message: Said => 2,
    }

    /// storage.k8s.io/v1 StorageClass, without its parameters.
    struct StorageClass {
        metadata: Meta => 1,
        provisioner: String => 2,
        volume_binding_mode: String => 7,
        reclaim_policy: String => 4,
        allow_volume_expansion: bool => 6,
    }
}

impl PersistentVolumeClaim {
    /// The class asked for: `None` means the default class, `Some("")` no class at all, on purpose. The old annotation
    /// wins over the field, as in `volume/util.go:GetPersistentVolumeClaimClass`.
    pub fn class(&self) -> Option<&str> {
        match self.metadata.annotations.get("volume.beta.kubernetes.io/storage-class") {
            Some(class) => Some(class),
            None => self.spec.storage_class_name.as_deref(),
        }
    }

    /// The size asked for, as written.
    pub fn requested(&self) -> &str {
        self.spec.resources.requests.get("storage").map_or("", String::as_str)
    }

    /// The size it has, or asks for while it has none, as written.
    pub fn size(&self) -> &str {
        self.status.capacity.get("storage").map_or_else(|| self.requested(), String::as_str)
    }

    /// Whether it has its volume.
    pub fn is_bound(&self) -> bool {
        self.status.phase == "Bound"
    }

    /// The condition of the given type.
    pub fn condition(&self, name: &str) -> Option<&Condition> {
        condition(&self.status.conditions, name)
    }

    /// Filesystem or Block.
    pub fn mode(&self) -> &str {
        mode(&self.spec.volume_mode)
    }
}

impl PersistentVolume {
    /// Its capacity, as written.
    pub fn size(&self) -> &str {
        self.spec.capacity.get("storage").map_or("", String::as_str)
    }

    /// Filesystem or Block.
    pub fn mode(&self) -> &str {
        mode(&self.spec.volume_mode)
    }

    /// The reclaim policy it had before a deletion of the PVC of this uid began that is not finished. Only a note of ours on
    /// a volume that is kept counts, and only a policy that gives volumes up: nothing else in it would be obeyed.
    pub fn earlier_policy(&self, claim_uid: &str) -> Option<&str> {
        let annotations = &self.metadata.annotations;
        let is_its = !claim_uid.is_empty() && annotations.get(CLAIM_UID).is_some_and(|uid| uid == claim_uid);
        let earlier = annotations.get(EARLIER_POLICY).map(String::as_str);
        let is_kept = self.spec.persistent_volume_reclaim_policy == RETAIN;
        earlier.filter(|policy| is_its && is_kept && ["Delete", "Recycle"].contains(policy))
    }

    /// Whether its `claimRef` names this claim: the same uid, or none yet, which is how a volume is reserved by hand.
    pub fn is_of(&self, claim: &PersistentVolumeClaim) -> bool {
        self.spec.claim_ref.as_ref().is_some_and(|reference| {
            reference.name == claim.metadata.name
                && reference.namespace == claim.metadata.namespace
                && (reference.uid.is_empty() || reference.uid == claim.metadata.uid)
        })
    }

    /// Whether the volume controller could bind this claim to it: free or reserved for the claim, and right in class,
    /// mode, access modes, size and labels (`volume/persistentvolume/index.go:findBestMatchForClaim`). Node affinity
    /// is the scheduler's part and not looked at.
    pub fn fits(&self, claim: &PersistentVolumeClaim) -> bool {
        let free = match &self.spec.claim_ref {
            None => matches!(self.status.phase.as_str(), "" | "Available" | "Pending"),
            Some(_) => self.is_of(claim),
        };
        free && self.mismatch(claim).is_none()
    }

    /// The first thing about this volume that does not suit the claim, whoever holds the volume now.
    pub fn mismatch(&self, claim: &PersistentVolumeClaim) -> Option<String> {
        if !claim.spec.volume_name.is_empty() && claim.spec.volume_name != self.metadata.name {
            return Some(format!("the PVC names PV {}", claim.spec.volume_name));
        }
        let class = claim.class().unwrap_or("");
        if self.spec.storage_class_name != class {
            return Some(match self.spec.storage_class_name.as_str() {
                "" => "it has no class".to_owned(),
                other => format!("its class is {other}"),
            });
        }
        if self.mode() != claim.mode() {
            return Some(format!("its volumeMode is {}", self.mode()));
        }
        if let Some(missing) =
            claim.spec.access_modes.iter().find(|mode| !self.spec.access_modes.contains(mode))
        {
            return Some(format!("it does not support {missing}"));
        }
        if let (Some(has), Some(wants)) = (Quantity::parse(self.size()), Quantity::parse(claim.requested()))
            && has < wants
        {
            return Some(format!("it has {}", self.size()));
        }
        match &claim.spec.selector {
            Some(selector) if !selector.matches(&self.metadata.labels) => {
                Some("its labels do not match the selector of the PVC".to_owned())
            }
            _ => None,
        }
    }
}

impl StorageClass {
    /// Whether claims without a class get this one.
    pub fn is_default(&self) -> bool {
        ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
            .iter()
            .any(|key| self.metadata.annotations.get(*key).is_some_and(|value| value == "true"))
    }

    /// Whether a volume is looked for only once a pod that uses the claim is scheduled.
    pub fn waits_for_consumer(&self) -> bool {
        self.volume_binding_mode == "WaitForFirstConsumer"
    }

    /// Whether volumes of this class are made on demand; without a provisioner somebody makes them by hand.
    pub fn provisions(&self) -> bool {
        self.provisioner != "kubernetes.io/no-provisioner"
    }
}

fn mode(written: &str) -> &str {
    if written.is_empty() { "Filesystem" } else { written }
}
