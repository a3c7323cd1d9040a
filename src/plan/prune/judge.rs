//! One PVC that is to be deleted, judged from what was read, as if for the first time.

use crate::kinds::{PersistentVolume, PersistentVolumeClaim, StatefulSet};
use crate::plan::Pvc;
use crate::plan::prune::phase::{Claim, State, Volume};
use crate::plan::prune::{Found, LeftOver, Unfinished, Wanted, find};
use crate::snapshot::Observed;
use crate::snapshot::attribution::{ClaimAudit, ClaimUsers, Gone, Overrides, Reason, ReasonCode};

/// A PVC to delete, or the volume of one that an interrupted run has deleted.
#[derive(Clone, Debug)]
pub struct Item {
    /// The PVC.
    pub pvc: Pvc,
    /// Its resourceVersion when the plan was shown.
    pub version: String,
    /// The volume's name; empty if there is none.
    pub volume: String,
    /// Its set.
    pub set: String,
    /// The set's uid.
    pub set_uid: String,
    /// The replica it is for.
    pub ordinal: i32,
    /// What the plan said would become of the volume.
    pub fate: &'static str,
    /// Whether the plan said that the volume is kept.
    pub keeps_volume: bool,
    /// Whether the PVC was there when the plan was shown.
    pub was_there: bool,
    /// How things stood when the plan was shown.
    pub shown: State,
}

impl Item {
    /// A PVC that is left over.
    pub fn of(left: &LeftOver, retain: bool, observed: &Observed) -> Item {
        let meta = &left.claim.metadata;
        let pvc = Pvc { namespace: meta.namespace.clone(), name: meta.name.clone(), uid: meta.uid.clone() };
        let name = &left.claim.spec.volume_name;
        let volumes = observed.volumes.as_deref().unwrap_or_default();
        let volume = match volumes.iter().find(|volume| volume.metadata.name == *name) {
            Some(volume) => volume_state(&pvc, name, Some(volume)),
            None if name.is_empty() => Volume::Never,
            // It was not seen, so the worst is shown.
            None => Volume::Its { policy: "Delete".to_owned(), noted: None, released: false },
        };
        Item {
            pvc,
            version: meta.resource_version.clone(),
            volume: name.clone(),
            set: left.set.clone(),
            set_uid: left.set_uid.clone(),
            ordinal: left.ordinal,
            fate: left.fate(retain),
            keeps_volume: left.keeps_volume(retain),
            was_there: true,
            shown: State { claim: Claim::There, volume, against: None, pending: false },
        }
    }

    /// The volume of a PVC that an interrupted run has deleted.
    pub fn unfinished(left: &Unfinished, retain: bool) -> Item {
        let pvc =
            Pvc { namespace: left.namespace.clone(), name: left.claim.clone(), uid: left.claim_uid.clone() };
        let name = &left.volume.metadata.name;
        let volume = volume_state(&pvc, name, Some(&left.volume));
        Item {
            version: String::new(),
            volume: name.clone(),
            set: left.set.clone(),
            set_uid: left.set_uid.clone(),
            ordinal: left.ordinal,
            fate: left.fate(retain),
            keeps_volume: retain,
            was_there: false,
            shown: State { claim: Claim::Gone, volume, against: None, pending: false },
            pvc,
        }
    }
}

/// All that was read of one PVC, in this order: the PVC, the volume, all lists, and the set.
#[derive(Debug)]
pub struct Reading<'r> {
    /// The PVC of the name.
    pub claim: Option<&'r PersistentVolumeClaim>,
    /// The volume of the name.
    pub volume: Option<&'r PersistentVolume>,
    /// All lists.
    pub observed: &'r Observed,
    /// Those of what uses PVCs besides pods.
    pub around: &'r ClaimUsers,
    /// The set of the name.
    pub set: Option<&'r StatefulSet>,
}

impl Reading<'_> {
    /// How things stand, and the PVC as it was judged if nothing speaks against deleting it.
    pub fn judge(&self, item: &Item, wanted: &Wanted) -> (State, Option<LeftOver>) {
        let claim = match self.claim {
            None => Claim::Gone,
            Some(now) if now.metadata.uid != item.pvc.uid => Claim::Replaced,
            Some(now) if now.metadata.is_terminating() => Claim::Leaving,
            Some(_) => Claim::There,
        };
        let (against, fresh) = match claim {
            Claim::There => match self.still_left_over(item, wanted) {
                Ok(fresh) => (None, Some(fresh)),
                Err(against) => (Some(against), None),
            },
            Claim::Leaving | Claim::Gone | Claim::Replaced => (self.needed_again(item, wanted), None),
        };
        let volume = match item.volume.as_str() {
            "" => Volume::Never,
            name => volume_state(&item.pvc, name, self.volume),
        };
        (State { claim, volume, against, pending: false }, fresh)
    }

    /// The PVC as it was shown as left over; or why it is not any more.
    fn still_left_over(&self, item: &Item, wanted: &Wanted) -> Result<LeftOver, Reason> {
        let is_its = |set: &StatefulSet| set.metadata.name == item.set;
        let Found { left_over, rest, .. } = find(self.observed, Some(self.around), wanted, is_its, false);
        let same = |other: &LeftOver| other.claim.metadata.name == item.pvc.name;
        let Some(fresh) = left_over.into_iter().find(same) else {
            let rest = rest.into_iter().find(|rest| rest.claim == item.pvc.name);
            return Err(rest
                .and_then(|rest| rest.class.reason().cloned())
                .unwrap_or_else(|| Reason::new(ReasonCode::Gone, "it no longer exists")));
        };
        if fresh.claim.metadata.uid != item.pvc.uid || fresh.set_uid != item.set_uid {
            return Err(Reason::new(
                ReasonCode::Another,
                "it is not the PVC that was shown, but another one of the same name",
            ));
        }
        let was = self.observed.sets.iter().find(|set| is_its(set));
        let stands = was.zip(self.set).is_some_and(|(was, now)| {
            now.metadata.uid == was.metadata.uid
                && now.metadata.generation == was.metadata.generation
                && now.status.replicas == was.status.replicas
        });
        if stands {
            Ok(fresh)
        } else {
            Err(Reason::new(ReasonCode::SetChanged, format!("{} was changed in the meantime", item.set)))
        }
    }

    /// What came to need a PVC that is being deleted, or its name once it is gone.
    fn needed_again(&self, item: &Item, wanted: &Wanted) -> Option<Reason> {
        let name = &item.set;
        let Some(set) = self.set else {
            return Some(Reason::new(
                ReasonCode::SetGone,
                format!("StatefulSet {name} was deleted in the meantime"),
            ));
        };
        if set.metadata.uid != item.set_uid {
            return Some(Reason::new(
                ReasonCode::SetGone,
                format!("StatefulSet {name} was deleted and recreated in the meantime"),
            ));
        }
        let namespaces = self.observed.namespaces();
        let Some(namespace) = namespaces.get(item.pvc.namespace.as_str()) else {
            return Some(Reason::new(
                ReasonCode::SetChanging,
                format!("StatefulSet {name} is missing in the list of StatefulSets"),
            ));
        };
        if let Err(unseen) = &self.observed.claims {
            return Some(Reason::new(ReasonCode::Unchecked, format!("could not be checked: {unseen}")));
        }
        let waivers = Overrides {
            zero: set.replicas() == 0 && wanted.wants_zero(set),
            autoscaler_range: wanted.autoscaler_range,
            own_snapshots: wanted.own_snapshots.clone(),
            unread: false,
        };
        let Pvc { namespace: place, name, uid } = &item.pvc;
        let gone = Gone { namespace: place, name, uid, ordinal: item.ordinal };
        ClaimAudit::new(self.observed, namespace, Some(self.around)).wanted_again(&gone, set, &waivers)
    }
}

/// What there is of the volume of a PVC.
fn volume_state(pvc: &Pvc, name: &str, volume: Option<&PersistentVolume>) -> Volume {
    let Some(seen) = volume.filter(|seen| seen.metadata.name == name && !seen.metadata.is_terminating())
    else {
        return Volume::Missing;
    };
    let is_its = seen.spec.claim_ref.as_ref().is_some_and(|reference| {
        (&reference.namespace, &reference.name, &reference.uid) == (&pvc.namespace, &pvc.name, &pvc.uid)
    });
    if !is_its {
        return Volume::Elsewhere;
    }
    Volume::Its {
        noted: seen.earlier_policy(&pvc.uid).map(str::to_owned),
        released: seen.status.phase == "Released",
        policy: seen.spec.persistent_volume_reclaim_policy.clone(),
    }
}
