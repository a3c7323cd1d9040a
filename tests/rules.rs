//! Every page of docs/rules is a test: each section with YAML is a case, the `finding` block what must come out.

use kubectl_sts::cluster::recorded::{self, Absent};
use kubectl_sts::render::{Page, Style, finding};
use kubectl_sts::rules::{Filter, RULES, Rule, diagnose};

/// A section of a page.
pub struct Case {
    pub title: String,
    pub yaml: String,
    expected: String,
}

pub fn cases(page: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for section in page.split("\n## ").skip(1) {
        let title = section.lines().next().unwrap_or_default().to_owned();
        let block = |kind: &str| {
            let (_, rest) = section.split_once(&format!("```{kind}\n"))?;
            Some(rest.split_once("```").expect("a block has an end").0.to_owned())
        };
        if let Some(yaml) = block("yaml") {
            cases.push(Case { title, yaml, expected: block("finding").unwrap_or_default() });
        }
    }
    cases
}

fn found(rule: &Rule, case: &Case) -> String {
    let files = [(case.title.clone(), case.yaml.clone())];
    let observed = recorded::read(&files, Absent::Empty, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let filter = Filter { only: vec![rule.code], skip: Vec::new() };
    let diagnosis = diagnose(&observed, |_| true, &filter);
    assert!(diagnosis.skipped.is_empty(), "{}: {:?}", case.title, diagnosis.skipped);
    let mut page = Page::new(Style::PLAIN);
    for (set, found) in &diagnosis.findings {
        page.gap();
        finding(&mut page, set, found, false);
    }
    page.finish()
}

#[test]
fn every_page_shows_what_its_rule_finds() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = String::new();
    for rule in RULES {
        let path = format!("{}/docs/rules/{}.md", env!("CARGO_MANIFEST_DIR"), rule.name);
        let mut text = std::fs::read_to_string(&path).unwrap();
        for case in cases(&text.clone()) {
            let found = found(rule, &case);
            if found != case.expected {
                if bless && !case.expected.is_empty() && !found.is_empty() {
                    let at = text.find(&format!("## {}\n", case.title)).unwrap();
                    let block = |text: &str| format!("```finding\n{text}```");
                    let (before, rest) = text.split_at(at);
                    text = before.to_owned() + &rest.replacen(&block(&case.expected), &block(&found), 1);
                }
                wrong +=
                    &format!("{} / {}\nexpected:\n{}found:\n{found}\n", rule.name, case.title, case.expected);
            }
        }
        if bless {
            std::fs::write(&path, text).unwrap();
        }
    }
    assert!(
        wrong.is_empty(),
        "pages and rules differ (BLESS=1 writes what was found into the pages):\n{wrong}"
    );
}

#[test]
fn every_page_has_its_title_and_both_kinds_of_cases() {
    for rule in RULES {
        let title = format!("# {} {}\n", rule.code, rule.name);
        assert!(rule.page.starts_with(&title), "docs/rules/{}.md must start with {title}", rule.name);
        let cases = cases(rule.page);
        assert!(cases.iter().any(|case| !case.expected.is_empty()), "{} has no case that fires", rule.name);
        assert!(cases.iter().any(|case| case.expected.is_empty()), "{} has no silent case", rule.name);
    }
}
