//! Every write, and the one mapping of HTTP answers to results. Nothing else of this program sends anything but GET.

use http::Method;
use serde_json::{Value, json};

use super::claims;
use super::connect::{Connection, RequestError};
use crate::error::Error;
use crate::kinds::{Kind, Meta};
use crate::plan::{PatchKind, Permission, Pvc, SetPatch, Step, VolumePatch};

/// Who writes, in managedFields.
const FIELD_MANAGER: &str = "kubectl-sts";
const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Performed {
    /// It was done.
    Done,
    /// There was nothing left to do: the object is gone.
    AlreadyGone,
    /// Refused, as the object is not as it was seen any more: the server's message.
    Conflict(String),
    /// Refused for now, by a budget or a limit of requests: the server's message.
    TooManyRequests(String),
    /// Refused to us, or by an admission plugin, and the plan has an answer to that: the server's message.
    Forbidden(String),
}

/// A write that failed for good.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub error: Error,
    /// Whether it may still have been carried out, as no answer came.
    pub is_uncertain: bool,
    /// The server's message, where it forbids the write.
    pub forbidden: Option<Box<str>>,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        failure.error
    }
}

/// What a write brought: the meaning, and what the server answered where it was done.
pub(super) type Answered = Result<(Performed, Vec<u8>), Failure>;

/// The object of a write as it was seen last, for the preconditions.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub uid: String,
    pub resource_version: String,
}

impl Seen {
    pub(super) fn of(meta: &Meta) -> Seen {
        Seen { uid: meta.uid.clone(), resource_version: meta.resource_version.clone() }
    }
}

/// One request.
struct Request {
    method: Method,
    path: String,
    /// Parameters besides the field manager and the dry run.
    query: &'static str,
    content: &'static str,
    body: Value,
}

impl Request {
    fn new(method: Method, path: String, body: Value) -> Request {
        Request { method, path, query: "", content: JSON, body }
    }

    fn merge(path: String, body: Value) -> Request {
        Request { content: MERGE_PATCH, ..Request::new(Method::PATCH, path, body) }
    }

    /// A deletion has its options in the body, everything else in the query.
    fn target(&self, dry_run: bool) -> String {
        if self.method == Method::DELETE {
            return self.path.clone();
        }
        let dry = if dry_run { "&dryRun=All" } else { "" };
        format!("{}?fieldManager={FIELD_MANAGER}{}{dry}", self.path, self.query)
    }
}

/// Carries a step out, or has it checked without effect. `namespace` is that of the set; a step that waits is nothing to
/// carry out.
pub(super) async fn perform(
    connection: &Connection,
    namespace: &str,
    step: &Step,
    seen: &Seen,
    dry_run: bool,
) -> Answered {
    let mut request = match step {
        Step::Await { .. } | Step::AwaitPvc { .. } => return Ok((Performed::Done, Vec::new())),
        Step::Patch(patch) => patch_set(namespace, patch, seen),
        Step::DeletePod { pod, seen, evict: true, .. } => evict_pod(namespace, pod, seen, dry_run),
        Step::DeletePod { pod, seen, evict: false, .. } => {
            let preconditions = json!({"uid": seen});
            delete(format!("{}/{pod}", Kind::Pod.path(Some(namespace))), &preconditions)
        }
        Step::CreateSnapshot { pvc, name, class } => create_snapshot(pvc, name, class),
        Step::PatchVolume(patch) => patch_volume(patch, seen),
        Step::DeletePvc { pvc, .. } => {
            let preconditions = json!({"uid": pvc.uid, "resourceVersion": seen.resource_version});
            delete(claims::claim_path(&pvc.namespace, &pvc.name), &preconditions)
        }
        Step::CreatePvc { pvc, manifest, .. } => {
            let path = Kind::PersistentVolumeClaim.path(Some(&pvc.namespace));
            Request::new(Method::POST, path, manifest.clone())
        }
    };
    if dry_run && request.method == Method::DELETE {
        request.body["dryRun"] = json!(["All"]);
    }
    let body = request.body.to_string().into_bytes();
    let sent =
        connection.write(request.method.clone(), &request.target(dry_run), request.content, body).await;
    meaning(connection, sent, &step.text())
}

/// A patch of a set, if it still is as it was seen.
fn patch_set(namespace: &str, patch: &SetPatch, seen: &Seen) -> Request {
    let content = match patch.kind {
        PatchKind::Merge => MERGE_PATCH,
        PatchKind::Strategic => STRATEGIC_PATCH,
    };
    // A misspelt field would be dropped without a word. A template from a revision may be older than the server, and is
    // taken as it is.
    let restores = patch.body.pointer("/spec/template/$patch").is_some();
    let query = if restores { "" } else { "&fieldValidation=Strict" };
    let path = format!("{}/{}", Kind::StatefulSet.path(Some(namespace)), patch.set);
    let body = with_preconditions(patch.body.clone(), &patch.seen, &seen.resource_version);
    Request { query, content, ..Request::new(Method::PATCH, path, body) }
}

/// An eviction, which asks the disruption budgets of the pod.
fn evict_pod(namespace: &str, pod: &str, uid: &str, dry_run: bool) -> Request {
    let mut options = json!({"preconditions": {"uid": uid}});
    if dry_run {
        options["dryRun"] = json!(["All"]);
    }
    let path = format!("{}/{pod}/eviction", Kind::Pod.path(Some(namespace)));
    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace}, "deleteOptions": options});
    Request::new(Method::POST, path, body)
}

fn delete(path: String, preconditions: &Value) -> Request {
    let body = json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions});
    Request::new(Method::DELETE, path, body)
}

fn create_snapshot(pvc: &Pvc, name: &str, class: &str) -> Request {
    let body = json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
        "metadata": {"name": name, "namespace": pvc.namespace},
        "spec": {"volumeSnapshotClassName": class, "source": {"persistentVolumeClaimName": pvc.name}}});
    Request::new(Method::POST, claims::snapshots_path(&pvc.namespace), body)
}

fn patch_volume(patch: &VolumePatch, seen: &Seen) -> Request {
    let body = with_preconditions(patch.body(), &seen.uid, &seen.resource_version);
    Request::merge(claims::volume_path(&patch.volume), body)
}

/// The body of a patch that fails if anything came between.
fn with_preconditions(mut body: Value, uid: &str, resource_version: &str) -> Value {
    if !body["metadata"].is_object() {
        body["metadata"] = json!({});
    }
    body["metadata"]["uid"] = uid.into();
    body["metadata"]["resourceVersion"] = resource_version.into();
    body
}

/// Has the API server check a pod. Nothing is created: this asks for a dry run, always.
pub(super) async fn check_pod(
    connection: &Connection,
    namespace: &str,
    pod: &Value,
) -> Result<(), RequestError> {
    let request = Request::new(Method::POST, Kind::Pod.path(Some(namespace)), Value::Null);
    let body = pod.to_string().into_bytes();
    connection.write(request.method.clone(), &request.target(true), request.content, body).await.map(|_| ())
}

/// Asks whether we may; `None` when the server does not say.
pub(super) async fn may(connection: &Connection, namespace: &str, what: &Permission) -> Option<bool> {
    is_allowed(connection, namespace, what).await.ok()
}

/// Asks whether we may. It has no effect, although it is sent like a write.
pub(super) async fn is_allowed(
    connection: &Connection,
    namespace: &str,
    what: &Permission,
) -> Result<bool, RequestError> {
    let Permission { verb, group, resource, subresource, namespace: own } = what;
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "namespace": own.as_deref().unwrap_or(namespace), "verb": verb, "group": group, "resource": resource,
            "subresource": subresource,
        }},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = connection.write(Method::POST, path, JSON, body.to_string().into_bytes()).await?;
    let review: Value = serde_json::from_slice(&answer).map_err(|error| RequestError::garbled(&error))?;
    let allowed = review["status"]["allowed"].as_bool();
    allowed.ok_or_else(|| RequestError::Nonsense("it has no status.allowed".to_owned()))
}

/// The one mapping of HTTP answers to results.
fn meaning(
    connection: &Connection,
    sent: std::result::Result<Vec<u8>, RequestError>,
    doing: &str,
) -> Answered {
    let refused = |performed| Ok((performed, Vec::new()));
    match sent {
        Ok(body) => Ok((Performed::Done, body)),
        Err(RequestError::NotFound { .. }) => refused(Performed::AlreadyGone),
        Err(RequestError::Api { code: 409, message, .. }) => refused(Performed::Conflict(message)),
        Err(RequestError::Api { code: 429, message, .. }) => refused(Performed::TooManyRequests(message)),
        // A patch whose uid is another's is refused as a change of the uid.
        Err(RequestError::Api { code: 422, message, .. }) if message.contains("metadata.uid") => {
            refused(Performed::Conflict(message))
        }
        Err(error) => Err(Failure {
            is_uncertain: matches!(
                error,
                RequestError::Silent(_) | RequestError::Transport(_) | RequestError::Nonsense(_)
            ),
            forbidden: match &error {
                RequestError::Forbidden { message } => Some(message.as_str().into()),
                _ => None,
            },
            error: connection.explain(&error, doing),
        }),
    }
}
