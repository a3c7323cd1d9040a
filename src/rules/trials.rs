//! Which pods are worth asking about by a dry run: those that the controller should create and has not, without a word of
//! why.

use jiff::SignedDuration;

use crate::controller::{self, Action, Next};
use crate::kinds::{Pod, StatefulSet};
use crate::snapshot::{Observed, Snapshot, Verb, Wanted};

/// The controller creates a pod within seconds, and one that was just deleted may only not be there yet.
const DUE: SignedDuration = SignedDuration::from_mins(2);

/// One pod of each StatefulSet that lacks one without a reason that is seen.
pub fn pods_to_try(observed: &Observed, is_chosen: impl Fn(&StatefulSet) -> bool) -> Vec<Wanted> {
    let namespaces = observed.namespaces();
    let mut all = Vec::new();
    for namespace in namespaces.values() {
        for set in namespace.sets.iter().copied().filter(|set| is_chosen(set)) {
            all.extend(of_set(&Snapshot::of(observed, namespace, set)));
        }
    }
    all
}

fn of_set(snapshot: &Snapshot<'_>) -> Option<Wanted> {
    let set = snapshot.set;
    let Next::Act(actions) = controller::next(snapshot).ok()? else { return None };
    let ordinal = actions.iter().find_map(|action| match action {
        Action::Create(ordinal) => Some(*ordinal),
        Action::Delete(..) => None,
    })?;
    let is_said = snapshot.refused(Verb::Create).is_ok_and(|refused| !refused.is_empty());
    let revision = controller::would_get(snapshot, ordinal);
    // The template of an earlier revision is not in the StatefulSet.
    if is_said || !set.is_observed() || revision != set.status.update_revision || set.metadata.uid.is_empty()
    {
        return None;
    }
    let all = snapshot.replicas().ok()?.iter().chain(snapshot.condemned().ok()?);
    let pods: Vec<&Pod> = all.filter_map(|replica| replica.pod).collect();
    let is_moving = pods.iter().any(|pod| pod.metadata.is_terminating());
    let last = pods.iter().filter_map(|pod| pod.metadata.creation_timestamp);
    let last = last.chain(set.metadata.creation_timestamp).max();
    let is_due = snapshot.since(last).is_some_and(|since| since > DUE);
    (is_due && !is_moving).then(|| Wanted {
        namespace: set.metadata.namespace.clone(),
        set: set.metadata.name.clone(),
        uid: set.metadata.uid.clone(),
        pod: set.pod_name(ordinal),
        ordinal,
        revision: revision.to_owned(),
    })
}
