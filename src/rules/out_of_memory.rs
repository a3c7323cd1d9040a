//! A container was killed because it used more memory than it may.

use jiff::SignedDuration;

use super::pods::{container, grouped, status, wanted};
use super::prelude::*;
use crate::snapshot::Why;

pub const RULE: Rule = Rule {
    code: "STS407",
    name: "out-of-memory",
    severity: Severity::Error,
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
        Some((name, limit, severity))
    });
    let found = groups.iter().map(|((name, limit, severity), group)| {
        let kills = |case: &super::pods::Case<'_>| {
            let status = status(case.pod, name)?;
            let ends = [&status.state, &status.last_state].map(|state| state.terminated.as_ref());
            Some((status.restart_count, ends.into_iter().flatten().filter_map(|end| end.finished_at).max()))
        };
        let (restarts, last) = group.iter().filter_map(kills).max().unwrap_or_default();
        // Init containers cannot be named to `kubectl set resources`.
        let more = limit
            .filter(|_| group.first().pod.spec.containers.iter().any(|it| it.name == **name))
            .and_then(|limit| doubled(limit))
            .map(|double| {
                let (set, at) = (&snapshot.set.metadata.name, in_namespace(snapshot));
                format!("kubectl set resources statefulset/{set} -c {name} --limits=memory={double} {at}")
            });
        let limit = limit
            .map_or("without a memory limit, so the node itself ran short".to_owned(), |limit| {
                format!("with a memory limit of {limit}")
            });
        let ago = snapshot.since(last).map(|ago| format!(", last {} ago", words::age(ago)));
        let says = ["runs out of memory", "run out of memory"];
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

/// Twice a quantity in whole units.
fn doubled(limit: &str) -> Option<String> {
    let digits = limit.find(|c: char| !c.is_ascii_digit()).unwrap_or(limit.len());
    let number: u64 = limit[..digits].parse().ok()?;
    let unit = &limit[digits..];
    let double = number.checked_mul(2)?;
    (!unit.starts_with('.')).then(|| format!("{double}{unit}"))
}
