//! No node takes the pod.

use super::pods::{clipped, grouped, wanted};
use super::prelude::*;
use crate::snapshot::Why;

pub const RULE: Rule = Rule {
    code: "STS405",
    name: "unschedulable",
    severity: Severity::Error,
    page: include_str!("../../docs/rules/unschedulable.md"),
    check,
};

/// Why a pod has no node.
#[derive(PartialEq)]
enum Cause<'a> {
    /// The scheduler says so.
    Refused(String),
    /// The same, and an autoscaler is adding a node.
    Coming(String),
    /// No scheduler says anything.
    Unheard(&'a str),
    /// Gates hold it back.
    Gates(Vec<&'a str>),
}

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let groups = grouped(wanted(snapshot)?, |case| match case.why()? {
        Why::Unschedulable { message: "" } => {
            Some(Cause::Unheard(match case.pod.spec.scheduler_name.as_str() {
                "" => "default-scheduler",
                name => name,
            }))
        }
        Why::Unschedulable { message } => Some(Cause::Refused(condensed(message))),
        Why::NodeComing { message } => Some(Cause::Coming(condensed(message))),
        Why::Gated => {
            Some(Cause::Gates(case.pod.spec.scheduling_gates.iter().map(|gate| gate.name.as_str()).collect()))
        }
        _ => None,
    });
    let found = groups.iter().map(|(cause, group)| {
        let describe = group.describe(snapshot);
        match cause {
            Cause::Refused(said) => group
                .finding(&RULE, &["fits on no node", "fit on no node"])
                .because(format!("{}; the scheduler says: {said}", group.unready(snapshot)))
                .remedy(look(said, &describe)),
            Cause::Coming(said) => group
                .finding(
                    &RULE,
                    &["waits for a node that is being added", "wait for a node that is being added"],
                )
                .because(format!(
                    "{}; an autoscaler says that it adds one, as {said}",
                    group.unready(snapshot)
                ))
                .remedy(describe)
                .only(Severity::Note),
            Cause::Unheard(scheduler) => group
                .finding(
                    &RULE,
                    &[
                        format!("waits for the scheduler {scheduler}"),
                        format!("wait for the scheduler {scheduler}"),
                    ],
                )
                .because(format!(
                    "{}, and no scheduler of that name has looked at it",
                    group.unready(snapshot)
                ))
                .remedy(format!(
                    "kubectl get pods --all-namespaces | grep -i {}",
                    if *scheduler == "default-scheduler" { "scheduler" } else { scheduler }
                )),
            Cause::Gates(gates) => group
                .finding(&RULE, &["is held back by a scheduling gate", "are held back by a scheduling gate"])
                .because(format!("whoever set it has to lift it: {}", words::list(gates, 4)))
                .remedy(describe)
                .only(Severity::Note),
        }
    });
    Ok(found.collect())
}

/// The scheduler's message without what it says about preemption, which repeats it.
fn condensed(message: &str) -> String {
    let message = message.split(" preemption: ").next().unwrap_or(message);
    clipped(message)
}

/// Where to look for what the scheduler misses.
fn look(said: &str, describe: &str) -> String {
    let nodes = "kubectl get nodes -o custom-columns";
    if said.contains("Insufficient") || said.contains("Too many pods") {
        "kubectl describe nodes | grep -A 9 'Allocated resources'".to_owned()
    } else if said.contains("taint") {
        format!("{nodes}='NAME:.metadata.name,TAINTS:.spec.taints[*].key'")
    } else if said.contains("node affinity/selector") {
        "kubectl get nodes --show-labels".to_owned()
    } else if said.contains("were unschedulable") {
        "kubectl get nodes".to_owned()
    } else {
        describe.to_owned()
    }
}
