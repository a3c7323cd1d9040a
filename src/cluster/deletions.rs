//! PVCs that are to be deleted: looked at one at a time, by lists that are read again before each decision.

use serde_json::Value;

use super::claims::{self, claim_path, get, set_path, snapshots_path, volume_path};
use super::connect::Connection;
use super::inventory::{Want, observe};
use super::perform::{self, Failure, Performed, Seen};
use crate::error::{Error, Result};
use crate::kinds::{PersistentVolume, PersistentVolumeClaim, StatefulSet};
use crate::plan::prune::{Claims, Item, Known, Reading, SnapshotState, Wanted};
use crate::plan::{Step, VolumeChange, VolumePatch};
use crate::snapshot::Scope;

/// PVCs that are to be deleted.
pub struct Deletions {
    connection: Connection,
    wanted: Wanted,
    now: Claims,
    /// The versions of each PVC and its volume as they were judged, for the preconditions of writes.
    seen: Vec<(Seen, Seen)>,
    /// The PVC that was read last.
    current: usize,
}

impl Deletions {
    /// Nothing is read until it has to be: what was shown is known.
    pub fn new(connection: Connection, items: Vec<Item>, wanted: Wanted) -> Deletions {
        let seen = |item: &Item| {
            let claim = Seen { uid: item.pvc.uid.clone(), resource_version: item.version.clone() };
            (claim, Seen::default())
        };
        Deletions {
            wanted,
            seen: items.iter().map(seen).collect(),
            now: Claims::shown(items, connection.clock().now),
            connection,
            current: 0,
        }
    }

    /// How things stand.
    pub fn now(&self) -> &Claims {
        &self.now
    }

    fn index_of(&self, step: &Step) -> Option<usize> {
        let pvc = step.pvc()?;
        self.now.known.iter().position(|known| known.item.pvc == *pvc)
    }

    /// Whether what was read last is about this step.
    pub fn is_read(&self, step: &Step) -> bool {
        self.index_of(step) == Some(self.current) && self.now.known[self.current].is_read
    }

    /// Reads everything again about the PVC of this step, or about the one that was read last. The PVC comes first:
    /// whatever came to need it before it was gone is in the lists that are read after that. The set comes last, as it
    /// decides.
    ///
    /// # Errors
    /// When anything of it cannot be read.
    pub async fn read_again(&mut self, about: Option<&Step>) -> Result<()> {
        let index = about.and_then(|step| self.index_of(step)).unwrap_or(self.current);
        let Some(known) = self.now.known.get(index) else { return Ok(()) };
        let (connection, item) = (&self.connection, &known.item);
        let scope = Scope::Namespace(item.pvc.namespace.clone());
        let claim = get(connection, &claim_path(&item.pvc.namespace, &item.pvc.name)).await?;
        let claim: Option<PersistentVolumeClaim> = typed(claim, "PVC", &item.pvc.name)?;
        let volume = match item.volume.as_str() {
            "" => None,
            name => get(connection, &volume_path(name)).await?,
        };
        let volume: Option<PersistentVolume> = typed(volume, "PV", &item.volume)?;
        let snapshot = self.snapshot_state(known).await?;
        let observed = observe(connection, scope.clone(), Want::Claims).await?;
        let around = claims::around(connection, &scope).await;
        let set = get(connection, &set_path(&item.pvc.namespace, &item.set)).await?;
        let set: Option<StatefulSet> = typed(set, "StatefulSet", &item.set)?;
        let reading = Reading {
            claim: claim.as_ref(),
            volume: volume.as_ref(),
            observed: &observed,
            around: &around,
            set: set.as_ref(),
        };
        let (mut state, fresh) = reading.judge(item, &self.wanted);
        // A note that was there at the first look is of an earlier run, whose deletion may still arrive.
        state.pending = match known.is_read {
            true => known.state.pending,
            false => state.volume.is_noted(),
        };
        let (of_claim, of_volume) = &mut self.seen[index];
        if let Some(fresh) = fresh {
            *of_claim = Seen::of(&fresh.claim.metadata);
        }
        *of_volume = volume.map(|volume| Seen::of(&volume.metadata)).unwrap_or_default();
        let known = &mut self.now.known[index];
        (known.state, known.set, known.snapshot, known.is_read) = (state, set, snapshot, true);
        self.now.taken_at = connection.clock().now;
        self.current = index;
        Ok(())
    }

    /// What has become of the VolumeSnapshot, if one was created.
    async fn snapshot_state(&self, known: &Known) -> Result<SnapshotState> {
        if known.snapshot != SnapshotState::Made {
            return Ok(known.snapshot.clone());
        }
        let list = snapshots_path(&known.item.pvc.namespace);
        let path = format!("{list}/{}", known.snapshot_name());
        let Some(found) = get(&self.connection, &path).await? else { return Ok(SnapshotState::Missing) };
        let status = &found["status"];
        Ok(match status["error"]["message"].as_str() {
            Some(message) => SnapshotState::Failed(format!("it failed: {message}")),
            None if status["readyToUse"] == true => SnapshotState::Ready,
            None => SnapshotState::Made,
        })
    }

    /// Carries a step out, or has it checked without effect. What the server answers is part of what is known: a deletion
    /// that it has refused is not sent again.
    ///
    /// # Errors
    /// When the server refused for good, or could not be reached. In the second case it may have been done.
    pub async fn perform(&mut self, step: &Step, dry_run: bool) -> std::result::Result<Performed, Failure> {
        let index = self.index_of(step).unwrap_or(self.current);
        let Some((of_claim, of_volume)) = self.seen.get(index) else { return Ok(Performed::AlreadyGone) };
        let seen = match step {
            Step::PatchVolume(_) => of_volume,
            Step::DeletePvc { .. }
            | Step::CreateSnapshot { .. }
            | Step::CreatePvc { .. }
            | Step::Patch(_)
            | Step::DeletePod { .. }
            | Step::Await { .. }
            | Step::AwaitPvc { .. } => of_claim,
        };
        let sent = perform::perform(&self.connection, "", step, seen, dry_run).await;
        let performed = match sent {
            Ok((performed, _)) => performed,
            Err(Failure { forbidden: Some(message), .. }) if matches!(step, Step::PatchVolume(_)) => {
                Performed::Forbidden(message.into())
            }
            Err(failure) => return Err(failure),
        };
        if !dry_run {
            note(&mut self.now.known[index], step, &performed);
            if let (Step::CreateSnapshot { name, .. }, Performed::Done) = (step, &performed) {
                self.wanted.own_snapshots.push(name.clone());
            }
        }
        Ok(performed)
    }
}

/// Notes what the server has answered: it is part of what is known.
pub fn note(known: &mut Known, step: &Step, performed: &Performed) {
    match (step, performed) {
        (Step::DeletePvc { .. }, Performed::Done) => (known.is_sent, known.is_begun) = (true, true),
        (Step::DeletePvc { .. }, Performed::Conflict(message)) => known.refused = Some(message.clone()),
        (Step::PatchVolume(VolumePatch { change, .. }), Performed::Done) => {
            known.is_begun = true;
            if let VolumeChange::GiveBack { policy, destroys: true } = change {
                known.handed_back = Some(policy.clone());
            }
        }
        (Step::PatchVolume(_), Performed::Forbidden(message)) => known.forbidden = Some(message.clone()),
        (Step::CreateSnapshot { .. }, Performed::Done) => known.snapshot = SnapshotState::Made,
        (Step::CreateSnapshot { .. }, Performed::Conflict(message)) => {
            known.snapshot = SnapshotState::Failed(format!("it could not be created: {message}"));
        }
        (
            Step::DeletePvc { .. }
            | Step::PatchVolume(_)
            | Step::CreateSnapshot { .. }
            | Step::CreatePvc { .. }
            | Step::Patch(_)
            | Step::DeletePod { .. }
            | Step::Await { .. }
            | Step::AwaitPvc { .. },
            Performed::Done
            | Performed::AlreadyGone
            | Performed::Conflict(_)
            | Performed::TooManyRequests(_)
            | Performed::Forbidden(_),
        ) => {}
    }
}

/// The object as what it has to be.
pub(super) fn typed<T: serde::de::DeserializeOwned>(
    found: Option<Value>,
    kind: &str,
    name: &str,
) -> Result<Option<T>> {
    let object = found.map(serde_json::from_value).transpose();
    object.map_err(|error| Error::cluster(format!("{kind} {name} is not as expected")).because(error))
}
