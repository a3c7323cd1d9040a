//! The API server refuses to delete a pod that the controller wants to delete, so nothing moves any more.

use super::prelude::*;
use super::refused::{changes, lift, quoted};
use crate::controller::{self, Action, Next, Purpose};
use crate::snapshot::Verb;

pub const RULE: Rule = Rule {
    code: "STS308",
    name: "pod-deletion-refused",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/pod-deletion-refused.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let Next::Act(actions) = controller::next(snapshot)? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for action in actions {
        let Action::Delete(ordinal, purpose) = action else { continue };
        let Some(pod) = snapshot.replica(ordinal)?.and_then(|replica| replica.pod) else { continue };
        let Some(refused) = snapshot.refused_for(Verb::Delete, pod)? else { continue };
        let name = &pod.metadata.name;
        // What is deleted by hand needs no other try.
        let (allow, lifted) = lift(snapshot, refused.said, purpose != Purpose::Replace);
        let finding = RULE
            .about(Kind::Pod, name, format!("the controller cannot delete {name}"))
            .because(format!("{}; {}{allow}", quoted(snapshot, &refused), why(snapshot, pod, purpose)));
        let finding = match take_back(snapshot, purpose)? {
            Some(back) => {
                lifted.into_iter().take(1).filter(changes).fold(finding.remedy(back), Finding::instead)
            }
            None => lifted.into_iter().fold(finding, Finding::remedy),
        };
        found.push(match purpose {
            // Nothing runs in it, and the refusal may be meant for the controller's user only.
            Purpose::Replace => finding.remedy(kubectl("delete pod").name(name).namespace(home(snapshot))),
            Purpose::Update | Purpose::ScaleDown => finding,
        });
    }
    Ok(found)
}

/// What the deletion is for.
fn why(snapshot: &Snapshot<'_>, pod: &Pod, purpose: Purpose) -> String {
    let set = snapshot.set;
    let name = &set.metadata.name;
    let what = match purpose {
        Purpose::Update => format!(
            "the update to {} is blocked: {} is still on {}",
            set.status.update_revision,
            pod.metadata.name,
            pod.revision()
        ),
        Purpose::ScaleDown => {
            format!(
                "the scale-down of {name} to {} is blocked",
                words::count(count(set.replicas()), "replica")
            )
        }
        Purpose::Replace => format!(
            "the pod has finished ({}) and is recreated only after it is deleted; if you are allowed to delete it, \
             nothing is lost, because no container runs in it",
            pod.status.phase
        ),
    };
    format!(
        "{what}; the controller retries at least every 17 minutes, and continues once the deletion is allowed"
    )
}

fn count(replicas: i32) -> usize {
    usize::try_from(replicas).unwrap_or(0)
}

/// The command that takes back what the deletion is for, where that needs no deletion itself.
fn take_back(snapshot: &Snapshot<'_>, purpose: Purpose) -> Result<Option<Command>, Unseen> {
    let set = snapshot.set;
    let (name, at) = (&set.metadata.name, home(snapshot));
    Ok(match purpose {
        Purpose::Update => {
            let update = &set.status.update_revision;
            let is_updated = |pod: &Pod| pod.revision() == update;
            let begun = snapshot.replicas()?.iter().any(|replica| replica.pod.is_some_and(is_updated));
            let back = if snapshot.mark().is_some() { "abort" } else { "undo" };
            (!begun && controller::current_revision(snapshot) != update)
                .then(|| sts(back).name(name).namespace(at))
        }
        Purpose::ScaleDown => {
            let highest = snapshot.condemned()?.last().map(|replica| replica.ordinal);
            let replicas = highest.map(|highest| i64::from(highest) + 1 - i64::from(set.start()));
            replicas.filter(|replicas| *replicas > 0).map(|replicas| {
                kubectl("scale statefulset").name(name).joined("--replicas=", replicas).namespace(at)
            })
        }
        Purpose::Replace => None,
    })
}
