//! Pods of one name are evicted or refused by the kubelet, one after another.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use serde_json::json;

use super::amounts;
use super::creations::{patch_containers, patch_template};
use super::pods::Group;
use super::prelude::*;
use crate::messages::eviction::{Excess, excess, forbidden_sysctl, pressures, taint_of};
use crate::messages::{clipped, kubelet};

pub const RULE: Rule = Rule {
    code: "STS413",
    name: "evicted-repeatedly",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/evicted-repeatedly.md"),
    check,
};

/// How many pods of one name make it more than an accident.
const OFTEN: usize = 3;
/// Within how long.
const SPAN: SignedDuration = SignedDuration::from_mins(30);
/// A pod that has lived for this long is taken to stay.
const SETTLED: SignedDuration = SignedDuration::from_mins(5);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let events = snapshot.events()?;
    let mut found = Vec::new();
    for replica in snapshot.replicas()? {
        let lives =
            |pod: &Pod| snapshot.since(pod.metadata.creation_timestamp).is_some_and(|age| age > SETTLED);
        if replica.pod.is_some_and(|pod| lives(pod) && !pod.is_finished()) {
            continue;
        }
        let about = |event: &&Event| {
            let it = &event.involved_object;
            it.kind == "Pod"
                && it.name == replica.name
                && kubelet::ends_pod(event)
                && snapshot.since(event.last_seen()).is_some_and(|ago| ago < SPAN)
        };
        let ends: Vec<&Event> = events.iter().copied().filter(about).collect();
        let pods: BTreeSet<&str> = ends.iter().map(|event| event.involved_object.uid.as_str()).collect();
        let Some(last) = ends.iter().max_by_key(|event| event.last_seen()).filter(|_| pods.len() >= OFTEN)
        else {
            continue;
        };
        let first = ends.iter().filter_map(|event| event.first_timestamp.or(event.last_seen())).min();
        let span = snapshot.since(first).map_or(String::new(), |span| format!(" in {}", words::age(span)));
        let happens = if last.reason == "Evicted" {
            "is evicted repeatedly"
        } else {
            "is rejected by its node repeatedly"
        };
        let reason = if last.reason == "Evicted" { String::new() } else { format!("{}: ", last.reason) };
        let way = way(snapshot, excess(&last.message)).or_else(|| elsewhere(snapshot, replica.pod, last));
        let why = way.as_ref().map_or(String::new(), |(why, _)| format!("; {why}"));
        let events = || {
            kubectl("get events")
                .namespace(home(snapshot))
                .with("--field-selector")
                .value(format!("involvedObject.name={},type=Warning", replica.name))
        };
        found.push(
            RULE.about(Kind::Pod, &replica.name, format!("{} {happens}", replica.name))
                .because(format!(
                    "{} pods of that name failed{span}; {reason}{}{why}",
                    pods.len(),
                    clipped(&last.message)
                ))
                .remedy(way.map_or_else(events, |(_, command)| command)),
        );
    }
    Ok(found)
}

/// What brings pods to a node that does not keep them, and the command that ends it.
fn elsewhere(snapshot: &Snapshot<'_>, pod: Option<&Pod>, last: &Event) -> Option<(String, Command)> {
    let set = snapshot.set;
    let template = &set.spec.template.spec;
    let pinned = &template.node_name;
    if !pinned.is_empty() {
        return Some((
            format!(
                "nodeName: {pinned} in the pod template bypasses the scheduler, which would not choose that node: remove nodeName"
            ),
            patch_template(snapshot, &json!({"nodeName": null})),
        ));
    }
    if let Some(sysctl) = forbidden_sysctl(&last.message) {
        let edit = kubectl("edit statefulset").name(&set.metadata.name).namespace(home(snapshot));
        return Some((
            format!(
                "remove {sysctl} from securityContext.sysctls in the pod template, or allow it on the nodes \
                 (allowedUnsafeSysctls of the kubelet)"
            ),
            edit,
        ));
    }
    let conditions = pressures(&last.message);
    let taints: Vec<&str> = conditions.iter().filter_map(|condition| taint_of(condition)).collect();
    let tolerates = |toleration: &Toleration| {
        let is_any = toleration.key.is_empty() && toleration.operator == "Exists";
        let effect = toleration.effect.as_str();
        (is_any || taints.contains(&toleration.key.as_str())) && matches!(effect, "" | "NoSchedule")
    };
    if !taints.is_empty()
        && let Some(at) = template.tolerations.iter().position(tolerates)
    {
        let path = format!("/spec/template/spec/tolerations/{at}");
        let key = template.tolerations[at].key.as_str();
        let (test, which) = match key {
            "" => (
                json!({"op": "test", "path": format!("{path}/operator"), "value": "Exists"}),
                "of every taint",
            ),
            key => (json!({"op": "test", "path": format!("{path}/key"), "value": key}), "of that taint"),
        };
        let patch = json!([test, {"op": "remove", "path": path}]);
        return Some((
            format!(
                "the node has the taint {}, which keeps pods away, but the pod template has a toleration {which}: remove it",
                words::list(&taints, 3)
            ),
            kubectl("patch statefulset")
                .name(&set.metadata.name)
                .namespace(home(snapshot))
                .with("--type=json")
                .patch(&patch),
        ));
    }
    let group = Group::of(snapshot, pod?)?;
    let node = &pod?.spec.node_name;
    let command = group.elsewhere(snapshot)?;
    Some((
        format!(
            "node {node} does not keep it, and another node can take it: cordon {node} until it is repaired"
        ),
        command,
    ))
}

/// What to change in the pod template, and the command for it. The controller replaces a pod that has failed, with the new
/// template.
fn way(snapshot: &Snapshot<'_>, excess: Option<Excess<'_>>) -> Option<(String, Command)> {
    let template = &snapshot.set.spec.template.spec;
    let disk = "ephemeral-storage";
    let with = |container: &str, field: &str, resource: &str, amount: &str| {
        let change = json!({"resources": {field: {resource: amount}}});
        patch_containers(snapshot, serde_json::Map::new(), &[(container, change)].into())
    };
    match excess? {
        Excess::Request { container, resource, used } => Some((
            format!(
                "container {container} uses more {resource} than it requests, and such pods are evicted first: request \
                 what it uses"
            ),
            with(container, "requests", resource, used)?,
        )),
        Excess::Limit { container, limit } => Some((
            format!("raise the {disk} limit of container {container}"),
            with(container, "limits", disk, &amounts::doubled(limit)?)?,
        )),
        Excess::Limits => {
            let limited =
                template.containers.iter().filter_map(|it| Some((it, it.resources.limits.get(disk)?)));
            let (container, limit) = limited.max_by_key(|(_, limit)| Quantity::parse(limit))?;
            let why = format!("raise the {disk} limit of container {}, which is {limit}", container.name);
            Some((why, with(&container.name, "limits", disk, &amounts::doubled(limit)?)?))
        }
        Excess::EmptyDir { volume, limit } => {
            let own = template.volumes.iter().any(|it| it.name == volume);
            let larger = amounts::doubled(limit)?;
            let spec = json!({"volumes": [{"name": volume, "emptyDir": {"sizeLimit": larger}}]});
            own.then(|| (format!("raise sizeLimit of emptyDir {volume}"), patch_template(snapshot, &spec)))
        }
    }
}
