//! A command of the program, run within the test: what it would write, and how it would end.

use clap::Parser as _;
use kubectl_sts::cli::Ui;
use kubectl_sts::commands::Cli;
use kubectl_sts::render::{Style, refusal, render};

pub struct Ran {
    pub code: u8,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// All that anybody gets to see.
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

/// Runs `kubectl sts WORDS --from FILE`.
pub fn sts(words: &[&str], file: &std::path::Path) -> Ran {
    let words = ["kubectl-sts"].iter().chain(words).copied().chain(["--from", file.to_str().unwrap()]);
    let cli = Cli::try_parse_from(words).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let streams = Ui { look: Style::PLAIN, warn: |_| {}, fail: |_| {} };
    let answer = runtime.block_on(cli.run(&streams));
    match answer
        .and_then(|answer| Ok((render(answer.view.as_ref(), cli.global.output, Style::PLAIN)?, answer.exit)))
    {
        Ok((out, exit)) => Ran { code: exit.code(), out, err: String::new() },
        Err(error) => Ran {
            code: error.exit().code(),
            out: refusal(&error, cli.global.output).unwrap_or_default(),
            err: format!("{error}\n"),
        },
    }
}

/// A file with this text, and the folder that keeps it.
pub fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("given.yaml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// Every way to look at a file, for a set of this name.
pub fn looks(name: &str) -> Vec<Vec<&str>> {
    let mut all = Vec::new();
    let commands =
        [vec!["status"], vec!["status", name], vec!["doctor"], vec!["history", name], vec!["record"]];
    for command in commands {
        for output in ["text", "wide", "json", "yaml", "name"] {
            all.push([command.clone(), vec!["-o", output]].concat());
        }
    }
    all
}
