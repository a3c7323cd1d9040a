//! A pod of an abandoned revision blocks an ordered set, which will never replace it by itself.

use jiff::SignedDuration;

use super::prelude::*;
use super::rollouts::trapped;
use crate::controller;
use crate::snapshot::{PodFailure, Trouble};

pub const RULE: Rule = Rule {
    code: "STS301",
    name: "rollback-trap",
    severity: Severity::Error,
    stuck_from: Some(Severity::Warning),
    page: include_str!("../../docs/rules/rollback-trap.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let Some((trap, pod, trouble)) = trapped(snapshot)? else { return Ok(Vec::new()) };
    let set = snapshot.set;
    let name = &pod.metadata.name;
    let state = match snapshot.since(trouble.since) {
        Some(since) => format!("{} for {}", is_in(&trouble), words::age(since)),
        None => is_in(&trouble),
    };
    let story = if trap.has == set.status.current_revision {
        format!(
            "it runs the old revision {} and {state}; the update to {} would replace it",
            trap.has, trap.would_get
        )
    } else {
        format!(
            "it runs the old revision {} and {state}; the template is now at {}",
            trap.has, trap.would_get
        )
    };
    let waits = if set.is_parallel() {
        "but this Kubernetes version counts the broken pod against maxUnavailable (kubernetes/kubernetes#137409)"
    } else {
        "but an OrderedReady StatefulSet waits for this pod before it replaces it (kubernetes/kubernetes#67250)"
    };
    // See `rolling_update_nil`.
    let comes_back =
        set.rolling_update().is_none() && controller::would_get(snapshot, trap.ordinal) == trap.has;
    let waits = if comes_back {
        format!(
            "{waits}; spec.updateStrategy.rollingUpdate is not set, so a pod that is deleted by hand is recreated on {}: \
             recover first sets its partition to 0",
            trap.has
        )
    } else {
        waits.to_owned()
    };
    let finding = if heals_itself(snapshot, pod, &trouble) {
        RULE.about(Kind::Pod, name, format!("{name} blocks the rollout"))
            .because(format!("{story}, {waits}; it may recover at one of its restarts, within 5 minutes"))
            .only(Severity::Warning)
    } else if matches!(trouble.why, PodFailure::Unready { .. }) {
        RULE.about(Kind::Pod, name, format!("{name} blocks the rollout as long as it is not ready"))
            .because(format!("{story}, {waits}"))
    } else {
        RULE.about(Kind::Pod, name, format!("{name} blocks the rollout and will not recover on its own"))
            .because(format!("{story}, {waits}"))
    };
    let recover = sts("recover").name(&set.metadata.name).namespace(home(snapshot));
    Ok(vec![finding.remedy(recover).absorbs(Kind::Pod, name)])
}

/// The state as the end of a sentence.
fn is_in(trouble: &Trouble<'_>) -> String {
    match &trouble.why {
        PodFailure::Unready { .. } => "has not been ready".to_owned(),
        PodFailure::Unschedulable { .. } => "cannot be scheduled".to_owned(),
        PodFailure::Mount { .. } => "cannot mount its volumes, and has not been ready".to_owned(),
        PodFailure::Killed(kills) => {
            format!("has been restarted repeatedly by its {} probe", kills.killer.word())
        }
        why if why.is_out_of_memory() => "has been running out of memory (OOMKilled)".to_owned(),
        why => format!("has been in {}", why.word()),
    }
}

/// A run of a container that is shorter is over before anything has seen it: the kubelet looks at its containers every
/// second (`pleg/generic.go`), and takes as long to write down what it saw. The controller never gets to see the pod ready.
const SEEN: SignedDuration = SignedDuration::from_secs(2);

/// A pod that is ready for a moment at each restart lets the controller get past it, if it looks in that moment: no
/// readiness probe on the container that crashes, and minReadySeconds 0. Seen on 1.36.3 and on a real kubelet of 1.37.1:
/// with runs of 5 s after 20 s, with runs of 1 s not at all, and what cannot be started is never ready.
fn heals_itself(snapshot: &Snapshot<'_>, pod: &Pod, trouble: &Trouble<'_>) -> bool {
    let last = match &trouble.why {
        PodFailure::CrashLoop { init: false, last, .. } => *last,
        PodFailure::Killed(kills) => Some(kills.last),
        _ => return false,
    };
    let probed = pod.spec.containers.iter().any(|container| {
        Some(container.name.as_str()) == trouble.container
            && (container.readiness_probe.is_some() || container.startup_probe.is_some())
    });
    let alone = pod.status.container_statuses.iter().filter(|status| !status.ready).count() <= 1;
    let seen = last.and_then(Terminated::ran).is_some_and(|ran| ran >= SEEN);
    seen && snapshot.set.spec.min_ready_seconds == 0
        && !probed
        && alone
        && pod.spec.readiness_gates.is_empty()
}
