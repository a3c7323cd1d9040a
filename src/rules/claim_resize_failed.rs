//! A claim was asked to grow, and its volume does not.

use std::collections::BTreeMap;

use serde_json::json;

use super::claims::{self, Case};
use super::prelude::*;
use super::resizes::{self, Failure};
use crate::snapshot::ServerVersion;

pub const RULE: Rule = Rule {
    code: "STS215",
    name: "claim-resize-failed",
    severity: Severity::Warning,
    stuck_from: None,
    page: include_str!("../../docs/rules/claim-resize-failed.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let name = &snapshot.set.metadata.name;
    // Messages name the single volume; the claims of one class fail together all the same.
    let mut said: BTreeMap<([&str; 3], bool), String> = BTreeMap::new();
    let mut fail = Vec::new();
    for used in claims::used(snapshot, |claim| claim.is_bound() && !claim.metadata.is_terminating())? {
        let claim = used.claim;
        let sizes = [claim.class().unwrap_or_default(), claim.requested(), claim.size()];
        let Some(Failure { says, is_attached }) = resizes::failure(snapshot, claim)? else { continue };
        let says = said.entry((sizes, is_attached)).or_insert(says).clone();
        fail.push((used, says, is_attached));
    }
    let attached: Vec<_> =
        fail.iter().filter(|(.., is_attached)| *is_attached).map(|(used, ..)| used).collect();
    let offline = resizes::offline(snapshot, &attached);
    let cases = fail.iter().map(|(_, says, is_attached)| (says.clone(), *is_attached)).collect::<Vec<_>>();
    let cases = fail.into_iter().zip(cases).map(|((used, ..), (says, is_attached))| {
        let claim = used.claim;
        let because = format!("it requests {} and has {}; {says}", claim.requested(), claim.size());
        if is_attached {
            let because = format!(
                "{because}; the driver grows a volume only while it is attached to no node: the commands scale {name} down to remove \
                 the replica, wait until the PV has grown, and scale up again"
            );
            return Case { used, because, remedy: offline.clone() };
        }
        let smaller = smaller(snapshot, claim);
        let as_here = if smaller.is_some() { ", as the command does" } else { "" };
        let because = format!(
            "{because}; if the reason is a limit or a rate, the driver retries by itself; if this size is not possible, request a \
             size between {} and {}{as_here}",
            claim.size(),
            claim.requested()
        );
        let remedy = smaller.map_or_else(
            || claims::describe(snapshot, &used),
            |size| {
                let size = json!({"spec": {"resources": {"requests": {"storage": size}}}});
                kubectl("patch pvc").name(used.name()).namespace(home(snapshot)).with("--type=merge").patch(&size)
            },
        );
        let remedy = vec![remedy];
        Case { used, because, remedy }
    });
    let mut findings = claims::findings(&RULE, cases.collect(), |_, names, several| {
        format!("{names} cannot grow to {} requested size", if several { "their" } else { "its" })
    });
    for finding in &mut findings {
        // Pods do without the room; what they lack otherwise is another matter.
        finding.absorbs.clear();
    }
    Ok(findings)
}

/// A size a little above the one that the volume has: the API server takes a smaller request back only as far as that
/// (`apis/core/validation/validation.go:ValidatePersistentVolumeClaimUpdate`), and by default since Kubernetes 1.32
/// (RecoverVolumeExpansionFailure).
fn smaller(snapshot: &Snapshot<'_>, claim: &PersistentVolumeClaim) -> Option<String> {
    if snapshot.server.and_then(ServerVersion::numbers).is_some_and(|(_, minor, _)| minor < 32) {
        return None;
    }
    let (has, wants) = (Quantity::parse(claim.size())?, Quantity::parse(claim.requested())?);
    let steps = ["1Gi", "100Mi"].into_iter().filter_map(Quantity::parse);
    let mut sizes = steps.map(|step| [has, step].into_iter().sum::<Quantity>());
    sizes.find(|size| *size < wants).map(|size| size.to_string())
}
