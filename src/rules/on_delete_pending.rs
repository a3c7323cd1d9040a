//! An update of an OnDelete `StatefulSet` that has been waiting for days for somebody to delete the old pods.

use jiff::SignedDuration;
use serde_json::json;

use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS312",
    name: "on-delete-pending",
    severity: Severity::Warning,
    stuck_from: None,
    page: include_str!("../../docs/rules/on-delete-pending.md"),
    check,
};

/// Pods may be replaced over a working day, one after the other.
const BY_HAND: SignedDuration = SignedDuration::from_hours(24);
/// From then on it looks forgotten.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(7 * 24);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    let (name, update) = (&set.metadata.name, &set.status.update_revision);
    if set.strategy() != Strategy::OnDelete
        || set.metadata.is_terminating()
        || !set.is_observed()
        || update.is_empty()
    {
        return Ok(Vec::new());
    }
    // What counts is the revision of each pod: currentRevision stays behind for good on servers before 1.37
    // (kubernetes/kubernetes#136833).
    let replicas = snapshot.replicas()?;
    let pods = replicas.iter().filter_map(|replica| replica.pod).filter(|pod| !pod.metadata.is_terminating());
    let outdated: Vec<&Pod> =
        pods.filter(|pod| !pod.revision().is_empty() && pod.revision() != update).collect();
    let Some(last) = outdated.last() else { return Ok(Vec::new()) };
    // A template that was put back has its earlier revision, which is older than the change: what is newest says how long
    // the change can have been there at most.
    let revisions = snapshot.revisions()?;
    let newest = revisions.iter().filter_map(|revision| revision.metadata.creation_timestamp).max();
    let Some(age) = snapshot.since(newest) else { return Ok(Vec::new()) };
    // An operator deletes pods when it is time for it.
    let has_operator = set.metadata.controller().is_some();
    if age < if has_operator { FORGOTTEN } else { BY_HAND } {
        return Ok(Vec::new());
    }
    let names: Vec<&str> = outdated.iter().map(|pod| pod.metadata.name.as_str()).collect();
    let at = home(snapshot);
    let are = if names.len() == 1 { "is" } else { "are" };
    let finding = RULE.about(
        Kind::StatefulSet,
        name,
        format!(
            "the update of {name} has been waiting for {}: {} {are} outdated",
            words::age(age),
            words::list(&names, 3)
        ),
    );
    let old = last.revision();
    let evidence = format!(
        "the update strategy is OnDelete: the controller replaces a pod only after it is deleted, and {} {are} still on the \
         old revision {old}, not on {update}",
        words::list(&names, 3)
    );
    let finding = if names.len() == 1 {
        finding.because(evidence).remedy(kubectl("delete pod").name(names[0]).namespace(at))
    } else {
        let rolling =
            json!({"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}});
        finding
            .because(format!(
                "{evidence}; the command lets the controller replace them, one at a time; to keep OnDelete, delete them one at a \
                 time yourself, {} first",
                last.metadata.name
            ))
            .remedy(kubectl("patch statefulset").name(name).namespace(at).with("--type=merge").patch(&rolling))
    };
    Ok(vec![if age < FORGOTTEN || has_operator { finding.only(Severity::Note) } else { finding }])
}
