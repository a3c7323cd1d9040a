//! A cluster in memory with a controller, a kubelet, watches that lag, and other clients that interfere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kubectl_sts::cluster::{Failure, Performed};
use kubectl_sts::controller::{Action, Next, Purpose, World};
use kubectl_sts::error::{Error, Result};
use kubectl_sts::kinds::*;
use kubectl_sts::plan::{OneSet, SetPatch, Step};
use kubectl_sts::reconcile::Cluster;
use kubectl_sts::snapshot::{Snapshot, parse_pod_name};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::controller::change::Random;

/// How often what happens, in percent of the ticks of one second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Odds {
    /// Another client edits the template, the partition or the replicas.
    pub edit: i32,
    /// A pod is deleted or evicted by somebody.
    pub death: i32,
    /// Something other than the spec of the set changes it: its status, or an annotation.
    pub touch: i32,
    /// A watch does not bring what has changed.
    pub lag: i32,
    /// Another client comes between the last look and the write.
    pub race: i32,
    /// The answer of a write is lost, after or before it was done.
    pub lost: i32,
}

/// A pod that was deleted to come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    pub pod: String,
    pub uid: String,
    /// Whether a write of ours led to it.
    pub by_us: bool,
    /// Whether it was available.
    pub available: bool,
}

pub struct Simulation {
    pub truth: World,
    view: World,
    pub random: Random,
    pub odds: Odds,
    /// Pods of these revisions never become available.
    pub broken: BTreeSet<String>,
    /// The revision of the template, which the controller has yet to look at.
    template: String,
    /// The revision to which pods go because of what we wrote last; `None` once another client has edited the spec.
    ours: Option<(String, i32)>,
    pub restarts: Vec<Restart>,
    pub writes: Vec<Step>,
    /// Ticks that are left before it counts as endless.
    pub ticks: u32,
    serial: u64,
    /// Dies at this write: before it is done, or after.
    pub killed_at: Option<(usize, bool)>,
    pub edited: bool,
}

impl Simulation {
    pub fn new(mut world: World, random: Random, odds: Odds) -> Simulation {
        let template = world.set().status.update_revision.clone();
        world.set_mut().metadata.generation = 1;
        world.set_mut().status.observed_generation = 1;
        let mut it = Simulation {
            view: world.clone(),
            truth: world,
            random,
            odds,
            broken: BTreeSet::new(),
            template,
            ours: None,
            restarts: Vec::new(),
            writes: Vec::new(),
            ticks: 4000,
            serial: 1,
            killed_at: None,
            edited: false,
        };
        it.identify();
        it.settle();
        it.see();
        it
    }

    /// A restart of the program: what it was looking at is gone, the cluster is not.
    pub fn rerun(&mut self) {
        self.killed_at = None;
        self.ours = None;
        self.writes.clear();
        self.restarts.clear();
        self.ticks = 4000;
        self.see();
    }

    fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// New pods get their uids.
    fn identify(&mut self) {
        let mut serial = self.serial;
        for pod in self.truth.pods_mut() {
            if pod.metadata.uid.is_empty() || pod.metadata.uid == "set" {
                serial += 1;
                pod.metadata.uid = format!("uid-{serial}");
            }
            if pod.spec.node_name.is_empty() {
                "node".clone_into(&mut pod.spec.node_name);
            }
        }
        self.serial = serial;
    }

    fn touch(&mut self) {
        let serial = self.serial();
        self.truth.set_mut().metadata.resource_version = serial.to_string();
    }

    fn settle(&mut self) {
        let before = self.truth.set().status.clone();
        self.truth.settle();
        if self.truth.set().status != before {
            self.touch();
        }
    }

    fn see(&mut self) {
        self.view = self.truth.clone();
    }

    pub fn set(&self) -> &StatefulSet {
        self.truth.set()
    }

    /// One second of the cluster's life.
    pub fn tick(&mut self) {
        self.truth.pass_to(self.truth.now() + SignedDuration::from_secs(1));
        self.interfere();
        self.controller();
        self.kubelet();
        self.identify();
        self.settle_if_observed();
        self.watches();
    }

    fn settle_if_observed(&mut self) {
        if self.truth.set().is_observed() && self.random.chance(80) {
            self.settle();
        }
    }

    fn watches(&mut self) {
        let now = self.truth.now();
        if !self.random.chance(self.odds.lag) {
            *self.view.set_mut() = self.truth.set().clone();
        }
        if !self.random.chance(self.odds.lag) {
            *self.view.pods_mut() = self.truth.pods().to_vec();
        }
        self.view.pass_to(now);
    }

    fn controller(&mut self) {
        let set = self.truth.set_mut();
        if !set.is_observed() {
            if self.random.chance(70) {
                set.status.observed_generation = set.metadata.generation;
                set.status.update_revision.clone_from(&self.template);
                self.settle();
                self.touch();
            }
            return;
        }
        let Next::Act(actions) = self.truth.next() else { return };
        let revisions: Vec<_> = actions
            .iter()
            .map(|action| match action {
                Action::Create(ordinal) => self.truth.revisions_for(*ordinal).0,
                Action::Delete(..) => String::new(),
            })
            .collect();
        self.settle();
        for (action, revision) in actions.into_iter().zip(revisions) {
            if let Action::Delete(ordinal, Purpose::Update) = action {
                self.note(ordinal, |ours, has, to, index| {
                    ours.as_ref()
                        .is_some_and(|(target, from)| to == target && has != target && index >= *from)
                });
            }
            self.truth.act(action, &revision);
        }
        self.identify();
    }

    /// Notes that a pod is about to be deleted.
    fn note(&mut self, ordinal: i32, by_us: impl Fn(&Option<(String, i32)>, &str, &str, i32) -> bool) {
        let min_ready = self.truth.set().spec.min_ready_seconds;
        let (now, name) = (self.truth.now(), self.truth.set().pod_name(ordinal));
        let Some(pod) = self.truth.pods().iter().find(|pod| pod.metadata.name == name) else { return };
        let index = ordinal - self.truth.set().start();
        let to = &self.truth.set().status.update_revision;
        let restart = Restart {
            pod: name,
            uid: pod.metadata.uid.clone(),
            by_us: by_us(&self.ours, pod.revision(), to, index),
            available: pod.is_available(min_ready, now),
        };
        self.restarts.push(restart);
    }

    fn kubelet(&mut self) {
        let now = self.truth.now();
        let ordinals: Vec<(i32, String, bool, bool)> = (self.truth.pods().iter())
            .filter_map(|pod| {
                let (_, ordinal) = parse_pod_name(&pod.metadata.name)?;
                let revision = pod.revision().to_owned();
                Some((ordinal, revision, pod.metadata.is_terminating(), pod.is_ready()))
            })
            .collect();
        for (ordinal, revision, terminating, ready) in ordinals {
            if terminating {
                if self.random.chance(60) {
                    self.truth.remove(ordinal);
                }
            } else if self.broken.contains(&revision) {
                let name = self.truth.set().pod_name(ordinal);
                if let Some(pod) = self.truth.pods_mut().iter_mut().find(|pod| pod.metadata.name == name) {
                    break_pod(pod, now);
                }
            } else if !ready && self.random.chance(50) {
                self.truth.make_available(ordinal);
            }
        }
    }

    fn interfere(&mut self) {
        if self.random.chance(self.odds.edit) {
            self.edit();
        }
        if self.random.chance(self.odds.touch) {
            self.touch();
        }
        if self.random.chance(self.odds.death) {
            let pods: Vec<i32> = self
                .truth
                .pods()
                .iter()
                .filter_map(|pod| parse_pod_name(&pod.metadata.name))
                .map(|it| it.1)
                .collect();
            if !pods.is_empty() {
                let ordinal = self.random.one_of(&pods);
                self.truth.delete(ordinal);
            }
        }
    }

    /// Another client edits the spec.
    pub fn edit(&mut self) {
        self.edited = true;
        self.ours = None;
        let what = self.random.below(3);
        let replicas = self.truth.set().replicas();
        let partition = self.random.below(replicas + 1);
        let scaled = 1 + self.random.below(6);
        let template = self.random.one_of(&["A", "B", "C"]).to_owned();
        let set = self.truth.set_mut();
        match what {
            0 => {
                let rolling = set.rolling_update().unwrap_or_default();
                set.spec.update_strategy.rolling_update = Some(RollingUpdate { partition, ..rolling });
            }
            1 => set.spec.replicas = Some(scaled),
            _ => self.template = template,
        }
        set.metadata.generation += 1;
        self.touch();
    }

    fn patch(&mut self, patch: &SetPatch) -> Performed {
        if patch.seen != self.truth.set().metadata.uid
            || self.view.set().metadata.resource_version != self.truth.set().metadata.resource_version
        {
            return Performed::Conflict("the object has been modified".to_owned());
        }
        let at = |path: &str| patch.body.pointer(path);
        let partition = at("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_i64);
        let template = at("/spec/template").map(|template| match &patch.revision {
            Some(revision) => revision.clone(),
            None => template["metadata"]["annotations"]["revision"].as_str().unwrap_or("C").to_owned(),
        });
        let set = self.truth.set_mut();
        for (key, value) in at("/metadata/annotations").and_then(Value::as_object).into_iter().flatten() {
            annotate(set, key, value.as_str());
        }
        let mut changed = false;
        if let Some(partition) = partition.and_then(|it| i32::try_from(it).ok()) {
            let rolling = set.rolling_update().unwrap_or_default();
            changed |= set.rolling_update().is_none_or(|rolling| rolling.partition != partition);
            set.spec.update_strategy.rolling_update = Some(RollingUpdate { partition, ..rolling });
        }
        let from = set.partition();
        if let Some(template) = template {
            changed |= self.template != template;
            self.template = template;
        }
        if changed {
            set.metadata.generation += 1;
        }
        if !patch.pauses {
            self.ours = Some((self.template.clone(), from));
        }
        self.touch();
        *self.view.set_mut() = self.truth.set().clone();
        Performed::Done
    }

    fn delete(&mut self, name: &str, uid: &str) -> Performed {
        let Some(pod) = self.truth.pods().iter().find(|pod| pod.metadata.name == name) else {
            return Performed::AlreadySo;
        };
        if pod.metadata.uid != uid {
            return Performed::Conflict("the UID in the precondition is another".to_owned());
        }
        let Some((_, ordinal)) = parse_pod_name(name) else { return Performed::AlreadySo };
        self.note(ordinal, |_, _, _, _| true);
        self.truth.delete(ordinal);
        Performed::Done
    }
}

fn killed(when: &str) -> Failure {
    Failure { error: Error::cluster(format!("killed {when} the write")), is_uncertain: true, forbidden: None }
}

/// Writes or removes an annotation.
pub fn annotate(set: &mut StatefulSet, key: &str, value: Option<&str>) {
    let mut all: Map = (*set.metadata.annotations).clone();
    match value {
        Some(text) => all.insert(key.to_owned(), text.to_owned()),
        None => all.remove(key),
    };
    set.metadata.annotations = serde_json::from_value(json!(all)).unwrap();
}

/// What a kubelet reports of an image that cannot be pulled.
fn break_pod(pod: &mut Pod, now: Timestamp) {
    let since = now - SignedDuration::from_mins(10);
    let created = pod.metadata.creation_timestamp.unwrap_or(since);
    let status: PodStatus = serde_json::from_value(json!({
        "phase": "Pending", "startTime": created.to_string(),
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": created.to_string()},
            {"type": "Ready", "status": "False", "reason": "ContainersNotReady", "lastTransitionTime": created.to_string()},
        ],
        "containerStatuses": [{"name": "web", "ready": false, "restartCount": 0, "image": "web:nope",
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}],
    }))
    .unwrap();
    pod.metadata.creation_timestamp = Some(created);
    pod.status = status;
}

impl Cluster for Simulation {
    type Of = OneSet;

    fn with_now<R>(&self, look: impl FnOnce(Option<&Snapshot<'_>>) -> R) -> R {
        self.view.look(|snapshot| look(Some(snapshot)))
    }

    async fn next_change(&mut self, until: Instant) {
        self.ticks = self.ticks.checked_sub(1).expect("it ends");
        self.tick();
        sleep_until(until.min(Instant::now() + Duration::from_secs(1))).await;
    }

    async fn read_again(&mut self, _about: Option<&Step>) -> Result<()> {
        self.see();
        Ok(())
    }

    async fn perform(&mut self, step: &Step, _dry_run: bool) -> std::result::Result<Performed, Failure> {
        if self.random.chance(self.odds.race) {
            for _ in 0..=self.random.below(3) {
                self.tick_unseen();
            }
        }
        let number = self.writes.len();
        let lost = self.random.chance(self.odds.lost);
        let (dies_before, dies_after) = match self.killed_at {
            Some((at, after)) if at == number => (!after, after),
            _ => (lost && self.random.chance(50), lost),
        };
        if dies_before {
            return Err(killed("before"));
        }
        let performed = match step {
            Step::Patch(patch) => self.patch(patch),
            Step::DeletePod { pod, seen, .. } => self.delete(pod, seen),
            Step::CreateSnapshot { .. }
            | Step::PatchVolume(_)
            | Step::DeletePvc { .. }
            | Step::CreatePvc { .. } => unreachable!("no PVC is written: {step:?}"),
            Step::Await { .. } | Step::AwaitPvc { .. } => unreachable!("nothing to write"),
        };
        if performed == Performed::Done {
            self.writes.push(step.clone());
        }
        if dies_after {
            return Err(killed("after"));
        }
        Ok(performed)
    }

    fn trouble(&self) -> Option<&str> {
        None
    }
}

impl Simulation {
    /// A second of which nothing is seen here.
    fn tick_unseen(&mut self) {
        let view = self.view.clone();
        self.tick();
        self.view = view;
    }

    /// Pods by name, with their revision.
    pub fn pods(&self) -> BTreeMap<String, String> {
        let pods = self.truth.pods().iter();
        pods.map(|pod| (pod.metadata.name.clone(), pod.revision().to_owned())).collect()
    }
}
