//! A finding in a few lines: what, because, blocks, try, see.

use serde_json::{Value, json};

use super::{Glyph, Page};
use crate::kinds::{Said, StatefulSet};
use crate::paste::{Command, sts};
use crate::rules::{Finding, LogTail, Severity, Skipped, Subject};
use crate::snapshot::{NotRead, Unseen};
use crate::words;

/// Writes a finding; with the namespace in front where several are shown.
pub fn finding(page: &mut Page, set: &StatefulSet, finding: &Finding, with_namespace: bool) {
    let glyph = match finding.severity {
        Severity::Error => Glyph::Bad,
        Severity::Warning => Glyph::Warning,
        Severity::Note => Glyph::Note,
    };
    let namespace = if with_namespace { format!("{}: ", set.metadata.namespace) } else { String::new() };
    let word = match finding.severity {
        Severity::Error => String::new(),
        lesser => format!(" ({})", lesser.word()),
    };
    let heading = format!("{} {}{word}", finding.rule.code, finding.rule.name);
    page.sign(glyph, &heading, &format!("{namespace}{}", finding.what));
    if !finding.because.is_empty() {
        page.field("  because", 11, &finding.because);
    }
    if let Some(blocked) = &finding.blocks {
        page.field("  blocks", 11, &blocked.to_string());
    }
    log(page, finding);
    let steps = finding.remedy.iter().enumerate().map(|(at, it)| (if at == 0 { "  try" } else { "" }, it));
    for (label, command) in steps.chain(finding.instead.iter().map(|it| ("  or", it))) {
        match command.line() {
            Some(line) => page.command(label, 11, &line),
            None => page.field(&format!("{label:11}"), 11, &command.to_string()),
        }
    }
    page.command("  see", 11, &explain(finding));
}

/// The same for programs.
pub fn finding_json(set: &StatefulSet, finding: &Finding) -> Value {
    json!({
        "code": finding.rule.code,
        "rule": finding.rule.name,
        "severity": finding.severity.word(),
        "namespace": set.metadata.namespace,
        "set": set.metadata.name,
        "object": subject_json(&finding.subject),
        "otherObjects": finding.also.iter().map(subject_json).collect::<Vec<_>>(),
        "what": finding.what,
        "because": finding.because,
        "blocks": finding.blocks.as_ref().map(|it| json!({"action": it.action, "pods": it.pods})),
        "try": finding.remedy.iter().filter_map(Command::line).collect::<Vec<_>>(),
        "or": finding.instead.iter().filter_map(Command::line).collect::<Vec<_>>(),
        "notShown": finding.remedy.iter().chain(&finding.instead).filter_map(Command::obstacle).collect::<Vec<_>>(),
        "see": explain(finding),
        "url": finding.rule.url(),
        "log": finding.log.as_ref().map(log_json),
    })
}

/// What the log says, where it was read.
fn log(page: &mut Page, finding: &Finding) {
    let Some(log) = finding.log.as_ref() else { return };
    if log.not_read.is_none() {
        let ends = log.is_cut.then_some("… (the log is too long to be read to its end)");
        match log.lines.is_empty() {
            true => text(page, "  log", finding, &["empty: the container wrote nothing"], Page::field),
            false => quoted(page, "  log", (finding, log, &log.lines, false), ends),
        }
    }
    if !log.message.is_empty() {
        quoted(page, "  message", (finding, log, &log.message, true), None);
    }
    if let Some(hint) = &log.hint {
        let source = if hint.is_of_message { "termination message" } else { "log" };
        page.field("  hint", 11, &format!("the {source} says that {}; {}", hint.cause, hint.remedy));
    }
}

/// The last lines of a log or a termination message.
fn quoted(
    page: &mut Page,
    label: &str,
    (finding, log, lines, is_message): (&Finding, &LogTail, &[Said], bool),
    ends: Option<&str>,
) {
    // What the hint is about may stand further up.
    let told = log.hint.as_ref().filter(|hint| hint.is_of_message == is_message).map(|hint| &hint.line);
    let told = told.filter(|line| !lines.contains(line)).into_iter().flat_map(|line| [line.as_str(), "…"]);
    let all: Vec<&str> = told.chain(lines.iter().map(|line| line.as_str())).chain(ends).collect();
    text(page, label, finding, &all, Page::quoted);
}

/// Lines of a container, which is named where the finding has more than one.
fn text(
    page: &mut Page,
    label: &str,
    finding: &Finding,
    lines: &[&str],
    write: fn(&mut Page, &str, usize, &str),
) {
    let mut label = label;
    if let Some(log) = finding.log.as_ref().filter(|_| !finding.also.is_empty()) {
        page.field(label, 11, &format!("of {}:", log.of.pod));
        label = "";
    }
    for line in lines {
        write(page, label, 11, line);
        label = "";
    }
}

fn log_json(log: &LogTail) -> Value {
    json!({
        "pod": log.of.pod,
        "container": log.of.container,
        "previous": log.of.previous,
        "lines": log.lines,
        "cut": log.is_cut,
        "notRead": log.not_read.as_ref().map(ToString::to_string),
        "terminationMessage": log.message,
        "hint": log.hint.as_ref().map(|hint| {
            let source = if hint.is_of_message { "terminationMessage" } else { "log" };
            json!({"name": hint.name, "line": hint.line, "in": source, "cause": hint.cause, "do": hint.remedy})
        }),
    })
}

/// The logs that findings asked for, and that could not be read: one line for each reason.
pub fn unread_logs<'f>(page: &mut Page, findings: impl IntoIterator<Item = &'f Finding>) {
    let mut reasons: Vec<(&NotRead, Vec<&str>)> = Vec::new();
    for log in findings.into_iter().filter_map(|finding| finding.log.as_ref()) {
        let Some(why) = &log.not_read else { continue };
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, pods)) => pods.push(&log.of.pod),
            None => reasons.push((why, vec![&log.of.pod])),
        }
    }
    for (why, mut pods) in reasons {
        pods.dedup();
        let noun = if pods.len() == 1 { "log" } else { "logs" };
        page.field("not checked:", 14, &format!("{noun} of {} ({why})", words::list(&pods, NAMED)));
    }
}

/// The command that explains the rule.
fn explain(finding: &Finding) -> String {
    sts("explain").value(finding.rule.code).to_string()
}

fn subject_json(subject: &Subject) -> Value {
    let mut value =
        json!({"apiVersion": subject.kind.api_version(), "kind": subject.kind.name(), "name": subject.name});
    if let Some(namespace) = &subject.namespace {
        value["namespace"] = json!(namespace);
    }
    value
}

/// How many rules are named where more than these were skipped.
const NAMED: usize = 3;

/// What could not be checked, and which rules were skipped for it.
pub fn skipped(page: &mut Page, skipped: &[Skipped]) {
    let (none, some): (Vec<_>, Vec<_>) = skipped.iter().partition(|skipped| skipped.rules.is_empty());
    for skipped in some {
        let rules: Vec<_> = skipped.rules.iter().map(|rule| rule.name).collect();
        let Unseen { kind, why } = &skipped.unseen;
        let line = if rules.len() > NAMED && !page.look.wide {
            format!("{} need {} ({why}; see -o wide)", words::count(rules.len(), "rule"), kind.plural())
        } else {
            format!("{}; skipped: {}", skipped.unseen, words::list(&rules, usize::MAX))
        };
        page.field("not checked:", 14, &line);
    }
    let mut reasons: Vec<(&NotRead, Vec<&str>)> = Vec::new();
    for Skipped { unseen, .. } in none {
        match reasons.iter_mut().find(|(why, _)| *why == &unseen.why) {
            Some((_, kinds)) => kinds.push(unseen.kind.plural()),
            None => reasons.push((&unseen.why, vec![unseen.kind.plural()])),
        }
    }
    for (why, kinds) in reasons {
        page.field("not checked:", 14, &format!("{} ({why})", words::list(&kinds, usize::MAX)));
    }
}

/// The same for programs.
pub fn skipped_json(skipped: &[Skipped]) -> Value {
    skipped
        .iter()
        .map(|skipped| {
            json!({
                "kind": skipped.unseen.kind.name(),
                "why": skipped.unseen.why.to_string(),
                "rules": skipped.rules.iter().map(|rule| rule.code).collect::<Vec<_>>(),
            })
        })
        .collect()
}
