//! A claim that a replica needs was deleted, and only waits to go.

use jiff::SignedDuration;
use serde_json::json;

use super::claims::{self, Case, Used};
use super::finalizers::held;
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
    let gives_up = snapshot.set.spec.persistent_volume_claim_retention_policy.when_scaled == "Delete";
    let given_up = |claim: &PersistentVolumeClaim| {
        gives_up && claim.metadata.owner_references.iter().any(|owner| owner.kind == "Pod")
    };
    for used in claims::used(snapshot, |claim| claim.metadata.is_terminating() && !given_up(claim))? {
        // Whoever uses it and does not go itself; a pod without a node does not hold a claim.
        snapshot.pods()?;
        let users: Vec<&Pod> = (snapshot.namespace.users(used.name()))
            .filter(|pod| !pod.metadata.is_terminating() && !pod.spec.node_name.is_empty())
            .collect();
        // Its own pod first: a replica that is there wants its data kept.
        let own = users.iter().find(|pod| used.pods.iter().any(|own| std::ptr::eq(*own, **pod)));
        let has_pod = snapshot.replica(used.ordinal)?.is_some_and(|replica| replica.pod.is_some());
        let case = match own.or_else(|| users.first().filter(|_| has_pod)) {
            Some(user) => Some(doomed(snapshot, used, user)),
            None => stuck(snapshot, used)?,
        };
        cases.extend(case);
    }
    Ok(claims::findings(&RULE, cases, |_, names, several| {
        format!("{names} {} being deleted", if several { "are" } else { "is" })
    }))
}

/// What becomes of the data, and how to keep it.
fn fate(snapshot: &Snapshot<'_>, claim: &PersistentVolumeClaim) -> (&'static str, Option<Command>) {
    let volume = snapshot.volume_of(claim).ok().flatten();
    let policy = volume.map(|volume| volume.spec.persistent_volume_reclaim_policy.as_str());
    match (policy, volume) {
        (Some(RETAIN), _) => ("its PV is kept, and the replica restarts with an empty volume", None),
        (Some(_), Some(volume)) => (
            "its data is destroyed with it (reclaim policy Delete)",
            Some(
                kubectl("patch pv")
                    .name(&volume.metadata.name)
                    .patch(&json!({"spec": {"persistentVolumeReclaimPolicy": RETAIN}})),
            ),
        ),
        _ => ("its data is destroyed with it, unless the reclaim policy of its PV is Retain", None),
    }
}

/// It goes when its last user goes. A deletion cannot be taken back, but the data can be kept.
fn doomed<'a>(snapshot: &Snapshot<'a>, used: Used<'a>, holder: &Pod) -> Case<'a> {
    let (fate, remedy) = fate(snapshot, used.claim);
    let remedy = vec![remedy.unwrap_or_else(|| claims::describe(snapshot, &used))];
    Case { because: format!("it is removed as soon as {} stops; {fate}", holder.metadata.name), used, remedy }
}

/// It is held, and not by a pod of its replica, which cannot be created meanwhile.
fn stuck<'a>(snapshot: &Snapshot<'a>, used: Used<'a>) -> Result<Option<Case<'a>>, Unseen> {
    let age = snapshot.since(used.claim.metadata.deletion_timestamp).filter(|age| *age > GOING);
    let Some(age) = age else { return Ok(None) };
    // A pod of the replica that is stopping is on the way, or has a rule of its own.
    if used.pods.iter().any(|pod| pod.metadata.is_terminating()) {
        return Ok(None);
    }
    let Some(held) = held(snapshot, used.claim, age)? else { return Ok(None) };
    let (mut because, mut remedy) = (held.because, Vec::new());
    if used.claim.spec.volume_name.is_empty() {
        because.push_str("; it has no PV");
    } else {
        let (fate, keep) = fate(snapshot, used.claim);
        because.push_str(&format!("; when the PVC is removed, {fate}"));
        remedy.extend(keep);
    }
    because.push_str(&match used.pods.first() {
        Some(pod) => format!("; {} cannot start until then", pod.metadata.name),
        None => format!("; {} cannot be created until then", used.replica),
    });
    remedy.extend(held.remedy);
    // A pod that waits for a node is not looked at again when its PVC is created again.
    let pods: Vec<&str> = used.pods.iter().map(|pod| pod.metadata.name.as_str()).collect();
    if !pods.is_empty() {
        remedy.push(kubectl("delete pod").names(pods).namespace(home(snapshot)));
    }
    Ok(Some(Case { used, because, remedy }))
}
