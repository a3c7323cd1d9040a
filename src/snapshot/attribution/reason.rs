//! Why a PVC is kept, for programs and for people.

use crate::snapshot::Unseen;

/// Why a PVC or its volume is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReasonCode {
    /// A replica in the range uses it.
    InRange,
    /// Its StatefulSet is being deleted.
    SetDeleting,
    /// The controller has not observed the latest change of its StatefulSet.
    SetChanging,
    /// Its StatefulSet is being scaled.
    Scaling,
    /// Its StatefulSet is scaled to 0, perhaps only for a while.
    ScaledToZero,
    /// An autoscaler may want its replica again.
    AutoscalerRange,
    /// A pod mounts it.
    Mounted,
    /// A pod has the name of its replica.
    PodThere,
    /// A PVC or a VolumeSnapshot is made from it.
    Source,
    /// A pod template names it.
    Named,
    /// Its volume is lost.
    Lost,
    /// It waits to be bound.
    Pending,
    /// Its volume is bound to another PVC.
    VolumeElsewhere,
    /// Its volume could not be read.
    VolumeUnseen,
    /// Its volume is attached to a node.
    Attached,
    /// Another object owns it.
    Owned,
    /// It is deleted together with a pod.
    Collected,
    /// It lacks the labels of the StatefulSet of its name.
    Unproven,
    /// Several StatefulSets create PVCs of this name.
    SharedName,
    /// No StatefulSet creates PVCs of this name.
    NoSet,
    /// It is being deleted.
    Deleting,
    /// A finalizer of another client holds it.
    Finalizer,
    /// A label says that it is used.
    DeclaredUsed,
    /// Something that is needed to decide could not be read.
    Unchecked,
    /// It is younger than asked for.
    TooYoung,
    /// It has not been unused for as long as asked for.
    UsedLately,
    /// Its PVC exists.
    Bound,
    /// The volume is not Released.
    NotReleased,
    /// There is a new PVC of its name.
    Replaced,
    /// The permission for it is missing.
    Forbidden,
    /// It is gone.
    Gone,
    /// It is another object of the same name.
    Another,
    /// It was changed after the plan was shown.
    Changed,
    /// Its StatefulSet was changed after the plan was shown.
    SetChanged,
    /// Its StatefulSet was deleted.
    SetGone,
}

impl ReasonCode {
    /// The stable word for programs, such as `mounted`.
    pub fn word(self) -> &'static str {
        match self {
            ReasonCode::InRange => "in-range",
            ReasonCode::SetDeleting => "set-deleting",
            ReasonCode::SetChanging => "set-changing",
            ReasonCode::Scaling => "scaling",
            ReasonCode::ScaledToZero => "scaled-to-zero",
            ReasonCode::AutoscalerRange => "autoscaler-range",
            ReasonCode::Mounted => "mounted",
            ReasonCode::PodThere => "pod-there",
            ReasonCode::Source => "source",
            ReasonCode::Named => "named",
            ReasonCode::Lost => "lost",
            ReasonCode::Pending => "pending",
            ReasonCode::VolumeElsewhere => "volume-elsewhere",
            ReasonCode::VolumeUnseen => "volume-unseen",
            ReasonCode::Attached => "attached",
            ReasonCode::Owned => "owned",
            ReasonCode::Collected => "collected",
            ReasonCode::Unproven => "unproven",
            ReasonCode::SharedName => "shared-name",
            ReasonCode::NoSet => "no-set",
            ReasonCode::Deleting => "deleting",
            ReasonCode::Finalizer => "finalizer",
            ReasonCode::DeclaredUsed => "declared-used",
            ReasonCode::Unchecked => "unchecked",
            ReasonCode::TooYoung => "too-young",
            ReasonCode::UsedLately => "used-lately",
            ReasonCode::Bound => "bound",
            ReasonCode::NotReleased => "not-released",
            ReasonCode::Replaced => "replaced",
            ReasonCode::Forbidden => "forbidden",
            ReasonCode::Gone => "gone",
            ReasonCode::Another => "another",
            ReasonCode::Changed => "changed",
            ReasonCode::SetChanged => "set-changed",
            ReasonCode::SetGone => "set-gone",
        }
    }

    /// Whether it ends by itself, so that waiting helps.
    pub fn passes(self) -> bool {
        matches!(self, ReasonCode::Scaling | ReasonCode::SetChanging)
    }

    /// Whether it stands for something that could not be read.
    pub fn is_unread(self) -> bool {
        matches!(self, ReasonCode::Unchecked | ReasonCode::VolumeUnseen)
    }
}

/// Why a PVC is in its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What decisions are made by.
    pub code: ReasonCode,
    /// For people, as a fragment: `pod backup-x mounts it`.
    pub text: String,
}

impl Reason {
    /// Of a code and what people read.
    pub fn new(code: ReasonCode, text: impl Into<String>) -> Reason {
        Reason { code, text: text.into() }
    }

    /// Something that is needed to decide was not read.
    pub fn unchecked(unseen: &Unseen) -> Reason {
        Reason::new(ReasonCode::Unchecked, format!("could not be checked: {unseen}"))
    }

    /// A pod template names it.
    pub fn named(kind: &str, name: &str) -> Reason {
        Reason::new(ReasonCode::Named, format!("the pod template of {kind} {name} uses it"))
    }
}
