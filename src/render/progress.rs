//! A rollout told as it happens: one line for each change, and a frame of how things stand.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Glyph;
use crate::controller::{Action, Idle, Next, next};
use crate::kinds::{Container, Pod, Strategy};
use crate::snapshot::{PodFailure, Snapshot, lost, pod_restarts, pod_state};
use crate::words;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, seconds since the start.
    pub seconds: i64,
    /// The pod, or the set.
    pub object: String,
    /// A stable word for programs.
    pub event: &'static str,
    /// For people.
    pub text: String,
}

impl Line {
    /// For people: time since the start, then what happened.
    pub fn text(&self) -> String {
        format!("{:>6}  {}: {}", words::age(SignedDuration::from_secs(self.seconds)), self.object, self.text)
    }

    /// For programs, of a set at a time.
    pub fn json(&self, of: &About) -> Value {
        json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "Event",
            "time": of.time.to_string(),
            "namespace": of.namespace,
            "name": of.name,
            "seconds": self.seconds,
            "object": self.object,
            "event": self.event,
            "text": self.text,
        })
    }
}

/// What events are about.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// When the cluster was read last.
    pub time: Timestamp,
    /// The namespace of the set.
    pub namespace: String,
    /// The name of the set.
    pub name: String,
}

/// What was seen last, to tell what is new.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    started: Option<Timestamp>,
    generation: Option<(i64, i32, String)>,
    pods: BTreeMap<i32, Seen>,
    took: BTreeMap<i32, SignedDuration>,
    /// Uids of pods that have been available.
    started_up: BTreeSet<String>,
    replaced: usize,
}

/// How things stand.
pub struct Frame {
    /// The name of the set, how far it is, for how long, what is being done, and how long that may take yet.
    pub heading: Vec<String>,
    /// What is worth knowing of the rollout, the most important first.
    pub notes: Vec<String>,
    /// The replicas, highest first.
    pub replicas: Vec<ReplicaRow>,
}

/// A replica on the screen.
pub struct ReplicaRow {
    /// How it does.
    pub glyph: Glyph,
    /// Its name, and what is to be said of it.
    pub text: String,
    /// Its last warning, where it is not available.
    pub warning: Option<String>,
    /// Whether it is well, and replaced next.
    pub is_next: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    uid: String,
    revision: String,
    created: Option<Timestamp>,
    leaving: bool,
    /// When its grace period is over, if it is being deleted.
    grace_ends: Option<Timestamp>,
    available: bool,
    state: String,
    restarts: i32,
}

impl Progress {
    /// Seconds since the first look.
    pub fn seconds(&self, now: Timestamp) -> i64 {
        self.started.map_or(0, |started| now.duration_since(started).as_secs().max(0))
    }

    /// What is new since the last look.
    pub fn lines(&mut self, snapshot: &Snapshot<'_>) -> Vec<Line> {
        let set = snapshot.set;
        let first = self.started.is_none();
        self.started.get_or_insert(snapshot.taken_at);
        let seconds = self.seconds(snapshot.taken_at);
        let mut lines = Vec::new();
        let mut say = |object: &str, event: &'static str, text: String| {
            lines.push(Line { seconds, object: object.to_owned(), event, text });
        };
        let before = self.generation.replace((
            set.metadata.generation,
            set.replicas(),
            set.status.update_revision.clone(),
        ));
        let name = &set.metadata.name;
        let now: BTreeMap<i32, Seen> = seen(snapshot);
        if let Some((_, replicas, _)) = &before
            && *replicas != set.replicas()
        {
            say(name, "scaling", format!("scaling from {replicas} to {}", set.replicas()));
        }
        let new_rollout =
            before.as_ref().is_none_or(|(_, _, revision)| *revision != set.status.update_revision);
        if new_rollout && !set.status.update_revision.is_empty() {
            let boundary = set.boundary();
            let old = now
                .iter()
                .filter(|(ordinal, pod)| **ordinal >= boundary && pod.revision != set.status.update_revision)
                .count();
            if old > 0 {
                let order = if set.is_parallel() { "" } else { ", highest ordinal first" };
                let (update, pods) =
                    (snapshot.set.short_revision(&set.status.update_revision), words::count(old, "pod"));
                let text = match set.strategy() {
                    Strategy::OnDelete => {
                        format!("OnDelete: {pods} to be updated to {update} once you delete them")
                    }
                    _ => format!("rolling out {update} to {pods}{order}"),
                };
                say(name, "rollout", text);
            }
        }
        if first {
            let available = now.values().filter(|pod| pod.available && !pod.leaving).count();
            say(name, "start", format!("{available} of {} available", words::count(set.replicas(), "pod")));
        }
        let mut told: Vec<i32> = self.pods.keys().chain(now.keys()).copied().collect();
        told.sort_unstable_by(|a, b| b.cmp(a));
        told.dedup();
        for ordinal in told {
            let pod = set.pod_name(ordinal);
            let revision = |seen: &Seen| {
                // The status still names the revision of before.
                if !set.is_observed() {
                    return snapshot.set.short_revision(&seen.revision).to_owned();
                }
                let word = revision_word(seen.revision == set.status.update_revision);
                format!("{word} {}", snapshot.set.short_revision(&seen.revision))
            };
            let (old, new) = (self.pods.get(&ordinal), now.get(&ordinal));
            let replaced = matches!((old, new), (Some(old), Some(new)) if old.uid != new.uid);
            if let Some(old) = old
                && (new.is_none() || replaced)
                && !old.leaving
            {
                say(&pod, "deleted", format!("deleted ({})", revision(old)));
            }
            if let (Some(old), None) = (old, new)
                && old.leaving
                && !set.in_range(ordinal)
            {
                say(&pod, "gone", "gone".to_owned());
            }
            let Some(new) = new else { continue };
            let same = old.filter(|_| !replaced);
            if same.is_none() && !first {
                say(&pod, "created", format!("created ({})", revision(new)));
            }
            if new.leaving && same.is_none_or(|old| !old.leaving) {
                say(&pod, "deleted", format!("deleted ({})", revision(new)));
            }
            if new.leaving {
                continue;
            }
            let was_available = same.is_some_and(|old| old.available);
            if new.available && !was_available && !first {
                let took = new.created.map(|created| snapshot.taken_at.duration_since(created));
                // What was available before, or has restarted, says nothing about how long a start takes.
                let again = same.is_some_and(|old| old.restarts != new.restarts)
                    || !self.started_up.insert(new.uid.clone());
                let after = took.filter(|_| !again);
                if let Some(took) = after {
                    self.took.insert(ordinal, took);
                    self.replaced += 1;
                }
                say(
                    &pod,
                    "available",
                    match after {
                        Some(took) => format!("available after {}", words::age(took)),
                        None => "available".to_owned(),
                    },
                );
            } else if !new.available && was_available {
                say(&pod, "unavailable", format!("no longer available: {}", new.state));
            } else if !new.available && is_news(&new.state) && same.is_none_or(|old| old.state != new.state) {
                let restarts = if new.restarts > 0 {
                    format!(", {}", words::count(new.restarts, "restart"))
                } else {
                    String::new()
                };
                say(&pod, "state", format!("{}{restarts}", new.state));
            } else if same.is_some_and(|old| old.restarts < new.restarts) && !first {
                say(&pod, "restarted", format!("restarted, {}", words::count(new.restarts, "restart")));
            }
        }
        self.started_up.extend(now.values().filter(|pod| pod.available).map(|pod| pod.uid.clone()));
        self.pods = now;
        lines
    }

    /// How things stand.
    pub fn frame(&self, snapshot: &Snapshot<'_>) -> Frame {
        let set = snapshot.set;
        let next = next(snapshot).ok();
        let update = &set.status.update_revision;
        let total = usize::try_from(set.replicas()).unwrap_or(0);
        let boundary = set.boundary();
        let done = self
            .pods
            .iter()
            .filter(|(ordinal, pod)| {
                set.in_range(**ordinal)
                    && pod.available
                    && !pod.leaving
                    && (pod.revision == *update || **ordinal < boundary)
            })
            .count();
        let elapsed = words::age(SignedDuration::from_secs(self.seconds(snapshot.taken_at)));
        let left = self
            .left(total.saturating_sub(done))
            .map_or(String::new(), |left| format!(", about {} left", words::age(left)));
        let doing = self.doing(snapshot, next.as_ref());
        let heading = vec![
            set.metadata.name.clone(),
            format!("{done} of {total} complete"),
            elapsed,
            format!("{doing}{left}"),
        ];
        let (mut deleting, mut creating) = (HashSet::new(), HashSet::new());
        let mut waiting = None;
        match &next {
            Some(Next::Act(actions)) => {
                for action in actions {
                    match action {
                        Action::Create(ordinal) => creating.insert(*ordinal),
                        Action::Delete(ordinal, _) => deleting.insert(*ordinal),
                    };
                }
            }
            Some(Next::Wait { on, .. }) => waiting = Some(*on),
            _ => {}
        }
        let wanted = snapshot.replicas().unwrap_or_default().iter().map(|replica| replica.ordinal);
        let mut ordinals: Vec<i32> = wanted.chain(self.pods.keys().copied()).collect();
        ordinals.sort_unstable_by(|a, b| b.cmp(a));
        ordinals.dedup();
        let width = ordinals.iter().map(|ordinal| set.pod_name(*ordinal).len()).max().unwrap_or(0);
        let old_ones: Vec<i32> = ordinals
            .iter()
            .copied()
            .filter(|ordinal| {
                *ordinal >= boundary
                    && self.pods.get(ordinal).is_some_and(|pod| pod.revision != *update && !pod.leaving)
            })
            .collect();
        let replicas = ordinals
            .into_iter()
            .map(|ordinal| {
                let name = set.pod_name(ordinal);
                let Some(pod) = self.pods.get(&ordinal) else {
                    let word = if creating.contains(&ordinal) { "being created" } else { "to be created" };
                    let text = format!("{name:width$}            {word}");
                    return ReplicaRow { glyph: Glyph::Empty, text, warning: None, is_next: false };
                };
                let word = revision_word(pod.revision == *update);
                let (glyph, state) = self.state(snapshot, ordinal, pod, waiting == Some(ordinal));
                let is_wanted = set.in_range(ordinal) || pod.leaving;
                let is_next = is_wanted
                    && (deleting.contains(&ordinal)
                        || (waiting.is_some() && old_ones.first() == Some(&ordinal) && pod.available));
                let more = match (is_wanted, is_next) {
                    (false, _) => ", to be deleted",
                    (true, true) => ", next",
                    (true, false) => "",
                };
                let text = format!("{name:width$}  {word:8}  {state}{more}");
                let warning = (!pod.available && !pod.leaving).then(|| last_warning(snapshot, ordinal));
                ReplicaRow { glyph, text, warning: warning.flatten(), is_next }
            })
            .collect();
        let is_rollout = !old_ones.is_empty() || self.replaced > 0;
        let mut notes = Vec::new();
        notes.extend(images(snapshot).filter(|_| is_rollout).map(|images| format!("image: {images}")));
        if snapshot.is_unprobed() && total > 0 {
            notes.push("no readiness probe: Ready only means that the container has started".to_owned());
        }
        Frame { heading, notes, replicas }
    }

    fn state(&self, snapshot: &Snapshot<'_>, ordinal: i32, pod: &Seen, waited: bool) -> (Glyph, String) {
        if pod.leaving {
            let left = pod.grace_ends.map(|end| end.duration_since(snapshot.taken_at));
            let left = match left {
                Some(left) if left.is_positive() => format!(", at most {} left", words::age(left)),
                Some(over) if over.as_secs() < 0 => {
                    format!(", {} longer than its grace period", words::age(over.abs()))
                }
                _ => String::new(),
            };
            return (Glyph::Moving, format!("terminating{left}"));
        }
        if pod.available {
            let took =
                self.took.get(&ordinal).map_or(String::new(), |took| format!(", took {}", words::age(*took)));
            return (Glyph::Good, format!("available{took}"));
        }
        let age = pod
            .created
            .map(|created| words::age(snapshot.taken_at.duration_since(created)))
            .unwrap_or_default();
        let replica = snapshot.replica(ordinal).ok().flatten().and_then(|replica| replica.pod);
        let trouble = replica.and_then(|pod| snapshot.trouble(pod));
        let restarts = if pod.restarts > 0 {
            format!(", {}", words::count(pod.restarts, "restart"))
        } else {
            String::new()
        };
        match trouble {
            Some(trouble) if trouble.why.needs_intervention() => (
                if waited { Glyph::Bad } else { Glyph::Warning },
                format!("{} for {age}{restarts}", trouble_word(&trouble.why)),
            ),
            _ if replica.is_some_and(|pod| is_lost(snapshot, pod)) => {
                (Glyph::Warning, format!("node does not respond, for {age}{restarts}"))
            }
            _ if pod.state == "Running" => (Glyph::Moving, format!("starting for {age}{restarts}")),
            _ => (Glyph::Moving, format!("{} for {age}{restarts}", pod.state)),
        }
    }

    fn doing(&self, snapshot: &Snapshot<'_>, next: Option<&Next>) -> String {
        let set = snapshot.set;
        let update = &set.status.update_revision;
        let old = self.pods.values().any(|pod| pod.revision != *update);
        let surplus = self.pods.keys().any(|ordinal| !set.in_range(*ordinal));
        let missing = usize::try_from(set.replicas()).unwrap_or(0)
            > self.pods.keys().filter(|ordinal| set.in_range(**ordinal)).count();
        match next {
            Some(Next::Settled(Idle::Done)) => "complete".to_owned(),
            Some(next @ Next::Settled(_)) => super::brief(snapshot, next),
            _ if surplus => format!("scaling down to {}", set.replicas()),
            _ if old && !update.is_empty() => format!("rolling out {update}"),
            _ if missing => format!("scaling to {}", set.replicas()),
            _ => "starting".to_owned(),
        }
    }

    /// A guess from the pods seen to come up, as if they were replaced one after another.
    fn left(&self, todo: usize) -> Option<SignedDuration> {
        let known = i32::try_from(self.took.len()).ok().filter(|known| *known > 0)?;
        let all: SignedDuration =
            self.took.values().fold(SignedDuration::ZERO, |sum, took| sum.saturating_add(*took));
        (todo > 0).then(|| all / known * i32::try_from(todo).unwrap_or(i32::MAX))
    }
}

/// Whether a pod is of the revision of the template, in a word.
pub fn revision_word(is_updated: bool) -> &'static str {
    if is_updated { "updated" } else { "outdated" }
}

/// What keeps a pod from being available; of an init container as kubectl writes it.
fn trouble_word(why: &PodFailure<'_>) -> String {
    let word = why.word();
    match why {
        PodFailure::CrashLoop { init: true, .. } => format!("Init:{word}"),
        _ => word.to_owned(),
    }
}

/// The last warning about a replica's pod that says why it is in its state.
fn last_warning(snapshot: &Snapshot<'_>, ordinal: i32) -> Option<String> {
    let pod = snapshot.replica(ordinal).ok()??.pod?;
    let event = snapshot.last_warning(pod)?;
    let ago =
        snapshot.since(event.last_seen()).map_or(String::new(), |ago| format!(" {} ago", words::age(ago)));
    Some(format!("{}{ago}: {}", event.reason, event.message))
}

/// The images that the update brings, those that it changes if there are any.
fn images(snapshot: &Snapshot<'_>) -> Option<String> {
    let set = snapshot.set;
    let new = &set.spec.template.spec.containers;
    let pods = snapshot.replicas().ok()?.iter().filter_map(|replica| replica.pod);
    let outdated: Vec<&Pod> = pods.filter(|pod| pod.revision() != set.status.update_revision).collect();
    let is_changed = |container: &&Container| {
        let before = outdated.iter().flat_map(|pod| &pod.spec.containers);
        before.filter(|it| it.name == container.name).any(|it| it.image != container.image)
    };
    let changed: Vec<&Container> = new.iter().filter(is_changed).collect();
    let shown = if changed.is_empty() { new.iter().collect() } else { changed };
    let images: Vec<String> = match shown.as_slice() {
        [one] if new.len() == 1 => vec![one.image.to_string()],
        several => several.iter().map(|it| format!("{} ({})", it.image, it.name)).collect(),
    };
    (!images.is_empty()).then(|| images.join(", "))
}

fn seen(snapshot: &Snapshot<'_>) -> BTreeMap<i32, Seen> {
    let wanted = snapshot.replicas().unwrap_or_default();
    let condemned = snapshot.condemned().unwrap_or_default();
    wanted
        .iter()
        .chain(condemned)
        .filter_map(|replica| {
            let pod = replica.pod?;
            let seen = Seen {
                uid: pod.metadata.uid.clone(),
                revision: pod.revision().to_owned(),
                created: pod.metadata.creation_timestamp,
                leaving: pod.metadata.is_terminating(),
                grace_ends: pod.metadata.deletion_timestamp,
                available: snapshot.is_available(pod),
                state: pod_state(pod),
                restarts: pod_restarts(pod),
            };
            Some((replica.ordinal, seen))
        })
        .collect()
}

fn is_lost(snapshot: &Snapshot<'_>, pod: &Pod) -> bool {
    lost(snapshot, snapshot.nodes().unwrap_or_default(), pod).is_some()
}

/// Whether a state is worth a line: the ordinary steps of a start are not.
fn is_news(state: &str) -> bool {
    !matches!(state, "Pending" | "ContainerCreating" | "PodInitializing" | "Running" | "NotReady")
        && !state.starts_with("Init:0")
        && !state.contains('/')
}
