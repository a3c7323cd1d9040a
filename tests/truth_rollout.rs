//! Rollouts that wait, evictions that are refused and names that do not fit, on the real control plane: what is shown to try,
//! carried out as printed, ends it, and states that look alike are silent.

use serde_json::{Value, json};

use crate::doctor::{finds, found, run_remedy};
use crate::recover::{set, uids};
use crate::support::{self, Binding, Namespace};

/// What is found of these rules.
fn of(ns: &Namespace, codes: &[&str]) -> Vec<String> {
    let all = found(ns, &[]);
    all.into_iter().filter(|one| codes.iter().any(|code| one.starts_with(code))).collect()
}

#[track_caller]
fn finds_of(ns: &Namespace, codes: &[&str], expected: &[&str]) {
    ns.wait(&format!("doctor to find {expected:?}"), support::PATIENCE, || {
        let found = of(ns, codes);
        if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

fn finding(ns: &Namespace, code: &str) -> Value {
    let run = ns.sts(&["doctor", "-o", "json"]);
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"));
    let findings = report["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["code"] == code).unwrap_or_else(|| panic!("{run}")).clone()
}

#[track_caller]
fn says(found: &Value, text: &str) {
    let because = found["because"].as_str().unwrap();
    assert!(because.contains(text), "{text:?} is not in {because:?}");
}

#[test]
fn an_update_that_waits_for_deletions_is_found_after_days_and_done() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("on-delete");
    let strategy = "updateStrategy: {type: OnDelete},";
    // Not updated at all; but for one pod; replaced by hand.
    for name in ["all", "one", "done"] {
        ns.apply(&set(name, 2, strategy));
    }
    for name in ["all", "one", "done"] {
        ns.wait_ready(name, 2);
        ns.kubectl(&["set", "image", &format!("sts/{name}"), "web=web:2"]).ok();
    }
    ns.delete(&["pod", "one-1", "done-0", "done-1"]);
    for name in ["one", "done"] {
        ns.wait_ready(name, 2);
    }
    finds(&ns, &[]);
    if !ns.age("3h") {
        return;
    }
    finds(&ns, &[]);
    ns.age("2d");
    finds(&ns, &["STS312 note StatefulSet/all", "STS312 note StatefulSet/one"]);
    ns.age("6d");
    finds(&ns, &["STS312 warning StatefulSet/all", "STS312 warning StatefulSet/one"]);
    let before = uids(&ns);
    run_remedy(&ns, "STS312");
    ns.wait_rolled_out("all", 2);
    finds(&ns, &["STS312 warning StatefulSet/one"]);
    run_remedy(&ns, "STS312");
    ns.wait_ready("one", 2);
    finds(&ns, &[]);
    let after = uids(&ns);
    for kept in ["one-1", "done-0", "done-1"] {
        assert_eq!(before[kept], after[kept], "{kept} was updated before");
    }
    assert_eq!(ns.kubectl_json(&["get", "sts", "one"])["spec"]["updateStrategy"]["type"], "OnDelete");
}

/// What the API server says to an eviction that changes nothing.
fn eviction(ns: &Namespace, pod: &str) -> String {
    let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": ns.name},
        "deleteOptions": {"dryRun": ["All"]}});
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), body.to_string()).unwrap();
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", ns.name);
    let run = ns.kubectl(&["create", "--raw", &path, "-f", file.path().to_str().unwrap()]);
    format!("{}{}", run.stdout, run.stderr)
}

#[test]
fn budgets_that_refuse_every_eviction_are_found_and_changed() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("budgets");
    let budget = |name: &str, spec: &str| {
        ns.apply(&format!(
            "{{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {{name: {name}}}, spec: {{{spec}}}}}"
        ));
    };
    for name in ["web", "db", "mq"] {
        let labels = format!("labels: {{app: {name}}}}}, spec");
        let tier = format!("labels: {{app: {name}, tier: back}}}}, spec");
        ns.apply(&set(name, 2, "").replace(&labels, if name == "web" { &labels } else { &tier }));
    }
    for name in ["web", "db", "mq"] {
        ns.wait_ready(name, 2);
    }
    // One that allows an eviction, and one for no pods: nothing is wrong.
    budget("db", "minAvailable: 1, selector: {matchLabels: {app: db}}");
    budget("none", "maxUnavailable: 0, selector: {matchLabels: {app: none}}");
    budget("web", "minAvailable: 2, selector: {matchLabels: {app: web}}");
    finds(&ns, &["STS313 note PodDisruptionBudget/web"]);
    ns.wait("an eviction to be refused", support::PATIENCE, || {
        let said = eviction(&ns, "web-0");
        if said.contains("disruption budget") { Ok(()) } else { Err(said) }
    });
    run_remedy(&ns, "STS313");
    finds(&ns, &[]);
    // Another team's, which selects the pods of two StatefulSets.
    budget("back", "maxUnavailable: 1, selector: {matchLabels: {tier: back}}");
    finds(&ns, &["STS313 warning PodDisruptionBudget/db"]);
    let said = eviction(&ns, "db-0");
    assert!(said.contains("more than one PodDisruptionBudget"), "{said}");
    run_remedy(&ns, "STS313");
    finds(&ns, &[]);
    ns.wait("an eviction to be allowed", support::PATIENCE, || {
        let said = eviction(&ns, "db-0");
        if said.contains("Success") { Ok(()) } else { Err(said) }
    });
    // It still is for the other one.
    let back = ns.kubectl_json(&["get", "pdb", "back"]);
    assert_eq!(back["spec"]["selector"]["matchLabels"]["tier"], "back", "{back}");
    // A second one for the same pods alone.
    budget("mq-old", "minAvailable: 2, selector: {matchLabels: {app: mq}}");
    finds(&ns, &["STS313 warning PodDisruptionBudget/back"]);
    run_remedy(&ns, "STS313");
    finds(&ns, &[]);
}

#[test]
fn a_manifest_that_scales_against_an_autoscaler_is_found() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("autoscaled");
    let scaler = |name: &str| {
        ns.apply(&format!(
            "{{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {{name: {name}}}, spec: {{minReplicas: 3, \
             maxReplicas: 5, scaleTargetRef: {{apiVersion: apps/v1, kind: StatefulSet, name: {name}}}}}}}"
        ));
    };
    let without = |name: &str| set(name, 1, "").replace("replicas: 1, ", "");
    ns.apply(&set("fixed", 1, ""));
    ns.apply(&without("free"));
    ns.apply(&set("manual", 2, ""));
    scaler("fixed");
    scaler("free");
    for (name, replicas) in [("fixed", 3), ("free", 3)] {
        ns.kubectl(&["scale", &format!("sts/{name}"), "--replicas=3"]).ok();
        ns.wait_ready(name, replicas);
    }
    ns.wait_ready("manual", 2);
    finds(&ns, &["STS314 warning StatefulSet/fixed"]);
    says(&finding(&ns, "STS314"), "deletes 2 pods");
    run_remedy(&ns, "STS314");
    finds(&ns, &[]);
    // The manifest without the field leaves the number alone, as the finding says.
    ns.apply(&without("fixed"));
    assert_eq!(ns.kubectl_json(&["get", "sts", "fixed"])["spec"]["replicas"], 3);
    finds(&ns, &[]);
}

#[test]
fn a_name_without_room_for_a_revision_is_found_and_shortened() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("long");
    let long = "orders-postgresql-replication-for-the-european-warehouse-east";
    let fits = &long[..52];
    let service = "web";
    let named = |name: &str| {
        let (service_part, set_part) =
            set(service, 1, "").split_once("---\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let renamed = set_part.replacen("metadata: {name: web}", &format!("metadata: {{name: {name}}}"), 1);
        format!("{service_part}---\n{renamed}")
    };
    ns.apply(&named(long));
    finds_of(&ns, &["STS"], &[&format!("STS315 error StatefulSet/{long}")]);
    support::verdict::agree(&ns);
    run_remedy(&ns, "STS315");
    ns.wait_ready(fits, 1);
    finds(&ns, &[]);
    assert!(!ns.kubectl(&["get", "sts", long]).stdout.contains(long), "it is deleted");
}

#[test]
fn pods_without_time_to_stop_are_a_note() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("grace");
    ns.apply(
        &set("zero", 1, "").replace("terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 0"),
    );
    ns.apply(&set("one", 1, ""));
    ns.apply(&set("usual", 1, "").replace("terminationGracePeriodSeconds: 1, ", ""));
    for name in ["zero", "one", "usual"] {
        ns.wait_ready(name, 1);
    }
    finds(&ns, &["STS316 note StatefulSet/zero"]);
    run_remedy(&ns, "STS316");
    ns.wait_rolled_out("zero", 1);
    finds(&ns, &[]);
}

/// A pod on a node, and that node gone silent.
#[test]
fn a_lost_node_is_one_finding_with_all_its_pods() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("lost");
    let node = ns.name.clone();
    cluster.apply(&format!(
        "{{apiVersion: v1, kind: Node, metadata: {{name: {node}}}, spec: {{unschedulable: true}}}}"
    ));
    let on = |name: &str, replicas: i32| {
        set(name, replicas, "podManagementPolicy: Parallel,").replace(
            "terminationGracePeriodSeconds",
            &format!("nodeName: {node}, terminationGracePeriodSeconds"),
        )
    };
    ns.apply(&on("db", 7));
    ns.apply(&on("web", 5));
    // Elsewhere.
    ns.apply(&set("mq", 2, ""));
    ns.wait_ready("mq", 2);
    ns.wait("twelve pods on the node", support::PATIENCE, || {
        let pods = uids(&ns);
        if pods.len() == 14 { Ok(()) } else { Err(format!("{pods:?}")) }
    });
    cluster
        .kubectl(&["wait", &format!("node/{node}"), "--for=condition=Ready=Unknown", "--timeout=120s"])
        .ok();
    let lost: Vec<String> = ns.wait("one finding", support::PATIENCE, || {
        let run = ns.sts(&["doctor", "-o", "json"]);
        let report: Value = serde_json::from_str(&run.stdout).map_err(|error| error.to_string())?;
        let findings = report["findings"].as_array().cloned().unwrap_or_default();
        let [one] = findings.as_slice() else { return Err(run.stdout) };
        let others = one["otherObjects"].as_array().cloned().unwrap_or_default();
        if one["code"] != "STS409" || others.len() != 11 {
            return Err(run.stdout);
        }
        let names =
            std::iter::once(&one["object"]).chain(&others).map(|it| it["name"].as_str().unwrap().to_owned());
        let what = one["what"].as_str().unwrap().to_owned();
        let names: Vec<String> = names.collect();
        assert!(names.iter().all(|name| what.contains(name.as_str())), "{what}");
        Ok(names)
    });
    assert!(lost.iter().all(|name| !name.starts_with("mq-")), "{lost:?}");
    support::verdict::agree(&ns);
    // With those of another namespace.
    let other = cluster.namespace("lost-too");
    other.apply(&on("pg", 2));
    other.wait("two pods on the node", support::PATIENCE, || {
        let pods = uids(&other);
        if pods.len() == 2 { Ok(()) } else { Err(format!("{pods:?}")) }
    });
    let one = ns.wait("one finding for both namespaces", support::PATIENCE, || {
        let run = ns.sts(&["doctor", "-A", "-o", "json"]);
        let report: Value = serde_json::from_str(&run.stdout).map_err(|error| error.to_string())?;
        let is_it = |finding: &&Value| {
            finding["code"] == "STS409"
                && finding["what"].as_str().unwrap().contains(&format!(" on {node}, "))
        };
        match report["findings"].as_array().unwrap().iter().filter(is_it).collect::<Vec<_>>().as_slice() {
            [one] => Ok((*one).clone()),
            several => Err(format!("{several:?}")),
        }
    });
    assert_eq!(one["namespace"], ns.name.as_str());
    for pod in ["pg-0", "pg-1"] {
        let whole = format!("{}/{pod}", other.name);
        assert!(one["what"].as_str().unwrap().contains(&whole), "{one}");
        let is_it = |it: &Value| it["name"] == pod && it["namespace"] == other.name.as_str();
        assert!(one["otherObjects"].as_array().unwrap().iter().any(is_it), "{one}");
    }
    let of_own = one["otherObjects"].as_array().unwrap().iter().filter(|it| it["namespace"].is_null());
    assert_eq!(of_own.count(), 11, "{one}");
    cluster.kubectl(&["delete", "node", &node]).ok();
}

/// A StatefulSet of brokers with PVCs, whose pods have these annotations.
fn brokers(class: &str, mode: &str) -> String {
    set("mq", 3, &format!(
        "volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{accessModes: [ReadWriteOnce], storageClassName: {class}, \
         resources: {{requests: {{storage: 1Gi}}}}}}}}],"
    ))
    .replace("template: {metadata: {labels: {app: mq}", &format!("template: {{metadata: {{labels: {{app: mq}}, annotations: {{{mode}}}"))
    .replace("image: 'web:1'", "image: 'web:1', readinessProbe: {httpGet: {path: /cluster, port: 80}}")
}

#[test]
fn a_first_pod_that_waits_for_peers_is_given_them() {
    let Some(cluster) = support::cluster() else { return };
    let class = cluster.storage_class("mq", Binding::Immediate, false);
    let ns = cluster.namespace("peers");
    ns.apply(&brokers(&class, "fake.test/ready-delay-0: 1h"));
    ns.wait_pod_status("mq-0", "Running");
    if !ns.age("2h") {
        return;
    }
    ns.wait_ready("mq", 3);
    ns.age("5d");
    // All at once; none is ready while the others are not there.
    ns.delete(&["pod", "mq-0", "mq-1", "mq-2"]);
    ns.wait_pod_status("mq-0", "Running");
    ns.kubectl(&["annotate", "pod", "mq-0", "fake.test/mode=unready"]).ok();
    ns.age("20m");
    ns.wait("doctor to find the deadlock", support::PATIENCE, || {
        let all = found(&ns, &[]);
        if all.contains(&"STS404 error Pod/mq-0".to_owned()) { Ok(()) } else { Err(format!("{all:?}")) }
    });
    let it = finding(&ns, "STS404");
    says(&it, "mq-1 and mq-2 ran before (their PVCs still exist)");
    assert!(it["blocks"]["pods"].as_array().is_some_and(|pods| pods.len() == 2), "{it}");
    support::verdict::agree(&ns);
    let before = uids(&ns)["mq-0"].clone();
    let claims = ns.kubectl_json(&["get", "pvc", "data-mq-1"])["metadata"]["uid"].clone();
    run_remedy(&ns, "STS404");
    ns.wait("all brokers to be there", support::PATIENCE, || {
        let pods = uids(&ns);
        if pods.len() == 3 { Ok(()) } else { Err(format!("{pods:?}")) }
    });
    assert_eq!(uids(&ns)["mq-0"], before, "it was kept");
    assert_eq!(ns.kubectl_json(&["get", "pvc", "data-mq-1"])["metadata"]["uid"], claims);
    assert_eq!(ns.kubectl_json(&["get", "sts", "mq"])["spec"]["podManagementPolicy"], "Parallel");
    // Now they have found each other.
    let ready = ["fake.test/mode=ready", "fake.test/ready-delay-0=0s"];
    ns.kubectl(&[&["annotate", "--overwrite", "pod", "mq-0"][..], &ready].concat()).ok();
    ns.wait_ready("mq", 3);
    finds(&ns, &[]);
}

#[test]
fn a_first_pod_that_never_had_peers_is_not_said_to_wait_for_them() {
    let Some(cluster) = support::cluster() else { return };
    let class = cluster.storage_class("mq", Binding::Immediate, false);
    let ns = cluster.namespace("no-peers");
    ns.apply(&brokers(&class, "fake.test/mode: unready"));
    ns.wait_pod_status("mq-0", "Running");
    if !ns.age("20m") {
        return;
    }
    ns.wait("doctor to find it", support::PATIENCE, || {
        let all = found(&ns, &[]);
        if all.contains(&"STS404 error Pod/mq-0".to_owned()) { Ok(()) } else { Err(format!("{all:?}")) }
    });
    let it = finding(&ns, "STS404");
    assert!(!it["because"].as_str().unwrap().contains("before"), "{it}");
    assert!(!it["try"].to_string().contains("Parallel"), "{it}");
}
