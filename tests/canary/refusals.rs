//! Every no, with nothing written.

use std::process::Stdio;

use serde_json::{Value, json};

use super::{get, mark, ready, set};
use crate::support::{self, Namespace, PATIENCE};

/// What a canary would write, and nothing that the controller writes.
fn written(ns: &Namespace, name: &str) -> (Value, Value) {
    let set = get(ns, name);
    (set["spec"].clone(), set["metadata"]["annotations"].clone())
}

#[track_caller]
fn refused(ns: &Namespace, name: &str, reason: &str, args: &[&str]) {
    let before = written(ns, name);
    let run = ns.sts(&[&["canary", name], args, &["--yes"]].concat()).code(4);
    assert!(run.stderr.contains(&format!("({reason})")), "{reason}\n{run}");
    assert_eq!(written(ns, name), before, "{run}");
}

const ONE: [&str; 4] = ["--partition", "2", "--image", "web=web:9"];

/// `ONE` for the container of a set, which has the set's name.
fn one(name: &str) -> Vec<String> {
    ONE.iter().map(|word| word.replace("web=", &format!("{name}="))).collect()
}

#[test]
fn refusals_have_their_reasons_and_write_nothing() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-refused");
    let name = "web";
    ready(&ns, name, 3, "", "");
    let json = json!({"spec": {"replicas": 9}}).to_string();
    for (reason, args) in [
        ("nothing-updated", &["--partition", "3", "--image", "web=web:9"][..]),
        ("nothing-updated", &["--pods", "0", "--image", "web=web:9"]),
        ("nothing-updated", &["--pods", "0%"]),
        ("nothing-changes", &["--partition", "1", "--image", "web=postgres:15-alpine"]),
        ("no-such-container", &["--partition", "1", "--image", "wbe=web:9"]),
        ("not-the-template", &["--partition", "1", "--patch", &json]),
    ] {
        refused(&ns, name, reason, args);
    }
    for (code, args) in [
        (2, &["--partition", "1", "--pods", "1"][..]),
        (2, &["--image", "web=web:9"]),
        (2, &["--steps", "1,2"]),
        (2, &["--pods", "4"]),
        (2, &["--pods", "half"]),
        (4, &["--partition", "1", "--image", "web=web:9"]),
    ] {
        // Without --yes nobody is here to agree.
        let before = written(&ns, name);
        ns.sts(&[&["canary", name], args].concat()).code(code);
        assert_eq!(written(&ns, name), before);
    }
    // A misspelt field is the server's to find, before anything is done.
    let before = written(&ns, name);
    let typo = json!({"spec": {"contaners": [{"name": "web"}]}}).to_string();
    let run = ns.sts(&["canary", name, "--pods", "1", "--patch", &typo, "--yes"]).code(3);
    assert!(run.stderr.contains("contaners"), "{run}");
    assert_eq!(written(&ns, name), before);
    let file = cluster.plane.dir.join(format!("{}.yaml", ns.name));
    std::fs::write(&file, "spec: {template: {spec: {containers: [{name: web, image: 'web:9'}]}}}\n").unwrap();
    let plan =
        ns.sts(&["canary", name, "--pods", "34%", "-f", file.to_str().unwrap(), "--dry-run=client"]).ok();
    assert!(plan.contains("2 of 3 pods") && plan.contains("postgres:15-alpine → web:9"), "{plan}");
    // A second canary on top of the first.
    ns.sts(&["canary", name, "--partition", "2", "--image", "web=web:2", "--yes"]).code(0);
    refused(&ns, name, "another-canary", &["--partition", "2", "--image", "web=web:3"]);
    ns.patch("statefulset/web", &json!({"metadata": {"annotations": {super::MARK: "nonsense"}}}));
    refused(&ns, name, "annotation-unreadable", &["--partition", "2", "--image", "web=web:3"]);
    ns.sts(&["abort", name, "--yes"]).code(4);
}

#[test]
fn sets_that_are_not_at_rest_are_left_alone() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-unrest");
    ns.apply(&set("none", 0, "", ""));
    ns.apply(&set("ondelete", 1, "updateStrategy: {type: OnDelete},", ""));
    ns.apply(&set("sick", 3, "podManagementPolicy: Parallel,", "fake.test/mode-1: unready"));
    ns.apply(&set("scaling", 3, "", "fake.test/linger: 40s"));
    ns.apply(&set("rolling", 3, "", ""));
    ns.apply(&set("leaving", 1, "", ""));
    ns.apply(&set("hand", 3, "updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 2}},", ""));
    for (name, replicas) in [("ondelete", 1), ("scaling", 3), ("rolling", 3), ("leaving", 1), ("hand", 3)] {
        ns.wait_rolled_out(name, replicas);
    }
    ns.kubectl(&["scale", "sts/scaling", "--replicas=2"]).ok();
    ns.wait_pod("scaling-2", "ending", |pod| !pod["metadata"]["deletionTimestamp"].is_null());
    ns.kubectl(&["set", "image", "sts/rolling", "rolling=web:does-not-exist"]).ok();
    ns.wait_pod_status("rolling-2", "ImagePullBackOff");
    ns.kubectl(&["set", "image", "sts/hand", "hand=web:2"]).ok();
    ns.patch("statefulset/leaving", &json!({"metadata": {"finalizers": ["test/hold"]}}));
    ns.delete(&["statefulset/leaving", "--wait=false"]);
    ns.wait_ready("sick", 2);
    ns.wait("the update of hand", PATIENCE, || {
        let status = get(&ns, "hand")["status"].clone();
        if status["updatedReplicas"] == 1 && status["readyReplicas"] == 3 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    for (name, reason) in [
        ("none", "no-replicas"),
        ("ondelete", "not-rolling-update"),
        ("sick", "pod-unhealthy"),
        ("scaling", "scaling-in-flight"),
        ("rolling", "rollout-in-flight"),
        ("leaving", "set-deleting"),
        ("hand", "rollout-in-flight"),
    ] {
        let args = if name == "scaling" { vec!["--partition".into(), "1".into()] } else { one(name) };
        refused(&ns, name, reason, &args.iter().map(String::as_str).collect::<Vec<_>>());
    }
    ns.kubectl(&["set", "image", "sts/rolling", "rolling=web:3"]).ok();
    ns.wait("three revisions", PATIENCE, || {
        let set = get(&ns, "rolling");
        let seen = set["status"]["observedGeneration"] == set["metadata"]["generation"];
        if seen { Ok(()) } else { Err(set["status"].to_string()) }
    });
    refused(
        &ns,
        "rolling",
        "too-many-revisions",
        &one("rolling").iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let args = one("sick");
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let plan =
        ns.sts(&[&["canary", "sick", "--allow-unhealthy", "--dry-run=client"], &args[..]].concat()).ok();
    assert!(plan.contains("1 of 3 pods (sick-2)"), "{plan}");
    ns.patch("statefulset/leaving", &json!({"metadata": {"finalizers": null}}));
}

#[test]
fn managers_of_the_fields_are_named() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-managed");
    let manifest = set("web", 2, "", "").replace(
        "metadata: {name: web}, spec: {replicas",
        "metadata: {name: web, labels: {app.kubernetes.io/managed-by: Helm}}, spec: {replicas",
    );
    let apply = ["apply", "--server-side", "--field-manager=argocd-controller", "-f", "-"];
    ns.kubectl_in(&apply, &manifest).ok();
    ns.kubectl(&["autoscale", "sts/web", "--min=2", "--max=3"]).ok();
    ns.wait_rolled_out("web", 2);
    let plan = ns.sts(&["canary", "web", "--pods", "1", "--image", "web=web:2", "--dry-run=client"]).ok();
    for text in [
        "Argo CD manages this StatefulSet (field manager argocd-controller)",
        "Helm manages this StatefulSet",
        "HorizontalPodAutoscaler web",
    ] {
        assert!(plan.contains(text), "{text}\n{plan}");
    }
    let secret =
        json!({"spec": {"containers": [{"name": "web", "env": [{"name": "TOKEN", "value": "hunter2"}]}]}});
    for output in ["text", "json", "yaml"] {
        let plan = ns
            .sts(&[
                "canary",
                "web",
                "--pods",
                "1",
                "--patch",
                &secret.to_string(),
                "--dry-run=client",
                "-o",
                output,
            ])
            .ok();
        assert!(plan.contains("TOKEN") && !plan.contains("hunter2"), "{plan}");
    }
    assert_eq!(mark(&get(&ns, "web")), None);
}

#[test]
fn a_template_edited_since_is_not_taken_for_the_canary() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-edited-since");
    ready(&ns, "web", 2, "", "");
    let canary = ["canary", "web", "--pods", "1", "--image", "web=web:2", "--yes"];
    ns.sts(&canary).code(0);
    let again = ns.sts(&canary).code(0);
    assert!(again.stdout.contains("nothing to do"), "{again}");
    ns.kubectl(&["set", "image", "sts/web", "web=web:7"]).ok();
    refused(&ns, "web", "template-edited", &["--pods", "1", "--image", "web=web:2"]);
}

#[test]
fn a_template_that_another_client_replaces_ends_a_canary_that_waits() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-replaced");
    ready(&ns, "web", 2, "", "");
    let image = "web=web:does-not-exist";
    let mut command =
        ns.sts_command(&["canary", "web", "--pods", "1", "--image", image, "--yes", "--stuck-after", "20m"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    ns.wait_pod_status("web-1", "ImagePullBackOff");
    let before = get(&ns, "web")["status"]["updateRevision"].as_str().unwrap().to_owned();
    ns.kubectl(&["set", "image", "sts/web", "web=web:7"]).ok();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{said}");
    let after = get(&ns, "web");
    let short = |revision: &str| revision.trim_start_matches("web-").to_owned();
    let update = short(after["status"]["updateRevision"].as_str().unwrap());
    let told = format!(
        "another client changed the pod template: the update is to revision {update}, no longer to {}",
        short(&before)
    );
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words(&said).contains(&told), "{told}\n{said}");
    assert_eq!(
        after["spec"]["template"]["spec"]["containers"][0]["image"], "web:7",
        "nothing of it is undone"
    );
    assert!(mark(&after).is_some(), "the canary can still be aborted");
}

#[test]
fn what_a_mark_says_reaches_no_terminal_as_it_is() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-forged");
    ready(&ns, "web", 2, "", "");
    ns.sts(&["canary", "web", "--pods", "1", "--image", "web=web:2", "--yes"]).code(0);
    let stable = mark(&get(&ns, "web")).unwrap()["stable"].as_str().unwrap().to_owned();
    let forge = |stable: &str, by: &str| {
        let mark =
            json!({"stable": stable, "partition": 0, "by": by, "at": "2026-11-21T13:12:57Z", "change": "x"});
        ns.patch("sts/web", &json!({"metadata": {"annotations": {"kubectl-sts/canary": mark.to_string()}}}));
    };
    let escape = "ev\u{1b}[31mil\u{1b}]0;pwned\u{7}";
    forge(&stable, escape);
    let run = ns.sts(&["canary", "web", "--pods", "1", "--image", "web=web:9", "--yes"]).code(4);
    assert!(run.stderr.contains("another-canary") && run.stderr.contains("evil"), "{run}");
    assert!(!run.stderr.contains(['\u{1b}', '\u{7}']), "{run}");
    forge(&format!("{stable}{escape}"), "somebody");
    let run = ns.sts(&["abort", "web", "--yes"]).code(4);
    assert!(run.stderr.contains("annotation-unreadable"), "{run}");
    assert!(!run.stderr.contains(['\u{1b}', '\u{7}']), "{run}");
}

/// Neither `promote` nor `abort` makes a canary of what is none, and each names what fits instead.
#[test]
fn what_is_no_canary_is_neither_promoted_nor_aborted() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-none");
    for name in ["trap", "bad", "slow", "calm"] {
        ns.apply(&set(name, 3, "", ""));
    }
    for name in ["trap", "bad", "slow", "calm"] {
        ns.wait_rolled_out(name, 3);
    }
    let image = |name: &str, tag: &str| {
        ns.kubectl(&["set", "image", &format!("sts/{name}"), &format!("{name}={tag}")]).ok();
    };
    image("trap", "web:does-not-exist");
    image("bad", "web:does-not-exist");
    ns.patch(
        "statefulset/slow",
        &json!({"spec": {"template": {"metadata": {"annotations": {"fake.test/ready-delay": "10m"}}}}}),
    );
    ns.wait_pod_status("trap-2", "ImagePullBackOff");
    ns.wait_pod_status("bad-2", "ImagePullBackOff");
    ns.kubectl(&["rollout", "undo", "sts/trap"]).ok();
    ns.wait_pod("slow-2", "of the new template", |pod| {
        pod["metadata"]["annotations"]["fake.test/ready-delay"] == "10m"
            && pod["status"]["phase"] == "Running"
    });
    for (name, instead) in [("trap", "recover"), ("bad", "undo"), ("slow", "watch")] {
        let before = written(&ns, name);
        for args in [
            &["promote", name, "--yes"][..],
            &["promote", name, "--full", "--yes"],
            &["promote", name, "--dry-run=client"],
            &["abort", name, "--yes"],
            &["abort", name, "--dry-run=client"],
        ] {
            let run = ns.sts(args).code(4);
            assert!(run.stderr.contains("(no-canary)"), "{run}");
            assert!(run.stderr.contains(&format!("kubectl sts {instead} {name} -n {}", ns.name)), "{run}");
        }
        assert_eq!(written(&ns, name), before, "{name}");
    }
    let run = ns.sts(&["abort", "calm", "--yes"]).code(0);
    assert!(run.stdout.contains("nothing to do"), "{run}");
}

/// Before a stuck canary is promoted, it is said that it is stuck, and how to go back.
#[test]
fn a_stuck_canary_is_said_to_be_stuck_before_it_is_promoted() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-stuck");
    ready(&ns, "web", 3, "", "");
    let args = ["canary", "web", "--partition", "2", "--image", "web=web:does-not-exist", "--yes"];
    ns.sts(&[&args[..], &["--stuck-after", "1s"]].concat()).code(1);
    let run = ns.sts(&["promote", "web", "--dry-run=client"]).code(0);
    let said = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        ["ErrImagePull", "ImagePullBackOff"]
            .iter()
            .any(|state| said.contains(&format!("the canary is stuck: web-2 is not available ({state})"))),
        "{run}"
    );
    assert!(said.contains(&format!("kubectl sts abort web -n {}", ns.name)), "{run}");
}
