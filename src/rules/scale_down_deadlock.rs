//! A scale-down waits for pods that will never become ready, and that it wants to delete itself.

use super::prelude::*;
use crate::controller::{self, Blocker, Next};
use crate::snapshot::Replica;

pub const RULE: Rule = Rule {
    code: "STS305",
    name: "scale-down-deadlock",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/scale-down-deadlock.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    Ok(deadlock(snapshot)?.into_iter().collect())
}

/// The pod a scale-down waits for although it is to go itself, if it will not become ready.
///
/// An ordered set deletes from the top, and a pod that is not ready only if it is the lowest such one
/// (`stateful_set_control.go:processCondemned`). What has ended is replaced only where it is wanted.
pub(super) fn deadlock(snapshot: &Snapshot<'_>) -> Result<Option<Finding>, Unseen> {
    let Next::Wait { on, because: Blocker::NotReady } = controller::next(snapshot)? else { return Ok(None) };
    let condemned = snapshot.condemned()?;
    let Some(replica) = condemned.iter().find(|replica| replica.ordinal == on) else { return Ok(None) };
    let Some(pod) = replica.pod else { return Ok(None) };
    let hard = |pod| snapshot.trouble(pod).filter(|trouble| trouble.why.is_hard());
    let state = if pod.is_finished() {
        let reason = if pod.status.reason.is_empty() { &pod.status.phase } else { &pod.status.reason };
        format!("it has ended ({reason}), and is not started again, as it is to go")
    } else if let Some(trouble) = hard(pod) {
        format!("it is stuck ({})", trouble.why.word())
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
            "; the controller deletes a pod that is not ready only when all below it are, and {} is not",
            below.name
        )
    });
    let name = &snapshot.set.metadata.name;
    Ok(Some(
        RULE.about(
            Kind::Pod,
            &replica.name,
            format!("the scale-down of {name} waits for {} for ever", replica.name),
        )
        .because(format!("{state}{first}"))
        .remedy(kubectl("delete pod").name(&replica.name).namespace(home(snapshot)))
        .absorbs(Kind::Pod, &replica.name),
    ))
}
