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
                Blocker::Terminating => format!("waiting for {name} to terminate"),
                Blocker::NotReady => format!("waiting for {name} to become ready{word}"),
                Blocker::NotYetAvailable => {
                    format!(
                        "waiting for {name} to stay ready for {}s (minReadySeconds)",
                        set.spec.min_ready_seconds
                    )
                }
                Blocker::NameTaken => {
                    format!("waiting for the name {name}, which a pod of another owner has")
                }
                Blocker::ClaimEnding => format!("waiting until an earlier PVC of {name} is gone"),
                Blocker::VolumeMissing => {
                    format!(
                        "cannot continue: {name} lacks a volume and gets it only when it is deleted and recreated"
                    )
                }
            }
        }
        Next::Settled(Idle::Done) if set.replicas() == 0 => "scaled to 0".to_owned(),
        Next::Settled(Idle::Done) => "–".to_owned(),
        Next::Settled(Idle::Partition) => {
            let (partition, replicas) = (set.partition(), set.replicas());
            if partition >= replicas {
                format!("no pod is updated: partition {partition} is not below {replicas} replicas")
            } else {
                let first = set.pod_name(set.boundary());
                format!("paused at partition {partition} ({first}){}", observed(snapshot))
            }
        }
        Next::Settled(Idle::OnDelete) if stale(snapshot).is_empty() => {
            "waiting for deleted pods to terminate".to_owned()
        }
        Next::Settled(Idle::OnDelete) => {
            format!("OnDelete: waiting until you delete {}", words::list(&stale(snapshot), 4))
        }
        Next::Settled(Idle::Deleting) => "the StatefulSet is being deleted".to_owned(),
        Next::Settled(Idle::Unobserved) => "waiting for the controller to read the newest spec".to_owned(),
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
            format!("waiting for {}{word}", snapshot.set.pod_name(*on))
        }
        Next::Settled(Idle::Done) => "–".to_owned(),
        Next::Settled(Idle::Partition) => {
            format!("paused at partition {}{}", snapshot.set.partition(), observed(snapshot))
        }
        Next::Settled(Idle::OnDelete) if stale(snapshot).is_empty() => {
            "waiting for deleted pods to terminate".to_owned()
        }
        Next::Settled(Idle::OnDelete) => {
            format!("OnDelete: {} to delete", words::count(stale(snapshot).len(), "pod"))
        }
        Next::Settled(Idle::Deleting) => "being deleted".to_owned(),
        Next::Settled(Idle::Unobserved) => "waiting for the controller".to_owned(),
        Next::Settled(Idle::UnknownStrategy) => "unknown strategy".to_owned(),
    }
}

/// `, observed for 20s` of a canary.
fn observed(snapshot: &Snapshot<'_>) -> String {
    baking(snapshot).map_or(String::new(), |healthy| format!(", observed for {healthy}"))
}

/// For how long the pods of a canary have been healthy, where that is a second or more.
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
        (deleted(Purpose::Replace), "recreates the finished"),
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
