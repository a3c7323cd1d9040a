//! Looking after the pods of a canary once they are available: that they stay good, and what a check of yours says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::current;
use crate::cli::heading;
use crate::cluster::live::Live;
use crate::commands::act::ProgressReporter;
use crate::error::{Error, Result};
use crate::reconcile::{Observer, Outcome};
use crate::snapshot::Snapshot;
use crate::text::clean;
use crate::time::{after, signed};
use crate::words::{self, parse_duration};

/// How well the pods have to do, beyond becoming available.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Verification {
    /// After each step, require the pods to stay available without a restart for this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = heading::SAFETY)]
    bake: Option<Duration>,
    /// Run this shell command after each step, and stop unless its exit code is 0; it gets STS_NAMESPACE, STS_SET, STS_REVISION and STS_PODS
    #[arg(long, value_name = "COMMAND", help_heading = heading::SAFETY)]
    check: Option<String>,
}

/// How much of what a check said is shown.
const LAST: usize = 10;
/// How often a check is looked after.
const PAUSE: Duration = Duration::from_millis(50);

/// What a pod must keep.
type Known = BTreeMap<String, (String, i32)>;

impl Verification {
    /// Whether there is anything to do.
    pub(in crate::commands) fn is_wanted(&self) -> bool {
        self.bake.is_some() || self.check.is_some()
    }

    /// The same, for the plan.
    pub(in crate::commands) fn facts(&self) -> Vec<(&'static str, String)> {
        let bake = self.bake.map(|time| {
            let time = words::age(signed(time));
            ("bake", format!("after each step the pods are observed for {time} and must stay healthy"))
        });
        let check = self.check.as_ref().map(|command| ("check", format!("after each step run: {command}")));
        bake.into_iter().chain(check).collect()
    }

    /// Looks after the pods; why not to go on, if so.
    pub(in crate::commands) async fn after(
        &self,
        live: &mut Live,
        name: &str,
        teller: &mut ProgressReporter,
        deadline: Option<Instant>,
    ) -> Result<Option<Outcome>> {
        if let Some(time) = self.bake
            && let Some(outcome) = bake(live, name, teller, time, deadline).await?
        {
            return Ok(Some(outcome));
        }
        match &self.check {
            Some(command) => check(live, name, teller, command, deadline).await,
            None => Ok(None),
        }
    }
}

async fn bake(
    live: &mut Live,
    name: &str,
    teller: &mut ProgressReporter,
    time: Duration,
    deadline: Option<Instant>,
) -> Result<Option<Outcome>> {
    let (known, spec) = current(live, name, |now| (known(now), spec(now)))?;
    let pods: Vec<&String> = known.keys().rev().collect();
    let text = words::age(signed(time));
    teller.tell(name, "observing", format!("observing {} for {text}", words::list(&pods, 3)));
    let end = after(Instant::now(), time);
    loop {
        teller.trouble(live.broken());
        let verdict = live.look(|now| match now {
            None => Some(Outcome::Gone),
            Some(now) => {
                teller.look(now);
                if self::spec(now) == spec {
                    regression(now, &known).map(|what| Outcome::Failed(what, Vec::new()))
                } else {
                    Some(Outcome::Drifted(
                        "the template or the partition was changed while the pods were observed".to_owned(),
                    ))
                }
            }
        });
        if verdict.is_some() {
            return Ok(verdict);
        }
        if Instant::now() >= end {
            teller.tell(name, "observed", format!("stayed healthy for {text}"));
            return Ok(None);
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Some(Outcome::TimedOut));
        }
        let until = after(Instant::now(), Duration::from_millis(500)).min(end);
        live.changed(deadline.map_or(until, |deadline| until.min(deadline))).await;
    }
}

/// What a canary is about: a scaling changes nothing of it.
fn spec(now: &Snapshot<'_>) -> (String, i32) {
    (now.set.status.update_revision.clone(), now.set.partition())
}

/// The pods of the canary, with what they must keep: uid and restarts.
fn known(now: &Snapshot<'_>) -> Known {
    let pods = now.above(now.set.partition()).unwrap_or_default().into_iter();
    pods.filter_map(|replica| {
        let pod = replica.pod?;
        Some((replica.name.clone(), (pod.metadata.uid.clone(), pod.restarts())))
    })
    .collect()
}

/// What has become of the pods, if they are not good any more.
fn regression(now: &Snapshot<'_>, known: &Known) -> Option<String> {
    let replicas = now.replicas().ok()?;
    known.iter().rev().find_map(|(name, (uid, restarts))| {
        let replica = replicas.iter().find(|replica| replica.name == *name);
        let Some(pod) = replica.and_then(|replica| replica.pod).filter(|pod| pod.metadata.uid == *uid) else {
            return Some(format!("{name} was replaced while it was observed"));
        };
        if pod.metadata.is_terminating() {
            return Some(format!("{name} was deleted while it was observed"));
        }
        let cause = now.trouble(pod).map_or(String::new(), |trouble| format!(" ({})", trouble.why.word()));
        if pod.restarts() > *restarts {
            let times = words::count(pod.restarts() - restarts, "time");
            return Some(format!("{name} restarted {times} while it was observed{cause}"));
        }
        let available = now.is_available(pod);
        (!available).then(|| format!("{name} did not stay available while it was observed{cause}"))
    })
}

/// A process that does not outlive the wait for it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn check(
    live: &mut Live,
    name: &str,
    teller: &mut ProgressReporter,
    command: &str,
    deadline: Option<Instant>,
) -> Result<Option<Outcome>> {
    let (pods, namespace, revision) = current(live, name, |now| {
        let pods: Vec<String> = known(now).into_keys().rev().collect();
        (pods, now.set.metadata.namespace.clone(), now.set.status.update_revision.clone())
    })?;
    teller.tell(name, "check", format!("check: {command}"));
    let failed = |error: std::io::Error| Error::cluster("could not run the check").because(error);
    let child = Command::new("sh")
        .args(["-c", command])
        .env("STS_NAMESPACE", namespace)
        .env("STS_SET", name)
        .env("STS_PODS", pods.join(" "))
        .env("STS_REVISION", revision)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let mut child = Running(child);
    let said = Arc::new(Mutex::new(Vec::new()));
    let readers: Vec<JoinHandle<()>> = [
        child.0.stdout.take().map(|out| collect(out, Arc::clone(&said))),
        child.0.stderr.take().map(|err| collect(err, Arc::clone(&said))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let status = loop {
        if let Some(status) = child.0.try_wait().map_err(failed)? {
            break status;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(Some(Outcome::TimedOut));
        }
        sleep(PAUSE).await;
        live.changed(Instant::now()).await;
    };
    if status.success() {
        teller.tell(name, "checked", "the check passed".to_owned());
        return Ok(None);
    }
    // A child of the check may keep its output open for ever: what is there by now has to do.
    let patience = after(Instant::now(), Duration::from_secs(1));
    while readers.iter().any(|reader| !reader.is_finished()) && Instant::now() < patience {
        sleep(PAUSE).await;
    }
    let lines = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let what = match status.code() {
        Some(code) => format!("the check failed with exit code {code}: {command}"),
        None => format!("the check was killed by a signal: {command}"),
    };
    Ok(Some(Outcome::Failed(what, lines)))
}

fn collect(out: impl Read + Send + 'static, said: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(out).split(b'\n').map_while(std::result::Result::ok) {
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            said.push(clean(&String::from_utf8_lossy(&line)));
            if said.len() > LAST {
                said.remove(0);
            }
        }
    })
}
