//! Which lists are read for what: all at once, never an object at a time.

use std::collections::BTreeSet;

use futures::future::join_all;
use jiff::Timestamp;
use serde_json::Value;

use super::connect::{Connection, ReadError};
use super::decode;
use crate::error::{Error, Result};
use crate::kinds::*;
use crate::snapshot::{NOMINATIONS, Observed, Scope, Seen, ServerVersion, Unseen};

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// What status and doctor look at. Kinds that only some states of a cluster make worth looking at are read in a
    /// second round, if the first shows such a state.
    Diagnosis,
    /// What decides whether a claim is still needed.
    Claims,
    /// All kinds, for a recording.
    Everything,
}

/// Kinds of [`Want::Claims`].
const CLAIMS: [Kind; 5] = [
    Kind::StatefulSet,
    Kind::Pod,
    Kind::PersistentVolumeClaim,
    Kind::PersistentVolume,
    Kind::HorizontalPodAutoscaler,
];

/// Kinds of the second round of [`Want::Diagnosis`].
const SECOND: [Kind; 4] =
    [Kind::Node, Kind::HorizontalPodAutoscaler, Kind::ResourceQuota, Kind::PodDisruptionBudget];

/// Reads the cluster. A kind that may not be read is unseen; only without the StatefulSets there is no answer.
///
/// # Errors
/// When the StatefulSets cannot be read, the server is out of reach, or the namespace does not exist.
pub async fn observe(connection: &Connection, scope: Scope, want: Want) -> Result<Observed> {
    let namespace = match &scope {
        Scope::Namespace(namespace) => Some(namespace.clone()),
        Scope::All => None,
    };
    let mut reading = Reading {
        connection,
        namespace,
        observed: Observed::nothing(Timestamp::now(), scope, "not asked for"),
        version: None,
    };
    let wanted = |kind: &Kind| match want {
        Want::Diagnosis => !SECOND.contains(kind),
        Want::Claims => CLAIMS.contains(kind),
        Want::Everything => true,
    };
    let first: BTreeSet<Kind> = Kind::ALL.into_iter().filter(wanted).collect();
    reading.read(&first, true).await?;
    if want == Want::Diagnosis {
        let second = second_look(&reading.observed);
        if !second.is_empty() {
            reading.read(&second, false).await?;
        }
        // Not needed for anything that was seen, and so as good as seen.
        for kind in SECOND.into_iter().filter(|kind| !second.contains(kind)) {
            reading.keep(kind, None);
        }
    }
    if want != Want::Claims && waits_for_node(&reading.observed) {
        reading.read_nominations().await;
    }
    let mut observed = reading.observed;
    observed.server = reading.version;
    // Lists are as of when they were answered, so ages are counted from then.
    observed.taken_at = Timestamp::now();
    if observed.sets.is_empty()
        && let Scope::Namespace(namespace) = &observed.scope
    {
        exists(connection, namespace).await?;
    }
    Ok(observed)
}

/// What else is worth reading, after the first round.
fn second_look(observed: &Observed) -> BTreeSet<Kind> {
    let mut kinds = BTreeSet::new();
    let pods = observed.pods.as_deref().unwrap_or_default();
    let of_sets = |pod: &&Pod| {
        pod.metadata.controller().is_some_and(|owner| owner.kind == "StatefulSet")
            || pod.metadata.labels.contains_key(REVISION_LABEL)
    };
    if pods.iter().filter(of_sets).any(|pod| !pod.is_ready() || pod.metadata.is_terminating()) {
        kinds.insert(Kind::Node);
    }
    let wanted: i64 = observed.sets.iter().map(|set| i64::from(set.replicas())).sum();
    let there = pods.iter().filter(of_sets).count();
    if i64::try_from(there).is_ok_and(|there| there < wanted) {
        kinds.insert(Kind::ResourceQuota);
    }
    let namespaces = observed.namespaces();
    let left_over = |claim: &PersistentVolumeClaim| {
        namespaces.get(claim.metadata.namespace.as_str()).is_some_and(|namespace| {
            namespace.sets.iter().any(|set| {
                crate::snapshot::ClaimName::parse(set, &claim.metadata.name)
                    .is_some_and(|name| !set.in_range(name.ordinal))
            })
        })
    };
    if observed.claims.as_deref().unwrap_or_default().iter().any(left_over) {
        kinds.insert(Kind::HorizontalPodAutoscaler);
    }
    kinds
}

/// Whether an autoscaler may be adding a node for a pod.
fn waits_for_node(observed: &Observed) -> bool {
    let refused = |pod: &Pod| {
        pod.condition("PodScheduled").is_some_and(|scheduled| scheduled.reason == "Unschedulable")
            && pod.metadata.controller().is_some_and(|owner| owner.kind == "StatefulSet")
    };
    observed.pods.as_deref().unwrap_or_default().iter().any(refused)
}

struct Reading<'a> {
    connection: &'a Connection,
    namespace: Option<String>,
    observed: Observed,
    version: Option<ServerVersion>,
}

type Body = std::result::Result<Vec<u8>, ReadError>;

impl Reading<'_> {
    async fn read(&mut self, kinds: &BTreeSet<Kind>, with_version: bool) -> Result<()> {
        let version = async {
            match with_version {
                true => Some(self.connection.get_bytes("/version", "application/json").await),
                false => None,
            }
        };
        let lists = join_all(kinds.iter().map(|kind| async {
            let path = kind.path(self.namespace.as_deref());
            // Of events only warnings tell something, and etcd has to read them all.
            let query = if *kind == Kind::Event { "?fieldSelector=type!%3DNormal" } else { "" };
            self.connection.get_bytes(&format!("{path}{query}"), "application/json").await
        }));
        let (version, lists) = futures::future::join(version, lists).await;
        if let Some(Ok(body)) = version {
            let text = serde_json::from_slice::<Value>(&body).ok();
            let text = text.and_then(|version| version["gitVersion"].as_str().map(str::to_owned));
            self.version = text.map(|text| ServerVersion { text });
        }
        for (kind, body) in kinds.iter().zip(lists) {
            if *kind == Kind::StatefulSet {
                let body = body.map_err(|error| self.connection.explain(&error, "list StatefulSets"))?;
                self.observed.sets = decode::list(&body).map_err(|error| broken(*kind, &error))?;
                continue;
            }
            self.keep(*kind, Some(body));
        }
        Ok(())
    }

    /// Puts a list into its place; no body means there is nothing to know.
    /// Adds the events with which autoscalers say that a node is coming: they are no warnings. Without them a pod only seems
    /// to wait for nothing.
    async fn read_nominations(&mut self) {
        let path = Kind::Event.path(self.namespace.as_deref());
        let connection = self.connection;
        let lists = join_all(NOMINATIONS.map(|reason| {
            let path = format!("{path}?fieldSelector=reason%3D{reason},type%3DNormal");
            async move { connection.get_bytes(&path, "application/json").await }
        }));
        let lists: Vec<Event> = lists
            .await
            .into_iter()
            .filter_map(|body| decode::list::<Event>(&body.ok()?).ok())
            .flatten()
            .collect();
        if let Ok(events) = &mut self.observed.events {
            events.extend(lists);
        }
    }

    fn keep(&mut self, kind: Kind, body: Option<Body>) {
        let observed = &mut self.observed;
        match kind {
            Kind::StatefulSet => {}
            Kind::ControllerRevision => observed.revisions = seen(body),
            Kind::Pod => observed.pods = seen(body),
            Kind::PersistentVolumeClaim => observed.claims = seen(body),
            Kind::PersistentVolume => observed.volumes = seen(body),
            Kind::StorageClass => observed.classes = seen(body),
            Kind::Service => observed.services = seen(body),
            Kind::EndpointSlice => observed.slices = seen(body),
            Kind::PodDisruptionBudget => observed.budgets = seen(body),
            Kind::HorizontalPodAutoscaler => observed.autoscalers = seen(body),
            Kind::ResourceQuota => observed.quotas = seen(body),
            Kind::Node => observed.nodes = seen(body),
            Kind::Event => observed.events = seen(body),
        }
    }
}

fn seen<T: Object>(body: Option<Body>) -> Seen<T> {
    let unseen = |why: String| Unseen { kind: T::KIND, why };
    match body {
        None => Ok(Vec::new()),
        Some(Ok(body)) => decode::list(&body).map_err(|error| unseen(format!("not as expected: {error}"))),
        Some(Err(error)) => Err(unseen(why(error))),
    }
}

/// Why a list was not read, as a fragment: `forbidden to user alice`.
pub(super) fn why(error: ReadError) -> String {
    match error {
        ReadError::Forbidden { message } => match forbidden_user(&message) {
            Some(user) => format!("forbidden to user {user}"),
            None => "forbidden".to_owned(),
        },
        ReadError::NotFound { .. } => "the server does not have this kind".to_owned(),
        ReadError::Unauthorized => "not logged in".to_owned(),
        ReadError::Silent(after) => format!("no answer within {}s", after.as_secs()),
        ReadError::Api { message, .. } => message,
        ReadError::Gone | ReadError::Transport(_) => "the connection broke".to_owned(),
    }
}

/// `alice` in `pods is forbidden: User "alice" cannot list resource …`.
fn forbidden_user(message: &str) -> Option<&str> {
    message.split_once("User \"")?.1.split_once('"').map(|(user, _)| user)
}

fn broken(kind: Kind, error: &serde_json::Error) -> Error {
    Error::cluster(format!("the server's list of {} is not as expected", kind.plural())).because(error)
}

/// An empty list may mean that the namespace itself is a typing error.
async fn exists(connection: &Connection, namespace: &str) -> Result<()> {
    match connection.get_bytes(&format!("/api/v1/namespaces/{namespace}"), "application/json").await {
        Err(ReadError::NotFound { .. }) => Err(Error::cluster(format!("there is no namespace {namespace}"))
            .hint("list them with: kubectl get namespaces")),
        _ => Ok(()),
    }
}
