//! One set on the real control plane: changed again and again, each time with a prediction of what the controller writes.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use kubectl_sts::controller::{Action, Next, World};
use kubectl_sts::kinds::{Pod, StatefulSet, StatefulSetStatus, Strategy};
use kubectl_sts::snapshot::ServerVersion;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::api::{Api, Track, Write};
use super::change::{Change, Random, change};
use super::scenario::Case;

/// How long the controller may take: it is a failure's price only.
const PATIENCE: Duration = Duration::from_secs(240);

/// One way the controller may go on: its writes until it waits, and what they lead to. There are several where it races.
pub type Way = (Vec<Write>, World);

/// The model's writes until it waits for somebody else.
pub fn ways(world: &World) -> Vec<Way> {
    let Next::Act(actions) = world.next() else { return vec![(Vec::new(), world.clone())] };
    let mut start = world.clone();
    // The status of a sync counts what it saw at its start.
    start.settle();
    let mut ways: Vec<Way> = vec![(Vec::new(), start)];
    for action in actions {
        let (ordinal, revisions) = match action {
            Action::Create(ordinal) => {
                // All writes of a sync are decided on what it saw at its start.
                let (one, or) = world.revisions_for(ordinal);
                (ordinal, std::iter::once(one).chain(or).collect())
            }
            Action::Delete(ordinal, _) => (ordinal, vec![String::new()]),
        };
        let write = |revision: &str| match action {
            Action::Create(_) => Write::Create(ordinal, revision.to_owned()),
            Action::Delete(..) => Write::Delete(ordinal),
        };
        ways = revisions
            .iter()
            .flat_map(|revision| {
                ways.iter().map(move |(writes, world)| {
                    let (mut writes, mut world) = (writes.clone(), world.clone());
                    world.act(action, revision);
                    writes.push(write(revision));
                    (writes, world)
                })
            })
            .collect();
    }
    ways.into_iter()
        .flat_map(|(first, world)| {
            self::ways(&world).into_iter().map(move |(then, world)| ([first.clone(), then].concat(), world))
        })
        .collect()
}

/// A wrong prediction.
pub struct Wrong {
    /// What led to it.
    pub history: Vec<Change>,
    /// What the controller had before it, and what it did.
    pub case: Case,
    pub text: String,
    /// Somebody else wrote a pod's status, as the node controller does when a busy machine starves the node's lease.
    disturbed: bool,
}

/// Where the changes come from.
pub enum Source {
    Random(Random, usize),
    Given(Vec<Change>),
}

pub struct Drive<'a> {
    api: &'a Api,
    name: String,
    server: ServerVersion,
    track: Rc<RefCell<Track>>,
    history: Vec<Change>,
    /// Set by whoever wants it to stop.
    stop: &'a Cell<bool>,
    enough: usize,
}

/// What all sets of a run share.
pub struct Progress<'a> {
    /// Right predictions so far.
    pub done: &'a Cell<usize>,
    /// Set by whoever wants all to stop.
    pub stop: &'a Cell<bool>,
    /// Sets that were given up, see [`Wrong`].
    pub disturbed: &'a Cell<usize>,
    /// How many right predictions are wanted.
    pub enough: usize,
}

/// Makes the set and changes it; gives an error for the first wrong prediction.
pub async fn sequence(
    api: &Api,
    name: &str,
    server: &ServerVersion,
    set: &Value,
    source: Source,
    progress: &Progress<'_>,
) -> Result<(), Box<Wrong>> {
    let mut set = set.clone();
    set["metadata"]["name"] = name.into();
    set["spec"]["selector"]["matchLabels"]["app"] = name.into();
    set["spec"]["template"]["metadata"]["labels"]["app"] = name.into();
    let mut drive = Drive {
        api,
        name: name.to_owned(),
        server: server.clone(),
        track: api.track(name),
        history: Vec::new(),
        stop: progress.stop,
        enough: progress.enough,
    };
    let result = drive.run(&set, source, progress.done).await;
    let selector = format!("labelSelector=app%3D{name}&gracePeriodSeconds=0");
    let _ = api.send("DELETE", &api.set_path(name), &json!({"propagationPolicy": "Background"})).await;
    let _ = api.send("DELETE", &format!("{}?{selector}", api.pod_path("")), &Value::Null).await;
    api.forget(name);
    match result {
        Err(wrong) if wrong.disturbed => {
            progress.disturbed.set(progress.disturbed.get() + 1);
            Ok(())
        }
        result => result,
    }
}

impl Drive<'_> {
    async fn run(&mut self, set: &Value, source: Source, done: &Cell<usize>) -> Result<(), Box<Wrong>> {
        let path = self.api.set_path("");
        let made = self.api.send("POST", path.trim_end_matches('/'), set).await.expect("a set can be made");
        let made: StatefulSet = serde_json::from_value(made).unwrap();
        let world = World::new(made, Vec::new(), Vec::new(), Some(self.server.clone()), Timestamp::now());
        let mut world = self.compare(world).await?;
        done.set(done.get() + 1);
        let (mut random, mut given, count) = match source {
            Source::Random(random, count) => (Some(random), Vec::new().into_iter(), count),
            Source::Given(changes) => (None, changes.into_iter(), usize::MAX),
        };
        for _ in 0..count {
            if done.get() >= self.enough {
                break;
            }
            let next = match &mut random {
                Some(random) => Some(change(random, &world)),
                None => given.next(),
            };
            let Some(next) = next.filter(|_| !self.stop.get()) else { break };
            let Some(changed) = self.change(&world, &next).await else { continue };
            self.history.push(next);
            world = self.compare(changed).await?;
            done.set(done.get() + 1);
        }
        Ok(())
    }

    /// Makes the change, and gives the world as it is then before the controller acts; nothing if it cannot be made.
    async fn change(&mut self, world: &World, change: &Change) -> Option<World> {
        let mut after = world.clone();
        let pod_of = |ordinal: i32| {
            let name = world.set().pod_name(ordinal);
            world.pods().iter().find(|pod| pod.metadata.name == name).cloned()
        };
        match change {
            Change::Spec(patch) => {
                let set = self.patch_spec(patch).await?;
                let status = after.set().status.clone();
                *after.set_mut() = StatefulSet { status, ..set };
                return Some(after);
            }
            Change::Squat(ordinal) => {
                let name = world.set().pod_name(*ordinal);
                let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
                    "spec": {"nodeName": self.api.node, "automountServiceAccountToken": false,
                        "containers": [{"name": "c", "image": "nothing"}]}});
                let path = self.api.pod_path("");
                let pod = self.api.send("POST", path.trim_end_matches('/'), &pod).await.ok()?;
                let pod: Pod = serde_json::from_value(pod).unwrap();
                self.track.borrow_mut().ours.insert(pod.metadata.uid.clone());
                after.pods_mut().push(pod);
            }
            Change::Health(ordinal, health) => {
                let pod = pod_of(*ordinal)?;
                let path = format!("{}/status", self.api.pod_path(&pod.metadata.name));
                let pod = self.api.send("PATCH", &path, &json!({"status": health.status()})).await.ok()?;
                replace(&mut after, serde_json::from_value(pod).unwrap());
            }
            Change::Delete(ordinal) | Change::Remove(ordinal) => {
                let pod = pod_of(*ordinal)?;
                self.track.borrow_mut().ours.insert(pod.metadata.uid.clone());
                let now = matches!(change, Change::Remove(_)) || pod.is_finished();
                let options = if now { json!({"gracePeriodSeconds": 0}) } else { json!({}) };
                let path = self.api.pod_path(&pod.metadata.name);
                let gone = self.api.send("DELETE", &path, &options).await.ok()?;
                if now {
                    after.pods_mut().retain(|other| other.metadata.name != pod.metadata.name);
                } else {
                    replace(&mut after, serde_json::from_value(gone).unwrap());
                }
            }
        }
        // A change to the set that means nothing: once the controller has observed it, it has also looked at the pods.
        let limit = 10 + i32::from(after.set().spec.revision_history_limit == Some(10));
        let set = self.patch_spec(&json!({"revisionHistoryLimit": limit})).await?;
        after.set_mut().metadata = set.metadata;
        after.set_mut().spec.revision_history_limit = Some(limit);
        Some(after)
    }

    async fn patch_spec(&self, patch: &Value) -> Option<StatefulSet> {
        match self.api.send("PATCH", &self.api.set_path(&self.name), &json!({"spec": patch})).await {
            Ok(set) => Some(serde_json::from_value(set).unwrap()),
            Err((422, _)) => None,
            Err(error) => panic!("{patch}: {error:?}"),
        }
    }

    /// Predicts, waits for what was predicted, and gives the world that came of it.
    async fn compare(&mut self, mut world: World) -> Result<World, Box<Wrong>> {
        let generation = world.set().metadata.generation;
        let observed = |track: &Track| {
            let set = track.set.as_ref()?;
            (set.status.observed_generation >= generation).then(|| set.status.update_revision.clone())
        };
        let Some(update) = self.wait(observed).await else {
            panic!("{}: generation {generation} is not observed", self.name)
        };
        let set = world.set_mut();
        set.status.observed_generation = generation;
        set.status.update_revision = update;
        let world = World::new(
            world.set().clone(),
            world.pods().to_vec(),
            Vec::new(),
            Some(self.server.clone()),
            Timestamp::now(),
        );
        let ways = ways(&world);
        let parallel = world.set().is_parallel();
        let most = ways.iter().map(|way| way.0.len()).max().unwrap_or(0);
        let found = self
            .wait(|track| {
                let way = ways
                    .iter()
                    .position(|(writes, then)| same(&track.log, writes, parallel) && agrees(track, then));
                way.map(Ok).or_else(|| (track.log.len() > most).then_some(Err(())))
            })
            .await;
        if let Some(Ok(way)) = found {
            self.settle(&ways[way]).await;
            // What comes later, unasked for, is found before the next prediction.
            tokio::time::sleep(Duration::from_millis(5)).await;
            let mut track = self.track.borrow_mut();
            if ways.iter().any(|(writes, _)| same(&track.log, writes, parallel)) {
                track.log.clear();
                let set = track.set.clone().unwrap();
                let pods = track.pods.values().cloned().collect();
                return Ok(World::new(set, pods, Vec::new(), Some(self.server.clone()), Timestamp::now()));
            }
        }
        Err(self.wrong(&world, &ways))
    }

    /// Without the stanza the stored counts decide, and those before the writes can look as those after them while others
    /// are still to come between: one more observation of the set, then, and its status is the last one.
    async fn settle(&self, (writes, then): &Way) {
        let set = then.set();
        if writes.is_empty() || set.strategy() != Strategy::RollingUpdate || set.rolling_update().is_some() {
            return;
        }
        let limit = 10 + i32::from(set.spec.revision_history_limit == Some(10));
        let Some(bumped) = self.patch_spec(&json!({"revisionHistoryLimit": limit})).await else { return };
        let mut then = then.clone();
        then.set_mut().metadata = bumped.metadata;
        let _ = self.wait(|track| agrees(track, &then).then_some(())).await;
    }

    fn wrong(&self, world: &World, ways: &[Way]) -> Box<Wrong> {
        let track = self.track.borrow();
        let case = Case::of(world, &track.log);
        let mut text = format!("after {:?}\n{case}\n", self.history.last());
        for (writes, then) in ways {
            let status = counts(&then.status());
            text += &format!("predicted: {}  with status {status}\n", Writes(writes));
        }
        let status = track.set.as_ref().map(|set| counts(&set.status)).unwrap_or_default();
        text += &format!("happened:  {}  with status {status}\n", Writes(&track.log));
        let seen = World::new(
            world.set().clone(),
            track.pods.values().cloned().collect(),
            Vec::new(),
            Some(self.server.clone()),
            Timestamp::now(),
        );
        text += &format!("seen at the end:\n{}", Case::of(&seen, &track.log));
        // The controller never writes a pod's status, so these are as the test wrote them or somebody else did.
        let disturbed = world.pods().iter().any(|pod| {
            let now = track.pods.get(&pod.metadata.name);
            now.is_some_and(|now| now.metadata.uid == pod.metadata.uid && health(now) != health(pod))
        });
        Box::new(Wrong { history: self.history.clone(), case, text, disturbed })
    }

    async fn wait<T>(&self, mut look: impl FnMut(&Track) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let notify = self.track.borrow().changed.clone();
        loop {
            let notified = notify.notified();
            if let Some(found) = look(&self.track.borrow()) {
                return Some(found);
            }
            if timeout_at(deadline, notified).await.is_err() {
                return None;
            }
        }
    }
}

fn replace(world: &mut World, pod: Pod) {
    let pods = world.pods_mut();
    pods.retain(|other| other.metadata.name != pod.metadata.name);
    pods.push(pod);
}

fn health(pod: &Pod) -> (&str, Option<&str>) {
    (&pod.status.phase, pod.condition("Ready").map(|ready| ready.status.as_str()))
}

/// In an ordered set the order counts; in a Parallel one goroutines write at the same time.
pub fn same(one: &[Write], other: &[Write], parallel: bool) -> bool {
    if !parallel {
        return one == other;
    }
    let sorted = |writes: &[Write]| {
        let mut writes = writes.to_vec();
        writes.sort();
        writes
    };
    sorted(one) == sorted(other)
}

/// Whether the status and the pods are as the model has them.
fn agrees(track: &Track, then: &World) -> bool {
    let Some(set) = &track.set else { return false };
    let rows = |pods: &mut dyn Iterator<Item = &Pod>| -> Vec<(String, String, String, bool)> {
        let mut rows: Vec<_> = pods
            .map(|pod| {
                let meta = &pod.metadata;
                (
                    meta.name.clone(),
                    pod.revision().to_owned(),
                    pod.status.phase.clone(),
                    meta.is_terminating(),
                )
            })
            .collect();
        rows.sort();
        rows
    };
    counts(&set.status) == counts(&then.status())
        && rows(&mut track.pods.values()) == rows(&mut then.pods().iter())
}

fn counts(status: &StatefulSetStatus) -> String {
    format!(
        "generation {} replicas {} ready {} available {} current {} {} updated {} {}",
        status.observed_generation,
        status.replicas,
        status.ready_replicas,
        status.available_replicas,
        status.current_revision,
        status.current_replicas,
        status.update_revision,
        status.updated_replicas
    )
}

/// Writes in words.
pub struct Writes<'a>(pub &'a [Write]);

impl fmt::Display for Writes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self
            .0
            .iter()
            .map(|write| match write {
                Write::Create(ordinal, revision) => format!("create {ordinal} {revision}"),
                Write::Delete(ordinal) => format!("delete {ordinal}"),
            })
            .collect();
        f.write_str(if words.is_empty() { "nothing" } else { "" })?;
        f.write_str(&words.join(", "))
    }
}
