//! A claim asks for a class that does not exist, so nobody makes its volume.

use serde_json::json;

use super::claims::{self, Case, Source};
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS201",
    name: "claim-class-missing",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/claim-class-missing.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let mut cases = Vec::new();
    for used in claims::pending(snapshot)? {
        let Source::MissingClass(class) = claims::source(snapshot, used.claim)? else { continue };
        let (because, remedy) = match (
            claims::outdated(snapshot, &used)?,
            claims::provisioner(snapshot, class)?,
        ) {
            (Some(outdated), _) => outdated,
            (None, Some(provisioner)) => gone(snapshot, class, provisioner)?,
            (None, None) => {
                let there = claims::classes(snapshot)?;
                let because = format!("there is no PV of class {class} either; {there}");
                match like_another(snapshot.classes()?, class) {
                    Some(copy) => (because, vec![copy]),
                    None => (
                        format!(
                            "{because}; create a StorageClass named {class}, or recreate the StatefulSet with another class in \
                                 its volumeClaimTemplates and delete this PVC, which is empty"
                        ),
                        vec![claims::look_for_class(snapshot)?],
                    ),
                }
            }
        };
        cases.push(Case { used, because, remedy });
    }
    let was_there = |class: &str| claims::provisioner(snapshot, class).is_ok_and(|found| found.is_some());
    Ok(claims::findings(&RULE, cases, |first, names, several| {
        let verb = if several { "use" } else { "uses" };
        let class = first.claim.class().unwrap_or_default();
        let fate = if was_there(class) { "no longer exists" } else { "does not exist" };
        format!("{names} {verb} StorageClass {class}, which {fate}")
    }))
}

/// The class made volumes, and was deleted. What its parameters were can at best be seen on a volume.
fn gone(snapshot: &Snapshot<'_>, class: &str, by: &str) -> Result<(String, Vec<Command>), Unseen> {
    let because = format!(
        "{by} provisioned the PVs of class {class}; create the StorageClass again with its earlier parameters"
    );
    let remedy = match claims::of_class(snapshot, class)?.next() {
        Some(volume) => kubectl("get pv").name(&volume.metadata.name).with("-o yaml"),
        None => claims::look_for_class(snapshot)?,
    };
    Ok((because, vec![remedy]))
}

/// Makes the class as a copy of the default one, or of the only one there is.
fn like_another(classes: &[StorageClass], name: &str) -> Option<Command> {
    let model = match classes {
        [only] => only,
        several => several.iter().find(|class| class.is_default())?,
    };
    // A copy of a class without a provisioner would serve the claim no better.
    model.provisions().then(|| {
        kubectl("patch storageclass")
            .name(&model.metadata.name)
            .with("--type=merge")
            .patch(&json!({"metadata": {"name": name, "annotations": null}}))
            .with("--dry-run=client -o yaml")
            .piped_into(kubectl("create -f -"))
    })
}
