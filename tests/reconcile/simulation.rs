//! A cluster in memory: the model of the controller that is checked against the real one, a kubelet, watches that lag, an
//! API server that refuses or falls silent, and other clients that interfere. It knows nothing of plans and goals.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kubectl_sts::cluster::{Failure, Performed};
use kubectl_sts::controller::{Action, Next, Purpose, World};
use kubectl_sts::error::{Error, Result};
use kubectl_sts::kinds::*;
use kubectl_sts::plan::{OneSet, SetPatch, Step};
use kubectl_sts::reconcile::Cluster;
use kubectl_sts::snapshot::{CANARY, ServerVersion, Snapshot, parse_pod_name};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::kubelet::{Fate, Life};
use super::scenario::{Claim, Found, Scenario, State, beginning};
use crate::controller::change::Random;

/// How often what happens: in percent of the seconds that pass, or of the requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Odds {
    /// Another client edits the spec, or the annotation of a canary.
    pub edit: i32,
    /// A pod is deleted by somebody.
    pub death: i32,
    /// What pods become of a revision changes: it heals, or breaks.
    pub turn: i32,
    /// Something other than the spec of the set changes it: its status, or an annotation.
    pub touch: i32,
    /// A watch does not bring what has changed.
    pub lag: i32,
    /// Seconds pass between the last look and a write.
    pub race: i32,
    /// The answer of a write is lost, after or before it was done.
    pub lost: i32,
    /// 409, 429 or 422 without a cause that could be seen.
    pub refuse: i32,
    /// The cluster cannot be read.
    pub unread: i32,
    /// What was written is not read yet.
    pub late: i32,
    /// The set is deleted.
    pub gone: i32,
}

/// Who deleted a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    Us,
    Controller(Purpose),
    Other,
}

/// A pod's going or coming.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    Deleted {
        ordinal: i32,
        revision: String,
        by: By,
        /// Whether a write of ours led to it, as nobody has edited the spec since.
        ours: bool,
        /// Whether the pod was available when we looked last, and when it was deleted.
        available: (bool, bool),
    },
    Created {
        ordinal: i32,
        revision: String,
    },
}

/// How much may be asked of the API server in one second before it counts as spinning.
const REQUESTS: u32 = 40;
/// What one request takes.
const ANSWER: Duration = Duration::from_millis(3);

pub struct Simulation {
    truth: World,
    view: World,
    pub random: Random,
    pub odds: Odds,
    fates: BTreeMap<String, Fate>,
    lives: HashMap<String, Life>,
    /// Claims that are held whatever uses them.
    held: Vec<String>,
    /// The revision of the template, which the controller has yet to look at.
    template: String,
    /// The template and partition that we wrote last; `None` once another client has edited the spec.
    ours: Option<(String, i32)>,
    /// What happened since the last plan.
    pub moves: Vec<Moved>,
    pub writes: Vec<Step>,
    /// How many writes were asked for, done or not.
    pub asked: usize,
    serial: u64,
    /// How often the watches brought something.
    seen: u64,
    /// Dies at this write: before it is done, or after.
    pub killed_at: Option<(usize, bool)>,
    /// Whether what pods of a revision become has changed.
    pub turned: bool,
    /// Whether another client has changed anything that counts.
    pub disturbed: bool,
    gone: bool,
    /// When the next second is over, by the clock of the run.
    next_tick: Option<Instant>,
    requests: u32,
    looks: Cell<u32>,
    /// Whether what was read last was older than what was written.
    is_stale: bool,
    /// What is read until then, although more was written.
    stale: Option<(Instant, World)>,
}

impl Simulation {
    pub fn new(scenario: &Scenario, random: Random) -> Simulation {
        let now = beginning();
        let set = the_set(scenario);
        let mut lives = HashMap::new();
        let mut pods = Vec::new();
        for found in &scenario.pods {
            let (pod, life) = found_pod(&set, scenario, found, now);
            lives.insert(pod.metadata.uid.clone(), life);
            pods.push(pod);
        }
        let server = ServerVersion { text: scenario.server.to_owned() };
        let claims: Vec<PersistentVolumeClaim> = if scenario.volumes {
            let lacks = |found: &&Found| found.state != State::LacksVolume;
            let mut ordinals: Vec<i32> = scenario.pods.iter().filter(lacks).map(|it| it.ordinal).collect();
            ordinals.extend(scenario.claims.iter().map(|it| it.0));
            ordinals.sort_unstable();
            ordinals.dedup();
            ordinals.into_iter().map(|ordinal| claim(&set, scenario, ordinal, now)).collect()
        } else {
            Vec::new()
        };
        let held = scenario.claims.iter().filter(|(_, claim)| *claim == Claim::Held);
        let held = held.map(|(ordinal, _)| set.claim_name("data", *ordinal)).collect();
        let world = World::new(set, pods, claims, Some(server), now);
        let mut it = Simulation {
            view: world.clone(),
            truth: world,
            random,
            odds: Odds::default(),
            fates: scenario.fates.iter().map(|(name, fate)| ((*name).to_owned(), *fate)).collect(),
            lives,
            held,
            template: scenario.template.to_owned(),
            ours: None,
            moves: Vec::new(),
            writes: Vec::new(),
            asked: 0,
            serial: 1,
            seen: 0,
            killed_at: None,
            turned: false,
            disturbed: false,
            gone: false,
            next_tick: None,
            requests: 0,
            looks: Cell::new(0),
            is_stale: false,
            stale: None,
        };
        it.kubelet();
        it.settle();
        it.see();
        it
    }

    /// A restart of the program: what it was looking at is gone, the cluster is not.
    pub fn rerun(&mut self) {
        self.killed_at = None;
        self.ours = None;
        self.asked = 0;
        self.writes.clear();
        self.moves.clear();
        self.next_tick = None;
        self.stale = None;
        self.requests = 0;
        self.see();
    }

    pub fn set(&self) -> &StatefulSet {
        self.truth.set()
    }

    pub fn template(&self) -> &str {
        &self.template
    }

    pub fn truth(&self) -> &World {
        &self.truth
    }

    /// The cluster as it is, or, where the API server has hidden that, as it was read last: what may be decided on. Who
    /// writes nothing reads nothing, and goes by the watches.
    pub fn last_read(&self, writes: bool) -> &World {
        if self.is_stale || !writes { &self.view } else { &self.truth }
    }

    /// What can be seen of it; `None` when the set is gone.
    pub fn look<R>(&self, look: impl FnOnce(Option<&Snapshot<'_>>) -> R) -> R {
        self.looks.set(self.looks.get() + 1);
        if self.gone { look(None) } else { self.view.look(|snapshot| look(Some(snapshot))) }
    }

    /// What counts of its state once nothing moves any more.
    pub fn end_state(&self) -> String {
        let set = self.set();
        let now = self.truth.now();
        let pods: BTreeMap<&str, String> = (self.truth.pods().iter())
            .map(|pod| {
                let meta = &pod.metadata;
                let up = pod.is_available(set.spec.min_ready_seconds, now);
                let text = format!("{} {up} {}", pod.revision(), meta.is_terminating());
                (meta.name.as_str(), text)
            })
            .collect();
        let mark = set.metadata.annotations.get(CANARY).map(|mark| {
            // Who did it and when is another thing each time.
            let mark: Value = serde_json::from_str(mark).unwrap_or_default();
            format!("{} {} {}", mark["stable"], mark["partition"], mark["change"])
        });
        format!(
            "template {} {:?} replicas {} mark {mark:?} {pods:#?}",
            self.template,
            set.rolling_update(),
            set.replicas()
        )
    }

    fn serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
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

    /// One second of the cluster's life.
    pub fn tick(&mut self) {
        self.truth.pass_to(self.truth.now() + SignedDuration::from_secs(1));
        self.interfere();
        self.controller();
        self.kubelet();
        if self.truth.set().is_observed() && self.random.chance(80) {
            self.settle();
        }
        let now = self.truth.now();
        if self.random.chance(100 - self.odds.lag) && self.view.set() != self.truth.set() {
            *self.view.set_mut() = self.truth.set().clone();
            self.seen += 1;
        }
        if self.random.chance(100 - self.odds.lag) && self.view.pods() != self.truth.pods() {
            *self.view.pods_mut() = self.truth.pods().to_vec();
            self.seen += 1;
        }
        if let (Some(seen), Some(are)) = (self.view.claims_mut(), self.truth.claims_mut()) {
            seen.clone_from(are);
        }
        self.view.pass_to(now);
    }

    fn tick_unseen(&mut self) {
        let view = self.view.clone();
        self.tick();
        self.view = view;
    }

    /// Lets the seconds pass that are over by the clock of the run.
    fn catch_up(&mut self) -> Instant {
        loop {
            let next = *self.next_tick.get_or_insert_with(|| Instant::now() + Duration::from_secs(1));
            if Instant::now() < next {
                return next;
            }
            self.next_tick = Some(next + Duration::from_secs(1));
            self.requests = 0;
            self.looks.set(0);
            self.tick();
        }
    }

    async fn request(&mut self) {
        self.requests += 1;
        assert!(self.requests <= REQUESTS, "it spins: more than {REQUESTS} requests in a second");
        sleep(ANSWER).await;
        self.catch_up();
    }

    fn controller(&mut self) {
        if self.gone {
            return;
        }
        if !self.truth.set().is_observed() {
            if self.random.chance(70) {
                let template = self.template.clone();
                let set = self.truth.set_mut();
                set.status.observed_generation = set.metadata.generation;
                set.status.update_revision = template;
                self.settle();
                self.touch();
            }
            return;
        }
        let Next::Act(actions) = self.truth.next() else { return };
        let mut revisions = Vec::new();
        for action in &actions {
            revisions.push(match action {
                // After a deletion with grace the controller always counts anew: see controller::may_get.
                Action::Create(ordinal) => self.truth.revisions_for(*ordinal).0,
                Action::Delete(..) => String::new(),
            });
        }
        self.settle();
        for (action, revision) in actions.into_iter().zip(revisions) {
            match action {
                Action::Delete(ordinal, purpose) => self.note(ordinal, By::Controller(purpose)),
                Action::Create(ordinal) => {
                    self.moves.push(Moved::Created { ordinal, revision: revision.clone() });
                }
            }
            self.truth.act(action, &revision);
        }
    }

    /// Notes that a pod is about to be deleted.
    fn note(&mut self, ordinal: i32, by: By) {
        let set = self.truth.set();
        let (now, name, min_ready) = (self.truth.now(), set.pod_name(ordinal), set.spec.min_ready_seconds);
        let find = |world: &World| world.pods().iter().find(|pod| pod.metadata.name == name).cloned();
        let Some(pod) = find(&self.truth) else { return };
        let seen = find(&self.view).filter(|seen| seen.metadata.uid == pod.metadata.uid);
        let seen_at = self.view.now();
        let revision = pod.revision().to_owned();
        let to = &set.status.update_revision;
        let ours = match (by, &self.ours) {
            (By::Us, _) => true,
            (By::Controller(Purpose::Update), Some((target, from))) => {
                to == target && revision != *target && ordinal - set.start() >= *from
            }
            _ => false,
        };
        let available = (
            seen.is_some_and(|seen| seen.is_available(min_ready, seen_at)),
            pod.is_available(min_ready, now),
        );
        self.moves.push(Moved::Deleted { ordinal, revision, by, ours, available });
    }

    /// New pods get what the API server and the kubelet give them; all pods live on.
    fn kubelet(&mut self) {
        let now = self.truth.now();
        let mut serial = self.serial;
        let set = self.truth.set().clone();
        let mut made = Vec::new();
        if self.truth.pods().iter().any(|pod| pod.metadata.uid.is_empty()) {
            for pod in self.truth.pods_mut() {
                if !pod.metadata.uid.is_empty() {
                    continue;
                }
                serial += 1;
                pod.metadata.uid = format!("uid-{serial}");
                pod.metadata.creation_timestamp = Some(now);
                made.push((pod.metadata.uid.clone(), pod.revision().to_owned()));
                let ordinal = parse_pod_name(&pod.metadata.name).map_or(0, |it| it.1);
                furnish(pod, &set, ordinal);
            }
        }
        self.serial = serial;
        for (uid, revision) in made {
            let fate = self.fates.get(&revision).copied().unwrap_or(Fate::Good);
            let life = life(&mut self.random, fate, now);
            self.lives.insert(uid, life);
        }
        let unbound = self.unbound();
        let mut changed = Vec::new();
        let mut ended = Vec::new();
        for (at, pod) in self.truth.pods().iter().enumerate() {
            let meta = &pod.metadata;
            let Some(life) = self.lives.get_mut(&meta.uid) else { continue };
            let Some((_, ordinal)) = parse_pod_name(&meta.name) else { continue };
            if meta.is_terminating() {
                let ends_at = *life.ends_at.get_or_insert(now + SignedDuration::from_secs(life.ends));
                if ends_at <= now && meta.finalizers.is_empty() {
                    ended.push(ordinal);
                }
                continue;
            }
            let mut really = *life;
            if pod.claim_names().any(|name| unbound.contains(&name)) {
                really.fate = Fate::Unschedulable;
            }
            let stage = Some(really.stage(now));
            if life.shown != stage {
                life.shown = stage;
                let node = if really.fate == Fate::Unschedulable { "" } else { "node" };
                changed.push((at, really.status(now), node));
            }
        }
        if !changed.is_empty() {
            let pods = self.truth.pods_mut();
            for (at, status, node) in changed {
                pods[at].status = status;
                node.clone_into(&mut pods[at].spec.node_name);
            }
        }
        for ordinal in ended {
            self.truth.remove(ordinal);
        }
        self.storage(&set, now);
    }

    fn unbound(&mut self) -> Vec<String> {
        let claims = self.truth.claims_mut().map(|claims| claims.clone()).unwrap_or_default();
        claims.into_iter().filter(|it| it.status.phase == "Pending").map(|it| it.metadata.name).collect()
    }

    /// PVCs come with the pods that need them, and go once no pod uses them.
    fn storage(&mut self, set: &StatefulSet, now: Timestamp) {
        if set.spec.volume_claim_templates.is_empty() {
            return;
        }
        let used: Vec<String> = self.truth.pods().iter().flat_map(Pod::claim_names).collect();
        let held = self.held.clone();
        let Some(claims) = self.truth.claims_mut() else { return };
        claims.retain(|claim| {
            let name = &claim.metadata.name;
            !claim.metadata.is_terminating() || used.contains(name) || held.contains(name)
        });
        for name in used {
            if !claims.iter().any(|claim| claim.metadata.name == name) {
                claims.push(bound(name, now));
            }
        }
    }

    fn interfere(&mut self) {
        if self.random.chance(self.odds.edit) {
            self.edit();
        }
        if self.random.chance(self.odds.turn) {
            let revision = self.random.one_of(&["A", "B", "C"]);
            let fate = self.random.one_of(&[Fate::Good, Fate::Good, Fate::CrashLoop, Fate::NeverReady]);
            self.fates.insert(revision.to_owned(), fate);
            // A Secret that appears, or a database that is up again, helps those pods as well that are there.
            for pod in self.truth.pods().iter().filter(|pod| pod.revision() == revision) {
                if let Some(life) = self.lives.get_mut(&pod.metadata.uid) {
                    life.fate = fate;
                }
            }
            (self.turned, self.disturbed) = (true, true);
        }
        if self.random.chance(self.odds.touch) {
            self.touch();
        }
        if self.random.chance(self.odds.death) {
            let pods: Vec<i32> = (self.truth.pods().iter())
                .filter_map(|pod| parse_pod_name(&pod.metadata.name))
                .map(|it| it.1)
                .collect();
            if !pods.is_empty() {
                let ordinal = self.random.one_of(&pods);
                self.note(ordinal, By::Other);
                self.truth.delete(ordinal);
                self.disturbed = true;
            }
        }
        if self.random.chance(self.odds.gone) {
            self.disturbed = true;
            if self.random.chance(50) {
                let now = self.truth.now();
                self.truth.set_mut().metadata.deletion_timestamp.get_or_insert(now);
                self.touch();
            } else {
                self.gone = true;
            }
        }
    }

    /// Another client edits the spec.
    pub fn edit(&mut self) {
        (self.disturbed, self.ours) = (true, None);
        let what = self.random.below(12);
        let replicas = self.truth.set().replicas();
        let partition = self.random.below(replicas + 1);
        let scaled = self.random.below(7);
        let template = self.random.one_of(&["A", "B", "C"]).to_owned();
        let seconds = self.random.one_of(&[0, 4]);
        let forged = self.random.one_of(&[
            None,
            Some(r#"{"stable":"B","partition":1,"by":"x","at":"2026-01-01T00:00:00Z"}"#),
            Some("{"),
        ]);
        let set = self.truth.set_mut();
        match what {
            0..=2 => {
                let rolling = set.rolling_update().unwrap_or_default();
                set.spec.update_strategy.rolling_update = Some(RollingUpdate { partition, ..rolling });
            }
            3..=5 => set.spec.replicas = Some(scaled),
            6 => set.spec.min_ready_seconds = seconds,
            7 => {
                let on_delete = UpdateStrategy { r#type: "OnDelete".to_owned(), rolling_update: None };
                set.spec.update_strategy = on_delete;
            }
            8 => annotate(set, CANARY, forged),
            _ => self.template = template,
        }
        if what != 8 {
            self.truth.set_mut().metadata.generation += 1;
        }
        self.touch();
    }

    fn patch(&mut self, patch: &SetPatch) -> Performed {
        let (seen, is) = (self.view.set(), self.truth.set());
        if patch.seen != is.metadata.uid || seen.metadata.resource_version != is.metadata.resource_version {
            return Performed::Conflict("the object has been modified".to_owned());
        }
        understands(&patch.body);
        let at = |path: &str| patch.body.pointer(path);
        let partition = at("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_i64);
        let template = at("/spec/template")
            .map(|template| template["metadata"]["annotations"]["revision"].as_str().unwrap().to_owned());
        let before = (is.clone(), self.template.clone());
        let set = self.truth.set_mut();
        for (key, value) in at("/metadata/annotations").and_then(Value::as_object).into_iter().flatten() {
            annotate(set, key, value.as_str());
        }
        if let Some(partition) = partition.and_then(|it| i32::try_from(it).ok()) {
            let rolling = set.rolling_update().unwrap_or_default();
            set.spec.update_strategy.rolling_update = Some(RollingUpdate { partition, ..rolling });
        }
        let from = set.partition();
        self.template = template.unwrap_or_else(|| before.1.clone());
        if set.spec != before.0.spec || self.template != before.1 {
            set.metadata.generation += 1;
        }
        if !patch.pauses {
            self.ours = Some((self.template.clone(), from));
        }
        // A patch that changes nothing leaves the object as it is, resourceVersion included.
        if *self.truth.set() != before.0 || self.template != before.1 {
            self.touch();
        }
        *self.view.set_mut() = self.truth.set().clone();
        Performed::Done
    }

    fn delete(&mut self, name: &str, uid: &str) -> Performed {
        let Some(pod) = self.truth.pods().iter().find(|pod| pod.metadata.name == name) else {
            return Performed::AlreadyGone;
        };
        if pod.metadata.uid != uid {
            return Performed::Conflict("the UID in the precondition is another".to_owned());
        }
        let Some((_, ordinal)) = parse_pod_name(name) else { return Performed::AlreadyGone };
        if !pod.metadata.is_terminating() {
            self.note(ordinal, By::Us);
            self.truth.delete(ordinal);
        }
        Performed::Done
    }

    /// A refusal without a cause that could be seen.
    fn refusal(&mut self) -> std::result::Result<Performed, Failure> {
        match self.random.below(5) {
            0 | 1 => Ok(Performed::Conflict("the object has been modified".to_owned())),
            2 | 3 => Ok(Performed::TooManyRequests("too many requests".to_owned())),
            _ => Err(Failure {
                error: Error::cluster("422: refused by a webhook"),
                is_uncertain: false,
                forbidden: None,
            }),
        }
    }
}

/// Panics where the simulation does not know what something in a patch does.
fn understands(body: &Value) {
    const KNOWN: [&str; 4] = [
        "/metadata/annotations",
        "/spec/template",
        "/spec/updateStrategy/type",
        "/spec/updateStrategy/rollingUpdate/partition",
    ];
    let mut open = vec![(String::new(), body)];
    while let Some((path, value)) = open.pop() {
        if KNOWN.contains(&path.as_str()) {
            continue;
        }
        let Some(fields) = value.as_object() else { panic!("a patch of {path}: {value}") };
        open.extend(fields.iter().map(|(key, value)| (format!("{path}/{key}"), value)));
    }
}

fn killed(when: &str) -> Failure {
    Failure {
        error: Error::cluster(format!("no answer {when} the write")),
        is_uncertain: true,
        forbidden: None,
    }
}

/// Writes or removes an annotation.
fn annotate(set: &mut StatefulSet, key: &str, value: Option<&str>) {
    let mut all: Map = (*set.metadata.annotations).clone();
    match value {
        Some(text) => all.insert(key.to_owned(), text.to_owned()),
        None => all.remove(key),
    };
    set.metadata.annotations = serde_json::from_value(json!(all)).unwrap();
}

fn the_set(scenario: &Scenario) -> StatefulSet {
    let template = json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "web:1",
            "readinessProbe": {"periodSeconds": 1, "failureThreshold": 3, "exec": {}}}]}});
    let claims = if scenario.volumes { json!([{"metadata": {"name": "data"}}]) } else { json!([]) };
    let mut set: StatefulSet = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "set", "generation": 1, "resourceVersion": "1"},
        "spec": {
            "replicas": scenario.replicas, "minReadySeconds": scenario.min_ready,
            "podManagementPolicy": if scenario.parallel { "Parallel" } else { "OrderedReady" },
            "ordinals": {"start": scenario.start}, "updateStrategy": scenario.strategy,
            "selector": {"matchLabels": {"app": "web"}}, "template": template, "volumeClaimTemplates": claims,
        },
        "status": {"observedGeneration": 1, "currentRevision": scenario.current, "updateRevision": scenario.template},
    }))
    .unwrap();
    if let Some(mark) = &scenario.mark {
        annotate(&mut set, CANARY, Some(&mark.to_string()));
    }
    set
}

/// What a pod has of its set: containers and volumes.
fn furnish(pod: &mut Pod, set: &StatefulSet, ordinal: i32) {
    pod.spec.containers.clone_from(&set.spec.template.spec.containers);
    let volume = |template: &PersistentVolumeClaim| PodVolume {
        name: template.metadata.name.clone(),
        persistent_volume_claim: Some(ClaimSource {
            claim_name: set.claim_name(&template.metadata.name, ordinal),
        }),
        ..PodVolume::default()
    };
    pod.spec.volumes = set.spec.volume_claim_templates.iter().map(volume).collect();
}

fn life(random: &mut Random, fate: Fate, born: Timestamp) -> Life {
    let starts = if fate == Fate::Slow { 10 + random.below(15) } else { 1 + random.below(4) };
    Life { fate, born, starts: starts.into(), ends: random.below(4).into(), ends_at: None, shown: None }
}

fn found_pod(set: &StatefulSet, scenario: &Scenario, found: &Found, now: Timestamp) -> (Pod, Life) {
    let Found { ordinal, revision, state } = *found;
    let fate = match state {
        State::Has(fate) => fate,
        State::Ending(_) | State::Held | State::Guarded | State::LacksVolume => Fate::Good,
        State::Old | State::Young(_) => scenario.fates.get(revision).copied().unwrap_or(Fate::Good),
    };
    let age = match state {
        State::Young(age) => age,
        _ => 7200,
    };
    let born = now - SignedDuration::from_secs(age);
    let starts = if fate == Fate::Slow { age + 25 } else { 3 };
    let ends_at = match state {
        State::Ending(left) => Some(now + SignedDuration::from_secs(left)),
        _ => None,
    };
    let mut pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": set.pod_name(ordinal), "namespace": "default", "uid": format!("found-{ordinal}"),
            "creationTimestamp": born.to_string(),
            "labels": {"app": "web", (REVISION_LABEL): revision},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "set", "controller": true}],
            "finalizers": if matches!(state, State::Held | State::Guarded) { json!(["example.com/hold"]) } else { json!([]) },
        },
        "spec": {"nodeName": "node"},
    }))
    .unwrap();
    furnish(&mut pod, set, ordinal);
    if state == State::LacksVolume {
        pod.spec.volumes.clear();
    }
    if matches!(state, State::Ending(_) | State::Held) {
        pod.metadata.deletion_timestamp = Some(now);
        pod.status = Life { fate: Fate::Good, born, starts, ends: 1, ends_at: None, shown: None }.status(now);
    }
    (pod, Life { fate, born, starts, ends: 1, ends_at, shown: None })
}

fn bound(name: String, now: Timestamp) -> PersistentVolumeClaim {
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "uid": format!("claim-{name}"), "creationTimestamp": now.to_string()},
        "spec": {"volumeName": format!("pv-{name}"), "storageClassName": "standard"}, "status": {"phase": "Bound"},
    }))
    .unwrap()
}

fn claim(set: &StatefulSet, scenario: &Scenario, ordinal: i32, now: Timestamp) -> PersistentVolumeClaim {
    let mut claim = bound(set.claim_name("data", ordinal), now - SignedDuration::from_secs(7200));
    match scenario.claims.iter().find(|it| it.0 == ordinal).map(|it| it.1) {
        Some(Claim::Ending | Claim::Held) => claim.metadata.deletion_timestamp = Some(now),
        Some(Claim::Unbound) => {
            "Pending".clone_into(&mut claim.status.phase);
            claim.spec.volume_name.clear();
        }
        None => {}
    }
    claim
}

impl Cluster for Simulation {
    type Of = OneSet;

    fn with_now<R>(&self, look: impl FnOnce(Option<&Snapshot<'_>>) -> R) -> R {
        assert!(self.looks.get() <= 4 * REQUESTS, "it spins: it looks and looks in one second");
        self.look(look)
    }

    async fn next_change(&mut self, until: Instant) {
        let seen = self.seen;
        while Instant::now() < until && self.seen == seen {
            let next = self.catch_up();
            sleep_until(until.min(next)).await;
            self.catch_up();
        }
    }

    async fn read_again(&mut self, _about: Option<&Step>) -> Result<()> {
        self.request().await;
        if self.random.chance(self.odds.unread) {
            return Err(Error::cluster("the server does not answer"));
        }
        match &self.stale {
            Some((until, old)) if *until > Instant::now() => {
                self.view = old.clone();
                self.view.pass_to(self.truth.now());
                self.is_stale = true;
            }
            _ => {
                self.see();
                self.is_stale = false;
            }
        }
        Ok(())
    }

    async fn perform(&mut self, step: &Step, _dry_run: bool) -> std::result::Result<Performed, Failure> {
        self.request().await;
        if self.random.chance(self.odds.race) {
            for _ in 0..=self.random.below(3) {
                self.tick_unseen();
            }
        }
        let number = self.asked;
        self.asked += 1;
        let lost = self.random.chance(self.odds.lost);
        let (dies_before, dies_after) = match self.killed_at {
            Some((at, after)) if at == number => (!after, after),
            _ => (lost && self.random.chance(50), lost),
        };
        if dies_before {
            return Err(killed("before"));
        }
        if self.random.chance(self.odds.refuse) {
            return self.refusal();
        }
        let before = self.view.clone();
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
            if self.random.chance(self.odds.late) {
                let late = u64::try_from(self.random.below(3500)).unwrap_or(0);
                self.view = before.clone();
                self.stale = Some((Instant::now() + Duration::from_millis(late), before));
            }
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
