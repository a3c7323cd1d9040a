//! The least that reading a cluster can cost: all lists of the naive plan at once, downloaded and dropped.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::fleet::http::authority;
use super::fleet::kinds::{Kind, NAIVE};

/// Downloads everything from this address, as in `https://127.0.0.1:40123`.
pub fn download(address: &str) {
    let (scheme, host) = address.split_once("://").unwrap();
    let tls = (scheme == "https").then(config);
    let threads: Vec<_> = NAIVE
        .iter()
        .map(|plural| {
            let path = format!("{}/{plural}?resourceVersion=0", Kind::of_plural(plural).prefix());
            let (host, tls) = (host.to_owned(), tls.clone());
            thread::spawn(move || {
                let socket = TcpStream::connect(&host).unwrap();
                socket.set_nodelay(true).unwrap();
                match tls {
                    None => read(socket, &host, &path),
                    Some(tls) => {
                        let name = ServerName::try_from("127.0.0.1").unwrap();
                        let connection = ClientConnection::new(tls, name).unwrap();
                        read(StreamOwned::new(connection, socket), &host, &path);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

fn config() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn read(mut stream: impl Read + Write, host: &str, path: &str) {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut buffer = vec![0; 256 * 1024];
    let mut filled = 0;
    let end = loop {
        let count = stream.read(&mut buffer[filled..]).unwrap();
        assert!(count > 0, "no answer to {path}");
        filled += count;
        if let Some(end) = buffer[..filled].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut left = length.parse::<usize>().unwrap() - (filled - end);
    while left > 0 {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "{path} was cut off");
        left -= count;
    }
}
