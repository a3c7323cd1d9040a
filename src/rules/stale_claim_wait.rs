//! A replica waits until a claim that was given up with the pod before is collected.

use jiff::SignedDuration;

use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS412",
    name: "stale-claim-wait",
    severity: Severity::Warning,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/stale-claim-wait.md"),
    check,
};

/// The garbage collector needs seconds.
const COLLECTED: SignedDuration = SignedDuration::from_mins(2);

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
        let holding: Vec<_> = meta.finalizers.iter().map(String::as_str).collect();
        let (because, long) = match snapshot.since(meta.deletion_timestamp) {
            Some(ago) if !holding.is_empty() => {
                let ago_text = words::age(ago);
                (format!("deleted {ago_text} ago and held by {}", words::list(&holding, 4)), ago > COLLECTED)
            }
            Some(ago) => (format!("deleted {} ago", words::age(ago)), ago > COLLECTED),
            None => ("the garbage collector has not deleted it yet".to_owned(), false),
        };
        found.push(
            RULE.about(
                Kind::Pod,
                &replica.name,
                format!("{} waits for the end of its old claim {name}", replica.name),
            )
            .because(format!(
                "persistentVolumeClaimRetentionPolicy gave the claim up when the set was scaled down; {because}"
            ))
            .remedy(kubectl("describe pvc").name(name).namespace(home(snapshot)))
            .only(if long { Severity::Warning } else { Severity::Note }),
        );
    }
    Ok(found)
}
