//! One run of the loop, from what was agreed to until its end.

use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use tokio::time::Instant;

use super::effect::{describe, drift, has_effect, is_another, object, version};
use super::journal::{Replacement, check_replacements};
use super::{Acting, Cluster, Entry, EntryResult, Limits, Outcome, Witness};
use crate::cluster::Performed;
use crate::error::Error;
use crate::kinds::Strategy;
use crate::plan::{Agreement, Goal, Refusal, Step, plan_in_full};
use crate::rules::{Stuck, stuck};
use crate::time::{after, doubled};
use crate::words;

/// At least how often is looked, as time alone makes pods available and evidence old.
const LOOK: Duration = Duration::from_millis(500);
/// How often a write is tried against conflicts in a row: the controller writes the status of a busy set all the time.
const CONFLICTS: u32 = 25;
/// How often a write is tried that a budget or a limit of requests refuses.
const REFUSALS: u32 = 5;
/// The pause after the first conflict; it doubles up to [`LOOK`].
const PAUSE: Duration = Duration::from_millis(10);
/// How long the cluster may fail to be read before a decision.
const UNREADABLE: Duration = Duration::from_secs(60);
/// How long the effect of a write may take to be seen. Lists are read from etcd, so it should be there at once.
const EFFECT: Duration = Duration::from_secs(3);

pub(super) struct Run<'r, C> {
    cluster: &'r mut C,
    goal: &'r dyn Goal,
    agreement: &'r Agreement,
    limits: &'r Limits,
    witness: &'r mut dyn Witness,
    /// How many replicas were wanted at the beginning.
    replicas: Option<i32>,
    acting: Option<Acting>,
    started: Instant,
    reached_since: Option<Instant>,
    /// What it seems to be stuck on, and since when.
    evidence: Option<(String, Instant)>,
    unreadable_since: Option<Instant>,
    /// Writes in a row that were not done.
    refused: u32,
    replacements: Vec<Replacement>,
    pub(super) journal: Vec<Entry>,
}

/// What to do next.
enum Decision {
    Wait(Instant),
    Write(Step),
    End(Outcome),
}

impl<'r, C: Cluster> Run<'r, C> {
    pub(super) fn of(
        cluster: &'r mut C,
        goal: &'r dyn Goal,
        agreement: &'r Agreement,
        limits: &'r Limits,
        witness: &'r mut dyn Witness,
    ) -> Run<'r, C> {
        let replicas = cluster.with_snapshot(|now| now.map(|now| now.set.replicas()));
        Run {
            cluster,
            goal,
            agreement,
            limits,
            witness,
            replicas,
            acting: agreement.writes().then(Acting::begin),
            started: Instant::now(),
            reached_since: None,
            evidence: None,
            unreadable_since: None,
            refused: 0,
            replacements: Vec::new(),
            journal: Vec::new(),
        }
    }

    pub(super) async fn until_the_end(&mut self) -> Outcome {
        // Whether all that is known of the set and its pods was read at one moment, and not by watches of different age.
        let mut is_of_one_moment = !self.agreement.writes();
        loop {
            self.witness.trouble(self.cluster.trouble());
            let decision = self.decide();
            if self.is_interrupted() {
                return Outcome::Interrupted;
            }
            if self.limits.timeout.is_some_and(|timeout| self.started.elapsed() >= timeout) {
                return Outcome::TimedOut;
            }
            match decision {
                Decision::Wait(until) => {
                    is_of_one_moment = !self.agreement.writes();
                    if self.waits(until).await {
                        return Outcome::Interrupted;
                    }
                }
                Decision::Write(_) | Decision::End(_) if !is_of_one_moment => {
                    match self.cluster.read_again().await {
                        Ok(()) => {
                            self.unreadable_since = None;
                            is_of_one_moment = true;
                        }
                        Err(error) => {
                            let since = *self.unreadable_since.get_or_insert_with(Instant::now);
                            if since.elapsed() >= UNREADABLE {
                                return Outcome::Error(error);
                            }
                            if self.waits(after(Instant::now(), LOOK)).await {
                                return Outcome::Interrupted;
                            }
                        }
                    }
                }
                Decision::End(outcome) => return outcome,
                Decision::Write(step) => {
                    is_of_one_moment = false;
                    if let Some(outcome) = self.write(step).await {
                        return outcome;
                    }
                }
            }
        }
    }

    fn decide(&mut self) -> Decision {
        let Run { cluster, goal, witness, replacements, journal, limits, .. } = self;
        let look = cluster.with_snapshot(|snapshot| {
            let snapshot = snapshot?;
            witness.look(snapshot);
            let elsewhere = check_replacements(snapshot, replacements, journal);
            let plan = goal.plan(snapshot);
            let rests = plan.as_ref().is_ok_and(|plan| plan.steps.is_empty());
            // Whoever deletes the pods of an OnDelete set looks after them.
            let on_delete = snapshot.set.strategy() == Strategy::OnDelete;
            let settles = rests && !limits.endless && !on_delete && snapshot.unsteady().is_some();
            let waits =
                plan.as_ref().is_ok_and(|plan| matches!(plan.steps.first(), Some(Step::Await { .. })));
            let stuck = if (waits || settles) && !limits.endless { stuck(snapshot) } else { None };
            Some((elsewhere, plan, stuck, settles))
        });
        let Some((elsewhere, plan, stuck, settles)) = look else { return Decision::End(Outcome::Gone) };
        let plan = match plan {
            Ok(plan) => plan,
            Err(stop) => return Decision::End(stop.into()),
        };
        if let Some(what) = elsewhere {
            return Decision::End(Outcome::Drifted(what));
        }
        match plan.steps.into_iter().next() {
            // What is ready now was not a moment ago, and may not be in another one.
            None if settles => self.waiting(stuck),
            None => self.reached(),
            Some(Step::Await { .. }) => self.waiting(stuck),
            Some(write @ (Step::Patch(_) | Step::DeletePod { .. })) => {
                (self.reached_since, self.evidence) = (None, None);
                Decision::Write(write)
            }
        }
    }

    /// The goal is reached, and has to stay so.
    fn reached(&mut self) -> Decision {
        self.evidence = None;
        let since = *self.reached_since.get_or_insert_with(Instant::now);
        let look = after(Instant::now(), LOOK);
        match self.limits.endless {
            true => Decision::Wait(look),
            false if since.elapsed() >= self.limits.stable_for => Decision::End(Outcome::Reached),
            false => Decision::Wait(look.min(after(since, self.limits.stable_for))),
        }
    }

    /// Something is waited for, which may never come.
    fn waiting(&mut self, stuck: Option<Stuck>) -> Decision {
        self.reached_since = None;
        let look = after(Instant::now(), LOOK);
        let Some(stuck) = stuck else {
            self.evidence = None;
            return Decision::Wait(look);
        };
        let first = match &self.evidence {
            Some((known, first)) if *known == stuck.on => *first,
            _ => Instant::now(),
        };
        self.evidence = Some((stuck.on.clone(), first));
        if first.elapsed() >= self.limits.stuck_after {
            return Decision::End(Outcome::Stuck(Box::new(stuck)));
        }
        Decision::Wait(look.min(after(first, self.limits.stuck_after)))
    }

    /// Does one write, if it was agreed to, and verifies it. `None` when there is more to do.
    async fn write(&mut self, step: Step) -> Option<Outcome> {
        if let Some(outcome) = self.not_agreed(&step) {
            return Some(outcome);
        }
        let number = self.journal.len();
        let (at, replacement, before) = self.cluster.with_snapshot(|now| {
            let at = now.map_or_else(Timestamp::now, |now| now.taken_at);
            (at, now.and_then(|now| Replacement::of(&step, now, number)), now.map(version))
        });
        let performed = self.cluster.perform(&step, false).await;
        let result = match &performed {
            Ok(performed) => performed.into(),
            Err(failure) if failure.is_uncertain => EntryResult::Uncertain(failure.error.what().to_owned()),
            Err(failure) => EntryResult::Refused(failure.error.what().to_owned()),
        };
        self.journal.push(Entry { at, step: step.clone(), result });
        match performed {
            Ok(Performed::Done) => {
                self.refused = 0;
                self.replacements.extend(replacement);
                self.verify(&step, before.as_deref()).await.map(Outcome::Error)
            }
            Ok(Performed::Conflict(_) | Performed::AlreadySo) => self.look_again(&step, CONFLICTS).await,
            Ok(Performed::TooManyRequests(message)) => {
                let refused = self.look_again(&step, REFUSALS).await;
                refused.map(|outcome| match outcome {
                    Outcome::Drifted(_) => Outcome::Refused(Refusal {
                        reason: "too-many-requests",
                        because: message,
                        hint: "run the same command again later: it continues where the cluster is"
                            .to_owned(),
                    }),
                    other => other,
                })
            }
            Err(failure) => Some(Outcome::Error(failure.error)),
        }
    }

    /// Why this write is not covered by what was agreed to, at this moment.
    fn not_agreed(&self, step: &Step) -> Option<Outcome> {
        if self.journal.iter().any(|entry| entry.is_done() && entry.step == *step) {
            let what = format!("another client has undone a change: {}", describe(step));
            return Some(Outcome::Drifted(what));
        }
        let pauses = matches!(step, Step::Patch(patch) if patch.pauses);
        let plan = self.cluster.with_snapshot(|now| now.map(|now| plan_in_full(self.goal, now)))?;
        let plan = match plan {
            Ok(plan) => plan,
            Err(stop) => return Some(stop.into()),
        };
        let beyond = self.agreement.beyond(&plan);
        if !beyond.is_empty() && !pauses {
            let names = words::list(&beyond, usize::MAX);
            return Some(Outcome::Drifted(format!("{names} would restart too, which the plan did not say")));
        }
        if self.agreement.covers(step) {
            return None;
        }
        let replicas = self.cluster.with_snapshot(|now| now.map(|now| now.set.replicas()));
        let scaled = self.replicas.zip(replicas).filter(|(before, now)| before != now);
        Some(Outcome::Drifted(drift(step, self.agreement.steps(), scaled)))
    }

    /// Whether a write that the server says is done has had an effect: something between us may have answered instead.
    async fn verify(&mut self, step: &Step, before: Option<&str>) -> Option<Error> {
        let end = after(Instant::now(), EFFECT);
        let mut pause = PAUSE;
        loop {
            // A cluster that cannot be read now is read before the next decision.
            self.cluster.read_again().await.ok()?;
            if self.cluster.with_snapshot(|now| now.is_none_or(|now| has_effect(step, before, now))) {
                return None;
            }
            if Instant::now() >= end {
                let what = describe(step);
                if let Some(entry) = self.journal.last_mut() {
                    entry.result = EntryResult::Refused("the object is unchanged".to_owned());
                }
                return Some(
                    Error::cluster(format!(
                        "the API server answered that this was done, but it had no effect: {what}"
                    ))
                    .reason("no-effect")
                    .hint("find out which proxy or gateway stands between this machine and the API server"),
                );
            }
            tokio::time::sleep(pause).await;
            pause = doubled(pause, LOOK);
        }
    }

    /// After a write that was not done: reads again, and says so if it can never be done as it was agreed to.
    async fn look_again(&mut self, step: &Step, most: u32) -> Option<Outcome> {
        self.refused += 1;
        if self.refused >= most {
            return Some(Outcome::Drifted(format!("another client keeps changing {}", object(step))));
        }
        if self.cluster.read_again().await.is_ok() {
            let other = self.cluster.with_snapshot(|now| now.is_some_and(|now| is_another(step, now)));
            if other {
                return Some(Outcome::Drifted(drift(step, self.agreement.steps(), None)));
            }
        }
        let pause = PAUSE.saturating_mul(1 << self.refused.min(10)).min(LOOK);
        self.waits(after(Instant::now(), pause)).await.then_some(Outcome::Interrupted)
    }

    fn is_interrupted(&self) -> bool {
        self.acting.as_ref().is_some_and(|acting| acting.interrupted().now_or_never().is_some())
    }

    /// Waits for a change; true when it is interrupted.
    async fn waits(&mut self, until: Instant) -> bool {
        let until = match self.limits.timeout {
            Some(timeout) => until.min(after(self.started, timeout)),
            None => until,
        };
        let Some(acting) = &self.acting else {
            self.cluster.next_change(until).await;
            return false;
        };
        tokio::select! {
            () = self.cluster.next_change(until) => false,
            () = acting.interrupted() => true,
        }
    }
}
