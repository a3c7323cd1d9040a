//! Volumes that a run which was interrupted has kept: their PVC is gone, and they have to be handed back.

use super::Wanted;
use crate::kinds::{PersistentVolume, StatefulSet};
use crate::snapshot::Namespace;
use crate::snapshot::attribution::{ClaimAudit, Gone, Overrides, Reason, ReasonCode};

/// A volume that nothing needs any more, and that waits for its reclaim policy.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// The volume, as it was seen.
    pub volume: PersistentVolume,
    /// The namespace of its PVC.
    pub namespace: String,
    /// Its PVC, which is gone.
    pub claim: String,
    /// The uid of that PVC.
    pub claim_uid: String,
    /// The reclaim policy it had.
    pub earlier: String,
    /// The set whose replica the PVC was for.
    pub set: String,
    /// The set's uid.
    pub set_uid: String,
    /// Whether the set is scaled to 0.
    pub zero: bool,
    /// The replica the PVC was for.
    pub ordinal: i32,
}

/// A volume that stays as an interrupted run has left it.
#[derive(Clone, Debug)]
pub struct Held {
    /// The volume.
    pub volume: String,
    /// The namespace of its PVC.
    pub namespace: String,
    /// Its PVC.
    pub claim: String,
    /// The reclaim policy it had.
    pub earlier: String,
    /// Whether its PVC exists.
    pub is_bound: bool,
    /// Why it stays.
    pub reason: Reason,
}

/// What becomes of a volume with a note of ours.
pub(super) enum Note {
    /// Its PVC is gone, and nothing needs it.
    Unfinished(Box<Unfinished>),
    /// It stays.
    Held(Held),
}

/// Judges a volume of a PVC of this namespace; `None` if there is no note of ours on it, or it is of no interest.
pub(super) fn judge(
    volume: &PersistentVolume,
    (name, namespace): (&str, &Namespace<'_>),
    census: &ClaimAudit<'_>,
    wanted: &Wanted,
    chosen: &impl Fn(&StatefulSet) -> bool,
    all: bool,
) -> Option<Note> {
    let reference = volume.spec.claim_ref.as_ref().filter(|reference| reference.namespace == name)?;
    let earlier = volume.earlier_policy(&reference.uid).filter(|_| !volume.metadata.is_terminating())?;
    let owners: Vec<(&StatefulSet, i32)> =
        namespace.makers(&reference.name).map(|(set, parsed)| (set, parsed.ordinal)).collect();
    if !(owners.is_empty() && all || owners.iter().any(|(set, _)| chosen(set))) {
        return None;
    }
    let claim = namespace.claims.iter().find(|claim| claim.metadata.uid == reference.uid);
    let held = |reason: Reason| {
        Some(Note::Held(Held {
            volume: volume.metadata.name.clone(),
            namespace: name.to_owned(),
            claim: reference.name.clone(),
            earlier: earlier.to_owned(),
            is_bound: claim.is_some(),
            reason,
        }))
    };
    if let Some(claim) = claim {
        return match claim.metadata.is_terminating() {
            true => held(Reason::new(ReasonCode::Deleting, "its PVC is being deleted")),
            false => held(Reason::new(ReasonCode::Bound, "its PVC exists")),
        };
    }
    let [(set, ordinal)] = owners[..] else {
        return match owners.is_empty() {
            true => held(Reason::new(ReasonCode::NoSet, "no StatefulSet creates PVCs of this name")),
            false => {
                held(Reason::new(ReasonCode::SharedName, "several StatefulSets create PVCs of this name"))
            }
        };
    };
    if volume.status.phase != "Released" {
        return held(Reason::new(ReasonCode::NotReleased, format!("its phase is {}", volume.status.phase)));
    }
    let waivers = Overrides {
        zero: set.replicas() == 0 && wanted.wants_zero(set),
        autoscaler_range: wanted.autoscaler_range,
        own_snapshots: wanted.own_snapshots.clone(),
        unread: false,
    };
    let gone = Gone { namespace: name, name: &reference.name, uid: &reference.uid, ordinal };
    if let Some(reason) = census.wanted_again(&gone, set, &waivers) {
        return held(reason);
    }
    Some(Note::Unfinished(Box::new(Unfinished {
        volume: volume.clone(),
        namespace: name.to_owned(),
        claim: reference.name.clone(),
        claim_uid: reference.uid.clone(),
        earlier: earlier.to_owned(),
        set: set.metadata.name.clone(),
        set_uid: set.metadata.uid.clone(),
        zero: set.replicas() == 0,
        ordinal,
    })))
}
