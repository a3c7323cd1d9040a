//! The Service that should give the replicas their DNS names selects none of them.

use jiff::SignedDuration;

use super::prelude::*;
use super::{misspelt, services};

pub const RULE: Rule = Rule {
    code: "STS103",
    name: "service-selector-mismatch",
    severity: Severity::Error,
    stuck_from: None,
    page: include_str!("../../docs/rules/service-selector-mismatch.md"),
    check,
};

/// Labels the controller adds to the template's.
const ADDED: [&str; 3] =
    [REVISION_LABEL, "statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"];
/// How long whoever writes endpoints or role labels by hand may take after a pod is ready.
const BY_HAND: SignedDuration = SignedDuration::from_secs(60);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    let Some(service) = snapshot.service()?.filter(|service| service.spec.r#type != "ExternalName") else {
        return Ok(Vec::new());
    };
    // Pods of an earlier set still have the names, and are served under them: that they are there is the point.
    let replicas = snapshot.replicas().unwrap_or_default().iter();
    let mut named = replicas.filter_map(|replica| replica.foreign_pod);
    if !service.spec.selector.is_empty()
        && named.any(|pod| matches_labels(&service.spec.selector, &pod.metadata.labels))
    {
        return Ok(Vec::new());
    }
    let because = if service.spec.selector.is_empty() {
        without_selector(snapshot, service)?
    } else {
        mismatch(snapshot, service)?
    };
    let Some(because) = because else { return Ok(Vec::new()) };
    let name = &service.metadata.name;
    let severity = match set.replicas() {
        0 => Severity::Note,
        1 => Severity::Warning,
        _ => Severity::Error,
    };
    let what = if service.spec.selector.is_empty() {
        format!(
            "Service {name} has neither a selector nor endpoints, so it does not reach {}",
            set.metadata.name
        )
    } else {
        format!("Service {name} selects none of the pods of {}", set.metadata.name)
    };
    let remedy = if service.is_headless() && service.spec.selector.is_empty() {
        // The API server made it RequireDualStack, which it does not take from one with a selector on a cluster of one
        // IP family (`registry/core/service/storage/alloc.go:initIPFamilyFields`).
        services::patch(
            snapshot,
            name,
            &serde_json::json!({"spec": {
                "selector": services::labels(set), "ipFamilyPolicy": "PreferDualStack", "ipFamilies": null,
            }}),
        )
    } else {
        services::select(snapshot, name)
    };
    let finding = RULE.about(Kind::Service, name, what).only(severity);
    // The pods of another application may be behind the one that is named.
    Ok(vec![match misspelt::corrected(snapshot, &finding, &because)? {
        Some(corrected) => corrected,
        None => finding.because(because).remedy(remedy),
    }])
}

/// Somebody else writes the endpoints of such a Service, once there is somewhere to point to.
fn without_selector(snapshot: &Snapshot<'_>, service: &Service) -> Result<Option<String>, Unseen> {
    let name = &service.metadata.name;
    if snapshot.slices()?.iter().any(|slice| slice.service() == name && !slice.endpoints.is_empty()) {
        return Ok(None);
    }
    let ready = snapshot.replicas()?.iter().find_map(|replica| {
        let pod = replica.pod?;
        let since = snapshot.since(pod.ready_since())?;
        (since > BY_HAND).then(|| format!("{} has been ready for {}", replica.name, words::age(since)))
    });
    Ok(ready.map(|ready| format!("{ready}, but Service {name} has no EndpointSlice")))
}

fn mismatch(snapshot: &Snapshot<'_>, service: &Service) -> Result<Option<String>, Unseen> {
    let set = snapshot.set;
    let selector = &service.spec.selector;
    let template = &set.spec.template.metadata.labels;
    // A label the template does not know, such as a role, may be put on the pods once they run.
    let by_hand = selector.iter().all(|(key, value)| template.get(key).is_none_or(|label| label == value))
        && selector.keys().any(|key| !template.contains_key(key) && !ADDED.contains(&key.as_str()));
    let pods = match (snapshot.replicas(), snapshot.condemned()) {
        (Ok(replicas), Ok(condemned)) => {
            replicas.iter().chain(condemned).filter_map(|replica| replica.pod).collect()
        }
        (Err(unseen), _) | (_, Err(unseen)) if by_hand => return Err(unseen),
        _ => Vec::new(),
    };
    let (whose, labels) = match pods.first() {
        Some(_) if pods.iter().any(|pod| matches_labels(selector, &pod.metadata.labels)) => return Ok(None),
        Some(_) if by_hand && !pods.iter().any(|pod| is_settled(snapshot, pod)) => return Ok(None),
        Some(pod) => (pod.metadata.name.clone(), &pod.metadata.labels),
        None if selector
            .iter()
            .all(|(key, value)| ADDED.contains(&key.as_str()) || template.get(key) == Some(value)) =>
        {
            return Ok(None);
        }
        None => (format!("the pod template of {}", set.metadata.name), template),
    };
    let (asked, has): (Vec<_>, Vec<_>) = selector
        .iter()
        .filter(|(key, value)| labels.get(*key) != Some(value))
        .map(|(key, value)| {
            let has =
                labels.get(key).map_or_else(|| format!("no label {key}"), |label| format!("{key}={label}"));
            (format!("{key}={value}"), has)
        })
        .unzip();
    Ok(Some(format!("it selects {}, but {whose} has {}", words::list(&asked, 4), words::list(&has, 4))))
}

fn is_settled(snapshot: &Snapshot<'_>, pod: &Pod) -> bool {
    snapshot.since(pod.ready_since()).is_some_and(|since| since > BY_HAND)
}
