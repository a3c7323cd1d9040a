//! A claim that a replica needs was deleted, and only waits to go.

use jiff::SignedDuration;
use serde_json::json;

use super::claims::{self, Case, Used};
use super::finalizers::held;
use super::prelude::*;
use super::resizes::without;

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
    let (mut cases, mut used_still) = (Vec::new(), Vec::new());
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
        match own.or_else(|| users.first().filter(|_| has_pod)) {
            Some(user) => used_still.push((used, user.metadata.name.as_str())),
            None => cases.extend(stuck(snapshot, used)?),
        }
    }
    cases.extend(doomed(snapshot, used_still));
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

/// They go when their last users go. A deletion cannot be taken back, but the data can be kept, and given to the next PVC.
fn doomed<'a>(snapshot: &Snapshot<'a>, all: Vec<(Used<'a>, &'a str)>) -> Vec<Case<'a>> {
    let again = again(snapshot, &all.iter().map(|(used, _)| used).collect::<Vec<_>>());
    let stops = match all.as_slice() {
        [(_, user)] => format!("it is removed as soon as {user} stops"),
        _ => "each is removed as soon as the pod that uses it stops".to_owned(),
    };
    let cases = all.into_iter().map(|(used, _)| {
        let (fate, keep) = fate(snapshot, used.claim);
        let (then, remedy) = match &again {
            Some(commands) => (
                "; the commands keep the PV, remove the replica, and create it again with a new PVC that gets the same PV with its \
                 data",
                commands.clone(),
            ),
            None => ("", vec![keep.unwrap_or_else(|| claims::describe(snapshot, &used))]),
        };
        Case { because: format!("{stops}; {fate}{then}"), used, remedy }
    });
    cases.collect()
}

/// Gives the volumes of these PVCs, with their data, to the ones that follow them: the replicas are taken away, so that the
/// next PVC is not made before the volume can be bound to it. `None` where a finalizer of another owner keeps one of them, or
/// its volume is not known.
fn again(snapshot: &Snapshot<'_>, all: &[&Used<'_>]) -> Option<Vec<Command>> {
    let set = snapshot.set;
    let lowest = all.iter().map(|used| used.ordinal).min().filter(|lowest| set.in_range(*lowest))?;
    let is_held =
        |used: &&Used<'_>| used.claim.metadata.finalizers.iter().any(|name| name != claims::PROTECTION);
    if all.iter().any(is_held) {
        return None;
    }
    let volumes: Vec<&PersistentVolume> =
        all.iter().map(|used| snapshot.volume_of(used.claim).ok()?).collect::<Option<_>>()?;
    let lost = volumes.iter().filter(|it| it.spec.persistent_volume_reclaim_policy != RETAIN);
    let keep = lost.map(|volume| {
        let retain = json!({"spec": {"persistentVolumeReclaimPolicy": RETAIN}});
        kubectl("patch pv").name(&volume.metadata.name).patch(&retain)
    });
    let wait = all.iter().map(|used| {
        kubectl("wait pvc").name(used.name()).with("--for=delete --timeout=10m").namespace(home(snapshot))
    });
    // Reserved for a PVC of that name, whatever its uid.
    let free = volumes.iter().map(|volume| {
        let reserve = json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}});
        kubectl("patch pv").name(&volume.metadata.name).patch(&reserve)
    });
    let between = wait.chain(free).collect();
    Some(keep.chain(without(snapshot, lowest, between)).collect())
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
