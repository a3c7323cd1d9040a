//! kubectl's connection flags and loading rules on top of kube, and reads that end.
//!
//! kube 5.0.0 differs from kubectl in ways that hurt: it retries writes, runs exec plugins three times and cannot stop
//! them, panics over a token with a line break, misreads `NO_PROXY`, fails on missing `KUBECONFIG` files, takes unknown
//! users for anonymous, sends no User-Agent, drops warnings and waits without a limit on a silent server. Each is put right in the
//! sub-module it concerns.

mod certificates;
mod child;
mod clock;
mod credentials;
mod environment;
mod exec;
mod explain;
mod files;
mod flags;
mod kubeconfig;
mod proxy;
mod redact;
mod request;
mod server;
mod session;
mod status;
mod warning;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::USER_AGENT;
use jiff::Timestamp;
use kube::config::AuthInfo;
use kube::{Client, Config};
use tokio::sync::{Semaphore, oneshot};

pub use environment::Environment;
pub use explain::explain;
pub use flags::ConnectArgs;
pub use kubeconfig::{KubeconfigNames, kubeconfig_names};
pub use request::{LONGEST_OBJECT, Reply, RequestError};
pub use session::trace;

pub use super::tally::Progress;
use super::tally::Tally;

use crate::error::{Error, Result};
use crate::reached;
use crate::snapshot::{Clock, Observed};
use credentials::Source;
use exec::Plugin;
use redact::Redactor;
use session::Session;
use warning::Warnings;

/// Reads under way at once: each is a TCP connection of its own, as the API server is spoken to in HTTP/1.1.
const AT_ONCE: usize = 32;
/// Longest time to open a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(30);

/// A way to the API server. Clones share it, and its credentials too.
#[derive(Clone)]
pub struct Connection {
    /// From `-n`, else the context, else the pod we run in, else `default`.
    pub namespace: String,
    /// The API server's address, without credentials.
    pub server: String,
    /// The kubeconfig's context, when one was used.
    pub context: Option<String>,
    /// `--request-timeout`: the longest one request may take in all, zero for no limit. `None`: it was not given.
    pub timeout: Option<Duration>,
    turns: Arc<Semaphore>,
    session: Arc<Session>,
    pub(super) tally: Arc<Tally>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("server", &self.server).finish_non_exhaustive()
    }
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
    let connection = connect_in(&Environment::of_process(), args, namespace, warnings).await?;
    reached::note(connection.context.as_deref(), &connection.server, args.names_another_cluster());
    Ok(connection)
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
    let redactor = Redactor::default();
    let warnings = Warnings::new(warnings, redactor.clone());
    let prepared = apart({
        let (env, args, namespace) = (env.clone(), args.clone(), namespace.map(str::to_owned));
        let (redactor, warnings) = (redactor.clone(), warnings.clone());
        move || prepare(&env, &args, namespace.as_deref(), redactor, &warnings)
    });
    let Prepared { config, server, source, context } = prepared.await?;
    let namespace = config.default_namespace.clone();
    let session = Session::start(config, server.clone(), source, redactor, warnings).await?;
    Ok(Connection {
        namespace,
        server,
        context,
        timeout: args.request_timeout,
        turns: Arc::new(Semaphore::new(AT_ONCE)),
        session: Arc::new(session),
        tally: Arc::default(),
    })
}

/// Runs what waits for files on a thread that is left behind when this future is dropped: a file may be a pipe that
/// nobody writes to, and Ctrl-C must not wait for it.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (done, finished) = oneshot::channel();
    let failed = || Error::cluster("could not read the kubeconfig");
    std::thread::Builder::new()
        .name("kubeconfig".to_owned())
        .spawn(move || {
            let _ = done.send(work());
        })
        .map_err(|e| failed().because(e))?;
    finished.await.map_err(|_| failed())?
}

struct Prepared {
    config: Config,
    server: String,
    source: Source,
    context: Option<String>,
}

fn prepare(
    env: &Environment,
    args: &ConnectArgs,
    namespace: Option<&str>,
    redactor: Redactor,
    warnings: &Warnings,
) -> Result<Prepared> {
    let mut target = kubeconfig::target(args, env)?;
    let (url, has_user) = server::server_url(&target)?;
    let server = server::shown(&url);
    if has_user {
        warnings.tell(&format!(
            "the user and password in the address of {server} are not sent: use --username and --password"
        ));
    }
    if url.scheme_str() == Some("http") {
        if args.has_credentials() {
            warnings.tell(&format!("credentials are not sent to {server}: it is not https"));
        }
        keep_off_the_wire(&mut target.user);
    }
    let given = namespace.filter(|namespace| !namespace.is_empty());
    let namespace = given.or(target.namespace.as_deref()).unwrap_or("default").to_owned();
    if !server::is_namespace(&namespace) {
        let hint = "a namespace has at most 63 lower-case letters, digits and hyphens";
        return Err(match given {
            Some(_) => Error::usage("the value of --namespace is not the name of a namespace").hint(hint),
            None => Error::cluster("the namespace of the context is not the name of a namespace").hint(hint),
        });
    }

    let mut config = Config::new(url.clone());
    config.default_namespace = namespace;
    // a write must not be repeated behind our back; reads are retried in read.rs
    config.default_retry = false;
    config.connect_timeout =
        Some(args.request_timeout.filter(|t| !t.is_zero()).map_or(CONNECT, |t| t.min(CONNECT)));
    config.headers = credentials::impersonation(&mut target.user)?;
    config.headers.push((USER_AGENT, user_agent()?));
    config.proxy_url = proxy::proxy_for(&url, target.cluster.proxy_url.as_deref(), env, &redactor)?;
    // on this machine compressing costs more than it saves
    config.disable_compression = target.cluster.disable_compression.unwrap_or(server::is_loopback(&url));
    config.tls_server_name.clone_from(&target.cluster.tls_server_name);
    config.accept_invalid_certs = target.cluster.insecure_skip_tls_verify.unwrap_or(false);
    if let Some(pem) = certificates::authority(&target.cluster)? {
        config.root_cert = Some(certificates::certificates(&pem)?);
        // A plugin is told what it holds, not where it is.
        target.cluster.certificate_authority_data = Some(STANDARD.encode(pem));
        target.cluster.certificate_authority = None;
    }
    config.root_cert_file.clone_from(&target.rotating_ca);
    let user = &mut target.user;
    if let Some(provider) = user.auth_provider.as_ref().filter(|provider| provider.name != "oidc") {
        let known = ["gcp", "azure"].into_iter().find(|known| *known == provider.name);
        let known = known.map_or(String::new(), |name| format!(" {name}"));
        return Err(Error::cluster(format!("the kubeconfig's auth-provider{known} is not supported"))
            .because("kubectl does not support it either, since 1.26")
            .hint("use an exec plugin: gke-gcloud-auth-plugin for GKE, kubelogin for AKS"));
    }
    let has_own = user.token.is_some()
        || user.token_file.is_some()
        || user.username.is_some()
        || user.auth_provider.is_some();
    let plugin = match user.exec.take().filter(|_| !has_own) {
        Some(exec) => Some(Plugin::new(exec, &target.cluster, env, args.request_timeout)?),
        None => None,
    };
    let source = Source::new(target.user, plugin, redactor);
    Ok(Prepared { config, server, source, context: target.context })
}

impl Connection {
    /// kube's client as it is now, for typed calls. It neither retries nor gives up on its own, nor renews credentials:
    /// see [`Connection::within`], [`Connection::get`] and `Connection::write`.
    pub fn client(&self) -> Client {
        self.session.client()
    }

    /// Gets new credentials for all clones of this connection, where they can be had again. A request that is refused
    /// for its credentials does so by itself.
    ///
    /// # Errors
    /// As [`connect`].
    pub async fn reconnect(&self) -> Result<()> {
        self.session.renew(self.session.generation()).await.map(|_| ())
    }

    /// How far the lists have come that are read on this connection and its clones.
    pub fn progress(&self) -> Progress {
        self.tally.progress()
    }

    /// The time at the server, as far as its answers tell.
    pub fn now(&self) -> Timestamp {
        self.clock().now
    }

    /// The time at the server, and how well it is known.
    pub fn clock(&self) -> Clock {
        self.session.clock.now()
    }

    /// Dates what was read just now by the server's clock, and says what is wrong with the clocks, once.
    pub fn date(&self, observed: &mut Observed) {
        self.session.clock.witness(observed.newest());
        observed.clock = self.clock();
        observed.taken_at = observed.clock.now;
        if let Some(trouble) = observed.clock.trouble().filter(|_| self.session.clock.is_known()) {
            self.session.tell_kind("clock", &trouble);
        }
    }
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

/// `linux/amd64`: operating system and processor by Go's names, as every other client of the cluster writes them.
pub fn platform() -> String {
    let os = match std::env::consts::OS {
        "macos" => "darwin",
        os => os,
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        arch => arch,
    };
    format!("{os}/{arch}")
}

/// `kubectl-sts/0.1.0 (linux/amd64)`.
fn user_agent() -> Result<HeaderValue> {
    let text = format!("kubectl-sts/{} ({})", env!("CARGO_PKG_VERSION"), platform());
    HeaderValue::from_str(&text).map_err(|e| Error::cluster("the User-Agent is not valid").because(e))
}
