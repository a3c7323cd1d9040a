//! Every page of docs/rules is a test: each section with YAML is a case, the `finding` block what must come out.

use std::collections::BTreeSet;
use std::process::Command;

use kubectl_sts::cluster::recorded::{self, Absent};
use kubectl_sts::kinds::{Kind, StatefulSet};
use kubectl_sts::render::{Page, Style, explanation, finding};
use kubectl_sts::rules::{Blocked, Explanation, Filter, Finding, RULES, Rule, Severity, diagnose, order};
use kubectl_sts::snapshot::Snapshot;
use serde_json::Value;

use crate::support::Run;

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

/// What the rules find in a case: those of these codes, or all.
pub fn findings(case: &Case, only: &[&'static str]) -> Vec<(StatefulSet, Finding)> {
    let files = [(case.title.clone(), case.yaml.clone())];
    let observed = recorded::read(&files, Absent::Empty, jiff::Timestamp::UNIX_EPOCH).unwrap();
    let filter = Filter { only: only.to_vec(), skip: Vec::new() };
    let diagnosis = diagnose(&observed, |_| true, &filter);
    // Of a case no more is seen than its own rule needs.
    assert!(only.len() != 1 || diagnosis.skipped.is_empty(), "{}: {:?}", case.title, diagnosis.skipped);
    let namespaces = observed.namespaces();
    let told = |(set, mut finding): (&StatefulSet, Finding)| {
        if let Some(log) = observed.logs.iter().find(|log| Some(&log.of) == finding.run.as_ref()) {
            let namespace = &namespaces[set.metadata.namespace.as_str()];
            finding.add_log(&Snapshot::of(&observed, namespace, set), log, 3);
        }
        (set.clone(), finding)
    };
    diagnosis.findings.into_iter().map(told).collect()
}

fn found(rule: &Rule, case: &Case) -> String {
    let mut page = Page::new(Style::PLAIN);
    for (set, found) in &findings(case, &[rule.code]) {
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
        let title = format!("# {} {}: ", rule.code, rule.name);
        assert!(rule.page.starts_with(&title), "docs/rules/{}.md must start with {title}", rule.name);
        let cases = cases(rule.page);
        assert!(cases.iter().any(|case| !case.expected.is_empty()), "{} has no case that fires", rule.name);
        assert!(cases.iter().any(|case| case.expected.is_empty()), "{} has no silent case", rule.name);
    }
}

/// The list of all rules has room for titles of this width in 80 columns.
const TITLE: usize = 56;
/// `explain` takes fewer lines.
const LINES: usize = 25;
const COLUMNS: usize = 80;

#[test]
fn every_page_explains_its_rule_on_one_screen() {
    let mut wrong = Vec::new();
    let mut titles = BTreeSet::new();
    for rule in RULES {
        let name = rule.name;
        let it = rule.explanation();
        let headings: Vec<&str> = rule.page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
        if !headings.starts_with(&Explanation::HEADINGS) {
            wrong.push(format!("{name}: the headings are not {:?}", Explanation::HEADINGS));
        }
        for (part, heading) in
            [it.meaning, it.cause, it.check, it.fix, it.link].iter().zip(Explanation::HEADINGS)
        {
            if part.is_empty() {
                wrong.push(format!("{name}: nothing stands under {heading}"));
            }
        }
        if !it.check.lines().any(|line| line.starts_with("    kubectl ")) {
            wrong.push(format!("{name}: {:?} has no command", "How to check"));
        }
        if !it.link.starts_with("https://") {
            wrong.push(format!("{name}: no link: {}", it.link));
        }
        let is_sentence = it.title.starts_with(char::is_uppercase)
            || ["spec.serviceName ", "whenScaled "].iter().any(|field| it.title.starts_with(field));
        if it.title.is_empty() || it.title.chars().count() > TITLE || it.title.ends_with('.') || !is_sentence
        {
            wrong.push(format!(
                "{name}: the title must be a sentence of at most {TITLE} columns: {}",
                it.title
            ));
        }
        if !titles.insert(it.title) {
            wrong.push(format!("{name}: another rule has the same title"));
        }
        let mut page = Page::new(Style { width: Some(COLUMNS), ..Style::PLAIN });
        explanation(&mut page, rule, false);
        let shown = page.finish();
        if shown.lines().count() >= LINES {
            wrong.push(format!("{name}: {} lines:\n{shown}", shown.lines().count()));
        }
        for line in shown.lines().filter(|line| line.chars().count() > COLUMNS) {
            wrong.push(format!("{name}: too wide: {line}"));
        }
        for mark in ["`", "**", "](", "##", "…"] {
            if shown.contains(mark) {
                wrong.push(format!("{name}: {mark} is on the screen"));
            }
        }
        // Nothing is cut.
        let words = |text: &str| -> Vec<String> {
            text.replace(['`', '*'], "").split_whitespace().map(str::to_owned).collect()
        };
        let shown = words(&shown);
        for part in [it.title, it.meaning, it.cause, it.check, it.fix, it.link] {
            for run in words(part).windows(3) {
                let is_there = shown.windows(3).any(|shown| shown == run) || run.contains(&"-".to_owned());
                if !is_there {
                    wrong.push(format!("{name}: not shown: {}", run.join(" ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// With `--full` all of the page is shown: each case with its YAML and its finding.
#[test]
fn the_whole_page_is_shown_if_wanted() {
    for rule in RULES {
        let mut page = Page::new(Style { width: Some(COLUMNS), ..Style::PLAIN });
        explanation(&mut page, rule, true);
        let shown = page.finish();
        for case in cases(rule.page) {
            assert!(shown.contains(&format!("\n{}\n", case.title.replace('`', ""))), "{}", case.title);
            for line in case.yaml.lines().chain(case.expected.lines()) {
                assert!(shown.contains(format!("    {line}").trim_end()), "{}: {line}", case.title);
            }
        }
    }
}

/// The rules of which findings may be consequences.
const CONSEQUENCES: [&str; 4] =
    ["rollout-blocked", "claim-waiting-for-consumer", "parallel-not-ordered", "claim-older-than-set"];

fn is_about(finding: &Finding, kind: Kind, name: &str) -> bool {
    let mut all = std::iter::once(&finding.subject).chain(&finding.also).chain(&finding.absorbs);
    all.any(|it| it.kind == kind && it.name == name)
}

/// The case with two more replicas in its first StatefulSet.
fn scaled_up(case: &Case) -> Case {
    let at = case.yaml.find("kind: StatefulSet").unwrap_or_default();
    let (before, set) = case.yaml.split_at(at);
    let yaml = match set.split_once("replicas: ") {
        Some((start, rest)) => {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let more = rest[..digits].parse::<i32>().map_or(2, |replicas| replicas + 2);
            format!("{before}{start}replicas: {more}{}", &rest[digits..])
        }
        None => case.yaml.clone(),
    };
    Case { title: case.title.clone(), yaml, expected: String::new() }
}

/// One cause, one finding: over all cases of all pages, what only follows from another finding is not shown beside it; what
/// it knows is said there. Without a visible cause it stays.
#[test]
fn a_consequence_is_shown_by_its_cause() {
    let (mut folded, mut blocking, mut alone) = (BTreeSet::new(), BTreeSet::new(), 0);
    for rule in RULES {
        for case in cases(rule.page) {
            let all = findings(&case, &[]);
            let causes: Vec<&Finding> =
                all.iter().map(|(_, it)| it).filter(|it| it.follows.is_empty()).collect();
            blocking.extend(causes.iter().filter(|it| it.blocks.is_some()).map(|it| it.rule.name));
            // Two more replicas wait for the one that fails.
            for (set, finding) in findings(&scaled_up(&case), &[rule.code]) {
                if let Some(blocked) = &finding.blocks {
                    assert!(finding.severity > Severity::Note, "{} / {}", rule.name, case.title);
                    assert!(!set.is_parallel(), "{} / {}: nothing waits", rule.name, case.title);
                    assert!(!blocked.pods.contains(&finding.subject.name), "{} / {}", rule.name, case.title);
                    blocking.insert(rule.name);
                }
            }
            let explains = |cause: &Finding, finding: &Finding, fault: &kubectl_sts::rules::Subject| {
                cause.severity >= finding.severity && is_about(cause, fault.kind, &fault.name)
            };
            for (_, finding) in all.iter().filter(|(_, it)| !it.follows.is_empty()) {
                alone += 1;
                assert!(
                    CONSEQUENCES.contains(&finding.rule.name),
                    "{} is not in the list",
                    finding.rule.name
                );
                let is_explained = |fault| causes.iter().any(|cause| explains(cause, finding, fault));
                assert!(
                    !finding.follows.iter().all(is_explained),
                    "{} / {}: {finding:?} beside its cause",
                    rule.name,
                    case.title
                );
            }
            // What each consequence says where it is asked for without its cause, its cause says now.
            for of_rule in CONSEQUENCES.map(|name| Rule::find(name).unwrap()) {
                for (set, finding) in findings(&case, &[of_rule.code, "STS104"]) {
                    let is_shown =
                        all.iter().any(|(_, it)| it.rule.code == of_rule.code && it.what == finding.what);
                    if finding.follows.is_empty() || is_shown {
                        continue;
                    }
                    let fault = &finding.follows[0];
                    let cause = causes.iter().find(|cause| {
                        explains(cause, &finding, fault)
                            && (finding.blocks.is_none() || cause.blocks == finding.blocks)
                    });
                    let cause = cause.unwrap_or_else(|| {
                        panic!("{} / {}: no finding says {:?}", set.metadata.name, case.title, finding.blocks)
                    });
                    folded.insert((of_rule.name, cause.rule.name));
                }
            }
        }
    }
    for name in [
        "claim-class-missing",
        "claim-lost",
        "claim-provisioning-failed",
        "claim-zone-mismatch",
        "config-missing",
        "crash-loop",
        "image-pull",
        "init-failing",
        "never-ready",
        "node-lost",
        "stuck-terminating",
        "unschedulable",
        "volume-mount-failed",
    ] {
        assert!(blocking.contains(name), "no case of {name} blocks anything, only of {blocking:?}");
    }
    for pair in [
        ("rollout-blocked", "image-pull"),
        ("rollout-blocked", "crash-loop"),
        ("rollout-blocked", "never-ready"),
        ("rollout-blocked", "unschedulable"),
        ("rollout-blocked", "out-of-memory"),
        ("claim-waiting-for-consumer", "unschedulable"),
        ("parallel-not-ordered", "image-pull"),
    ] {
        assert!(folded.contains(&pair), "no case has {pair:?}, only {folded:?}");
    }
    assert!(alone > 0, "no consequence stands alone");
}

/// `doctor` and `status` list the findings about a StatefulSet in one order, which is [`order`].
#[test]
fn status_and_doctor_list_findings_in_one_order() {
    let place = tempfile::tempdir().unwrap();
    let mut mixed = 0;
    for rule in RULES {
        let case = &cases(rule.page)[0];
        let file = place.path().join(format!("{}.yaml", rule.name));
        std::fs::write(&file, &case.yaml).unwrap();
        let run = |command: &str, set: &StatefulSet| -> Vec<Value> {
            let mut program = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
            program.args([
                command,
                &set.metadata.name,
                "-n",
                &set.metadata.namespace,
                "-o",
                "json",
                "--from",
            ]);
            let run = Run::of(program.arg(&file).env_clear(), "");
            let mut json: Value =
                serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run:?}"));
            serde_json::from_value(json["findings"].take()).unwrap()
        };
        let Some((set, _)) = findings(case, &[]).into_iter().next() else { continue };
        // What several StatefulSets have in common is said once by `doctor`, of one of them.
        let shown = run("status", &set);
        let diagnosed = run("doctor", &set);
        assert_eq!(shown, diagnosed, "{} / {}", rule.name, case.title);
        let severities: BTreeSet<&str> = shown.iter().filter_map(|it| it["severity"].as_str()).collect();
        mixed += usize::from(severities.len() > 1);
    }
    assert!(mixed > 2, "only {mixed} cases have findings of several severities");
}

/// Errors first, then warnings, then notes; of these by StatefulSet and code, of one rule by ordinal.
#[test]
fn findings_are_in_the_order_that_is_written_down() {
    let set = |name: &str| -> StatefulSet {
        serde_json::from_value(serde_json::json!({"metadata": {"name": name, "namespace": "shop"}})).unwrap()
    };
    let (a, b) = (set("a"), set("b"));
    let of = |code: &str, severity: Severity, pod: &str| {
        Rule::find(code).unwrap().about(Kind::Pod, pod, "").only(severity)
    };
    let expected = [
        (&a, of("STS401", Severity::Error, "a-2")),
        (&a, of("STS401", Severity::Error, "a-10")),
        (&a, of("STS402", Severity::Error, "a-1")),
        (&b, of("STS401", Severity::Error, "b-0")),
        (&a, of("STS401", Severity::Warning, "a-0")),
        (&b, of("STS302", Severity::Warning, "b-0")),
        (&a, of("STS205", Severity::Note, "a-0")),
    ];
    let mut sorted: Vec<_> = expected.iter().rev().collect();
    sorted.sort_by(|(a_set, a), (b_set, b)| order((a_set, a), (b_set, b)));
    let shown = |(set, finding): &(&StatefulSet, Finding)| {
        format!("{} {} {}", set.metadata.name, finding.rule.code, finding.subject.name)
    };
    let sorted: Vec<String> = sorted.into_iter().map(shown).collect();
    assert_eq!(sorted, expected.iter().map(shown).collect::<Vec<_>>());
}

#[test]
fn what_is_blocked_is_said_in_words() {
    let pods = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let blocked = Blocked { action: "update", pods: pods(&["db-0", "db-1"]) };
    assert_eq!(blocked.to_string(), "the update of db-0 and db-1");
    let many = Blocked { action: "creation", pods: pods(&["db-1", "db-2", "db-3", "db-4"]) };
    assert_eq!(many.to_string(), "the creation of db-1, db-2 and 2 more");
}
