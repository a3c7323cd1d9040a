//! Volumes that keep a pod from all nodes: used by another pod, too many on a node, or without free space.

use std::collections::BTreeSet;

use super::super::prelude::*;
use super::super::services;
use super::{Scheduling, Way};

impl Scheduling<'_, '_> {
    /// A PVC of which one pod at a time may make use.
    pub(super) fn once(&self) -> Option<Way> {
        let pods = self.snapshot.pods().ok()?;
        let holder = self.pod.claim_names().find_map(|name| {
            let claim = self.snapshot.claim(&name).ok().flatten()?;
            let is_once = claim.spec.access_modes.iter().any(|mode| mode == "ReadWriteOncePod");
            let holds = |other: &&&Pod| {
                other.metadata.name != self.pod.metadata.name
                    && !other.is_finished()
                    && !other.spec.node_name.is_empty()
                    && other.claim_names().any(|used| used == name)
            };
            let holder = pods.iter().filter(|_| is_once).find(holds)?;
            Some((name, *holder))
        });
        let (claim, holder) = holder?;
        let other = &holder.metadata.name;
        let way = match holder.metadata.controller() {
            Some(owner) if owner.kind != "StatefulSet" => Way::because(format!(
                "pod {other} of {} {} uses PVC {claim}, and only one pod at a time may (ReadWriteOncePod): remove the PVC \
                 from {} {}, or delete it",
                owner.kind, owner.name, owner.kind, owner.name
            )),
            _ => Way::because(format!(
                "pod {other} uses PVC {claim}, and only one pod at a time may (ReadWriteOncePod)"
            )),
        };
        Some(way.step(kubectl("delete pod").name(other).namespace(home(self.snapshot))))
    }

    /// Nodes with as many volumes of a driver as they take.
    pub(super) fn limit(&self) -> Way {
        let claims = self.pod.claim_names().filter_map(|name| self.snapshot.claim(&name).ok().flatten());
        let drivers: BTreeSet<&str> = claims
            .filter_map(|claim| Some(self.snapshot.class_of(claim).ok()??.provisioner.as_str()))
            .collect();
        let nodes = self.snapshot.csi_nodes().unwrap_or_default();
        let suitable =
            |name: &str| self.places.iter().all(|place| place.name() != name || place.obstacles.is_empty());
        let limits: Vec<String> = (nodes.iter())
            .filter(|node| suitable(&node.metadata.name))
            .flat_map(|node| node.spec.drivers.iter().map(move |driver| (node, driver)))
            .filter(|(_, driver)| drivers.contains(driver.name.as_str()))
            .filter_map(|(node, driver)| {
                let most = words::count(driver.allocatable.count?, "volume");
                Some(format!("{} takes at most {most} of {}", node.metadata.name, driver.name))
            })
            .collect();
        let limits = match limits.as_slice() {
            [] => "a node takes a limited number of volumes of each storage driver".to_owned(),
            limits => format!("{} (CSINode)", words::list(limits, 3)),
        };
        let way =
            Way::because(format!("{limits}, and has them: add a node, or run fewer pods with volumes there"));
        way.step(self.fewer())
    }

    /// Too little free space for a volume that is to be made.
    pub(super) fn free(&self) -> Way {
        let claims = self.pod.claim_names().filter_map(|name| self.snapshot.claim(&name).ok().flatten());
        let unbound = claims.filter(|claim| !claim.is_bound());
        let each: Vec<String> = unbound.filter_map(|claim| self.room_for(claim)).collect();
        let way = Way::because(match each.as_slice() {
            [] => "the storage driver reports too little free space on every suitable node: add storage, or run fewer replicas"
                .to_owned(),
            each => format!("{}: add storage there, or run fewer replicas", words::list(each, 3)),
        });
        way.step(self.fewer())
    }

    /// `PVC data-web-2 requests 100Gi of class local, but at most 10Gi are free (on node-1)`.
    fn room_for(&self, claim: &PersistentVolumeClaim) -> Option<String> {
        let class = &self.snapshot.class_of(claim).ok()??.metadata.name;
        let capacities = self.snapshot.capacities().ok()?;
        // The largest volume, where the driver reports it (`volumebinding/binder.go:capacitySufficient`).
        let size = |it: &CSIStorageCapacity| {
            let text = if it.maximum_volume_size.is_empty() { &it.capacity } else { &it.maximum_volume_size };
            Some((Quantity::parse(text)?, text.clone()))
        };
        let of_class = capacities.iter().filter(|it| it.storage_class_name == *class);
        let most = of_class.filter_map(|it| Some((size(it)?, it))).max_by_key(|((amount, _), _)| *amount);
        let requested = claim.requested();
        let Some(((_, text), capacity)) = most else {
            return Some(format!(
                "PVC {} requests {requested} of class {class}, and no CSIStorageCapacity reports free space for it",
                claim.metadata.name
            ));
        };
        let place = capacity.node_topology.as_ref().map(|it| services::written(&it.match_labels));
        let place =
            place.filter(|place| !place.is_empty()).map_or(String::new(), |place| format!(", where {place}"));
        Some(format!(
            "PVC {} requests {requested} of class {class}, but at most {text} is free{place} (CSIStorageCapacity)",
            claim.metadata.name
        ))
    }
}
