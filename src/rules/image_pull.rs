//! The image of a container cannot be had.

use super::pods::{gist, grouped, wanted};
use super::prelude::*;
use crate::snapshot::Why;

pub const RULE: Rule = Rule {
    code: "STS401",
    name: "image-pull",
    severity: Severity::Error,
    page: include_str!("../../docs/rules/image-pull.md"),
    check,
};

/// Trouble on the way to the registry, or at it, which mostly passes.
const PASSING: [&str; 12] = [
    "timeout",
    "timed out",
    "deadline exceeded",
    "connection refused",
    "connection reset",
    "temporary failure",
    "toomanyrequests",
    "Too Many Requests",
    "500 Internal Server Error",
    "502 Bad Gateway",
    "503 Service Unavailable",
    "unexpected EOF",
];
/// After which it has not passed: the kubelet's longest back-off.
const PASSED: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let groups = grouped(wanted(snapshot)?, |case| match (case.why()?, case.container()) {
        (Why::ImagePull { image, message, .. }, Some(container)) => {
            Some((container, *image, message.map(gist).unwrap_or_default()))
        }
        _ => None,
    });
    let found = groups.iter().filter_map(|((container, image, said), group)| {
        let Some(Why::ImagePull { reason, .. }) = group.first().why() else { return None };
        let passing = PASSING.iter().any(|sign| said.contains(sign))
            && group.longest(snapshot).is_some_and(|time| time < PASSED);
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        let says = format!("cannot get the image {image}");
        let finding = group
            .finding(&RULE, &[&says, &says])
            .because(format!("container {container} is in {reason}, {}{said}", group.unready(snapshot)))
            .only(if passing { Severity::Warning } else { Severity::Error });
        Some(group.remedied(snapshot, finding))
    });
    Ok(found.collect())
}
