//! The loop: observe, plan, do the first step if it was agreed to, look again.

mod interrupt;

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::cluster::live::{Live, Performed};
use crate::controller::{Next, next, would_get};
use crate::error::Result;
use crate::kinds::Strategy;
use crate::plan::{Goal, Plan, Refusal, Step, Stop};
use crate::rules::{Filter, Finding, Severity, of_set};
use crate::snapshot::{Snapshot, Unseen, parse_pod_name};

pub use interrupt::{Acting, interrupt};

/// How it ended.
#[derive(Debug)]
pub enum Outcome {
    /// The goal is reached.
    Reached,
    /// A write would be needed that nobody agreed to; with the plan as it is now.
    Drifted(String),
    /// What is waited for will not come by itself; with the findings that say why, and the words for them.
    Stuck(Box<Stuck>),
    /// The goal cannot be reached from here any more.
    Refused(Refusal),
    /// What it needs to know could not be seen.
    Unseen(Unseen),
    /// What was reached did not stay good, or a check said no: what, and what it said.
    Failed(String, Vec<String>),
    /// Time is up.
    TimedOut,
    /// Ctrl-C.
    Interrupted,
    /// The set is gone.
    Gone,
}

/// What it is stuck on.
#[derive(Debug)]
pub struct Stuck {
    /// The set, as it was then.
    pub set: crate::kinds::StatefulSet,
    /// What is waited for, in words.
    pub on: String,
    /// Why it will not come; empty where only time speaks against it.
    pub findings: Vec<Finding>,
}

/// When to give up, and when to believe.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest it may take in all.
    pub timeout: Option<Duration>,
    /// How long evidence of being stuck must hold.
    pub stuck_after: Duration,
    /// How long the goal must stay reached.
    pub stable_for: Duration,
    /// Whether to go on for ever, past being reached and being stuck.
    pub endless: bool,
}

/// A write, and what came of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub step: Step,
    /// What came of it, in words.
    pub result: String,
}

impl Entry {
    /// Whether the write went through.
    pub fn is_done(&self) -> bool {
        self.result.starts_with(DONE)
    }
}

/// What was done.
#[derive(Debug)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// Every write, in order.
    pub journal: Vec<Entry>,
}

/// Sees what happens while it happens.
pub trait Witness {
    /// How things stand now; called at every look, at least once a second.
    fn look(&mut self, snapshot: &Snapshot<'_>);
    /// The picture may be old, because of this.
    fn trouble(&mut self, why: Option<&str>);
}

/// At least how often is looked, as time alone makes pods available and evidence old.
const LOOK: Duration = Duration::from_millis(500);
/// How often the same write is tried against a conflict before it counts as drift.
const TRIES: u32 = 5;

/// Brings the set to the goal by the steps agreed to, and no others. It keeps nothing: called again after an
/// interruption it goes on where the cluster is.
///
/// # Errors
/// When a write fails for good.
pub async fn reconcile(
    live: &mut Live,
    goal: &dyn Goal,
    agreed: &[Step],
    limits: &Limits,
    witness: &mut dyn Witness,
) -> Result<Report> {
    let started = Instant::now();
    let acting = agreed.iter().any(Step::writes).then(Acting::begin);
    let mut journal: Vec<Entry> = Vec::new();
    let mut reached_since: Option<Instant> = None;
    let mut evidence: Option<(String, Instant)> = None;
    let mut conflicts = 0;
    let mut replaced: Option<String> = None;
    let replicas = live.look(|now| now.map(|now| now.set.replicas()));
    let mut successors: Vec<Successor> = Vec::new();
    loop {
        witness.trouble(live.broken());
        let look = live.look(|snapshot| {
            snapshot.map(|snapshot| {
                witness.look(snapshot);
                replaced = replaced.take().or_else(|| came_back(snapshot, &mut successors, &mut journal));
                Look {
                    plan: goal.plan(snapshot),
                    stuck: stuck(snapshot),
                    leaving: snapshot.set.metadata.is_terminating(),
                    replicas: snapshot.set.replicas(),
                }
            })
        });
        let done = |outcome, journal| Ok(Report { outcome, journal });
        let Some(look) = look else { return done(Outcome::Gone, journal) };
        let plan = match look.plan {
            Ok(plan) => plan,
            Err(Stop::Refused(refusal)) => return done(Outcome::Refused(refusal), journal),
            Err(Stop::Unseen(unseen)) => return done(Outcome::Unseen(unseen), journal),
        };
        if limits.timeout.is_some_and(|timeout| started.elapsed() >= timeout) {
            return done(Outcome::TimedOut, journal);
        }
        if let Some(what) = replaced {
            return done(Outcome::Drifted(what), journal);
        }
        let mut until = Instant::now() + LOOK;
        match plan.steps.first() {
            None => {
                evidence = None;
                let since = *reached_since.get_or_insert_with(Instant::now);
                match limits.endless {
                    true => {}
                    false if since.elapsed() >= limits.stable_for => return done(Outcome::Reached, journal),
                    false => until = until.min(since + limits.stable_for),
                }
            }
            Some(Step::Await { .. }) => {
                reached_since = None;
                match look.stuck.filter(|_| !look.leaving) {
                    None => evidence = None,
                    Some(Evidence { on, findings, set }) => {
                        let first = match &evidence {
                            Some((known, first)) if *known == on => *first,
                            _ => Instant::now(),
                        };
                        evidence = Some((on.clone(), first));
                        let held = first.elapsed();
                        if held >= limits.stuck_after && !limits.endless {
                            return done(Outcome::Stuck(Box::new(Stuck { set, on, findings })), journal);
                        }
                        until = until.min(Instant::now() + limits.stuck_after.saturating_sub(held));
                    }
                }
            }
            Some(write) => {
                reached_since = None;
                evidence = None;
                let repeated =
                    journal.last().is_some_and(|entry| entry.step == *write && entry.result == DONE);
                if repeated {
                    // Done already; the watch has yet to bring its effect.
                } else if agreed.contains(write) {
                    successors.extend(live.look(|now| Successor::of(write, now?, journal.len())));
                    let version = live.version();
                    let performed = live.perform(write, false).await?;
                    let conflict = matches!(performed, Performed::Conflict(_));
                    // Another pod has the name now. Nobody has agreed to anything about that one.
                    let other =
                        matches!(&performed, Performed::Conflict(message) if message.contains("UID in"));
                    replaced = other.then(|| drift(write, agreed, None));
                    if performed != Performed::Done {
                        successors.retain(|successor| successor.entry != journal.len());
                    }
                    journal.push(Entry {
                        at: Timestamp::now(),
                        step: write.clone(),
                        result: told(&performed),
                    });
                    conflicts = if conflict { conflicts + 1 } else { 0 };
                    if conflicts >= TRIES {
                        return done(Outcome::Drifted("somebody keeps changing it".to_owned()), journal);
                    }
                    // The watch has yet to bring what the server compared with.
                    while conflict && live.version() == version && live.changed(until).await {}
                    let generation = live.look(|now| now.map(|now| now.set.metadata.generation));
                    if let (true, Step::Patch(patch), Some(generation)) = (conflict, write, generation)
                        && patch.generation != 0
                        && patch.generation != generation
                    {
                        return done(Outcome::Drifted(drift(write, agreed, None)), journal);
                    }
                    if conflict {
                        continue;
                    }
                } else {
                    let scaled = replicas.filter(|before| *before != look.replicas);
                    let scaled = scaled.map(|before| (before, look.replicas));
                    return done(Outcome::Drifted(drift(write, agreed, scaled)), journal);
                }
            }
        }
        if let Some(timeout) = limits.timeout {
            until = until.min(started + timeout);
        }
        if interrupted(live, until, acting.as_ref()).await {
            return done(Outcome::Interrupted, journal);
        }
    }
}

/// Waits for a change, or for somebody who wants it to end.
async fn interrupted(live: &mut Live, until: Instant, acting: Option<&Acting>) -> bool {
    let Some(acting) = acting else {
        live.changed(until).await;
        return false;
    };
    tokio::select! {
        _ = live.changed(until) => false,
        () = acting.interrupted() => true,
    }
}

/// Why a write that is left is none of those agreed to.
fn drift(write: &Step, agreed: &[Step], scaled: Option<(i32, i32)>) -> String {
    let same = |other: &Step| match (write, other) {
        (Step::Patch(one), Step::Patch(other)) => one.body == other.body,
        (Step::DeletePod { pod: one, .. }, Step::DeletePod { pod: other, .. }) => one == other,
        _ => false,
    };
    let shown = agreed.iter().any(same);
    let scaled = scaled.map(|(before, now)| format!(" (replicas {before} → {now})")).unwrap_or_default();
    match write {
        Step::Patch(patch) if shown || !scaled.is_empty() => {
            format!("the spec of {} was changed by somebody{scaled}", patch.set)
        }
        Step::Patch(patch) => format!("what is left to write was not shown: {}", patch.note),
        Step::DeletePod { pod, .. } if shown => format!("{pod} is not the pod any more that was shown"),
        Step::DeletePod { pod, note, .. } => {
            format!("{pod} would have to be deleted, which was not shown: {note}")
        }
        Step::Await { .. } => "something was changed by somebody".to_owned(),
    }
}

/// What came of a write, for the journal.
fn told(performed: &Performed) -> String {
    match performed {
        Performed::Done => DONE.to_owned(),
        Performed::AlreadySo => "it was gone already".to_owned(),
        Performed::Conflict(message) if message.contains("has been modified") => {
            "not done: it had changed meanwhile; looked again".to_owned()
        }
        Performed::Conflict(message) => format!("not done: {message}"),
    }
}

/// What the journal says of a write that went through.
pub const DONE: &str = "done";

/// What has to come back in place of a deleted pod.
struct Successor {
    /// Its deletion in the journal.
    entry: usize,
    pod: String,
    before: String,
    /// The revision it gets; `None` where that is not certain (see [`would_get`]).
    revision: Option<String>,
}

impl Successor {
    fn of(step: &Step, now: &Snapshot<'_>, entry: usize) -> Option<Successor> {
        let Step::DeletePod { pod, seen, .. } = step else { return None };
        let (_, ordinal) = parse_pod_name(pod)?;
        let certain = now.set.strategy() != Strategy::RollingUpdate || now.set.rolling_update().is_some();
        let revision = certain.then(|| would_get(now, ordinal).to_owned());
        Some(Successor { entry, pod: pod.clone(), before: seen.clone(), revision })
    }
}

/// Notes what came back in the journal; says so if something else did than was shown.
fn came_back(now: &Snapshot<'_>, successors: &mut Vec<Successor>, journal: &mut [Entry]) -> Option<String> {
    let mut other = None;
    successors.retain(|successor| {
        let replicas = now.replicas().unwrap_or_default();
        let pod = replicas.iter().find(|replica| replica.name == successor.pod);
        let pod = pod.and_then(|it| it.pod).filter(|pod| pod.metadata.uid != successor.before);
        let (Some(pod), Some(entry)) = (pod, journal.get_mut(successor.entry)) else { return true };
        let has = pod.revision();
        if let Some(meant) = successor.revision.as_deref().filter(|meant| *meant != has) {
            entry.result = format!("{DONE}; came back on {has} instead of {meant}");
            other = Some(format!("{} came back on {has} instead of {meant}", successor.pod));
            return false;
        }
        let available = pod.is_available(now.set.spec.min_ready_seconds, now.taken_at);
        if available {
            entry.result = format!("{DONE}; came back on {has}, and is available");
        }
        !available
    });
    other
}

struct Look {
    replicas: i32,
    plan: std::result::Result<Plan, Stop>,
    stuck: Option<Evidence>,
    leaving: bool,
}

/// Why what is waited for will not come.
struct Evidence {
    on: String,
    findings: Vec<Finding>,
    set: crate::kinds::StatefulSet,
}

/// What speaks against waiting: an error about the replica the controller waits for, or about the set's pods that
/// cannot be made; or a pod that has used up the time its probes give it.
fn stuck(snapshot: &Snapshot<'_>) -> Option<Evidence> {
    let next = next(snapshot).ok()?;
    let (findings, _) = of_set(snapshot, &Filter::default());
    let errors = findings.into_iter().filter(|finding| finding.severity == Severity::Error);
    let evidence =
        |on: String, findings: Vec<Finding>| Some(Evidence { on, findings, set: snapshot.set.clone() });
    match next {
        Next::Wait { on, .. } => {
            let replica = snapshot.replica(on).ok().flatten()?;
            let concerns = |finding: &Finding| {
                let mut all = std::iter::once(&finding.subject).chain(&finding.also).chain(&finding.absorbs);
                all.any(|subject| {
                    subject.name == replica.name || replica.slots.iter().any(|slot| slot.name == subject.name)
                })
            };
            let findings: Vec<_> = errors
                .filter(|finding| !finding.rule.code.starts_with("STS1") && concerns(finding))
                .collect();
            if !findings.is_empty() {
                return evidence(replica.name.clone(), findings);
            }
            replica.pod.and_then(|pod| snapshot.late_since(pod))?;
            evidence(replica.name.clone(), Vec::new())
        }
        Next::Act(_) => {
            let creation: Vec<_> = errors
                .filter(|finding| {
                    finding.rule.name.starts_with("pod-") || finding.rule.code.starts_with("STS2")
                })
                .collect();
            let on = snapshot.replicas().ok()?.iter().find(|replica| replica.pod.is_none())?.name.clone();
            if creation.is_empty() { None } else { evidence(on, creation) }
        }
        Next::Settled(_) => None,
    }
}
