//! Bytes to a port of a pod, and commands inside one: what kube opens a stream for. Nothing else is done with kube's own
//! types here, and nothing is created.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Api;
use kube::api::{AttachParams, AttachedProcess};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::message::{Question, failed};
use crate::cluster::connect::{Connection, RequestError};
use crate::cluster::inventory::why;
use crate::snapshot::{DnsAnswer, NotRead};
use crate::text::one_line;

/// How long a stream may take to be opened, through the API server and the node.
const OPEN: Duration = Duration::from_secs(10);
/// How long an answer may take: resolvers ask again after five seconds (`resolv.conf(5)`).
const ANSWER: Duration = Duration::from_secs(5);
/// How long a command inside a pod may take: resolvers ask each of three servers twice.
const COMMAND: Duration = Duration::from_secs(30);
/// How long the node may take to say why a port cannot be reached.
const REASON: Duration = Duration::from_millis(500);
/// Most bytes of what a command prints.
const PRINTED: u64 = 64 * 1024;
/// Longest reason that is kept.
const LONGEST: usize = 200;
/// Longest message of a runtime that is kept: it names each layer and the container's id before it says what is wrong.
const MESSAGE: usize = 2000;

/// The smaller of both limits: `--request-timeout`, and our own.
fn limit(connection: &Connection, most: Duration) -> Duration {
    connection.timeout.filter(|timeout| !timeout.is_zero()).map_or(most, |timeout| timeout.min(most))
}

fn silent(after: Duration) -> NotRead {
    NotRead::Other(format!("no answer within {}s", after.as_secs_f32()))
}

fn api(connection: &Connection, namespace: &str) -> Api<Pod> {
    Api::namespaced(connection.client(), namespace)
}

/// Why a stream was not opened.
fn unopened(error: kube::Error) -> NotRead {
    match why(RequestError::from(error)) {
        NotRead::Other(text) => NotRead::Other(one_line(&text, LONGEST)),
        forbidden @ NotRead::Forbidden(_) => forbidden,
    }
}

/// Why a port gave no answer at all.
pub(super) enum Unanswered {
    /// The way to the pod is closed, which says nothing of the pod.
    NotReached(NotRead),
    /// The pod does not answer.
    Silent(String),
}

/// Asks all these questions through one connection to a port of a pod. Each is answered, in this order, with an answer or
/// the reason why there is none.
///
/// # Errors
/// When there is no answer at all.
pub(super) async fn ask(
    connection: &Connection,
    (namespace, pod, port): (&str, &str, u16),
    questions: &[Question],
) -> Result<Vec<Result<Vec<u8>, String>>, Unanswered> {
    let api = api(connection, namespace);
    let open = limit(connection, OPEN);
    let mut forward = match timeout(open, api.portforward(pod, &[port])).await {
        Ok(opened) => opened.map_err(|error| Unanswered::NotReached(unopened(error)))?,
        Err(_) => return Err(Unanswered::NotReached(silent(open))),
    };
    let (Some(mut stream), trouble) = (forward.take_stream(port), forward.take_error(port)) else {
        return Err(Unanswered::NotReached(NotRead::Other("the port is not forwarded".to_owned())));
    };
    let all: Vec<u8> = questions.iter().filter_map(Question::framed).flatten().collect();
    let mut answers: Vec<Option<Vec<u8>>> = vec![None; questions.len()];
    let wait = limit(connection, ANSWER);
    let ended = match timeout(wait, stream.write_all(&all)).await {
        Ok(Ok(())) => read_all(&mut stream, questions, &mut answers, wait).await,
        Ok(Err(error)) => error.to_string(),
        Err(_) => silent(wait).to_string(),
    };
    // The node says why on a channel of its own.
    let said = match trouble {
        Some(trouble) if answers.iter().any(Option::is_none) => timeout(REASON, trouble).await.ok().flatten(),
        _ => None,
    };
    forward.abort();
    let ended = said.map_or(ended, |said| one_line(&said, LONGEST));
    if answers.iter().all(Option::is_none) {
        return Err(Unanswered::Silent(ended));
    }
    Ok(answers.into_iter().map(|answer| answer.ok_or_else(|| ended.clone())).collect())
}

/// Reads answers until there is one to each question, and says why there is no more. Each is to come in time, and there can
/// be no more of them than were asked for.
async fn read_all(
    stream: &mut (impl AsyncRead + Unpin),
    questions: &[Question],
    answers: &mut [Option<Vec<u8>>],
    wait: Duration,
) -> String {
    for _ in 0..questions.len() {
        let bytes = match timeout(wait, frame(stream)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(_)) => return "the connection was closed".to_owned(),
            Err(_) => return silent(wait).to_string(),
        };
        let place =
            questions.iter().zip(answers.iter_mut()).find(|(question, _)| question.is_asked_by(&bytes));
        if let Some((_, answer @ None)) = place {
            *answer = Some(bytes);
        }
    }
    "the answers are to other questions".to_owned()
}

/// A message of DNS over TCP: its length of two bytes, and so many bytes (RFC 1035, 4.2.2).
async fn frame(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// What one question was answered.
pub(super) fn answer(question: &Question, bytes: Result<&Vec<u8>, &String>) -> DnsAnswer {
    match bytes {
        Ok(bytes) => question.answer(bytes),
        Err(why) => failed(why.clone()),
    }
}

/// What a command inside a container did.
pub(super) struct Ran {
    pub(super) code: i32,
    /// What it printed, as far as it is kept.
    pub(super) printed: String,
    /// What is said of its end.
    pub(super) said: String,
}

impl Ran {
    fn of(status: Status, printed: String) -> Ran {
        if status.status.as_deref() == Some("Success") {
            return Ran { code: 0, printed, said: String::new() };
        }
        let said = one_line(&status.message.unwrap_or_default(), MESSAGE);
        let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
        let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
        let code = code.and_then(|cause| cause.message.as_deref()?.parse().ok());
        Ran { code: code.unwrap_or(-1), printed, said }
    }

    /// Whether the container has no such program (`exec.go` of containers' runtimes; a shell's 127).
    pub(super) fn is_missing(&self) -> bool {
        let missing = ["executable file not found", "no such file or directory", "not found in $PATH"];
        matches!(self.code, 126 | 127) || missing.iter().any(|words| self.said.contains(words))
    }
}

/// Runs a command inside a container.
///
/// # Errors
/// When that is not allowed, or not possible.
pub(super) async fn run(
    connection: &Connection,
    (namespace, pod, container): (&str, &str, &str),
    command: &[&str],
) -> Result<Ran, NotRead> {
    let api = api(connection, namespace);
    let open = limit(connection, OPEN);
    let params = AttachParams::default().container(container).stdin(false);
    let mut process = match timeout(open, api.exec(pod, command.iter().copied(), &params)).await {
        Ok(started) => started.map_err(unopened)?,
        Err(_) => return Err(silent(open)),
    };
    let (Some(out), Some(mut errors), Some(status)) =
        (AttachedProcess::stdout(&mut process), AttachedProcess::stderr(&mut process), process.take_status())
    else {
        return Err(NotRead::Other("the command has no output".to_owned()));
    };
    let wait = limit(connection, COMMAND);
    let work = async {
        let mut bytes = Vec::new();
        let (mut out, mut rest) = (out.take(PRINTED), Vec::new());
        let reading = async {
            let _ = out.read_to_end(&mut bytes).await;
        };
        let complaining = async {
            let _ = (&mut errors).take(PRINTED).read_to_end(&mut rest).await;
        };
        tokio::join!(reading, complaining);
        bytes.extend(b"\n");
        bytes.extend(rest);
        (bytes, status.await)
    };
    let done = timeout(wait, work).await;
    process.abort();
    let Ok((bytes, status)) = done else { return Err(silent(wait)) };
    let printed = String::from_utf8_lossy(&bytes).into_owned();
    let Some(status) = status else {
        return Err(NotRead::Other("the connection was closed".to_owned()));
    };
    Ok(Ran::of(status, printed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions() -> Vec<Question> {
        ["a.test", "b.test"].iter().zip(1..).filter_map(|(name, id)| Question::new(id, name, false)).collect()
    }

    async fn read(bytes: Vec<u8>, is_open: bool) -> (Vec<bool>, String) {
        let (mut near, mut far) = tokio::io::duplex(1 << 20);
        far.write_all(&bytes).await.expect("it is taken");
        let held = is_open.then_some(far);
        let mut answers = vec![None; 2];
        let ended = read_all(&mut near, &questions(), &mut answers, Duration::from_millis(200)).await;
        drop(held);
        (answers.iter().map(Option::is_some).collect(), ended)
    }

    #[test]
    fn a_missing_program_is_told_whatever_stands_before_it() {
        // As kubelet 1.37.1 with containerd 1.6 and runc 1.1 said it.
        let message = "Internal error occurred: error executing command in container: failed to exec in container: failed to \
                       start exec \"ab5351359e7ebef30176b2225a30b13843ca7cf2ad0f2b2a55f9702641a62d8e\": OCI runtime exec \
                       failed: exec failed: unable to start container process: exec: \"getent\": executable file not found \
                       in $PATH: unknown";
        let status = |message: &str| Status {
            status: Some("Failure".to_owned()),
            message: Some(message.to_owned()),
            ..Status::default()
        };
        assert!(Ran::of(status(message), String::new()).is_missing());
        assert!(
            !Ran::of(status("Internal error occurred: container not running"), String::new()).is_missing()
        );
    }

    #[tokio::test]
    async fn answers_come_in_any_order_and_strangers_count_for_none() {
        let (second, first) = ([0u8, 3, 0, 2, 9], [0u8, 3, 0, 1, 9]);
        assert_eq!(read([second, first].concat(), false).await.0, [true, true]);
        // The same again is not the other.
        assert_eq!(read([second, second].concat(), false).await.0, [false, true]);
        assert_eq!(
            read(vec![0, 3, 7, 7, 7], false).await,
            (vec![false, false], "the connection was closed".to_owned())
        );
        // What promises more than it sends.
        assert_eq!(read(vec![0xff, 0xff, 0, 1], false).await.0, [false, false]);
        let (none, why) = read(vec![0xff, 0xff, 0, 1], true).await;
        assert_eq!((none, why.starts_with("no answer within")), (vec![false, false], true));
        // More than was asked for is not read.
        let flood = [0u8, 2, 7, 7].repeat(100_000);
        assert_eq!(read(flood, true).await.1, "the answers are to other questions");
    }
}
