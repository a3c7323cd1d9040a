//! The model in its plain form: after every write all is looked at again. It is slow, and there is little in it that could
//! be wrong; `World` and `course` must come to the same.

mod next;

use jiff::Timestamp;
use kubectl_sts::controller::{
    Action, Assume, Change, End, Forecast, Idle, Move, Next, Purpose, current_revision, may_get, would_get,
};
use kubectl_sts::kinds::{
    Condition, Meta, OwnerReference, PersistentVolumeClaim, Pod, REVISION_LABEL, RollingUpdate, StatefulSet,
    StatefulSetStatus, Strategy,
};
use kubectl_sts::snapshot::{Observed, Replica, Scope, ServerVersion, Snapshot, Unseen};

pub use next::next;

/// The controller's world in memory: what it would see, and what its writes make of it.
#[derive(Clone, Debug)]
pub struct Plain {
    observed: Observed,
}

impl Plain {
    /// A world of one set, the pods of its namespace and its claims.
    pub fn new(
        set: StatefulSet,
        pods: Vec<Pod>,
        claims: Vec<PersistentVolumeClaim>,
        server: Option<ServerVersion>,
        now: Timestamp,
    ) -> Plain {
        let mut observed = Observed::nothing(now, Scope::All, "not part of the model");
        observed.sets = vec![set];
        observed.pods = Ok(pods);
        observed.claims = Ok(claims);
        observed.server = server;
        Plain { observed }
    }

    /// What was seen of one set.
    ///
    /// # Errors
    /// [`Unseen`] when pods could not be read.
    pub fn of(snapshot: &Snapshot<'_>) -> Result<Plain, Unseen> {
        let all = snapshot.replicas()?.iter().chain(snapshot.condemned()?);
        let pods = all.clone().filter_map(|replica| replica.pod.or(replica.foreign_pod)).cloned().collect();
        let claims = all.flat_map(Replica::claims).cloned().collect();
        let mut set = snapshot.set.clone();
        // Revisions are not part of the model; whether the current one is gone is settled here.
        current_revision(snapshot).clone_into(&mut set.status.current_revision);
        Ok(Plain::new(set, pods, claims, snapshot.server.cloned(), snapshot.taken_at))
    }

    /// Looks at it as at a snapshot.
    pub fn look<T>(&self, look: impl FnOnce(&Snapshot<'_>) -> T) -> T {
        let namespaces = self.observed.namespaces();
        let set = self.set();
        let namespace = &namespaces[set.metadata.namespace.as_str()];
        look(&Snapshot::of(&self.observed, namespace, set))
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

    /// What the controller does next.
    pub fn next(&self) -> Next {
        // Pods are always known here.
        self.look(next).unwrap_or(Next::Settled(Idle::Unobserved))
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
}

/// `stateful_set_utils.go:newVersionedStatefulSetPod`, as far as the controller looks at it later.
fn new_pod(set: &StatefulSet, ordinal: i32, revision: &str) -> Pod {
    let mut labels: kubectl_sts::kinds::Map = set.spec.selector.match_labels.clone();
    labels.insert(REVISION_LABEL.to_owned(), revision.to_owned());
    let owner = OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: "StatefulSet".to_owned(),
        name: set.metadata.name.clone(),
        uid: set.metadata.uid.clone(),
        controller: true,
        block_owner_deletion: true,
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

pub fn run(world: &mut Plain, change: &Change, assume: &mut Assume) -> Forecast {
    let mut moves = Vec::new();
    apply(world, change);
    for ordinal in &change.delete {
        world.delete(*ordinal);
        moves.push(Move::Delete(*ordinal, None));
    }
    // Each replica goes and comes a few times at most: at the old revision, and at the new one.
    let limit = 40 + 20 * (world.pods().len() + usize::try_from(world.set().replicas()).unwrap_or(0));
    while moves.len() < limit {
        let end = match world.next() {
            Next::Act(actions) => {
                let revisions: Vec<_> = actions
                    .iter()
                    .map(|action| match action {
                        Action::Create(ordinal) => world.revisions_for(*ordinal),
                        Action::Delete(..) => Default::default(),
                    })
                    .collect();
                // The status of a sync counts what it saw at its start, not what it has just created.
                world.settle();
                for (action, (revision, or)) in actions.into_iter().zip(revisions) {
                    world.act(action, &revision);
                    moves.push(match action {
                        Action::Create(ordinal) => {
                            assume.broken_pods.remove(&ordinal);
                            Move::Create { ordinal, revision, or }
                        }
                        Action::Delete(ordinal, purpose) => Move::Delete(ordinal, Some(purpose)),
                    });
                }
                continue;
            }
            Next::Wait { on, because } => End::Blocked(on, because),
            Next::Settled(rest) => End::At(rest),
        };
        world.settle();
        if !pass_time(world, assume) {
            return Forecast { moves, end };
        }
    }
    Forecast { moves, end: End::Endless }
}

fn apply(world: &mut Plain, change: &Change) {
    let set = world.set_mut();
    if let Some(revision) = &change.template {
        set.status.update_revision.clone_from(revision);
    }
    if let Some(replicas) = change.replicas {
        set.spec.replicas = Some(replicas);
    }
    if let Some(partition) = change.partition {
        let rolling = set.rolling_update().unwrap_or_default();
        set.spec.update_strategy.rolling_update = Some(RollingUpdate { partition, ..rolling });
    }
    // The controller has looked at it; nothing but what it then writes is of interest.
    set.status.observed_generation = set.metadata.generation;
}

/// Pods that are being deleted end; if there are none, those that start become available. Gives whether any did.
fn pass_time(world: &mut Plain, assume: &Assume) -> bool {
    let (ending, starting) = world.look(|snapshot| {
        let all = [snapshot.replicas(), snapshot.condemned()];
        let (mut ending, mut starting) = (Vec::new(), Vec::new());
        for replica in all.into_iter().flatten().flatten() {
            let Some(pod) = replica.pod else { continue };
            let available = pod.is_available(snapshot.set.spec.min_ready_seconds, snapshot.taken_at);
            if pod.metadata.is_terminating() {
                if !assume.undying.contains(&replica.ordinal) {
                    ending.push(replica.ordinal);
                }
            } else if !available
                && !pod.is_finished()
                && !assume.broken_pods.contains(&replica.ordinal)
                && !assume.broken_revisions.contains(pod.revision())
            {
                starting.push(replica.ordinal);
            }
        }
        (ending, starting)
    });
    for ordinal in &ending {
        world.remove(*ordinal);
    }
    if ending.is_empty() {
        for ordinal in &starting {
            world.make_available(*ordinal);
        }
    }
    !ending.is_empty() || !starting.is_empty()
}
