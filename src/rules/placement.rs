//! What keeps a pod off each node, as far as nodes, volumes and the pods of the namespace tell: the scheduler only counts.

use std::collections::BTreeSet;

use super::prelude::*;

/// A node, and what keeps the pod off it.
pub(super) struct Place<'a> {
    /// The node.
    pub node: &'a Node,
    /// What keeps the pod off it; empty where only what is not known here does, such as the room on it.
    pub obstacles: Vec<Obstacle<'a>>,
}

/// What keeps a pod off a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Obstacle<'a> {
    /// It is cordoned.
    Cordoned,
    /// A taint that says how the node is: not ready, out of disk, being removed.
    State(&'a Taint),
    /// A taint by which the node is kept for other pods.
    Taint(&'a Taint),
    /// It lacks a label of the nodeSelector or the node affinity.
    Selector,
    /// A volume of the pod cannot be used there.
    Volume(&'a PersistentVolume),
    /// Anti-affinity: this pod runs there, or in the same zone.
    Apart(&'a Pod),
}

/// What an obstacle is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// The node is closed, to all pods or to this one.
    Closed,
    /// The labels of the node.
    Selector,
    /// The volumes of the pod.
    Volume,
    /// Other pods.
    Apart,
}

impl Obstacle<'_> {
    /// What it is about.
    pub fn demand(&self) -> Demand {
        match self {
            Obstacle::Cordoned | Obstacle::State(_) | Obstacle::Taint(_) => Demand::Closed,
            Obstacle::Selector => Demand::Selector,
            Obstacle::Volume(_) => Demand::Volume,
            Obstacle::Apart(_) => Demand::Apart,
        }
    }
}

impl<'a> Place<'a> {
    /// Whether the pod meets no obstacle about this.
    pub fn meets(&self, demand: Demand) -> bool {
        self.obstacles.iter().all(|obstacle| obstacle.demand() != demand)
    }

    /// Whether all obstacles are of this kind, and there are some.
    pub fn lacks_only(&self, is_it: impl Fn(&Obstacle<'a>) -> bool) -> bool {
        !self.obstacles.is_empty() && self.obstacles.iter().all(is_it)
    }

    /// Its name.
    pub fn name(&self) -> &'a str {
        &self.node.metadata.name
    }
}

/// Every node with what keeps the pod off it.
pub(super) fn places<'a>(snapshot: &Snapshot<'a>, pod: &'a Pod) -> Vec<Place<'a>> {
    let nodes = snapshot.nodes().unwrap_or_default();
    let claims = pod.claim_names().filter_map(|name| snapshot.claim(&name).ok().flatten());
    let volumes: Vec<&PersistentVolume> =
        claims.filter_map(|claim| snapshot.volume_of(claim).ok().flatten()).collect();
    let others: Vec<&Pod> = (snapshot.pods().unwrap_or_default().iter().copied())
        .filter(|other| other.metadata.name != pod.metadata.name && !other.is_finished())
        .filter(|other| !other.spec.node_name.is_empty())
        .collect();
    let each = nodes.iter().map(|node| {
        let mut obstacles = Vec::new();
        if node.spec.unschedulable && !tolerates(pod, CORDONED, "", "NoSchedule") {
            obstacles.push(Obstacle::Cordoned);
        }
        let keeps = |taint: &&Taint| {
            taint.effect != "PreferNoSchedule" && !tolerates(pod, &taint.key, &taint.value, &taint.effect)
        };
        for taint in node.spec.taints.iter().filter(|taint| taint.key != CORDONED).filter(keeps) {
            obstacles.push(if is_state(&taint.key) {
                Obstacle::State(taint)
            } else {
                Obstacle::Taint(taint)
            });
        }
        if !is_selected(pod, node) {
            obstacles.push(Obstacle::Selector);
        }
        let elsewhere = |volume: &&&PersistentVolume| {
            let affinity = volume.spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref());
            affinity.is_some_and(|required| !admits(required, node))
        };
        obstacles.extend(volumes.iter().find(elsewhere).map(|volume| Obstacle::Volume(volume)));
        let near = |other: &&&Pod| {
            snapshot
                .node(&other.spec.node_name)
                .ok()
                .flatten()
                .is_some_and(|its| excludes(pod, other, node, its))
        };
        obstacles.extend(others.iter().find(near).map(|other| Obstacle::Apart(other)));
        Place { node, obstacles }
    });
    each.collect()
}

/// Two demands that no node meets together, while some node meets each: both are named.
pub(super) fn contradiction(places: &[Place<'_>]) -> Option<[Demand; 2]> {
    const PAIRS: [[Demand; 2]; 6] = [
        [Demand::Volume, Demand::Apart],
        [Demand::Volume, Demand::Selector],
        [Demand::Selector, Demand::Apart],
        [Demand::Volume, Demand::Closed],
        [Demand::Selector, Demand::Closed],
        [Demand::Apart, Demand::Closed],
    ];
    PAIRS.into_iter().find(|[one, other]| {
        let meets = |demand: Demand| places.iter().any(|place| place.meets(demand));
        let both = places.iter().any(|place| place.meets(*one) && place.meets(*other));
        meets(*one) && meets(*other) && !both
    })
}

const CORDONED: &str = "node.kubernetes.io/unschedulable";

/// Taints that controllers set for what a node is, and take away again.
fn is_state(key: &str) -> bool {
    key.starts_with("node.kubernetes.io/")
        || key.starts_with("node.cloudprovider.kubernetes.io/")
        || [
            "ToBeDeletedByClusterAutoscaler",
            "DeletionCandidateOfClusterAutoscaler",
            "karpenter.sh/disrupted",
        ]
        .contains(&key)
}

/// `component-helpers/scheduling/corev1/helpers.go:TolerationsTolerateTaint`.
fn tolerates(pod: &Pod, key: &str, value: &str, effect: &str) -> bool {
    pod.spec.tolerations.iter().any(|toleration| {
        (toleration.effect.is_empty() || toleration.effect == effect)
            && (toleration.key.is_empty() || toleration.key == key)
            && (toleration.operator == "Exists" || toleration.value == value)
    })
}

/// Whether the node has the labels that the pod asks for.
pub(super) fn is_selected(pod: &Pod, node: &Node) -> bool {
    let affinity = &pod.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution;
    matches_labels(&pod.spec.node_selector, &node.metadata.labels)
        && affinity.as_ref().is_none_or(|required| admits(required, node))
}

/// Whether one of the terms holds on the node. A term without expressions speaks of fields, which are not read; numbers
/// are not compared.
pub(super) fn admits(required: &NodeSelector, node: &Node) -> bool {
    required.node_selector_terms.iter().any(|term| {
        let known = term.match_expressions.iter().filter(|it| !["Gt", "Lt"].contains(&it.operator.as_str()));
        let selector =
            LabelSelector { match_expressions: known.cloned().collect(), ..LabelSelector::default() };
        selector.matches(&node.metadata.labels)
    })
}

/// Whether anti-affinity, of one of the two pods, keeps them apart on these nodes.
fn excludes(pod: &Pod, other: &Pod, node: &Node, its: &Node) -> bool {
    let kept = |one: &Pod, from: &Pod| {
        let terms = &one.spec.affinity.pod_anti_affinity.required_during_scheduling_ignored_during_execution;
        terms.iter().any(|term| {
            let place = |node: &'_ Node| node.metadata.labels.get(&term.topology_key).cloned();
            let selected = term.label_selector.as_ref().is_some_and(|it| it.matches(&from.metadata.labels));
            selected && place(node).is_some() && place(node) == place(its)
        })
    };
    kept(pod, other) || kept(other, pod)
}

/// What the nodes have under these labels: `disk=hdd and disk=ssd`.
pub(super) fn values(nodes: &[Node], key: &str) -> Vec<String> {
    let all: BTreeSet<String> =
        nodes.iter().filter_map(|node| node.metadata.labels.get(key).cloned()).collect();
    all.into_iter().collect()
}
