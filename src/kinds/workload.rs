//! What can hold a claim without a pod of its own: pod templates of other workloads, attachments, snapshots.

use super::{Meta, PersistentVolumeClaim, PodTemplate, Said, partial, partial_json};

partial_json! {
    /// A Deployment, ReplicaSet, DaemonSet, Job, CronJob or ReplicationController: the claims its pods would mount.
    struct Workload {
        kind: String,
        metadata: Meta,
        spec: WorkloadSpec,
    }

    /// The spec of any of them.
    struct WorkloadSpec {
        template: Option<PodTemplate>,
        job_template: Option<JobTemplate>,
    }

    /// batch/v1 JobTemplateSpec.
    struct JobTemplate {
        spec: JobTemplateSpec,
    }

    /// batch/v1 JobSpec.
    struct JobTemplateSpec {
        template: PodTemplate,
    }

}

partial! {
    /// storage.k8s.io/v1 VolumeAttachment.
    struct VolumeAttachment {
        metadata: Meta => 1,
        spec: AttachmentSpec => 2,
        status: AttachmentStatus => 3,
    }

    /// storage.k8s.io/v1 VolumeAttachmentStatus, without the driver's metadata.
    struct AttachmentStatus {
        attached: bool => 1,
        detach_error: Option<VolumeError> => 4,
    }

    /// storage.k8s.io/v1 VolumeError.
    struct VolumeError {
        message: Said => 2,
    }

    /// storage.k8s.io/v1 VolumeAttachmentSpec.
    struct AttachmentSpec {
        attacher: String => 1,
        node_name: String => 3,
        source: AttachmentSource => 2,
    }

    /// storage.k8s.io/v1 VolumeAttachmentSource.
    struct AttachmentSource {
        persistent_volume_name: String => 1,
    }

}

partial_json! {
    /// snapshot.storage.k8s.io/v1 VolumeSnapshot.
    struct VolumeSnapshot {
        metadata: Meta,
        spec: SnapshotSpec,
        status: SnapshotStatus,
    }

    /// snapshot.storage.k8s.io/v1 VolumeSnapshotStatus.
    struct SnapshotStatus {
        ready_to_use: bool,
    }

    /// snapshot.storage.k8s.io/v1 VolumeSnapshotSpec.
    struct SnapshotSpec {
        source: SnapshotSource,
    }

    /// snapshot.storage.k8s.io/v1 VolumeSnapshotSource.
    struct SnapshotSource {
        persistent_volume_claim_name: String,
    }
}

impl Workload {
    /// The claims its pod template names.
    pub fn claim_names(&self) -> impl Iterator<Item = &str> {
        let template = self.spec.template.as_ref();
        let job = self.spec.job_template.as_ref().map(|job| &job.spec.template);
        template.into_iter().chain(job).flat_map(PodTemplate::claim_names)
    }
}

impl VolumeSnapshot {
    /// Whether it is made from this claim. It knows its source by name only; one that was ready before the claim was
    /// made is of an earlier claim of that name.
    pub fn is_of(&self, claim: &PersistentVolumeClaim) -> bool {
        let (meta, of) = (&self.metadata, &claim.metadata);
        let is_older = self.status.ready_to_use
            && meta.creation_timestamp.zip(of.creation_timestamp).is_some_and(|(its, claims)| its < claims);
        meta.namespace == of.namespace
            && self.spec.source.persistent_volume_claim_name == of.name
            && !is_older
    }
}

impl PodTemplate {
    /// The claims it names; claims of ephemeral volumes are named after the pod, and so are no template's.
    pub fn claim_names(&self) -> impl Iterator<Item = &str> {
        let volumes = self.spec.volumes.iter();
        volumes
            .filter_map(|volume| volume.persistent_volume_claim.as_ref())
            .map(|claim| claim.claim_name.as_str())
    }
}
