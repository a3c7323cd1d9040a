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

/// The controller tries again at least this often (its back-off ends at 1,000 seconds).
const RETRIES: SignedDuration = SignedDuration::from_mins(20);

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
        let recent = snapshot.since(event.last_seen()).is_none_or(|ago| ago < RETRIES);
        let unanswered = succeeded.zip(event.last_seen()).is_none_or(|(made, failed)| failed > made);
        event.reason == "FailedCreate" && recent && unanswered
    });
    let Some(failed) = failed else { return Ok(Vec::new()) };
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

/// Where to look for what refuses the pod.
fn look(snapshot: &Snapshot<'_>, said: &str) -> String {
    let at = in_namespace(snapshot);
    if said.contains("exceeded quota") || said.contains("failed quota") {
        format!("kubectl describe resourcequotas {at}")
    } else if said.contains("LimitRange") || said.contains("per Pod") || said.contains("per Container") {
        format!("kubectl describe limitranges {at}")
    } else if said.contains("violates PodSecurity") {
        format!("kubectl get namespace {} --show-labels", snapshot.set.metadata.namespace)
    } else if said.contains("admission webhook") || said.contains("failed calling webhook") {
        "kubectl get validatingwebhookconfigurations,mutatingwebhookconfigurations".to_owned()
    } else if said.contains("serviceaccount") {
        format!("kubectl get serviceaccounts {at}")
    } else {
        format!("kubectl describe statefulset {} {at}", snapshot.set.metadata.name)
    }
}
