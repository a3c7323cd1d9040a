//! What it means for a set that the scheduler refuses nodes, and where to look.

use std::collections::BTreeSet;

use super::prelude::*;
use super::{amounts, services};
use crate::messages::scheduler::{Reason, Refusal, is_mostly_closed};
use crate::paste::tool;

fn taints() -> Command {
    kubectl("get nodes -o").own("custom-columns=NAME:.metadata.name,TAINTS:.spec.taints[*].key")
}

/// The command that shows the taints, where more nodes are closed than refuse the pod for other reasons.
pub(super) fn look_at_taints(all: &[Refusal<'_>]) -> Option<Command> {
    is_mostly_closed(all).then(taints)
}

/// What that reason means for this pod, where more can be said than the scheduler does.
pub(super) fn meaning(
    snapshot: &Snapshot<'_>,
    pod: &Pod,
    refusal: Refusal<'_>,
    all: &[Refusal<'_>],
) -> Option<String> {
    match refusal.reason {
        Reason::Insufficient(resource) => amounts::too_large(snapshot, pod, resource),
        Reason::AntiAffinity => Some(apart(snapshot, pod, refusal.nodes)),
        Reason::Spread { unlabelled: true } => {
            Some("those nodes lack the topologyKey label of its spread constraint".to_owned())
        }
        Reason::Spread { unlabelled: false } => {
            let counted = match all.iter().any(Refusal::is_closed) {
                true => "; tainted nodes count, unless its nodeTaintsPolicy is Honor",
                false => "",
            };
            Some(format!(
                "its spread constraint allows only the places with the fewest of these pods, and no node there accepts it{counted}"
            ))
        }
        Reason::Ports => Some("a host port can be used only once on each node".to_owned()),
        Reason::Selector => lonely_selector(snapshot, pod),
        Reason::VolumeNode | Reason::VolumeLimit | Reason::FreeStorage | Reason::OncePod => None,
        Reason::TooManyPods
        | Reason::Taint { .. }
        | Reason::Cordoned
        | Reason::Affinity
        | Reason::Device(_)
        | Reason::Other => None,
    }
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
    let replicas = words::count(snapshot.set.replicas(), "replica");
    if own.len() == refused && refused > 0 {
        return format!("{replicas} need a node each, but only {}", suitable(refused, "node"));
    }
    let nodes = snapshot.nodes().unwrap_or_default();
    let zone_of = |name: &str| nodes.iter().find(|node| node.metadata.name == name).and_then(Node::zone);
    let zones: BTreeSet<&str> = own.iter().filter_map(|node| zone_of(node)).collect();
    let within = nodes.iter().filter(|node| node.zone().is_some_and(|zone| zones.contains(zone))).count();
    if own.len() < refused && refused <= within {
        return format!("{replicas} need a zone each, but only {}", suitable(zones.len(), "zone"));
    }
    format!("it must not run where another pod runs, which excludes {}", words::count(refused, "node"))
}

/// `2 nodes are suitable`.
fn suitable(number: usize, noun: &str) -> String {
    format!("{} {} suitable", words::count(number, noun), if number == 1 { "is" } else { "are" })
}

/// That no node has the labels of the pod's nodeSelector.
fn lonely_selector(snapshot: &Snapshot<'_>, pod: &Pod) -> Option<String> {
    let nodes = snapshot.nodes().ok().filter(|nodes| !nodes.is_empty())?;
    let wanted = &pod.spec.node_selector;
    let none = !nodes.iter().any(|node| matches_labels(wanted, &node.metadata.labels));
    (!wanted.is_empty() && none).then(|| format!("no node has the label {}", services::written(wanted)))
}

/// The command that shows what the scheduler misses.
pub(super) fn look(
    snapshot: &Snapshot<'_>,
    pod: &Pod,
    refusal: Refusal<'_>,
    all: &[Refusal<'_>],
) -> Option<Command> {
    let (name, at) = (&pod.metadata.name, home(snapshot));
    Some(match refusal.reason {
        Reason::Insufficient(resource) => look_at_room(snapshot, pod, resource),
        Reason::TooManyPods => {
            kubectl("describe nodes").piped_into(tool("grep -E").own("^Name:|^  pods:|^Non-terminated"))
        }
        Reason::Taint { .. } => taints(),
        Reason::Cordoned => kubectl("get nodes"),
        Reason::Selector => look_at_labels(snapshot, pod, all),
        Reason::AntiAffinity | Reason::Spread { .. } => kubectl("get pods -l")
            .value(services::selector(snapshot.set))
            .with("-o wide")
            .namespace(at)
            .and(kubectl("get nodes -L topology.kubernetes.io/zone")),
        Reason::Affinity => kubectl("get pod")
            .name(name)
            .with("-o")
            .own("jsonpath={.spec.affinity.podAffinity}")
            .namespace(at),
        Reason::Ports => kubectl("get pods -A -o")
            .own(
                "custom-columns=NODE:.spec.nodeName,NAMESPACE:.metadata.namespace,POD:.metadata.name,\
                 PORTS:.spec.containers[*].ports[*].hostPort",
            )
            .piped_into(tool("grep -v").own("<none>$")),
        Reason::Device(_) => kubectl("get resourceclaims").namespace(at),
        Reason::VolumeNode | Reason::VolumeLimit | Reason::FreeStorage | Reason::OncePod | Reason::Other => {
            return None;
        }
    })
}

fn look_at_room(snapshot: &Snapshot<'_>, pod: &Pod, resource: &str) -> Command {
    if amounts::too_large(snapshot, pod, resource).is_some() {
        let key = resource.replace('.', "\\.");
        return kubectl("get nodes -o")
            .joined("custom-columns=NAME:.metadata.name,ALLOCATABLE:.status.allocatable.", key);
    }
    // The table of what is requested on each node. No more than the name of a resource is read as a pattern.
    let pattern: String =
        resource.chars().filter(|c| c.is_ascii_alphanumeric() || "-./".contains(*c)).collect();
    let grep = tool("grep -E").value(format!("^Name:|^  {pattern}  "));
    kubectl("describe nodes").piped_into(grep)
}

fn look_at_labels(snapshot: &Snapshot<'_>, pod: &Pod, all: &[Refusal<'_>]) -> Command {
    let wanted = &pod.spec.node_selector;
    let keys: Vec<_> = wanted.keys().map(String::as_str).collect();
    // Where a node has these labels it is its taint, or the affinity that no node satisfies.
    let mut there = snapshot.nodes().unwrap_or_default().iter();
    if !keys.is_empty() && !there.any(|node| matches_labels(wanted, &node.metadata.labels)) {
        return kubectl("get nodes -L").value(keys.join(","));
    }
    match all.iter().any(Refusal::is_closed) {
        true => kubectl("get nodes -o")
            .own("custom-columns=NAME:.metadata.name,TAINTS:.spec.taints[*].key,LABELS:.metadata.labels"),
        false => kubectl("get nodes --show-labels"),
    }
}

/// Whether the pod fits on no node however empty: another template can help, room cannot.
pub(super) fn is_hopeless(snapshot: &Snapshot<'_>, pod: &Pod, refusal: Refusal<'_>) -> bool {
    match refusal.reason {
        Reason::Insufficient(resource) => amounts::too_large(snapshot, pod, resource).is_some(),
        Reason::Selector => lonely_selector(snapshot, pod).is_some(),
        _ => false,
    }
}
