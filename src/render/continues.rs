//! What continues in the cluster when this program stops watching, and how to follow, pause or end it.

use serde_json::json;

use crate::controller::{Next, next};
use crate::kinds::Strategy;
use crate::paste::{kubectl, sts};
use crate::snapshot::Snapshot;

/// What continues without this program: said as the last word after Ctrl-C or a timeout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continues {
    /// `the rollout of postgres continues in the cluster`.
    pub what: String,
    /// Commands to paste, by label: `follow`, `pause`, and `abort` or `undo`.
    pub typed: Vec<(&'static str, String)>,
}

/// What the controller continues by itself; `None` where it has nothing to do, or is not known to have.
pub fn continues(now: &Snapshot<'_>) -> Option<Continues> {
    let set = now.set;
    let (name, namespace) = (&set.metadata.name, &set.metadata.namespace);
    if !matches!(next(now), Ok(Next::Act(_) | Next::Wait { .. })) {
        return None;
    }
    let update = &set.status.update_revision;
    let boundary = set.boundary();
    let replicas = now.replicas().unwrap_or_default();
    let is_updated = |ordinal: i32| {
        let pod = now.replica(ordinal).ok().flatten().and_then(|replica| replica.pod);
        pod.is_some_and(|pod| pod.revision() == update)
    };
    let reached = replicas.iter().filter(|replica| replica.ordinal >= boundary);
    let outdated = reached.clone().any(|it| it.pod.is_some_and(|pod| pod.revision() != update));
    let is_rollout = set.strategy() == Strategy::RollingUpdate && outdated && !update.is_empty();
    let missing = now.unlisted() > 0 || replicas.iter().any(|replica| replica.pod.is_none());
    let is_scaling = missing || now.condemned().is_ok_and(|pods| !pods.is_empty());
    let what = match (is_rollout, is_scaling) {
        (true, _) => format!("the rollout of {name} continues in the cluster"),
        (false, true) => format!("the scaling of {name} continues in the cluster"),
        (false, false) => format!("the pods of {name} continue to start in the cluster"),
    };
    let mut typed = vec![("follow", sts("watch").name(name).namespace(namespace).to_string())];
    if is_rollout {
        // Nothing below the lowest pod that was reached is updated with this partition.
        let lowest = reached.map(|it| it.ordinal).filter(|ordinal| is_updated(*ordinal)).min();
        let partition = lowest.map_or(set.replicas(), |lowest| lowest.saturating_sub(set.start()));
        let patch = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": partition}}}});
        let pause = kubectl("patch statefulset").name(name).namespace(namespace).patch(&patch);
        typed.push(("pause", pause.to_string()));
        let back = if now.mark().is_some() { ("abort", sts("abort")) } else { ("undo", sts("undo")) };
        typed.push((back.0, back.1.name(name).namespace(namespace).to_string()));
    }
    Some(Continues { what, typed })
}
