//! An update of a Parallel set without `rollingUpdate` that goes round in circles.
//!
//! The API server fills in `rollingUpdate: {partition: 0}` only where the *type* is absent
//! (`apis/apps/v1/defaults.go:SetDefaults_StatefulSet`): an explicit `type: RollingUpdate` alone, as many charts write it,
//! stays without it. The controller then creates as many of the lowest pods on the old revision as `status.currentReplicas`
//! counts (`stateful_set_utils.go:newVersionedStatefulSetPod`). Since 1.37 it deletes the old pods of a Parallel set that are
//! not available before all others (kubernetes/kubernetes#137666). One of the lowest comes back old, is deleted again, and
//! counts against `maxUnavailable` all the time, so that no other pod is updated either.

use serde_json::json;

use super::prelude::*;
use crate::controller::{self, MaxUnavailable};
use crate::snapshot::Replica;

pub const RULE: Rule = Rule {
    code: "STS317",
    name: "rolling-update-nil",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/rolling-update-nil.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    let (update, current) = (&set.status.update_revision, controller::current_revision(snapshot));
    if set.strategy() != Strategy::RollingUpdate
        || set.rolling_update().is_some()
        || !set.is_parallel()
        || set.metadata.is_terminating()
        || !set.is_observed()
        || current == update
        || MaxUnavailable::of(snapshot.server) != MaxUnavailable::Counted
        || snapshot.creation_refused()?.is_some()
    {
        return Ok(Vec::new());
    }
    let replicas = snapshot.replicas()?;
    let is_old = |pod: &&Pod| pod.revision() == current && snapshot.is_available(pod);
    let stay = replicas.iter().filter_map(|replica| replica.pod).filter(is_old).count();
    let stay = i32::try_from(stay).unwrap_or(i32::MAX);
    // Made before the update it may only be about to be replaced.
    let revisions = snapshot.revisions()?;
    let since = revisions.iter().find(|it| it.metadata.name == *update);
    let since = since.and_then(|revision| revision.metadata.creation_timestamp);
    let circles = |replica: &&Replica<'_>| {
        let is_low = replica.ordinal.saturating_sub(set.start()) < stay;
        is_low
            && match replica.pod {
                None => replica.foreign_pod.is_none(),
                Some(pod) => {
                    pod.revision() == current
                        && !snapshot.is_available(pod)
                        && pod.metadata.creation_timestamp > since
                }
            }
    };
    let caught: Vec<&str> = replicas.iter().filter(circles).map(|replica| replica.name.as_str()).collect();
    if caught.is_empty() {
        return Ok(Vec::new());
    }
    let name = &set.metadata.name;
    let (is, names) = (if caught.len() == 1 { "is" } else { "are" }, words::list(&caught, 3));
    let what = format!(
        "{names} {is} created on the old revision again and again, and the update of {name} never ends"
    );
    let zero = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}});
    let patch =
        kubectl("patch statefulset").name(name).namespace(home(snapshot)).with("--type=merge").patch(&zero);
    let finding = RULE
        .about(Kind::StatefulSet, name, what)
        .because(format!(
            "spec.updateStrategy has type: RollingUpdate without rollingUpdate: the controller creates the lowest pods on the \
             old revision {current} as long as others have it, and deletes them at once for the update to {update}, because \
             they are not available; with rollingUpdate.partition: 0 it creates them on the new revision"
        ))
        .remedy(patch);
    Ok(vec![caught.iter().fold(finding, |finding, pod| finding.absorbs(Kind::Pod, *pod))])
}
