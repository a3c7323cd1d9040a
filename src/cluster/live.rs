//! Watches merged into snapshots, and steps turned into requests.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::join;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::connect::{Connection, RequestError};
use super::follow::{Change, Delta, follow};
use super::inventory::{self, Want};
use super::lists::{List, list};
use super::perform::{self, Failure, Performed, Seen};
use super::place::encode;
use super::raw;
use crate::error::{Error, Result};
use crate::kinds::*;
use crate::paste::sts;
use crate::plan::Step;
use crate::snapshot::{KILLING, Observed, Scope, Snapshot, may_be_killed};
use crate::time::after;

/// How often what is not watched is read again.
const REFRESH: Duration = Duration::from_secs(30);
/// How long the controller may take to look at a new spec before a plan is made all the same.
const CATCH_UP: Duration = Duration::from_secs(10);
/// Kinds that are watched.
pub(super) const WATCHED: [Kind; 4] =
    [Kind::StatefulSet, Kind::Pod, Kind::PersistentVolumeClaim, Kind::Event];

/// One set, followed.
pub struct Live {
    connection: Connection,
    namespace: String,
    name: String,
    observed: Observed,
    changes: UnboundedReceiver<Delta>,
    sender: UnboundedSender<Delta>,
    /// Whether the events of containers that are stopped are followed: only a set of which one may have been killed by a
    /// probe needs them.
    follows_kills: bool,
    refreshed: Instant,
    broken: Option<String>,
    /// The query with which the set's pods and claims are listed and watched.
    of_set: String,
    /// What was read at one moment: nothing a watch brings from before it is taken in.
    read_at: ReadAt,
    // Dropped with it, and then all watches end.
    watches: JoinSet<()>,
}

impl Live {
    /// Starts to follow a set: everything is read once, and the set, its pods, its claims and warnings are watched.
    ///
    /// # Errors
    /// When it cannot be read, or there is no such set.
    pub async fn start(connection: Connection, namespace: &str, name: &str) -> Result<Live> {
        let observed =
            inventory::observe(&connection, Scope::Namespace(namespace.to_owned()), Want::Diagnosis).await?;
        let Some(set) = observed.sets.iter().find(|set| set.metadata.name == name) else {
            return Err(Error::cluster(format!("no StatefulSet \"{name}\" in namespace {namespace}"))
                .hint(sts("status").namespace(namespace).after("list them with")));
        };
        let (sender, changes) = unbounded_channel();
        let mut watches = JoinSet::new();
        let of_set = format!("labelSelector={}", encode(&set.spec.selector.to_query()));
        let own = format!("fieldSelector=metadata.name%3D{name}");
        let at = |kind: Kind| kind.path(Some(namespace));
        watches.spawn(follow(connection.clone(), at(Kind::StatefulSet), own, sender.clone(), Delta::Sets));
        if observed.pods.is_ok() {
            watches.spawn(follow(
                connection.clone(),
                at(Kind::Pod),
                of_set.clone(),
                sender.clone(),
                Delta::Pods,
            ));
        }
        if observed.claims.is_ok() {
            let path = at(Kind::PersistentVolumeClaim);
            let query = of_set.clone();
            watches.spawn(follow(connection.clone(), path, query, sender.clone(), Delta::Claims));
        }
        if observed.events.is_ok() {
            let warnings = "fieldSelector=type!%3DNormal".to_owned();
            let sender = sender.clone();
            watches.spawn(follow(connection.clone(), at(Kind::Event), warnings, sender, Delta::Events));
        }
        let mut live = Live {
            connection,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            observed,
            changes,
            sender,
            follows_kills: false,
            refreshed: Instant::now(),
            broken: None,
            of_set,
            read_at: ReadAt::default(),
            watches,
        };
        live.follow_kills();
        Ok(live)
    }

    /// Follows the events of containers that are stopped from now on, if one may have been killed by a probe.
    fn follow_kills(&mut self) {
        let (observed, now) = (&self.observed, self.observed.taken_at);
        let selector = own(&observed.sets, &self.name).map(|set| &set.spec.selector);
        let killed = observed.pods.iter().flatten().any(|pod| {
            selector.is_some_and(|it| it.matches(&pod.metadata.labels)) && may_be_killed(pod, now)
        });
        if self.follows_kills || !killed || observed.events.is_err() {
            return;
        }
        self.follows_kills = true;
        let path = Kind::Event.path(Some(&self.namespace));
        let (connection, sender) = (self.connection.clone(), self.sender.clone());
        self.watches.spawn(follow(connection, path, inventory::normal(KILLING), sender, Delta::Kills));
    }

    /// Shows the newest snapshot; `None` when the set is gone.
    pub fn look<R>(&self, look: impl FnOnce(Option<&Snapshot<'_>>) -> R) -> R {
        let namespaces = self.observed.namespaces();
        let namespace = namespaces.get(self.namespace.as_str());
        let set = namespace
            .and_then(|namespace| namespace.sets.iter().find(|set| set.metadata.name == self.name).copied());
        match (namespace, set) {
            (Some(namespace), Some(set)) => look(Some(&Snapshot::of(&self.observed, namespace, set))),
            _ => look(None),
        }
    }

    /// Reads the set and its pods and claims again, and then waits a little until the controller has looked at the newest
    /// spec: a plan made before would be about the past.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn catch_up(&mut self) -> Result<()> {
        self.read_again().await?;
        let end = after(Instant::now(), CATCH_UP);
        let mut waited = false;
        while self.look(|now| now.is_some_and(|now| !now.set.is_observed())) && Instant::now() < end {
            waited = true;
            self.changed(end).await;
        }
        if waited {
            self.refresh().await;
            self.read_again().await?;
        }
        Ok(())
    }

    /// Reads the set, then its pods and claims, so that a decision is about one moment: what is watched apart may be of
    /// different age. The set comes first, so that a write which names its resourceVersion fails if the controller has
    /// gone on since.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn read_again(&mut self) -> Result<()> {
        let own = format!("fieldSelector=metadata.name%3D{}", self.name);
        let path = |kind: Kind, query: &str| format!("{}?{query}", kind.path(Some(&self.namespace)));
        let (connection, of_set) = (&self.connection, &self.of_set);
        let explain =
            |error: RequestError, kind: Kind| connection.explain(&error, &format!("list {}", kind.plural()));
        let sets: List<StatefulSet> = list(connection, &path(Kind::StatefulSet, &own))
            .await
            .map_err(|error| explain(error, Kind::StatefulSet))?;
        let (sees_pods, sees_claims) = (self.observed.pods.is_ok(), self.observed.claims.is_ok());
        let (pods, claims) = join!(
            async {
                if !sees_pods {
                    return Ok(None);
                }
                list::<Pod>(connection, &path(Kind::Pod, of_set)).await.map(Some)
            },
            async {
                if !sees_claims {
                    return Ok(None);
                }
                let path = path(Kind::PersistentVolumeClaim, of_set);
                list::<PersistentVolumeClaim>(connection, &path).await.map(Some)
            },
        );
        let pods = pods.map_err(|error| explain(error, Kind::Pod))?;
        let claims = claims.map_err(|error| explain(error, Kind::PersistentVolumeClaim))?;
        if number(&sets.resource_version) < self.read_at.sets {
            self.forget_ages();
        }
        self.apply(Delta::Sets(sets.into()));
        if let Some(pods) = pods {
            self.apply(Delta::Pods(pods.into()));
        }
        if let Some(claims) = claims {
            self.apply(Delta::Claims(claims.into()));
        }
        self.observed.clock = self.connection.clock();
        self.observed.taken_at = self.observed.clock.now;
        Ok(())
    }

    /// The namespace of the set.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Why the picture may be old: a watch that is down.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Waits until something changed, at most until `until`, and takes all changes that have come by then in. Whether
    /// anything changed. Time is taken on in any case.
    pub async fn changed(&mut self, until: Instant) -> bool {
        let mut any = false;
        if let Ok(Some(delta)) = timeout_at(until, self.changes.recv()).await {
            self.apply(delta);
            any = true;
        }
        while let Ok(delta) = self.changes.try_recv() {
            self.apply(delta);
            any = true;
        }
        if self.refreshed.elapsed() > REFRESH {
            self.refresh().await;
        }
        self.observed.clock = self.connection.clock();
        self.observed.taken_at = self.observed.clock.now;
        self.follow_kills();
        any
    }

    /// Reads what is not watched again. Failing is no harm: the next time will do.
    pub async fn refresh(&mut self) {
        self.refreshed = Instant::now();
        let scope = Scope::Namespace(self.namespace.clone());
        if let Ok(fresh) = inventory::observe(&self.connection, scope, Want::Diagnosis).await {
            let own = std::mem::take(&mut self.observed.sets)
                .into_iter()
                .find(|set| set.metadata.name == self.name);
            let (pods, claims, events) =
                (self.observed.pods.clone(), self.observed.claims.clone(), self.observed.events.clone());
            let is_followed =
                |event: &Event| event.r#type != "Normal" || (self.follows_kills && event.reason == KILLING);
            let others = fresh.events.iter().flatten().filter(|event| !is_followed(event)).cloned();
            let events = events.map(|mut events| {
                events.retain(is_followed);
                events.extend(others);
                events
            });
            self.observed = fresh;
            self.observed.sets.retain(|set| set.metadata.name != self.name);
            self.observed.sets.extend(own);
            (self.observed.pods, self.observed.claims, self.observed.events) = (pods, claims, events);
        }
    }

    /// Carries a step out. Every write names exactly what it acts on; an [`Step::Await`] is nothing to carry out. What the
    /// server answers is part of the next snapshot.
    ///
    /// # Errors
    /// When the server refused for good, or could not be reached; it may still have been done.
    pub async fn perform(&mut self, step: &Step, dry_run: bool) -> std::result::Result<Performed, Failure> {
        let seen = own(&self.observed.sets, &self.name).map(|set| Seen::of(&set.metadata));
        let Some(seen) = seen else { return Ok(Performed::AlreadyGone) };
        let sent = perform::perform(&self.connection, &self.namespace, step, &seen, dry_run);
        let (performed, answer) = sent.await?;
        match step {
            Step::Patch(_) => {
                if let Some(set) = answered::<StatefulSet>(&answer, dry_run) {
                    self.apply(Delta::Sets(Change::Put(set)));
                }
            }
            Step::DeletePod { .. } => {
                if let Some(pod) = answered::<Pod>(&answer, dry_run) {
                    self.apply(Delta::Pods(Change::Put(pod)));
                }
            }
            Step::CreateSnapshot { .. }
            | Step::PatchVolume(_)
            | Step::DeletePvc { .. }
            | Step::CreatePvc { .. }
            | Step::Await { .. }
            | Step::AwaitPvc { .. } => {}
        }
        Ok(performed)
    }

    /// The kind's objects in the namespace, for what is not always looked at.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn listed<T: Object>(&self) -> std::result::Result<Vec<T>, RequestError> {
        Ok(list(&self.connection, &T::KIND.path(Some(&self.namespace))).await?.items)
    }

    /// An object of the namespace as the server has it, see [`raw`].
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn raw(&self, kind: Kind, name: &str) -> Result<Option<Value>> {
        raw::object(&self.connection, &self.namespace, kind, name).await
    }

    /// Objects of the namespace that an owner of this uid controls, see [`raw`].
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn owned(&self, kind: Kind, owner: &str) -> Result<Vec<Value>> {
        raw::owned(&self.connection, &self.namespace, kind, owner).await
    }

    /// The connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    fn apply(&mut self, delta: Delta) {
        let (observed, read_at) = (&mut self.observed, &mut self.read_at);
        match delta {
            Delta::Sets(change) => {
                let name = self.name.clone();
                merge(&mut observed.sets, change, &mut read_at.sets, |set| set.metadata.name == name);
            }
            Delta::Pods(change) => {
                let selector = own(&observed.sets, &self.name).map(|set| set.spec.selector.clone());
                if let (Ok(pods), Some(selector)) = (&mut observed.pods, selector) {
                    let is_watched = |pod: &Pod| selector.matches(&pod.metadata.labels);
                    merge(pods, change, &mut read_at.pods, is_watched);
                }
            }
            Delta::Claims(change) => {
                let selector = own(&observed.sets, &self.name).map(|set| set.spec.selector.clone());
                if let (Ok(claims), Some(selector)) = (&mut observed.claims, selector) {
                    let is_watched = |claim: &PersistentVolumeClaim| selector.matches(&claim.metadata.labels);
                    merge(claims, change, &mut read_at.claims, is_watched);
                }
            }
            Delta::Events(change) => {
                if let Ok(events) = &mut observed.events {
                    merge(events, change, &mut read_at.events, |event| event.r#type != "Normal");
                }
            }
            Delta::Kills(change) => {
                if let Ok(events) = &mut observed.events {
                    let is_watched = |event: &Event| event.r#type == "Normal" && event.reason == KILLING;
                    merge(events, telling(change), &mut read_at.kills, is_watched);
                }
            }
            Delta::Broken(why) => {
                if why.is_some() {
                    self.forget_ages();
                }
                self.broken = why;
            }
        }
    }

    /// A server that comes back may have been restored, and then its resourceVersions start again from an earlier one.
    fn forget_ages(&mut self) {
        fn forget<T: Object>(objects: &mut [T]) {
            for object in objects {
                object.meta_mut().resource_version.clear();
            }
        }
        self.read_at = ReadAt::default();
        forget(&mut self.observed.sets);
        forget(self.observed.pods.as_deref_mut().unwrap_or_default());
        forget(self.observed.claims.as_deref_mut().unwrap_or_default());
        forget(self.observed.events.as_deref_mut().unwrap_or_default());
    }
}

/// The resourceVersion of the newest list of each kind.
#[derive(Default)]
struct ReadAt {
    sets: Version,
    pods: Version,
    claims: Version,
    events: Version,
    kills: Version,
}

/// A resourceVersion as a number, which is how they are compared (KEP-5504); 0 where it is none. Then nothing is known of
/// its age.
type Version = u128;

fn number(resource_version: &str) -> Version {
    resource_version.parse().unwrap_or(0)
}

/// A change of events without those that tell nothing.
fn telling(change: Change<Event>) -> Change<Event> {
    match change {
        Change::All(mut events, version) => {
            events.retain(inventory::is_telling);
            Change::All(events, version)
        }
        Change::Put(event) if !inventory::is_telling(&event) => Change::Gone(event),
        other => other,
    }
}

/// The object that the server answered a write with, if it is one.
fn answered<T: Object>(answer: &[u8], dry_run: bool) -> Option<T> {
    let object: T = if dry_run { return None } else { serde_json::from_slice(answer).ok()? };
    let kind: Value = serde_json::from_slice(answer).ok()?;
    (kind["kind"] == T::KIND.name() && !object.meta().resource_version.is_empty()).then_some(object)
}

fn own<'s>(sets: &'s [StatefulSet], name: &str) -> Option<&'s StatefulSet> {
    sets.iter().find(|set| set.metadata.name == name)
}

/// Takes a change in, unless what is known is newer: lists, watches and the answers of writes come by different ways, and
/// any of them may be late. `read_at` is the resourceVersion of the newest list taken in.
fn merge<T: Object>(
    all: &mut Vec<T>,
    change: Change<T>,
    read_at: &mut Version,
    is_watched: impl Fn(&T) -> bool,
) {
    let same = |a: &T, b: &T| a.meta().name == b.meta().name && a.meta().namespace == b.meta().namespace;
    let version = |object: &T| number(&object.meta().resource_version);
    let is_late = |object: &T, read_at: Version| version(object) != 0 && version(object) <= read_at;
    let is_older = |new: &T, old: &T| version(new) != 0 && version(new) < version(old);
    match change {
        Change::All(fresh, list_version) => {
            let list_version = number(&list_version);
            if list_version != 0 && list_version < *read_at {
                return;
            }
            *read_at = list_version;
            let after_it = |old: &T| list_version != 0 && version(old) > list_version;
            let keys = |object: &T| (object.meta().namespace.clone(), object.meta().name.clone());
            let known: BTreeSet<_> = all.iter().filter(|old| after_it(old)).map(keys).collect();
            let listed: BTreeSet<_> = fresh.iter().map(keys).collect();
            all.retain(|old| after_it(old) || (!is_watched(old) && !listed.contains(&keys(old))));
            all.extend(fresh.into_iter().filter(|new| !known.contains(&keys(new))));
        }
        Change::Put(object) if is_late(&object, *read_at) => {}
        Change::Put(object) => match all.iter_mut().find(|old| same(old, &object)) {
            Some(old) if is_older(&object, old) => {}
            Some(old) => *old = object,
            None => all.push(object),
        },
        Change::Gone(object) if is_late(&object, *read_at) => {}
        Change::Gone(object) => all.retain(|old| !same(old, &object) || is_older(&object, old)),
    }
}

impl<T> From<List<T>> for Change<T> {
    fn from(list: List<T>) -> Change<T> {
        Change::All(list.items, list.resource_version)
    }
}
