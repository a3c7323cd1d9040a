//! What is shown to try must last: what an operator or a delivery tool keeps has to be changed where it is written down.

use super::prelude::*;
use crate::snapshot::owner::{Manager, managed_by};

/// Says who may take back what the finding's commands change. Where another object controls the StatefulSet, that object
/// takes the place of commands that it would undo.
pub(super) fn heed(snapshot: &Snapshot<'_>, finding: &mut Finding) {
    let set = &snapshot.set.metadata;
    // What is being deleted is not put back.
    if set.is_terminating() {
        return;
    }
    let of_set = managed_by(set);
    let mut commands = finding.remedy.iter().chain(&finding.instead);
    let changes_set = commands.any(|command| changes(command, Changed::Set, &set.name));
    if changes_set && !of_set.is_empty() {
        let source = of_set.iter().find_map(|manager| manager.source.as_ref());
        if let Some(source) = source {
            let edit = kubectl("edit").value(&source.kind).name(&source.name).namespace(&set.namespace);
            let own = |command: &Command| changes(command, Changed::Set, &set.name);
            let place = |commands: &mut Vec<Command>| {
                let at = commands.iter().position(own);
                commands.retain(|command| !own(command));
                at.map(|at| commands.insert(at.min(commands.len()), edit.clone())).is_some()
            };
            if place(&mut finding.remedy) {
                finding.instead.retain(|command| !own(command));
            } else {
                place(&mut finding.instead);
            }
        }
        say(finding, "StatefulSet", &set.name, &of_set);
    }
    let is_service = |word: &str| SERVICE.contains(&word.split('/').next().unwrap_or_default());
    let mut words = finding.remedy.iter().flat_map(Command::words).flatten();
    if !words.any(is_service) {
        return;
    }
    for service in snapshot.services().unwrap_or_default() {
        let meta = &service.metadata;
        let managers = managed_by(meta);
        let touched = finding.remedy.iter().any(|command| changes(command, Changed::Service, &meta.name));
        if touched && !managers.is_empty() {
            say(finding, "Service", &meta.name, &managers);
        }
    }
}

fn say(finding: &mut Finding, kind: &str, name: &str, managers: &[Manager]) {
    let each = managers.iter().map(|manager| {
        let Manager { name: who, evidence, source } = manager;
        match source {
            Some(_) => {
                format!("{who} controls {kind} {name} and reverts direct changes to it: change {who} instead")
            }
            None => format!(
                "{who} manages {kind} {name} ({evidence}) and may revert the change: change it there too"
            ),
        }
    });
    let said = each.collect::<Vec<_>>().join("; ");
    if finding.because.is_empty() {
        finding.because = said;
    } else {
        finding.because = format!("{}; {said}", finding.because);
    }
}

/// Which kind of object a command changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Changed {
    Set,
    Service,
}

/// The words for them in commands.
const SET: [&str; 3] = ["statefulset", "statefulsets", "sts"];
const SERVICE: [&str; 3] = ["service", "services", "svc"];

/// Whether a command changes what is written down of the object: its spec, or that it is there.
fn changes(command: &Command, what: Changed, name: &str) -> bool {
    command.words().iter().any(|words| {
        let mut rest = words.iter().skip(1).filter(|word| !word.starts_with('-'));
        if words.first() != Some(&"kubectl") {
            return false;
        }
        let kinds: &[&str] = match what {
            Changed::Set => &SET,
            Changed::Service => &SERVICE,
        };
        let verb = rest.next().copied().unwrap_or_default();
        match verb {
            "sts" => {
                let ours = ["undo", "canary", "promote", "abort"];
                what == Changed::Set
                    && rest.next().is_some_and(|word| ours.contains(word))
                    && rest.any(|word| *word == name)
            }
            // These have one more word before the kind: `set image`, `rollout undo`.
            "set" | "rollout" => is_about(rest.skip(1), kinds, name),
            "patch" | "scale" | "edit" | "replace" | "delete" => is_about(rest, kinds, name),
            // Labels and annotations of ours are in no manifest, and reading changes nothing.
            _ => false,
        }
    })
}

/// Whether the words begin with the object: `statefulset web` or `statefulset/web`.
fn is_about<'w>(mut words: impl Iterator<Item = &'w &'w str>, kinds: &[&str], name: &str) -> bool {
    let Some(first) = words.next() else { return false };
    match first.split_once('/') {
        Some((kind, object)) => kinds.contains(&kind) && object == name,
        None => kinds.contains(first) && words.any(|word| *word == name),
    }
}
