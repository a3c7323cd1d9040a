//! A pod runs, or should run, and does not become ready.

use jiff::SignedDuration;

use super::pods::{Group, clipped, gist, grouped, wanted, within};
use super::prelude::*;
use crate::snapshot::Why;

pub const RULE: Rule = Rule {
    code: "STS404",
    name: "never-ready",
    severity: Severity::Error,
    stuck_from: Some(Severity::Warning),
    page: include_str!("../../docs/rules/never-ready.md"),
    check,
};

/// Deployments give up after this long (`progressDeadlineSeconds`); a `StatefulSet` never does.
const DEADLINE: SignedDuration = SignedDuration::from_mins(10);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Cause<'a> {
    /// A container is not ready.
    Probe(&'a str, Severity),
    /// All containers are, but not this readiness gate.
    Gate(&'a str, Severity),
    /// The sandbox cannot be made.
    Sandbox(&'static str),
    /// An init container is still at work.
    Init(&'a str),
    /// A container should have started, and nobody says why it has not.
    Silent(&'a str),
    /// The kubelet of this node has not said anything of the pod.
    Unclaimed(&'a str),
}

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let groups = grouped(wanted(snapshot)?, |case| {
        let late = case.unready(snapshot).is_some_and(|time| time > DEADLINE);
        let severity = if late { Severity::Error } else { Severity::Warning };
        match (case.why()?, case.container()) {
            (Why::Unready { .. }, Some(container)) => Some(Cause::Probe(container, severity)),
            (Why::Unready { .. }, None) => Some(Cause::Gate(closed_gate(case.pod)?, severity)),
            (Why::Sandbox { message }, _) => Some(Cause::Sandbox(lacking(message))),
            (Why::Silent, Some(container)) => Some(Cause::Silent(container)),
            (Why::Silent, None) => Some(Cause::Unclaimed(&case.pod.spec.node_name)),
            (Why::Starting, _) => Some(Cause::Init(long_init(snapshot, case.pod)?)),
            _ => None,
        }
    });
    let found = groups.iter().map(|(cause, group)| {
        let unready = group.unready(snapshot);
        let not_ready = ["does not become ready", "do not become ready"];
        match cause {
            Cause::Probe(container, severity) => {
                let (allowed, message) = match group.first().why() {
                    Some(Why::Unready { allowed, message }) => (*allowed, *message),
                    _ => (0, None),
                };
                let allows = match allowed {
                    0 => String::new(),
                    seconds => {
                        format!(", where its probes allow {}", words::age(SignedDuration::from_secs(seconds)))
                    }
                };
                let said =
                    message.map_or(String::new(), |message| format!("; {}", within(&clipped(message))));
                group
                    .finding(&RULE, &not_ready)
                    .because(format!("container {container} runs, {unready}{allows}{said}"))
                    .remedy(logs(snapshot, group, container))
                    .only(*severity)
            }
            Cause::Gate(gate, severity) => group
                .finding(&RULE, &not_ready)
                .because(format!("all containers are ready, its readiness gate {gate} is not; {unready}"))
                .remedy(group.describe(snapshot))
                .only(*severity),
            Cause::Sandbox(what) => {
                let said = match group.first().why() {
                    Some(Why::Sandbox { message }) => gist(message),
                    _ => String::new(),
                };
                group
                    .finding(&RULE, &[format!("gets no {what}"), format!("get no {what}")])
                    .because(format!("its sandbox cannot be made; {unready}: {said}"))
                    .remedy(group.describe(snapshot))
            }
            Cause::Silent(container) => group
                .finding(&RULE, &["does not start", "do not start"])
                .because(format!(
                    "container {container} should have started by now, and no event says why it has not; {unready}"
                ))
                .remedy(group.describe(snapshot)),
            Cause::Unclaimed(node) => group
                .finding(
                    &RULE,
                    &[
                        format!("is not taken up by the kubelet of {node}"),
                        format!("are not taken up by the kubelet of {node}"),
                    ],
                )
                .because(format!("it was given to that node, and has no status of any container; {unready}"))
                .remedy(match *node {
                    "" => group.describe(snapshot),
                    node => kubectl("describe node").name(node),
                }),
            Cause::Init(container) => group
                .finding(
                    &RULE,
                    &[
                        format!("waits for its init container {container}"),
                        format!("wait for their init container {container}"),
                    ],
                )
                .because(format!("it is still at work; {unready}"))
                .remedy(logs(snapshot, group, container))
                .only(Severity::Note),
        }
    });
    Ok(found.map(|finding| super::services::unpublished(snapshot, finding)).collect())
}

/// The command that shows the log of a container that runs.
fn logs(snapshot: &Snapshot<'_>, group: &Group<'_>, container: &str) -> Command {
    kubectl("logs").name(group.pod()).with("-c").value(container).namespace(home(snapshot))
}

/// What the pod does not get while its sandbox cannot be made: mostly its network, but it may be the runtime itself.
fn lacking(message: &str) -> &'static str {
    let lower = message.to_lowercase();
    if ["network", "cni", "plugin type=", "address", "ipam"].iter().any(|word| lower.contains(word)) {
        "network"
    } else {
        "sandbox"
    }
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
