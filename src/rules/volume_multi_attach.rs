//! A volume that one node at a time can have is still attached to another.

use jiff::SignedDuration;

use super::pods::{grouped, wanted};
use super::prelude::*;
use super::volume_mount_failed::{is_multi_attach, named};
use crate::snapshot::Why;

pub const RULE: Rule = Rule {
    code: "STS211",
    name: "volume-multi-attach",
    severity: Severity::Error,
    page: include_str!("../../docs/rules/volume-multi-attach.md"),
    check,
};

/// The attach controller detaches a volume from a node that does not answer after 6 minutes.
const FORCED: SignedDuration = SignedDuration::from_mins(7);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    snapshot.events()?;
    let groups = grouped(wanted(snapshot)?, |case| match case.why()? {
        Why::Mount { message } if is_multi_attach(message) => Some(*message),
        _ => None,
    });
    let found = groups.iter().map(|(message, group)| {
        let at = in_namespace(snapshot);
        let volume = named(snapshot, message).unwrap_or("its volume".to_owned());
        let holders = holders(message);
        let pods: Vec<_> = snapshot
            .namespace
            .pods
            .iter()
            .filter(|pod| holders.contains(&pod.metadata.name.as_str()) && !pod.is_finished())
            .collect();
        let staying = pods.iter().any(|pod| !pod.metadata.is_terminating());
        let long = group.longest(snapshot).is_some_and(|time| time > FORCED);
        let held: Vec<_> = pods
            .iter()
            .map(|pod| {
                let state = if pod.metadata.is_terminating() { ", which is being deleted" } else { "" };
                format!("{} on {}{state}", pod.metadata.name, pod.spec.node_name)
            })
            .collect();
        let holder = match (held.as_slice(), holders.as_slice()) {
            ([], []) => "is still attached to another node".to_owned(),
            ([], names) => format!("is still used by {}", words::list(names, 3)),
            (held, _) => format!("is still used by {}", words::list(held, 3)),
        };
        let remedy = match pods.first() {
            Some(pod) => format!("kubectl describe pod {} {at}", pod.metadata.name),
            None => "kubectl get volumeattachments".to_owned(),
        };
        group
            .finding(
                &RULE,
                &["waits for a volume that another node has", "wait for a volume that another node has"],
            )
            .because(format!("{volume} {holder}; {}", group.unready(snapshot)))
            .remedy(remedy)
            .only(if staying || long { Severity::Error } else { Severity::Warning })
    });
    Ok(found.collect())
}

/// The pods the attach controller names (`attachdetach/reconciler.go:reportMultiAttachError`); it names none of other
/// namespaces, and none where it does not know.
fn holders(message: &str) -> Vec<&str> {
    let Some((_, rest)) = message.split_once("used by pod(s) ") else { return Vec::new() };
    let names = rest.split_once(" and ").map_or(rest, |(names, _)| names);
    names.split(',').map(|name| name.trim().trim_end_matches('.')).filter(|name| !name.is_empty()).collect()
}
