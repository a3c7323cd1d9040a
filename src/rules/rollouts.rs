//! What the rules about rollouts share: on what a rollout stands still.

use super::pods::DEADLINE;
use super::prelude::*;
use crate::controller::{self, Blocker, Next};
use crate::paste::tool;
use crate::snapshot::{PodFailure, Replica, Trouble};

/// The pod in the trap, on evidence that it is one, and what is the matter with it.
pub(super) fn trapped<'a>(
    snapshot: &Snapshot<'a>,
) -> Result<Option<(controller::Trap<'a>, &'a Pod, Trouble<'a>)>, Unseen> {
    let Some(trap) = controller::trap(snapshot)? else { return Ok(None) };
    let Some(pod) = snapshot.replica(trap.ordinal)?.and_then(|replica| replica.pod) else { return Ok(None) };
    let trouble = snapshot.trouble(pod).filter(|trouble| trouble.why.needs_intervention());
    Ok(trouble.filter(|trouble| !snapshot.may_recover(pod, trouble)).map(|trouble| (trap, pod, trouble)))
}

/// A pod that a scale-down waits for although it is to go itself, and why it will not become ready.
pub(super) struct Deadlock<'s, 'a> {
    /// The replica.
    pub replica: &'s Replica<'a>,
    /// Why it will not become ready, and what is not ready below it.
    pub because: String,
}

/// The pod a scale-down waits for although it is to go itself, if it will not become ready.
///
/// An ordered set deletes from the top, and a pod that is not ready only if it is the lowest such one
/// (`stateful_set_control.go:processCondemned`). What has ended is replaced only where it is wanted.
pub(super) fn deadlock<'s, 'a>(snapshot: &'s Snapshot<'a>) -> Result<Option<Deadlock<'s, 'a>>, Unseen> {
    let Next::Wait { on, because: Blocker::NotReady } = controller::next(snapshot)? else { return Ok(None) };
    let condemned = snapshot.condemned()?;
    let Some(replica) = condemned.iter().find(|replica| replica.ordinal == on) else { return Ok(None) };
    let Some(pod) = replica.pod else { return Ok(None) };
    let hard = |pod| snapshot.trouble(pod).filter(|trouble| trouble.why.needs_intervention());
    let state = if pod.is_finished() {
        let reason = if pod.status.reason.is_empty() { &pod.status.phase } else { &pod.status.reason };
        format!(
            "{} has finished ({reason}) and is not recreated, because it is to be removed",
            pod.metadata.name
        )
    } else if let Some(trouble) = hard(pod) {
        format!("{} is stuck ({})", pod.metadata.name, trouble.why.word())
    } else {
        return Ok(None);
    };
    let unready = |replica: &&Replica<'_>| {
        replica.ordinal < on
            && replica.pod.is_some_and(|pod| !pod.is_ready() && !pod.metadata.is_terminating())
    };
    let below = snapshot.replicas()?.iter().chain(condemned).find(unready);
    let first = below.map_or(String::new(), |below| {
        format!(
            "; the controller deletes an unready pod only when all pods below it are ready, and {} is not",
            below.name
        )
    });
    Ok(Some(Deadlock { replica, because: format!("{state}{first}") }))
}

/// The replicas below the partition that are broken on the old revision, lowest first; none where a pod of the new
/// revision is broken too, or no new revision waits.
pub(super) fn held<'s, 'a>(snapshot: &'s Snapshot<'a>) -> Result<Vec<(i32, &'a Pod, Trouble<'a>)>, Unseen> {
    let set = snapshot.set;
    let update = &set.status.update_revision;
    if set.strategy() != Strategy::RollingUpdate
        || set.metadata.is_terminating()
        // An operator has its own way with partitions.
        || set.metadata.controller().is_some()
        || !set.is_observed()
        || set.partition() == 0
        || controller::current_revision(snapshot) == update
    {
        return Ok(Vec::new());
    }
    let boundary = set.boundary();
    let broken = |pod: &'a Pod| {
        let trouble = snapshot.trouble(pod).filter(|_| !pod.metadata.is_terminating())?;
        // It may be replaying its log.
        let young = snapshot.since(trouble.since).is_none_or(|time| time < DEADLINE);
        let passes = snapshot.may_recover(pod, &trouble) && (young || snapshot.stands_by(pod));
        (is_of_the_template(&trouble.why) && !passes).then_some(trouble)
    };
    let (mut held, mut fails) = (Vec::new(), false);
    for replica in snapshot.replicas()? {
        let Some((pod, trouble)) = replica.pod.and_then(|pod| Some((pod, broken(pod)?))) else { continue };
        if pod.revision() == update {
            fails = true;
        } else if replica.ordinal < boundary {
            held.push((replica.ordinal, pod, trouble));
        }
    }
    Ok(if fails { Vec::new() } else { held })
}

/// Whether another template may help.
fn is_of_the_template(why: &PodFailure<'_>) -> bool {
    match why {
        PodFailure::ImagePull { .. }
        | PodFailure::CrashLoop { .. }
        | PodFailure::Killed(_)
        | PodFailure::Config { .. }
        | PodFailure::Unschedulable { .. }
        | PodFailure::Mount { .. }
        | PodFailure::Unready { .. } => true,
        PodFailure::NodeComing { .. }
        | PodFailure::Gated
        | PodFailure::Sandbox { .. }
        | PodFailure::Silent
        | PodFailure::Starting => false,
    }
}

/// What is the matter with a pod, after its name.
pub(super) fn is_in(why: &PodFailure<'_>) -> String {
    match why {
        PodFailure::CrashLoop { .. } if why.is_out_of_memory() => "runs out of memory (OOMKilled)".to_owned(),
        PodFailure::ImagePull { .. } | PodFailure::Config { .. } | PodFailure::CrashLoop { .. } => {
            format!("is in {}", why.word())
        }
        PodFailure::Killed(kills) => format!("is restarted by its {} probe", kills.killer.word()),
        PodFailure::Unschedulable { .. } => "cannot be scheduled".to_owned(),
        PodFailure::Gated => "is blocked by a scheduling gate".to_owned(),
        PodFailure::Mount { .. } => "cannot mount its volumes".to_owned(),
        PodFailure::Sandbox { .. } => "gets no network".to_owned(),
        PodFailure::Unready { .. } => "does not become ready".to_owned(),
        PodFailure::NodeComing { .. } => "waits for a node".to_owned(),
        PodFailure::Silent => "does not start".to_owned(),
        PodFailure::Starting => "is starting".to_owned(),
    }
}

/// Creates the set again with this change of fields that cannot be changed in place, and leaves its pods and PVCs alone. The
/// manifest is kept in a file, for the case that it cannot be created.
pub(super) fn recreated(snapshot: &Snapshot<'_>, patch: &serde_json::Value) -> Command {
    recreate(snapshot, "--type=merge", patch)
}

/// The same by a JSON patch, for a part of a list.
pub(super) fn recreated_by(snapshot: &Snapshot<'_>, operations: &serde_json::Value) -> Command {
    recreate(snapshot, "--type=json", operations)
}

fn recreate(snapshot: &Snapshot<'_>, of_type: &'static str, patch: &serde_json::Value) -> Command {
    recreate_set(snapshot.set, of_type, patch)
}

/// The same for another StatefulSet.
pub(super) fn recreate_set(set: &StatefulSet, of_type: &'static str, patch: &serde_json::Value) -> Command {
    let name = &set.metadata.name;
    kubectl("patch statefulset")
        .name(name)
        .namespace(&set.metadata.namespace)
        .with(of_type)
        .patch(patch)
        .with("--dry-run=client -o yaml")
        .piped_into(tool("tee").path(&format!("{name}.kubectl-sts.yaml")))
        .piped_into(kubectl("replace --force --cascade=orphan -f -"))
}
