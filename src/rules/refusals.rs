//! What the scheduler says about the nodes it refuses, taken apart: which reason matters, what it means for a set, and
//! where to look.

use std::collections::BTreeSet;

use super::prelude::*;
use super::{amounts, services};
use crate::paste::tool;

/// Why some of the nodes do not take a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal<'a> {
    /// How many nodes; 0 where the scheduler does not count them.
    pub nodes: usize,
    /// Its words, such as `Insufficient cpu`.
    pub reason: &'a str,
}

/// The reasons in a message such as `0/4 nodes are available: 1 node(s) had untolerated taint(s), 3 Insufficient cpu.`
pub(super) fn refusals(message: &str) -> Vec<Refusal<'_>> {
    let message = message.split(" preemption: ").next().unwrap_or(message);
    let Some((_, reasons)) = message.split_once("nodes are available: ") else { return Vec::new() };
    let each = reasons.trim_end_matches(['.', ' ']).split(", ");
    each.map(|text| {
        let (count, reason) = text.split_once(' ').unwrap_or(("", text));
        match count.parse() {
            Ok(nodes) => Refusal { nodes, reason },
            Err(_) => Refusal { nodes: 0, reason: text },
        }
    })
    .collect()
}

/// The reason that matters: the one for most of the nodes that would take the pod otherwise. That a node is tainted or
/// cordoned says nothing about the pod, as every cluster has such nodes, and often more of them than of others.
pub(super) fn decisive<'a>(all: &[Refusal<'a>]) -> Option<Refusal<'a>> {
    let weigh = |refusal: &Refusal<'a>| {
        if refusal.reason.contains("taint {node-role.kubernetes.io/") { 0 } else { refusal.nodes }
    };
    let (closed, others): (Vec<_>, Vec<_>) = all.iter().copied().partition(is_closed);
    // The first of the largest: the scheduler sorts them by their words.
    let largest = |some: &[Refusal<'a>]| {
        some.iter().copied().reduce(|best, next| if weigh(&next) > weigh(&best) { next } else { best })
    };
    largest(&others).or_else(|| largest(&closed))
}

/// Whether it is about nodes that take no pods, or only certain ones.
pub(super) fn is_closed(refusal: &Refusal<'_>) -> bool {
    refusal.reason.contains("untolerated taint") || refusal.reason.contains("were unschedulable")
}

fn taints() -> Command {
    kubectl("get nodes -o").own("custom-columns=NAME:.metadata.name,TAINTS:.spec.taints[*].key")
}

/// The command that shows the taints, where more nodes are closed than refuse the pod for other reasons.
pub(super) fn look_at_taints(all: &[Refusal<'_>]) -> Option<Command> {
    let (closed, others): (Vec<_>, Vec<_>) = all
        .iter()
        .filter(|it| !it.reason.contains("taint {node-role.kubernetes.io/"))
        .partition(|it| is_closed(it));
    let nodes = |some: &[&Refusal<'_>]| some.iter().map(|refusal| refusal.nodes).sum::<usize>();
    (nodes(&closed) > nodes(&others)).then(taints)
}

/// What that reason means for this pod, where more can be said than the scheduler does.
pub(super) fn meaning(
    snapshot: &Snapshot<'_>,
    pod: &Pod,
    refusal: Refusal<'_>,
    all: &[Refusal<'_>],
) -> Option<String> {
    let reason = refusal.reason;
    if let Some(resource) = reason.strip_prefix("Insufficient ") {
        return amounts::too_large(snapshot, pod, resource);
    }
    if reason.contains("anti-affinity") {
        return Some(apart(snapshot, pod, refusal.nodes));
    }
    if reason.contains("topology spread constraints") {
        if reason.contains("missing required label") {
            return Some("those nodes lack the label its spread constraint goes by".to_owned());
        }
        let counted = match all.iter().any(is_closed) {
            true => "; tainted nodes count, unless its nodeTaintsPolicy is Honor",
            false => "",
        };
        return Some(format!(
            "its spread constraint wants it where there are fewer of these pods, and no node there takes it{counted}"
        ));
    }
    if reason.contains("free ports") {
        return Some("each node has a host port only once".to_owned());
    }
    lonely_selector(snapshot, pod).filter(|_| reason.contains("node affinity/selector"))
}

/// What anti-affinity that keeps a pod from so many nodes amounts to. The rule itself may be another pod's; where the
/// replicas have those nodes, or zones, it is about them.
fn apart(snapshot: &Snapshot<'_>, pod: &Pod, refused: usize) -> String {
    let all = snapshot.replicas().unwrap_or_default().iter().chain(snapshot.condemned().unwrap_or_default());
    let own: BTreeSet<&str> = all
        .filter_map(|replica| replica.pod)
        .filter(|other| other.metadata.name != pod.metadata.name && !other.is_finished())
        .map(|other| other.spec.node_name.as_str())
        .filter(|node| !node.is_empty())
        .collect();
    let replicas = words::count(usize::try_from(snapshot.set.replicas()).unwrap_or_default(), "replica");
    if own.len() == refused && refused > 0 {
        let nodes = words::count(refused, "node");
        return format!("{replicas} need a node each, and {nodes} can be had");
    }
    let nodes = snapshot.nodes().unwrap_or_default();
    let zone_of = |name: &str| nodes.iter().find(|node| node.metadata.name == name).and_then(Node::zone);
    let zones: BTreeSet<&str> = own.iter().filter_map(|node| zone_of(node)).collect();
    let within = nodes.iter().filter(|node| node.zone().is_some_and(|zone| zones.contains(zone))).count();
    if own.len() < refused && refused <= within {
        let zones = words::count(zones.len(), "zone");
        return format!("{replicas} need a zone each, and {zones} can be had");
    }
    format!("it must not be where another pod is, on or around {}", words::count(refused, "node"))
}

/// That no node has the labels of the pod's nodeSelector.
fn lonely_selector(snapshot: &Snapshot<'_>, pod: &Pod) -> Option<String> {
    let nodes = snapshot.nodes().ok().filter(|nodes| !nodes.is_empty())?;
    let wanted = &pod.spec.node_selector;
    let none = !nodes.iter().any(|node| matches_labels(wanted, &node.metadata.labels));
    (!wanted.is_empty() && none).then(|| format!("no node is labelled {}", services::written(wanted)))
}

/// The command that shows what the scheduler misses.
pub(super) fn look(
    snapshot: &Snapshot<'_>,
    pod: &Pod,
    refusal: Refusal<'_>,
    all: &[Refusal<'_>],
) -> Option<Command> {
    let (reason, name, at) = (refusal.reason, &pod.metadata.name, home(snapshot));
    Some(if let Some(resource) = reason.strip_prefix("Insufficient ") {
        if amounts::too_large(snapshot, pod, resource).is_some() {
            let key = resource.replace('.', "\\.");
            kubectl("get nodes -o")
                .joined("custom-columns=NAME:.metadata.name,ALLOCATABLE:.status.allocatable.", key)
        } else {
            // The table of what is requested on each node.
            // No more than the name of a resource is read as a pattern.
            let pattern: String =
                resource.chars().filter(|c| c.is_ascii_alphanumeric() || "-./".contains(*c)).collect();
            let grep = tool("grep -E").value(format!("^Name:|^  {pattern}  "));
            kubectl("describe nodes").piped_into(grep)
        }
    } else if reason.contains("Too many pods") {
        kubectl("describe nodes").piped_into(tool("grep -E").own("^Name:|^  pods:|^Non-terminated"))
    } else if reason.contains("taint") {
        taints()
    } else if reason.contains("were unschedulable") {
        kubectl("get nodes")
    } else if reason.contains("node affinity/selector") {
        let wanted = &pod.spec.node_selector;
        let keys: Vec<_> = wanted.keys().map(String::as_str).collect();
        // Where a node has these labels it is its taint, or the affinity that no node satisfies.
        let mut there = snapshot.nodes().unwrap_or_default().iter();
        if keys.is_empty() || there.any(|node| matches_labels(wanted, &node.metadata.labels)) {
            match all.iter().any(is_closed) {
                true => kubectl("get nodes -o").own(
                    "custom-columns=NAME:.metadata.name,TAINTS:.spec.taints[*].key,LABELS:.metadata.labels",
                ),
                false => kubectl("get nodes --show-labels"),
            }
        } else {
            kubectl("get nodes -L").value(keys.join(","))
        }
    } else if reason.contains("anti-affinity") || reason.contains("topology spread constraints") {
        kubectl("get pods -l")
            .value(services::selector(snapshot.set))
            .with("-o wide")
            .namespace(at)
            .and(kubectl("get nodes -L topology.kubernetes.io/zone"))
    } else if reason.contains("pod affinity rules") {
        kubectl("get pod").name(name).with("-o").own("jsonpath={.spec.affinity.podAffinity}").namespace(at)
    } else if reason.contains("free ports") {
        kubectl("get pods -A -o")
            .own(
                "custom-columns=NODE:.spec.nodeName,NAMESPACE:.metadata.namespace,POD:.metadata.name,\
                 PORTS:.spec.containers[*].ports[*].hostPort",
            )
            .piped_into(tool("grep -v").own("<none>$"))
    } else {
        return None;
    })
}

/// Whether the pod fits on no node however empty: another template can help, room cannot.
pub(super) fn is_hopeless(snapshot: &Snapshot<'_>, pod: &Pod, refusal: Refusal<'_>) -> bool {
    let resource = refusal.reason.strip_prefix("Insufficient ");
    resource.is_some_and(|resource| amounts::too_large(snapshot, pod, resource).is_some())
        || (refusal.reason.contains("node affinity/selector") && lonely_selector(snapshot, pod).is_some())
}
