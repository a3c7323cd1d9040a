//! A claim that a replica needs was deleted, and only waits to go.

use jiff::SignedDuration;
use serde_json::json;

use super::claims::{self, Case, Used};
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS208",
    name: "claim-terminating",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/claim-terminating.md"),
    check,
};

/// An ordinary deletion is over by then.
const GOING: SignedDuration = SignedDuration::from_secs(60);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let mut cases = Vec::new();
    // A claim that its pod owns was given up by the retention policy: stale-claim-wait tells of it.
    let given_up = |claim: &PersistentVolumeClaim| {
        claim.metadata.owner_references.iter().any(|owner| owner.kind == "Pod")
    };
    for used in claims::used(snapshot, |claim| claim.metadata.is_terminating() && !given_up(claim))? {
        // Whoever uses it and does not go itself; a pod without a node does not hold a claim.
        snapshot.pods()?;
        let user = snapshot
            .namespace
            .users(used.name())
            .find(|pod| !pod.metadata.is_terminating() && !pod.spec.node_name.is_empty());
        let case = match user {
            Some(user) => Some(doomed(snapshot, used, user)),
            None => stuck(snapshot, used),
        };
        cases.extend(case);
    }
    Ok(claims::findings(&RULE, cases, |_, names, several| {
        format!("{names} {} being deleted", if several { "are" } else { "is" })
    }))
}

/// It goes when its last user goes. A deletion cannot be taken back, but the data can be kept.
fn doomed<'a>(snapshot: &Snapshot<'a>, used: Used<'a>, holder: &Pod) -> Case<'a> {
    let volume = snapshot.volume_of(used.claim).ok().flatten();
    let policy = volume.map(|volume| volume.spec.persistent_volume_reclaim_policy.as_str());
    let (fate, remedy) = match (policy, volume) {
        (Some("Retain"), _) => ("its volume is kept, and the replica starts again empty", None),
        (Some(_), Some(volume)) => (
            "its data is destroyed with it (reclaim policy Delete)",
            Some(
                kubectl("patch pv")
                    .name(&volume.metadata.name)
                    .patch(&json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}})),
            ),
        ),
        _ => ("its data is destroyed with it, unless the reclaim policy of its volume is Retain", None),
    };
    let remedy = vec![remedy.unwrap_or_else(|| claims::describe(snapshot, &used))];
    Case { because: format!("it goes as soon as {} stops; {fate}", holder.metadata.name), used, remedy }
}

/// Nobody uses it, and something else holds it: its replica cannot be created meanwhile.
fn stuck<'a>(snapshot: &Snapshot<'a>, used: Used<'a>) -> Option<Case<'a>> {
    let meta = &used.claim.metadata;
    let age = snapshot.since(meta.deletion_timestamp).filter(|age| *age > GOING)?;
    let holders: Vec<&String> =
        meta.finalizers.iter().filter(|finalizer| *finalizer != claims::PROTECTION).collect();
    if holders.is_empty() {
        return None;
    }
    let because = format!(
        "{} {} held it for {}, and {} cannot be created before it is gone",
        words::list(&holders, 3),
        if holders.len() == 1 { "has" } else { "have" },
        words::age(age),
        used.replica
    );
    let remedy = vec![claims::describe(snapshot, &used)];
    Some(Case { used, because, remedy })
}
