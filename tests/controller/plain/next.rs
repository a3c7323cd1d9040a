//! The controller's next step, found by looking at all replicas, one after another, as the controller does it.

use jiff::{SignedDuration, Timestamp};
use kubectl_sts::controller::{Action, Blocker, Idle, MaxUnavailable, Next, Purpose, lacks_volume};
use kubectl_sts::kinds::{Pod, Strategy};
use kubectl_sts::snapshot::{Replica, ServerVersion, Snapshot, Unseen};

const MAX_BATCH: usize = 500;

/// What the controller does next.
///
/// # Errors
/// [`Unseen`] when pods could not be read.
pub fn next(snapshot: &Snapshot<'_>) -> Result<Next, Unseen> {
    let set = snapshot.set;
    let replicas = snapshot.replicas()?;
    let condemned = snapshot.condemned()?;
    if set.metadata.is_terminating() {
        return Ok(Next::Settled(Idle::Deleting));
    }
    if !set.is_observed() {
        return Ok(Next::Settled(Idle::Unobserved));
    }
    let view = View { snapshot, ordered: !set.is_parallel() };
    if set.strategy() == Strategy::Recreate
        && let Some(next) = view.recreate(replicas, condemned)
    {
        return Ok(next);
    }
    if let Some(next) = view.replicas(replicas) {
        return Ok(view.with_update(replicas, next));
    }
    if let Some(next) = view.scale_down(replicas, condemned) {
        return Ok(next);
    }
    Ok(match set.strategy() {
        Strategy::RollingUpdate => view.update(replicas),
        Strategy::OnDelete if replicas.iter().any(|replica| view.is_stale(replica)) => {
            Next::Settled(Idle::OnDelete)
        }
        Strategy::OnDelete | Strategy::Recreate => view.rest(Idle::Done),
        Strategy::Unknown => Next::Settled(Idle::UnknownStrategy),
    })
}

/// `stateful_set_utils.go:getStatefulSetMaxUnavailable`: percentages are rounded down, and it is never below 1.
fn max_unavailable(snapshot: &Snapshot<'_>) -> i32 {
    let set = snapshot.set;
    let wanted = set.rolling_update().and_then(|rolling| rolling.max_unavailable);
    match (MaxUnavailable::of(snapshot.server), wanted) {
        (MaxUnavailable::Ignored, _) | (_, None) => 1,
        (_, Some(wanted)) => wanted.rounded_down(set.replicas()).unwrap_or(1).max(1),
    }
}

struct View<'s, 'a> {
    snapshot: &'s Snapshot<'a>,
    ordered: bool,
}

/// What `processReplica` does about one replica.
enum Step {
    /// Nothing; an ordered set goes on to the next one.
    Pass,
    Write(Action),
    /// An ordered set waits; a Parallel one goes on.
    Hold(Blocker),
    /// The sync ends in an error and is tried again: in a Parallel set after the rest of the batch.
    Fail(Blocker),
}

impl View<'_, '_> {
    /// `podutil.IsPodAvailable`, which `stateful_set_utils.go:isRunningAndAvailable` is: for the phase it does not ask.
    fn is_available(&self, pod: &Pod) -> bool {
        let min_ready = self.snapshot.set.spec.min_ready_seconds;
        let ready = pod.condition("Ready").filter(|ready| ready.status == "True");
        ready.is_some_and(|ready| {
            let long_enough = |since: Timestamp| {
                let at = since.saturating_add(SignedDuration::from_secs(min_ready.into()));
                at.is_ok_and(|at| at <= self.snapshot.taken_at)
            };
            min_ready == 0 || ready.last_transition_time.is_some_and(long_enough)
        })
    }

    /// `stateful_set_utils.go:isUnavailable`; before 1.34 it was `!isHealthy`, which minReadySeconds did not matter to.
    fn is_unavailable(&self, replica: &Replica<'_>) -> bool {
        let by_readiness =
            matches!(self.snapshot.server.and_then(ServerVersion::numbers), Some((1, ..34, _)));
        replica.pod.is_none_or(|pod| {
            let up = if by_readiness { pod.is_ready() } else { self.is_available(pod) };
            !up || pod.metadata.is_terminating()
        })
    }

    /// Whether the replica has a pod of another revision than the update's.
    fn is_stale(&self, replica: &Replica<'_>) -> bool {
        replica.pod.is_some_and(|pod| pod.revision() != self.snapshot.set.status.update_revision)
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
    fn replica(&self, replica: &Replica<'_>) -> Step {
        let claim_ends = || replica.claims().any(|claim| claim.metadata.is_terminating());
        match replica.pod {
            Some(pod) if pod.is_finished() => match pod.metadata.is_terminating() {
                true => Step::Hold(Blocker::Terminating),
                false => Step::Write(Action::Delete(replica.ordinal, Purpose::Replace)),
            },
            // `createMissingPersistentVolumeClaims`
            Some(pod) if pod.status.phase == "Pending" && claim_ends() => Step::Fail(Blocker::ClaimEnding),
            Some(pod) => match self.blocker(pod) {
                Some(blocker) if self.ordered => Step::Hold(blocker),
                _ if lacks_volume(self.snapshot.set, pod) => Step::Fail(Blocker::VolumeMissing),
                blocker => blocker.map_or(Step::Pass, Step::Hold),
            },
            None if self.has_stale_claim(replica) => Step::Hold(Blocker::ClaimEnding),
            // `stateful_pod_control.go:CreateStatefulPod`: first the claims, then the pod.
            None if claim_ends() => Step::Fail(Blocker::ClaimEnding),
            None if replica.foreign_pod.is_some() => Step::Fail(Blocker::NameTaken),
            None => Step::Write(Action::Create(replica.ordinal)),
        }
    }

    /// `stateful_pod_control.go:PodClaimIsStale`: a pod that is to be created has no uid yet, so every pod of its name that
    /// owns the claim is an earlier one.
    fn has_stale_claim(&self, replica: &Replica<'_>) -> bool {
        let policy = &self.snapshot.set.spec.persistent_volume_claim_retention_policy;
        policy.when_scaled == "Delete"
            && replica
                .claims()
                .flat_map(|claim| &claim.metadata.owner_references)
                .any(|owner| owner.api_version == "v1" && owner.kind == "Pod" && owner.name == replica.name)
    }

    /// `processReplica` for every wanted replica, lowest first.
    fn replicas(&self, replicas: &[Replica<'_>]) -> Option<Next> {
        if !self.ordered {
            return self.replicas_in_batches(replicas);
        }
        replicas.iter().find_map(|replica| match self.replica(replica) {
            Step::Pass => None,
            Step::Write(action) => Some(Next::Act(vec![action])),
            Step::Hold(because) | Step::Fail(because) => Some(Next::Wait { on: replica.ordinal, because }),
        })
    }

    /// `slowStartBatch`: 1, 2, 4, … replicas at a time. One that fails ends the sync after its batch.
    fn replicas_in_batches(&self, replicas: &[Replica<'_>]) -> Option<Next> {
        let (mut left, mut size) = (replicas, 1);
        let mut actions = Vec::new();
        let mut failed = None;
        while !left.is_empty() && failed.is_none() {
            let (batch, rest) = left.split_at(size.min(left.len()));
            for replica in batch {
                match self.replica(replica) {
                    Step::Write(action) => actions.push(action),
                    Step::Fail(because) => {
                        failed.get_or_insert(Next::Wait { on: replica.ordinal, because });
                    }
                    Step::Pass | Step::Hold(_) => {}
                }
            }
            (left, size) = (rest, (size * 2).min(MAX_BATCH));
        }
        if actions.is_empty() { failed } else { Some(Next::Act(actions)) }
    }

    /// The update of a Parallel set in the sync that replaces ended pods: those whose condition Ready is true count as
    /// available there, although they have just been deleted.
    fn with_update(&self, replicas: &[Replica<'_>], next: Next) -> Next {
        let Next::Act(mut actions) = next else { return next };
        let rolls = self.snapshot.set.strategy() == Strategy::RollingUpdate;
        let fails = replicas.iter().any(|replica| matches!(self.replica(replica), Step::Fail(_)));
        let ended = |replica: &&Replica<'_>| replica.pod.is_some_and(Pod::is_finished);
        let ready = replicas.iter().filter(ended).any(|replica| !self.is_unavailable(replica));
        if rolls
            && ready
            && !fails
            && !self.ordered
            && let Next::Act(update) = self.update(replicas)
        {
            for action in update {
                let Action::Delete(ordinal, _) = action else { continue };
                let replaced = Action::Delete(ordinal, Purpose::Replace);
                if !actions.contains(&replaced) {
                    actions.push(action);
                }
            }
        }
        Next::Act(actions)
    }

    /// `processCondemned`, highest first.
    fn scale_down(&self, replicas: &[Replica<'_>], condemned: &[Replica<'_>]) -> Option<Next> {
        let first_unavailable = replicas.iter().chain(condemned).find(|replica| self.is_unavailable(replica));
        let mut actions = Vec::new();
        for replica in condemned.iter().rev() {
            let Some(pod) = replica.pod else { continue };
            let is_first = first_unavailable.is_some_and(|first| first.ordinal == replica.ordinal);
            match self.blocker(pod) {
                Some(Blocker::Terminating) if self.ordered => {
                    return Some(Next::Wait { on: replica.ordinal, because: Blocker::Terminating });
                }
                Some(Blocker::Terminating) => {}
                Some(because) if self.ordered && !is_first => {
                    return Some(Next::Wait { on: replica.ordinal, because });
                }
                _ if self.ordered => {
                    return Some(Next::Act(vec![Action::Delete(replica.ordinal, Purpose::ScaleDown)]));
                }
                _ => actions.push(Action::Delete(replica.ordinal, Purpose::ScaleDown)),
            }
        }
        (!actions.is_empty()).then_some(Next::Act(actions))
    }

    /// The update phase: from the top down to the partition.
    fn update(&self, replicas: &[Replica<'_>]) -> Next {
        let partition = usize::try_from(self.snapshot.set.partition()).unwrap_or(0);
        let targets = replicas.get(partition..).unwrap_or(&[]);
        let next = match (MaxUnavailable::of(self.snapshot.server), self.ordered) {
            (MaxUnavailable::Ignored, _) => self.one_by_one(targets),
            (MaxUnavailable::Counted, false) => self.broken_first(replicas, targets),
            _ => self.within_budget(replicas, targets),
        };
        next.unwrap_or_else(|| {
            let below = &replicas[..partition.min(replicas.len())];
            let held = below.iter().any(|replica| self.is_stale(replica));
            self.rest(if held { Idle::Partition } else { Idle::Done })
        })
    }

    /// The loop of `updateStatefulSet` with the gate off.
    fn one_by_one(&self, targets: &[Replica<'_>]) -> Option<Next> {
        for replica in targets.iter().rev() {
            let pod = replica.pod?;
            if self.is_stale(replica) && !pod.metadata.is_terminating() {
                return Some(Next::Act(vec![Action::Delete(replica.ordinal, Purpose::Update)]));
            }
            if self.is_unavailable(replica)
                && let Some(because) = self.blocker(pod)
            {
                return Some(Next::Wait { on: replica.ordinal, because });
            }
        }
        None
    }

    /// `updateStatefulSetAfterInvariantEstablished`, and its Parallel form of 1.35.
    fn within_budget(&self, replicas: &[Replica<'_>], targets: &[Replica<'_>]) -> Option<Next> {
        let stale = |replica: &&Replica<'_>| {
            self.is_stale(replica) && replica.pod.is_some_and(|pod| !pod.metadata.is_terminating())
        };
        let budget = self.budget(replicas);
        let victims: Vec<_> = targets.iter().rev().filter(stale).take(budget).collect();
        self.deletions(&victims, targets.iter().any(|replica| self.is_stale(replica)), replicas)
    }

    /// The same for Parallel from 1.37 on: old pods that are down anyway first, all of them.
    fn broken_first(&self, replicas: &[Replica<'_>], targets: &[Replica<'_>]) -> Option<Next> {
        let old = |replica: &&Replica<'_>| self.is_stale(replica);
        let mut victims: Vec<_> = targets
            .iter()
            .rev()
            .filter(old)
            .filter(|replica| {
                replica.pod.is_some_and(|pod| !pod.metadata.is_terminating() && !self.is_available(pod))
            })
            .collect();
        let healthy = targets.iter().rev().filter(old).filter(|replica| !self.is_unavailable(replica));
        victims.extend(healthy.take(self.budget(replicas)));
        self.deletions(&victims, targets.iter().any(|replica| self.is_stale(replica)), replicas)
    }

    fn budget(&self, replicas: &[Replica<'_>]) -> usize {
        let unavailable = replicas.iter().filter(|replica| self.is_unavailable(replica)).count();
        usize::try_from(max_unavailable(self.snapshot)).unwrap_or(1).saturating_sub(unavailable)
    }

    fn deletions(&self, victims: &[&Replica<'_>], left: bool, replicas: &[Replica<'_>]) -> Option<Next> {
        if victims.is_empty() {
            return left.then(|| self.first_wait(replicas)).flatten();
        }
        Some(Next::Act(
            victims.iter().map(|replica| Action::Delete(replica.ordinal, Purpose::Update)).collect(),
        ))
    }

    /// `recreateDeleteAndWait`: `None` once all old pods are gone.
    fn recreate(&self, replicas: &[Replica<'_>], condemned: &[Replica<'_>]) -> Option<Next> {
        let old: Vec<_> = replicas.iter().chain(condemned).filter(|replica| self.is_stale(replica)).collect();
        let deletions: Vec<_> = old
            .iter()
            .filter(|replica| replica.pod.is_some_and(|pod| !pod.metadata.is_terminating()))
            .map(|replica| Action::Delete(replica.ordinal, Purpose::Update))
            .collect();
        match (deletions.is_empty(), old.first()) {
            (false, _) => Some(Next::Act(deletions)),
            (true, Some(first)) => Some(Next::Wait { on: first.ordinal, because: Blocker::Terminating }),
            (true, None) => None,
        }
    }

    /// Nothing is left to write; in a Parallel set replicas may still be on their way.
    fn rest(&self, rest: Idle) -> Next {
        let replicas = self.snapshot.replicas().unwrap_or_default();
        let condemned = self.snapshot.condemned().unwrap_or_default();
        let ending = |replica: &Replica<'_>| {
            let because = replica.pod.and_then(|pod| self.blocker(pod))?;
            Some(Next::Wait { on: replica.ordinal, because })
        };
        self.first_wait(replicas)
            .or_else(|| condemned.iter().rev().find_map(ending))
            .unwrap_or(Next::Settled(rest))
    }

    fn first_wait(&self, replicas: &[Replica<'_>]) -> Option<Next> {
        replicas.iter().find_map(|replica| {
            let because = self.blocker(replica.pod?)?;
            Some(Next::Wait { on: replica.ordinal, because })
        })
    }
}
