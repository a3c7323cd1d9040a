//! The screens of docs/commands on terminals of 80x24 and 60x15: as they are in tests/screens, no wider than the terminal,
//! and without a name or a cause that is cut. `BLESS=1` writes them.
#![cfg(unix)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::Run;
use crate::support::terminal::Terminal;

/// Rows and columns.
const SIZES: [(u16, u16); 2] = [(24, 80), (15, 60)];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The commands of a page, in order.
fn commands(page: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(fence) = line.strip_suffix("console").filter(|fence| fence.starts_with("```")) else {
            continue;
        };
        let block = lines.by_ref().take_while(|line| *line != fence);
        commands.extend(block.filter_map(|line| line.strip_prefix("$ kubectl sts ")).map(str::to_owned));
    }
    commands
}

/// The pages of docs/commands with the commands that they show.
fn pages() -> Vec<(String, Vec<String>)> {
    let folder = repository().join("docs/commands");
    let mut pages: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    pages.iter().map(|path| (name(path), commands(&fs::read_to_string(path).unwrap()))).collect()
}

fn is_format(arguments: &str) -> bool {
    ["-o json", "-o yaml", "-o github"].iter().any(|format| arguments.contains(format))
}

/// Whether lines of it are fitted: formats for programs, scripts and answers to the shell are not, nor help, which clap writes.
fn is_fitted(arguments: &str) -> bool {
    let written_by_clap = arguments.contains("completion csh");
    // Pages of rules are shown as they are written.
    let is_page = arguments.starts_with("explain");
    !is_format(arguments) && !arguments.starts_with("__complete") && !written_by_clap && !is_page
}

/// What it shows on a terminal of this size.
fn screen(arguments: &str, size: (u16, u16)) -> String {
    let mut command = Command::new("/bin/sh");
    // A terminal of the tests does not know where to start a program.
    command.args(["-c", "cd \"$1\" && shift && exec \"$@\"", "sh", repository().to_str().unwrap()]);
    command.arg(env!("CARGO_BIN_EXE_kubectl-sts")).args(arguments.split_whitespace());
    command.env("NO_COLOR", "1");
    let ended = Terminal::start(&command, size, None).ended();
    let mut text = ended.text.replace("\r\n", "\n");
    if ended.code != 0 {
        let _ = writeln!(text, "exit {}", ended.code);
    }
    text
}

/// Lines that are wider than the terminal, other than those that hold nothing but a command to paste.
fn too_wide(text: &str, columns: u16) -> Vec<&str> {
    let is_command = |line: &str| line.starts_with("    ") && line.trim_start().starts_with("kubectl ");
    let wide = |line: &&str| console_width(line) > usize::from(columns) && !is_command(line);
    text.lines().filter(wide).collect()
}

/// Our own screens hold no text of two columns a character.
fn console_width(line: &str) -> usize {
    kubectl_sts::text::clean(line).chars().count()
}

/// The names and words that no width may take from the screen: the pod that is waited for, and all of each finding.
fn must_be_shown(value: &Value, with_findings: bool, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| must_be_shown(item, with_findings, found)),
        Value::Object(members) => {
            for (key, member) in members {
                match (key.as_str(), member) {
                    ("waitsFor" | "stuckOn", Value::String(name)) => found.push(name.clone()),
                    ("what" | "because", Value::String(text)) if with_findings => {
                        found.extend(text.split_whitespace().map(str::to_owned));
                    }
                    ("try" | "or", Value::Array(commands)) if with_findings => {
                        found.extend(commands.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    _ => must_be_shown(member, with_findings, found),
                }
            }
        }
        _ => {}
    }
}

#[test]
fn screens_are_as_they_were_looked_at() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for (page, commands) in pages() {
        for (rows, columns) in SIZES {
            let mut text = String::new();
            for arguments in commands.iter().filter(|arguments| is_fitted(arguments)) {
                let _ = write!(text, "$ kubectl sts {arguments}\n{}\n", screen(arguments, (rows, columns)));
            }
            if text.is_empty() {
                continue;
            }
            let path = repository().join(format!("tests/screens/{columns}x{rows}/{page}.txt"));
            let before = fs::read_to_string(&path).unwrap_or_default();
            if before == text {
                continue;
            }
            if bless {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, &text).unwrap();
                continue;
            }
            let line = before.lines().zip(text.lines()).position(|(a, b)| a != b).unwrap_or(0);
            let at = |text: &str| text.lines().skip(line).take(3).collect::<Vec<_>>().join("\n");
            wrong.push(format!("{}:{}:\n{}\nis now\n{}", path.display(), line + 1, at(&before), at(&text)));
        }
    }
    assert!(wrong.is_empty(), "look at them and run BLESS=1\n{}", wrong.join("\n\n"));
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for (page, commands) in pages() {
        for arguments in commands.iter().filter(|arguments| is_fitted(arguments)) {
            for (rows, columns) in SIZES {
                let text = screen(arguments, (rows, columns));
                checked += text.lines().count();
                wrong.extend(too_wide(&text, columns).iter().map(|line| format!("{page} {columns}: {line}")));
            }
        }
    }
    assert!(checked > 300, "{checked}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_name_and_no_cause_is_cut() {
    let mut checked = 0;
    for (_, commands) in pages() {
        let shows_findings =
            |it: &&String| it.starts_with("status") || it.starts_with("doctor") || it.starts_with("history");
        for arguments in
            commands.iter().filter(|it| is_fitted(it) && !it.contains("-o ")).filter(shows_findings)
        {
            let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
            command.current_dir(repository()).args(arguments.split_whitespace()).args(["-o", "json"]);
            let run = Run::of(&mut command, "");
            let Ok(value) = serde_json::from_str::<Value>(&run.stdout) else { continue };
            // Of many StatefulSets each has a line, without its findings.
            let with_findings = value["kind"] != "StatusList";
            for size in SIZES {
                let text = screen(arguments, size);
                assert!(!text.contains('…'), "{arguments} {size:?}:\n{text}");
                let mut found = Vec::new();
                must_be_shown(&value, with_findings, &mut found);
                for word in &found {
                    assert!(text.contains(word), "{word}: {arguments} {size:?}:\n{text}");
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 100, "{checked}");
}

#[test]
fn that_nothing_is_there_is_said_beside_the_answer() {
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
        command.current_dir(repository()).args(args);
        command.args(["-n", "empty", "--from", "docs/recordings/postgres.yaml"]);
        Run::of(&mut command, "").code(0)
    };
    for command in ["status", "doctor"] {
        for output in [&[][..], &["-o", "wide"], &["-o", "name"]] {
            let ran = run(&[&[command], output].concat());
            assert_eq!(ran.stdout, "", "{ran}");
            assert_eq!(ran.stderr, "no StatefulSets found in namespace empty of the files given\n", "{ran}");
        }
        let ran = run(&[command, "-o", "json"]);
        assert_eq!(ran.stderr, "", "{ran}");
        let value: Value = serde_json::from_str(&ran.stdout).unwrap();
        let list = if command == "status" { "items" } else { "findings" };
        assert_eq!(value[list], serde_json::json!([]), "{ran}");
        let ran = run(&[command, "-o", "yaml"]);
        assert!(ran.stderr.is_empty() && ran.stdout.contains(&format!("{list}: []")), "{ran}");
    }
}

#[test]
fn the_checks_notice_what_is_wrong() {
    let text = "short\n    kubectl sts recover postgres -n shop\na line that is too wide\n";
    assert_eq!(too_wide(text, 12), ["a line that is too wide"]);
    let value =
        serde_json::json!({"items": [{"waitsFor": "a-0", "findings": [{"what": "b c", "try": ["d e"]}]}]});
    let mut found = Vec::new();
    must_be_shown(&value, true, &mut found);
    found.sort();
    assert_eq!(found, ["a-0", "b", "c", "d e"]);
    let mut found = Vec::new();
    must_be_shown(&value, false, &mut found);
    assert_eq!(found, ["a-0"]);
}
