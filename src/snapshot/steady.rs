//! Whether a pod that is ready may be ready for a moment only.

use jiff::{SignedDuration, Timestamp};

use super::Snapshot;
use crate::kinds::{ContainerStatus, Pod};

/// A container that was started again has to run for longer than the last time, by this much.
const MARGIN: SignedDuration = SignedDuration::from_secs(10);
/// The longest that is waited for: a container may have run for days before.
const LONGEST: SignedDuration = SignedDuration::from_secs(60);

impl<'a> Snapshot<'a> {
    /// A pod of a wanted replica of which a container was started again a moment ago. Where the container has no readiness
    /// probe the pod is ready at once, and what ended it may end it again.
    pub fn unsteady(&self) -> Option<&'a Pod> {
        let pods = self.replicas().ok()?.iter().filter_map(|replica| replica.pod);
        pods.into_iter().find(|pod| {
            let inits = pod.status.init_container_statuses.iter().filter(|it| pod.is_sidecar(&it.name));
            let mut all = pod.status.container_statuses.iter().chain(inits);
            all.any(|status| is_young(status, self.taken_at))
        })
    }

    /// Whether no container of the template says when it is ready: then a pod is ready as soon as it has started.
    pub fn is_unprobed(&self) -> bool {
        let containers = &self.set.spec.template.spec.containers;
        !containers.is_empty()
            && containers.iter().all(|it| it.readiness_probe.is_none() && it.startup_probe.is_none())
    }
}

fn is_young(status: &ContainerStatus, now: Timestamp) -> bool {
    let started = status.state.running.as_ref().and_then(|running| running.started_at);
    let Some((started, last)) = started.zip(status.last_state.terminated.as_ref()) else { return false };
    let before = last.started_at.zip(last.finished_at).map(|(start, end)| end.duration_since(start));
    let needed = before.unwrap_or_default().saturating_add(MARGIN).min(LONGEST);
    status.restart_count > 0 && now.duration_since(started) < needed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{ContainerState, Running, Terminated};

    #[test]
    fn a_container_is_young_until_it_has_outlived_its_last_run() {
        let at = |second: i64| Timestamp::from_second(1_000_000 + second).ok();
        let status = |restarts, ran: i64| ContainerStatus {
            restart_count: restarts,
            state: ContainerState {
                running: Some(Running { started_at: at(0) }),
                ..ContainerState::default()
            },
            last_state: ContainerState {
                terminated: Some(Box::new(Terminated {
                    started_at: at(-ran - 1),
                    finished_at: at(-1),
                    ..Terminated::default()
                })),
                ..ContainerState::default()
            },
            ..ContainerStatus::default()
        };
        for (restarts, ran, now, young) in [
            (1, 12, 1, true),
            (1, 12, 21, true),
            (1, 12, 22, false),
            (0, 12, 1, false),
            (3, 86_400, 59, true),
            (3, 86_400, 60, false),
        ] {
            let now = at(now).unwrap();
            assert_eq!(is_young(&status(restarts, ran), now), young, "{restarts} {ran} {now}");
        }
    }
}
