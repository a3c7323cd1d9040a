//! A set and its pods in memory, as far as the controller's next writes depend on them.

use std::cell::OnceCell;
use std::collections::HashMap;

use jiff::Timestamp;

use super::cells::{Cells, Eye, Is};
use super::course::run;
use super::next::decide;
use super::{
    Action, Assume, Change, Forecast, MaxUnavailable, Next, Purpose, current_revision, made_from,
    may_be_made_from,
};
use crate::kinds::{
    Condition, Meta, OwnerReference, PersistentVolumeClaim, Pod, REVISION_LABEL, RollingUpdate, StatefulSet,
    StatefulSetStatus, Strategy,
};
use crate::snapshot::{Observed, Scope, ServerVersion, Snapshot, Unseen};

/// The controller's world in memory: what it would see, and what its writes make of it.
#[derive(Clone, Debug)]
pub struct World {
    observed: Observed,
    assume: Assume,
    /// Made when it is asked for, and kept while only single pods change.
    model: OnceCell<Model>,
}

/// The replicas as the controller looks at them, and where their pods are.
#[derive(Clone, Debug)]
struct Model {
    cells: Cells,
    at: HashMap<String, usize>,
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
        World { observed, assume: Assume::default(), model: OnceCell::new() }
    }

    /// What was seen of one set.
    ///
    /// # Errors
    /// [`Unseen`] when pods could not be read.
    pub fn of(snapshot: &Snapshot<'_>) -> Result<World, Unseen> {
        let all = snapshot.replicas()?.iter().chain(snapshot.condemned()?);
        let pods = all.clone().filter_map(|replica| replica.pod.or(replica.foreign_pod)).cloned().collect();
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
        self.model.take();
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
        self.model.take();
        &mut self.observed.sets[0]
    }

    /// What is assumed of pods from now on.
    pub fn assume(&mut self, assume: Assume) {
        self.model.take();
        self.assume = assume;
    }

    /// What is assumed.
    pub(super) fn assumed(&self) -> &Assume {
        &self.assume
    }

    /// Changes the set, and the controller has looked at it: nothing but what it then writes is of interest.
    pub fn change(&mut self, change: &Change) {
        let set = &mut self.observed.sets[0];
        set.status.observed_generation = set.metadata.generation;
        if let Some(partition) = change.partition {
            let rolling = set.rolling_update().unwrap_or_default();
            set.spec.update_strategy.rolling_update = Some(RollingUpdate { partition, ..rolling });
        }
        if let Some(revision) = &change.template
            && *revision != set.status.update_revision
        {
            self.set_mut().status.update_revision.clone_from(revision);
        }
        if let Some(replicas) = change.replicas {
            self.set_mut().spec.replicas = Some(replicas);
        }
    }

    /// All pods.
    pub fn pods(&self) -> &[Pod] {
        self.observed.pods.as_deref().unwrap_or_default()
    }

    /// All pods, to change them.
    pub fn pods_mut(&mut self) -> &mut Vec<Pod> {
        self.model.take();
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
        self.model.take();
        self.observed.claims.as_mut().ok()
    }

    fn model(&self) -> &Model {
        self.model.get_or_init(|| {
            let names = self.pods().iter().enumerate().map(|(at, pod)| (pod.metadata.name.clone(), at));
            Model { cells: self.look(|snapshot| Cells::of(snapshot, &self.assume)), at: names.collect() }
        })
    }

    /// How many times a replica was looked at since the template or the number of replicas changed: a measure of the work.
    pub fn effort(&self) -> u64 {
        self.model().cells.effort()
    }

    /// Runs the controller to its end, after a change; this is the world then.
    pub fn run(&mut self, change: &Change) -> Forecast {
        run(self, change)
    }

    /// What the controller does next.
    pub fn next(&self) -> Next {
        decide(self.set(), self.max_unavailable(), &self.model().cells)
    }

    /// Revisions are not part of the model, so none is known to be gone (see [`super::current_revision`]).
    fn current(&self) -> &str {
        let status = &self.set().status;
        if status.current_revision.is_empty() { &status.update_revision } else { &status.current_revision }
    }

    /// The revision the replica gets if it is created now, and the other one it may get where the controller races.
    pub fn revisions_for(&self, ordinal: i32) -> (String, Option<String>) {
        let (set, current) = (self.set(), self.current());
        let left = || self.model().cells.alive_besides(current, ordinal);
        let or = may_be_made_from(set, current, ordinal, left).map(str::to_owned);
        (made_from(set, current, ordinal).to_owned(), or)
    }

    /// Where the set's own pod with this ordinal is.
    fn position(&self, ordinal: i32) -> Option<usize> {
        let model = self.model();
        model.cells.get(ordinal).filter(|cell| cell.has_pod())?;
        model.at.get(&self.set().pod_name(ordinal)).copied()
    }

    /// Changes the set's own pod with this ordinal.
    fn with_pod(&mut self, ordinal: i32, change: impl FnOnce(&mut Pod)) {
        let Some(at) = self.position(ordinal) else { return };
        if let Ok(pods) = &mut self.observed.pods {
            pods.get_mut(at).map(change);
        }
        self.note(ordinal, Some(at));
    }

    /// Notes that the replica's pod is the one there now, or none.
    fn note(&mut self, ordinal: i32, at: Option<usize>) {
        let Observed { sets, pods, server, taken_at, .. } = &self.observed;
        let eye = Eye { set: &sets[0], server: server.as_ref(), now: *taken_at, assume: &self.assume };
        if let Some(model) = self.model.get_mut() {
            let pod = at.and_then(|at| pods.as_ref().ok()?.get(at));
            model.cells.set(&eye, ordinal, pod);
        }
    }

    /// One write of the controller; a new pod is Pending, on `revision`. A sync that deletes pods for an update writes
    /// `status.currentReplicas` lower by their number, whatever their revision; a later sync counts anew.
    pub fn act(&mut self, action: Action, revision: &str) {
        match action {
            Action::Create(ordinal) => {
                // One that was broken is gone.
                self.assume.broken_pods.remove(&ordinal);
                let pod = new_pod(self.set(), ordinal, revision);
                self.add(ordinal, pod);
            }
            Action::Delete(ordinal, purpose) => {
                if purpose == Purpose::Update {
                    let current = &mut self.observed.sets[0].status.current_replicas;
                    *current = (*current - 1).max(0);
                }
                self.delete(ordinal);
            }
        }
    }

    fn add(&mut self, ordinal: i32, pod: Pod) {
        let name = pod.metadata.name.clone();
        if self.model().at.contains_key(&name) {
            // A name that is taken is nothing the controller goes on with.
            self.pods_mut().push(pod);
            return;
        }
        let Ok(pods) = &mut self.observed.pods else { return };
        let at = pods.len();
        pods.push(pod);
        if let Some(model) = self.model.get_mut() {
            model.at.insert(name, at);
        }
        self.note(ordinal, Some(at));
    }

    /// Somebody deletes a pod, with grace. It is Terminating then; one that has ended or has no node is gone at once, as
    /// `registry/core/pod/strategy.go:CheckGracefulDelete` gives it no grace period.
    pub fn delete(&mut self, ordinal: i32) {
        let now = self.observed.taken_at;
        let mut ends = false;
        self.with_pod(ordinal, |pod| {
            pod.metadata.deletion_timestamp.get_or_insert(now);
            let at_once = pod.is_finished() || pod.spec.node_name.is_empty();
            ends = at_once && pod.metadata.finalizers.is_empty();
        });
        if ends {
            self.remove(ordinal);
        }
    }

    /// The pod is gone.
    pub fn remove(&mut self, ordinal: i32) {
        let Some(at) = self.position(ordinal) else { return };
        let Ok(pods) = &mut self.observed.pods else { return };
        let gone = pods.swap_remove(at);
        if let Some(model) = self.model.get_mut() {
            model.at.remove(&gone.metadata.name);
            if let Some(moved) = pods.get(at) {
                model.at.insert(moved.metadata.name.clone(), at);
            }
        }
        self.note(ordinal, None);
    }

    /// Pods that are being deleted end; if there are none, those that start become available. Gives whether any did.
    pub fn pass_time(&mut self) -> bool {
        let all = |what: Is| -> Vec<i32> {
            let Cells { wanted, condemned, .. } = &self.model().cells;
            wanted.all(what).chain(condemned.all(what)).map(|cell| cell.ordinal).collect()
        };
        let (ending, starting) = (all(Is::Ending), all(Is::Starting));
        for ordinal in &ending {
            self.remove(*ordinal);
        }
        if ending.is_empty() {
            for ordinal in &starting {
                self.make_available(*ordinal);
            }
        }
        !ending.is_empty() || !starting.is_empty()
    }

    /// The pod runs, has been ready for as long as is asked for, and stays so.
    pub fn make_available(&mut self, ordinal: i32) {
        self.with_pod(ordinal, |pod| {
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
        });
    }

    /// The status the controller writes at the end of a sync that writes nothing else
    /// (`stateful_set_control.go:computeReplicaStatus`, `stateful_set_utils.go:completeUpdate`).
    pub fn status(&self) -> StatefulSetStatus {
        let (set, cells) = (self.set(), &self.model().cells);
        let (current, update) = (self.current().to_owned(), set.status.update_revision.clone());
        let mut status = StatefulSetStatus {
            observed_generation: set.metadata.generation,
            conditions: set.status.conditions.clone(),
            replicas: cells.pods,
            ready_replicas: cells.ready,
            available_replicas: cells.available,
            current_replicas: cells.alive(&current),
            updated_replicas: cells.alive(&update),
            ..StatefulSetStatus::default()
        };
        // Before 1.37 for RollingUpdate only (kubernetes/kubernetes#136833). It does not ask for minReadySeconds.
        let old =
            matches!(self.observed.server.as_ref().and_then(ServerVersion::numbers), Some((1, ..37, _)));
        let completes = !old || set.strategy() == Strategy::RollingUpdate;
        let counts = [status.updated_replicas, status.ready_replicas, status.replicas];
        status.current_revision = current;
        if completes && counts.iter().all(|count| *count == set.replicas()) {
            status.current_replicas = status.updated_replicas;
            status.current_revision.clone_from(&update);
        }
        status.update_revision = update;
        status
    }

    /// The controller writes its status.
    pub fn settle(&mut self) {
        let status = self.status();
        // The replicas are as they were: nothing of it is theirs but the update's revision, which stays.
        self.observed.sets[0].status = status;
    }

    /// Whether this version heeds `maxUnavailable`.
    pub fn max_unavailable(&self) -> MaxUnavailable {
        MaxUnavailable::of(self.observed.server.as_ref())
    }
}

/// `stateful_set_utils.go:newVersionedStatefulSetPod`, as far as the controller looks at it later.
fn new_pod(set: &StatefulSet, ordinal: i32, revision: &str) -> Pod {
    let mut labels: crate::kinds::Map = set.spec.selector.match_labels.clone();
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
