//! The API server refuses the pods the controller wants to create.

use jiff::SignedDuration;

use super::creations;
use super::prelude::*;
use crate::controller;
use crate::messages::{admission, clipped};
use crate::snapshot::Replica;

pub const RULE: Rule = Rule {
    code: "STS411",
    name: "pod-creation-failed",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/pod-creation-failed.md"),
    check,
};

/// A new set has its first pod within seconds.
const NEW: SignedDuration = SignedDuration::from_mins(2);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let Some((failed, replica)) = snapshot.creation_refused()? else {
        // What has taken a name has rules of its own.
        let free = snapshot.replicas()?.iter().all(|replica| replica.foreign_pod.is_none());
        return Ok(ignored(snapshot).filter(|_| free).into_iter().collect());
    };
    let said = failed.said;
    // The PVC it waited for is gone since: the controller tries again.
    let ends = replica.claims().any(|claim| claim.metadata.is_terminating());
    if admission::waits_for_claim(said) && !ends && snapshot.claims().is_ok() {
        return Ok(Vec::new());
    }
    let ago = snapshot.since(failed.at).map(|ago| format!(", {} ago", words::age(ago)));
    let said = match failed.is_trial {
        true => format!("the API server refuses a dry run of its creation: {}", clipped(said)),
        false => format!("the API server said{}: {}", ago.unwrap_or_default(), clipped(said)),
    };
    let way = creations::forward(snapshot, &failed, replica);
    let why = if way.why.is_empty() { said } else { format!("{said}; {}", way.why) };
    let finding =
        RULE.about(Kind::Pod, &replica.name, format!("{} cannot be created", replica.name)).because(why);
    let back = way_back(snapshot, replica).filter(|_| !way.is_whatever_the_template);
    let finding = match back {
        // The way back makes the pods as they were; what goes forward is for one who wants the update.
        Some(back) => {
            way.steps.into_iter().filter(|it| !is_look(it)).fold(finding.remedy(back), Finding::instead)
        }
        None => way.steps.into_iter().fold(finding, Finding::remedy),
    };
    Ok(vec![way.instead.into_iter().fold(finding, Finding::instead)])
}

/// Whether a command is only for a look, or another try.
fn is_look(command: &Command) -> bool {
    let words = command.words();
    let mut ours = words.iter().filter(|words| words.first() == Some(&"kubectl"));
    ours.all(|words| matches!(words.get(1), Some(&("get" | "describe" | "annotate"))))
}

/// The command that takes back an update of which the API server refuses the pods: without the pod nothing else is in the
/// way.
fn way_back(snapshot: &Snapshot<'_>, replica: &Replica<'_>) -> Option<Command> {
    let set = snapshot.set;
    let (update, current) = (&set.status.update_revision, controller::current_revision(snapshot));
    let is_new = set.strategy() == Strategy::RollingUpdate
        && current != update
        && controller::would_get(snapshot, replica.ordinal) == update;
    let back = if snapshot.mark().is_some() { "abort" } else { "undo" };
    is_new.then(|| sts(back).name(&set.metadata.name).namespace(home(snapshot)))
}

/// A set that has never been changed, is not new, and has no pod, which nobody explains.
fn ignored(snapshot: &Snapshot<'_>) -> Option<Finding> {
    let set = snapshot.set;
    let name = &set.metadata.name;
    let age = snapshot.since(set.metadata.creation_timestamp).filter(|age| *age > NEW)?;
    let replicas = snapshot.replicas().ok()?;
    let untouched = set.metadata.generation == 1 && set.status.replicas == 0;
    if !untouched || replicas.is_empty() || replicas.iter().any(|replica| replica.pod.is_some()) {
        return None;
    }
    let wanted = words::count(set.replicas(), "pod");
    let finding = RULE.about(Kind::StatefulSet, name, format!("{name} has no pods"));
    let at = home(snapshot);
    Some(if set.is_observed() {
        finding
            .because(format!(
                "{wanted} wanted for {}, and no event says why none was created",
                words::age(age)
            ))
            .remedy(kubectl("describe statefulset").name(name).namespace(at))
    } else {
        finding
            .because(format!(
                "{wanted} wanted for {}, but the StatefulSet controller has not processed the StatefulSet: the controller \
                 does not run or cannot keep up",
                words::age(age)
            ))
            .remedy(kubectl("get lease kube-controller-manager -n kube-system -o yaml"))
    })
}
