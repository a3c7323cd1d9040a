//! A container was killed because it used more memory than it may.

use jiff::SignedDuration;

use super::amounts;
use super::pods::{Group, container, grouped, status, wanted};
use super::prelude::*;
use crate::controller::{self, MaxUnavailable};
use crate::snapshot::Why;

pub const RULE: Rule = Rule {
    code: "STS407",
    name: "out-of-memory",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/out-of-memory.md"),
    check,
};

/// For how long a container that runs again is spoken of.
const RECENT: SignedDuration = SignedDuration::from_hours(1);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let recently = |status: &&ContainerStatus| {
        let last = status.last_state.terminated.as_ref();
        last.is_some_and(|last| {
            last.reason == "OOMKilled" && snapshot.since(last.finished_at).is_some_and(|ago| ago < RECENT)
        })
    };
    let groups = grouped(wanted(snapshot)?, |case| {
        let looping = match (case.why(), case.container()) {
            (Some(Why::CrashLoop { last: Some(last), .. }), Some(name)) if last.reason == "OOMKilled" => {
                Some((name, Severity::Error))
            }
            // Whatever else keeps it from being available is said by another rule.
            (Some(why), _) if why.is_hard() => return None,
            _ => None,
        };
        let (name, severity) = looping.or_else(|| {
            let status = case.pod.container_statuses().find(recently)?;
            let severity = if status.restart_count > 1 { Severity::Warning } else { Severity::Note };
            Some((status.name.as_str(), severity))
        })?;
        let limit = container(case.pod, name).and_then(|it| it.resources.limits.get("memory"));
        let limit = limit.or_else(|| case.pod.spec.resources.limits.get("memory"));
        Some((name, limit, severity))
    });
    let found = groups.iter().map(|((name, limit, severity), group)| {
        let kills = |case: &super::pods::Case<'_>| {
            let status = status(case.pod, name)?;
            let ends = [&status.state, &status.last_state].map(|state| state.terminated.as_ref());
            Some((status.restart_count, ends.into_iter().flatten().filter_map(|end| end.finished_at).max()))
        };
        let (restarts, last) = group.iter().filter_map(kills).max().unwrap_or_default();
        let own = container(group.first().pod, name).and_then(|it| it.resources.limits.get("memory"));
        let more = more(snapshot, group, (name, own, *severity));
        let limit = limit
            .map_or("without a memory limit, so the node itself ran short".to_owned(), |limit| {
                format!("with a memory limit of {limit}")
            });
        let ago = snapshot.since(last).map(|ago| format!(", last {} ago", words::age(ago)));
        let says = match severity {
            Severity::Note => ["ran out of memory", "ran out of memory"],
            _ => ["runs out of memory", "run out of memory"],
        };
        group
            .finding(&RULE, &says)
            .because(format!(
                "container {name} was killed (OOMKilled) {limit}{}; {} so far",
                ago.unwrap_or_default(),
                words::count(usize::try_from(restarts).unwrap_or(0), "restart")
            ))
            .remedy(more.unwrap_or_else(|| group.logs(snapshot, name)))
            .only(*severity)
    });
    Ok(found.collect())
}

/// Gives the container more memory, where its limit is at fault, and sees to it that the pods get it.
fn more(
    snapshot: &Snapshot<'_>,
    group: &Group<'_>,
    (container, limit, severity): (&str, Option<&String>, Severity),
) -> Option<Command> {
    let set = snapshot.set;
    let (name, at) = (&set.metadata.name, home(snapshot));
    let first = group.first();
    let loops = severity == Severity::Error;
    let (has, gets) = (first.pod.revision(), controller::would_get(snapshot, first.ordinal));
    if loops
        && (has != gets || before_is_fine(snapshot, group))
        && let Some(other) = group.other_template(snapshot)
    {
        return Some(other);
    }
    // Neither init containers nor those put in on the way can be named to `kubectl set resources`.
    let template = &set.spec.template.spec.containers;
    let known = if template.is_empty() { &first.pod.spec.containers } else { template };
    let double = amounts::doubled(limit.filter(|_| known.iter().any(|it| it.name == container))?)?;
    // A new template does not reach pods below the partition.
    let below = first.ordinal < set.boundary();
    if below && set.strategy() == Strategy::RollingUpdate {
        return None;
    }
    let raise = kubectl("set resources").joined("statefulset/", name).with("-c").value(container);
    let raise = raise.joined("--limits=memory=", double).namespace(at);
    // An ordered set waits for the pods that fail instead of replacing them (kubernetes/kubernetes#67250).
    let trapping = MaxUnavailable::of(snapshot.server) == MaxUnavailable::Trapping;
    let freed = match set.strategy() {
        Strategy::RollingUpdate => !set.is_parallel() || trapping,
        Strategy::OnDelete => true,
        Strategy::Recreate | Strategy::Unknown => false,
    };
    if !loops || !freed {
        return Some(raise);
    }
    // Without the stanza the pod would come back as it was, which recover knows.
    if set.strategy() == Strategy::RollingUpdate && set.rolling_update().is_none() {
        return Some(raise.and(sts("recover").name(name).namespace(at)));
    }
    let pods = group.iter().map(|case| case.pod.metadata.name.as_str());
    Some(raise.and(kubectl("delete pod").names(pods).namespace(at)))
}

/// Whether an update brought this: the pods that do not have it yet, of which there are some, are all available.
fn before_is_fine(snapshot: &Snapshot<'_>, group: &Group<'_>) -> bool {
    let set = snapshot.set;
    let update = &set.status.update_revision;
    let mut before = snapshot
        .replicas()
        .unwrap_or_default()
        .iter()
        .filter_map(|replica| replica.pod)
        .filter(|pod| pod.revision() != update)
        .peekable();
    before.peek().is_some()
        && before.all(|pod| pod.is_available(set.spec.min_ready_seconds, snapshot.taken_at))
        && group.iter().all(|case| case.pod.revision() == update)
}
