//! The six problems of the article: each with what is found, the advice carried out as printed, and nothing found after it.

use std::path::Path;
use std::time::Duration;

use super::article::{Shop, codes};
use super::machine::{machine, undisturbed};
use crate::support::Namespace;
use crate::support::findings::{finding, paste};

const PATIENCE: Duration = Duration::from_secs(300);

/// A web server that says its own name; its headless Service is `web`, if it is there.
const WEB: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  serviceName: web
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: localhost/busybox:1
        command: [sh, -c, 'mkdir /www; hostname > /www/index.html; exec httpd -f -h /www']
        ports: [{containerPort: 80, name: http}]
        readinessProbe: {httpGet: {port: 80, path: /}, periodSeconds: 1}
";

const SERVICE: &str = "
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
";

#[track_caller]
fn is_well(ns: &Namespace) {
    ns.wait("doctor to find nothing", PATIENCE, || {
        let codes = codes(ns);
        if codes.is_empty() { Ok(()) } else { Err(format!("{codes:?}")) }
    });
}

/// Whether a pod finds another one by its name, which is `web-1` of the Service `web`.
fn resolves(ns: &Namespace) -> Result<(), String> {
    let name = format!("web-1.web.{}.svc.cluster.local", ns.name);
    let run = ns.kubectl(&["exec", "web-0", "--", "nslookup", &name]);
    let is_found = run.code == 0 && run.stdout.contains(&format!("Name:\t{name}"));
    if is_found { Ok(()) } else { Err(run.to_string()) }
}

#[test]
fn problem_1_a_storage_class_that_is_not_there() {
    let Some(machine) = machine() else { return };
    let _held = undisturbed();
    let shop = Shop::new(machine, "problem-1");
    let class = machine.cluster.unique("fast-ssd");
    let manifest = include_str!("manifests/postgres.yaml")
        .replace("storageClassName: standard", &format!("storageClassName: {class}"));
    shop.ns.apply(&manifest);
    let found = finding(&shop.ns, "STS201", "data-postgres-0", &["StorageClass standard"]);
    assert_eq!(found["severity"], "error");
    paste(&shop.ns, &found["try"]);
    shop.watch(0);
    shop.streams(2);
    shop.is_well();
    machine.cluster.kubectl(&["delete", "storageclass", &class]).ok();
}

#[test]
fn problem_2_replicas_that_cannot_be_initialised() {
    let Some(machine) = machine() else { return };
    let _held = undisturbed();
    let shop = Shop::new(machine, "problem-2");
    let manifest = include_str!("manifests/postgres.yaml");
    let line = manifest.lines().find(|line| line.contains("CREATE ROLE")).unwrap();
    shop.ns.apply(&manifest.replace(line.trim(), "true"));
    let run = shop.watch(1);
    assert!(run.stdout.contains("STS403"), "{run}");
    let found = finding(&shop.ns, "STS403", "postgres-1", &["init-postgres"]);
    // The reason is in the log of the init container only, and what it says to type shows it in each phase of the loop.
    assert!(run.stdout.contains("password authentication failed for user"), "{run}");
    let command = found["try"][0].as_str().unwrap();
    assert!(shop.ns.shell(command).ok().contains("password authentication failed for user"), "{command}");
    shop.sql("postgres-0", "create role replicator with replication login password 'replicapassword'");
    shop.ns.delete(&["pod", "postgres-1"]);
    shop.watch(0);
    shop.streams(2);
    shop.is_well();
}

#[test]
fn problem_3_claims_of_replicas_that_are_gone() {
    let Some(machine) = machine() else { return };
    let _held = undisturbed();
    let ns = machine.cluster.namespace("problem-3");
    let claims = "
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
";
    ns.apply(&format!("{}{claims}{SERVICE}", WEB.trim_end()));
    ns.wait_ready("web", 2);
    is_well(&ns);
    let claim = ns.kubectl_json(&["get", "pvc", "data-web-1"]);
    let volume = claim["spec"]["volumeName"].as_str().unwrap();
    let path =
        ns.kubectl_json(&["get", "pv", volume])["spec"]["hostPath"]["path"].as_str().unwrap().to_owned();
    let folder = machine.dir.join("volumes").join(Path::new(&path).file_name().unwrap());
    assert!(folder.is_dir(), "{}", folder.display());
    ns.kubectl(&["scale", "statefulset", "web", "--replicas=1"]).ok();
    let found = finding(&ns, "STS210", "web", &["destroys the data"]);
    paste(&ns, &found["try"]);
    is_well(&ns);
    // The class says Delete: the data is gone, as the plan said.
    ns.wait("the PV to be gone", PATIENCE, || {
        let run = ns.cluster.kubectl(&["get", "pv", volume]);
        if run.code == 1 && run.stderr.contains("NotFound") { Ok(()) } else { Err(run.to_string()) }
    });
    assert!(!folder.exists(), "{}", folder.display());
}

#[test]
fn problem_4_replicas_that_start_without_an_order() {
    let Some(machine) = machine() else { return };
    let _held = undisturbed();
    let ns = machine.cluster.namespace("problem-4");
    let probe = "exec: {command: [test, -e, /tmp/ready]}, periodSeconds: 1";
    let manifest = WEB.replace("httpGet: {port: 80, path: /}, periodSeconds: 1", probe);
    ns.apply(&manifest.replace("  replicas: 2", "  podManagementPolicy: Parallel\n  replicas: 2"));
    ns.apply(SERVICE);
    let found = finding(&ns, "STS307", "web", &["podManagementPolicy is Parallel", "cannot be changed"]);
    assert_eq!(found["severity"], "note");
    // What the article says to do.
    let patch = ["patch", "statefulset", "web", "-p", r#"{"spec":{"podManagementPolicy":"OrderedReady"}}"#];
    let refused = ns.kubectl(&patch).code(1);
    assert!(refused.stderr.contains("field is immutable"), "{refused}");
    // What the page says to do.
    ns.kubectl(&["delete", "statefulset", "web", "--cascade=orphan"]).ok();
    ns.apply(&manifest);
    for pod in ["web-0", "web-1"] {
        ns.kubectl(&["exec", pod, "--", "touch", "/tmp/ready"]).ok();
    }
    ns.wait_ready("web", 2);
    is_well(&ns);
}

// Problem 5, an update that does not start, is a part of the article's workflow.

#[test]
fn problem_6_names_that_do_not_resolve() {
    let Some(machine) = machine() else { return };
    let _held = undisturbed();
    let ns = machine.cluster.namespace("problem-6");
    ns.apply(WEB);
    ns.wait_ready("web", 2);
    let found = finding(&ns, "STS101", "web", &[]);
    assert!(resolves(&ns).is_err());
    paste(&ns, &found["try"]);
    ns.wait("the name to resolve", PATIENCE, || resolves(&ns));
    is_well(&ns);
    // A container that has nslookup only, and a DNS that is no pod.
    let run = ns.sts(&["doctor", "--probe-dns", "--from-pod", "web-0"]).code(0);
    assert!(run.stdout.contains("3 of 3 answers right"), "{run}");
}

#[test]
fn problem_6_a_service_name_that_is_misspelt() {
    let Some(machine) = machine() else { return };
    let _held = undisturbed();
    let ns = machine.cluster.namespace("problem-6-misspelt");
    ns.apply(&format!("{}{SERVICE}", WEB.replace("serviceName: web", "serviceName: website")));
    ns.wait_ready("web", 2);
    assert!(resolves(&ns).is_err());
    let found = finding(&ns, "STS101", "web", &["probably misspelt"]);
    paste(&ns, &found["try"]);
    ns.wait("the name to resolve", PATIENCE, || resolves(&ns));
    ns.wait_rolled_out("web", 2);
    is_well(&ns);
}
