//! Lists, decoded while they arrive: the text of ten thousand pods is never held as a whole. An answer that is not the
//! whole list that was asked for is an error, and never taken for "there are none".

use std::cell::Cell;
use std::collections::HashSet;
use std::io::{self, BufReader, Read};
use std::marker::PhantomData;
use std::ops::Deref;
use std::rc::Rc;

use serde::de::DeserializeSeed;
use serde_json::Value;
use tokio::sync::mpsc::{self, Receiver};
use tokio::task::spawn_blocking;

use super::connect::{Connection, Reply, RequestError};
use super::items::{Asked, Gauge, Identity, Listed, Page, PageOf, is_too_long};
use super::place::Place;
use super::protobuf::{self, Fault};
use crate::text::one_line;

/// Pieces that may wait for the decoder; then the server waits.
const PENDING: usize = 2;
/// What the decoder takes at a time, in bytes.
const WINDOW: usize = 64 * 1024;
/// Most bytes of one answer, decompressed: 150,000 pods of 25 KiB.
const LONGEST: usize = 4 << 30;
/// How often a list is begun again whose pages have expired meanwhile.
const TRIES: usize = 3;
/// Pages without an object that may follow each other.
const EMPTY_PAGES: usize = 16;

/// A whole list.
pub(super) struct List<T> {
    /// From where a watch goes on.
    pub resource_version: String,
    pub items: Vec<T>,
}

impl<T> List<T> {
    /// None at all.
    pub fn empty() -> List<T> {
        List { resource_version: String::new(), items: Vec::new() }
    }
}

/// Reads the list at `path_and_query`, all pages of it.
///
/// # Errors
/// Any [`RequestError`]; [`RequestError::Nonsense`] when the answer is not that list.
pub(super) async fn list<T: Listed>(
    connection: &Connection,
    path_and_query: &str,
) -> Result<List<T>, RequestError> {
    let mut tries = 1;
    loop {
        // Many wait for several lists at once: what each keeps while it arrives does not belong into their futures.
        match Box::pin(pages(connection, path_and_query, usize::MAX)).await {
            // The rest of a list whose beginning is too old would not fit it: again, from the start.
            Err(Paged { error: RequestError::Gone, begun: true }) if tries < TRIES => tries += 1,
            Err(Paged { error: RequestError::Gone, begun: true }) => {
                return Err(RequestError::Nonsense("its pages expire before they are read".to_owned()));
            }
            Err(Paged { error, .. }) => return Err(error),
            Ok(list) => return list.ok_or_else(|| RequestError::Nonsense("it has no end".to_owned())),
        }
    }
}

/// Reads the list at `path_and_query` if it has at most `most` objects; `None` if there are more, of which no more are read.
///
/// # Errors
/// As [`list`].
pub(super) async fn at_most<T: Listed>(
    connection: &Connection,
    path_and_query: &str,
    most: usize,
) -> Result<Option<List<T>>, RequestError> {
    let path = format!("{path_and_query}{}limit={most}", and(path_and_query));
    Box::pin(pages(connection, &path, most)).await.map_err(|paged| paged.error)
}

/// What stands between a path and the next parameter of its query.
fn and(path_and_query: &str) -> char {
    if path_and_query.contains('?') { '&' } else { '?' }
}

/// Reads a list of a kind that a cluster need not have; `None` if the server says that it does not have it.
///
/// # Errors
/// As [`list`].
pub(super) async fn optional<T: Listed>(
    connection: &Connection,
    path_and_query: &str,
) -> Result<Option<List<T>>, RequestError> {
    match list(connection, path_and_query).await {
        Err(error @ (RequestError::NotFound { .. } | RequestError::Api { code: 404, .. })) => {
            let place = Place::of(path_and_query).ok_or_else(unknown)?;
            match serves(connection, &place).await? {
                true => Err(error),
                false => Ok(None),
            }
        }
        read => read.map(Some),
    }
}

/// Whether the server has the kind of the list at `path`.
///
/// # Errors
/// When it cannot be asked, or does not answer with a list of its kinds.
pub(super) async fn has(connection: &Connection, path: &str) -> Result<bool, RequestError> {
    serves(connection, &Place::of(path).ok_or_else(unknown)?).await
}

/// Whether the server has the kind of this place, by its own list of groups and kinds: a 404 may come from anybody on the
/// way.
///
/// # Errors
/// When it cannot be asked, or does not answer with such a list.
async fn serves(connection: &Connection, place: &Place<'_>) -> Result<bool, RequestError> {
    let (group, version) = place.asked.api_version.split_once('/').unwrap_or_default();
    let nonsense = |why: &str| RequestError::Nonsense(why.to_owned());
    let groups = read(connection, "/apis", "APIGroupList").await?;
    let groups = groups["groups"].as_array().ok_or_else(|| nonsense("it has no groups"))?;
    // Every server has these; a list without them is of something else.
    if !groups.iter().any(|known| known["name"] == "apps") {
        return Err(nonsense("it has not the group apps"));
    }
    let Some(known) = groups.iter().find(|known| known["name"] == group) else { return Ok(false) };
    let versions = known["versions"].as_array().ok_or_else(|| nonsense("a group has no versions"))?;
    if !versions.iter().any(|known| known["version"] == version) {
        return Ok(false);
    }
    let kinds = read(connection, &format!("/apis/{group}/{version}"), "APIResourceList").await?;
    if kinds["groupVersion"] != place.asked.api_version {
        return Err(nonsense("it is of another group"));
    }
    let kinds = kinds["resources"].as_array().ok_or_else(|| nonsense("it has no resources"))?;
    Ok(kinds.iter().any(|known| known["name"] == place.plural))
}

/// Reads one of the server's own lists.
async fn read(connection: &Connection, path: &str, kind: &str) -> Result<Value, RequestError> {
    let mut reply = connection.get(path, "application/json").await?;
    is_json(&mut reply)?;
    let value: Value = serde_json::from_slice(&reply.bytes().await?)
        .map_err(|_| RequestError::Nonsense("it is not JSON".to_owned()))?;
    if value["kind"] != kind {
        return Err(RequestError::Nonsense(format!("it is not an {kind}")));
    }
    Ok(value)
}

fn unknown() -> RequestError {
    RequestError::Nonsense("this is not the path of a list that is known here".to_owned())
}

/// Why pages were not read, and whether the first was.
struct Paged {
    error: RequestError,
    begun: bool,
}

/// Reads page after page, as long as there are no more objects than `most`; `None` if there are.
async fn pages<T: Listed>(
    connection: &Connection,
    path_and_query: &str,
    most: usize,
) -> Result<Option<List<T>>, Paged> {
    let mut begun = false;
    let _reading = connection.tally.list();
    let place = Place::of(path_and_query).ok_or_else(unknown);
    let place = place.map_err(|error| Paged { error, begun })?;
    let mut path = path_and_query.to_owned();
    let mut list = List::empty();
    let (mut tokens, mut empty, mut is_sorted) = (HashSet::new(), 0, true);
    loop {
        let page = page::<T>(connection, &path, place.asked).await;
        let page = page.map_err(|error| Paged { error, begun })?;
        let nonsense = |why: &str| Paged { error: RequestError::Nonsense(why.to_owned()), begun: true };
        if !begun {
            list.resource_version = page.metadata.resource_version;
        }
        let items = page.items.unwrap_or_default();
        empty = if items.is_empty() { empty + 1 } else { 0 };
        let more = !page.metadata.r#continue.is_empty();
        // A server gives them in the order in which etcd keeps them; one that does not is no worse.
        is_sorted &= follow(list.items.last().into_iter().chain(&items));
        if list.items.is_empty() {
            list.items = items;
        } else {
            list.items.extend(items);
        }
        if !is_sorted && has_one_twice(&list.items) {
            return Err(nonsense("an object is there twice"));
        }
        if list.items.len() > most || (more && list.items.len() == most) {
            return Ok(None);
        }
        if !more {
            list.items.shrink_to_fit();
            return Ok(Some(list));
        }
        begun = true;
        let token = page.metadata.r#continue;
        if empty > EMPTY_PAGES || !tokens.insert(token.clone()) {
            return Err(nonsense("its pages have no end"));
        }
        path = format!("{path_and_query}{}continue={}", and(path_and_query), super::place::encode(&token));
    }
}

/// The namespace and the name.
fn key<T: Listed>(item: &T) -> (&str, &str) {
    let Identity { namespace, name, .. } = item.identity();
    (namespace, name)
}

/// Whether each is after the one before it.
fn follow<'a, T: Listed>(items: impl Iterator<Item = &'a T>) -> bool {
    let mut last = None;
    items.map(key).all(|key| last.replace(key).is_none_or(|last| last < key))
}

fn has_one_twice<T: Listed>(items: &[T]) -> bool {
    let mut known = HashSet::new();
    !items.iter().all(|item| known.insert(key(item)))
}

async fn page<T: Listed>(
    connection: &Connection,
    path: &str,
    asked: Asked<'_>,
) -> Result<Page<T>, RequestError> {
    let (mut reply, form) = either(connection, path, T::IN_PROTOBUF).await?;
    let (pieces, arriving) = mpsc::channel(PENDING);
    let namespace = asked.namespace.map(str::to_owned);
    let Asked { kind, api_version, .. } = asked;
    let decoding = spawn_blocking(move || {
        let gauge = Gauge::default();
        let arriving =
            Arriving { pieces: arriving, piece: None, at: 0, gauge: Rc::clone(&gauge), all: Cell::new(0) };
        let reader = BufReader::with_capacity(WINDOW, arriving);
        let asked = Asked { kind, api_version, namespace: namespace.as_deref() };
        if form == Form::Protobuf {
            return protobuf::page::<T>(reader, asked, &gauge).map_err(|fault| {
                RequestError::Nonsense(match fault {
                    Fault::Read(error) => one_line(&error.to_string(), 200),
                    Fault::Nonsense(why) => why,
                })
            });
        }
        let mut text = serde_json::Deserializer::from_reader(reader);
        let page = PageOf::<T> { asked, gauge, of: PhantomData }.deserialize(&mut text);
        page.and_then(|page| text.end().map(|()| page)).map_err(|error| RequestError::garbled(&error))
    });
    while let Some(piece) = reply.chunk().await? {
        connection.tally.add_bytes(piece.len());
        if pieces.send(piece).await.is_err() {
            // The decoder has given up, and says why.
            break;
        }
    }
    drop(pieces);
    let decoded = decoding.await.map_err(|_| RequestError::Nonsense("it cannot be decoded".to_owned()))?;
    let page = decoded?;
    let of_list = page.kind.as_deref().and_then(|kind| kind.strip_suffix("List"));
    let of_list =
        of_list.or(page.kind.as_deref().map(|kind| if kind == asked.kind { "one object" } else { kind }));
    if let Some(why) = asked.differs(of_list, page.api_version.as_deref()) {
        return Err(RequestError::Nonsense(format!("it is not a {}List: {why}", asked.kind)));
    }
    if page.items.is_none() {
        return Err(RequestError::Nonsense("it has no items".to_owned()));
    }
    connection.tally.add_objects(page.items.as_ref().map_or(0, Vec::len));
    Ok(page)
}

/// The form of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

/// Starts to read a list, as protobuf where there is a choice: it is shorter, and what is not wanted is skipped by its length. A
/// server, or a gateway before it, that refuses to choose is not asked again.
async fn either(
    connection: &Connection,
    path: &str,
    in_protobuf: bool,
) -> Result<(Reply, Form), RequestError> {
    if in_protobuf && connection.takes_protobuf() {
        match connection.get(path, &format!("{}, application/json", protobuf::FORM)).await {
            Err(RequestError::Api { code: 406 | 415, .. }) => connection.refuses_protobuf(),
            Err(error) => return Err(error),
            Ok(reply) if form(&reply) == protobuf::FORM => return Ok((reply, Form::Protobuf)),
            Ok(mut reply) => return is_json(&mut reply).map(|()| (reply, Form::Json)),
        }
    }
    let mut reply = connection.get(path, "application/json").await?;
    is_json(&mut reply).map(|()| (reply, Form::Json))
}

fn form(reply: &Reply) -> String {
    reply.content_type().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// An answer in another form is none to this question. Some servers name no form.
pub(super) fn is_json(reply: &mut Reply) -> Result<(), RequestError> {
    match form(reply).as_str() {
        "" | "application/json" => Ok(()),
        _ => Err(RequestError::Nonsense("its Content-Type is not application/json".to_owned())),
    }
}

/// The pieces of a body as one text, for a thread that can wait for them.
struct Arriving<P> {
    pieces: Receiver<P>,
    piece: Option<P>,
    at: usize,
    gauge: Gauge,
    all: Cell<usize>,
}

impl<P: Deref<Target = [u8]>> Read for Arriving<P> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self.piece.as_deref().and_then(|piece| piece.get(self.at..)).unwrap_or_default();
            if !rest.is_empty() {
                let count = rest.len().min(buffer.len());
                if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
                    to.copy_from_slice(from);
                }
                self.at += count;
                self.gauge.set(self.gauge.get().saturating_add(count));
                self.all.set(self.all.get().saturating_add(count));
                if is_too_long(self.gauge.get()) || self.all.get() > LONGEST {
                    return Err(io::Error::other("it is longer than any real one"));
                }
                return Ok(count);
            }
            let Some(next) = self.pieces.blocking_recv() else { return Ok(0) };
            (self.piece, self.at) = (Some(next), 0);
        }
    }
}
