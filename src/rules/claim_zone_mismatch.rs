//! A volume can be used on some nodes only, and none of them can take the pod.

use std::collections::BTreeSet;

use super::claims::{self, Case};
use super::prelude::*;
use super::services;
use crate::snapshot::Why;

pub const RULE: Rule = Rule {
    code: "STS206",
    name: "claim-zone-mismatch",
    severity: Severity::Error,
    page: include_str!("../../docs/rules/claim-zone-mismatch.md"),
    check,
};

/// What the scheduler says (`volumebinding/binder.go:ErrReasonNodeConflict`), in its older and newer words.
const CONFLICT: [&str; 2] =
    ["volume node affinity conflict", "didn't match PersistentVolume's node affinity"];

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let (mut nowhere, mut closed) = (Vec::new(), Vec::new());
    for used in claims::used(snapshot, |claim| claim.is_bound() && !claim.metadata.is_terminating())? {
        let conflicting =
            used.pods.iter().copied().find(|pod| match snapshot.trouble(pod).map(|trouble| trouble.why) {
                Some(Why::Unschedulable { message }) => CONFLICT.iter().any(|text| message.contains(text)),
                _ => false,
            });
        let Some(pod) = conflicting else { continue };
        let Some(volume) = snapshot.volume_of(used.claim)? else { continue };
        let Some(required) =
            volume.spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref())
        else {
            continue;
        };
        let nodes = snapshot.nodes()?;
        let usable: Vec<&Node> = nodes.iter().filter(|node| admits(required, node)).collect();
        let name = &volume.metadata.name;
        if usable.is_empty() {
            let because = format!(
                "{name} can be used only on nodes with {}; {}",
                wanted(required),
                others(nodes, required)
            );
            nowhere.push(Case { used, because, remedy: Vec::new() });
        } else if !usable.iter().any(|node| matches_labels(&pod.spec.node_selector, &node.metadata.labels)) {
            let because = format!(
                "{name} can be used only on nodes with {}, and {} asks for nodes with {}",
                wanted(required),
                pod.metadata.name,
                services::written(&pod.spec.node_selector)
            );
            nowhere.push(Case { used, because, remedy: Vec::new() });
        } else if usable.iter().all(|node| node.spec.unschedulable) {
            let names: Vec<&str> = usable.iter().map(|node| node.metadata.name.as_str()).collect();
            let verb = if names.len() == 1 { "is" } else { "are" };
            closed.push(Case {
                used,
                because: format!(
                    "{name} can be used only on {}, which {verb} cordoned",
                    words::list(&names, 3)
                ),
                remedy: vec![format!("kubectl uncordon {}", names.join(" "))],
            });
        }
    }
    let what = |_: &claims::Used<'_>, names: &str, several: bool| {
        let has = if several { "have volumes" } else { "has a volume" };
        format!("{names} {has} that no node can use for the pod")
    };
    let mut findings = claims::findings(&RULE, nowhere, what);
    findings.extend(
        claims::findings(&RULE, closed, what).into_iter().map(|finding| finding.only(Severity::Warning)),
    );
    Ok(findings)
}

fn admits(required: &NodeSelector, node: &Node) -> bool {
    required.node_selector_terms.iter().any(|term| {
        // A term without expressions speaks of fields, which are not read.
        term.match_expressions.is_empty()
            || LabelSelector { match_expressions: term.match_expressions.clone(), ..LabelSelector::default() }
                .matches(&node.metadata.labels)
    })
}

/// The alternatives, in words.
fn wanted(required: &NodeSelector) -> String {
    let terms: BTreeSet<String> = (required.node_selector_terms.iter())
        .map(|term| {
            let each: Vec<String> = term
                .match_expressions
                .iter()
                .map(|term| match (term.operator.as_str(), term.values.as_slice()) {
                    ("In", [one]) => format!("{}={one}", term.key),
                    (operator, values) => {
                        format!("{} {operator} {}", term.key, values.join(",")).trim_end().to_owned()
                    }
                })
                .collect();
            words::list(&each, 3)
        })
        .collect();
    terms.into_iter().collect::<Vec<_>>().join(" or with ")
}

/// What the nodes there are have instead.
fn others(nodes: &[Node], required: &NodeSelector) -> String {
    let keys: BTreeSet<&str> = (required.node_selector_terms.iter())
        .flat_map(|term| term.match_expressions.iter().map(|term| term.key.as_str()))
        .collect();
    let have: BTreeSet<String> = (nodes.iter())
        .flat_map(|node| {
            let labels = &node.metadata.labels;
            keys.iter().filter_map(|key| Some(format!("{key}={}", labels.get(*key)?)))
        })
        .collect();
    match have.into_iter().collect::<Vec<_>>().as_slice() {
        [] => format!("none of {} has such a label", words::count(nodes.len(), "node")),
        have => format!("there are nodes with {}", words::list(have, 4)),
    }
}
