//! Which write comes next while one PVC is deleted: a pure function of what is observed, so that a run that was killed
//! is finished by the next.
//!
//! Servers before Kubernetes 1.37 do not write to a PVC when a pod mounts it, so no precondition of the deletion can
//! tell that a replica came to need it in the last moment. Therefore the volume is set to Retain first, its earlier
//! reclaim policy noted on it, and it is handed back to that policy only once the PVC is gone and nothing needs it: a
//! PVC that is gone cannot come to be needed, because whoever wants the name from then on gets a new PVC.

use crate::kinds::RETAIN;
use crate::snapshot::attribution::{Reason, ReasonCode};

/// How a PVC is to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// The volume is kept until the end, then handed back to its reclaim policy.
    Guarded,
    /// The volume is kept for good (`--retain`).
    Keep,
    /// The volume cannot be patched, and the race was accepted (`--accept-race`).
    Unguarded,
}

/// What there is of the PVC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is there, and not being deleted.
    There,
    /// It has a deletion timestamp.
    Leaving,
    /// It is gone.
    Gone,
    /// It is gone, and there is another one of its name.
    Replaced,
}

/// What there is of its volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Volume {
    /// The PVC never had one.
    Never,
    /// It does not exist (any more), or is being deleted.
    Missing,
    /// There is one of the name, but it is another one, or bound or reserved for another PVC.
    Elsewhere,
    /// It is there and its `claimRef` names the PVC, by uid.
    Its {
        /// Its reclaim policy.
        policy: String,
        /// The earlier policy, if it was noted for this PVC.
        noted: Option<String>,
        /// Whether its phase is Released: Kubernetes knows that the PVC is gone.
        released: bool,
    },
}

impl Volume {
    /// Whether its earlier policy was noted for the PVC.
    pub fn is_noted(&self) -> bool {
        match self {
            Volume::Its { noted, .. } => noted.is_some(),
            Volume::Never | Volume::Missing | Volume::Elsewhere => false,
        }
    }
}

/// What is observed of a PVC that is to be deleted, all of it read after the last write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The PVC.
    pub claim: Claim,
    /// Its volume.
    pub volume: Volume,
    /// What speaks against deleting the PVC, or against giving up its data.
    pub against: Option<Reason>,
    /// Whether a deletion of this PVC may be under way that nothing is known of: one that an earlier run has sent, or
    /// whose answer was lost.
    pub pending: bool,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Set the volume to Retain, with its policy noted.
    Guard,
    /// Set the volume to Retain, without a note.
    Keep,
    /// Delete the PVC.
    Delete,
    /// Wait, and look again.
    Wait,
    /// Give the volume back to this policy: its data may be destroyed.
    HandBack(String),
    /// Give the volume back to this policy, because its PVC stays.
    PutBack(String),
    /// Nothing is left to do.
    End(End),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The PVC is gone, and the volume is as was agreed.
    Done,
    /// The PVC is not deleted, for this reason.
    Stays(Reason),
    /// The PVC is being deleted, or gone, although it is needed now; the volume keeps its data.
    Kept(Reason),
    /// The PVC is being deleted, or gone, although it is needed now, and its volume is not kept.
    Late(Reason),
}

/// The next phase.
pub fn next(manner: Manner, now: &State) -> Phase {
    match now.claim {
        Claim::There => there(manner, now),
        Claim::Leaving => leaving(manner, now),
        Claim::Gone | Claim::Replaced => gone(manner, now),
    }
}

fn there(manner: Manner, now: &State) -> Phase {
    if let Some(against) = &now.against {
        return match &now.volume {
            // A deletion that may still arrive must find the volume kept.
            Volume::Its { policy, noted: Some(earlier), .. } if policy == RETAIN && !now.pending => {
                Phase::PutBack(earlier.clone())
            }
            _ => Phase::End(End::Stays(against.clone())),
        };
    }
    match &now.volume {
        Volume::Never => Phase::Delete,
        Volume::Missing => {
            Phase::End(End::Stays(Reason::new(ReasonCode::Lost, "its PV does not exist or is being deleted")))
        }
        Volume::Elsewhere => {
            Phase::End(End::Stays(Reason::new(ReasonCode::VolumeElsewhere, "its PV is bound to another PVC")))
        }
        Volume::Its { policy, noted, .. } => match manner {
            Manner::Guarded if policy != RETAIN => Phase::Guard,
            Manner::Keep if policy != RETAIN || noted.is_some() => Phase::Keep,
            Manner::Guarded | Manner::Keep | Manner::Unguarded => Phase::Delete,
        },
    }
}

fn leaving(manner: Manner, now: &State) -> Phase {
    let Some(against) = now.against.clone().filter(|against| !against.code.passes()) else {
        return Phase::Wait;
    };
    match &now.volume {
        Volume::Its { policy, .. } if policy == RETAIN => Phase::End(End::Kept(against)),
        // The PVC cannot be saved any more, its data can.
        Volume::Its { .. } if manner != Manner::Unguarded => Phase::Guard,
        _ => Phase::End(End::Late(against)),
    }
}

fn gone(manner: Manner, now: &State) -> Phase {
    let another = || Reason::new(ReasonCode::Replaced, "a new PVC of its name exists");
    let against = now.against.clone().or_else(|| (now.claim == Claim::Replaced).then(another));
    match (&now.volume, against) {
        (Volume::Its { policy, noted: Some(_), .. }, Some(against)) if policy == RETAIN => {
            if against.code.passes() { Phase::Wait } else { Phase::End(End::Kept(against)) }
        }
        (Volume::Its { policy, noted: Some(earlier), released }, None) if policy == RETAIN => match manner {
            Manner::Keep => Phase::Keep,
            _ if !released => Phase::Wait,
            _ => Phase::HandBack(earlier.clone()),
        },
        (Volume::Its { policy, .. }, Some(against)) if policy == RETAIN && !against.code.passes() => {
            Phase::End(End::Kept(against))
        }
        (_, Some(against)) if !against.code.passes() => Phase::End(End::Late(against)),
        _ => Phase::End(End::Done),
    }
}
