//! docs/permissions.md is enough, and no line of it is too much, on the real control plane.

use kubectl_sts::kinds::Kind;
use serde_json::Value;

use crate::support::{self, PATIENCE};

/// The rules of a role on the page, one a line: the first is for looking, the second for acting.
fn rules(role: usize) -> Vec<&'static str> {
    let page = include_str!("../docs/permissions.md");
    let yaml = page.split("```yaml\n").nth(1 + role).unwrap().split("```").next().unwrap();
    yaml.split("rules:\n").nth(1).unwrap().lines().collect()
}

#[test]
fn the_role_is_enough_and_not_too_much() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.postgres("permissions");
    let nothing = "- {apiGroups: [apps], resources: [statefulsets], verbs: [list]}";
    let all = ns.user("all", nothing);
    ns.grant_cluster("all", &rules(0).join("\n"));
    let unseen = |kubeconfig: &std::path::Path| -> Value {
        let text = ns.sts_as(kubeconfig, &["record", "-o", "json"]).ok();
        serde_json::from_str::<Value>(&text).unwrap()["notSeen"].clone()
    };
    // Bindings take the authorizer a moment.
    ns.wait("a recording with nothing left out", PATIENCE, || {
        let unseen = unseen(&all);
        if unseen.is_null() { Ok(()) } else { Err(unseen.to_string()) }
    });
    // Nothing left over, a pod that is not there, and one that is not ready: every kind is asked for.
    ns.kubectl(&["scale", "statefulset/postgres", "--replicas=2"]).ok();
    ns.kubectl(&["set", "image", "statefulset/postgres", "postgres=registry.does.not.exist/postgres:16.4"])
        .ok();
    ns.wait_pod_status("postgres-1", "ImagePullBackOff");
    let run = ns.sts_as(&all, &["doctor", "-o", "json"]);
    let diagnosis: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(diagnosis["notLookedAt"], Value::Array(Vec::new()), "{run}");
    ns.sts_as(&all, &["doctor", "--namespace", "no-such-namespace"]).code(3);
    let run = ns.sts_as(&all, &["watch", "postgres", "--stuck-after", "1s", "--timeout", "1m"]).code(1);
    assert!(run.stdout.contains("stuck on postgres-1"), "{run}");
    assert!(!run.stderr.contains("forbidden"), "{run}");

    let rules = rules(0);
    let without: Vec<_> = (0..rules.len())
        .filter(|index| rules[*index].contains("verbs: [list]") && !rules[*index].contains("statefulsets"))
        .map(|index| {
            let user = format!("without-{index}");
            let mut fewer = rules.clone();
            let line = fewer.remove(index);
            let kubeconfig = ns.user(&user, nothing);
            ns.grant_cluster(&user, &fewer.join("\n"));
            (line, kubeconfig)
        })
        .collect();
    for (line, kubeconfig) in without {
        // Each resource of the line, and nothing else, is unseen.
        let resources = line.split("resources: [").nth(1).unwrap().split(']').next().unwrap();
        let wanted = resources.split(", ").count();
        ns.wait(&format!("nothing but this unseen: {line}"), PATIENCE, || {
            let unseen = unseen(&kubeconfig);
            let kinds = unseen.as_object().map_or(0, serde_json::Map::len);
            if kinds == wanted { Ok(()) } else { Err(unseen.to_string()) }
        });
        every_command_says_so(&ns, &kubeconfig, &unseen(&kubeconfig));
    }
}

/// Each command that only looks names the kinds that its user may not list, in text and in JSON.
fn every_command_says_so(ns: &support::Namespace, kubeconfig: &std::path::Path, unseen: &Value) {
    // These are recorded, and nothing here depends on them.
    let not_needed = [
        Kind::LimitRange,
        Kind::ValidatingWebhookConfiguration,
        Kind::MutatingWebhookConfiguration,
        Kind::ValidatingAdmissionPolicyBinding,
        Kind::CSINode,
        Kind::CSIStorageCapacity,
        Kind::VolumeAttachment,
    ];
    let kinds = Kind::ALL.into_iter().filter(|kind| unseen.get(kind.name()).is_some());
    for kind in kinds.filter(|kind| !not_needed.contains(kind)) {
        let commands =
            [vec!["status"], vec!["status", "postgres"], vec!["doctor"], vec!["history", "postgres"]];
        for command in commands {
            for output in ["text", "json"] {
                let run = ns.sts_as(kubeconfig, &[command.clone(), vec!["-o", output]].concat());
                let said = format!("{}{}", run.stdout, run.stderr);
                let is_named = said.contains(kind.plural()) || said.contains(&format!("\"{}\"", kind.name()));
                assert!(is_named && said.contains("forbidden"), "{kind:?} in {command:?} -o {output}: {run}");
            }
        }
    }
}

/// Healthy as they are: without their pods nobody can say so.
#[test]
fn a_user_who_may_not_list_pods_is_not_told_that_all_is_well() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.postgres("no-pods");
    let all: Vec<String> = rules(0).into_iter().map(str::to_owned).collect();
    let user = |name: &str, rules: &[String]| {
        let user = ns.user(name, &rules[..1].join("\n"));
        ns.grant_cluster(name, &rules.join("\n"));
        user
    };
    let reader = user("sees", &all);
    let fewer: Vec<String> = all.iter().map(|line| line.replace("pods, ", "")).collect();
    let blind = user("blind", &fewer);
    let code = |user: &std::path::Path, args: &[&str], code: i32| {
        ns.wait(&format!("exit code {code} of {args:?}"), PATIENCE, || {
            let run = ns.sts_as(user, args);
            if run.code == code { Ok(run) } else { Err(run.to_string()) }
        })
    };
    for args in
        [&["doctor"][..], &["status"], &["status", "postgres"], &["watch", "postgres", "--timeout", "1m"]]
    {
        code(&reader, args, 0);
        let run = code(&blind, args, 3);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert!(said.contains("forbidden") && !said.contains("no problems found:"), "{run}");
    }
}

#[test]
fn the_roles_are_enough_for_a_canary_and_one_is_not() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.postgres("permissions-act");
    let reader = ns.user("reader", &rules(0)[..1].join("\n"));
    ns.grant_cluster("reader", &rules(0).join("\n"));
    let actor = ns.user("actor", &rules(1).join("\n"));
    ns.grant_cluster("actor", &rules(0).join("\n"));
    let image = "postgres=registry.does.not.exist/postgres:16.5";
    let canary = [
        "canary",
        "postgres",
        "--pods",
        "1",
        "--image",
        image,
        "--yes",
        "--stuck-after",
        "1s",
        "--timeout",
        "2m",
    ];
    ns.wait("the reader to be refused", PATIENCE, || {
        let run = ns.sts_as(&reader, &canary);
        if run.code == 4 && run.stderr.contains("you are not allowed to patch statefulsets") {
            Ok(())
        } else {
            Err(run.to_string())
        }
    });
    let run = ns.sts_as(&actor, &canary).code(1);
    assert!(run.stdout.contains("postgres-2"), "{run}");
    ns.sts_as(&actor, &["abort", "postgres", "--yes", "--timeout", "2m"]).code(0);
    ns.wait_rolled_out("postgres", 3);
}
