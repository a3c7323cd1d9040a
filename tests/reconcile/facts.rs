//! What is asked of a StatefulSet and its pods besides the plan.

use std::fmt::Write as _;
use std::time::Duration;

use kubectl_sts::plan::{Agreement, Goal as _, OneSet, PatchKind, Rollout, SetPatch, Step, Stop};
use kubectl_sts::reconcile::{Facts, Limits, Outcome, reconcile};
use kubectl_sts::snapshot::Snapshot;
use serde_json::json;
use tokio::time::Instant;

use super::kubelet::Fate;
use super::scenario::{Found, KINDS, Scenario, State, Typed};
use super::simulation::Simulation;
use super::typed::Nobody;
use super::{block_on, kept, rolling};
use crate::controller::change::Random;

fn with<R>(scenario: &Scenario, look: impl FnOnce(&Snapshot<'_>) -> R) -> R {
    Simulation::new(scenario, Random(1)).look(|now| look(now.unwrap()))
}

fn patch(seen: &str, generation: i64) -> Step {
    Step::Patch(SetPatch {
        set: "web".to_owned(),
        seen: seen.to_owned(),
        generation,
        kind: PatchKind::Merge,
        body: json!({}),
        revision: None,
        pauses: false,
        note: String::new(),
    })
}

fn delete(pod: &str, seen: &str) -> Step {
    Step::DeletePod { pod: pod.to_owned(), seen: seen.to_owned(), evict: false, note: String::new() }
}

#[test]
fn a_set_and_its_pods_show_what_was_done_and_what_is_another() {
    let mut scenario = rolling(3, 1, None, Typed::Abort);
    scenario.pods[1].state = State::Ending(60);
    with(&scenario, |now| {
        let uid = &now.set.metadata.uid;
        let generation = now.set.metadata.generation;
        let version = OneSet::version(now);
        let pod = |ordinal: usize| now.replicas().unwrap()[ordinal].pod.unwrap().metadata.uid.clone();
        assert_eq!((OneSet::replicas(now), OneSet::taken_at(now)), (Some(3), now.taken_at));
        // A write of the spec shows in the generation, another one in the version.
        for (step, before, has_effect) in [
            (patch(uid, generation), None, false),
            (patch(uid, generation + 5), Some(version.as_str()), true),
            (patch(uid, 0), Some(version.as_str()), false),
            (patch(uid, 0), Some("another"), true),
            (patch(uid, 0), None, true),
            (delete("web-0", &pod(0)), None, false),
            (delete("web-1", &pod(1)), None, true),
            (delete("web-0", "gone"), None, true),
            (Step::Await { pods: Vec::new(), until: String::new() }, None, true),
        ] {
            assert_eq!(OneSet::has_effect(&step, before, now), has_effect, "{step:?} {before:?}");
        }
        for (step, is_another) in [
            (patch(uid, generation), false),
            (patch(uid, 0), false),
            (patch("another", 0), true),
            (patch("another", generation), true),
            (patch(uid, generation + 1), true),
            (delete("web-0", &pod(0)), false),
            (delete("web-0", "another"), true),
            (delete("web-7", "another"), false),
            (Step::Await { pods: Vec::new(), until: String::new() }, false),
        ] {
            assert_eq!(OneSet::is_another(&step, now), is_another, "{step:?}");
        }
    });
}

#[test]
fn a_pod_that_was_ready_for_a_moment_only_has_to_settle() {
    let mut scenario = rolling(2, 0, None, Typed::Abort);
    scenario.pods[1] = Found { ordinal: 1, revision: "B", state: State::Has(Fate::Flaps) };
    let standing = |scenario: &Scenario, at_rest: bool, waits: bool| {
        // It is ready now and then.
        let mut sim = Simulation::new(scenario, Random(1));
        for _ in 0..200 {
            let ready = sim.look(|now| {
                let now = now.unwrap();
                now.unsteady().is_some() && now.replicas().unwrap()[1].pod.unwrap().is_ready()
            });
            if ready {
                break;
            }
            sim.tick();
        }
        sim.look(|now| {
            let now = now.unwrap();
            assert!(now.unsteady().is_some());
            let standing = OneSet::standing(now, at_rest, waits);
            (standing.settles, standing.stuck.is_some())
        })
    };
    assert!(standing(&scenario, true, false).0);
    assert_eq!(standing(&scenario, false, false), (false, false));
    assert!(!standing(&scenario, false, true).0);
    let on_delete = Scenario { strategy: json!({"type": "OnDelete"}), ..scenario };
    assert_eq!(standing(&on_delete, true, false), (false, false), "its users look after it");
    let steady = rolling(2, 0, None, Typed::Abort);
    with(&steady, |now| {
        let standing = OneSet::standing(now, true, false);
        assert!(!standing.settles && standing.stuck.is_none());
    });
    let stuck = rolling(2, 0, None, Typed::Abort);
    let stuck = Scenario { fates: [("A", Fate::Good), ("B", Fate::CrashLoop)].into(), ..stuck };
    with(&stuck, |now| {
        let stuck = |waits: bool| OneSet::standing(now, false, waits).stuck.is_some();
        assert_eq!([stuck(true), stuck(false)], [true, false]);
    });
}

#[test]
fn what_watch_waits_for_is_as_it_is_kept() {
    let mut text = String::new();
    for kind in KINDS {
        for seed in 1..=40 {
            let scenario = Scenario::random(&mut Random(seed), kind);
            let sim = Simulation::new(&scenario, Random(seed));
            let plan = sim.look(|now| Rollout.plan(now.unwrap()));
            let _ = write!(text, "## {kind:?} {seed}\n{scenario}");
            let _ = match plan {
                Ok(plan) => {
                    let steps: Vec<String> = plan.steps.iter().map(Step::text).collect();
                    writeln!(text, "{}: {}", plan.headline, steps.join("; "))
                }
                Err(Stop::Refused(refusal)) => {
                    writeln!(text, "refused {}: {}", refusal.reason, refusal.because)
                }
                Err(Stop::Unseen(unseen)) => writeln!(text, "unseen: {unseen}"),
            };
        }
    }
    kept::compare("reconcile/waits.txt", &text);
}

#[test]
fn watch_leaves_the_pods_of_an_on_delete_set_to_people() {
    let waits = |scenario: &Scenario| {
        with(scenario, |now| {
            let plan = Rollout.plan(now).unwrap();
            plan.steps.iter().map(Step::text).collect::<Vec<_>>().join("; ")
        })
    };
    let on_delete = |reached: i32| {
        let strategy = json!({"type": "OnDelete"});
        Scenario { strategy, ..rolling(3, reached, None, Typed::Abort) }
    };
    assert_eq!(waits(&on_delete(2)), "wait for web-1 and web-0 to be deleted by you");
    assert_eq!(waits(&on_delete(0)), "", "every pod is updated");
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    assert_eq!(
        waits(&Scenario { strategy, ..rolling(3, 2, None, Typed::Abort) }),
        "",
        "it waits at its partition"
    );
    assert_eq!(waits(&rolling(3, 2, None, Typed::Abort)), "wait for the controller");
}

/// Watches a set until this ends it; the outcome, and how long it took.
fn watched(scenario: &Scenario, stable_for: u64) -> (Outcome, Duration) {
    let limits = Limits {
        timeout: Some(Duration::from_secs(120)),
        stuck_after: Duration::from_secs(600),
        stable_for: Duration::from_secs(stable_for),
        endless: false,
    };
    let mut sim = Simulation::new(scenario, Random(1));
    block_on(async {
        let started = Instant::now();
        let report = reconcile(&mut sim, &Rollout, &Agreement::to_nothing(), &limits, &mut Nobody).await;
        (report.outcome, started.elapsed())
    })
}

#[test]
fn what_is_reached_has_to_stay_so_for_as_long_as_asked() {
    let done = rolling(2, 0, None, Typed::Abort);
    for (stable_for, at_most) in [(0, 2), (30, 32)] {
        let (outcome, took) = watched(&done, stable_for);
        assert!(matches!(outcome, Outcome::Reached), "{outcome:?}");
        let took = took.as_secs();
        assert!((stable_for..=at_most).contains(&took), "{took} s instead of {stable_for}");
    }
}

#[test]
fn a_set_whose_pod_flaps_is_not_complete() {
    let mut scenario = rolling(2, 0, None, Typed::Abort);
    scenario.pods[1] = Found { ordinal: 1, revision: "B", state: State::Has(Fate::Flaps) };
    let (outcome, _) = watched(&scenario, 0);
    assert!(matches!(outcome, Outcome::TimedOut), "{outcome:?}");
}
