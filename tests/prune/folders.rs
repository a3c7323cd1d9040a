//! The folder of a backup: whole files, or nothing is deleted.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use super::data::Data;
use super::live::{claims, names, scale, set};
use crate::support::{self, Namespace, Run};

/// Spoils a file of a backup.
type Spoil = fn(&Path);

fn prune(ns: &Namespace, folder: &Path) -> Run {
    ns.sts(&["prune-pvcs", "db", "--yes", "--backup", folder.to_str().unwrap()])
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn files(folder: &Path) -> Vec<String> {
    let mut found: Vec<String> =
        fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    found.sort();
    found
}

#[test]
fn what_is_in_the_folder_is_trusted_only_if_it_is_what_would_be_written() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("folder");
    set(&ns, "db", 2);
    let data = Data::of(&ns, "data-db-1");
    scale(&ns, "db", 1);
    let before = claims(&ns);
    let place = tempfile::tempdir().unwrap();
    let names_of = ["pvc", "pv"].map(|kind| format!("{}.data-db-1.{kind}.yaml", ns.name));
    let all = [names_of[0].as_str(), names_of[1].as_str(), "README.md"];
    // What the program itself writes, of the same PVC, in a run that stops right after the backup.
    let good = place.path().join("good");
    let proxy = crate::support::proxy::Proxy::of(&ns, |_| crate::support::proxy::Then::Lose);
    let mut child = ns
        .sts_command(&[
            "prune-pvcs",
            "db",
            "--yes",
            "--server",
            &proxy.server,
            "--backup",
            good.to_str().unwrap(),
        ])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    ns.wait("the first write", support::PATIENCE, || {
        if proxy.has_stopped() { Ok(()) } else { Err(String::new()) }
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(files(&good).len(), 3, "{:?}", files(&good));
    assert_eq!(mode(&good), 0o700);
    for name in all {
        assert_eq!(mode(&good.join(name)), 0o600, "{name}");
    }
    let spoils: [(&str, Spoil); 6] = [
        ("empty", |file| fs::write(file, "").unwrap()),
        ("half", |file| {
            let text = fs::read_to_string(file).unwrap();
            fs::write(file, &text[..text.len() * 2 / 3]).unwrap();
        }),
        ("other", |file| {
            let text = fs::read_to_string(file).unwrap();
            fs::write(
                file,
                text.replace("data-db-1.pvc", "data-db-7.pvc").replace("name: data-db-1", "name: data-db-7"),
            )
            .unwrap();
        }),
        ("link", |file| {
            let elsewhere = file.with_extension("elsewhere");
            fs::rename(file, &elsewhere).unwrap();
            symlink(&elsewhere, file).unwrap();
        }),
        ("dangling", |file| {
            fs::remove_file(file).unwrap();
            symlink(file.with_extension("nowhere"), file).unwrap();
        }),
        ("folder", |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }),
    ];
    for (how, spoil) in spoils {
        for name in all {
            let folder = place.path().join(format!("{how}-{name}"));
            fs::create_dir(&folder).unwrap();
            for name in all {
                fs::copy(good.join(name), folder.join(name)).unwrap();
            }
            spoil(&folder.join(name));
            let run = prune(&ns, &folder).code(4);
            assert!(run.stderr.contains(name), "{how} {run}");
            assert!(run.stderr.contains("nothing was changed"), "{how} {run}");
            assert!(
                !folder.join(name).with_extension("nowhere").exists(),
                "{how} {name}: a link was followed"
            );
        }
    }
    // A folder that is a link is not followed either.
    let link = place.path().join("link-to-good");
    symlink(&good, &link).unwrap();
    let run = prune(&ns, &link).code(4);
    assert!(run.stderr.contains("symbolic link"), "{run}");
    assert_eq!(claims(&ns), before);
    assert_eq!(data.policy(), "Delete", "nothing was patched");
    // The same, written in another way, is the same.
    let pvc = good.join(&names_of[0]);
    let text = fs::read_to_string(&pvc).unwrap();
    fs::write(&pvc, format!("# kept in Git\n{text}")).unwrap();
    prune(&ns, &good).code(0);
    assert_eq!(names(&ns), ["data-db-0"]);
}

#[test]
fn a_full_disk_leaves_nothing_half_and_nothing_is_deleted() {
    let Some(cluster) = support::cluster() else { return };
    let place = tempfile::tempdir().unwrap();
    let disk = place.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = |options: &str| {
        Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&disk).output().unwrap()
    };
    let output = mount("size=12k");
    if !output.status.success() {
        support::controlplane::loud("\n*** SKIPPED: a full disk, as only root can mount one ***\n");
        return;
    }
    let disk = Mounted(disk.clone());
    let ns = cluster.namespace("full");
    set(&ns, "db", 4);
    let data = Data::of(&ns, "data-db-3");
    scale(&ns, "db", 1);
    let before = claims(&ns);
    let folder = disk.0.join("b");
    let run = prune(&ns, &folder).code(4);
    assert!(run.stderr.contains("could not write") && run.stderr.contains("nothing was changed"), "{run}");
    assert_eq!(claims(&ns), before);
    assert_eq!(data.policy(), "Delete", "nothing was patched");
    let left = files(&folder);
    assert!(!left.is_empty() && left.len() < 7, "the disk is not full: {left:?}");
    for name in &left {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        assert!(
            name.contains(".data-db-") && text.contains("kind: Persistent") && text.ends_with('\n'),
            "{name}: {text}"
        );
    }
    assert!(mount("remount,size=1m").status.success());
    prune(&ns, &folder).code(0);
    assert_eq!(names(&ns), ["data-db-0"]);
    assert_eq!(files(&folder).len(), 7, "{:?}", files(&folder));
    for name in files(&folder).iter().filter(|name| name.ends_with(".pvc.yaml")) {
        ns.kubectl(&["create", "--dry-run=server", "-f", folder.join(name).to_str().unwrap()]).ok();
    }
}

struct Mounted(std::path::PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).output();
    }
}
