//! Pods that would not end if they were deleted.

use super::refuse;
use crate::kinds::{Meta, Pod};
use crate::paste::kubectl;
use crate::plan::Stop;
use crate::snapshot::Snapshot;
use crate::words;

/// Whether deleting this pod would end it.
pub(super) fn deletable(now: &Snapshot<'_>, pod: &Pod) -> Result<(), Stop> {
    lost(now, pod)?;
    free(pod, "pod-has-finalizers", &format!("deleting {} would not remove it: it", pod.metadata.name))
}

/// Refuses because of the finalizers of a pod; `what` ends before "has finalizers".
fn free(pod: &Pod, reason: &'static str, what: &str) -> Result<(), Stop> {
    let Meta { name, namespace, finalizers, .. } = &pod.metadata;
    if finalizers.is_empty() {
        return Ok(());
    }
    Err(refuse(
        reason,
        format!("{what} has finalizers: {}", words::list(finalizers, 3)),
        kubectl("get pod")
            .name(name)
            .namespace(namespace)
            .with("-o yaml")
            .after("see which controller removes them"),
    ))
}

/// A pod of a node that does not answer stays until the node is back or known to be gone: deleting it frees nothing,
/// and forcing it may let two pods of one name run.
pub(super) fn lost(now: &Snapshot<'_>, pod: &Pod) -> Result<(), Stop> {
    let Ok(nodes) = now.nodes() else { return Ok(()) };
    let node = &pod.spec.node_name;
    if crate::snapshot::lost(now, nodes, pod).is_none() {
        return Ok(());
    }
    Err(refuse(
        "node-lost",
        format!(
            "{} is on node {node}, which does not respond: deleting the pod would not remove it",
            pod.metadata.name
        ),
        kubectl("describe node").name(node).after("see what is wrong with the node"),
    ))
}

/// A pod that is being deleted and will not end by itself.
pub(super) fn ending(now: &Snapshot<'_>, pod: &Pod) -> Result<(), Stop> {
    lost(now, pod)?;
    free(pod, "terminating", &format!("{} is already being deleted, but it", pod.metadata.name))
}
