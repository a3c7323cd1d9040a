//! Volumes whose PVC was deleted and whose data is kept: `prune-pvcs --retain`, or the reclaim policy Retain.

use std::collections::BTreeMap;

use super::prelude::*;
use crate::snapshot::ClaimName;

pub const RULE: Rule = Rule {
    code: "STS220",
    name: "volume-released",
    severity: Severity::Note,
    stuck_from: None,
    page: include_str!("../../docs/rules/volume-released.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    snapshot.claims()?;
    let at = home(snapshot);
    let mut kept: BTreeMap<(i32, &str), &PersistentVolume> = BTreeMap::new();
    for volume in snapshot.volumes_of_named_claims()? {
        let Some(of) = &volume.spec.claim_ref else { continue };
        let is_kept = volume.status.phase == "Released"
            && volume.spec.persistent_volume_reclaim_policy == RETAIN
            && !volume.metadata.is_terminating();
        // A PVC of that name that exists has another volume now, or will get one.
        let Some(name) = ClaimName::parse(set, &of.name).filter(|_| is_kept) else { continue };
        if snapshot.claim(&of.name)?.is_none() {
            kept.insert((name.ordinal, &volume.metadata.name), volume);
        }
    }
    let Some(first) = kept.values().next() else { return Ok(Vec::new()) };
    let name = &set.metadata.name;
    let size: Quantity = kept.values().filter_map(|volume| Quantity::parse(volume.size())).sum();
    let volumes: Vec<&str> = kept.values().map(|volume| volume.metadata.name.as_str()).collect();
    let claims: Vec<&str> =
        kept.values().filter_map(|volume| Some(volume.spec.claim_ref.as_ref()?.name.as_str())).collect();
    let (verb, them) = if volumes.len() == 1 { ("keeps", "it") } else { ("keep", "them") };
    let claim = first.spec.claim_ref.as_ref().map_or("", |of| of.name.as_str());
    let what = format!(
        "{} ({size}) {verb} the data of deleted PVCs of {name}: {}",
        words::count(volumes.len(), "PV"),
        words::list(&volumes, 3)
    );
    let finding = RULE.about(Kind::StatefulSet, name, what).because(format!(
        "of {}, and the reclaim policy is Retain: the data stays until the PV and its storage are deleted; to use {them} again, give restore-pvc the file {at}.{claim}.pvc.yaml from \
         the backup of prune-pvcs, before {name} is scaled up: the scale-up would create an empty PVC of that name",
        words::list(&claims, 3)
    ));
    let finding = finding.remedy(kubectl("get pv").names(&volumes));
    Ok(vec![volumes.iter().fold(finding, |finding, name| finding.also(Kind::PersistentVolume, *name))])
}
