//! The writes to a set and its pods, and what the answers mean.

use http::Method;
use serde_json::{Value, json};

use super::connect::{Connection, ReadError};
use crate::error::Error;
use crate::kinds::Kind;
use crate::plan::{PatchKind, SetPatch};

/// Who writes, in managedFields.
pub(super) const FIELD_MANAGER: &str = "kubectl-sts";

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Performed {
    /// It was done.
    Done,
    /// There was nothing left to do: the object is gone.
    AlreadySo,
    /// Refused, as the object is not as it was seen any more: the server's message.
    Conflict(String),
    /// Refused for now, by a budget or a limit of requests: the server's message.
    TooManyRequests(String),
}

/// A write that failed for good.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub error: Error,
    /// Whether it may have been carried out all the same, as no answer came.
    pub is_uncertain: bool,
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        failure.error
    }
}

/// What a write brought: the meaning, and what the server answered where it was done.
pub(super) type Answered = Result<(Performed, Vec<u8>), Failure>;

/// Patches a set, if it still is as it was seen with this resourceVersion.
pub(super) async fn patch_set(
    connection: &Connection,
    namespace: &str,
    patch: &SetPatch,
    resource_version: &str,
    dry_run: bool,
) -> Answered {
    let body = patch.with_preconditions(resource_version);
    let content = match patch.kind {
        PatchKind::Merge => "application/merge-patch+json",
        PatchKind::Strategic => "application/strategic-merge-patch+json",
    };
    // A misspelt field would be dropped without a word. A template from a revision may be older than the server, and is
    // taken as it is.
    let restores = patch.body.pointer("/spec/template/$patch").is_some();
    let strict = if restores { "" } else { "&fieldValidation=Strict" };
    let dry = if dry_run { "&dryRun=All" } else { "" };
    let path = format!(
        "{}/{}?fieldManager={FIELD_MANAGER}{strict}{dry}",
        Kind::StatefulSet.path(Some(namespace)),
        patch.set
    );
    let sent = connection.write(Method::PATCH, &path, content, body.to_string().into_bytes()).await;
    meaning(connection, sent, &format!("patch StatefulSet {}", patch.set))
}

/// Deletes a pod with this uid, or evicts it, which asks its disruption budgets.
pub(super) async fn delete_pod(
    connection: &Connection,
    namespace: &str,
    pod: &str,
    uid: &str,
    evict: bool,
    dry_run: bool,
) -> Answered {
    let dry = if dry_run { json!({"dryRun": ["All"]}) } else { json!({}) };
    let mut options = json!({"preconditions": {"uid": uid}});
    merge(&mut options, dry);
    let path = format!("{}/{pod}", Kind::Pod.path(Some(namespace)));
    let (method, path, body) = if evict {
        let dry = if dry_run { "&dryRun=All" } else { "" };
        let body = json!({"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace}, "deleteOptions": options});
        (Method::POST, format!("{path}/eviction?fieldManager={FIELD_MANAGER}{dry}"), body)
    } else {
        merge(&mut options, json!({"apiVersion": "v1", "kind": "DeleteOptions"}));
        (Method::DELETE, path, options)
    };
    let sent = connection.write(method, &path, "application/json", body.to_string().into_bytes()).await;
    meaning(connection, sent, &format!("{} pod {pod}", if evict { "evict" } else { "delete" }))
}

fn merge(object: &mut Value, more: Value) {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
}

/// The one mapping of HTTP answers to results.
fn meaning(connection: &Connection, sent: std::result::Result<Vec<u8>, ReadError>, doing: &str) -> Answered {
    let refused = |performed| Ok((performed, Vec::new()));
    match sent {
        Ok(body) => Ok((Performed::Done, body)),
        Err(ReadError::NotFound { .. }) => refused(Performed::AlreadySo),
        Err(ReadError::Api { code: 409, message, .. }) => refused(Performed::Conflict(message)),
        Err(ReadError::Api { code: 429, message, .. }) => refused(Performed::TooManyRequests(message)),
        // A patch whose uid is another's is refused as a change of the uid.
        Err(ReadError::Api { code: 422, message, .. }) if message.contains("metadata.uid") => {
            refused(Performed::Conflict(message))
        }
        Err(error) => Err(Failure {
            is_uncertain: matches!(error, ReadError::Silent(_) | ReadError::Transport(_)),
            error: connection.explain(&error, doing),
        }),
    }
}
