//! A volume cannot be attached to the pod's node, or mounted there.

use super::pods::{grouped, wanted};
use super::prelude::*;
use super::volumes::named;
use crate::messages::attach::{failure, is_multi_attach};
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
            Some(gist(failure(message)))
        }
        _ => None,
    });
    let found = groups.iter().map(|(said, group)| {
        let volume = match group.first().why() {
            Some(PodFailure::Mount { message }) => named(snapshot, message),
            _ => None,
        };
        let volume = volume.map_or(String::new(), |volume| format!("{volume}: "));
        group
            .finding(&RULE, &["cannot mount its volume", "cannot mount their volumes"])
            .because(format!("{}; {volume}{said}", group.unready(snapshot)))
            .remedy(group.describe(snapshot))
    });
    Ok(found.collect())
}
