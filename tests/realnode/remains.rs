//! A run leaves nothing behind, however it ends.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::machine::{folder, machine, up};
use crate::support::{Run, wait};

/// Names the file in which a holder says which process its box hangs on, and its folder.
const TELL: &str = "STS_REAL_NODE_TELL";

const PATIENCE: Duration = Duration::from_secs(300);

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: held}
spec: {containers: [{name: main, image: 'localhost/busybox:1', command: [sleep, "100000"]}]}
"#;

/// Folders where a node of this machine would write, and the values that a kubelet sets.
fn outside() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let folders = [
        "/run",
        "/run/netns",
        "/run/containerd",
        "/run/containerd/s",
        "/var/log/pods",
        "/var/log/containers",
    ];
    let states = [
        "/var/lib",
        "/var/lib/cni",
        "/var/lib/cni/results",
        "/var/lib/kubelet",
        "/etc/cni/net.d",
        "/sys/class/net",
    ];
    for folder in folders.iter().chain(&states) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            found.insert(entry.path().display().to_string());
        }
    }
    let values = [
        "vm/overcommit_memory",
        "vm/panic_on_oom",
        "kernel/panic",
        "kernel/panic_on_oops",
        "net/ipv4/ip_forward",
    ];
    for value in values {
        let path = Path::new("/proc/sys").join(value);
        found.insert(format!("{value} = {}", fs::read_to_string(path).unwrap_or_default().trim()));
    }
    found
}

/// The cgroups of this name, of all controllers.
fn cgroups(tag: &str) -> Vec<PathBuf> {
    let of = fs::read_to_string("/proc/self/cgroup").unwrap();
    let folder = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controller, path) = (parts.next()?.trim_start_matches("name="), parts.next()?);
        Some(Path::new("/sys/fs/cgroup").join(controller).join(path.trim_start_matches('/')).join(tag))
    };
    of.lines().filter_map(folder).filter(|folder| folder.is_dir()).collect()
}

/// Processes in a cgroup and in those below it.
fn processes(folder: &Path) -> Vec<u32> {
    let own = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let mut found: Vec<u32> = own.lines().filter_map(|line| line.parse().ok()).collect();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(processes(&entry.path()));
        }
    }
    found
}

/// A box with a running pod, held by a test process of its own.
struct Held {
    holder: std::process::Child,
    supervisor: u32,
    dir: PathBuf,
    inside: Vec<u32>,
}

impl Held {
    fn new() -> Self {
        let told = tempfile::NamedTempFile::new().unwrap();
        let holder = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "realnode::remains::holds_a_box_until_it_is_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(TELL, told.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (supervisor, dir) = wait("the box of another process", PATIENCE, || {
            let text = fs::read_to_string(told.path()).unwrap();
            let (supervisor, dir) = text.split_once('\n').ok_or("nothing said")?;
            Ok((supervisor.parse().unwrap(), PathBuf::from(dir)))
        });
        let mut held = Self { holder, supervisor, dir, inside: Vec::new() };
        let all = cgroups(&held.tag());
        assert!(all.len() > 5, "{all:?}");
        held.inside = all.iter().flat_map(|folder| processes(folder)).collect();
        held.inside.sort_unstable();
        held.inside.dedup();
        // The control plane's five, containerd and a shim, kubelet, kube-proxy, DNS, a registry, a pause and a pod.
        assert!(held.inside.len() > 12, "{:?}", held.inside);
        assert!(held.dir.join("kubelet.pid").exists());
        held
    }

    fn tag(&self) -> String {
        format!("realnode-{}", self.supervisor)
    }

    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        // One that waits for its parent has ended.
        let is_alive = |process: &&u32| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
        };
        let alive = self.inside.iter().filter(is_alive);
        left.extend(alive.map(|process| format!("process {process}")));
        left.extend(cgroups(&self.tag()).iter().map(|folder| folder.display().to_string()));
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        left.extend(mounts.lines().filter(|line| line.contains("/realnode/run-")).map(str::to_owned));
        if self.dir.exists() {
            left.push(self.dir.display().to_string());
        }
        left
    }

    #[track_caller]
    fn leaves_only(&self, is_allowed: impl Fn(&str) -> bool) {
        wait("a box to leave nothing", PATIENCE, || {
            let left: Vec<String> = self.left().into_iter().filter(|left| !is_allowed(left)).collect();
            if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
        });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn whoever_is_killed_nothing_is_left() {
    if machine().is_none() {
        return;
    }
    let before = outside();
    let mut held = Held::new();
    held.holder.kill().unwrap(); // SIGKILL
    held.holder.wait().unwrap();
    held.leaves_only(|_| false);
    assert_eq!(outside(), before);

    // Nobody can clean up after the supervisor at once. What runs has ended, and the next run removes the rest.
    let mut held = Held::new();
    Run::of(Command::new("kill").args(["-KILL", &held.supervisor.to_string()]), "").ok();
    held.leaves_only(|left| left.starts_with("/sys/fs/cgroup/") || Path::new(left) == held.dir);
    held.holder.kill().unwrap();
    held.holder.wait().unwrap();
    let nothing = Path::new("/bin/false");
    let failed = Run::of(&mut up(&folder("-failed"), nothing, nothing, nothing), "");
    assert_eq!(failed.code, 1, "{failed}");
    held.leaves_only(|_| false);
    assert_eq!(outside(), before);
}

#[test]
#[ignore = "the test above starts it, and kills it"]
fn holds_a_box_until_it_is_killed() {
    let Some(tell) = std::env::var_os(TELL) else { return };
    let Some(machine) = machine() else { return };
    let ns = machine.cluster.namespace("held");
    ns.apply(POD);
    ns.wait_pod("held", "running", |pod| pod["status"]["phase"] == "Running");
    fs::write(tell, format!("{}\n{}", machine.supervisor.id(), machine.dir.display())).unwrap();
    loop {
        std::thread::park();
    }
}
