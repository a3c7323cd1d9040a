//! A way to the API server that a test can cut: a TCP forwarder in front of `kubectl proxy`, which adds the credentials.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use super::Cluster;

/// A forwarder on `http://127.0.0.1:PORT`; it ends with the test.
pub struct Proxy {
    /// What to give as `--server`.
    pub server: String,
    kubectl: Child,
    down: Arc<AtomicBool>,
    gate: Arc<Gate>,
    open: Arc<Mutex<Vec<TcpStream>>>,
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
    fn pass(&self, bytes: &[u8]) {
        let mut held = self.held.lock().unwrap();
        while held.as_ref().is_some_and(|start| bytes.starts_with(start.as_bytes())) {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            held = self.opened.wait(held).unwrap();
        }
    }
}

impl Proxy {
    /// Starts it for this cluster.
    pub fn start(cluster: &Cluster) -> Proxy {
        let mut kubectl = cluster
            .plane
            .kubectl()
            .args(["proxy", "--port=0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(kubectl.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let upstream = line.trim().rsplit(' ').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let down = Arc::new(AtomicBool::new(false));
        let open = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(Gate::default());
        let at = Arc::clone(&gate);
        let (is_down, connections) = (Arc::clone(&down), Arc::clone(&open));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&upstream) else { continue };
                if is_down.load(Ordering::SeqCst) {
                    let _ = client.shutdown(Shutdown::Both);
                    continue;
                }
                let mut all = connections.lock().unwrap();
                all.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                drop(all);
                pump(client.try_clone().unwrap(), server.try_clone().unwrap(), Some(Arc::clone(&at)));
                pump(server, client, None);
            }
        });
        Proxy { server, kubectl, down, gate, open }
    }

    /// Cuts all connections, and refuses new ones until [`Proxy::mend`].
    pub fn cut(&self) {
        self.down.store(true, Ordering::SeqCst);
        for connection in self.open.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Holds requests that begin so, such as `DELETE `, until [`Proxy::release`].
    pub fn hold(&self, start: &str) {
        *self.gate.held.lock().unwrap() = Some(start.to_owned());
    }

    /// How many requests are held.
    pub fn held(&self) -> usize {
        self.gate.waiting.load(Ordering::SeqCst)
    }

    /// Lets the requests held through, and all others.
    pub fn release(&self) {
        *self.gate.held.lock().unwrap() = None;
        self.gate.opened.notify_all();
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.down.store(false, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, gate: Option<Arc<Gate>>) {
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        while let Ok(count) = from.read(&mut buffer) {
            if let Some(gate) = &gate {
                gate.pass(&buffer[..count]);
            }
            if count == 0 || to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
