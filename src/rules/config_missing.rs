//! A `ConfigMap` or `Secret`, or a key of it, is not there, or a container cannot be made for another reason.

use std::collections::BTreeSet;

use super::pods::{Group, grouped, wanted};
use super::prelude::*;
use crate::messages::kubelet::{Missing, Object, missing, start_failure, without_pod};
use crate::snapshot::PodFailure;

pub const RULE: Rule = Rule {
    code: "STS406",
    name: "config-missing",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/config-missing.md"),
    check,
};

#[derive(Clone, PartialEq, Eq, Hash)]
enum Cause<'a> {
    Missing(Missing<'a>),
    /// The container, the kubelet's reason, and what it says.
    Refused(&'a str, &'a str, String),
}

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let groups = grouped(wanted(snapshot)?, |case| match case.why()? {
        PodFailure::Config { reason, message } => Some(match missing(case.pod, message) {
            Some(missing) => Cause::Missing(missing),
            None => Cause::Refused(case.container()?, reason, start_failure(without_pod(message))),
        }),
        PodFailure::Mount { message } => missing(case.pod, message).map(Cause::Missing),
        _ => None,
    });
    let found = groups.iter().map(|(cause, group)| {
        let at = home(snapshot);
        let stage = match group.first().why() {
            Some(PodFailure::Config { reason, .. }) => {
                format!("container {} is in {reason}", group.first().container().unwrap_or_default())
            }
            _ => "a volume cannot be mounted".to_owned(),
        };
        let because = format!("{stage}, {}", group.unready(snapshot));
        let with = |change: &str| match group.is_outdated(snapshot) {
            true => because.clone(),
            false => format!("{because}; {change}"),
        };
        match cause {
            Cause::Missing(Missing { object, name, key: None }) => {
                let what = format!("{} {name}, which does not exist", object.kind());
                let finding = group
                    .finding(&RULE, &[format!("needs {what}"), format!("need {what}")])
                    .because(with(&format!(
                        "create it in namespace {at}{}, or correct its name in the pod template: one of a similar name may exist",
                        needed(group.first().pod, *object, name)
                    )));
                let look = kubectl("get").with(object.plural()).namespace(at);
                let edit = group.edit(snapshot).filter(|_| !group.is_outdated(snapshot));
                edit.into_iter().fold(way(snapshot, group, finding, look), Finding::instead)
            }
            Cause::Missing(Missing { object, name, key: Some(key) }) => {
                let what = format!("key {key} of {} {name}, which has no such key", object.kind());
                let show = kubectl("describe").with(object.singular()).name(name).namespace(at);
                let finding = group
                    .finding(&RULE, &[format!("needs {what}"), format!("need {what}")])
                    .because(with("add the key to it, or correct the key in the pod template"));
                let edit = group.edit(snapshot).filter(|_| !group.is_outdated(snapshot));
                edit.into_iter().fold(way(snapshot, group, finding, show), Finding::instead)
            }
            Cause::Refused(container, reason, said) => {
                let said = if said.is_empty() { String::new() } else { format!(": {said}") };
                let says =
                    ["has a container that cannot be created", "have a container that cannot be created"];
                let finding = group.finding(&RULE, &says).because(format!(
                    "container {container} is in {reason}, {}{said}",
                    group.unready(snapshot)
                ));
                let edit = group.edit(snapshot).unwrap_or_else(|| group.describe(snapshot));
                way(snapshot, group, finding, edit)
            }
        }
    });
    Ok(found.collect())
}

/// The keys that the pod takes from an object, where it names them: ` with the keys password and user`.
fn needed(pod: &Pod, object: Object, name: &str) -> String {
    let all = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    let keys: BTreeSet<&str> = all
        .flat_map(|container| &container.env)
        .filter_map(|env| {
            let source = env.value_from.as_ref()?;
            match object {
                Object::ConfigMap => source.config_map_key_ref.as_ref(),
                Object::Secret => source.secret_key_ref.as_ref(),
            }
        })
        .filter(|reference| reference.name == name && !reference.optional)
        .map(|reference| reference.key.as_str())
        .collect();
    let keys: Vec<&str> = keys.into_iter().collect();
    match keys.as_slice() {
        [] => String::new(),
        [one] => format!(" with the key {one}"),
        several => format!(" with the keys {}", words::list(several, 6)),
    }
}

/// The way back where an update brought it, and the way forward beside it.
fn way(snapshot: &Snapshot<'_>, group: &Group<'_>, finding: Finding, forward: Command) -> Finding {
    match group.other_template(snapshot) {
        Some(back) => finding.remedy(back),
        None => finding.remedy(forward),
    }
}
