//! What there is of one PVC that is being deleted, read from the server in the order in which it can be trusted.

use serde_json::Value;

use crate::cluster::claims::{self, claim_path, get, set_path, volume_path};
use crate::cluster::connect::Connection;
use crate::cluster::inventory::{Want, observe};
use crate::error::{Error, Result};
use crate::kinds::{PersistentVolume, StatefulSet};
use crate::plan::prune::phase::{Claim, State, Volume};
use crate::plan::prune::{Found, LeftOver, Unfinished, Wanted, find};
use crate::snapshot::attribution::{Around, Census, Gone, Reason, Waivers};
use crate::snapshot::{Observed, Scope};

/// A PVC to delete, or the volume of one that an interrupted run has deleted.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub namespace: String,
    pub claim: String,
    pub uid: String,
    /// The volume's name; empty if there is none.
    pub volume: String,
    pub set: String,
    pub set_uid: String,
    pub ordinal: i32,
    /// What the plan said would become of the volume.
    pub fate: &'static str,
    /// Whether the PVC was there when the plan was shown.
    pub was_there: bool,
}

impl Item {
    pub(super) fn of(left: &LeftOver, retain: bool) -> Item {
        let meta = &left.claim.metadata;
        Item {
            namespace: meta.namespace.clone(),
            claim: meta.name.clone(),
            uid: meta.uid.clone(),
            volume: left.claim.spec.volume_name.clone(),
            set: left.set.clone(),
            set_uid: left.set_uid.clone(),
            ordinal: left.ordinal,
            fate: left.fate(retain),
            was_there: true,
        }
    }

    pub(super) fn unfinished(left: &Unfinished, retain: bool) -> Item {
        Item {
            namespace: left.namespace.clone(),
            claim: left.claim.clone(),
            uid: left.claim_uid.clone(),
            volume: left.volume.metadata.name.clone(),
            set: left.set.clone(),
            set_uid: left.set_uid.clone(),
            ordinal: left.ordinal,
            fate: left.fate(retain),
            was_there: false,
        }
    }
}

/// What was seen.
pub(super) struct Looked {
    pub state: State,
    /// The PVC as it was judged, if nothing speaks against deleting it.
    pub fresh: Option<LeftOver>,
    /// The volume, for the preconditions of a change.
    pub volume: Value,
    /// The set.
    pub set: Option<StatefulSet>,
}

/// Reads everything again, and judges as if for the first time. The PVC comes first: whatever came to need it before it
/// was gone is in the lists that are read after that. The set comes last, as it decides.
pub(super) async fn look(connection: &Connection, item: &Item, wanted: &Wanted) -> Result<Looked> {
    let scope = Scope::Namespace(item.namespace.clone());
    let claim = get(connection, &claim_path(&item.namespace, &item.claim)).await?;
    let volume = match item.volume.as_str() {
        "" => Value::Null,
        name => get(connection, &volume_path(name)).await?.unwrap_or_default(),
    };
    let observed = observe(connection, scope.clone(), Want::Claims).await?;
    let around = claims::around(connection, &scope).await;
    let set = set(connection, item).await?;
    let claim = match &claim {
        None => Claim::Gone,
        Some(now) if now["metadata"]["uid"] != item.uid.as_str() => Claim::Replaced,
        Some(now) if !now["metadata"]["deletionTimestamp"].is_null() => Claim::Leaving,
        Some(_) => Claim::There,
    };
    let state = State { claim, volume: volume_state(item, &volume)?, against: None, pending: false };
    let (against, fresh) = match state.claim {
        Claim::There => match still(item, &observed, &around, wanted, set.as_ref()) {
            Ok(fresh) => (None, Some(fresh)),
            Err(against) => (Some(against), None),
        },
        _ => (again(item, &observed, &around, wanted, set.as_ref()), None),
    };
    Ok(Looked { state: State { against, ..state }, fresh, volume, set })
}

async fn set(connection: &Connection, item: &Item) -> Result<Option<StatefulSet>> {
    let found = get(connection, &set_path(&item.namespace, &item.set)).await?;
    let set = found.map(serde_json::from_value).transpose();
    set.map_err(|error| Error::cluster(format!("StatefulSet {} is not as expected", item.set)).because(error))
}

fn volume_state(item: &Item, volume: &Value) -> Result<Volume> {
    if item.volume.is_empty() {
        return Ok(Volume::Never);
    }
    if volume.is_null() {
        return Ok(Volume::Missing);
    }
    let seen: PersistentVolume = serde_json::from_value(volume.clone()).map_err(|error| {
        Error::cluster(format!("volume {} is not as expected", item.volume)).because(error)
    })?;
    if seen.metadata.is_terminating() {
        return Ok(Volume::Missing);
    }
    let is_its = seen.spec.claim_ref.as_ref().is_some_and(|reference| {
        (&reference.namespace, &reference.name, &reference.uid) == (&item.namespace, &item.claim, &item.uid)
    });
    if !is_its {
        return Ok(Volume::Elsewhere);
    }
    Ok(Volume::Its {
        noted: seen.earlier_policy(&item.uid).map(str::to_owned),
        released: seen.status.phase == "Released",
        policy: seen.spec.persistent_volume_reclaim_policy,
    })
}

fn reason(word: &'static str, text: String) -> Reason {
    Reason { word, text }
}

/// Why it is not the PVC any more that was shown as left over.
fn still(
    item: &Item,
    observed: &Observed,
    around: &Around,
    wanted: &Wanted,
    now: Option<&StatefulSet>,
) -> std::result::Result<LeftOver, Reason> {
    let is_its = |set: &StatefulSet| set.metadata.name == item.set;
    let Found { left_over, rest, .. } = find(observed, Some(around), wanted, is_its, false);
    let same = |other: &LeftOver| other.claim.metadata.name == item.claim;
    let Some(fresh) = left_over.into_iter().find(same) else {
        let rest = rest.into_iter().find(|rest| rest.claim == item.claim);
        return Err(rest.map_or_else(|| reason("gone", "it is gone".to_owned()), |rest| rest.reason));
    };
    if fresh.claim.metadata.uid != item.uid || fresh.set_uid != item.set_uid {
        return Err(reason("another", "it is another one than was shown, of the same name".to_owned()));
    }
    let was = observed.sets.iter().find(|set| is_its(set));
    let stands = was.zip(now).is_some_and(|(was, now)| {
        now.metadata.uid == was.metadata.uid
            && now.metadata.generation == was.metadata.generation
            && now.status.replicas == was.status.replicas
    });
    if stands { Ok(fresh) } else { Err(reason("set-changed", format!("{} was changed meanwhile", item.set))) }
}

/// What came to need a PVC that is being deleted, or its name once it is gone.
fn again(
    item: &Item,
    observed: &Observed,
    around: &Around,
    wanted: &Wanted,
    set: Option<&StatefulSet>,
) -> Option<Reason> {
    let name = &item.set;
    let Some(set) = set else {
        return Some(reason("set-gone", format!("StatefulSet {name} was deleted meanwhile")));
    };
    if set.metadata.uid != item.set_uid {
        return Some(reason(
            "set-gone",
            format!("StatefulSet {name} was deleted and created again meanwhile"),
        ));
    }
    let namespaces = observed.namespaces();
    let Some(namespace) = namespaces.get(item.namespace.as_str()) else {
        return Some(reason("set-changing", format!("StatefulSet {name} was not listed")));
    };
    if let Err(unseen) = &observed.claims {
        return Some(reason("unchecked", format!("could not be checked: {unseen}")));
    }
    let waivers = Waivers {
        zero: set.replicas() == 0 && wanted.wants_zero(set),
        autoscaler_range: wanted.autoscaler_range,
        own_snapshots: wanted.own_snapshots.clone(),
        unread: false,
    };
    let gone = Gone { namespace: &item.namespace, name: &item.claim, uid: &item.uid, ordinal: item.ordinal };
    Census::new(observed, namespace, Some(around)).wanted_again(&gone, set, &waivers)
}
