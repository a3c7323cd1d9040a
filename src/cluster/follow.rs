//! One kind, listed and watched for as long as anybody listens.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;

use super::connect::{Connection, ReadError};
use super::lists::{List, ListMeta, list};
use crate::kinds::*;
use crate::time::doubled;

/// First pause after a broken watch; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often a kind is listed whose watch is not allowed.
const POLL: Duration = Duration::from_secs(2);

/// What a watch brings.
#[expect(clippy::large_enum_variant, reason = "few are under way at a time, and each is moved once")]
pub(super) enum Delta {
    Sets(Change<StatefulSet>),
    Pods(Change<Pod>),
    Claims(Change<PersistentVolumeClaim>),
    Events(Change<Event>),
    /// A watch is down, for this reason; `None` when it is up again.
    Broken(Option<String>),
}

/// What has become of the objects of a kind.
pub(super) enum Change<T> {
    /// All of them, as listed at this resourceVersion.
    All(Vec<T>, String),
    Put(T),
    Gone(T),
}

/// Lists and watches one kind for ever.
pub(super) async fn follow<T: Object>(
    mut connection: Connection,
    path: String,
    query: String,
    changes: UnboundedSender<Delta>,
    wrap: fn(Change<T>) -> Delta,
) {
    let mut pause = PAUSE;
    let mut broken = false;
    loop {
        let mut version = match list::<T>(&connection, &format!("{path}?{query}")).await {
            Ok(List { metadata, items }) => {
                let all = Change::All(items, metadata.resource_version.clone());
                if changes.send(wrap(all)).is_err() {
                    return;
                }
                if std::mem::take(&mut broken) {
                    let _ = changes.send(Delta::Broken(None));
                }
                pause = PAUSE;
                metadata.resource_version
            }
            Err(error) => {
                if matches!(error, ReadError::Unauthorized) {
                    let _ = connection.reconnect().await;
                }
                broken = true;
                let why = connection.explain(&error, &format!("list {}", T::KIND.plural())).to_string();
                let _ = changes.send(Delta::Broken(Some(why)));
                sleep(pause).await;
                pause = doubled(pause, LONGEST_PAUSE);
                continue;
            }
        };
        // Watch from there until the server has forgotten where we were.
        loop {
            match watch::<T>(&connection, &path, &query, &mut version, &changes, wrap).await {
                Ok(()) => pause = PAUSE,
                Err(ReadError::Gone) => break,
                Err(ReadError::Forbidden { .. }) => {
                    sleep(POLL).await;
                    break;
                }
                Err(ReadError::Unauthorized) => {
                    let _ = connection.reconnect().await;
                    sleep(pause).await;
                    break;
                }
                Err(_) => {
                    sleep(pause).await;
                    pause = doubled(pause, LONGEST_PAUSE);
                    // A server that has come back may count anew.
                    break;
                }
            }
            if changes.is_closed() {
                return;
            }
        }
    }
}

/// One watch, until the server ends it.
async fn watch<T: Object>(
    connection: &Connection,
    path: &str,
    query: &str,
    version: &mut String,
    changes: &UnboundedSender<Delta>,
    wrap: fn(Change<T>) -> Delta,
) -> std::result::Result<(), ReadError> {
    let path = format!(
        "{path}?watch=true&allowWatchBookmarks=true&timeoutSeconds=290&resourceVersion={version}&{query}"
    );
    let mut reply = connection.watch(&path).await?;
    let mut buffer: Vec<u8> = Vec::new();
    while let Some(piece) = reply.chunk().await? {
        buffer.extend_from_slice(&piece);
        let mut start = 0;
        while let Some(end) = buffer[start..].iter().position(|byte| *byte == b'\n') {
            let line = &buffer[start..start + end];
            start += end + 1;
            if !line.is_empty() && !take::<T>(line, version, changes, wrap)? {
                return Ok(());
            }
        }
        buffer.drain(..start);
    }
    Ok(())
}

/// Takes one event of a watch; whether anybody still wants more.
fn take<T: Object>(
    line: &[u8],
    version: &mut String,
    changes: &UnboundedSender<Delta>,
    wrap: fn(Change<T>) -> Delta,
) -> std::result::Result<bool, ReadError> {
    #[derive(Deserialize)]
    struct WatchEvent<'a> {
        r#type: &'a str,
        #[serde(borrow)]
        object: &'a serde_json::value::RawValue,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Head {
        metadata: ListMeta,
        code: u16,
    }
    let malformed = |error| ReadError::Transport(kube::Error::SerdeError(error));
    let event: WatchEvent<'_> = serde_json::from_slice(line).map_err(malformed)?;
    let change = match event.r#type {
        "ADDED" | "MODIFIED" => {
            Change::Put(serde_json::from_str::<T>(event.object.get()).map_err(malformed)?)
        }
        "DELETED" => Change::Gone(serde_json::from_str::<T>(event.object.get()).map_err(malformed)?),
        kind => {
            let head: Head = serde_json::from_str(event.object.get()).map_err(malformed)?;
            if kind == "BOOKMARK" {
                *version = head.metadata.resource_version;
                return Ok(!changes.is_closed());
            }
            return Err(match head.code {
                410 => ReadError::Gone,
                code => ReadError::Api { code, reason: String::new(), message: "the watch broke".to_owned() },
            });
        }
    };
    if let Change::Put(object) | Change::Gone(object) = &change {
        version.clone_from(&object.meta().resource_version);
    }
    Ok(changes.send(wrap(change)).is_ok())
}
