//! What the rules about the governing Service share.

use jiff::SignedDuration;

use super::prelude::*;
use crate::snapshot::parse_pod_name;

/// A selector, for `kubectl set selector`, that every pod of the set satisfies.
pub(super) fn selector(set: &StatefulSet) -> String {
    written(labels(set))
}

/// The labels of such a selector.
pub(super) fn labels(set: &StatefulSet) -> &Map {
    // A selector of expressions alone cannot be written that way; the template's labels satisfy it too.
    match &set.spec.selector.match_labels {
        labels if labels.is_empty() => &set.spec.template.metadata.labels,
        labels => labels,
    }
}

/// The command that changes a Service.
pub(super) fn patch(snapshot: &Snapshot<'_>, service: &str, patch: &serde_json::Value) -> Command {
    kubectl("patch service").name(service).namespace(home(snapshot)).with("--type=merge").patch(patch)
}

/// Labels as kubectl writes them: `app=web,tier=db`.
pub(super) fn written(labels: &Map) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// The command that makes the Service `serviceName` asks for.
pub(super) fn create(snapshot: &Snapshot<'_>) -> Command {
    let service = &snapshot.set.spec.service_name;
    let create = kubectl("create service clusterip").name(service).with("--clusterip=None");
    create.namespace(home(snapshot)).and(select(snapshot, service))
}

/// The command that gives a Service a selector for the pods of the set.
pub(super) fn select(snapshot: &Snapshot<'_>, service: &str) -> Command {
    let select = kubectl("set selector service").name(service).value(selector(snapshot.set));
    select.namespace(home(snapshot))
}

/// The name of a replica under the Service.
pub(super) fn replica_name(set: &StatefulSet) -> String {
    format!("{}.{}.{}.svc", set.pod_name(set.start()), set.spec.service_name, set.metadata.namespace)
}

/// Adds to a finding that speaks of the name of a peer which DNS does not know why that is so, where the Service is why:
/// it publishes a pod once it is ready, and pods that look for each other before they are ready never will be.
pub(super) fn unpublished(snapshot: &Snapshot<'_>, mut finding: Finding) -> Finding {
    let unknown = ["no such host", "NXDOMAIN", "Name or service not known", "could not translate host name"]
        .iter()
        .any(|sign| finding.because.contains(sign));
    let Ok(Some(service)) = snapshot.service() else { return finding };
    if !unknown || !service.is_headless() || service.spec.publish_not_ready_addresses {
        return finding;
    }
    let (set, name) = (snapshot.set, &service.metadata.name);
    let peer = peer(set, name, &finding.because);
    if let Some(peer) = peer {
        finding.because += &format!(
            "; Service {name} lacks publishNotReadyAddresses, so {peer} has no DNS name until it is ready"
        );
        let publish = serde_json::json!({"spec": {"publishNotReadyAddresses": true}});
        finding.remedy = vec![patch(snapshot, name, &publish)];
    }
    finding
}

/// The lowest replica whose name under the Service the text has.
fn peer(set: &StatefulSet, service: &str, text: &str) -> Option<String> {
    let stem = format!("{}-", set.metadata.name);
    let ordinals = text.split(&stem).skip(1).filter_map(|rest| {
        let (digits, rest) = rest.split_once('.')?;
        let name = format!("{stem}{digits}");
        let (_, ordinal) = parse_pod_name(&name)?;
        (rest.starts_with(service) && set.in_range(ordinal)).then_some(ordinal)
    });
    ordinals.min().map(|ordinal| set.pod_name(ordinal))
}

/// What follows the consequence where the replicas themselves plainly do without the names.
pub(super) fn in_spite_of_it(proven: bool) -> &'static str {
    if proven {
        "; all replicas have been ready for more than a day, so only clients can need the names"
    } else {
        ""
    }
}

/// From then on it is proven that the replicas do without the names they lack.
const PROVEN: SignedDuration = SignedDuration::from_hours(24);

/// Whether the set has worked for long as it is: every replica has been ready for a day.
pub(super) fn is_proven(snapshot: &Snapshot<'_>) -> Result<bool, Unseen> {
    let replicas = snapshot.replicas()?;
    Ok(!replicas.is_empty()
        && replicas.iter().all(|replica| {
            replica
                .pod
                .is_some_and(|pod| snapshot.since(pod.ready_since()).is_some_and(|time| time >= PROVEN))
        }))
}

/// Whether every replica is ready.
pub(super) fn all_ready(snapshot: &Snapshot<'_>) -> Result<bool, Unseen> {
    Ok(snapshot.replicas()?.iter().all(|replica| replica.pod.is_some_and(Pod::is_ready)))
}

/// Makes the pods again, one after another where the set does that by itself.
pub(super) fn again(snapshot: &Snapshot<'_>, first: &Pod) -> Command {
    let set = snapshot.set;
    let at = home(snapshot);
    if set.strategy() == Strategy::RollingUpdate && set.partition() == 0 {
        kubectl("rollout restart statefulset").name(&set.metadata.name).namespace(at)
    } else {
        kubectl("delete pod").name(&first.metadata.name).namespace(at)
    }
}
