//! All rules over all sets, with consequences folded into their causes.

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

use super::{Finding, RULES, Rule, dns, fold, managers, nodes, old_data};
use crate::kinds::{Kind, StatefulSet};
use crate::snapshot::{Observed, Snapshot, Unseen, parse_pod_name};

/// Which rules are asked.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only these, if any are named.
    pub only: Vec<&'static str>,
    /// Not these.
    pub skip: Vec<&'static str>,
}

impl Filter {
    pub(super) fn admits(&self, rule: &Rule) -> bool {
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

impl Skipped {
    /// Whether it leaves open how the StatefulSets are, although the cluster was asked: it did not give a kind of their
    /// namespace that rules need. Kinds in no namespace are no part of this, as a Role in a namespace cannot grant them; what
    /// files do not have is none either, as they are what was asked about.
    pub fn is_failure(&self) -> bool {
        let Unseen { kind, why } = &self.unseen;
        !self.rules.is_empty() && kind.is_namespaced() && !why.is_absent()
    }

    /// Whether the command fails because of any of these.
    pub fn any_failure(all: &[Skipped]) -> bool {
        all.iter().any(Skipped::is_failure)
    }

    /// Of how many rules it is known that they should have run: those that were skipped, each once, where any is skipped because
    /// of the cluster.
    pub fn count(all: &[Skipped]) -> usize {
        if all.iter().all(|it| it.rules.is_empty() || it.unseen.why.is_absent()) {
            return 0;
        }
        let mut codes: Vec<&str> = all.iter().flat_map(|it| &it.rules).map(|rule| rule.code).collect();
        codes.sort_unstable();
        codes.dedup();
        codes.len()
    }
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
    nodes::merge(&namespaces, &mut all);
    dns::once(&mut all);
    all.sort_by(|(a_set, a), (b_set, b)| order((a_set, a), (b_set, b)));
    // Who asks for some rules only is told of what those miss.
    let unseen = if filter.only.is_empty() { observed.unseen() } else { Vec::new() };
    Diagnosis { findings: all, skipped: skipped(unseen, &without) }
}

/// The order of findings wherever they are listed: errors, then warnings, then notes; of these by namespace, StatefulSet and
/// code; of one rule by object, pods by their ordinals.
pub fn order(a: (&StatefulSet, &Finding), b: (&StatefulSet, &Finding)) -> Ordering {
    fn key<'f>((set, finding): (&'f StatefulSet, &'f Finding)) -> impl Ord + use<'f> {
        let name = finding.subject.name.as_str();
        let (stem, ordinal) = parse_pod_name(name).unwrap_or((name, -1));
        (
            Reverse(finding.severity),
            (&set.metadata.namespace, &set.metadata.name),
            finding.rule.code,
            (finding.subject.kind, stem, ordinal),
        )
    }
    key(a).cmp(&key(b))
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
    let mut findings = fold::fold(findings, filter);
    for finding in &mut findings {
        old_data::heed(snapshot, finding);
        managers::heed(snapshot, finding);
        dns::heed(snapshot, finding);
    }
    (findings, unseen)
}
