//! Killed at every write of prune-pvcs and restore-pvc: data is never lost, and the next run ends it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use serde_json::{Value, json};

use super::data::Data;
use super::live::{names, scale, set};
use crate::support::proxy::killed;
use crate::support::proxy::{Proxy, Then};
use crate::support::{self, Namespace, PATIENCE, Run};

/// Each write lost and muted, a few at once, each in a namespace of its own.
fn at_every_write(hint: &str, writes: usize, test: impl Fn(&Namespace, usize, Then) + Sync) {
    let Some(cluster) = support::cluster() else { return };
    let cases: Vec<(usize, Then)> =
        (0..writes).flat_map(|write| [(write, Then::Lose), (write, Then::Mute)]).collect();
    for some in cases.chunks(3) {
        std::thread::scope(|scope| {
            for (write, then) in some {
                let test = &test;
                scope.spawn(move || test(&cluster.namespace(&format!("{hint}-{write}")), *write, *then));
            }
        });
    }
}

/// A set whose replicas 1 and 2 are gone, and what is on their volumes.
fn left_over(ns: &Namespace) -> [Data; 2] {
    set(ns, "db", 3);
    let data = ["data-db-2", "data-db-1"].map(|claim| Data::of(ns, claim));
    scale(ns, "db", 1);
    data
}

/// Deletes both PVCs and keeps their volumes; gives the files that bring them back.
fn retained(ns: &Namespace, folder: &Path) -> [String; 2] {
    ns.sts(&prune(folder, &["--retain"])).code(0);
    ["data-db-2", "data-db-1"]
        .map(|claim| folder.join(format!("{}.{claim}.pvc.yaml", ns.name)).to_str().unwrap().to_owned())
}

fn prune<'a>(folder: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [&["prune-pvcs", "db", "--yes", "--backup", folder.to_str().unwrap()], more].concat()
}

/// A kill, and then the same command again: everything is as without the kill.
#[test]
fn a_run_that_was_killed_is_finished_by_the_next() {
    // Keep the volume, delete the PVC, hand the volume back; and begin the next.
    at_every_write("killed", 4, |ns, write, then| {
        let data = left_over(ns);
        let folder = tempfile::tempdir().unwrap();
        let args = prune(folder.path(), &[]);
        assert!(killed(ns, &args, write, then), "{write} {then:?}");
        let (nth, phase) = (write / 3, write % 3);
        // Nothing but the last write gives a volume up, and whatever was not begun is untouched.
        let is_given_up = phase == 2 && then == Then::Mute;
        assert!(data[nth].is_there() || is_given_up, "{write} {then:?}");
        assert!(nth == 1 || data[1].is_there() && data[1].policy() == "Delete", "{write} {then:?}");
        // The PVC is gone, and its volume waits.
        if phase == 2 && then == Then::Lose || phase == 1 && then == Then::Mute {
            let volume = &data[nth].volume;
            ns.wait("the volume to be released", PATIENCE, || {
                let phase = data[nth].find().unwrap()["status"]["phase"].clone();
                if phase == "Released" { Ok(()) } else { Err(phase.to_string()) }
            });
            assert_eq!(data[nth].policy(), "Retain, noted Delete", "{write} {then:?}");
            let shown = ns.sts(&["prune-pvcs", "db"]).code(0);
            assert!(shown.stdout.contains(&format!("finish: PV {volume}")), "{shown}");
            let shown: Value = serde_json::from_str(&ns.sts(&["prune-pvcs", "-o", "json"]).ok()).unwrap();
            assert_eq!(shown["unfinished"][0]["volume"], volume.as_str(), "{shown}");
        }
        let run = ns.sts(&args).code(0);
        assert_eq!(names(ns), ["data-db-0"], "{run}");
        data.iter().for_each(Data::wait_destroyed);
        let run = ns.sts(&args).code(0);
        assert!(run.stdout.contains("no orphaned PVCs found"), "{run}");
    });
}

/// A kill, and then replica 2 comes back: its data is there, or the backup brings it back.
#[test]
fn a_run_that_was_killed_loses_nothing_that_is_needed_again() {
    at_every_write("needed", 3, |ns, write, then| {
        let data = left_over(ns);
        let folder = tempfile::tempdir().unwrap();
        let args = prune(folder.path(), &[]);
        assert!(killed(ns, &args, write, then), "{write} {then:?}");
        if write == 2 && then == Then::Mute {
            return; // All was done; the volume goes.
        }
        scale(ns, "db", 3);
        assert!(data[0].is_there(), "{write} {then:?}");
        // The next run takes nothing away.
        let run = ns.sts(&args).code(0);
        assert!(data[0].is_there() && data[1].is_there(), "{write} {then:?} {run}");
        let bound = ns.kubectl_json(&["get", "pvc", "data-db-2"])["spec"]["volumeName"].clone();
        if bound == data[0].volume.as_str() {
            // The PVC was never deleted. A policy that is still Retain is said, with the command that sets it back.
            if data[0].policy() != "Delete" {
                let command = run
                    .stdout
                    .lines()
                    .find_map(|line| line.split_once("restore policy: ").map(|(_, command)| command));
                ns.shell(command.unwrap_or_else(|| panic!("{run}"))).code(0);
            }
        } else {
            assert_eq!(data[0].policy(), "Retain, noted Delete", "{run}");
            assert!(run.stdout.contains(&data[0].volume), "{run}");
            scale(ns, "db", 2);
            ns.delete(&["pvc", "data-db-2"]);
            let file = folder.path().join(format!("{}.data-db-2.pvc.yaml", ns.name));
            ns.sts(&["restore-pvc", file.to_str().unwrap(), "--yes"]).code(0);
            scale(ns, "db", 3);
        }
        data[0].is_in(ns, "data-db-2");
        assert_eq!(data[0].policy(), "Delete", "{write} {then:?}");
    });
}

#[test]
fn retain_that_was_killed_keeps_the_volume_for_good() {
    // Keep the volume, delete the PVC.
    at_every_write("retained", 2, |ns, write, then| {
        let data = left_over(ns);
        let folder = tempfile::tempdir().unwrap();
        let args = prune(folder.path(), &["--retain"]);
        assert!(killed(ns, &args, write, then), "{write} {then:?}");
        if then == Then::Mute {
            assert_eq!(data[0].policy(), "Retain");
        }
        ns.sts(&args).code(0);
        assert_eq!(names(ns), ["data-db-0"]);
        for data in &data {
            assert_eq!(data.policy(), "Retain");
            assert!(data.is_there());
        }
        let file = |claim: &str| folder.path().join(format!("{}.{claim}.pvc.yaml", ns.name));
        let (one, two) = (file("data-db-1"), file("data-db-2"));
        ns.sts(&["restore-pvc", one.to_str().unwrap(), two.to_str().unwrap(), "--yes"]).code(0);
        data[0].is_in(ns, "data-db-2");
        data[1].is_in(ns, "data-db-1");
        assert_eq!(data[0].policy(), "Retain", "the user has chosen it");
        for data in &data {
            let policy = json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}}).to_string();
            ns.cluster.kubectl(&["patch", "pv", &data.volume, "--type=merge", "-p", &policy]).ok();
        }
    });
}

#[test]
fn restore_that_was_killed_is_finished_by_the_next() {
    // Free the volume, create the PVC, give the volume its policy back.
    at_every_write("restored", 3, |ns, write, then| {
        let data = left_over(ns);
        let folder = tempfile::tempdir().unwrap();
        assert!(killed(ns, &prune(folder.path(), &[]), 1, Then::Mute));
        ns.wait("the volume to be released", PATIENCE, || {
            let phase = data[0].find().unwrap()["status"]["phase"].clone();
            if phase == "Released" { Ok(()) } else { Err(phase.to_string()) }
        });
        let file = folder.path().join(format!("{}.data-db-2.pvc.yaml", ns.name));
        let args = ["restore-pvc", file.to_str().unwrap(), "--yes"];
        assert!(killed(ns, &args, write, then), "{write} {then:?}");
        assert!(data[0].is_there(), "{write} {then:?}");
        // prune-pvcs in between does not take the volume for one that nothing needs.
        if write > 0 || then == Then::Mute {
            let shown: Value = serde_json::from_str(&ns.sts(&["prune-pvcs", "-o", "json"]).ok()).unwrap();
            assert_eq!(shown["unfinished"], json!([]), "{write} {then:?}");
        }
        ns.sts(&args).code(0);
        data[0].is_in(ns, "data-db-2");
        assert_eq!(data[0].policy(), "Delete", "{write} {then:?}");
        let run = ns.sts(&args).code(0);
        assert!(run.stdout.contains("nothing to do"), "{run}");
    });
}

/// The signals that end it, and its exit codes.
const SIGNALS: [(&str, i32); 3] = [("INT", 130), ("TERM", 143), ("HUP", 129)];

/// Sends a signal while a write is under way, which then goes through. What it wrote, and its exit code.
fn interrupted(ns: &Namespace, args: &[&str], write: usize, signal: &'static str) -> Run {
    let pid = Arc::new(Mutex::new(None));
    let known = Arc::clone(&pid);
    let proxy = Proxy::of(ns, move |count| {
        if count == write {
            let pid: u32 = known.lock().unwrap().unwrap();
            let sent = Command::new("kill").args(["-s", signal, &pid.to_string()]).status().unwrap();
            assert!(sent.success());
            std::thread::sleep(std::time::Duration::from_millis(1500));
        }
        Then::Pass
    });
    let mut lock = pid.lock().unwrap();
    let child = start(ns, args, &proxy.server);
    *lock = Some(child.id());
    drop(lock);
    ended(child, format!("{args:?}, interrupted at write {write}"))
}

/// Starts the program so that all signals reach it.
fn start(ns: &Namespace, args: &[&str], server: &str) -> Child {
    let plain = ns.sts_command(args);
    // The tests themselves may run under nohup, which is inherited and heeded.
    let mut command = Command::new("/usr/bin/env");
    command.arg("--default-signal=HUP").arg(plain.get_program()).args(plain.get_args()).env_clear();
    command.envs(plain.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.args(["--server", server]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn ended(child: Child, command: String) -> Run {
    let output = child.wait_with_output().unwrap();
    Run {
        command,
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Sends a signal between two PVCs: after this write, which is the last about the first, the program wants to read the PVC
/// `next`, and gets no answer. What it wrote, its exit code, and the names of all that it has written to.
fn between(ns: &Namespace, args: &[&str], write: usize, next: &str, signal: &str) -> (Run, Vec<String>) {
    let place = Arc::new(OnceLock::<Weak<Proxy>>::new());
    let (known, read) =
        (Arc::clone(&place), format!("GET /api/v1/namespaces/{}/persistentvolumeclaims/{next}", ns.name));
    let proxy = Arc::new(Proxy::of(ns, move |count| {
        if count == write {
            known.get().unwrap().upgrade().unwrap().hold(&read);
        }
        Then::Pass
    }));
    place.set(Arc::downgrade(&proxy)).unwrap();
    let mut child = start(ns, args, &proxy.server);
    ns.wait("the program between two PVCs", PATIENCE, || {
        if let Some(status) = child.try_wait().unwrap() {
            panic!("{args:?} ends by itself with {status}");
        }
        if proxy.held() > 0 { Ok(()) } else { Err(format!("{:?}", proxy.writes())) }
    });
    assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
    let run = ended(child, format!("{args:?}, {signal} after write {write}"));
    (run, proxy.writes())
}

#[test]
fn a_signal_between_two_deletions_ends_with_an_account() {
    let Some(cluster) = support::cluster() else { return };
    std::thread::scope(|scope| {
        for (signal, code) in SIGNALS {
            scope.spawn(move || {
                let ns = cluster.namespace(&format!("between-{}", signal.to_lowercase()));
                let data = left_over(&ns);
                let folder = tempfile::tempdir().unwrap();
                let args = prune(folder.path(), &[]);
                // Keep the volume, delete the PVC, give the volume back.
                let (run, writes) = between(&ns, &args, 2, "data-db-1", signal);
                assert_eq!(run.code, code, "{run}");
                let deleted = run.stdout.find("data-db-2: deleted").unwrap_or_else(|| panic!("{run}"));
                let account = &run.stdout[deleted..];
                for text in [
                    "1 PVC deleted",
                    "stopped  interrupted",
                    "left     data-db-1\n",
                    "same command",
                    "delete PVC data-db-2 in",
                ] {
                    assert!(account.contains(text), "{text} is not in the account of {run}");
                }
                assert_eq!(writes.len(), 3, "{writes:?}");
                assert!(!writes.iter().any(|write| write.contains("data-db-1")), "{writes:?}");
                assert_eq!(names(&ns), ["data-db-0", "data-db-1"], "{run}");
                assert_eq!(data[1].policy(), "Delete", "{run}");
                data[0].wait_destroyed();
                ns.sts(&args).code(0);
                data[1].wait_destroyed();
            });
        }
    });
}

#[test]
fn a_signal_between_two_restored_pvcs_ends_with_an_account() {
    let Some(cluster) = support::cluster() else { return };
    std::thread::scope(|scope| {
        for (signal, code) in SIGNALS {
            scope.spawn(move || {
                let ns = cluster.namespace(&format!("back-{}", signal.to_lowercase()));
                let data = left_over(&ns);
                let folder = tempfile::tempdir().unwrap();
                let [two, one] = retained(&ns, folder.path());
                let args = ["restore-pvc", &two, &one, "--yes", "-o", "json"];
                // Release the volume, create the PVC.
                let (run, writes) = between(&ns, &args, 1, "data-db-1", signal);
                assert_eq!(run.code, code, "{run}");
                crate::schema::holds(&run.stdout);
                let account: Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
                assert_eq!(account["outcome"], "interrupted", "{run}");
                let bound: Vec<_> = account["claims"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|it| (&it["name"], &it["bound"]))
                    .collect();
                let (first, second) = (Value::from("data-db-2"), Value::from("data-db-1"));
                assert_eq!(bound, [(&first, &true.into()), (&second, &false.into())], "{run}");
                assert_eq!(account["journal"].as_array().unwrap().len(), 2, "{run}");
                assert_eq!(writes.len(), 2, "{writes:?}");
                assert_eq!(names(&ns), ["data-db-0", "data-db-2"], "{run}");
                data[0].is_in(&ns, "data-db-2");
                let run = ns.sts(&args[..4]).code(0);
                assert!(run.stdout.contains("data-db-1: bound to PV"), "{run}");
                data[1].is_in(&ns, "data-db-1");
            });
        }
    });
}

#[test]
fn an_interruption_ends_at_the_next_pvc_with_an_account() {
    let Some(cluster) = support::cluster() else { return };
    std::thread::scope(|scope| {
        for (write, (signal, code)) in SIGNALS.into_iter().enumerate() {
            scope.spawn(move || {
                let ns = cluster.namespace(&format!("interrupted-{write}"));
                let data = left_over(&ns);
                let folder = tempfile::tempdir().unwrap();
                let args = prune(folder.path(), &[]);
                let run = interrupted(&ns, &args, write, signal).code(code);
                for text in [
                    "data-db-2: deleted",
                    "1 PVC deleted",
                    "interrupted",
                    "left     data-db-1",
                    "same command",
                ] {
                    assert!(run.stdout.contains(text), "{text} is not in {run}");
                }
                assert_eq!(names(&ns), ["data-db-0", "data-db-1"], "{run}");
                data[0].wait_destroyed();
                assert_eq!(data[1].policy(), "Delete");
                assert!(data[1].is_there());
                ns.sts(&args).code(0);
                data[1].wait_destroyed();
            });
        }
    });
}

#[test]
fn an_interruption_of_restore_ends_at_the_next_pvc_with_an_account() {
    let Some(cluster) = support::cluster() else { return };
    std::thread::scope(|scope| {
        for (write, (signal, code)) in SIGNALS.into_iter().take(2).enumerate() {
            scope.spawn(move || {
                let ns = cluster.namespace(&format!("restore-int-{write}"));
                let data = left_over(&ns);
                let folder = tempfile::tempdir().unwrap();
                let [two, one] = retained(&ns, folder.path());
                let args = ["restore-pvc", &two, &one, "--yes"];
                let run = interrupted(&ns, &args, write, signal).code(code);
                assert!(run.stdout.contains("interrupted") && run.stdout.contains("same command"), "{run}");
                assert_eq!(names(&ns), ["data-db-0", "data-db-2"], "{run}");
                data[0].is_in(&ns, "data-db-2");
                assert!(data[1].is_there());
                ns.sts(&args).code(0);
                data[1].is_in(&ns, "data-db-1");
            });
        }
    });
}

/// The program is killed while its deletion is on the way, the set is scaled up, and then the deletion arrives.
#[test]
fn a_deletion_that_arrives_after_the_kill_and_a_scale_up_loses_nothing() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("late");
    let data = left_over(&ns);
    let folder = tempfile::tempdir().unwrap();
    let args = prune(folder.path(), &[]);
    let proxy = Proxy::start(cluster);
    proxy.hold("DELETE ");
    let mut command = ns.sts_command(&args);
    command.args(["--server", &proxy.server]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    ns.wait("the deletion to be on its way", PATIENCE, || {
        if proxy.held() > 0 { Ok(()) } else { Err("no deletion yet".to_owned()) }
    });
    child.kill().unwrap();
    child.wait().unwrap();
    scale(&ns, "db", 3);
    // A run in between must not give the volume up: the deletion may still arrive.
    let run = ns.sts(&args).code(0);
    assert_eq!(data[0].policy(), "Retain, noted Delete", "{run}");
    proxy.release();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let run = ns.sts(&args).code(0);
    assert_eq!(data[0].policy(), "Retain, noted Delete", "{run}");
    data[0].is_in(&ns, "data-db-2");
    let is_going = !ns.kubectl_json(&["get", "pvc", "data-db-2"])["metadata"]["deletionTimestamp"].is_null();
    if is_going {
        // A server before 1.37: the PVC goes with its pod, the data stays.
        assert!(run.stdout.contains("restore-pvc"), "{run}");
        scale(&ns, "db", 2);
        ns.delete(&["pvc", "data-db-2", "--ignore-not-found"]);
        let file = folder.path().join(format!("{}.data-db-2.pvc.yaml", ns.name));
        ns.sts(&["restore-pvc", file.to_str().unwrap(), "--yes"]).code(0);
        scale(&ns, "db", 3);
        data[0].is_in(&ns, "data-db-2");
        assert_eq!(data[0].policy(), "Delete");
    }
}
