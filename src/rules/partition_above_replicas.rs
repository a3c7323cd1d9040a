//! A partition that no replica reaches: no update ever comes to a pod.

use jiff::SignedDuration;

use super::prelude::*;
use super::rollouts::held;

pub const RULE: Rule = Rule {
    code: "STS304",
    name: "partition-above-replicas",
    severity: Severity::Warning,
    stuck_from: None,
    page: include_str!("../../docs/rules/partition-above-replicas.md"),
    check,
};

/// How long an update may be staged before it looks forgotten.
const STAGED: SignedDuration = SignedDuration::from_hours(1);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    let (name, partition, replicas) = (&set.metadata.name, set.partition(), set.replicas());
    if replicas == 0 || partition < replicas || !set.is_observed() || set.metadata.is_terminating() {
        return Ok(Vec::new());
    }
    // Which pod needs the update, and how it comes to it, says more.
    if !held(snapshot)?.is_empty() {
        return Ok(Vec::new());
    }
    let update = &set.status.update_revision;
    let pods: Vec<&Pod> = snapshot.replicas()?.iter().filter_map(|replica| replica.pod).collect();
    let waiting = *update != set.status.current_revision && pods.iter().any(|pod| pod.revision() != update);
    let count = words::count(replicas, "replica");
    let at = home(snapshot);
    let full = sts("promote").name(name).namespace(at).with("--full");
    // An update is staged by a partition that equals the replicas, and rolled out by lowering it.
    let revisions = snapshot.revisions().unwrap_or_default();
    let made = revisions.iter().find(|revision| revision.metadata.name == *update);
    let young = made.and_then(|revision| snapshot.since(revision.metadata.creation_timestamp));
    let staged = partition == replicas && young.is_some_and(|age| age < STAGED);
    Ok(vec![if waiting {
        RULE.about(Kind::StatefulSet, name, format!("the update of {name} reaches no pod"))
            .because(format!(
                "revision {update} is not rolled out, because partition {partition} is not below {count}"
            ))
            .remedy(
                sts("promote").name(name).namespace(at).with("--partition").value((replicas - 1).to_string()),
            )
            .remedy(full)
            .only(if staged { Severity::Note } else { Severity::Warning })
    } else {
        RULE.about(Kind::StatefulSet, name, format!("{name} has partition {partition}, and only {count}"))
            .because("pods below the partition are not updated, so the next update will reach no pod")
            .remedy(full)
            .only(Severity::Note)
    }])
}
