//! The book: docs/SUMMARY.md has every page, every rule has its address, the commands in the pages parse, and the built book
//! has no broken link. `BLESS=1` writes the lists.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use kubectl_sts::commands::{definition, read};
use kubectl_sts::rules::{RULES, Rule};

use crate::help::shell;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of a folder with this ending, by their path from there.
fn files(folder: &Path, extension: &str) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == extension) {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().replace('\\', "/");
                found.insert(name, path);
            }
        }
    }
    found
}

/// The pages of docs and the README.
fn pages() -> BTreeMap<String, String> {
    let docs = files(&repository().join("docs"), "md").into_iter();
    let mut pages: BTreeMap<String, String> =
        docs.map(|(name, path)| (format!("docs/{name}"), fs::read_to_string(path).unwrap())).collect();
    pages.insert("README.md".into(), text("README.md"));
    pages
}

/// Compares a file with what it should be, or writes it.
#[track_caller]
fn is_written(path: &str, wanted: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(repository().join(path), wanted).unwrap();
    }
    let there = fs::read_to_string(repository().join(path)).unwrap_or_default();
    let line = there.lines().zip(wanted.lines()).find(|(there, wanted)| there != wanted);
    assert!(there == wanted, "{path} is out of date (BLESS=1 writes it), first at {line:?}");
}

#[test]
fn the_list_of_rules_is_complete() {
    let mut page = "# Rules\n\n`doctor`, `status` and `watch` check these rules. A code is never given to another rule, and the \
         address of its page\nstays the same: `"
        .to_owned();
    let example = RULES[0].url().replace(RULES[0].code, "CODE");
    let _ = writeln!(page, "{example}`.\n\n| code | what is wrong | severity | name |\n|---|---|---|---|");
    for rule in RULES {
        let (code, name, severity) = (rule.code, rule.name, rule.severity.word());
        let title = rule.explanation().title;
        let _ = writeln!(page, "| [{code}](rules/{name}.md) | {title} | {severity} | {name} |");
    }
    is_written("docs/rules.md", &page);
}

#[test]
fn every_rule_has_its_address_in_the_book() {
    let config = text("docs/book.toml");
    let heading = "[output.html.redirect]\n";
    let (before, _) = config.split_once(heading).expect("a section with addresses");
    let address = |code: &str, name: &str| format!("\"/rules/{code}.html\" = \"{name}.html\"\n");
    let all: String = RULES.iter().map(|rule| address(rule.code, rule.name)).collect();
    let config = format!("{before}{heading}{all}");
    is_written("docs/book.toml", &config);
    // The address is that which the program prints.
    let base = env!("CARGO_PKG_HOMEPAGE");
    for rule in RULES {
        let path = rule.url().strip_prefix(base).expect("an address in the book").to_owned();
        assert!(config.contains(&format!("\"/{path}\" = \"{}.html\"", rule.name)), "{path}");
    }
    let site = base.strip_prefix("https://").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    assert!(
        config.contains(&format!("site-url = {:?}", site.unwrap())),
        "docs/book.toml has another site-url"
    );
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let summary = text("docs/SUMMARY.md");
    let mut wanted: Vec<String> =
        summary.lines().filter(|line| !line.starts_with("  - [")).map(str::to_owned).collect();
    let mut below = |chapter: &str, pages: Vec<String>| {
        let at = wanted.iter().position(|line| line == chapter).unwrap_or_else(|| panic!("no {chapter}")) + 1;
        wanted.splice(at..at, pages);
    };
    let rule = |rule: &&Rule| format!("  - [{} {}](rules/{1}.md)", rule.code, rule.name);
    below("- [Rules](rules.md)", RULES.iter().map(rule).collect());
    let own = definition();
    let commands = own.get_subcommands().filter(|command| !command.is_hide_set());
    let page = |name: &str| format!("  - [{name}](commands/{name}.md)");
    below("- [Flags](reference.md)", commands.map(|command| page(command.get_name())).collect());
    let summary = wanted.join("\n") + "\n";
    is_written("docs/SUMMARY.md", &summary);

    let links = summary.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned);
    let linked: Vec<String> = links.collect();
    let once: BTreeSet<String> = linked.iter().cloned().collect();
    assert_eq!(once.len(), linked.len(), "a page is listed twice");
    let mut there: BTreeSet<String> = files(&repository().join("docs"), "md").into_keys().collect();
    there.remove("SUMMARY.md");
    assert_eq!(once, there, "pages in docs/SUMMARY.md, and pages in docs");
}

#[test]
fn the_page_on_json_has_every_schema() {
    let page = text("docs/json.md");
    let (before, rest) = page.split_once("## Kinds\n").expect("a list of kinds");
    let (_, after) = rest.split_once("\n## ").expect("a section after the list");
    let mut table = "\n| kind | what it is | `$id` of the schema |\n|---|---|---|\n".to_owned();
    for (name, path) in files(&repository().join("docs/schema"), "json") {
        let schema: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let (title, id) = (schema["title"].as_str().unwrap(), schema["$id"].as_str().unwrap());
        let kind = name.trim_end_matches(".json");
        let _ = writeln!(table, "| [`{kind}`](schema/{name}) | {title} | `{id}` |");
    }
    is_written("docs/json.md", &format!("{before}## Kinds\n{table}\n## {after}"));
}

/// The code beside a link to a rule's page is that rule's.
#[test]
fn codes_beside_links_are_those_of_the_page() {
    let mut found = 0;
    for (name, page) in pages() {
        for rule in RULES {
            let link = format!("rules/{}.md)", rule.name);
            for (at, _) in page.match_indices(&link) {
                let before = &page[..at];
                let label = before.rfind('[').map_or("", |start| &before[start + 1..]);
                let label = label.split(']').next().unwrap_or_default();
                if label.starts_with("STS") {
                    found += 1;
                    assert!(label.starts_with(rule.code), "{name} calls {} {label}", rule.name);
                }
            }
        }
    }
    assert!(found > 30, "only {found} links");
}

/// A command line of ours in a page.
struct Line {
    words: Vec<String>,
    shown: String,
}

/// What may stand before our own command.
const STARTS: [&str; 4] = ["kubectl sts ", "kubectl-sts ", "cargo run -- ", "cargo run --release -- "];

fn line(shown: &str) -> Option<Line> {
    let start = STARTS.iter().find(|start| shown.starts_with(**start))?;
    let words = shell(&shown[start.len()..]);
    (!words.is_empty()).then(|| Line { words, shown: shown.to_owned() })
}

/// The commands of a page: in blocks, and in `code`.
fn commands(page: &str) -> Vec<Line> {
    let mut found = Vec::new();
    let mut fence: Option<&str> = None;
    for row in page.lines() {
        let start = row.trim_start();
        let ticks = start.len() - start.trim_start_matches('`').len();
        match fence {
            Some(open) if start.trim_end() == open => fence = None,
            // The commands of screens are run, those that are wrong on purpose too: see tests/docs.rs.
            Some(_) => {}
            None if ticks >= 3 => fence = Some(&start[..ticks]),
            None if row.starts_with("    ") => found.extend(line(start.strip_prefix("$ ").unwrap_or(start))),
            None => found.extend(row.split('`').skip(1).step_by(2).filter_map(line)),
        }
    }
    // What is left out cannot be parsed, nor is the syntax in the reference a command.
    found.retain(|line| !["…", "...", "[flags]"].iter().any(|mark| line.shown.contains(mark)));
    found
}

/// Every command in the pages is one that the program takes, with flags that exist.
#[test]
fn every_command_in_the_pages_parses() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, page) in pages() {
        for line in commands(&page) {
            count += 1;
            // These words stand for others.
            let meant = |word: &String| match word.as_str() {
                "N" => "1".to_owned(),
                "SHELL" => "bash".to_owned(),
                _ => word.clone(),
            };
            let words = ["kubectl-sts".to_owned()].into_iter().chain(line.words.iter().map(meant));
            if let Err(error) = read(words.map(OsString::from))
                && error.exit_code() != 0
            {
                let why = error.to_string();
                // In a sentence a command may stand without its argument.
                let is_short = why.contains("required arguments were not provided");
                if !is_short {
                    wrong.push(format!(
                        "{name}: {}\n  {}",
                        line.shown,
                        why.lines().next().unwrap_or_default()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} commands:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 80, "only {count} commands were found");
}

/// Flags of other programs that pages name.
const OTHERS: [(&str, &str); 5] = [
    ("--cascade", "kubectl"),
    ("--previous", "kubectl"),
    ("--ignored", "cargo test"),
    ("--profile", "cargo"),
    ("--busy", "the benchmark of docs/performance.md"),
];

#[test]
fn every_flag_in_the_pages_exists() {
    let mut own = definition();
    own.build();
    let mut flags: BTreeSet<String> = BTreeSet::new();
    for command in [&own].into_iter().chain(own.get_subcommands()) {
        flags.extend(command.get_arguments().filter_map(|flag| Some(format!("--{}", flag.get_long()?))));
    }
    flags.extend(OTHERS.map(|(flag, _)| flag.to_owned()));
    let mut wrong = BTreeSet::new();
    for (name, page) in pages() {
        for code in page.lines().flat_map(|row| row.split('`').skip(1).step_by(2)) {
            let flag = code.split([' ', '=']).next().unwrap_or_default();
            if flag.starts_with("--") && flag.len() > 2 && !flags.contains(flag) {
                wrong.insert(format!("{name}: {flag}"));
            }
        }
    }
    assert!(wrong.is_empty(), "flags that do not exist: {wrong:#?}");
}

/// The quick start has the same commands in both languages.
#[test]
fn the_japanese_page_has_the_commands_of_the_english_one() {
    let blocks = |page: &str| -> BTreeSet<String> {
        let mut fence = false;
        let mut found = BTreeSet::new();
        for row in page.lines() {
            if row.starts_with("```") {
                fence = !fence;
                continue;
            }
            let indented = row.strip_prefix("    ").filter(|_| !fence);
            found
                .extend(indented.or_else(|| row.strip_prefix("$ ")).map(|command| command.trim().to_owned()));
        }
        found
    };
    let (english, japanese) = (text("README.md"), text("docs/README.ja.md"));
    let known = blocks(&english);
    for command in blocks(&japanese) {
        assert!(known.contains(&command), "README.md does not have: {command}");
    }
    // Nothing of the way to the first result is missing.
    let start = |heading: &str| {
        let (_, rest) = english.split_once(heading).unwrap_or_else(|| panic!("README.md has no {heading}"));
        blocks(rest.split("\n## ").next().unwrap_or_default())
    };
    let japanese_commands = blocks(&japanese);
    for command in start("## Try it\n").iter().chain(&start("### From source\n")) {
        assert!(japanese_commands.contains(command), "docs/README.ja.md does not have: {command}");
    }
    // What it says of commands leads to their pages, as in README.md.
    let rows = |page: &str, at: &str| -> BTreeSet<String> {
        let links =
            page.lines().filter(|row| row.starts_with("| [`")).filter_map(|row| row.split("](").nth(1));
        links.filter_map(|link| Some(link.split(')').next()?.trim_start_matches(at).to_owned())).collect()
    };
    let (all, some) = (rows(&english, "docs/"), rows(&japanese, ""));
    assert!(some.is_subset(&all) && some.len() > 10, "{:?}", some.difference(&all));
    for number in
        english.lines().filter(|row| row.starts_with("| ")).filter_map(|row| row.split(" | ").next())
    {
        let number = number.trim_start_matches("| ");
        if number.parse::<u8>().is_ok() {
            assert!(
                japanese.contains(&format!("| {number} | ")),
                "docs/README.ja.md lacks exit code {number}"
            );
        }
    }
    assert!(
        english.contains("](docs/README.ja.md)") && japanese.contains("/README.md)"),
        "the pages link each other"
    );
}

/// Links and images of a page of the book, and its ids.
fn attributes(html: &str, name: &str) -> Vec<String> {
    let start = format!(" {name}=\"");
    let values = html.split(start.as_str()).skip(1).filter_map(|rest| rest.split('"').next());
    values.map(|value| value.replace("&amp;", "&").replace("&#x27;", "'")).collect()
}

/// `a/./b/../c` without the dots.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = (*first == b'%').then(|| after.get(..2)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What `.ci/run` does after mdBook was installed: builds the book and follows every link in it.
#[test]
#[ignore = "needs mdBook, which .ci/run installs"]
fn the_book_is_built_and_its_links_lead_somewhere() {
    let own = repository().join("target/tools/bin/mdbook");
    let program = if own.exists() { own } else { "mdbook".into() };
    let place = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command.args(["build", "--dest-dir"]).arg(place.path()).arg(repository().join("docs"));
    let output = command.output().expect("mdbook");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && !said.contains("WARN") && !said.contains("ERROR"), "{said}");

    let html: BTreeMap<PathBuf, String> = files(place.path(), "html")
        .into_values()
        .map(|path| (plain(&path), fs::read_to_string(path).unwrap()))
        .collect();
    let ids: BTreeMap<&PathBuf, BTreeSet<String>> =
        html.iter().map(|(path, text)| (path, attributes(text, "id").into_iter().collect())).collect();
    let mut wrong = BTreeSet::new();
    let mut count = 0;
    for (path, text) in &html {
        // Its links begin at the root of the site.
        if path.ends_with("404.html") {
            continue;
        }
        let name = path.strip_prefix(place.path()).unwrap().display();
        let links = ["href", "src", "srcset"].into_iter().flat_map(|kind| attributes(text, kind));
        for link in links.filter(|link| !link.contains(':') && !link.starts_with("//")) {
            count += 1;
            let (file, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let folder = path.parent().unwrap();
            let target =
                if file.is_empty() { path.clone() } else { plain(&folder.join(percent_decoded(file))) };
            let target = if target.is_dir() { target.join("index.html") } else { target };
            if !target.is_file() {
                wrong.insert(format!("{name}: {link}"));
            } else if !fragment.is_empty()
                && ids.get(&target).is_some_and(|ids| !ids.contains(&percent_decoded(fragment)))
            {
                wrong.insert(format!("{name}: {link} (no such heading)"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "links that lead nowhere:\n{}",
        wrong.into_iter().collect::<Vec<_>>().join("\n")
    );
    assert!(count > 3000, "only {count} links");

    let base = env!("CARGO_PKG_HOMEPAGE");
    let there = |url: &str| place.path().join(url.strip_prefix(base).expect("an address in the book"));
    for rule in RULES {
        let page =
            fs::read_to_string(there(&rule.url())).unwrap_or_else(|error| panic!("{}: {error}", rule.url()));
        assert!(page.contains(&format!("{}.html", rule.name)), "{} leads to another page", rule.url());
        assert!(there(&format!("{base}rules/{}.html", rule.name)).is_file(), "{}", rule.name);
    }
    for name in files(&repository().join("docs/schema"), "json").into_keys() {
        assert!(there(&format!("{base}schema/{name}")).is_file(), "{name} is not where its $id says");
    }
}
