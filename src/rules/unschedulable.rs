//! No node takes the pod.

use jiff::SignedDuration;

use super::pods::{Group, grouped, wanted};
use super::prelude::*;
use super::refusals;
use super::scheduling;
use crate::controller::MaxUnavailable;
use crate::messages::scheduler::{Reason, Refusal};
use crate::messages::{clipped, scheduler};
use crate::paste::tool;
use crate::snapshot::PodFailure;

pub const RULE: Rule = Rule {
    code: "STS405",
    name: "unschedulable",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/unschedulable.md"),
    check,
};

/// How long a scheduling gate may hold a pod before it is more than a step of the pod's creation.
const GATED: SignedDuration = SignedDuration::from_mins(10);

/// Why a pod has no node.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Cause<'a> {
    /// The scheduler says so.
    Refused(String),
    /// The same, and an autoscaler is adding a node.
    Coming(String),
    /// No scheduler says anything.
    Unheard(&'a str),
    /// Gates hold it back.
    Gates(Vec<&'a str>, Severity),
}

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let groups = grouped(wanted(snapshot)?, |case| match case.why()? {
        PodFailure::Unschedulable { message: "" } => {
            Some(Cause::Unheard(match case.pod.spec.scheduler_name.as_str() {
                "" => "default-scheduler",
                name => name,
            }))
        }
        PodFailure::Unschedulable { message } => Some(Cause::Refused(condensed(message))),
        PodFailure::NodeComing { message } => Some(Cause::Coming(condensed(message))),
        PodFailure::Gated => {
            let gates = case.pod.spec.scheduling_gates.iter().map(|gate| gate.name.as_str()).collect();
            let long = case.unready(snapshot).is_some_and(|time| time > GATED);
            Some(Cause::Gates(gates, if long { Severity::Warning } else { Severity::Note }))
        }
        _ => None,
    });
    let found = groups.iter().map(|(cause, group)| match cause {
        Cause::Refused(said) => refused(snapshot, group, said),
        Cause::Coming(said) => group
            .finding(&RULE, &["waits for a node that is being added", "wait for a node that is being added"])
            .because(format!(
                "{}; an autoscaler reports that it is adding one; the scheduler says: {said}",
                group.unready(snapshot)
            ))
            .remedy(group.describe(snapshot))
            .only(Severity::Note),
        Cause::Unheard(scheduler) => waiting(snapshot, group, scheduler),
        Cause::Gates(gates, severity) => gated(snapshot, group, gates, *severity),
    });
    Ok(found.collect())
}

/// No scheduler says anything.
fn waiting(snapshot: &Snapshot<'_>, group: &Group<'_>, scheduler: &str) -> Finding {
    if let Some(way) = scheduling::unclaimed(snapshot, group.first().pod) {
        let finding = group
            .finding(&RULE, &["waits for its ResourceClaims", "wait for their ResourceClaims"])
            .because(format!("{}; {}", group.unready(snapshot), way.why));
        let back = if group.is_since_update(snapshot) { group.other_template(snapshot) } else { None };
        return back.or(way.step).into_iter().fold(finding, Finding::remedy);
    }
    let finding = group
        .finding(
            &RULE,
            &[format!("waits for the scheduler {scheduler}"), format!("wait for the scheduler {scheduler}")],
        )
        .because(format!(
            "{}; no scheduler with that name has processed it: start it{}",
            group.unready(snapshot),
            if scheduler == "default-scheduler" {
                " (kube-scheduler on the control plane; its lease says when it was last active)"
            } else {
                ", or use another one (spec.schedulerName of the pod template)"
            }
        ))
        .remedy(unheard(snapshot, group, scheduler));
    default_scheduler(snapshot, group, scheduler).into_iter().fold(finding, Finding::instead)
}

/// Gives the pods to the scheduler that every cluster has, where the template names another one.
fn default_scheduler(snapshot: &Snapshot<'_>, group: &Group<'_>, scheduler: &str) -> Option<Command> {
    let is_own =
        snapshot.set.spec.template.spec.scheduler_name == scheduler && scheduler != "default-scheduler";
    let change = serde_json::json!({"schedulerName": "default-scheduler"});
    let change = super::creations::patch_template(snapshot, &change);
    group.reached_by(snapshot, change).filter(|_| is_own && !group.is_outdated(snapshot))
}

/// A scheduling gate is a deliberate wait, until the controller that ends it is plainly not there.
fn gated(snapshot: &Snapshot<'_>, group: &Group<'_>, gates: &[&str], severity: Severity) -> Finding {
    let (them, gate) = if gates.len() == 1 { ("it", "the gate") } else { ("them", "the gates") };
    let because = format!(
        "{}; the scheduler ignores the pod until the controller that added {} removes {them}",
        group.unready(snapshot),
        words::list(gates, 4)
    );
    let finding = group
        .finding(&RULE, &["is blocked by a scheduling gate", "are blocked by a scheduling gate"])
        .only(severity);
    if severity == Severity::Note {
        return finding.because(because).remedy(group.describe(snapshot));
    }
    let remove = serde_json::json!([{"op": "remove", "path": "/spec/schedulingGates"}]);
    let pods = group.iter().map(|case| case.pod.metadata.name.as_str());
    let set = snapshot.set;
    let is_of_template = !set.spec.template.spec.scheduling_gates.is_empty();
    let of_template = if is_of_template { ", which the pod template also has" } else { "" };
    let finding = finding
        .because(format!("{because}; if that controller does not run, remove {gate}{of_template}"))
        .remedy(group.describe(snapshot));
    // Otherwise the next pod would be held back in the same way.
    let template = serde_json::json!({"spec": {"template": {"spec": {"schedulingGates": null}}}});
    let patch = kubectl("patch statefulset").name(&set.metadata.name).namespace(home(snapshot));
    let finding =
        if is_of_template { finding.remedy(patch.with("--type=merge").patch(&template)) } else { finding };
    // A Parallel set replaces pods that are not ready by itself, except where they count against maxUnavailable
    // (kubernetes/kubernetes#137409).
    let trapping = MaxUnavailable::of(snapshot.server) == MaxUnavailable::Trapping;
    let replaced =
        set.is_parallel() && !trapping && set.strategy() == Strategy::RollingUpdate && set.partition() == 0;
    if is_of_template && replaced {
        return finding;
    }
    finding
        .remedy(kubectl("patch pod").names(pods).namespace(home(snapshot)).with("--type=json").patch(&remove))
}

/// Names a scheduler that runs, or looks for the one that should.
fn unheard(snapshot: &Snapshot<'_>, group: &Group<'_>, scheduler: &str) -> Command {
    let set = snapshot.set;
    let default = "default-scheduler";
    if scheduler != default && set.spec.template.spec.scheduler_name == scheduler {
        let change = serde_json::json!({"spec": {"template": {"spec": {"schedulerName": default}}}});
        let patch = kubectl("patch statefulset").name(&set.metadata.name).namespace(home(snapshot));
        let reached = group.reached_by(snapshot, patch.with("--type=merge").patch(&change));
        let back = if group.is_since_update(snapshot) { group.other_template(snapshot) } else { None };
        if let Some(command) = back.or(reached) {
            return command;
        }
    }
    if scheduler == default {
        return kubectl("get lease kube-scheduler -n kube-system -o yaml");
    }
    kubectl("get pods --all-namespaces").piped_into(tool("grep -i -F").value(scheduler))
}

/// The scheduler's message without what it says about preemption, which repeats it.
fn condensed(message: &str) -> String {
    clipped(scheduler::without_preemption(message))
}

/// No node takes these pods, for the reasons the scheduler gives.
fn refused(snapshot: &Snapshot<'_>, group: &Group<'_>, said: &str) -> Finding {
    let pod = group.first().pod;
    let message = match group.first().why() {
        Some(PodFailure::Unschedulable { message }) => *message,
        _ => said,
    };
    let all = scheduler::refusals(message);
    let decisive = scheduler::decisive(&all);
    let missing =
        scheduler::missing_claim(message).and_then(|claim| scheduling::without_claim(snapshot, group, claim));
    let way = missing.or_else(|| scheduling::way(snapshot, group, decisive?)).unwrap_or_default();
    let vague = way.why.is_empty() || matches!(decisive, Some(Refusal { reason: Reason::Spread { .. }, .. }));
    let meaning = decisive.filter(|_| vague).and_then(|it| refusals::meaning(snapshot, pod, it, &all));
    let meaning: Vec<String> =
        meaning.into_iter().chain(Some(way.why).filter(|why| !why.is_empty())).map(|it| it + "; ").collect();
    let adds_none = scheduling::no_scale_up(snapshot, pod).map_or(String::new(), |said| format!("; {said}"));
    let finding = group
        .finding(&RULE, &["cannot be scheduled on any node", "cannot be scheduled on any node"])
        .because(format!(
            "{}; {}the scheduler says: {said}{adds_none}",
            group.unready(snapshot),
            meaning.concat()
        ));
    let hopeless = decisive.is_some_and(|refusal| refusals::is_hopeless(snapshot, pod, refusal));
    let is_new = hopeless || (way.is_of_template && group.is_since_update(snapshot));
    let back = if is_new { group.other_template(snapshot) } else { None };
    let ways = way.step.into_iter().chain(way.instead);
    let (mut finding, ways) = match back {
        Some(back) => (finding.remedy(back), ways.collect::<Vec<_>>()),
        None => {
            let mut ways = ways;
            match ways.next() {
                Some(first) => (finding.remedy(first), ways.collect()),
                None => {
                    let look = decisive.and_then(|refusal| refusals::look(snapshot, pod, refusal, &all));
                    let finding = finding.remedy(look.unwrap_or_else(|| group.describe(snapshot)));
                    let taints = refusals::look_at_taints(&all);
                    let taints = taints.filter(|_| decisive.is_some_and(|refusal| !refusal.is_closed()));
                    (taints.into_iter().fold(finding, Finding::remedy), Vec::new())
                }
            }
        }
    };
    for other in ways {
        finding = finding.instead(other);
    }
    finding
}
