//! A `StatefulSet` that was installed a short while ago runs on the data of an earlier one.

use jiff::SignedDuration;

use super::old_data::{self, born};
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS219",
    name: "claim-older-than-set",
    severity: Severity::Note,
    stuck_from: None,
    page: include_str!("../../docs/rules/claim-older-than-set.md"),
    check,
};

/// How long after the installation it is worth a word, where nothing else is wrong.
const RECENT: SignedDuration = SignedDuration::from_hours(24);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let old = old_data::old(snapshot)?;
    let set = snapshot.set;
    let Some(age) =
        snapshot.since(born(snapshot)).filter(|age| *age < RECENT && !set.metadata.is_terminating())
    else {
        return Ok(Vec::new());
    };
    let Some(first) = old.first() else { return Ok(Vec::new()) };
    let name = &set.metadata.name;
    let names: Vec<&str> = old.iter().map(|old| old.claim.metadata.name.as_str()).collect();
    let (noun, verb, are) = if names.len() == 1 { ("PVC", "holds", "is") } else { ("PVCs", "hold", "are") };
    let finding = RULE.about(
        Kind::StatefulSet,
        name,
        format!("{noun} {} {verb} the data of an earlier installation of {name}", words::list(&names, 3)),
    );
    let finding = finding
        .because(format!(
            "{name} was created {} ago, and {} {are} {} older; passwords that were generated again, or a newer major version, may \
             not fit this data; keep the {noun}",
            words::age(age),
            words::list(&names, 3),
            words::age(first.by)
        ))
        .remedy(kubectl("get pvc").names(&names).namespace(home(snapshot)));
    let finding =
        names.iter().fold(finding, |finding, name| finding.also(Kind::PersistentVolumeClaim, *name));
    // Where the pod fails, that finding says it.
    Ok(vec![finding.follows(Kind::Pod, &first.replica)])
}
