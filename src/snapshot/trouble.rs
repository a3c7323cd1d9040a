//! What keeps one pod from becoming available, read off its status and the kubelet's and scheduler's events.

use jiff::{SignedDuration, Timestamp};

use crate::kinds::{ContainerStatus, Event, OUT_OF_MEMORY, Pod, Terminated};
use crate::messages::kubelet;

mod killed;
mod probes;
mod waiting;

pub use killed::{KILLING, Killer, Kills, killer, may_be_killed};
use probes::SLACK;
pub(super) use probes::overdue_since;
use waiting::NotBegun;
pub use waiting::{NO_SCALE_UP, NOMINATIONS};

/// What keeps a pod from being available.
#[derive(Clone, Debug)]
pub struct Trouble<'a> {
    /// The container in question, where it is one container.
    pub container: Option<&'a str>,
    /// Why.
    pub why: PodFailure<'a>,
    /// Since when the pod has not been ready.
    pub since: Option<Timestamp>,
}

/// Why a pod is not available. Only [`PodFailure::needs_intervention`] ones are evidence that it will not get better by waiting.
#[derive(Clone, Debug)]
pub enum PodFailure<'a> {
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
        /// What the runtime said, where the status tells: it could not start it.
        said: Option<&'a str>,
    },
    /// Its kubelet kills it again and again, because a probe fails.
    Killed(Kills<'a>),
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
    /// No node can take it, and an autoscaler is adding one.
    NodeComing {
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
    /// It should have started long ago, and nobody says why it has not. Where no container is named, its kubelet has
    /// not said anything of the pod at all.
    Silent,
    /// Nothing is wrong yet.
    Starting,
}

impl PodFailure<'_> {
    /// Whether this is evidence that the pod will not become available by itself.
    pub fn needs_intervention(&self) -> bool {
        !matches!(self, PodFailure::Starting | PodFailure::Gated | PodFailure::NodeComing { .. })
    }

    /// Whether its container ended last because it had no memory left.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, PodFailure::CrashLoop { last: Some(last), .. } if last.is_out_of_memory())
    }

    /// In a word, the kubelet's own where it has one.
    pub fn word(&self) -> &str {
        match self {
            PodFailure::ImagePull { reason, .. } | PodFailure::Config { reason, .. } => reason,
            PodFailure::CrashLoop { .. } if self.is_out_of_memory() => OUT_OF_MEMORY,
            PodFailure::CrashLoop { .. } => "CrashLoopBackOff",
            PodFailure::Killed(Kills { killer: Killer::Liveness, .. }) => "killed by its liveness probe",
            PodFailure::Killed(Kills { killer: Killer::Startup, .. }) => "killed by its startup probe",
            PodFailure::Unschedulable { .. } | PodFailure::NodeComing { .. } => "Unschedulable",
            PodFailure::Gated => "SchedulingGated",
            PodFailure::Mount { .. } | PodFailure::Sandbox { .. } | PodFailure::Silent => "ContainerCreating",
            PodFailure::Unready { .. } => "not ready",
            PodFailure::Starting => "starting",
        }
    }
}

/// How long a container may wait for a reason not known here before it counts as a failure.
const NAMED: SignedDuration = SignedDuration::from_mins(10);
/// After a loop of this many restarts a container that runs right now is not trusted yet: before its second one it was in
/// CrashLoopBackOff.
const LOOP: i32 = 2;
/// The kubelet forgets a container's back-off after it ran this long (twice `MaxContainerBackOff`): what happened
/// before that is history, not a loop.
const STEADY: SignedDuration = SignedDuration::from_mins(10);

/// A pod's claim without a volume, the youngest of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unbound {
    /// When it was made.
    pub made: Option<Timestamp>,
    /// Whether the scheduler has chosen a node, for which the volume is being made.
    pub has_node: bool,
}

/// What keeps `pod` from being available at `now`; `None` when it is ready and has not just crashed.
pub(super) fn of<'a>(
    pod: &'a Pod,
    events: &[&'a Event],
    unbound: Option<Unbound>,
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
    let begun = pod.container_statuses().any(|status| status.last_end().is_some());
    if begun
        && !pod.is_ready()
        && let Some(why) = waiting::preparing(pod, events, now)
    {
        // How its containers ended says nothing any more, if the node was started anew.
        return trouble(None, why);
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
        return trouble(None, waiting::scheduling(pod, events, unbound, now));
    }
    if let Some(why) = waiting::preparing(pod, events, now) {
        return trouble(None, why);
    }
    for container in pod.spec.init_containers.iter().chain(&pod.spec.containers) {
        let status = pod.container_statuses().find(|status| status.name == container.name);
        if let Some(status) = status.filter(|status| !status.ready)
            && let Some(started) = status.state.running.as_ref().and_then(|running| running.started_at)
            && let Some(allowed) =
                probes::overdue(container, status, events, (started, since.unwrap_or(started)), now)
        {
            let message = probes::said(container, status, events);
            return trouble(Some(&container.name), PodFailure::Unready { allowed, message });
        }
    }
    if let Some(since) = probes::gates_closed(pod).and_then(|ready| ready.last_transition_time)
        && now.duration_since(since) > probes::gate_slack(pod)
    {
        return trouble(None, PodFailure::Unready { allowed: 0, message: None });
    }
    match waiting::silent(pod, now) {
        Some(NotBegun::Pod) => trouble(None, PodFailure::Silent),
        Some(NotBegun::Container(name)) => trouble(Some(name), PodFailure::Silent),
        None => trouble(None, PodFailure::Starting),
    }
}

fn container_trouble<'a>(
    pod: &'a Pod,
    status: &'a ContainerStatus,
    init: bool,
    events: &[&'a Event],
    now: Timestamp,
) -> Option<PodFailure<'a>> {
    let last = status.last_end();
    let waits = status.state.waiting.as_ref().is_some_and(|waiting| waiting.reason != "CrashLoopBackOff");
    if !init
        && !waits
        && let Some(why) = killed::kills(pod, status, events, now)
    {
        return Some(why);
    }
    let restarts = status.restart_count;
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
                let image = image_of(pod, status);
                let pulled =
                    last_message(events, Some(&status.name), |event| kubelet::is_pull_failure(event, image));
                let told = message.filter(|message| kubelet::tells(message));
                Some(PodFailure::ImagePull {
                    image,
                    reason: &waiting.reason,
                    message: told.or(pulled).or(message),
                })
            }
            "CrashLoopBackOff" => Some(PodFailure::CrashLoop { last, restarts, init, said: None }),
            // One fault, in turns with CrashLoopBackOff: it is made and does not start, or does not outlive its hook.
            "RunContainerError" | "PostStartHookError" => {
                Some(PodFailure::CrashLoop { last, restarts, init, said: message })
            }
            "CreateContainerConfigError"
            | "CreateContainerError"
            | "PreCreateHookError"
            | "PreStartHookError" => {
                let syncing = message.is_some_and(kubelet::is_syncing);
                (!syncing)
                    .then_some(PodFailure::Config { reason: &waiting.reason, message: message.unwrap_or("") })
            }
            "" | "ContainerCreating" | "PodInitializing" => None,
            // Whatever it is, it has a name, and lasts.
            _ => {
                let begun = pod.status.start_time.or(pod.metadata.creation_timestamp);
                let lasts = begun.is_some_and(|begun| now.duration_since(begun) > NAMED);
                lasts
                    .then_some(PodFailure::Config { reason: &waiting.reason, message: message.unwrap_or("") })
            }
        };
    }
    let last = last?;
    let looping = PodFailure::CrashLoop { last: Some(last), restarts, init, said: None };
    let previous = last.ran();
    if previous.is_some_and(|previous| previous >= STEADY) {
        return None;
    }
    if status.state.terminated.is_some() {
        // Ended, and not yet counted as a loop: the kubelet starts it again at once the first time.
        let again = restarts > 0 || last.is_out_of_memory();
        let fails = last.exit_code != 0 && again;
        return (fails || (!init && restarts >= LOOP)).then_some(looping);
    }
    let started = status.state.running.as_ref()?.started_at?;
    let born = pod.status.start_time.or(pod.metadata.creation_timestamp)?;
    // A loop is told from start-up trouble that is over by its rhythm: it has not yet run for clearly longer than it
    // took to fail the last time.
    let usual = previous.unwrap_or_else(|| now.duration_since(born) / restarts.max(1));
    let run = now.duration_since(started);
    // An init container that ended well is done, and may be run again with a new sandbox; any other one has to keep running.
    let fails = last.exit_code != 0 || !init;
    (restarts >= LOOP && fails && run < STEADY && run < usual.saturating_mul(2).saturating_add(SLACK / 2))
        .then_some(looping)
}

fn image_of<'a>(pod: &'a Pod, status: &'a ContainerStatus) -> &'a str {
    let mut all = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    all.find(|container| container.name == status.name).map_or(&status.image, |container| &container.image)
}

/// The newest message of such events, see [`last`].
fn last_message<'a>(
    events: &[&'a Event],
    container: Option<&str>,
    wanted: impl Fn(&Event) -> bool,
) -> Option<&'a str> {
    last(events, container, wanted).map(Event::text)
}

/// The newest of such events, of one container where it is named.
fn last<'a>(
    events: &[&'a Event],
    container: Option<&str>,
    wanted: impl Fn(&Event) -> bool,
) -> Option<&'a Event> {
    let is_it =
        |event: &&&Event| wanted(event) && container.is_none_or(|name| is_about_container(event, name));
    events.iter().rev().find(is_it).copied()
}

/// Whether an event is about this container of its pod, or about no one of them.
fn is_about_container(event: &Event, name: &str) -> bool {
    let path = &event.involved_object.field_path;
    path.is_empty()
        || path
            .strip_suffix('}')
            .is_some_and(|path| path.strip_suffix(name).is_some_and(|path| path.ends_with('{')))
}

#[cfg(test)]
mod tests;
