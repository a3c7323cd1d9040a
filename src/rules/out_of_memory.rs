//! A container was killed because it used more memory than it may.

use jiff::SignedDuration;

use super::amounts;
use super::creations::patch_containers;
use super::pods::{Group, container, grouped, status, wanted};
use super::prelude::*;
use crate::controller;
use crate::snapshot::PodFailure;

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
            last.is_out_of_memory() && snapshot.since(last.finished_at).is_some_and(|ago| ago < RECENT)
        })
    };
    let groups = grouped(wanted(snapshot)?, |case| {
        let looping = match (case.why(), case.container()) {
            (Some(PodFailure::CrashLoop { last: Some(last), .. }), Some(name)) if last.is_out_of_memory() => {
                Some((name, Severity::Error))
            }
            // Whatever else keeps it from being available is said by another rule.
            (Some(why), _) if why.needs_intervention() => return None,
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
        let need = match limit {
            Some(_) => "",
            None => "; request as much memory as the container uses: the scheduler keeps that free for it",
        };
        let limit = limit
            .map_or("without a memory limit, so the node ran out of memory".to_owned(), |limit| {
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
                "container {name} was killed (OOMKilled) {limit}{}; {} so far{need}",
                ago.unwrap_or_default(),
                words::count(restarts, "restart")
            ))
            .remedy(
                more.or_else(|| in_place(snapshot, group, name))
                    .unwrap_or_else(|| group.logs(snapshot, name)),
            )
            .only(*severity)
    });
    Ok(found.collect())
}

/// Gives the containers of these pods more memory without another template, which does not reach them: Kubernetes 1.33 and later
/// resize pods in place (`InPlacePodVerticalScaling`). The quality of service must stay what it is, so that a request
/// that is as large as the limit grows with it.
fn in_place(snapshot: &Snapshot<'_>, group: &Group<'_>, name: &str) -> Option<Command> {
    let (1, 33.., _) = snapshot.server?.numbers()? else { return None };
    let own = |case: &super::pods::Case<'_>| {
        let it = case.pod.spec.containers.iter().find(|it| it.name == name)?;
        let limit = it.resources.limits.get("memory")?;
        let double = amounts::doubled(limit)?;
        let is_equal = it
            .resources
            .requests
            .get("memory")
            .is_none_or(|request| Quantity::parse(request) == Quantity::parse(limit));
        let resources = if is_equal {
            serde_json::json!({"limits": {"memory": double}, "requests": {"memory": double}})
        } else {
            serde_json::json!({"limits": {"memory": double}})
        };
        let patch = serde_json::json!({"spec": {"containers": [{"name": name, "resources": resources}]}});
        let resize = kubectl("patch pod").name(&case.pod.metadata.name).with("--subresource=resize");
        Some(resize.patch(&patch).namespace(home(snapshot)))
    };
    let mut all = group.iter().filter_map(own);
    let first = all.next()?;
    Some(all.fold(first, Command::and))
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
        && (has != gets || group.is_since_update(snapshot))
        && let Some(other) = group.other_template(snapshot)
    {
        return Some(other);
    }
    let change = |field: &str, amount: &str| {
        let change = serde_json::json!({"resources": {field: {"memory": amount}}});
        patch_containers(snapshot, serde_json::Map::new(), &[(container, change)].into())
    };
    let is_init = first.pod.spec.init_containers.iter().any(|it| it.name == container);
    // `kubectl set resources` knows no init containers.
    if is_init && let Some(double) = limit.and_then(|limit| amounts::doubled(limit)) {
        let raise = change("limits", &double)?;
        return if loops { group.reached_by(snapshot, raise) } else { Some(raise) };
    }
    // Without a limit it is the node that has too little: what is requested is kept free for it.
    if limit.is_none() && first.pod.spec.resources.limits.is_empty() {
        let own = super::pods::container(first.pod, container)?.resources.requests.get("memory");
        let raise =
            change("requests", &own.and_then(|own| amounts::doubled(own)).unwrap_or("1Gi".to_owned()))?;
        return if loops { group.reached_by(snapshot, raise) } else { Some(raise) };
    }
    // Those that a webhook puts in cannot be named to `kubectl set resources`.
    let template = &set.spec.template.spec.containers;
    let known = if template.is_empty() { &first.pod.spec.containers } else { template };
    let double = amounts::doubled(limit.filter(|_| known.iter().any(|it| it.name == container))?)?;
    let raise = kubectl("set resources").joined("statefulset/", name).with("-c").value(container);
    let raise = raise.joined("--limits=memory=", double).namespace(at);
    let reached = group.reached_by(snapshot, raise.clone())?;
    Some(if loops { reached } else { raise })
}
