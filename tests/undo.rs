//! `undo` on the real control plane: the template of before, in the same bytes as kubectl's, and every pod on it.

use serde_json::{Value, json};

use crate::recover::{set, uids};
use crate::support::{self, Namespace};

/// A good template, then a bad one on which `stuck` is stuck.
fn stuck(ns: &Namespace, replicas: u64, stuck: &str, spec: &str) {
    ns.apply(&set("web", i32::try_from(replicas).unwrap(), spec));
    ns.wait_ready("web", replicas);
    ns.kubectl(&["set", "image", "sts/web", "web=web:does-not-exist"]).ok();
    ns.wait_pod_status(stuck, "ImagePullBackOff");
}

fn steps(plan: &Value) -> Vec<String> {
    let steps = plan["steps"].as_array().unwrap().iter().filter(|step| step["do"] != "await");
    steps.map(|step| format!("{} {}", step["do"].as_str().unwrap(), step["name"].as_str().unwrap())).collect()
}

/// A plan that writes nothing, then just that; then the same command again, which changes nothing.
fn undoes(ns: &Namespace, replicas: u64, pod: &str, planned: &[&str]) {
    let before = uids(ns);
    let generation = || ns.kubectl_json(&["get", "sts", "web"])["metadata"]["generation"].as_i64().unwrap();
    let first = generation();
    let good = ns.kubectl_json(&["get", "sts", "web"])["status"]["currentRevision"].clone();
    let text = ns.sts(&["undo", "web", "--dry-run=client"]).ok();
    assert!(text.contains("image of container web: web:does-not-exist → web:1"), "{text}");
    let plan: Value =
        serde_json::from_str(&ns.sts(&["undo", "web", "--dry-run=client", "-o", "json"]).ok()).unwrap();
    assert_eq!(steps(&plan), planned, "{plan}");
    ns.sts(&["undo", "web", "--dry-run=server"]).code(0);
    let refused = ns.sts(&["undo", "web"]).code(4);
    assert!(refused.stderr.contains("confirmation required, but stdin is not a terminal"), "{refused}");
    assert_eq!((uids(ns), generation()), (before.clone(), first), "a dry run writes nothing");

    let run = ns.sts(&["undo", "web", "--yes", "-o", "json"]).code(0);
    let result: Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
    let journal: Vec<String> = result["journal"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["result"].as_str().unwrap().starts_with("done"))
        .map(|entry| {
            format!("{} {}", entry["step"]["do"].as_str().unwrap(), entry["step"]["name"].as_str().unwrap())
        })
        .collect();
    assert_eq!(journal, planned, "what was shown is what was done\n{run}");
    let deletion = result["journal"].as_array().unwrap().last().unwrap();
    let came = format!("done; recreated on {} and available", good.as_str().unwrap());
    assert_eq!(deletion["result"], came, "what came back is checked\n{run}");

    let after = uids(ns);
    for (name, uid) in &before {
        assert_eq!(after[name] == *uid, name != pod, "{name}: only {pod} is replaced\n{run}");
    }
    let set = ns.kubectl_json(&["get", "sts", "web"]);
    assert_eq!(set["status"]["updateRevision"], good, "the same template, byte by byte: no new revision");
    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["image"], "web:1");
    assert_eq!(set["status"]["readyReplicas"], replicas);
    // Again, plain and by the number that the revision had: nothing is changed.
    let done = generation();
    for args in [&["undo", "web", "--yes"][..], &["undo", "web", "--yes", "--to-revision", "1"]] {
        let again = ns.sts(args).code(0);
        assert!(again.stdout.starts_with("nothing to do: every pod"), "{again}");
    }
    assert_eq!((uids(ns), generation()), (after, done));
}

#[test]
fn in_one_command_from_the_stuck_state() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("undo");
    stuck(&ns, 3, "web-2", "");
    undoes(&ns, 3, "web-2", &["patch web", "delete web-2"]);
}

#[test]
fn with_a_partition() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("undo-partition");
    stuck(&ns, 3, "web-2", "updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 1}},");
    undoes(&ns, 3, "web-2", &["patch web", "delete web-2"]);
}

#[test]
fn with_ordinals_that_start_at_five() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("undo-start");
    stuck(&ns, 3, "web-7", "ordinals: {start: 5},");
    undoes(&ns, 3, "web-7", &["patch web", "delete web-7"]);
}

#[test]
fn without_the_stanza() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("undo-nil");
    stuck(&ns, 3, "web-2", "updateStrategy: {type: RollingUpdate},");
    undoes(&ns, 3, "web-2", &["patch web", "patch web", "delete web-2"]);
}

#[test]
fn a_parallel_set_needs_no_deletion() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("undo-parallel");
    stuck(&ns, 3, "web-2", "podManagementPolicy: Parallel,");
    ns.sts(&["undo", "web", "--yes"]).code(0);
    let set = ns.wait_rolled_out("web", 3);
    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["image"], "web:1");
}

#[test]
fn a_first_revision_that_is_bad_is_no_target() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("undo-first");
    ns.apply(&set("web", 2, "").replace("web:1", "web:does-not-exist"));
    ns.wait_pod_status("web-0", "ImagePullBackOff");
    let run = ns.sts(&["undo", "web", "--yes"]).code(4);
    assert!(run.stderr.contains("(no-earlier-revision)"), "{run}");
    ns.kubectl(&["set", "image", "sts/web", "web=web:1"]).ok();
    let run = ns.wait("the second revision", support::PATIENCE, || {
        let run = ns.sts(&["undo", "web", "--yes"]).code(4);
        if run.stderr.contains("(target-broken)") { Ok(run) } else { Err(run.to_string()) }
    });
    assert!(run.stderr.contains(&format!("kubectl sts recover web -n {}", ns.name)), "{run}");
    assert_eq!(
        ns.kubectl_json(&["get", "sts", "web"])["spec"]["template"]["spec"]["containers"][0]["image"],
        "web:1"
    );
}

#[test]
fn a_finished_rollout_is_undone_and_stays_so() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("undo-finished");
    ns.apply(&set("web", 2, ""));
    ns.wait_ready("web", 2);
    let first = ns.kubectl_json(&["get", "sts", "web"])["status"]["updateRevision"].clone();
    let env = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "web", "image": "web:2", "env": [{"name": "PASSWORD", "value": "s3cret"}]}]}}}});
    // Dates have whole seconds; which revision came first must be plain.
    std::thread::sleep(std::time::Duration::from_secs(1));
    ns.patch("sts/web", &env);
    ns.wait_rolled_out("web", 2);
    let before = uids(&ns);
    let run = ns.sts(&["undo", "web", "--yes", "--to-revision", "7"]).code(4);
    assert!(run.stderr.contains("(no-such-revision)"), "{run}");
    assert_eq!(uids(&ns), before);

    for output in ["text", "json", "yaml"] {
        let plan = ns.sts(&["undo", "web", "--to-revision", "1", "--dry-run=client", "-o", output]).ok();
        assert!(plan.contains("web:2 → web:1") && plan.contains("containers[web].env"), "{plan}");
        assert!(!plan.contains("s3cret"), "{plan}");
    }
    let plan = ns.sts(&["undo", "web", "--dry-run=client"]).ok();
    assert!(plan.contains("no rollout is in progress: this undoes the last one"), "{plan}");
    assert_eq!(uids(&ns), before);
    let run = ns.sts(&["undo", "web", "--yes"]).code(0);
    let set = ns.kubectl_json(&["get", "sts", "web"]);
    assert_eq!(set["status"]["updateRevision"], first, "{run}");
    assert_eq!(set["status"]["currentRevision"], first, "{run}");
    let after = uids(&ns);
    let again = ns.sts(&["undo", "web", "--yes"]).code(0);
    assert!(again.stdout.contains("already restored") && again.stdout.contains("--to-revision 2"), "{again}");
    assert_eq!(uids(&ns), after);
    // And back, with the password in what is sent but in nothing that is shown.
    let run = ns.sts(&["undo", "web", "--to-revision", "2", "--yes", "-o", "json"]).code(0);
    assert!(!run.to_string().contains("s3cret"), "{run}");
    assert_ne!(uids(&ns), after);
    let set = ns.kubectl_json(&["get", "sts", "web"]);
    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"], "s3cret");
}

#[test]
fn on_delete_gets_its_template_back() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("undo-ondelete");
    ns.apply(&set("web", 2, "updateStrategy: {type: OnDelete},"));
    ns.wait_ready("web", 2);
    std::thread::sleep(std::time::Duration::from_secs(1));
    ns.kubectl(&["set", "image", "sts/web", "web=web:2"]).ok();
    let before = uids(&ns);
    let image = || {
        ns.kubectl_json(&["get", "sts", "web"])["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    for _ in 0..2 {
        ns.sts(&["undo", "web", "--yes"]).code(0);
        assert_eq!(image(), "web:1");
    }
    ns.sts(&["undo", "web", "--yes", "--to-revision", "2"]).code(0);
    assert_eq!(image(), "web:2");
    assert_eq!(uids(&ns), before, "the pods are the user's to delete");
}

#[test]
fn on_delete_goes_back_to_what_runs_well() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("undo-ondelete-well");
    ns.apply(&set("web", 3, "updateStrategy: {type: OnDelete},"));
    ns.wait_ready("web", 3);
    ns.kubectl(&["set", "image", "sts/web", "web=web:does-not-exist"]).ok();
    ns.delete(&["pod", "web-1"]);
    ns.wait_pod_status("web-1", "ImagePullBackOff");
    ns.kubectl(&["set", "image", "sts/web", "web=web:neither-exists"]).ok();
    let run = ns.sts(&["undo", "web", "--to-revision", "2", "--yes"]).code(4);
    assert!(run.stderr.contains("(target-broken)"), "{run}");
    let run = ns.sts(&["undo", "web", "--yes"]).code(0);
    assert!(run.stdout.contains("web:neither-exists → web:1"), "{run}");
    assert!(run.stdout.contains(&format!("kubectl delete pod web-1 -n {}", ns.name)), "{run}");
    ns.delete(&["pod", "web-1"]);
    ns.wait_ready("web", 3);
}

#[test]
fn a_template_tried_before_is_undone_again() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("undo-retried");
    ns.apply(&set("web", 3, ""));
    ns.wait_ready("web", 3);
    let canary = |image: &str| {
        std::thread::sleep(std::time::Duration::from_secs(1));
        ns.sts(&["canary", "web", "--pods", "1", "--image", image, "--yes"]).code(0);
    };
    for image in ["web=web:3", "web=web:4"] {
        canary(image);
        ns.sts(&["abort", "web", "--yes"]).code(0);
    }
    canary("web=web:3");
    let run = ns.sts(&["undo", "web", "--dry-run=client"]).code(0);
    assert!(run.stdout.contains("image of container web: web:3 → web:1"), "{run}");
}

#[test]
fn a_target_on_which_a_pod_is_stuck_is_refused() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("undo-broken");
    stuck(&ns, 3, "web-2", "");
    ns.kubectl(&["set", "image", "sts/web", "web=web:neither-exists"]).ok();
    let before = uids(&ns);
    let run = ns.sts(&["undo", "web", "--to-revision", "2", "--yes"]).code(4);
    assert!(run.stderr.contains("(target-broken)"), "{run}");
    assert_eq!(uids(&ns), before);
}
