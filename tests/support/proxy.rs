//! A way to the API server that a test can bend: requests that are held, lost, or answered without being done;
//! connections that break; and one kind's watch or list that is late, repeats itself, or breaks again and again.
//!
//! Whatever is not bent passes byte for byte.

mod connection;
mod http;
mod upstream;

use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

pub use upstream::Upstream;

use super::{Cluster, Namespace, PATIENCE};

/// What happens to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It goes through.
    Pass,
    /// It never reaches the server, and nobody answers.
    Lose,
    /// It is done, and nobody answers.
    Mute,
    /// It never reaches the server, and is answered with success and the object as it is.
    Pretend,
    /// It never reaches the server, and is answered with success and `{}`.
    Blank,
}

/// What happens to the answers about one kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bend {
    /// So late is each event of a watch.
    pub events: Duration,
    /// So late is the answer to a list.
    pub list: Duration,
    /// Each event of a watch comes twice.
    pub twice: bool,
    /// Each watch breaks after an event.
    pub cut: bool,
}

/// What is answered to each request for a log.
#[derive(Clone, Debug)]
pub enum LogAnswer {
    /// This log.
    Whole(Vec<u8>),
    /// These bytes, and no end of them.
    Endless(Vec<u8>),
    /// A refusal, with its code and its message.
    Refused(u16, &'static str),
    /// No answer.
    Nothing,
    /// That of the server, asked so much later.
    Late(Duration),
    /// So much later, of the current run nothing, as it has just begun, and of the one before what the server says.
    Begun(Duration),
}

/// A forwarder on `http://127.0.0.1:PORT` in front of a `kubectl proxy`; it ends with the value.
pub struct Proxy {
    /// What to give as `--server`.
    pub server: String,
    shared: Arc<Shared>,
}

/// What is asked for.
struct Asked {
    method: String,
    /// Without the query.
    path: String,
    query: String,
    /// As in `statefulsets`.
    resource: String,
    name: String,
    subresource: String,
}

impl Asked {
    fn of(method: &str, target: &str) -> Asked {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
        words.drain(..words.len().min(if path.starts_with("/apis/") { 3 } else { 2 }));
        if words.len() > 2 && words[0] == "namespaces" {
            words.drain(..2);
        }
        let word = |index: usize| words.get(index).copied().unwrap_or_default().to_owned();
        Asked {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            resource: word(0),
            name: word(1),
            subresource: word(2),
        }
    }

    fn is_write(&self) -> bool {
        self.method != "GET" && self.resource != "selfsubjectaccessreviews"
    }
}

/// Asked at each write, with the number of writes before.
type AtWrite = Box<dyn Fn(usize) -> Then + Send + Sync>;

struct Shared {
    upstream: Arc<Upstream>,
    is_down: AtomicBool,
    has_ended: AtomicBool,
    gate: Gate,
    open: Mutex<Vec<TcpStream>>,
    at: AtWrite,
    writes: Mutex<Vec<String>>,
    stopped: AtomicUsize,
    bent: Vec<(String, Bend)>,
    logs: Mutex<Option<LogAnswer>>,
    /// What is answered to a GET of a path, instead of the server.
    own: Mutex<Vec<(String, Vec<u8>)>>,
    json_only: AtomicBool,
    in_protobuf: AtomicUsize,
}

impl Shared {
    /// Counts the requests for protobuf, or makes one for JSON of it.
    fn accept(&self, request: Vec<u8>) -> Vec<u8> {
        const BOTH: &[u8] = b"application/vnd.kubernetes.protobuf, application/json";
        let Some(at) = request.windows(BOTH.len()).position(|part| part == BOTH) else { return request };
        if !self.json_only.load(Ordering::SeqCst) {
            self.in_protobuf.fetch_add(1, Ordering::SeqCst);
            return request;
        }
        [&request[..at], b"application/json", &request[at + BOTH.len()..]].concat()
    }

    fn write(&self, asked: &Asked) -> Then {
        let Asked { method, resource, name, query, .. } = asked;
        let before = {
            let mut writes = self.writes.lock().unwrap();
            let dry = if query.contains("dryRun") { " (dry run)" } else { "" };
            writes.push(format!("{method} {resource} {name}{dry}"));
            writes.len() - 1
        };
        (self.at)(before)
    }

    fn stop(&self) {
        self.stopped.fetch_add(1, Ordering::SeqCst);
    }

    /// What a test answers in the place of the server.
    fn own(&self, asked: &Asked) -> Option<Vec<u8>> {
        let own = self.own.lock().unwrap();
        let mut same = own.iter().filter(|(path, _)| asked.method == "GET" && *path == asked.path);
        same.next().map(|(_, bytes)| bytes.clone())
    }

    /// How the answer to a request is bent: the events of a watch, or the answer to a list.
    fn bend(&self, asked: &Asked) -> Bend {
        let bent = self.bent.iter().find(|(resource, _)| *resource == asked.resource);
        let Some((_, bend)) = bent.filter(|_| asked.method == "GET" && asked.name.is_empty()) else {
            return Bend::default();
        };
        match asked.query.split('&').any(|part| matches!(part, "watch=true" | "watch=1")) {
            true => Bend { list: Duration::ZERO, ..*bend },
            false => Bend { list: bend.list, ..Bend::default() },
        }
    }
}

/// What holds requests back.
#[derive(Default)]
struct Gate {
    /// The beginning of the requests that are held; `None` lets all through.
    held: Mutex<Option<String>>,
    opened: Condvar,
    waiting: AtomicUsize,
}

impl Gate {
    fn pass(&self, request: &[u8]) {
        let mut held = self.held.lock().unwrap();
        while held.as_ref().is_some_and(|start| request.starts_with(start.as_bytes())) {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            held = self.opened.wait(held).unwrap();
        }
    }
}

impl Proxy {
    /// Starts it for this cluster.
    pub fn start(cluster: &Cluster) -> Proxy {
        Self::new(Upstream::of(cluster), Box::new(|_| Then::Pass), Vec::new())
    }

    /// Starts it; `at` is asked at each write, which it may hold up, with the number of writes before.
    pub fn of(ns: &Namespace, at: impl Fn(usize) -> Then + Send + Sync + 'static) -> Proxy {
        Self::new(Upstream::of(ns.cluster), Box::new(at), Vec::new())
    }

    /// Starts it; the answers about these resources, such as `statefulsets`, are bent.
    pub fn bent(upstream: &Arc<Upstream>, bent: &[(&str, Bend)]) -> Proxy {
        let bent = bent.iter().map(|(resource, bend)| ((*resource).to_owned(), *bend)).collect();
        Self::new(Arc::clone(upstream), Box::new(|_| Then::Pass), bent)
    }

    fn new(upstream: Arc<Upstream>, at: AtWrite, bent: Vec<(String, Bend)>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            upstream,
            is_down: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            gate: Gate::default(),
            open: Mutex::default(),
            at,
            writes: Mutex::default(),
            stopped: AtomicUsize::new(0),
            bent,
            logs: Mutex::default(),
            own: Mutex::default(),
            json_only: AtomicBool::new(false),
            in_protobuf: AtomicUsize::new(0),
        });
        let all = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if all.has_ended.load(Ordering::SeqCst) {
                    return;
                }
                if all.is_down.load(Ordering::SeqCst) {
                    let _ = client.shutdown(Shutdown::Both);
                    continue;
                }
                let all = Arc::clone(&all);
                thread::spawn(move || {
                    let _ = connection::serve(client, &all);
                });
            }
        });
        Proxy { server, shared }
    }

    /// Cuts all connections, and refuses new ones until [`Proxy::mend`].
    pub fn cut(&self) {
        self.shared.is_down.store(true, Ordering::SeqCst);
        for connection in self.shared.open.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.shared.is_down.store(false, Ordering::SeqCst);
    }

    /// Holds requests that begin so, such as `DELETE `, until [`Proxy::release`].
    pub fn hold(&self, start: &str) {
        *self.shared.gate.held.lock().unwrap() = Some(start.to_owned());
    }

    /// How many requests are held.
    pub fn held(&self) -> usize {
        self.shared.gate.waiting.load(Ordering::SeqCst)
    }

    /// Lets the requests held through, and all others.
    pub fn release(&self) {
        *self.shared.gate.held.lock().unwrap() = None;
        self.shared.gate.opened.notify_all();
    }

    /// Answers requests for logs like this from now on; `None` leaves that to the server.
    pub fn answer_logs(&self, answer: Option<LogAnswer>) {
        *self.shared.logs.lock().unwrap() = answer;
    }

    /// Answers a GET of this path, without its query, with this object from now on.
    pub fn answer(&self, path: &str, object: &serde_json::Value) {
        let bytes = http::json("200 OK", object.to_string().as_bytes());
        let mut own = self.shared.own.lock().unwrap();
        own.retain(|(known, _)| known != path);
        own.push((path.to_owned(), bytes));
    }

    /// Lets the server know of no client that understands protobuf.
    pub fn strip_protobuf(&self, strip: bool) {
        self.shared.json_only.store(strip, Ordering::SeqCst);
    }

    /// How many requests for protobuf went through.
    pub fn lists_in_protobuf(&self) -> usize {
        self.shared.in_protobuf.load(Ordering::SeqCst)
    }

    /// Whether a write was lost, muted or only pretended.
    pub fn has_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::SeqCst) > 0
    }

    /// Every write so far, as in `PATCH statefulsets web`.
    pub fn writes(&self) -> Vec<String> {
        self.shared.writes.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.has_ended.store(true, Ordering::SeqCst);
        self.release();
        self.cut();
        // Wakes the listener, which then sees that it is over.
        let _ = TcpStream::connect(self.server.trim_start_matches("http://"));
    }
}

/// Runs through a proxy that stops at a write, and kills the program there. False if it ended by itself before.
pub fn killed(ns: &Namespace, args: &[&str], write: usize, then: Then) -> bool {
    let proxy = Proxy::of(ns, move |count| if count == write { then } else { Then::Pass });
    let mut command = ns.sts_command(args);
    command.args(["--server", &proxy.server]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    ns.wait("the write, or the end", PATIENCE, || {
        if proxy.has_stopped() {
            child.kill().unwrap();
            child.wait().unwrap();
            return Ok(true);
        }
        child.try_wait().unwrap().map_or(Err("it runs".to_owned()), |status| {
            assert!(status.success(), "{args:?} ends with {status}");
            Ok(false)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::Asked;

    #[test]
    fn paths_are_understood() {
        for (target, expected) in [
            ("/api/v1/namespaces/a/pods?watch=true", ["pods", "", ""]),
            ("/apis/apps/v1/namespaces/a/statefulsets/web?fieldManager=x", ["statefulsets", "web", ""]),
            ("/api/v1/namespaces/a/pods/web-0/eviction", ["pods", "web-0", "eviction"]),
            ("/api/v1/persistentvolumes", ["persistentvolumes", "", ""]),
            ("/api/v1/namespaces/a", ["namespaces", "a", ""]),
            ("/apis", ["", "", ""]),
            ("/version", ["", "", ""]),
        ] {
            let asked = Asked::of("GET", target);
            assert_eq!([&asked.resource, &asked.name, &asked.subresource], expected, "{target}");
        }
        assert!(!Asked::of("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews").is_write());
        assert!(Asked::of("DELETE", "/api/v1/namespaces/a/pods/b").is_write());
    }
}
