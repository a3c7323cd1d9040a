//! The retention policy says that claims go with their replicas, but claims orphaned before it said so stay.

use super::prelude::*;
use crate::snapshot::attribution::Overrides;

pub const RULE: Rule = Rule {
    code: "STS213",
    name: "retention-gap",
    severity: Severity::Note,
    stuck_from: None,
    page: include_str!("../../docs/rules/retention-gap.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    if set.spec.persistent_volume_claim_retention_policy.when_scaled != "Delete" {
        return Ok(Vec::new());
    }
    snapshot.pods()?;
    let mut suspects = snapshot.surplus_claims()?;
    // The garbage collector sees to those that have an owner.
    suspects.retain(|(_, claim)| claim.metadata.owner_references.is_empty());
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    snapshot.autoscalers()?;
    let census = snapshot.census();
    // With this policy a replica that is scaled away loses its claim: an autoscaler does not get it back.
    let waivers = Overrides { zero: true, autoscaler_range: true, unread: true, ..Overrides::default() };
    suspects.retain(|(_, claim)| census.judge(claim, &waivers).class.is_left_over());
    suspects.sort_unstable_by_key(|(ordinal, claim)| (*ordinal, claim.metadata.name.as_str()));
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = suspects.iter().map(|(_, claim)| claim.metadata.name.as_str()).collect();
    let size: Quantity = suspects.iter().filter_map(|(_, claim)| Quantity::parse(claim.size())).sum();
    let name = &set.metadata.name;
    let stay = if names.len() == 1 { "is kept" } else { "are kept" };
    let what = format!(
        "{} of {name} ({size}) {stay}, although whenScaled is Delete: {}",
        words::count(names.len(), "PVC"),
        words::list(&names, 4)
    );
    let unchecked = census.unchecked();
    let unchecked = unchecked.map(|it| format!("; not checked: {it}, which may need them"));
    let mut finding = RULE
        .about(Kind::StatefulSet, name, what)
        .because(format!(
            "the controller applies the policy to a PVC only while its pod exists; these pods were gone before, so the PVCs \
             have no owner and remain even after the StatefulSet is deleted{}",
            unchecked.unwrap_or_default()
        ))
        .remedy(sts("prune-pvcs").name(name).namespace(home(snapshot)));
    for name in &names {
        finding = finding.also(Kind::PersistentVolumeClaim, *name);
    }
    Ok(vec![finding])
}
