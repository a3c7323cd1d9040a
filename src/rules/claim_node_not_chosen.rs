//! A PVC whose class waits for a node gets none, as its pods did not get their nodes from the scheduler.

use serde_json::{Value, json};

use super::Subject;
use super::claims::{self, Case, Source, Used};
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS217",
    name: "claim-node-not-chosen",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/claim-node-not-chosen.md"),
    check,
};

/// What the API server writes where a pod names no scheduler.
const DEFAULT: &str = "default-scheduler";

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let mut cases = Vec::new();
    let mut pods: Vec<(&str, &str)> = Vec::new();
    for used in claims::pending(snapshot)? {
        // The scheduler writes the node to the PVC before it gives the pod its node
        // (scheduler/framework/plugins/volumebinding), and nothing else does.
        let by_itself = used.pods.iter().copied().find(|pod| !pod.spec.node_name.is_empty());
        let Some(pod) = by_itself.filter(|_| !claims::is_node_chosen(used.claim)) else { continue };
        let waits = match claims::source(snapshot, used.claim)? {
            Source::Class(class) => class.waits_for_consumer(),
            Source::ByHand => snapshot.class_of(used.claim)?.is_some_and(StorageClass::waits_for_consumer),
            Source::Named | Source::MissingClass(_) | Source::NoDefault => false,
        };
        if !waits {
            continue;
        }
        let (because, fix) = cause(snapshot, pod);
        let names: Vec<&str> = used.pods.iter().map(|pod| pod.metadata.name.as_str()).collect();
        pods.extend(names.iter().map(|pod| (used.claim.metadata.name.as_str(), *pod)));
        // After the template: the pods that come back are those of the changed one.
        let delete = kubectl("delete pod").names(&names).namespace(home(snapshot));
        cases.push(Case { because, remedy: fix.into_iter().chain([delete]).collect(), used });
    }
    let mut findings = claims::findings(&RULE, cases, |_: &Used<'_>, names, several| {
        let (verb, it) = if several { ("get", "them") } else { ("gets", "it") };
        format!("{names} {verb} no PV: the scheduler has not selected a node for {it}")
    });
    for finding in &mut findings {
        let is_its = |claim: &str| {
            let mut subjects = std::iter::once(&finding.subject).chain(&finding.also);
            subjects.any(|subject| subject.name == claim)
        };
        // Without its volume no container of a pod starts.
        let pods: Vec<&str> = pods.iter().filter(|(claim, _)| is_its(claim)).map(|(_, pod)| *pod).collect();
        finding.absorbs.extend(pods.into_iter().map(|pod| Subject::new(Kind::Pod, pod)));
    }
    Ok(findings)
}

/// Why the scheduler had no part in it, and what changes that; without a command the pods only have to be created again.
fn cause(snapshot: &Snapshot<'_>, pod: &Pod) -> (String, Option<Command>) {
    let set = snapshot.set;
    let template = &set.spec.template.spec;
    let waits = "its StorageClass has volumeBindingMode WaitForFirstConsumer: no PV is provisioned until the scheduler sets \
                 the annotation volume.kubernetes.io/selected-node";
    let patch = |spec: Value| {
        kubectl("patch statefulset")
            .name(&set.metadata.name)
            .namespace(home(snapshot))
            .patch(&json!({"spec": {"template": {"spec": spec}}}))
    };
    let node = &template.node_name;
    if !node.is_empty() {
        let nodes = snapshot.nodes().unwrap_or_default();
        let found = snapshot.node(node).ok().flatten();
        let because = format!(
            "{waits}; nodeName: {node} in the pod template of {} bypasses the scheduler",
            set.metadata.name
        );
        return match found {
            None if !nodes.is_empty() => {
                (format!("{because}; node {node} does not exist"), Some(patch(json!({"nodeName": null}))))
            }
            found => {
                let label = found.and_then(|node| node.metadata.labels.get(HOSTNAME));
                let selector = json!({HOSTNAME: label.unwrap_or(node)});
                (
                    format!(
                        "{because}; a nodeSelector on {HOSTNAME} selects the same node and does not bypass it"
                    ),
                    Some(patch(json!({"nodeName": null, "nodeSelector": selector}))),
                )
            }
        };
    }
    match pod.spec.scheduler_name.as_str() {
        // One text for all pods of the StatefulSet, which is one finding then.
        "" | DEFAULT => (
            format!(
                "{waits}; its pod already had a node when the PVC was created, or did not get its node from the scheduler"
            ),
            None,
        ),
        other => (
            format!("{waits}; the scheduler {other} assigns nodes without setting it"),
            Some(patch(json!({"schedulerName": DEFAULT}))),
        ),
    }
}

/// The label of a node that names it.
const HOSTNAME: &str = "kubernetes.io/hostname";
