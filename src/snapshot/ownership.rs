//! A kubelet that changes the owner of all files of a volume before it starts the containers (`fsGroup`).

use jiff::SignedDuration;

use super::{PodFailure, Snapshot, Trouble};
use crate::kinds::{Event, Pod};
use crate::messages::kubelet;

/// How old the newest such event may be. After 25 warnings about a pod only one in five minutes gets through, and the sums
/// of `FailedMount` take their share of them.
const HEARD: SignedDuration = SignedDuration::from_mins(30);

impl<'a> Snapshot<'a> {
    /// The newest event with which the kubelet says that it is changing the owner of the files in the pod's volumes, if
    /// nothing says that it has finished: no container has begun, and no other warning came later.
    pub fn changes_owner(&self, pod: &Pod) -> Option<&'a Event> {
        let begun =
            pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses).any(|status| {
                status.state.running.is_some()
                    || status.state.terminated.is_some()
                    || status.last_end().is_some()
            });
        if begun || pod.status.phase != "Pending" {
            return None;
        }
        let newest = self.warnings(pod).into_iter().rfind(|event| !is_sum(event))?;
        let heard = self.since(newest.last_seen()).is_some_and(|ago| ago < HEARD);
        (kubelet::is_owner_change(newest) && heard).then_some(newest)
    }

    /// The warnings about the pod since it has a node, newest last.
    pub fn warnings(&self, pod: &Pod) -> Vec<&'a Event> {
        let scheduled = pod.condition("PodScheduled").and_then(|scheduled| scheduled.last_transition_time);
        let since = scheduled.or(pod.metadata.creation_timestamp);
        let events = self.events_about(pod).unwrap_or_default().into_iter();
        events.filter(|event| event.r#type != "Normal" && event.last_seen() >= since).collect()
    }

    /// The newest warning about the pod since it has a node that says more than the pod's state does, or else the newest.
    pub fn last_warning(&self, pod: &Pod) -> Option<&'a Event> {
        let warnings = self.warnings(pod);
        let telling =
            warnings.iter().rfind(|event| kubelet::tells(&event.message) && !kubelet::is_state(event));
        telling.or(warnings.last()).copied()
    }

    /// What keeps a pod from starting is nothing, as long as its kubelet is plainly at work.
    pub(super) fn at_work(&self, pod: &Pod, trouble: Trouble<'a>) -> Trouble<'a> {
        let vague = match &trouble.why {
            PodFailure::Silent => true,
            PodFailure::Mount { message } => kubelet::is_sum(message),
            _ => false,
        };
        if vague && self.changes_owner(pod).is_some() {
            return Trouble { container: None, why: PodFailure::Starting, ..trouble };
        }
        trouble
    }
}

fn is_sum(event: &Event) -> bool {
    event.reason == "FailedMount" && kubelet::is_sum(&event.message)
}
