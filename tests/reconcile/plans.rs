//! What is planned, word for word: `tests/reconcile/plans.txt` keeps the plans and refusals of some clusters of the
//! simulation, for every goal. They were chosen so that each sentence that a plan can hold is there.
//!
//! `BLESS=1` writes what is planned now; read the difference. `cargo test choose_plans -- --ignored` chooses anew, after
//! which all of it has to be read.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use kubectl_sts::plan::{Plan, Step, Stop, forecast};

use super::scenario::{KINDS, Kind, Scenario};
use super::simulation::Simulation;
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

fn refused(text: &mut String, stop: &Stop) {
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

fn planned(text: &mut String, plan: &Plan) {
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
    let now = written(&cases);
    if now != file {
        if std::env::var_os("BLESS").is_some() {
            fs::write(FILE, now).unwrap();
            return;
        }
        let different = file.lines().zip(now.lines()).find(|(was, is)| was != is);
        panic!("BLESS=1 writes {FILE}\nwas, is: {different:#?}");
    }
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
