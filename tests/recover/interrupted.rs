//! Killed at every write, and with pods replaced under its hands.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use super::{set, trap, uids};
use crate::canary::proxy::{Proxy, Then};
use crate::support::proxy::killed;
use crate::support::{self, PATIENCE};

/// Each write of the command is lost or goes unanswered, and the program dies of it: run again, all is as it should be.
fn converges(hint: &str, writes: usize, args: &[&str], back_by_hand: bool, spec: &str) {
    let Some(cluster) = support::cluster() else { return };
    let cases: Vec<(usize, Then)> =
        (0..writes).flat_map(|write| [(write, Then::Lose), (write, Then::Mute)]).collect();
    for part in cases.chunks(3) {
        std::thread::scope(|scope| {
            for (write, then) in part {
                scope.spawn(move || {
                    let ns = cluster.namespace(&format!("{hint}-{write}"));
                    if back_by_hand {
                        trap(&ns, "web", 2, "web-1", spec);
                    } else {
                        ns.apply(&set("web", 2, spec));
                        ns.wait_ready("web", 2);
                        ns.kubectl(&["set", "image", "sts/web", "web=web:does-not-exist"]).ok();
                        ns.wait_pod_status("web-1", "ImagePullBackOff");
                    }
                    let before = uids(&ns);
                    assert!(killed(&ns, args, *write, *then), "{write} {then:?}");
                    // A pod that is on its way is nothing to recover, and that is said; it comes by itself.
                    let again = ns.sts(args);
                    let coming =
                        again.stderr.contains("(merely-slow)") || again.stderr.contains("(terminating)");
                    assert!(again.code == 0 || (again.code == 4 && coming), "{again}");
                    let set = ns.wait_rolled_out("web", 2);
                    assert_eq!(set["spec"]["template"]["spec"]["containers"][0]["image"], "web:1");
                    let after = uids(&ns);
                    assert_eq!(after["web-0"], before["web-0"]);
                    assert_ne!(after["web-1"], before["web-1"]);
                    let last = ns.sts(args).code(0);
                    assert!(last.stdout.contains("nothing to do"), "{last}");
                    assert_eq!(uids(&ns), after);
                });
            }
        });
    }
}

#[test]
fn recover_ends_the_same_after_any_interruption() {
    let nil = "updateStrategy: {type: RollingUpdate},";
    converges("recover-killed", 2, &["recover", "web", "--yes"], true, nil);
}

#[test]
fn undo_ends_the_same_after_any_interruption() {
    converges("undo-killed", 2, &["undo", "web", "--yes"], false, "");
}

#[test]
fn undo_to_a_number_ends_the_same_after_any_interruption() {
    converges("undo-to-killed", 2, &["undo", "web", "--to-revision", "1", "--yes"], false, "");
}

#[test]
fn a_pod_replaced_in_the_moment_of_the_deletion_is_left() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("recover-replaced");
    trap(&ns, "web", 2, "web-1", "");
    let before = uids(&ns);
    let delete = Mutex::new({
        let mut command = cluster.plane.kubectl();
        command.args(["-n", &ns.name, "delete", "pod", "web-1", "--wait=true"]);
        command
    });
    let mut look = cluster.plane.kubectl();
    look.args(["-n", &ns.name, "wait", "--for=create", "--timeout=60s", "pod/web-1"]);
    let look = Mutex::new(look);
    let proxy = Proxy::of(&ns, move |count| {
        if count == 0 {
            assert!(delete.lock().unwrap().output().unwrap().status.success());
            assert!(look.lock().unwrap().output().unwrap().status.success());
        }
        Then::Pass
    });
    let run = ns.sts(&["recover", "web", "--yes", "--server", &proxy.server]).code(4);
    assert!(run.stdout.contains("the cluster changed"), "{run}");
    let between = uids(&ns);
    ns.wait_rolled_out("web", 2);
    let after = uids(&ns);
    assert_ne!(after["web-1"], before["web-1"]);
    assert_eq!(between, after, "the new pod was not deleted\n{run}");
}

#[test]
fn a_pod_replaced_while_it_asks_is_left() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("recover-asked");
    trap(&ns, "web", 2, "web-1", "");
    let size = PtySize { rows: 50, cols: 160, pixel_width: 0, pixel_height: 0 };
    let pty = native_pty_system().openpty(size).unwrap();
    let plain = ns.sts_command(&["recover", "web"]);
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
    support::wait("the question", PATIENCE, || {
        let text = text();
        if text.contains("Delete pod web-1 in ") { Ok(()) } else { Err(text) }
    });
    // Somebody else is faster, and keeps the new pod from being ready for a while.
    ns.delete(&["pod", "web-1"]);
    ns.wait_pod("web-1", "made anew", |pod| !pod.is_null());
    let replaced = uids(&ns);
    let mut keys = pty.master.take_writer().unwrap();
    keys.write_all(b"y").unwrap();
    let mut asked_again = false;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        // While its watch has yet to bring the new pod, it asks about the old one again.
        if !asked_again && text().matches("[y/N]").count() > 1 {
            asked_again = true;
            keys.write_all(b"n").unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    drop(keys);
    drop(pty.master);
    let _ = thread.join();
    ns.wait_rolled_out("web", 2);
    assert_eq!(uids(&ns), replaced, "the new pod was not deleted\n{}", text());
    let said = text();
    assert!(said.contains("the cluster changed"), "{said}");
    // Shown again: there is nothing to recover any more, or the pod is on its way.
    let nothing = status.exit_code() == 0 && said.contains("nothing to do");
    assert!(nothing || status.exit_code() == 4, "{} {said}", status.exit_code());
}
