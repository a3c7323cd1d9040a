//! A volume that one node at a time can have is still attached to another.

use jiff::SignedDuration;

use super::pods::{Group, grouped, wanted};
use super::prelude::*;
use super::volumes::named;
use crate::kinds::condition;
use crate::messages::attach::{self, is_multi_attach};
use crate::messages::clipped;
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
        let attached = attachment(snapshot, message, waits_on);
        let holder = match (held.as_slice(), holders.as_slice()) {
            ([], []) => match attached {
                Some(it) => {
                    let node = &it.spec.node_name;
                    let is = match snapshot.node(node) {
                        Ok(None) => ", which does not exist".to_owned(),
                        _ => unready(snapshot, node).map_or(String::new(), |is| format!(", which {is}")),
                    };
                    let failed = it.status.detach_error.as_ref().map(|error| clipped(&error.message));
                    let failed =
                        failed.map_or(String::new(), |said| format!(", and cannot be detached: {said}"));
                    format!("is still attached to {node}{is} (VolumeAttachment {}){failed}", it.metadata.name)
                }
                None => format!("is still attached to another node{}", suspects(snapshot, waits_on)),
            },
            ([], names) => format!("is still used by {}", words::list(names, 3)),
            (held, _) => format!("is still used by {}", words::list(held, 3)),
        };
        let (end, remedy, instead) = match pods.first() {
            Some(pod) => end_of(snapshot, group, pod),
            None => detach(snapshot, message, attached),
        };
        let finding = group
            .finding(
                &RULE,
                &[
                    "waits for a volume that is attached to another node",
                    "wait for a volume that is attached to another node",
                ],
            )
            .because(format!("{volume} {holder}; {}{end}", group.unready(snapshot)))
            .only(if staying || long { Severity::Error } else { Severity::Warning });
        instead.into_iter().fold(finding.remedy(remedy), Finding::instead)
    });
    Ok(found.collect())
}

/// Deletes the pods of a node and detaches their volumes (`pkg/controller/podgc`, KEP-2268).
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute";

/// How a pod comes to give the volume back: in words, as a command, and as another one.
fn end_of(snapshot: &Snapshot<'_>, group: &Group<'_>, pod: &Pod) -> (String, Command, Option<Command>) {
    let (name, at, node) = (&pod.metadata.name, home(snapshot), &pod.spec.node_name);
    if unready(snapshot, node).is_some() {
        return of_lost(node);
    }
    if pod.metadata.is_terminating() {
        let wait = kubectl("wait pod").name(name).with("--for=delete --timeout=5m").namespace(at);
        return (format!("; the volume follows within seconds once {name} has ended"), wait, None);
    }
    let set = snapshot.set;
    let Some(owner) = pod.metadata.controller() else {
        let delete = kubectl("delete pod").name(name).namespace(at);
        return (format!("; wait until {name} has finished, or delete it"), delete, None);
    };
    let shared = "only pods on one node can use the volume at a time (ReadWriteOnce)";
    let zero = |kind: &'static str, owner: &str| {
        kubectl("scale").with(kind).name(owner).with("--replicas=0").namespace(at)
    };
    if owner.kind == "StatefulSet" && owner.name == set.metadata.name {
        let fewer = group.first().ordinal.saturating_sub(set.start()).max(1);
        let scale = kubectl("scale statefulset").name(&owner.name).joined("--replicas=", fewer).namespace(at);
        return (
            format!(
                "; {shared}, and all replicas of {} mount this PVC: give each its own in volumeClaimTemplates, or use a PVC that is \
                 ReadWriteMany; until then run as many replicas as one node has",
                owner.name
            ),
            scale,
            None,
        );
    }
    let deployment = pod.metadata.labels.get("pod-template-hash").and_then(|hash| {
        owner.name.strip_suffix(hash.as_str())?.strip_suffix('-').filter(|_| owner.kind == "ReplicaSet")
    });
    let (owned_by, command) = match (deployment, owner.kind.as_str()) {
        (Some(deployment), _) => (format!("Deployment {deployment}"), zero("deployment", deployment)),
        (None, "ReplicaSet") => (format!("ReplicaSet {}", owner.name), zero("replicaset", &owner.name)),
        (None, "StatefulSet") => (format!("StatefulSet {}", owner.name), zero("statefulset", &owner.name)),
        (None, "Job") => {
            let delete = kubectl("delete job").name(&owner.name).namespace(at);
            (format!("Job {}", owner.name), delete)
        }
        (None, kind) => (format!("{kind} {}", owner.name), kubectl("delete pod").name(name).namespace(at)),
    };
    (
        format!("; {shared}, and {owned_by} would create {name} again: remove the PVC from it, or stop it"),
        command,
        None,
    )
}

/// A node that does not answer keeps its volumes until it is known to be off.
fn of_lost(node: &str) -> (String, Command, Option<Command>) {
    (
        format!(
            "; start {node} again, or, only if the machine is off and stays off, mark it as out of service: its volumes are then \
             detached"
        ),
        kubectl("describe node").name(node),
        Some(kubectl("taint node").name(node).with(OUT_OF_SERVICE)),
    )
}

/// The attachment of the volume to another node than that of the pod.
fn attachment<'a>(snapshot: &Snapshot<'a>, message: &str, waits_on: &str) -> Option<&'a VolumeAttachment> {
    let volume = attach::volume(message)?;
    snapshot
        .attachments()
        .ok()?
        .iter()
        .find(|it| it.spec.source.persistent_volume_name == volume && it.spec.node_name != waits_on)
}

/// No pod is named that has it: the attachment is what is left.
fn detach(
    snapshot: &Snapshot<'_>,
    message: &str,
    attached: Option<&VolumeAttachment>,
) -> (String, Command, Option<Command>) {
    let Some(attached) = attached else {
        let show = match attach::volume(message) {
            Some(volume) => {
                kubectl("get volumeattachments").piped_into(tool("grep -F -e NODE -e").value(volume))
            }
            None => kubectl("get volumeattachments"),
        };
        return (String::new(), show, None);
    };
    let node = &attached.spec.node_name;
    if snapshot.node(node).is_ok_and(|node| node.is_some()) && unready(snapshot, node).is_some() {
        return of_lost(node);
    }
    // Its driver detaches the volume before it lets the object go (`external-attacher`, finalizer of the driver).
    let delete = kubectl("delete volumeattachment").name(&attached.metadata.name).with("--wait=false");
    (
        format!("; no pod on {node} mounts it: deleting the VolumeAttachment lets the driver detach it"),
        delete,
        None,
    )
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
