//! The lines of the screen of one set: replicas and their PVCs.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::kinds::{PersistentVolumeClaim, Pod, Quantity};
use crate::snapshot::{Replica, Snapshot, lost, pod_restarts, pod_state};
use crate::words;

/// One replica.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) ordinal: i32,
    pub(super) wanted: bool,
    /// Containers that are ready, and all of them.
    pub(super) containers: Option<(usize, usize)>,
    pub(super) state: String,
    pub(super) is_available: bool,
    pub(super) exists: bool,
    pub(super) revision: String,
    pub(super) is_new: Option<bool>,
    pub(super) restarts: i32,
    pub(super) age: Option<SignedDuration>,
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
            containers: None,
            state: if replica.foreign_pod.is_some() { "name taken" } else { "missing" }.to_owned(),
            is_available: false,
            exists: false,
            revision: none(),
            is_new: None,
            restarts: 0,
            age: None,
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
        row.containers = Some((ready, total));
        row.state = pod_state(pod);
        if lost(snapshot, snapshot.nodes().unwrap_or_default(), pod).is_some() {
            row.state.push_str(", node does not respond");
        }
        row.is_available = snapshot.is_available(pod) && !pod.metadata.is_terminating();
        row.revision = or_none(pod.revision());
        row.is_new = mixed.then(|| pod.revision() == set.status.update_revision);
        row.restarts = pod_restarts(pod);
        row.age = snapshot.since(pod.metadata.creation_timestamp);
        row.node = or_none(&pod.spec.node_name);
        row.zone = zone(snapshot, pod).unwrap_or_else(none);
        row.ip = or_none(&pod.status.pod_ip);
        let images: Vec<_> = pod.spec.containers.iter().map(|container| container.image.as_str()).collect();
        row.image = or_none(&images.join(","));
        row
    }

    /// `1/2`: containers that are ready.
    pub(super) fn ready(&self) -> String {
        self.containers.map_or_else(|| "–".to_owned(), |(ready, total)| format!("{ready}/{total}"))
    }

    /// `14m`.
    pub(super) fn age_text(&self) -> String {
        self.age.map_or_else(|| "–".to_owned(), words::age)
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "ordinal": self.ordinal,
            "wanted": self.wanted,
            "exists": self.exists,
            "ready": self.ready(),
            "readyContainers": self.containers.map(|(ready, _)| ready),
            "containers": self.containers.map(|(_, total)| total),
            "state": self.state,
            "available": self.is_available,
            "revision": self.revision,
            "onUpdateRevision": self.is_new,
            "restarts": self.restarts,
            "age": self.age_text(),
            "ageSeconds": self.age.map(|age| age.as_secs()),
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
            "sizeBytes": Quantity::parse(&self.size).and_then(Quantity::whole),
            "storageClass": self.class,
            "volume": self.volume,
        })
    }
}

/// Claims made for ordinals that have neither a replica nor a pod.
pub(super) fn left_over(snapshot: &Snapshot<'_>) -> Vec<Volume> {
    let mut claims = snapshot.surplus_claims().unwrap_or_default();
    claims.retain(|(ordinal, _)| snapshot.replica(*ordinal).ok().flatten().is_none());
    claims.sort_by_key(|(ordinal, claim)| (std::cmp::Reverse(*ordinal), &claim.metadata.name));
    claims.into_iter().map(|(_, claim)| Volume::of(snapshot, claim)).collect()
}

/// The least number of PVCs of one template in a row that are named as a range.
const RANGE: usize = 4;

/// `data-postgres-4, data-postgres-3 (2, 20Gi)`: those PVCs in one sentence, neighbours as a range.
pub(super) fn summary(volumes: &[Volume]) -> String {
    let bound = |volume: &Volume| volume.phase == "Bound";
    let parts = |volume: &Volume| -> Option<(String, i64)> {
        let (template, ordinal) = volume.claim.rsplit_once('-')?;
        Some((template.to_owned(), ordinal.parse().ok()?)).filter(|_| bound(volume))
    };
    let mut by_name: Vec<&Volume> = volumes.iter().collect();
    by_name.sort_by_key(|volume| {
        parts(volume).map(|(template, ordinal)| (template, std::cmp::Reverse(ordinal)))
    });
    let mut runs: Vec<Vec<&Volume>> = Vec::new();
    for volume in by_name {
        let follows = |before: &Volume| match (parts(before), parts(volume)) {
            (Some((one, high)), Some((other, low))) => one == other && high.checked_sub(1) == Some(low),
            _ => false,
        };
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|before| follows(before)) => run.push(volume),
            _ => runs.push(vec![volume]),
        }
    }
    let mut names = Vec::new();
    for run in &runs {
        match run.as_slice() {
            [first, .., last] if run.len() >= RANGE => {
                names.push(format!("{} down to {}", first.claim, last.claim));
            }
            few => names.extend(few.iter().map(|volume| match bound(volume) {
                true => volume.claim.clone(),
                false => format!("{} {}", volume.claim, volume.phase),
            })),
        }
    }
    let size: Quantity = volumes.iter().filter_map(|volume| Quantity::parse(&volume.size)).sum();
    format!("{} ({}, {size})", names.join(", "), volumes.len())
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
