//! Stands between the program and the API server, and does something at its writes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::Namespace;

/// What happens to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It goes through.
    Pass,
    /// It never reaches the server, and nobody answers.
    Lose,
    /// It is done, and nobody answers.
    Mute,
}

/// A proxy in front of `kubectl proxy`.
pub struct Proxy {
    /// For `--server`.
    pub server: String,
    kubectl: Child,
    stopped: Arc<AtomicUsize>,
}

impl Proxy {
    /// Starts it; `at` is asked at each write, which it may hold up, with the number of writes before.
    pub fn of(ns: &Namespace, at: impl Fn(usize) -> Then + Send + Sync + 'static) -> Proxy {
        let mut command = ns.cluster.plane.kubectl();
        let mut kubectl = command
            .args(["proxy", "--port=0", "--reject-paths="])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut out = kubectl.stdout.take().unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        let upstream = String::from_utf8(line).unwrap().rsplit(' ').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let stopped = Arc::new(AtomicUsize::new(0));
        let (at, count, flag) = (Arc::new(at), Arc::new(AtomicUsize::new(0)), Arc::clone(&stopped));
        // Both end with the process: the threads hold nothing that has to be given back.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (upstream, at, count, flag) =
                    (upstream.clone(), Arc::clone(&at), Arc::clone(&count), Arc::clone(&flag));
                std::thread::spawn(move || {
                    let _ = serve(client, &upstream, &*at, &count, &flag);
                });
            }
        });
        Proxy { server, kubectl, stopped }
    }

    /// Whether a write was lost or muted.
    pub fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst) > 0
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

fn serve(
    mut client: TcpStream,
    upstream: &str,
    at: &(dyn Fn(usize) -> Then + Send + Sync),
    count: &AtomicUsize,
    stopped: &AtomicUsize,
) -> std::io::Result<()> {
    let mut server = TcpStream::connect(upstream)?;
    let back = (server.try_clone()?, client.try_clone()?);
    let muted = Arc::new(AtomicUsize::new(0));
    let mute = Arc::clone(&muted);
    let answered = Arc::new(AtomicUsize::new(0));
    let answers = Arc::clone(&answered);
    std::thread::spawn(move || {
        let (mut from, mut to) = back;
        let mut buffer = [0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            answers.fetch_add(1, Ordering::SeqCst);
            if mute.load(Ordering::SeqCst) == 0 && to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
    let mut buffer = Vec::new();
    loop {
        let Some(request) = request(&mut client, &mut buffer)? else { return Ok(()) };
        let head = String::from_utf8_lossy(&request[..request.len().min(400)]).into_owned();
        let reads = head.starts_with("GET ") || head.contains("selfsubjectaccessreviews");
        let then = if reads { Then::Pass } else { at(count.fetch_add(1, Ordering::SeqCst)) };
        if then == Then::Mute {
            muted.store(1, Ordering::SeqCst);
        }
        if then != Then::Lose {
            let before = answered.load(Ordering::SeqCst);
            server.write_all(&request)?;
            while then == Then::Mute && answered.load(Ordering::SeqCst) == before {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
        if then != Then::Pass {
            stopped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// The next request, with its body; `None` at the end.
fn request(client: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    let mut piece = [0; 16 * 1024];
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let total = end + 4 + length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            if buffer.len() >= total {
                return Ok(Some(buffer.drain(..total).collect()));
            }
        }
        match client.read(&mut piece)? {
            0 => return Ok(None),
            read => buffer.extend_from_slice(&piece[..read]),
        }
    }
}
