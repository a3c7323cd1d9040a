//! Runs a program, and says what that took.
//!
//! Linux counts the memory of the process that starts another as the other's, until that executes its program. So a
//! program is started by a launcher, which is this bench again but small, and not by the bench that serves the cluster.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::fleet::http::authority;
use super::fleet::{Request, Server};

/// What one run took.
#[derive(Clone, Debug, Default)]
pub struct Took {
    /// Milliseconds.
    pub wall: f64,
    /// Milliseconds of all threads, user and system.
    pub cpu: f64,
    /// Most memory at a time, in MB.
    pub memory: f64,
    pub requests: Vec<Request>,
}

impl Took {
    pub fn bytes(&self) -> u64 {
        self.requests.iter().map(|request| request.bytes).sum()
    }
}

/// The launcher: runs the program, and prints microseconds, microseconds of the processor, KiB, and the exit code.
pub fn launch(line: &[String]) {
    let mut command = Command::new(&line[0]);
    command.args(&line[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let status = command.status().unwrap_or_else(|error| panic!("{}: {error}", line[0]));
    let wall = began.elapsed().as_micros();
    let (cpu, memory) = usage();
    println!("{wall} {cpu} {memory} {}", status.code().unwrap_or(-1));
}

#[cfg(unix)]
fn usage() -> (i64, i64) {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = (user.tv_sec() + system.tv_sec()) * 1_000_000 + user.tv_usec() + system.tv_usec();
    // macOS counts in bytes.
    let memory = if cfg!(target_os = "macos") { usage.max_rss() / 1024 } else { usage.max_rss() };
    (micros, memory)
}

#[cfg(not(unix))]
fn usage() -> (i64, i64) {
    panic!("what a process took is not known here")
}

/// What is measured, and with what it is compared.
pub struct Programs {
    pub ours: PathBuf,
    pub kubectl: PathBuf,
    home: tempfile::TempDir,
}

/// A command line.
#[derive(Clone, Debug)]
pub enum Line {
    /// Of our program.
    Ours(Vec<String>),
    /// The same, with gzip: on this machine it would not ask for it.
    Compressed(Vec<String>),
    Kubectl(Vec<String>),
    Raw,
}

impl Programs {
    pub fn find() -> Programs {
        let ours =
            std::env::var_os("STS_BIN").map_or(env!("CARGO_BIN_EXE_kubectl-sts").into(), PathBuf::from);
        let kubectl = std::env::var_os("KUBECTL").map_or("kubectl".into(), PathBuf::from);
        Programs { ours, kubectl, home: tempfile::tempdir().unwrap() }
    }

    /// Runs a line against a server.
    pub fn run(&self, line: &Line, server: &Server) -> Took {
        let own = std::env::current_exe().unwrap();
        let address = server.address.as_str();
        let (program, mut words): (&Path, Vec<String>) = match line {
            Line::Ours(words) | Line::Compressed(words) => (&self.ours, words.clone()),
            Line::Kubectl(words) => (&self.kubectl, words.clone()),
            Line::Raw => (&own, vec!["--raw".to_owned(), address.to_owned()]),
        };
        if !matches!(line, Line::Raw)
            && words.first().is_none_or(|word| word != "version" && word != "--version")
        {
            let config = self.kubeconfig(address, matches!(line, Line::Compressed(_)));
            words.extend(["--kubeconfig".to_owned(), config.display().to_string()]);
        }
        let _ = server.requests();
        let output = Command::new(&own)
            .arg("--launch")
            .arg(program)
            .args(&words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let numbers: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [wall, cpu, memory, code] = numbers[..] else { panic!("{line:?} did not run: {text}") };
        // Findings are exit code 1.
        let is_ours = matches!(line, Line::Ours(_) | Line::Compressed(_));
        let code = code as i32;
        if code != 0 && !(code == 1 && is_ours) {
            // Once more, for what it says.
            let output = Command::new(program).args(&words).output().unwrap();
            panic!("{line:?}: exit code {code}\n{}", String::from_utf8_lossy(&output.stderr));
        }
        Took { wall: wall / 1e3, cpu: cpu / 1e3, memory: memory * 1024.0 / 1e6, requests: server.requests() }
    }

    /// A kubeconfig for the server at this address.
    pub fn kubeconfig(&self, address: &str, compressed: bool) -> PathBuf {
        let file = self.home.path().join(if compressed { "compressed.yaml" } else { "config.yaml" });
        // Where it could send credentials, kubectl asks for some.
        let (authority, user) = match address.starts_with("https") {
            true => (format!("certificate-authority: {}, ", authority().display()), "token: fleet"),
            false => (String::new(), ""),
        };
        let compression = if compressed { "disable-compression: false, " } else { "" };
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: fleet\nclusters:\n- name: fleet\n  cluster: {{{authority}{compression}server: \
             \"{address}\"}}\nusers:\n- name: fleet\n  user: {{{user}}}\ncontexts:\n- name: fleet\n  context: {{cluster: fleet, user: \
             fleet}}\n"
        );
        std::fs::write(&file, text).unwrap();
        file
    }
}

/// Refuses to measure while the machine is doing something else.
pub struct Gate {
    is_open: bool,
    /// How idle the machine was, at worst, in per cent.
    pub idle: f64,
}

const IDLE: f64 = 90.0;

impl Gate {
    pub fn new(is_open: bool) -> Gate {
        Gate { is_open, idle: 100.0 }
    }

    /// Waits until the machine is idle, for some minutes.
    ///
    /// # Panics
    /// If it does not become idle.
    pub fn pass(&mut self) {
        let began = Instant::now();
        loop {
            let idle = idle();
            if self.is_open || idle >= IDLE {
                self.idle = self.idle.min(idle);
                return;
            }
            assert!(
                began.elapsed() < Duration::from_secs(300),
                "the machine is only {idle:.0} % idle; run this when it does nothing else, or add --busy"
            );
        }
    }
}

/// Per cent of a fifth of a second in which the processors had nothing to do.
fn idle() -> f64 {
    let read = || {
        let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let times: Vec<f64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        (times.get(3).copied().unwrap_or(0.0), times.iter().sum::<f64>())
    };
    let (idle, all) = read();
    std::thread::sleep(Duration::from_millis(200));
    let (idle_then, all_then) = read();
    // Where this is not known, it is not refused.
    if all_then > all { (idle_then - idle) / (all_then - all) * 100.0 } else { 100.0 }
}
