//! An abort while the rollout moves on: nothing restarts that was not named, and the rollout is paused first.

use serde_json::json;

use super::witness::Observer;
use super::{get, mark, partition, pods, ready, settled};
use crate::support::terminal::Terminal;
use crate::support::{self, PATIENCE};

/// What happened to a first user: the plan said that postgres-0 is not touched, and before the answer came the rollout had
/// reached it; then postgres-0, the leader, restarted twice.
#[test]
fn a_pod_reached_while_it_asks_is_named_before_it_restarts() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-moving");
    ready(&ns, "postgres", 3, "", "");
    let before = pods(&ns);
    let witness = Observer::of(&ns, 3);
    let slow = json!({"metadata": {"annotations": {"fake.test/ready-delay-1": "20s"}}}).to_string();
    ns.sts(&["canary", "postgres", "--partition", "2", "--patch", &slow, "--yes"]).code(0);
    // The rollout goes on by itself: postgres-1 takes its time, and postgres-0 follows.
    let all = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}});
    ns.patch("statefulset/postgres", &all);
    ns.wait("postgres-1 to be on its way", PATIENCE, || {
        let now = pods(&ns);
        let moved = now.iter().any(|pod| pod.0 == "postgres-1" && pod.2 != before[1].2);
        if moved { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let mut terminal = Terminal::start(&ns.sts_command(&["abort", "postgres"]), (50, 160), None);
    let shown = ns.wait("the question", PATIENCE, || {
        let text = terminal.text();
        if text.contains("[y/N]") { Ok(text) } else { Err(text) }
    });
    assert!(shown.contains("restarts   postgres-2, postgres-1\r\n"), "{shown}");
    assert!(shown.contains("pause the rollout"), "{shown}");
    ns.wait("postgres-0 to be reached", PATIENCE, || {
        let now = pods(&ns);
        let moved = now.iter().any(|pod| pod.0 == "postgres-0" && pod.1 != before[0].1);
        if moved { Ok(()) } else { Err(format!("{now:?}")) }
    });
    terminal.press("y");
    let again = ns.wait("the new plan", PATIENCE, || {
        let text = terminal.text();
        if text.matches("[y/N]").count() > 1
            && text.contains("restarts   postgres-2, postgres-1, postgres-0\r\n")
        {
            Ok(text)
        } else {
            Err(text)
        }
    });
    let said = again.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("postgres-0 would restart too"), "{again}");
    let once: Vec<_> = witness.deleted(&ns).into_iter().filter(|name| name == "postgres-0").collect();
    assert_eq!(once.len(), 1, "only the rollout itself has replaced it so far");
    terminal.press("n");
    let ended = terminal.ended();
    assert_eq!(ended.code, 4, "{}", ended.text);
    // Without somebody to ask, it is done as it is shown.
    ns.sts(&["abort", "postgres", "--yes"]).code(0);
    let end = settled(&ns, "postgres", 3);
    assert_eq!((partition(&end), mark(&end)), (0, None));
    assert!(pods(&ns).iter().zip(&before).all(|(new, old)| new.2 == old.2));
}

/// With `--yes`, pods that a moving rollout has not reached stay as they are.
#[test]
fn pods_that_a_moving_rollout_has_not_reached_never_restart() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-paused");
    let before = ready(&ns, "web", 4, "", "");
    let first = pods(&ns);
    let witness = Observer::of(&ns, 4);
    let slow = json!({"metadata": {"annotations": {"fake.test/ready-delay-2": "10m"}}}).to_string();
    ns.sts(&["canary", "web", "--partition", "3", "--patch", &slow, "--yes"]).code(0);
    ns.patch("statefulset/web", &json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}));
    ns.wait("web-2 to be on its way", PATIENCE, || {
        let now = pods(&ns);
        let moved = now.iter().any(|pod| pod.0 == "web-2" && pod.2 != first[2].2);
        if moved { Ok(()) } else { Err(format!("{now:?}")) }
    });
    let run = ns.sts(&["abort", "web", "--yes", "--stuck-after", "5s"]);
    // web-2 may still be in time, and then the controller waits for it before it replaces it.
    assert!([0, 1].contains(&run.code), "{run}");
    assert!(run.stdout.contains("pause the rollout at the pods it has reached: partition 0 → 2"), "{run}");
    assert_eq!(get(&ns, "web")["status"]["updateRevision"], before["status"]["updateRevision"], "{run}");
    witness.never_touched(&ns, &["web-0", "web-1"]);
}
