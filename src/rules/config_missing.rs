//! A `ConfigMap` or `Secret`, or a key of it, is not there, or a container cannot be made for another reason.

use std::collections::BTreeSet;

use super::pods::{Group, grouped, wanted};
use super::prelude::*;
use crate::messages::container::Refusal;
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
                        "correct its name in the pod template, as one of a similar name may exist, or create it in namespace {at}{}",
                        needed(group.first().pod, *object, name)
                    )));
                let keys = keys(group.first().pod, *object, name);
                let look = kubectl("get").with(object.plural()).namespace(at);
                let create = created(group.first().pod, *object, name, &keys);
                let forward = create.map_or(look, |create| create.namespace(at));
                let edit = group.edit(snapshot).filter(|_| !group.is_outdated(snapshot));
                edit.into_iter().fold(way(snapshot, group, finding, forward), Finding::instead)
            }
            Cause::Missing(Missing { object, name, key: Some(key) }) => {
                let what = format!("key {key} of {} {name}, which has no such key", object.kind());
                let add = with_key(*object, name, key).map(|new| {
                    let patch = kubectl("patch").with(object.singular()).name(name).namespace(at);
                    new.with("--dry-run=client -o yaml").piped_into(patch.with("--type=merge --patch-file=/dev/stdin"))
                });
                let show = kubectl("describe").with(object.singular()).name(name).namespace(at);
                let finding = group
                    .finding(&RULE, &[format!("needs {what}"), format!("need {what}")])
                    .because(with(&format!(
                        "add the key to it, or correct the key in the pod template{}",
                        if add.is_some() { TYPED } else { "" }
                    )));
                let edit = group.edit(snapshot).filter(|_| !group.is_outdated(snapshot));
                edit.into_iter().fold(way(snapshot, group, finding, add.unwrap_or(show)), Finding::instead)
            }
            Cause::Refused(container, reason, said) => {
                let said = if said.is_empty() { String::new() } else { format!(": {said}") };
                let says =
                    ["has a container that cannot be created", "have a container that cannot be created"];
                let change = match group.is_outdated(snapshot) {
                    true => String::new(),
                    false => Refusal::parse(&said).map_or(String::new(), |it| correction(it, container)),
                };
                let finding = group.finding(&RULE, &says).because(format!(
                    "container {container} is in {reason}, {}{said}{change}",
                    group.unready(snapshot)
                ));
                let edit = group.edit(snapshot).unwrap_or_else(|| group.describe(snapshot));
                way(snapshot, group, finding, edit)
            }
        }
    });
    Ok(found.collect())
}

/// What to change in the template of a container that may not be created.
fn correction(refusal: Refusal<'_>, container: &str) -> String {
    let user = format!("securityContext.runAsUser of container {container}");
    match refusal {
        Refusal::ImageIsRoot => format!(
            "; set {user} to the number of a user that the image can run as, not 0, or use an image that does not run as root"
        ),
        Refusal::UserIsName(name) => format!(
            "; set {user} to the number of the user {name} of the image (id -u {name} in a container of it)"
        ),
        Refusal::UserIsRoot => {
            format!("; set {user} to another number than 0, or remove runAsNonRoot if it has to run as root")
        }
        Refusal::NoCommand => {
            format!("; set command of container {container}, or use an image with an ENTRYPOINT or CMD")
        }
    }
}

/// What is to be done with a command that reads what only its user knows.
const TYPED: &str = "; the command reads the value from the terminal, up to Ctrl-D";

/// Creates an object with these keys, whose values are typed: no shell keeps them. `None` where it is for a volume, of which
/// only the user knows the files.
fn created(pod: &Pod, object: Object, name: &str, keys: &[&str]) -> Option<Command> {
    match keys {
        [one] if !is_environment(pod, object, name) => with_key(object, name, one),
        [] if !is_environment(pod, object, name) => None,
        _ => Some(new(object, name).with("--from-env-file=/dev/stdin")),
    }
}

/// Whether all that is in an object becomes environment variables of the pod (`envFrom`).
fn is_environment(pod: &Pod, object: Object, name: &str) -> bool {
    let all = pod.spec.containers.iter().chain(&pod.spec.init_containers);
    all.flat_map(|container| &container.env_from).any(|source| {
        let reference = match object {
            Object::ConfigMap => source.config_map_ref.as_ref(),
            Object::Secret => source.secret_ref.as_ref(),
        };
        reference.is_some_and(|reference| reference.name == name && !reference.optional)
    })
}

/// Creates an object with one key.
fn with_key(object: Object, name: &str, key: &str) -> Option<Command> {
    // `apimachinery/pkg/util/validation:IsConfigMapKey`.
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    is_key.then(|| new(object, name).joined("--from-file=", format!("{key}=/dev/stdin")))
}

fn new(object: Object, name: &str) -> Command {
    let create = kubectl("create").with(object.singular());
    match object {
        Object::ConfigMap => create.name(name),
        Object::Secret => create.with("generic").name(name),
    }
}

/// The keys that the pod takes from an object, where it names them: ` with the keys password and user`.
fn needed(pod: &Pod, object: Object, name: &str) -> String {
    let keys = keys(pod, object, name);
    let lines = "; the command reads lines of KEY=VALUE from the terminal, up to Ctrl-D";
    match (keys.as_slice(), is_environment(pod, object, name)) {
        ([], true) => format!(" with the environment variables of the pod{lines}"),
        ([], false) => String::new(),
        ([one], false) => format!(" with the key {one}{TYPED}"),
        (several, _) => format!(" with the keys {}{lines}", words::list(several, 6)),
    }
}

/// The keys that the pod takes from an object, sorted.
fn keys<'a>(pod: &'a Pod, object: Object, name: &str) -> Vec<&'a str> {
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
    keys.into_iter().collect()
}

/// The way back where an update brought it, and the way forward beside it.
fn way(snapshot: &Snapshot<'_>, group: &Group<'_>, finding: Finding, forward: Command) -> Finding {
    match group.other_template(snapshot) {
        Some(back) => finding.remedy(back),
        None => finding.remedy(forward),
    }
}
