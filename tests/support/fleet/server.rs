//! The API server: lists, objects, discovery and version, and a note of every request.

use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::data::{DataSet, NOW};
use super::faults::{Choose, Fault};
use super::http::{self, Content, Stream};
use super::kinds::{KINDS, Kind};
use super::link::Link;
use super::store::{Form, Include, Query, RESOURCE_VERSION, Store};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// Answers shorter than this are not compressed (apiserver `endpoints/handlers/responsewriters/writers.go`).
const WORTH_COMPRESSING: u64 = 128 * 1024;

/// What kind of server it is.
#[derive(Clone)]
pub struct Options {
    pub tls: bool,
    /// Whether it can answer in protobuf.
    pub protobuf: bool,
    /// Before each answer.
    pub latency: Duration,
    /// Bytes in a second, of all answers together.
    pub bandwidth: Option<u64>,
    /// Most objects of an answer, even if no limit is asked for.
    pub page: Option<usize>,
    pub faults: Option<Arc<Choose>>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            tls: false,
            protobuf: true,
            latency: Duration::ZERO,
            bandwidth: None,
            page: None,
            faults: None,
        }
    }
}

/// A request, and what was sent for it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// Decoded.
    pub query: Vec<(String, String)>,
    pub accept: String,
    pub status: u16,
    pub content_type: String,
    pub is_compressed: bool,
    /// Head and body, before TLS.
    pub bytes: u64,
}

impl Request {
    pub fn get(&self, key: &str) -> &str {
        self.query.iter().find(|known| known.0 == key).map_or("", |known| &known.1)
    }

    /// Whether it is for a list, or for a page of one.
    pub fn is_list(&self) -> bool {
        place(&self.path).is_some_and(|place| place.name.is_empty())
    }

    /// Whether it is for the log of a container.
    pub fn is_log(&self) -> bool {
        self.path.ends_with("/log")
    }

    /// Whether it is for one object.
    pub fn is_object(&self) -> bool {
        place(&self.path).is_some_and(|place| !place.name.is_empty())
    }
}

struct Shared {
    data: Arc<DataSet>,
    options: Options,
    link: Link,
    requests: Mutex<Vec<Request>>,
    has_ended: AtomicBool,
}

/// A server on a port of its own; it ends with the value.
pub struct Server {
    /// As in `http://127.0.0.1:40123`.
    pub address: String,
    port: u16,
    shared: Arc<Shared>,
}

impl Server {
    /// # Panics
    /// If there is no port.
    pub fn start(data: &Arc<DataSet>, options: Options) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("a port").port();
        let scheme = if options.tls { "https" } else { "http" };
        let link = Link::new(options.latency, options.bandwidth);
        let tls = options.tls.then(http::tls);
        let shared = Arc::new(Shared {
            data: Arc::clone(data),
            options,
            link,
            requests: Mutex::default(),
            has_ended: AtomicBool::new(false),
        });
        let server =
            Server { address: format!("{scheme}://127.0.0.1:{port}"), port, shared: Arc::clone(&shared) };
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if shared.has_ended.load(Ordering::Relaxed) {
                    return;
                }
                let _ = socket.set_nodelay(true);
                let (shared, tls) = (Arc::clone(&shared), tls.clone());
                thread::spawn(move || {
                    let stream = match tls {
                        None => Stream::Plain(socket),
                        Some(tls) => {
                            let Ok(connection) = rustls::ServerConnection::new(tls) else { return };
                            Stream::Tls(Box::new(rustls::StreamOwned::new(connection, socket)))
                        }
                    };
                    serve(&shared, stream);
                });
            }
        });
        server
    }

    /// Takes what was asked for since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.shared.requests.lock().expect("no one failed"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::Relaxed);
        // The thread that accepts looks at it when someone comes.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(shared: &Shared, stream: Stream) {
    let mut reader = BufReader::new(stream);
    while let Some(head) = http::read_head(&mut reader) {
        thread::sleep(shared.link.latency);
        let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
        let mut request = Request {
            method: head.method,
            path: path.to_owned(),
            query: decoded(query),
            accept: head.accept,
            ..Request::default()
        };
        let fault = {
            let requests = shared.requests.lock().expect("no one failed");
            let before = requests.iter().filter(|known| known.path == request.path).count();
            shared.options.faults.as_ref().map_or(Fault::None, |choose| choose(&request, before))
        };
        let answer = answer(shared, &request, head.takes_gzip, fault);
        request.status = answer.status;
        answer.content_type.clone_into(&mut request.content_type);
        request.is_compressed = answer.is_compressed;
        let length = answer.content.len();
        let date: Timestamp = NOW.parse().expect("a time");
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT");
        let mut lines = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {length}\r\nDate: {date}\r\nCache-Control: no-cache, \
             private\r\n",
            answer.status,
            reason(answer.status),
            shown_type(answer.content_type, fault)
        );
        if answer.is_compressed {
            lines += "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n";
        }
        if let Fault::Busy(seconds) = fault {
            lines += &format!("Retry-After: {seconds}\r\n");
        }
        lines += "\r\n";
        let is_cut = fault == Fault::Cut;
        let most = if is_cut { length / 2 } else { length };
        // Noted before it is sent, so that whoever has the answer finds its request here.
        request.bytes = lines.len() as u64 + most;
        shared.requests.lock().expect("no one failed").push(request);
        let sent = http::send(reader.get_mut(), &shared.link, &lines, &answer.content, most);
        if is_cut || sent.is_err() {
            reader.get_mut().end();
            return;
        }
    }
}

fn shown_type(content_type: &'static str, fault: Fault) -> &'static str {
    match (fault, content_type) {
        (Fault::Mislabelled, PROTOBUF) => JSON,
        (Fault::Mislabelled, JSON) => PROTOBUF,
        _ => content_type,
    }
}

struct Answer {
    status: u16,
    content_type: &'static str,
    content: Content,
    is_compressed: bool,
}

impl Answer {
    fn json(status: u16, value: &Value) -> Answer {
        let content = Content::Bytes(Arc::new(format!("{value}\n").into_bytes()));
        Answer { status, content_type: JSON, content, is_compressed: false }
    }

    fn refusal(status: u16, message: &str) -> Answer {
        let reason = match status {
            400 => "BadRequest",
            404 => "NotFound",
            405 => "MethodNotAllowed",
            406 => "NotAcceptable",
            410 => "Expired",
            429 => "TooManyRequests",
            _ => "",
        };
        Answer::json(
            status,
            &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                "reason": reason, "code": status}),
        )
    }
}

fn answer(shared: &Shared, request: &Request, takes_gzip: bool, fault: Fault) -> Answer {
    match fault {
        Fault::Busy(_) => return Answer::refusal(429, "too many requests, please try again later"),
        Fault::Gone => return Answer::refusal(410, "The provided continue parameter is too old"),
        Fault::Unacceptable if request.accept.contains(PROTOBUF) => {
            return Answer::refusal(406, "only the following media types are accepted: application/json");
        }
        _ => {}
    }
    if request.method != "GET" || request.get("watch") == "true" {
        return Answer::refusal(405, "the server does not allow this method on the requested resource");
    }
    if let Some(found) = discovery(&request.path) {
        return Answer::json(200, &found);
    }
    if request.is_log() {
        let content = Content::Bytes(Arc::new(b"FATAL: the data directory is not empty\n".to_vec()));
        return Answer { status: 200, content_type: "text/plain", content, is_compressed: false };
    }
    let Some(place) = place(&request.path) else {
        return Answer::refusal(404, "the server could not find the requested resource");
    };
    let has_protobuf = shared.options.protobuf && fault != Fault::Strip && !place.kind.message.is_empty();
    let Some(form) = form(&request.accept, request.get("includeObject"), has_protobuf) else {
        return Answer::refusal(406, "only the following media types are accepted: application/json");
    };
    match place.name {
        "" => list(shared, request, &place, form, takes_gzip),
        _ => object(shared, &place, form),
    }
}

fn list(shared: &Shared, request: &Request, place: &Place<'_>, form: Form, takes_gzip: bool) -> Answer {
    let query = Query {
        plural: place.kind.plural,
        namespace: place.namespace.to_owned(),
        labels: request.get("labelSelector").to_owned(),
        fields: request.get("fieldSelector").to_owned(),
        form,
    };
    let store = &shared.data.store;
    let items = match store.view(&query) {
        Ok(items) => items,
        Err(message) => return Answer::refusal(400, &message),
    };
    let token = request.get("continue");
    let from_cache = request.get("resourceVersion") == "0" && token.is_empty();
    // Without a token, resourceVersion=0 means all of it (apiserver `storage/cacher/delegator.go`).
    let limit = request.get("limit").parse().ok().filter(|limit| *limit > 0 && !from_cache);
    let limit = limit.into_iter().chain(shared.options.page).min().unwrap_or(usize::MAX);
    let start = match token.strip_prefix(&format!("{RESOURCE_VERSION}.")).map(str::parse) {
        Some(Ok(start)) if start <= items.len() => start,
        None if token.is_empty() => 0,
        _ => return Answer::refusal(400, "continue key is not valid"),
    };
    let end = start.saturating_add(limit).min(items.len());
    let next = (end < items.len()).then(|| format!("{RESOURCE_VERSION}.{end}"));
    let body = Store::body(&query, &items, (start, end), next.as_deref());
    let is_compressed = takes_gzip && body.len() > WORTH_COMPRESSING;
    let content = match is_compressed {
        true => Content::Bytes(store.compressed(&query, (start, end), &body)),
        false => Content::File(body),
    };
    let content_type = if form.is_protobuf() { PROTOBUF } else { JSON };
    Answer { status: 200, content_type, content, is_compressed }
}

/// One object, in JSON.
fn object(shared: &Shared, place: &Place<'_>, form: Form) -> Answer {
    let form = if matches!(form, Form::Table(_)) { form } else { Form::Json };
    let query = Query {
        plural: place.kind.plural,
        namespace: place.namespace.to_owned(),
        labels: String::new(),
        fields: format!("metadata.name={}", place.name),
        form,
    };
    let store = &shared.data.store;
    let items = store.view(&query).expect("a name is supported");
    if items.len() == 0 {
        let message = format!("{} \"{}\" not found", place.kind.plural, place.name);
        return Answer::refusal(404, &message);
    }
    let body = Store::body(&query, &items, (0, 1), None);
    if form != Form::Json {
        let content = Content::File(body);
        return Answer { status: 200, content_type: JSON, content, is_compressed: false };
    }
    let text = std::fs::read(&body.path).expect("a file");
    let mut object: Value = serde_json::from_slice(&text[1..]).expect("an object");
    object["kind"] = place.kind.kind.into();
    object["apiVersion"] = place.kind.api_version.into();
    Answer::json(200, &object)
}

/// The first form of the `Accept` header that the server has; `None`: it has none of them.
fn form(accept: &str, include: &str, has_protobuf: bool) -> Option<Form> {
    let accept = if accept.is_empty() { JSON } else { accept };
    accept.split(',').find_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let shown = parts.find_map(|part| part.strip_prefix("as="));
        let protobuf = media == PROTOBUF;
        if (protobuf && !has_protobuf) || ![PROTOBUF, JSON, "*/*", "application/*"].contains(&media) {
            return None;
        }
        match shown {
            None if protobuf => Some(Form::Protobuf),
            None => Some(Form::Json),
            Some("PartialObjectMetadataList") if protobuf => Some(Form::MetaProtobuf),
            Some("PartialObjectMetadataList") => Some(Form::MetaJson),
            // There is no table in protobuf.
            Some("Table") if !protobuf => Some(Form::Table(match include {
                "None" => Include::None,
                "Object" => Include::Object,
                _ => Include::Metadata,
            })),
            Some(_) => None,
        }
    })
}

struct Place<'a> {
    kind: &'static Kind,
    namespace: &'a str,
    /// Empty: a list.
    name: &'a str,
}

fn place(path: &str) -> Option<Place<'_>> {
    KINDS.iter().find_map(|kind| {
        let rest = path.strip_prefix(&kind.prefix())?.strip_prefix('/')?;
        let (namespace, rest) = match rest.strip_prefix("namespaces/").and_then(|rest| rest.split_once('/')) {
            Some((namespace, rest)) if kind.is_namespaced => (namespace, rest),
            _ => ("", rest),
        };
        let name = rest.strip_prefix(kind.plural)?;
        let name = if name.is_empty() { name } else { name.strip_prefix('/')? };
        (!name.contains('/')).then_some(Place { kind, namespace, name })
    })
}

/// Unaggregated discovery, and the version.
fn discovery(path: &str) -> Option<Value> {
    if path == "/version" {
        return Some(
            json!({"major": "1", "minor": "34", "gitVersion": "v1.34.2", "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "2025-11-11T19:04:49Z", "goVersion": "go1.24.9", "compiler": "gc", "platform": "linux/amd64"}),
        );
    }
    let mut groups: Vec<&str> =
        KINDS.iter().map(|kind| kind.api_version).filter(|version| version.contains('/')).collect();
    groups.dedup();
    match path {
        "/api" => Some(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})),
        "/apis" => {
            let groups = groups.iter().map(|version| {
                let (name, short) = version.split_once('/').expect("a group and a version");
                let version = json!({"groupVersion": version, "version": short});
                json!({"name": name, "versions": [version], "preferredVersion": version})
            });
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups.collect::<Vec<_>>()}))
        }
        _ => {
            let of_group: Vec<&Kind> = KINDS.iter().filter(|kind| kind.prefix() == path).collect();
            let api_version = of_group.first()?.api_version;
            let kinds = of_group.iter().map(|kind| {
                let mut found = json!({"name": kind.plural, "singularName": kind.kind.to_lowercase(),
                    "namespaced": kind.is_namespaced, "kind": kind.kind, "verbs": ["get", "list", "watch"]});
                if !kind.short.is_empty() {
                    found["shortNames"] = json!([kind.short]);
                }
                found
            });
            Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version,
                "resources": kinds.collect::<Vec<_>>()}))
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        404 => "Not Found",
        410 => "Gone",
        429 => "Too Many Requests",
        _ => "Bad Request",
    }
}

/// The parameters of a query.
fn decoded(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let bytes = text.as_bytes();
        let mut out = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let hex = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
            match (bytes[at], hex) {
                (b'%', Some(byte)) => {
                    out.push(byte);
                    at += 2;
                }
                (b'+', _) => out.push(b' '),
                (byte, _) => out.push(byte),
            }
            at += 1;
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(k, v)| (decode(k), decode(v)))
        .collect()
}
