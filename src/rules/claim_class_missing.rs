//! A claim asks for a class that does not exist, so nobody makes its volume.

use super::claims::{self, Case, Source};
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS201",
    name: "claim-class-missing",
    severity: Severity::Error,
    page: include_str!("../../docs/rules/claim-class-missing.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let mut cases = Vec::new();
    for used in claims::pending(snapshot)? {
        let Source::MissingClass(class) = claims::source(snapshot, used.claim)? else { continue };
        cases.push(Case {
            used,
            because: format!("no volume of class {class} is there either; {}", claims::classes(snapshot)?),
            remedy: like_another(snapshot.classes()?, class).into_iter().collect(),
        });
    }
    Ok(claims::findings(&RULE, cases, |first, names, several| {
        let verb = if several { "name" } else { "names" };
        let class = first.claim.class().unwrap_or_default();
        format!("{names} {verb} the StorageClass {class}, which does not exist")
    }))
}

/// Makes the class as a copy of the default one, or of the only one there is.
fn like_another(classes: &[StorageClass], name: &str) -> Option<String> {
    let model = match classes {
        [only] => only,
        several => several.iter().find(|class| class.is_default())?,
    };
    Some(format!(
        "kubectl patch storageclass {} --type=merge -p '{{\"metadata\":{{\"name\":\"{name}\",\"annotations\":null}}}}' \
         --dry-run=client -o yaml | kubectl create -f -",
        model.metadata.name
    ))
}
