//! A pod runs, or should run, and does not become ready.

use jiff::SignedDuration;

use super::gates;
use super::log::this_run;
use super::pods::{DEADLINE, Group, container as spec_of, grouped, status, wanted};
use super::prelude::*;
use super::probed::{self, Wrong};
use crate::messages::clipped;
use crate::messages::kubelet::{Probe, gist, lacks_network, owner_progress, probe_words};
use crate::snapshot::PodFailure;

pub const RULE: Rule = Rule {
    code: "STS404",
    name: "never-ready",
    severity: Severity::Error,
    stuck_from: Some(Severity::Warning),
    page: include_str!("../../docs/rules/never-ready.md"),
    check,
};

#[derive(Clone, PartialEq, Eq, Hash)]
enum Cause<'a> {
    /// A container is not ready.
    Probe(&'a str, Severity),
    /// A container is not ready, and looks as if it were meant to be so.
    Standby(&'a str),
    /// All containers are, but not this readiness gate.
    Gate(&'a str, Severity),
    /// The sandbox cannot be made.
    Sandbox(&'static str),
    /// An init container waits for peers that come only after it.
    Peers(super::peers::Held<'a>),
    /// An init container is still at work.
    Init(&'a str),
    /// The kubelet is changing the owner of the files in its volumes.
    Ownership,
    /// A container should have started, and has not; the reason of the newest event, if there is one.
    Silent(&'a str, Option<&'a str>),
    /// The kubelet of this node has not said anything of the pod.
    Unclaimed(&'a str),
}

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let held = super::peers::held(snapshot)?;
    let groups = grouped(wanted(snapshot)?, |case| {
        let late = case.unready(snapshot).is_some_and(|time| time > DEADLINE);
        let severity = if late { Severity::Error } else { Severity::Warning };
        match (case.why()?, case.container()) {
            (PodFailure::Unready { .. }, Some(container)) if snapshot.stands_by(case.pod) => {
                Some(Cause::Standby(container))
            }
            (PodFailure::Unready { .. }, Some(container)) => Some(Cause::Probe(container, severity)),
            (PodFailure::Unready { .. }, None) => Some(Cause::Gate(closed_gate(case.pod)?, severity)),
            (PodFailure::Sandbox { message }, _) => Some(Cause::Sandbox(lacking(message))),
            (PodFailure::Silent, Some(container)) => {
                Some(Cause::Silent(container, telling(snapshot, case.pod).map(|event| event.reason.as_str())))
            }
            (PodFailure::Silent, None) => Some(Cause::Unclaimed(&case.pod.spec.node_name)),
            (PodFailure::Starting, _) if snapshot.changes_owner(case.pod).is_some() => Some(Cause::Ownership),
            (PodFailure::Starting, _) if held.contains_key(&case.ordinal) => {
                held.get(&case.ordinal).cloned().map(Cause::Peers)
            }
            (PodFailure::Starting, _) => Some(Cause::Init(long_init(snapshot, case.pod)?)),
            _ => None,
        }
    });
    let found = groups.iter().map(|(cause, group)| {
        let unready = group.unready(snapshot);
        let not_ready = ["does not become ready", "do not become ready"];
        match cause {
            Cause::Probe(container, severity) => {
                let (allowed, message) = match group.first().why() {
                    Some(PodFailure::Unready { allowed, message }) => (*allowed, *message),
                    _ => (0, None),
                };
                let allows = match allowed {
                    0 => String::new(),
                    seconds => {
                        format!("; its probes allow {}", words::age(SignedDuration::from_secs(seconds)))
                    }
                };
                let said = message.map_or(String::new(), |message| format!("; {}", probe_words(message)));
                let wrong = wrong(snapshot, group, container, message.unwrap_or_default());
                let why = wrong.as_ref().map_or(String::new(), |wrong| format!("; {}", wrong.why));
                let finding = group
                    .finding(&RULE, &not_ready)
                    .because(format!("container {container} is running, but {unready}{allows}{said}{why}"))
                    .told_by(this_run(snapshot, group.first().pod, container))
                    .only(*severity);
                let log = logs(snapshot, group, container);
                let finding = match wrong {
                    Some(Wrong { change: Some(change), is_certain: true, .. }) => finding.remedy(change),
                    Some(Wrong { change: Some(change), .. }) => finding.remedy(log).instead(change),
                    _ => finding.remedy(log),
                };
                let back = group.back(snapshot).filter(|_| *severity == Severity::Error);
                let finding = back.into_iter().fold(finding, Finding::instead);
                super::peers::awaited(snapshot, group.first().pod, finding)
            }
            Cause::Standby(container) => standby(snapshot, group, container),
            Cause::Peers(held) => super::peers::deadlocked(snapshot, &RULE, group, held),
            Cause::Ownership => ownership(snapshot, group),
            Cause::Gate(gate, severity) => gates::closed(snapshot, group, gate, group.finding(&RULE, &not_ready)).only(*severity),
            Cause::Sandbox(what) => {
                let said = match group.first().why() {
                    Some(PodFailure::Sandbox { message }) => gist(message),
                    _ => String::new(),
                };
                let node = &group.first().pod.spec.node_name;
                let finding = group
                    .finding(&RULE, &[format!("gets no {what}"), format!("get no {what}")])
                    .because(format!(
                        "the pod sandbox cannot be created; {unready}: {said}; repair what {node} uses for it (the pod of the network \
                         plugin, or the container runtime): the kubelet tries again by itself"
                    ))
                    .remedy(on_node(group, snapshot));
                group.elsewhere(snapshot).into_iter().fold(finding, Finding::instead)
            }
            Cause::Silent(container, _) => {
                let finding = group
                    .finding(&RULE, &["does not start", "do not start"])
                    .because(format!(
                        "container {container} should have started by now; {}; {unready}",
                        last_words(snapshot, group.first().pod)
                    ))
                    .remedy(group.describe(snapshot));
                group.elsewhere(snapshot).into_iter().fold(finding, Finding::instead)
            }
            Cause::Unclaimed(node) => {
                let finding = group
                    .finding(
                        &RULE,
                        &[
                            format!("has not been started by the kubelet of {node}"),
                            format!("have not been started by the kubelet of {node}"),
                        ],
                    )
                    .because(format!(
                        "it is scheduled to that node, but has no container status; {unready}; restart the kubelet of {node}"
                    ))
                    .remedy(match *node {
                        "" => group.describe(snapshot),
                        node => kubectl("describe node").name(node),
                    });
                group.elsewhere(snapshot).into_iter().fold(finding, Finding::instead)
            }
            Cause::Init(container) => group
                .finding(
                    &RULE,
                    &[
                        format!("waits for its init container {container}"),
                        format!("wait for their init container {container}"),
                    ],
                )
                .because(format!("the init container is still running; {unready}"))
                .remedy(logs(snapshot, group, container))
                .told_by(this_run(snapshot, group.first().pod, container))
                .only(Severity::Note),
        }
    });
    Ok(found.map(|finding| super::services::unpublished(snapshot, finding)).collect())
}

/// What is wrong with the probe that keeps the container from being ready.
fn wrong(snapshot: &Snapshot<'_>, group: &Group<'_>, container: &str, said: &str) -> Option<Wrong> {
    let first = group.first().pod;
    let starts = status(first, container).is_some_and(|status| status.started == Some(false));
    // Without a startup probe the container has started as soon as it runs.
    let starts = starts && spec_of(first, container).is_some_and(|it| it.startup_probe.is_some());
    let which = if starts { Probe::Startup } else { Probe::Readiness };
    probed::wrong(snapshot, group, (container, which), said)
}

/// The command that shows the other pods of its node: those of the network plugin are among them.
fn on_node(group: &Group<'_>, snapshot: &Snapshot<'_>) -> Command {
    match group.first().pod.spec.node_name.as_str() {
        "" => group.describe(snapshot),
        node => kubectl("get pods --all-namespaces -o wide --field-selector").joined("spec.nodeName=", node),
    }
}

/// Replicas that run for days beside a ready one, as those do that wait for its lock.
fn standby(snapshot: &Snapshot<'_>, group: &Group<'_>, container: &str) -> Finding {
    let said = match group.first().why() {
        Some(PodFailure::Unready { message: Some(message), .. }) => format!("; {}", probe_words(message)),
        _ => String::new(),
    };
    let pods = snapshot.replicas().unwrap_or_default().iter().filter_map(|replica| replica.pod);
    let ready: Vec<&str> = pods.filter(|pod| pod.is_ready()).map(|pod| pod.metadata.name.as_str()).collect();
    let are = if ready.len() == 1 { "is" } else { "are" };
    let is_minority = group.iter().count() < ready.len();
    let looks = if is_minority {
        "it may be a standby that waits for a lock, or a broken replica: check its log"
    } else {
        "this looks like active/standby, where only the replica that holds the lock is ready"
    };
    let cost = if snapshot.set.is_parallel() {
        ""
    } else {
        "; an update of an OrderedReady StatefulSet waits until every replica is ready, and this one never becomes ready"
    };
    group
        .finding(&RULE, &["runs without becoming ready", "run without becoming ready"])
        .because(format!(
            "container {container} has run without a restart, {}; {} {are} ready on the same revision; \
             {looks}{cost}{said}",
            group.unready(snapshot),
            words::list(&ready, 3)
        ))
        .remedy(logs(snapshot, group, container))
        .told_by(this_run(snapshot, group.first().pod, container))
        .only(if is_minority { Severity::Warning } else { Severity::Note })
}

/// The kubelet is at work, and only looks as if it did nothing.
fn ownership(snapshot: &Snapshot<'_>, group: &Group<'_>) -> Finding {
    let (set, at) = (snapshot.set, home(snapshot));
    let event = snapshot.changes_owner(group.first().pod);
    let said = event.map_or(String::new(), |event| {
        let ago = snapshot.since(event.last_seen()).unwrap_or_default();
        format!("; it said {} ago: {}", words::age(ago), clipped(owner_progress(event)))
    });
    let is_root_only = set.spec.template.spec.security_context.fs_group_change_policy == "OnRootMismatch";
    let wait =
        kubectl("wait pod").name(group.pod()).with("--for=condition=Ready --timeout=24h").namespace(at);
    let policy = serde_json::json!({
        "spec": {"template": {"spec": {"securityContext": {"fsGroupChangePolicy": "OnRootMismatch"}}}}
    });
    let patch = kubectl("patch statefulset")
        .name(&set.metadata.name)
        .namespace(at)
        .with("--type=merge")
        .patch(&policy);
    let (later, remedy) = if is_root_only || set.metadata.controller().is_some() {
        ("", wait)
    } else {
        (
            "; with fsGroupChangePolicy: OnRootMismatch, later starts skip this, but setting it updates the template",
            wait.and(patch),
        )
    };
    group
        .finding(
            &RULE,
            &[
                "has not started yet: the kubelet is changing the owner of the files in its volume",
                "have not started yet: the kubelet is changing the owner of the files in their volumes",
            ],
        )
        .because(format!(
            "the kubelet first changes the owner of all files to the fsGroup of the pod; {}{said}; wait: a new pod would \
             start this again{later}",
            group.unready(snapshot)
        ))
        .remedy(remedy)
        .only(Severity::Note)
}

/// The newest warning about a pod since it was scheduled, without those that pods get which start nevertheless.
fn telling<'a>(snapshot: &Snapshot<'a>, pod: &Pod) -> Option<&'a Event> {
    let harmless =
        ["DNSConfigForming", "MissingClusterDNS", "FailedToRetrieveImagePullSecret", "LifecycleHTTPFallback"];
    snapshot.warnings(pod).into_iter().rfind(|event| !harmless.contains(&event.reason.as_str()))
}

/// What the newest warning says, or that there is none.
fn last_words(snapshot: &Snapshot<'_>, pod: &Pod) -> String {
    if snapshot.events().is_err() {
        return "events could not be read; they may say why".to_owned();
    }
    telling(snapshot, pod).map_or("no Warning event says why".to_owned(), |event| {
        let ago = snapshot.since(event.last_seen()).unwrap_or_default();
        format!(
            "the newest Warning event ({} ago) says: {}: {}",
            words::age(ago),
            event.reason,
            clipped(&event.message)
        )
    })
}

/// The command that shows the log of a container that runs.
fn logs(snapshot: &Snapshot<'_>, group: &Group<'_>, container: &str) -> Command {
    kubectl("logs").name(group.pod()).with("-c").value(container).namespace(home(snapshot))
}

/// What the pod does not get while its sandbox cannot be made: mostly its network, but it may be the runtime itself.
fn lacking(message: &str) -> &'static str {
    if lacks_network(message) { "network" } else { "sandbox" }
}

fn closed_gate(pod: &Pod) -> Option<&str> {
    let gates = pod.spec.readiness_gates.iter().map(|gate| gate.condition_type.as_str());
    gates.into_iter().find(|gate| pod.condition(gate).is_none_or(|gate| gate.status != "True"))
}

/// The init container that has been running for long; it may have much to do, or wait for what never comes.
fn long_init<'a>(snapshot: &Snapshot<'_>, pod: &'a Pod) -> Option<&'a str> {
    let inits = pod.status.init_container_statuses.iter().filter(|status| !pod.is_sidecar(&status.name));
    let long = |status: &&ContainerStatus| {
        let started = status.state.running.as_ref().and_then(|running| running.started_at);
        snapshot.since(started).is_some_and(|time| time > DEADLINE)
    };
    inits.into_iter().find(long).map(|status| status.name.as_str())
}
