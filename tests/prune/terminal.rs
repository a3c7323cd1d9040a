//! The choice on a terminal.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, Mutex};
use std::thread;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use super::live::{claims, names, scale, set};
use crate::support::{self, Namespace};

/// Runs our program on a terminal: each time it has written the text, the keys are pressed. Its exit code and all it
/// wrote.
fn typed(ns: &Namespace, args: &[&str], answers: &[(&str, &str)]) -> (u32, String) {
    let pair = native_pty_system()
        .openpty(PtySize { rows: 40, cols: 120, pixel_width: 0, pixel_height: 0 })
        .unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    command.env_clear();
    command.env("TERM", "xterm");
    command.env("LANG", "C.UTF-8");
    command.args(["--kubeconfig", ns.cluster.plane.kubeconfig.to_str().unwrap(), "--namespace", &ns.name]);
    command.args(args);
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let (mut reader, mut writer) =
        (pair.master.try_clone_reader().unwrap(), pair.master.take_writer().unwrap());
    let seen = Arc::new(Mutex::new(String::new()));
    let written = Arc::clone(&seen);
    let reading = thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut bytes) {
            written.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    });
    for (text, keys) in answers {
        support::wait(&format!("{text:?} on the terminal"), support::PATIENCE, || {
            let seen = seen.lock().unwrap();
            if seen.contains(text) { Ok(()) } else { Err(seen.clone()) }
        });
        writer.write_all(keys.as_bytes()).unwrap();
        writer.flush().unwrap();
    }
    let code = child.wait().unwrap().exit_code();
    drop((writer, pair.master));
    let _ = reading.join();
    let text = seen.lock().unwrap().clone();
    (code, text)
}

#[test]
fn nothing_is_chosen_until_somebody_chooses() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("choice");
    set(&ns, "db", 4);
    scale(&ns, "db", 1);
    let before = claims(&ns);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("b");
    let args = ["prune-pvcs", "db", "--backup", backup.to_str().unwrap()];
    let (code, text) = typed(&ns, &args, &[("Select PVCs to delete", "\r")]);
    assert!(code == 4 && text.contains("no PVC was selected; nothing was changed"), "{code} {text}");
    let (code, text) = typed(&ns, &args, &[("Select PVCs to delete", " \r"), ("Delete 1 PVC in", "n")]);
    assert!(code == 4 && text.contains("cancelled; nothing was changed"), "{code} {text}");
    let (code, text) = typed(&ns, &args, &[("Select PVCs to delete", "\u{3}")]);
    assert!(code == 130, "{code} {text}");
    assert!(text.rfind("\u{1b}[?25h") > text.rfind("\u{1b}[?25l"), "the cursor is gone: {text:?}");
    assert_eq!(claims(&ns), before);
    // The second in the list, and no other.
    let answers =
        [("Select PVCs to delete", "\u{1b}[B \r"), ("Their data is destroyed. Delete 1 PVC in", "y")];
    let (code, text) = typed(&ns, &args, &answers);
    assert_eq!(code, 0, "{text}");
    assert_eq!(names(&ns), ["data-db-0", "data-db-1", "data-db-3"], "{text}");
}

#[test]
fn a_set_scaled_to_zero_needs_its_name_typed() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("typed");
    set(&ns, "db", 1);
    scale(&ns, "db", 0);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("b");
    let args = ["prune-pvcs", "db", "--include-zero", "--backup", backup.to_str().unwrap()];
    let choose = ("Select PVCs to delete", " \r");
    let (code, text) = typed(&ns, &args, &[choose, ("type the name of the StatefulSet", "bd\r")]);
    assert!(
        code == 4 && text.contains("cancelled: that is not the name; nothing was changed"),
        "{code} {text}"
    );
    assert_eq!(names(&ns), ["data-db-0"]);
    let (code, text) =
        typed(&ns, &args, &[choose, ("type the name of the StatefulSet", "db\r"), ("Delete 1 PVC in", "y")]);
    assert_eq!(code, 0, "{text}");
    assert!(names(&ns).is_empty());
}
