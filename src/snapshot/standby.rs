//! Replicas that wait for the lock of another one.

use jiff::SignedDuration;

use super::Snapshot;
use crate::kinds::Pod;

/// How long a replica has run unready before that is the way it is meant to run. A recovery, a first copy of the data or
/// a rebalancing ends within a day, or the container is restarted in it; and a fault has been reported for a day by then.
const STANDING: SignedDuration = SignedDuration::from_hours(24);

impl Snapshot<'_> {
    /// Whether this pod looks like a standby: only the replicas that hold a lock are ready, and the others run for days,
    /// without a restart, on the same revision.
    pub fn stands_by(&self, pod: &Pod) -> bool {
        let set = self.set;
        if !set.is_observed() || set.metadata.is_terminating() || !self.condemned.is_empty() {
            return false;
        }
        // An ordered set that lacks a replica is still being created; nothing was ready once.
        let is_created = self.unlisted() == 0 && self.replicas.iter().all(|replica| replica.pod.is_some());
        if !self.runs_unready(pod) || !(set.is_parallel() || is_created) {
            return false;
        }
        let pods = || self.replicas.iter().filter_map(|replica| replica.pod);
        let same = |other: &Pod| other.revision() == set.status.update_revision;
        pods().any(Pod::is_ready)
            && pods().all(|other| same(other) && (other.is_ready() || self.runs_unready(other)))
    }

    /// Whether all that is amiss with the pod is that its readiness probe has said no for long.
    fn runs_unready(&self, pod: &Pod) -> bool {
        let long = |then| self.since(then).is_some_and(|time| time >= STANDING);
        let unready = pod.condition("Ready").filter(|ready| ready.status == "False");
        let mut statuses = pod.container_statuses();
        let runs = statuses.all(|status| {
            let container = pod.spec.containers.iter().find(|container| container.name == status.name);
            let probed = container.is_some_and(|container| container.readiness_probe.is_some());
            status.restart_count == 0
                && status.started != Some(false)
                && status.state.running.as_ref().is_some_and(|running| long(running.started_at))
                && (status.ready || probed)
        });
        pod.status.phase == "Running"
            && !pod.metadata.is_terminating()
            && unready.is_some_and(|unready| long(unready.last_transition_time))
            && runs
            && pod.status.container_statuses.iter().any(|status| !status.ready)
    }
}
