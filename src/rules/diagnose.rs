//! All rules over all sets, with consequences folded into their causes.

use std::collections::{BTreeMap, HashMap};

use super::{Finding, RULES, Rule, Subject, managers};
use crate::kinds::{Kind, StatefulSet};
use crate::snapshot::{Observed, Snapshot, Unseen};

/// Which rules are asked.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these, if any are named.
    pub only: Vec<&'static str>,
    /// Not these.
    pub skip: Vec<&'static str>,
}

impl Filter {
    fn admits(&self, rule: &Rule) -> bool {
        (self.only.is_empty() || self.only.contains(&rule.code)) && !self.skip.contains(&rule.code)
    }
}

/// A kind that could not be seen, and the rules that could not be asked for want of it.
#[derive(Clone, Debug)]
pub struct Skipped {
    /// What could not be seen.
    pub unseen: Unseen,
    /// The rules that needed it. What is said may lack something even where there are none.
    pub rules: Vec<&'static Rule>,
}

/// Every kind that was not seen, with the rules that were skipped for it.
pub fn skipped(unseen: Vec<Unseen>, rules: &[(&'static Rule, Unseen)]) -> Vec<Skipped> {
    let mut all: BTreeMap<Kind, Skipped> = BTreeMap::new();
    for unseen in unseen {
        all.entry(unseen.kind).or_insert(Skipped { unseen, rules: Vec::new() });
    }
    for (rule, unseen) in rules {
        let entry = all.entry(unseen.kind).or_insert(Skipped { unseen: unseen.clone(), rules: Vec::new() });
        if !entry.rules.iter().any(|known| known.code == rule.code) {
            entry.rules.push(rule);
        }
    }
    all.into_values().collect()
}

/// What is wrong with the sets looked at.
#[derive(Debug, Default)]
pub struct Diagnosis<'a> {
    /// Findings with their sets, the worst first.
    pub findings: Vec<(&'a StatefulSet, Finding)>,
    /// What could not be looked at.
    pub skipped: Vec<Skipped>,
}

/// Asks every admitted rule about every wanted set.
pub fn diagnose<'a>(
    observed: &'a Observed,
    wanted: impl Fn(&StatefulSet) -> bool,
    filter: &Filter,
) -> Diagnosis<'a> {
    let namespaces = observed.namespaces();
    let mut all: Vec<(&'a StatefulSet, Finding)> = Vec::new();
    let mut without: Vec<(&'static Rule, Unseen)> = Vec::new();
    for namespace in namespaces.values() {
        for set in namespace.sets.iter().copied().filter(|set| wanted(set)) {
            let (findings, unseen) = of_set(&Snapshot::of(observed, namespace, set), filter);
            all.extend(findings.into_iter().map(|finding| (set, finding)));
            without.extend(unseen);
        }
    }
    once(&mut all);
    all.sort_by(|(a_set, a), (b_set, b)| {
        (b.severity.cmp(&a.severity))
            .then_with(|| a_set.metadata.namespace.cmp(&b_set.metadata.namespace))
            .then_with(|| a_set.metadata.name.cmp(&b_set.metadata.name))
            .then_with(|| a.rule.code.cmp(b.rule.code))
            .then_with(|| a.subject.cmp(&b.subject))
    });
    // Who asks for some rules only is told of what those miss.
    let unseen = if filter.only.is_empty() { observed.unseen() } else { Vec::new() };
    Diagnosis { findings: all, skipped: skipped(unseen, &without) }
}

/// What several sets find in common is said once, of the set it is about.
fn once(all: &mut Vec<(&StatefulSet, Finding)>) {
    let of_own: Vec<(String, Finding)> = (all.iter())
        .filter(|(set, finding)| is_about(finding, set))
        .map(|(set, finding)| (set.metadata.namespace.clone(), finding.clone()))
        .collect();
    all.retain(|(set, finding)| {
        is_about(finding, set)
            || !of_own.iter().any(|(namespace, own)| {
                *namespace == set.metadata.namespace
                    && own.rule.code == finding.rule.code
                    && own.subject == finding.subject
                    && own.also == finding.also
            })
    });
}

fn is_about(finding: &Finding, set: &StatefulSet) -> bool {
    finding.subject.kind == Kind::StatefulSet && finding.subject.name == set.metadata.name
}

/// The findings about one set, and the rules that could not be asked.
///
/// All rules are asked even where only some are wanted, so that a consequence does not come out as a cause because its
/// cause was filtered away.
pub fn of_set(snapshot: &Snapshot<'_>, filter: &Filter) -> (Vec<Finding>, Vec<(&'static Rule, Unseen)>) {
    let mut findings = Vec::new();
    let mut unseen = Vec::new();
    for rule in RULES {
        match (rule.check)(snapshot) {
            Ok(found) => findings.extend(found),
            Err(reason) if filter.admits(rule) => unseen.push((*rule, reason)),
            Err(_) => {}
        }
    }
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
        filter.admits(finding.rule) && !subjects.all(is_absorbed)
    });
    for finding in &mut findings {
        managers::heed(snapshot, finding);
    }
    (findings, unseen)
}
