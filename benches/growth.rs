//! How long each command takes on recordings of ever larger sets.
//!
//! `cargo bench --bench growth` prints milliseconds of processor time for each command and size; `-- 500 1000` chooses the
//! sizes, and `STS_BIN` another program to measure.
#![allow(missing_docs, dead_code, clippy::unwrap_used, clippy::print_stdout)]

#[path = "../tests/support/large.rs"]
mod large;

use std::process::{Command, Stdio};

use large::{STATES, State, recording};

const COMMANDS: &[(State, &str)] = &[
    (State::Half, "status"),
    (State::Half, "status web"),
    (State::Sick, "status web"),
    (State::Half, "doctor"),
    (State::Sick, "doctor"),
    (State::Healthy, "canary web --partition 5 --image web=web:3 --dry-run=client"),
    (State::Canary, "promote web --full --dry-run=client"),
    (State::Canary, "abort web --dry-run=client"),
    (State::Trapped, "recover web --dry-run=client"),
    (State::LeftOver, "prune-pvcs web"),
    (State::Half, "history web"),
];

fn main() {
    let chosen: Vec<i32> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if chosen.is_empty() { vec![500, 1000, 2000, 5000, 10_000] } else { chosen };
    let program = std::env::var("STS_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_kubectl-sts").to_owned());
    let folder = std::env::temp_dir().join(format!("sts-growth-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    print!("{:64}", "");
    for size in &sizes {
        print!("{size:>9}");
        for state in STATES {
            std::fs::write(folder.join(format!("{state:?}-{size}.json")), recording(state, *size)).unwrap();
        }
    }
    println!();
    for (state, command) in COMMANDS {
        print!("{:64}", format!("{command} ({state:?})"));
        for size in &sizes {
            let file = folder.join(format!("{state:?}-{size}.json"));
            print!("{:>9}", took(&program, &file, command));
        }
        println!();
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Milliseconds of processor time, as the shell counts them: other programs on the machine do not matter.
fn took(program: &str, file: &std::path::Path, command: &str) -> String {
    let line = format!("\"$0\" --from \"$1\" -n shop {command} >/dev/null 2>&1; times");
    let output = Command::new("sh")
        .args(["-c", &line, program])
        .arg(file)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // The second line is that of the children: user and system, as in `0m0.031000s`.
    let children = text.lines().nth(1).unwrap_or_default();
    let seconds: f64 = children
        .split_whitespace()
        .filter_map(|part| {
            let (minutes, seconds) = part.trim_end_matches('s').split_once('m')?;
            Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
        })
        .sum();
    format!("{:.0}", seconds * 1000.0)
}
