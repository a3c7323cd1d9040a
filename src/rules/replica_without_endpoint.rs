//! A replica serves, and has no name of its own under the Service.

use std::collections::HashSet;

use jiff::SignedDuration;

use super::prelude::*;
use super::services::again;
use crate::messages::clipped;

pub const RULE: Rule = Rule {
    code: "STS106",
    name: "replica-without-endpoint",
    severity: Severity::Error,
    stuck_from: None,
    page: include_str!("../../docs/rules/replica-without-endpoint.md"),
    check,
};

/// How long endpoints may take to follow.
const FOLLOW: SignedDuration = SignedDuration::from_secs(30);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    let Some(service) = snapshot.service()?.filter(|service| service.is_headless()) else {
        return Ok(Vec::new());
    };
    let name = &service.metadata.name;
    let serving: Vec<&Pod> = (snapshot.replicas()?.iter())
        .filter_map(|replica| replica.pod)
        .filter(|pod| !pod.metadata.is_terminating())
        .filter(|pod| snapshot.since(pod.ready_since()).is_some_and(|since| since > FOLLOW))
        .collect();
    // Manifests written by hand have no host names; the controller always sets one.
    let misnamed: Vec<&Pod> = (serving.iter().copied())
        .filter(|pod| !pod.spec.hostname.is_empty() && pod.spec.subdomain != *name)
        .collect();
    let mut findings = Vec::new();
    if let [first, ..] = misnamed.as_slice() {
        let was = match first.spec.subdomain.as_str() {
            "" => "without a Service".to_owned(),
            other => format!("for Service {other}"),
        };
        let finding = finding(set, service, &misnamed)
            .because(format!("created {was}; a pod keeps its subdomain until it is recreated"));
        findings.push(finding.remedy(again(snapshot, first)));
    }
    let unlisted = match unlisted(snapshot, service, &serving) {
        Err(unseen) if findings.is_empty() => return Err(unseen),
        found => found.unwrap_or_default(),
    };
    if !unlisted.is_empty() {
        let them = if unlisted.len() == 1 { "it" } else { "them" };
        let events = snapshot.events_about(service).unwrap_or_default();
        let said = events.into_iter().rev().find(|event| event.reason.starts_with("FailedToUpdateEndpoint"));
        let said =
            said.map_or(String::new(), |event| format!("; its controller says: {}", clipped(event.text())));
        let because = format!(
            "Service {name} selects {them}, but no EndpointSlice lists {them}{said}; the command makes the EndpointSlice controller \
             process the Service again; if that changes nothing, start kube-controller-manager, of which that controller is a part"
        );
        let touch = kubectl("annotate service")
            .name(name)
            .joined("kubectl-sts/retry=", snapshot.taken_at.as_second());
        let touch = touch.with("--overwrite").namespace(home(snapshot));
        findings.push(finding(set, service, &unlisted).because(because).remedy(touch));
    }
    let unselected = unselected(set, service, &serving);
    if let [first, ..] = unselected.as_slice() {
        let lacks: Vec<String> = (service.spec.selector.iter())
            .filter(|(key, value)| first.metadata.labels.get(*key) != Some(value))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let because = format!(
            "Service {name} selects {}, which the pod template has and this pod has lost",
            words::list(&lacks, 4)
        );
        let label = kubectl("label pod").name(&first.metadata.name);
        let label = lacks.iter().fold(label, Command::value);
        let label = label.with("--overwrite").namespace(home(snapshot));
        findings.push(finding(set, service, &unselected).because(because).remedy(label));
    }
    Ok(findings)
}

/// Pods without a label that the Service asks for and the template gives, where others have it.
fn unselected<'a>(set: &StatefulSet, service: &Service, serving: &[&'a Pod]) -> Vec<&'a Pod> {
    let selector = &service.spec.selector;
    let selects = |pod: &Pod| matches_labels(selector, &pod.metadata.labels);
    let given = &set.spec.template.metadata.labels;
    let lost = |pod: &Pod| {
        !selects(pod)
            && (selector.iter())
                .filter(|(key, value)| pod.metadata.labels.get(*key) != Some(value))
                .all(|(key, value)| given.get(key) == Some(value))
    };
    if selector.is_empty() || !serving.iter().any(|pod| selects(pod)) {
        return Vec::new();
    }
    serving.iter().copied().filter(|pod| lost(pod)).collect()
}

fn finding(set: &StatefulSet, service: &Service, pods: &[&Pod]) -> Finding {
    let names: Vec<&str> = pods.iter().map(|pod| pod.metadata.name.as_str()).collect();
    let verb = if names.len() == 1 { "has no DNS name" } else { "have no DNS names" };
    let what = format!("{} {verb} under Service {}", words::list(&names, 3), service.metadata.name);
    let severity = if set.replicas() > 1 { Severity::Error } else { Severity::Note };
    let mut finding = RULE.about(Kind::Pod, names[0], what).only(severity);
    for name in &names[1..] {
        finding = finding.also(Kind::Pod, *name);
    }
    finding
}

/// Ready pods of the Service that are in none of its slices.
fn unlisted<'a>(
    snapshot: &Snapshot<'a>,
    service: &Service,
    serving: &[&'a Pod],
) -> Result<Vec<&'a Pod>, Unseen> {
    let young = snapshot.since(service.metadata.creation_timestamp).is_some_and(|age| age < FOLLOW);
    if serving.is_empty() || service.spec.selector.is_empty() || young {
        return Ok(Vec::new());
    }
    let slices = snapshot.slices()?.iter().filter(|slice| slice.service() == service.metadata.name);
    let (mut names, mut addresses) = (HashSet::new(), HashSet::new());
    for endpoint in slices.flat_map(|slice| &slice.endpoints) {
        names.extend(endpoint.target_ref.iter().map(|target| target.name.as_str()));
        addresses.extend(endpoint.addresses.iter().map(String::as_str));
    }
    let is_listed = |pod: &Pod| {
        names.contains(pod.metadata.name.as_str()) || addresses.contains(pod.status.pod_ip.as_str())
    };
    Ok((serving.iter().copied())
        .filter(|pod| !pod.status.pod_ip.is_empty())
        .filter(|pod| matches_labels(&service.spec.selector, &pod.metadata.labels) && !is_listed(pod))
        .collect())
}
