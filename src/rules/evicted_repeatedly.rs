//! Pods of one name are evicted or refused by the kubelet, one after another.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::prelude::*;
use crate::messages::{clipped, kubelet};

pub const RULE: Rule = Rule {
    code: "STS413",
    name: "evicted-repeatedly",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/evicted-repeatedly.md"),
    check,
};

/// How many pods of one name make it more than an accident.
const OFTEN: usize = 3;
/// Within how long.
const SPAN: SignedDuration = SignedDuration::from_mins(30);
/// A pod that has lived for this long is taken to stay.
const SETTLED: SignedDuration = SignedDuration::from_mins(5);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let events = snapshot.events()?;
    let mut found = Vec::new();
    for replica in snapshot.replicas()? {
        let lives =
            |pod: &Pod| snapshot.since(pod.metadata.creation_timestamp).is_some_and(|age| age > SETTLED);
        if replica.pod.is_some_and(|pod| lives(pod) && !pod.is_finished()) {
            continue;
        }
        let about = |event: &&Event| {
            let it = &event.involved_object;
            it.kind == "Pod"
                && it.name == replica.name
                && kubelet::ends_pod(event)
                && snapshot.since(event.last_seen()).is_some_and(|ago| ago < SPAN)
        };
        let ends: Vec<&Event> = events.iter().copied().filter(about).collect();
        let pods: BTreeSet<&str> = ends.iter().map(|event| event.involved_object.uid.as_str()).collect();
        let Some(last) = ends.iter().max_by_key(|event| event.last_seen()).filter(|_| pods.len() >= OFTEN)
        else {
            continue;
        };
        let first = ends.iter().filter_map(|event| event.first_timestamp.or(event.last_seen())).min();
        let span = snapshot.since(first).map_or(String::new(), |span| format!(" in {}", words::age(span)));
        let happens = if last.reason == "Evicted" {
            "is evicted repeatedly"
        } else {
            "is rejected by its node repeatedly"
        };
        let reason = if last.reason == "Evicted" { String::new() } else { format!("{}: ", last.reason) };
        found.push(
            RULE.about(Kind::Pod, &replica.name, format!("{} {happens}", replica.name))
                .because(format!(
                    "{} pods of that name failed{span}; {reason}{}",
                    pods.len(),
                    clipped(&last.message)
                ))
                .remedy(
                    kubectl("get events")
                        .namespace(home(snapshot))
                        .with("--field-selector")
                        .value(format!("involvedObject.name={},type=Warning", replica.name)),
                ),
        );
    }
    Ok(found)
}
