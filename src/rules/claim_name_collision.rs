//! Two sets make claims of the same name, and Kubernetes lets them share the data without a word.

use std::cmp::Reverse;
use std::ops::Range;

use super::prelude::*;
use crate::snapshot::parse_pod_name;

pub const RULE: Rule = Rule {
    code: "STS214",
    name: "claim-name-collision",
    severity: Severity::Error,
    stuck_from: None,
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
fn shared(set: &StatefulSet, other: &StatefulSet) -> Range<i32> {
    let end = |set: &StatefulSet| set.start().saturating_add(set.replicas());
    let (start, end) = (set.start().max(other.start()), end(set).min(end(other)));
    start..end.max(start)
}

/// Sorts the set first that suffers from it: whose pods are held up, and then the one that came later.
fn standing<'s>(
    snapshot: &Snapshot<'_>,
    set: &'s StatefulSet,
    shared: &Range<i32>,
) -> (usize, Reverse<Option<jiff::Timestamp>>, &'s str) {
    let is_shared = |pod: &Pod| {
        parse_pod_name(&pod.metadata.name)
            .is_some_and(|(parent, ordinal)| parent == set.metadata.name && shared.contains(&ordinal))
    };
    let ready = snapshot.namespace.pods.iter().filter(|pod| is_shared(pod) && pod.is_ready()).count();
    (ready, Reverse(set.metadata.creation_timestamp), &set.metadata.name)
}

fn collision(
    snapshot: &Snapshot<'_>,
    [(set, template), (other, theirs)]: [(&StatefulSet, &str); 2],
    stem: &str,
    shared: &Range<i32>,
) -> Result<Finding, Unseen> {
    let at = home(snapshot);
    let (name, rival) = (&set.metadata.name, &other.metadata.name);
    let claim_of = |claim: &PersistentVolumeClaim| {
        let (parent, ordinal) = parse_pod_name(&claim.metadata.name)?;
        (parent == stem && shared.contains(&ordinal)).then_some(ordinal)
    };
    let mut there: Vec<(i32, &PersistentVolumeClaim)> =
        snapshot.claims()?.iter().filter_map(|claim| Some((claim_of(claim)?, *claim))).collect();
    there.sort_by_key(|(ordinal, _)| *ordinal);
    let there: Vec<&PersistentVolumeClaim> = there.into_iter().map(|(_, claim)| claim).collect();
    // As `words::list` writes them, of which there may be any number.
    let names: Vec<String> = match shared.len() {
        few @ ..=3 => shared.clone().take(few).map(|ordinal| format!("{stem}-{ordinal}")).collect(),
        many => (shared.clone().take(2).map(|ordinal| format!("{stem}-{ordinal}")))
            .chain([format!("{} more", many - 2)])
            .collect(),
    };
    let size: Quantity = there.iter().filter_map(|claim| Quantity::parse(claim.size())).sum();
    let size = if there.is_empty() { String::new() } else { format!(" ({size})") };
    let what = match names.as_slice() {
        [] => {
            format!(
                "{name} and {rival} use the same PVC names ({stem}-N) and would share PVCs after a scale-up"
            )
        }
        [one] => format!("PVC {one}{size} is used by both {name} and {rival}"),
        names => format!("PVCs {}{size} are used by both {name} and {rival}", words::list(names, 3)),
    };
    let because = format!(
        "volumeClaimTemplate {theirs} of {rival} and volumeClaimTemplate {template} of {name} give the same PVC names; \
         the controller uses any existing PVC with that name; recreate one of them with another name of its \
         volumeClaimTemplate, and copy its data to the new PVCs"
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
