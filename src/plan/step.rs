//! One step of a plan: what is written, to what, as it was seen. All that has to be known of a kind of step is in
//! [`Step::about`] and in its equality, which have no wildcard: a new kind does not compile until both know it.

use std::time::Duration;

use serde_json::{Value, json};

use super::Permission;
use crate::kinds::{CLAIM_UID, EARLIER_POLICY, RETAIN};
use crate::words;

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// Changes the set, in one write.
    Patch(SetPatch),
    /// Deletes a pod, which the controller recreates.
    DeletePod {
        /// The pod's name.
        pod: String,
        /// The uid it had when it was looked at.
        seen: String,
        /// Whether to ask the budgets, by eviction.
        evict: bool,
        /// What happens to it, for people.
        note: String,
    },
    /// Creates a VolumeSnapshot of a PVC.
    CreateSnapshot {
        /// The PVC.
        pvc: Pvc,
        /// The VolumeSnapshot's name.
        name: String,
        /// Its VolumeSnapshotClass.
        class: String,
    },
    /// Changes a PersistentVolume, in one write.
    PatchVolume(VolumePatch),
    /// Deletes a PVC.
    DeletePvc {
        /// The PVC.
        pvc: Pvc,
        /// What becomes of the data, for people.
        note: String,
    },
    /// Creates a PVC.
    CreatePvc {
        /// The PVC; the uid is that of the PVC it replaces.
        pvc: Pvc,
        /// All of it, as it is sent.
        manifest: Value,
        /// What it is for, for people.
        note: String,
    },
    /// Waits, writing nothing.
    Await {
        /// The pods waited for, in the order in which they come.
        pods: Vec<String>,
        /// What for, as the end of `wait for postgres-2 …`: `to be available`.
        until: String,
    },
    /// Waits for something about a PVC, writing nothing.
    AwaitPvc {
        /// The PVC.
        pvc: Pvc,
        /// What for, as the end of `wait for PVC data-db-2 …`: `to be gone`.
        until: &'static str,
        /// The longest it may take.
        limit: Duration,
    },
}

/// A PVC, as it was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pvc {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// A change of a PersistentVolume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumePatch {
    /// The PVC for which it is changed: its volume, or the one it had.
    pub pvc: Pvc,
    /// The volume's name.
    pub volume: String,
    /// What changes.
    pub change: VolumeChange,
}

/// What changes of a PersistentVolume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeChange {
    /// It gets the reclaim policy Retain, and its earlier one is noted on it for the PVC.
    Guard {
        /// The policy it has now.
        earlier: String,
    },
    /// It gets the reclaim policy Retain for good, and loses the note.
    Keep,
    /// It gets this reclaim policy again, and loses the note.
    GiveBack {
        /// The policy.
        policy: String,
        /// Whether Kubernetes destroys the volume then, as its PVC is gone.
        destroys: bool,
    },
    /// It is bound to no PVC any more, and reserved for the one of this name.
    Free,
}

impl VolumePatch {
    /// The merge patch, without preconditions.
    pub fn body(&self) -> Value {
        let change = |policy: &str, earlier: Option<&str>| {
            json!({
                "metadata": {"annotations": {
                    EARLIER_POLICY: earlier,
                    CLAIM_UID: earlier.map(|_| self.pvc.uid.as_str()),
                }},
                "spec": {"persistentVolumeReclaimPolicy": policy},
            })
        };
        match &self.change {
            VolumeChange::Guard { earlier } => change(RETAIN, Some(earlier)),
            VolumeChange::Keep => change(RETAIN, None),
            VolumeChange::GiveBack { policy, .. } => change(policy, None),
            VolumeChange::Free => json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}}),
        }
    }

    /// What changes, for people.
    pub fn note(&self) -> String {
        let name = &self.pvc.name;
        match &self.change {
            VolumeChange::Guard { earlier } => {
                format!("reclaim policy {earlier} → {RETAIN}, until PVC {name} is gone")
            }
            VolumeChange::Keep => format!("reclaim policy → {RETAIN}"),
            VolumeChange::GiveBack { policy, destroys: true } => {
                format!("reclaim policy {RETAIN} → {policy}; the PV and its data will be destroyed")
            }
            VolumeChange::GiveBack { policy, destroys: false } => {
                format!("reclaim policy {RETAIN} → {policy}, as before")
            }
            VolumeChange::Free => format!("release it from the deleted PVC and reserve it for {name}"),
        }
    }

    /// The same change, to the same end. By which policy a volume is known that is guarded does not count: it is guarded
    /// whatever it is.
    fn is_same(&self, other: &VolumePatch) -> bool {
        let VolumePatch { pvc, volume, change } = self;
        let change_is_same = match change {
            VolumeChange::Guard { earlier: _ } => matches!(other.change, VolumeChange::Guard { .. }),
            VolumeChange::Keep => other.change == VolumeChange::Keep,
            VolumeChange::GiveBack { policy, destroys: _ } => {
                matches!(&other.change, VolumeChange::GiveBack { policy: p, .. } if p == policy)
            }
            VolumeChange::Free => other.change == VolumeChange::Free,
        };
        (pvc, volume) == (&other.pvc, &other.volume) && change_is_same
    }
}

/// All that is known of a kind of step, in one place.
struct About<'s> {
    /// What is done, in one word.
    verb: &'static str,
    /// The kind of the object that is written, and its name.
    object: Option<(&'static str, &'s str)>,
    /// The object in words.
    words: String,
    /// What it changes, for people.
    note: String,
    permission: Option<Permission>,
    pvc: Option<&'s Pvc>,
    /// Whether the object stays, and is changed.
    is_change: bool,
    /// Whether the server can check it without effect before anything is written.
    is_checkable: bool,
    /// Whether it may be needed twice.
    may_recur: bool,
}

impl<'s> About<'s> {
    fn write(
        verb: &'static str,
        object: (&'static str, &'s str),
        permission: Permission,
        note: &str,
    ) -> About<'s> {
        let (kind, name) = object;
        let word = match kind {
            "Pod" => "pod",
            "PersistentVolume" => "PV",
            other => other,
        };
        About {
            verb,
            object: Some(object),
            words: format!("{word} {name}"),
            note: note.to_owned(),
            permission: Some(permission),
            pvc: None,
            is_change: verb == "patch",
            is_checkable: true,
            may_recur: false,
        }
    }

    fn write_pvc(verb: &'static str, pvc: &'s Pvc, note: &str) -> About<'s> {
        let permission = Permission::write_pvc(verb).placed(&pvc.namespace);
        let words = format!("PVC {} in {}", pvc.name, pvc.namespace);
        let write = About::write(verb, ("PersistentVolumeClaim", &pvc.name), permission, note);
        About { words, pvc: Some(pvc), ..write }
    }

    fn wait(words: String) -> About<'s> {
        About {
            verb: "wait for",
            object: None,
            words,
            note: String::new(),
            permission: None,
            pvc: None,
            is_change: false,
            is_checkable: false,
            may_recur: true,
        }
    }
}

impl Step {
    fn about(&self) -> About<'_> {
        match self {
            Step::Patch(SetPatch { set, note, .. }) => {
                About::write("patch", ("StatefulSet", set), Permission::PATCH_SET, note)
            }
            Step::DeletePod { pod, evict: true, note, .. } => {
                About::write("evict", ("Pod", pod), Permission::EVICT_POD, note)
            }
            Step::DeletePod { pod, evict: false, note, .. } => {
                About::write("delete", ("Pod", pod), Permission::DELETE_POD, note)
            }
            Step::CreateSnapshot { pvc, name, class } => {
                let permission = Permission::CREATE_SNAPSHOT.placed(&pvc.namespace);
                let note = format!("of PVC {}, VolumeSnapshotClass {class}", pvc.name);
                let write = About::write("create", ("VolumeSnapshot", name), permission, &note);
                About { pvc: Some(pvc), is_checkable: false, ..write }
            }
            Step::PatchVolume(patch) => {
                let permission = Permission::patch_volume();
                let object = ("PersistentVolume", patch.volume.as_str());
                let write = About::write("patch", object, permission, &patch.note());
                // It follows from where the steps before have led to. A volume is guarded again whenever its data is in
                // danger.
                About { pvc: Some(&patch.pvc), is_checkable: false, may_recur: true, ..write }
            }
            Step::DeletePvc { pvc, note } => About::write_pvc("delete", pvc, note),
            Step::CreatePvc { pvc, note, .. } => About::write_pvc("create", pvc, note),
            Step::Await { pods, .. } => About::wait(words::list(pods, 5)),
            Step::AwaitPvc { pvc, .. } => {
                let wait = About::wait(format!("PVC {} in {}", pvc.name, pvc.namespace));
                About { pvc: Some(pvc), ..wait }
            }
        }
    }

    /// Whether anything is written.
    pub fn writes(&self) -> bool {
        self.about().object.is_some()
    }

    /// The PVC it is about.
    pub fn pvc(&self) -> Option<&Pvc> {
        self.about().pvc
    }

    /// What is done, in one word: `patch`, `evict`, `wait for`.
    pub fn verb(&self) -> &'static str {
        self.about().verb
    }

    /// The kind of the object it writes, and its name; a step that waits has none.
    pub fn object(&self) -> Option<(&'static str, &str)> {
        self.about().object
    }

    /// The object in words: `StatefulSet web`, `pod web-1`, `PVC data-web-1 in shop`.
    pub fn object_text(&self) -> String {
        self.about().words
    }

    /// What it changes, for people; may be empty.
    pub fn note(&self) -> String {
        self.about().note
    }

    /// What it changes of an object that stays, for people.
    pub fn changes(&self) -> Option<String> {
        let about = self.about();
        about.is_change.then_some(about.note)
    }

    /// What it needs to be allowed.
    pub fn permission(&self) -> Option<Permission> {
        self.about().permission
    }

    /// Whether the server can check it without effect before anything is written.
    pub fn can_be_checked(&self) -> bool {
        self.about().is_checkable
    }

    /// Whether it may be needed twice, as something else comes in between. Everything else that was done and is left again
    /// was undone by another client.
    pub fn may_recur(&self) -> bool {
        self.about().may_recur
    }

    /// The step in words: `delete pod postgres-2`.
    pub fn text(&self) -> String {
        let About { verb, words, .. } = self.about();
        match self {
            Step::Await { pods, until } if pods.is_empty() => format!("{verb} {until}"),
            Step::Await { until, .. } => format!("{verb} {words} {until}"),
            Step::AwaitPvc { until, .. } => format!("{verb} {words} {until}"),
            Step::Patch(_)
            | Step::DeletePod { .. }
            | Step::CreateSnapshot { .. }
            | Step::PatchVolume(_)
            | Step::DeletePvc { .. }
            | Step::CreatePvc { .. } => format!("{verb} {words}"),
        }
    }

    /// The step with what it changes, as one sentence; `when` says under which condition it is done, if not always.
    pub fn sentence(&self, when: &str) -> String {
        let (text, note) = (self.text(), self.note());
        let text = if when.is_empty() { text } else { format!("{text} {when}") };
        match (self.deleted_pod(), note.split_once("; ")) {
            _ if note.is_empty() => text,
            (Some(_), Some((state, then))) => format!("{text} ({state}); {then}"),
            _ => format!("{text}: {note}"),
        }
    }

    /// The longest that what it waits for may take.
    pub fn limit(&self) -> Option<Duration> {
        if let Step::AwaitPvc { limit, .. } = self { Some(*limit) } else { None }
    }

    /// The change of the set that it is.
    pub fn patch(&self) -> Option<&SetPatch> {
        if let Step::Patch(patch) = self { Some(patch) } else { None }
    }

    /// Whether it changes the pod template.
    pub fn brings_template(&self) -> bool {
        self.patch().is_some_and(|patch| patch.body.pointer("/spec/template").is_some())
    }

    /// Whether it only stops a rollout where that has come to.
    pub fn pauses(&self) -> bool {
        self.patch().is_some_and(|patch| patch.pauses)
    }

    /// The pod it deletes.
    pub fn deleted_pod(&self) -> Option<&str> {
        if let Step::DeletePod { pod, .. } = self { Some(pod) } else { None }
    }
}

impl PartialEq for Step {
    /// The same step: the same object as it was seen, and the same change. Words for people do not count.
    fn eq(&self, other: &Step) -> bool {
        match self {
            Step::Patch(patch) => matches!(other, Step::Patch(other) if patch == other),
            Step::DeletePod { pod: _, seen, evict, note: _ } => {
                matches!(other, Step::DeletePod { seen: s, evict: e, .. } if (seen, evict) == (s, e))
            }
            Step::CreateSnapshot { pvc, name, class } => {
                matches!(other, Step::CreateSnapshot { pvc: p, name: n, class: c } if (pvc, name, class) == (p, n, c))
            }
            Step::PatchVolume(patch) => matches!(other, Step::PatchVolume(other) if patch.is_same(other)),
            Step::DeletePvc { pvc, note: _ } => matches!(other, Step::DeletePvc { pvc: p, .. } if pvc == p),
            Step::CreatePvc { pvc, manifest, note: _ } => {
                matches!(other, Step::CreatePvc { pvc: p, manifest: m, .. } if (pvc, manifest) == (p, m))
            }
            Step::Await { pods, until } => {
                matches!(other, Step::Await { pods: p, until: u } if (pods, until) == (p, u))
            }
            Step::AwaitPvc { pvc, until, limit: _ } => {
                matches!(other, Step::AwaitPvc { pvc: p, until: u, .. } if (pvc, until) == (p, u))
            }
        }
    }
}

/// How a patch is read by the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// application/merge-patch+json.
    Merge,
    /// application/strategic-merge-patch+json.
    Strategic,
}

/// A change of the set.
#[derive(Clone, Debug)]
pub struct SetPatch {
    /// The set's name.
    pub set: String,
    /// The uid it had when it was looked at.
    pub seen: String,
    /// The generation it had. A change of the spec in between makes this another step.
    pub generation: i64,
    /// How the body is meant.
    pub kind: PatchKind,
    /// The change, without preconditions.
    pub body: Value,
    /// The revision whose template it puts back, by name; `None` where the template, if it has one, is new.
    pub revision: Option<String>,
    /// Whether it only stops a rollout where that has come to. It restarts no pod, so it is agreed to wherever that is.
    pub pauses: bool,
    /// What changes, for people: `partition 0 → 3`.
    pub note: String,
}

impl PartialEq for SetPatch {
    /// The same change of the same object as it was seen. Words for people do not count; nor, for a pause, where the
    /// rollout has come to.
    fn eq(&self, other: &SetPatch) -> bool {
        let SetPatch { set: _, seen, generation, kind, body, revision: _, pauses, note: _ } = self;
        *seen == other.seen
            && *generation == other.generation
            && *kind == other.kind
            && *pauses == other.pauses
            && (*pauses || *body == other.body)
    }
}
