//! A volume that one node at a time can have is still attached to another.

use jiff::SignedDuration;

use super::pods::{grouped, wanted};
use super::prelude::*;
use super::volumes::named;
use crate::kinds::condition;
use crate::messages::attach::{self, is_multi_attach};
use crate::paste::tool;
use crate::snapshot::PodFailure;

pub const RULE: Rule = Rule {
    code: "STS211",
    name: "volume-multi-attach",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/volume-multi-attach.md"),
    check,
};

/// The attach controller detaches a volume from a node that does not answer after 6 minutes.
const FORCED: SignedDuration = SignedDuration::from_mins(7);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    snapshot.events()?;
    let groups = grouped(wanted(snapshot)?, |case| match case.why()? {
        PodFailure::Mount { message } if is_multi_attach(message) => Some(*message),
        _ => None,
    });
    let found = groups.iter().map(|(message, group)| {
        let volume = named(snapshot, message).unwrap_or("its volume".to_owned());
        let holders = attach::holders(message);
        let claim = attach::volume(message).and_then(|volume| snapshot.namespace.claim_of_volume(volume));
        let waits_on = group.first().pod.spec.node_name.as_str();
        let pods: Vec<_> = snapshot
            .namespace
            .pods
            .iter()
            .filter(|pod| {
                // Where the controller names nobody, whoever mounts the claim on another node.
                let mounts = || {
                    let node = pod.spec.node_name.as_str();
                    !node.is_empty()
                        && node != waits_on
                        && claim.is_some_and(|it| pod.claim_names().any(|name| name == it.metadata.name))
                };
                let named = holders.contains(&pod.metadata.name.as_str());
                !pod.is_finished() && (named || (holders.is_empty() && mounts()))
            })
            .collect();
        let staying = pods.iter().any(|pod| !pod.metadata.is_terminating());
        let long = group.longest(snapshot).is_some_and(|time| time > FORCED);
        let held: Vec<_> = pods
            .iter()
            .map(|pod| {
                let state = if pod.metadata.is_terminating() { " (being deleted)" } else { "" };
                let node = &pod.spec.node_name;
                let lost = unready(snapshot, node).map_or(String::new(), |is| format!(", which {is}"));
                format!("{}{state} on {node}{lost}", pod.metadata.name)
            })
            .collect();
        let holder = match (held.as_slice(), holders.as_slice()) {
            ([], []) => format!("is still attached to another node{}", suspects(snapshot, waits_on)),
            ([], names) => format!("is still used by {}", words::list(names, 3)),
            (held, _) => format!("is still used by {}", words::list(held, 3)),
        };
        let end = match pods.first() {
            Some(pod) if ends_by_deletion(snapshot, pod) => {
                format!("; wait until {} has finished, or delete it", pod.metadata.name)
            }
            _ => String::new(),
        };
        let remedy = match pods.first() {
            Some(pod) => {
                let show = kubectl("describe pod");
                let command = if ends_by_deletion(snapshot, pod) { kubectl("delete pod") } else { show };
                command.name(&pod.metadata.name).namespace(home(snapshot))
            }
            None => match attach::volume(message) {
                Some(volume) => {
                    kubectl("get volumeattachments").piped_into(tool("grep -F -e NODE -e").value(volume))
                }
                None => kubectl("get volumeattachments"),
            },
        };
        group
            .finding(
                &RULE,
                &[
                    "waits for a volume that is attached to another node",
                    "wait for a volume that is attached to another node",
                ],
            )
            .because(format!("{volume} {holder}; {}{end}", group.unready(snapshot)))
            .remedy(remedy)
            .only(if staying || long { Severity::Error } else { Severity::Warning })
    });
    Ok(found.collect())
}

/// Whether a pod that holds the volume lets go of it once it is deleted: nothing creates it again, and its kubelet answers.
fn ends_by_deletion(snapshot: &Snapshot<'_>, pod: &Pod) -> bool {
    let again = pod.metadata.controller().is_some();
    !again && !pod.metadata.is_terminating() && unready(snapshot, &pod.spec.node_name).is_none()
}

/// The nodes that may be the one, where nobody says which it is: a node that is not ready cannot let go.
fn suspects(snapshot: &Snapshot<'_>, waits_on: &str) -> String {
    let names = snapshot.nodes().unwrap_or_default().iter().map(|node| node.metadata.name.as_str());
    let lost: Vec<_> = names
        .filter(|name| *name != waits_on)
        .filter_map(|name| Some(format!("{name}, which {}", unready(snapshot, name)?)))
        .collect();
    match lost.len() {
        0 => String::new(),
        1..=2 => format!(", maybe {}", lost.join(" or ")),
        many => format!(", maybe one of the {many} that are not ready"),
    }
}

/// `has not been ready for 14m`, if a node is not.
fn unready(snapshot: &Snapshot<'_>, name: &str) -> Option<String> {
    let node = snapshot.node(name).ok().flatten()?;
    let ready = condition(&node.status.conditions, "Ready").filter(|ready| ready.status != "True")?;
    let since = snapshot.since(ready.last_transition_time);
    Some(
        since.map_or("is not ready".to_owned(), |since| {
            format!("has not been ready for {}", words::age(since))
        }),
    )
}
