//! A cluster to try the program on: one namespace for each fault that a rule reports, and some healthy ones.
//!
//! `cargo run --example playground` starts the control plane of the tests, creates the faults and waits for Ctrl-C.
//!
//! ```text
//! playground [CASE…]            only these, named as in tests/manifests/playground and tests/manifests/scenes
//!   --record DIR|FILE.yaml      write a recording of each namespace (or one of them all) and end
//!   --logs                      with the last lines of the logs of failing containers
//!   --namespace NAME            the namespace of the only case given
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a program")]

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/support/controlplane.rs"]
mod controlplane;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/support/playground.rs"]
mod playground;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use controlplane::{ControlPlane, Found, loud};
use playground::{Case, cases, kubectl, scenes};

/// A cluster to try kubectl sts on.
#[derive(Parser)]
struct Args {
    /// Cases to create; without names, all
    cases: Vec<String>,
    /// Write a recording of each namespace to this folder, or of all to this .yaml file, and end
    #[arg(long, value_name = "DIR|FILE")]
    record: Option<PathBuf>,
    /// Record the last lines of the logs of failing containers, too
    #[arg(long, requires = "record")]
    logs: bool,
    /// Namespace for the case, if only one is given (default: its name)
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (scenes, faults) = (scenes(repository)?, cases(repository)?);
    let all = || scenes.iter().chain(&faults);
    if let Some(unknown) = args.cases.iter().find(|name| all().all(|case| case.name != **name)) {
        let known: Vec<&str> = all().map(|case| case.name.as_str()).collect();
        return Err(format!("there is no case {unknown}; there are {}", known.join(", ")));
    }
    if args.namespace.is_some() && args.cases.len() != 1 {
        return Err("--namespace needs one case".into());
    }
    let wanted = |case: &&Case| args.cases.is_empty() || args.cases.contains(&case.name);
    let cases: Vec<&Case> = all().filter(wanted).collect();
    let namespace = |case: &Case| args.namespace.clone().unwrap_or_else(|| case.name.clone());

    let program = program(repository)?;
    let plane = match ControlPlane::find(repository, &loud)? {
        Found::Plane(plane) => plane,
        Found::None(reason) => return Err(reason),
    };
    controlplane::link(&program, &plane.dir.join("bin/kubectl-sts"))?;
    let ended = Ended::watch()?;
    println!(
        "export KUBECONFIG={} PATH={}:$PATH",
        plane.kubeconfig.display(),
        plane.dir.join("bin").display()
    );
    println!("creating {} namespaces, which takes a minute or two", cases.len());

    let classes = ["apply", "-f", "tests/manifests/classes.yaml"].map(str::to_owned);
    kubectl(&plane, repository, "default", &classes, "")?;
    let mut namespaces = Vec::new();
    let mut failed = Vec::new();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for case in &cases {
            let is_fault = faults.iter().any(|fault| fault.name == case.name);
            let (plane, repository, program, name) = (&plane, &repository, &program, namespace(case));
            namespaces.push(name.clone());
            let made = move || {
                create(plane, repository, &name)?;
                case.make(plane, repository, &name)?;
                if is_fault {
                    case.wait(plane, program, &name)?;
                }
                println!("{name:28} {}", case.title);
                Ok::<_, String>(())
            };
            threads.push((&case.name, scope.spawn(made)));
        }
        for (name, thread) in threads {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => failed.push(format!("{name}: {error}")),
                Err(_) => failed.push(format!("{name}: panicked")),
            }
        }
    });
    if ended.now() {
        return Ok(());
    }
    for failure in &failed {
        eprintln!("{failure}");
    }
    if let Some(to) = &args.record {
        record(&plane, &program, to, &namespaces, args.logs)?;
        return if failed.is_empty() { Ok(()) } else { Err("not all faults could be created".into()) };
    }
    println!(
        "\nIn another terminal, after the export above:\n  kubectl sts status -A\n  kubectl sts doctor -A\n  kubectl sts \
         doctor -n {}\nCtrl-C takes everything down.",
        namespaces[namespaces.len() - 1]
    );
    ended.wait();
    Ok(())
}

/// Our own program, built as this one was.
fn program(repository: &Path) -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let profile = own.parent().and_then(Path::parent).ok_or("this program is not in a target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(repository).args(["build", "--quiet", "--bin", "kubectl-sts"]);
    if profile.ends_with("release") {
        command.arg("--release");
    }
    let status = command.status().map_err(|error| format!("cargo build: {error}"))?;
    if status.success() { Ok(profile.join("kubectl-sts")) } else { Err("cargo build failed".into()) }
}

fn create(plane: &ControlPlane, repository: &Path, namespace: &str) -> Result<(), String> {
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    kubectl(plane, repository, "default", &words(&format!("create namespace {namespace}")), "")?;
    // Pods are refused until the service account is there, and the refusals would show as a fault of their own.
    let began = Instant::now();
    while let Err(error) = kubectl(plane, repository, namespace, &words("get serviceaccount default"), "") {
        if began.elapsed() > Duration::from_secs(60) {
            return Err(error);
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn record(
    plane: &ControlPlane,
    program: &Path,
    to: &Path,
    namespaces: &[String],
    logs: bool,
) -> Result<(), String> {
    let write = |path: &Path, scope: &[&str]| -> Result<(), String> {
        let mut command = Command::new(program);
        plane.clean(&mut command).arg("--kubeconfig").arg(&plane.kubeconfig).arg("record").args(scope);
        if logs {
            command.arg("--logs");
        }
        let output = command.output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        std::fs::write(path, output.stdout).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{} written", path.display());
        Ok(())
    };
    if to.extension().is_some_and(|extension| extension == "yaml") {
        return match namespaces {
            [one] => write(to, &["-n", one]),
            _ => write(to, &["-A"]),
        };
    }
    std::fs::create_dir_all(to).map_err(|error| format!("{}: {error}", to.display()))?;
    namespaces.iter().try_for_each(|name| write(&to.join(format!("{name}.yaml")), &["-n", name]))
}

/// Ctrl-C, which must not end this program before the control plane and its volumes' folders are gone.
struct Ended(std::sync::mpsc::Receiver<()>);

impl Ended {
    fn watch() -> Result<Ended, String> {
        let (sender, receiver) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        thread::spawn(move || {
            runtime.block_on(async {
                let _ = tokio::signal::ctrl_c().await;
            });
            let _ = sender.send(());
        });
        Ok(Ended(receiver))
    }

    fn now(&self) -> bool {
        self.0.try_recv().is_ok()
    }

    fn wait(&self) {
        let _ = self.0.recv();
    }
}
