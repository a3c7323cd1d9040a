//! A lost node is one finding, with all the pods on it: whichever `StatefulSet` of the namespace they are of.

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
    let mut firsts: BTreeMap<(String, String, Severity), usize> = BTreeMap::new();
    let mut kept: Vec<(&'a StatefulSet, Finding)> = Vec::new();
    for (set, finding) in std::mem::take(all) {
        let Some(node) = node(set, &finding) else {
            kept.push((set, finding));
            continue;
        };
        let key = (set.metadata.namespace.clone(), node.clone(), finding.severity);
        let at = *firsts.entry(key).or_insert(kept.len());
        match kept.get_mut(at) {
            Some((_, first)) => {
                first.also.push(finding.subject);
                first.also.extend(finding.also);
                first.absorbs.extend(finding.absorbs);
                match (&mut first.blocks, finding.blocks) {
                    (Some(first), Some(other)) if first.action == other.action => {
                        first.pods.extend(other.pods);
                    }
                    (None, other) => first.blocks = other,
                    _ => {}
                }
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

/// Names all the pods, where several are meant.
fn name_all(finding: &mut Finding, node: &str) {
    let mut names: Vec<&str> =
        std::iter::once(&finding.subject).chain(&finding.also).map(|pod| pod.name.as_str()).collect();
    names.dedup();
    let Some(at) = finding.what.find(&format!(" on {node}, ")).filter(|_| names.len() > 1) else { return };
    finding.what = format!("{} are{}", words::list(&names, NAMED), &finding.what[at..]);
}
