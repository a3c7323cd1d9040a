//! The lines of the screen of one set: replicas and their claims.

use serde_json::{Value, json};

use crate::kinds::{PersistentVolumeClaim, Pod};
use crate::snapshot::{ClaimName, Replica, Snapshot, lost, pod_restarts, pod_state};
use crate::words;

/// One replica.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) ordinal: i32,
    pub(super) wanted: bool,
    pub(super) ready: String,
    pub(super) state: String,
    pub(super) is_available: bool,
    pub(super) exists: bool,
    pub(super) revision: String,
    pub(super) is_new: Option<bool>,
    pub(super) restarts: i32,
    pub(super) age: String,
    pub(super) node: String,
    pub(super) zone: String,
    pub(super) ip: String,
    pub(super) image: String,
    pub(super) volumes: Vec<Volume>,
}

/// One claim.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) claim: String,
    pub(super) phase: String,
    pub(super) size: String,
    pub(super) class: String,
    pub(super) volume: String,
}

impl Row {
    pub(super) fn of(snapshot: &Snapshot<'_>, replica: &Replica<'_>, wanted: bool, mixed: bool) -> Row {
        let set = snapshot.set;
        let volumes = replica.claims().map(|claim| Volume::of(snapshot, claim)).collect();
        let none = || "–".to_owned();
        let mut row = Row {
            name: replica.name.clone(),
            ordinal: replica.ordinal,
            wanted,
            ready: none(),
            state: if replica.foreign_pod.is_some() { "name taken" } else { "missing" }.to_owned(),
            is_available: false,
            exists: false,
            revision: none(),
            is_new: None,
            restarts: 0,
            age: none(),
            node: none(),
            zone: none(),
            ip: none(),
            image: none(),
            volumes,
        };
        let Some(pod) = replica.pod else { return row };
        let or_none = |text: &str| if text.is_empty() { none() } else { text.to_owned() };
        let (ready, total) = pod.ready_containers();
        row.exists = true;
        row.ready = format!("{ready}/{total}");
        row.state = pod_state(pod);
        if lost(snapshot, snapshot.nodes().unwrap_or_default(), pod).is_some() {
            row.state.push_str(", node does not respond");
        }
        row.is_available = snapshot.is_available(pod) && !pod.metadata.is_terminating();
        row.revision = or_none(pod.revision());
        row.is_new = mixed.then(|| pod.revision() == set.status.update_revision);
        row.restarts = pod_restarts(pod);
        row.age = snapshot.since(pod.metadata.creation_timestamp).map_or_else(none, words::age);
        row.node = or_none(&pod.spec.node_name);
        row.zone = zone(snapshot, pod).unwrap_or_else(none);
        row.ip = or_none(&pod.status.pod_ip);
        let images: Vec<_> = pod.spec.containers.iter().map(|container| container.image.as_str()).collect();
        row.image = or_none(&images.join(","));
        row
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "ordinal": self.ordinal,
            "wanted": self.wanted,
            "exists": self.exists,
            "ready": self.ready,
            "state": self.state,
            "available": self.is_available,
            "revision": self.revision,
            "onUpdateRevision": self.is_new,
            "restarts": self.restarts,
            "age": self.age,
            "node": self.node,
            "zone": self.zone,
            "ip": self.ip,
            "image": self.image,
            "claims": self.volumes.iter().map(Volume::json).collect::<Vec<_>>(),
        })
    }
}

impl Volume {
    pub(super) fn of(snapshot: &Snapshot<'_>, claim: &PersistentVolumeClaim) -> Volume {
        let phase = match (&claim.metadata.deletion_timestamp, claim.status.phase.as_str()) {
            (Some(_), _) => "Terminating",
            (None, "") => "Pending",
            (None, phase) => phase,
        };
        let class = match claim.class() {
            Some("") => "<none>".to_owned(),
            Some(class) => class.to_owned(),
            None => snapshot
                .class_of(claim)
                .ok()
                .flatten()
                .map_or("<default>".to_owned(), |class| class.metadata.name.clone()),
        };
        Volume {
            claim: claim.metadata.name.clone(),
            phase: phase.to_owned(),
            size: claim.size().to_owned(),
            class,
            volume: claim.spec.volume_name.clone(),
        }
    }

    pub(super) fn none() -> Volume {
        Volume {
            claim: String::new(),
            phase: String::new(),
            size: String::new(),
            class: String::new(),
            volume: String::new(),
        }
    }

    pub(super) fn cells(&self) -> [String; 4] {
        let size = if matches!(self.phase.as_str(), "" | "Bound") {
            self.size.clone()
        } else {
            format!("{} {}", self.size, self.phase)
        };
        [self.claim.clone(), size, self.class.clone(), self.volume.clone()]
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.claim,
            "phase": self.phase,
            "size": self.size,
            "storageClass": self.class,
            "volume": self.volume,
        })
    }
}

/// Claims made for ordinals that have neither a replica nor a pod.
pub(super) fn left_over(snapshot: &Snapshot<'_>) -> Vec<Volume> {
    let set = snapshot.set;
    let mut claims: Vec<_> = snapshot
        .claims()
        .unwrap_or_default()
        .iter()
        .filter_map(|claim| Some((ClaimName::parse(set, &claim.metadata.name)?.ordinal, *claim)))
        .filter(|(ordinal, _)| !set.in_range(*ordinal) && snapshot.replica(*ordinal).ok().flatten().is_none())
        .collect();
    claims.sort_by_key(|(ordinal, claim)| (std::cmp::Reverse(*ordinal), &claim.metadata.name));
    claims.into_iter().map(|(_, claim)| Volume::of(snapshot, claim)).collect()
}

/// Whether pods of more than one revision are there, or the update has not reached any.
pub(super) fn mixed(snapshot: &Snapshot<'_>) -> bool {
    let status = &snapshot.set.status;
    let strays = snapshot
        .replicas()
        .unwrap_or_default()
        .iter()
        .any(|replica| replica.pod.is_some_and(|pod| pod.revision() != status.update_revision));
    strays && !status.update_revision.is_empty()
}

fn zone(snapshot: &Snapshot<'_>, pod: &Pod) -> Option<String> {
    snapshot.node(&pod.spec.node_name).ok()??.zone().map(str::to_owned)
}
