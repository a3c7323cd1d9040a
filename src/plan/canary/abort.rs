//! Going back: the stable template, then every pod, then the partition as it was before.

use serde_json::{Value, json};

use super::checks::{is_by_hand, no_canary};
use super::{Stamp, Steps, checks, mark};
use crate::controller::would_get;
use crate::paste::kubectl;
use crate::plan::{Goal, Plan, Refusal, Step, Stop, unchanged};
use crate::snapshot::{CANARY, CanaryAnnotation, Replica, Snapshot, Unseen};

/// Every pod is on the stable revision again, and no mark is left.
#[derive(Clone, Debug)]
pub struct Abort {
    /// The revision to go back to.
    pub stable: String,
    /// That revision's data, a strategic merge patch of the set. Without it the template cannot be put back.
    pub data: Option<Value>,
    /// For the mark that a canary without one is given first, so that an interruption loses nothing.
    pub stamp: Stamp,
    /// What speaks against it, from what a snapshot does not hold.
    pub warnings: Vec<String>,
}

/// The revision a canary goes back to: as its mark says, or, where it was made by hand, the one the pods below the
/// partition have.
///
/// # Errors
/// [`Refusal`] when the mark cannot be read.
pub fn stable(now: &Snapshot<'_>) -> Result<String, Refusal> {
    Ok(match mark(now)? {
        Some(mark) => mark.stable,
        None => now.set.status.current_revision.clone(),
    })
}

impl Goal for Abort {
    fn plan(&self, now: &Snapshot<'_>) -> Result<Plan, Stop> {
        if now.set.replicas() > 0 || now.set.metadata.is_terminating() {
            checks::possible(now, &[])?;
        }
        let set = now.set;
        let (name, stable) = (&set.metadata.name, &self.stable);
        let mark = mark(now)?;
        let partition = set.partition();
        let back = set.is_observed() && set.status.update_revision == *stable;
        let strays = self.strays(now)?;
        let mut plan = Plan { warnings: self.warnings.clone(), ..Plan::default() };
        plan.headline = format!("abort the canary of {name} in {}", set.metadata.namespace);
        let mut steps = Steps::of(now);
        let lowest = self.lowest(now, partition, &strays);
        if mark.is_none() && back && strays.is_empty() {
            plan.then =
                format!("no canary is in progress, and every pod is on {}", now.set.short_revision(stable));
            return Ok(plan);
        }
        if mark.is_none() && !set.is_observed() {
            // What there was to abort is over, or yet to be seen.
            plan.steps = vec![Step::Await { pods: Vec::new(), until: "the controller".to_owned() }];
            return Ok(plan);
        }
        if mark.is_none() && !is_by_hand(now) {
            return Err(Stop::Refused(no_canary(now)?));
        }
        let earlier = mark.as_ref().map_or(partition, |mark| mark.partition);
        let (mut partition, mut lowest, mut is_marked) = (partition, lowest, mark.is_some());
        let mut has_stanza = set.rolling_update().is_some();
        if !set.is_observed() {
            steps.all.push(Step::Await { pods: Vec::new(), until: "the controller".to_owned() });
        } else if let Some(to) = pause_at(now, &strays)?.filter(|_| !back) {
            let note = format!("pause the rollout at the pods it has reached: partition {partition} → {to}");
            steps.patch(self.change(now, !is_marked, false, Some(to)), note, true);
            steps.pauses();
            (partition, lowest) = (to, self.lowest(now, to, &strays));
            (is_marked, has_stanza) = (true, true);
        }
        if !back || lowest < partition {
            let to = (lowest != partition || !has_stanza).then_some(lowest);
            let body = self.change(now, !is_marked, !back, to);
            let note = match (back, lowest < partition) {
                (false, false) => {
                    format!("restore the template of revision {}", now.set.short_revision(stable))
                }
                (false, true) => {
                    format!(
                        "restore the template of revision {}, and partition {partition} → {lowest}",
                        now.set.short_revision(stable)
                    )
                }
                (true, _) => {
                    format!("partition {partition} → {lowest}, because pods below it must be rolled back too")
                }
            };
            let note = if is_marked {
                note
            } else {
                format!("{note}; recorded in the annotation {CANARY} until the abort is complete")
            };
            steps.patch(body, note, true);
            if !back {
                steps.puts_back(stable);
            }
        }
        if mark.is_none() {
            plan.warnings.push(format!(
                "this canary was not started by kubectl sts: the pods below the partition are on {}, so that is taken as \
                 the stable revision; the partition before the canary is unknown, so it stays at {earlier}",
                now.set.short_revision(stable)
            ));
        }
        let marked = mark.is_some() || !steps.all.is_empty();
        self.free(now, &strays, back, &mut steps, &mut plan)?;
        let waiting = self.unfinished(now, mark.as_ref())?;
        if !waiting.is_empty() {
            let until = format!("to be available on {}", now.set.short_revision(stable));
            steps.all.push(Step::Await { pods: waiting, until });
        } else if back && set.status.current_revision != *stable {
            // Until then a pod below a partition would come back on the abandoned revision.
            steps.all.push(Step::Await { pods: Vec::new(), until: "the controller".to_owned() });
        }
        if marked {
            let mut body = json!({"metadata": {"annotations": {CANARY: null}}});
            let restores = earlier != lowest;
            let note = if restores {
                body["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = earlier.into();
                format!("partition {lowest} → {earlier} as before the canary; remove the annotation {CANARY}")
            } else {
                format!("remove the annotation {CANARY}")
            };
            steps.patch(body, note, restores);
        }
        plan.steps = steps.all;
        plan.then = format!("every pod is on {}, as before the canary", now.set.short_revision(stable));
        plan.is_then_expected = true;
        plan.stays = self.untouched(now)?;
        Ok(plan)
    }
}

impl Abort {
    /// Replicas with a pod of another revision, lowest first.
    fn strays<'s, 'a>(&self, now: &'s Snapshot<'a>) -> Result<Vec<&'s Replica<'a>>, Unseen> {
        let strays = now.replicas()?.iter();
        Ok(strays.filter(|it| it.pod.is_some_and(|pod| pod.revision() != self.stable)).collect())
    }

    /// The partition under which every stray lies: pods on the stable revision do not move, wherever it is.
    fn lowest(&self, now: &Snapshot<'_>, partition: i32, strays: &[&Replica<'_>]) -> i32 {
        if now.set.status.current_revision != self.stable {
            return 0;
        }
        let first = strays.first().map(|replica| replica.ordinal - now.set.start());
        first.map_or(partition, |first| first.min(partition))
    }

    /// A change of the set: with the annotation of a canary, the stable template, another partition.
    fn change(&self, now: &Snapshot<'_>, annotates: bool, template: bool, partition: Option<i32>) -> Value {
        let mut body = match (&self.data, template) {
            (Some(data), true) => data.clone(),
            _ => json!({}),
        };
        if let Some(partition) = partition {
            body["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = partition.into();
        }
        if annotates {
            let mark = CanaryAnnotation {
                stable: self.stable.clone(),
                partition: now.set.partition(),
                by: self.stamp.by.clone(),
                at: self.stamp.at,
                change: None,
                steps: Vec::new(),
            };
            body["metadata"]["annotations"][CANARY] = serde_json::to_string(&mark).unwrap_or_default().into();
        }
        body
    }

    /// Strays that will not get better hold up an ordered set for ever, whatever its template says
    /// (kubernetes/kubernetes#67250).
    fn free(
        &self,
        now: &Snapshot<'_>,
        strays: &[&Replica<'_>],
        back: bool,
        steps: &mut Steps<'_, '_>,
        plan: &mut Plan,
    ) -> Result<(), Stop> {
        for replica in strays {
            let Some(pod) = replica.pod.filter(|pod| !pod.metadata.is_terminating() && !pod.is_finished())
            else {
                continue;
            };
            let trouble = now.trouble(pod).filter(|trouble| trouble.why.needs_intervention());
            let late = now.overdue_since(pod).is_some();
            if (trouble.is_some() || late) && !pod.metadata.finalizers.is_empty() {
                return Err(Stop::Refused(Refusal {
                    reason: "pod-has-finalizers",
                    because: format!(
                        "{} is stuck, and deleting it would not remove it: it has finalizers",
                        replica.name
                    ),
                    hint: kubectl("get pod")
                        .name(&replica.name)
                        .namespace(&pod.metadata.namespace)
                        .with("-o yaml")
                        .after("see which controller removes them"),
                }));
            }
            // Before the controller has seen the template put back, a deleted pod would come back as it was.
            let ready = !back || would_get(now, replica.ordinal) == self.stable;
            let state = match &trouble {
                Some(trouble) => format!("{} ", trouble.why.word()),
                None if late => "not ready ".to_owned(),
                None => String::new(),
            };
            let step = Step::DeletePod {
                pod: replica.name.clone(),
                seen: pod.metadata.uid.clone(),
                evict: false,
                note: format!(
                    "{state}on old revision {}; it will be recreated on {}",
                    now.set.short_revision(pod.revision()),
                    now.set.short_revision(&self.stable)
                ),
            };
            if (trouble.is_some() || late) && ready {
                steps.all.push(step);
            } else {
                plan.if_needed.push(step);
            }
        }
        Ok(())
    }

    /// Pods that are not available on the stable revision yet, highest first.
    fn unfinished(&self, now: &Snapshot<'_>, mark: Option<&CanaryAnnotation>) -> Result<Vec<String>, Unseen> {
        let is_done = |replica: &Replica<'_>| {
            replica.pod.is_some_and(|pod| {
                let meta = &pod.metadata;
                // A pod from before the canary is what it was, whether it is well or not.
                let untouched =
                    mark.zip(meta.creation_timestamp).is_some_and(|(mark, created)| created < mark.at);
                pod.revision() == self.stable
                    && !meta.is_terminating()
                    && (untouched || now.is_available(pod))
            })
        };
        let replicas = now.replicas()?.iter().rev();
        Ok(replicas.filter(|replica| !is_done(replica)).map(|replica| replica.name.clone()).collect())
    }

    fn untouched(&self, now: &Snapshot<'_>) -> Result<String, Unseen> {
        let names: Vec<_> = now
            .replicas()?
            .iter()
            .filter(|replica| replica.pod.is_some_and(|pod| pod.revision() == self.stable))
            .map(|replica| replica.name.clone())
            .collect();
        Ok(unchanged(&names))
    }
}

/// Where a rollout that still moves is to stop: above it no pod that it has not reached yet. `None` where nothing
/// would move any more.
fn pause_at(now: &Snapshot<'_>, strays: &[&Replica<'_>]) -> Result<Option<i32>, Unseen> {
    let set = now.set;
    let to = strays.first().map_or(set.replicas(), |replica| replica.ordinal - set.start());
    let index = |replica: &&Replica<'_>| (set.partition()..to).contains(&(replica.ordinal - set.start()));
    let moves =
        |replica: &Replica<'_>| replica.pod.is_none_or(|pod| pod.revision() != set.status.update_revision);
    Ok(now.replicas()?.iter().filter(index).any(moves).then_some(to))
}
