//! What the controller looks at of each replica, and where such replicas are: its next step is found without looking at
//! all of them, and after a write only what was written is looked at again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::{Action, Assume, Blocker, Purpose, lacks_volume};
use crate::kinds::{Pod, StatefulSet};
use crate::snapshot::{Replica, ServerVersion, Snapshot};

/// What can be true of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    /// `processReplica` does something about it, or waits for it.
    Busy,
    /// `processReplica` writes.
    Writing,
    /// `processReplica` ends in an error.
    Failing,
    /// `stateful_set_utils.go:isUnavailable`.
    Unavailable,
    /// It has a pod that has something to do yet.
    Blocked,
    /// Its pod is not being deleted.
    Alive,
    /// Its pod is of another revision than the update's.
    Stale,
    /// The same, and not being deleted.
    StaleAlive,
    /// The same, and not available.
    StaleBroken,
    /// Stale, and available.
    StaleHealthy,
    /// An update one by one does something about it, or waits for it.
    Next,
    /// Its pod is being deleted, and is taken to end.
    Ending,
    /// Its pod is not available, and is taken to become it.
    Starting,
}

const TRAITS: usize = 13;

/// What `processReplica` does about one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing; an ordered set goes on to the next one.
    Pass,
    Write(Action),
    /// An ordered set waits; a Parallel one goes on.
    Hold(Blocker),
    /// The sync ends in an error and is tried again: in a Parallel set after the rest of the batch.
    Fail(Blocker),
}

/// A replica.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub ordinal: i32,
    pub step: Step,
    /// What its pod has yet to do before an ordered set goes on.
    pub blocker: Option<Blocker>,
    pod: Option<OfPod>,
    around: Surroundings,
    traits: u16,
}

/// What counts of a pod in the status.
#[derive(Clone, Debug)]
struct OfPod {
    revision: String,
    is_alive: bool,
    is_ready: bool,
    is_available: bool,
}

/// What a replica has besides its pod.
#[derive(Clone, Copy, Debug, Default)]
struct Surroundings {
    has_squatter: bool,
    claim_ends: bool,
    claim_is_stale: bool,
}

/// How replicas are looked at.
pub(super) struct Eye<'e> {
    pub set: &'e StatefulSet,
    pub server: Option<&'e ServerVersion>,
    pub now: Timestamp,
    pub assume: &'e Assume,
}

impl Eye<'_> {
    /// `podutil.IsPodAvailable`, which `stateful_set_utils.go:isRunningAndAvailable` is: for the phase it does not ask.
    fn is_available(&self, pod: &Pod) -> bool {
        let min_ready = self.set.spec.min_ready_seconds;
        let ready = pod.condition("Ready").filter(|ready| ready.status == "True");
        ready.is_some_and(|ready| {
            let long_enough = |since: Timestamp| {
                let at = since.saturating_add(SignedDuration::from_secs(min_ready.into()));
                at.is_ok_and(|at| at <= self.now)
            };
            min_ready == 0 || ready.last_transition_time.is_some_and(long_enough)
        })
    }

    /// What a pod has yet to do before an ordered set goes on.
    fn blocker(&self, pod: &Pod) -> Option<Blocker> {
        if pod.metadata.is_terminating() {
            Some(Blocker::Terminating)
        } else if !pod.is_ready() {
            Some(Blocker::NotReady)
        } else if !self.is_available(pod) {
            Some(Blocker::NotYetAvailable)
        } else {
            None
        }
    }

    /// `stateful_set_control.go:processReplica`.
    fn step(&self, ordinal: i32, pod: Option<&Pod>, around: Surroundings) -> Step {
        match pod {
            Some(pod) if pod.is_finished() => match pod.metadata.is_terminating() {
                true => Step::Hold(Blocker::Terminating),
                false => Step::Write(Action::Delete(ordinal, Purpose::Replace)),
            },
            // `createMissingPersistentVolumeClaims`
            Some(pod) if pod.status.phase == "Pending" && around.claim_ends => {
                Step::Fail(Blocker::ClaimEnding)
            }
            Some(pod) => match self.blocker(pod) {
                Some(blocker) if !self.set.is_parallel() => Step::Hold(blocker),
                // The API server refuses the update, as the volumes of a pod cannot be changed.
                _ if lacks_volume(self.set, pod) => Step::Fail(Blocker::VolumeMissing),
                blocker => blocker.map_or(Step::Pass, Step::Hold),
            },
            None if around.claim_is_stale => Step::Hold(Blocker::ClaimEnding),
            // `stateful_pod_control.go:CreateStatefulPod`: first the claims, then the pod.
            None if around.claim_ends => Step::Fail(Blocker::ClaimEnding),
            None if around.has_squatter => Step::Fail(Blocker::NameTaken),
            None => Step::Write(Action::Create(ordinal)),
        }
    }

    /// `stateful_pod_control.go:PodClaimIsStale`: a pod that is to be created has no uid yet, so every pod of its name that
    /// owns the claim is an earlier one.
    fn has_stale_claim(&self, replica: &Replica<'_>) -> bool {
        let policy = &self.set.spec.persistent_volume_claim_retention_policy;
        policy.when_scaled == "Delete"
            && replica
                .claims()
                .flat_map(|claim| &claim.metadata.owner_references)
                .any(|owner| owner.api_version == "v1" && owner.kind == "Pod" && owner.name == replica.name)
    }

    fn around(&self, replica: &Replica<'_>) -> Surroundings {
        Surroundings {
            has_squatter: replica.foreign_pod.is_some(),
            claim_ends: replica.claims().any(|claim| claim.metadata.is_terminating()),
            claim_is_stale: self.has_stale_claim(replica),
        }
    }

    fn cell(&self, ordinal: i32, pod: Option<&Pod>, around: Surroundings) -> Cell {
        let (set, assume) = (self.set, self.assume);
        let step = self.step(ordinal, pod, around);
        let blocker = pod.and_then(|pod| self.blocker(pod));
        let is_alive = pod.is_some_and(|pod| !pod.metadata.is_terminating());
        let is_available = pod.is_some_and(|pod| self.is_available(pod));
        // Before 1.34 it was `!isHealthy`, which minReadySeconds did not matter to.
        let by_readiness = matches!(self.server.and_then(ServerVersion::numbers), Some((1, ..34, _)));
        let is_up = if by_readiness { pod.is_some_and(Pod::is_ready) } else { is_available };
        let is_unavailable = !(is_up && is_alive);
        let is_stale = pod.is_some_and(|pod| pod.revision() != set.status.update_revision);
        let of_pod = pod.map(|pod| OfPod {
            revision: pod.revision().to_owned(),
            is_alive,
            is_ready: pod.is_ready(),
            is_available: pod.is_available(set.spec.min_ready_seconds, self.now),
        });
        let starts = pod.is_some_and(|pod| {
            is_alive
                && !pod.is_available(set.spec.min_ready_seconds, self.now)
                && !pod.is_finished()
                && !assume.broken_pods.contains(&ordinal)
                && !assume.broken_revisions.contains(pod.revision())
        });
        let all: [(Is, bool); TRAITS] = [
            (Is::Busy, step != Step::Pass),
            (Is::Writing, matches!(step, Step::Write(_))),
            (Is::Failing, matches!(step, Step::Fail(_))),
            (Is::Unavailable, is_unavailable),
            (Is::Blocked, blocker.is_some()),
            (Is::Alive, is_alive),
            (Is::Stale, is_stale),
            (Is::StaleAlive, is_stale && is_alive),
            (Is::StaleBroken, is_stale && is_alive && !is_available),
            (Is::StaleHealthy, is_stale && !is_unavailable),
            (Is::Next, pod.is_none() || is_unavailable || (is_stale && is_alive)),
            (Is::Ending, pod.is_some() && !is_alive && !assume.undying.contains(&ordinal)),
            (Is::Starting, starts),
        ];
        let traits = all.iter().filter(|(_, holds)| *holds).fold(0, |bits, (is, _)| bits | is.bit());
        Cell { ordinal, step, blocker, pod: of_pod, around, traits }
    }
}

impl Is {
    fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl Cell {
    /// Whether it has a pod of the set's.
    pub fn has_pod(&self) -> bool {
        self.pod.is_some()
    }

    pub fn is(&self, what: Is) -> bool {
        self.traits & what.bit() != 0
    }
}

/// Replicas by ordinal, and what is true of which.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    cells: BTreeMap<i32, Cell>,
    which: [BTreeSet<i32>; TRAITS],
    /// How many replicas decisions have come by.
    visits: std::cell::Cell<u64>,
}

impl Side {
    /// Replicas of which it is true, lowest ordinal first.
    pub fn all(&self, what: Is) -> impl DoubleEndedIterator<Item = &Cell> {
        self.from(what, i32::MIN)
    }

    /// The same, from an ordinal on.
    pub fn from(&self, what: Is, ordinal: i32) -> impl DoubleEndedIterator<Item = &Cell> {
        self.which[what as usize].range(ordinal..).filter_map(|ordinal| {
            self.visits.set(self.visits.get() + 1);
            self.cells.get(ordinal)
        })
    }

    /// The one with the highest ordinal.
    pub fn last(&self) -> Option<&Cell> {
        self.cells.values().next_back()
    }

    /// How many there are.
    pub fn count(&self, what: Is) -> usize {
        self.which[what as usize].len()
    }

    /// Where the replica is in the order.
    pub fn index(&self, cell: &Cell) -> usize {
        // Wanted replicas leave no gaps.
        let first = self.cells.keys().next().copied().unwrap_or(0);
        usize::try_from(i64::from(cell.ordinal) - i64::from(first)).unwrap_or(0)
    }

    fn put(&mut self, cell: Cell) {
        let before = self.cells.get(&cell.ordinal).map_or(0, |old| old.traits);
        self.mark(cell.ordinal, before, cell.traits);
        self.cells.insert(cell.ordinal, cell);
    }

    fn take(&mut self, ordinal: i32) -> Option<Cell> {
        let cell = self.cells.remove(&ordinal)?;
        self.mark(ordinal, cell.traits, 0);
        Some(cell)
    }

    fn mark(&mut self, ordinal: i32, before: u16, now: u16) {
        let changed = before ^ now;
        for (at, which) in self.which.iter_mut().enumerate().filter(|(at, _)| changed & (1 << at) != 0) {
            if now & (1 << at) == 0 {
                which.remove(&ordinal);
            } else {
                which.insert(ordinal);
            }
        }
    }
}

/// All replicas, wanted and condemned.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    pub wanted: Side,
    pub condemned: Side,
    /// Pods that are not being deleted, by revision.
    alive: HashMap<String, i32>,
    pub pods: i32,
    pub ready: i32,
    pub available: i32,
    looks: u64,
}

impl Cells {
    pub fn of(snapshot: &Snapshot<'_>, assume: &Assume) -> Cells {
        let eye = Eye { set: snapshot.set, server: snapshot.server, now: snapshot.taken_at, assume };
        let mut cells = Cells::default();
        for replica in snapshot.replicas().unwrap_or_default() {
            let cell = eye.cell(replica.ordinal, replica.pod, eye.around(replica));
            cells.count(cell.pod.as_ref(), 1);
            cells.wanted.put(cell);
        }
        for replica in snapshot.condemned().unwrap_or_default() {
            let cell = eye.cell(replica.ordinal, replica.pod, Surroundings::default());
            cells.count(cell.pod.as_ref(), 1);
            cells.condemned.put(cell);
        }
        cells
    }

    /// How many times a replica was looked at, to note what is true of it or to decide: a measure of the work.
    pub fn effort(&self) -> u64 {
        self.looks + self.wanted.visits.get() + self.condemned.visits.get()
    }

    /// How many pods of a revision are not being deleted.
    pub fn alive(&self, revision: &str) -> i32 {
        self.alive.get(revision).copied().unwrap_or(0)
    }

    /// The same without this replica's.
    pub fn alive_besides(&self, revision: &str, ordinal: i32) -> i32 {
        let own = self.get(ordinal).and_then(|cell| cell.pod.as_ref());
        self.alive(revision) - i32::from(own.is_some_and(|pod| pod.is_alive && pod.revision == revision))
    }

    pub fn get(&self, ordinal: i32) -> Option<&Cell> {
        self.wanted.cells.get(&ordinal).or_else(|| self.condemned.cells.get(&ordinal))
    }

    /// The replica has this pod now, or none.
    pub fn set(&mut self, eye: &Eye<'_>, ordinal: i32, pod: Option<&Pod>) {
        let is_wanted = self.wanted.cells.contains_key(&ordinal);
        let side = if is_wanted { &mut self.wanted } else { &mut self.condemned };
        let old = side.take(ordinal);
        let around = old.as_ref().map(|old| old.around).unwrap_or_default();
        self.count(old.and_then(|old| old.pod).as_ref(), -1);
        if !is_wanted && pod.is_none() {
            return;
        }
        let cell = eye.cell(ordinal, pod, around);
        self.count(cell.pod.as_ref(), 1);
        if is_wanted { &mut self.wanted } else { &mut self.condemned }.put(cell);
    }

    fn count(&mut self, pod: Option<&OfPod>, by: i32) {
        self.looks += 1;
        let Some(pod) = pod else { return };
        self.pods += by;
        self.ready += by * i32::from(pod.is_ready);
        self.available += by * i32::from(pod.is_available);
        if pod.is_alive {
            *self.alive.entry(pod.revision.clone()).or_default() += by;
        }
    }
}
