//! Pods that would not end if they were deleted.

use super::refuse;
use crate::kinds::Pod;
use crate::paste::kubectl;
use crate::plan::Stop;
use crate::snapshot::Snapshot;
use crate::words;

/// Whether deleting this pod would end it.
pub(super) fn deletable(now: &Snapshot<'_>, pod: &Pod) -> Result<(), Stop> {
    lost(now, pod)?;
    if pod.metadata.finalizers.is_empty() {
        return Ok(());
    }
    let name = &pod.metadata.name;
    Err(refuse(
        "pod-has-finalizers",
        format!(
            "deleting {name} would not remove it: it has finalizers: {}",
            words::list(&pod.metadata.finalizers, 3)
        ),
        kubectl("get pod")
            .name(name)
            .namespace(&pod.metadata.namespace)
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
    let name = &pod.metadata.name;
    if pod.metadata.finalizers.is_empty() {
        return Ok(());
    }
    Err(refuse(
        "terminating",
        format!(
            "{name} is already being deleted, but it has finalizers: {}",
            words::list(&pod.metadata.finalizers, 3)
        ),
        kubectl("get pod")
            .name(name)
            .namespace(&pod.metadata.namespace)
            .with("-o yaml")
            .after("see which controller removes them"),
    ))
}
