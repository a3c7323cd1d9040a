//! What a pod waits for before its containers run: a node, its volumes, its sandbox, and the kubelet.

use jiff::{SignedDuration, Timestamp};

use super::{PodFailure, Unbound, last_message};
use crate::kinds::{ContainerStatus, Event, Pod};
use crate::messages::{kubelet, scheduler};

/// How long a volume may take to be provided before a pod's waiting for it is remarkable; its claim is spoken of before.
const PROVISION: SignedDuration = SignedDuration::from_mins(6);
/// How long a claim may not be there yet that the pod names: the controller makes it before the pod.
const CREATION: SignedDuration = SignedDuration::from_mins(2);
/// How long the scheduler itself waits for the volumes it has asked for on a node (`bindTimeoutSeconds` of its plugin
/// `VolumeBinding`). Until then the pod says nothing.
const BIND: SignedDuration = SignedDuration::from_mins(10);
/// How long a mount may fail before it is more than a hiccup: the kubelet and the attach controller try again with a
/// back-off of up to 2 minutes, and detaching from the last node takes its time.
const MOUNT: SignedDuration = SignedDuration::from_mins(2);
/// How long a pod may look for a scheduler. Schedulers answer within seconds, if any of that name runs.
const SCHEDULER: SignedDuration = SignedDuration::from_secs(60);
/// A failure that is still going on is seen again within this time: the kubelet tries again every 5 minutes at least, and
/// then waits up to 5 minutes until it may write an event again (`client-go/tools/record/events_cache.go`).
const FRESH: SignedDuration = SignedDuration::from_mins(11);
/// How long a container may be about to start without a word. Images of many gigabytes take a quarter of an hour.
const SILENT: SignedDuration = SignedDuration::from_mins(30);
/// How long a kubelet may take to say that it has a pod. It does so in seconds, before it pulls or mounts anything.
const UNCLAIMED: SignedDuration = SignedDuration::from_mins(10);

/// Reasons of events with which the cluster autoscaler and karpenter say of a pod that a node is being added for it.
pub const NOMINATIONS: [&str; 2] = ["TriggeredScaleUp", "Nominated"];
/// The reason of events with which the cluster autoscaler says of a pod that no node of its groups would take it.
pub const NO_SCALE_UP: &str = "NotTriggerScaleUp";
/// How long a node may take to come (`--max-node-provision-time` of the cluster autoscaler).
const NODE: SignedDuration = SignedDuration::from_mins(15);

/// Whether an autoscaler is adding a node for the pod.
fn is_nominated(events: &[&Event], now: Timestamp) -> bool {
    events.iter().any(|event| {
        NOMINATIONS.contains(&event.reason.as_str())
            && event.last_seen().is_some_and(|seen| now.duration_since(seen) < NODE)
    })
}

/// What a pod without a node waits for.
pub(super) fn scheduling<'a>(
    pod: &'a Pod,
    events: &[&Event],
    unbound: Option<Unbound>,
    now: Timestamp,
) -> PodFailure<'a> {
    let younger = |than: SignedDuration, then: Option<Timestamp>| {
        then.is_some_and(|then| now.duration_since(then) < than)
    };
    let created = pod.metadata.creation_timestamp;
    let Some(scheduled) = pod.condition("PodScheduled") else {
        // It has a node already, which is written down once the volumes are there.
        let chosen =
            !pod.status.nominated_node_name.is_empty() || unbound.is_some_and(|claim| claim.has_node);
        let wait = if chosen { BIND.saturating_add(SCHEDULER) } else { SCHEDULER };
        return match created {
            Some(_) if !younger(wait, created) => PodFailure::Unschedulable { message: "" },
            _ => PodFailure::Starting,
        };
    };
    let claimed = unbound.and_then(|claim| claim.made);
    let message = scheduled.message.as_str();
    let coming = (scheduler::waits_for_binding(message) && younger(PROVISION, claimed))
        || (scheduler::lacks_claim(message) && younger(CREATION, created));
    match scheduled.reason.as_str() {
        "SchedulingGated" => PodFailure::Gated,
        "Unschedulable" if is_nominated(events, now) => PodFailure::NodeComing { message },
        // A node was chosen for it, and its victims are being moved away.
        "Unschedulable" if pod.status.nominated_node_name.is_empty() && !coming => {
            PodFailure::Unschedulable { message }
        }
        "SchedulerError" if !younger(SCHEDULER, scheduled.last_transition_time) => {
            PodFailure::Unschedulable { message }
        }
        _ => PodFailure::Starting,
    }
}

/// What keeps the kubelet from making the pod's sandbox, where nothing of the pod runs: volumes and network come first.
/// Events outlive what they tell of: once the sandbox stands, all that is over.
pub(super) fn preparing<'a>(pod: &Pod, events: &[&'a Event], now: Timestamp) -> Option<PodFailure<'a>> {
    let mut statuses = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    let sandbox = pod.condition("PodReadyToStartContainers").is_some_and(|made| made.status == "True");
    if sandbox || statuses.clone().any(|status| status.state.running.is_some()) {
        return None;
    }
    let begun = statuses.any(|status| status.last_end().is_some());
    let events: Vec<&Event> = if pod.status.phase == "Pending" && !begun {
        events.to_vec()
    } else {
        // It has run before, as after the node was started anew (the kubelet's getPhase says Running then).
        let unready = pod.condition("Ready").and_then(|ready| ready.last_transition_time)?;
        // A container that ended after it had all that it needs by then.
        let ends = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
        let ended = ends.filter_map(|status| status.last_end()?.finished_at).max();
        // Where the status says that there is no sandbox, the newest event says why, however old it is.
        let none = pod.condition("PodReadyToStartContainers").is_some();
        let counts = |event: &&&Event| {
            event.last_seen().is_some_and(|seen| {
                seen > unready
                    && ended.is_none_or(|ended| seen > ended)
                    && (none || now.duration_since(seen) < FRESH)
            })
        };
        events.iter().filter(counts).copied().collect()
    };
    if let Some(message) = mounting(pod, &events, now) {
        return Some(PodFailure::Mount { message });
    }
    networking(pod, &events, now).map(|message| PodFailure::Sandbox { message })
}

/// How long the kubelet has had the pod to do.
fn waited(pod: &Pod, now: Timestamp) -> Option<SignedDuration> {
    let since = |condition: &str| pod.condition(condition).and_then(|it| it.last_transition_time);
    let scheduled = since("PodScheduled").or(pod.metadata.creation_timestamp);
    scheduled.max(since("Ready")).map(|since| now.duration_since(since))
}

/// The message of a mount that fails.
fn mounting<'a>(pod: &Pod, events: &[&'a Event], now: Timestamp) -> Option<&'a str> {
    let failed = kubelet::is_mount_failure;
    let message = last_message(events, None, |event| failed(event) && !kubelet::is_sum(event.text()))
        .or_else(|| last_message(events, None, failed))?;
    (kubelet::is_absence(message) || waited(pod, now).is_none_or(|waited| waited > MOUNT)).then_some(message)
}

/// The message of a sandbox that cannot be made for longer than a network takes to come up on a new node.
fn networking<'a>(pod: &Pod, events: &[&'a Event], now: Timestamp) -> Option<&'a str> {
    let message = last_message(events, None, |event| event.reason == "FailedCreatePodSandBox")?;
    waited(pod, now).is_none_or(|waited| waited > MOUNT).then_some(message)
}

/// What has not begun long after it should have, without anybody saying why.
pub(super) enum NotBegun<'a> {
    /// The kubelet has not said anything of the pod.
    Pod,
    /// This container does not start.
    Container(&'a str),
}

/// What should have begun long ago, and nobody says why it has not.
pub(super) fn silent(pod: &Pod, now: Timestamp) -> Option<NotBegun<'_>> {
    let over = |since: Option<Timestamp>, limit: SignedDuration| {
        since.is_some_and(|since| now.duration_since(since) > limit)
    };
    let since = |condition: &str| pod.condition(condition).and_then(|it| it.last_transition_time);
    let begin = since("PodScheduled").or(pod.metadata.creation_timestamp);
    let (inits, others) = (&pod.status.init_container_statuses, &pod.status.container_statuses);
    if inits.is_empty() && others.is_empty() {
        return over(begin, UNCLAIMED).then_some(NotBegun::Pod);
    }
    // It is at work; a sidecar is as long as its startup probe has not passed, which is counted by its own time.
    let works = |status: &ContainerStatus| !pod.is_sidecar(&status.name) || status.started != Some(true);
    if inits.iter().any(|status| status.state.running.is_some() && works(status)) {
        return None;
    }
    let ends = inits.iter().chain(others).filter_map(|status| status.last_end()?.finished_at).max();
    let begin = begin.max(since("Ready")).max(ends);
    // What comes first holds the rest up.
    let held = inits.iter().find(|status| is_idle(status) && !(status.ready && is_over(status)));
    let held = held.or_else(|| others.iter().find(|status| is_idle(status)))?;
    over(begin, SILENT).then_some(NotBegun::Container(&held.name))
}

/// Neither running nor waiting for anything that has a name of its own.
fn is_idle(status: &ContainerStatus) -> bool {
    let waiting = status.state.waiting.as_ref().map(|waiting| waiting.reason.as_str());
    status.state.running.is_none()
        && matches!(waiting, None | Some("" | "ContainerCreating" | "PodInitializing"))
}

fn is_over(status: &ContainerStatus) -> bool {
    status.state.terminated.as_ref().is_some_and(|end| end.exit_code == 0)
}
