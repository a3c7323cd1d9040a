//! Going back to an earlier template: the template first, then the pods that hold the set up.

use std::collections::{BTreeMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::recover::{leaving, refuse};
use super::{Goal, PatchKind, Plan, Recover, SetPatch, Step, Stop, unchanged};
use crate::controller::{Action, Blocker, Next, current_revision, next, would_get};
use crate::kinds::{ControllerRevision, Strategy};
use crate::paste::{Command, kubectl, sts};
use crate::rules::stuck;
use crate::snapshot::{Refused, Replica, Snapshot, Unseen, Verb};
use crate::{text, words};

/// The set has the template of a revision, and has come to rest on it.
#[derive(Clone, Debug)]
pub struct Undo {
    /// The revision's name. Its number would not do: it moves when the template is put back.
    pub target: String,
    /// The revision's data, a strategic merge patch of the set: what `kubectl rollout undo` sends.
    pub data: Value,
    /// What differs, and the like, for people.
    pub facts: Vec<(&'static str, String)>,
    /// What must be considered.
    pub warnings: Vec<String>,
}

impl Goal for Undo {
    fn plan(&self, now: &Snapshot<'_>) -> Result<Plan, Stop> {
        let set = now.set;
        let (name, namespace) = (&set.metadata.name, &set.metadata.namespace);
        let mut plan = Plan {
            headline: format!("undo {name} in {namespace}"),
            facts: self.facts.clone(),
            warnings: self.warnings.clone(),
            ..Plan::default()
        };
        if set.metadata.is_terminating() {
            return Err(leaving(now));
        }
        if !set.is_observed() {
            plan.steps.push(Step::Await { pods: Vec::new(), until: "the controller".to_owned() });
            return Ok(plan);
        }
        storage(now)?;
        if set.status.update_revision == self.target {
            self.rest(now, &mut plan)?;
            if !plan.steps.is_empty() {
                plan.if_needed = abandoned(now)?;
            }
            return Ok(plan);
        }
        plan.steps.push(Step::Patch(SetPatch {
            set: name.clone(),
            seen: set.metadata.uid.clone(),
            generation: set.metadata.generation,
            kind: PatchKind::Strategic,
            body: self.data.clone(),
            revision: Some(self.target.clone()),
            pauses: false,
            note: format!("restore the template of revision {}", now.set.short_revision(&self.target)),
        }));
        let mut set = set.clone();
        set.status.update_revision.clone_from(&self.target);
        set.metadata.generation += 1;
        set.status.observed_generation = set.metadata.generation;
        let after = now.with_set(&set);
        self.rest(&after, &mut plan)?;
        plan.if_needed = abandoned(&after)?;
        Ok(plan)
    }
}

impl Undo {
    /// What an OnDelete set leaves to people, as a command.
    ///
    /// # Errors
    /// [`Unseen`] when pods could not be read.
    pub fn left(&self, now: &Snapshot<'_>) -> Result<Option<Command>, Unseen> {
        if now.set.strategy() != Strategy::OnDelete {
            return Ok(None);
        }
        let pods = now.replicas()?.iter().filter_map(|replica| replica.pod);
        let others: Vec<&str> = pods
            .filter(|pod| pod.revision() != self.target && !pod.metadata.is_terminating())
            .map(|pod| pod.metadata.name.as_str())
            .collect();
        let namespace = &now.set.metadata.namespace;
        Ok((!others.is_empty()).then(|| kubectl("delete pod").names(others).namespace(namespace)))
    }

    /// What is left once the template is back.
    fn rest(&self, now: &Snapshot<'_>, plan: &mut Plan) -> Result<(), Stop> {
        let set = now.set;
        let name = &set.metadata.name;
        let target = now.set.short_revision(&self.target);
        let partition = set.partition();
        if set.strategy() == Strategy::OnDelete {
            plan.then = match self.left(now)? {
                None => format!("the template is that of {target}, and every pod is on it"),
                Some(command) => format!(
                    "the template is that of {target}; {name} is OnDelete, so a pod is updated after you delete it:\n{command}"
                ),
            };
            return Ok(());
        }
        plan.is_then_expected = partition < set.replicas();
        plan.then = if partition == 0 {
            format!("every pod is on {target}")
        } else if partition >= set.replicas() {
            format!(
                "the template is that of {target}; all pods are below the partition and keep their revision"
            )
        } else {
            format!(
                "every pod from {} up is on {target}; pods below the partition keep their revision",
                set.pod_name(set.boundary()),
            )
        };
        plan.warnings.extend(refused(now)?);
        if matches!(next(now)?, Next::Settled(_)) {
            return Ok(());
        }
        plan.warnings.extend(held(now)?);
        let recover = (Recover { evict: false, first: false }).plan(now)?;
        plan.steps.extend(recover.steps.into_iter().filter(|step| !is_vague(step)));
        let waited = unfinished(now)?;
        // A pod that is waited for as it is has its turn later; one that is deleted comes back as it is meant to be.
        let deleted: HashSet<&str> = plan.steps.iter().filter_map(Step::deleted_pod).collect();
        let left: Vec<String> = waited.into_iter().filter(|pod| !deleted.contains(pod.as_str())).collect();
        if !left.is_empty() {
            let all: HashSet<&String> = left.iter().collect();
            let told = |pods: &[String]| !pods.is_empty() && pods.iter().all(|pod| all.contains(pod));
            plan.steps.retain(|step| !matches!(step, Step::Await { pods, .. } if told(pods)));
            plan.steps.push(Step::Await { pods: left, until: format!("to be available on {target}") });
        } else if plan.steps.is_empty() {
            plan.steps.push(Step::Await { pods: Vec::new(), until: "the controller".to_owned() });
        }
        let mut touched: HashSet<&str> = HashSet::new();
        for step in &plan.steps {
            match step {
                Step::Await { pods, .. } => touched.extend(pods.iter().map(String::as_str)),
                Step::DeletePod { pod, .. } => touched.extend([pod.as_str()]),
                Step::Patch(_)
                | Step::CreateSnapshot { .. }
                | Step::PatchVolume(_)
                | Step::DeletePvc { .. }
                | Step::CreatePvc { .. }
                | Step::AwaitPvc { .. } => {}
            }
        }
        let names = now.replicas()?.iter().map(|replica| replica.name.as_str());
        let others: Vec<&str> = names.filter(|pod| !touched.contains(pod)).collect();
        plan.stays = unchanged(&others);
        Ok(())
    }
}

/// How much of a refusal is quoted, in characters.
const QUOTE: usize = 300;

/// Nothing is rolled back while a pod lacks a volume, as the controller stops there.
fn storage(now: &Snapshot<'_>) -> Result<(), Stop> {
    let Next::Wait { on, because: Blocker::VolumeMissing } = next(now)? else { return Ok(()) };
    let (name, namespace) = (&now.set.metadata.name, &now.set.metadata.namespace);
    let pod = now.set.pod_name(on);
    let known = stuck(now).map_or_else(|| format!("{pod} lacks a volume"), |stuck| stuck.because());
    Err(refuse(
        "pod-lacks-volume",
        format!("the controller cannot roll anything back: {known}"),
        sts("recover").name(name).namespace(namespace).after("recover it first"),
    ))
}

/// Says what the API server refused the controller, where the rest of the plan needs the same.
fn refused(now: &Snapshot<'_>) -> Result<Vec<String>, Unseen> {
    let mut warnings = Vec::new();
    let ago = |refused: &Refused<'_>| {
        let ago = now.since(refused.at).map(|ago| format!("{} ago ", words::age(ago)));
        ago.unwrap_or_default()
    };
    let pods = now.replicas()?.iter().chain(now.condemned()?).filter_map(|replica| replica.pod);
    let mut deletions = pods.filter_map(|pod| {
        let refused = now.refused_for(Verb::Delete, pod).ok().flatten()?;
        Some((pod, refused))
    });
    if let Some((pod, refused)) = deletions.next() {
        let deletes = |action: &Action| matches!(action, Action::Delete(..));
        let outcome = match next(now)? {
            Next::Act(actions) if actions.iter().any(deletes) => {
                "the rollback stops there until the deletion is allowed"
            }
            _ => "this rollback needs no deletion",
        };
        let said = text::one_line(refused.said, QUOTE);
        let (ago, name) = (ago(&refused), &pod.metadata.name);
        warnings.push(format!("the API server refused {ago}to delete {name}: {said}; {outcome}"));
    }
    if let Some((refused, replica)) = now.creation_refused().ok().flatten() {
        let said = text::one_line(refused.said, QUOTE);
        let (ago, name) = (ago(&refused), &replica.name);
        warnings.push(format!(
            "the API server refused {ago}to create {name}, and may refuse it for pods that have to be recreated: {said}"
        ));
    }
    Ok(warnings)
}

/// Says of pods that have to be replaced that they would not go.
fn held(now: &Snapshot<'_>) -> Result<Vec<String>, Unseen> {
    let boundary = now.set.boundary();
    let replaced = now.replicas()?.iter().filter(|replica| replica.ordinal >= boundary);
    let held = replaced.filter_map(|replica| {
        let pod = replica.pod.filter(|pod| pod.revision() != would_get(now, replica.ordinal))?;
        let finalizers = &pod.metadata.finalizers;
        (!finalizers.is_empty()).then(|| {
            format!(
                "{} cannot be deleted until its finalizers are removed: {}",
                replica.name,
                words::list(finalizers, 3)
            )
        })
    });
    Ok(held.collect())
}

fn is_vague(step: &Step) -> bool {
    matches!(step, Step::Await { pods, .. } if pods.is_empty())
}

/// Wanted replicas that are not available on the revision they are meant to have, highest first, as an update goes.
fn unfinished(now: &Snapshot<'_>) -> Result<Vec<String>, Unseen> {
    let boundary = now.set.boundary();
    let is_done = |replica: &Replica<'_>| {
        replica.pod.is_some_and(|pod| {
            // Below the partition nobody replaces it.
            (replica.ordinal < boundary || pod.revision() == would_get(now, replica.ordinal))
                && now.is_available(pod)
                && !pod.metadata.is_terminating()
        })
    };
    let replicas = now.replicas()?.iter().rev();
    Ok(replicas.filter(|replica| !is_done(replica)).map(|replica| replica.name.clone()).collect())
}

/// Deletions that may become needed: pods that are not available and show no evidence of being stuck yet. Should it come
/// later, they would hold the set up on a revision nobody wants any more.
fn abandoned(after: &Snapshot<'_>) -> Result<Vec<Step>, Unseen> {
    let set = after.set;
    if set.strategy() != Strategy::RollingUpdate {
        return Ok(Vec::new());
    }
    let mut steps = Vec::new();
    for replica in after.replicas()? {
        let Some(pod) = replica.pod else { continue };
        let fine = after.is_available(pod) || pod.is_finished();
        let hard = after.trouble(pod).is_some_and(|trouble| trouble.why.needs_intervention());
        let gets = would_get(after, replica.ordinal);
        if fine || hard || pod.metadata.is_terminating() || pod.revision() == gets {
            continue;
        }
        steps.push(Step::DeletePod {
            pod: replica.name.clone(),
            seen: pod.metadata.uid.clone(),
            evict: false,
            note: format!(
                "on old revision {}; it will be recreated on {}",
                after.set.short_revision(pod.revision()),
                after.set.short_revision(gets)
            ),
        });
    }
    if !steps.is_empty() && set.rolling_update().is_none() {
        steps.insert(0, Step::Patch(super::recover::stanza(after)));
    }
    Ok(steps)
}

/// Which revision to go back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndoTarget {
    /// Its name.
    pub name: String,
    /// Why it is this one, where that is not plain.
    pub why: Option<String>,
}

/// When each revision was last written, by its name, as managedFields tell.
pub type LastWritten = BTreeMap<String, Timestamp>;

/// The revision asked for, by number or name; otherwise the one that the rollout under way came from, or that the last
/// rollout replaced.
///
/// kubectl's default is "the second-highest number". That moves when a template is put back, so a second undo brings the
/// bad one again. Here a template that was put back stays: it is older than one with a lower number.
///
/// # Errors
/// [`Stop`] when there is no such revision, or no other one.
pub fn aim(now: &Snapshot<'_>, asked: Option<&str>, written: &LastWritten) -> Result<UndoTarget, Stop> {
    if now.set.metadata.is_terminating() {
        // Its revisions may be nobody's already.
        return Err(leaving(now));
    }
    let revisions = now.revisions()?;
    match asked {
        Some(asked) => named(now, &revisions, asked, written),
        None => earlier(now, &revisions, written),
    }
}

fn earlier(
    now: &Snapshot<'_>,
    revisions: &[&ControllerRevision],
    written: &LastWritten,
) -> Result<UndoTarget, Stop> {
    let set = now.set;
    let (name, namespace) = (&set.metadata.name, &set.metadata.namespace);
    let update = &set.status.update_revision;
    let others = || revisions.iter().rev().filter(|revision| revision.metadata.name != *update);
    let Some(before) = others().next() else {
        return Err(refuse(
            "no-earlier-revision",
            format!("{name} has no revision other than {}", now.set.short_revision(update)),
            sts("history").name(name).namespace(namespace).after("see its revisions"),
        ));
    };
    let stays = |why: String| Ok(UndoTarget { name: update.clone(), why: Some(why) });
    let newest = revisions.iter().find(|revision| revision.metadata.name == *update);
    let current = current_revision(now);
    // Up to 1.36 an OnDelete set never says that its rollouts are done.
    let rolls = set.strategy() == Strategy::RollingUpdate && current != update;
    let came_from = others().find(|other| rolls && other.metadata.name == current);
    let replaced = came_from.unwrap_or(before);
    let put_back = newest
        .is_some_and(|newest| replaced.revision < newest.revision && is_older(newest, replaced, written));
    // A bad template may also have been rolled out a second time.
    let leaves = rolls && broken(now, update)?.is_some();
    if put_back && !leaves {
        return stays(format!(
            "this earlier template is already restored; to go to the revision that it replaced, use --to-revision {}",
            replaced.revision
        ));
    }
    let recover = sts("recover").name(name).namespace(namespace).after("bring it to the current template");
    if rolls {
        // Below the partition recover cannot help: doctor says what does.
        let doctor = sts("doctor").name(name).namespace(namespace).after("see the findings");
        unbroken(now, current, Some(if set.partition() > 0 { doctor } else { recover }))?;
        return Ok(UndoTarget { name: current.to_owned(), why: None });
    }
    let pods = || now.replicas().map(|replicas| replicas.iter().filter_map(|replica| replica.pod));
    let mixed = pods()?.any(|pod| pod.revision() != update);
    if set.strategy() == Strategy::RollingUpdate && mixed {
        return stays("its template is already restored".to_owned());
    }
    // Where pods wait to be deleted by hand, most of those that are well tell what to go back to.
    let mut in_use: Vec<(usize, &ControllerRevision)> = Vec::new();
    for other in others() {
        let on = pods()?.filter(|pod| pod.revision() == other.metadata.name).count();
        if on > 0 && broken(now, &other.metadata.name)?.is_none() {
            in_use.push((on, other));
        }
    }
    let target = in_use.iter().max_by_key(|(on, other)| (*on, other.revision)).map_or(*before, |(_, it)| *it);
    unbroken(now, &target.metadata.name, None)?;
    // As long as no number is missing, none has moved.
    let in_order = revisions.iter().zip(1..).all(|(revision, number)| revision.revision == number);
    if mixed || in_order || newest.is_some_and(|newest| is_older(target, newest, written)) {
        let last = "no rollout is in progress: this undoes the last one";
        return Ok(UndoTarget { name: target.metadata.name.clone(), why: (!mixed).then(|| last.to_owned()) });
    }
    stays(format!(
        "it was created in the same second as {}, so it is unknown which of them is older; to go there, use \
         --to-revision {}",
        now.set.short_revision(&target.metadata.name),
        target.revision
    ))
}

/// A replica that is stuck on a revision.
fn broken(now: &Snapshot<'_>, revision: &str) -> Result<Option<String>, Unseen> {
    let stuck = now.replicas()?.iter().find(|replica| {
        replica.pod.is_some_and(|pod| {
            pod.revision() == revision
                && now.trouble(pod).is_some_and(|trouble| trouble.why.needs_intervention())
        })
    });
    Ok(stuck.map(|replica| replica.name.clone()))
}

/// Refuses to go to a revision on which a replica is stuck. What to do instead is to choose another one, unless told.
fn unbroken(now: &Snapshot<'_>, revision: &str, instead: Option<String>) -> Result<(), Stop> {
    let (name, namespace) = (&now.set.metadata.name, &now.set.metadata.namespace);
    match broken(now, revision)? {
        Some(replica) => Err(refuse(
            "target-broken",
            format!(
                "{replica} is stuck on {}, the revision to roll back to",
                now.set.short_revision(revision)
            ),
            instead.unwrap_or_else(|| {
                sts("history").name(name).namespace(namespace).after("choose another revision")
            }),
        )),
        None => Ok(()),
    }
}

/// Two moments of one write: the dates in managedFields and of creation are taken one after the other.
const SAME_WRITE: SignedDuration = SignedDuration::from_secs(1);

/// Whether one was made before the other. A revision whose template is put back keeps its name and its date, and gets a new
/// number (`stateful_set_control.go:getStatefulSetRevisions`). Dates have whole seconds: of two made in the same one, a
/// revision that was written again later, and has the higher number, was put back.
fn is_older(one: &ControllerRevision, other: &ControllerRevision, written: &LastWritten) -> bool {
    let made = |revision: &ControllerRevision| revision.metadata.creation_timestamp;
    let Some((one_made, other_made)) = made(one).zip(made(other)) else { return false };
    let again = |revision: &ControllerRevision, made: Timestamp| {
        written.get(&revision.metadata.name).is_some_and(|at| at.duration_since(made) > SAME_WRITE)
    };
    one_made < other_made || (one_made == other_made && one.revision > other.revision && again(one, one_made))
}

fn named(
    now: &Snapshot<'_>,
    revisions: &[&ControllerRevision],
    asked: &str,
    written: &LastWritten,
) -> Result<UndoTarget, Stop> {
    let (name, namespace) = (&now.set.metadata.name, &now.set.metadata.namespace);
    let found = revisions.iter().find(|revision| {
        let full = revision.metadata.name.as_str();
        revision.revision.to_string() == asked || full == asked || now.set.short_revision(full) == asked
    });
    if let Some(found) = found {
        if found.metadata.name != now.set.status.update_revision {
            unbroken(now, &found.metadata.name, None)?;
        }
        return Ok(UndoTarget { name: found.metadata.name.clone(), why: None });
    }
    let moved = asked.parse().ok().and_then(|number| moved(now, revisions, number, written));
    if let Some(moved) = moved.filter(|moved| moved.metadata.name == now.set.status.update_revision) {
        let why =
            format!("revision {asked} is now revision {}: its template is already restored", moved.revision);
        return Ok(UndoTarget { name: moved.metadata.name.clone(), why: Some(why) });
    }
    let all: Vec<String> = revisions
        .iter()
        .map(|revision| {
            format!("{} ({})", revision.revision, now.set.short_revision(&revision.metadata.name))
        })
        .collect();
    let there = if all.is_empty() {
        "it has no revisions".to_owned()
    } else {
        format!("it has {}", words::list(&all, 6))
    };
    let because = match moved {
        Some(moved) => format!(
            "revision {asked} of {name} no longer exists: it became revision {} when its template was restored",
            moved.revision
        ),
        None => format!("{name} has no revision {asked}; {there}"),
    };
    Err(refuse(
        "no-such-revision",
        because,
        sts("history").name(name).namespace(namespace).after("see its revisions"),
    ))
}

/// The revision that had this number before its template was put back. It is told only where it is certain: no revision
/// can have been dropped for the history's length, and this one is older than the next higher number.
fn moved<'a>(
    now: &Snapshot<'_>,
    revisions: &[&'a ControllerRevision],
    number: i64,
    written: &LastWritten,
) -> Option<&'a ControllerRevision> {
    let limit = usize::try_from(now.set.spec.revision_history_limit.unwrap_or(10)).unwrap_or(usize::MAX);
    if revisions.len() > limit {
        return None;
    }
    let following = revisions.iter().find(|revision| revision.revision == number + 1)?;
    let mut older = revisions
        .iter()
        .filter(|revision| revision.revision > number + 1 && is_older(revision, following, written));
    older.next().filter(|_| older.next().is_none()).copied()
}
