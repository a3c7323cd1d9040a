//! Finds, builds and starts the control plane of `tests/testcluster`.
//!
//! Standard library only and no test framework, so that an example can include this file too:
//! `#[path = "../tests/support/controlplane.rs"] mod controlplane;`

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

/// A control plane that is usable: its own, which ends with this value or this process, or somebody else's.
pub struct ControlPlane {
    /// Folder of the run; the `bin` folder in it has `kubectl`.
    pub dir: PathBuf,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The kubectl to use.
    pub kubectl: PathBuf,
    /// URL of etcd, unless it is not ours.
    pub etcd: Option<String>,
    /// The multi-call binary, if there is one.
    pub binary: Option<PathBuf>,
    /// What stands before every command, to run it where the API server can be reached.
    entry: Vec<OsString>,
    child: Option<Child>,
}

/// What came out of looking for a control plane.
pub enum Found {
    /// It is usable.
    Plane(Box<ControlPlane>),
    /// There is none, for this reason, and that is no failure in itself.
    None(String),
}

impl ControlPlane {
    /// Looks at the environment, then uses, or builds and starts, a control plane. Slow steps are told to `say`.
    ///
    /// * `TESTCLUSTER_KUBECONFIG` names an existing cluster (`TESTCLUSTER_ETCD` its etcd, if it can be had);
    /// * `STS_TEST_CLUSTER=none` wants none;
    /// * `TESTCLUSTER_BIN` names a multi-call binary that is built already;
    /// * else `go` builds it, once for each state of its sources;
    /// * `TESTCLUSTER_KUBECTL` names another kubectl, or the multi-call binary of another version.
    pub fn find(repository: &Path, say: &dyn Fn(&str)) -> Result<Found, String> {
        if let Some(kubeconfig) = variable("TESTCLUSTER_KUBECONFIG") {
            return Self::existing(repository, PathBuf::from(kubeconfig), say)
                .map(|plane| Found::Plane(Box::new(plane)));
        }
        if variable("STS_TEST_CLUSTER").is_some_and(|value| value == "none") {
            return Ok(Found::None("STS_TEST_CLUSTER=none".into()));
        }
        if !cfg!(target_os = "linux") {
            return Ok(Found::None("the test cluster runs on Linux only".into()));
        }
        match binary(repository, say)? {
            Ok(binary) => Self::start(&binary, say).map(|plane| Found::Plane(Box::new(plane))),
            Err(reason) => Ok(Found::None(reason)),
        }
    }

    /// Starts a control plane of our own; once more if the first start fails, because another process can have taken
    /// one of its ports.
    pub fn start(binary: &Path, say: &dyn Fn(&str)) -> Result<Self, String> {
        Self::start_once(binary).or_else(|first| {
            say(&format!("the test cluster did not start, trying once more: {first}"));
            Self::start_once(binary)
        })
    }

    fn start_once(binary: &Path) -> Result<Self, String> {
        let dir = run_folder()?;
        let log = dir.join("up.log");
        let log_file = File::create(&log).map_err(in_words(&log))?;
        // `up` ends when its standard input closes. This process holds the other end and never closes it, so `up` ends
        // with it, however it ends; and `up` takes all components with it.
        let mut child = Command::new(binary)
            .args(["up", "--until-eof", "--remove-dir", "--dir"])
            .arg(&dir)
            .env_clear()
            .env("HOME", &dir)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("TESTCLUSTER_BUSYBOX", variable("TESTCLUSTER_BUSYBOX").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .map_err(in_words(binary))?;
        let Some(stdout) = child.stdout.take() else { return Err("no standard output of up".into()) };
        let (mut kubeconfig, mut etcd) = (None, None);
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            match line.split_once('=') {
                Some(("KUBECONFIG", path)) => kubeconfig = Some(PathBuf::from(path)),
                Some(("ETCD", url)) => {
                    etcd = Some(url.to_owned());
                    break;
                }
                _ => {}
            }
        }
        // up has deadlines of its own and ends when one passes, so the lines above come or standard output ends.
        let (Some(kubeconfig), Some(etcd)) = (kubeconfig, etcd) else {
            let _ = child.kill();
            let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
            return Err(format!("up ended before the cluster was usable ({status}){}", log_tails(&dir)));
        };
        let kubectl = dir.join("bin/kubectl");
        if let Some(other) = variable("TESTCLUSTER_KUBECTL") {
            link(Path::new(&other), &kubectl)?;
        }
        Ok(Self {
            kubectl,
            dir,
            kubeconfig,
            etcd: Some(etcd),
            binary: Some(binary.to_owned()),
            entry: Vec::new(),
            child: Some(child),
        })
    }

    /// Uses a cluster that is there. The tests make and delete things, so it has to be a local one.
    fn existing(repository: &Path, kubeconfig: PathBuf, say: &dyn Fn(&str)) -> Result<Self, String> {
        // One folder for all such runs: nothing removes it when this process is killed.
        let dir = target(repository).join("testcluster/borrowed");
        let bin = dir.join("bin");
        fs::create_dir_all(&bin).map_err(in_words(&bin))?;
        let kubectl = bin.join("kubectl");
        let binary = binary(repository, say)?.ok();
        if let Some(binary) = &binary {
            link(binary, &kubectl)?;
        }
        let kubectl = if binary.is_some() { kubectl } else { PathBuf::from("kubectl") };
        let output = Command::new(&kubectl)
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .args(["config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"])
            .output()
            .map_err(in_words(&kubectl))?;
        let server = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let allowed = variable("STS_TEST_CLUSTER_ALLOW_REMOTE").is_some_and(|value| value == "1");
        if !allowed && !is_local(&server) {
            return Err(format!(
                "TESTCLUSTER_KUBECONFIG names the server {server:?}, which is no loopback or private address. The tests \
                 make and delete things there; set STS_TEST_CLUSTER_ALLOW_REMOTE=1 if you mean it"
            ));
        }
        let etcd = variable("TESTCLUSTER_ETCD").and_then(|url| url.into_string().ok());
        Ok(Self { dir, kubeconfig, kubectl, etcd, binary, entry: Vec::new(), child: None })
    }

    /// Whether the cluster was there before us.
    pub fn is_borrowed(&self) -> bool {
        self.child.is_none()
    }

    /// One whose API server only listens in other namespaces; `entry` is the command that enters them.
    pub fn inside(dir: &Path, entry: Vec<OsString>) -> Self {
        Self {
            dir: dir.to_owned(),
            kubeconfig: dir.join("admin.kubeconfig"),
            kubectl: dir.join("bin/kubectl"),
            etcd: None,
            binary: None,
            entry,
            child: None,
        }
    }

    /// A command that can reach the API server.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some((first, rest)) = self.entry.split_first() else { return Command::new(program) };
        let mut command = Command::new(first);
        command.args(rest).arg(program);
        command
    }

    /// A kubectl command with the administrator's kubeconfig and nothing from the environment.
    pub fn kubectl(&self) -> Command {
        let mut command = self.command(&self.kubectl);
        self.clean(&mut command).arg("--kubeconfig").arg(&self.kubeconfig);
        command
    }

    /// Gives a command an environment that has nothing of the user's: no kubeconfig, no home, no proxies.
    pub fn clean<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let mut path = OsString::from(self.dir.join("bin"));
        path.push(":/usr/local/bin:/usr/bin:/bin");
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", &self.dir)
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm")
    }

    /// The last lines of all components' logs, for a failure's message.
    pub fn log_tails(&self) -> String {
        log_tails(&self.dir)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        drop(child.stdin.take());
        let _ = child.wait();
    }
}

/// The multi-call binary; the inner error is the reason why there is none, when that is no failure.
pub fn binary(repository: &Path, say: &dyn Fn(&str)) -> Result<Result<PathBuf, String>, String> {
    if let Some(binary) = variable("TESTCLUSTER_BIN") {
        let binary = PathBuf::from(binary);
        return if binary.is_file() {
            Ok(Ok(binary))
        } else {
            Err(format!("TESTCLUSTER_BIN: no file {}", binary.display()))
        };
    }
    built(repository, "tests/testcluster", "the test cluster", say)
}

/// The program of a Go module here, built once for each state of its sources; the inner error as above. It has the name of its
/// module, and `what` names it for people.
pub fn built(
    repository: &Path,
    module: &str,
    what: &str,
    say: &dyn Fn(&str),
) -> Result<Result<PathBuf, String>, String> {
    let sources = repository.join(module);
    let Sources { name, hash, kubernetes, language } = fingerprint(&sources)?;
    let cache = target(repository).join(&name);
    let folder = cache.join(&hash);
    let binary = folder.join(&name);
    if binary.is_file() {
        return Ok(Ok(binary));
    }
    let Some(go) = go_version() else { return Ok(Err("there is no go on the PATH to build it with".into())) };
    if go < language {
        let (have, need) = (words(go), words(language));
        return Ok(Err(format!("go {have} is too old to build it: it needs {need}")));
    }
    fs::create_dir_all(&folder).map_err(in_words(&folder))?;
    let lock_path = folder.join("lock");
    let lock = File::create(&lock_path).map_err(in_words(&lock_path))?;
    lock.lock().map_err(in_words(&lock_path))?;
    if binary.is_file() {
        return Ok(Ok(binary)); // another process built it while we waited for the lock
    }
    say(&format!(
        "building {what} (Kubernetes from source: seconds with a warm Go cache, about 20 CPU minutes with a cold one)"
    ));
    build(&sources, &binary, &kubernetes)?;
    remove_old(&cache, &folder);
    Ok(Ok(binary))
}

/// The target folder itself, not that of a profile: nothing here depends on ours.
pub fn target(repository: &Path) -> PathBuf {
    variable("CARGO_TARGET_DIR").map_or_else(|| repository.join("target"), PathBuf::from)
}

/// Makes a symbolic link, or lets one that is there lead to another place.
pub fn link(to: &Path, name: &Path) -> Result<(), String> {
    let new = name.with_extension(std::process::id().to_string());
    let _ = fs::remove_file(&new);
    std::os::unix::fs::symlink(to, &new).map_err(in_words(&new))?;
    fs::rename(&new, name).map_err(in_words(name)) // in one step, for whoever runs it at this moment
}

/// Builds to a temporary name, so that a build that is interrupted leaves nothing that looks finished.
fn build(sources: &Path, binary: &Path, kubernetes: &str) -> Result<(), String> {
    let unfinished = binary.with_extension("unfinished");
    let mut version = kubernetes.trim_start_matches('v').split('.');
    let (major, minor) = (version.next().unwrap_or_default(), version.next().unwrap_or_default());
    let package = "k8s.io/component-base/version";
    let flags = format!(
        "-s -w -X {package}.gitVersion={kubernetes} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    );
    let output = Command::new("go")
        .current_dir(sources)
        .args(["build", "-trimpath", "-ldflags", &flags, "-o"])
        .arg(&unfinished)
        .arg(".")
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-mod=readonly -buildvcs=false")
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("go build: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "go build in {}: {}",
            sources.display(),
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    fs::rename(&unfinished, binary).map_err(in_words(binary))
}

/// Removes binaries of earlier states of the sources: 150 MB each. A recent one may be another checkout's.
fn remove_old(cache: &Path, keep: &Path) {
    let old = Duration::from_secs(72 * 3600);
    for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
        if entry.path() != keep && age.is_some_and(|age| age > old) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// A Go module: a hash of all its sources, and what its go.mod names.
struct Sources {
    name: String,
    hash: String,
    kubernetes: String,
    language: (u32, u32),
}

fn fingerprint(sources: &Path) -> Result<Sources, String> {
    let mut files: Vec<PathBuf> = fs::read_dir(sources)
        .map_err(in_words(sources))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "go")
                || path.file_name().is_some_and(|name| name == "go.mod" || name == "go.sum")
        })
        .collect();
    files.sort();
    // FNV-1a: it has to tell states apart, not to withstand anybody.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    let (mut name, mut kubernetes, mut language) = (String::new(), String::new(), (0, 0));
    for file in files {
        let content = fs::read(&file).map_err(in_words(&file))?;
        take(file.file_name().unwrap_or_default().as_encoded_bytes());
        take(&content);
        if file.file_name().is_some_and(|name| name == "go.mod") {
            for line in String::from_utf8_lossy(&content).lines() {
                let mut words = line.split_whitespace();
                match (words.next(), words.next()) {
                    (Some("module"), Some(module)) => module.clone_into(&mut name),
                    (Some("k8s.io/kubernetes"), Some(version)) => version.clone_into(&mut kubernetes),
                    (Some("go"), Some(version)) => language = minor_version(version).unwrap_or_default(),
                    _ => {}
                }
            }
        }
    }
    take(std::env::consts::ARCH.as_bytes());
    Ok(Sources { name, hash: format!("{hash:016x}"), kubernetes, language })
}

fn go_version() -> Option<(u32, u32)> {
    let output = Command::new("go").arg("version").env("GOTOOLCHAIN", "local").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    // "go version go1.26.8 linux/amd64"
    text.split_whitespace().find_map(|word| minor_version(word.strip_prefix("go")?))
}

fn minor_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok()?;
    Some((major, minor))
}

fn words((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}

/// Whether a server's URL names this machine or a private network. A name could be anything, so only `localhost` will do.
pub fn is_local(server: &str) -> bool {
    let host = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(v4)) => v4.is_loopback() || v4.is_private(),
        Ok(IpAddr::V6(v6)) => v6.is_loopback() || v6.is_unique_local(),
        Err(_) => host == "localhost",
    }
}

/// A new folder for one run.
fn run_folder() -> Result<PathBuf, String> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let nanos =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.subsec_nanos());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir =
        std::env::temp_dir().join(format!("kubectl-sts-testcluster-{}-{count}-{nanos}", std::process::id()));
    fs::create_dir(&dir).map_err(in_words(&dir))?;
    Ok(dir)
}

fn log_tails(dir: &Path) -> String {
    let mut text = String::new();
    let mut logs: Vec<PathBuf> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    logs.sort();
    for log in logs {
        let content = fs::read(&log).unwrap_or_default();
        let content = String::from_utf8_lossy(&content);
        let lines: Vec<&str> = content.lines().collect();
        let last = &lines[lines.len().saturating_sub(15)..];
        let _ = write!(text, "\n--- {} (last {} lines)\n{}", log.display(), last.len(), last.join("\n"));
    }
    text
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn in_words(path: &Path) -> impl FnOnce(io::Error) -> String + use<> {
    let path = path.display().to_string();
    move |error| format!("{path}: {error}")
}

/// Writes a line that a test run shows even for tests that pass: libtest captures the print macros only.
pub fn loud(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
