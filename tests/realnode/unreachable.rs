//! A node that is cut off and returns. The module has the last name: libtest starts tests by name, and this one waits for all
//! others that need the node.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::article::codes;
use super::faults::Fault;
use super::fixtures::hold;
use super::machine::{disturbed, machine};
use crate::support::Namespace;
use crate::support::findings::{finding, pasted};
use crate::support::recorder::{LOST, WINDOW, Watch, conditions, lost};

const PATIENCE: Duration = Duration::from_secs(300);

#[test]
fn a_lost_node_is_found_and_its_return_too() {
    let Some(machine) = machine() else { return };
    let _held = disturbed();
    let ns = machine.cluster.namespace("lost");
    ns.apply(&Fault::named("healthy").manifest());
    ns.wait_ready("db", 2);
    let watch = Watch::of(&ns, WINDOW + Duration::from_secs(15));
    ns.apply(&lost("node1").manifest().to_string());
    let began = Instant::now();
    thread::sleep(LOST);
    let away = machine.lose_node();
    let mut record = {
        thread::sleep((WINDOW + Duration::from_secs(2)).saturating_sub(began.elapsed()));
        watch.record("lost-node")
    };
    record.steps.push(conditions(&machine.cluster, "node1"));
    let wrong = hold("lost-node", &record);
    assert!(wrong.is_empty(), "{wrong}");
    let found = finding(&ns, "STS409", "db-0", &["NodeStatusUnknown"]);
    assert_eq!(found["set"], "db");
    let run = ns.sts(&["recover", "db", "--yes"]).code(4);
    assert!(run.stderr.contains("node"), "{run}");
    drop(away);
    ns.wait("doctor to find nothing", PATIENCE, || {
        let found = codes(&ns);
        if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
    });
    ns.wait_ready("db", 2);
}

/// A database of two that may not lose a pod, and nothing that keeps its pods on a node.
const GUARDED: &str = "
apiVersion: v1
kind: Service
metadata: {name: guarded}
spec: {clusterIP: None, selector: {app: guarded}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: guarded}
spec: {minAvailable: 2, selector: {matchLabels: {app: guarded}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: guarded}
spec:
  serviceName: guarded
  replicas: 2
  selector: {matchLabels: {app: guarded}}
  template:
    metadata: {labels: {app: guarded}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: 'localhost/busybox:1', command: [sh, -c, 'trap exit TERM; while :; do sleep 1; done']}]
";

/// A node that may have pods again, also when the test fails.
struct Cordoned<'n>(&'n Namespace);

impl Drop for Cordoned<'_> {
    fn drop(&mut self) {
        let _ = self.0.cluster.plane.kubectl().args(["uncordon", "node1"]).output();
    }
}

/// Looks for so long at what is found: always this and nothing else, with this in its reason.
fn stays(ns: &Namespace, code: &str, part: &str, time: Duration) -> Value {
    let began = Instant::now();
    loop {
        let run = ns.sts(&["doctor", "-o", "json"]);
        let report: Value =
            serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"));
        let findings = report["findings"].as_array().unwrap();
        let is_it = findings.len() == 1
            && findings[0]["code"] == code
            && findings[0]["because"].as_str().unwrap().contains(part);
        assert!(is_it, "not {code} with {part:?}\n{run}");
        if began.elapsed() > time {
            return findings[0].clone();
        }
        thread::sleep(Duration::from_secs(2));
    }
}

#[test]
fn a_drain_that_a_budget_refuses_and_the_way_out() {
    let Some(machine) = machine() else { return };
    let _held = disturbed();
    let ns = machine.cluster.namespace("drained");
    ns.apply(GUARDED);
    ns.wait_ready("guarded", 2);
    let found = finding(&ns, "STS313", "guarded", &["minAvailable is 2 of 2 pods"]);
    assert_eq!(found["severity"], "note");
    let drain = ["drain", "node1", "--pod-selector", "app=guarded", "--timeout", "15s"];
    let _cordoned = Cordoned(&ns);
    let run = ns.kubectl(&drain).code(1);
    assert!(run.stderr.contains("violate the pod's disruption budget"), "{run}");
    let found =
        stays(&ns, "STS313", "node node1 is cordoned, and a drain of it waits", Duration::from_secs(180));
    assert_eq!(found["severity"], "warning");
    pasted(&ns, found["try"][0].as_str().unwrap()).ok();
    // One may go now. There is no other node for it, so the second has to stay.
    ns.wait("the controller of the budget", PATIENCE, || {
        let budget = ns.kubectl_json(&["get", "pdb", "guarded"]);
        if budget["status"]["disruptionsAllowed"] == 1 { Ok(()) } else { Err(budget["status"].to_string()) }
    });
    let run = ns.kubectl(&drain).code(1);
    assert!(run.stdout.contains("evicted") || run.stderr.contains("disruption budget"), "{run}");
    let is_pending = |pod: &Value| pod["status"]["phase"] == "Pending";
    let pods = ns.wait("a pod without a node", PATIENCE, || {
        let pods = ns.kubectl_json(&["get", "pods"])["items"].as_array().unwrap().clone();
        if pods.iter().filter(|pod| is_pending(pod)).count() == 1 {
            Ok(pods)
        } else {
            Err(format!("{pods:?}"))
        }
    });
    let pending = pods.iter().find(|pod| is_pending(pod)).unwrap()["metadata"]["name"].as_str().unwrap();
    let found = finding(&ns, "STS405", pending, &["cordoned"]);
    pasted(&ns, found["try"][0].as_str().unwrap()).ok();
    ns.wait_ready("guarded", 2);
    ns.wait("doctor to find nothing", PATIENCE, || {
        let found = codes(&ns);
        if found.is_empty() { Ok(()) } else { Err(format!("{found:?}")) }
    });
}
