//! A volume was deleted while its PVC is bound: it goes with the PVC, and its data too unless the reclaim policy is Retain.

use serde_json::json;

use super::finalizers::BOUND;
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS216",
    name: "volume-terminating",
    severity: Severity::Warning,
    stuck_from: None,
    page: include_str!("../../docs/rules/volume-terminating.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let (mut lost, mut kept) = (Vec::new(), Vec::new());
    for (claim, volume) in doomed(snapshot)? {
        let list = if volume.spec.persistent_volume_reclaim_policy == RETAIN { &mut kept } else { &mut lost };
        list.push((claim, volume));
    }
    let lost = about(snapshot, &lost).map(|(finding, when)| {
        let each = |finding: Finding, name: &String| {
            let retain = json!({"spec": {"persistentVolumeReclaimPolicy": RETAIN}});
            finding.remedy(kubectl("patch pv").name(name).patch(&retain))
        };
        let finding = finding.because(format!(
            "{when}; when the PVC is deleted, the PV goes too and its data is destroyed (reclaim policy Delete); Retain keeps the data"
        ));
        lost.iter().map(|(_, volume)| &volume.metadata.name).fold(finding, each)
    });
    let kept = about(snapshot, &kept).map(|(finding, when)| {
        let names = kept.iter().map(|(_, volume)| &volume.metadata.name);
        finding
            .because(format!(
                "{when}; when the PVC is deleted, the PV object goes too, and its storage is kept (reclaim policy Retain): only \
                 the manifest of the PV says where the storage is"
            ))
            .remedy(kubectl("get pv").names(names).with("-o yaml"))
            .only(Severity::Note)
    });
    Ok(lost.into_iter().chain(kept).collect())
}

/// The PVCs of the set, also of replicas it no longer has, whose volume is being deleted while they stay, by name.
fn doomed<'a>(
    snapshot: &Snapshot<'a>,
) -> Result<Vec<(&'a PersistentVolumeClaim, &'a PersistentVolume)>, Unseen> {
    let all = snapshot.replicas()?.iter().chain(snapshot.condemned()?);
    let mounted: Vec<String> = all.filter_map(|replica| replica.pod).flat_map(Pod::claim_names).collect();
    let mut found = Vec::new();
    let named = snapshot.named_claims()?.into_iter().map(|(_, claim)| claim);
    let others = mounted.iter().filter_map(|name| snapshot.claim(name).ok().flatten());
    for claim in named.chain(others).filter(|claim| claim.is_bound()) {
        // Where the PVC itself was deleted, claim-terminating tells of it.
        if claim.metadata.is_terminating() {
            continue;
        }
        let volume = snapshot.volume_of(claim)?.filter(|volume| volume.metadata.is_terminating());
        found.extend(volume.filter(|volume| volume.is_of(claim)).map(|volume| (claim, volume)));
    }
    found.sort_by_key(|(claim, _)| &claim.metadata.name);
    found.dedup_by_key(|(claim, _)| &claim.metadata.name);
    Ok(found)
}

/// One finding for all, without its evidence, and when the volumes were deleted.
fn about(
    snapshot: &Snapshot<'_>,
    cases: &[(&PersistentVolumeClaim, &PersistentVolume)],
) -> Option<(Finding, String)> {
    let (first, _) = cases.first()?;
    let names: Vec<&str> = cases.iter().map(|(claim, _)| claim.metadata.name.as_str()).collect();
    let (noun, of, verb, it) = match names.len() {
        1 => ("PV", "PVC", "is", "it"),
        _ => ("PVs", "PVCs", "are", "them"),
    };
    let what = format!("the {noun} of {of} {} {verb} being deleted", words::list(&names, 3));
    let finding = RULE.about(Kind::PersistentVolumeClaim, &first.metadata.name, what);
    let finding =
        names[1..].iter().fold(finding, |finding, name| finding.also(Kind::PersistentVolumeClaim, *name));
    let deleted = cases.iter().filter_map(|(_, volume)| volume.metadata.deletion_timestamp).min();
    let age = snapshot.since(deleted).map(words::age).unwrap_or_default();
    let volumes: Vec<&str> = cases.iter().map(|(_, volume)| volume.metadata.name.as_str()).collect();
    let verb = if volumes.len() == 1 { "was" } else { "were" };
    let when = format!(
        "{} {verb} deleted {age} ago; the finalizer {BOUND} keeps {it} only while the PVC is bound",
        words::list(&volumes, 3)
    );
    Some((finding, when))
}
