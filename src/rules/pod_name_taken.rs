//! A pod the set does not own has the name of one of its replicas.

use jiff::SignedDuration;

use super::prelude::*;
use crate::snapshot::owner::{Manager, controller as controller_of};

pub const RULE: Rule = Rule {
    code: "STS410",
    name: "pod-name-taken",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/pod-name-taken.md"),
    check,
};

/// How long the garbage collector may take to remove what an earlier set of the same name left.
const COLLECTED: SignedDuration = SignedDuration::from_mins(2);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    if set.metadata.is_terminating() {
        return Ok(Vec::new());
    }
    let name = &set.metadata.name;
    let new = snapshot.since(set.metadata.creation_timestamp).is_some_and(|age| age < COLLECTED);
    let mut found = Vec::new();
    for replica in snapshot.replicas()? {
        let Some(foreign_pod) = replica.foreign_pod.filter(|pod| !pod.metadata.is_terminating()) else {
            continue;
        };
        let at = home(snapshot);
        let delete = kubectl("delete pod").name(&replica.name).namespace(at);
        let (because, remedy) = match foreign_pod.metadata.controller() {
            Some(owner) if owner.kind == "StatefulSet" && owner.name == *name => {
                if new {
                    continue;
                }
                (format!("that pod belongs to an earlier StatefulSet {name} (uid {})", owner.uid), delete)
            }
            Some(owner) => {
                let Manager { name: who, source, .. } = controller_of(owner);
                let kind = source.map_or(owner.kind.clone(), |source| source.kind);
                let look = kubectl("get").value(kind).name(&owner.name).namespace(at).with("-o yaml");
                let why = format!(
                    "that pod belongs to {who}, which would create it again: rename or remove {who}, then delete the pod"
                );
                (why, look)
            }
            None => match lost_labels(set, foreign_pod) {
                // It was a replica: the controller lets go of a pod whose labels stop matching, and takes it back.
                Some(lost) if is_of(set, foreign_pod) => (
                    format!("{} does not own that pod, because {}", name, lost.said),
                    lost.command(&replica.name, at),
                ),
                _ => (
                    format!(
                        "that pod has no owner, and {name} does not adopt it, because its labels do not match; delete it if \
                         it is no longer needed"
                    ),
                    delete,
                ),
            },
        };
        let ordered =
            if set.is_parallel() { "" } else { "; until then no replica above it is created or updated" };
        found.push(
            RULE.about(
                Kind::Pod,
                &replica.name,
                format!("{name} cannot create {}, because another pod has that name", replica.name),
            )
            .because(format!("{because}; the controller retries without writing an event{ordered}"))
            .remedy(remedy),
        );
    }
    Ok(found)
}

/// Labels that the pod would have to have to be a replica again.
struct Lost<'a> {
    /// `its label app is debug and not web`.
    said: String,
    wanted: Vec<(&'a str, &'a str)>,
}

impl Lost<'_> {
    fn command(&self, pod: &str, namespace: &str) -> Command {
        let pairs = self.wanted.iter().map(|(key, value)| format!("{key}={value}"));
        let labelled = pairs.fold(kubectl("label pod").name(pod), Command::value);
        labelled.with("--overwrite").namespace(namespace)
    }
}

/// The labels of the pod template for which the selector does not match the pod; `None` where others are in the way.
fn lost_labels<'a>(set: &'a StatefulSet, pod: &Pod) -> Option<Lost<'a>> {
    let selector = &set.spec.selector;
    let keys = selector.match_labels.keys().chain(selector.match_expressions.iter().map(|term| &term.key));
    let template = &set.spec.template.metadata.labels;
    let wanted = |key: &'a String| template.get(key).or_else(|| selector.match_labels.get(key));
    let mut lost: Vec<(&str, &str)> = keys
        .filter_map(|key| Some((key, wanted(key)?)))
        .filter(|(key, value)| pod.metadata.labels.get(*key) != Some(*value))
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    lost.sort_unstable();
    lost.dedup();
    let mut repaired = pod.metadata.labels.clone();
    repaired.extend(lost.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    if lost.is_empty() || !selector.matches(&repaired) {
        return None;
    }
    let each: Vec<String> = (lost.iter())
        .map(|(key, value)| match pod.metadata.labels.get(*key) {
            Some(other) => format!("its label {key} is {other} and not {value}"),
            None => format!("it lacks the label {key}={value}"),
        })
        .collect();
    Some(Lost { said: words::list(&each, 3), wanted: lost })
}

/// Whether the pod was made by this StatefulSet: it has the name of one of its revisions.
fn is_of(set: &StatefulSet, pod: &Pod) -> bool {
    let named = pod.metadata.labels.get("statefulset.kubernetes.io/pod-name");
    let revision = pod.revision().strip_prefix(set.metadata.name.as_str());
    named.is_some_and(|name| *name == pod.metadata.name) && revision.is_some_and(|rest| rest.starts_with('-'))
}
