//! Containers that their probes kill, on the real control plane: found from the second kill on in every phase, with what
//! the probe says, and the advice carried out as printed. Neighbours that only look like it stay silent.

use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::phases::{Followed, Phase, Sample, logs_print, sample, stays};
use crate::support::{self, Namespace};

const LIVENESS: &str =
    "livenessProbe: {httpGet: {path: /live, port: 80}, periodSeconds: 1, failureThreshold: 2}";
const STARTUP: &str = "startupProbe: {exec: {command: ['false']}, periodSeconds: 1, failureThreshold: 2}";
const READINESS: &str = "readinessProbe: {tcpSocket: {port: 80}}";

/// A set of one replica with its Service; its container is named `main`.
fn set(name: &str, annotations: &str, container: &str, pod: &str) -> String {
    format!(
        "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{clusterIP: None, selector: {{app: \
         {name}}}}}}}\n---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}}}\nspec:\n  serviceName: \
         {name}\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}, \
         annotations: {{fake.test/moment: 6s, fake.test/down: 6s, fake.test/log: 'received SIGTERM', \
         {annotations}}}}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      {pod}\n      containers: [{{name: \
         main, image: 'web:1', {container}}}]\n"
    )
}

/// What doctor finds about a pod.
fn finding(ns: &Namespace, pod: &str) -> Option<Value> {
    let report: Value = serde_json::from_str(&ns.sts(&["doctor", "-o", "json"]).stdout).unwrap();
    let all = report["findings"].as_array().unwrap().iter();
    let mut own = all.filter(|finding| finding["object"]["name"] == pod && finding["severity"] == "error");
    own.next().cloned()
}

/// Waits until the pod was killed often enough, and gives what doctor finds about it.
fn killed(ns: &Namespace, pod: &str) -> Value {
    ns.wait(&format!("{pod} to be found killed"), support::PATIENCE, || {
        let found = finding(ns, pod);
        found.filter(|found| found["code"] == "STS414").ok_or_else(|| format!("{:?}", finding(ns, pod)))
    })
}

/// Name, annotations, container, pod, the container's name, and words of the reason.
type Case<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a [&'a str]);

#[test]
fn a_container_that_its_probe_kills_is_found_in_every_phase() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("killed");
    let sidecar = "initContainers: [{name: side, image: 'side:1', restartPolicy: Always, livenessProbe: {httpGet: {path: \
                   /live, port: 80}, periodSeconds: 1, failureThreshold: 2}}]";
    let cases: [Case<'_>; 7] = [
        (
            "polite",
            "fake.test/mode: liveness, fake.test/up: 6s",
            LIVENESS,
            "",
            "main",
            &["its liveness probe failed: "],
        ),
        (
            "deaf",
            "fake.test/mode: liveness, fake.test/up: 6s, fake.test/exit-code: '137'",
            LIVENESS,
            "",
            "main",
            &["was killed", "failureThreshold 2"],
        ),
        (
            "told",
            "fake.test/mode: liveness, fake.test/up: 6s, fake.test/exit-code: '143'",
            LIVENESS,
            "",
            "main",
            &["was killed", "restarts so far"],
        ),
        (
            "own-code",
            "fake.test/mode: liveness, fake.test/up: 6s, fake.test/exit-code: '3'",
            LIVENESS,
            "",
            "main",
            &["was killed"],
        ),
        (
            "startup",
            "fake.test/mode: startup, fake.test/up: 6s, fake.test/message: ''",
            STARTUP,
            "",
            "main",
            &["its startup probe failed and printed nothing; "],
        ),
        (
            "sidecar",
            "fake.test/mode: liveness, fake.test/up: 6s, fake.test/container: side",
            "",
            sidecar,
            "side",
            &["container side was killed"],
        ),
        // Its kubelet has no event left but for the first two kills.
        (
            "dry",
            "fake.test/mode: liveness, fake.test/up: 6s, fake.test/restarts: '7', fake.test/event-burst: '9'",
            LIVENESS,
            "",
            "main",
            &["was killed 2 times", "its liveness probe failed"],
        ),
    ];
    let manifest: String =
        cases.iter().map(|(name, notes, container, pod, ..)| set(name, notes, container, pod)).collect();
    ns.apply(&manifest);
    // What its probe killed is never shown as terminated.
    let phases = &["running", "CrashLoopBackOff"];
    let pods: Vec<String> = cases.iter().map(|(name, ..)| format!("{name}-0")).collect();
    let followed: Vec<Followed<'_>> = cases
        .iter()
        .zip(&pods)
        .map(|((.., container, _), pod)| Followed { pod, container, phases })
        .collect();
    let samples = sample(&ns, &followed, 3);
    let mut wrong = String::new();
    for ((name, .., container, words), pod) in cases.iter().zip(&pods) {
        let due = |phase: &Phase| phase.restarts >= if *name == "dry" { 8 } else { 2 };
        let shows = |sample: &Sample| *name == "dry" || sample.knows_why_it_ended(pod, container);
        let found = stays(&samples, pod, container, due, shows, "STS414", words);
        let printed = logs_print(&samples, pod, container, "received SIGTERM\n");
        for error in [found, printed].into_iter().filter_map(Result::err) {
            let _ = writeln!(wrong, "{error}");
        }
    }
    let last = samples.last().unwrap().findings("dry-0")[0]["because"].to_string();
    if !last.contains("the last such event") {
        let _ = writeln!(wrong, "it does not say how old its evidence is: {last}");
    }
    assert!(wrong.is_empty(), "{wrong}");

    // A recording has it as well, and a person can make one of what kubectl prints.
    let codes = |text: &str| {
        let run = ns.sts_in(&["doctor", "-o", "json", "--from", "-"], text);
        let report: Value =
            serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"));
        let all = report["findings"].as_array().unwrap().clone();
        all.iter().filter(|finding| finding["code"] == "STS414").count()
    };
    assert_eq!(codes(&ns.sts(&["record"]).ok()), cases.len());
    assert_eq!(codes(&ns.kubectl(&["get", "sts,pods,events", "-o", "yaml"]).ok()), cases.len());
}

#[test]
fn one_kill_a_restart_and_a_deletion_are_no_pattern() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("not-killed");
    let once = "fake.test/mode: liveness, fake.test/up: 5s, fake.test/then: ready, fake.test/then-after: 8s";
    ns.apply(&(set("once", once, LIVENESS, "") + &set("rolled", "fake.test/mode: ready", LIVENESS, "")));
    ns.wait_pod("once-0", "it was killed once", |pod| Phase::of(pod, "main").restarts == 1);
    let began = Instant::now();
    let mut rolled = 0_usize;
    while began.elapsed() < Duration::from_secs(20) {
        if ns.pods().get("rolled-0").is_some_and(|pod| pod.ready == "1/1") {
            // kubectl refuses to do it twice within a second.
            let run = ns.kubectl(&["rollout", "restart", "statefulset/rolled"]);
            rolled += usize::from(run.code == 0);
        }
        for pod in ["once-0", "rolled-0"] {
            let found = finding(&ns, pod);
            assert!(found.is_none_or(|found| found["code"] != "STS414"), "{pod}: {:?}", finding(&ns, pod));
        }
        thread::sleep(Duration::from_millis(300));
    }
    assert!(rolled > 2, "the pod was deleted {rolled} times");
    let events = ns.kubectl(&["get", "events"]).ok();
    assert!(events.contains("Stopping container main"), "{events}");
    assert!(events.contains("failed liveness probe, will be restarted"), "{events}");
    assert_eq!(Phase::of(&ns.kubectl_json(&["get", "pod", "once-0"]), "main").restarts, 1);
}

#[test]
fn a_probe_that_asks_too_early_or_too_fast_gets_more_time() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("more-time");
    let slow = "fake.test/mode: liveness, fake.test/needs: '100', fake.test/ready-delay: 1h, fake.test/message: 'dial tcp: connect: connection \
                refused'";
    let late = "fake.test/mode: liveness, fake.test/needs: '6', fake.test/message: 'Get \"http://10.9.0.1:80/live\": context deadline exceeded'";
    let starts = "fake.test/mode: startup, fake.test/needs: '100', fake.test/message: ''";
    ns.apply(
        &(set("slow", slow, &format!("{LIVENESS}, {READINESS}"), "")
            + &set("late", late, LIVENESS, "")
            + &set("starts", starts, STARTUP, "")),
    );
    for (name, probe, field, value) in [
        ("slow", "livenessProbe", "initialDelaySeconds", 300),
        ("late", "livenessProbe", "timeoutSeconds", 5),
        ("starts", "startupProbe", "failureThreshold", 300),
    ] {
        let pod = format!("{name}-0");
        let found = killed(&ns, &pod);
        let before = ns.kubectl_json(&["get", "sts", name])["spec"]["template"]["spec"].clone();
        let uid = ns.kubectl_json(&["get", "pod", &pod])["metadata"]["uid"].clone();
        let lines: Vec<&str> = found["try"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(lines[0].starts_with(&format!("kubectl logs {pod} -c main")), "{lines:?}");
        for line in &lines {
            ns.shell(line).ok();
        }
        // Only that field of the probe is another one, and the pod has it.
        let mut expected = before;
        expected["containers"][0][probe][field] = json!(value);
        assert_eq!(ns.kubectl_json(&["get", "sts", name])["spec"]["template"]["spec"], expected, "{lines:?}");
        ns.wait_pod(&pod, "it was made again with it", |pod| {
            pod["metadata"]["uid"] != uid && pod["spec"]["containers"][0][probe][field] == value
        });
        ns.wait("nothing to be wrong with it", support::PATIENCE, || match finding(&ns, &pod) {
            None => Ok(()),
            Some(found) => Err(found.to_string()),
        });
    }
}

#[test]
fn an_update_that_brought_it_is_undone_and_a_wrong_question_is_shown() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("brought");
    let asks = "fake.test/mode: liveness, fake.test/message: 'HTTP probe failed with statuscode: 404'";
    ns.apply(&(set("update", "fake.test/mode: ready", LIVENESS, "") + &set("asks", asks, LIVENESS, "")));
    ns.wait_ready("update", 1);
    ns.apply(&set("update", "fake.test/mode: liveness, fake.test/message: ''", LIVENESS, ""));
    let found = killed(&ns, "update-0");
    assert!(found["try"][0].as_str().unwrap().starts_with("kubectl sts undo update"), "{found}");
    run_remedy_of(&ns, &found);
    ns.wait("nothing to be wrong with it", support::PATIENCE, || match finding(&ns, "update-0") {
        None => Ok(()),
        Some(found) => Err(found.to_string()),
    });

    let found = killed(&ns, "asks-0");
    let line = found["try"][0].as_str().unwrap();
    let probe: Value = serde_json::from_str(&ns.shell(line).ok()).unwrap();
    assert_eq!(probe["httpGet"]["path"], "/live", "{line}");
    assert!(found["because"].as_str().unwrap().contains("correct livenessProbe.httpGet.path"), "{found}");
    assert!(found["or"][0].as_str().unwrap().starts_with("kubectl edit statefulset asks"), "{found}");
}

/// Carries out what a finding says to try; our own commands ask first, and here nobody answers.
fn run_remedy_of(ns: &Namespace, finding: &Value) {
    for command in finding["try"].as_array().unwrap() {
        ns.shell(&format!("{} --yes", command.as_str().unwrap())).ok();
    }
}

#[test]
fn watch_sees_the_kills_that_begin_while_it_watches() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("watched");
    let never = "fake.test/mode: liveness, fake.test/ready-delay: 1h, fake.test/exit-code: '0'";
    ns.apply(&set("web", never, &format!("{LIVENESS}, {READINESS}"), ""));
    let run = ns.sts(&["watch", "web", "--stuck-after", "30s", "--timeout", "2m"]).code(1);
    let said = run.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("web-0 is restarted repeatedly because its liveness probe fails"), "{run}");
}
