//! From an event at the API server to the line of `watch`, for a small and a large set, on the real control plane.
//!
//! `cargo bench --bench watch` prints p50 and p99. The clock of an event is a second watch, raw, in this process: both
//! get the event from the same API server at the same moment, so the difference is what `watch` itself takes.
#![allow(missing_docs, dead_code, clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

#[path = "../tests/support/controlplane.rs"]
mod controlplane;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use controlplane::{ControlPlane, Found};
use serde_json::Value;

/// Events measured for each size.
const EVENTS: usize = 200;
const PAUSE: Duration = Duration::from_millis(50);

fn main() {
    let found =
        ControlPlane::find(Path::new(env!("CARGO_MANIFEST_DIR")), &|line| eprintln!("{line}")).unwrap();
    let Found::Plane(plane) = found else {
        eprintln!("no control plane, nothing measured");
        return;
    };
    println!("{:>6}  {:>9}  {:>9}  {:>9}", "pods", "p50 ms", "p99 ms", "max ms");
    for replicas in [3, 1000] {
        let mut took = measure(&plane, replicas);
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
        println!("{replicas:>6}  {:>9.2}  {:>9.2}  {:>9.2}", at(50), at(99), at(100));
    }
}

fn measure(plane: &ControlPlane, replicas: usize) -> Vec<Duration> {
    let namespace = format!("bench-{replicas}");
    let kubectl = |args: &[&str]| {
        let done = plane.kubectl().args(["-n", &namespace]).args(args).output().unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    kubectl(&["create", "namespace", &namespace]);
    let yaml = format!(
        "{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: web}}, spec: {{replicas: {replicas}, \
         podManagementPolicy: Parallel, selector: {{matchLabels: {{app: web}}}}, template: {{metadata: {{labels: {{app: \
         web}}}}, spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: web, image: web}}]}}}}}}}}"
    );
    let mut apply =
        plane.kubectl().args(["-n", &namespace, "apply", "-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    apply.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
    assert!(apply.wait().unwrap().success());
    kubectl(&["rollout", "status", "sts/web", "--timeout=20m"]);

    let mut proxy = plane.kubectl().args(["proxy", "--port=0"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(proxy.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let server = line.trim().rsplit(' ').next().unwrap().to_owned();

    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    plane.clean(&mut command).arg("--kubeconfig").arg(&plane.kubeconfig);
    let mut watch = command
        .args(["-n", &namespace, "watch", "web", "--stable-for", "1h", "--stuck-after", "1h"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = lines(watch.stdout.take().unwrap());
    next(&lines, "wanted");
    let events = events(&server, &namespace);

    // A pod made unready and ready again gives one event and one line each.
    let pod = format!("web-{}", replicas / 2);
    let mut took = Vec::new();
    for number in 0..EVENTS {
        let mode = if number % 2 == 0 { "unready" } else { "ready" };
        patch(&server, &namespace, &pod, mode);
        let wanted = if number % 2 == 0 { "not available any more" } else { "available" };
        let shown = next(&lines, wanted);
        let seen = event(&events, &pod, if number % 2 == 0 { "False" } else { "True" });
        took.push(shown.saturating_duration_since(seen));
        thread::sleep(PAUSE);
    }
    let _ = watch.kill();
    let _ = watch.wait();
    let _ = proxy.kill();
    let _ = proxy.wait();
    kubectl(&["delete", "namespace", &namespace, "--wait=false"]);
    took
}

/// The lines of a stream, each with the moment it came.
fn lines(stream: impl Read + Send + 'static) -> Receiver<(Instant, String)> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    receiver
}

fn next(lines: &Receiver<(Instant, String)>, wanted: &str) -> Instant {
    loop {
        let (at, line) = lines.recv_timeout(Duration::from_secs(60)).unwrap();
        if line.contains(wanted) {
            return at;
        }
    }
}

/// When the event came that says the pod is ready, or not.
fn event(events: &Receiver<(Instant, String)>, pod: &str, ready: &str) -> Instant {
    loop {
        let (at, line) = events.recv_timeout(Duration::from_secs(60)).unwrap();
        if !line.contains(pod) {
            continue;
        }
        let event: Value = serde_json::from_str(&line).unwrap();
        let conditions = event["object"]["status"]["conditions"].as_array();
        let is_it = |condition: &Value| condition["type"] == "Ready" && condition["status"] == ready;
        if event["object"]["metadata"]["name"] == pod && conditions.is_some_and(|all| all.iter().any(is_it)) {
            return at;
        }
    }
}

/// A raw watch of the pods.
fn events(server: &str, namespace: &str) -> Receiver<(Instant, String)> {
    let mut stream = TcpStream::connect(server).unwrap();
    let path = format!(
        "/api/v1/namespaces/{namespace}/pods?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    );
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {server}\r\nAccept: application/json\r\n\r\n").unwrap();
    let all = lines(stream);
    // Up to the bookmark that ends what was there before.
    loop {
        let (_, line) = all.recv_timeout(Duration::from_secs(60)).unwrap();
        if line.contains("k8s.io/initial-events-end") {
            return all;
        }
    }
}

fn patch(server: &str, namespace: &str, pod: &str, mode: &str) {
    let body = format!("{{\"metadata\":{{\"annotations\":{{\"fake.test/mode\":\"{mode}\"}}}}}}");
    let mut stream = TcpStream::connect(server).unwrap();
    let head = format!(
        "PATCH /api/v1/namespaces/{namespace}/pods/{pod} HTTP/1.0\r\nHost: {server}\r\nContent-Type: application/merge-patch+json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.contains(" 200 "), "{answer}");
}
