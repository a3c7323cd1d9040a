//! Watching: nothing to write, only waits, until the controller has nothing left to do.

use super::{Goal, Plan, Step, Stop};
use crate::controller::{Idle, Next, next};
use crate::rules::stuck;
use crate::snapshot::Snapshot;

/// The set comes to rest, whatever it is on its way to.
#[derive(Clone, Copy, Debug)]
pub struct Rollout;

impl Goal for Rollout {
    fn plan(&self, now: &Snapshot<'_>) -> Result<Plan, Stop> {
        let set = now.set;
        let headline = format!("watch {} in {}", set.metadata.name, set.metadata.namespace);
        let wait = |pods: Vec<String>, until: &str| vec![Step::Await { pods, until: until.to_owned() }];
        let steps = match next(now)? {
            Next::Settled(Idle::Done | Idle::Partition) => match stuck(now) {
                // It is ready for a moment between two crashes, or the model does not know what it waits for.
                Some(stuck) => wait(vec![stuck.on], "to stay available"),
                None => Vec::new(),
            },
            Next::Settled(Idle::OnDelete) => wait(stale(now), "to be deleted by you"),
            Next::Settled(Idle::Deleting) => wait(Vec::new(), "the StatefulSet to be gone"),
            Next::Settled(Idle::Unobserved | Idle::UnknownStrategy) => wait(Vec::new(), "the controller"),
            Next::Wait { on, .. } => wait(vec![set.pod_name(on)], "to be available"),
            Next::Act(_) => wait(Vec::new(), "the controller"),
        };
        Ok(Plan { headline, steps, ..Plan::default() })
    }
}

fn stale(now: &Snapshot<'_>) -> Vec<String> {
    let update = &now.set.status.update_revision;
    let replicas = now.replicas().unwrap_or_default().iter().rev();
    replicas
        .filter(|replica| replica.pod.is_some_and(|pod| pod.revision() != update))
        .map(|replica| replica.name.clone())
        .collect()
}
