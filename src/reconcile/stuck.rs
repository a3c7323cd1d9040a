//! Why what is waited for will not come.

use crate::controller::{Next, next};
use crate::kinds::StatefulSet;
use crate::rules::{Filter, Finding, Severity, of_set};
use crate::snapshot::Snapshot;

/// What it is stuck on.
#[derive(Debug)]
pub struct Stuck {
    /// The set, as it was then.
    pub set: StatefulSet,
    /// What is waited for, in words.
    pub on: String,
    /// Why it will not come; empty where only time speaks against it.
    pub findings: Vec<Finding>,
}

/// What speaks against waiting: an error about the replica the controller waits for, or about the set's pods that
/// cannot be made; or a pod that has used up the time its probes give it.
pub(super) fn stuck(snapshot: &Snapshot<'_>) -> Option<Stuck> {
    let next = next(snapshot).ok()?;
    let (findings, _) = of_set(snapshot, &Filter::default());
    let errors = findings.into_iter().filter(|finding| finding.severity == Severity::Error);
    let evidence =
        |on: String, findings: Vec<Finding>| Some(Stuck { on, findings, set: snapshot.set.clone() });
    match next {
        Next::Wait { on, .. } => {
            let replica = snapshot.replica(on).ok().flatten()?;
            let concerns = |finding: &Finding| {
                let mut all = std::iter::once(&finding.subject).chain(&finding.also).chain(&finding.absorbs);
                all.any(|subject| {
                    subject.name == replica.name || replica.slots.iter().any(|slot| slot.name == subject.name)
                })
            };
            let findings: Vec<_> = errors
                .filter(|finding| !finding.rule.code.starts_with("STS1") && concerns(finding))
                .collect();
            if !findings.is_empty() {
                return evidence(replica.name.clone(), findings);
            }
            replica.pod.and_then(|pod| snapshot.late_since(pod))?;
            evidence(replica.name.clone(), Vec::new())
        }
        Next::Act(_) => {
            let creation: Vec<_> = errors
                .filter(|finding| {
                    finding.rule.name.starts_with("pod-") || finding.rule.code.starts_with("STS2")
                })
                .collect();
            let on = snapshot.replicas().ok()?.iter().find(|replica| replica.pod.is_none())?.name.clone();
            if creation.is_empty() { None } else { evidence(on, creation) }
        }
        Next::Settled(_) => None,
    }
}
