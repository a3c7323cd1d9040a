//! The goal of `restore-pvc`: PVCs that were deleted are there again, each bound to the volume it had.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Goal, Plan, Pvc, Refusal, Step, Stop, Subject, VolumeChange, VolumePatch};
use crate::kinds::{PersistentVolume, PersistentVolumeClaim, RETAIN, Reference};
use crate::paste::kubectl;
use crate::words;

/// PVCs that are to be brought back.
#[derive(Clone, Copy, Debug)]
pub enum Returns {}

impl Subject for Returns {
    type Now<'a> = Returning;
}

/// A PVC that was deleted, from its backup.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// The PVC, with the uid that it had; empty if that is not known.
    pub pvc: Pvc,
    /// Its volume.
    pub volume: String,
    /// The uid that its volume had; empty if that is not known.
    pub volume_uid: String,
    /// The PVC, as it is to be created.
    pub manifest: Value,
}

/// What there is of one of them.
#[derive(Clone, Debug)]
pub struct Remains {
    /// The PVC.
    pub deleted: Deleted,
    /// The PVC of its name.
    pub claim: Option<PersistentVolumeClaim>,
    /// The volume of that name.
    pub volume: Option<PersistentVolume>,
    /// Whether this run has changed anything of it.
    pub is_begun: bool,
}

/// How things stand with the PVCs that are to be brought back.
#[derive(Clone, Debug)]
pub struct Returning {
    /// When it was looked last.
    pub taken_at: Timestamp,
    /// Each PVC, in order.
    pub all: Vec<Remains>,
}

/// Each PVC is bound to the volume it had.
#[derive(Clone, Copy, Debug)]
pub struct Restore {
    /// How long a PVC may take to be bound.
    pub patience: Duration,
}

impl Goal<Returns> for Restore {
    fn plan(&self, now: &Returning) -> Result<Plan, Stop> {
        let headline = format!("restore {}", words::count(now.all.len(), "PVC"));
        let mut plan = Plan { headline, ..Plan::default() };
        for remains in &now.all {
            let left = self.left(remains)?;
            plan.is_half_done |= plan.steps.is_empty() && remains.is_begun && !left.is_empty();
            plan.steps.extend(left);
        }
        Ok(plan)
    }
}

impl Restore {
    /// All steps that are left for one PVC.
    ///
    /// # Errors
    /// Why it cannot be brought back.
    pub fn left(&self, remains: &Remains) -> Result<Vec<Step>, Refusal> {
        let Deleted { pvc, volume: name, manifest, .. } = &remains.deleted;
        if let Some(claim) = &remains.claim
            && (claim.spec.volume_name != *name || claim.metadata.is_terminating())
        {
            return Err(remains.in_the_way(claim));
        }
        let volume = remains.own_volume()?;
        let holder = volume.spec.claim_ref.as_ref().map_or("", |reference| &reference.uid);
        let patch =
            |change| Step::PatchVolume(VolumePatch { pvc: pvc.clone(), volume: name.clone(), change });
        let mut steps = Vec::new();
        // A PVC of the name that was created by hand waits for its volume until it is free, too.
        let is_unbound = remains.claim.as_ref().is_none_or(|claim| !claim.is_bound());
        let claim_uid = remains.claim.as_ref().map_or("", |claim| &claim.metadata.uid);
        if is_unbound && !holder.is_empty() && holder != claim_uid {
            steps.push(patch(VolumeChange::Free));
        }
        if remains.claim.is_none() {
            let note = format!("bound to PV {name}");
            steps.push(Step::CreatePvc { pvc: pvc.clone(), manifest: manifest.clone(), note });
        }
        match remains.claim.as_ref().filter(|claim| claim.is_bound()) {
            None => {
                let pvc = pvc.clone();
                steps.push(Step::AwaitPvc { pvc, until: "to be bound", limit: self.patience });
            }
            Some(claim) if claim.metadata.uid != holder => {
                return Err(remains.no("is not bound to it, although the PVC is bound"));
            }
            Some(_) => {}
        }
        // A free volume that is reserved is no place to stop, and one that has its PVC again gets its policy again.
        if let Some(policy) = remains.earlier_policy() {
            let policy = policy.to_owned();
            steps.push(patch(VolumeChange::GiveBack { policy, destroys: false }));
        }
        Ok(steps)
    }
}

impl Remains {
    /// The policy that the volume had before prune-pvcs set it to Retain for this very PVC.
    pub fn earlier_policy(&self) -> Option<&str> {
        self.volume.as_ref()?.earlier_policy(&self.deleted.pvc.uid)
    }

    /// Whether the PVC is bound to its volume.
    pub fn is_bound(&self) -> bool {
        let is_its = |claim: &PersistentVolumeClaim| claim.spec.volume_name == self.deleted.volume;
        self.claim.as_ref().is_some_and(|claim| claim.is_bound() && is_its(claim))
    }

    /// The volume, as long as it can be bound to the PVC.
    fn own_volume(&self) -> Result<&PersistentVolume, Refusal> {
        let Deleted { pvc, volume_uid, .. } = &self.deleted;
        let Some(volume) = &self.volume else { return Err(self.no("no longer exists, so its data is lost")) };
        if !volume_uid.is_empty() && volume.metadata.uid != *volume_uid {
            return Err(self.no("is not the PV of the backup, but another one of the same name"));
        }
        let claim_uid = self.claim.as_ref().map_or("", |claim| &claim.metadata.uid);
        if let Some(reference) = &volume.spec.claim_ref {
            let Reference { name, namespace, uid, .. } = reference;
            let is_for_it = (name, namespace) == (&pvc.name, &pvc.namespace);
            if !is_for_it || !(uid.is_empty() || uid == claim_uid || *uid == pvc.uid) {
                return Err(self.no(&format!("is bound to another PVC, {name} in {namespace}")));
            }
        }
        if volume.metadata.is_terminating() {
            return Err(self.no("is being deleted"));
        }
        let released = self.claim.is_none() && volume.status.phase == "Released";
        if released && volume.spec.persistent_volume_reclaim_policy != RETAIN {
            return Err(self.no("is about to be deleted (reclaim policy Delete)"));
        }
        Ok(volume)
    }

    fn no(&self, why: &str) -> Refusal {
        let Deleted { pvc, volume, .. } = &self.deleted;
        let because = format!("PV {volume} of {} {why}", pvc.name);
        Refusal { reason: "volume", because, hint: String::new() }
    }

    /// How to continue when there is a PVC of the name, as after a scale-up.
    fn in_the_way(&self, claim: &PersistentVolumeClaim) -> Refusal {
        let Deleted { pvc: Pvc { namespace, name, .. }, volume, .. } = &self.deleted;
        let is_leaving = claim.metadata.is_terminating();
        let because = match is_leaving {
            true => format!("PVC {name} already exists and is being deleted"),
            false => format!("PVC {name} already exists"),
        };
        let has = match claim.spec.volume_name.as_str() {
            "" => "it has no PV".to_owned(),
            other if other == volume => "it waits for the pods that use it".to_owned(),
            other => {
                format!("it is bound to PV {other}, which is deleted with it if its reclaim policy is Delete")
            }
        };
        let replica = name.rsplit_once('-').map_or("N", |(_, ordinal)| ordinal);
        let look = kubectl("describe pvc").name(name).namespace(namespace);
        let delete = kubectl("delete pvc").name(name).namespace(namespace).with("--ignore-not-found");
        let hint = format!(
            "see that PVC ({has}): {look}\n\
             to use the data of PV {volume} instead, scale the StatefulSet down so that replica {replica} is gone, then run\n\
             {delete}\n\
             and repeat this command before you scale up"
        );
        Refusal { reason: "exists", because, hint }
    }
}
