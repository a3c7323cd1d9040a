//! What the controller does next, in words.

use crate::controller::{Action, Blocker, Idle, Next, Purpose};
use crate::rules::Stuck;
use crate::snapshot::{Replica, Snapshot, lost, pod_state};
use crate::words;

/// What the controller does next, and what it is stuck on: a sentence for one StatefulSet's screen.
pub fn outlook(snapshot: &Snapshot<'_>, next: &Next, stuck: Option<&Stuck>) -> String {
    let plain = sentence(snapshot, next);
    let Some(finding) = stuck.and_then(|stuck| stuck.findings.first()) else {
        return plain;
    };
    let why = format!("stuck: {} ({})", finding.what, finding.rule.code);
    match next {
        Next::Wait { .. } => format!("{plain}; {why}"),
        Next::Act(_) | Next::Settled(_) => why,
    }
}

/// The same in a few words, for one line of many.
pub fn short_outlook(snapshot: &Snapshot<'_>, next: &Next, stuck: Option<&Stuck>) -> String {
    let finding = stuck.and_then(|stuck| Some((&stuck.on, stuck.findings.first()?)));
    match (next, finding) {
        (Next::Wait { on, .. }, Some((pod, _))) if *pod == snapshot.set.pod_name(*on) => {
            brief(snapshot, next)
        }
        (_, Some((pod, finding))) => format!("stuck on {pod} ({})", finding.rule.name),
        (_, None) => brief(snapshot, next),
    }
}

/// A sentence for one set's screen.
pub fn sentence(snapshot: &Snapshot<'_>, next: &Next) -> String {
    let set = snapshot.set;
    match next {
        Next::Act(actions) => format!("the controller {}", acts(snapshot, actions)),
        Next::Wait { on, because } => {
            let name = set.pod_name(*on);
            let replica = snapshot.replica(*on).ok().flatten();
            let word = replica
                .and_then(|replica| state(snapshot, replica))
                .map_or(String::new(), |word| format!(" ({word})"));
            match because {
                Blocker::Terminating => format!("waits for {name} to end"),
                Blocker::NotReady => format!("waits for {name} to become ready{word}"),
                Blocker::NotYetAvailable => {
                    format!(
                        "waits for {name} to stay ready for {}s (minReadySeconds)",
                        set.spec.min_ready_seconds
                    )
                }
                Blocker::NameTaken => format!("waits for the name {name}, which a pod of somebody else has"),
                Blocker::ClaimEnding => format!("waits for an earlier PVC of {name} to be gone"),
                Blocker::VolumeMissing => {
                    format!("cannot continue: {name} lacks a volume, and has to be deleted to get it")
                }
            }
        }
        Next::Settled(Idle::Done) if set.replicas() == 0 => "nothing: the set is scaled to 0".to_owned(),
        Next::Settled(Idle::Done) => "nothing is left to do".to_owned(),
        Next::Settled(Idle::Partition) => {
            let (partition, replicas) = (set.partition(), set.replicas());
            if partition >= replicas {
                format!(
                    "nothing moves: partition {partition} is not below {replicas} replicas, so no pod is ever updated"
                )
            } else {
                let first = set.pod_name(set.boundary());
                format!("nothing moves: the update stops at partition {partition} ({first})")
            }
        }
        Next::Settled(Idle::OnDelete) if stale(snapshot).is_empty() => {
            "waits for the pods you deleted to end".to_owned()
        }
        Next::Settled(Idle::OnDelete) => {
            format!("nothing moves: OnDelete, {} for you to delete", words::list(&stale(snapshot), 4))
        }
        Next::Settled(Idle::Deleting) => "nothing: the set is being deleted".to_owned(),
        Next::Settled(Idle::Unobserved) => "the controller has yet to look at the newest spec".to_owned(),
        Next::Settled(Idle::UnknownStrategy) => {
            format!("unknown: update strategy {}", set.spec.update_strategy.r#type)
        }
    }
}

/// A few words for one line of many.
pub fn brief(snapshot: &Snapshot<'_>, next: &Next) -> String {
    match next {
        Next::Act(actions) => acts(snapshot, actions),
        Next::Wait { on, .. } => {
            let word = snapshot.replica(*on).ok().flatten().and_then(|replica| state(snapshot, replica));
            let word = word.map_or(String::new(), |word| format!(" ({word})"));
            format!("waits for {}{word}", snapshot.set.pod_name(*on))
        }
        Next::Settled(Idle::Done) => "–".to_owned(),
        Next::Settled(Idle::Partition) => {
            let baking = baking(snapshot).map_or(String::new(), |good| format!(", baking {good}"));
            format!("rests at partition {}{baking}", snapshot.set.partition())
        }
        Next::Settled(Idle::OnDelete) if stale(snapshot).is_empty() => "waits for pods to end".to_owned(),
        Next::Settled(Idle::OnDelete) => {
            format!("{} to delete by hand", words::count(stale(snapshot).len(), "pod"))
        }
        Next::Settled(Idle::Deleting) => "being deleted".to_owned(),
        Next::Settled(Idle::Unobserved) => "not looked at yet".to_owned(),
        Next::Settled(Idle::UnknownStrategy) => "unknown strategy".to_owned(),
    }
}

/// For how long the pods of a canary have been good, where that is a second or more.
pub fn baking(snapshot: &Snapshot<'_>) -> Option<String> {
    snapshot.baking().filter(|good| good.as_secs() > 0).map(words::age)
}

fn acts(snapshot: &Snapshot<'_>, actions: &[Action]) -> String {
    let names = |wanted: fn(&Action) -> Option<i32>| -> Vec<String> {
        actions.iter().filter_map(wanted).map(|ordinal| snapshot.set.pod_name(ordinal)).collect()
    };
    let created = names(|action| match action {
        Action::Create(ordinal) => Some(*ordinal),
        Action::Delete(..) => None,
    });
    let deleted = |purpose: Purpose| -> Vec<String> {
        let mut names = Vec::new();
        for action in actions {
            if let Action::Delete(ordinal, why) = action
                && *why == purpose
            {
                names.push(snapshot.set.pod_name(*ordinal));
            }
        }
        names
    };
    let mut parts = Vec::new();
    for (names, verb) in [
        (created, "creates"),
        (deleted(Purpose::Replace), "replaces the ended"),
        (deleted(Purpose::ScaleDown), "scales down by deleting"),
        (deleted(Purpose::Update), "updates by deleting"),
    ] {
        if !names.is_empty() {
            parts.push(format!("{verb} {}", words::list(&names, 3)));
        }
    }
    words::list(&parts, usize::MAX)
}

/// What keeps a replica, in a word: the kubelet's own where it has one.
fn state(snapshot: &Snapshot<'_>, replica: &Replica<'_>) -> Option<String> {
    let pod = replica.pod?;
    if lost(snapshot, snapshot.nodes().unwrap_or_default(), pod).is_some() {
        return Some(format!("node {} does not respond", pod.spec.node_name));
    }
    if pod.metadata.is_terminating() {
        return Some("Terminating".to_owned());
    }
    let trouble = snapshot.trouble(pod)?;
    if trouble.why.needs_intervention() {
        return Some(trouble.why.word().to_owned());
    }
    let is_unbound = |name: &String| {
        pod.spec.node_name.is_empty()
            && snapshot.claim(name).ok().flatten().is_some_and(|claim| !claim.is_bound())
    };
    Some(match pod.claim_names().find(is_unbound) {
        Some(name) => format!("PVC {name} is not bound"),
        None => match pod_state(pod) {
            state if state == "Running" => trouble.why.word().to_owned(),
            state => state,
        },
    })
}

fn stale(snapshot: &Snapshot<'_>) -> Vec<String> {
    let update = &snapshot.set.status.update_revision;
    let replicas = snapshot.replicas().unwrap_or_default().iter();
    replicas
        .filter(|replica| {
            replica.pod.is_some_and(|pod| pod.revision() != update && !pod.metadata.is_terminating())
        })
        .map(|replica| replica.name.clone())
        .collect()
}
