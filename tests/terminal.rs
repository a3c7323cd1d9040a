//! How the program ends when it is not left to end by itself: signals, panics, closed pipes and full disks.
#![cfg(unix)]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::proxy::Proxy;
use crate::support::terminal::{Pipe, Terminal, full_disk};
use crate::support::{self, Namespace, PATIENCE, Run};

const SET: &str = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: web, namespace: shop, uid: u}\nspec:\n  replicas: 1\n  \
    serviceName: web\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: \
    {containers: [{name: web, image: \"web:1\"}]}\n";

fn sts(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    command.args(args);
    command
}

fn set(name: &str, annotations: &str) -> String {
    SET.replace("name: web, namespace: shop, uid: u", &format!("name: {name}")).replace(
        "metadata: {labels: {app: web}}",
        &format!("metadata: {{labels: {{app: web}}, annotations: {{{annotations}}}}}"),
    )
}

/// A set that is not ready for an hour.
fn slow(ns: &Namespace) {
    ns.apply(&set("web", "fake.test/ready-delay: 1h"));
    ns.wait_pod_status("web-0", "Running");
}

/// Waits until it has drawn so many frames.
fn frames(terminal: &Terminal, count: usize) {
    support::wait("the frame", PATIENCE, || {
        let text = terminal.text();
        if text.matches("\x1b[?2026l").count() >= count { Ok(()) } else { Err(text) }
    });
}

/// What the panic tests run in a process of their own, on a terminal.
#[test]
#[ignore = "it fails, for the test below"]
fn a_panic_on_the_screen() {
    use kubectl_sts::render::{Output, Style, live::Stream, terminal};
    terminal::on_panic();
    let look = Style { width: Some(80), ascii: true, ..Style::PLAIN };
    let _stream = Stream::new(look, Output::Text);
    kubectl_sts::render::out::write("\x1b[?2026h\x1b[31mhalf a frame").unwrap();
    let none: Option<u8> = std::hint::black_box(None);
    none.expect("some\u{1b}]0;reason");
}

#[test]
#[ignore = "it fails, for the test below"]
fn a_panic_at_a_question() {
    kubectl_sts::render::terminal::on_panic();
    thread::spawn(|| {
        thread::sleep(Duration::from_millis(1500));
        panic!("on another thread");
    });
    let _ = kubectl_sts::render::ask::confirm("Go on?");
}

#[test]
fn a_panic_leaves_the_terminal_as_it_was() {
    for (test, before, why) in [
        ("a_panic_on_the_screen", "half a frame", "some"),
        ("a_panic_at_a_question", "Go on? [y/N]", "on another thread"),
    ] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            &format!("terminal::{test}"),
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ]);
        command.env_clear();
        let terminal = Terminal::start(&command, (24, 80), None);
        let ended = terminal.ended();
        assert_eq!(ended.code, 101, "{}", ended.text);
        ended.left_as_found(test);
        let (_, after) = ended.text.split_once(before).unwrap();
        assert!(after.contains("\x1b[0m"), "the colours: {after:?}");
        assert!(after.contains("this is a bug in kubectl-sts") && after.contains(why), "{after:?}");
        assert!(after.contains("report it"), "{after:?}");
        assert!(!after.contains("\x1b]0;"), "the reason steers the terminal: {after:?}");
    }
}

/// That the other tests can fail: a process that cannot hear of its end leaves the terminal as it is.
#[test]
fn a_killed_process_leaves_the_terminal_changed() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("killed");
    slow(&ns);
    let terminal = Terminal::start(&ns.sts_command(&["watch", "web"]), (24, 80), None);
    frames(&terminal, 1);
    terminal.signal(Signal::KILL);
    let text = terminal.ended().text;
    assert!(text.rfind("\x1b[?25l") > text.rfind("\x1b[?25h"), "{text:?}");
    let args = ["canary", "web", "--pods", "1", "--image", "web=web:2", "--allow-unhealthy"];
    let terminal = Terminal::start(&ns.sts_command(&args), (24, 80), None);
    support::wait("the question", PATIENCE, || {
        let text = terminal.text();
        if text.contains("[y/N] \x1b[?25l") { Ok(()) } else { Err(text) }
    });
    thread::sleep(Duration::from_millis(300));
    terminal.signal(Signal::KILL);
    assert_eq!(terminal.ended().is_cooked, Some(false));
}

#[test]
fn what_is_typed_while_a_frame_is_drawn_is_not_shown() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("typed");
    slow(&ns);
    let mut terminal = Terminal::start(&ns.sts_command(&["watch", "web"]), (24, 80), None);
    frames(&terminal, 1);
    terminal.press("typed\r");
    frames(&terminal, 3);
    terminal.press("\x03");
    let ended = terminal.ended();
    assert_eq!(ended.code, 130, "{}", ended.text);
    assert!(!ended.text.contains("typed\r"), "{:?}", ended.text);
    ended.left_as_found("typed");
}

#[test]
fn stopped_and_continued_it_draws_again() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("ctrl-z");
    slow(&ns);
    let plain = ns.sts_command(&["watch", "web"]);
    // Not the leader of its session, as under a shell: nobody could continue it otherwise.
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "\"$@\" & echo pid=$!; wait $!; exit $?", "sh"])
        .arg(plain.get_program())
        .args(plain.get_args());
    for (key, value) in plain.get_envs() {
        shell.env(key, value.unwrap_or_default());
    }
    let terminal = Terminal::start(&shell, (24, 80), None);
    frames(&terminal, 1);
    let text = terminal.text();
    let pid = text.split("pid=").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let send = |signal| rustix::process::kill_process(pid, signal).unwrap();
    for _ in 0..2 {
        send(Signal::TSTP);
        support::wait("the stop, with the cursor shown", PATIENCE, || {
            let text = terminal.text();
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let is_stopped = stat.rsplit(')').next().is_some_and(|rest| rest.trim().starts_with('T'));
            if is_stopped && text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") {
                Ok(())
            } else {
                Err(stat + &text)
            }
        });
        let before = terminal.text().matches("\x1b[?2026l").count();
        send(Signal::CONT);
        frames(&terminal, before + 2);
        let text = terminal.text();
        assert!(text.rfind("\x1b[?25l") > text.rfind("\x1b[?25h"), "the cursor is hidden again: {text:?}");
    }
    send(Signal::TERM);
    let ended = terminal.ended();
    assert_eq!(ended.code, 143, "{}", ended.text);
    ended.left_as_found("after Ctrl-Z");
}

#[test]
fn a_second_signal_ends_what_cannot_end_by_itself() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("second");
    ns.apply(&set("web", ""));
    ns.wait_ready("web", 1);
    let proxy = Proxy::start(cluster);
    proxy.hold("PATCH ");
    let args = ["canary", "web", "--pods", "1", "--image", "web=web:2", "--yes", "--server", &proxy.server];
    let mut terminal = Terminal::start(&ns.sts_command(&args), (24, 80), None);
    support::wait("the write", PATIENCE, || if proxy.held() > 0 { Ok(()) } else { Err(terminal.text()) });
    terminal.signal(Signal::TERM);
    thread::sleep(Duration::from_secs(2));
    assert!(!terminal.has_ended(), "a write is on its way, whose end has to be told: {}", terminal.text());
    terminal.press("\x03");
    let ended = terminal.ended();
    assert_eq!(ended.code, 143, "{}", ended.text);
    assert!(ended.text.contains("changes made so far stay"), "{}", ended.text);
    ended.left_as_found("after two signals");
    proxy.release();
}

#[test]
fn with_nohup_it_outlives_its_terminal() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("nohup");
    slow(&ns);
    let plain = ns.sts_command(&["watch", "web"]);
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(plain.get_program()).args(plain.get_args());
    for (key, value) in plain.get_envs() {
        shell.env(key, value.unwrap_or_default());
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let pipe = Pipe::at(&path);
    let mut terminal = Terminal::start(&shell, (24, 80), Some(&path));
    support::wait("the first line", PATIENCE, || {
        if pipe.text().contains("web: ") { Ok(()) } else { Err(pipe.text()) }
    });
    terminal.signal(Signal::HUP);
    thread::sleep(Duration::from_secs(2));
    assert!(!terminal.has_ended(), "{}", terminal.text());
    terminal.signal(Signal::TERM);
    assert_eq!(terminal.ended().code, 143);
}

/// An idle command notices at once that nobody reads it any more, and says nothing.
#[test]
fn a_reader_that_goes_away_ends_everything() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("head");
    slow(&ns);
    for args in [
        &["watch", "web"][..],
        &["status", "web", "-w"],
        &["status", "web", "-w", "-o", "json"],
        &["watch", "web", "-o", "yaml"],
        &["watch", "web", "-o", "name"],
        &["status", "web", "-w", "-o", "name"],
    ] {
        let mut child = ns.sts_command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut byte = [0];
        // With names alone on standard output, what happens is on the other one.
        let is_quiet = args.contains(&"name");
        if is_quiet {
            std::io::Read::read_exact(child.stderr.as_mut().unwrap(), &mut byte).unwrap();
        } else {
            std::io::Read::read_exact(&mut out, &mut byte).unwrap();
        }
        thread::sleep(Duration::from_millis(500));
        drop(out);
        let began = Instant::now();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(141), "{args:?}");
        println!("{args:?}: ended after {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(1), "{args:?}: {:?}", began.elapsed());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(is_quiet || said.is_empty(), "{args:?}: {said}");
    }
    for args in [
        &["status"][..],
        &["doctor"],
        &["record"],
        &["history", "web"],
        &["prune-pvcs"],
        &["explain"],
        &["completion", "bash"],
        &["status", "-o", "json"],
        &["doctor", "-o", "yaml"],
        &["status", "-o", "name"],
        &["--help"],
        &["--version"],
    ] {
        let mut command = ns.sts_command(args);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(141), "{args:?} {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{args:?}");
    }
    // What acts says what it has done; here nothing yet, as nobody has seen the plan.
    let before = ns.kubectl_json(&["get", "sts", "web"]);
    let args = ["canary", "web", "--pods", "1", "--image", "web=web:2", "--allow-unhealthy", "--yes"];
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = ns.sts_command(&args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(before["spec"], ns.kubectl_json(&["get", "sts", "web"])["spec"]);
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.yaml");
    std::fs::write(&file, SET).unwrap();
    let from = ["--from", file.to_str().unwrap()];
    let mut commands: Vec<Vec<&str>> = vec![vec!["--help"], vec!["--version"], vec!["status", "--help"]];
    for output in ["text", "wide", "json", "yaml", "name"] {
        for command in [&["status"][..], &["status", "web"], &["doctor"], &["record"]] {
            commands.push([command, &from, &["-o", output]].concat());
        }
    }
    commands.push(vec!["explain"]);
    commands.push(vec!["explain", "STS301"]);
    commands.push(vec!["completion", "bash"]);
    for args in &commands {
        if sts(args).output().unwrap().stdout.is_empty() {
            continue;
        }
        let Some(full) = full_disk() else { return };
        let output = sts(args).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{args:?}: {said}");
        assert!(said.contains("could not write to standard output"), "{args:?}: {said}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = sts(args).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.code() == Some(141), "{args:?}: {:?}", output.status.code());
    }
}

#[test]
fn nothing_is_done_that_could_not_be_shown() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("full");
    ns.apply(&set("web", ""));
    ns.wait_ready("web", 1);
    let before = ns.kubectl_json(&["get", "sts", "web"]);
    let args = ["canary", "web", "--pods", "1", "--image", "web=web:2", "--yes"];
    let Some(full) = full_disk() else { return };
    let output = ns.sts_command(&args).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    // Beside an answer for programs the plan is on standard error.
    for output in ["json", "yaml", "name"] {
        let Some(full) = full_disk() else { return };
        let output = ns.sts_command(&[&args[..], &["-o", output]].concat()).stderr(full).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stdout));
    }
    assert_eq!(before["spec"], ns.kubectl_json(&["get", "sts", "web"])["spec"]);
    for args in [
        &["watch", "web", "--stable-for", "1h"][..],
        &["status", "web", "-w"],
        &["history", "web"],
        &["prune-pvcs"],
        &["status", "web", "-w", "-o", "json"],
    ] {
        let Some(full) = full_disk() else { return };
        let output = ns.sts_command(args).stdout(full).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"), "{args:?}");
    }
    // What was done is told where there is room.
    let Some(full) = full_disk() else { return };
    let mut command = ns.sts_command(&[&args[..], &["-o", "json"]].concat());
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("done:") && said.contains("No space left"), "{said}");
}

#[test]
fn a_recording_is_there_as_a_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("web.yaml");
    // Too much for the small disk below.
    let many: String = (0..200)
        .map(|n| format!("---\n{}", SET.replace("name: web, ", &format!("name: web-{n}, "))))
        .collect();
    std::fs::write(&from, many).unwrap();
    let from = from.to_str().unwrap();
    let dir = folder.path().join("out");
    std::fs::create_dir(&dir).unwrap();
    let to = dir.join("shop.yaml");
    let record = |to: &std::path::Path| sts(&["record", "--from", from, "--to", to.to_str().unwrap()]);
    let names =
        || std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    // A file may have 16 blocks: the system says so in the middle of writing.
    let plain = record(&to);
    let mut limited = Command::new("/bin/sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$@\"", "sh"])
        .arg(plain.get_program())
        .args(plain.get_args());
    let run = Run::of(&mut limited, "").code(3);
    assert!(run.stderr.contains("could not write"), "{run}");
    assert!(names().is_empty(), "{:?}", names());
    // The next try is not in the way of the first one.
    Run::of(&mut record(&to), "").code(0);
    assert_eq!(names(), ["shop.yaml"]);
    assert_eq!(to.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&to).unwrap();
    Run::of(&mut record(&to), "").code(3);
    assert_eq!(std::fs::read_to_string(&to).unwrap(), text, "it is not written over");
    // Nor through a link, wherever it leads.
    let (link, target) = (dir.join("link"), dir.join("target"));
    symlink(&target, &link).unwrap();
    Run::of(&mut record(&link), "").code(3);
    assert!(!target.exists() && link.is_symlink());
    // And one that cannot be made says so.
    let run = Run::of(&mut record(&dir.join("no/such/folder")), "").code(3);
    assert!(run.stderr.contains("could not write"), "{run}");
}
