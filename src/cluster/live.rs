//! Watches merged into snapshots, and steps turned into requests.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::connect::{Connection, ReadError};
use super::follow::{Change, Delta, follow};
use super::inventory::{self, Want};
use super::lists::list;
use super::raw;
use crate::error::{Error, Result};
use crate::kinds::*;
use crate::plan::{PatchKind, Step};
use crate::snapshot::{Observed, Scope, Snapshot};

/// How often what is not watched is read again.
const REFRESH: Duration = Duration::from_secs(30);
/// How long the controller may take to look at a new spec before a plan is made all the same.
const CATCH_UP: Duration = Duration::from_secs(10);
/// Who writes, in managedFields.
const FIELD_MANAGER: &str = "kubectl-sts";

/// One set, followed.
pub struct Live {
    connection: Connection,
    namespace: String,
    name: String,
    observed: Observed,
    changes: UnboundedReceiver<Delta>,
    refreshed: Instant,
    broken: Option<String>,
    // Dropped with it, and then all watches end.
    _watches: JoinSet<()>,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Performed {
    /// It was done.
    Done,
    /// There was nothing left to do: the object is gone.
    AlreadySo,
    /// Refused for now, because the object is not as it was seen, or a budget forbids it: the server's message.
    Conflict(String),
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
                .hint(format!("list them with: kubectl sts status -n {namespace}")));
        };
        let (sender, changes) = unbounded_channel();
        let mut watches = JoinSet::new();
        let pods = format!("labelSelector={}", encode(&set.spec.selector.to_query()));
        let own = format!("fieldSelector=metadata.name%3D{name}");
        let at = |kind: Kind| kind.path(Some(namespace));
        watches.spawn(follow(connection.clone(), at(Kind::StatefulSet), own, sender.clone(), Delta::Sets));
        if observed.pods.is_ok() {
            watches.spawn(follow(
                connection.clone(),
                at(Kind::Pod),
                pods.clone(),
                sender.clone(),
                Delta::Pods,
            ));
        }
        if observed.claims.is_ok() {
            let path = at(Kind::PersistentVolumeClaim);
            watches.spawn(follow(connection.clone(), path, pods, sender.clone(), Delta::Claims));
        }
        if observed.events.is_ok() {
            let warnings = "fieldSelector=type!%3DNormal".to_owned();
            watches.spawn(follow(connection.clone(), at(Kind::Event), warnings, sender, Delta::Events));
        }
        Ok(Live {
            connection,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            observed,
            changes,
            refreshed: Instant::now(),
            broken: None,
            _watches: watches,
        })
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

    /// Waits a little until the controller has looked at the newest spec: a plan made before would be about the past.
    pub async fn caught_up(&mut self) {
        let end = Instant::now() + CATCH_UP;
        let mut waited = false;
        while self.look(|now| now.is_some_and(|now| !now.set.is_observed())) && Instant::now() < end {
            waited = true;
            self.changed(end).await;
        }
        if waited {
            self.refresh().await;
        }
    }

    /// The namespace of the set.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The resourceVersion of the set as it is known here; empty when it is gone.
    pub fn version(&self) -> String {
        let set = self.observed.sets.iter().find(|set| set.metadata.name == self.name);
        set.map(|set| set.metadata.resource_version.clone()).unwrap_or_default()
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
        self.observed.taken_at = Timestamp::now();
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
            let nominations = fresh.events.iter().flatten().filter(|event| event.r#type == "Normal").cloned();
            let events = events.map(|mut events| {
                events.retain(|event| event.r#type != "Normal");
                events.extend(nominations);
                events
            });
            self.observed = fresh;
            self.observed.sets.retain(|set| set.metadata.name != self.name);
            self.observed.sets.extend(own);
            (self.observed.pods, self.observed.claims, self.observed.events) = (pods, claims, events);
        }
    }

    /// Carries a step out. Every write names exactly what it acts on; an [`Step::Await`] is nothing to carry out.
    ///
    /// # Errors
    /// When the server refused for good, or could not be reached; it may have been done all the same then.
    pub async fn perform(&mut self, step: &Step, dry_run: bool) -> Result<Performed> {
        let dry = if dry_run { "&dryRun=All" } else { "" };
        let namespace = &self.namespace;
        let (doing, sent) = match step {
            Step::Await { .. } => return Ok(Performed::Done),
            Step::Patch(patch) => {
                let Some(set) = self.observed.sets.iter().find(|set| set.metadata.name == patch.set) else {
                    return Ok(Performed::AlreadySo);
                };
                let body = patch.with_preconditions(&set.metadata.resource_version);
                let content = match patch.kind {
                    PatchKind::Merge => "application/merge-patch+json",
                    PatchKind::Strategic => "application/strategic-merge-patch+json",
                };
                // A misspelt field would be dropped without a word. A template from a revision may be older than the
                // server, and is taken as it is.
                let restores = patch.body.pointer("/spec/template/$patch").is_some();
                let strict = if restores { "" } else { "&fieldValidation=Strict" };
                let path = format!(
                    "{}/{}?fieldManager={FIELD_MANAGER}{strict}{dry}",
                    Kind::StatefulSet.path(Some(namespace)),
                    patch.set
                );
                let sent =
                    self.connection.write(http::Method::PATCH, &path, content, body.to_string().into_bytes());
                (format!("patch StatefulSet {}", patch.set), sent.await)
            }
            Step::DeletePod { pod, seen, evict, .. } => {
                let preconditions = json!({"uid": seen});
                let path = format!("{}/{pod}", Kind::Pod.path(Some(namespace)));
                let (method, path, body) = if *evict {
                    let mut options = json!({"preconditions": preconditions});
                    if dry_run {
                        options["dryRun"] = json!(["All"]);
                    }
                    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction",
                        "metadata": {"name": pod, "namespace": namespace}, "deleteOptions": options});
                    (http::Method::POST, format!("{path}/eviction?fieldManager={FIELD_MANAGER}{dry}"), body)
                } else {
                    let mut body =
                        json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
                    if dry_run {
                        body["dryRun"] = json!(["All"]);
                    }
                    (http::Method::DELETE, path, body)
                };
                let body = body.to_string().into_bytes();
                let sent = self.connection.write(method, &path, "application/json", body).await;
                (format!("{} pod {pod}", if *evict { "evict" } else { "delete" }), sent)
            }
        };
        match sent {
            Ok(_) => Ok(Performed::Done),
            Err(ReadError::NotFound { .. }) => Ok(Performed::AlreadySo),
            Err(ReadError::Api { code: 409 | 429, message, .. }) => Ok(Performed::Conflict(message)),
            // A patch whose uid is another's is refused as a change of the uid.
            Err(ReadError::Api { code: 422, message, .. }) if message.contains("metadata.uid") => {
                Ok(Performed::Conflict(message))
            }
            Err(error) => Err(self.connection.explain(&error, &doing)),
        }
    }

    /// The kind's objects in the namespace, for what is not always looked at.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn listed<T: Object>(&self) -> std::result::Result<Vec<T>, ReadError> {
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

    /// Asks whether we may; `None` when the server does not say.
    pub async fn may(&self, verb: &str, group: &str, resource: &str, subresource: &str) -> Option<bool> {
        may(&self.connection, &self.namespace, [verb, group, resource, subresource]).await
    }

    fn apply(&mut self, delta: Delta) {
        let observed = &mut self.observed;
        match delta {
            Delta::Sets(change) => {
                let name = self.name.clone();
                merge(&mut observed.sets, change, |set| set.metadata.name == name);
            }
            Delta::Pods(change) => {
                let selector = own(&observed.sets, &self.name).map(|set| set.spec.selector.clone());
                if let (Ok(pods), Some(selector)) = (&mut observed.pods, selector) {
                    merge(pods, change, |pod| selector.matches(&pod.metadata.labels));
                }
            }
            Delta::Claims(change) => {
                let selector = own(&observed.sets, &self.name).map(|set| set.spec.selector.clone());
                if let (Ok(claims), Some(selector)) = (&mut observed.claims, selector) {
                    merge(claims, change, |claim| selector.matches(&claim.metadata.labels));
                }
            }
            Delta::Events(change) => {
                if let Ok(events) = &mut observed.events {
                    merge(events, change, |_| true);
                }
            }
            Delta::Broken(why) => self.broken = why,
        }
    }
}

/// Asks whether we may: verb, group, resource and subresource; `None` when the server does not say.
pub(super) async fn may(connection: &Connection, namespace: &str, what: [&str; 4]) -> Option<bool> {
    let [verb, group, resource, subresource] = what;
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "namespace": namespace, "verb": verb, "group": group, "resource": resource,
            "subresource": subresource,
        }},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let body = body.to_string().into_bytes();
    let answer = connection.write(http::Method::POST, path, "application/json", body).await.ok()?;
    serde_json::from_slice::<Value>(&answer).ok()?["status"]["allowed"].as_bool()
}

fn own<'s>(sets: &'s [StatefulSet], name: &str) -> Option<&'s StatefulSet> {
    sets.iter().find(|set| set.metadata.name == name)
}

fn merge<T: Object>(all: &mut Vec<T>, change: Change<T>, is_watched: impl Fn(&T) -> bool) {
    let same = |a: &T, b: &T| a.meta().name == b.meta().name && a.meta().namespace == b.meta().namespace;
    match change {
        Change::All(fresh) => {
            all.retain(|old| !is_watched(old) && !fresh.iter().any(|new| same(old, new)));
            all.extend(fresh);
        }
        Change::Put(object) => match all.iter_mut().find(|old| same(old, &object)) {
            Some(old) => *old = object,
            None => all.push(object),
        },
        Change::Gone(object) => all.retain(|old| !same(old, &object)),
    }
}

/// Percent-encodes a query value.
fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
