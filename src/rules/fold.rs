//! One cause, one finding: what only follows from another finding is not shown beside it.
//!
//! There are two ways to say so. A cause that knows what follows from it names the objects whose other findings it explains
//! ([`Finding::absorbs`]): a lost node explains whatever is wrong with its pods. A finding that knows that it is a
//! consequence names the objects at fault ([`Finding::follows`]): a rollout that is blocked by a pod says nothing of its own
//! where a finding says what is wrong with that pod. It leaves what it knows there: what is blocked, and a way out.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::{Filter, Finding, Subject};
use crate::paste::Command;

/// Takes away the findings that only follow from others of these, and those that are not wanted.
pub(super) fn fold(findings: Vec<Finding>, filter: &Filter) -> Vec<Finding> {
    let mut kept = into_causes(without_absorbed(findings), filter);
    kept.retain(|finding| filter.admits(finding.rule));
    kept
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
/// without a visible cause stays: what it says would be said nowhere. A cause says what follows from it, whether that is
/// asked for or not.
fn into_causes(mut findings: Vec<Finding>, filter: &Filter) -> Vec<Finding> {
    let (mut folded, mut told) = (Vec::new(), Vec::new());
    let causes = Causes::among(&findings, filter);
    for (place, finding) in findings.iter().enumerate().filter(|(_, it)| !it.follows.is_empty()) {
        match causes.of(finding) {
            Some(places) => {
                folded.push(place);
                told.extend(
                    places.into_iter().map(|cause| (cause, finding.blocks.clone(), finding.way_out.clone())),
                );
            }
            None if finding.stands_alone => {}
            None => folded.push(place),
        }
    }
    for (place, blocks, way_out) in told {
        let cause = &mut findings[place];
        cause.blocks = cause.blocks.take().or(blocks);
        // A command that only shows something leaves open how to continue.
        if cause.remedy.iter().all(only_shows) {
            cause.instead.retain(|other| !way_out.contains(other));
            cause.remedy.extend(way_out);
        }
    }
    let mut place = 0;
    findings.retain(|_| {
        place += 1;
        !folded.contains(&(place - 1))
    });
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

/// The findings that can explain others, with their places, by the objects they are about.
struct Causes<'f>(HashMap<&'f Subject, Vec<(usize, &'f Finding)>>);

impl<'f> Causes<'f> {
    /// Those that are shown, and are no consequences themselves.
    fn among(findings: &'f [Finding], filter: &Filter) -> Causes<'f> {
        let mut all: HashMap<&Subject, Vec<(usize, &Finding)>> = HashMap::new();
        if findings.iter().all(|finding| finding.follows.is_empty()) {
            return Causes(all);
        }
        let shown =
            findings.iter().enumerate().filter(|(_, it)| it.follows.is_empty() && filter.admits(it.rule));
        for (place, finding) in shown {
            for subject in std::iter::once(&finding.subject).chain(&finding.also).chain(&finding.absorbs) {
                all.entry(subject).or_default().push((place, finding));
            }
        }
        Causes(all)
    }

    /// The places of the findings that explain this one; `None` where one of the objects at fault has no finding.
    fn of(&self, finding: &Finding) -> Option<Vec<usize>> {
        // What is less bad does not explain it.
        let is_worse = |other: &Finding| {
            other.severity >= finding.severity && (finding.stands_alone || other.is_stuck())
        };
        let cause_of = |subject: &Subject| {
            let all = self.0.get(subject)?.iter().filter(|(_, other)| is_worse(other));
            // The one that says that the pod will not come by itself, then the worst, then the first by code.
            let rank = |other: &Finding| (!other.is_stuck(), Reverse(other.severity), other.rule.code);
            all.min_by_key(|(_, other)| rank(other)).map(|(place, _)| *place)
        };
        let mut places = finding.follows.iter().map(cause_of).collect::<Option<Vec<_>>>()?;
        places.sort_unstable();
        places.dedup();
        Some(places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::Kind;
    use crate::paste::{kubectl, sts};
    use crate::rules::{Blocked, Rule, Severity};

    fn about(code: &str, pod: &str) -> Finding {
        Rule::find(code).expect("a rule").about(Kind::Pod, pod, format!("{pod} has {code}"))
    }

    fn blocked() -> Blocked {
        Blocked { action: "update", pods: vec!["web-0".to_owned()] }
    }

    /// A rollout that is blocked by web-1, with a way out.
    fn consequence() -> Finding {
        let finding =
            Rule::find("STS302").expect("a rule").about(Kind::StatefulSet, "web", "the update is blocked");
        let finding = finding.follows(Kind::Pod, "web-1").blocking(blocked());
        Finding { way_out: vec![sts("undo").name("web")], ..finding }
    }

    fn shown(findings: &[Finding]) -> Vec<(&str, bool, usize)> {
        findings.iter().map(|it| (it.rule.code, it.blocks.is_some(), it.remedy.len())).collect()
    }

    #[test]
    fn a_consequence_goes_into_its_cause() {
        let logs = about("STS402", "web-1").remedy(kubectl("logs web-1"));
        let deleted = about("STS401", "web-1").remedy(kubectl("delete pod web-1"));
        for (cause, expected) in [
            (logs, ("STS402", true, 2)),
            // It has a way out of its own.
            (deleted, ("STS401", true, 1)),
            // A finding about several pods, and one that claims the pod.
            (about("STS401", "web-3").also(Kind::Pod, "web-1"), ("STS401", true, 1)),
            (about("STS201", "web-x").absorbs(Kind::Pod, "web-1"), ("STS201", true, 1)),
        ] {
            // In whatever order they are found.
            for found in [vec![cause.clone(), consequence()], vec![consequence(), cause]] {
                assert_eq!(shown(&fold(found, &Filter::default())), [expected]);
            }
        }
    }

    #[test]
    fn without_a_visible_cause_it_stays() {
        let all = Filter::default();
        let alone = ("STS302", true, 0);
        let other = ("STS401", false, 0);
        assert_eq!(shown(&fold(vec![consequence()], &all)), [alone]);
        assert_eq!(shown(&fold(vec![consequence(), about("STS401", "web-2")], &all)), [alone, other]);
        // What is less bad does not explain it.
        let note = about("STS401", "web-1").only(Severity::Note);
        assert_eq!(shown(&fold(vec![consequence(), note], &all)), [alone, other]);
        let found = || vec![consequence(), about("STS401", "web-1")];
        let without = Filter { only: Vec::new(), skip: vec!["STS401"] };
        assert_eq!(shown(&fold(found(), &without)), [alone]);
        let cause_only = Filter { only: vec!["STS401"], skip: Vec::new() };
        assert_eq!(shown(&fold(found(), &cause_only)), [("STS401", true, 1)]);
        // All objects at fault must have a finding.
        let two = consequence().follows(Kind::Pod, "web-2");
        assert_eq!(shown(&fold(vec![two.clone(), about("STS401", "web-1")], &all)), [alone, other]);
        let both = vec![two, about("STS401", "web-1"), about("STS402", "web-2")];
        assert_eq!(shown(&fold(both, &all)), [("STS401", true, 1), ("STS402", true, 1)]);
    }

    #[test]
    fn what_depends_on_its_cause_is_not_shown_without_one() {
        let all = Filter::default();
        let depends = || Finding { stands_alone: false, ..consequence() };
        assert!(fold(vec![depends()], &all).is_empty());
        // Nor where the cause may pass: the PVC is bound in a moment.
        let passing = about("STS204", "web-1").only(Severity::Warning);
        assert_eq!(shown(&fold(vec![depends(), passing], &all)), [("STS204", false, 0)]);
        assert_eq!(shown(&fold(vec![depends(), about("STS204", "web-1")], &all)), [("STS204", true, 1)]);
    }
}
