//! Claims and their volumes: what holds them, and the writes that remove one and bring it back.

use std::time::Duration;

use futures::future::join_all;
use http::Method;
use serde_json::{Value, json};
use tokio::join;
use tokio::time::Instant;

use super::Performed;
use super::connect::{Connection, ReadError};
use super::inventory;
use super::lists::{self, List, list, optional};
use super::live::may as ask;
use super::perform::FIELD_MANAGER;
use super::raw;
use crate::error::{Error, Result};
use crate::kinds::*;
use crate::paste::kubectl;
use crate::snapshot::Scope;
use crate::snapshot::attribution::Around;
use crate::time::{after, doubled};

/// All kinds of [`Around`], as manifests and RBAC name them.
pub(super) fn kinds_around() -> impl Iterator<Item = (&'static str, &'static str)> {
    let others = [("VolumeSnapshot", "volumesnapshots"), ("VolumeAttachment", "volumeattachments")];
    WORKLOADS.iter().map(|(kind, _, plural)| (*kind, *plural)).chain(others)
}

/// Kinds with a pod template: kind, group and version, plural.
const WORKLOADS: [(&str, &str, &str); 6] = [
    ("Deployment", "apis/apps/v1", "deployments"),
    ("ReplicaSet", "apis/apps/v1", "replicasets"),
    ("DaemonSet", "apis/apps/v1", "daemonsets"),
    ("Job", "apis/batch/v1", "jobs"),
    ("CronJob", "apis/batch/v1", "cronjobs"),
    ("ReplicationController", "api/v1", "replicationcontrollers"),
];
const SNAPSHOTS: &str = "apis/snapshot.storage.k8s.io/v1";
const PATCH: &str = "application/merge-patch+json";

/// Reads what holds claims besides pods: one list for each kind, all at once. VolumeSnapshots the server does not have hold
/// nothing; a kind that could not be read is noted.
pub async fn around(connection: &Connection, scope: &Scope) -> Around {
    let place = |version: &str, plural: &str| match scope {
        Scope::Namespace(namespace) => format!("/{version}/namespaces/{namespace}/{plural}"),
        Scope::All => format!("/{version}/{plural}"),
    };
    let workloads = join_all(WORKLOADS.iter().map(|(_, version, plural)| async {
        let path = place(version, plural);
        list::<Workload>(connection, &path).await
    }));
    let snapshots = place(SNAPSHOTS, "volumesnapshots");
    let (workloads, snapshots, attachments) = join!(
        workloads,
        optional(connection, &snapshots),
        list(connection, "/apis/storage.k8s.io/v1/volumeattachments")
    );
    let mut around = Around::default();
    for ((kind, _, plural), read) in WORKLOADS.iter().zip(workloads) {
        for mut workload in keep(plural, read, &mut around.unread) {
            (*kind).clone_into(&mut workload.kind);
            around.workloads.push(workload);
        }
    }
    let snapshots = snapshots.map(|list| list.unwrap_or_else(List::empty));
    around.snapshots = keep("volumesnapshots", snapshots, &mut around.unread);
    around.attachments = keep("volumeattachments", attachments, &mut around.unread);
    around
}

fn keep<T>(
    plural: &'static str,
    read: std::result::Result<List<T>, ReadError>,
    unread: &mut Vec<(&'static str, String)>,
) -> Vec<T> {
    match read {
        Ok(list) => return list.items,
        Err(error) => unread.push((plural, inventory::why(error))),
    }
    Vec::new()
}

/// Asks whether we may; `None` when the server does not say.
pub async fn may(
    connection: &Connection,
    namespace: &str,
    verb: &str,
    group: &str,
    plural: &str,
) -> Option<bool> {
    ask(connection, namespace, [verb, group, plural, ""]).await
}

/// The path of a claim.
pub fn claim_path(namespace: &str, name: &str) -> String {
    format!("{}/{name}", Kind::PersistentVolumeClaim.path(Some(namespace)))
}

/// The path of a volume.
pub fn volume_path(name: &str) -> String {
    format!("{}/{name}", Kind::PersistentVolume.path(None))
}

/// The path of a set.
pub fn set_path(namespace: &str, name: &str) -> String {
    format!("{}/{name}", Kind::StatefulSet.path(Some(namespace)))
}

/// The whole object, from the server and not from its cache; `None` when there is none.
///
/// # Errors
/// When it cannot be read.
pub async fn get(connection: &Connection, path: &str) -> Result<Option<Value>> {
    raw::get(connection, path).await
}

/// `persistentvolumeclaims data-db-2` of its path.
fn what(path: &str) -> String {
    let mut parts = path.rsplit('/');
    let name = parts.next().unwrap_or_default();
    format!("{} {name}", parts.next().unwrap_or_default())
}

/// Deletes a claim exactly as it was seen.
///
/// # Errors
/// When the server does not answer, or may not be asked.
pub async fn delete(
    connection: &Connection,
    claim: &PersistentVolumeClaim,
    dry_run: bool,
) -> Result<Performed> {
    let meta = &claim.metadata;
    let mut body = json!({"apiVersion": "v1", "kind": "DeleteOptions",
        "preconditions": {"uid": meta.uid, "resourceVersion": meta.resource_version}});
    if dry_run {
        body["dryRun"] = json!(["All"]);
    }
    let path = claim_path(&meta.namespace, &meta.name);
    send(connection, Method::DELETE, &path, "application/json", &body, "delete").await
}

/// What became of a change of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The server says that it was done.
    Done,
    /// The volume is gone.
    Gone,
    /// The volume is not as it was seen: the server's message.
    Conflict(String),
    /// We may not, or an admission plugin said no: the server's message.
    Forbidden(String),
}

/// Changes a volume by a merge patch, if it still is as it was seen.
///
/// # Errors
/// When the server does not answer, or refuses for another reason; it may have been done all the same.
pub async fn patch_volume(connection: &Connection, seen: &Value, mut change: Value) -> Result<Changed> {
    for key in ["uid", "resourceVersion"] {
        change["metadata"][key] = seen["metadata"][key].clone();
    }
    let path = volume_path(seen["metadata"]["name"].as_str().unwrap_or_default());
    let sent = format!("{path}?fieldManager={FIELD_MANAGER}");
    match connection.write(Method::PATCH, &sent, PATCH, change.to_string().into_bytes()).await {
        Ok(_) => Ok(Changed::Done),
        Err(ReadError::NotFound { .. }) => Ok(Changed::Gone),
        Err(ReadError::Forbidden { message }) => Ok(Changed::Forbidden(message)),
        Err(ReadError::Api { code: 409 | 422 | 429, message, .. }) => Ok(Changed::Conflict(message)),
        Err(error) => Err(connection.explain(&error, &format!("patch {}", what(&path)))),
    }
}

/// Makes a claim.
///
/// # Errors
/// As [`delete`].
pub async fn create_claim(
    connection: &Connection,
    namespace: &str,
    claim: &Value,
    dry_run: bool,
) -> Result<Performed> {
    let dry = if dry_run { "&dryRun=All" } else { "" };
    let path =
        format!("{}?fieldManager={FIELD_MANAGER}{dry}", Kind::PersistentVolumeClaim.path(Some(namespace)));
    send(connection, Method::POST, &path, "application/json", claim, "create").await
}

/// Whether the server has VolumeSnapshots.
///
/// # Errors
/// When it cannot be asked.
pub async fn has_snapshots(connection: &Connection) -> Result<bool> {
    let asked = lists::has(connection, &format!("/{SNAPSHOTS}/volumesnapshots")).await;
    asked.map_err(|error| connection.explain(&error, "ask whether there are VolumeSnapshots"))
}

/// Makes a snapshot of a claim and waits until it can be used.
///
/// # Errors
/// When it cannot be made, says that it failed, or is not ready in time.
pub async fn snapshot(
    connection: &Connection,
    namespace: &str,
    claim: &str,
    class: &str,
    name: &str,
    patience: Duration,
) -> Result<()> {
    let body = json!({"apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"volumeSnapshotClassName": class, "source": {"persistentVolumeClaimName": claim}}});
    let list = format!("/{SNAPSHOTS}/namespaces/{namespace}/volumesnapshots");
    let path = format!("{list}?fieldManager={FIELD_MANAGER}");
    if let Performed::Conflict(message) =
        send(connection, Method::POST, &path, "application/json", &body, "create").await?
    {
        return Err(Error::refused(format!("VolumeSnapshot {name} could not be made")).because(message));
    }
    let path = format!("{list}/{name}");
    let ready = until(patience, || async {
        let found = get(connection, &path).await?.unwrap_or_default();
        let status = &found["status"];
        if let Some(message) = status["error"]["message"].as_str() {
            return Err(Error::refused(format!("VolumeSnapshot {name} failed")).because(message));
        }
        Ok((status["readyToUse"] == true).then_some(()))
    });
    let hint = kubectl("describe volumesnapshot").name(name).namespace(namespace).after("look at it with");
    ready.await?.ok_or_else(|| {
        let waited = patience.as_secs();
        Error::refused(format!("VolumeSnapshot {name} was not ready to use within {waited}s")).hint(hint)
    })
}

/// Asks again and again until there is an answer, or the time is over.
///
/// # Errors
/// Those of asking.
pub async fn until<T, F: Future<Output = Result<Option<T>>>>(
    patience: Duration,
    mut look: impl FnMut() -> F,
) -> Result<Option<T>> {
    let end = after(Instant::now(), patience);
    let mut pause = Duration::from_millis(50);
    loop {
        if let Some(found) = look().await? {
            return Ok(Some(found));
        }
        if after(Instant::now(), pause) > end {
            return Ok(None);
        }
        tokio::time::sleep(pause).await;
        pause = doubled(pause, Duration::from_secs(1));
    }
}

async fn send(
    connection: &Connection,
    method: Method,
    path: &str,
    content: &str,
    body: &Value,
    verb: &str,
) -> Result<Performed> {
    match connection.write(method, path, content, body.to_string().into_bytes()).await {
        Ok(_) => Ok(Performed::Done),
        Err(ReadError::NotFound { .. }) => Ok(Performed::AlreadySo),
        Err(ReadError::Api { code: 409 | 422 | 429, message, .. }) => Ok(Performed::Conflict(message)),
        Err(error) => {
            let path = path.split('?').next().unwrap_or(path);
            Err(connection.explain(&error, &format!("{verb} {}", what(path))))
        }
    }
}
