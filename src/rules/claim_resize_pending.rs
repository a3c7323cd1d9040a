//! A volume has grown, and its file system waits for the pod to start again.

use jiff::SignedDuration;

use super::claims::{self, Case};
use super::prelude::*;
use super::resizes;

pub const RULE: Rule = Rule {
    code: "STS218",
    name: "claim-resize-pending",
    severity: Severity::Warning,
    stuck_from: None,
    page: include_str!("../../docs/rules/claim-resize-pending.md"),
    check,
};

/// A kubelet that grows file systems in use does so within minutes, and then the condition is gone.
const ONLINE: SignedDuration = SignedDuration::from_mins(10);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let mut cases = Vec::new();
    for used in claims::used(snapshot, |claim| claim.is_bound() && !claim.metadata.is_terminating())? {
        let claim = used.claim;
        let Some(pending) =
            claim.condition("FileSystemResizePending").filter(|pending| pending.status == "True")
        else {
            continue;
        };
        let Some(age) = snapshot.since(pending.last_transition_time).filter(|age| *age >= ONLINE) else {
            continue;
        };
        // Without a running pod the file system grows when the next one starts.
        let runs = |pod: &&&Pod| pod.status.phase == "Running" && !pod.metadata.is_terminating();
        let Some(pod) = used.pods.iter().find(runs) else { continue };
        if resizes::failure(snapshot, claim)?.is_some() {
            continue;
        }
        let pod = &pod.metadata.name;
        let because = format!(
            "the volume has grown to {}, and the kubelet has had {} to grow its file system, which still has {}: this driver does \
             it only when a pod mounts the volume, so restart the pod",
            claim.requested(),
            words::age(age),
            claim.size()
        );
        let remedy = vec![kubectl("delete pod").name(pod).namespace(home(snapshot))];
        cases.push(Case { used, because, remedy });
    }
    let mut findings = claims::findings(&RULE, cases, |_, names, several| {
        let (verb, pod) = if several { ("wait", "their pods") } else { ("waits", "its pod") };
        format!("{names} {verb} for a restart of {pod} to get the requested size")
    });
    let set = snapshot.set;
    for finding in &mut findings {
        finding.absorbs.clear();
        // One after the other, where the controller does that.
        let rolls = set.strategy() == Strategy::RollingUpdate && set.partition() == 0;
        if finding.remedy.len() > 1 && rolls {
            finding.remedy = vec![
                kubectl("rollout restart statefulset").name(&set.metadata.name).namespace(home(snapshot)),
            ];
        }
    }
    Ok(findings)
}
