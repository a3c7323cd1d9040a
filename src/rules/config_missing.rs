//! A `ConfigMap` or `Secret`, or a key of it, is not there, or a container cannot be made for another reason.

use super::pods::{grouped, refusal, wanted};
use super::prelude::*;
use crate::snapshot::Why;

pub const RULE: Rule = Rule {
    code: "STS406",
    name: "config-missing",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/config-missing.md"),
    check,
};

/// What is not there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Missing<'a> {
    kind: &'static str,
    /// Empty where neither the message nor the pod tells.
    name: &'a str,
    key: Option<&'a str>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Cause<'a> {
    Missing(Missing<'a>),
    /// The container, the kubelet's reason, and what it says.
    Refused(&'a str, &'a str, String),
}

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let groups = grouped(wanted(snapshot)?, |case| match case.why()? {
        Why::Config { reason, message } => Some(match missing(case.pod, message) {
            Some(missing) => Cause::Missing(missing),
            None => Cause::Refused(case.container()?, reason, said(message)),
        }),
        Why::Mount { message } => missing(case.pod, message).map(Cause::Missing),
        _ => None,
    });
    let found = groups.iter().map(|(cause, group)| {
        let at = home(snapshot);
        let stage = match group.first().why() {
            Some(Why::Config { reason, .. }) => {
                format!("container {} is in {reason}", group.first().container().unwrap_or_default())
            }
            _ => "a volume cannot be mounted".to_owned(),
        };
        let because = format!("{stage}, {}", group.unready(snapshot));
        match cause {
            Cause::Missing(Missing { kind, name, key: None }) => {
                let what = format!("the {kind} {name}, which does not exist");
                group
                    .finding(&RULE, &[format!("needs {what}"), format!("need {what}")])
                    .because(because)
                    .remedy(
                        group
                            .other_template(snapshot)
                            .unwrap_or_else(|| kubectl("get").with(plural(kind)).namespace(at)),
                    )
            }
            Cause::Missing(Missing { kind, name, key: Some(key) }) => {
                let what = format!("the key {key} of the {kind} {name}, which has no such key");
                let show = kubectl("describe").with(singular(kind)).name(name).namespace(at);
                group
                    .finding(&RULE, &[format!("needs {what}"), format!("need {what}")])
                    .because(because)
                    .remedy(group.other_template(snapshot).unwrap_or(show))
            }
            Cause::Refused(container, reason, said) => {
                let said = if said.is_empty() { String::new() } else { format!(": {said}") };
                let says = ["cannot make a container", "cannot make a container"];
                let finding = group.finding(&RULE, &says).because(format!(
                    "container {container} is in {reason}, {}{said}",
                    group.unready(snapshot)
                ));
                group.remedied(snapshot, finding)
            }
        }
    });
    Ok(found.collect())
}

fn singular(kind: &str) -> &'static str {
    if kind == "Secret" { "secret" } else { "configmap" }
}

fn plural(kind: &str) -> &'static str {
    if kind == "Secret" { "secrets" } else { "configmaps" }
}

/// The message without the pod's own name, which differs between pods with the same fault.
fn said(message: &str) -> String {
    refusal(message.split(" (pod: ").next().unwrap_or(message))
}

/// The object the kubelet misses, by its wording (`kubelet_pods.go:makeEnvironmentVariables`, `volume/configmap`,
/// `volume/secret`, `volume/util.go`).
pub(super) fn missing<'a>(pod: &'a Pod, message: &'a str) -> Option<Missing<'a>> {
    for (kind, word) in [("ConfigMap", "configmap \""), ("Secret", "secret \"")] {
        if let Some((before, rest)) = message.split_once(word)
            && !before.ends_with(|c: char| c.is_alphanumeric())
            && let Some((name, rest)) = rest.split_once('"')
            && rest.starts_with(" not found")
        {
            return Some(Missing { kind, name, key: None });
        }
        if let Some((_, rest)) = message.split_once("couldn't find key ")
            && let Some((key, rest)) = rest.split_once(&format!(" in {kind} "))
        {
            let object = rest.split([' ', ',', ';']).next().unwrap_or(rest);
            let name = object.rsplit_once('/').map_or(object, |(_, name)| name);
            return Some(Missing { kind, name, key: Some(key) });
        }
    }
    for (kind, word) in [
        ("ConfigMap", "references non-existent config key: "),
        ("Secret", "references non-existent secret key: "),
    ] {
        if let Some((before, key)) = message.split_once(word) {
            let volume = before.split_once("volume \"").and_then(|(_, rest)| rest.split_once('"'))?.0;
            let volume = pod.spec.volumes.iter().find(|it| it.name == volume)?;
            let name = match (&volume.config_map, &volume.secret) {
                (Some(map), _) => map.name.as_str(),
                (None, Some(secret)) => secret.secret_name.as_str(),
                (None, None) => return None,
            };
            return Some(Missing { kind, name, key: Some(key.trim_end()) });
        }
    }
    None
}
