//! Two sets make claims of the same name, and Kubernetes lets them share the data without a word.

use std::cmp::Reverse;

use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS214",
    name: "claim-name-collision",
    severity: Severity::Error,
    page: include_str!("../../docs/rules/claim-name-collision.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    let mut findings = Vec::new();
    for template in &set.spec.volume_claim_templates {
        let template = &template.metadata.name;
        let stem = format!("{template}-{}", set.metadata.name);
        for other in snapshot.namespace.sets.iter().filter(|other| other.metadata.name != set.metadata.name) {
            for theirs in &other.spec.volume_claim_templates {
                let theirs = &theirs.metadata.name;
                if format!("{theirs}-{}", other.metadata.name) == stem {
                    let mut sides = [(set, template.as_str()), (*other, theirs.as_str())];
                    let shared = shared(set, other);
                    // Both sides find it, and say the same of it.
                    sides.sort_by_key(|(set, _)| standing(snapshot, set, &shared));
                    findings.push(collision(snapshot, sides, &stem, &shared)?);
                }
            }
        }
    }
    Ok(findings)
}

/// The ordinals that both sets have.
fn shared(set: &StatefulSet, other: &StatefulSet) -> Vec<i32> {
    let ordinals = (0..set.replicas()).map_while(|index| set.start().checked_add(index));
    ordinals.filter(|ordinal| other.in_range(*ordinal)).collect()
}

/// Sorts the set first that suffers from it: whose pods are held up, and then the one that came later.
fn standing<'s>(
    snapshot: &Snapshot<'_>,
    set: &'s StatefulSet,
    shared: &[i32],
) -> (usize, Reverse<Option<jiff::Timestamp>>, &'s str) {
    let is_ready =
        |name: &str| snapshot.namespace.pods.iter().any(|pod| pod.metadata.name == name && pod.is_ready());
    let ready = shared.iter().filter(|ordinal| is_ready(&set.pod_name(**ordinal))).count();
    (ready, Reverse(set.metadata.creation_timestamp), &set.metadata.name)
}

fn collision(
    snapshot: &Snapshot<'_>,
    [(set, template), (other, theirs)]: [(&StatefulSet, &str); 2],
    stem: &str,
    shared: &[i32],
) -> Result<Finding, Unseen> {
    let at = home(snapshot);
    let (name, rival) = (&set.metadata.name, &other.metadata.name);
    let names: Vec<String> = shared.iter().map(|ordinal| format!("{stem}-{ordinal}")).collect();
    let mut there: Vec<&PersistentVolumeClaim> = Vec::new();
    for name in &names {
        there.extend(snapshot.claim(name)?);
    }
    let size: Quantity = there.iter().filter_map(|claim| Quantity::parse(claim.size())).sum();
    let size = if there.is_empty() { String::new() } else { format!(" ({size})") };
    let what = match names.as_slice() {
        [] => {
            format!("{name} and {rival} make claims of the same names, {stem}-N: a scale-up would share them")
        }
        [one] => format!("claim {one}{size} is used by {name} and {rival} at once"),
        names => format!("claims {}{size} are used by {name} and {rival} at once", words::list(names, 3)),
    };
    let because = format!(
        "template {theirs} of {rival} and template {template} of {name} make the same names; the controller uses a claim it \
         finds, whoever made it"
    );
    let mut finding = RULE.about(Kind::StatefulSet, name, what).because(because);
    finding = finding.also(Kind::StatefulSet, rival);
    for claim in &there {
        finding = finding.also(Kind::PersistentVolumeClaim, &claim.metadata.name);
    }
    if let Some(first) = there.first() {
        finding = finding.remedy(kubectl("describe pvc").name(&first.metadata.name).namespace(at));
    } else {
        finding = finding.remedy(kubectl("get statefulset").name(name).name(rival).namespace(at));
    }
    Ok(if shared.is_empty() { finding.only(Severity::Warning) } else { finding })
}
