//! A replica is broken on the old revision, and the partition keeps the new one from it.

use super::prelude::*;
use super::rollouts::{held, is_in};
use crate::controller::MaxUnavailable;

pub const RULE: Rule = Rule {
    code: "STS311",
    name: "fix-above-partition",
    severity: Severity::Warning,
    // The finding about the pod itself says that it will not come by itself.
    stuck_from: None,
    page: include_str!("../../docs/rules/fix-above-partition.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let held = held(snapshot)?;
    let Some((lowest, first, trouble)) = held.first() else { return Ok(Vec::new()) };
    let set = snapshot.set;
    let (name, at) = (&set.metadata.name, home(snapshot));
    let (update, old) = (&set.status.update_revision, first.revision());
    let good: Vec<&str> = snapshot
        .replicas()?
        .iter()
        .filter_map(|replica| replica.pod)
        .filter(|pod| pod.revision() == update && snapshot.is_available(pod))
        .map(|pod| pod.metadata.name.as_str())
        .collect();
    let proof = match good.len() {
        0 => format!("no pod is on {update} yet"),
        1 => format!("{} is available on {update}", good[0]),
        _ => format!("{} are available on {update}", words::list(&good, 3)),
    };
    let names: Vec<&str> = held.iter().map(|(_, pod, _)| pod.metadata.name.as_str()).collect();
    let pod = &first.metadata.name;
    // An ordered set waits for the pod that fails instead of replacing it (kubernetes/kubernetes#67250).
    let trapping = MaxUnavailable::of(snapshot.server) == MaxUnavailable::Trapping;
    let waits = !set.is_parallel() || trapping;
    let then = if waits {
        format!(
            "; the controller then still waits for {pod}, so delete that pod (kubernetes/kubernetes#67250)"
        )
    } else {
        String::new()
    };
    let finding = RULE
        .about(Kind::StatefulSet, name, format!("the update of {name} does not reach {}", words::list(&names, 3)))
        .because(format!(
            "{pod} {} on the old revision {old}, and partition {} excludes it from the update to {update}; {proof}; if the \
             update is the fix, lower the partition{then}",
            is_in(&trouble.why),
            set.partition()
        ));
    let to = lowest - set.start();
    let promote = sts("promote").name(name).namespace(at);
    let promote =
        if to == 0 { promote.with("--full") } else { promote.with("--partition").value(to.to_string()) };
    // promote first waits for all pods, and the broken one keeps a Parallel set from replacing more of them.
    let lower = serde_json::json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": to}}}});
    let lower = kubectl("patch statefulset").name(name).namespace(at).with("--type=merge").patch(&lower);
    let finding = finding.remedy(lower);
    let finding = match (waits, snapshot.may_recover(first, trouble)) {
        (false, _) => finding,
        // recover leaves a pod alone that only is not ready, on the revision of before the update.
        (true, true) => finding.remedy(kubectl("delete pod").name(pod).namespace(at)),
        (true, false) => finding.remedy(sts("recover").name(name).namespace(at)),
    };
    // The canary's mark goes only with the last step of promote.
    Ok(vec![if snapshot.mark().is_some() { finding.remedy(promote) } else { finding }])
}
