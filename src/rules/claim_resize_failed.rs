//! A claim was asked to grow, and its volume does not.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::claims::{self, Case};
use super::prelude::*;
use crate::messages::provisioner;
use crate::text;

pub const RULE: Rule = Rule {
    code: "STS215",
    name: "claim-resize-failed",
    severity: Severity::Warning,
    stuck_from: None,
    page: include_str!("../../docs/rules/claim-resize-failed.md"),
    check,
};

/// Whoever fails tries again, in minutes at most; an older complaint may be of another size.
const STALE: SignedDuration = SignedDuration::from_mins(15);
/// What the external resizer and the kubelet complain with.
const REASONS: [&str; 2] = ["VolumeResizeFailed", "FileSystemResizeFailed"];
/// Conditions that stand as long as the failure lasts, since Kubernetes 1.31.
const CONDITIONS: [&str; 2] = ["ControllerResizeError", "NodeResizeError"];

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let mut cases = Vec::new();
    // Messages name the single volume; the claims of one class fail together all the same.
    let mut said: BTreeMap<[&str; 3], String> = BTreeMap::new();
    for used in claims::used(snapshot, |claim| claim.is_bound() && !claim.metadata.is_terminating())? {
        let claim = used.claim;
        let sizes = [claim.class().unwrap_or_default(), claim.requested(), claim.size()];
        let Some(failure) = failure(snapshot, claim)? else { continue };
        let says = said.entry(sizes).or_insert(failure);
        let because = format!("it requests {} and has {}; {says}", claim.requested(), claim.size());
        let remedy = vec![claims::describe(snapshot, &used)];
        cases.push(Case { used, because, remedy });
    }
    let mut findings = claims::findings(&RULE, cases, |_, names, several| {
        format!("{names} cannot grow to {} requested size", if several { "their" } else { "its" })
    });
    for finding in &mut findings {
        // Pods do without the room; what they lack otherwise is another matter.
        finding.absorbs.clear();
    }
    Ok(findings)
}

/// What fails, in words; `None` while nothing does.
fn failure(snapshot: &Snapshot<'_>, claim: &PersistentVolumeClaim) -> Result<Option<String>, Unseen> {
    let condition = CONDITIONS.iter().filter_map(|name| claim.condition(name)).find(|it| it.status == "True");
    let status = claim.status.allocated_resource_statuses.get("storage").map(String::as_str);
    let status = status.filter(|status| provisioner::has_failed(status));
    let message = condition.map(|condition| condition.message.as_str()).filter(|message| !message.is_empty());
    let message = match message {
        None if is_larger(claim) => complaint(snapshot, claim)?,
        message => message,
    };
    let word = status.or(condition.map(|condition| condition.r#type.as_str()));
    Ok(match (message, word) {
        (Some(message), _) => Some(format!("the resizer says: {}", text::one_line(message, 300))),
        (None, Some(word)) => Some(format!("its status is {word}")),
        (None, None) => None,
    })
}

fn complaint<'a>(snapshot: &Snapshot<'a>, claim: &PersistentVolumeClaim) -> Result<Option<&'a str>, Unseen> {
    let is_current = |event: &&Event| {
        REASONS.contains(&event.reason.as_str())
            && snapshot.since(event.last_seen()).is_none_or(|age| age < STALE)
    };
    let last = snapshot.events_about(claim)?.into_iter().rev().find(is_current);
    Ok(last.map(|event| event.message.as_str()))
}

/// Whether it asks for more than it has.
fn is_larger(claim: &PersistentVolumeClaim) -> bool {
    let sizes = (Quantity::parse(claim.requested()), Quantity::parse(claim.size()));
    matches!(sizes, (Some(wants), Some(has)) if wants > has)
}
