//! `watch` on the real control plane: true order, right end, right cause, and a terminal left as it was found.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use serde_json::Value;

use crate::support::{self, Namespace, Run};

/// A set with a Service; `spec` and `annotations` in flow style.
fn set(name: &str, replicas: i32, spec: &str, annotations: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{clusterIP: None, selector: {{app: {name}}}, \
         ports: [{{port: 80}}]}}}}\n---\n{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: {name}}}, spec: \
         {{replicas: {replicas}, serviceName: {name}, selector: {{matchLabels: {{app: {name}}}}}, {spec} template: {{metadata: \
         {{labels: {{app: {name}}}, annotations: {{{annotations}}}}}, spec: {{terminationGracePeriodSeconds: 1, containers: \
         [{{name: web, image: 'web:1'}}]}}}}}}}}\n"
    )
}

/// Starts `watch`, waits until it has looked, makes the change, and gives back what it said.
fn watch_while(ns: &Namespace, args: &[&str], change: impl FnOnce()) -> Run {
    let mut command = ns.sts_command(&[&["watch"], args].concat());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let said = Arc::new(Mutex::new(String::new()));
    let mut stdout = child.stdout.take().unwrap();
    let sink = Arc::clone(&said);
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count) = stdout.read(&mut buffer) {
            if count == 0 {
                break;
            }
            sink.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    });
    support::wait("watch to look", support::PATIENCE, || {
        let said = said.lock().unwrap().clone();
        if said.contains(" available") { Ok(()) } else { Err(said) }
    });
    change();
    let deadline = Instant::now() + support::PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("watch does not end: {}\n{:?}", said.lock().unwrap(), ns.pods());
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    reader.join().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let stdout = said.lock().unwrap().clone();
    Run { command: format!("{command:?}"), code: status.code().unwrap_or(-1), stdout, stderr }
}

#[test]
fn a_connection_that_breaks_is_no_end() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("watch-cut");
    ns.apply(&set("web", 3, "", ""));
    ns.wait_ready("web", 3);
    let proxy = support::proxy::Proxy::start(cluster);
    let run = watch_while(&ns, &["web", "--server", &proxy.server, "--stable-for", "12s"], || {
        proxy.cut();
        ns.kubectl(&["set", "image", "sts/web", "web=web:2"]).ok();
        ns.wait_rolled_out("web", 3);
        proxy.mend();
    })
    .code(0);
    // What happened in the dark is told afterwards, and the end is the true one.
    for pod in ["web-0", "web-1", "web-2"] {
        assert!(order(&run, "created").contains(&pod), "{run}");
    }
    assert!(run.stdout.ends_with("web: the rollout is complete\n"), "{run}");
}

/// The pods of the lines that say this, in the order they were said.
fn order<'t>(run: &'t Run, event: &str) -> Vec<&'t str> {
    run.stdout
        .lines()
        .filter_map(|line| line.split_once("  ")?.1.trim_start().split_once(": "))
        .map(|(_, rest)| rest)
        .zip(run.stdout.lines())
        .filter(|(text, _)| text.starts_with(event))
        .filter_map(|(_, line)| line.split_whitespace().nth(1)?.strip_suffix(':'))
        .collect()
}

/// Keeps watch from ending before the change: a set at rest is settled at once, unless it has to stay so for a while.
const PATIENT: [&str; 2] = ["--stable-for", "4s"];

#[test]
fn scaling_up_and_down_is_told_in_order() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("watch-scale");
    ns.apply(&set("web", 3, "", ""));
    ns.wait_ready("web", 3);
    let up = watch_while(&ns, &["web", PATIENT[0], PATIENT[1]], || {
        ns.kubectl(&["scale", "sts/web", "--replicas=5"]).ok();
    })
    .code(0);
    assert_eq!(order(&up, "created"), ["web-3", "web-4"], "{up}");
    assert_eq!(order(&up, "available"), ["web-3", "web-4"], "{up}");
    let down = watch_while(&ns, &["web", PATIENT[0], PATIENT[1]], || {
        ns.kubectl(&["scale", "sts/web", "--replicas=2"]).ok();
    })
    .code(0);
    assert_eq!(order(&down, "deleted"), ["web-4", "web-3", "web-2"], "{down}");
    assert!(down.stdout.contains("web: scaling from 5 to 2"), "{down}");
}

#[test]
fn an_update_is_told_highest_first() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("watch-update");
    ns.apply(&set("web", 3, "", ""));
    ns.wait_ready("web", 3);
    let run = watch_while(&ns, &["web", PATIENT[0], PATIENT[1]], || {
        ns.kubectl(&["set", "image", "sts/web", "web=web:2"]).ok();
    })
    .code(0);
    assert_eq!(order(&run, "deleted"), ["web-2", "web-1", "web-0"], "{run}");
    assert_eq!(order(&run, "available"), ["web-2", "web-1", "web-0"], "{run}");
    assert!(run.stdout.ends_with("web: the rollout is complete\n"), "{run}");
}

#[test]
fn a_partition_ends_where_it_stops() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("watch-partition");
    let partition = "updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 3}},";
    ns.apply(&set("web", 5, partition, ""));
    ns.wait_ready("web", 5);
    let run = watch_while(&ns, &["web", PATIENT[0], PATIENT[1]], || {
        ns.kubectl(&["set", "image", "sts/web", "web=web:2"]).ok();
    })
    .code(0);
    assert_eq!(order(&run, "deleted"), ["web-4", "web-3"], "{run}");
    assert!(run.stdout.ends_with("the rollout is paused at partition 3 (web-3)\n"), "{run}");
}

#[test]
fn on_delete_waits_for_you() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("watch-ondelete");
    ns.apply(&set("web", 3, "updateStrategy: {type: OnDelete},", ""));
    ns.wait_ready("web", 3);
    let run = watch_while(&ns, &["web", PATIENT[0], PATIENT[1]], || {
        ns.kubectl(&["set", "image", "sts/web", "web=web:2"]).ok();
        for pod in ["web-1", "web-0", "web-2"] {
            ns.delete(&["pod", pod]);
            ns.wait_ready("web", 3);
        }
    })
    .code(0);
    assert_eq!(order(&run, "deleted"), ["web-1", "web-0", "web-2"], "{run}");
    ns.kubectl(&["set", "image", "sts/web", "web=web:3"]).ok();
    let run = ns.sts(&["watch", "web", "--timeout", "3s"]).code(124);
    assert!(run.stdout.contains("OnDelete: waiting until you delete web-"), "{run}");
}

#[test]
fn a_parallel_set_is_followed_too() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("watch-parallel");
    ns.apply(&set("web", 3, "podManagementPolicy: Parallel,", ""));
    ns.wait_ready("web", 3);
    let run = watch_while(&ns, &["web", PATIENT[0], PATIENT[1]], || {
        ns.kubectl(&["set", "image", "sts/web", "web=web:2"]).ok();
    })
    .code(0);
    assert_eq!(order(&run, "deleted"), ["web-2", "web-1", "web-0"], "{run}");
}

#[test]
fn min_ready_seconds_are_waited_for() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("watch-minready");
    ns.apply(&set("web", 2, "minReadySeconds: 3,", ""));
    let run = ns.sts(&["watch", "web"]).code(0);
    let status: Value = serde_json::from_str(&ns.sts(&["status", "web", "-o", "json"]).ok()).unwrap();
    assert_eq!(status["availableReplicas"], 2, "{run}");
}

/// Each end with exit code 1 within the time, naming pod and cause.
#[test]
fn what_will_not_come_is_named() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("watch-stuck");
    ns.apply(&set("pull", 1, "", "fake.test/mode: imagepull"));
    ns.apply(&set("crash", 1, "", "fake.test/mode: crashloop"));
    ns.apply(&set("never", 1, "", "fake.test/mode: unready"));
    ns.apply(&set("nowhere", 1, "", "").replace("containers:", "nodeSelector: {no: such}, containers:"));
    std::thread::scope(|scope| {
        for (name, code, text) in [
            ("pull", Some("STS401"), "ImagePull"),
            ("crash", Some("STS402"), "crash"),
            ("never", None, "running, but not ready in the time its probes allow"),
            ("nowhere", Some("STS405"), "node"),
        ] {
            let ns = &ns;
            scope.spawn(move || {
                let run = ns.sts(&["watch", name, "--stuck-after", "3s", "--timeout", "80s"]).code(1);
                assert!(run.stdout.contains(&format!("stuck on {name}-0")), "{run}");
                assert!(run.stdout.contains(text), "{run}");
                if let Some(code) = code {
                    assert!(run.stdout.contains(code), "{run}");
                }
                let json = ns.sts(&["watch", name, "--stuck-after", "1s", "-o", "json"]).code(1).stdout;
                let last: Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
                assert_eq!(last["outcome"], "stuck", "{json}");
                assert_eq!(last["stuckOn"], format!("{name}-0"), "{json}");
                for line in json.lines() {
                    serde_json::from_str::<Value>(line).unwrap();
                }
            });
        }
    });
}

#[test]
fn ready_and_then_crashing_is_not_settled() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("watch-stable");
    ns.apply(&set("web", 1, "", "fake.test/then: crashloop, fake.test/then-after: 3s"));
    let run =
        ns.sts(&["watch", "web", "--stable-for", "8s", "--stuck-after", "2s", "--timeout", "80s"]).code(1);
    assert!(run.stdout.contains("web-0: no longer available"), "{run}");
}

#[test]
fn a_terminal_is_left_as_it_was_found() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("watch-pty");
    ns.apply(&set("web", 3, "", "fake.test/ready-delay: 1h"));
    ns.wait_pod_status("web-0", "Running");
    for (rows, columns) in [(24u16, 80u16), (10, 40), (6, 18)] {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pty = native_pty_system().openpty(size).unwrap();
        let plain = ns.sts_command(&["watch", "web"]);
        let mut command = CommandBuilder::new(plain.get_program());
        command.args(plain.get_args());
        command.env_clear();
        for (key, value) in plain.get_envs() {
            command.env(key, value.unwrap_or_default());
        }
        let mut child = pty.slave.spawn_command(command).unwrap();
        drop(pty.slave);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut reader = pty.master.try_clone_reader().unwrap();
        let sink = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = reader.read(&mut buffer) {
                if count == 0 {
                    break;
                }
                sink.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        let text = || String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
        support::wait("the frame", support::PATIENCE, || {
            if text().contains("web-0") { Ok(()) } else { Err(text()) }
        });
        pty.master.take_writer().unwrap().write_all(b"\x03").unwrap();
        let status = child.wait().unwrap();
        drop(pty.master);
        let _ = thread.join();
        assert_eq!(status.exit_code(), 130, "{}", text());
        let all = text();
        let words = all.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            words.contains("stopped watching; the scaling of web to 3 replicas continues in the cluster"),
            "{words}"
        );
        assert!(words.contains(&format!("follow kubectl sts watch web -n {}", ns.name)), "{words}");
        assert!(!words.contains("the same command again"), "nothing was begun: {words}");
        let (hidden, shown) = (all.rfind("\x1b[?25l"), all.rfind("\x1b[?25h"));
        assert!(hidden.is_some() && shown > hidden, "the cursor is shown again: {all:?}");
        for line in all.split(['\n', '\r']) {
            let width = console_width(line);
            // A command to paste is never broken, and long words have lines of their own.
            let is_whole = line.trim_start().starts_with("kubectl ") || !line.trim().contains(' ');
            assert!(width <= usize::from(columns) || is_whole, "{width} columns in {line:?}");
        }
    }
}

/// How many columns a line takes without its escapes.
fn console_width(line: &str) -> usize {
    kubectl_sts::text::clean(line).chars().count()
}

#[test]
fn what_is_wrong_with_a_pod_stands_in_the_frame() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("watch-frame");
    ns.apply(&set("web", 2, "", ""));
    ns.wait_ready("web", 2);
    ns.kubectl(&["set", "image", "sts/web", "web=web:does-not-exist"]).ok();
    ns.wait_pod_status("web-1", "ImagePullBackOff");
    let event = format!(
        "{{apiVersion: v1, kind: Event, metadata: {{name: web-1.1}}, type: Warning, reason: Failed, message: 'Failed to pull \
         image: not found', involvedObject: {{apiVersion: v1, kind: Pod, name: web-1, namespace: {}, uid: {}}}, \
         lastTimestamp: '{}'}}",
        ns.name,
        ns.kubectl_json(&["get", "pod", "web-1"])["metadata"]["uid"],
        jiff::Timestamp::now(),
    );
    ns.apply(&event);
    for size in [(24, 80), (15, 60)] {
        let terminal = support::terminal::Terminal::start(
            &ns.sts_command(&["status", "web", "-w", "--color", "never"]),
            size,
            None,
        );
        support::wait("the frame", support::PATIENCE, || {
            let text = terminal.text();
            let frame = text.rsplit("\x1b[0J").next().unwrap_or_default();
            let wanted = [
                "image: web:does-not-exist",
                "no readiness probe",
                "web-1  updated   ImagePullBackOff for ",
                "Failed to pull image: not found",
                "web-0  outdated  available, next",
            ];
            let missing: Vec<&str> = wanted.into_iter().filter(|it| !frame.contains(it)).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} in {frame}")) }
        });
        terminal.signal(rustix::process::Signal::INT);
        let text = terminal.ended().text;
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let follow = format!("follow kubectl sts watch web -n {}", ns.name);
        let undo = format!("undo kubectl sts undo web -n {}", ns.name);
        assert!(words.contains("stopped watching; the rollout of web is blocked by web-1"), "{words}");
        // Nothing moves that could be paused.
        assert!(words.contains(&follow) && words.contains(&undo) && !words.contains("pause"), "{words}");
    }
}

#[test]
fn events_tell_when_and_of_which_set() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("watch-json");
    ns.apply(&set("web", 1, "", ""));
    ns.wait_ready("web", 1);
    for args in [&["watch", "web", "-o", "json"][..], &["watch", "web", "-o", "yaml"]] {
        let run = ns.sts(args).code(0);
        assert_eq!(run.stderr, "", "{run}");
        if args.contains(&"yaml") {
            assert!(run.stdout.contains("kind: Event") && run.stdout.contains("namespace: "), "{run}");
            continue;
        }
        let events: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(events.len() > 1, "{run}");
        for event in events.iter().filter(|event| event["kind"] == "Event") {
            assert_eq!((&event["name"], &event["namespace"]), (&"web".into(), &ns.name.as_str().into()));
            let time: jiff::Timestamp = event["time"].as_str().unwrap().parse().unwrap();
            assert!(jiff::Timestamp::now().duration_since(time).as_secs().abs() < 600, "{time}");
        }
    }
    let run = ns.sts(&["watch", "web", "-o", "name"]).code(0);
    assert_eq!(run.stdout, "statefulset.apps/web\n");
    assert!(run.stderr.contains("web: the rollout is complete"), "{run}");
}

#[test]
fn a_recording_cannot_be_watched() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("watch-from");
    let run = ns.sts(&["watch", "web", "--from", "x.yaml"]).code(2);
    assert!(run.stderr.contains("a recording is a snapshot"), "{run}");
    let run = ns.sts(&["watch", "nothing"]).code(3);
    assert!(run.stderr.contains("no StatefulSet \"nothing\""), "{run}");
}
