//! The files around the sources agree with each other, and dependencies with what `Cargo.toml` promises.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `rust-version` of Cargo.toml.
fn oldest_rust() -> String {
    let manifest = read("Cargo.toml");
    let line =
        manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).expect("a rust-version");
    line.trim_end_matches('"').to_owned()
}

/// The numbers of a version, to compare; a version without a patch is its first one.
fn numbers(version: &str) -> Vec<u32> {
    let numbers = version.split('.').map(|part| part.parse().unwrap_or_else(|_| panic!("{version}")));
    numbers.chain([0, 0]).take(3).collect()
}

fn workflows() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(repository().join(".github/workflows"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    assert!(!found.is_empty(), "there are no workflows");
    found
}

/// What is wrong with the actions that a workflow uses.
fn loose_actions(workflow: &str) -> Vec<String> {
    let uses = workflow.lines().filter_map(|line| {
        let line = line.trim_start().trim_start_matches("- ");
        line.strip_prefix("uses:").map(str::trim)
    });
    let is_hash = |hash: &str| hash.len() == 40 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_pinned = |action: &&str| {
        // Ours are as they are checked out.
        action.starts_with("./")
            || action.split_once('@').is_some_and(|(_, pin)| {
                pin.split_once(" # v").is_some_and(|(hash, version)| is_hash(hash) && version.contains('.'))
            })
    };
    uses.filter(|action| !is_pinned(action)).map(str::to_owned).collect()
}

#[test]
fn every_action_is_pinned_by_its_commit_and_says_its_version() {
    for path in workflows() {
        let loose = loose_actions(&fs::read_to_string(&path).unwrap());
        assert!(loose.is_empty(), "{}: a tag can move; pin the commit: {loose:?}", path.display());
    }
    let workflow = "\
    - uses: actions/checkout@3d3c42e5aac5ba805825da76410c181273ba90b1 # v7.0.1
    - uses: ./.github/actions/ours
    - uses: actions/checkout@v7
    - name: named
      uses: actions/cache@27d5ce7f107fe9357f9df03efb73ab90386fccae
    - uses: actions/cache@27d5ce7 # v5.0.5";
    let loose = [
        "actions/checkout@v7",
        "actions/cache@27d5ce7f107fe9357f9df03efb73ab90386fccae",
        "actions/cache@27d5ce7 # v5.0.5",
    ];
    assert_eq!(loose_actions(workflow), loose);
}

#[test]
fn one_action_has_one_version() {
    let mut pins = BTreeSet::new();
    for path in workflows() {
        let text = fs::read_to_string(&path).unwrap();
        pins.extend(text.lines().filter_map(|line| Some(line.split_once("uses: ")?.1.to_owned())));
    }
    let actions: BTreeSet<&str> = pins.iter().filter_map(|pin| Some(pin.split_once('@')?.0)).collect();
    assert_eq!(actions.len(), pins.len(), "an action is pinned to two commits: {pins:?}");
}

#[test]
fn the_oldest_rust_is_the_same_everywhere() {
    let oldest = oldest_rust();
    let page = read("CONTRIBUTING.md");
    assert!(
        page.contains(&format!("You need Rust {oldest} or newer.")),
        "CONTRIBUTING.md is not about {oldest}"
    );
    // CI has no number of its own to forget.
    let ci = read(".github/workflows/ci.yml");
    assert!(ci.contains("sed -n 's/^rust-version = "), "ci.yml does not take the version from Cargo.toml");
    assert!(ci.contains("cargo \"+$version\" check --locked"), "ci.yml does not check with the oldest Rust");
    // Clippy finds functions of the standard library that are newer, in tests too; a version of its own would hide it.
    let clippy = read("clippy.toml");
    assert!(clippy.contains("check-incompatible-msrv-in-tests = true"), "clippy.toml leaves tests out");
    assert!(!clippy.contains("msrv ="), "clippy.toml has a version of its own");
    let toolchain = read("rust-toolchain.toml");
    for word in ["channel = \"stable\"", "rustfmt", "clippy"] {
        assert!(toolchain.contains(word), "rust-toolchain.toml does not have {word}");
    }
}

#[test]
fn no_dependency_needs_a_newer_rust() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = |more: &[&str]| {
        let mut command = Command::new(&cargo);
        command.current_dir(repository()).args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
        ]);
        command.args(more).output().unwrap()
    };
    // Packages of other platforms may not be there.
    let host = host();
    let output = metadata(&["--filter-platform", &host]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let used: BTreeSet<&str> = metadata["resolve"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let oldest = numbers(&oldest_rust());
    let (mut newer, mut told) = (Vec::new(), 0);
    for package in metadata["packages"].as_array().unwrap() {
        let Some(version) = package["rust_version"].as_str() else { continue };
        if !used.contains(package["id"].as_str().unwrap()) {
            continue;
        }
        told += 1;
        if numbers(version) > oldest {
            newer.push(format!("{} {} needs Rust {version}", package["name"], package["version"]));
        }
    }
    assert!(told > 100, "only {told} packages say which Rust they need");
    assert!(newer.is_empty(), "rust-version of Cargo.toml is too old:\n{}", newer.join("\n"));
}

fn host() -> String {
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .arg("-vV")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host").to_owned()
}

#[test]
fn versions_are_compared_as_numbers() {
    assert!(numbers("1.9") < numbers("1.89") && numbers("1.89") == numbers("1.89.0"));
    assert!(numbers("1.89.1") > numbers("1.89"));
}

#[test]
fn the_changelog_has_a_place_for_what_comes() {
    let text = read("CHANGELOG.md");
    let versions: Vec<&str> = text.lines().filter(|line| line.starts_with("## [")).collect();
    assert_eq!(versions.first(), Some(&"## [Unreleased]"), "CHANGELOG.md");
    for section in text.lines().filter_map(|line| line.strip_prefix("### ")) {
        let known = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
        assert!(known.contains(&section), "CHANGELOG.md: {section} is not a kind of change");
    }
    let name = env!("CARGO_PKG_VERSION");
    let is_released = versions.iter().any(|line| line.starts_with(&format!("## [{name}]")));
    assert!(is_released || versions.len() == 1, "CHANGELOG.md has releases, but not {name}");
}

#[test]
fn the_bug_form_asks_for_a_recording_and_the_version() {
    let form = read(".github/ISSUE_TEMPLATE/bug.yml");
    for command in ["kubectl sts version", "kubectl sts record"] {
        assert!(form.contains(command), "the bug form does not ask for {command}");
    }
    // What the form and the page on security say can be typed.
    let run = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_kubectl-sts")).args(args).current_dir(repository()).output().unwrap()
    };
    assert!(run(&["--version"]).status.success());
    assert!(run(&["version", "--client"]).status.success());
    let recorded = run(&["record", "-n", "shop", "--from", "docs/recordings/postgres.yaml"]);
    assert!(recorded.status.success() && recorded.stdout.starts_with(b"apiVersion: kubectl-sts/v1"));
}

/// What `.ci/run` promises in CONTRIBUTING.md.
#[test]
fn one_command_runs_all_checks() {
    let run = read(".ci/run");
    for check in [
        "cargo test --locked",
        "cargo fmt --check",
        "cargo clippy --all-targets --locked -- -D warnings",
        "cargo doc --no-deps --locked",
        "--ignored contributing::",
        "--ignored book::",
        "deny check licenses bans sources",
        "\"$tools/bin/cargo-machete\" --with-metadata",
        "\ntypos\n",
    ] {
        assert!(run.contains(check), ".ci/run does not run {}", check.trim());
    }
    for file in ["deny.toml", ".typos.toml"] {
        assert!(repository().join(file).exists(), "there is no {file}");
    }
    assert!(run.contains("set -euo pipefail"), ".ci/run goes on after a failure");
}
