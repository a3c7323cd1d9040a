//! An update or a scaling stands still because one pod does not become available.

use super::prelude::*;
use super::rollouts::{deadlock, held, is_in, trapped};
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
    let Next::Wait { on, because: Blocker::NotReady } = controller::next(snapshot)? else {
        return Ok(Vec::new());
    };
    if trapped(snapshot)?.is_some() || deadlock(snapshot)?.is_some() || !held(snapshot)?.is_empty() {
        return Ok(Vec::new());
    }
    let Some(pod) = snapshot.replica(on)?.and_then(|replica| replica.pod) else { return Ok(Vec::new()) };
    let Some(trouble) = snapshot.trouble(pod).filter(|trouble| trouble.why.needs_intervention()) else {
        return Ok(Vec::new());
    };
    let set = snapshot.set;
    let waited = &pod.metadata.name;
    let (pod, trouble) = at_fault(snapshot, pod, trouble)?;
    let (name, pod_name) = (&set.metadata.name, &pod.metadata.name);
    let partition = set.boundary();
    // Otherwise old pods wait for whoever deletes them, or are deleted whatever the others are like.
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
    let waiting = match () {
        () if !old.is_empty() => format!("{} to be updated", are(&old)),
        () if !missing.is_empty() && !comes_up => format!("{} to be created", are(&missing)),
        () if !condemned.is_empty() && !set.is_parallel() => {
            let names: Vec<_> = condemned.iter().map(|replica| replica.name.clone()).collect();
            format!("{} to be deleted", are(&names))
        }
        () => return Ok(Vec::new()),
    };
    let what = if old.is_empty() { "scaling" } else { "update" };
    let finding = RULE
        .about(Kind::StatefulSet, name, format!("the {what} of {name} stands still at {pod_name}"))
        .because(if waited == pod_name {
            format!("{waiting}, and the controller waits for {pod_name} first, which {}", is_in(&trouble.why))
        } else {
            format!(
                "{waiting}, and the controller waits for {waited} first, which is not ready, perhaps because {pod_name} {}",
                is_in(&trouble.why)
            )
        })
        .also(Kind::Pod, pod_name);
    let earlier = &set.status.current_revision;
    let undo = !old.is_empty() && pod.revision() == set.status.update_revision && earlier != pod.revision();
    Ok(vec![if snapshot.mark().is_some() {
        finding.remedy(sts("abort").name(name).namespace(home(snapshot)))
    } else if undo {
        finding.remedy(sts("undo").name(name).namespace(home(snapshot)))
    } else {
        finding.remedy(kubectl("describe pod").name(pod_name).namespace(home(snapshot)))
    }])
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

fn are(names: &[String]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb} still", words::list(names, 3))
}
