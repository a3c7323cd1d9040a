//! Faults as a kubelet makes them, with its own rhythm: each is found in its time, and the finding stays, with its cause, in every
//! phase of the fault.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::machine::{Machine, machine, undisturbed};
use crate::support::controlplane::loud;
use crate::support::{Namespace, Run};

const PATIENCE: Duration = Duration::from_secs(300);

/// For how long a fault is looked at after it was found.
const SAMPLED: Duration = Duration::from_secs(180);

/// A process that ends at once, and without an error, when it is told to, as PostgreSQL and nginx do.
const POLITE: &str = "trap 'exit 0' TERM; while :; do sleep 1; done";

/// A fault, and what is to be found.
pub struct Fault {
    name: &'static str,
    /// The rule, or `-` for nothing.
    code: &'static str,
    /// What the finding says of the cause, all the time.
    cause: &'static [&'static str],
    /// Changes of the container.
    container: Value,
    /// Changes of the pod.
    pod: Value,
    /// When it can be found at last: the numbers of the kubelet, twice.
    within: u64,
}

fn shell(script: &str) -> Value {
    json!({"command": ["sh", "-c", script]})
}

fn probe(kind: &str, script: &str, period: u32, failures: u32) -> Value {
    let exec = json!({"command": ["sh", "-c", script]});
    json!({ kind: {"exec": exec, "periodSeconds": period, "failureThreshold": failures} })
}

fn volume(source: Value) -> (Value, Value) {
    let Value::Object(mut volume) = source else { panic!("no volume") };
    volume.insert("name".to_owned(), json!("v"));
    (json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}), json!({ "volumes": [volume] }))
}

#[rustfmt::skip]
fn faults() -> Vec<Fault> {
    let of = |name, code, within, cause, container: Value| Fault { name, code, cause, container, pod: json!({}), within };
    let with = |name, code, within, cause, (container, pod)| Fault { name, code, cause, container, pod, within };
    let key = |source: Value| json!({"env": [{"name": "P", "valueFrom": source}]});
    vec![
        of("healthy", "-", 0, &[], json!({})),
        of("pre-stop", "-", 0, &[], json!({"lifecycle": {"preStop": {"exec": {"command": ["sleep", "20"]}}}})),
        of("oom", "STS407", 80, &["memory"], json!({"command": ["sh", "-c", "echo working; tail /dev/zero"], "resources": {"limits": {"memory": "48Mi"}}})),
        of("liveness", "STS414", 80, &["liveness probe failed", "not alive"], probe("livenessProbe", "echo not alive; exit 1", 2, 3)),
        of("liveness-slow", "STS414", 200, &["liveness probe failed", "not alive"], probe("livenessProbe", "echo not alive; exit 1", 10, 3)),
        of("startup", "STS414", 120, &["startup probe failed"], probe("startupProbe", "exit 1", 2, 5)),
        of("readiness", "STS404", 130, &["readiness probe failed", "waiting for peers"], probe("readinessProbe", "echo waiting for peers; exit 1", 2, 3)),
        with("secret-volume", "STS406", 80, &["Secret nosuch"], volume(json!({"secret": {"secretName": "nosuch"}}))),
        with("config-volume", "STS406", 80, &["ConfigMap nosuch"], volume(json!({"configMap": {"name": "nosuch"}}))),
        of("secret-env", "STS406", 40, &["Secret nosuch"], key(json!({"secretKeyRef": {"name": "nosuch", "key": "p"}}))),
        of("config-key", "STS406", 40, &["key nokey of ConfigMap kube-root-ca.crt"], key(json!({"configMapKeyRef": {"name": "kube-root-ca.crt", "key": "nokey"}}))),
        with("run-as-nonroot", "STS406", 40, &["image will run as root"], (json!({}), json!({"securityContext": {"runAsNonRoot": true}}))),
        of("no-command", "STS402", 80, &["not found"], json!({"command": ["nosuch-program"]})),
        of("permission", "STS402", 80, &["code 1"], json!({"command": ["sh", "-c", "touch /data/x && sleep 1000"], "securityContext": {"runAsUser": 1000}})),
        with("fs-group", "STS402", 80, &["code 1"], (
            shell("echo x > /data/x || exit 1; sleep 1000"),
            json!({"securityContext": {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 2000}}),
        )),
        of("exit-0", "STS402", 80, &["without an error"], shell("echo done")),
        of("flapping", "STS402", 180, &["code 3"], shell("sleep 12; exit 3")),
        of("post-start", "STS402", 80, &["postStart"], json!({"lifecycle": {"postStart": {"exec": {"command": ["sh", "-c", "exit 1"]}}}})),
        of("message", "STS402", 80, &["code 9"], shell("echo 'cannot open /data/x: stale lock' > /dev/termination-log; exit 9")),
        with("full-disk", "STS402", 80, &["code 1"], (
            json!({"command": ["sh", "-c", "dd if=/dev/zero of=/e/x bs=1M count=60 || exit 1; sleep 1000"], "volumeMounts": [{"name": "e", "mountPath": "/e"}]}),
            json!({"volumes": [{"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "20Mi"}}]}),
        )),
        with("sidecar", "STS402", 80, &["code 4"], (json!({}), json!({"initContainers": [{"name": "side", "image": "localhost/busybox:1", "restartPolicy": "Always", "command": ["sh", "-c", "sleep 1; exit 4"]}]}))),
        with("init", "STS403", 80, &["code 5"], (json!({}), json!({"initContainers": [{"name": "first", "image": "localhost/busybox:1", "command": ["sh", "-c", "echo no primary; exit 5"]}]}))),
        of("never-pull", "STS401", 40, &["Never"], json!({"image": "localhost/postgres:16", "imagePullPolicy": "Never"})),
        of("no-tag", "STS401", 40, &["not found"], json!({"image": "localhost:5000/postgres:nope"})),
        of("denied", "STS401", 40, &["401"], json!({"image": "localhost:5000/denied/postgres:15"})),
        of("bad-name", "STS401", 40, &["localhost/Postgres:15"], json!({"image": "localhost/Postgres:15"})),
        with("host-path", "STS212", 300, &["hostPath type check failed"], volume(json!({"hostPath": {"path": "/nosuch/folder", "type": "Directory"}}))),
        of("too-big", "STS405", 40, &["cpu"], json!({"resources": {"requests": {"cpu": "64"}}})),
    ]
}

impl Fault {
    /// The one with this name, such as `healthy`.
    pub fn named(name: &str) -> Fault {
        faults().into_iter().find(|fault| fault.name == name).expect("a fault of this name")
    }

    pub fn manifest(&self) -> String {
        let mut container = json!({"name": "main", "image": "localhost/busybox:1", "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", POLITE], "volumeMounts": []});
        merge(&mut container, &self.container);
        container["volumeMounts"].as_array_mut().unwrap().push(json!({"name": "data", "mountPath": "/data"}));
        let mut pod = json!({"terminationGracePeriodSeconds": 3, "containers": [container]});
        merge(&mut pod, &self.pod);
        let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        let labels = json!({"app": "db"});
        let set = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
            "spec": {
                "serviceName": "db", "replicas": 2, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
            },
        });
        let service = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
            "spec": {"clusterIP": "None", "selector": labels, "ports": [{"port": 8080}]},
        });
        json!({"apiVersion": "v1", "kind": "List", "items": [service, set]}).to_string()
    }
}

fn merge(object: &mut Value, more: &Value) {
    for (key, value) in more.as_object().unwrap() {
        object[key] = value.clone();
    }
}

/// What was seen of a fault.
struct Seen {
    began: Instant,
    /// When it was found first.
    first: Option<Duration>,
    samples: usize,
    /// After that: what was said instead.
    wrong: Vec<String>,
}

impl Seen {
    fn from(began: Instant) -> Self {
        Self { began, first: None, samples: 0, wrong: Vec::new() }
    }
}

/// Findings of all namespaces, by namespace.
fn all_findings(machine: &Machine) -> BTreeMap<String, Vec<Value>> {
    let plane = &machine.cluster.plane;
    let mut command = plane.command(env!("CARGO_BIN_EXE_kubectl-sts"));
    plane.clean(&mut command).env("KUBECONFIG", &plane.kubeconfig);
    let run = Run::of(command.args(["doctor", "-A", "--no-logs", "-o", "json"]), "");
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for finding in report["findings"].as_array().unwrap() {
        found.entry(finding["namespace"].as_str().unwrap().to_owned()).or_default().push(finding.clone());
    }
    found
}

/// What is wrong with these findings; nothing if they are as they should be.
fn differs(fault: &Fault, findings: &[Value]) -> Option<String> {
    let text = |finding: &Value| format!("{} {} | {}", finding["code"], finding["what"], finding["because"]);
    let all: Vec<String> = findings.iter().map(text).collect();
    let is_it = match findings {
        [] => fault.code == "-",
        [finding] => finding["code"] == fault.code && fault.cause.iter().all(|cause| all[0].contains(cause)),
        _ => false,
    };
    (!is_it).then(|| if all.is_empty() { "nothing".to_owned() } else { all.join("\n          ") })
}

#[test]
fn every_fault_is_found_in_time_and_stays_with_its_cause() {
    let Some(machine) = machine() else { return };
    let _held = undisturbed();
    let faults = faults();
    let spaces: Vec<Namespace> = faults.iter().map(|fault| machine.cluster.namespace(fault.name)).collect();
    let apply = |(fault, ns): (&Fault, &Namespace)| {
        ns.apply(&fault.manifest());
        Seen::from(Instant::now())
    };
    let mut seen: Vec<Seen> = faults.iter().zip(&spaces).map(apply).collect();
    let is_over = |fault: &Fault, seen: &Seen| {
        let elapsed = seen.began.elapsed();
        seen.first.map_or(elapsed.as_secs() > fault.within, |first| elapsed > first + SAMPLED)
    };
    while faults.iter().zip(&seen).any(|(fault, seen)| !is_over(fault, seen)) {
        let found = all_findings(machine);
        for ((fault, ns), seen) in faults.iter().zip(&spaces).zip(&mut seen) {
            let wrong = differs(fault, found.get(&ns.name).map_or(&[][..], Vec::as_slice));
            let now = seen.began.elapsed();
            seen.samples += 1;
            match wrong {
                None => _ = seen.first.get_or_insert(now),
                Some(wrong) if seen.first.is_some() || now.as_secs() > fault.within => {
                    let pods = ns.kubectl(&["get", "pods", "--no-headers"]).stdout;
                    seen.wrong.push(format!("after {now:.0?}: {wrong}\n          {}", pods.trim()));
                }
                Some(_) => {}
            }
        }
        std::thread::sleep(Duration::from_secs(2));
    }
    let mut table = String::from("fault           rule    first   wrong, of samples\n");
    for (fault, seen) in faults.iter().zip(&seen) {
        let first = seen.first.map_or("never".to_owned(), |first| format!("{first:.0?}"));
        let (name, code, wrong, samples) = (fault.name, fault.code, seen.wrong.len(), seen.samples);
        let _ = writeln!(table, "{name:15} {code:7} {first:>5}   {wrong:3} of {samples}");
    }
    loud(&table);
    for (fault, seen) in faults.iter().zip(&seen) {
        for wrong in seen.wrong.iter().take(3) {
            let _ = writeln!(table, "  {}: {wrong}", fault.name);
        }
    }
    let is_right = |seen: &Seen| seen.first.is_some() && seen.wrong.is_empty();
    assert!(seen.iter().all(is_right), "{table}");
}

#[test]
fn what_only_the_log_says_is_shown() {
    let Some(machine) = machine() else { return };
    let _held = undisturbed();
    let ns = machine.cluster.namespace("log");
    ns.apply(&Fault::named("full-disk").manifest());
    let found = ns.wait("a finding with what the log says", PATIENCE, || {
        let run = ns.sts(&["doctor", "-o", "json"]);
        let report: Value = serde_json::from_str(&run.stdout).map_err(|error| error.to_string())?;
        let found = report["findings"][0].clone();
        let hint = found["log"]["hint"].to_string();
        if hint.contains("file system is full") { Ok(found) } else { Err(run.stdout) }
    });
    assert_eq!(found["code"], "STS402");
    assert!(found["log"]["lines"].to_string().contains("No space left on device"), "{found}");
    let command = found["try"][0].as_str().unwrap();
    // Between the two, a container may start, which has written nothing yet.
    ns.wait("the log", PATIENCE, || {
        let run = ns.shell(command);
        if run.stdout.contains("No space left on device") { Ok(()) } else { Err(run.to_string()) }
    });
}

/// What decides such a case stands in the log alone: it is shown in every phase, also while the container that runs now has
/// written nothing yet.
#[test]
fn what_only_the_log_says_stays() {
    let Some(machine) = machine() else { return };
    let _held = undisturbed();
    let cases = [("full-disk", "file system is full"), ("fs-group", "may not read or write")];
    let spaces: Vec<Namespace> = cases.iter().map(|(name, _)| machine.cluster.namespace(name)).collect();
    for ((name, _), ns) in cases.iter().zip(&spaces) {
        ns.apply(&Fault::named(name).manifest());
    }
    let mut first: Vec<Option<Instant>> = vec![None; cases.len()];
    let (began, mut samples, mut wrong) = (Instant::now(), 0, String::new());
    while began.elapsed() < SAMPLED + Duration::from_secs(60) {
        for (((name, hint), ns), first) in cases.iter().zip(&spaces).zip(&mut first) {
            let run = ns.sts(&["doctor", "-o", "json"]);
            let report: Value =
                serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
            let findings = report["findings"].as_array().unwrap();
            let is_it = findings.len() == 1
                && findings[0]["code"] == "STS402"
                && findings[0]["log"]["hint"].to_string().contains(hint);
            match (is_it, &first) {
                (true, None) => *first = Some(Instant::now()),
                (false, Some(_)) => {
                    let pods = ns.kubectl(&["get", "pods", "--no-headers"]).stdout;
                    let _ = writeln!(wrong, "{name} after {:.0?}: {}{pods}", began.elapsed(), run.stdout);
                }
                _ => {}
            }
        }
        samples += 1;
        std::thread::sleep(Duration::from_secs(2));
    }
    loud(&format!("{} cases that only the log decides: {samples} samples each", cases.len()));
    assert!(
        first.iter().all(|first| first.is_some_and(|first| first - began < Duration::from_secs(60))),
        "{first:?}"
    );
    assert!(wrong.is_empty(), "{wrong}");
}
