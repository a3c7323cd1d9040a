//! Data that is older than its `StatefulSet`: what rules about PVCs and findings about pods say of it.

use jiff::{SignedDuration, Timestamp};

use super::prelude::*;

/// By how much a PVC is older, so that it is not one that was made for this StatefulSet: restored, or moved from elsewhere.
const OLDER: SignedDuration = SignedDuration::from_hours(24);

/// Since when there has been this StatefulSet. One that was created again with `--cascade=orphan` has kept its revisions, and
/// with them its data.
pub(super) fn born(snapshot: &Snapshot<'_>) -> Option<Timestamp> {
    let revisions = snapshot.revisions().unwrap_or_default();
    let revisions = revisions.iter().filter_map(|revision| revision.metadata.creation_timestamp);
    snapshot.set.metadata.creation_timestamp.into_iter().chain(revisions).min()
}

/// A PVC with its volume that is much older than its StatefulSet.
pub(super) struct Old<'a> {
    /// The name of the replica that uses it.
    pub replica: String,
    /// The PVC.
    pub claim: &'a PersistentVolumeClaim,
    /// By how much it is older.
    pub by: SignedDuration,
}

/// The PVCs of wanted replicas that are much older than the StatefulSet, lowest ordinal first.
pub(super) fn old<'a>(snapshot: &Snapshot<'a>) -> Result<Vec<Old<'a>>, Unseen> {
    let (replicas, _) = (snapshot.replicas()?, snapshot.claims()?);
    let Some(born) = born(snapshot) else { return Ok(Vec::new()) };
    let all = replicas.iter().flat_map(|replica| replica.claims().map(move |claim| (replica, claim)));
    Ok(all
        .filter(|(_, claim)| claim.is_bound() && !claim.metadata.is_terminating())
        .filter_map(|(replica, claim)| {
            let by = born.duration_since(claim.metadata.creation_timestamp?);
            (by >= OLDER).then(|| Old { replica: replica.name.clone(), claim, by })
        })
        .collect())
}

/// The findings that old data may be behind.
const OF_PODS: [&str; 4] = ["crash-loop", "init-failing", "never-ready", "liveness-killed"];

/// Says in a finding about a pod that fails that its data is of an earlier installation, which may be why.
pub(super) fn heed(snapshot: &Snapshot<'_>, finding: &mut Finding) {
    if !OF_PODS.contains(&finding.rule.name) || finding.severity == Severity::Note {
        return;
    }
    let Ok(old) = old(snapshot) else { return };
    let Some(first) = old.iter().find(|old| old.replica == finding.subject.name) else { return };
    let said = format!(
        "PVC {} is {} older than {}: its data may be of an earlier installation, with other passwords or another version; \
         keep the PVC, and give the pod the settings of that time",
        first.claim.metadata.name,
        words::age(first.by),
        snapshot.set.metadata.name
    );
    finding.because = if finding.because.is_empty() { said } else { format!("{}; {said}", finding.because) };
}
