//! A canary: some pods get a new template first, and the others only when somebody says so.
//!
//! Partition and template go in one write, so that there is no moment in which the controller sees one without the
//! other. What the cluster cannot tell later is kept in an annotation on the set, written with them.

mod abort;
mod change;
mod checks;
mod text;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Goal, PatchKind, Plan, Refusal, SetPatch, Step, Stop};
use crate::paste::{Command, kubectl, sts};
use crate::snapshot::{CANARY, CanaryAnnotation, Snapshot, Unseen};
use crate::words;

pub use abort::{Abort, stable};
pub use change::Change;
pub use checks::{is_canary, is_rolled_back};

/// Who did it, and when.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// `user@host`.
    pub by: String,
    /// When the plan was made.
    pub at: Timestamp,
}

/// The update goes down to a partition and stops there; or through several, one after another.
#[derive(Clone, Debug)]
pub struct Canary {
    /// What changes of the template; `None` where it has been changed already, or will be later.
    pub change: Option<Change>,
    /// The partitions to go through, the highest first; at least one.
    pub steps: Vec<i32>,
    /// All partitions it is to go through in the end, for the mark.
    pub ladder: Vec<i32>,
    /// Whether only to go on with a canary: `promote`.
    pub goes_on: bool,
    /// Whether to begin although a pod is not available.
    pub allow_unhealthy: bool,
    /// Whether the mark goes once all pods have moved.
    pub finish: bool,
    /// For the mark.
    pub stamp: Stamp,
    /// What else is done than is written, such as a check: label and text.
    pub facts: Vec<(&'static str, String)>,
    /// What speaks against it, from what a snapshot does not hold.
    pub warnings: Vec<String>,
}

/// Where the goal finds the set.
enum Stage {
    /// Nothing has begun.
    Begin,
    /// It is under way; these partitions are left.
    On(Vec<i32>),
    /// It is further than asked for: the partition goes up again.
    Up(i32),
    /// All is as it shall be, and no mark is left.
    Over,
}

impl Goal for Canary {
    fn plan(&self, now: &Snapshot<'_>) -> Result<Plan, Stop> {
        checks::possible(now, &self.steps)?;
        let mark = mark(now)?;
        let stage = self.stage(now, mark.as_ref())?;
        let mut plan = Plan { warnings: self.warnings.clone(), ..Plan::default() };
        plan.warnings.extend(checks::unprobed(now));
        let mut steps = Steps::of(now);
        let partition = now.set.partition();
        let target = self.target();
        if !matches!(stage, Stage::Over) {
            plan.warnings.extend(keeps_new(now, partition, target)?);
        }
        if let Some(mark) = mark.as_ref().filter(|mark| now.lacks_revision(&mark.stable)) {
            plan.warnings.push(format!(
                "revision {} from before the canary no longer exists: it cannot be restored, and a pod that restarts is \
                 recreated on the new one",
                now.set.short_revision(&mark.stable)
            ));
        }
        if self.goes_on && !matches!(stage, Stage::Over) {
            plan.warnings.extend(stuck(now)?);
        }
        match stage {
            Stage::Over => {}
            Stage::Begin => self.begin(&mut steps, mark.as_ref())?,
            Stage::On(left) => {
                steps.wait_for_rung(partition)?;
                let mut from = partition;
                steps.adopts = self.adopted(now, mark.as_ref());
                for to in left {
                    steps.lower(from, to, false)?;
                    from = to;
                }
            }
            Stage::Up(to) => steps.partition(to, format!("partition {partition} → {to}")),
        }
        let marked = mark.is_some()
            || self.adopted(now, None).is_some()
            || matches!(steps.all.first(), Some(Step::Patch(_)) if !self.goes_on);
        if self.finish && target == 0 && marked {
            let body = json!({"metadata": {"annotations": {CANARY: null}}});
            steps.patch(body, format!("remove the annotation {CANARY} (the canary is complete)"), false);
        }
        plan.steps = steps.all;
        if now.set.is_observed() && !plan.steps.iter().any(Step::brings_template) {
            plan.template = Some(now.set.status.update_revision.clone());
        }
        self.words(now, mark.as_ref(), &mut plan)?;
        Ok(plan)
    }

    fn is_of_one_template(&self) -> bool {
        true
    }
}

impl Canary {
    /// The annotation that a canary without one is given when it is promoted, so that it can be aborted, and the same
    /// command again is understood.
    fn adopted(&self, now: &Snapshot<'_>, mark: Option<&CanaryAnnotation>) -> Option<CanaryAnnotation> {
        // One that holds no pod back is over, and shows it, as soon as its pods are available.
        (self.goes_on && mark.is_none() && checks::is_by_hand(now) && checks::holds_back(now)).then(|| {
            CanaryAnnotation {
                stable: now.set.status.current_revision.clone(),
                partition: now.set.partition(),
                by: self.stamp.by.clone(),
                at: self.stamp.at,
                change: None,
                steps: Vec::new(),
            }
        })
    }

    /// The last partition.
    fn target(&self) -> i32 {
        self.steps.last().copied().unwrap_or(0)
    }

    /// The same goal, but no further than this step.
    #[must_use]
    pub fn up_to(&self, step: usize) -> Canary {
        Canary { steps: self.steps[..=step].to_vec(), finish: false, ..self.clone() }
    }

    /// What is left of the goal when all steps are done. It does not ask for the change any more: once the mark is gone,
    /// nothing but the template itself would tell that it has been made.
    #[must_use]
    pub fn ending(&self) -> Canary {
        Canary { change: None, goes_on: true, steps: vec![self.target()], ..self.clone() }
    }

    /// Which of the steps are still to be looked after, by index: those the set has not gone past.
    ///
    /// # Errors
    /// As [`Goal::plan`].
    pub fn all_steps(&self, now: &Snapshot<'_>) -> Result<Vec<usize>, Stop> {
        let all = 0..self.steps.len();
        let partition = now.set.partition();
        Ok(match self.stage(now, mark(now)?.as_ref())? {
            Stage::On(_) => all.filter(|step| self.steps[*step] <= partition).collect(),
            Stage::Begin => all.collect(),
            // It is past all of them, and goes up to the last one in one write.
            Stage::Up(_) => all.last().into_iter().collect(),
            Stage::Over => Vec::new(),
        })
    }

    fn stage(&self, now: &Snapshot<'_>, mark: Option<&CanaryAnnotation>) -> Result<Stage, Stop> {
        let set = now.set;
        let refuse = |reason: &'static str, because: String, hint: String| {
            Err(Stop::Refused(Refusal { reason, because, hint }))
        };
        let all_good = || {
            now.replicas().map(|all| {
                set.is_observed() && all.iter().all(|replica| now.is_updated_and_available(replica))
            })
        };
        if mark.is_none() && set.partition() == self.target() && all_good()? {
            // Without a change, at partition 0, an annotation would be written only to be removed again.
            let idle = self.goes_on || self.target() == 0;
            let same = self.change.as_ref().map_or(idle, |change| change.lines.is_empty());
            if same {
                return Ok(Stage::Over);
            }
        }
        let adopts = self.goes_on && mark.is_none();
        if adopts && set.is_observed() && !checks::is_by_hand(now) && !all_good()? {
            return Err(Stop::Refused(checks::no_canary(now)?));
        }
        let begins = match (mark, &self.change) {
            (Some(mark), Some(_)) if has_stable_template(now, mark) => true,
            (Some(mark), Some(change)) if mark.change.as_ref() == Some(&change.digest) => false,
            (Some(mark), None) if mark.change.is_some() && has_stable_template(now, mark) => {
                return refuse(
                    "aborted",
                    format!(
                        "the template from before the canary ({}) is already restored: there is nothing to promote",
                        now.set.short_revision(&mark.stable)
                    ),
                    command(now, "abort").after("end the canary"),
                );
            }
            (Some(mark), Some(_)) => {
                return refuse(
                    "another-canary",
                    format!(
                        "another canary is in progress, started by {} at {}",
                        mark.by,
                        mark.at.strftime("%Y-%m-%d %H:%M UTC")
                    ),
                    end_first(now),
                );
            }
            (Some(_), None) => false,
            (None, _) => !self.goes_on,
        };
        if begins {
            if self.change.as_ref().is_some_and(|change| change.lines.is_empty()) {
                return refuse(
                    "nothing-changes",
                    "no pod would be updated: the template already has these values".to_owned(),
                    command(now, "status").after("see which pods are updated"),
                );
            }
            checks::at_rest(now, self.change.is_some(), self.allow_unhealthy)?;
            return Ok(Stage::Begin);
        }
        let partition = set.partition();
        let left: Vec<i32> = self.steps.iter().copied().filter(|step| *step < partition).collect();
        let to = self.target();
        if to <= partition {
            return Ok(Stage::On(left));
        }
        if self.goes_on {
            return refuse(
                "not-a-promotion",
                format!(
                    "the partition is already {partition}, and raising it to {to} does not roll pods back"
                ),
                command(now, "abort").after("roll them back"),
            );
        }
        Ok(Stage::Up(to))
    }

    /// The first write, with all that belongs together in it.
    fn begin(&self, steps: &mut Steps<'_, '_>, earlier: Option<&CanaryAnnotation>) -> Result<(), Unseen> {
        let now = steps.now;
        let set = now.set;
        let (from, to) = (set.partition(), self.steps.first().copied().unwrap_or(0));
        let stable = if self.change.is_some() || !is_held(now)? {
            &set.status.update_revision
        } else {
            &set.status.current_revision
        };
        let mark = CanaryAnnotation {
            stable: stable.clone(),
            partition: earlier.map_or(from, |mark| mark.partition),
            by: self.stamp.by.clone(),
            at: self.stamp.at,
            change: self.change.as_ref().map(|change| change.digest.clone()),
            steps: if self.ladder.len() > 1 { self.ladder.clone() } else { Vec::new() },
        };
        let mark = serde_json::to_string(&mark).unwrap_or_default();
        let mut body = json!({
            "metadata": {"annotations": {CANARY: mark}},
            "spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": to}}},
        });
        let moves = if from == to {
            format!("partition {to} (unchanged)")
        } else {
            format!("partition {from} → {to}")
        };
        let note = match &self.change {
            Some(change) => {
                body["spec"]["template"] = change.template.clone();
                format!("template and {moves} in one patch; recorded in the annotation {CANARY}")
            }
            None => format!("{moves}; recorded in the annotation {CANARY}"),
        };
        let changes = self.change.is_some() || from != to || set.rolling_update().is_none();
        steps.patch(body, note, changes);
        let all = self.change.is_some();
        steps.wait_for(set.replicas(), to, all)?;
        for step in self.steps.windows(2) {
            steps.lower(step[0], step[1], all)?;
        }
        Ok(())
    }
}

/// Why a canary that brings this change cannot go on: its template has been edited since. `template` is the template
/// as it is now.
pub fn edited(now: &Snapshot<'_>, change: &Change, template: &Value) -> Option<Refusal> {
    let mark = now.mark().flatten()?;
    if mark.change.as_ref() != Some(&change.digest)
        || !now.set.is_observed()
        || has_stable_template(now, &mark)
    {
        return None;
    }
    let line = change.missing(template)?;
    Some(Refusal {
        reason: "template-edited",
        because: format!("the template was edited after this canary changed it ({line})"),
        hint: format!(
            "{}\n{}",
            command(now, "abort").after("roll back"),
            command(now, "promote").after("or continue with the current template")
        ),
    })
}

/// Steps as they are put together; each later patch knows the generation that the ones before it lead to.
struct Steps<'s, 'a> {
    now: &'s Snapshot<'a>,
    generation: i64,
    all: Vec<Step>,
    /// What the next change of the partition annotates the set with.
    adopts: Option<CanaryAnnotation>,
}

impl<'s, 'a> Steps<'s, 'a> {
    fn of(now: &'s Snapshot<'a>) -> Steps<'s, 'a> {
        Steps { now, generation: now.set.metadata.generation, all: Vec::new(), adopts: None }
    }

    fn patch(&mut self, body: Value, note: String, changes_spec: bool) {
        let meta = &self.now.set.metadata;
        self.all.push(Step::Patch(SetPatch {
            set: meta.name.clone(),
            seen: meta.uid.clone(),
            // Where the spec stays as it is, it does not matter which one it is.
            generation: if changes_spec { self.generation } else { 0 },
            kind: PatchKind::Strategic,
            body,
            revision: None,
            pauses: false,
            note,
        }));
        self.generation += i64::from(changes_spec);
    }

    /// Says that the last patch only stops the rollout where it is.
    fn pauses(&mut self) {
        if let Some(Step::Patch(patch)) = self.all.last_mut() {
            patch.pauses = true;
        }
    }

    /// Says that the template of the last patch is that of an earlier revision.
    fn puts_back(&mut self, revision: &str) {
        if let Some(Step::Patch(patch)) = self.all.last_mut() {
            patch.revision = Some(revision.to_owned());
        }
    }

    fn partition(&mut self, to: i32, note: String) {
        let mut body = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": to}}}});
        if let Some(mark) = self.adopts.take() {
            body["metadata"]["annotations"][CANARY] = serde_json::to_string(&mark).unwrap_or_default().into();
        }
        self.patch(body, note, true);
    }

    fn lower(&mut self, from: i32, to: i32, all: bool) -> Result<(), Unseen> {
        self.partition(to, format!("partition {from} → {to}"));
        self.wait_for(from, to, all)
    }

    /// Waits for the pods that a write before this sets moving: those below `from`, down to the partition.
    fn wait_for(&mut self, from: i32, partition: i32, all: bool) -> Result<(), Unseen> {
        let set = self.now.set;
        let update = &set.status.update_revision;
        let mut pods = self.now.above(partition)?;
        pods.retain(|replica| {
            let moves = all || replica.pod.is_none_or(|pod| pod.revision() != update);
            replica.ordinal - set.start() < from && moves
        });
        let pods: Vec<_> = pods.into_iter().map(|replica| replica.name.clone()).collect();
        if !pods.is_empty() {
            self.all.push(Step::Await { pods, until: "to be available".to_owned() });
        }
        Ok(())
    }

    /// Waits for what is under way at this partition.
    fn wait_for_rung(&mut self, partition: i32) -> Result<(), Unseen> {
        let now = self.now;
        if !now.set.is_observed() {
            self.all.push(Step::Await { pods: Vec::new(), until: "the controller".to_owned() });
            return Ok(());
        }
        let pods: Vec<_> = now
            .above(partition)?
            .into_iter()
            .filter(|replica| !now.is_updated_and_available(replica))
            .map(|replica| replica.name.clone())
            .collect();
        if !pods.is_empty() {
            self.all.push(Step::Await { pods, until: "to be available".to_owned() });
        }
        Ok(())
    }
}

/// The mark on the set, which must be readable.
fn mark(now: &Snapshot<'_>) -> Result<Option<CanaryAnnotation>, Refusal> {
    match now.mark() {
        Some(None) => Err(Refusal {
            reason: "annotation-unreadable",
            because: format!("the annotation {CANARY} of {} is not valid", now.set.metadata.name),
            hint: kubectl("annotate statefulset")
                .name(&now.set.metadata.name)
                .namespace(&now.set.metadata.namespace)
                .value(format!("{CANARY}-"))
                .after("remove it if no canary of kubectl sts is in progress"),
        }),
        mark => Ok(mark.flatten()),
    }
}

/// Whether the template is that of before the canary: an abort is under way, or somebody put it back.
fn has_stable_template(now: &Snapshot<'_>, mark: &CanaryAnnotation) -> bool {
    now.set.is_observed() && now.set.status.update_revision == mark.stable
}

/// Says that pods which a raised partition leaves behind it stay as they are.
fn keeps_new(now: &Snapshot<'_>, from: i32, to: i32) -> Result<Option<String>, Unseen> {
    let update = &now.set.status.update_revision;
    if now.set.status.current_revision == *update {
        return Ok(None);
    }
    let between = |ordinal: i32| (from..to).contains(&(ordinal - now.set.start()));
    let kept: Vec<_> = (now.replicas()?.iter().rev())
        .filter(|replica| between(replica.ordinal) && replica.pod.is_some_and(|pod| pod.revision() == update))
        .map(|replica| replica.name.clone())
        .collect();
    Ok((!kept.is_empty()).then(|| {
        format!(
            "raising the partition rolls no pod back: {} on the new revision; abort rolls all pods back",
            stay(&kept)
        )
    }))
}

/// Says which pod of the canary fails: until it is available, nothing goes on.
fn stuck(now: &Snapshot<'_>) -> Result<Option<String>, Unseen> {
    let pods = now.above(now.set.partition())?;
    let first = pods.into_iter().find_map(|replica| {
        let trouble = now.trouble(replica.pod?).filter(|trouble| trouble.why.needs_intervention())?;
        Some((replica, trouble))
    });
    Ok(first.map(|(replica, trouble)| {
        format!(
            "the canary is stuck: {} is not available ({}), and no other pod is updated until it is; abort rolls back",
            replica.name,
            trouble.why.word()
        )
    }))
}

/// Whether a replica below the partition waits for the update.
fn is_held(now: &Snapshot<'_>) -> Result<bool, Unseen> {
    let update = &now.set.status.update_revision;
    Ok(now.replicas()?.iter().any(|replica| replica.pod.is_some_and(|pod| pod.revision() != update)))
}

/// `kubectl sts VERB postgres -n shop`.
fn command(now: &Snapshot<'_>, verb: &'static str) -> Command {
    sts(verb).name(&now.set.metadata.name).namespace(&now.set.metadata.namespace)
}

/// How to end a canary before something else begins.
fn end_first(now: &Snapshot<'_>) -> String {
    format!(
        "{}\n{}",
        command(now, "promote").with("--full").after("finish it first"),
        command(now, "abort").after("or roll back")
    )
}

fn stay(names: &[String]) -> String {
    format!("{} {}", words::list(names, 3), if names.len() == 1 { "stays" } else { "stay" })
}
