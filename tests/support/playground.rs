//! Faults on a real control plane, one file each in `tests/manifests/playground`: for the tests, and for
//! `examples/playground.rs`, which includes this file too and also takes the scenes of `tests/manifests/scenes`.
//!
//! A file is a manifest. The comments at its top say what it shows, and these lines among them what happens after it was
//! applied, in this order:
//!
//! ```text
//! # $ kubectl COMMAND     run in the namespace; 'single quotes' as in a shell; `kubectl wait` may also wait for creation;
//! #                       `kubectl sts` is our own program
//! # age 12d               makes all in the namespace so much older
//! # age 12d KEY           makes so much older what has this key in etcd, below /registry
//! # allow RULE, RULE      errors that come with the fault
//! # since 1.37            the fault is possible only from this version of Kubernetes on
//! # finally $ kubectl …   run when a test is over, for what the end of the namespace does not end
//! ```
//!
//! `$NAMESPACE` stands for the namespace's name, for what lies in no namespace.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::controlplane::ControlPlane;

/// How long anything may take before it counts as not happening. Some twenty faults are made at once, beside other tests, and a
/// deadline only ends a failure.
const PATIENCE: Duration = Duration::from_secs(400);

/// A fault, and how it is made.
pub struct Case {
    /// The rule's name, and the file's.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// Errors of other rules that come with it.
    pub allowed: Vec<String>,
    /// The minor of Kubernetes 1 that it needs.
    pub since: u32,
    steps: Vec<Step>,
    finally: Vec<Vec<String>>,
    manifest: String,
}

enum Step {
    Kubectl(Vec<String>),
    Age(Vec<String>),
}

/// All cases, by name.
pub fn cases(repository: &Path) -> Result<Vec<Case>, String> {
    read(&repository.join("tests/manifests/playground"))
}

/// What is worth a look although no rule speaks of it.
pub fn scenes(repository: &Path) -> Result<Vec<Case>, String> {
    read(&repository.join("tests/manifests/scenes"))
}

fn read(folder: &Path) -> Result<Vec<Case>, String> {
    let files = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = files.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| Case::read(path)).collect()
}

impl Case {
    fn read(path: &Path) -> Result<Case, String> {
        let manifest = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (mut title, mut steps, mut allowed) = (Vec::new(), Vec::new(), Vec::new());
        let (mut finally, mut since) = (Vec::new(), 0);
        for line in manifest.lines().map_while(|line| line.strip_prefix('#')).map(str::trim) {
            if let Some(command) = line.strip_prefix("$ kubectl ") {
                steps.push(Step::Kubectl(words(command)));
            } else if let Some(command) = line.strip_prefix("finally $ kubectl ") {
                finally.push(words(command));
            } else if let Some(age) = line.strip_prefix("age ") {
                steps.push(Step::Age(words(age)));
            } else if let Some(minor) = line.strip_prefix("since 1.") {
                since = minor.parse().map_err(|error| format!("{name}: {line}: {error}"))?;
            } else if let Some(rules) = line.strip_prefix("allow ") {
                allowed.extend(rules.split(',').map(|rule| rule.trim().to_owned()));
            } else {
                title.push(line);
            }
        }
        Ok(Case { name, title: title.join(" "), allowed, since, steps, finally, manifest })
    }

    /// Makes the fault in a namespace that is there.
    pub fn make(&self, plane: &ControlPlane, repository: &Path, namespace: &str) -> Result<(), String> {
        let apply = ["apply", "-f", "-"].map(str::to_owned);
        if self.manifest.contains("\nkind:") || self.manifest.starts_with("kind:") {
            kubectl(plane, repository, namespace, &apply, &self.manifest.replace("$NAMESPACE", namespace))?;
        }
        for step in &self.steps {
            match step {
                Step::Kubectl(words) => {
                    let words: Vec<String> =
                        words.iter().map(|word| word.replace("$NAMESPACE", namespace)).collect();
                    let began = Instant::now();
                    loop {
                        match kubectl(plane, repository, namespace, &words, "") {
                            Ok(()) => break,
                            // `kubectl wait` gives up at once on what is not there yet.
                            Err(_) if words[0] == "wait" && began.elapsed() < PATIENCE => {
                                thread::sleep(Duration::from_millis(300));
                            }
                            Err(error) => return Err(error),
                        }
                    }
                }
                Step::Age(words) => age(plane, namespace, words)?,
            }
        }
        Ok(())
    }

    /// Takes away what the end of the namespace leaves.
    pub fn end(&self, plane: &ControlPlane, repository: &Path, namespace: &str) {
        for words in &self.finally {
            let words: Vec<String> = words.iter().map(|word| word.replace("$NAMESPACE", namespace)).collect();
            // What is not there, because the case did not get so far, need not be taken away.
            let _ = kubectl(plane, repository, namespace, &words, "");
        }
    }

    /// Waits until our own program finds the fault, and gives all rules that it finds, with their severities.
    pub fn wait(
        &self,
        plane: &ControlPlane,
        program: &Path,
        namespace: &str,
    ) -> Result<Vec<(String, String)>, String> {
        let began = Instant::now();
        let doctor = |more: &[&str]| -> Result<(String, Vec<(String, String)>), String> {
            let mut command = Command::new(program);
            plane.clean(&mut command).arg("--kubeconfig").arg(&plane.kubeconfig);
            command.args(["doctor", "-o", "json", "-n", namespace]).args(more);
            let output = command.output().map_err(|error| format!("{}: {error}", program.display()))?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let diagnosis: serde_json::Value = serde_json::from_str(&text)
                .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
            let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let findings = diagnosis["findings"].as_array().map(Vec::as_slice).unwrap_or_default();
            let found =
                findings.iter().map(|finding| (word(&finding["rule"]), word(&finding["severity"]))).collect();
            Ok((text, found))
        };
        let is_it = |(rule, _): &(String, String)| *rule == self.name;
        loop {
            let (text, mut found) = doctor(&[])?;
            // What only follows from another finding is not shown beside it.
            if !found.iter().any(is_it) {
                let alone = doctor(&["--only", &self.name])?.1;
                // It may have come in between.
                if alone.iter().any(is_it) {
                    found = doctor(&[])?.1;
                }
                if !found.iter().any(is_it) {
                    found.extend(alone);
                }
            }
            if found.iter().any(is_it) {
                return Ok(found);
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("{} is not found in namespace {namespace}:\n{text}", self.name));
            }
            thread::sleep(Duration::from_millis(500));
        }
    }
}

/// Makes all in a namespace, or what has the key given, so much older.
pub fn age(plane: &ControlPlane, namespace: &str, words: &[String]) -> Result<(), String> {
    let (Some(etcd), Some(binary)) = (&plane.etcd, &plane.binary) else {
        return Err("nothing can be made older on a cluster whose etcd is not ours".into());
    };
    let mut command = Command::new(binary);
    command.args(["age", "--etcd", etcd, "--by", &words[0]]);
    match words.get(1) {
        Some(key) => command.arg(format!("/registry/{}", key.replace("$NAMESPACE", namespace))),
        None => command.args(["--namespace", namespace]),
    };
    finish(command, "")
}

/// Runs kubectl in a namespace.
pub fn kubectl(
    plane: &ControlPlane,
    repository: &Path,
    namespace: &str,
    words: &[String],
    stdin: &str,
) -> Result<(), String> {
    let mut command = plane.kubectl();
    let mut words = words;
    if let Some(("sts", ours)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        // A plugin wants its flags behind its name.
        command = Command::new(plane.dir.join("bin/kubectl-sts"));
        plane.clean(&mut command).arg("--kubeconfig").arg(&plane.kubeconfig);
        words = ours;
    }
    command.current_dir(repository).args(["--namespace", namespace]).args(words);
    finish(command, stdin)
}

fn finish(mut command: Command, stdin: &str) -> Result<(), String> {
    let line = format!("{command:?}");
    let failed = |error: io::Error| format!("{line}: {error}");
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // A command that ends without reading says why on its standard error.
        let _ = input.write_all(stdin.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// Splits a command line at its spaces, but not within single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.trim().chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().into_iter().for_each(|word| word.push(letter)),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
