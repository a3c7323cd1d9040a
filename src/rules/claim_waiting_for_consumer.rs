//! A claim waits for its pod to get a node, as its class wants it; what the pod waits for is the point.

use std::collections::HashMap;

use jiff::SignedDuration;

use super::Subject;
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
    let mut at_fault: HashMap<String, Subject> = HashMap::new();
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
        if let Some((because, kind, name)) = blocker(snapshot, &used)? {
            at_fault.insert(because.clone(), Subject::new(kind, name));
            cases.push(Case { used, because, remedy: Vec::new() });
        }
    }
    let mut findings = claims::findings(&RULE, cases, |_, names, several| {
        let until = if several {
            "are Pending until their pods have nodes"
        } else {
            "is Pending until its pod has a node"
        };
        format!("{names} {until}, which is normal for the StorageClass")
    });
    for finding in &mut findings {
        // A note explains nothing away.
        finding.absorbs.clear();
        finding.follows.extend(at_fault.get(&finding.because).cloned());
    }
    Ok(findings)
}

/// Why the claim has no scheduled pod, and the object that is at fault; `None` while that is nothing out of the ordinary.
fn blocker(snapshot: &Snapshot<'_>, used: &Used<'_>) -> Result<Option<(String, Kind, String)>, Unseen> {
    let set = snapshot.set;
    let about = |pod: &str, because: String| Some((because, Kind::Pod, pod.to_owned()));
    if let Some(pod) = used.pods.first() {
        let name = &pod.metadata.name;
        if snapshot.since(pod.metadata.creation_timestamp).is_none_or(|age| age < START) {
            return Ok(None);
        }
        return Ok(match snapshot.trouble(pod).map(|trouble| trouble.why) {
            Some(PodFailure::Unschedulable { message: "" }) => {
                about(name, format!("{name} is not scheduled yet: no scheduler has processed it"))
            }
            Some(PodFailure::Unschedulable { message }) => {
                about(name, format!("{name} cannot be scheduled: {}", message.trim_end_matches('.')))
            }
            Some(PodFailure::Gated) => about(name, format!("{name} is blocked by a scheduling gate")),
            _ => None,
        });
    }
    let pod = set.pod_name(used.ordinal);
    Ok(match controller::next(snapshot)? {
        Next::Wait { on, because } if on != used.ordinal => {
            let on = set.pod_name(on);
            let yet = match because {
                Blocker::Terminating => "has terminated",
                Blocker::NotReady => "is ready",
                Blocker::NotYetAvailable => "is available",
                Blocker::NameTaken => "can be created (another pod has its name)",
                Blocker::ClaimEnding => "can be created (its earlier PVC still exists)",
                Blocker::VolumeMissing => "is recreated with its missing volume",
            };
            about(&on, format!("{pod} is not created until {on} {yet}"))
        }
        Next::Wait { because: Blocker::NameTaken, .. } => {
            about(&pod, format!("{pod} cannot be created: another pod has its name"))
        }
        Next::Settled(Idle::Deleting) => {
            let name = &set.metadata.name;
            let because = format!("{pod} is not created, because {name} is being deleted");
            Some((because, Kind::StatefulSet, name.clone()))
        }
        _ => None,
    })
}
