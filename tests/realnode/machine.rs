//! The machine of these tests: one box with a node, for the whole test process; see `box/up`.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::support::controlplane::{self, ControlPlane, loud};
use crate::support::{Cluster, PATIENCE, Run, wait};

/// What every fault and every database here lies on.
const CLASS: &str = include_str!("manifests/class.yaml");

/// A node that is Ready, and the control plane it belongs to.
pub struct Machine {
    /// Runs kubectl and our program in the box.
    pub cluster: Cluster,
    /// The state of the node, as seen from outside.
    pub dir: PathBuf,
    /// The first process of the box.
    init: String,
    /// Ends the box when its standard input closes, that is with this process, however it ends.
    pub supervisor: Child,
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The machine, started at the first call; `None` if it was not asked for or cannot be here, and the test shall be skipped.
///
/// # Panics
/// If it does not start, or if it was asked for and cannot be here although `CI=true`.
pub fn machine() -> Option<&'static Machine> {
    static MACHINE: OnceLock<Result<Option<Machine>, String>> = OnceLock::new();
    let machine = MACHINE.get_or_init(|| {
        let is = |name, value| std::env::var_os(name).is_some_and(|found| found == value);
        let skip = |reason: &str| {
            loud(&format!("\n*** SKIPPED: every test that needs a real node. Reason: {reason} ***\n"));
        };
        if !is("STS_REAL_NODE", "1") {
            skip("STS_REAL_NODE is not 1");
            return Ok(None);
        }
        match lacking() {
            None => Machine::start().map(Some),
            Some(lacking) if is("CI", "true") => Err(format!("CI=true, and {lacking}")),
            Some(lacking) => {
                skip(&lacking);
                Ok(None)
            }
        }
    });
    match machine {
        Ok(machine) => machine.as_ref(),
        Err(reason) => panic!("no real node: {reason}"),
    }
}

/// The node, which one test takes away from the others.
static NODE: RwLock<()> = RwLock::new(());

/// Keeps the node Ready while the value lives.
pub fn undisturbed() -> RwLockReadGuard<'static, ()> {
    NODE.read().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until no other test needs the node.
pub fn disturbed() -> RwLockWriteGuard<'static, ()> {
    NODE.write().unwrap_or_else(PoisonError::into_inner)
}

/// What this machine lacks for it.
fn lacking() -> Option<String> {
    if !cfg!(target_os = "linux") {
        return Some("it needs Linux".into());
    }
    if !rustix::process::geteuid().is_root() {
        return Some("it needs root".into());
    }
    if !Path::new("/sys/fs/cgroup/memory").is_dir() {
        return Some("it was written for cgroup v1, which is not here".into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]).collect();
    let is_there = |name: &&str| folders.iter().any(|folder| folder.join(name).is_file());
    let programs = ["busybox", "containerd", "ctr", "ip", "nft", "nsenter", "runc", "setpriv", "unshare"];
    let mut lacking: Vec<&str> = programs.into_iter().filter(|name| !is_there(name)).collect();
    if !Path::new("/usr/lib/cni/bridge").is_file() {
        lacking.push("/usr/lib/cni/bridge");
    }
    let list = lacking.join(", ");
    (!lacking.is_empty())
        .then(|| format!("there is no {list}; tests/realnode/install installs what is needed"))
}

/// The folder of the runs and of what is built for them.
fn home() -> PathBuf {
    controlplane::target(repository()).join("realnode")
}

/// The images of the containers, built once.
fn images() -> Result<PathBuf, String> {
    let script = repository().join("tests/realnode/images/build");
    loud("looking for the images of the real node (a minute for the first time, with the network)");
    let output = Command::new(&script).arg(home().join("images")).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", script.display()))?;
    if !output.status.success() {
        return Err(format!("{}: {}", script.display(), String::from_utf8_lossy(&output.stderr)));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// A command that ends its box when its standard input closes.
pub fn up(dir: &Path, testcluster: &Path, realkubelet: &Path, images: &Path) -> Command {
    let mut command = Command::new(repository().join("tests/realnode/box/up"));
    // Of its own process group: what ends a whole group, such as Ctrl-C, must leave it to clean up.
    command.args([dir, testcluster, realkubelet, images]).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A folder for a run of its own.
pub fn folder(hint: &str) -> PathBuf {
    home().join(format!("run-{}{hint}", std::process::id()))
}

impl Machine {
    fn start() -> Result<Self, String> {
        let testcluster = controlplane::binary(repository(), &loud)??;
        let module = "tests/realnode/node";
        let realkubelet = controlplane::built(repository(), module, "the kubelet", &loud)??;
        let images = images()?;
        let dir = folder("");
        let command = &mut up(&dir, &testcluster, &realkubelet, &images);
        let mut supervisor = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let stdout = supervisor.stdout.take().ok_or("no standard output")?;
        let line = BufReader::new(stdout).lines().map_while(Result::ok).next();
        let Some(init) = line.as_deref().and_then(|line| line.strip_prefix("INIT=")) else {
            let output = supervisor.wait_with_output().map_err(|error| error.to_string())?;
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        };
        let enter = ["nsenter", "--target", init, "--net", "--pid", "--"].map(OsString::from);
        let cluster = Cluster::new(ControlPlane::inside(&dir.join("cp"), enter.into()))?;
        let machine = Self { cluster, dir, init: init.to_owned(), supervisor };
        machine.wait_for_node("True");
        machine.cluster.apply(CLASS);
        Ok(machine)
    }

    /// Waits until the condition Ready of the node has this status.
    #[track_caller]
    fn wait_for_node(&self, ready: &str) {
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        wait(&format!("node1 to have Ready={ready}"), PATIENCE, || {
            let run = self.cluster.kubectl(&["get", "node", "node1", "-o", path]);
            if run.stdout == ready { Ok(()) } else { Err(run.to_string()) }
        });
    }

    /// Runs a command with all namespaces of the box, as on the node itself.
    #[track_caller]
    pub fn on_node(&self, command: &[&str]) -> Run {
        let all = ["--target", &self.init, "--mount", "--net", "--uts", "--cgroup", "--pid", "--"];
        Run::of(Command::new("nsenter").args(all).args(command), "")
    }

    /// Ends the kubelet, as if the node were cut off, until the value is dropped.
    #[track_caller]
    pub fn lose_node(&self) -> Lost<'_> {
        let pid = fs::read_to_string(self.dir.join("kubelet.pid")).expect("the kubelet's process");
        self.on_node(&["kill", "-KILL", pid.trim()]).ok();
        self.wait_for_node("Unknown");
        Lost(self)
    }
}

/// See [`Machine::lose_node`]. A test that fails meanwhile gives the node back too.
pub struct Lost<'m>(&'m Machine);

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        let dir = self.0.dir.to_str().expect("a path of text");
        let started = self.0.on_node(&["/run/realnode/box/kubelet", dir]);
        if !std::thread::panicking() {
            started.ok();
            self.0.wait_for_node("True");
        }
    }
}
