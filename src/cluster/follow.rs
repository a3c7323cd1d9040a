//! One kind, listed and watched for as long as anybody listens.

use std::time::Duration;

use serde::Deserialize;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep};

use super::connect::{Connection, LONGEST_OBJECT, RequestError};
use super::items::{Asked, Item, ListMeta};
use super::lists::{List, is_json, list};
use super::place::{Place, encode};
use crate::kinds::*;
use crate::time::doubled;

/// First pause after a broken watch; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often a kind is listed whose watch is not allowed.
const POLL: Duration = Duration::from_secs(2);
/// A watch that held for so long was a good one: the next pause is the first again.
const HELD: Duration = Duration::from_secs(20);

/// What a watch brings.
#[expect(clippy::large_enum_variant, reason = "few are under way at a time, and each is moved once")]
pub(super) enum Delta {
    Sets(Change<StatefulSet>),
    Pods(Change<Pod>),
    Claims(Change<PersistentVolumeClaim>),
    /// Warnings.
    Events(Change<Event>),
    /// Events of containers that are stopped.
    Kills(Change<Event>),
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
    connection: Connection,
    path: String,
    query: String,
    changes: UnboundedSender<Delta>,
    wrap: fn(Change<T>) -> Delta,
) {
    let mut pause = PAUSE;
    let mut broken = false;
    loop {
        let mut version = match list::<T>(&connection, &format!("{path}?{query}")).await {
            Ok(List { resource_version, items }) => {
                let all = Change::All(items, resource_version.clone());
                if changes.send(wrap(all)).is_err() {
                    return;
                }
                if std::mem::take(&mut broken) {
                    let _ = changes.send(Delta::Broken(None));
                }
                resource_version
            }
            Err(error) => {
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
            let began = Instant::now();
            let ended = watch::<T>(&connection, &path, &query, &mut version, &changes, wrap).await;
            if began.elapsed() > HELD {
                pause = PAUSE;
            }
            match ended {
                Ok(()) => {}
                Err(RequestError::Gone) => break,
                Err(RequestError::Forbidden { .. }) => {
                    sleep(POLL).await;
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

/// One watch, until the server ends it. What it brings is held to what was asked for: anything else is an error, after
/// which the kind is listed again.
async fn watch<T: Object>(
    connection: &Connection,
    path: &str,
    query: &str,
    version: &mut String,
    changes: &UnboundedSender<Delta>,
    wrap: fn(Change<T>) -> Delta,
) -> std::result::Result<(), RequestError> {
    let asked = Place::of(path).map(|place| place.asked);
    let asked = asked.ok_or_else(|| RequestError::Nonsense("this is no path of a list".to_owned()))?;
    let from = encode(version);
    let path = format!(
        "{path}?watch=true&allowWatchBookmarks=true&timeoutSeconds=290&resourceVersion={from}&{query}"
    );
    let mut reply = connection.watch(&path).await?;
    is_json(&mut reply)?;
    let mut buffer: Vec<u8> = Vec::new();
    while let Some(piece) = reply.chunk().await? {
        // What was there before holds no end of a line.
        let mut searched = buffer.len();
        buffer.extend_from_slice(&piece);
        let mut start = 0;
        while let Some(end) = buffer[searched..].iter().position(|byte| *byte == b'\n') {
            let end = searched + end;
            let line = &buffer[start..end];
            if !line.is_empty() && !take::<T>(line, asked, version, changes, wrap)? {
                return Ok(());
            }
            start = end + 1;
            searched = start;
        }
        buffer.drain(..start);
        if buffer.len() > LONGEST_OBJECT {
            return Err(RequestError::Nonsense(format!("an event is longer than {LONGEST_OBJECT} bytes")));
        }
    }
    Ok(())
}

/// Takes one event of a watch; whether anybody still wants more.
fn take<T: Object>(
    line: &[u8],
    asked: Asked<'_>,
    version: &mut String,
    changes: &UnboundedSender<Delta>,
    wrap: fn(Change<T>) -> Delta,
) -> std::result::Result<bool, RequestError> {
    #[derive(Deserialize)]
    struct WatchEvent<'a> {
        r#type: &'a str,
        #[serde(borrow)]
        object: &'a serde_json::value::RawValue,
    }
    let garbled = |error| RequestError::garbled(&error);
    let event: WatchEvent<'_> = serde_json::from_slice(line).map_err(garbled)?;
    let object = || object::<T>(event.object.get(), asked);
    let change = match event.r#type {
        "ADDED" | "MODIFIED" => Change::Put(object()?),
        "DELETED" => Change::Gone(object()?),
        "BOOKMARK" => {
            let head: Head = serde_json::from_str(event.object.get()).map_err(garbled)?;
            if let Some(why) = asked.differs(Some(&head.kind), Some(&head.api_version)) {
                return Err(RequestError::Nonsense(format!("of a bookmark, {why}")));
            }
            moved(version, head.metadata.resource_version)?;
            return Ok(!changes.is_closed());
        }
        "ERROR" => {
            let head: Head = serde_json::from_str(event.object.get()).map_err(garbled)?;
            return Err(match head.code {
                410 => RequestError::Gone,
                code => {
                    RequestError::Api { code, reason: String::new(), message: "the watch broke".to_owned() }
                }
            });
        }
        _ => return Err(RequestError::Nonsense("an event of a watch is of an unknown type".to_owned())),
    };
    if let Change::Put(object) | Change::Gone(object) = &change {
        moved(version, object.meta().resource_version.clone())?;
    }
    Ok(changes.send(wrap(change)).is_ok())
}

/// What bookmarks and errors are read for.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Head {
    kind: String,
    api_version: String,
    metadata: ListMeta,
    code: u16,
}

/// The object of an event; of a watch each says its kind.
fn object<T: Object>(text: &str, asked: Asked<'_>) -> std::result::Result<T, RequestError> {
    let item: Item<T> = serde_json::from_str(text).map_err(|error| RequestError::garbled(&error))?;
    if let Some(why) = asked.differs(item.kind.as_deref(), item.api_version.as_deref()) {
        return Err(RequestError::Nonsense(format!("of an object of a watch, {why}")));
    }
    asked.settled(item.object).map_err(|why| RequestError::Nonsense(why.to_owned()))
}

/// From where the watch would go on; from nowhere it would begin again without a word.
fn moved(version: &mut String, to: String) -> std::result::Result<(), RequestError> {
    if to.is_empty() {
        return Err(RequestError::Nonsense("an event of a watch has no resourceVersion".to_owned()));
    }
    *version = to;
    Ok(())
}
