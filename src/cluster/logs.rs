//! The ends of logs: bounded in number, in length and in time, as what is in them is up to the application.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{sleep, timeout};

use super::connect::{Connection, RequestError};
use super::inventory::why;
use super::place::encode;
use super::raw;
use crate::kinds::{Kind, Said};
use crate::snapshot::{Log, LogOf, NotRead, is_no_log};
use crate::text::clean;

/// How many logs are read for one answer.
pub const MOST: usize = 10;
/// The last lines that are read at least: what they say may stand before those that are shown.
pub const LINES: usize = 60;
/// Most bytes of one log.
const BYTES: usize = 256 * 1024;
/// A node that cannot be reached must not delay the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the pod is looked at again when the log of its last run is not there any more, and how long after each other.
const LOOKS: usize = 6;
const AGAIN: Duration = Duration::from_millis(500);

/// Reads the ends of these logs, at most [`MOST`], at the same time. Each is answered, in this order.
pub async fn read(connection: &Connection, runs: &[LogOf], lines: usize) -> Vec<Log> {
    let read = runs.iter().take(MOST).map(|of| Box::pin(one(connection, of, lines.max(LINES))));
    let mut logs = join_all(read).await;
    let unread = || NotRead::Other(format!("at most {MOST} logs are read"));
    logs.extend(runs.iter().skip(MOST).map(|of| not_read(of, unread())));
    logs
}

fn not_read(of: &LogOf, why: NotRead) -> Log {
    Log { of: of.clone(), lines: Err(why), is_cut: false, message: Vec::new() }
}

async fn one(connection: &Connection, of: &LogOf, lines: usize) -> Log {
    let bytes = match timeout(PATIENCE, of_run(connection, of, lines)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return not_read(of, reason(error)),
        Err(_) => {
            return not_read(of, NotRead::Other(format!("no answer within {}s", PATIENCE.as_secs())));
        }
    };
    let text = String::from_utf8_lossy(&bytes);
    let written = text.lines().map(|line| clean(line).trim_end().to_owned());
    let written: Vec<Said> = written.filter(|line| !line.is_empty()).map(Said::from).collect();
    let is_cut = bytes.len() >= BYTES;
    let mut written = written;
    if is_cut && written.len() > 1 && !text.ends_with('\n') {
        // The beginning of a line may say something else than the line.
        written.pop();
    }
    let first = written.len().saturating_sub(lines);
    Log { of: of.clone(), lines: Ok(written.split_off(first)), is_cut, message: Vec::new() }
}

/// The log of the run. Between the look at the pod and this one the container may have ended once more: then the run before is
/// removed, and what was the current one is the last that ended. Or it may have been started again: then the current run is a new
/// one, which has not written anything yet.
async fn of_run(connection: &Connection, of: &LogOf, lines: usize) -> Result<Vec<u8>, RequestError> {
    let LogOf { namespace, pod, container, previous, has_ended } = of;
    let current = format!(
        "{}/{}/log?container={}&tailLines={lines}&limitBytes={BYTES}",
        Kind::Pod.path(Some(&encode(namespace))),
        encode(pod),
        encode(container)
    );
    let before = format!("{current}&previous=true");
    let read = bytes(connection, if *previous { &before } else { &current }).await;
    let is_none = match &read {
        Ok(text) => str::from_utf8(text).is_ok_and(|text| is_no_log(text) || (!previous && text.is_empty())),
        Err(error) => matches!(error, RequestError::Api { .. }),
    };
    if !is_none || !(*previous || *has_ended) {
        return read;
    }
    for _ in 0..LOOKS {
        match (state(connection, of).await, previous) {
            (Some(State::Ended), true) => return bytes(connection, &current).await.or(read),
            // It is the last one that ended, while the container waits.
            (Some(State::Waiting), _) | (Some(State::Running), false) => {
                return bytes(connection, &before).await.or(read);
            }
            // The kubelet has removed the log, and writes the end down a moment later.
            (Some(State::Running), true) => sleep(AGAIN).await,
            (Some(State::Ended), false) | (None, _) => break,
        }
    }
    read
}

/// How a container is.
enum State {
    Ended,
    Waiting,
    Running,
}

/// How a container is now, as far as that is known.
async fn state(connection: &Connection, of: &LogOf) -> Option<State> {
    let pod = raw::object(connection, &of.namespace, Kind::Pod, &of.pod).await.ok().flatten()?;
    let all = ["containerStatuses", "initContainerStatuses"].map(|field| pod["status"][field].as_array());
    let status = all.into_iter().flatten().flatten().find(|it| it["name"] == of.container.as_str())?;
    let is = |state: &str| status["state"][state].is_object();
    match () {
        () if is("terminated") => Some(State::Ended),
        () if is("waiting") => Some(State::Waiting),
        () if is("running") => Some(State::Running),
        () => None,
    }
}

/// The body, but at most as much as was asked for: a proxy may answer with more.
async fn bytes(connection: &Connection, path: &str) -> Result<Vec<u8>, RequestError> {
    // As kubectl: a refusal is JSON, and a log is what it is.
    let mut reply = connection.get(path, "application/json, */*").await?;
    let mut all = Vec::new();
    while let Some(piece) = reply.chunk().await? {
        let room = BYTES - all.len();
        all.extend_from_slice(piece.get(..room).unwrap_or(&piece));
        if all.len() >= BYTES {
            break;
        }
    }
    Ok(all)
}

fn reason(error: RequestError) -> NotRead {
    match error {
        RequestError::NotFound { .. } => NotRead::Other("the pod no longer exists".to_owned()),
        RequestError::Api { message, .. } if !message.is_empty() => NotRead::Other(message),
        error => why(error),
    }
}
