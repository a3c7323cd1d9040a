//! The controller's next step, in the order of `stateful_set_control.go:updateStatefulSet`.

use super::cells::{Cell, Cells, Is, Step};
use super::{Assume, MaxUnavailable};
use crate::kinds::{StatefulSet, Strategy};
use crate::snapshot::{Snapshot, Unseen};

/// `stateful_set_control.go:MaxBatchSize`.
const MAX_BATCH: usize = 500;

/// What happens next if nobody interferes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The controller writes; several at once only in Parallel sets and with maxUnavailable. A Parallel set's sync may go
    /// on with writes of another kind at once: they are what is next after these.
    Act(Vec<Action>),
    /// It waits for one replica.
    Wait {
        /// The replica's ordinal.
        on: i32,
        /// What that replica has yet to do.
        because: Blocker,
    },
    /// It does nothing more.
    Settled(Idle),
}

/// One write of the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Creates the pod, and missing claims before it.
    Create(i32),
    /// Deletes the pod.
    Delete(i32, Purpose),
}

/// Why a pod is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It is not wanted any more.
    ScaleDown,
    /// It comes back on the new revision.
    Update,
    /// It has ended (phase Failed or Succeeded) and comes back.
    Replace,
}

/// What a replica that is waited for has yet to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocker {
    /// End.
    Terminating,
    /// Become ready.
    NotReady,
    /// Stay ready for minReadySeconds.
    NotYetAvailable,
    /// Get its name, which a pod of somebody else has.
    NameTaken,
    /// Get a claim of its own: the one of that name is being deleted, or belongs to an earlier pod and is about to be.
    ClaimEnding,
    /// Get a volume of the claim templates that it was made without, which only its successor can.
    VolumeMissing,
}

/// Why nothing more is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// All is as the spec says.
    Done,
    /// Replicas below the partition keep the old revision.
    Partition,
    /// Old pods are replaced only when somebody deletes them.
    OnDelete,
    /// The set is being deleted.
    Deleting,
    /// The controller has not looked at the newest spec yet.
    Unobserved,
    /// The update strategy is not one this version knows.
    UnknownStrategy,
}

/// What the controller does next.
///
/// # Errors
/// [`Unseen`] when pods could not be read.
pub fn next(snapshot: &Snapshot<'_>) -> Result<Next, Unseen> {
    snapshot.replicas()?;
    let set = snapshot.set;
    Ok(rests(set).unwrap_or_else(|| {
        decide(set, MaxUnavailable::of(snapshot.server), &Cells::of(snapshot, &Assume::default()))
    }))
}

/// What keeps the controller from looking at the replicas at all.
fn rests(set: &StatefulSet) -> Option<Next> {
    if set.metadata.is_terminating() {
        Some(Next::Settled(Idle::Deleting))
    } else if !set.is_observed() {
        Some(Next::Settled(Idle::Unobserved))
    } else {
        None
    }
}

/// What it does next about these replicas.
pub(super) fn decide(set: &StatefulSet, mode: MaxUnavailable, cells: &Cells) -> Next {
    if let Some(rests) = rests(set) {
        return rests;
    }
    let view = View { set, mode, cells, ordered: !set.is_parallel() };
    if set.strategy() == Strategy::Recreate
        && let Some(next) = view.recreate()
    {
        return next;
    }
    if let Some(next) = view.replicas() {
        return view.with_update(next);
    }
    if let Some(next) = view.scale_down() {
        return next;
    }
    match set.strategy() {
        Strategy::RollingUpdate => view.update(),
        Strategy::OnDelete if cells.wanted.count(Is::Stale) > 0 => Next::Settled(Idle::OnDelete),
        Strategy::OnDelete | Strategy::Recreate => view.rest(Idle::Done),
        Strategy::Unknown => Next::Settled(Idle::UnknownStrategy),
    }
}

/// `stateful_set_utils.go:getStatefulSetMaxUnavailable`: percentages are rounded down, and it is never below 1.
pub(super) fn max_unavailable(set: &StatefulSet, mode: MaxUnavailable) -> i32 {
    let wanted = set.rolling_update().and_then(|rolling| rolling.max_unavailable);
    match (mode, wanted) {
        (MaxUnavailable::Ignored, _) | (_, None) => 1,
        (_, Some(wanted)) => wanted.rounded_down(set.replicas()).unwrap_or(1).max(1),
    }
}

struct View<'v> {
    set: &'v StatefulSet,
    mode: MaxUnavailable,
    cells: &'v Cells,
    ordered: bool,
}

fn wait(cell: &Cell, because: Blocker) -> Next {
    Next::Wait { on: cell.ordinal, because }
}

fn deletions<'c>(cells: impl Iterator<Item = &'c Cell>, purpose: Purpose) -> Option<Next> {
    let actions: Vec<_> = cells.map(|cell| Action::Delete(cell.ordinal, purpose)).collect();
    (!actions.is_empty()).then_some(Next::Act(actions))
}

impl View<'_> {
    /// `processReplica` for every wanted replica, lowest first.
    fn replicas(&self) -> Option<Next> {
        if !self.ordered {
            return self.replicas_in_batches();
        }
        let first = self.cells.wanted.all(Is::Busy).next()?;
        match first.step {
            Step::Pass => None,
            Step::Write(action) => Some(Next::Act(vec![action])),
            Step::Hold(because) | Step::Fail(because) => Some(wait(first, because)),
        }
    }

    /// `slowStartBatch`: 1, 2, 4, … replicas at a time. One that fails ends the sync after its batch.
    fn replicas_in_batches(&self) -> Option<Next> {
        let wanted = &self.cells.wanted;
        let failed = wanted.all(Is::Failing).next();
        let end = failed.map(|cell| end_of_batch(wanted.index(cell)));
        let actions: Vec<_> = wanted
            .all(Is::Writing)
            .take_while(|cell| end.is_none_or(|end| wanted.index(cell) < end))
            .filter_map(|cell| match cell.step {
                Step::Write(action) => Some(action),
                _ => None,
            })
            .collect();
        if !actions.is_empty() {
            return Some(Next::Act(actions));
        }
        failed.and_then(|cell| match cell.step {
            Step::Fail(because) => Some(wait(cell, because)),
            _ => None,
        })
    }

    /// A Parallel set replaces ended pods and updates others in one sync. The update still sees each pod as it was: one that
    /// has ended counts as available if its condition Ready was left true.
    fn with_update(&self, next: Next) -> Next {
        let wanted = &self.cells.wanted;
        let was_available = |action: &Action| {
            matches!(action, Action::Delete(ordinal, Purpose::Replace)
                if self.cells.get(*ordinal).is_some_and(|cell| !cell.is(Is::Unavailable)))
        };
        match next {
            Next::Act(mut actions)
                if !self.ordered
                    && self.set.strategy() == Strategy::RollingUpdate
                    && wanted.count(Is::Failing) == 0
                    && actions.iter().any(was_available) =>
            {
                if let Next::Act(update) = self.update() {
                    let ended = |ordinal| actions.contains(&Action::Delete(ordinal, Purpose::Replace));
                    let others: Vec<_> = update
                        .into_iter()
                        .filter(|action| matches!(action, Action::Delete(ordinal, _) if !ended(*ordinal)))
                        .collect();
                    actions.extend(others);
                }
                Next::Act(actions)
            }
            next => next,
        }
    }

    /// `processCondemned`, highest first.
    fn scale_down(&self) -> Option<Next> {
        let Cells { wanted, condemned, .. } = self.cells;
        if !self.ordered {
            return deletions(condemned.all(Is::Alive).rev(), Purpose::ScaleDown);
        }
        let last = condemned.last()?;
        let first_unavailable =
            wanted.all(Is::Unavailable).next().or_else(|| condemned.all(Is::Unavailable).next());
        let is_first = first_unavailable.is_some_and(|first| first.ordinal == last.ordinal);
        match last.blocker {
            Some(because) if because == Blocker::Terminating || !is_first => Some(wait(last, because)),
            _ => Some(Next::Act(vec![Action::Delete(last.ordinal, Purpose::ScaleDown)])),
        }
    }

    /// The update phase: from the top down to the partition.
    fn update(&self) -> Next {
        let wanted = &self.cells.wanted;
        let from = self.set.start().checked_add(self.set.partition());
        let next = from.and_then(|from| match (self.mode, self.ordered) {
            (MaxUnavailable::Ignored, _) => self.one_by_one(from),
            (MaxUnavailable::Counted, false) => self.broken_first(from),
            _ => self.within_budget(from),
        });
        next.unwrap_or_else(|| {
            let lowest = wanted.all(Is::Stale).next();
            let held = lowest.is_some_and(|lowest| from.is_none_or(|from| lowest.ordinal < from));
            self.rest(if held { Idle::Partition } else { Idle::Done })
        })
    }

    /// The loop of `updateStatefulSet` with the gate off.
    fn one_by_one(&self, from: i32) -> Option<Next> {
        let top = self.cells.wanted.from(Is::Next, from).next_back().filter(|top| top.has_pod())?;
        if top.is(Is::StaleAlive) {
            return Some(Next::Act(vec![Action::Delete(top.ordinal, Purpose::Update)]));
        }
        top.blocker.map(|because| wait(top, because))
    }

    /// `updateStatefulSetAfterInvariantEstablished`, and its Parallel form of 1.35.
    fn within_budget(&self, from: i32) -> Option<Next> {
        let victims = self.cells.wanted.from(Is::StaleAlive, from).rev().take(self.budget());
        deletions(victims, Purpose::Update)
    }

    /// The same for Parallel from 1.37 on: old pods that are down anyway first, all of them.
    fn broken_first(&self, from: i32) -> Option<Next> {
        let wanted = &self.cells.wanted;
        let healthy = wanted.from(Is::StaleHealthy, from).rev().take(self.budget());
        let victims = wanted.from(Is::StaleBroken, from).rev().chain(healthy);
        deletions(victims, Purpose::Update)
    }

    fn budget(&self) -> usize {
        let unavailable = self.cells.wanted.count(Is::Unavailable);
        usize::try_from(max_unavailable(self.set, self.mode)).unwrap_or(1).saturating_sub(unavailable)
    }

    /// `recreateDeleteAndWait`: `None` once all old pods are gone.
    fn recreate(&self) -> Option<Next> {
        let Cells { wanted, condemned, .. } = self.cells;
        let both = |what: Is| wanted.all(what).chain(condemned.all(what));
        deletions(both(Is::StaleAlive), Purpose::Update)
            .or_else(|| both(Is::Stale).next().map(|first| wait(first, Blocker::Terminating)))
    }

    /// Nothing is left to write; in a Parallel set replicas may still be on their way.
    fn rest(&self, rest: Idle) -> Next {
        let ending = || self.cells.condemned.all(Is::Blocked).next_back().and_then(waited);
        self.first_wait().or_else(ending).unwrap_or(Next::Settled(rest))
    }

    fn first_wait(&self) -> Option<Next> {
        self.cells.wanted.all(Is::Blocked).next().and_then(waited)
    }
}

fn waited(cell: &Cell) -> Option<Next> {
    cell.blocker.map(|because| wait(cell, because))
}

/// Where the batch of this index ends: 1, 3, 7, … 511, then 500 more each time.
fn end_of_batch(index: usize) -> usize {
    let (mut end, mut size) = (1, 1);
    while end <= index && size * 2 < MAX_BATCH {
        size *= 2;
        end += size;
    }
    if end > index { end } else { end + (index - end) / MAX_BATCH * MAX_BATCH + MAX_BATCH }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `stateful_set_control.go:slowStartBatch`, which doubles a batch until it has the size of the largest.
    #[test]
    fn batches_grow_until_they_are_the_largest() {
        let mut ends = vec![1, 3, 7, 15, 31, 63, 127, 255, 511];
        ends.extend((1..5).map(|number| 511 + number * MAX_BATCH));
        for index in 0..2000 {
            let wanted = ends.iter().find(|end| **end > index).unwrap();
            assert_eq!(end_of_batch(index), *wanted, "{index}");
        }
    }
}
