//! A kubeconfig in a directory of its own, and a small HTTP server in this process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;
use kubectl_sts::cluster::connect::{ConnectArgs, Connection, Environment, connect_in};
use kubectl_sts::error::Error;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[derive(Parser)]
pub struct Line {
    #[command(flatten)]
    pub connect: ConnectArgs,
}

pub fn args(line: &[&str]) -> ConnectArgs {
    Line::try_parse_from(std::iter::once(&"sts").chain(line)).unwrap().connect
}

/// One answer: what to send, and whether to fall silent after it instead of closing.
pub struct Answer(pub String, pub bool);

pub fn answer(code: u16, headers: &str, body: &str) -> Answer {
    Answer(
        format!(
            "HTTP/1.1 {code} X\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        ),
        false,
    )
}

/// The request heads a server got, in order.
pub type Heads = Arc<Mutex<Vec<String>>>;

/// Serves on a free port; `reply` gets the number of the request, from 0, and its head.
pub async fn serve(reply: impl Fn(usize, &str) -> Answer + Send + Sync + 'static) -> (String, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heads = Heads::default();
    let (seen, reply) = (heads.clone(), Arc::new(reply));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (seen, reply) = (seen.clone(), reply.clone());
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match socket.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(head.clone());
                    seen.len() - 1
                };
                let Answer(text, silent) = reply(number, &head);
                socket.write_all(text.as_bytes()).await.ok();
                if silent {
                    tokio::time::sleep(Duration::from_secs(600)).await;
                }
            });
        }
    });
    (address, heads)
}

/// A directory with kubeconfigs; the environment knows of nothing else.
pub struct Home {
    dir: TempDir,
    pub env: Environment,
}

impl Home {
    pub fn new(kubeconfig: &str) -> Home {
        let dir = TempDir::new().unwrap();
        let env = Environment {
            home: Some(dir.path().to_owned()),
            service_account: dir.path().join("serviceaccount"),
            ..Environment::default()
        };
        let home = Home { dir, env };
        if !kubeconfig.is_empty() {
            home.write(".kube/config", kubeconfig);
        }
        home
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub async fn connect(&self, line: &[&str]) -> Result<Connection, Error> {
        connect_in(&self.env, &args(line), None, |_| {}).await
    }

    pub async fn refused(&self, line: &[&str]) -> Error {
        match self.connect(line).await {
            Ok(connection) => panic!("connected to {}", connection.server),
            Err(error) => error,
        }
    }
}

/// A kubeconfig of one context `one`; `cluster` and `user` are the inner fields in flow style.
pub fn kubeconfig(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: one\n\
         contexts: [{{name: one, context: {{cluster: c1, user: u1, namespace: shop}}}}]\n\
         clusters: [{{name: c1, cluster: {{{cluster}}}}}]\n\
         users: [{{name: u1, user: {{{user}}}}}]\n"
    )
}

pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|h| h.1)
}

pub fn only(heads: &Heads) -> String {
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 1, "{heads:#?}");
    heads[0].clone()
}

pub const SERVER: &str = "server: 'https://api.example:6443'";
