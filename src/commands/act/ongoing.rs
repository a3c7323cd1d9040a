//! What continues in the cluster after a command stops watching, and how to follow, pause or end it.

use serde_json::json;

use super::Typed;
use crate::controller::{Idle, Next, next};
use crate::kinds::{Pod, StatefulSet, Strategy};
use crate::paste::{Command, kubectl, sts};
use crate::plan::{LastWritten, aim, is_canary, is_rolled_back};
use crate::render::sentence;
use crate::rules::stuck;
use crate::snapshot::{Replica, Snapshot};

/// What continues in the cluster.
pub(in crate::commands) struct Ongoing {
    /// As a part of a sentence: `the rollout of postgres continues in the cluster`.
    pub(in crate::commands) text: String,
    /// Whether anything continues.
    pub(in crate::commands) is_moving: bool,
    /// What to type about it: label and command.
    pub(in crate::commands) typed: Typed,
}

/// What the controller continues for this StatefulSet, as far as is known now.
pub(in crate::commands) fn ongoing(now: &Snapshot<'_>) -> Ongoing {
    let name = &now.set.metadata.name;
    let Ok(next) = next(now) else {
        let text = format!("whether {name} still changes is unknown");
        return Ongoing { text, is_moving: true, typed: vec![follow(now)] };
    };
    if let Next::Settled(idle @ (Idle::Done | Idle::Partition | Idle::OnDelete | Idle::UnknownStrategy)) =
        &next
    {
        let ends = if *idle == Idle::Partition && is_canary(now) { ending(now) } else { None };
        let text = format!("nothing is in progress: {}", sentence(now, &next));
        return Ongoing { text, is_moving: false, typed: ends.into_iter().collect() };
    }
    let mut typed = vec![follow(now)];
    if matches!(next, Next::Settled(Idle::Deleting)) {
        let text = format!("the deletion of {name} continues in the cluster");
        return Ongoing { text, is_moving: true, typed };
    }
    let (what, is_rollout) = change(now);
    let stuck = stuck(now);
    let text = match &stuck {
        Some(stuck) => format!("{what} is blocked by {}", stuck.on),
        None => format!("{what} continues in the cluster"),
    };
    if is_rollout {
        typed.extend(pause(now).filter(|_| stuck.is_none()).map(|command| ("pause", command.to_string())));
        typed.extend(ending(now));
    }
    Ongoing { text, is_moving: true, typed }
}

fn follow(now: &Snapshot<'_>) -> (&'static str, String) {
    ("follow", about(sts("watch"), now.set).to_string())
}

fn about(command: Command, set: &StatefulSet) -> Command {
    command.name(&set.metadata.name).namespace(&set.metadata.namespace)
}

/// What changes, and whether it is a rollout.
fn change(now: &Snapshot<'_>) -> (String, bool) {
    let set = now.set;
    let name = &set.metadata.name;
    let replicas = now.replicas().unwrap_or_default();
    let is_outdated = |replica: &Replica<'_>| {
        replica.ordinal >= set.boundary()
            && replica.pod.is_some_and(|pod| pod.revision() != set.status.update_revision)
    };
    if !set.is_observed() || set.status.current_revision != set.status.update_revision {
        return (format!("the rollout of {name}"), true);
    }
    if replicas.iter().any(is_outdated) {
        return (format!("the rollout of {name}"), true);
    }
    let is_scaled = now.condemned().is_ok_and(|condemned| !condemned.is_empty())
        || replicas.iter().any(|replica| replica.pod.is_none());
    match is_scaled {
        true => (format!("the scaling of {name} to {} replicas", set.replicas()), false),
        false => (format!("the start of the pods of {name}"), false),
    }
}

/// The command that lets no further pod be updated: the partition goes up to the lowest pod that is updated, or on the way to
/// it. `None` where no pod would be held by it.
fn pause(now: &Snapshot<'_>) -> Option<Command> {
    let set = now.set;
    if set.strategy() != Strategy::RollingUpdate || !set.is_observed() {
        return None;
    }
    let waits = |pod: &Pod| pod.revision() != set.status.update_revision && !pod.metadata.is_terminating();
    let partition = set.partition();
    let index = |replica: &Replica<'_>| replica.ordinal.saturating_sub(set.start());
    let mut lowest = set.replicas();
    for replica in now.replicas().ok()?.iter().rev() {
        if index(replica) < partition {
            break;
        }
        if !replica.pod.is_some_and(waits) {
            lowest = index(replica);
        }
    }
    let is_held = |replica: &Replica<'_>| (partition..lowest).contains(&index(replica));
    now.replicas().ok()?.iter().any(|replica| is_held(replica) && replica.pod.is_some_and(waits)).then(|| {
        let patch = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": lowest}}}});
        about(kubectl("patch statefulset"), set).with("--type=merge").patch(&patch)
    })
}

/// The command that takes back what is rolled out; `None` where that is what is going on already.
fn ending(now: &Snapshot<'_>) -> Option<(&'static str, String)> {
    if is_canary(now) {
        return (!is_rolled_back(now)).then(|| ("abort", about(sts("abort"), now.set).to_string()));
    }
    let target = aim(now, None, &LastWritten::new()).ok()?;
    (target.name != now.set.status.update_revision).then(|| ("undo", about(sts("undo"), now.set).to_string()))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::recorded::{self, Absent};

    /// A set of five replicas from ordinal 2 on, whose pods are outdated (`o`), updated (`u`), updated and starting (`s`),
    /// being deleted (`d`) or absent (`-`), lowest ordinal first.
    fn files(spec: &Value, pods: &str) -> String {
        let mut set = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "generation": 2},
            "spec": {"replicas": 5, "ordinals": {"start": 2}, "serviceName": "web",
                "selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web:2"}]}}},
            "status": {"observedGeneration": 2, "replicas": 5, "currentRevision": "web-old", "updateRevision": "web-new"},
        });
        for (key, value) in spec.as_object().unwrap() {
            set["spec"][key] = value.clone();
        }
        let mut items = vec![set];
        for (ordinal, how) in (2..).zip(pods.chars()).filter(|(_, how)| *how != '-') {
            let revision = if "od".contains(how) { "web-old" } else { "web-new" };
            let ready = if "ou".contains(how) { "True" } else { "False" };
            let mut pod = json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("web-{ordinal}"), "namespace": "shop", "uid": format!("p{ordinal}"),
                    "labels": {"app": "web", "controller-revision-hash": revision},
                    "creationTimestamp": "2026-11-28T11:00:00Z", "ownerReferences": [{"apiVersion": "apps/v1",
                    "kind": "StatefulSet", "name": "web", "uid": "u", "controller": true}]},
                "spec": {"containers": [{"name": "web", "image": "web:2"}]},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready,
                    "lastTransitionTime": "2026-11-28T11:00:05Z"}]},
            });
            if how == 'd' {
                pod["metadata"]["deletionTimestamp"] = "2026-11-28T13:00:00Z".into();
            }
            items.push(pod);
        }
        json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
    }

    fn with<R>(spec: &Value, pods: &str, look: impl FnOnce(&Snapshot<'_>) -> R) -> R {
        let text = files(spec, pods);
        let now: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        let observed = recorded::read(&[("files".to_owned(), text)], Absent::Unseen, now).unwrap();
        let namespaces = observed.namespaces();
        let namespace = namespaces.get("shop").unwrap();
        look(&Snapshot::of(&observed, namespace, namespace.sets[0]))
    }

    #[test]
    fn a_pause_holds_every_pod_that_the_rollout_has_not_reached() {
        let rolling = |partition: Value| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": partition}});
        let plain = json!({"updateStrategy": {"type": "RollingUpdate"}});
        let parallel = json!({"podManagementPolicy": "Parallel", "updateStrategy": {"rollingUpdate": {"maxUnavailable": 2}}});
        let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
        for (spec, pods, held) in [
            (rolling(json!({"partition": 0})), "ooodu", Some(3)),
            (rolling(json!({"partition": 0})), "ooosu", Some(3)),
            (rolling(json!({"partition": 0})), "ooo-u", Some(3)),
            (rolling(json!({"partition": 1})), "oooou", Some(4)),
            (plain.clone(), "ooooo", Some(5)),
            (plain.clone(), "osuuu", Some(1)),
            (parallel, "oouou", Some(2)),
            // Nothing is left that a partition could hold.
            (plain, "suuuu", None),
            (rolling(json!({"partition": 3})), "ooosu", None),
            (on_delete, "ooodu", None),
        ] {
            with(&spec, pods, |now| {
                let wanted = held.map(|held: i32| {
                    let patch = format!(
                        r#"{{"spec":{{"updateStrategy":{{"rollingUpdate":{{"partition":{held}}}}}}}}}"#
                    );
                    kubectl("patch statefulset web -n shop --type=merge -p").value(patch).to_string()
                });
                assert_eq!(pause(now).map(|command| command.to_string()), wanted, "{spec} {pods}");
            });
        }
    }

    #[test]
    fn only_what_is_true_is_said() {
        let plain = json!({});
        let labels = |ongoing: &Ongoing| ongoing.typed.iter().map(|(label, _)| *label).collect::<Vec<_>>();
        with(&plain, "ooosu", |now| {
            let ongoing = ongoing(now);
            assert_eq!(ongoing.text, "the rollout of web continues in the cluster");
            assert!(
                ongoing.is_moving && labels(&ongoing).starts_with(&["follow", "pause"]),
                "{:?}",
                ongoing.typed
            );
        });
        let held = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 4}}});
        with(&held, "oooou", |now| {
            let ongoing = ongoing(now);
            assert!(
                ongoing.text.starts_with("nothing is in progress: ") && !ongoing.is_moving,
                "{}",
                ongoing.text
            );
            assert_eq!(labels(&ongoing), ["abort"]);
        });
        let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
        with(&on_delete, "oooou", |now| {
            let ongoing = ongoing(now);
            assert!(ongoing.text.starts_with("nothing is in progress: "), "{}", ongoing.text);
            assert_eq!(labels(&ongoing), [""; 0]);
        });
    }
}
