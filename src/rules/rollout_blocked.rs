//! An update or a scaling stands still because one pod does not become available.

use super::prelude::*;
use super::rollouts::is_in;
use crate::controller::{self, Blocker, Next};
use crate::snapshot::{PodFailure, Trouble};

pub const RULE: Rule = Rule {
    code: "STS302",
    name: "rollout-blocked",
    severity: Severity::Warning,
    stuck_from: None,
    page: include_str!("../../docs/rules/rollout-blocked.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let Next::Wait { on, because } = controller::next(snapshot)? else { return Ok(Vec::new()) };
    let set = snapshot.set;
    let (name, waited) = (&set.metadata.name, set.pod_name(on));
    let pod = snapshot.replica(on)?.and_then(|replica| replica.pod);
    let trouble = pod.and_then(|pod| Some((pod, snapshot.trouble(pod)?)));
    let trouble = trouble.filter(|(_, it)| because == Blocker::NotReady && it.why.needs_intervention());
    let trouble = trouble.map(|(pod, trouble)| at_fault(snapshot, pod, trouble)).transpose()?;
    let pod_name = trouble.as_ref().map_or(waited.as_str(), |(pod, _)| pod.metadata.name.as_str());
    let partition = set.boundary();
    // Otherwise old pods wait for a user who deletes them, or are deleted whatever the others are like.
    let rolling = set.strategy() == Strategy::RollingUpdate;
    let (mut missing, mut old) = (Vec::new(), Vec::new());
    for replica in snapshot.replicas()?.iter().filter(|replica| replica.ordinal != on) {
        match replica.pod {
            None => missing.push(replica.name.clone()),
            Some(pod)
                if rolling
                    && replica.ordinal >= partition
                    && pod.revision() != set.status.update_revision =>
            {
                old.push(replica.name.clone());
            }
            Some(_) => {}
        }
    }
    let condemned = snapshot.condemned()?;
    // A set that comes up one pod after the other stands at the one that fails, whose own finding is enough.
    let comes_up =
        condemned.is_empty() && snapshot.replicas()?.iter().all(|it| it.ordinal <= on || it.pod.is_none());
    let (action, blocked) = match () {
        () if !old.is_empty() => ("update", old),
        () if !missing.is_empty() => ("creation", missing),
        () if !condemned.is_empty() && !set.is_parallel() => {
            let others = condemned.iter().filter(|replica| replica.ordinal != on);
            ("deletion", others.map(|replica| replica.name.clone()).collect())
        }
        () => return Ok(Vec::new()),
    };
    if blocked.is_empty() {
        return Ok(Vec::new());
    }
    let (what, verb) = match action {
        "update" => ("update", "updates"),
        "creation" => ("scale-up", "creates"),
        _ => ("scale-down", "deletes"),
    };
    let names = words::list(&blocked, 3);
    let is = trouble.as_ref().map_or("is not ready".to_owned(), |(_, trouble)| is_in(&trouble.why));
    let finding = RULE
        .about(Kind::StatefulSet, name, format!("the {what} of {name} is blocked by {pod_name}"))
        .because(if waited == pod_name {
            format!("the controller {verb} {names} only after {pod_name} is ready, but {pod_name} {is}")
        } else {
            format!(
                "the controller {verb} {names} only after {waited} is ready, and {waited} may not be ready because \
                 {pod_name} {is}"
            )
        })
        .also(Kind::Pod, pod_name)
        .follows(Kind::Pod, pod_name)
        .blocking(Blocked { action, pods: blocked });
    // Only another finding can tell whether what the controller waits for will come: a pod that is deleted ends, and a PVC
    // is bound.
    let Some((pod, _)) = trouble.filter(|_| action != "creation" || !comes_up) else {
        return Ok(vec![Finding { stands_alone: false, ..finding }]);
    };
    // An update can be taken back where it is what is at fault.
    let is_updated = pod.revision() == set.status.update_revision;
    let back = match () {
        () if action != "update" || !is_updated => None,
        () if snapshot.mark().is_some() => Some("abort"),
        () if set.status.current_revision != pod.revision() => Some("undo"),
        () => None,
    };
    let way_out = back.map(|word| sts(word).name(name).namespace(home(snapshot)));
    let shown = || kubectl("describe pod").name(pod_name).namespace(home(snapshot));
    let finding = finding.remedy(way_out.clone().unwrap_or_else(shown));
    Ok(vec![Finding { way_out: way_out.into_iter().collect(), ..finding }])
}

/// The pod at fault: where the one that is waited for only is not ready, another one that fails for a harder reason may be
/// why. As in [`super::stuck`], which goes by the findings.
fn at_fault<'a>(
    snapshot: &Snapshot<'a>,
    waited: &'a Pod,
    trouble: Trouble<'a>,
) -> Result<(&'a Pod, Trouble<'a>), Unseen> {
    if !matches!(trouble.why, PodFailure::Unready { .. }) {
        return Ok((waited, trouble));
    }
    let pods = snapshot.replicas()?.iter().filter_map(|replica| replica.pod);
    let mut others = pods.filter(|pod| !pod.metadata.is_terminating()).filter_map(|pod| {
        let trouble = snapshot.trouble(pod)?;
        (trouble.why.needs_intervention() && !matches!(trouble.why, PodFailure::Unready { .. }))
            .then_some((pod, trouble))
    });
    Ok(others.next().unwrap_or((waited, trouble)))
}
