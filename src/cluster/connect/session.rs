//! The one state behind all requests of a connection: the client, what proves who we are, the server's clock.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tower::util::{MapRequestLayer, MapResponseLayer};

use super::clock::ServerClock;
use super::credentials::{Proof, Source};
use super::explain;
use super::redact::Redactor;
use super::request::{Patience, RequestError};
use super::warning::Warnings;
use crate::error::{Error, Result};
use crate::text::clean;

/// How often files with tokens and certificates are read again, as in client-go.
const REREAD: Duration = Duration::from_secs(60);
/// For so long a failure to renew stands for all requests that need it.
const FAILED: Duration = Duration::from_secs(1);

/// What shows each request, for the whole process.
static TRACE: OnceLock<fn(&str)> = OnceLock::new();

/// Has each request shown by `show`: its method, its path, and how it was answered.
pub fn trace(show: fn(&str)) {
    // Asked for once, when the command line was read.
    let _ = TRACE.set(show);
}

/// The `Authorization` header of the moment, shared with the client's layers.
type Header = Arc<RwLock<Option<HeaderValue>>>;

/// All requests go through it, so that new credentials are everybody's.
pub(super) struct Session {
    /// Without credentials, apart from what kube logs in with by itself.
    config: Config,
    server: String,
    source: Source,
    header: Header,
    state: RwLock<State>,
    renewing: Mutex<Option<(u64, Instant, Error)>>,
    pub clock: ServerClock,
    pub redactor: Redactor,
    warnings: Warnings,
    /// Whether an answer in protobuf was refused.
    pub json_only: AtomicBool,
}

#[derive(Clone)]
struct State {
    client: Client,
    proof: Proof,
    /// Counts what the credentials were replaced by.
    generation: u64,
    read: Instant,
}

impl Session {
    /// Gets credentials and makes the client. Nothing is sent.
    ///
    /// # Errors
    /// Names what is wrong with the credentials or the configuration.
    pub async fn start(
        config: Config,
        server: String,
        source: Source,
        redactor: Redactor,
        warnings: Warnings,
    ) -> Result<Session> {
        let proof = source.proof().await?;
        let header = Header::default();
        header.write().unwrap_or_else(PoisonError::into_inner).clone_from(&proof.authorization);
        let client = client(&config, &server, &source, &proof, &header, &warnings)?;
        let state = RwLock::new(State { client, proof, generation: 0, read: Instant::now() });
        let clock = ServerClock::default();
        Ok(Session {
            config,
            server,
            source,
            header,
            state,
            renewing: Mutex::new(None),
            clock,
            redactor,
            warnings,
            json_only: AtomicBool::new(false),
        })
    }

    /// The client of the moment.
    pub fn client(&self) -> Client {
        self.state().client
    }

    fn state(&self) -> State {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a request. One that the server does not know us for was not carried out, so it is sent once more with new
    /// credentials, whatever it is. Each try has this `patience`, which is told whether credentials were renewed, and the
    /// answer's body what is left of it; the renewal has limits of its own.
    ///
    /// # Errors
    /// When no answer came, and when no new credentials can be had.
    pub async fn send(
        &self,
        request: impl Fn() -> std::result::Result<Request<Body>, RequestError>,
        patience: impl Fn(bool) -> Patience,
    ) -> std::result::Result<(Response<Body>, Patience), RequestError> {
        self.reread().await;
        let mut tried = false;
        loop {
            let State { client, generation, .. } = self.state();
            let (patience, request, sent) = (patience(tried), request()?, Instant::now());
            let line = TRACE.get().map(|show| (show, format!("{} {}", request.method(), request.uri())));
            let answer = patience.wait(client.send(request)).await;
            if let Some((show, line)) = line {
                let status = answer.as_ref().map(|answer| answer.status().as_u16().to_string());
                let end = status.unwrap_or_else(|_| "no answer".to_owned());
                let line = clean(&self.redactor.clean(&line));
                // Neither a header nor a body, which can hold secrets.
                show(&format!("{line}: {end} in {} ms", sent.elapsed().as_millis()));
            }
            let answer = answer?;
            self.clock.read(answer.headers(), sent);
            if answer.status() != StatusCode::UNAUTHORIZED || tried || !self.source.is_renewable() {
                return Ok((answer, patience));
            }
            tried = true;
            if !self.renew(generation).await.map_err(RequestError::Credentials)? {
                return Ok((answer, patience));
            }
        }
    }

    /// Gets new credentials in place of those of `generation`, once for all who ask; whether there are others now.
    ///
    /// # Errors
    /// As [`Session::start`].
    pub async fn renew(&self, generation: u64) -> Result<bool> {
        let mut failed = self.renewing.lock().await;
        if self.state().generation != generation {
            return Ok(true);
        }
        if let Some((of, at, error)) = &*failed
            && *of == generation
            && at.elapsed() < FAILED
        {
            return Err(error.clone());
        }
        let renewed = match self.source.proof().await {
            Ok(proof) => self.replace(proof),
            Err(error) => Err(error),
        };
        *failed = renewed.as_ref().err().map(|error| (generation, Instant::now(), error.clone()));
        renewed
    }

    /// The generation of the credentials in use, for [`Session::renew`].
    pub fn generation(&self) -> u64 {
        self.state().generation
    }

    fn replace(&self, proof: Proof) -> Result<bool> {
        let old = self.state();
        let is_new = proof != old.proof || self.source.is_always_new();
        // A client keeps its open connections, and those keep the certificate they were opened with.
        let client = if proof.identity != old.proof.identity || self.source.provider().is_some() {
            client(&self.config, &self.server, &self.source, &proof, &self.header, &self.warnings)?
        } else {
            old.client
        };
        (*self.header.write().unwrap_or_else(PoisonError::into_inner)).clone_from(&proof.authorization);
        let generation = if is_new { old.generation.saturating_add(1) } else { old.generation };
        let state = State { client, proof, generation, read: Instant::now() };
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        Ok(is_new)
    }

    /// Reads files again that are old. What was read before is used where that fails (kubernetes/kubernetes#68164).
    async fn reread(&self) {
        if self.source.is_always_new() || !self.source.has_files() || self.state().read.elapsed() < REREAD {
            return;
        }
        let _one = self.renewing.lock().await;
        if self.state().read.elapsed() < REREAD {
            return;
        }
        let replaced = match self.source.proof().await {
            Ok(proof) => self.replace(proof).is_ok(),
            Err(_) => false,
        };
        if !replaced {
            self.state.write().unwrap_or_else(PoisonError::into_inner).read = Instant::now();
        }
    }

    /// Says something of this kind beside the answer, once.
    pub fn tell_kind(&self, kind: &str, text: &str) {
        self.warnings.tell_kind(kind, text);
    }
}

fn client(
    config: &Config,
    server: &str,
    source: &Source,
    proof: &Proof,
    header: &Header,
    warnings: &Warnings,
) -> Result<Client> {
    let mut config = config.clone();
    config.auth_info.auth_provider = source.provider().cloned();
    if let Some((certificate, key)) = &proof.identity {
        config.auth_info.client_certificate_data = Some(certificate.clone());
        config.auth_info.client_key_data = Some(key.clone().into());
    }
    let builder =
        ClientBuilder::try_from(config).map_err(|e| explain(&e, "connect to the server", server))?;
    let (header, warnings) = (Arc::clone(header), warnings.clone());
    Ok(builder
        .with_layer(&MapRequestLayer::new(move |mut request: Request<Body>| {
            if let Some(header) = &*header.read().unwrap_or_else(PoisonError::into_inner) {
                request.headers_mut().insert(AUTHORIZATION, header.clone());
            }
            request
        }))
        .with_layer(&MapResponseLayer::new(move |response: Response<_>| {
            warnings.read(response.headers());
            response
        }))
        .build())
}
