//! A volume can be used on some nodes only, and none of them can take the pod.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::claims::{self, Case};
use super::prelude::*;
use super::{pods, services};
use crate::messages::scheduler::has_volume_conflict;
use crate::snapshot::{PodFailure, Trouble};

pub const RULE: Rule = Rule {
    code: "STS206",
    name: "claim-zone-mismatch",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/claim-zone-mismatch.md"),
    check,
};

/// A node that was restarted, or cordoned for a short work on it, is back by then.
const BRIEF: SignedDuration = SignedDuration::from_mins(5);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let (mut lasting, mut brief) = (Vec::new(), Vec::new());
    for used in claims::used(snapshot, |claim| claim.is_bound() && !claim.metadata.is_terminating())? {
        let refused = used.pods.iter().copied().find_map(|pod| match snapshot.trouble(pod)? {
            Trouble { why: PodFailure::Unschedulable { message }, since, .. } => Some((pod, message, since)),
            _ => None,
        });
        let Some((pod, message, since)) = refused else { continue };
        let Some(volume) = snapshot.volume_of(used.claim)? else { continue };
        let Some(required) =
            volume.spec.node_affinity.as_ref().and_then(|affinity| affinity.required.as_ref())
        else {
            continue;
        };
        let nodes = snapshot.nodes()?;
        let admitted: Vec<&Node> = nodes.iter().filter(|node| admits(required, node)).collect();
        let usable: Vec<&Node> = (admitted.iter().copied())
            .filter(|node| matches_labels(&pod.spec.node_selector, &node.metadata.labels))
            .collect();
        let name = &volume.metadata.name;
        if nodes.is_empty() {
            continue;
        }
        if admitted.is_empty() {
            let (wanted, others) = (wanted(required), others(nodes, required));
            // A disk within a node is not on another one that gets its label.
            let add = match keys(required).into_iter().eq([HOSTNAME]) {
                true => "start the node of that name again, as the disk is in it",
                false => "add a node with that label",
            };
            let because = format!(
                "PV {name} can be used only on nodes with {wanted}; {others}: {add}, or, if there will be none, restore the data from a \
                 snapshot or backup in a new PVC"
            );
            lasting.push(Case { used, because, remedy: look(required) });
        } else if usable.is_empty() {
            // Without the conflict no node has what the pod asks for, wherever its volume is.
            if !has_volume_conflict(message) {
                continue;
            }
            let because = format!(
                "PV {name} can be used only on nodes with {}, but {} requires nodes with {}",
                wanted(required),
                pod.metadata.name,
                services::written(&pod.spec.node_selector)
            );
            let remedy = unselect(snapshot, pod, &admitted).map_or_else(|| look(required), |it| vec![it]);
            lasting.push(Case { used, because, remedy });
        } else if let Some(closed) =
            usable.iter().map(|node| Closed::of(node, pod)).collect::<Option<Vec<_>>>()
        {
            let waited = snapshot.since(since);
            let is_brief =
                closed.iter().any(|closed| closed.since(snapshot, waited).is_some_and(|time| time < BRIEF));
            let nodes: Vec<(&Node, Closed<'_>)> = usable.into_iter().zip(closed).collect();
            let because = format!("PV {name} can be used only on {}", said(snapshot, &nodes));
            let case = Case { used, because, remedy: vec![open(&nodes)] };
            if is_brief { brief.push(case) } else { lasting.push(case) }
        }
    }
    let what = |_: &claims::Used<'_>, names: &str, several: bool| {
        let has = if several { "have PVs" } else { "has a PV" };
        let pods = if several { "their pods" } else { "its pod" };
        format!("{names} {has} that cannot be used on any node where {pods} can run")
    };
    let mut findings = claims::findings(&RULE, lasting, what);
    findings.extend(
        claims::findings(&RULE, brief, what).into_iter().map(|finding| finding.only(Severity::Warning)),
    );
    Ok(findings)
}

/// What keeps pods off a node.
#[derive(Clone, Copy)]
enum Closed<'a> {
    /// It does not answer, or is not well.
    Unready(Option<&'a Condition>),
    /// Somebody closed it.
    Cordoned,
    /// It is for other pods.
    Tainted(&'a Taint),
}

impl<'a> Closed<'a> {
    /// What keeps this pod off the node; as the scheduler sees it, which goes by the taints.
    fn of(node: &'a Node, pod: &Pod) -> Option<Closed<'a>> {
        let tolerated = |key: &str, value: &str, effect: &str| {
            pod.spec.tolerations.iter().any(|toleration| {
                (toleration.effect.is_empty() || toleration.effect == effect)
                    && (toleration.key.is_empty() || toleration.key == key)
                    && (toleration.operator == "Exists" || toleration.value == value)
            })
        };
        let ready = condition(&node.status.conditions, "Ready");
        let key = if is_silent(ready) { UNREACHABLE } else { NOT_READY };
        if !node.is_ready() && !tolerated(key, "", "NoSchedule") {
            return Some(Closed::Unready(ready));
        }
        if node.spec.unschedulable && !tolerated(CORDONED, "", "NoSchedule") {
            return Some(Closed::Cordoned);
        }
        let foreign = node.spec.taints.iter().find(|taint| {
            let states = [UNREACHABLE, NOT_READY, CORDONED].contains(&taint.key.as_str());
            !states
                && taint.effect != "PreferNoSchedule"
                && !tolerated(&taint.key, &taint.value, &taint.effect)
        });
        foreign.map(Closed::Tainted)
    }

    /// For how long; of a cordon and a taint no more is known than that the pod has `waited`.
    fn since(self, snapshot: &Snapshot<'_>, waited: Option<SignedDuration>) -> Option<SignedDuration> {
        match self {
            Closed::Unready(ready) => snapshot.since(ready?.last_transition_time),
            Closed::Cordoned | Closed::Tainted(_) => waited,
        }
    }
}

const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const HOSTNAME: &str = "kubernetes.io/hostname";
const CORDONED: &str = "node.kubernetes.io/unschedulable";

/// `node-3, which has been unreachable for 20m`; of several, what is wrong with each.
fn said(snapshot: &Snapshot<'_>, nodes: &[(&Node, Closed<'_>)]) -> String {
    let names: Vec<&str> = nodes.iter().map(|(node, _)| node.metadata.name.as_str()).collect();
    if nodes.iter().all(|(_, closed)| matches!(closed, Closed::Cordoned)) {
        let verb = if names.len() == 1 { "is" } else { "are" };
        return format!("{}, which {verb} cordoned", words::list(&names, 3));
    }
    let time = |closed: &Closed<'_>| {
        closed.since(snapshot, None).map_or(String::new(), |time| format!(" for {}", words::age(time)))
    };
    if let [(node, closed)] = nodes {
        let has = match closed {
            Closed::Unready(ready) if is_silent(*ready) => format!("has been unreachable{}", time(closed)),
            Closed::Unready(_) => format!("has not been ready{}", time(closed)),
            Closed::Cordoned => "is cordoned".to_owned(),
            Closed::Tainted(taint) => {
                format!("has the taint {} that the pod does not tolerate", written(taint))
            }
        };
        return format!("{}, which {has}", node.metadata.name);
    }
    let each = nodes.iter().map(|(node, closed)| {
        let is = match closed {
            Closed::Unready(ready) if is_silent(*ready) => format!("unreachable{}", time(closed)),
            Closed::Unready(_) => format!("not ready{}", time(closed)),
            Closed::Cordoned => "cordoned".to_owned(),
            Closed::Tainted(taint) => format!("taint {}", written(taint)),
        };
        format!("{} ({is})", node.metadata.name)
    });
    words::list(&each.collect::<Vec<_>>(), 3)
}

/// Whether the node does not even say how it is.
fn is_silent(ready: Option<&Condition>) -> bool {
    ready.is_none_or(|ready| ready.status == "Unknown")
}

fn written(taint: &Taint) -> String {
    match taint.value.as_str() {
        "" => format!("{}:{}", taint.key, taint.effect),
        value => format!("{}={value}:{}", taint.key, taint.effect),
    }
}

/// Takes the labels that no node with the volume has out of the nodeSelector of the template, and brings that to the pod.
fn unselect(snapshot: &Snapshot<'_>, pod: &Pod, admitted: &[&Node]) -> Option<Command> {
    let set = snapshot.set;
    let own = &set.spec.template.spec.node_selector;
    let nearest = admitted.iter().max_by_key(|node| {
        let labels = &node.metadata.labels;
        pod.spec.node_selector.iter().filter(|(key, value)| labels.get(*key) == Some(*value)).count()
    })?;
    let wrong = own.iter().filter(|(key, value)| nearest.metadata.labels.get(*key) != Some(*value));
    let operations: Vec<serde_json::Value> = wrong
        .map(|(key, _)| {
            let key = key.replace('~', "~0").replace('/', "~1");
            serde_json::json!({"op": "remove", "path": format!("/spec/template/spec/nodeSelector/{key}")})
        })
        .collect();
    if operations.is_empty() {
        return None;
    }
    let patch = kubectl("patch statefulset").name(&set.metadata.name).namespace(home(snapshot));
    let patch = patch.with("--type=json").patch(&serde_json::Value::Array(operations));
    let group = pods::Group::of(snapshot, pod)?;
    let back = if group.is_since_update(snapshot) { group.other_template(snapshot) } else { None };
    back.or_else(|| group.reached_by(snapshot, patch))
}

/// Opens the nodes that are only cordoned or kept for other pods, or shows one that is worse.
fn open(nodes: &[(&Node, Closed<'_>)]) -> Command {
    let cordoned = nodes.iter().filter(|(_, closed)| matches!(closed, Closed::Cordoned));
    let names: Vec<&str> = cordoned.map(|(node, _)| node.metadata.name.as_str()).collect();
    match (names.as_slice(), nodes.first()) {
        ([], Some((node, Closed::Tainted(taint)))) => {
            kubectl("taint node").name(&node.metadata.name).value(format!("{}-", written(taint)))
        }
        ([], Some((node, _))) => kubectl("describe node").name(&node.metadata.name),
        (names, _) => kubectl("uncordon").names(names),
    }
}

/// The command that shows which nodes have the labels the volume asks for.
fn look(required: &NodeSelector) -> Vec<Command> {
    let keys = keys(required);
    if keys.is_empty() {
        return vec![kubectl("get nodes --show-labels")];
    }
    vec![kubectl("get nodes -L").value(keys.into_iter().collect::<Vec<_>>().join(","))]
}

fn keys(required: &NodeSelector) -> BTreeSet<&str> {
    (required.node_selector_terms.iter())
        .flat_map(|term| term.match_expressions.iter().map(|term| term.key.as_str()))
        .collect()
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
    let keys = keys(required);
    let have: BTreeSet<String> = (nodes.iter())
        .flat_map(|node| {
            let labels = &node.metadata.labels;
            keys.iter().filter_map(|key| Some(format!("{key}={}", labels.get(*key)?)))
        })
        .collect();
    match have.into_iter().collect::<Vec<_>>().as_slice() {
        [] => format!("none of {} has this label", words::count(nodes.len(), "node")),
        have => format!("the nodes have {}", words::list(have, 4)),
    }
}
