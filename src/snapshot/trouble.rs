//! What keeps one pod from becoming available, read off its status and the kubelet's and scheduler's events.

use jiff::{SignedDuration, Timestamp};

use crate::kinds::{Condition, Container, ContainerStatus, Event, Pod, ReadinessGate, Terminated};

/// What keeps a pod from being available.
#[derive(Clone, Debug)]
pub struct Trouble<'a> {
    /// The container in question, where it is one container.
    pub container: Option<&'a str>,
    /// Why.
    pub why: Why<'a>,
    /// Since when the pod has not been ready.
    pub since: Option<Timestamp>,
}

/// Why a pod is not available. Only [`Why::is_hard`] ones are evidence that it will not get better by waiting.
#[derive(Clone, Debug)]
pub enum Why<'a> {
    /// The image cannot be had.
    ImagePull {
        /// The image.
        image: &'a str,
        /// The kubelet's reason, such as `ImagePullBackOff`.
        reason: &'a str,
        /// What the registry or runtime said, where an event or status tells.
        message: Option<&'a str>,
    },
    /// It starts and ends again and again.
    CrashLoop {
        /// How it ended last.
        last: Option<&'a Terminated>,
        /// How often it was started again.
        restarts: i32,
        /// Whether it is an init container, before which nothing else starts.
        init: bool,
    },
    /// Its container cannot be made, mostly for want of a `ConfigMap` or `Secret`.
    Config {
        /// The kubelet's reason, such as `CreateContainerConfigError`.
        reason: &'a str,
        /// The kubelet's message.
        message: &'a str,
    },
    /// No node can take it.
    Unschedulable {
        /// The scheduler's message.
        message: &'a str,
    },
    /// A scheduling gate holds it.
    Gated,
    /// A volume cannot be attached or mounted.
    Mount {
        /// The kubelet's or attach controller's message.
        message: &'a str,
    },
    /// Its sandbox, which holds its network, cannot be made.
    Sandbox {
        /// The kubelet's message.
        message: &'a str,
    },
    /// It runs and has not become ready in the time its own probes give it.
    Unready {
        /// Seconds its probes allow.
        allowed: i64,
        /// What the last failed probe said.
        message: Option<&'a str>,
    },
    /// Nothing is wrong yet.
    Starting,
}

impl Why<'_> {
    /// Whether this is evidence that the pod will not become available by itself.
    pub fn is_hard(&self) -> bool {
        !matches!(self, Why::Starting | Why::Gated)
    }

    /// In a word, the kubelet's own where it has one.
    pub fn word(&self) -> &str {
        match self {
            Why::ImagePull { reason, .. } | Why::Config { reason, .. } => reason,
            Why::CrashLoop { last: Some(last), .. } if last.reason == "OOMKilled" => "OOMKilled",
            Why::CrashLoop { .. } => "CrashLoopBackOff",
            Why::Unschedulable { .. } => "Unschedulable",
            Why::Gated => "SchedulingGated",
            Why::Mount { .. } | Why::Sandbox { .. } => "ContainerCreating",
            Why::Unready { .. } => "not ready",
            Why::Starting => "starting",
        }
    }
}

/// After a loop of this many restarts a container that runs right now is not trusted yet.
const LOOP: i32 = 3;
/// The kubelet forgets a container's back-off after it ran this long (twice `MaxContainerBackOff`): what happened
/// before that is history, not a loop.
const STEADY: SignedDuration = SignedDuration::from_mins(10);
/// How long a volume may take to be provided before a pod's waiting for it is remarkable.
const PROVISION: SignedDuration = SignedDuration::from_mins(2);
/// How long a mount may fail before it is more than a hiccup: the kubelet and the attach controller try again with a
/// back-off of up to 2 minutes, and detaching from the last node takes its time.
const MOUNT: SignedDuration = SignedDuration::from_mins(2);
/// A probe is late only when it is over its own allowance by this much: probes run on the kubelet's clock, in periods.
const SLACK: SignedDuration = SignedDuration::from_secs(60);
/// How long a pod may look for a scheduler. Schedulers answer within seconds, if any of that name runs.
const SCHEDULER: SignedDuration = SignedDuration::from_secs(60);

/// What keeps `pod` from being available at `now`; `None` when it is ready and has not just crashed. `claimed` says when
/// the youngest of its claims without a volume was made.
pub(super) fn of<'a>(
    pod: &'a Pod,
    events: &[&'a Event],
    claimed: Option<Timestamp>,
    now: Timestamp,
) -> Option<Trouble<'a>> {
    let since = match pod.condition("Ready") {
        Some(ready) if ready.status != "True" => ready.last_transition_time,
        _ => pod.metadata.creation_timestamp,
    };
    let trouble = |container: Option<&'a str>, why| Some(Trouble { container, why, since });
    if pod.is_finished() {
        return None;
    }
    let containers = |init: bool| {
        let statuses =
            if init { &pod.status.init_container_statuses } else { &pod.status.container_statuses };
        statuses.iter().map(move |status| (status, init && !pod.is_sidecar(&status.name)))
    };
    for (status, init) in containers(true).chain(containers(false)) {
        if let Some(why) = container_trouble(pod, status, init, events, now) {
            return trouble(Some(&status.name), why);
        }
    }
    if pod.is_ready() {
        return None;
    }
    if pod.spec.node_name.is_empty() && pod.status.phase != "Running" {
        return trouble(None, scheduling(pod, claimed, now));
    }
    if is_bare(pod) {
        if let Some(message) = mounting(pod, events, now) {
            return trouble(None, Why::Mount { message });
        }
        if let Some(message) = networking(pod, events, now) {
            return trouble(None, Why::Sandbox { message });
        }
    }
    for container in pod.spec.init_containers.iter().chain(&pod.spec.containers) {
        let status = pod.container_statuses().find(|status| status.name == container.name);
        if let Some(status) = status.filter(|status| !status.ready)
            && let Some(started) = status.state.running.as_ref().and_then(|running| running.started_at)
            && let Some(allowed) = overdue(container, status, started.max(since.unwrap_or(started)), now)
        {
            let message = last_message(events, Some(&container.name), |event| event.reason == "Unhealthy");
            return trouble(Some(&container.name), Why::Unready { allowed, message });
        }
    }
    if let Some(since) = gates_closed(pod).and_then(|ready| ready.last_transition_time)
        && now.duration_since(since) > SLACK
    {
        return trouble(None, Why::Unready { allowed: 0, message: None });
    }
    trouble(None, Why::Starting)
}

fn container_trouble<'a>(
    pod: &'a Pod,
    status: &'a ContainerStatus,
    init: bool,
    events: &[&'a Event],
    now: Timestamp,
) -> Option<Why<'a>> {
    let last = status.state.terminated.as_ref().or(status.last_state.terminated.as_ref());
    if let Some(waiting) = &status.state.waiting {
        let message = Some(waiting.message.as_str()).filter(|message| !message.is_empty());
        return match waiting.reason.as_str() {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed" => {
                let pulled = last_message(events, Some(&status.name), |event| {
                    event.reason == "Failed" && event.message.starts_with("Failed to pull image")
                });
                let image = image_of(pod, status);
                Some(Why::ImagePull { image, reason: &waiting.reason, message: pulled.or(message) })
            }
            "CrashLoopBackOff" => Some(Why::CrashLoop { last, restarts: status.restart_count, init }),
            "CreateContainerConfigError"
            | "CreateContainerError"
            | "RunContainerError"
            | "PreCreateHookError"
            | "PreStartHookError"
            | "PostStartHookError" => {
                // The kubelet has not got its copy of a ConfigMap or Secret yet, and asks again.
                let syncing = message.is_some_and(|message| message.contains("failed to sync"));
                (!syncing).then_some(Why::Config { reason: &waiting.reason, message: message.unwrap_or("") })
            }
            _ => None,
        };
    }
    let last = last?;
    let looping = Why::CrashLoop { last: Some(last), restarts: status.restart_count, init };
    let previous = last.started_at.zip(last.finished_at).map(|(start, end)| end.duration_since(start));
    if previous.is_some_and(|previous| previous >= STEADY) {
        return None;
    }
    if status.state.terminated.is_some() {
        // Ended, and not yet counted as a loop: the kubelet starts it again at once the first time.
        let again = status.restart_count > 0 || last.reason == "OOMKilled";
        return (last.exit_code != 0 && again).then_some(looping);
    }
    let started = status.state.running.as_ref()?.started_at?;
    let born = pod.status.start_time.or(pod.metadata.creation_timestamp)?;
    // A loop is told from start-up trouble that is over by its rhythm: it has not yet run for clearly longer than it
    // took to fail the last time.
    let usual = previous.unwrap_or_else(|| now.duration_since(born) / status.restart_count.max(1));
    let run = now.duration_since(started);
    let fails = last.exit_code != 0 || !status.ready;
    (status.restart_count >= LOOP && fails && run < STEADY && run < usual * 2 + SLACK / 2).then_some(looping)
}

fn scheduling(pod: &Pod, claimed: Option<Timestamp>, now: Timestamp) -> Why<'_> {
    let younger = |than: SignedDuration, then: Option<Timestamp>| {
        then.is_some_and(|then| now.duration_since(then) < than)
    };
    let created = pod.metadata.creation_timestamp;
    let Some(scheduled) = pod.condition("PodScheduled") else {
        return match created {
            Some(_) if !younger(SCHEDULER, created) => Why::Unschedulable { message: "" },
            _ => Why::Starting,
        };
    };
    let message = scheduled.message.as_str();
    let coming = (message.contains("unbound immediate PersistentVolumeClaims")
        && younger(PROVISION, claimed))
        || (message.contains("persistentvolumeclaim \"")
            && message.contains("not found")
            && younger(PROVISION, created));
    match scheduled.reason.as_str() {
        "SchedulingGated" => Why::Gated,
        // A node was chosen for it, and its victims are being moved away.
        "Unschedulable" if pod.status.nominated_node_name.is_empty() && !coming => {
            Why::Unschedulable { message }
        }
        "SchedulerError" if !younger(SCHEDULER, scheduled.last_transition_time) => {
            Why::Unschedulable { message }
        }
        _ => Why::Starting,
    }
}

/// Whether the pod has neither its sandbox nor a container yet. Events outlive what they tell of: once the sandbox
/// stands, all volumes are mounted.
fn is_bare(pod: &Pod) -> bool {
    let begun =
        |status: &ContainerStatus| status.state.running.is_some() || status.state.terminated.is_some();
    let mut statuses = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    let sandbox = pod.condition("PodReadyToStartContainers").is_some_and(|made| made.status == "True");
    pod.status.phase == "Pending" && !sandbox && !statuses.any(begun)
}

/// How long the kubelet has had the pod.
fn waited(pod: &Pod, now: Timestamp) -> Option<SignedDuration> {
    let scheduled = pod.condition("PodScheduled").and_then(|scheduled| scheduled.last_transition_time);
    scheduled.or(pod.metadata.creation_timestamp).map(|since| now.duration_since(since))
}

/// The message of a mount that fails.
fn mounting<'a>(pod: &Pod, events: &[&'a Event], now: Timestamp) -> Option<&'a str> {
    let failed = |event: &Event| {
        matches!(event.reason.as_str(), "FailedMount" | "FailedAttachVolume" | "FailedMapVolume")
            && !event.message.contains("failed to sync")
    };
    // The sum the kubelet draws every 2 minutes says less than the failure of one volume.
    let message = last_message(events, None, |event| {
        failed(event) && !event.message.starts_with("Unable to attach or mount volumes")
    })
    .or_else(|| last_message(events, None, failed))?;
    // An object that is not there is a fault at once, apart from the one every new namespace gets; anything else may
    // pass, as a driver does that has yet to register on a new node.
    let object = message.contains("configmap") || message.contains("secret");
    let absent = message.contains("\" not found") || message.contains("non-existent");
    let missing = object && absent && !message.contains("kube-root-ca.crt");
    (missing || waited(pod, now).is_none_or(|waited| waited > MOUNT)).then_some(message)
}

/// The message of a sandbox that cannot be made for longer than a network takes to come up on a new node.
fn networking<'a>(pod: &Pod, events: &[&'a Event], now: Timestamp) -> Option<&'a str> {
    let message = last_message(events, None, |event| event.reason == "FailedCreatePodSandBox")?;
    waited(pod, now).is_none_or(|waited| waited > MOUNT).then_some(message)
}

/// The condition that says since when only the pod's readiness gates keep it from being ready.
fn gates_closed(pod: &Pod) -> Option<&Condition> {
    let closed =
        |gate: &ReadinessGate| pod.condition(&gate.condition_type).is_none_or(|gate| gate.status != "True");
    pod.spec
        .readiness_gates
        .iter()
        .any(closed)
        .then(|| pod.condition("ContainersReady"))?
        .filter(|ready| ready.status == "True")
}

/// The seconds a container's probes allow it to run without being ready.
fn allowed(container: &Container, status: &ContainerStatus) -> i64 {
    let startup = container.startup_probe.as_ref().filter(|_| status.started != Some(true));
    startup.map_or(0, crate::kinds::Probe::allowance)
        + container.readiness_probe.as_ref().map_or(0, crate::kinds::Probe::allowance)
}

/// When the time that the pod's probes give it is over, if it runs and is not ready: the last of its containers counts.
pub(super) fn late_since(pod: &Pod) -> Option<Timestamp> {
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
            (!status.ready)
                .then(|| from.saturating_add(SignedDuration::from_secs(allowed(container, status))).ok())
                .flatten()
        })
        .max()
}

/// The seconds the container's probes allow after `from`, if they are over.
fn overdue(container: &Container, status: &ContainerStatus, from: Timestamp, now: Timestamp) -> Option<i64> {
    let allowed = allowed(container, status);
    let allowance = SignedDuration::from_secs(allowed);
    (now.duration_since(from) > allowance + allowance.max(SLACK)).then_some(allowed)
}

fn image_of<'a>(pod: &'a Pod, status: &'a ContainerStatus) -> &'a str {
    let mut all = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    all.find(|container| container.name == status.name).map_or(&status.image, |container| &container.image)
}

/// The newest message of such events, of one container where it is named.
fn last_message<'a>(
    events: &[&'a Event],
    container: Option<&str>,
    wanted: impl Fn(&Event) -> bool,
) -> Option<&'a str> {
    let named = container.map(|name| format!("{{{name}}}"));
    events
        .iter()
        .rev()
        .find(|event| {
            let path = &event.involved_object.field_path;
            wanted(event)
                && named.as_ref().is_none_or(|named| path.is_empty() || path.ends_with(named.as_str()))
        })
        .map(|event| event.message.as_str())
}

#[cfg(test)]
mod tests;
