//! What is planned, word for word: `tests/reconcile/plans.txt` keeps the plans and refusals of some clusters of the
//! simulation, for every goal. They were chosen so that each sentence that a plan can hold is there.
//!
//! `BLESS=1` writes what is planned now; read the difference. `cargo test choose_plans -- --ignored` chooses anew, after
//! which all of it has to be read.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use kubectl_sts::plan::{Agreement, Plan, Step, Stop, forecast};
use serde_json::json;

use super::kept;
use super::rolling;
use super::scenario::{Found, KINDS, Kind, Scenario, State, Typed};
use super::simulation::Simulation;
use super::typed::DIGEST;
use crate::controller::change::Random;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reconcile/plans.txt");

fn scenario(kind: Kind, seed: u64) -> Scenario {
    Scenario::random(&mut Random(seed), kind)
}

fn step(text: &mut String, label: &str, step: &Step) {
    let _ = match step {
        Step::Patch(patch) => {
            let kind = format!("{:?}", patch.kind);
            let revision = patch.revision.as_deref().map_or(String::new(), |it| format!(", revision {it}"));
            let pauses = if patch.pauses { ", pauses" } else { "" };
            writeln!(
                text,
                "{label}{kind} patch of {}, generation {}{revision}{pauses}: {}\n      {}",
                patch.set, patch.generation, patch.note, patch.body
            )
        }
        other => writeln!(text, "{label}{other:?}"),
    };
}

pub fn refused(text: &mut String, stop: &Stop) {
    let _ = match stop {
        Stop::Refused(refusal) => {
            writeln!(
                text,
                "refused: {}\n  because {}\n  {}",
                refusal.reason,
                refusal.because,
                refusal.hint.replace('\n', "\n  ")
            )
        }
        Stop::Unseen(unseen) => writeln!(text, "unseen: {unseen}"),
    };
}

pub fn planned(text: &mut String, plan: &Plan) {
    let _ = writeln!(text, "{}", plan.title(" in default"));
    for (label, fact) in &plan.facts {
        let _ = writeln!(text, "  {label}: {fact}");
    }
    for warning in &plan.warnings {
        let _ = writeln!(text, "  warning: {warning}");
    }
    plan.steps.iter().for_each(|it| step(text, "  - ", it));
    plan.if_needed.iter().for_each(|it| step(text, "  - if needed: ", it));
    for (label, value) in [
        ("restarts", plan.restarts.join(" ")),
        ("then", plan.then.clone()),
        ("unchanged", plan.stays.clone()),
        ("to undo", plan.back.clone()),
    ] {
        if !value.is_empty() {
            let _ = writeln!(text, "  {label}: {}", value.replace('\n', " | "));
        }
    }
    let flags = [(plan.is_half_done, "half done"), (plan.is_then_expected, "then is expected")];
    for (_, flag) in flags.iter().filter(|(is, _)| *is) {
        let _ = writeln!(text, "  {flag}");
    }
}

/// What is planned of a scenario.
fn told(kind: Kind, seed: u64) -> String {
    let scenario = scenario(kind, seed);
    let sim = Simulation::new(&scenario, Random(seed ^ 0x5e_ed));
    let mut text = scenario.to_string();
    match scenario.typed.agree(&sim) {
        Err(stop) => refused(&mut text, &stop),
        Ok(agreed) => sim.look(|now| {
            let now = now.unwrap();
            planned(&mut text, &agreed.plan);
            let course = forecast(now, &agreed.plan).unwrap();
            let _ = writeln!(text, "  forecast: {:?}", course.end);
            for (number, part) in agreed.parts(now).iter().enumerate() {
                let _ = writeln!(text, "part {number}:");
                match part {
                    Ok(plan) => planned(&mut text, plan),
                    Err(stop) => refused(&mut text, stop),
                }
            }
        }),
    }
    text
}

/// The cases of the file: goal and seed.
fn kept(text: &str) -> Vec<(Kind, u64)> {
    let headings = text.lines().filter_map(|line| line.strip_prefix("## "));
    headings
        .map(|heading| {
            let (goal, seed) = heading.split_once(' ').unwrap();
            let kind = KINDS.into_iter().find(|kind| format!("{kind:?}") == goal).unwrap();
            (kind, seed.parse().unwrap())
        })
        .collect()
}

fn written(cases: &[(Kind, u64)]) -> String {
    cases.iter().map(|(kind, seed)| format!("## {kind:?} {seed}\n{}\n", told(*kind, *seed))).collect()
}

#[test]
fn every_plan_is_as_it_is_kept() {
    let file = fs::read_to_string(FILE).unwrap();
    let cases = kept(&file);
    assert!(cases.len() > 50, "only {} cases are kept", cases.len());
    kept::compare("reconcile/plans.txt", &written(&cases));
}

/// Chooses cases of which each says something that none before it says.
#[test]
#[ignore = "it writes the file anew"]
fn choose_plans() {
    // Names, numbers and revisions do not make a sentence another one.
    let shape = |line: &str| -> String {
        // Which pods these are is another matter.
        for label in ["  restarts:", "  unchanged:", "  - Await", "  forecast:", "part "] {
            if line.starts_with(label) {
                return label.to_owned();
            }
        }
        let mut shape: String = line.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        for name in ["A", "B", "C"] {
            shape = shape.replace(&format!(" {name}"), " R").replace(&format!("\"{name}\""), "\"R\"");
        }
        for names in ["web-0, web-0", "web-0 web-0", "web-0 and web-0", "\"web-0\", \"web-0\""] {
            while shape.contains(names) {
                let one = if names.starts_with('"') { "\"web-0\"" } else { "web-0" };
                shape = shape.replace(names, one);
            }
        }
        shape
    };
    let mut seen = BTreeSet::new();
    let mut cases = Vec::new();
    for kind in KINDS {
        for seed in 1..400 {
            let text = told(kind, seed);
            let scenario = scenario(kind, seed).to_string();
            let said = text.strip_prefix(&scenario).unwrap();
            let new =
                said.lines().map(|line| format!("{kind:?} {}", shape(line))).filter(|it| !seen.contains(it));
            let new: Vec<String> = new.collect();
            if !new.is_empty() {
                seen.extend(new);
                cases.push((kind, seed));
            }
        }
    }
    fs::write(FILE, written(&cases)).unwrap();
}

/// The plan or the refusal of a scenario, as text.
fn plan_of(scenario: &Scenario) -> String {
    let sim = Simulation::new(scenario, Random(1));
    let mut text = String::new();
    match scenario.typed.agree(&sim) {
        Err(stop) => refused(&mut text, &stop),
        Ok(agreed) => planned(&mut text, &agreed.plan),
    }
    text
}

fn mark(stable: &str, change: Option<&str>) -> serde_json::Value {
    json!({"stable": stable, "partition": 0, "by": "test", "at": "2026-01-01T11:00:00Z", "change": change})
}

#[test]
fn a_canary_begins_again_only_on_the_template_of_before() {
    let again = |template: &'static str, stable: &str, change: &str| {
        let typed = Typed::Canary { steps: vec![3], image: true };
        plan_of(&Scenario { template, ..rolling(5, 5, Some(mark(stable, Some(change))), typed) })
    };
    // Aborted by hand: the template is that of before, so it is a canary anew.
    assert!(
        again("A", "A", DIGEST).contains("template and partition 0 → 3 in one patch"),
        "{}",
        again("A", "A", DIGEST)
    );
    // Edited since: its change is not there, and the template is another one.
    assert!(again("B", "A", DIGEST).starts_with("refused: template-edited"), "{}", again("B", "A", DIGEST));
    // Another change was canaried.
    assert!(again("B", "A", "other").starts_with("refused: another-canary"), "{}", again("B", "A", "other"));
}

#[test]
fn a_canary_whose_template_is_back_is_not_promoted() {
    let promoted = |template: &'static str, change: Option<&str>| {
        plan_of(&Scenario { template, ..rolling(5, 5, Some(mark("A", change)), Typed::Promote(0)) })
    };
    assert!(promoted("A", Some(DIGEST)).starts_with("refused: aborted"), "{}", promoted("A", Some(DIGEST)));
    // One without a change of its own has nothing to put back.
    assert!(!promoted("A", None).contains("aborted"), "{}", promoted("A", None));
    assert!(!promoted("B", Some(DIGEST)).contains("aborted"), "{}", promoted("B", Some(DIGEST)));
}

#[test]
fn the_stable_revision_of_a_canary_is_that_of_the_pods_that_wait() {
    let stable = |reached: i32, image: bool| {
        let typed = Typed::Canary { steps: vec![2], image };
        let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 5}});
        let text = plan_of(&Scenario { strategy, ..rolling(5, reached, None, typed) });
        let (_, rest) =
            text.split_once(r#"\"stable\":\""#).unwrap_or_else(|| panic!("no annotation: {text}"));
        rest.chars().next().unwrap()
    };
    // A template that was changed before, and waits at the partition: back is the old one.
    assert_eq!(stable(5, false), 'A');
    // All pods have it already: back is where they are.
    assert_eq!(stable(0, false), 'B');
    // A canary that brings a change goes back to the template that it changes.
    assert_eq!(stable(0, true), 'B');
}

#[test]
fn pods_that_a_raised_partition_leaves_are_counted_from_the_first_ordinal() {
    let typed = Typed::Canary { steps: vec![4], image: false };
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    let found = (3..8).map(|ordinal| Found {
        ordinal,
        revision: if ordinal < 5 { "A" } else { "B" },
        state: State::Old,
    });
    let scenario =
        Scenario { start: 3, strategy, pods: found.collect(), ..rolling(5, 2, Some(mark("A", None)), typed) };
    let text = plan_of(&scenario);
    assert!(text.contains("rolls no pod back: web-6 and web-5 stay on the new revision"), "{text}");
}

#[test]
fn what_is_agreed_to_is_what_was_planned() {
    let typed = Typed::Promote(0);
    let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 3}});
    let scenario = Scenario { strategy, ..rolling(5, 3, Some(mark("A", None)), typed) };
    let sim = Simulation::new(&scenario, Random(1));
    let agreed = scenario.typed.agree(&sim).ok().unwrap();
    assert_eq!(agreed.agreement.steps(), agreed.plan.agreed());
    assert!(agreed.agreement.writes());
    let nothing = Agreement::to_nothing();
    assert!(!nothing.writes() && nothing.steps().is_empty());
    // One that only waits writes nothing.
    let waits = Plan {
        steps: vec![Step::Await { pods: vec!["web-0".to_owned()], until: String::new() }],
        ..Plan::default()
    };
    assert!(!Agreement::to(&waits).writes());
}
