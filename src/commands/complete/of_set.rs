//! What the flags of one StatefulSet could be: its revisions, its containers, and how far a rollout can go.

use super::live::Revision;
use super::{Candidate, is_name};
use crate::kinds::StatefulSet;
use crate::words;

/// The most partitions and numbers of pods that are offered.
const MOST: i32 = 100;

/// Revisions by number, or by name once that is begun.
pub(super) fn revisions(found: &[Revision], set: Option<&StatefulSet>, start: &str) -> Vec<Candidate> {
    let by_name = !start.is_empty() && !start.starts_with(|first: char| first.is_ascii_digit());
    let candidate = |revision: &Revision| {
        let value = if by_name { revision.name.clone() } else { revision.number.to_string() };
        Candidate { value, about: account(revision, set) }
    };
    found.iter().map(candidate).collect()
}

/// The first of two revisions to compare, or the second one, which is another.
pub(super) fn pairs(found: &[Revision], set: Option<&StatefulSet>, start: &str) -> Vec<Candidate> {
    let Some((first, rest)) = start.split_once("..") else {
        let firsts = revisions(found, set, start).into_iter();
        return firsts.map(|it| Candidate { value: it.value + "..", ..it }).collect();
    };
    let seconds = revisions(found, set, rest).into_iter().filter(|it| it.value != first);
    seconds.map(|it| Candidate { value: format!("{first}..{}", it.value), ..it }).collect()
}

/// `update, 5d old, bump to 17.1`: what `history` says of it.
fn account(revision: &Revision, set: Option<&StatefulSet>) -> Option<String> {
    let status = set.map(|set| &set.status);
    let is = |name: fn(&crate::kinds::StatefulSetStatus) -> &String| {
        status.is_some_and(|status| *name(status) == revision.name)
    };
    let parts = [
        is(|status| &status.current_revision).then(|| "current".to_owned()),
        is(|status| &status.update_revision).then(|| "update".to_owned()),
        Some(&revision.age).filter(|age| !age.is_empty()).map(|age| format!("{age} old")),
        Some(&revision.change_cause).filter(|cause| !cause.is_empty()).cloned(),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// `CONTAINER=`, with the image that it has now. The image itself is not completed: shells take a word apart at its sign.
pub(super) fn containers(set: &StatefulSet, given: &[&str]) -> Vec<Candidate> {
    let spec = &set.spec.template.spec;
    let names = spec.containers.iter().chain(&spec.init_containers).filter(|container| {
        let is_given = |value: &&&str| value.split('=').next() == Some(container.name.as_str());
        is_name(&container.name) && !given.iter().any(|value| is_given(&value))
    });
    names
        .map(|container| Candidate {
            value: format!("{}=", container.name),
            about: (!container.image.is_empty()).then(|| format!("now {}", container.image)),
        })
        .collect()
}

/// Partitions below `top`, the highest first, with the pods that each updates; `top` itself updates nothing.
pub(super) fn partitions(set: &StatefulSet, top: i32) -> Vec<Candidate> {
    let top = top.min(set.replicas());
    let lowest = top.saturating_sub(MOST).max(1);
    let shown = (lowest..top).rev().chain((top > 0).then_some(0));
    shown
        .map(|partition| Candidate {
            value: partition.to_string(),
            about: Some(format!("updates {}", pods(set, partition, top))),
        })
        .collect()
}

/// Numbers and percentages of pods, with the pods that each updates.
pub(super) fn shares(set: &StatefulSet) -> Vec<Candidate> {
    let replicas = set.replicas();
    let counts = (1..=replicas.min(MOST)).map(|count| (count.to_string(), count));
    let percent = |percent: i32| {
        let rounded_up = i64::from(replicas).saturating_mul(i64::from(percent)).saturating_add(99) / 100;
        (format!("{percent}%"), i32::try_from(rounded_up).unwrap_or(replicas))
    };
    let percentages = (replicas > 0).then_some([10, 25, 50, 100]).into_iter().flatten().map(percent);
    counts
        .chain(percentages)
        .map(|(value, count)| Candidate {
            value,
            about: Some(format!("updates {}", pods(set, replicas.saturating_sub(count), replicas))),
        })
        .collect()
}

/// The pods from one index up to another, which is none of them: `web-2 to web-4`.
fn pods(set: &StatefulSet, from: i32, to: i32) -> String {
    let name = |index: i32| set.pod_name(set.start().saturating_add(index));
    let last = to.saturating_sub(1);
    match last.saturating_sub(from) {
        ..=0 => name(last),
        1 => format!("{} and {}", name(from), name(last)),
        _ if from == 0 && to == set.replicas() => format!("all {}", words::count(to, "pod")),
        _ => format!("{} to {}", name(from), name(last)),
    }
}
