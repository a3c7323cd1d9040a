//! Beginning and going on.

use std::time::Duration;

use kubectl_sts::controller::MaxUnavailable;
use serde_json::{Value, json};

use super::witness::Observer;
use super::{get, mark, partition, pods, ready, settled};
use crate::support;

#[test]
fn a_canary_goes_step_by_step_to_the_end() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-steps");
    let before = ready(&ns, "postgres", 5, "", "");
    let first = pods(&ns);
    let witness = Observer::of(&ns, 5);
    let stable = before["status"]["currentRevision"].as_str().unwrap();

    let plan = ns
        .sts(&[
            "canary",
            "postgres",
            "--partition",
            "3",
            "--image",
            "postgres=postgres:16-alpine",
            "--dry-run=client",
        ])
        .ok();
    let plan = plan.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in [
        "2 of 5 pods (postgres-4, then postgres-3) are updated to the new template",
        "image of container postgres: postgres:15-alpine → postgres:16-alpine",
        "template and partition 0 → 3 in one patch",
        "postgres-0 to postgres-2 keep",
        "no container has a readiness probe",
    ] {
        assert!(plan.contains(line), "{line}\n{plan}");
    }
    // The controller still writes the status: the generation and the annotations are ours.
    let planned = get(&ns, "postgres");
    assert_eq!(planned["metadata"]["generation"], before["metadata"]["generation"]);
    assert_eq!(mark(&planned), None);
    let checked = ns
        .sts(&[
            "canary",
            "postgres",
            "--partition",
            "3",
            "--image",
            "postgres=postgres:16-alpine",
            "--dry-run=server",
        ])
        .ok();
    assert!(checked.contains("accepted by the server"), "{checked}");

    let run = ns
        .sts(&["canary", "postgres", "--partition", "3", "--image", "postgres=postgres:16-alpine", "--yes"])
        .code(0);
    assert!(run.stdout.contains("the rollout is paused at partition 3 (postgres-3)"), "{run}");
    assert!(run.stdout.contains(&format!("next     kubectl sts promote postgres -n {}", ns.name)), "{run}");
    assert_eq!(witness.deleted(&ns), ["postgres-4", "postgres-3"]);
    witness.never_touched(&ns, &["postgres-0", "postgres-1", "postgres-2"]);
    let set = get(&ns, "postgres");
    assert_eq!(partition(&set), 3);
    let found = mark(&set).unwrap();
    assert_eq!((found["stable"].as_str(), found["partition"].as_i64()), (Some(stable), Some(0)));
    assert!(found["by"].as_str().is_some_and(|by| by.contains('@')), "{found}");

    // How long the new pods have been ready is said from the first whole second on.
    let status = ns.wait("how long the new pods have been ready", Duration::from_secs(30), || {
        let status = ns.sts(&["status", "postgres"]).ok();
        if status.contains("observed for") { Ok(status) } else { Err(status) }
    });
    assert!(status.contains("2 of 5 pods updated, canary started"), "{status}");
    // The same again: nothing is left to do, and nothing is written.
    let again = ns
        .sts(&["canary", "postgres", "--partition", "3", "--image", "postgres=postgres:16-alpine", "--yes"])
        .ok();
    assert!(again.contains("nothing to do"), "{again}");
    assert_eq!(get(&ns, "postgres")["metadata"]["generation"], set["metadata"]["generation"]);

    ns.sts(&["promote", "postgres", "--partition", "1", "--yes"]).code(0);
    assert_eq!(witness.deleted(&ns)[2..], ["postgres-2", "postgres-1"]);
    witness.never_touched(&ns, &["postgres-0"]);
    ns.sts(&["promote", "postgres", "--full", "--yes"]).code(0);
    assert_eq!(witness.deleted(&ns)[4..], ["postgres-0"]);
    let end = settled(&ns, "postgres", 5);
    assert_eq!((partition(&end), mark(&end)), (0, None));
    let last = pods(&ns);
    let update = end["status"]["updateRevision"].as_str().unwrap();
    assert!(last.iter().all(|(_, _, revision)| revision == update), "{last:?}");
    assert!(last.iter().zip(&first).all(|(new, old)| new.1 != old.1));
    let again = ns.sts(&["promote", "postgres", "--full", "--yes"]).ok();
    assert!(again.contains("nothing to do: every pod is on"), "{again}");
}

#[test]
fn without_a_template_the_next_command_is_shown_and_works() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-prepared");
    ready(&ns, "web", 3, "ordinals: {start: 5},", "");
    let witness = Observer::of(&ns, 3);
    let run = ns.sts(&["canary", "web", "--pods", "20%", "--yes"]).code(0);
    let next = format!("kubectl sts canary web -n {} --partition 2 --image web=IMAGE", ns.name);
    assert!(run.stdout.contains("no pod is updated yet") && run.stdout.contains(&next), "{run}");
    assert_eq!(partition(&get(&ns, "web")), 2);
    ns.shell(&format!("{} --yes", next.replace("IMAGE", "web:2"))).code(0);
    assert_eq!(witness.deleted(&ns), ["web-7"]);
    let found = mark(&get(&ns, "web")).unwrap();
    assert_eq!(found["partition"], 0, "the partition before the canary, not before its template: {found}");
    // One pod more, then up again, which brings nothing back, then all the way back.
    ns.sts(&["promote", "web", "--yes"]).code(0);
    assert_eq!(witness.deleted(&ns), ["web-7", "web-6"]);
    let up = ns.sts(&["canary", "web", "--partition", "2", "--yes"]).code(0);
    assert!(up.stdout.contains("raising the partition rolls no pod back: web-6 stays"), "{up}");
    let refused = ns.sts(&["promote", "web", "--partition", "2", "--yes"]).code(0);
    assert!(refused.stdout.contains("nothing to do"), "{refused}");
    let refused = ns.sts(&["promote", "web", "--partition", "3", "--yes"]).code(4);
    assert!(refused.stderr.contains("(nothing-updated)"), "{refused}");
    ns.sts(&["abort", "web", "--yes"]).code(0);
    let end = settled(&ns, "web", 3);
    assert_eq!((partition(&end), mark(&end)), (0, None));
    witness.never_touched(&ns, &["web-5"]);
}

#[test]
fn a_ladder_bakes_and_checks_between_its_steps() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-ladder");
    ready(&ns, "web", 3, "", "");
    let witness = Observer::of(&ns, 3);
    let file = cluster.plane.dir.join(format!("{}-checks", ns.name));
    let check = format!("echo $STS_NAMESPACE/$STS_SET $STS_PODS >> {}", file.display());
    let run = ns
        .sts(&[
            "canary",
            "web",
            "--steps",
            "2,1,0",
            "--image",
            "web=web:2",
            "--bake",
            "2s",
            "--check",
            &check,
            "--yes",
        ])
        .code(0);
    let ns_name = &ns.name;
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        format!("{ns_name}/web web-2\n{ns_name}/web web-2 web-1\n{ns_name}/web web-2 web-1 web-0\n"),
        "{run}"
    );
    assert_eq!(witness.deleted(&ns), ["web-2", "web-1", "web-0"]);
    let end = settled(&ns, "web", 3);
    assert_eq!((partition(&end), mark(&end)), (0, None));

    // A check that says no stops with what it said, and nothing further moves.
    let check = "seq 20; echo no such table >&2; exit 7";
    let run = ns
        .sts(&["canary", "web", "--steps", "2,0", "--image", "web=web:3", "--check", check, "--yes"])
        .code(1);
    assert!(
        run.stdout.contains("the check failed with exit code 7") && run.stdout.contains("no such table"),
        "{run}"
    );
    assert!(run.stdout.contains(&format!("to undo  kubectl sts abort web -n {ns_name}")), "{run}");
    let set = get(&ns, "web");
    assert_eq!(partition(&set), 2);
    assert_eq!(mark(&set).unwrap()["steps"], json!([2, 0]));
    // Going on by promote takes the next of the steps.
    ns.sts(&["promote", "web", "--check", "true", "--yes"]).code(0);
    assert_eq!(witness.deleted(&ns)[3..], ["web-2", "web-1", "web-0"]);
    assert_eq!(mark(&settled(&ns, "web", 3)), None);
}

#[test]
fn a_pod_that_goes_bad_while_it_bakes_stops_the_canary() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-bake");
    let spec = "updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 2}},";
    ready(&ns, "web", 3, spec, "");
    let witness = Observer::of(&ns, 3);
    let patch =
        json!({"metadata": {"annotations": {"fake.test/then": "crashloop", "fake.test/then-after": "6s"}}});
    let run = ns
        .sts(&["canary", "web", "--pods", "1", "--patch", &patch.to_string(), "--bake", "10m", "--yes"])
        .code(1);
    assert!(run.stdout.contains("observing web-2 for 10m"), "{run}");
    assert!(run.stdout.contains("stopped: web-2 ") && run.stdout.contains("while it was observed"), "{run}");
    ns.sts(&["abort", "web", "--yes"]).code(0);
    let end = settled(&ns, "web", 3);
    assert_eq!((partition(&end), mark(&end)), (0, None));
    // With the gate off, the API server does not store the field (registry/apps/statefulset/strategy.go).
    let stored = match MaxUnavailable::of(Some(&cluster.version())) {
        MaxUnavailable::Ignored => Value::Null,
        MaxUnavailable::Trapping | MaxUnavailable::Counted => json!(2),
    };
    assert_eq!(end["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], stored, "{end}");
    witness.never_touched(&ns, &["web-0", "web-1"]);
}
