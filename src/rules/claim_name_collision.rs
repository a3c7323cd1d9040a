//! Two sets make claims of the same name, and Kubernetes lets them share the data without a word.

use std::cmp::Reverse;
use std::ops::Range;

use serde_json::json;

use super::prelude::*;
use super::rollouts::recreate_set;
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

/// Whether the PVC was created for this one of the two: a PVC gets the labels of the selector
/// (`stateful_set_utils.go:getPersistentVolumeClaims`).
fn is_made_by(claim: &PersistentVolumeClaim, set: &StatefulSet, other: &StatefulSet) -> bool {
    let has = |set: &StatefulSet| {
        let labels = &set.spec.selector.match_labels;
        !labels.is_empty() && matches_labels(labels, &claim.metadata.labels)
    };
    has(set) && !has(other)
}

/// Another name for this volumeClaimTemplate, and the commands that recreate the set with it: only where none of its pods runs
/// well, and all of its replicas share, so that no data of its own is left behind.
fn renamed(
    snapshot: &Snapshot<'_>,
    set: &StatefulSet,
    template: &str,
    shared: &Range<i32>,
) -> Result<Option<(String, Vec<Command>)>, Unseen> {
    let spec = &set.spec.template.spec;
    let is_own = |pod: &&&Pod| {
        pod.metadata
            .controller()
            .is_some_and(|owner| owner.kind == "StatefulSet" && owner.name == set.metadata.name)
    };
    let pods: Vec<&Pod> = snapshot.pods()?.iter().filter(is_own).copied().collect();
    let shares_all = i32::try_from(shared.len()) == Ok(set.replicas()) && set.replicas() > 0;
    if !shares_all || set.metadata.controller().is_some() || pods.iter().any(|pod| pod.is_ready()) {
        return Ok(None);
    }
    let new = format!("{template}-own");
    let is_taken = spec.volumes.iter().any(|it| it.name == new)
        || set.spec.volume_claim_templates.iter().any(|it| it.metadata.name == new)
        || snapshot
            .claims()?
            .iter()
            .any(|it| it.metadata.name.starts_with(&format!("{new}-{}-", set.metadata.name)));
    let place = set.spec.volume_claim_templates.iter().position(|it| it.metadata.name == template);
    // Without the containers it is not known what they mount.
    let is_known = !spec.containers.is_empty();
    let (Some(place), false, true) = (place, is_taken, is_known) else { return Ok(None) };
    let replace = |path: String| json!({"op": "replace", "path": path, "value": new});
    let mut operations = vec![replace(format!("/spec/volumeClaimTemplates/{place}/metadata/name"))];
    for (list, containers) in [("containers", &spec.containers), ("initContainers", &spec.init_containers)] {
        for (at, container) in containers.iter().enumerate() {
            let mounts =
                container.volume_mounts.iter().enumerate().filter(|(_, mount)| mount.name == template);
            operations.extend(mounts.map(|(mount, _)| {
                replace(format!("/spec/template/spec/{list}/{at}/volumeMounts/{mount}/name"))
            }));
        }
    }
    let mut commands = vec![recreate_set(set, "--type=json", &json!(operations))];
    if !pods.is_empty() {
        let pods = pods.iter().map(|pod| pod.metadata.name.as_str());
        commands.push(kubectl("delete pod").names(pods).namespace(&set.metadata.namespace));
    }
    Ok(Some((new, commands)))
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
         the controller uses any existing PVC with that name"
    );
    let renamed = if !there.is_empty() && there.iter().all(|claim| is_made_by(claim, other, set)) {
        renamed(snapshot, set, template, shared)?
    } else {
        None
    };
    let because = match &renamed {
        Some((new, _)) => format!(
            "{because}; {rival} created them, and no pod of {name} is ready: the commands recreate {name} with \
             volumeClaimTemplate {new}, so that it gets PVCs of its own, and keep these PVCs for {rival}"
        ),
        None => format!(
            "{because}; recreate one of them with another name of its volumeClaimTemplate, and copy its data to the new PVCs"
        ),
    };
    let mut finding = RULE.about(Kind::StatefulSet, name, what).because(because);
    finding = finding.also(Kind::StatefulSet, rival);
    for claim in &there {
        finding = finding.also(Kind::PersistentVolumeClaim, &claim.metadata.name);
    }
    if let Some((_, commands)) = renamed {
        finding = commands.into_iter().fold(finding, Finding::remedy);
    } else if let Some(first) = there.first() {
        finding = finding.remedy(kubectl("describe pvc").name(&first.metadata.name).namespace(at));
    } else {
        finding = finding.remedy(kubectl("get statefulset").name(name).name(rival).namespace(at));
    }
    Ok(if shared.is_empty() { finding.only(Severity::Warning) } else { finding })
}
