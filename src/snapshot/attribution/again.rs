//! Whether anything came to need a PVC that is being deleted, or is gone.

use super::{ClaimAudit, Overrides, Reason, ReasonCode};
use crate::kinds::StatefulSet;

/// A PVC that is being deleted or gone: what is left of it is its name.
#[derive(Clone, Copy, Debug)]
pub struct Gone<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid: a PVC of the name with another one is not it.
    pub uid: &'a str,
    /// The replica it was for.
    pub ordinal: i32,
}

impl ClaimAudit<'_> {
    /// What speaks against giving up the data of a PVC that is being deleted or gone. As in judging a PVC that is there,
    /// doubt keeps; the PVC itself has nothing to say any more.
    pub fn wanted_again(&self, gone: &Gone<'_>, set: &StatefulSet, waivers: &Overrides) -> Option<Reason> {
        let Gone { namespace, name, uid, ordinal } = *gone;
        if set.in_range(ordinal) {
            return Some(Reason::new(ReasonCode::InRange, format!("{} needs it", set.pod_name(ordinal))));
        }
        // What names it now says more than that the set is on its way.
        if let Err(unseen) = &self.pods {
            return Some(Reason::unchecked(unseen));
        }
        self.pod(name, set, ordinal)
            .or_else(|| self.by_template(name, namespace))
            .or_else(|| self.successor(name, uid))
            .or_else(|| self.unsettled(set, waivers))
            .or_else(|| self.autoscaled(set, ordinal, waivers))
            .or_else(|| self.snapshot_under_way(gone, waivers))
            .or_else(|| self.around.and_then(super::ClaimUsers::unread))
    }

    /// A PVC of the same name that was made since.
    fn successor(&self, name: &str, uid: &str) -> Option<Reason> {
        let is_another = |claim: &&&crate::kinds::PersistentVolumeClaim| {
            claim.metadata.name == name && claim.metadata.uid != uid
        };
        let another = self.namespace.claims.iter().find(is_another)?;
        let volume = match another.spec.volume_name.as_str() {
            "" => "without a PV yet".to_owned(),
            volume => format!("on PV {volume}"),
        };
        Some(Reason::new(ReasonCode::Replaced, format!("a new PVC of its name exists, {volume}")))
    }

    /// A snapshot of it that cannot be used yet, for which the data is still needed.
    fn snapshot_under_way(&self, gone: &Gone<'_>, waivers: &Overrides) -> Option<Reason> {
        let snapshot = self.around?.snapshots.iter().find(|snapshot| {
            snapshot.metadata.namespace == gone.namespace
                && snapshot.spec.source.persistent_volume_claim_name == gone.name
                && !snapshot.status.ready_to_use
                && !waivers.own_snapshots.contains(&snapshot.metadata.name)
        })?;
        let name = &snapshot.metadata.name;
        Some(Reason::new(
            ReasonCode::Source,
            format!("VolumeSnapshot {name} was taken of it and is not ready to use yet"),
        ))
    }
}
