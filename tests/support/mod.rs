//! The tests' way to the real control plane: one cluster for the whole test process, one namespace for each test.
//!
//! ```ignore
//! let Some(cluster) = support::cluster() else { return };
//! let ns = cluster.namespace("canary");
//! ```

pub mod controlplane;
pub mod findings;
pub mod fleet;
pub mod freeze;
pub mod large;
pub mod pasted;
pub mod playground;
pub mod proxy;
pub mod recorder;
#[cfg(unix)]
pub mod terminal;
pub mod verdict;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use kubectl_sts::snapshot::ServerVersion;
use serde_json::Value;

use controlplane::{ControlPlane, Found, loud};

/// The deadline of waits that should take a second: two busy cores can be slow, and a deadline only ends a failure.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// How long a single command may take before it counts as hanging.
const COMMAND_PATIENCE: Duration = Duration::from_secs(400);

/// The cluster, started at the first call; `None` if there is none and the test shall be skipped.
///
/// # Panics
/// If it does not start, or if there is none although `CI=true`.
pub fn cluster() -> Option<&'static Cluster> {
    // The failure is kept as well: it took minutes, and every other test would only repeat it.
    static CLUSTER: OnceLock<Result<Option<Cluster>, String>> = OnceLock::new();
    let found =
        CLUSTER.get_or_init(|| match ControlPlane::find(Path::new(env!("CARGO_MANIFEST_DIR")), &loud)? {
            Found::Plane(plane) => Cluster::new(*plane).map(Some),
            Found::None(reason) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => {
                Err(format!("CI=true, and the tests of the real control plane cannot run: {reason}"))
            }
            Found::None(reason) => {
                loud(&format!(
                    "\n*** SKIPPED: every test that needs a real control plane. Reason: {reason} ***\n"
                ));
                Ok(None)
            }
        });
    match found {
        Ok(cluster) => cluster.as_ref(),
        Err(reason) => panic!("no test cluster: {reason}"),
    }
}

/// What a command did.
#[derive(Clone)]
pub struct Run {
    /// Its command line, for messages.
    pub command: String,
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "$ {}\nexit code {}\n--- stdout\n{}\n--- stderr\n{}",
            self.command, self.code, self.stdout, self.stderr
        )
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Run {
    /// Asserts the exit code.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        assert!(self.code == expected, "exit code {expected} expected\n{self}");
        self
    }

    /// Asserts success and gives standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        self.code(0).stdout
    }

    /// Runs a command to its end, with this standard input; one that hangs is killed and fails the test.
    #[track_caller]
    pub fn of(command: &mut Command, stdin: &str) -> Self {
        let line = format!("{command:?}");
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{line}: {error}"));
        let mut input = child.stdin.take().expect("stdin is piped");
        let stdin = stdin.to_owned();
        // A command that ends without reading is not at fault here, so a broken pipe is nothing.
        let writer = thread::spawn(move || drop(input.write_all(stdin.as_bytes())));
        let mut out = child.stdout.take().expect("stdout is piped");
        let mut err = child.stderr.take().expect("stderr is piped");
        let out = thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = out.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let err = thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = err.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let (status, hung) = wait_for(&mut child);
        let _ = writer.join();
        let run = Self {
            command: line,
            code: status,
            stdout: out.join().unwrap_or_default(),
            stderr: err.join().unwrap_or_default(),
        };
        assert!(!hung, "killed after {COMMAND_PATIENCE:?}\n{run}");
        run
    }
}

fn wait_for(child: &mut Child) -> (i32, bool) {
    let deadline = Instant::now() + COMMAND_PATIENCE;
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return (status.code().unwrap_or(-1), false);
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return (-1, true);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(25));
    }
}

/// Polls until the closure gives a value. Its error is what it saw instead; the last one is part of the failure.
#[track_caller]
pub fn wait<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    let mut pause = Duration::from_millis(100);
    loop {
        match look() {
            Ok(value) => return value,
            Err(seen) if began.elapsed() > deadline => {
                panic!("waited {:.0?} for {what}; last seen: {seen}", began.elapsed())
            }
            Err(_) => thread::sleep(pause),
        }
        pause = (pause * 3 / 2).min(Duration::from_secs(1));
    }
}

/// When a volume is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// As soon as the claim is there.
    Immediate,
    /// When a pod that uses the claim is scheduled.
    WaitForFirstConsumer,
}

/// The cluster that all tests of this process share.
pub struct Cluster {
    /// How it was started.
    pub plane: ControlPlane,
    count: AtomicU32,
    default_class: Mutex<()>,
}

/// A ClusterRole with these rules, and its binding to a subject.
pub fn cluster_role(name: &str, subject: &str, rules: &str) -> String {
    let rules = rules.trim();
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: '{name}'}}
rules:
{rules}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: '{name}'}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: '{name}'}}
subjects: [{{{subject}}}]
---
"
    )
}

impl Cluster {
    /// Around a control plane that is usable.
    pub fn new(plane: ControlPlane) -> Result<Self, String> {
        let plugin = plane.dir.join("bin/kubectl-sts");
        controlplane::link(Path::new(env!("CARGO_BIN_EXE_kubectl-sts")), &plugin)?;
        Ok(Self { plane, count: AtomicU32::new(0), default_class: Mutex::new(()) })
    }

    /// A name that no other test of this run, or of another run on the same cluster, has.
    pub fn unique(&self, hint: &str) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        format!("{hint}-{:x}-{count}", std::process::id())
    }

    /// Runs kubectl as administrator, without a namespace.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> Run {
        Run::of(self.plane.kubectl().args(args), "")
    }

    /// The version of the API server, as in `v1.37.1`.
    #[track_caller]
    pub fn version(&self) -> ServerVersion {
        let run = self.kubectl(&["get", "--raw", "/version"]);
        let version: Value = serde_json::from_str(&run.ok()).unwrap();
        ServerVersion { text: version["gitVersion"].as_str().unwrap().to_owned() }
    }

    /// Whether the API server is of this minor of Kubernetes 1, or later.
    #[track_caller]
    pub fn is_from(&self, minor: u32) -> bool {
        let version = self.version();
        version.numbers().is_some_and(|(major, own, _)| (major, own) >= (1, minor))
    }

    /// Applies a manifest of cluster-scoped objects.
    #[track_caller]
    pub fn apply(&self, yaml: &str) {
        let apply = || Run::of(self.plane.kubectl().args(["apply", "-f", "-"]), yaml);
        let run = apply();
        // Another test may create the same StorageClass in the same moment.
        if run.stderr.contains("AlreadyExists") {
            apply().ok()
        } else {
            run.ok()
        };
    }

    /// A fresh namespace with the StatefulSet `postgres`, whose 3 pods are ready.
    #[track_caller]
    pub fn postgres(&'static self, hint: &str) -> Namespace {
        let ns = self.namespace(hint);
        self.apply(include_str!("../manifests/classes.yaml"));
        ns.apply(include_str!("../manifests/postgres.yaml"));
        ns.wait_ready("postgres", 3);
        ns
    }

    /// A fresh namespace, deleted with the value.
    #[track_caller]
    pub fn namespace(&'static self, hint: &str) -> Namespace {
        let name = self.unique(hint);
        self.kubectl(&["create", "namespace", &name]).ok();
        let ns = Namespace { cluster: self, name };
        // Pods are refused until the service account is there.
        wait("service account default", PATIENCE, || {
            let run = ns.kubectl(&["get", "serviceaccount", "default"]);
            if run.code == 0 { Ok(()) } else { Err(run.stderr) }
        });
        ns
    }

    /// A storage class of the hostPath provisioner, with a name of its own; it is not the default class.
    #[track_caller]
    pub fn storage_class(&self, hint: &str, binding: Binding, expandable: bool) -> String {
        self.make_class(hint, binding, expandable, false)
    }

    fn make_class(&self, hint: &str, binding: Binding, expandable: bool, default: bool) -> String {
        let name = self.unique(hint);
        self.apply(&format!(
            r#"
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: {name}
  annotations: {{storageclass.kubernetes.io/is-default-class: "{default}"}}
provisioner: kubernetes.io/host-path
volumeBindingMode: {binding:?}
allowVolumeExpansion: {expandable}
"#
        ));
        name
    }

    /// A default storage class, while the value lives. The default is the whole cluster's, so only one test at a time
    /// has one; all other tests name the class of their claims.
    #[track_caller]
    pub fn exclusive_default_class(&'static self, binding: Binding) -> DefaultClass {
        let lock = self.default_class.lock().unwrap_or_else(PoisonError::into_inner);
        let name = self.make_class("default", binding, true, true);
        DefaultClass { cluster: self, name, _lock: lock }
    }

    /// Keeps other tests from making a default class, for a test of a cluster that has none.
    pub fn no_default_class(&'static self) -> MutexGuard<'static, ()> {
        self.default_class.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more node while the value lives, with flags of `testcluster fakenode` such as `--zone` and `--taints`.
    /// Taint it, or pods of other tests come to it. `None` on a cluster that is not ours.
    #[track_caller]
    pub fn node(&'static self, hint: &str, flags: &[&str]) -> Option<Node> {
        if self.plane.is_borrowed() {
            return None;
        }
        let name = self.unique(hint);
        let (dir, binary) = (&self.plane.dir, self.plane.binary.as_ref()?);
        let log = std::fs::File::create(dir.join(format!("fakenode-{name}.log"))).expect("a log file");
        let child = Command::new(binary)
            .args(["fakenode", "--until-eof", "--name", &name, "--kubeconfig"])
            .arg(&self.plane.kubeconfig)
            .arg("--root")
            .arg(dir.join(&name))
            .arg("--cert")
            .arg(dir.join("apiserver.crt"))
            .arg("--key")
            .arg(dir.join("apiserver.key"))
            .args(flags)
            .stdin(Stdio::piped()) // ends with this process, as the cluster does
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the fake node starts");
        let node = Node { cluster: self, name, child };
        wait(&format!("node {} to be Ready", node.name), PATIENCE, || {
            let run = self.kubectl(&["wait", "--for=condition=Ready", "--timeout=1s", "node", &node.name]);
            if run.code == 0 { Ok(()) } else { Err(run.stderr) }
        });
        Some(node)
    }

    /// Makes a node lost (its lease stops, its pods' statuses freeze, exec and logs hang up) or brings it back.
    #[track_caller]
    pub fn lose_node(&self, node: &str, lost: bool) {
        let value = if lost { "fake.test/lost=true" } else { "fake.test/lost-" };
        self.kubectl(&["annotate", "--overwrite", "node", node, value]).ok();
    }
}

/// See [`Cluster::exclusive_default_class`].
pub struct DefaultClass {
    cluster: &'static Cluster,
    /// Name of the storage class.
    pub name: String,
    _lock: MutexGuard<'static, ()>,
}

impl Drop for DefaultClass {
    fn drop(&mut self) {
        let _ = self.cluster.plane.kubectl().args(["delete", "storageclass", &self.name]).output();
    }
}

/// See [`Cluster::node`].
pub struct Node {
    cluster: &'static Cluster,
    /// Name of the node.
    pub name: String,
    child: Child,
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        let _ = self.cluster.plane.kubectl().args(["delete", "node", &self.name, "--wait=false"]).output();
    }
}

/// A pod as `kubectl get pods` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRow {
    /// Column READY, as in `0/1`.
    pub ready: String,
    /// Column STATUS, as in `CrashLoopBackOff`.
    pub status: String,
    /// Column RESTARTS, the number only.
    pub restarts: u32,
}

/// A test's own namespace.
pub struct Namespace {
    /// The cluster it is in.
    pub cluster: &'static Cluster,
    /// Its name.
    pub name: String,
}

impl Namespace {
    /// Runs kubectl as administrator in this namespace.
    #[track_caller]
    pub fn kubectl(&self, args: &[&str]) -> Run {
        self.kubectl_in(args, "")
    }

    /// The same with a standard input.
    #[track_caller]
    pub fn kubectl_in(&self, args: &[&str], stdin: &str) -> Run {
        Run::of(self.cluster.plane.kubectl().args(["--namespace", &self.name]).args(args), stdin)
    }

    /// Runs a command line in a shell whose kubectl and kubectl-sts are this cluster's, as a user would paste it.
    #[track_caller]
    pub fn shell(&self, line: &str) -> Run {
        let plane = &self.cluster.plane;
        let mut command = plane.command("sh");
        plane.clean(&mut command);
        let sts = Path::new(env!("CARGO_BIN_EXE_kubectl-sts")).parent().unwrap_or(Path::new("."));
        let kubectl = plane.kubectl.parent().unwrap_or(Path::new("."));
        let path = format!("{}:{}:/usr/bin:/bin", kubectl.display(), sts.display());
        command.env("PATH", path).env("KUBECONFIG", &plane.kubeconfig).args(["-c", line]);
        // Some write a file.
        command.current_dir(env!("CARGO_TARGET_TMPDIR"));
        Run::of(&mut command, "")
    }

    /// Runs kubectl with `-o json` and parses what it says.
    #[track_caller]
    pub fn kubectl_json(&self, args: &[&str]) -> Value {
        let run = self.kubectl(&[args, &["-o", "json"]].concat()).code(0);
        serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("not JSON: {error}\n{run}"))
    }

    /// Applies a manifest.
    #[track_caller]
    pub fn apply(&self, yaml: &str) {
        self.kubectl_in(&["apply", "-f", "-"], yaml).ok();
    }

    /// Deletes, as in `delete(&["pod", "web-0", "--wait=false"])`.
    #[track_caller]
    pub fn delete(&self, args: &[&str]) {
        self.kubectl(&[&["delete"], args].concat()).ok();
    }

    /// Applies a JSON merge patch, as in `patch("statefulset/web", json)`.
    #[track_caller]
    pub fn patch(&self, object: &str, merge: &Value) {
        self.kubectl(&["patch", object, "--type=merge", "-p", &merge.to_string()]).ok();
    }

    /// Applies a JSON merge patch to the `status` subresource.
    #[track_caller]
    pub fn patch_status(&self, object: &str, merge: &Value) {
        self.kubectl(&["patch", object, "--subresource=status", "--type=merge", "-p", &merge.to_string()])
            .ok();
    }

    /// Waits, see [`wait`]; the failure says in which namespace.
    #[track_caller]
    pub fn wait<T>(&self, what: &str, deadline: Duration, look: impl FnMut() -> Result<T, String>) -> T {
        wait(&format!("{what} in namespace {}", self.name), deadline, look)
    }

    /// Waits until the controller has seen the set's newest generation and this many of its pods are Ready.
    #[track_caller]
    pub fn wait_ready(&self, set: &str, replicas: u64) -> Value {
        self.wait(&format!("{replicas} Ready pods of StatefulSet {set}"), PATIENCE, || {
            let object = self.kubectl_json(&["get", "statefulset", set]);
            let seen = object["status"]["observedGeneration"] == object["metadata"]["generation"];
            let ready = object["status"]["readyReplicas"].as_u64().unwrap_or(0);
            if seen && ready == replicas { Ok(object) } else { Err(format!("status {}", object["status"])) }
        })
    }

    /// Waits until every pod of the set is Ready and of the newest revision.
    #[track_caller]
    pub fn wait_rolled_out(&self, set: &str, replicas: u64) -> Value {
        self.wait(&format!("StatefulSet {set} to be rolled out to {replicas} pods"), PATIENCE, || {
            let object = self.kubectl_json(&["get", "statefulset", set]);
            let status = &object["status"];
            let done = status["observedGeneration"] == object["metadata"]["generation"]
                && status["readyReplicas"].as_u64().unwrap_or(0) == replicas
                && status["updatedReplicas"].as_u64().unwrap_or(0) == replicas
                && status["currentRevision"] == status["updateRevision"];
            if done { Ok(object) } else { Err(format!("status {}", object["status"])) }
        })
    }

    /// Waits until a pod meets a condition, and gives it; a pod that is not there is `null`.
    #[track_caller]
    pub fn wait_pod(&self, pod: &str, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        self.wait(&format!("pod {pod} to be {what}"), PATIENCE, || {
            let run = self.kubectl(&["get", "pod", pod, "-o", "json"]);
            let object =
                if run.code == 0 { serde_json::from_str(&run.stdout).expect("JSON") } else { Value::Null };
            if condition(&object) { Ok(object) } else { Err(format!("{}{}", object["status"], run.stderr)) }
        })
    }

    /// All pods as `kubectl get pods` shows them.
    #[track_caller]
    pub fn pods(&self) -> BTreeMap<String, PodRow> {
        let text = self.kubectl(&["get", "pods", "--no-headers"]).ok();
        let row = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [name, ready, status, restarts, ..] = words[..] else { panic!("no pod line: {line:?}") };
            let row = PodRow {
                ready: ready.into(),
                status: status.into(),
                restarts: restarts.parse().unwrap_or(0),
            };
            (name.to_owned(), row)
        };
        text.lines().map(row).collect()
    }

    /// Waits until a pod's STATUS column has this text.
    #[track_caller]
    pub fn wait_pod_status(&self, pod: &str, status: &str) -> PodRow {
        self.wait(&format!("pod {pod} with status {status}"), PATIENCE, || {
            let pods = self.pods();
            let row = pods.get(pod).ok_or("no such pod")?;
            if row.status == status { Ok(row.clone()) } else { Err(format!("{row:?}")) }
        })
    }

    /// Our own program for this namespace, as administrator, in a clean environment.
    pub fn sts_command(&self, args: &[&str]) -> Command {
        self.sts_command_as(&self.cluster.plane.kubeconfig, args)
    }

    /// Our own program with another user's kubeconfig, see [`Namespace::user`].
    pub fn sts_command_as(&self, kubeconfig: &Path, args: &[&str]) -> Command {
        let mut command = self.cluster.plane.command(env!("CARGO_BIN_EXE_kubectl-sts"));
        self.cluster.plane.clean(&mut command);
        command.env("KUBECONFIG", kubeconfig).args(["--namespace", &self.name]).args(args);
        command
    }

    /// Runs our own program as administrator. What it prints as JSON is checked against its schema.
    #[track_caller]
    pub fn sts(&self, args: &[&str]) -> Run {
        let run = Run::of(&mut self.sts_command(args), "");
        if args.windows(2).any(|pair| pair == ["-o", "json"]) {
            crate::schema::holds(&run.stdout);
        }
        run
    }

    /// Runs our own program with a standard input.
    #[track_caller]
    pub fn sts_in(&self, args: &[&str], stdin: &str) -> Run {
        Run::of(&mut self.sts_command(args), stdin)
    }

    /// Runs our own program as another user.
    #[track_caller]
    pub fn sts_as(&self, kubeconfig: &Path, args: &[&str]) -> Run {
        Run::of(&mut self.sts_command_as(kubeconfig, args), "")
    }

    /// A user (a service account) with a Role of these rules (a YAML list) in this namespace; gives its kubeconfig.
    #[track_caller]
    pub fn user(&self, name: &str, rules: &str) -> PathBuf {
        let (ns, rules) = (&self.name, rules.trim());
        self.apply(&format!(
            r"
apiVersion: v1
kind: ServiceAccount
metadata: {{name: {name}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: {name}}}
rules:
{rules}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: {name}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: {name}}}
subjects: [{{kind: ServiceAccount, name: {name}, namespace: {ns}}}]
"
        ));
        let token = self.kubectl(&["create", "token", name, "--duration=8h"]).ok();
        let own = self.cluster.kubectl(&["config", "view", "--raw", "--minify", "-o", "json"]).ok();
        let mut config: Value = serde_json::from_str(&own).expect("kubectl writes JSON");
        config["users"][0]["user"] = serde_json::json!({ "token": token.trim() });
        config["contexts"][0]["context"]["namespace"] = Value::from(ns.as_str());
        let path = self.cluster.plane.dir.join(format!("{ns}-{name}.kubeconfig"));
        std::fs::write(&path, config.to_string()).expect("the kubeconfig can be written");
        path
    }

    /// Gives a user of [`Namespace::user`] rules for the whole cluster too, such as to read nodes and storage classes.
    #[track_caller]
    pub fn grant_cluster(&self, user: &str, rules: &str) {
        let ns = &self.name;
        let subject = format!("kind: ServiceAccount, name: {user}, namespace: {ns}");
        self.cluster.apply(&cluster_role(&format!("{ns}-{user}"), &subject, rules));
    }

    /// Makes everything in this namespace older, as in `age("9d")`. Gives false where etcd cannot be had.
    #[track_caller]
    pub fn age(&self, by: &str) -> bool {
        self.age_with(&["--by", by, "--namespace", &self.name])
    }

    /// Runs the `age` applet with these arguments, for key prefixes or annotations.
    #[track_caller]
    pub fn age_with(&self, args: &[&str]) -> bool {
        let plane = &self.cluster.plane;
        let (Some(etcd), Some(binary)) = (&plane.etcd, &plane.binary) else { return false };
        Run::of(Command::new(binary).args(["age", "--etcd", etcd]).args(args), "").ok();
        true
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if thread::panicking() {
            let run =
                self.cluster.plane.kubectl().args(["-n", &self.name, "get", "sts,pods,pvc,events"]).output();
            let text = run.map(|run| String::from_utf8_lossy(&run.stdout).into_owned()).unwrap_or_default();
            loud(&format!("--- namespace {} of the failed test\n{text}", self.name));
        }
        // Not waited for: the namespace controller alone takes five seconds.
        let _ =
            self.cluster.plane.kubectl().args(["delete", "namespace", &self.name, "--wait=false"]).output();
    }
}
