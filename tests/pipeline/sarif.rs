//! What `doctor -o sarif` writes, against the schema of the OASIS standard (`tests/sarif`).

use std::collections::BTreeMap;
use std::path::Path;

use kubectl_sts::render::{Case, Report};
use kubectl_sts::rules::RULES;
use serde_json::Value;

use super::{HOSTILE, doctor_in, json};
use crate::{rules, schema};

/// What is wrong with a log.
fn wrong(log: &Value) -> Vec<String> {
    let text = include_str!("../sarif/sarif-schema-2.1.0.json");
    let (schema, mut wrong) = (serde_json::from_str::<Value>(text).unwrap(), Vec::new());
    schema::check(&schema, &schema, log, "", &mut wrong);
    wrong
}

#[track_caller]
fn holds(log: &Value) {
    let wrong = wrong(log);
    assert!(wrong.is_empty(), "{}\n{log:#}", wrong.join("\n"));
    let run = &log["runs"][0];
    for result in run["results"].as_array().unwrap() {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(run["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
    }
}

#[test]
fn what_code_scanning_reads_is_as_the_standard_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut results = 0;
    for folder in ["docs/recordings", "tests/manifests"] {
        let files = std::fs::read_dir(here.join(folder)).unwrap().map(|entry| entry.unwrap().path());
        for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "yaml")) {
            for from in ["--from", "-f"] {
                let run =
                    doctor_in(here, "", &[from, file.to_str().unwrap(), "-o", "sarif", "--fail-on", "never"]);
                // Not every one has a StatefulSet.
                if run.code == 0 {
                    let log = json(&run);
                    holds(&log);
                    results += log["runs"][0]["results"].as_array().unwrap().len();
                }
            }
        }
    }
    assert!(results >= 6, "only {results} results");
    let hostile = json(&doctor_in(here, HOSTILE, &["-f", "-", "-o", "sarif"]).code(1));
    holds(&hostile);
}

/// With all that the cases of the pages on rules find.
#[test]
fn findings_of_every_rule_are_as_the_standard_says() {
    let (mut seen, mut objects) = (std::collections::BTreeSet::new(), 0);
    for rule in RULES {
        for case in rules::cases(rule.page) {
            let found = rules::findings(&case, &[]);
            let cases: Vec<Case<'_>> =
                found.iter().map(|(set, finding)| Case { set, finding, fails: true }).collect();
            let checked = found.iter().map(|(set, _)| set).collect();
            let (files, skipped, summary) = (BTreeMap::new(), &[][..], String::new());
            let log = Report {
                checked,
                cases,
                skipped,
                files: &files,
                summary,
                read_at: jiff::Timestamp::UNIX_EPOCH,
            }
            .sarif();
            holds(&log);
            for result in log["runs"][0]["results"].as_array().unwrap() {
                seen.insert(result["ruleId"].as_str().unwrap().to_owned());
                objects += result["locations"][0]["logicalLocations"].as_array().unwrap().len();
            }
        }
    }
    // A finding that only follows from another one is not among them.
    assert!(seen.len() * 10 >= RULES.len() * 9, "only {seen:?}");
    assert!(objects > seen.len());
}

#[test]
fn what_is_not_as_the_standard_says_is_noticed() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let right = json(&doctor_in(here, HOSTILE, &["-f", "-", "-o", "sarif"]).code(1));
    let result = "/runs/0/results/0";
    for (place, value, said) in [
        ("/version", "2.0".into(), ".version is \"2.0\", not one of [\"2.1.0\"]"),
        ("/$schema", "no uri".into(), ".$schema is \"no uri\", which is no \"uri\""),
        ("/runs/0/tool", Value::from(1), ".runs[0].tool is 1, not of type \"object\""),
        (&format!("{result}/level"), "fatal".into(), ".runs[0].results[0].level is \"fatal\", not one of"),
        (
            &format!("{result}/ruleIndex"),
            (-2).into(),
            ".runs[0].results[0].ruleIndex is -2, and its minimum -1",
        ),
        (&format!("{result}/message"), serde_json::json!({}), ".runs[0].results[0].message fits 0 of anyOf"),
        (
            &format!("{result}/locations/0/physicalLocation/artifactLocation/uri"),
            "a b".into(),
            ".runs[0].results[0].locations[0].physicalLocation.artifactLocation.uri is \"a b\", which is no",
        ),
        (
            &format!("{result}/partialFingerprints"),
            serde_json::json!({"a": 1}),
            ".runs[0].results[0].partialFingerprints.a is 1, not of type \"string\"",
        ),
    ] {
        let mut log = right.clone();
        *log.pointer_mut(place).unwrap_or_else(|| panic!("{place}: {right:#}")) = value;
        let found = wrong(&log);
        assert!(found.iter().any(|line| line.starts_with(said)), "{said}: {found:?}");
    }
    let mut more = right.clone();
    more["runs"][0]["more"] = 1.into();
    let mut twice = right.clone();
    let place = twice.pointer(&format!("{result}/locations")).unwrap()[0].clone();
    twice["runs"][0]["results"][0]["locations"][0]["relationships"] = Value::Array(Vec::new());
    twice["runs"][0]["tool"]["driver"]["rules"] = vec![place.clone(), place].into();
    assert!(wrong(&more).iter().any(|line| line == ".runs[0].more is not in the schema"));
    assert!(wrong(&twice).iter().any(|line| line == ".runs[0].tool.driver.rules has an item twice"));
}
