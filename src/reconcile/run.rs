//! One run of the loop, from what was agreed to until its end.

use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use tokio::time::Instant;

use super::facts::{Facts, Standing, drift};
use super::{Acting, Cluster, Entry, EntryResult, Limits, Observer, Outcome, Replacement};
use crate::cluster::Performed;
use crate::error::Error;
use crate::plan::{Agreement, Goal, Refusal, Step};
use crate::rules::Stuck;
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
/// How long is still waited for what is half done, after an interruption.
const HURRY: Duration = Duration::from_secs(5);
/// How long is waited before what is not watched is read again.
const PAUSE_OF_LISTS: Duration = Duration::from_millis(300);

pub(super) struct Run<'r, C: Cluster> {
    cluster: &'r mut C,
    goal: &'r dyn Goal<C::Of>,
    agreement: &'r Agreement,
    limits: &'r Limits,
    witness: &'r mut dyn Observer<C::Of>,
    /// How many replicas were wanted at the beginning.
    replicas: Option<i32>,
    acting: Acting,
    started: Instant,
    reached_since: Option<Instant>,
    /// What it seems to be stuck on, and since when.
    evidence: Option<(String, Instant)>,
    /// What is waited for that may take only so long, and since when.
    awaits: Option<(Step, Instant)>,
    /// Whether all that the next decision needs was read at one moment, and not by watches of different age.
    is_of_one_moment: bool,
    /// Whether something is half done, and is finished before an interruption counts.
    is_half_done: bool,
    /// Until when it is finished at the latest, after an interruption.
    hurry: Option<Instant>,
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
        goal: &'r dyn Goal<C::Of>,
        agreement: &'r Agreement,
        limits: &'r Limits,
        witness: &'r mut dyn Observer<C::Of>,
    ) -> Run<'r, C> {
        let replicas = cluster.with_now(|now| now.and_then(C::Of::replicas));
        Run {
            cluster,
            goal,
            agreement,
            limits,
            witness,
            replicas,
            acting: if agreement.writes() { Acting::begin() } else { Acting::attend() },
            started: Instant::now(),
            reached_since: None,
            evidence: None,
            awaits: None,
            is_of_one_moment: !agreement.writes(),
            is_half_done: false,
            hurry: None,
            unreadable_since: None,
            refused: 0,
            replacements: Vec::new(),
            journal: Vec::new(),
        }
    }

    pub(super) async fn until_the_end(&mut self) -> Outcome {
        loop {
            self.witness.trouble(self.cluster.trouble());
            let decision = self.decide();
            if self.must_end() {
                return Outcome::Interrupted;
            }
            if self.limits.timeout.is_some_and(|timeout| self.started.elapsed() >= timeout) {
                return Outcome::TimedOut;
            }
            let end = match decision {
                Decision::Wait(until) => self.wait(until).await,
                Decision::Write(step) if !(self.is_of_one_moment && self.cluster.is_read(&step)) => {
                    self.read(Some(&step)).await
                }
                Decision::End(_) if !self.is_of_one_moment => self.read(None).await,
                Decision::End(outcome) => Some(outcome),
                Decision::Write(step) => self.write(step).await,
            };
            if let Some(outcome) = end {
                return outcome;
            }
        }
    }

    /// Waits for a change, and reads again what does not come by itself.
    async fn wait(&mut self, until: Instant) -> Option<Outcome> {
        self.is_of_one_moment = !self.agreement.writes();
        if self.waits(until).await {
            return Some(Outcome::Interrupted);
        }
        if C::IS_WATCHED { None } else { self.read(None).await }
    }

    /// Reads what the next decision needs. Says so when that has failed for too long.
    async fn read(&mut self, about: Option<&Step>) -> Option<Outcome> {
        // Reading changes nothing, so that an interruption need not wait for it.
        let acting = Some(&self.acting).filter(|_| !self.is_half_done);
        let read = match acting {
            Some(acting) => tokio::select! {
                read = self.cluster.read_again(about) => read,
                () = acting.interrupted() => return Some(Outcome::Interrupted),
            },
            None => self.cluster.read_again(about).await,
        };
        match read {
            Ok(()) => {
                self.unreadable_since = None;
                self.is_of_one_moment = true;
                None
            }
            Err(error) => {
                let since = *self.unreadable_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= UNREADABLE {
                    return Some(Outcome::Error(error));
                }
                self.waits(after(Instant::now(), LOOK)).await.then_some(Outcome::Interrupted)
            }
        }
    }

    fn decide(&mut self) -> Decision {
        let Run { cluster, goal, agreement, witness, replacements, journal, limits, .. } = self;
        let look = cluster.with_now(|now| {
            let now = now?;
            witness.look(now);
            let elsewhere = C::Of::check_replacements(now, replacements, journal).or_else(|| {
                goal.is_of_one_template().then(|| C::Of::other_template(agreement, now)).flatten()
            });
            let plan = goal.plan(now);
            let rests = plan.as_ref().is_ok_and(|plan| plan.steps.is_empty());
            let waits = plan.as_ref().is_ok_and(|plan| plan.steps.first().is_some_and(|step| !step.writes()));
            let standing =
                if limits.endless { Standing::default() } else { C::Of::standing(now, rests, waits) };
            Some((elsewhere, plan, standing))
        });
        let Some((elsewhere, plan, Standing { settles, stuck })) = look else {
            return Decision::End(Outcome::Gone);
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(stop) => return Decision::End(stop.into()),
        };
        if let Some(what) = elsewhere {
            return Decision::End(Outcome::Drifted(what));
        }
        let is_half_done = plan.is_half_done;
        match plan.steps.into_iter().next() {
            None if settles => self.waiting(None, stuck),
            None => self.reached(),
            Some(step) => {
                self.is_half_done = is_half_done;
                if step.writes() {
                    (self.reached_since, self.evidence, self.awaits) = (None, None, None);
                    return Decision::Write(step);
                }
                self.waiting(Some(step), stuck)
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
    fn waiting(&mut self, step: Option<Step>, stuck: Option<Stuck>) -> Decision {
        self.reached_since = None;
        let pause = if C::IS_WATCHED { LOOK } else { PAUSE_OF_LISTS };
        let look = after(Instant::now(), pause);
        if let Some(outcome) = step.and_then(|step| self.overdue(step)) {
            return Decision::End(outcome);
        }
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

    /// How it ends if something was waited for as long as it may take.
    fn overdue(&mut self, step: Step) -> Option<Outcome> {
        let Some(limit) = step.limit() else {
            self.awaits = None;
            return None;
        };
        let since = match self.awaits.take() {
            Some((known, since)) if known == step => since,
            _ => Instant::now(),
        };
        self.awaits = Some((step, since));
        if since.elapsed() < limit {
            return None;
        }
        let goal = self.goal;
        let refusal = self.cluster.with_now(|now| goal.overdue(now?, since.elapsed()));
        Some(refusal.map_or(Outcome::TimedOut, Outcome::Refused))
    }

    /// Does one write, if it was agreed to, and verifies it. `None` when there is more to do.
    async fn write(&mut self, step: Step) -> Option<Outcome> {
        if let Some(outcome) = self.not_agreed(&step) {
            return Some(outcome);
        }
        self.is_of_one_moment = false;
        let number = self.journal.len();
        let (at, replacement, before) = self.cluster.with_now(|now| {
            let at = now.map_or_else(Timestamp::now, C::Of::taken_at);
            let replacement = now.and_then(|now| C::Of::replacement(&step, now, number));
            (at, replacement, now.map(C::Of::version))
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
            Ok(Performed::Conflict(_) | Performed::AlreadyGone | Performed::Forbidden(_)) => {
                self.look_again(&step, CONFLICTS).await
            }
            Ok(Performed::TooManyRequests(message)) => {
                let refused = self.look_again(&step, REFUSALS).await;
                refused.map(|outcome| match outcome {
                    Outcome::Drifted(_) => Outcome::Refused(Refusal {
                        reason: "too-many-requests",
                        because: message,
                        hint: "run the same command again later: it continues from the state of the cluster"
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
        let mut done = self.journal.iter().filter(|entry| entry.is_done());
        let is_undone = match step.may_recur() {
            true => done.next_back().is_some_and(|entry| entry.step == *step),
            false => done.any(|entry| entry.step == *step),
        };
        if is_undone {
            let what = format!("another client reverted a change: {}", step.text());
            return Some(Outcome::Drifted(what));
        }
        let plan = self.cluster.with_now(|now| now.map(|now| C::Of::plan(self.goal, now)))?;
        let plan = match plan {
            Ok(plan) => plan,
            Err(stop) => return Some(stop.into()),
        };
        let beyond = self.agreement.beyond(&plan);
        if !beyond.is_empty() && !step.pauses() {
            let names = words::list(&beyond, usize::MAX);
            return Some(Outcome::Drifted(format!(
                "{names} would restart too, but the plan did not show that"
            )));
        }
        if self.agreement.covers(step) {
            return None;
        }
        let replicas = self.cluster.with_now(|now| now.and_then(C::Of::replicas));
        let scaled = self.replicas.zip(replicas).filter(|(before, now)| before != now);
        Some(Outcome::Drifted(drift(step, self.agreement, scaled)))
    }

    /// Whether a write that the server says is done has had an effect: something between us may have answered instead.
    async fn verify(&mut self, step: &Step, before: Option<&str>) -> Option<Error> {
        let end = after(Instant::now(), EFFECT);
        let mut pause = PAUSE;
        loop {
            // A cluster that cannot be read now is read before the next decision.
            self.cluster.read_again(Some(step)).await.ok()?;
            if self.cluster.with_now(|now| now.is_none_or(|now| C::Of::has_effect(step, before, now))) {
                self.is_of_one_moment = true;
                return None;
            }
            if Instant::now() >= end {
                let what = step.text();
                if let Some(entry) = self.journal.last_mut() {
                    entry.result = EntryResult::Refused("the object is unchanged".to_owned());
                }
                return Some(
                    Error::cluster(format!(
                        "the API server reported success, but the request had no effect: {what}"
                    ))
                    .reason("no-effect")
                    .hint("find out which proxy or gateway is between this machine and the API server"),
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
            return Some(Outcome::Drifted(format!("another client keeps changing {}", step.object_text())));
        }
        if self.cluster.read_again(Some(step)).await.is_ok() {
            let other = self.cluster.with_now(|now| now.is_some_and(|now| C::Of::is_another(step, now)));
            if other {
                return Some(Outcome::Drifted(drift(step, self.agreement, None)));
            }
        }
        let pause = PAUSE.saturating_mul(1 << self.refused.min(10)).min(LOOK);
        self.waits(after(Instant::now(), pause)).await.then_some(Outcome::Interrupted)
    }

    fn is_interrupted(&self) -> bool {
        self.acting.interrupted().now_or_never().is_some()
    }

    /// Whether it is interrupted and nothing is half done, or that takes too long to finish.
    fn must_end(&mut self) -> bool {
        if !self.is_interrupted() {
            return false;
        }
        let hurry = *self.hurry.get_or_insert_with(|| after(Instant::now(), HURRY));
        !self.is_half_done || Instant::now() >= hurry
    }

    /// Waits for a change; true when it is interrupted and ends because of that.
    async fn waits(&mut self, until: Instant) -> bool {
        let until = match self.limits.timeout {
            Some(timeout) => until.min(after(self.started, timeout)),
            None => until,
        };
        if self.hurry.is_none() {
            tokio::select! {
                () = self.cluster.next_change(until) => return false,
                () = self.acting.interrupted() => {}
            }
            if self.must_end() {
                return true;
            }
        }
        self.cluster.next_change(until).await;
        self.must_end()
    }
}
