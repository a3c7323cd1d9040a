//! A container ends soon after every start.

use super::pods::{clipped, ending, grouped, refusal, status, timing};
use super::prelude::*;
use crate::snapshot::Why;

pub const RULE: Rule = Rule {
    code: "STS402",
    name: "crash-loop",
    severity: Severity::Error,
    page: include_str!("../../docs/rules/crash-loop.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let groups = grouped(snapshot, |case| match (&case.trouble.why, case.trouble.container) {
        (Why::CrashLoop { last, init: false, .. }, Some(container)) => {
            let last = last.map(|last| (last.exit_code, last.reason.as_str()));
            last.is_none_or(|(_, reason)| reason != "OOMKilled").then_some((container, last))
        }
        _ => None,
    })?;
    let found = groups.iter().filter_map(|((container, _), group)| {
        let Why::CrashLoop { last, .. } = group.first().trouble.why else { return None };
        let restarts = group
            .iter()
            .filter_map(|case| status(case.pod, container).map(|status| status.restart_count))
            .max()
            .unwrap_or(0);
        let ended = last.map_or("ends again and again".to_owned(), |last| {
            format!("{}{}", ending(last), timing(snapshot, last))
        });
        let why = cause(snapshot, group.first().pod, container, last).unwrap_or_default();
        let finding = group.finding(&RULE, ["keeps crashing", "keep crashing"]);
        let logs =
            format!("kubectl logs {} -c {container} --previous {}", group.pod(), in_namespace(snapshot));
        Some(
            finding
                .because(format!(
                    "container {container} {ended}{why}; {} so far",
                    words::count(usize::try_from(restarts).unwrap_or(0), "restart")
                ))
                .remedy(logs),
        )
    });
    Ok(found.collect())
}

/// What the kubelet says about the end, where it had a part in it: the probe that failed, or the runtime that refused.
fn cause(snapshot: &Snapshot<'_>, pod: &Pod, container: &str, last: Option<&Terminated>) -> Option<String> {
    let last = last?;
    let events = snapshot.events_about(pod).ok()?;
    let field = format!("{{{container}}}");
    let mut newest = events.iter().rev().filter(|event| {
        event.involved_object.field_path.is_empty() || event.involved_object.field_path.ends_with(&field)
    });
    if matches!(last.reason.as_str(), "StartError" | "ContainerCannotRun") {
        let failed = newest.find(|event| event.reason == "Failed" && event.message.starts_with("Error: "))?;
        return Some(format!(": {}", refusal(&failed.message)));
    }
    // A container that is told to stop ends with 143, one that does not listen is killed (137), a polite one says 0.
    let stopped = matches!(last.exit_code, 0 | 137 | 143);
    let probe = newest.find(|event| {
        event.reason == "Unhealthy"
            && ["Liveness", "Startup"].iter().any(|probe| event.message.starts_with(probe))
    })?;
    // The probe must have failed while that run lasted.
    let during = probe.last_seen().zip(last.finished_at).is_none_or(|(seen, end)| seen <= end)
        && probe.last_seen().zip(last.started_at).is_none_or(|(seen, start)| seen >= start);
    (stopped && during).then(|| format!("; before that its {}", lower(&clipped(&probe.message))))
}

/// `Liveness probe failed` within a sentence.
fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_lowercase().chain(chars).collect())
}
