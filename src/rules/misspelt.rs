//! What the rules about the governing Service share where `serviceName` is probably misspelt: another headless Service
//! selects the pods. The field is immutable, and so is the subdomain of a pod that is there.

use serde_json::json;

use super::prelude::*;
use super::rollouts::recreated;
use super::services::again;
use crate::words::distance;

/// Names that differ in so few letters are taken for the same word.
const TYPO: usize = 2;

/// The headless Services, other than the one named, that select every pod of the set by its template and may be the one
/// that is meant; the one with the nearest name first.
pub(super) fn meant<'a>(snapshot: &Snapshot<'a>) -> Result<Vec<&'a Service>, Unseen> {
    let set = snapshot.set;
    let named = &set.spec.service_name;
    let labels = &set.spec.template.metadata.labels;
    let mut meant: Vec<&Service> = snapshot
        .services()?
        .iter()
        .copied()
        .filter(|service| service.metadata.name != *named && service.is_headless())
        .filter(|service| {
            let selector = &service.spec.selector;
            !selector.is_empty() && matches_labels(selector, labels)
        })
        .filter(|service| is_near(named, &service.metadata.name) || !has_another_use(snapshot, service))
        .collect();
    meant.sort_by_key(|service| (distance(named, &service.metadata.name), &service.metadata.name));
    Ok(meant)
}

/// Whether one name can be the other with a typing error.
pub(super) fn is_near(one: &str, other: &str) -> bool {
    let letters = one.chars().count().min(other.chars().count());
    (1..=TYPO.min(letters / 2)).contains(&distance(one, other))
}

/// Whether a Service plainly is there for something else: it governs another set, or is scraped for metrics.
fn has_another_use(snapshot: &Snapshot<'_>, service: &Service) -> bool {
    let (own, name) = (&snapshot.set.metadata.name, &service.metadata.name);
    let mut others = snapshot.namespace.sets.iter().filter(|set| set.metadata.name != *own);
    others.any(|set| set.spec.service_name == *name)
        || ["metrics", "exporter", "monitor"].iter().any(|use_| name.contains(use_))
}

/// Says in a finding about the governing Service that another one is meant, and how to come to it. `None` where there
/// is no such Service, or the set cannot be created again now: its owner would put it back, and a set that is created
/// again in an update has forgotten the revision that the update comes from.
pub(super) fn corrected(
    snapshot: &Snapshot<'_>,
    finding: &Finding,
    because: &str,
) -> Result<Option<Finding>, Unseen> {
    let set = snapshot.set;
    let meant = meant(snapshot)?;
    let Some(nearest) = meant.first() else { return Ok(None) };
    let updates = set.status.current_revision != set.status.update_revision;
    if set.metadata.controller().is_some() || set.metadata.is_terminating() || updates {
        return Ok(None);
    }
    let names: Vec<&str> = meant.iter().map(|service| service.metadata.name.as_str()).collect();
    let (service, are, select) =
        if names.len() == 1 { ("Service", "is", "selects") } else { ("Services", "are", "select") };
    let restart = restart(snapshot)?;
    let steps = if restart.is_empty() {
        "the command recreates the StatefulSet with the right serviceName"
    } else {
        "the first command recreates the StatefulSet and keeps its pods and PVCs; the next one restarts the pods, which \
         gives them their new DNS names"
    };
    let wrong = if snapshot.service()?.is_none() || is_near(&set.spec.service_name, &nearest.metadata.name) {
        "is probably misspelt".to_owned()
    } else {
        format!("should probably be {}", nearest.metadata.name)
    };
    let corrected = finding.clone().because(format!(
        "{because}; {service} {} {are} headless and {select} these pods: serviceName {wrong}, and cannot be changed in \
         place; {steps}",
        words::list(&names, 3)
    ));
    let named = json!({"spec": {"serviceName": nearest.metadata.name}});
    let corrected = Finding { remedy: Vec::new(), ..corrected }.remedy(recreated(snapshot, &named));
    Ok(Some(restart.into_iter().fold(corrected, Finding::remedy)))
}

/// Gives the pods that are there the new subdomain. One that is not ready would keep a rolling restart of an ordered set
/// from ever beginning.
pub(super) fn restart(snapshot: &Snapshot<'_>) -> Result<Vec<Command>, Unseen> {
    let pods = snapshot.replicas()?.iter().filter_map(|replica| replica.pod);
    let (ready, unready): (Vec<&Pod>, Vec<&Pod>) = pods.partition(|pod| pod.is_ready());
    let mut commands = Vec::new();
    if !unready.is_empty() {
        let names = unready.iter().map(|pod| pod.metadata.name.as_str());
        commands.push(kubectl("delete pod").names(names).namespace(home(snapshot)));
    }
    if let [first, ..] = ready.as_slice() {
        commands.push(again(snapshot, first));
    }
    Ok(commands)
}

#[cfg(test)]
mod tests {
    use super::is_near;

    #[test]
    fn a_typing_error_is_told_from_another_name() {
        for (one, other, near) in [
            ("postgres-headles", "postgres-headless", true),
            ("wbe", "web", false),
            ("dbx", "db", true),
            ("postgers", "postgres", true),
            ("web", "web", false),
            ("db", "db-hl", false),
            ("redis-a", "redis-b", true),
            ("a", "b", false),
            ("db", "pg", false),
        ] {
            assert_eq!(is_near(one, other), near, "{one} {other}");
        }
    }
}
