//! Claims of replicas the set no longer has: they cost, and a later scale-up starts on their old data.

use super::prelude::*;
use crate::snapshot::ClaimName;

pub const RULE: Rule = Rule {
    code: "STS210",
    name: "orphaned-claims",
    severity: Severity::Warning,
    page: include_str!("../../docs/rules/orphaned-claims.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    if is_moving(snapshot)? {
        return Ok(Vec::new());
    }
    let mut orphans: Vec<(i32, &PersistentVolumeClaim)> = Vec::new();
    for claim in snapshot.claims()?.iter().copied() {
        if let Some(ordinal) = orphan(snapshot, claim)? {
            orphans.push((ordinal, claim));
        }
    }
    orphans.sort_by_key(|(ordinal, claim)| (*ordinal, claim.metadata.name.as_str()));
    if orphans.is_empty() {
        return Ok(Vec::new());
    }
    let orphans: Vec<_> = orphans.into_iter().map(|(_, claim)| claim).collect();
    let names: Vec<&str> = orphans.iter().map(|claim| claim.metadata.name.as_str()).collect();
    let size: Quantity = orphans.iter().filter_map(|claim| Quantity::parse(claim.size())).sum();
    let name = &set.metadata.name;
    let belong = if names.len() == 1 { "belongs to a replica" } else { "belong to replicas" };
    let what = format!(
        "{} of {name} ({size}) {belong} it no longer has: {}",
        words::count(names.len(), "claim"),
        words::list(&names, 4)
    );
    let because = format!("{}{}; {}", range(set), unused(snapshot, &orphans), fate(snapshot, &orphans));
    let mut finding = RULE.about(Kind::StatefulSet, name, what).because(because).remedy(format!(
        "kubectl delete pvc {} {}",
        names.join(" "),
        in_namespace(snapshot)
    ));
    for name in &names {
        finding = finding.also(Kind::PersistentVolumeClaim, *name);
    }
    Ok(vec![finding])
}

/// Whether the set is on its way, or asleep: then no claim of it can be told to be left over.
fn is_moving(snapshot: &Snapshot<'_>) -> Result<bool, Unseen> {
    let set = snapshot.set;
    Ok(set.replicas() == 0
        || set.metadata.is_terminating()
        || !set.is_observed()
        || set.status.replicas != set.replicas()
        || !snapshot.condemned()?.is_empty())
}

/// The ordinal of a claim that is provably this set's, of a replica that is gone for good, and used by nobody.
fn orphan(snapshot: &Snapshot<'_>, claim: &PersistentVolumeClaim) -> Result<Option<i32>, Unseen> {
    let set = snapshot.set;
    let meta = &claim.metadata;
    let Some(ordinal) = ClaimName::parse(set, &meta.name).map(|name| name.ordinal) else { return Ok(None) };
    let to_come = match snapshot.autoscaler()? {
        Some(autoscaler) => autoscaler.spec.max_replicas.max(set.replicas()),
        None => set.replicas(),
    };
    let is_in_reach =
        ordinal >= set.start() && i64::from(ordinal) < i64::from(set.start()) + i64::from(to_come);
    // Another set whose claims can have the very same name shares it, or would after a scale-up.
    let is_shared = snapshot.namespace.sets.iter().any(|other| {
        other.metadata.name != set.metadata.name && ClaimName::parse(other, &meta.name).is_some()
    });
    let labels = &set.spec.selector.match_labels;
    let is_proven = !labels.is_empty() && matches_labels(labels, &meta.labels);
    let is_owned_elsewhere = meta.owner_references.iter().any(|owner| {
        owner.kind != "StatefulSet" || owner.name != set.metadata.name || owner.uid != set.metadata.uid
    });
    let is_held = meta.is_terminating()
        || meta.finalizers.iter().any(|finalizer| finalizer != "kubernetes.io/pvc-protection");
    let is_safe = !is_in_reach && !is_shared && is_proven && !is_owned_elsewhere && !is_held;
    Ok((is_safe && !is_used(snapshot, claim, ordinal)?).then_some(ordinal))
}

/// Whether anything seen uses the claim or its data, or is about to.
fn is_used(snapshot: &Snapshot<'_>, claim: &PersistentVolumeClaim, ordinal: i32) -> Result<bool, Unseen> {
    let name = &claim.metadata.name;
    let pod = snapshot.set.pod_name(ordinal);
    let by_pod = snapshot
        .pods()?
        .iter()
        .any(|other| other.metadata.name == pod || other.claim_names().any(|mounted| mounted == *name));
    let by_template = snapshot.namespace.sets.iter().any(|other| {
        let volumes = other.spec.template.spec.volumes.iter();
        volumes
            .filter_map(|volume| volume.persistent_volume_claim.as_ref())
            .any(|source| source.claim_name == *name)
    });
    let is_source = snapshot.claims()?.iter().any(|other| {
        [&other.spec.data_source, &other.spec.data_source_ref]
            .into_iter()
            .flatten()
            .any(|source| source.kind == "PersistentVolumeClaim" && source.name == *name)
    });
    let by_server = claim.condition("Unused").is_some_and(|unused| unused.status == "False");
    // A volume that knows another claim is none of ours to judge.
    let is_strange = snapshot.volumes().is_ok_and(|volumes| {
        volumes.iter().any(|volume| volume.metadata.name == claim.spec.volume_name && !volume.is_of(claim))
    });
    Ok(by_pod || by_template || is_source || by_server || is_strange)
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
    let since: Option<Vec<_>> = orphans
        .iter()
        .map(|claim| {
            let unused = claim.condition("Unused").filter(|unused| unused.status == "True")?;
            snapshot.since(unused.last_transition_time)
        })
        .collect();
    match since.and_then(|since| since.into_iter().min()) {
        Some(shortest) => format!(", and no pod has used them for {}", words::age(shortest)),
        None => ", and no pod mounts them".to_owned(),
    }
}

/// What becomes of the data if the claims are deleted.
fn fate(snapshot: &Snapshot<'_>, orphans: &[&PersistentVolumeClaim]) -> String {
    let (mut destroyed, mut kept, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for claim in orphans.iter().filter(|claim| !claim.spec.volume_name.is_empty()) {
        let volume = snapshot.volume_of(claim).ok().flatten();
        let names = match volume.map(|volume| volume.spec.persistent_volume_reclaim_policy.as_str()) {
            Some("Delete" | "Recycle") => &mut destroyed,
            Some("Retain") => &mut kept,
            _ => &mut unknown,
        };
        names.push(claim.metadata.name.as_str());
    }
    let groups = [
        (destroyed, "destroys the data", "(reclaim policy Delete)"),
        (kept, "keeps the volume", "(Retain)"),
        (unknown, "may destroy the data", "(reclaim policy not known)"),
    ];
    let groups: Vec<_> = groups.iter().filter(|(names, ..)| !names.is_empty()).collect();
    match groups.as_slice() {
        [] => "they never had a volume".to_owned(),
        [(_, does, why)] => format!("deleting them {does} {why}"),
        several => {
            let each = several
                .iter()
                .map(|(names, does, why)| format!("deleting {} {does} {why}", words::list(names, 4)));
            words::list(&each.collect::<Vec<_>>(), 3)
        }
    }
}
