//! What is known of each kind of step, and which steps are the same.

use std::time::Duration;

use kubectl_sts::plan::{PatchKind, Permission, Pvc, SetPatch, Step, VolumeChange, VolumePatch};
use serde_json::{Value, json};

use super::kept;

fn pvc(name: &str) -> Pvc {
    Pvc { namespace: "shop".to_owned(), name: name.to_owned(), uid: format!("uid-{name}") }
}

fn set_patch() -> SetPatch {
    SetPatch {
        set: "web".to_owned(),
        seen: "set".to_owned(),
        generation: 3,
        kind: PatchKind::Merge,
        body: json!({"spec": {"replicas": 2}}),
        revision: None,
        pauses: false,
        note: "partition 0 → 3".to_owned(),
    }
}

fn delete_pod(evict: bool, note: &str) -> Step {
    Step::DeletePod { pod: "web-1".to_owned(), seen: "pod".to_owned(), evict, note: note.to_owned() }
}

fn volume(change: VolumeChange) -> Step {
    Step::PatchVolume(VolumePatch { pvc: pvc("data-web-1"), volume: "pv-1".to_owned(), change })
}

fn give_back(policy: &str, destroys: bool) -> VolumeChange {
    VolumeChange::GiveBack { policy: policy.to_owned(), destroys }
}

fn guard(earlier: &str) -> VolumeChange {
    VolumeChange::Guard { earlier: earlier.to_owned() }
}

fn delete_pvc(note: &str) -> Step {
    Step::DeletePvc { pvc: pvc("data-web-1"), note: note.to_owned() }
}

fn create_pvc(manifest: Value, note: &str) -> Step {
    Step::CreatePvc { pvc: pvc("data-web-1"), manifest, note: note.to_owned() }
}

fn snapshot(name: &str, class: &str) -> Step {
    Step::CreateSnapshot { pvc: pvc("data-web-1"), name: name.to_owned(), class: class.to_owned() }
}

fn wait(pods: &[&str], until: &str) -> Step {
    Step::Await { pods: pods.iter().map(|pod| (*pod).to_owned()).collect(), until: until.to_owned() }
}

fn wait_pvc(until: &'static str, limit: u64) -> Step {
    Step::AwaitPvc { pvc: pvc("data-web-1"), until, limit: Duration::from_secs(limit) }
}

/// What is known of a step: each on its line.
fn about(step: &Step) -> Vec<String> {
    let permission = |Permission { verb, group, resource, subresource, namespace }: Permission| {
        format!("{verb} {group}/{resource}/{subresource} in {namespace:?}")
    };
    vec![
        format!("{} {:?} {}", step.verb(), step.object(), step.object_text()),
        step.text(),
        step.sentence(""),
        step.sentence("if needed"),
        format!("{} | {:?}", step.note(), step.changes()),
        step.permission().map_or("no permission".to_owned(), permission),
        format!(
            "writes {}, checked {}, recurs {}, pauses {}, limit {:?}, pod {:?}, PVC {:?}",
            step.writes(),
            step.can_be_checked(),
            step.may_recur(),
            step.pauses(),
            step.limit(),
            step.deleted_pod(),
            step.pvc().map(|pvc| &pvc.name)
        ),
    ]
}

#[test]
fn each_kind_of_step_says_what_it_does() {
    let all = [
        Step::Patch(set_patch()),
        Step::Patch(SetPatch { pauses: true, note: String::new(), ..set_patch() }),
        delete_pod(false, "stuck on old revision B; it will be recreated on A; twice"),
        delete_pod(true, "stuck"),
        snapshot("data-web-1-uid", "fast"),
        volume(guard("Delete")),
        volume(VolumeChange::Keep),
        volume(give_back("Delete", true)),
        volume(give_back("Delete", false)),
        volume(VolumeChange::Free),
        delete_pvc("the PV is kept"),
        create_pvc(json!({}), "bound to PV pv-1"),
        wait(&["web-1", "web-0"], "to be available"),
        wait(&[], "the controller"),
        wait_pvc("to be gone", 60),
    ];
    let told: Vec<String> = all.iter().map(|step| about(step).join("\n")).collect();
    kept::compare("reconcile/steps.txt", &(told.join("\n\n") + "\n"));
}

#[test]
fn steps_are_the_same_by_what_they_do_and_not_by_their_words() {
    let other_pvc = |step: &Step| match step.clone() {
        Step::PatchVolume(patch) => Step::PatchVolume(VolumePatch { pvc: pvc("data-web-2"), ..patch }),
        Step::DeletePvc { note, .. } => Step::DeletePvc { pvc: pvc("data-web-2"), note },
        Step::CreatePvc { manifest, note, .. } => Step::CreatePvc { pvc: pvc("data-web-2"), manifest, note },
        Step::CreateSnapshot { name, class, .. } => {
            Step::CreateSnapshot { pvc: pvc("data-web-2"), name, class }
        }
        Step::AwaitPvc { until, limit, .. } => Step::AwaitPvc { pvc: pvc("data-web-2"), until, limit },
        step @ (Step::Patch(_) | Step::DeletePod { .. } | Step::Await { .. }) => step,
    };
    let with = |patch: SetPatch| Step::Patch(SetPatch { note: "other words".to_owned(), ..patch });
    let paused = || SetPatch { pauses: true, ..set_patch() };
    // Each line: a step, others that are the same, and others that are not.
    let rows = [
        (
            Step::Patch(set_patch()),
            vec![
                with(set_patch()),
                with(SetPatch { set: "other".to_owned(), revision: Some("b".to_owned()), ..set_patch() }),
            ],
            vec![
                Step::Patch(SetPatch { seen: "another".to_owned(), ..set_patch() }),
                Step::Patch(SetPatch { generation: 4, ..set_patch() }),
                Step::Patch(SetPatch { kind: PatchKind::Strategic, ..set_patch() }),
                Step::Patch(SetPatch { body: json!({}), ..set_patch() }),
                Step::Patch(paused()),
            ],
        ),
        (
            Step::Patch(paused()),
            vec![Step::Patch(SetPatch { body: json!({}), ..paused() })],
            vec![
                Step::Patch(SetPatch { generation: 4, body: json!({}), ..paused() }),
                Step::Patch(SetPatch { seen: "another".to_owned(), ..paused() }),
                Step::Patch(SetPatch { kind: PatchKind::Strategic, ..paused() }),
            ],
        ),
        (
            delete_pod(false, "a"),
            vec![delete_pod(false, "b")],
            vec![
                delete_pod(true, "a"),
                Step::DeletePod {
                    pod: "web-1".to_owned(),
                    seen: "another".to_owned(),
                    evict: false,
                    note: "a".to_owned(),
                },
            ],
        ),
        (snapshot("s", "fast"), vec![], vec![snapshot("t", "fast"), snapshot("s", "slow")]),
        (
            volume(guard("Delete")),
            vec![volume(guard("Recycle"))],
            vec![
                volume(VolumeChange::Keep),
                volume(VolumeChange::Free),
                Step::PatchVolume(VolumePatch {
                    pvc: pvc("data-web-1"),
                    volume: "pv-2".to_owned(),
                    change: guard("Delete"),
                }),
            ],
        ),
        (
            volume(VolumeChange::Keep),
            vec![],
            vec![volume(VolumeChange::Free), volume(give_back("Delete", true))],
        ),
        (volume(VolumeChange::Free), vec![], vec![volume(VolumeChange::Keep), volume(guard("Delete"))]),
        (
            volume(give_back("Delete", true)),
            vec![volume(give_back("Delete", false))],
            vec![volume(give_back("Recycle", true)), volume(VolumeChange::Keep)],
        ),
        (delete_pvc("a"), vec![delete_pvc("b")], vec![create_pvc(json!({}), "a")]),
        (
            create_pvc(json!({}), "a"),
            vec![create_pvc(json!({}), "b")],
            vec![create_pvc(json!({"a": 1}), "a")],
        ),
        (wait(&["web-1"], "x"), vec![], vec![wait(&["web-2"], "x"), wait(&["web-1"], "y"), wait_pvc("x", 1)]),
        (wait_pvc("x", 1), vec![wait_pvc("x", 2)], vec![wait_pvc("y", 1)]),
    ];
    for (step, same, others) in rows {
        assert_eq!(step, step.clone());
        for other in same {
            assert_eq!(step, other);
            assert_eq!(other, step);
        }
        let elsewhere = other_pvc(&step);
        let others = others.into_iter().chain(Some(elsewhere).filter(|_| step.pvc().is_some()));
        for other in others {
            assert_ne!(step, other);
            assert_ne!(other, step);
        }
    }
    let patch = VolumePatch { pvc: pvc("data-web-1"), volume: "pv-1".to_owned(), change: guard("Delete") };
    let noted = json!({"kubectl-sts/claim-uid": "uid-data-web-1", "kubectl-sts/earlier-policy": "Delete"});
    let body = patch.body();
    assert_eq!(body["spec"], json!({"persistentVolumeReclaimPolicy": "Retain"}));
    assert_eq!(body["metadata"]["annotations"].as_object().unwrap().len(), noted.as_object().unwrap().len());
    let values: Vec<&Value> = body["metadata"]["annotations"].as_object().unwrap().values().collect();
    assert!(values.contains(&&json!("Delete")) && values.contains(&&json!("uid-data-web-1")), "{body}");
}
