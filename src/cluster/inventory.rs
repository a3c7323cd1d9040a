//! Which lists are read for what: all at once, never an object at a time.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use serde_json::Value;
use tokio::join;

use super::claims;
use super::connect::{Connection, RequestError};
use super::door;
use super::lists::{at_most, list};
use crate::error::{Error, Result};
use crate::kinds::*;
use crate::snapshot::attribution::{ClaimAudit, Overrides};
use crate::snapshot::{
    KILLING, NO_SCALE_UP, NOMINATIONS, NotRead, Observed, Scope, Seen, ServerVersion, Unseen, killer,
    may_be_killed,
};

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
pub(super) const CLAIMS: [Kind; 5] = [
    Kind::StatefulSet,
    Kind::Pod,
    Kind::PersistentVolumeClaim,
    Kind::PersistentVolume,
    Kind::HorizontalPodAutoscaler,
];

/// Kinds of the second round of [`Want::Diagnosis`].
const SECOND: [Kind; 9] = [
    Kind::Node,
    Kind::ResourceQuota,
    Kind::LimitRange,
    Kind::ValidatingWebhookConfiguration,
    Kind::MutatingWebhookConfiguration,
    Kind::ValidatingAdmissionPolicyBinding,
    Kind::CSINode,
    Kind::CSIStorageCapacity,
    Kind::VolumeAttachment,
];

/// All pods but those of ReplicaSets, which are most pods of most clusters.
const LONE: &str = "?labelSelector=%21pod-template-hash";
/// The pods of ReplicaSets.
const OF_REPLICA_SETS: &str = "?labelSelector=pod-template-hash";

/// So many pods of ReplicaSets are read for what is only good to know, as how much room they leave on the nodes. One of
/// them has about 10 KB.
const FEW: usize = 500;

/// How much about the pods of ReplicaSets matters, after the first round.
#[derive(Clone, Copy, Debug)]
enum Others {
    /// Nothing.
    None,
    /// What they request and where they are.
    Room,
    /// Which of them use what is being deleted, or belong to a StatefulSet.
    All,
}

/// Reads the cluster. A kind that may not be read is unseen; only without the StatefulSets there is no answer.
///
/// # Errors
/// When the StatefulSets cannot be read, the server is out of reach, or the namespace does not exist.
pub async fn observe(connection: &Connection, scope: Scope, want: Want) -> Result<Observed> {
    let namespace = match &scope {
        Scope::Namespace(namespace) => Some(namespace.clone()),
        Scope::All => None,
    };
    let mut observed = Observed::nothing(connection.now(), scope, "not asked for");
    let is_survey = want == Want::Diagnosis && namespace.is_none();
    let reader = Reader { connection, namespace, is_survey };
    let wanted = |kind: &Kind| match want {
        Want::Diagnosis => !SECOND.contains(kind),
        Want::Claims => CLAIMS.contains(kind),
        Want::Everything => true,
    };
    let first: BTreeSet<Kind> = Kind::ALL.into_iter().filter(wanted).collect();
    let (version, read) = join!(version(connection), Box::pin(reader.read(&first, &mut observed)));
    read?;
    observed.server = version;
    if want == Want::Diagnosis {
        // What nothing that was seen makes worth looking at is as good as seen.
        observed.nodes = Ok(Vec::new());
        observed.quotas = Ok(Vec::new());
        observed.limit_ranges = Ok(Vec::new());
        observed.validating_webhooks = Ok(Vec::new());
        observed.mutating_webhooks = Ok(Vec::new());
        observed.policy_bindings = Ok(Vec::new());
        observed.csi_nodes = Ok(Vec::new());
        observed.capacities = Ok(Vec::new());
        observed.attachments = Ok(Vec::new());
        let second = second_look(&observed);
        let others = if is_survey { others(&observed) } else { Others::None };
        let (read, others) = join!(Box::pin(reader.read(&second, &mut observed)), reader.others(others));
        read?;
        observed.has_all_pods = !is_survey || others.is_some();
        if let (Ok(pods), Some(others)) = (&mut observed.pods, others) {
            *pods = together(std::mem::take(pods), others);
        }
    }
    if want != Want::Claims && seems_left_over(&observed) {
        observed.around = Some(claims::around(connection, &observed.scope).await);
    }
    if want != Want::Claims && observed.events.is_ok() {
        let reasons = normal_reasons(&observed, connection.now());
        let more = reader.normal_events(&reasons).await;
        observed.events.iter_mut().for_each(|events| events.extend(more.iter().cloned()));
    }
    // Lists are as of when they were answered, so ages are counted from then.
    connection.date(&mut observed);
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
    kinds.extend(observed.worth_reading());
    // Whether a node is being drained decides how much a budget matters that allows no eviction.
    let budgets = observed.budgets.as_deref().unwrap_or_default();
    if budgets.iter().any(|budget| budget.never_allows(1)) {
        kinds.insert(Kind::Node);
    }
    kinds
}

/// What the pods of ReplicaSets matter for. Whether a PVC of a replica that is gone is used, the templates say, see
/// [`seems_left_over`].
fn others(observed: &Observed) -> Others {
    let pods = observed.pods.as_deref().unwrap_or_default();
    let waits = |pod: &Pod| pod.condition("PodScheduled").is_some_and(|scheduled| scheduled.status != "True");
    let claims = observed.claims.as_deref().unwrap_or_default();
    let mut there: HashMap<&str, i32> = HashMap::new();
    for owner in pods.iter().filter_map(|pod| pod.metadata.controller()) {
        let count = there.entry(owner.uid.as_str()).or_default();
        *count = count.saturating_add(1);
    }
    let is_needed = claims.iter().any(|claim| claim.metadata.is_terminating())
        || observed.sets.iter().any(|set| {
            // A template may have the label too, as one that was copied from a pod.
            let known = there.get(set.metadata.uid.as_str()).copied().unwrap_or_default();
            set.metadata.is_terminating() || known < set.status.replicas
        });
    let refused = observed.events.as_deref().unwrap_or_default().iter().any(|it| it.reason == "FailedCreate");
    let budgets = observed.budgets.as_deref().unwrap_or_default();
    if is_needed {
        Others::All
    } else if refused || pods.iter().any(waits) || budgets.iter().any(|budget| budget.never_allows(1)) {
        Others::Room
    } else {
        Others::None
    }
}

/// Whether a claim is left over as far as can be told without other workloads, which are read only then.
fn seems_left_over(observed: &Observed) -> bool {
    let waivers = Overrides { zero: true, autoscaler_range: true, unread: true, ..Overrides::default() };
    observed.namespaces().values().any(|namespace| {
        let census = ClaimAudit::new(observed, namespace, None);
        census.verdicts(&waivers).iter().any(|verdict| verdict.class.is_left_over())
    })
}

/// Of which events that are no warnings the cluster may have some that tell something: those with which autoscalers say
/// that a node is coming, without which a pod only seems to wait for nothing, and those of containers that are killed.
fn normal_reasons(observed: &Observed, now: Timestamp) -> Vec<&'static str> {
    let pods = observed.pods.as_deref().unwrap_or_default().iter();
    let of_sets = |pod: &&Pod| pod.metadata.controller().is_some_and(|owner| owner.kind == "StatefulSet");
    let refused = |pod: &Pod| {
        pod.condition("PodScheduled").is_some_and(|scheduled| scheduled.reason == "Unschedulable")
    };
    let mut reasons = Vec::new();
    if pods.clone().filter(of_sets).any(refused) {
        reasons.extend(NOMINATIONS);
        reasons.push(NO_SCALE_UP);
    }
    if pods.filter(of_sets).any(|pod| may_be_killed(pod, now)) {
        reasons.push(KILLING);
    }
    reasons
}

/// Whether an event that is no warning tells something. Every pod that ends has its containers killed.
pub(super) fn is_telling(event: &Event) -> bool {
    event.reason != KILLING || killer(event).is_some()
}

/// Why there are most events about pods that are no warnings.
const USUAL: [&str; 8] = [
    "Scheduled",
    "Pulling",
    "Pulled",
    "Created",
    "Started",
    KILLING,
    "SuccessfulAttachVolume",
    "AddedInterface",
];

/// The query of the events with this reason that are no warnings.
pub(super) fn normal(reason: &str) -> String {
    format!("fieldSelector=reason%3D{reason},type%3DNormal")
}

struct Reader<'a> {
    connection: &'a Connection,
    namespace: Option<String>,
    /// All namespaces are looked at, and of pods only those that may matter.
    is_survey: bool,
}

impl Reader<'_> {
    /// Reads these kinds, all at once.
    async fn read(&self, kinds: &BTreeSet<Kind>, observed: &mut Observed) -> Result<()> {
        macro_rules! read_all {
            ([$($of_sets:tt)*] $([$kind:ident $field:ident $($more:tt)*])*) => {
                join!(self.list(kinds), $(self.fill(&mut observed.$field, kinds),)*)
            };
        }
        let (sets, ..) = for_each_kind!(read_all);
        if let Some(sets) = sets {
            observed.sets = sets.map_err(|error| self.connection.explain(&error, "list StatefulSets"))?;
        }
        Ok(())
    }

    async fn fill<T: Object>(&self, place: &mut Seen<T>, kinds: &BTreeSet<Kind>) {
        if let Some(read) = self.list(kinds).await {
            *place = read.map_err(|error| Unseen { kind: T::KIND, why: why(error) });
        }
    }

    /// The objects of a kind, if it is among these.
    async fn list<T: Object>(
        &self,
        kinds: &BTreeSet<Kind>,
    ) -> Option<std::result::Result<Vec<T>, RequestError>> {
        if !kinds.contains(&T::KIND) {
            return None;
        }
        let query = match T::KIND {
            // Of events only warnings tell something, and etcd has to read them all.
            Kind::Event => "?fieldSelector=type!%3DNormal",
            Kind::Pod if self.is_survey => LONE,
            _ => "",
        };
        let path = format!("{}{query}", T::KIND.path(self.namespace.as_deref()));
        // One of these for each kind waits, side by side.
        let list = Box::pin(list(self.connection, &path)).await;
        Some(list.and_then(|list| fit(list.items)))
    }

    /// The pods of ReplicaSets, as far as they matter; `None` if they do not, are too many for that, or cannot be read.
    async fn others(&self, others: Others) -> Option<Vec<Pod>> {
        let path = format!("{}{OF_REPLICA_SETS}", Kind::Pod.path(None));
        let read = match others {
            Others::None => return None,
            Others::Room => at_most(self.connection, &path, FEW).await,
            Others::All => list(self.connection, &path).await.map(Some),
        };
        fit(read.ok()??.items).ok()
    }

    /// The events with these reasons that are no warnings; an answer that does not come is none.
    async fn normal_events(&self, reasons: &[&str]) -> Vec<Event> {
        let query = match reasons {
            [] => return Vec::new(),
            [reason] => normal(reason),
            // etcd has to read all events for each list, so it is one, without what every pod has.
            reasons => {
                let not = USUAL.iter().filter(|reason| !reasons.contains(reason));
                let not: String = not.map(|reason| format!(",reason!%3D{reason}")).collect();
                format!("fieldSelector=involvedObject.kind%3DPod,type%3DNormal{not}")
            }
        };
        let path = format!("{}?{query}", Kind::Event.path(self.namespace.as_deref()));
        let list = list::<Event>(self.connection, &path).await;
        let events = list.map_or_else(|_| Vec::new(), |list| list.items);
        events.into_iter().filter(|it| reasons.contains(&it.reason.as_str()) && is_telling(it)).collect()
    }
}

/// Both lists. An object whose labels have changed between the two answers is in both, and the first one counts.
fn together<T: Object>(mut all: Vec<T>, more: Vec<T>) -> Vec<T> {
    if all.is_empty() {
        return more;
    }
    let known: HashSet<&str> = all.iter().map(|object| object.meta().uid.as_str()).collect();
    let more: Vec<T> =
        more.into_iter().filter(|object| !known.contains(object.meta().uid.as_str())).collect();
    all.extend(more);
    all
}

/// The objects of a list, if the API server can have taken them.
fn fit<T: Object>(items: Vec<T>) -> std::result::Result<Vec<T>, RequestError> {
    match items.iter().find_map(door::unfit) {
        Some(message) => Err(RequestError::Api { code: 200, reason: String::new(), message }),
        None => Ok(items),
    }
}

/// What the server says it is; nothing depends on it so much that a failure would matter.
async fn version(connection: &Connection) -> Option<ServerVersion> {
    server_version(connection).await.ok()
}

/// The version of the API server.
///
/// # Errors
/// When it cannot be read.
pub async fn server_version(connection: &Connection) -> Result<ServerVersion> {
    let doing = "read the version of the server";
    let body = connection.get_bytes("/version", "application/json").await;
    let body = body.map_err(|error| connection.explain(&error, doing))?;
    let version = serde_json::from_slice(&body).map_err(|error| RequestError::garbled(&error));
    let text = version.and_then(|version: Value| match version["gitVersion"].as_str() {
        Some(text) => Ok(text.to_owned()),
        None => Err(RequestError::Nonsense("it has no gitVersion".to_owned())),
    });
    Ok(ServerVersion { text: text.map_err(|error| connection.explain(&error, doing))? })
}

/// Why a list was not read.
pub(super) fn why(error: RequestError) -> NotRead {
    NotRead::Other(match error {
        RequestError::Forbidden { message } => {
            return NotRead::Forbidden(forbidden_user(&message).map(str::to_owned));
        }
        RequestError::NotFound { .. } | RequestError::Api { code: 404, .. } => {
            "the server does not have this kind".to_owned()
        }
        RequestError::Nonsense(why) => format!("the answer cannot be understood: {why}"),
        RequestError::Credentials(error) => error.to_string().trim_start_matches("error: ").to_owned(),
        RequestError::Unauthorized => "not logged in".to_owned(),
        RequestError::Silent(after) => format!("no answer within {}s", after.as_secs()),
        RequestError::Api { message, .. } => message,
        RequestError::Gone | RequestError::Transport(_) => "the connection broke".to_owned(),
    })
}

/// `alice` in `pods is forbidden: User "alice" cannot list resource …`.
fn forbidden_user(message: &str) -> Option<&str> {
    message.split_once("User \"")?.1.split_once('"').map(|(user, _)| user)
}

/// An empty list may mean that the namespace itself is a typing error.
async fn exists(connection: &Connection, namespace: &str) -> Result<()> {
    match connection.get_bytes(&format!("/api/v1/namespaces/{namespace}"), "application/json").await {
        Err(RequestError::NotFound { .. }) => {
            Err(Error::cluster(format!("there is no namespace {namespace}"))
                .hint("list them with: kubectl get namespaces"))
        }
        _ => Ok(()),
    }
}
