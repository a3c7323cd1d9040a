//! The time of plain files, which say none.

use jiff::Timestamp;

use super::Objects;
use crate::kinds::{Condition, Event, Pod};

impl Objects {
    /// The newest moment anything in the files speaks of, which is when they were written at the earliest.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        let conditions = |conditions: &[Condition]| {
            conditions.iter().filter_map(|condition| condition.last_transition_time).max()
        };
        let states = |pod: &Pod| {
            pod.status
                .container_statuses
                .iter()
                .chain(&pod.status.init_container_statuses)
                .flat_map(|status| [&status.state, &status.last_state])
                .flat_map(|state| {
                    [
                        state.running.as_ref().and_then(|running| running.started_at),
                        state.terminated.as_ref().and_then(|end| end.finished_at),
                    ]
                })
                .flatten()
                .max()
        };
        let pods = self.pods.iter().flat_map(|pod| [conditions(&pod.status.conditions), states(pod)]);
        let sets = self.sets.iter().map(|set| set.metadata.creation_timestamp);
        let all = pods
            .chain(sets)
            .chain(self.pods.iter().map(|pod| pod.metadata.creation_timestamp))
            .chain(self.claims.iter().map(|claim| claim.metadata.creation_timestamp))
            .chain(self.claims.iter().map(|claim| conditions(&claim.status.conditions)))
            .chain(self.revisions.iter().map(|revision| revision.metadata.creation_timestamp))
            .chain(self.events.iter().map(Event::last_seen))
            .chain(self.nodes.iter().map(|node| conditions(&node.status.conditions)));
        all.flatten().max()
    }
}
