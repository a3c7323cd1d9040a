//! Requests and answers in HTTP/1.1, over plain TCP and over TLS.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _, SeekFrom, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::link::{Link, PIECE};
use super::store::Body;

/// What is written at a time where nothing limits it, in bytes.
const BLOCK: usize = 256 * 1024;

/// A connection of a client.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(stream) => stream.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Stream {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(stream) => stream.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes),
        }
    }

    /// Says that this was all, and means it.
    pub fn end(&mut self) {
        match self {
            Stream::Plain(stream) => drop(stream.shutdown(std::net::Shutdown::Both)),
            Stream::Tls(stream) => {
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    }
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/fleet/tls").join(name)
}

/// The authority that clients are to trust. Its key is gone.
pub fn authority() -> PathBuf {
    file("authority.pem")
}

pub fn tls() -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_file(file("certificate.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(file("key.pem")).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![certificate], key));
    Arc::new(config.expect("a configuration"))
}

/// What a client sent.
pub struct Head {
    pub method: String,
    pub target: String,
    pub accept: String,
    pub takes_gzip: bool,
}

/// Reads the head of the next request; `None` when the client has ended. A body is read and dropped.
pub fn read_head(reader: &mut BufReader<Stream>) -> Option<Head> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut head = Head { method, target, accept: String::new(), takes_gzip: false };
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "accept" => value.clone_into(&mut head.accept),
            "accept-encoding" => head.takes_gzip = value.contains("gzip"),
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
    io::copy(&mut reader.by_ref().take(length), &mut io::sink()).ok()?;
    Some(head)
}

/// What is sent after the head of an answer.
pub enum Content {
    Bytes(Arc<Vec<u8>>),
    File(Body),
}

impl Content {
    pub fn len(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File(body) => body.len(),
        }
    }
}

/// Sends a head and as much of the content as is asked for; how many bytes that were.
///
/// # Errors
/// When the client is gone.
pub fn send(stream: &mut Stream, link: &Link, head: &str, content: &Content, most: u64) -> io::Result<u64> {
    let mut sent = write(stream, link, head.as_bytes())?;
    let mut left = most;
    match content {
        Content::Bytes(bytes) => sent += write(stream, link, first(bytes, &mut left))?,
        Content::File(body) => {
            sent += write(stream, link, first(&body.head, &mut left))?;
            let count = left.min(body.to - body.from);
            left -= count;
            let mut file = File::open(&body.path)?;
            file.seek(SeekFrom::Start(body.from))?;
            sent += copy(stream, link, &mut file.take(count))?;
            sent += write(stream, link, first(&body.tail, &mut left))?;
        }
    }
    Ok(sent)
}

fn first<'a>(bytes: &'a [u8], left: &mut u64) -> &'a [u8] {
    let count = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= count as u64;
    &bytes[..count]
}

fn write(stream: &mut Stream, link: &Link, bytes: &[u8]) -> io::Result<u64> {
    let piece = if link.bandwidth.is_some() { PIECE } else { BLOCK };
    for piece in bytes.chunks(piece) {
        link.pass(piece.len());
        stream.write_all(piece)?;
    }
    Ok(bytes.len() as u64)
}

fn copy(stream: &mut Stream, link: &Link, file: &mut io::Take<File>) -> io::Result<u64> {
    if let (Stream::Plain(socket), None) = (&mut *stream, link.bandwidth) {
        // On Linux this is sendfile(2): the server takes next to nothing of the processor that the client needs.
        return io::copy(file, socket);
    }
    let mut block = vec![0; if link.bandwidth.is_some() { PIECE } else { BLOCK }];
    let mut sent = 0;
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            return Ok(sent);
        }
        link.pass(count);
        stream.write_all(&block[..count])?;
        sent += count as u64;
    }
}
