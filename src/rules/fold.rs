//! One cause, one finding: what only follows from another finding is not shown beside it.
//!
//! There are two ways to say so. A cause that knows what follows from it names the objects whose other findings it explains
//! ([`Finding::absorbs`]): a lost node explains whatever is wrong with its pods. A finding that knows that it is a
//! consequence names the objects at fault ([`Finding::follows`]): a rollout that is blocked by a pod says nothing of its own
//! where a finding says what is wrong with that pod. It leaves what it knows there: what is blocked, and a way out.

use std::collections::HashMap;

use super::{Filter, Finding, Subject};
use crate::paste::Command;

/// Takes away the findings that only follow from others of these, and those that are not wanted.
pub(super) fn fold(findings: Vec<Finding>, filter: &Filter) -> Vec<Finding> {
    let mut kept = without_absorbed(findings);
    kept.retain(|finding| filter.admits(finding.rule));
    into_causes(kept)
}

/// Takes away the findings whose cause claims their objects, whether that cause is wanted or not: a consequence does not
/// come out as a cause because its cause was filtered away.
fn without_absorbed(mut findings: Vec<Finding>) -> Vec<Finding> {
    let causes = findings.clone();
    let absorbs = |cause: &Finding, finding: &Finding| {
        // Where two hold each other for a consequence the higher code stays: a lost node says more about a pod than
        // the rollout that waits for it.
        let mutual = finding.absorbs.contains(&cause.subject) && finding.rule.code > cause.rule.code;
        cause.rule.code != finding.rule.code && !mutual
    };
    let mut by_subject: HashMap<&Subject, Vec<&Finding>> = HashMap::new();
    for cause in &causes {
        for subject in &cause.absorbs {
            by_subject.entry(subject).or_default().push(cause);
        }
    }
    // A finding about several objects is a consequence only if it is one for each of them.
    findings.retain(|finding| {
        let mut subjects = std::iter::once(&finding.subject).chain(&finding.also);
        let is_absorbed = |subject: &Subject| {
            let causes = by_subject.get(subject).map(Vec::as_slice).unwrap_or_default();
            causes.iter().any(|cause| absorbs(cause, finding))
        };
        !subjects.all(is_absorbed)
    });
    findings
}

/// Puts each finding that names the objects at fault into the findings about them, where there is one for each. One
/// without a visible cause stays: what it says would be said nowhere.
fn into_causes(mut findings: Vec<Finding>) -> Vec<Finding> {
    let mut at = 0;
    while at < findings.len() {
        match causes(&findings, at) {
            Some(causes) => {
                let finding = findings.remove(at);
                for cause in causes {
                    // It moved up if it was behind the one that is gone.
                    let cause = &mut findings[if cause > at { cause - 1 } else { cause }];
                    cause.blocks = cause.blocks.take().or_else(|| finding.blocks.clone());
                    // A command that only shows something leaves open how to continue.
                    if cause.remedy.iter().all(only_shows) {
                        cause.remedy.extend(finding.way_out.iter().cloned());
                    }
                }
            }
            None => at += 1,
        }
    }
    findings
}

/// Whether a command changes nothing.
fn only_shows(command: &Command) -> bool {
    command.words().iter().all(|words| match words.as_slice() {
        ["kubectl", "get" | "describe" | "logs" | "wait", ..] => true,
        ["kubectl", ..] => false,
        // What kubectl shows is filtered.
        _ => true,
    })
}

/// The places of the findings that explain this one; `None` where one of the objects at fault has no finding.
fn causes(findings: &[Finding], at: usize) -> Option<Vec<usize>> {
    let finding = &findings[at];
    if finding.follows.is_empty() {
        return None;
    }
    let cause_of = |subject: &Subject| {
        let explains = |other: &Finding| {
            let mut about = std::iter::once(&other.subject).chain(&other.also).chain(&other.absorbs);
            // What is less bad does not explain it, and what is a consequence itself does not either.
            other.follows.is_empty() && other.severity >= finding.severity && about.any(|it| it == subject)
        };
        let all = findings.iter().enumerate().filter(|(_, other)| explains(other));
        // The one that says that the pod will not come by itself, then the worst, then the first by code.
        all.min_by_key(|(_, other)| {
            (!other.is_stuck(), std::cmp::Reverse(other.severity), other.rule.code)
        })
        .map(|(place, _)| place)
    };
    let mut places = finding.follows.iter().map(cause_of).collect::<Option<Vec<_>>>()?;
    places.sort_unstable();
    places.dedup();
    Some(places)
}
