//! Whether the node a pod stands on can run it.

use jiff::SignedDuration;

use super::{Scope, Snapshot, Unseen};
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

impl<'a> Snapshot<'a> {
    /// All pods that were read, of other namespaces too.
    ///
    /// # Errors
    /// [`Unseen`] when pods could not be read.
    pub fn pods_everywhere(&self) -> Result<&'a [Pod], Unseen> {
        self.observed.pods.as_deref().map_err(Clone::clone)
    }

    /// Whether all namespaces were read.
    pub fn is_of_all_namespaces(&self) -> bool {
        self.observed.scope == Scope::All
    }
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
