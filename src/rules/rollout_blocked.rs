//! An update or a scaling stands still because one pod does not become available.

use super::prelude::*;
use super::scale_down_deadlock::deadlock;
use crate::controller::{self, Blocker, Next};

pub const RULE: Rule = Rule {
    code: "STS302",
    name: "rollout-blocked",
    severity: Severity::Warning,
    page: include_str!("../../docs/rules/rollout-blocked.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let Next::Wait { on, because: Blocker::NotReady } = controller::next(snapshot)? else {
        return Ok(Vec::new());
    };
    if controller::trap(snapshot)?.is_some() || deadlock(snapshot)?.is_some() {
        return Ok(Vec::new());
    }
    let Some(pod) = snapshot.replica(on)?.and_then(|replica| replica.pod) else { return Ok(Vec::new()) };
    let Some(trouble) = snapshot.trouble(pod).filter(|trouble| trouble.why.is_hard()) else {
        return Ok(Vec::new());
    };
    let set = snapshot.set;
    let (name, pod_name) = (&set.metadata.name, &pod.metadata.name);
    let partition = set.start().saturating_add(set.partition());
    let (mut missing, mut old) = (Vec::new(), Vec::new());
    for replica in snapshot.replicas()?.iter().filter(|replica| replica.ordinal != on) {
        match replica.pod {
            None => missing.push(replica.name.clone()),
            Some(pod) if replica.ordinal >= partition && pod.revision() != set.status.update_revision => {
                old.push(replica.name.clone());
            }
            Some(_) => {}
        }
    }
    let condemned = snapshot.condemned()?;
    let waiting = match () {
        () if !old.is_empty() => format!("{} to be updated", are(&old)),
        () if !missing.is_empty() => format!("{} to be created", are(&missing)),
        () if !condemned.is_empty() && !set.is_parallel() => {
            let names: Vec<_> = condemned.iter().map(|replica| replica.name.clone()).collect();
            format!("{} to be deleted", are(&names))
        }
        () => return Ok(Vec::new()),
    };
    let what = if old.is_empty() { "scaling" } else { "update" };
    let finding = RULE
        .about(Kind::StatefulSet, name, format!("the {what} of {name} stands still at {pod_name}"))
        .because(format!(
            "{waiting}, and the controller waits for {pod_name} first, which is in {}",
            trouble.why.word()
        ))
        .also(Kind::Pod, pod_name);
    let earlier = &set.status.current_revision;
    let undo = !old.is_empty() && pod.revision() == set.status.update_revision && earlier != pod.revision();
    Ok(vec![if snapshot.mark().is_some() {
        finding.remedy(format!("kubectl sts abort {name} {}", in_namespace(snapshot)))
    } else if undo {
        finding.remedy(format!("kubectl sts undo {name} {}", in_namespace(snapshot)))
    } else {
        finding.remedy(format!("kubectl sts doctor {name} {}", in_namespace(snapshot)))
    }])
}

fn are(names: &[String]) -> String {
    let verb = if names.len() == 1 { "is" } else { "are" };
    format!("{} {verb} still", words::list(names, 3))
}
