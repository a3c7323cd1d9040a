//! Whether the node a pod stands on can run it.

use jiff::SignedDuration;

use super::Snapshot;
use crate::kinds::{Condition, Node, Pod, condition};

/// A pod younger than this may stand on a node that came after the nodes were read.
const YOUNG: SignedDuration = SignedDuration::from_mins(2);

/// What a node that cannot run pods is.
#[derive(Clone, Copy, Debug)]
pub enum Lost<'a> {
    /// Its kubelet reports nothing, or that it is not ready.
    Unready(&'a Condition),
    /// There is no such node.
    Gone,
}

/// What is wrong with the node a pod stands on.
pub fn lost<'a>(snapshot: &Snapshot<'_>, nodes: &'a [Node], pod: &Pod) -> Option<Lost<'a>> {
    if pod.spec.node_name.is_empty() || pod.is_finished() || nodes.is_empty() {
        return None;
    }
    let Some(node) = snapshot.namespace.names.wide.node(nodes, &pod.spec.node_name) else {
        let age = snapshot.since(pod.metadata.creation_timestamp);
        return age.is_none_or(|age| age > YOUNG).then_some(Lost::Gone);
    };
    let ready = condition(&node.status.conditions, "Ready")?;
    (ready.status != "True").then_some(Lost::Unready(ready))
}
