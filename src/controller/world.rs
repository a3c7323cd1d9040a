//! A set and its pods in memory, as far as the controller's next writes depend on them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Action, MaxUnavailable, Next, Purpose, current_revision, may_get, next, would_get};
use crate::kinds::{
    Condition, Meta, OwnerReference, PersistentVolumeClaim, Pod, REVISION_LABEL, StatefulSet,
    StatefulSetStatus, Strategy,
};
use crate::snapshot::{Observed, Scope, ServerVersion, Snapshot, Unseen};

/// The controller's world in memory: what it would see, and what its writes make of it.
#[derive(Clone, Debug)]
pub struct World {
    observed: Observed,
}

impl World {
    /// A world of one set, the pods of its namespace and its claims.
    pub fn new(
        set: StatefulSet,
        pods: Vec<Pod>,
        claims: Vec<PersistentVolumeClaim>,
        server: Option<ServerVersion>,
        now: Timestamp,
    ) -> World {
        let mut observed = Observed::nothing(now, Scope::All, "not part of the model");
        observed.sets = vec![set];
        observed.pods = Ok(pods);
        observed.claims = Ok(claims);
        observed.server = server;
        World { observed }
    }

    /// What was seen of one set.
    ///
    /// # Errors
    /// [`Unseen`] when pods could not be read.
    pub fn of(snapshot: &Snapshot<'_>) -> Result<World, Unseen> {
        let all = snapshot.replicas()?.iter().chain(snapshot.condemned()?);
        let pods = all.clone().filter_map(|replica| replica.pod.or(replica.squatter)).cloned().collect();
        let claims = all.flat_map(crate::snapshot::Replica::claims).cloned().collect();
        let mut set = snapshot.set.clone();
        // Revisions are not part of the model; whether the current one is gone is settled here.
        current_revision(snapshot).clone_into(&mut set.status.current_revision);
        Ok(World::new(set, pods, claims, snapshot.server.cloned(), snapshot.taken_at))
    }

    /// Looks at it as at a snapshot.
    pub fn look<T>(&self, look: impl FnOnce(&Snapshot<'_>) -> T) -> T {
        let namespaces = self.observed.namespaces();
        let set = self.set();
        let namespace = &namespaces[set.metadata.namespace.as_str()];
        look(&Snapshot::of(&self.observed, namespace, set))
    }

    /// Time passes, as far as pods count it.
    pub fn pass_to(&mut self, now: Timestamp) {
        self.observed.taken_at = now;
    }

    /// The time it is there.
    pub fn now(&self) -> Timestamp {
        self.observed.taken_at
    }

    /// The set.
    pub fn set(&self) -> &StatefulSet {
        &self.observed.sets[0]
    }

    /// The set, to change it.
    pub fn set_mut(&mut self) -> &mut StatefulSet {
        &mut self.observed.sets[0]
    }

    /// All pods.
    pub fn pods(&self) -> &[Pod] {
        self.observed.pods.as_deref().unwrap_or_default()
    }

    /// All pods, to change them.
    pub fn pods_mut(&mut self) -> &mut Vec<Pod> {
        if self.observed.pods.is_err() {
            self.observed.pods = Ok(Vec::new());
        }
        match &mut self.observed.pods {
            Ok(pods) => pods,
            Err(_) => unreachable!("just put right"),
        }
    }

    /// The claims, to change them.
    pub fn claims_mut(&mut self) -> Option<&mut Vec<PersistentVolumeClaim>> {
        self.observed.claims.as_mut().ok()
    }

    /// What the controller does next.
    pub fn next(&self) -> Next {
        // Pods are always known here.
        self.look(next).unwrap_or(Next::Settled(super::Rest::Unobserved))
    }

    /// The revision the replica gets if it is created now, and the other one it may get where the controller races.
    pub fn revisions_for(&self, ordinal: i32) -> (String, Option<String>) {
        self.look(|snapshot| {
            (would_get(snapshot, ordinal).to_owned(), may_get(snapshot, ordinal).map(str::to_owned))
        })
    }

    /// The set's own pod with this ordinal.
    pub fn pod_mut(&mut self, ordinal: i32) -> Option<&mut Pod> {
        let name = self.look(|snapshot| {
            let replica = snapshot.replica(ordinal).ok().flatten()?;
            replica.pod.map(|pod| pod.metadata.name.clone())
        })?;
        self.pods_mut().iter_mut().find(|pod| pod.metadata.name == name)
    }

    /// One write of the controller; a new pod is Pending, on `revision`. A sync that deletes pods for an update writes
    /// `status.currentReplicas` lower by their number, whatever their revision; a later sync counts anew.
    pub fn act(&mut self, action: Action, revision: &str) {
        match action {
            Action::Create(ordinal) => {
                let pod = new_pod(self.set(), ordinal, revision);
                self.pods_mut().push(pod);
            }
            Action::Delete(ordinal, purpose) => {
                if purpose == Purpose::Update {
                    let current = &mut self.set_mut().status.current_replicas;
                    *current = (*current - 1).max(0);
                }
                self.delete(ordinal);
            }
        }
    }

    /// Somebody deletes a pod, with grace. It is Terminating then; one that has ended or has no node is gone at once, as
    /// `registry/core/pod/strategy.go:CheckGracefulDelete` gives it no grace period.
    pub fn delete(&mut self, ordinal: i32) {
        let now = self.observed.taken_at;
        let Some(pod) = self.pod_mut(ordinal) else { return };
        pod.metadata.deletion_timestamp.get_or_insert(now);
        let at_once = pod.is_finished() || pod.spec.node_name.is_empty();
        if at_once && pod.metadata.finalizers.is_empty() {
            self.remove(ordinal);
        }
    }

    /// The pod is gone.
    pub fn remove(&mut self, ordinal: i32) {
        let Some(name) = self.pod_mut(ordinal).map(|pod| pod.metadata.name.clone()) else { return };
        self.pods_mut().retain(|pod| pod.metadata.name != name);
    }

    /// The pod runs, has been ready for as long as is asked for, and stays so.
    pub fn make_available(&mut self, ordinal: i32) {
        let Some(pod) = self.pod_mut(ordinal) else { return };
        "Running".clone_into(&mut pod.status.phase);
        if pod.spec.node_name.is_empty() {
            "predicted".clone_into(&mut pod.spec.node_name);
        }
        pod.status.conditions.retain(|condition| condition.r#type != "Ready");
        pod.status.conditions.push(Condition {
            r#type: "Ready".to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(Timestamp::UNIX_EPOCH),
            ..Condition::default()
        });
    }

    /// The status the controller writes at the end of a sync that writes nothing else
    /// (`stateful_set_control.go:computeReplicaStatus`, `stateful_set_utils.go:completeUpdate`).
    pub fn status(&self) -> StatefulSetStatus {
        self.look(|snapshot| {
            let set = snapshot.set;
            let current = current_revision(snapshot).to_owned();
            let update = set.status.update_revision.clone();
            let mut status = StatefulSetStatus {
                observed_generation: set.metadata.generation,
                conditions: set.status.conditions.clone(),
                ..StatefulSetStatus::default()
            };
            let all = [snapshot.replicas(), snapshot.condemned()];
            for pod in all.into_iter().flatten().flatten().filter_map(|replica| replica.pod) {
                let alive = !pod.metadata.is_terminating();
                status.replicas += 1;
                status.ready_replicas += i32::from(pod.is_ready());
                let available = pod.is_available(set.spec.min_ready_seconds, snapshot.taken_at);
                status.available_replicas += i32::from(available);
                status.current_replicas += i32::from(alive && pod.revision() == current);
                status.updated_replicas += i32::from(alive && pod.revision() == update);
            }
            // Before 1.37 for RollingUpdate only (kubernetes/kubernetes#136833). It does not ask for minReadySeconds.
            let old = matches!(snapshot.server.and_then(ServerVersion::numbers), Some((1, ..37, _)));
            let completes = !old || set.strategy() == Strategy::RollingUpdate;
            let counts = [status.updated_replicas, status.ready_replicas, status.replicas];
            status.current_revision = current;
            if completes && counts.iter().all(|count| *count == set.replicas()) {
                status.current_replicas = status.updated_replicas;
                status.current_revision.clone_from(&update);
            }
            status.update_revision = update;
            status
        })
    }

    /// The controller writes its status.
    pub fn settle(&mut self) {
        let status = self.status();
        self.set_mut().status = status;
    }

    /// Whether this version heeds `maxUnavailable`.
    pub fn max_unavailable(&self) -> MaxUnavailable {
        MaxUnavailable::of(self.observed.server.as_ref())
    }
}

/// `stateful_set_utils.go:newVersionedStatefulSetPod`, as far as the controller looks at it later.
fn new_pod(set: &StatefulSet, ordinal: i32, revision: &str) -> Pod {
    let mut labels: BTreeMap<String, String> = set.spec.selector.match_labels.clone();
    labels.insert(REVISION_LABEL.to_owned(), revision.to_owned());
    let owner = OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: "StatefulSet".to_owned(),
        name: set.metadata.name.clone(),
        uid: set.metadata.uid.clone(),
        controller: true,
    };
    let mut pod = Pod {
        metadata: Meta {
            name: set.pod_name(ordinal),
            namespace: set.metadata.namespace.clone(),
            labels,
            owner_references: vec![owner],
            ..Meta::default()
        },
        ..Pod::default()
    };
    pod.spec.node_name.clone_from(&set.spec.template.spec.node_name);
    "Pending".clone_into(&mut pod.status.phase);
    pod
}
