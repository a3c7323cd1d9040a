//! Raw reads: timeouts by progress, retries only when the server asks for one, refusals decoded.

use std::future::Future;
use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout_at};

use super::Connection;
use super::redact::unquoted;
use super::status::{Refusal, decode};
use crate::error::Error;
use crate::text::one_line;
use crate::time::after;

/// Silence after which a read fails unless `--request-timeout` says otherwise.
const SILENCE: Duration = Duration::from_secs(30);
/// For a write, longer than the 60 seconds after which the server itself gives up, so that its own answer is seen.
const WRITE: Duration = Duration::from_secs(65);
/// A longer `--request-timeout` is as good as none; timers end before the numbers do.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How often a read is sent again when the server is too busy and says when to come back.
const RETRIES: u32 = 4;
/// The longest such wait that is obeyed.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Silence after which a watch counts as broken. The server sends a bookmark about every minute.
const WATCH_SILENCE: Duration = Duration::from_secs(150);
/// A refusal longer than this is not a Status worth showing.
const LONGEST_REFUSAL: usize = 1 << 20;
/// Most bytes of one object, decompressed. etcd takes 1.5 MiB of protobuf for it by default, and JSON is longer.
pub const LONGEST_OBJECT: usize = 16 << 20;

/// Why a request brought nothing.
#[derive(Debug)]
pub enum RequestError {
    /// 403: we may not; the server's message says who may not do what.
    Forbidden {
        /// The server's message, one line.
        message: String,
    },
    /// The object does not exist: a 404 with a Status that says so. One without, as for an unknown path, is
    /// [`RequestError::Api`], as it may come from anybody on the way.
    NotFound {
        /// The server's message, one line.
        message: String,
    },
    /// 410: the resource version or continue token is too old; list again.
    Gone,
    /// 401: the server does not know us, or no longer.
    Unauthorized,
    /// Any other refusal.
    Api {
        /// The HTTP status code.
        code: u16,
        /// Kubernetes' one-word reason, such as `Conflict`; may be empty.
        reason: String,
        /// The server's message, one line.
        message: String,
    },
    /// An answer that is not what was asked for: why, as a fragment without values.
    Nonsense(String),
    /// New credentials were needed, and could not be had.
    Credentials(Error),
    /// Nothing came for this long.
    Silent(Duration),
    /// The request did not get through, or its answer broke off.
    Transport(kube::Error),
}

impl RequestError {
    /// An answer that could not be decoded: the parser's words, without the values it quotes.
    pub fn garbled(error: &serde_json::Error) -> RequestError {
        RequestError::Nonsense(one_line(&unquoted(&error.to_string()), 200))
    }

    fn refused(code: u16, refusal: Refusal) -> RequestError {
        let Refusal { reason, message } = refusal;
        match code {
            401 => RequestError::Unauthorized,
            403 => RequestError::Forbidden { message },
            404 if reason == "NotFound" => RequestError::NotFound { message },
            410 => RequestError::Gone,
            code => RequestError::Api { code, reason, message },
        }
    }
}

impl From<kube::Error> for RequestError {
    fn from(error: kube::Error) -> RequestError {
        match error {
            kube::Error::Api(status) => {
                let refusal = Refusal::new(&status.reason, &status.message, status.code);
                RequestError::refused(status.code, refusal)
            }
            other => RequestError::Transport(other),
        }
    }
}

/// How long one request may take.
#[derive(Clone, Copy, Debug)]
pub(super) enum Patience {
    /// `--request-timeout`: all of it together.
    Total { until: Instant, stated: Duration },
    /// The default: between one sign of life and the next.
    Silence(Duration),
    /// `--request-timeout=0`.
    Endless,
}

impl Patience {
    /// `asked` is `--request-timeout`.
    fn new(asked: Option<Duration>) -> Patience {
        match asked {
            None => Patience::Silence(SILENCE),
            Some(Duration::ZERO) => Patience::Endless,
            // What no clock can count up to is no limit.
            Some(stated) => match Instant::now().checked_add(stated) {
                Some(until) if stated < FOREVER => Patience::Total { until, stated },
                _ => Patience::Endless,
            },
        }
    }

    pub(super) async fn wait<T>(
        self,
        step: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, RequestError> {
        let (until, stated) = match self {
            Patience::Endless => return step.await.map_err(RequestError::from),
            Patience::Silence(stated) => (after(Instant::now(), stated), stated),
            Patience::Total { until, stated } => (until, stated),
        };
        match timeout_at(until, step).await {
            Ok(done) => done.map_err(RequestError::from),
            Err(_) => Err(RequestError::Silent(stated)),
        }
    }

    /// A wait the server asked for: no silence, but part of the total.
    async fn pause(self, wanted: Duration) -> Result<(), RequestError> {
        match self {
            Patience::Total { until, stated } if until.saturating_duration_since(Instant::now()) < wanted => {
                Err(RequestError::Silent(stated))
            }
            _ => {
                sleep(wanted).await;
                Ok(())
            }
        }
    }
}

/// An answer still arriving. It holds one of the connection's turns until its end is read or it is dropped, so do not
/// collect replies before reading them.
#[derive(Debug)]
pub struct Reply {
    headers: HeaderMap,
    body: Body,
    patience: Patience,
    turn: Option<OwnedSemaphorePermit>,
}

impl Reply {
    /// The `Content-Type`, without which there is no telling protobuf from JSON.
    pub fn content_type(&self) -> &str {
        self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The next piece of the body as it arrives; `None` at its end.
    ///
    /// # Errors
    /// [`RequestError::Silent`] when nothing came in time, [`RequestError::Transport`] when the connection broke.
    pub async fn chunk(&mut self) -> Result<Option<impl Deref<Target = [u8]> + use<>>, RequestError> {
        loop {
            let body = &mut self.body;
            let frame = self.patience.wait(async { body.frame().await.transpose() }).await?;
            let Some(frame) = frame else {
                drop(self.turn.take());
                return Ok(None);
            };
            // anything else is trailers
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// All that is left of the body, for one object.
    ///
    /// # Errors
    /// As [`Reply::chunk`], and when it is longer than [`LONGEST_OBJECT`].
    pub async fn bytes(mut self) -> Result<Vec<u8>, RequestError> {
        let mut all = Vec::new();
        while let Some(piece) = self.chunk().await? {
            all.extend_from_slice(&piece);
            if all.len() > LONGEST_OBJECT {
                return Err(RequestError::Nonsense(format!("it is longer than {LONGEST_OBJECT} bytes")));
            }
        }
        Ok(all)
    }
}

impl Connection {
    /// Starts reading `path_and_query`, such as `/apis/apps/v1/statefulsets?resourceVersion=0`. Waits its turn when
    /// many are reading; that wait does not count as the server's silence.
    ///
    /// # Errors
    /// Any [`RequestError`]; a refusal (not 2xx) is decoded.
    pub async fn get(&self, path_and_query: &str, accept: &str) -> Result<Reply, RequestError> {
        // closed only when the connection is gone, and then nobody waits here
        let turn = self.turns.clone().acquire_owned().await.ok();
        let mut retries = 0;
        let started = Patience::new(self.timeout);
        // Getting new credentials may have taken all the time there was.
        let again = |started| move |renewed| if renewed { Patience::new(self.timeout) } else { started };
        loop {
            let request = || request(Request::get(path_and_query).header(ACCEPT, accept), Vec::new());
            let (status, mut reply) = self.send(request, again(started)).await?;
            let pause = retry_after(&reply.headers).filter(|_| status == StatusCode::TOO_MANY_REQUESTS);
            if status.is_success() {
                reply.turn = turn;
                return Ok(reply);
            }
            match pause {
                Some(pause) if retries < RETRIES && pause <= LONGEST_WAIT => {
                    retries += 1;
                    let patience = reply.patience;
                    drop(reply);
                    patience.pause(pause).await?;
                }
                _ => return Err(self.refusal(status, reply).await),
            }
        }
    }

    /// Whether an answer may be in protobuf.
    pub(in crate::cluster) fn takes_protobuf(&self) -> bool {
        !self.session.json_only.load(Ordering::Relaxed)
    }

    /// Notes that the server, or what is before it, does not even choose JSON where both are accepted.
    pub(in crate::cluster) fn refuses_protobuf(&self) {
        self.session.json_only.store(true, Ordering::Relaxed);
    }

    /// Reads all of `path_and_query`, one object.
    ///
    /// # Errors
    /// As [`Connection::get`] and [`Reply::bytes`].
    pub async fn get_bytes(&self, path_and_query: &str, accept: &str) -> Result<Vec<u8>, RequestError> {
        self.get(path_and_query, accept).await?.bytes().await
    }

    /// Opens a watch. It takes no turn, as it never ends by itself, and only a silence longer than the server's
    /// bookmarks are apart ends it.
    ///
    /// # Errors
    /// As [`Connection::get`].
    pub async fn watch(&self, path_and_query: &str) -> Result<Reply, RequestError> {
        // Since 1.37 each event would be compressed on its own, and only the first be decompressed
        // (https://github.com/tower-rs/tower-http/issues/737).
        let request = || {
            let head = Request::get(path_and_query)
                .header(ACCEPT, "application/json")
                .header(ACCEPT_ENCODING, "identity");
            request(head, Vec::new())
        };
        let (status, mut reply) = self.send(request, |_| Patience::new(self.timeout)).await?;
        if !status.is_success() {
            return Err(self.refusal(status, reply).await);
        }
        reply.patience = Patience::Silence(WATCH_SILENCE);
        Ok(reply)
    }

    /// Sends one write, and reads the answer. It is sent again only if the server did not know us, and then has done
    /// nothing. A write whose answer did not come may still have been carried out: look again.
    ///
    /// # Errors
    /// Any [`RequestError`]; [`RequestError::Nonsense`] also for an answer that is no object of Kubernetes.
    pub(in crate::cluster) async fn write(
        &self,
        method: http::Method,
        path_and_query: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, RequestError> {
        let request = || {
            let head = Request::builder()
                .method(method.clone())
                .uri(path_and_query)
                .header(ACCEPT, "application/json")
                .header(CONTENT_TYPE, content_type);
            request(head, body.clone())
        };
        let patience = |_| Patience::new(self.timeout.or(Some(WRITE)));
        let (status, reply) = self.send(request, patience).await?;
        if !status.is_success() {
            return Err(self.refusal(status, reply).await);
        }
        let answer = reply.bytes().await?;
        self.is_answer(&answer).map(|()| answer)
    }

    /// Runs one call of kube's, such as a patch, and stops waiting after `--request-timeout`, by default 65 seconds.
    /// Not for watches and not for sessions.
    ///
    /// # Errors
    /// [`RequestError::Silent`] when it took too long; it may still have been carried out.
    pub async fn within<T>(
        &self,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, RequestError> {
        Patience::new(self.timeout.or(Some(WRITE))).wait(call).await
    }

    async fn send(
        &self,
        request: impl Fn() -> Result<Request<Body>, RequestError>,
        patience: impl Fn(bool) -> Patience,
    ) -> Result<(StatusCode, Reply), RequestError> {
        let (answer, patience) = self.session.send(request, patience).await?;
        let (head, body) = answer.into_parts();
        Ok((head.status, Reply { headers: head.headers, body, patience, turn: None }))
    }

    /// The Status a refusal carries; when its body breaks off, the code alone.
    async fn refusal(&self, status: StatusCode, mut reply: Reply) -> RequestError {
        let mut body = Vec::new();
        while let Ok(Some(piece)) = reply.chunk().await {
            body.extend_from_slice(&piece);
            if body.len() > LONGEST_REFUSAL {
                break;
            }
        }
        let Refusal { reason, message } = decode(status, &body);
        let message = self.session.redactor.clean(&message);
        RequestError::refused(
            status.as_u16(),
            Refusal { reason: self.session.redactor.clean(&reason), message },
        )
    }

    /// A write is answered with an object, or a Status that says that it went well.
    fn is_answer(&self, answer: &[u8]) -> Result<(), RequestError> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            kind: String,
            api_version: String,
        }
        #[derive(serde::Deserialize)]
        struct Outcome {
            #[serde(default)]
            status: String,
            #[serde(default)]
            code: u16,
        }
        let no_object = |_| RequestError::Nonsense("it is no object of Kubernetes".to_owned());
        let Head { kind, api_version } = serde_json::from_slice(answer).map_err(no_object)?;
        if kind.is_empty() || api_version.is_empty() {
            return Err(RequestError::Nonsense("it is no object of Kubernetes".to_owned()));
        }
        if kind == "Status" && api_version == "v1" {
            let outcome: Outcome = serde_json::from_slice(answer).map_err(no_object)?;
            if outcome.status != "Success" {
                let code = StatusCode::from_u16(outcome.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let Refusal { reason, message } = decode(code, answer);
                let message = self.session.redactor.clean(&message);
                return Err(RequestError::refused(code.as_u16(), Refusal { reason, message }));
            }
        }
        Ok(())
    }
}

fn request(head: http::request::Builder, body: Vec<u8>) -> Result<Request<Body>, RequestError> {
    let body = if body.is_empty() { Body::empty() } else { Body::from(body) };
    head.body(body).map_err(|e| RequestError::Transport(kube::Error::HttpError(e)))
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn progress_is_enough_unless_a_total_was_asked_for() {
        let step = || async {
            sleep(Duration::from_millis(80)).await;
            Ok::<_, kube::Error>(())
        };
        let silence = Patience::Silence(Duration::from_millis(400));
        let total = Patience::new(Some(Duration::from_millis(400)));
        let (mut progressed, mut finished) = (0, 0);
        for _ in 0..8 {
            progressed += i32::from(silence.wait(step()).await.is_ok());
            finished += i32::from(total.wait(step()).await.is_ok());
        }
        assert_eq!(progressed, 8);
        assert!(finished < 8);
        let hang = std::future::pending::<Result<(), kube::Error>>();
        assert!(matches!(silence.wait(hang).await, Err(RequestError::Silent(_))));
    }
}
