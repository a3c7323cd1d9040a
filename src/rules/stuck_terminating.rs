//! A pod was deleted, its time to stop is over, and it is still there.

use jiff::SignedDuration;
use serde_json::json;

use super::pods::{all, grouped, leaving};
use super::prelude::*;
use crate::messages::clipped;
use crate::snapshot::lost;

pub const RULE: Rule = Rule {
    code: "STS408",
    name: "stuck-terminating",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/stuck-terminating.md"),
    check,
};

/// The kubelet kills what has not ended by then, unmounts the volumes and reports; that takes seconds.
const SLACK: SignedDuration = SignedDuration::from_secs(60);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Cause<'a> {
    /// All containers have ended, and these hold the object.
    Finalizers(&'a [String]),
    /// The kubelet of this node has not reported the end.
    Kubelet(&'a str),
}

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let nodes = snapshot.nodes().unwrap_or_default();
    // The deletionTimestamp is when the grace period ends, not when the deletion was asked for.
    let overdue = |pod: &Pod| snapshot.since(pod.metadata.deletion_timestamp);
    // A pod that an earlier set of this name has left holds the name up as well.
    let pods = all(snapshot)?.into_iter().chain(leaving(snapshot)?).collect();
    let groups = grouped(pods, |case| {
        let pod = case.pod;
        // A lost node has its own rule.
        if overdue(pod)? <= SLACK || lost(snapshot, nodes, pod).is_some() {
            return None;
        }
        let held = !pod.metadata.finalizers.is_empty();
        Some(if held && running(pod).next().is_none() {
            Cause::Finalizers(&pod.metadata.finalizers)
        } else {
            Cause::Kubelet(&pod.spec.node_name)
        })
    });
    let found = groups.iter().map(|(cause, group)| {
        let longest = group.iter().filter_map(|case| overdue(case.pod)).max().unwrap_or_default();
        let due = format!("its grace period ended {} ago", words::age(longest));
        let finding =
            group.finding(&RULE, &["was deleted but is still there", "were deleted but are still there"]);
        match cause {
            Cause::Finalizers(finalizers) => {
                let (noun, verb) =
                    if finalizers.len() == 1 { ("finalizer", "blocks") } else { ("finalizers", "block") };
                let (pronoun, own) =
                    if finalizers.len() == 1 { ("it", "its controller") } else { ("them", "their controllers") };
                let because = format!(
                    "{due}; the {noun} {} {verb} its deletion; {own} must remove {pronoun}: do that by hand only where {own} no \
                     longer run{}",
                    words::list(finalizers, 4),
                    if finalizers.len() == 1 { "s" } else { "" },
                );
                let pods = group.iter().map(|case| case.pod.metadata.name.as_str());
                finding.because(because).remedy(
                    kubectl("patch pod")
                        .names(pods)
                        .namespace(home(snapshot))
                        .with("--type=merge")
                        .patch(&json!({"metadata": {"finalizers": null}})),
                )
            }
            Cause::Kubelet(node) => {
                let names: Vec<_> = running(group.first().pod).map(|status| status.name.as_str()).collect();
                let runs = match names.as_slice() {
                    [] => String::new(),
                    [one] => format!("; container {one} is still running"),
                    many => format!("; containers {} are still running", words::list(many, 4)),
                };
                let said = failure(snapshot, group.first().pod);
                let pods = group.iter().map(|case| case.pod.metadata.name.as_str());
                let force = kubectl("delete pod").names(pods).with("--force --grace-period=0").namespace(home(snapshot));
                let finding = if names.is_empty() { finding.instead(force) } else { finding };
                finding
                    .because(match said {
                        Some(said) => format!("{due}{runs}; the kubelet of {node} says: {said}"),
                        None => format!(
                            "{due}{runs}; the kubelet of {node} has not reported that the pod terminated: restart the kubelet or the \
                             container runtime of {node}{}",
                            if names.is_empty() {
                                ", or delete the pod by force, only after you have checked on the node that no container of it runs"
                            } else {
                                ""
                            }
                        ),
                    })
                    .remedy(match *node {
                        "" => group.describe(snapshot),
                        node => kubectl("describe node").name(node),
                    })
            }
        }
    });
    Ok(found.collect())
}

fn running(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let all = pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses);
    all.filter(|status| status.state.running.is_some())
}

/// What the kubelet says about why it cannot end the pod.
fn failure(snapshot: &Snapshot<'_>, pod: &Pod) -> Option<String> {
    let events = snapshot.events_about(pod).ok()?;
    let failed = |reason: &str| matches!(reason, "FailedKillPod" | "FailedPreStopHook" | "FailedUnmount");
    let event = events.into_iter().rev().find(|event| failed(&event.reason))?;
    Some(clipped(&event.message))
}
