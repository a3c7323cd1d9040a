//! One connection through the proxy: requests one way, answers the other, and answers that take their time.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::http::{self, Head, Piece};
use super::{Asked, Bend, LogAnswer, Shared, Then};

/// What the client is to get for a request.
enum Exchange {
    /// What the server answers, bent like this.
    Server(Bend),
    /// What the server answers, without a word to the client; what it was is noted when it came.
    Muted,
    /// These bytes.
    Own(Vec<u8>),
}

/// Bytes for the client, not before this instant; none of them end the connection.
type Due = (Instant, Option<Vec<u8>>);

/// Serves a client until either side ends.
pub(super) fn serve(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let server = TcpStream::connect(&shared.upstream.address)?;
    // An answer and the next request cross, and each is small: waiting for more to send makes them late.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    shared.open.lock().unwrap().extend([client.try_clone()?, server.try_clone()?]);
    let (exchanges, asked) = channel();
    let (pieces, due) = channel();
    let (from, to) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || send(&due, to));
    let answering = Arc::clone(shared);
    thread::spawn(move || {
        let _ = answer(from, &asked, &pieces, &answering);
        let _ = pieces.send((Instant::now(), None));
    });
    let ended = requests(&client, &server, &exchanges, shared);
    let _ = server.shutdown(Shutdown::Both);
    ended
}

/// Passes the client's requests on, or answers them.
fn requests(
    client: &TcpStream,
    mut server: &TcpStream,
    exchanges: &Sender<Exchange>,
    shared: &Shared,
) -> io::Result<()> {
    let mut from = BufReader::new(client);
    while let Some(head) = Head::read(&mut from)? {
        let mut request = head.bytes.clone();
        http::body(&mut from, head.request_length(), |piece| {
            request.extend(piece.bytes);
            Ok(())
        })?;
        let request = shared.accept(request);
        shared.gate.pass(&request);
        let asked = Asked::of(head.method(), head.target());
        let log = shared.logs.lock().unwrap().clone().filter(|_| asked.subresource == "log");
        let is_previous = head.target().contains("previous=true");
        let (late, is_server) = match log {
            Some(LogAnswer::Late(by)) => (by, true),
            Some(LogAnswer::Begun(by)) if !is_previous => (by, false),
            Some(LogAnswer::Begun(_)) => (Duration::ZERO, true),
            _ => (Duration::ZERO, false),
        };
        thread::sleep(late);
        if is_server {
            // It goes on to the server.
        } else if let Some(answer) = log {
            if let Some(bytes) = log_bytes(answer)
                && exchanges.send(Exchange::Own(bytes)).is_err()
            {
                return Ok(());
            }
            continue;
        }
        if let Some(bytes) = shared.own(&asked) {
            if exchanges.send(Exchange::Own(bytes)).is_err() {
                return Ok(());
            }
            continue;
        }
        let then = if asked.is_write() { shared.write(&asked) } else { Then::Pass };
        let exchange = match then {
            Then::Pass => Exchange::Server(shared.bend(&asked)),
            Then::Mute => Exchange::Muted,
            Then::Lose => {
                shared.stop();
                continue;
            }
            Then::Pretend | Then::Blank => {
                shared.stop();
                Exchange::Own(pretence(&asked, then, shared)?)
            }
        };
        let is_ours = matches!(exchange, Exchange::Own(_));
        if exchanges.send(exchange).is_err() {
            return Ok(());
        }
        if !is_ours {
            server.write_all(&request)?;
        }
        if head.header("upgrade").is_some() {
            io::copy(&mut from, &mut server)?;
            return Ok(());
        }
    }
    Ok(())
}

/// The answer to a request for a log; `None` is none.
fn log_bytes(answer: LogAnswer) -> Option<Vec<u8>> {
    let head = |length: &str| format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{length}\r\n\r\n");
    match answer {
        LogAnswer::Whole(log) => {
            Some([head(&format!("Content-Length: {}", log.len())).as_bytes(), &log].concat())
        }
        // The chunk that would be the last one never comes.
        LogAnswer::Endless(log) => {
            Some([head("Transfer-Encoding: chunked").as_bytes(), &http::chunked(&log)].concat())
        }
        LogAnswer::Refused(code, message) => {
            let status = serde_json::json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "InternalError",
                "message": message, "code": code,
            });
            Some(http::json(&format!("{code} Refused"), status.to_string().as_bytes()))
        }
        LogAnswer::Begun(_) => Some(head("Content-Length: 0").into_bytes()),
        LogAnswer::Nothing | LogAnswer::Late(_) => None,
    }
}

/// The answer to a write that was never done: as if it had been, or nothing at all.
fn pretence(asked: &Asked, then: Then, shared: &Shared) -> io::Result<Vec<u8>> {
    if then == Then::Blank {
        return Ok(http::json("200 OK", b"{}"));
    }
    if asked.subresource == "eviction" {
        let done = br#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":201}"#;
        return Ok(http::json("201 Created", done));
    }
    let (_, object) = shared.upstream.send("GET", &asked.path, "application/json", "")?;
    Ok(http::json("200 OK", &object))
}

/// Passes the answers on, in the order of the requests.
fn answer(
    server: TcpStream,
    exchanges: &Receiver<Exchange>,
    pieces: &Sender<Due>,
    shared: &Shared,
) -> io::Result<()> {
    let gone = |_| io::Error::other("the client is gone");
    let put = |due: Instant, bytes: Vec<u8>| pieces.send((due, Some(bytes))).map_err(gone);
    let mut from = BufReader::new(server);
    while let Ok(exchange) = exchanges.recv() {
        let bend = match exchange {
            Exchange::Own(bytes) => {
                put(Instant::now(), bytes)?;
                continue;
            }
            Exchange::Muted => {
                let Some(head) = Head::read(&mut from)? else { return Ok(()) };
                http::body(&mut from, head.response_length(), |_| Ok(()))?;
                shared.stop();
                continue;
            }
            Exchange::Server(bend) => bend,
        };
        let Some(head) = Head::read(&mut from)? else { return Ok(()) };
        let (status, length) = (head.status(), head.response_length());
        put(Instant::now() + bend.list, head.bytes)?;
        if status == 101 {
            let mut buffer = [0; 16 * 1024];
            while let count @ 1.. = from.read(&mut buffer)? {
                put(Instant::now(), buffer[..count].to_vec())?;
            }
            return Ok(());
        }
        let mut lines = Lines::default();
        http::body(&mut from, length, |piece| {
            let due = Instant::now() + bend.list + bend.events;
            if !(bend.twice || bend.cut) || piece.content.is_empty() {
                return put(due, piece.bytes);
            }
            for line in lines.of(&piece) {
                for _ in 0..=u8::from(bend.twice) {
                    put(due, http::chunked(&line))?;
                }
                if bend.cut {
                    pieces.send((due, None)).map_err(gone)?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Makes lines of pieces.
#[derive(Default)]
struct Lines {
    begun: Vec<u8>,
}

impl Lines {
    fn of(&mut self, piece: &Piece) -> Vec<Vec<u8>> {
        self.begun.extend_from_slice(&piece.bytes[piece.content.clone()]);
        let mut lines = Vec::new();
        while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
            lines.push(self.begun.drain(..=end).collect());
        }
        lines
    }
}

/// Gives the client each piece when it is due.
fn send(due: &Receiver<Due>, mut client: TcpStream) {
    while let Ok((at, Some(bytes))) = due.recv() {
        thread::sleep(at.saturating_duration_since(Instant::now()));
        if client.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}
