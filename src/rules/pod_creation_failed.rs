//! The API server refuses the pods the controller wants to create.

use jiff::SignedDuration;

use super::pods::clipped;
use super::prelude::*;
use crate::snapshot::Replica;

pub const RULE: Rule = Rule {
    code: "STS411",
    name: "pod-creation-failed",
    severity: Severity::Error,
    page: include_str!("../../docs/rules/pod-creation-failed.md"),
    check,
};

/// How long an event is kept (`--event-ttl` of the API server), with some slack. A failure whose pod is still not there has
/// not been followed by a success; between two tries lie up to 17 minutes.
const KEPT: SignedDuration = SignedDuration::from_mins(65);
/// A new set has its first pod within seconds.
const NEW: SignedDuration = SignedDuration::from_mins(2);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    let replicas = snapshot.replicas()?;
    let missing = |replica: &&Replica<'_>| replica.pod.is_none() && replica.squatter.is_none();
    let Some(first) = replicas.iter().find(missing).filter(|_| !set.metadata.is_terminating()) else {
        return Ok(Vec::new());
    };
    let pods = replicas.iter().chain(snapshot.condemned()?).filter_map(|replica| replica.pod);
    let succeeded = pods.filter_map(|pod| pod.metadata.creation_timestamp).max();
    let events = snapshot.events_about(set)?;
    let failed = events.iter().rev().find(|event| {
        let recent = snapshot.since(event.last_seen()).is_none_or(|ago| ago < KEPT);
        let unanswered = succeeded.zip(event.last_seen()).is_none_or(|(made, failed)| failed > made);
        event.reason == "FailedCreate" && recent && unanswered
    });
    let Some(failed) = failed else { return Ok(ignored(snapshot).into_iter().collect()) };
    // `create Pod db-1 in StatefulSet db failed error: …`, capitalised since 1.35.
    let named = |replica: &&Replica<'_>| failed.message.split_whitespace().any(|word| word == replica.name);
    let replica = replicas.iter().filter(missing).find(named).unwrap_or(first);
    let said = failed.message.split_once("error: ").map_or(failed.message.as_str(), |(_, said)| said);
    let ago = snapshot.since(failed.last_seen()).map(|ago| format!(", {} ago", words::age(ago)));
    Ok(vec![
        RULE.about(Kind::Pod, &replica.name, format!("{} cannot be created", replica.name))
            .because(format!("the API server said{}: {}", ago.unwrap_or_default(), clipped(said)))
            .remedy(look(snapshot, said)),
    ])
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
    let wanted = words::count(usize::try_from(set.replicas()).unwrap_or(0), "pod");
    let finding = RULE.about(Kind::StatefulSet, name, format!("{name} has none of its pods"));
    let at = home(snapshot);
    Some(if set.is_observed() {
        finding
            .because(format!("{wanted} wanted for {}, and no event says why there is none", words::age(age)))
            .remedy(kubectl("describe statefulset").name(name).namespace(at))
    } else {
        finding
            .because(format!(
                "{wanted} wanted for {}, and the StatefulSet controller has not looked at it: it does not run, or \
                 cannot keep up",
                words::age(age)
            ))
            .remedy(kubectl("get lease kube-controller-manager -n kube-system -o yaml"))
    })
}

/// Where to look for what refuses the pod.
fn look(snapshot: &Snapshot<'_>, said: &str) -> Command {
    let at = home(snapshot);
    if said.contains("exceeded quota") || said.contains("failed quota") {
        kubectl("describe resourcequotas").namespace(at)
    } else if said.contains("LimitRange") || said.contains("per Pod") || said.contains("per Container") {
        kubectl("describe limitranges").namespace(at)
    } else if said.contains("violates PodSecurity") {
        kubectl("get namespace").name(at).with("--show-labels")
    } else if said.contains("admission webhook") || said.contains("failed calling webhook") {
        kubectl("get validatingwebhookconfigurations,mutatingwebhookconfigurations")
    } else if said.contains("serviceaccount") {
        kubectl("get serviceaccounts").namespace(at)
    } else {
        kubectl("describe statefulset").name(&snapshot.set.metadata.name).namespace(at)
    }
}
