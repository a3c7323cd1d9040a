//! Which revision `undo` goes back to: random histories, of which `tests/reconcile/aims.txt` keeps the answer, and the cases
//! that people know. `BLESS=1` writes what is answered now; read the difference.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use kubectl_sts::cluster::recorded::{self, Absent};
use kubectl_sts::plan::{LastWritten, Stop, aim};
use kubectl_sts::snapshot::Snapshot;
use serde_json::{Value, json};

use super::kept;
use crate::controller::change::Random;

/// A revision: its letter, its number, seconds after the first was made, and after that when it was written last.
#[derive(Clone, Debug)]
struct Revision(char, i64, i64, Option<i64>);

/// A history, and the pods on it.
#[derive(Clone, Debug)]
struct History {
    revisions: Vec<Revision>,
    current: char,
    update: char,
    on_delete: bool,
    partition: i32,
    limit: Option<i32>,
    /// The revision of each pod, and whether it is stuck.
    pods: Vec<(char, bool)>,
}

fn name(letter: char) -> String {
    format!("web-{letter}")
}

fn first() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

impl History {
    fn random(random: &mut Random) -> History {
        let mut number = 0;
        let mut revisions = Vec::new();
        let letters: Vec<char> = "abcd".chars().take(usize::try_from(1 + random.below(4)).unwrap()).collect();
        // Of a template that was put back, the number is higher than of those that came after it.
        let back = random.chance(40).then(|| usize::try_from(random.below(3)).unwrap());
        for (index, letter) in letters.iter().enumerate() {
            number += if random.chance(20) { 2 } else { 1 };
            let made = i64::from(random.below(2)) * 3600 * i64::try_from(index).unwrap();
            let made = if random.chance(30) { i64::try_from(index).unwrap() } else { made };
            let again = [None, None, Some(0), Some(1), Some(2), Some(7200)];
            revisions.push(Revision(*letter, number, made, random.one_of(&again)));
        }
        if let Some(at) = back.filter(|at| at + 1 < revisions.len()) {
            revisions[at].1 = number + 1;
            if random.chance(70) {
                revisions[at].3 = Some(7200);
            }
        }
        let newest = revisions.iter().max_by_key(|revision| revision.1).unwrap().0;
        let update = if random.chance(85) { newest } else { random.one_of(&letters) };
        let current = if random.chance(50) { update } else { random.one_of(&letters) };
        let pods = (0..3).map(|_| {
            let revision = [update, update, current, random.one_of(&letters)];
            (random.one_of(&revision), random.chance(20))
        });
        History {
            pods: pods.collect(),
            revisions,
            current,
            update,
            on_delete: random.chance(25),
            partition: random.one_of(&[0, 0, 0, 1, 2]),
            limit: random.one_of(&[None, None, None, Some(2), Some(3)]),
        }
    }

    fn objects(&self) -> String {
        let labels = json!({"app": "web"});
        let owner = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "set", "controller": true}]);
        let strategy = match self.on_delete {
            true => json!({"type": "OnDelete"}),
            false => json!({"type": "RollingUpdate", "rollingUpdate": {"partition": self.partition}}),
        };
        let mut objects = vec![json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "metadata": {"name": "web", "namespace": "shop", "uid": "set", "generation": 1},
            "spec": {
                "replicas": self.pods.len(), "serviceName": "web", "selector": {"matchLabels": labels}, "updateStrategy": strategy,
                "template": {"metadata": {"labels": labels}, "spec": {}}, "revisionHistoryLimit": self.limit,
            },
            "status": {
                "observedGeneration": 1, "replicas": self.pods.len(),
                "currentRevision": name(self.current), "updateRevision": name(self.update),
            },
        })];
        for Revision(letter, number, made, _) in &self.revisions {
            objects.push(json!({
                "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": number, "data": {"spec": {"template": {}}},
                "metadata": {
                    "name": name(*letter), "namespace": "shop", "uid": name(*letter), "labels": labels, "ownerReferences": owner,
                    "creationTimestamp": (first() + SignedDuration::from_secs(*made)).to_string(),
                },
            }));
        }
        for (ordinal, (letter, stuck)) in self.pods.iter().enumerate() {
            let state = match stuck {
                true => json!({"waiting": {"reason": "CrashLoopBackOff"}}),
                false => json!({"running": {"startedAt": "2026-01-01T15:00:00Z"}}),
            };
            objects.push(json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": format!("web-{ordinal}"), "namespace": "shop", "uid": format!("pod-{ordinal}"), "ownerReferences": owner,
                    "labels": {"app": "web", "controller-revision-hash": name(*letter)},
                    "creationTimestamp": "2026-01-01T15:00:00Z",
                },
                "spec": {"nodeName": "node-a", "containers": [{"name": "web", "image": "web:1"}]},
                "status": {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": if *stuck { "False" } else { "True" }, "lastTransitionTime": "2026-01-01T15:00:00Z"}],
                    "containerStatuses": [{"name": "web", "ready": !stuck, "restartCount": if *stuck { 9 } else { 0 }, "state": state}],
                },
            }));
        }
        objects.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
    }

    fn written(&self) -> LastWritten {
        let of = |Revision(letter, _, made, again): &Revision| {
            Some((name(*letter), first() + SignedDuration::from_secs(made + (*again)?)))
        };
        self.revisions.iter().filter_map(of).collect()
    }

    /// The answer in one line.
    fn aim(&self, asked: Option<&str>) -> String {
        let now: Timestamp = "2026-01-01T18:00:00Z".parse().unwrap();
        let observed = recorded::read(&[("history".to_owned(), self.objects())], Absent::Empty, now).unwrap();
        let namespaces = observed.namespaces();
        let snapshot = Snapshot::of(&observed, &namespaces["shop"], &observed.sets[0]);
        match aim(&snapshot, asked, &self.written()) {
            Ok(target) => format!("{} {}", target.name, target.why.unwrap_or_default()),
            Err(Stop::Refused(refusal)) => {
                format!(
                    "refused {}: {} | {}",
                    refusal.reason,
                    refusal.because,
                    refusal.hint.replace('\n', " | ")
                )
            }
            Err(Stop::Unseen(unseen)) => format!("unseen: {unseen}"),
        }
    }
}

#[test]
fn every_aim_is_as_it_is_kept() {
    let mut text = String::new();
    for seed in 1..=220 {
        let mut random = Random(seed);
        let history = History::random(&mut random);
        let _ = writeln!(text, "## {history:?}");
        let _ = writeln!(text, "{}", history.aim(None));
        for asked in
            [random.one_of(&["1", "2", "3", "4"]), random.one_of(&["web-a", "b", "web-c", "x", "0", "-1"])]
        {
            let _ = writeln!(text, "{asked}: {}", history.aim(Some(asked)));
        }
    }
    kept::compare("reconcile/aims.txt", &text);
}

#[test]
fn a_second_undo_does_not_bring_the_bad_template_back() {
    let rolling = History {
        revisions: vec![Revision('a', 1, 0, None), Revision('b', 2, 3600, None)],
        current: 'a',
        update: 'b',
        on_delete: false,
        partition: 0,
        limit: None,
        pods: vec![('a', false), ('a', false), ('b', true)],
    };
    assert_eq!(rolling.aim(None), "web-a ");
    // Its template is put back: the same revision with a new number.
    let back = History {
        revisions: vec![Revision('a', 3, 0, Some(7200)), Revision('b', 2, 3600, None)],
        current: 'a',
        update: 'a',
        pods: vec![('a', false); 3],
        ..rolling.clone()
    };
    let stays = "web-a this earlier template is already restored; to go to the revision that it replaced, use --to-revision 2";
    assert_eq!(back.aim(None), stays);
    assert_eq!(back.aim(Some("1")), "web-a revision 1 is now revision 3: its template is already restored");
    assert_eq!(back.aim(Some("2")), "web-b ");
    // A rollout that has come to its end is undone, too.
    let done = History { current: 'b', pods: vec![('b', false); 3], ..rolling.clone() };
    assert_eq!(done.aim(None), "web-a no rollout is in progress: this undoes the last one");
    // Nobody goes to what is stuck.
    let broken = History { pods: vec![('a', true), ('a', false), ('b', false)], ..rolling };
    assert!(
        broken.aim(None).starts_with("refused target-broken: web-0 is stuck on a,"),
        "{}",
        broken.aim(None)
    );
    assert!(broken.aim(Some("a")).starts_with("refused target-broken"), "{}", broken.aim(Some("a")));
}

#[test]
fn pods_that_are_stuck_tell_no_revision_to_go_back_to() {
    let waits = History {
        revisions: vec![
            Revision('a', 1, 0, None),
            Revision('b', 2, 3600, None),
            Revision('c', 3, 7200, None),
        ],
        current: 'c',
        update: 'c',
        on_delete: true,
        partition: 0,
        limit: None,
        pods: vec![('b', true), ('b', true), ('c', false)],
    };
    assert!(waits.aim(None).starts_with("refused target-broken: web-0 is stuck on b"), "{}", waits.aim(None));
    let used = History { pods: vec![('a', false), ('b', true), ('c', false)], ..waits };
    assert_eq!(used.aim(None), "web-a ");
}

/// Dates have whole seconds, and those of one write differ by up to one.
#[test]
fn of_two_revisions_of_one_second_one_was_put_back_only_if_it_was_written_again() {
    let history = |again: i64| History {
        revisions: vec![Revision('a', 3, 0, Some(again)), Revision('b', 2, 0, None)],
        current: 'a',
        update: 'a',
        on_delete: false,
        partition: 0,
        limit: None,
        pods: vec![('a', false); 3],
    };
    let stays = "web-a this earlier template is already restored";
    assert!(history(2).aim(None).starts_with(stays), "{}", history(2).aim(None));
    let unknown = "web-a it was created in the same second as b";
    assert!(history(1).aim(None).starts_with(unknown), "{}", history(1).aim(None));
}
