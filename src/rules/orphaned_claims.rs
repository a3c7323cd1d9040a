//! Claims of replicas the set no longer has: they cost, and a later scale-up starts on their old data.

use super::prelude::*;
use crate::snapshot::attribution::{ClaimAudit, DataOnDelete, Overrides, unused_for};

pub const RULE: Rule = Rule {
    code: "STS210",
    name: "orphaned-claims",
    severity: Severity::Warning,
    stuck_from: None,
    page: include_str!("../../docs/rules/orphaned-claims.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    snapshot.pods()?;
    let mut suspects = snapshot.surplus_claims()?;
    if suspects.is_empty() {
        return Ok(Vec::new());
    }
    snapshot.autoscalers()?;
    let census = snapshot.census();
    let waivers = Overrides { unread: true, ..Overrides::default() };
    suspects.retain(|(_, claim)| census.judge(claim, &waivers).class.is_left_over());
    suspects.sort_by_key(|(ordinal, claim)| (*ordinal, claim.metadata.name.as_str()));
    let orphans: Vec<_> = suspects.into_iter().map(|(_, claim)| claim).collect();
    if orphans.is_empty() {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = orphans.iter().map(|claim| claim.metadata.name.as_str()).collect();
    let size: Quantity = orphans.iter().filter_map(|claim| Quantity::parse(claim.size())).sum();
    let name = &set.metadata.name;
    let (belong, exist) =
        if names.len() == 1 { ("belongs to a replica", "exists") } else { ("belong to replicas", "exist") };
    let what = format!(
        "{} of {name} ({size}) {belong} that no longer {exist}: {}",
        words::count(names.len(), "PVC"),
        words::list(&names, 4)
    );
    let mut because = format!("{}{}; {}", range(set), unused(snapshot, &orphans), fates(&census, &orphans));
    if let Some(unchecked) = census.unchecked() {
        because.push_str(&format!("; not checked: {unchecked}, which may need them"));
    }
    let mut finding = RULE
        .about(Kind::StatefulSet, name, what)
        .because(because)
        .remedy(sts("prune-pvcs").name(name).namespace(home(snapshot)));
    for name in &names {
        finding = finding.also(Kind::PersistentVolumeClaim, *name);
    }
    Ok(vec![finding])
}

fn range(set: &StatefulSet) -> String {
    let last = i64::from(set.start()) + i64::from(set.replicas()) - 1;
    let name = &set.metadata.name;
    match set.replicas() {
        1 => format!("{name} has only {name}-{last}"),
        2 => format!("{name} has {name}-{} and {name}-{last}", set.start()),
        _ => format!("{name} has {name}-{} to {name}-{last}", set.start()),
    }
}

/// Since when the claims are not used, where the server knows of all of them.
fn unused(snapshot: &Snapshot<'_>, orphans: &[&PersistentVolumeClaim]) -> String {
    let since: Option<Vec<_>> = orphans.iter().map(|claim| unused_for(claim, snapshot.taken_at)).collect();
    match since.and_then(|since| since.into_iter().min()) {
        Some(shortest) => {
            let them = if orphans.len() == 1 { "it" } else { "them" };
            format!(", and no pod has used {them} for {}", words::age(shortest))
        }
        None => ", and no pod mounts them".to_owned(),
    }
}

/// What becomes of the data if the claims are deleted.
fn fates(census: &ClaimAudit<'_>, orphans: &[&PersistentVolumeClaim]) -> String {
    let (mut destroyed, mut kept, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for claim in orphans.iter().filter(|claim| !claim.spec.volume_name.is_empty()) {
        let names = match census.fate(claim) {
            DataOnDelete::Destroyed => &mut destroyed,
            DataOnDelete::Kept => &mut kept,
            DataOnDelete::NoVolume | DataOnDelete::Unknown => &mut unknown,
        };
        names.push(claim.metadata.name.as_str());
    }
    let groups = [
        (destroyed, "destroys the data", "(reclaim policy Delete)"),
        (kept, "keeps the PV", "(reclaim policy Retain)"),
        (unknown, "may destroy the data", "(reclaim policy unknown)"),
    ];
    let groups: Vec<_> = groups.iter().filter(|(names, ..)| !names.is_empty()).collect();
    match groups.as_slice() {
        [] => "they were never bound to a PV".to_owned(),
        [(_, does, why)] => format!("deleting them {does} {why}"),
        several => {
            let each = several
                .iter()
                .map(|(names, does, why)| format!("deleting {} {does} {why}", words::list(names, 4)));
            words::list(&each.collect::<Vec<_>>(), 3)
        }
    }
}
