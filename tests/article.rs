//! The six problems that an article on StatefulSets tells of, on the real control plane: each with its cause, the line of the log
//! that decides where there is one, and what doctor says to do, carried out as printed. Then nothing of it is left.
//!
//! What happens inside a database is the fake node's: a role that is created there is an annotation here.

use serde_json::{Value, json};

use crate::doctor::found;
use crate::support::findings::{finding, paste};
use crate::support::{self, Binding, Namespace, PATIENCE};

/// A StatefulSet with its headless Service; the pods do what the annotations say.
fn set(name: &str, replicas: u32, annotations: &Value, spec: &str) -> String {
    let serves = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": 5432}]},
    });
    format!("{serves}\n---\n{}", alone(name, name, replicas, annotations, spec))
}

/// Without its Service.
fn alone(name: &str, service: &str, replicas: u32, annotations: &Value, spec: &str) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: {name}}}, spec: {{serviceName: {service}, replicas: {replicas}, \
         selector: {{matchLabels: {{app: {name}}}}}, {spec} template: {{metadata: {{labels: {{app: {name}}}, annotations: \
         {annotations}}}, spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: postgres, image: 'postgres:15'}}]}}}}}}}}\n---\n"
    )
}

fn claims(class: &str) -> String {
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": "10Gi"}}},
    });
    format!("volumeClaimTemplates: [{claim}],")
}

/// Waits until nothing of these is found about objects whose name begins like this.
fn is_gone(ns: &Namespace, code: &str, start: &str) {
    ns.wait(&format!("{code} about {start} to be gone"), PATIENCE, || {
        let all = found(ns, &["--only", code]);
        let is_left =
            all.iter().any(|one| one.split_once('/').is_some_and(|(_, name)| name.starts_with(start)));
        if is_left { Err(all.join("\n")) } else { Ok(()) }
    });
}

/// All but the first replica need an hour to become ready.
fn slow() -> Value {
    json!({"fake.test/ready-delay-1": "1h", "fake.test/ready-delay-2": "1h"})
}

/// What the log of a finding says, by the name of its hint.
fn hint(finding: &Value, name: &str) -> String {
    let hint = &finding["log"]["hint"];
    assert_eq!(hint["name"], name, "{finding:#}");
    hint["do"].as_str().unwrap_or_else(|| panic!("{finding:#}")).to_owned()
}

#[test]
fn the_six_problems_of_the_article_are_found_and_solved() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("article");
    let ssd = cluster.storage_class("ssd", Binding::Immediate, false);
    let (local, small) = (cluster.unique("local"), cluster.unique("small"));
    cluster.apply(&format!(
        "{{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {{name: {local}}}, provisioner: kubernetes.io/no-provisioner, \
         volumeBindingMode: Immediate}}\n---\n{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: {small}}}, spec: \
         {{capacity: {{storage: 1Gi}}, accessModes: [ReadWriteOnce], storageClassName: {local}, hostPath: {{path: /srv/{small}}}}}}}"
    ));
    let none = json!({});
    let refused = json!({
        "fake.test/mode-1": "crashloop", "fake.test/restarts": "3",
        "fake.test/log": "pg_basebackup: error: connection to server at \"second-0.second\" (10.244.1.7), port 5432 failed: FATAL:  role \"replicator\" does not exist\n",
    });
    // All at once: to make them takes most of the time.
    ns.apply(&set("first", 1, &none, &claims(&local)));
    ns.apply(&set("second", 2, &refused, ""));
    // In the article an init container copies the data.
    let copies = refused.to_string().replace("crashloop", "init-fail").replace("second", "copied");
    let copies = set("copied", 2, &serde_json::from_str(&copies).unwrap(), "").replace(
        "containers: [",
        "initContainers: [{name: init-postgres, image: 'postgres:15'}], containers: [",
    );
    ns.apply(&copies);
    ns.apply(&copies.replace("copied", "migrated").replace("init-fail", "ready"));
    ns.apply(&set("third", 5, &none, &format!("podManagementPolicy: Parallel, {}", claims(&ssd))));
    ns.apply(&set("fourth", 3, &slow(), "podManagementPolicy: Parallel,"));
    ns.apply(&set("fifth", 3, &none, ""));
    ns.apply(&alone("sixth", "sixth-headles", 2, &none, ""));
    ns.apply("{apiVersion: v1, kind: Service, metadata: {name: sixth-headless}, spec: {clusterIP: None, selector: {app: sixth}, ports: [{port: 5432}]}}");
    ns.apply(&alone("seventh", "seventh-headless", 2, &none, ""));
    ns.wait_ready("fifth", 3);
    let bad = json!({"spec": {"template": {
        "metadata": {"annotations": {
            "fake.test/mode": "crashloop", "fake.test/restarts": "3",
            "fake.test/log": "FATAL:  database files are incompatible with server\nDETAIL:  The data directory was initialized by PostgreSQL version 15, which is not compatible with this version 16.4.\n",
        }},
        "spec": {"containers": [{"name": "postgres", "image": "postgres:16"}]},
    }}});
    ns.kubectl(&["patch", "statefulset", "fifth", "-p", &bad.to_string()]).ok();
    ns.wait_ready("migrated", 2);
    let fails = json!({"spec": {"template": {
        "metadata": {"annotations": {"fake.test/mode-1": "init-fail"}},
        "spec": {"initContainers": [{"name": "init-postgres", "image": "postgres:16"}]},
    }}});
    ns.kubectl(&["patch", "statefulset", "migrated", "-p", &fails.to_string()]).ok();
    ns.wait_ready("third", 5);
    ns.kubectl(&["scale", "statefulset", "third", "--replicas=3"]).ok();

    an_unbound_pvc(&ns, &small);
    a_replica_that_is_refused(&ns);
    a_copy_that_is_refused(&ns);
    an_init_container_that_an_update_broke(&ns);
    pvcs_that_are_left(&ns);
    replicas_without_an_order(&ns);
    another_major_version(&ns);
    names_that_do_not_resolve(&ns);
    // Of all that, only what is no fault is left to say.
    let left = found(&ns, &[]);
    assert!(left.iter().all(|one| one.contains(" note ")), "{left:?}");
    cluster.kubectl(&["delete", "--wait=false", "pv", &small, &format!("{}-data-first-0", ns.name)]).ok();
    cluster.kubectl(&["delete", "storageclass", &local]).ok();
}

/// Problem 1: no PV fits, and its class provisions none.
fn an_unbound_pvc(ns: &Namespace, small: &str) {
    let pending =
        finding(ns, "STS203", "data-first-0", &["has no dynamic provisioning", small, "it has 1Gi"]);
    paste(ns, &pending["try"]);
    ns.wait_ready("first", 1);
    is_gone(ns, "STS203", "data-first");
    let claim = ns.kubectl_json(&["get", "pvc", "data-first-0"]);
    assert_eq!(claim["spec"]["volumeName"], format!("{}-data-first-0", ns.name));
}

/// Problem 2: the first replica runs, and the second may not copy it.
fn a_replica_that_is_refused(ns: &Namespace) {
    let crash = finding(ns, "STS402", "second-1", &["exited with code 1"]);
    let remedy = hint(&crash, "postgres-role-missing");
    assert!(remedy.contains("CREATE ROLE"), "{remedy}");
    paste(ns, &crash["try"]);
    // The role is created.
    ns.kubectl(&["annotate", "pod", "second-1", "--overwrite", "fake.test/mode-1=ready"]).ok();
    ns.wait_ready("second", 2);
    is_gone(ns, "STS402", "second");
}

/// The same, in the init container that copies the data.
fn a_copy_that_is_refused(ns: &Namespace) {
    let failing = finding(ns, "STS403", "copied-1", &["container init-postgres exited with code 1"]);
    let remedy = hint(&failing, "postgres-role-missing");
    assert!(remedy.contains("CREATE ROLE"), "{remedy}");
    paste(ns, &failing["try"]);
    // The role is created.
    ns.kubectl(&["annotate", "pod", "copied-1", "--overwrite", "fake.test/mode-1=ready"]).ok();
    ns.wait_ready("copied", 2);
    is_gone(ns, "STS403", "copied");
}

/// The way back, where an update has brought the init container that fails.
fn an_init_container_that_an_update_broke(ns: &Namespace) {
    let failing = finding(ns, "STS403", "migrated-1", &["container init-postgres exited with code 1"]);
    undo(ns, &failing, "migrated");
    ns.wait_rolled_out("migrated", 2);
    is_gone(ns, "STS403", "migrated");
    let template = ns.kubectl_json(&["get", "statefulset", "migrated"])["spec"]["template"].clone();
    assert_eq!(template["spec"]["initContainers"][0]["image"], "postgres:15");
}

/// Runs the way back that a finding prints beside the way forward.
fn undo(ns: &Namespace, finding: &Value, set: &str) {
    let ways = ["try", "or"].map(|field| finding[field].as_array().unwrap().clone()).concat();
    let start = format!("kubectl sts undo {set} ");
    let back = ways.iter().find(|line| line.as_str().is_some_and(|line| line.starts_with(&start)));
    paste(ns, &json!([back.unwrap_or_else(|| panic!("{finding:#}"))]));
}

/// Problem 3: PVCs of replicas that no longer exist.
fn pvcs_that_are_left(ns: &Namespace) {
    let left = ns.wait("orphaned PVCs", PATIENCE, || {
        let run = ns.sts(&["doctor", "third", "-o", "json", "--only", "STS210"]);
        let report: Value = serde_json::from_str(&run.stdout).map_err(|error| format!("{error}: {run}"))?;
        let found = report["findings"][0].clone();
        let what = found["what"].as_str().unwrap_or_default();
        if what.starts_with("2 PVCs of third (20Gi)") { Ok(found) } else { Err(run.to_string()) }
    });
    assert!(
        left["because"].as_str().unwrap().contains("destroys the data (reclaim policy Delete)"),
        "{left:#}"
    );
    paste(ns, &left["try"]);
    is_gone(ns, "STS210", "");
    let claims = ns.kubectl(&["get", "pvc", "-l", "app=third", "-o", "name"]).ok();
    assert_eq!(claims.lines().count(), 3, "{claims}");
}

/// Problem 4: replicas start without an order. The article's patch is refused by the API server, as the finding says.
fn replicas_without_an_order(ns: &Namespace) {
    let parallel = finding(ns, "STS307", "fourth", &["podManagementPolicy is Parallel", "cannot be changed"]);
    assert_eq!((&parallel["severity"], &parallel["try"]), (&json!("note"), &json!([])), "{parallel:#}");
    let ordered = r#"{"spec":{"podManagementPolicy":"OrderedReady"}}"#;
    let patch = ns.kubectl(&["patch", "statefulset", "fourth", "-p", ordered]);
    // In the words of this version, or of older ones.
    let said = ["podManagementPolicy: Invalid value: \"OrderedReady\": field is immutable", "are forbidden"];
    assert!(patch.code != 0 && said.iter().any(|words| patch.stderr.contains(words)), "{patch}");
    // It is another StatefulSet then, with the same pods.
    ns.kubectl(&["delete", "statefulset", "fourth", "--cascade=orphan"]).ok();
    ns.apply(&alone("fourth", "fourth", 3, &slow(), ""));
    is_gone(ns, "STS307", "fourth");
    let ready = ["fake.test/ready-delay-1=0s", "fake.test/ready-delay-2=0s"];
    ns.kubectl(&[&["annotate", "pods", "-l", "app=fourth", "--overwrite"], &ready[..]].concat()).ok();
}

/// Problem 5: the new image cannot open the data.
fn another_major_version(ns: &Namespace) {
    let crash = finding(ns, "STS402", "fifth-2", &["exited with code 1"]);
    let remedy = hint(&crash, "postgres-other-major-version");
    assert!(remedy.contains("put the image of that major version back"), "{remedy}");
    undo(ns, &crash, "fifth");
    ns.wait_rolled_out("fifth", 3);
    is_gone(ns, "STS402", "fifth");
    let images = ns
        .kubectl(&["get", "pods", "-l", "app=fifth", "-o", "jsonpath={.items[*].spec.containers[0].image}"])
        .ok();
    assert_eq!(images, "postgres:15 postgres:15 postgres:15");
}

/// Problem 6: the headless Service has another name than serviceName, or there is none.
fn names_that_do_not_resolve(ns: &Namespace) {
    let misspelt = finding(ns, "STS101", "sixth", &["sixth-headless is headless", "probably misspelt"]);
    paste(ns, &misspelt["try"]);
    is_gone(ns, "STS101", "sixth");
    let now = ns.kubectl_json(&["get", "statefulset", "sixth"]);
    assert_eq!(now["spec"]["serviceName"], "sixth-headless");
    let missing = finding(ns, "STS101", "seventh", &["seventh-0.seventh-headless."]);
    paste(ns, &missing["try"]);
    is_gone(ns, "STS101", "seventh");
    for name in ["sixth", "seventh"] {
        ns.wait_rolled_out(name, 2);
        let service = ns.kubectl_json(&["get", "service", &format!("{name}-headless")]);
        assert_eq!(
            (&service["spec"]["clusterIP"], &service["spec"]["selector"]["app"]),
            (&json!("None"), &json!(name))
        );
    }
}
