//! Two sets make claims of the same name, and Kubernetes lets them share the data without a word.

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
                    findings.push(collision(snapshot, other, [template, theirs, &stem])?);
                }
            }
        }
    }
    Ok(findings)
}

fn collision(
    snapshot: &Snapshot<'_>,
    other: &StatefulSet,
    [template, theirs, stem]: [&str; 3],
) -> Result<Finding, Unseen> {
    let (set, namespace) = (snapshot.set, in_namespace(snapshot));
    let (name, rival) = (&set.metadata.name, &other.metadata.name);
    let ordinals = (0..set.replicas()).map_while(|index| set.start().checked_add(index));
    let shared: Vec<i32> = ordinals.filter(|ordinal| other.in_range(*ordinal)).collect();
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
        finding = finding.remedy(format!("kubectl describe pvc {} {namespace}", first.metadata.name));
    } else {
        finding = finding.remedy(format!("kubectl get statefulset {name} {rival} {namespace}"));
    }
    Ok(if shared.is_empty() { finding.only(Severity::Warning) } else { finding })
}
