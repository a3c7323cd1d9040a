//! A lost node is one finding, with all the pods on it: whichever `StatefulSet` of whichever namespace they are of.

use std::collections::BTreeMap;

use super::prelude::*;
use crate::snapshot::Namespace;

/// How many pods are named; nodes have at most 110 (kubelet, `--max-pods`).
const NAMED: usize = 120;

/// Names all the pods of a lost node, and puts together what is said of several `StatefulSet`s.
pub(super) fn merge<'a>(
    namespaces: &BTreeMap<&str, Namespace<'a>>,
    all: &mut Vec<(&'a StatefulSet, Finding)>,
) {
    let node = |set: &StatefulSet, finding: &Finding| -> Option<String> {
        let is_lost = finding.rule.name == "node-lost";
        let namespace = namespaces.get(set.metadata.namespace.as_str()).filter(|_| is_lost)?;
        Some(namespace.pod(&finding.subject.name)?.spec.node_name.clone())
    };
    let mut firsts: BTreeMap<(String, Severity), usize> = BTreeMap::new();
    let mut kept: Vec<(&'a StatefulSet, Finding)> = Vec::new();
    for (set, finding) in std::mem::take(all) {
        let Some(node) = node(set, &finding) else {
            kept.push((set, finding));
            continue;
        };
        let at = *firsts.entry((node.clone(), finding.severity)).or_insert(kept.len());
        match kept.get_mut(at) {
            Some((first_set, first)) => {
                let elsewhere = Some(&set.metadata.namespace)
                    .filter(|namespace| **namespace != first_set.metadata.namespace);
                add(first, finding, elsewhere);
                name_all(first, &node);
            }
            None => {
                kept.push((set, finding));
                if let Some((_, first)) = kept.last_mut() {
                    name_all(first, &node);
                }
            }
        }
    }
    *all = kept;
}

/// Adds what is said of the pods of another `StatefulSet`, which may be in another namespace.
fn add(first: &mut Finding, other: Finding, elsewhere: Option<&String>) {
    let objects = std::iter::once(other.subject).chain(other.also);
    first.also.extend(objects.map(|object| super::Subject { namespace: elsewhere.cloned(), ..object }));
    first.absorbs.extend(other.absorbs);
    // What is done about the node is the same; what is done about its pods is not.
    let is_new = |command: &Command| !first.remedy.contains(command) && !first.instead.contains(command);
    let (remedy, instead): (Vec<_>, Vec<_>) = (
        other.remedy.into_iter().filter(is_new).collect(),
        other.instead.into_iter().filter(is_new).collect(),
    );
    first.remedy.extend(remedy);
    first.instead.extend(instead);
    let pods = |blocked: Blocked| -> Vec<String> {
        let whole = |pod: String| elsewhere.map_or(pod.clone(), |namespace| format!("{namespace}/{pod}"));
        blocked.pods.into_iter().map(whole).collect()
    };
    match (&mut first.blocks, other.blocks) {
        (Some(first), Some(other)) if first.action == other.action => first.pods.extend(pods(other)),
        (None, Some(other)) => {
            first.blocks = Some(Blocked { action: other.action, pods: pods(other) });
        }
        _ => {}
    }
}

/// Names all the pods, where several are meant.
fn name_all(finding: &mut Finding, node: &str) {
    let mut names: Vec<String> =
        std::iter::once(&finding.subject).chain(&finding.also).map(ToString::to_string).collect();
    names.dedup();
    let Some(at) = finding.what.find(&format!(" on {node}, ")).filter(|_| names.len() > 1) else { return };
    finding.what = format!("{} are{}", words::list(&names, NAMED), &finding.what[at..]);
}
