//! Pods of other workloads than StatefulSets: of them only what they take is kept.

use super::wire::{self, Field, Malformed};
use super::{Container, Pod};

/// Kinds whose pods are looked at only for what they take: a name, a PVC, a port, a quota, a node.
const OTHER_WORKLOADS: [&str; 5] = ["ReplicaSet", "DaemonSet", "Job", "ReplicationController", "Node"];

impl Container {
    /// Of a container of another workload only what it takes: [`Pod::drop_unread`] keeps the same.
    fn taking(value: Field<'_>) -> Result<Container, Malformed> {
        let mut container = Container::default();
        for field in value.fields()? {
            let (number, value) = field?;
            if matches!(number, 1 | 6 | 8 | 24) {
                container.take(number, value)?;
            }
        }
        Ok(container)
    }
}

impl Pod {
    /// Reads a pod of a list. What is not kept of pods of other workloads is not even decoded: they are many. The API server
    /// writes the metadata first.
    ///
    /// # Errors
    /// When it is no pod.
    pub(super) fn decode(bytes: &[u8]) -> Result<Pod, Malformed> {
        let mut pod = Pod::default();
        for field in Field::Bytes(bytes).fields()? {
            let (number, value) = field?;
            match number {
                2 if pod.is_of_other_workload() => {
                    for field in value.fields()? {
                        match field? {
                            (2, value) => wire::push(&mut pod.spec.containers, Container::taking(value)?),
                            (20, value) => {
                                wire::push(&mut pod.spec.init_containers, Container::taking(value)?);
                            }
                            (22, _) => {}
                            (number, value) => pod.spec.take(number, value)?,
                        }
                    }
                }
                3 if pod.is_of_other_workload() => {
                    for field in value.fields()? {
                        let (number, value) = field?;
                        if !matches!(number, 8 | 10) {
                            pod.status.take(number, value)?;
                        }
                    }
                }
                _ => pod.take(number, value)?,
            }
        }
        Ok(pod)
    }

    /// Of pods of other workloads, which most clusters have more of: no probes, no environment, no container statuses.
    pub(super) fn drop_unread(&mut self) {
        let stem = self.metadata.name.rsplit_once('-').map(|(stem, _)| stem.to_owned());
        self.spec.keep_peers(stem.as_deref());
        if !self.is_of_other_workload() {
            return;
        }
        let spec = &mut self.spec;
        for container in spec.init_containers.iter_mut().chain(&mut spec.containers) {
            let kept = Container {
                name: std::mem::take(&mut container.name),
                restart_policy: std::mem::take(&mut container.restart_policy),
                ports: std::mem::take(&mut container.ports),
                resources: std::mem::take(&mut container.resources),
                ..Container::default()
            };
            *container = kept;
        }
        spec.tolerations = Vec::new();
        self.status.container_statuses = Vec::new();
        self.status.init_container_statuses = Vec::new();
    }

    fn is_of_other_workload(&self) -> bool {
        self.metadata.controller().is_some_and(|owner| OTHER_WORKLOADS.contains(&owner.kind.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{ContainerPort, ContainerStatus, EnvVar, Object as _, OwnerReference, PodVolume};

    #[test]
    fn of_pods_of_other_workloads_only_what_they_take_is_kept() {
        let container = Container {
            name: "main".to_owned(),
            ports: vec![ContainerPort { host_port: 80, ..ContainerPort::default() }],
            env: vec![EnvVar::default()],
            readiness_probe: Some(Box::default()),
            ..Container::default()
        };
        let pod = |owner: &str| {
            let mut pod = Pod::default();
            let owner =
                OwnerReference { kind: owner.to_owned(), controller: true, ..OwnerReference::default() };
            pod.metadata.owner_references = vec![owner];
            pod.spec.containers = vec![container.clone()];
            pod.spec.volumes = vec![PodVolume::default()];
            pod.status.container_statuses = vec![ContainerStatus::default()];
            pod
        };
        for owner in ["StatefulSet", "Cluster", ""] {
            let mut settled = pod(owner);
            settled.settle();
            assert_eq!(settled, pod(owner), "{owner}");
        }
        let mut settled = pod("ReplicaSet");
        settled.settle();
        let kept = Container { env: Vec::new(), readiness_probe: None, ..container.clone() };
        assert_eq!(settled.spec.containers, [kept]);
        assert_eq!(settled.spec.volumes.len(), 1);
        assert!(settled.status.container_statuses.is_empty());
    }
}
