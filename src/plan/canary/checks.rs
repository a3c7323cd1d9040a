//! When no canary is begun.

use std::collections::BTreeSet;

use serde_json::json;

use super::{command, end_first, has_stable_template};
use crate::controller;
use crate::kinds::Strategy;
use crate::paste::kubectl;
use crate::plan::{Refusal, Stop};
use crate::snapshot::{Replica, Snapshot, Unseen};
use crate::words;

/// Whether a partition means anything to this set at all.
pub(super) fn possible(now: &Snapshot<'_>, partitions: &[i32]) -> Result<(), Refusal> {
    let set = now.set;
    let name = &set.metadata.name;
    if set.metadata.is_terminating() {
        return Err(Refusal {
            reason: "set-deleting",
            because: format!("{name} is being deleted"),
            hint: command(now, "status").after("see its state"),
        });
    }
    if set.strategy() != Strategy::RollingUpdate {
        return Err(Refusal {
            reason: "not-rolling-update",
            because: format!(
                "{name} uses the update strategy {}; a partition needs RollingUpdate",
                strategy(now)
            ),
            hint: kubectl("patch statefulset")
                .name(name)
                .namespace(&set.metadata.namespace)
                .with("--type merge")
                .patch(&json!({"spec": {"updateStrategy": {"type": "RollingUpdate"}}}))
                .after("change the strategy first (this replaces outdated pods at once)"),
        });
    }
    let replicas = set.replicas();
    if replicas == 0 {
        return Err(Refusal {
            reason: "no-replicas",
            because: format!("{name} is scaled to 0: there is no pod to update"),
            hint: kubectl("scale statefulset")
                .name(name)
                .namespace(&set.metadata.namespace)
                .with("--replicas=N")
                .after("scale it up first"),
        });
    }
    match partitions.iter().find(|partition| **partition >= replicas) {
        Some(partition) => Err(Refusal {
            reason: "nothing-updated",
            because: format!(
                "no pod would be updated: partition {partition} is not below {}",
                words::count(replicas, "replica")
            ),
            hint: format!("the highest partition that updates a pod is {}", replicas - 1),
        }),
        None => Ok(()),
    }
}

fn strategy<'a>(now: &Snapshot<'a>) -> &'a str {
    &now.set.spec.update_strategy.r#type
}

/// Whether a canary without an annotation is in progress, as `kubectl patch` of the partition makes one: the update stops
/// at a partition. A rollout that reaches every pod, and one that was rolled back, are none.
pub(super) fn is_by_hand(now: &Snapshot<'_>) -> bool {
    let status = &now.set.status;
    now.set.partition() > 0 && status.current_revision != status.update_revision
}

/// Whether a canary is in progress: of this tool, or made by hand.
pub fn is_canary(now: &Snapshot<'_>) -> bool {
    now.mark().is_some() || is_by_hand(now)
}

/// Whether the canary that the annotation tells of is rolled back already, or on the way to it.
pub fn is_rolled_back(now: &Snapshot<'_>) -> bool {
    now.mark().flatten().is_some_and(|mark| has_stable_template(now, &mark))
}

/// Whether a replica below the partition is, or would come back, on the revision of before.
pub(super) fn holds_back(now: &Snapshot<'_>) -> bool {
    let (update, boundary) = (&now.set.status.update_revision, now.set.boundary());
    now.replicas().is_ok_and(|all| {
        let mut below = all.iter().filter(|replica| replica.ordinal < boundary);
        below.any(|replica| replica.pod.is_none_or(|pod| pod.revision() != update))
    })
}

/// Why there is nothing to promote or to abort, with the command that fits what is there instead.
///
/// # Errors
/// [`Unseen`] when pods could not be read.
pub(super) fn no_canary(now: &Snapshot<'_>) -> Result<Refusal, Unseen> {
    let name = &now.set.metadata.name;
    let hard = |replica: &Replica<'_>| {
        replica.pod.and_then(|pod| now.trouble(pod)).is_some_and(|trouble| trouble.why.needs_intervention())
    };
    let (what, hint) = if controller::trap(now)?.is_some() {
        ("a rollback is blocked by a pod of an old revision", command(now, "recover").to_string())
    } else if now.replicas()?.iter().any(hard) {
        ("a rollout is in progress, and one of its pods fails", command(now, "undo").to_string())
    } else {
        (
            "a rollout is in progress",
            format!(
                "{}\n{}",
                command(now, "watch").after("follow it"),
                command(now, "undo").after("or roll back")
            ),
        )
    };
    Ok(Refusal { reason: "no-canary", because: format!("no canary of {name} is in progress: {what}"), hint })
}

/// Whether the set is at rest, so that a canary is the only thing that goes on. `changes` says that the template is to
/// be changed: then no earlier change may be waiting.
pub(super) fn at_rest(now: &Snapshot<'_>, changes: bool, allow_unhealthy: bool) -> Result<(), Stop> {
    let set = now.set;
    let name = &set.metadata.name;
    let watch = command(now, "watch").after("follow it");
    let refuse = |reason: &'static str, because: String, hint: &str| {
        Err(Stop::Refused(Refusal { reason, because, hint: hint.to_owned() }))
    };
    let (replicas, condemned) = (now.replicas()?, now.condemned()?);
    let update = set.status.update_revision.as_str();
    if !set.is_observed() || update.is_empty() {
        let because = format!("the controller has not yet observed the newest spec of {name}");
        return refuse("rollout-in-flight", because, &watch);
    }
    let pods = || replicas.iter().filter_map(|replica| replica.pod);
    let mut live: BTreeSet<&str> = pods().map(crate::kinds::Pod::revision).collect();
    live.insert(update);
    if live.len() > 2 {
        let live: Vec<_> = live.iter().map(|revision| now.set.short_revision(revision)).collect();
        return refuse(
            "too-many-revisions",
            format!(
                "the pods of {name} are on {} revisions: {}",
                live.len(),
                words::list(&live.iter().collect::<Vec<_>>(), 5)
            ),
            &command(now, "doctor").after("bring it to one revision first; see the findings"),
        );
    }
    if !condemned.is_empty() {
        let names: Vec<_> = condemned.iter().map(|replica| replica.name.clone()).collect();
        let because =
            format!("scaling is in progress: {} to be deleted", are(&words::list(&names, 3), names.len()));
        return refuse("scaling-in-flight", because, &watch);
    }
    let absent: Vec<_> = replicas
        .iter()
        .filter(|replica| replica.pod.is_none_or(|pod| pod.metadata.is_terminating()))
        .map(|replica| replica.name.clone())
        .collect();
    if !absent.is_empty() {
        let updating = set.status.current_revision != update;
        let (reason, what) =
            if updating { ("rollout-in-flight", "a rollout") } else { ("scaling-in-flight", "scaling") };
        let because =
            format!("{what} is in progress: {} to be created", are(&words::list(&absent, 3), absent.len()));
        return refuse(reason, because, &watch);
    }
    let from = if changes { 0 } else { usize::try_from(set.partition()).unwrap_or(0) };
    let old: Vec<_> = replicas
        .iter()
        .skip(from)
        .filter(|replica| replica.pod.is_some_and(|pod| pod.revision() != update))
        .map(|replica| replica.name.clone())
        .collect();
    if !old.is_empty() {
        let held = set.partition() > 0;
        let is_back = now.mark().flatten().is_some_and(|mark| has_stable_template(now, &mark));
        let hint = if is_back {
            command(now, "abort").after("end the canary first, which is already being rolled back")
        } else if held {
            end_first(now)
        } else {
            watch
        };
        let because =
            format!("a rollout is in progress: {} to be updated", are(&words::list(&old, 3), old.len()));
        return refuse("rollout-in-flight", because, &hint);
    }
    let sick: Vec<_> = pods()
        .filter(|pod| !now.is_available(pod))
        .map(|pod| {
            let trouble = now.trouble(pod).map(|trouble| format!(" ({})", trouble.why.word()));
            format!("{}{}", pod.metadata.name, trouble.unwrap_or_default())
        })
        .collect();
    if !sick.is_empty() && !allow_unhealthy {
        let is = if sick.len() == 1 { "is" } else { "are" };
        return refuse(
            "pod-unhealthy",
            format!("{} {is} already not available", words::list(&sick, 3)),
            &format!("{}\nor start anyway with --allow-unhealthy", command(now, "doctor").after("see why")),
        );
    }
    Ok(())
}

fn are(names: &str, count: usize) -> String {
    format!("{names} {} yet", if count == 1 { "has" } else { "have" })
}

/// Says how little Ready means without a readiness probe.
pub(super) fn unprobed(now: &Snapshot<'_>) -> Option<String> {
    let spec = &now.set.spec.template.spec;
    let probed = !spec.readiness_gates.is_empty()
        || spec.containers.iter().any(|container| container.readiness_probe.is_some());
    (!probed).then(|| {
        "no container has a readiness probe: a pod counts as Ready as soon as its containers run".to_owned()
    })
}
