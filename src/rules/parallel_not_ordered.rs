//! Several replicas are down or on their way at once, because the set is Parallel; or were, and it showed.

use jiff::{SignedDuration, Timestamp};

use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS307",
    name: "parallel-not-ordered",
    severity: Severity::Note,
    stuck_from: None,
    page: include_str!("../../docs/rules/parallel-not-ordered.md"),
    check,
};

/// Pods created within this time were created together.
const TOGETHER: SignedDuration = SignedDuration::from_secs(60);
/// How long a replica that is ready may take to be found by the one that waits for it.
const FOUND: SignedDuration = SignedDuration::from_secs(10);
/// By how much a replica has to be ready before a lower one, so that it is more than chance.
const AHEAD: SignedDuration = SignedDuration::from_secs(5);
/// How long the order in which the replicas became ready is worth a word.
const RECENT: SignedDuration = SignedDuration::from_hours(1);
/// How long failures at the start are.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(24);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    if !set.is_parallel() || set.metadata.is_terminating() {
        return Ok(Vec::new());
    }
    let update = &set.status.update_revision;
    let updating = snapshot.replicas()?.iter().any(|it| it.pod.is_some_and(|pod| pod.revision() != update));
    // How many are down at a time in an update is maxUnavailable's to say.
    if updating {
        return Ok(Vec::new());
    }
    let down: Vec<_> = snapshot
        .replicas()?
        .iter()
        .filter(|replica| replica.pod.is_none_or(|pod| !snapshot.is_available(pod)))
        .map(|replica| replica.name.clone())
        .collect();
    let name = &set.metadata.name;
    let no_order = |evidence: &str| {
        RULE.about(
            Kind::StatefulSet,
            name,
            format!("{name} starts and stops its replicas without an order: {evidence}"),
        )
    };
    let policy = "podManagementPolicy is Parallel: the controller creates and deletes pods without waiting for others; the \
                  field cannot be changed on an existing StatefulSet";
    if down.len() >= 2 {
        let found = no_order(&format!("{} are not available", words::list(&down, 3)));
        let found = found.because(policy);
        return Ok(vec![down.iter().fold(found, |found, pod| found.follows(Kind::Pod, pod))]);
    }
    if !down.is_empty() {
        return Ok(Vec::new());
    }
    let pods: Vec<&Pod> = snapshot.replicas()?.iter().filter_map(|replica| replica.pod).collect();
    if let Some((lower, higher, container)) = failed_first(snapshot, &pods) {
        let found = no_order(&format!("{higher} failed until {lower} was ready"));
        return Ok(vec![found.because(format!(
            "its container {container} was restarted and has run since {lower} became ready; {policy}"
        ))]);
    }
    if let Some((lower, higher)) = out_of_order(snapshot, &pods) {
        let found = no_order(&format!("{higher} was ready before {lower}"));
        return Ok(vec![found.because(format!("its init containers did not wait for {lower}; {policy}"))]);
    }
    Ok(Vec::new())
}

/// A replica of which a container failed until a lower one was ready, and has not failed since: the two, and the
/// container. They were created together.
fn failed_first<'a>(snapshot: &Snapshot<'_>, pods: &[&'a Pod]) -> Option<(&'a str, &'a str, &'a str)> {
    let remembered = |then| snapshot.since(Some(then)).is_some_and(|time| time < REMEMBERED);
    pods.iter().enumerate().find_map(|(at, higher)| {
        let statuses = higher.status.init_container_statuses.iter().chain(&higher.status.container_statuses);
        statuses.into_iter().find_map(|status| {
            let (failed, begun) = retried(status).filter(|(_, begun)| remembered(*begun))?;
            let lower = pods[..at].iter().find(|lower| {
                let ready = lower.ready_since().filter(|_| together(lower, higher));
                ready.is_some_and(|ready| failed.duration_since(ready) <= FOUND && ready <= begun)
            })?;
            Some((&*lower.metadata.name, &*higher.metadata.name, &*status.name))
        })
    })
}

/// When a container that failed at first failed last, and when the run began that did not fail.
fn retried(status: &ContainerStatus) -> Option<(Timestamp, Timestamp)> {
    let last = status.last_state.terminated.as_ref().filter(|last| last.exit_code != 0)?;
    let state = &status.state;
    let running = state.running.as_ref().and_then(|running| running.started_at);
    let ended = state.terminated.as_ref().filter(|end| end.exit_code == 0).and_then(|end| end.started_at);
    last.finished_at.zip(running.or(ended)).filter(|_| status.restart_count > 0)
}

fn together(one: &Pod, other: &Pod) -> bool {
    let created = one.metadata.creation_timestamp.zip(other.metadata.creation_timestamp);
    created.is_some_and(|(one, other)| one.duration_since(other).abs() <= TOGETHER)
}

/// A replica that was ready clearly before a lower one that was created with it, a short while ago, where init containers
/// prepare the replicas: these may count on the one below. An operator knows why its sets are Parallel.
fn out_of_order<'a>(snapshot: &Snapshot<'_>, pods: &[&'a Pod]) -> Option<(&'a str, &'a str)> {
    let set = snapshot.set;
    let spec = &set.spec.template.spec;
    let prepares = spec.init_containers.iter().any(|container| container.restart_policy != "Always");
    let newest = pods.iter().filter_map(|pod| pod.metadata.creation_timestamp).max();
    let recent = snapshot.since(newest).is_some_and(|age| age < RECENT);
    if !prepares || !recent || set.metadata.controller().is_some() {
        return None;
    }
    pods.windows(2).find_map(|pair| {
        let [lower, higher] = pair else { return None };
        let (below, above) = lower.ready_since().zip(higher.ready_since())?;
        let ahead = below.duration_since(above) >= AHEAD && together(lower, higher);
        ahead.then_some((&*lower.metadata.name, &*higher.metadata.name))
    })
}
