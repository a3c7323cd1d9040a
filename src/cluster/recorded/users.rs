//! What holds PVCs besides pods, in a recording.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster::claims;
use crate::kinds::*;
use crate::snapshot::NotRead;
use crate::snapshot::attribution::ClaimUsers;

/// What of [`ClaimUsers`] decides about claims, and nothing else of these objects.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Users {
    /// Workloads whose pod template names claims.
    #[serde(default)]
    workloads: Vec<Named>,
    #[serde(default)]
    snapshots: Vec<VolumeSnapshot>,
    #[serde(default)]
    attachments: Vec<Attached>,
}

/// A workload, and the claims that its pod template names.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    kind: String,
    namespace: String,
    name: String,
    claims: Vec<String>,
}

/// A volume, and the node it is attached to.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attached {
    volume: String,
    node: String,
}

impl Users {
    pub(super) fn of(around: &ClaimUsers) -> Users {
        let named = around.workloads.iter().map(|workload| Named {
            kind: workload.kind.clone(),
            namespace: workload.metadata.namespace.clone(),
            name: workload.metadata.name.clone(),
            claims: workload.claim_names().map(str::to_owned).collect(),
        });
        let snapshots = around.snapshots.iter().map(|it| {
            let of = &it.metadata;
            let metadata = Meta {
                name: of.name.clone(),
                namespace: of.namespace.clone(),
                creation_timestamp: of.creation_timestamp,
                ..Meta::default()
            };
            VolumeSnapshot { metadata, ..it.clone() }
        });
        let attached = around.attachments.iter().map(|it| Attached {
            volume: it.spec.source.persistent_volume_name.clone(),
            node: it.spec.node_name.clone(),
        });
        Users {
            workloads: named.filter(|it| !it.claims.is_empty()).collect(),
            snapshots: snapshots.collect(),
            attachments: attached.collect(),
        }
    }

    pub(super) fn around(self, not_seen: &BTreeMap<String, String>) -> ClaimUsers {
        let workloads = self.workloads.into_iter().map(|it| {
            let volumes = it.claims.into_iter().map(|claim_name| PodVolume {
                persistent_volume_claim: Some(ClaimSource { claim_name }),
                ..PodVolume::default()
            });
            let spec = PodSpec { volumes: volumes.collect(), ..PodSpec::default() };
            let template = PodTemplate { spec, ..PodTemplate::default() };
            Workload {
                kind: it.kind,
                metadata: Meta { namespace: it.namespace, name: it.name, ..Meta::default() },
                spec: WorkloadSpec { template: Some(template), ..WorkloadSpec::default() },
            }
        });
        let attachments = self.attachments.into_iter().map(|it| VolumeAttachment {
            spec: AttachmentSpec {
                node_name: it.node,
                source: AttachmentSource { persistent_volume_name: it.volume },
                ..AttachmentSpec::default()
            },
            ..VolumeAttachment::default()
        });
        let unread = claims::kinds_around()
            .filter_map(|(kind, plural)| Some((plural, NotRead::parse(not_seen.get(kind)?))));
        ClaimUsers {
            workloads: workloads.collect(),
            attachments: attachments.collect(),
            snapshots: self.snapshots,
            unread: unread.collect(),
        }
    }
}
