//! A claim leaves the class to the cluster, and the cluster has no default one.

use super::claims::{self, Case, Source};
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS202",
    name: "claim-no-default-class",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/claim-no-default-class.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let mut cases = Vec::new();
    for used in claims::pending(snapshot)? {
        let Source::NoDefault = claims::source(snapshot, used.claim)? else { continue };
        if claims::is_served(snapshot, used.claim)? {
            continue;
        }
        // Which class is to be the default one is for the cluster's owner to say, unless there is no choice.
        let remedy = match snapshot.classes()? {
            [only] if only.provisions() => kubectl("annotate storageclass")
                .name(&only.metadata.name)
                .with("storageclass.kubernetes.io/is-default-class=true --overwrite"),
            _ => claims::look_for_class(snapshot)?,
        };
        let (because, remedy) = match claims::outdated(snapshot, &used)? {
            Some(outdated) => outdated,
            None => {
                (format!("{}; no available PV without a class matches", classes(snapshot)?), vec![remedy])
            }
        };
        cases.push(Case { used, because, remedy });
    }
    Ok(claims::findings(&RULE, cases, |_, names, several| {
        let verb = if several { "name" } else { "names" };
        format!("{names} {verb} no StorageClass, and the cluster has no default one")
    }))
}

fn classes(snapshot: &Snapshot<'_>) -> Result<String, Unseen> {
    let not_default = match snapshot.classes()?.len() {
        0 => "",
        1 => ", which is not marked as default",
        _ => ", none of which is marked as default",
    };
    Ok(claims::classes(snapshot)? + not_default)
}
