//! A volume cannot be attached to the pod's node, or mounted there.

use super::pods::{grouped, wanted};
use super::prelude::*;
use super::volumes::named;
use super::{mounts, pods::Group};
use crate::messages::attach::{failure, is_multi_attach, volume};
use crate::messages::kubelet::{gist, missing};
use crate::snapshot::PodFailure;

pub const RULE: Rule = Rule {
    code: "STS212",
    name: "volume-mount-failed",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/volume-mount-failed.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    snapshot.events()?;
    let groups = grouped(wanted(snapshot)?, |case| match case.why()? {
        PodFailure::Mount { message }
            if !is_multi_attach(message) && missing(case.pod, message).is_none() =>
        {
            // The words of one fault differ by the volume.
            let volume = volume(message).unwrap_or_default();
            let said = gist(failure(message));
            Some(if volume.is_empty() { said } else { said.replace(volume, "…") })
        }
        _ => None,
    });
    Ok(groups.iter().map(|(_, group)| found(snapshot, group)).collect())
}

fn found(snapshot: &Snapshot<'_>, group: &Group<'_>) -> Finding {
    let message = match group.first().why() {
        Some(PodFailure::Mount { message }) => *message,
        _ => "",
    };
    let volume = named(snapshot, message).map_or(String::new(), |volume| format!("{volume}: "));
    let said = gist(failure(message));
    let way = mounts::way(snapshot, group, message);
    let why = if way.why.is_empty() { String::new() } else { format!("; {}", way.why) };
    let finding = group
        .finding(&RULE, &["cannot mount its volume", "cannot mount their volumes"])
        .because(format!("{}; {volume}{said}{why}", group.unready(snapshot)));
    let back = if group.is_since_update(snapshot) { group.other_template(snapshot) } else { None };
    let finding = match back {
        // The way forward helps alone only where it is one command.
        Some(back) if way.steps.len() == 1 => {
            way.steps.into_iter().filter(|_| !way.only_shows).fold(finding.remedy(back), Finding::instead)
        }
        Some(back) => finding.remedy(back),
        None => way.steps.into_iter().fold(finding, Finding::remedy),
    };
    way.instead.into_iter().fold(finding, Finding::instead)
}
