//! The part of docs/performance.md that the bench writes.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::goals::{Goal, milliseconds};
use super::rows::Row;
use super::run::{Gate, Programs};

pub fn text(rows: &[Row], goals: &[Goal], programs: &Programs, gate: &Gate, rounds: usize) -> String {
    let mut text = machine(programs, gate, rounds);
    text += "\n| server | program | wall ms | processor ms | peak MB | MB received | requests |\n";
    text += "|---|---|--:|--:|--:|--:|--:|\n";
    for row in rows {
        for series in &row.series {
            let requests = series.last().requests.len();
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {:.1} | {:.1} | {requests} |",
                row.title,
                series.program,
                milliseconds(series, |took| took.wall),
                milliseconds(series, |took| took.cpu),
                series.median(|took| took.memory),
                series.median(|took| took.bytes() as f64) / 1e6,
            );
        }
    }
    text += "\n| goal | wanted | measured | met |\n|---|---|---|---|\n";
    for goal in goals {
        let met = if goal.is_met { "yes" } else { "**no**" };
        let _ = writeln!(text, "| {} | {} | {} | {met} |", goal.name, goal.wanted, goal.measured);
    }
    text
}

/// When, on what, and of what.
fn machine(programs: &Programs, gate: &Gate, rounds: usize) -> String {
    let said = |program: &Path, words: &[&str]| {
        let output = Command::new(program).args(words).env("KUBECONFIG", "/dev/null").output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let commit = said(Path::new("git"), &["rev-parse", "--short", "HEAD"]);
    let kubectl = said(&programs.kubectl, &["version", "--client"]);
    let kubectl =
        kubectl.lines().next().unwrap_or_default().trim_start_matches("Client Version: ").to_owned();
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let profile = match std::env::var_os("STS_BIN") {
        Some(_) => "the program of `STS_BIN`",
        None => "the bench profile (no link-time optimization)",
    };
    format!(
        "Measured on {} at commit {commit}, {profile}, {cores} cores of {}, kubectl {kubectl}; {rounds} rounds, minimum \
         (median). Server and programs shared the cores, which were at least {:.0} % idle before each run.\n",
        jiff::Timestamp::now().strftime("%Y-%m-%d"),
        model.trim_start_matches([' ', '\t', ':']),
        gate.idle
    )
}

/// Writes the part of the page between the two comments of this name.
pub fn write(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = page.split_once(&begin).expect("the page has the comment");
    let (_, after) = rest.split_once(&end).expect("the page has both comments");
    std::fs::write(&path, format!("{before}{begin}\n{text}\n{end}{after}")).unwrap();
    eprintln!("written to {}", path.display());
}
