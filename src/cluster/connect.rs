//! kubectl's connection flags and loading rules on top of kube, and reads that end.
//!
//! kube 5.0.0 differs from kubectl in ways that hurt: it retries writes, runs exec plugins three times, misreads
//! `NO_PROXY`, fails on missing `KUBECONFIG` files, takes unknown users for anonymous, sends no User-Agent, drops warnings
//! and waits for ever on a silent server. Each is put right in the sub-module it concerns.

mod duration;
mod environment;
mod exec;
mod explain;
mod flags;
mod kubeconfig;
mod proxy;
mod read;
mod status;
mod warning;

use std::fmt;
use std::fs::{File, read};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::USER_AGENT;
use http::{HeaderValue, Response, Uri};
use kube::client::ClientBuilder;
use kube::config::{AuthInfo, Cluster};
use kube::{Client, Config};
use tokio::sync::Semaphore;
use tower::util::MapResponseLayer;

pub use duration::parse_duration;
pub use environment::Environment;
pub use explain::{explain, explain_read};
pub use flags::{ConnectArgs, Secret};
pub use kubeconfig::{KubeconfigNames, kubeconfig_names};
pub use read::{ReadError, Reply};

use crate::error::{Error, Result};
use crate::text::one_line;
use exec::Plugin;
use kubeconfig::Target;
use warning::Warnings;

/// Reads under way at once: each is a TCP connection of its own, as the API server is spoken to in HTTP/1.1.
const AT_ONCE: usize = 32;
/// Longest time to open a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(30);

/// A way to the API server. Clones share it.
#[derive(Clone)]
pub struct Connection {
    /// For typed calls and watches; it neither retries nor gives up on its own, see [`Connection::within`].
    pub client: Client,
    /// From `-n`, else the context, else the pod we run in, else `default`.
    pub namespace: String,
    /// The API server's address, without credentials.
    pub server: String,
    /// The kubeconfig's context, when one was used.
    pub context: Option<String>,
    /// `--request-timeout`: the longest one request may take in all, zero for no limit. `None`: it was not given.
    pub timeout: Option<Duration>,
    turns: Arc<Semaphore>,
    origin: Arc<Origin>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("server", &self.server).finish_non_exhaustive()
    }
}

/// What a new client is made from.
struct Origin {
    config: Config,
    plugin: Option<Plugin>,
    warnings: Warnings,
}

/// Connects as the flags, the kubeconfig and this process's environment say. `namespace` is `-n`; `warnings` is given each
/// distinct warning of the server once. Nothing is sent yet, but an exec plugin may run and ask.
///
/// # Errors
/// Names what is wrong: with the flags (usage), or with the kubeconfig, its files or the plugin (cluster).
pub async fn connect(
    args: &ConnectArgs,
    namespace: Option<&str>,
    warnings: impl Fn(&str) + Send + Sync + 'static,
) -> Result<Connection> {
    connect_in(&Environment::of_process(), args, namespace, warnings).await
}

/// [`connect`] in a given environment.
///
/// # Errors
/// As [`connect`].
pub async fn connect_in(
    env: &Environment,
    args: &ConnectArgs,
    namespace: Option<&str>,
    warnings: impl Fn(&str) + Send + Sync + 'static,
) -> Result<Connection> {
    let warnings = Warnings::new(warnings);
    let mut target = kubeconfig::target(args, env)?;
    let url = server_url(&target)?;
    let server = shown(&url);
    if url.scheme_str() == Some("http") {
        if args.has_credentials() {
            warnings.tell(&format!("credentials are not sent to {server}: it is not https"));
        }
        keep_off_the_wire(&mut target.user);
    }
    let namespace = namespace
        .filter(|namespace| !namespace.is_empty())
        .or(target.namespace.as_deref())
        .unwrap_or("default")
        .to_owned();

    let mut config = Config::new(url.clone());
    config.default_namespace.clone_from(&namespace);
    // a write must not be repeated behind our back; reads are retried in read.rs
    config.default_retry = false;
    config.connect_timeout =
        Some(args.request_timeout.filter(|t| !t.is_zero()).map_or(CONNECT, |t| t.min(CONNECT)));
    config.headers.push((USER_AGENT, user_agent()?));
    config.proxy_url = proxy::proxy_for(&url, target.cluster.proxy_url.as_deref(), env)?;
    // on this machine compressing costs more than it saves
    config.disable_compression = target.cluster.disable_compression.unwrap_or(is_loopback(&url));
    config.tls_server_name.clone_from(&target.cluster.tls_server_name);
    config.accept_invalid_certs = target.cluster.insecure_skip_tls_verify.unwrap_or(false);
    config.root_cert = authorities(&target.cluster)?;
    config.root_cert_file.clone_from(&target.rotating_ca);
    check_files(&mut target.user)?;
    let plugin = match target.user.exec.take() {
        Some(exec) if target.user.token.is_none() && target.user.auth_provider.is_none() => {
            Some(Plugin::new(exec, &target.cluster, env)?)
        }
        _ => None,
    };
    config.auth_info = target.user;

    let origin = Origin { config, plugin, warnings };
    Ok(Connection {
        client: origin.client(&server).await?,
        namespace,
        server,
        context: target.context,
        timeout: args.request_timeout,
        turns: Arc::new(Semaphore::new(AT_ONCE)),
        origin: Arc::new(origin),
    })
}

impl Connection {
    /// Gets new credentials and replaces the client: for a long watch whose token has run out (401).
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn reconnect(&mut self) -> Result<()> {
        self.client = self.origin.client(&self.server).await?;
        Ok(())
    }
}

impl Origin {
    async fn client(&self, server: &str) -> Result<Client> {
        let mut config = self.config.clone();
        if let Some(plugin) = &self.plugin {
            plugin.credentials(&mut config.auth_info).await?;
        }
        let warnings = self.warnings.clone();
        let builder =
            ClientBuilder::try_from(config).map_err(|e| explain(&e, "connect to the server", server))?;
        Ok(builder
            .with_layer(&MapResponseLayer::new(move |response: Response<_>| {
                warnings.read(response.headers());
                response
            }))
            .build())
    }
}

/// The server's address; without a scheme it is https if anything else speaks of TLS, as in client-go.
fn server_url(target: &Target) -> Result<Uri> {
    let (cluster, user) = (&target.cluster, &target.user);
    let Some(server) = cluster.server.as_deref() else {
        return Err(
            Error::cluster("the chosen cluster has no server in the kubeconfig").hint("give --server URL")
        );
    };
    let tls = cluster.certificate_authority.is_some()
        || cluster.certificate_authority_data.is_some()
        || cluster.insecure_skip_tls_verify == Some(true)
        || user.client_certificate.is_some()
        || user.client_certificate_data.is_some();
    let full = if server.contains("://") {
        server.to_owned()
    } else {
        format!("http{}://{server}", if tls { "s" } else { "" })
    };
    let bad = || Error::usage(format!("the server's address {:?} is not valid", one_line(server, 200)));
    let url: Uri = full.parse().map_err(|e| bad().because(e))?;
    match url.scheme_str() {
        Some("http" | "https") if url.host().is_some_and(|host| !host.is_empty()) => Ok(url),
        _ => Err(bad().hint("give it as https://host:port")),
    }
}

/// The address as it is shown: without a user and password, which `http` would have sent.
fn shown(url: &Uri) -> String {
    let scheme = url.scheme_str().unwrap_or("https");
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{}", url.path().trim_end_matches('/'))
}

fn is_loopback(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// On plain http everybody on the way could read the credentials. Whom to impersonate is no secret.
fn keep_off_the_wire(user: &mut AuthInfo) {
    *user = AuthInfo {
        impersonate: user.impersonate.take(),
        impersonate_uid: user.impersonate_uid.take(),
        impersonate_groups: user.impersonate_groups.take(),
        impersonate_user_extra: user.impersonate_user_extra.take(),
        ..AuthInfo::default()
    };
}

/// `kubectl-sts/0.1.0 (linux/amd64)`, with Go's names for both, as every other client of the cluster writes them.
fn user_agent() -> Result<HeaderValue> {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        arch => arch,
    };
    let text = format!("kubectl-sts/{} ({os}/{arch})", env!("CARGO_PKG_VERSION"));
    HeaderValue::from_str(&text).map_err(|e| Error::cluster("the User-Agent is not valid").because(e))
}

/// The certificates to trust, as DER; `None` leaves it to the operating system.
fn authorities(cluster: &Cluster) -> Result<Option<Vec<Vec<u8>>>> {
    let pem = match (&cluster.certificate_authority_data, &cluster.certificate_authority) {
        (None, None) => return Ok(None),
        _ if cluster.insecure_skip_tls_verify == Some(true) => {
            return Err(Error::usage(
                "a certificate authority and insecure-skip-tls-verify exclude each other",
            )
            .hint("drop one of them"));
        }
        (Some(data), _) => STANDARD.decode(data.split_whitespace().collect::<String>()).map_err(|e| {
            Error::cluster("certificate-authority-data in the kubeconfig is not base64").because(e)
        })?,
        (None, Some(path)) => read(path).map_err(|e| {
            Error::cluster(format!("cannot read the certificate authority {path}")).because(e)
        })?,
    };
    let text = String::from_utf8_lossy(&pem);
    let certificates: Option<Vec<Vec<u8>>> = text
        .split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .map(|block| block.split_once("-----END CERTIFICATE-----").map(|(body, _)| body))
        .map(|body| STANDARD.decode(body?.split_whitespace().collect::<String>()).ok())
        .collect();
    match certificates {
        Some(certificates) if !certificates.is_empty() => Ok(Some(certificates)),
        _ => Err(Error::cluster("the certificate authority holds no certificate in PEM")
            .hint("check certificate-authority in the kubeconfig, or --certificate-authority")),
    }
}

/// Says now, and by name, what kube would say later in a chain of errors; and trims a token that ends in a newline,
/// which kube would refuse to send.
fn check_files(user: &mut AuthInfo) -> Result<()> {
    let pairs = [
        ("client certificate", &user.client_certificate, user.client_certificate_data.is_some()),
        ("client key", &user.client_key, user.client_key_data.is_some()),
    ];
    for (what, path, data) in &pairs {
        if let (Some(path), false) = (path, data) {
            File::open(path)
                .map_err(|e| Error::cluster(format!("cannot read the {what} {path}")).because(e))?;
        }
    }
    let [certificate, key] = pairs.map(|(_, path, data)| path.is_some() || data);
    if certificate != key {
        let (there, lacking) = if certificate { ("certificate", "key") } else { ("key", "certificate") };
        return Err(Error::usage(format!("there is a client {there} without its {lacking}"))
            .hint(format!("give --client-{lacking} FILE, or set client-{lacking} in the kubeconfig")));
    }
    if let (Some(path), None) = (&user.token_file, &user.token) {
        let unreadable = || Error::cluster(format!("cannot read the token file {path}"));
        let token = std::fs::read_to_string(path).map_err(|e| unreadable().because(e))?;
        let trimmed = token.trim();
        if trimmed.is_empty() {
            return Err(unreadable().because("it is empty"));
        }
        if trimmed.len() != token.len() {
            user.token = Some(trimmed.to_owned().into());
        }
    }
    Ok(())
}
