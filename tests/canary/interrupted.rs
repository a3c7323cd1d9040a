//! Killed at every write, and edited under its hands.

use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use serde_json::{Value, json};

use super::proxy::{Proxy, Then};
use super::witness::Observer;
use super::{get, mark, partition, pods, ready, settled};
use crate::support::proxy::killed;
use crate::support::{self, Namespace, PATIENCE};

/// Every write of a command, lost and muted, each on a namespace of its own: then the same command again ends well.
fn at_every_write(
    hint: &str,
    writes: usize,
    prepare: fn(&Namespace),
    args: &[&str],
    end: fn(&Namespace, &Observer),
) {
    let Some(cluster) = support::cluster() else { return };
    let cases: Vec<(usize, Then)> =
        (0..=writes).flat_map(|write| [(write, Then::Lose), (write, Then::Mute)]).collect();
    for pair in cases.chunks(4) {
        std::thread::scope(|scope| {
            for (write, then) in pair {
                scope.spawn(move || {
                    let ns = cluster.namespace(&format!("{hint}-{write}"));
                    ready(&ns, "web", 3, "", "");
                    let witness = Observer::of(&ns, 3);
                    prepare(&ns);
                    let killed = killed(&ns, args, *write, *then);
                    // A conflict with the controller's own writes makes one more.
                    assert!(killed || *write >= writes, "{write} {then:?}");
                    ns.sts(args).code(0);
                    end(&ns, &witness);
                });
            }
        });
    }
}

#[test]
fn a_ladder_ends_the_same_after_any_interruption() {
    at_every_write(
        "ladder",
        3,
        |_| {},
        &["canary", "web", "--steps", "2,0", "--image", "web=web:2", "--yes"],
        |ns, witness| {
            let set = settled(ns, "web", 3);
            assert_eq!((partition(&set), mark(&set)), (0, None));
            let image = &set["spec"]["template"]["spec"]["containers"][0]["image"];
            assert_eq!(image, "web:2");
            assert_eq!(witness.deleted(ns), ["web-2", "web-1", "web-0"]);
        },
    );
}

#[test]
fn an_abort_ends_the_same_after_any_interruption() {
    at_every_write(
        "abort",
        3,
        |ns| {
            let args = ["canary", "web", "--partition", "2", "--image", "web=web:does-not-exist", "--yes"];
            ns.sts(&[&args[..], &["--stuck-after", "1s"]].concat()).code(1);
        },
        &["abort", "web", "--yes"],
        |ns, witness| {
            let set = settled(ns, "web", 3);
            assert_eq!((partition(&set), mark(&set)), (0, None));
            let image = &set["spec"]["template"]["spec"]["containers"][0]["image"];
            assert_eq!(image, "postgres:15-alpine");
            assert_eq!(witness.deleted(ns), ["web-2", "web-2"]);
            witness.never_touched(ns, &["web-0", "web-1"]);
        },
    );
}

#[test]
fn an_edit_in_the_moment_of_the_write_is_a_conflict() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-conflict");
    let args = ["canary", "web", "--partition", "2", "--image", "web=web:2", "--yes"];
    // Of the spec: what was agreed to is not what there is any more.
    let before = ready(&ns, "web", 3, "", "");
    let edit = |patch: serde_json::Value| {
        let mut command = cluster.plane.kubectl();
        command.args(["-n", &ns.name, "patch", "sts/web", "--type=merge", "-p", &patch.to_string()]);
        let command = Mutex::new(command);
        move |count: usize| {
            if count == 0 {
                assert!(command.lock().unwrap().output().unwrap().status.success());
            }
            Then::Pass
        }
    };
    let proxy = Proxy::of(&ns, edit(json!({"spec": {"revisionHistoryLimit": 4}})));
    let run = ns.sts(&[&args[..], &["--server", &proxy.server]].concat()).code(4);
    assert!(run.stdout.contains("the cluster changed"), "{run}");
    let after = get(&ns, "web");
    assert_eq!((partition(&after), mark(&after)), (0, None));
    assert_eq!(after["spec"]["template"], before["spec"]["template"]);
    // Of a label: the same write is as right as before.
    let proxy = Proxy::of(&ns, edit(json!({"metadata": {"labels": {"team": "db"}}})));
    let run = ns.sts(&[&args[..], &["--server", &proxy.server]].concat()).code(0);
    let journal = run.stdout.split_once("done:").unwrap().1.matches("patch StatefulSet web").count();
    assert_eq!(journal, 2, "a conflict, and then the write\n{run}");
    let after = get(&ns, "web");
    assert_eq!((partition(&after), mark(&after).is_some()), (2, true));
    assert_eq!(after["metadata"]["labels"]["team"], "db");
}

#[test]
fn an_edit_while_it_asks_is_shown_and_asked_again() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-edited");
    ready(&ns, "web", 3, "", "");
    let first = pods(&ns);
    let size = PtySize { rows: 50, cols: 160, pixel_width: 0, pixel_height: 0 };
    let pty = native_pty_system().openpty(size).unwrap();
    let plain = ns.sts_command(&["canary", "web", "--partition", "2", "--image", "web=web:2"]);
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
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            sink.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
    });
    let text = || String::from_utf8_lossy(&seen.lock().unwrap()).into_owned();
    let asked = |times: usize| {
        support::wait("the question", PATIENCE, || {
            let text = text();
            if text.matches("[y/N]").count() >= times { Ok(text) } else { Err(text) }
        })
    };
    let mut writer = pty.master.take_writer().unwrap();
    assert!(asked(1).contains("partition 0 → 2"));
    let patch = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}});
    ns.patch("statefulset/web", &patch);
    // The watch brings the edit, or the write fails by it: either way it must not be done as shown.
    std::thread::sleep(Duration::from_millis(300));
    let before = asked(1).matches("[y/N]").count();
    // A key pressed twice answers no plan that was not there yet.
    writer.write_all(b"yy").unwrap();
    let shown = support::wait("the new plan", PATIENCE, || {
        let text = text();
        if text.contains("partition 1 → 2") && text.matches("[y/N]").count() > before {
            Ok(text)
        } else {
            Err(text)
        }
    });
    assert!(shown.contains("the cluster changed"), "{shown}");
    assert_eq!(mark(&get(&ns, "web")), None, "nothing was written before it was asked again");
    writer.write_all(b"y").unwrap();
    let status = child.wait().unwrap();
    drop(pty.master);
    let _ = thread.join();
    assert_eq!(status.exit_code(), 0, "{}", text());
    let set = get(&ns, "web");
    assert_eq!((partition(&set), mark(&set).unwrap()["partition"].as_i64()), (2, Some(1)));
    assert_eq!(pods(&ns)[..2], first[..2]);
}

/// The new pod is not ready for long.
const SLOW: &str = r#"{"metadata": {"annotations": {"fake.test/mode": "unready"}}}"#;

#[test]
fn an_interruption_tells_what_was_done() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-ctrl-c");
    ready(&ns, "web", 3, "", "");
    let mut command =
        ns.sts_command(&["canary", "web", "--pods", "1", "--patch", SLOW, "--yes", "-o", "json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    support::wait("the write", PATIENCE, || match mark(&get(&ns, "web")) {
        Some(_) => Ok(()),
        None => Err("no mark yet".to_owned()),
    });
    std::thread::sleep(Duration::from_millis(500));
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{text}");
    let result: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&result["kind"], &result["outcome"]), (&json!("Result"), &json!("interrupted")), "{text}");
    assert_eq!(result["journal"][0]["result"], "done", "{text}");
    assert!(result["type"].to_string().contains("sts abort web"), "{text}");
}
