//! What the rules about the governing Service share.

use super::prelude::*;

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
pub(super) fn patch(snapshot: &Snapshot<'_>, service: &str, patch: &serde_json::Value) -> String {
    format!("kubectl patch service {service} {} --type=merge -p '{patch}'", in_namespace(snapshot))
}

/// Labels as kubectl writes them: `app=web,tier=db`.
pub(super) fn written(labels: &Map) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// The command that makes the Service `serviceName` asks for.
pub(super) fn create(snapshot: &Snapshot<'_>) -> String {
    let service = &snapshot.set.spec.service_name;
    format!(
        "kubectl create service clusterip {service} --clusterip=None {0} && kubectl set selector service {service} '{1}' {0}",
        in_namespace(snapshot),
        selector(snapshot.set)
    )
}

/// The name of a replica under the Service.
pub(super) fn replica_name(set: &StatefulSet) -> String {
    format!("{}.{}.{}.svc", set.pod_name(set.start()), set.spec.service_name, set.metadata.namespace)
}
