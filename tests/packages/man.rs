//! docs/man has a page for each command, made of the definition of the command line. `BLESS=1` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use clap::Args as _;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use kubectl_sts::cluster::connect::ConnectArgs;
use kubectl_sts::commands::definition;

use super::{read, repository};

/// The day of the newest release in CHANGELOG.md, as a page has to have one.
fn date() -> String {
    let changelog = read("CHANGELOG.md");
    let mut dates =
        changelog.lines().filter(|line| line.starts_with("## [")).filter_map(|line| line.split_once("] - "));
    dates.next().map_or("2026-11-29", |(_, date)| date).to_owned()
}

/// A paragraph of the help. What stands between backticks is bold, as manual pages have it.
fn prose(text: &str) -> Vec<Inline> {
    let pieces = text.split('`').enumerate();
    pieces.map(|(at, piece)| if at % 2 == 1 { bold(piece) } else { roman(piece) }).collect()
}

/// `0 success, 1 a problem was found`, taken apart. A list in parentheses belongs to its code.
fn exit_codes(text: &str) -> Vec<(String, String)> {
    let mut codes: Vec<(String, String)> = Vec::new();
    let mut depth = 0;
    for piece in text.trim_end_matches('.').split(", ") {
        let (number, meaning) = piece.split_once(' ').unwrap_or((piece, ""));
        if depth == 0 && number.bytes().all(|byte| byte.is_ascii_digit()) {
            codes.push((number.to_owned(), meaning.to_owned()));
        } else if let Some((_, meaning)) = codes.last_mut() {
            *meaning += &format!(", {piece}");
        }
        depth += piece.matches('(').count();
        depth -= piece.matches(')').count();
    }
    codes
}

/// What the help ends with, under the headings of manual pages: examples, exit codes, and what else is to know. Where the
/// connection flags are is said by the references.
fn ending(help: &str) -> Roff {
    let mut examples = Vec::new();
    let mut notes = Vec::new();
    let mut codes = Vec::new();
    for paragraph in help.split("\n\n") {
        match (paragraph.strip_prefix("Examples:\n"), paragraph.strip_prefix("Exit codes: ")) {
            (Some(example), _) => examples.push(example),
            (_, Some(list)) => codes = exit_codes(list),
            _ if paragraph.starts_with("  ") => examples.push(paragraph),
            _ if paragraph.starts_with("Use \"kubectl sts options\"") => {}
            _ => notes.push(paragraph.trim()),
        }
    }
    let mut roff = Roff::new();
    for (at, example) in examples.into_iter().enumerate() {
        let heading = ["EXAMPLES"];
        if at == 0 {
            roff.control("SH", heading)
        } else {
            roff.control("PP", [])
        };
        roff.control("nf", []);
        for line in example.lines().map(str::trim_start) {
            roff.text([if line.starts_with('#') { roman(line) } else { bold(line) }]);
        }
        roff.control("fi", []);
    }
    roff.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in codes {
        roff.control("TP", []);
        roff.text([bold(code)]).text([roman(meaning)]);
    }
    for (at, note) in notes.into_iter().enumerate() {
        let heading = ["NOTES"];
        if at == 0 {
            roff.control("SH", heading)
        } else {
            roff.control("PP", [])
        };
        roff.text(prose(note));
    }
    roff
}

/// roff defines its apostrophe before each part; once is enough.
fn once(text: &str) -> String {
    let mut defined = BTreeSet::new();
    let is_new = |line: &&str| !line.contains(".ds Aq ") || defined.insert((*line).to_owned());
    text.lines().filter(is_new).map(|line| format!("{line}\n")).collect()
}

fn page(command: &clap::Command, root: &str) -> String {
    let name = command.get_display_name().unwrap_or(root).to_owned();
    let command = command.clone().mut_args(|arg| {
        if arg.is_positional() && arg.get_help_heading().is_none() {
            arg.help_heading("Arguments")
        } else {
            arg
        }
    });
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .date(date())
        .source(format!("kubectl-sts {}", env!("CARGO_PKG_VERSION")))
        .manual("kubectl sts");
    let mut text = Vec::new();
    text.extend_from_slice(
        b".\\\" Written by `BLESS=1 cargo test packages` from the definition of the command line.\n",
    );
    man.render_title(&mut text).unwrap();
    man.render_name_section(&mut text).unwrap();
    man.render_synopsis_section(&mut text).unwrap();
    let summary = command.get_about().map(ToString::to_string).unwrap_or_default();
    let description = command.get_before_help().map_or(format!("{summary}."), ToString::to_string);
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    for (at, paragraph) in description.split("\n\n").enumerate() {
        if at > 0 {
            roff.control("PP", []);
        }
        roff.text(prose(paragraph.trim()));
    }
    roff.to_writer(&mut text).unwrap();
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text).unwrap();
    }
    man.render_options_section(&mut text).unwrap();
    if command.get_name() == "options" {
        let flags = clap::Command::new("options").disable_help_flag(true);
        let mut connection = ConnectArgs::augment_args(flags);
        connection.build();
        Man::new(connection).render_options_section(&mut text).unwrap();
    }
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    ending(&help).to_writer(&mut text).unwrap();
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    let others = [root, "kubectl-sts-options", "kubectl"];
    let others = others.into_iter().filter(|other| *other != name);
    let others = others.enumerate().flat_map(|(at, other)| {
        let comma = if at > 0 { ", " } else { "" };
        [roman(comma), bold(other), roman("(1)")]
    });
    roff.text(others.collect::<Vec<_>>());
    roff.control("PP", []);
    roff.text([roman(env!("CARGO_PKG_REPOSITORY"))]);
    roff.to_writer(&mut text).unwrap();
    once(&String::from_utf8(text).unwrap())
}

/// The pages as they have to be, by the name of their file.
pub fn pages() -> BTreeMap<String, String> {
    let mut cli = definition().subcommand_help_heading("COMMANDS");
    cli.build();
    let root = cli.get_name().to_owned();
    let commands = cli.get_subcommands().filter(|command| !command.is_hide_set()).chain([&cli]);
    commands
        .map(|command| (format!("{}.1", command.get_display_name().unwrap_or(&root)), page(command, &root)))
        .collect()
}

#[test]
fn the_manual_pages_are_those_of_this_command_line() {
    let folder = repository().join("docs/man");
    let pages = pages();
    let names = || -> BTreeSet<String> {
        let entries = fs::read_dir(&folder).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for name in names().iter().filter(|name| !pages.contains_key(*name)) {
            fs::remove_file(folder.join(name)).unwrap();
        }
        for (name, text) in &pages {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    assert_eq!(names(), pages.keys().cloned().collect(), "docs/man (BLESS=1 writes it)");
    for (name, real) in &pages {
        let page = read(&format!("docs/man/{name}"));
        let differs = page.lines().zip(real.lines()).find(|(a, b)| a != b);
        assert!(page == *real, "docs/man/{name} is stale (BLESS=1 writes it), first at {differs:?}");
    }
}

/// A page says what the help says: every flag, every example and every exit code.
#[test]
fn the_manual_pages_have_the_flags_and_examples_of_the_help() {
    let pages = pages();
    let plain = |name: &str| pages[name].replace("\\-", "-").replace("\\fB", "").replace("\\fR", "");
    let mut cli = definition();
    cli.build();
    let mut flags = 0;
    for command in cli.get_subcommands().filter(|command| !command.is_hide_set()) {
        let page = plain(&format!("kubectl-sts-{}.1", command.get_name()));
        let page = page.replace("\\fI", "").replace("\\*(Aq", "'").replace("\\\\", "\\");
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            if let Some(long) = arg.get_long() {
                assert!(page.contains(&format!("--{long}")), "{}: --{long}", command.get_name());
                flags += 1;
            }
        }
        let help = command.get_after_help().unwrap().to_string();
        for example in help.lines().filter_map(|line| line.strip_prefix("  ")) {
            assert!(page.contains(example), "{}: {example}\n{page}", command.get_name());
        }
        assert!(page.contains("\n124\ntimed out\n"), "{}: exit codes", command.get_name());
    }
    assert!(flags > 100, "only {flags} flags");
}

#[test]
fn exit_codes_are_taken_apart() {
    let codes = exit_codes(
        "0 success, 4 refused, cancelled, or changed, 130 interrupted (143 by SIGTERM, 129 by SIGHUP), 101 a bug.",
    );
    let expected = [
        ("0", "success"),
        ("4", "refused, cancelled, or changed"),
        ("130", "interrupted (143 by SIGTERM, 129 by SIGHUP)"),
        ("101", "a bug"),
    ];
    assert_eq!(codes, expected.map(|(code, meaning)| (code.to_owned(), meaning.to_owned())));
}

/// Where a reader of manual pages is installed, it finds nothing to complain about.
#[test]
fn the_manual_pages_are_well_formed() {
    for name in pages().keys() {
        let path = repository().join("docs/man").join(name);
        let Ok(lint) = Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&path).output()
        else {
            println!("!!! SKIPPED: mandoc is not installed !!!");
            return;
        };
        let said = String::from_utf8_lossy(&lint.stdout);
        assert!(lint.status.success() && said.is_empty(), "{said}");
    }
}
