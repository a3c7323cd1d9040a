//! Going back.

use serde_json::json;

use super::witness::Observer;
use super::{MARK, get, mark, partition, pods, ready, settled};
use crate::support;

#[test]
fn a_pod_that_never_becomes_ready_is_named_and_taken_back() {
    let Some(cluster) = support::cluster() else { return };
    std::thread::scope(|scope| {
        for (mode, cause) in [("unready", "not become ready"), ("imagepull", "ImagePull")] {
            scope.spawn(move || {
                let ns = cluster.namespace(&format!("canary-{mode}"));
                ready(&ns, "postgres", 5, "", "");
                let before = pods(&ns);
                let witness = Observer::of(&ns, 5);
                let patch = json!({"metadata": {"annotations": {"fake.test/mode": mode}}}).to_string();
                let args = ["canary", "postgres", "--partition", "3", "--patch", &patch, "--yes"];
                let run = ns.sts(&[&args[..], &["--stuck-after", "2s"]].concat()).code(1);
                assert!(run.stdout.contains("stuck on postgres-4") && run.stdout.contains(cause), "{run}");
                let back = format!("kubectl sts abort postgres -n {}", ns.name);
                assert!(run.stdout.contains(&format!("to undo  {back}")), "{run}");
                let plan = ns.sts(&["abort", "postgres", "--dry-run=client"]).ok();
                assert!(
                    plan.contains("delete pod postgres-4 (") && plan.contains(" on old revision "),
                    "{plan}"
                );
                ns.shell(&format!("{back} --yes")).code(0);
                let end = settled(&ns, "postgres", 5);
                assert_eq!((partition(&end), mark(&end)), (0, None));
                let after = pods(&ns);
                assert!(after.iter().zip(&before).all(|(new, old)| new.2 == old.2), "{after:?}");
                assert_eq!(after[..4], before[..4]);
                witness.never_touched(&ns, &["postgres-0", "postgres-1", "postgres-2", "postgres-3"]);
                let again = ns.sts(&["abort", "postgres", "--yes"]).ok();
                assert!(again.contains("nothing to do: no canary is in progress"), "{again}");
            });
        }
    });
}

#[test]
fn the_earlier_partition_comes_back() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-earlier");
    let spec = "updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 2}},";
    ready(&ns, "web", 3, spec, "");
    let witness = Observer::of(&ns, 3);
    ns.sts(&["canary", "web", "--partition", "1", "--image", "web=web:2", "--yes"]).code(0);
    assert_eq!(witness.deleted(&ns), ["web-2", "web-1"]);
    // Raised by hand: web-1 is below the partition now, and must go back all the same.
    ns.patch("statefulset/web", &json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 2}}}}));
    let run = ns.sts(&["abort", "web", "--yes"]).code(0);
    assert!(
        run.stdout.contains("partition 2 → 1") && run.stdout.contains("partition 1 → 2 as before"),
        "{run}"
    );
    let end = settled(&ns, "web", 3);
    assert_eq!((partition(&end), mark(&end)), (2, None));
    witness.never_touched(&ns, &["web-0"]);
}

#[test]
fn a_canary_made_by_hand_goes_back_too() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-hand");
    let spec = "updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}},";
    let before = ready(&ns, "web", 3, spec, "");
    let first = pods(&ns);
    let witness = Observer::of(&ns, 3);
    ns.kubectl(&["set", "image", "sts/web", "web=web:does-not-exist"]).ok();
    ns.wait_pod_status("web-2", "ImagePullBackOff");
    let run = ns.sts(&["abort", "web", "--yes"]).code(0);
    assert!(run.stdout.contains("was not started by kubectl sts"), "{run}");
    let end = settled(&ns, "web", 3);
    assert_eq!((partition(&end), mark(&end)), (1, None));
    assert_eq!(end["status"]["updateRevision"], before["status"]["updateRevision"]);
    assert_eq!(pods(&ns)[..2], first[..2]);
    witness.never_touched(&ns, &["web-0", "web-1"]);
}

#[test]
fn even_a_promoted_canary_goes_back_while_its_mark_is_there() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-promoted");
    // Without the stanza, whose absence the controller reads in its own way.
    let before = ready(&ns, "web", 3, "updateStrategy: {type: RollingUpdate},", "");
    ns.sts(&["canary", "web", "--pods", "1", "--image", "web=web:2", "--yes"]).code(0);
    let text = get(&ns, "web")["metadata"]["annotations"][MARK].as_str().unwrap().to_owned();
    ns.sts(&["promote", "web", "--full", "--yes"]).code(0);
    settled(&ns, "web", 3);
    ns.patch("statefulset/web", &json!({"metadata": {"annotations": {MARK: text}}}));
    ns.sts(&["abort", "web", "--yes"]).code(0);
    let end = settled(&ns, "web", 3);
    assert_eq!((partition(&end), mark(&end)), (0, None));
    let stable = before["status"]["updateRevision"].as_str().unwrap();
    assert!(pods(&ns).iter().all(|(_, _, revision)| revision == stable));
}
