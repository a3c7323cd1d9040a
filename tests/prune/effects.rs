//! Whether the cluster shows that a write was done: a gateway may say so of one that was not.

use std::time::Duration;

use jiff::Timestamp;
use kubectl_sts::kinds::{CLAIM_UID, EARLIER_POLICY};
use kubectl_sts::plan::prune::phase::{Claim, State, Volume};
use kubectl_sts::plan::prune::{Claims, Deletions, Item, Known, SnapshotState};
use kubectl_sts::plan::restore::{Deleted, Remains, Returning, Returns};
use kubectl_sts::plan::{Pvc, Step, VolumeChange, VolumePatch};
use kubectl_sts::reconcile::Facts;
use serde_json::{Value, json};

fn pvc(name: &str) -> Pvc {
    Pvc { namespace: "shop".to_owned(), uid: "old".to_owned(), name: name.to_owned() }
}

fn patch(change: VolumeChange) -> Step {
    Step::PatchVolume(VolumePatch { pvc: pvc("data-db-1"), volume: "pv-1".to_owned(), change })
}

fn guard() -> Step {
    patch(VolumeChange::Guard { earlier: "Delete".to_owned() })
}

fn give_back() -> Step {
    patch(VolumeChange::GiveBack { policy: "Delete".to_owned(), destroys: false })
}

fn delete(name: &str) -> Step {
    Step::DeletePvc { pvc: pvc(name), note: String::new() }
}

fn snapshot() -> Step {
    Step::CreateSnapshot { pvc: pvc("data-db-1"), name: "s".to_owned(), class: "fast".to_owned() }
}

fn create() -> Step {
    Step::CreatePvc { pvc: pvc("data-db-1"), manifest: json!({}), note: String::new() }
}

fn wait() -> Step {
    Step::AwaitPvc { pvc: pvc("data-db-1"), until: "to be gone", limit: Duration::from_secs(1) }
}

fn at() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

#[test]
fn a_pvc_or_its_volume_shows_what_was_done_to_it() {
    let its = |policy: &str, noted: Option<&str>| Volume::Its {
        policy: policy.to_owned(),
        noted: noted.map(str::to_owned),
        released: true,
    };
    let known = |claim: Claim, volume: &Volume, snapshot: SnapshotState| {
        let state = State { claim, volume: volume.clone(), against: None, pending: false };
        let item = Item {
            pvc: pvc("data-db-1"),
            version: String::new(),
            volume: "pv-1".to_owned(),
            set: "db".to_owned(),
            set_uid: "set".to_owned(),
            ordinal: 1,
            fate: "",
            keeps_volume: false,
            was_there: true,
            shown: state,
        };
        let now = Claims::shown(Vec::new(), at());
        assert_eq!(Deletions::taken_at(&now), at());
        Claims { known: vec![Known { snapshot, ..Known::of(item) }], ..now }
    };
    let has = |step: &Step, now: &Claims| Deletions::has_effect(step, None, now);
    let (plain, noted) = (its("Delete", None), its("Retain", Some("Delete")));
    let (users, half) = (its("Retain", None), its("Delete", Some("Delete")));
    // The state of the volume; whether it shows Guard, Keep and GiveBack to Delete.
    for (volume, guarded, kept, given_back) in [
        (&plain, false, false, true),
        (&noted, true, false, false),
        (&users, false, true, false),
        (&half, false, false, false),
        // It was destroyed, or is another's: what was done to it is not seen any more.
        (&Volume::Missing, true, true, true),
        (&Volume::Elsewhere, true, true, true),
    ] {
        let now = known(Claim::There, volume, SnapshotState::Missing);
        let has = [guard(), patch(VolumeChange::Keep), give_back()].map(|step| has(&step, &now));
        assert_eq!(has, [guarded, kept, given_back], "{volume:?}");
    }
    for (claim, is_deleted) in
        [(Claim::There, false), (Claim::Leaving, true), (Claim::Gone, true), (Claim::Replaced, true)]
    {
        assert_eq!(has(&delete("data-db-1"), &known(claim, &plain, SnapshotState::Missing)), is_deleted);
    }
    for (state, is_made) in
        [(SnapshotState::Missing, false), (SnapshotState::Made, true), (SnapshotState::Ready, true)]
    {
        assert_eq!(has(&snapshot(), &known(Claim::There, &plain, state)), is_made);
    }
    let now = known(Claim::There, &plain, SnapshotState::Missing);
    assert!(has(&wait(), &now), "a step that waits writes nothing");
    assert!(has(&delete("data-db-2"), &now), "of a PVC that is not looked at nothing is known");
    assert!(!has(&patch(VolumeChange::Free), &now) && !has(&create(), &now), "no write of a deletion");
}

#[test]
fn a_pvc_or_its_volume_shows_that_it_was_restored() {
    let volume = |policy: &str, holder: &Value, is_noted: bool| {
        let note = json!({EARLIER_POLICY: "Delete", CLAIM_UID: "old"});
        json!({"metadata": {"name": "pv-1", "uid": "volume", "annotations": if is_noted { note } else { json!({}) }},
            "spec": {"persistentVolumeReclaimPolicy": policy, "claimRef": holder}, "status": {"phase": "Released"}})
    };
    let holder = |uid: &str| json!({"namespace": "shop", "name": "data-db-1", "uid": uid});
    let remains = |claim: Option<Value>, volume: Option<Value>| {
        let deleted = Deleted {
            pvc: pvc("data-db-1"),
            volume: "pv-1".to_owned(),
            volume_uid: "volume".to_owned(),
            manifest: json!({}),
        };
        let remains = Remains {
            deleted,
            claim: claim.map(|claim| serde_json::from_value(claim).unwrap()),
            volume: volume.map(|volume| serde_json::from_value(volume).unwrap()),
            is_begun: false,
        };
        let now = Returning { taken_at: at(), all: vec![remains] };
        assert_eq!(Returns::taken_at(&now), at());
        now
    };
    let has = |step: &Step, now: &Returning| Returns::has_effect(step, None, now);
    // The volume; whether it shows Free, GiveBack to Delete, and Keep.
    for (volume, freed, given_back, kept) in [
        (volume("Retain", &holder("old"), true), false, false, true),
        (volume("Retain", &holder("old"), false), false, false, true),
        (volume("Delete", &holder("old"), false), false, true, false),
        (volume("Delete", &holder("old"), true), false, true, false),
        (volume("Retain", &holder(""), true), true, false, true),
        (volume("Retain", &Value::Null, false), true, false, true),
        (volume("Retain", &holder("new"), false), true, false, true),
    ] {
        let now = remains(None, Some(volume.clone()));
        let has =
            [patch(VolumeChange::Free), give_back(), patch(VolumeChange::Keep)].map(|step| has(&step, &now));
        assert_eq!(has, [freed, given_back, kept], "{volume}");
    }
    let gone = remains(None, None);
    assert!(has(&patch(VolumeChange::Free), &gone), "of a volume that is gone nothing is seen");
    assert!(!has(&create(), &gone));
    assert!(has(&create(), &remains(Some(json!({"metadata": {"name": "data-db-1"}})), None)));
    assert!(has(&wait(), &gone) && !has(&delete("data-db-1"), &gone) && has(&delete("data-db-2"), &gone));
}
