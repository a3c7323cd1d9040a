//! A replica waits until a claim that was given up with the pod before is collected.

use super::finalizers::{COLLECTED, Held, held, removal};
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS412",
    name: "stale-claim-wait",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/stale-claim-wait.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    snapshot.claims()?;
    if set.metadata.is_terminating()
        || set.spec.persistent_volume_claim_retention_policy.when_scaled != "Delete"
    {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for replica in snapshot.replicas()?.iter().filter(|replica| replica.pod.is_none()) {
        // `stateful_set_utils.go:PodClaimIsStale`: the owner is a pod of this name, which is gone.
        let stale = replica.claims().find(|claim| {
            let mut owners = claim.metadata.owner_references.iter();
            owners.any(|owner| owner.kind == "Pod" && owner.name == replica.name)
        });
        let Some(claim) = stale else { continue };
        let (name, meta) = (&claim.metadata.name, &claim.metadata);
        let deleted = snapshot.since(meta.deletion_timestamp);
        let describe = || vec![kubectl("describe pvc").name(name).namespace(home(snapshot))];
        let (because, remedy, severity) = match deleted {
            None => ("the garbage collector has not deleted it yet".to_owned(), describe(), Severity::Note),
            Some(ago) if ago <= COLLECTED => {
                (format!("it was deleted {} ago", words::age(ago)), describe(), Severity::Note)
            }
            Some(ago) => match held(snapshot, claim, ago)? {
                Some(Held { because, remedy }) => {
                    let remedy = remedy.into_iter().chain(go_on(snapshot, name)).collect();
                    (because, remedy, Severity::Error)
                }
                None => {
                    let holding = words::list(&meta.finalizers, 4);
                    let held = if holding.is_empty() {
                        String::new()
                    } else {
                        format!(", but still has the finalizer {holding}")
                    };
                    // No pod on a node uses it, and what it holds is given up already.
                    let free = kubectl("patch pvc").name(name).namespace(home(snapshot)).with("--type=json");
                    let free = free.patch(&removal(&meta.finalizers, |_| true));
                    let (why, remedy) = if meta.finalizers.is_empty() {
                        ("", describe())
                    } else {
                        (
                            ", which kube-controller-manager removes within seconds, as no pod uses the PVC: if it does not run, the \
                             first command does that",
                            std::iter::once(free).chain(go_on(snapshot, name)).collect(),
                        )
                    };
                    let because = format!("it was deleted {} ago{held}{why}", words::age(ago));
                    (because, remedy, Severity::Warning)
                }
            },
        };
        let what = format!("{} cannot be created until its old PVC {name} is gone", replica.name);
        let found_one = RULE.about(Kind::Pod, &replica.name, what).because(format!(
            "persistentVolumeClaimRetentionPolicy released the PVC for deletion when the StatefulSet was scaled down; {because}"
        ));
        found.push(remedy.into_iter().fold(found_one, Finding::remedy).only(severity));
    }
    Ok(found)
}

/// Waits for the end of a PVC, and has the controller look again: no event tells it, and it does not try by itself before its
/// informers are read again, every 12 hours (`stateful_set.go:NewStatefulSetController` watches pods and sets only).
fn go_on(snapshot: &Snapshot<'_>, claim: &str) -> [Command; 2] {
    let at = home(snapshot);
    let gone = kubectl("wait pvc").name(claim).with("--for=delete --timeout=60s").namespace(at);
    let touch = kubectl("annotate statefulset")
        .name(&snapshot.set.metadata.name)
        .joined("kubectl-sts/looked-at=", snapshot.taken_at.as_second())
        .with("--overwrite")
        .namespace(at);
    [gone, touch]
}
