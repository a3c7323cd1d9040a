//! A claim waits for its pod to get a node, as its class wants it; what the pod waits for is the point.

use jiff::SignedDuration;

use super::claims::{self, Case, Source, Used};
use super::prelude::*;
use crate::controller::{self, Blocker, Idle, Next};
use crate::snapshot::PodFailure;

pub const RULE: Rule = Rule {
    code: "STS205",
    name: "claim-waiting-for-consumer",
    severity: Severity::Note,
    stuck_from: None,
    page: include_str!("../../docs/rules/claim-waiting-for-consumer.md"),
    check,
};

/// An ordinary start is over by then.
const START: SignedDuration = SignedDuration::from_secs(60);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let mut cases = Vec::new();
    for used in claims::pending(snapshot)? {
        let claim = used.claim;
        let waits = match claims::source(snapshot, claim)? {
            Source::Class(class) => class.waits_for_consumer(),
            Source::ByHand => {
                snapshot.class_of(claim)?.is_some_and(StorageClass::waits_for_consumer)
                    && claims::is_served(snapshot, claim)?
            }
            _ => false,
        };
        let young = snapshot.since(claim.metadata.creation_timestamp).is_none_or(|age| age < START);
        if !waits || claims::has_node(&used) || young {
            continue;
        }
        if let Some(because) = blocker(snapshot, &used)? {
            cases.push(Case { used, because, remedy: Vec::new() });
        }
    }
    let mut findings = claims::findings(&RULE, cases, |_, names, several| {
        let verb = if several { "wait for their pods" } else { "waits for its pod" };
        format!("{names} {verb} to get a node, which is normal for the class")
    });
    for finding in &mut findings {
        // A note explains nothing away.
        finding.absorbs.clear();
    }
    Ok(findings)
}

/// Why the claim has no scheduled pod; `None` while that is nothing out of the ordinary.
fn blocker(snapshot: &Snapshot<'_>, used: &Used<'_>) -> Result<Option<String>, Unseen> {
    let set = snapshot.set;
    if let Some(pod) = used.pods.first() {
        let name = &pod.metadata.name;
        if snapshot.since(pod.metadata.creation_timestamp).is_none_or(|age| age < START) {
            return Ok(None);
        }
        return Ok(match snapshot.trouble(pod).map(|trouble| trouble.why) {
            Some(PodFailure::Unschedulable { message: "" }) => {
                Some(format!("{name} is not scheduled yet: no scheduler has looked at it"))
            }
            Some(PodFailure::Unschedulable { message }) => {
                Some(format!("{name} cannot be scheduled: {}", message.trim_end_matches('.')))
            }
            Some(PodFailure::Gated) => Some(format!("{name} is held by a scheduling gate")),
            _ => None,
        });
    }
    let pod = set.pod_name(used.ordinal);
    Ok(match controller::next(snapshot)? {
        Next::Wait { on, because } if on != used.ordinal => {
            let on = set.pod_name(on);
            let yet = match because {
                Blocker::Terminating => "has ended",
                Blocker::NotReady => "is ready",
                Blocker::NotYetAvailable => "is available",
                Blocker::NameTaken => "can be created, whose name another pod has",
                Blocker::ClaimEnding => "can be created, whose earlier claim is not gone",
                Blocker::VolumeMissing => "is recreated with the volume that it lacks",
            };
            Some(format!("{pod} is not created before {on} {yet}"))
        }
        Next::Wait { because: Blocker::NameTaken, .. } => {
            Some(format!("{pod} cannot be created: another pod has its name"))
        }
        Next::Settled(Idle::Deleting) => {
            Some(format!("{pod} is not created, as {} is being deleted", set.metadata.name))
        }
        _ => None,
    })
}
