//! The time that a pod's probes give it.

use jiff::{SignedDuration, Timestamp};

use super::last;
use crate::kinds::{Condition, Container, ContainerStatus, Event, Pod, Probe, ReadinessGate};
use crate::messages::kubelet;
use crate::time::later;

/// A probe is late only when it is over its own allowance by this much: probes run on the kubelet's clock, in periods.
pub(super) const SLACK: SignedDuration = SignedDuration::from_secs(60);
/// An event that is repeated faster than this may be dropped (`EventSourceObjectSpamFilter`: 25 at once, then one in five
/// minutes).
const SPARSE: SignedDuration = SignedDuration::from_mins(5);

/// The condition that says since when only the pod's readiness gates keep it from being ready.
pub(super) fn gates_closed(pod: &Pod) -> Option<&Condition> {
    let closed =
        |gate: &ReadinessGate| pod.condition(&gate.condition_type).is_none_or(|gate| gate.status != "True");
    pod.spec
        .readiness_gates
        .iter()
        .any(closed)
        .then(|| pod.condition("ContainersReady"))?
        .filter(|ready| ready.status == "True")
}

/// How long a readiness gate may stay closed. Load balancers take minutes to find a new target healthy, and say so in the
/// condition (aws-load-balancer-controller: `Elb.RegistrationInProgress`, `Elb.InitialHealthChecking`).
pub(super) fn gate_slack(pod: &Pod) -> SignedDuration {
    let proceeds = |gate: &ReadinessGate| {
        pod.condition(&gate.condition_type).is_some_and(|gate| {
            gate.status != "True"
                && ["InProgress", "Initial", "Provisioning"].iter().any(|word| gate.reason.contains(word))
        })
    };
    if pod.spec.readiness_gates.iter().any(proceeds) { SPARSE } else { SLACK }
}

fn startup(container: &Container) -> i64 {
    container.startup_probe.as_deref().map_or(0, Probe::allowance)
}

fn readiness(container: &Container) -> i64 {
    container.readiness_probe.as_deref().map_or(0, Probe::allowance)
}

/// The seconds that both probes allow, one after the other.
fn probes(container: &Container) -> i64 {
    startup(container).saturating_add(readiness(container))
}

/// The seconds from the start of a run until it has to be ready. Without a startup probe, whoever lets the liveness probe
/// begin late says that the start may take so long.
fn start(container: &Container) -> i64 {
    let startup = startup(container);
    let late = container.liveness_probe.as_deref().filter(|_| startup == 0);
    startup
        .saturating_add(readiness(container))
        .max(late.map_or(0, |probe| i64::from(probe.initial_delay_seconds)))
}

/// When the time that the pod's probes give it is over, if it runs and is not ready: the last of its containers counts.
pub(in crate::snapshot) fn overdue_since(pod: &Pod) -> Option<Timestamp> {
    if pod.is_ready() || pod.is_finished() {
        return None;
    }
    let unready = pod.condition("Ready").and_then(|ready| ready.last_transition_time);
    pod.spec
        .containers
        .iter()
        .filter_map(|container| {
            let status = pod.status.container_statuses.iter().find(|status| status.name == container.name)?;
            let started = status.state.running.as_ref()?.started_at?;
            let from = started.max(unready.unwrap_or(started));
            let allowed = if from == started { start(container) } else { probes(container) };
            (!status.ready).then(|| later(from, SignedDuration::from_secs(allowed)))
        })
        .max()
}

/// The seconds the container's probes allow, if they are over. It runs since `started`, and the pod has not been ready
/// since `unready`.
pub(super) fn overdue(
    container: &Container,
    status: &ContainerStatus,
    events: &[&Event],
    (started, unready): (Timestamp, Timestamp),
    now: Timestamp,
) -> Option<i64> {
    let from = started.max(unready);
    let (from, allowed) = if status.started == Some(true) && from == started {
        begun(container, events, started)
    } else if status.started == Some(true) {
        (from, readiness(container))
    } else {
        (from, start(container))
    };
    let allowance = SignedDuration::from_secs(allowed);
    (now.duration_since(from) > allowance.saturating_add(allowance.max(SLACK))).then_some(allowed)
}

type Test = fn(kubelet::Probe) -> bool;

/// What the probe said last that keeps the container from being ready: the startup probe until it has passed, and readiness
/// after that; else any other one.
pub(super) fn said<'a>(
    container: &Container,
    status: &ContainerStatus,
    events: &[&'a Event],
) -> Option<&'a str> {
    let begun = status.started == Some(true);
    let unhealthy = |is_it: Test| {
        last(events, Some(&container.name), move |event| kubelet::probe(event).is_some_and(is_it))
    };
    let (own, other): (Test, Test) = if begun {
        (|probe| probe == kubelet::Probe::Readiness, |probe| probe != kubelet::Probe::Startup)
    } else {
        (|probe| probe == kubelet::Probe::Startup, |_| true)
    };
    unhealthy(own).or_else(|| unhealthy(other)).map(Event::text)
}

/// From when on readiness counts, and the seconds allowed from then on. The status does not say when the startup probe
/// passed, but it failed before that, and readiness is probed only after it.
fn begun(container: &Container, events: &[&Event], started: Timestamp) -> (Timestamp, i64) {
    if container.startup_probe.is_none() {
        return (started, start(container));
    }
    let failed =
        |probe| last(events, Some(&container.name), move |event| kubelet::probe(event) == Some(probe));
    let probed = failed(kubelet::Probe::Readiness).and_then(|event| event.first_timestamp);
    if let Some(probed) = probed.filter(|first| *first >= started) {
        return (probed, readiness(container));
    }
    match failed(kubelet::Probe::Startup).and_then(Event::last_seen).filter(|last| *last >= started) {
        Some(last) => (later(last, SPARSE), readiness(container)),
        None => (started, probes(container)),
    }
}
