//! The image of a container cannot be had.

use super::pods::{grouped, wanted};
use super::prelude::*;
use super::pulls::{self, Pull};
use crate::controller;
use crate::messages::kubelet::{gist, is_passing, is_unauthorized, pull_secrets};
use crate::snapshot::PodFailure;

pub const RULE: Rule = Rule {
    code: "STS401",
    name: "image-pull",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/image-pull.md"),
    check,
};

/// After which it has not passed: the kubelet's longest back-off.
const PASSED: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let groups = grouped(wanted(snapshot)?, |case| match (case.why()?, case.container()) {
        (PodFailure::ImagePull { image, message, .. }, Some(container)) => {
            Some((container, *image, message.map(gist).unwrap_or_default()))
        }
        _ => None,
    });
    let found = groups.iter().filter_map(|((container, image, gist), group)| {
        let Some(PodFailure::ImagePull { reason, .. }) = group.first().why() else { return None };
        let passing = is_passing(gist) && group.longest(snapshot).is_some_and(|time| time < PASSED);
        let secrets = missing_secrets(snapshot, group.first().pod).filter(|_| is_unauthorized(gist));
        let missing = secrets.unwrap_or_default();
        let said = if gist.is_empty() { String::new() } else { format!(": {gist}") };
        let without = match missing.as_slice() {
            [] => String::new(),
            names => format!("; the kubelet cannot find its image pull Secret {}", words::list(names, 3)),
        };
        let says = format!("cannot pull the image {image}");
        let finding = group
            .finding(&RULE, &[&says, &says])
            .because(format!(
                "container {container} is in {reason}, {}{said}{without}",
                group.unready(snapshot)
            ))
            .only(if passing { Severity::Warning } else { Severity::Error });
        // An earlier template asks for the same Secret, unless this one has just come.
        let settled = controller::current_revision(snapshot) == snapshot.set.status.update_revision;
        let back = group.other_template(snapshot).filter(|_| missing.is_empty() || !settled);
        if group.is_outdated(snapshot) {
            return Some(finding.remedy(back.unwrap_or_else(|| group.describe(snapshot))));
        }
        let pull = Pull { container, image, reason, gist, missing: &missing, passing };
        let way = pulls::way(snapshot, group, &pull);
        let finding = Finding { because: format!("{}; {}", finding.because, way.why), ..finding };
        // The way back where an update brought it; beside it, the way forward.
        let ways = back.into_iter().chain(way.steps).chain(way.instead);
        let mut ways = ways.collect::<Vec<_>>().into_iter();
        let first = ways.next().unwrap_or_else(|| group.describe(snapshot));
        Some(ways.fold(finding.remedy(first), Finding::instead))
    });
    Ok(found.collect())
}

/// The image pull secrets that the kubelet asks for in vain.
fn missing_secrets<'a>(snapshot: &Snapshot<'a>, pod: &Pod) -> Option<Vec<&'a str>> {
    snapshot.events_about(pod).ok()?.into_iter().rev().find_map(pull_secrets)
}
