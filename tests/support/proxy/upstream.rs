//! `kubectl proxy`, which adds the credentials, and requests to it without a kubectl for each.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::Arc;

use serde_json::Value;

use super::http::{self, Head};
use crate::support::Cluster;

/// A `kubectl proxy`, which ends with the value.
pub struct Upstream {
    /// `HOST:PORT`.
    pub address: String,
    kubectl: Child,
}

impl Upstream {
    /// Starts one.
    pub fn of(cluster: &Cluster) -> Arc<Upstream> {
        let mut command = cluster.plane.kubectl();
        command.args(["proxy", "--port=0", "--reject-paths="]).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut kubectl = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(kubectl.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().to_owned();
        Arc::new(Upstream { address, kubectl })
    }

    /// Sends one request and gives the status and the body.
    pub fn send(&self, method: &str, target: &str, content: &str, body: &str) -> io::Result<(u16, Vec<u8>)> {
        let (head, mut from) = self.open(method, target, content, body)?;
        let mut answer = Vec::new();
        http::body(&mut from, head.response_length(), |piece| {
            answer.extend_from_slice(&piece.bytes[piece.content]);
            Ok(())
        })?;
        Ok((head.status(), answer))
    }

    /// Sends one request that must succeed, and gives the object.
    #[track_caller]
    pub fn json(&self, method: &str, target: &str, body: &Value) -> Value {
        let content = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.send(method, target, content, &text).unwrap();
        let said = String::from_utf8_lossy(&answer);
        assert!((200..300).contains(&status), "{method} {target}: {status}: {said}");
        serde_json::from_str(&said).unwrap()
    }

    /// Reads the lines of a watch as they come, until it ends or `take` wants no more.
    pub fn watch(&self, target: &str, mut take: impl FnMut(&Value) -> bool) -> io::Result<()> {
        let (head, mut from) = self.open("GET", target, "application/json", "")?;
        let mut line = Vec::new();
        http::body(&mut from, head.response_length(), |piece| {
            line.extend_from_slice(&piece.bytes[piece.content]);
            while let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                let event: Vec<u8> = line.drain(..=end).collect();
                if !take(&serde_json::from_slice(&event)?) {
                    return Err(io::Error::other("enough"));
                }
            }
            Ok(())
        })
    }

    fn open(
        &self,
        method: &str,
        target: &str,
        content: &str,
        body: &str,
    ) -> io::Result<(Head, BufReader<TcpStream>)> {
        let mut server = TcpStream::connect(&self.address)?;
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {content}\r\n\
             Accept: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        server.write_all(head.as_bytes())?;
        let mut from = BufReader::new(server);
        let head = Head::read(&mut from)?.ok_or_else(|| io::Error::other("no answer"))?;
        Ok((head, from))
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}
