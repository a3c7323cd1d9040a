//! What is found, planned and refused for PVCs, word for word: `tests/prune/told.txt` keeps it. `BLESS=1` writes what is
//! said now; read the difference.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kubectl_sts::cluster::recorded::{self, Absent};
use kubectl_sts::kinds::{
    CLAIM_UID, EARLIER_POLICY, StatefulSet, VolumeAttachment, VolumeSnapshot, Workload,
};
use kubectl_sts::plan::prune::phase::{Claim, End, Manner, State, Volume};
use kubectl_sts::plan::prune::{Claims, Found, Item, Known, Prune, SnapshotState, Wanted, find};
use kubectl_sts::plan::restore::{Deleted, Remains, Restore, Returning};
use kubectl_sts::plan::{Goal as _, Plan, Pvc, Refusal, Step, Stop, VolumePatch};
use kubectl_sts::snapshot::NotRead;
use kubectl_sts::snapshot::attribution::{ClaimUsers, Class, Reason, ReasonCode};
use serde_json::{Value, json};

use super::all;
use super::namespaces::{self, Namespace};
use crate::reconcile::kept;

#[test]
fn what_is_found_planned_and_refused_is_as_it_is_kept() {
    let text = [found_in_namespaces(), pruned(), restored()].join("\n");
    kept::compare("prune/told.txt", &text);
}

/// Notes of earlier runs, on the PVs of some PVCs, which are there, being deleted, gone, or replaced.
fn with_notes(namespace: &mut Namespace) {
    let names: Vec<String> = namespace
        .objects
        .iter()
        .filter(|object| object["kind"] == "PersistentVolumeClaim")
        .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    for (number, name) in names.iter().enumerate() {
        let volume = format!("pv-{name}");
        let of = |object: &Value, kind: &str, name: &str| {
            object["kind"] == kind && object["metadata"]["name"] == name
        };
        let Some(pv) = namespace.objects.iter_mut().find(|it| of(it, "PersistentVolume", &volume)) else {
            continue;
        };
        pv["metadata"]["annotations"] = json!({EARLIER_POLICY: if number % 3 == 0 { "Recycle" } else { "Delete" }, CLAIM_UID: format!("claim-{name}")});
        pv["spec"]["persistentVolumeReclaimPolicy"] = "Retain".into();
        let is_gone = number % 4 < 2;
        if is_gone {
            pv["status"]["phase"] = if number % 8 == 0 { "Failed" } else { "Released" }.into();
        }
        if number % 7 == 6 {
            pv["metadata"]["deletionTimestamp"] = "2026-11-20T00:00:00Z".into();
        }
        if is_gone {
            namespace.objects.retain(|it| !of(it, "PersistentVolumeClaim", name));
        }
    }
}

fn found_in_namespaces() -> String {
    let (mut text, mut seen) = (String::new(), BTreeSet::new());
    let day = SignedDuration::from_hours(24);
    let wants = [
        ("all", Wanted::default()),
        ("zero", Wanted { zero: Some(Vec::new()), autoscaler_range: true, ..Wanted::default() }),
        ("zero of web", Wanted { zero: Some(vec!["web".to_owned()]), ..Wanted::default() }),
        ("older than 20 days", Wanted { older_than: Some(day * 20), ..Wanted::default() }),
        ("older than 21 days", Wanted { older_than: Some(day * 21), ..Wanted::default() }),
        ("unused for 19 days", Wanted { unused_for: Some(day * 19), ..Wanted::default() }),
        ("unused for 20 days", Wanted { unused_for: Some(day * 20), ..Wanted::default() }),
        ("unused for 21 days", Wanted { unused_for: Some(day * 21), ..Wanted::default() }),
        ("zero, of the first set only", Wanted { zero: Some(Vec::new()), ..Wanted::default() }),
    ];
    for seed in 0..24 {
        let mut namespace = namespaces::make(seed);
        if seed % 2 == 1 {
            with_notes(&mut namespace);
        }
        for (number, (name, wanted)) in wants.iter().enumerate() {
            // Each namespace is asked in a few ways only, so that somebody may read it all.
            if (number + usize::try_from(seed).unwrap()) % 3 != 0 {
                continue;
            }
            let _ = writeln!(text, "## namespace {seed}: {name}");
            // What was said of it before is not said again.
            for said in found(&namespace, wanted, seed % 5 == 4, name.ends_with("only")) {
                if seen.insert((seed, said.clone())) {
                    let _ = writeln!(text, "{said}");
                }
            }
        }
    }
    text
}

fn found(namespace: &Namespace, wanted: &Wanted, is_blind: bool, is_first: bool) -> Vec<String> {
    let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
    let mut observed =
        recorded::read(&[("random".to_owned(), namespace.text())], Absent::Empty, now).unwrap();
    (observed.clock.now, observed.clock.certain) = (now, Some(now));
    let around = ClaimUsers {
        workloads: all::<Workload>(&namespace.workloads),
        attachments: all::<VolumeAttachment>(&namespace.attachments),
        snapshots: all::<VolumeSnapshot>(&namespace.snapshots),
        unread: if is_blind { vec![("cronjobs", NotRead::Forbidden(None))] } else { Vec::new() },
    };
    let mut said = Vec::new();
    let first = observed.sets.first().map(|set| set.metadata.name.clone()).unwrap_or_default();
    let is_chosen = |set: &StatefulSet| !is_first || set.metadata.name == first;
    let mut found = find(&observed, Some(&around), wanted, is_chosen, !is_first);
    said.push(format!("empty {}, {:?}, unjudged {:?}", found.is_empty(), found.size(), found.unjudged()));
    let counts = [found.left_over.len(), found.rest.len(), found.unfinished.len(), found.held.len()];
    said.push(format!("left over, rest, unfinished, held: {counts:?}"));
    for left in &found.left_over {
        let of = |retain: bool| (left.fate(retain), left.fate_in_short(retain), left.keeps_volume(retain));
        let (age, unused) = (left.age.map(|age| age.as_hours()), left.unused.map(|unused| unused.as_hours()));
        let (name, zero) = (&left.claim.metadata.name, left.zero);
        said.push(format!(
            "left over {name} of {} {}, zero {zero}, {age:?} {unused:?}",
            left.set, left.ordinal
        ));
        said.push(format!("  {:?} {:?}\n  {} {:?}", of(false), of(true), left.evidence(), left.warnings));
        let item = Item::of(left, false, &observed);
        said.push(format!("  {} {:?}", item.keeps_volume, item.shown.volume));
    }
    for rest in &found.rest {
        let class = match &rest.class {
            Class::Prunable => "prunable",
            Class::Kept(_) => "kept",
            Class::Ambiguous(_) => "ambiguous",
            Class::NotOurs(_) => "not ours",
        };
        let why = rest.class.reason().map(|why| (why.code.word(), &why.text));
        said.push(format!("{class} {} of {:?}: {why:?}", rest.claim, rest.set));
    }
    for left in &found.unfinished {
        let fates = (left.fate(false), left.fate(true));
        let (item, kept) = (Item::unfinished(left, false), Item::unfinished(left, true));
        said.push(format!(
            "unfinished {} of {} {} of {} {}, {}, zero {}, {fates:?}\n  {:?} {} {}",
            left.volume.metadata.name,
            left.claim,
            left.claim_uid,
            left.set,
            left.ordinal,
            left.earlier,
            left.zero,
            item.shown,
            item.keeps_volume,
            kept.keeps_volume
        ));
    }
    held(&mut said, &found);
    if !found.unfinished.is_empty() {
        found.hold(ReasonCode::NotReleased, "for a reason");
        said.push(format!("put on hold: {}", found.unfinished.len()));
        held(&mut said, &found);
    }
    said
}

fn held(said: &mut Vec<String>, found: &Found) {
    for held in &found.held {
        let (code, why) = (held.reason.code.word(), &held.reason.text);
        let (volume, claim) = (&held.volume, &held.claim);
        said.push(format!(
            "held {volume} of {claim}, {}, bound {}: {code}, {why}",
            held.earlier, held.is_bound
        ));
    }
}

fn step(step: &Step) -> String {
    match step {
        Step::PatchVolume(patch) => volume_patch(patch),
        Step::CreatePvc { pvc, note, .. } => format!("create {}: {note}", pvc.name),
        Step::DeletePvc { pvc, note } => format!("delete {}: {note}", pvc.name),
        Step::CreateSnapshot { pvc, name, class } => format!("snapshot {name} of {} in {class}", pvc.name),
        Step::AwaitPvc { pvc, until, limit } => {
            format!("await {} {until} for {}s", pvc.name, limit.as_secs())
        }
        Step::Patch(_) | Step::DeletePod { .. } | Step::Await { .. } => panic!("no step for a PVC: {step:?}"),
    }
}

fn volume_patch(patch: &VolumePatch) -> String {
    format!("patch {}: {:?}, {}, {}", patch.volume, patch.change, patch.note(), patch.body())
}

fn refused(Refusal { reason, because, hint }: &Refusal) -> String {
    format!("refused {reason}: {because} | {}", hint.replace('\n', " | "))
}

fn planned(plan: &Result<Plan, Stop>) -> String {
    let plan = match plan {
        Err(Stop::Refused(refusal)) => return refused(refusal),
        Err(Stop::Unseen(unseen)) => return format!("unseen: {unseen}"),
        Ok(plan) => plan,
    };
    let steps = |steps: &[Step]| steps.iter().map(step).collect::<Vec<_>>().join("; ");
    let half = if plan.is_half_done { " (half done)" } else { "" };
    let needed = match &plan.if_needed[..] {
        [] => String::new(),
        needed => format!(" | if needed: {}", steps(needed)),
    };
    format!("{}{half}: {}{needed}", plan.title(""), steps(&plan.steps))
}

fn item(was_there: bool, shown: State) -> Item {
    Item {
        pvc: Pvc {
            namespace: "shop".to_owned(),
            uid: "0123456789abcdef".to_owned(),
            name: "data-db-1".to_owned(),
        },
        version: "7".to_owned(),
        volume: "pv-1".to_owned(),
        set: "db".to_owned(),
        set_uid: "set".to_owned(),
        ordinal: 1,
        fate: "the PV and its data will be destroyed",
        keeps_volume: false,
        was_there,
        shown,
    }
}

fn its(policy: &str, noted: bool, released: bool) -> Volume {
    let noted = noted.then(|| "Delete".to_owned());
    Volume::Its { policy: policy.to_owned(), noted, released }
}

/// How a PVC that is to be deleted can stand, and what is done about it.
fn pruned() -> String {
    let mut text = String::from("## prune\n");
    let volumes = [
        its("Delete", false, false),
        its("Retain", false, false),
        its("Retain", true, false),
        its("Retain", true, true),
        Volume::Never,
        Volume::Missing,
        Volume::Elsewhere,
    ];
    let reasons = [
        None,
        Some(ReasonCode::Mounted),
        Some(ReasonCode::Gone),
        Some(ReasonCode::Changed),
        Some(ReasonCode::Finalizer),
    ];
    let mut one = |label: &str, goal: &Prune, known: &Known| {
        let state = &known.state;
        let against = state.against.as_ref().map(|against| against.code.word());
        let claim = state.claim;
        let _ = writeln!(text, "{:?} {claim:?} {:?} {against:?}{label}", goal.manner, state.volume);
        let now = Claims { known: vec![known.clone()], ..Claims::shown(Vec::new(), Timestamp::UNIX_EPOCH) };
        let _ = writeln!(text, "  {}", planned(&goal.plan(&now)));
        if known.is_read {
            let end = match goal.end(known) {
                None => "not yet".to_owned(),
                Some(End::Done) => "done".to_owned(),
                Some(End::Stays(why)) => format!("stays, {}", why.text),
                Some(End::Kept(why)) => format!("kept, {}", why.text),
                Some(End::Late(why)) => format!("late, {}", why.text),
            };
            let overdue = goal.overdue(&now, Duration::from_secs(90)).map(|it| refused(&it));
            let _ = writeln!(
                text,
                "  {end} | {} | settled {}",
                overdue.unwrap_or_default(),
                goal.is_settled(known)
            );
        }
    };
    for manner in [Manner::Guarded, Manner::Keep, Manner::Unguarded] {
        let goal = Prune { manner, accept_race: false, class: None };
        let with_snapshot = Prune { class: Some("fast".to_owned()), ..goal.clone() };
        for claim in [Claim::There, Claim::Leaving, Claim::Gone, Claim::Replaced] {
            for volume in &volumes {
                let some = if claim == Claim::There { &reasons[..] } else { &reasons[..2] };
                for &code in some {
                    let against = code.map(|code| Reason::new(code, "of a reason"));
                    let state = State { claim, volume: volume.clone(), against, pending: false };
                    let shown = State {
                        claim: Claim::There,
                        volume: its("Delete", false, false),
                        against: None,
                        pending: false,
                    };
                    let known = Known { is_read: true, state, ..Known::of(item(true, shown)) };
                    one("", &goal, &known);
                    let is_plain =
                        code.is_none() || code == Some(ReasonCode::Mounted) && claim != Claim::There;
                    if !is_plain || *volume != volumes[0] && *volume != volumes[2] {
                        continue;
                    }
                    one(", sent", &goal, &Known { is_sent: true, is_begun: true, ..known.clone() });
                    one(", forbidden", &goal, &Known { forbidden: Some("403".to_owned()), ..known.clone() });
                    let accepts = Prune { accept_race: true, ..goal.clone() };
                    one(
                        ", forbidden, accepted",
                        &accepts,
                        &Known { forbidden: Some("403".to_owned()), ..known.clone() },
                    );
                    one(", refused", &goal, &Known { refused: Some("409".to_owned()), ..known.clone() });
                    one(", not read", &goal, &Known { is_read: false, ..known.clone() });
                }
            }
        }
        let there = |code: Option<ReasonCode>, snapshot: SnapshotState, is_begun: bool| {
            let against = code.map(|code| Reason::new(code, "of a reason"));
            let state =
                State { claim: Claim::There, volume: its("Delete", false, false), against, pending: false };
            Known { is_read: true, state: state.clone(), snapshot, is_begun, ..Known::of(item(true, state)) }
        };
        for code in reasons {
            for snapshot in [
                SnapshotState::Missing,
                SnapshotState::Made,
                SnapshotState::Ready,
                SnapshotState::Failed("no class".to_owned()),
            ] {
                for is_begun in [false, true] {
                    let label = format!(", snapshot {snapshot:?}, begun {is_begun}");
                    one(&label, &with_snapshot, &there(code, snapshot.clone(), is_begun));
                }
            }
        }
        // The policy was Retain when it was shown.
        for is_begun in [false, true] {
            let shown = State {
                volume: its("Retain", false, false),
                ..there(None, SnapshotState::Missing, false).state
            };
            let known = Known { item: item(true, shown), ..there(None, SnapshotState::Missing, is_begun) };
            one(&format!(", was Retain, begun {is_begun}"), &goal, &known);
        }
        // Of an earlier run.
        let state =
            State { claim: Claim::Gone, volume: its("Retain", true, true), against: None, pending: false };
        one(", of an earlier run", &goal, &Known { is_read: true, ..Known::of(item(false, state)) });
    }
    let shown =
        State { claim: Claim::There, volume: its("Delete", false, false), against: None, pending: false };
    let gone = State { claim: Claim::Gone, volume: its("Retain", true, true), against: None, pending: false };
    let items = vec![item(true, shown.clone()), item(false, gone), item(true, shown)];
    let goal = Prune { manner: Manner::Guarded, accept_race: false, class: None };
    let _ = writeln!(text, "{}", planned(&goal.plan(&Claims::shown(items, Timestamp::UNIX_EPOCH))));
    text
}

/// What can be left of a PVC that is to be restored, and what is done about it.
fn restored() -> String {
    let mut text = String::from("## restore\n");
    let pvc = Pvc { namespace: "shop".to_owned(), uid: "old".to_owned(), name: "data-db-1".to_owned() };
    let deleted =
        Deleted { pvc, volume: "pv-1".to_owned(), volume_uid: "volume".to_owned(), manifest: json!({}) };
    let claim = |uid: &str, volume: &str, phase: &str, leaving: bool| {
        let mut claim = json!({"metadata": {"namespace": "shop", "name": "data-db-1", "uid": uid},
            "spec": {"volumeName": volume}, "status": {"phase": phase}});
        if leaving {
            claim["metadata"]["deletionTimestamp"] = "2026-11-20T00:00:00Z".into();
        }
        Some(claim)
    };
    let claims = [
        None,
        claim("new", "", "Pending", false),
        claim("new", "pv-1", "Pending", false),
        claim("new", "pv-1", "Bound", false),
        claim("new", "pv-2", "Bound", false),
        claim("new", "pv-1", "Bound", true),
        claim("new", "", "Pending", true),
    ];
    let volume = |uid: &str, policy: &str, phase: &str, holder: Value| {
        Some(json!({"metadata": {"name": "pv-1", "uid": uid},
            "spec": {"persistentVolumeReclaimPolicy": policy, "claimRef": holder}, "status": {"phase": phase}}))
    };
    let holder =
        |namespace: &str, name: &str, uid: &str| json!({"namespace": namespace, "name": name, "uid": uid});
    let noted = |volume: Option<Value>| {
        let mut volume = volume.unwrap();
        volume["metadata"]["annotations"] = json!({EARLIER_POLICY: "Delete", CLAIM_UID: "old"});
        Some(volume)
    };
    let mut leaving = volume("volume", "Retain", "Released", holder("shop", "data-db-1", "old")).unwrap();
    leaving["metadata"]["deletionTimestamp"] = "2026-11-20T00:00:00Z".into();
    let volumes = [
        None,
        volume("another", "Retain", "Released", holder("shop", "data-db-1", "old")),
        volume("volume", "Retain", "Available", Value::Null),
        volume("volume", "Delete", "Available", Value::Null),
        volume("volume", "Retain", "Released", holder("shop", "data-db-1", "old")),
        volume("volume", "Delete", "Released", holder("shop", "data-db-1", "old")),
        noted(volume("volume", "Retain", "Released", holder("shop", "data-db-1", "old"))),
        noted(volume("volume", "Retain", "Bound", holder("shop", "data-db-1", "new"))),
        volume("volume", "Retain", "Bound", holder("shop", "data-db-1", "new")),
        volume("volume", "Retain", "Available", holder("shop", "data-db-1", "")),
        volume("volume", "Retain", "Bound", holder("shop", "data-db-1", "third")),
        volume("volume", "Retain", "Bound", holder("shop", "data-db-2", "old")),
        volume("volume", "Retain", "Bound", holder("other", "data-db-1", "old")),
        Some(leaving),
    ];
    let goal = Restore { patience: Duration::from_secs(60) };
    let remains = |claim: &Option<Value>, volume: &Option<Value>, is_begun: bool| Remains {
        deleted: deleted.clone(),
        claim: claim.as_ref().map(|claim| serde_json::from_value(claim.clone()).unwrap()),
        volume: volume.as_ref().map(|volume| serde_json::from_value(volume.clone()).unwrap()),
        is_begun,
    };
    for claim in &claims {
        for volume in &volumes {
            let of = |value: &Option<Value>, path: &str| {
                value
                    .as_ref()
                    .and_then(|value| value.pointer(path))
                    .map(|it| it.as_str().unwrap_or_default().to_owned())
            };
            let its = [
                of(claim, "/spec/volumeName"),
                of(claim, "/status/phase"),
                of(claim, "/metadata/deletionTimestamp"),
            ];
            let pv = [
                "/metadata/uid",
                "/spec/persistentVolumeReclaimPolicy",
                "/status/phase",
                "/spec/claimRef/name",
                "/spec/claimRef/uid",
            ]
            .map(|path| of(volume, path));
            let _ = writeln!(text, "{its:?} {pv:?}");
            let all = |is_begun| Returning {
                taken_at: Timestamp::UNIX_EPOCH,
                all: vec![remains(claim, volume, is_begun)],
            };
            let _ = writeln!(
                text,
                "  bound {} | {}",
                remains(claim, volume, false).is_bound(),
                planned(&goal.plan(&all(false)))
            );
            let begun = goal.plan(&all(true)).is_ok_and(|plan| plan.is_half_done);
            let _ = writeln!(text, "  half done once begun: {begun}");
        }
    }
    // A run that has restored the first of two.
    let first = remains(&claims[3], &volumes[8], true);
    let second = remains(&None, &volumes[4], false);
    for all in [vec![first.clone(), second.clone()], vec![second, first]] {
        let _ =
            writeln!(text, "{}", planned(&goal.plan(&Returning { taken_at: Timestamp::UNIX_EPOCH, all })));
    }
    // The uid of the volume is not in every backup.
    let mut unknown = remains(&None, &volumes[1], false);
    unknown.deleted.volume_uid = String::new();
    let _ = writeln!(
        text,
        "{}",
        planned(&goal.plan(&Returning { taken_at: Timestamp::UNIX_EPOCH, all: vec![unknown] }))
    );
    text
}
