//! Claims and their volumes: where they are, and what holds them.

use futures::future::join_all;
use serde_json::Value;
use tokio::join;

use super::connect::{Connection, RequestError};
use super::inventory;
use super::lists::{self, List, list, optional};
use super::perform;
use super::raw;
use crate::error::Result;
use crate::kinds::*;
use crate::plan::Permission;
use crate::snapshot::attribution::ClaimUsers;
use crate::snapshot::{NotRead, Scope};

/// All kinds of [`ClaimUsers`], as manifests and RBAC name them.
pub(super) fn kinds_around() -> impl Iterator<Item = (&'static str, &'static str)> {
    let others = [("VolumeSnapshot", "volumesnapshots"), ("VolumeAttachment", "volumeattachments")];
    WORKLOADS.iter().map(|(kind, _, plural)| (*kind, *plural)).chain(others)
}

/// Kinds with a pod template: kind, group and version, plural.
pub(super) const WORKLOADS: [(&str, &str, &str); 6] = [
    ("Deployment", "apis/apps/v1", "deployments"),
    ("ReplicaSet", "apis/apps/v1", "replicasets"),
    ("DaemonSet", "apis/apps/v1", "daemonsets"),
    ("Job", "apis/batch/v1", "jobs"),
    ("CronJob", "apis/batch/v1", "cronjobs"),
    ("ReplicationController", "api/v1", "replicationcontrollers"),
];
const SNAPSHOTS: &str = "apis/snapshot.storage.k8s.io/v1";

/// Reads what holds claims besides pods: one list for each kind, all at once. VolumeSnapshots the server does not have hold
/// nothing; a kind that could not be read is noted.
pub async fn around(connection: &Connection, scope: &Scope) -> ClaimUsers {
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
    let mut around = ClaimUsers::default();
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
    read: std::result::Result<List<T>, RequestError>,
    unread: &mut Vec<(&'static str, NotRead)>,
) -> Vec<T> {
    match read {
        Ok(list) => return list.items,
        Err(error) => unread.push((plural, inventory::why(error))),
    }
    Vec::new()
}

/// The path of a claim.
pub fn claim_path(namespace: &str, name: &str) -> String {
    format!("{}/{name}", Kind::PersistentVolumeClaim.path(Some(namespace)))
}

/// The path of a volume.
pub fn volume_path(name: &str) -> String {
    format!("{}/{name}", Kind::PersistentVolume.path(None))
}

/// The path of the VolumeSnapshots of a namespace.
pub(super) fn snapshots_path(namespace: &str) -> String {
    format!("/{SNAPSHOTS}/namespaces/{namespace}/volumesnapshots")
}

/// The path of a set.
pub(super) fn set_path(namespace: &str, name: &str) -> String {
    format!("{}/{name}", Kind::StatefulSet.path(Some(namespace)))
}

/// The whole object, from the server and not from its cache; `None` when there is none.
///
/// # Errors
/// When it cannot be read.
pub async fn get(connection: &Connection, path: &str) -> Result<Option<Value>> {
    raw::get(connection, path).await
}

/// Whether the server has VolumeSnapshots.
///
/// # Errors
/// When it cannot be asked.
pub async fn has_snapshots(connection: &Connection) -> Result<bool> {
    let asked = lists::has(connection, &format!("/{SNAPSHOTS}/volumesnapshots")).await;
    asked.map_err(|error| connection.explain(&error, "ask whether there are VolumeSnapshots"))
}

/// Those of the permissions that the server says we do not have.
pub async fn denied(connection: &Connection, wanted: &[Permission]) -> Vec<Permission> {
    let mut denied = Vec::new();
    for permission in wanted {
        let namespace = &connection.namespace;
        if perform::may(connection, namespace, permission).await == Some(false) {
            denied.push(permission.clone());
        }
    }
    denied
}

/// Whether we have each of these permissions, all asked at once.
///
/// # Errors
/// When the server does not say.
pub async fn allowed(connection: &Connection, wanted: &[Permission]) -> Result<Vec<bool>> {
    let ask = |permission| perform::is_allowed(connection, &connection.namespace, permission);
    let answers = join_all(wanted.iter().map(|permission| Box::pin(ask(permission)))).await;
    let explain = |error| connection.explain(&error, "ask for your permissions");
    answers.into_iter().map(|answer| answer.map_err(explain)).collect()
}
