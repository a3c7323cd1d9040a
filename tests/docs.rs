//! The screens in README.md and in docs are what the program prints: each `console` block is run.
//!
//! A block starts with `$ kubectl sts …`, which runs in the root of the repository, without a terminal and without a
//! cluster. What follows is standard output, standard error, and `exit N` unless N is 0. `BLESS=1` writes it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Run;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and all pages of docs.
fn pages() -> Vec<PathBuf> {
    let is_page = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let mut pages = vec![repository().join("README.md")];
    let mut folders = vec![repository().join("docs")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if is_page(&path) {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// Runs a line of a page; `kubectl sts` and, in the README, `cargo run --release --` are our binary.
fn screen(line: &str) -> String {
    let ours = ["kubectl sts ", "cargo run --release -- "];
    let start = ours.iter().find(|start| line.starts_with(**start));
    let start = start.unwrap_or_else(|| panic!("only our own commands are run, not: {line}"));
    let words = line.split_whitespace().skip(start.split_whitespace().count());
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    command.current_dir(repository()).args(words).env_clear().env("LANG", "C.UTF-8");
    let run = Run::of(&mut command, "");
    let mut text = run.stdout + &run.stderr;
    if run.code != 0 {
        let _ = writeln!(text, "exit {}", run.code);
    }
    text
}

/// The page with what the program really prints.
fn real(page: &str) -> String {
    let mut text = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        text += line;
        text.push('\n');
        // A screen that has a fence of its own stands between longer ones.
        let Some(fence) = line.strip_suffix("console").filter(|fence| fence.starts_with("```")) else {
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != fence).collect();
        // A block may hold several commands, each with its screen.
        for line in block.iter().filter_map(|line| line.strip_prefix("$ ")) {
            let _ = write!(text, "$ {line}\n{}", screen(line));
            // A template of -o jsonpath need not end its line.
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
        let _ = writeln!(text, "{fence}");
    }
    text
}

#[test]
fn screens_in_the_pages_are_real() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    for path in pages() {
        let page = fs::read_to_string(&path).unwrap();
        let real = real(&page);
        if real != page {
            if bless {
                fs::write(&path, real).unwrap();
                continue;
            }
            let line = page.lines().zip(real.lines()).position(|(a, b)| a != b).unwrap_or(0);
            let at = |text: &str| text.lines().skip(line).take(3).collect::<Vec<_>>().join("\n");
            wrong.push(format!(
                "{}:{} says\n{}\nbut it is\n{}",
                path.display(),
                line + 1,
                at(&page),
                at(&real)
            ));
        }
    }
    assert!(wrong.is_empty(), "BLESS=1 corrects the pages\n{}", wrong.join("\n\n"));
}

#[test]
fn links_in_the_pages_lead_somewhere() {
    let mut wrong = Vec::new();
    let top = fs::read_dir(repository()).unwrap().map(|entry| entry.unwrap().path());
    let top = top.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let files: BTreeSet<PathBuf> = top.chain(pages()).collect();
    // What is not in the book is linked to by its address in the repository.
    let own = ["blob", "tree"].map(|kind| format!("{}/{kind}/main/", env!("CARGO_PKG_REPOSITORY")));
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        // What a change would add is not there.
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('+')).collect();
        let text = lines.join("\n");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            let inside = own.iter().find_map(|base| target.strip_prefix(base.as_str()));
            let place = match inside {
                Some(path) => repository().join(path),
                None => file.parent().unwrap().join(target),
            };
            let is_ours = inside.is_some() || !link.contains("://");
            if is_ours && !target.is_empty() && !place.exists() {
                wrong.push(format!("{}: {link}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links to nothing:\n{}", wrong.join("\n"));
}
