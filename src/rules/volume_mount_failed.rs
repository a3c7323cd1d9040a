//! A volume cannot be attached to the pod's node, or mounted there.

use super::config_missing::missing;
use super::pods::{gist, grouped, wanted};
use super::prelude::*;
use crate::snapshot::Why;

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
        Why::Mount { message } if !is_multi_attach(message) && missing(case.pod, message).is_none() => {
            Some(said(message))
        }
        _ => None,
    });
    let found = groups.iter().map(|(said, group)| {
        let volume = match group.first().why() {
            Some(Why::Mount { message }) => named(snapshot, message),
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

/// Whether the volume is still attached to another node, which is volume-multi-attach.
pub(super) fn is_multi_attach(message: &str) -> bool {
    message.contains("Multi-Attach error")
}

/// The volume a message is about, and the claim it belongs to.
pub(super) fn named(snapshot: &Snapshot<'_>, message: &str) -> Option<String> {
    let (_, rest) = message.split_once("volume \"")?;
    let (name, _) = rest.split_once('"')?;
    let claim = snapshot.namespace.claim_of_volume(name);
    Some(match claim {
        Some(claim) => format!("volume {name} of the claim {}", claim.metadata.name),
        None => format!("volume {name}"),
    })
}

/// What went wrong, without which step for which volume.
fn said(message: &str) -> String {
    match message.split_once("\" : ") {
        Some((_, inner)) => gist(inner),
        None => gist(message),
    }
}
