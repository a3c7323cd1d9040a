//! Containers that their kubelet kills because a probe fails.
//!
//! How such a container ends is its own affair: 0 where it obeys SIGTERM, 137 where it does not listen, or anything else.
//! So the proof is the kubelet's event `Killing` (`kuberuntime_manager.go:computePodActions`), which is of type Normal.

use jiff::{SignedDuration, Timestamp};

use super::{LOOP, PodFailure, SLACK, STEADY, is_about_container};
use crate::kinds::{Container, ContainerStatus, Event, Pod, Probe, Terminated};
use crate::messages::kubelet;
pub use crate::messages::kubelet::KILLING;

/// As many events of one type a kubelet writes about a pod; of all further ones one in five minutes
/// (`client-go/tools/record/events_cache.go`: `defaultSpamBurst`, `defaultSpamQPS`).
const BURST: i32 = 25;
/// Kills further apart than this are no pattern. Events are kept for so long, too.
const APART: SignedDuration = SignedDuration::from_hours(1);
/// How much later than the status an event may be written down: a kubelet sends them one after the other, and on a busy node
/// it took 17 seconds.
const LATE: SignedDuration = SignedDuration::from_secs(30);
/// What may be missing of a run that a probe ended: times are whole seconds.
const ROUNDED: SignedDuration = SignedDuration::from_secs(2);

/// The probe whose failure ends a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Killer {
    /// Its liveness probe.
    Liveness,
    /// Its startup probe.
    Startup,
}

impl Killer {
    /// As in a sentence.
    pub fn word(self) -> &'static str {
        match self {
            Killer::Liveness => "liveness",
            Killer::Startup => "startup",
        }
    }

    /// That probe of a container.
    pub fn probe(self, container: &Container) -> Option<&Probe> {
        match self {
            Killer::Liveness => container.liveness_probe.as_deref(),
            Killer::Startup => container.startup_probe.as_deref(),
        }
    }

    fn of(probe: kubelet::Probe) -> Option<Killer> {
        match probe {
            kubelet::Probe::Liveness => Some(Killer::Liveness),
            kubelet::Probe::Startup => Some(Killer::Startup),
            kubelet::Probe::Readiness => None,
        }
    }

    /// Whether an event is a failure of that probe.
    pub fn is_failure(self, event: &Event) -> bool {
        kubelet::failed_probe(event).is_some_and(|probe| Killer::of(probe) == Some(self))
    }

    /// Whether a run was long enough for that probe to end it.
    pub fn can_end(self, container: &Container, run: &Terminated) -> bool {
        self.probe(container).is_none_or(|probe| could(Some(probe), run))
    }
}

/// The kills of a container by one of its probes.
#[derive(Clone, Debug)]
pub struct Kills<'a> {
    /// The probe.
    pub killer: Killer,
    /// How often, as far as events tell; 0 where only failures of the probe are known.
    pub times: i32,
    /// The first and the last of them.
    pub seen: Option<(Timestamp, Timestamp)>,
    /// What the probe said last, if an event tells.
    pub said: Option<&'a str>,
    /// How the container ended last.
    pub last: &'a Terminated,
    /// How often it was started again.
    pub restarts: i32,
}

impl Kills<'_> {
    /// How long the container ran before it ended last.
    pub fn ran(&self) -> Option<SignedDuration> {
        self.last.ran()
    }
}

/// The probe that an event names as the reason why a container is stopped.
pub fn killer(event: &Event) -> Option<Killer> {
    kubelet::killing_probe(event).and_then(Killer::of)
}

/// Whether the pod may have been killed by a probe lately, so that it is worth asking for the events that say so.
pub fn may_be_killed(pod: &Pod, now: Timestamp) -> bool {
    let lately = |end: &Terminated| end.finished_at.is_some_and(|end| now.duration_since(end) < APART * 2);
    pod.spec.containers.iter().chain(&pod.spec.init_containers).any(|container| {
        let probed = container.liveness_probe.is_some() || container.startup_probe.is_some();
        let status = pod.container_statuses().find(|status| status.name == container.name);
        probed
            && status.is_some_and(|status| status.restart_count > 0 && status.last_end().is_some_and(lately))
    })
}

/// Whether a container is killed by a probe again and again: from the second time on, and until it has clearly outlived
/// its usual time.
pub(super) fn kills<'a>(
    pod: &'a Pod,
    status: &'a ContainerStatus,
    events: &[&'a Event],
    now: Timestamp,
) -> Option<PodFailure<'a>> {
    let last = status.last_end().filter(|last| !last.never_ran() && !last.is_out_of_memory())?;
    let mut containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    let container = containers.find(|container| container.name == status.name)?;
    if status.restart_count == 0 {
        return None;
    }
    let own: Vec<&Event> =
        events.iter().copied().filter(|event| is_about_container(event, &status.name)).collect();
    let proved = proved(pod, container, status, last, &own, now);
    let mut kills = proved.or_else(|| likely(pod, container, status, last, &own))?;
    if is_over(status, &kills, now) {
        return None;
    }
    kills.said = failure(&own, kills.killer).map(Event::text);
    Some(PodFailure::Killed(kills))
}

/// By the kubelet's own words.
fn proved<'a>(
    pod: &Pod,
    container: &Container,
    status: &ContainerStatus,
    last: &'a Terminated,
    events: &[&'a Event],
    now: Timestamp,
) -> Option<Kills<'a>> {
    let newest = events.iter().rev().find(|event| killer(event).is_some())?;
    let killer = killer(newest)?;
    // A kubelet counts in another event after its restart.
    let all = || events.iter().filter(|event| self::killer(event) == Some(killer));
    let times = all().fold(0_i32, |sum, event| sum.saturating_add(event.times()));
    let seen = newest.last_seen()?;
    let first = all().filter_map(|event| event.first_timestamp.or(event.last_seen())).min()?;
    // Once a day is no pattern, and the kubelet remembers how often for as long as it runs.
    let rare = times == LOOP && seen.duration_since(first) > APART;
    if times < LOOP || rare {
        return None;
    }
    // It is being killed right now, or was at the end of its last run.
    let in_time = last.started_at.is_none_or(|started| seen >= started);
    let fresh = last.finished_at.is_some_and(|end| now.duration_since(end) < LATE);
    let untold = (fresh || is_dry(pod)) && could(killer.probe(container), last);
    (in_time || untold).then_some(Kills {
        killer,
        times,
        seen: Some((first, seen)),
        said: None,
        last,
        restarts: status.restart_count,
    })
}

/// Where events of kills are not known: by the failures of its probe, and by how it ended. They are not known where the
/// kubelet's budget was spent before, and in files with warnings only.
fn likely<'a>(
    pod: &Pod,
    container: &Container,
    status: &ContainerStatus,
    last: &'a Terminated,
    events: &[&'a Event],
) -> Option<Kills<'a>> {
    let any = events.iter().any(|event| killer(event).is_some());
    if (any && !is_dry(pod)) || status.restart_count < LOOP || !last.was_stopped() {
        return None;
    }
    let is_it = |killer: &Killer| {
        let Some(probe) = killer.probe(container) else { return false };
        let failed = events.iter().filter(|event| killer.is_failure(event));
        let times = failed.fold(0_i32, |sum, event| sum.saturating_add(event.times()));
        let seen = failure(events, *killer).and_then(Event::last_seen);
        let in_time = seen.zip(last.started_at).is_none_or(|(seen, started)| seen >= started);
        times >= probe.threshold().saturating_mul(LOOP)
            && could(Some(probe), last)
            && (in_time || is_dry(pod))
    };
    let killer = [Killer::Startup, Killer::Liveness].into_iter().find(is_it)?;
    Some(Kills { killer, times: 0, seen: None, said: None, last, restarts: status.restart_count })
}

fn failure<'a>(events: &[&'a Event], killer: Killer) -> Option<&'a Event> {
    events.iter().rev().find(|event| killer.is_failure(event)).copied()
}

/// Whether the container has clearly outlived what it was killed after the last time, or is killed so rarely that it is
/// no pattern.
fn is_over(status: &ContainerStatus, kills: &Kills<'_>, now: Timestamp) -> bool {
    let usual = kills.last.ran().unwrap_or(STEADY);
    if usual >= APART {
        return true;
    }
    let running = status.state.running.as_ref();
    let Some(started) = running.and_then(|running| running.started_at) else { return false };
    // It is being stopped already.
    if kills.seen.is_some_and(|(_, last)| last > started) {
        return false;
    }
    let run = now.duration_since(started);
    run >= usual.saturating_mul(2).saturating_add(SLACK / 2) || (usual < STEADY && run >= STEADY)
}

/// Whether a run was long enough for the probe to end it.
fn could(probe: Option<&Probe>, last: &Terminated) -> bool {
    let least = probe.map_or(SignedDuration::ZERO, |probe| SignedDuration::from_secs(probe.least()));
    last.ran().is_none_or(|ran| ran.saturating_add(ROUNDED) >= least)
}

/// Whether the pod's kubelet may have used up what events it writes about it: three for each start of a container, and one
/// for each kill. Then no news tells nothing.
fn is_dry(pod: &Pod) -> bool {
    let all = pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses);
    all.fold(0_i32, |sum, it| sum.saturating_add(3).saturating_add(it.restart_count.saturating_mul(4)))
        >= BURST
}
