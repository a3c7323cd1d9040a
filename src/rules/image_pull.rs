//! The image of a container cannot be had.

use super::pods::{grouped, wanted};
use super::prelude::*;
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
    let found = groups.iter().filter_map(|((container, image, said), group)| {
        let Some(PodFailure::ImagePull { reason, .. }) = group.first().why() else { return None };
        let passing = is_passing(said) && group.longest(snapshot).is_some_and(|time| time < PASSED);
        let secrets = missing_secrets(snapshot, group.first().pod).filter(|_| is_unauthorized(said));
        let gist = said;
        let said = if gist.is_empty() { String::new() } else { format!(": {gist}") };
        let without = secrets.map_or(String::new(), |secrets| {
            format!("; the kubelet cannot find its image pull Secret {}", words::list(&secrets, 3))
        });
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
        let back = group.other_template(snapshot).filter(|_| without.is_empty() || !settled);
        let to = change(container, gist, !without.is_empty());
        let finding = match group.is_outdated(snapshot) {
            true => finding,
            false => Finding { because: format!("{}; {to}", finding.because), ..finding },
        };
        let forward = || match () {
            () if !without.is_empty() => Some(kubectl("get secrets").namespace(home(snapshot))),
            () if is_passing(gist) => None,
            () => group.edit(snapshot),
        };
        Some(finding.remedy(back.or_else(forward).unwrap_or_else(|| group.describe(snapshot))))
    });
    Ok(found.collect())
}

/// What to change so that the image can be pulled; as a fragment.
fn change(container: &str, said: &str, lacks_secret: bool) -> String {
    match () {
        () if lacks_secret => "create that Secret (type kubernetes.io/dockerconfigjson), or correct its name in imagePullSecrets \
                               of the pod template or its ServiceAccount"
            .to_owned(),
        () if is_unauthorized(said) => format!(
            "correct the image of container {container} in the pod template, or add a Secret for its registry to \
             imagePullSecrets"
        ),
        () if is_passing(said) => "the kubelet tries again; the registry must be reachable from the node".to_owned(),
        () => format!("correct the image of container {container} in the pod template"),
    }
}

/// The image pull secrets that the kubelet asks for in vain.
fn missing_secrets<'a>(snapshot: &Snapshot<'a>, pod: &Pod) -> Option<Vec<&'a str>> {
    snapshot.events_about(pod).ok()?.into_iter().rev().find_map(pull_secrets)
}
