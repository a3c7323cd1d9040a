//! Which run of a container a finding is about, and what the log of that run says.
//!
//! A rule names the run. Whether its log is read, and by whom, is decided by the command: rules see no more than a snapshot.

use jiff::SignedDuration;

use super::Finding;
use super::hints::{self, Hint};
use super::pods::status;
use super::prelude::*;
use crate::messages::kubelet::back_off;
use crate::snapshot::{Log, LogOf, NotRead, is_no_log, termination_message};
use crate::time::later;

/// What the log of a finding's container says.
#[derive(Clone, Debug)]
pub struct LogTail {
    /// Which run of which container.
    pub of: LogOf,
    /// The last lines; not more than were asked for.
    pub lines: Vec<Said>,
    /// Whether they are too long to be read as a whole, so that the very last ones are not among them.
    pub is_cut: bool,
    /// Why they were not read.
    pub not_read: Option<NotRead>,
    /// The last lines of the termination message, where the log does not have them.
    pub message: Vec<Said>,
    /// What a known sentence in the log means.
    pub hint: Option<LogHint>,
}

/// What a sentence in a log means. It is the application that says so, or a tenant in its name: it changes neither the
/// severity of a finding nor what is recommended.
#[derive(Clone, Debug)]
pub struct LogHint {
    /// The name of the hint.
    pub name: String,
    /// The line that has the sentence.
    pub line: Said,
    /// Whether it is one of the termination message, and not of the log.
    pub is_of_message: bool,
    /// The cause that the line tells of, as what follows "the log says that".
    pub cause: String,
    /// What to do about it, in the imperative.
    pub remedy: String,
}

impl Finding {
    /// Is about this run of a container, whose log may say why.
    #[must_use]
    pub(super) fn told_by(mut self, run: LogOf) -> Finding {
        self.run = Some(run);
        self
    }

    /// Says what the log of its run says: this number of lines, and what a known sentence among all that were read means.
    pub fn add_log(&mut self, snapshot: &Snapshot<'_>, log: &Log, lines: usize) {
        let (all, not_read) = match &log.lines {
            Ok(all) if matches!(all.as_slice(), [line] if is_no_log(line)) => {
                (&[][..], Some(NotRead::Other("the node no longer has it".to_owned())))
            }
            Ok(all) => (all.as_slice(), None),
            Err(why) => (&[][..], Some(why.clone())),
        };
        let pods = snapshot.pods().unwrap_or_default();
        let pod = pods.iter().find(|pod| pod.metadata.name == log.of.pod);
        let message = match log.message.as_slice() {
            [] => pod.map(|pod| termination_message(pod, &log.of)).unwrap_or_default(),
            message => message.to_vec(),
        };
        // With FallbackToLogsOnError it is the end of the log.
        let message = if message.iter().all(|line| all.contains(line)) { Vec::new() } else { message };
        let found = hints::of(all).map(|it| (it, false)).or_else(|| hints::of(&message).map(|it| (it, true)));
        let found = found.map(|((hint, line), is_of_message)| LogHint {
            is_of_message,
            ..told(snapshot, &log.of, hint, line)
        });
        self.log = Some(LogTail {
            of: log.of.clone(),
            lines: all[all.len().saturating_sub(lines)..].to_vec(),
            is_cut: log.is_cut,
            not_read,
            message: message[message.len().saturating_sub(lines)..].to_vec(),
            hint: found,
        });
    }
}

/// The run of a container that ended last, see [`LogOf::last`].
pub(super) fn last_run(snapshot: &Snapshot<'_>, pod: &Pod, container: &str) -> LogOf {
    LogOf::last(home(snapshot), &pod.metadata.name, container, status(pod, container))
}

/// The run of a container that runs.
pub(super) fn this_run(snapshot: &Snapshot<'_>, pod: &Pod, container: &str) -> LogOf {
    LogOf {
        namespace: home(snapshot).to_owned(),
        pod: pod.metadata.name.clone(),
        container: container.to_owned(),
        previous: false,
        has_ended: false,
    }
}

/// A kubelet looks at a pod again up to 30 seconds after the end of a back-off: when that is over, but at most after a minute,
/// and half of this time is its jitter (`pod_workers.go:completeWork`).
const LATE: SignedDuration = SignedDuration::from_secs(30);

/// When the kubelet starts a container again that waits in its back-off, as a part of a sentence. The back-off is counted
/// from the end of the last run (`kuberuntime_manager.go:doBackOff`). Empty where that is not known.
pub(super) fn next_start(snapshot: &Snapshot<'_>, pod: &Pod, container: &str) -> String {
    let due = || {
        let status = status(pod, container).filter(|_| snapshot.is_dated())?;
        let waiting = status.state.waiting.as_ref().filter(|waiting| waiting.reason == "CrashLoopBackOff")?;
        let end = status.last_state.terminated.as_ref()?.finished_at?;
        let due = later(end, back_off(&waiting.message)?);
        (snapshot.taken_at <= later(due, LATE)).then(|| due.duration_since(snapshot.taken_at))
    };
    match due() {
        Some(wait) if wait.is_positive() => {
            format!("; the kubelet starts it again in {}", words::age(wait))
        }
        Some(_) => "; the kubelet starts it again within seconds".to_owned(),
        None => String::new(),
    }
}

/// A hint with what the cluster adds to it.
fn told(snapshot: &Snapshot<'_>, of: &LogOf, hint: &Hint, line: &Said) -> LogHint {
    let pods = snapshot.pods().unwrap_or_default();
    let pod = pods.iter().find(|pod| pod.metadata.name == of.pod).copied();
    let added = match hint.asks.as_str() {
        "architecture" => pod.and_then(|pod| architecture(snapshot, pod)),
        "old-pvc" => pod.and_then(|pod| old_pvc(snapshot, pod)),
        _ => None,
    };
    let cause = added.map_or(hint.cause.clone(), |added| format!("{} ({added})", hint.cause));
    LogHint {
        name: hint.name.clone(),
        line: line.clone(),
        is_of_message: false,
        cause,
        remedy: hint.remedy.clone(),
    }
}

/// On what the pod runs, and on what others of the StatefulSet do that are ready.
fn architecture(snapshot: &Snapshot<'_>, pod: &Pod) -> Option<String> {
    let of = |pod: &Pod| {
        let node = snapshot.node(&pod.spec.node_name).ok()??;
        let architecture = &node.status.node_info.architecture;
        (!architecture.is_empty()).then_some((node.metadata.name.as_str(), architecture.as_str()))
    };
    let (node, own) = of(pod)?;
    let replicas = snapshot.replicas().unwrap_or_default();
    let ready = replicas.iter().filter_map(|replica| replica.pod).filter(|other| other.is_ready());
    let other = ready.filter_map(|other| Some((other, of(other)?.1))).find(|(_, other)| *other != own);
    let other = other.map_or(String::new(), |(other, architecture)| {
        format!("; {} is ready on {architecture}", other.metadata.name)
    });
    Some(format!("{node} is {own}{other}"))
}

/// What a PVC is older than its StatefulSet by, at least, to be one of an earlier release.
const OLDER: SignedDuration = SignedDuration::from_mins(5);

/// The PVC of the pod that is clearly older than the StatefulSet: its data was there before.
fn old_pvc(snapshot: &Snapshot<'_>, pod: &Pod) -> Option<String> {
    let set = snapshot.set.metadata.creation_timestamp?;
    let claims = pod.claim_names().filter_map(|name| snapshot.claim(&name).ok().flatten());
    let made = claims.filter_map(|claim| Some((claim.metadata.creation_timestamp?, claim)));
    let (made, claim) = made.min_by_key(|(made, _)| *made).filter(|(made, _)| later(*made, OLDER) < set)?;
    Some(format!(
        "PVC {} is {} old and the StatefulSet {}, so the data is that of an earlier release",
        claim.metadata.name,
        words::age(snapshot.since(Some(made))?),
        words::age(snapshot.since(Some(set))?)
    ))
}
