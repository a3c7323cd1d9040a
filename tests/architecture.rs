//! The structure that docs/architecture.md promises, read from the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use kubectl_sts::commands::Cli;
use kubectl_sts::rules::RULES;

/// Who may use whom. `error`, `paste`, `reached`, `secrets`, `stop`, `text`, `time` and `words` are everybody's.
const LAYERS: &[(&str, &[&str])] = &[
    ("kinds", &[]),
    ("messages", &["kinds"]),
    ("snapshot", &["kinds", "messages"]),
    ("controller", &["kinds", "snapshot"]),
    ("rules", &["kinds", "messages", "snapshot", "controller"]),
    ("plan", &["kinds", "snapshot", "controller", "rules"]),
    ("cluster", &["kinds", "snapshot", "plan"]),
    ("reconcile", &["kinds", "snapshot", "controller", "rules", "plan", "cluster"]),
    ("render", &["kinds", "snapshot", "controller", "rules", "plan"]),
    ("cli", &["kinds", "snapshot", "cluster", "render"]),
    (
        "commands",
        &["kinds", "snapshot", "controller", "rules", "plan", "cluster", "reconcile", "render", "cli"],
    ),
    ("completion", &["kinds", "snapshot", "rules", "cluster", "cli", "commands"]),
    ("signals", &["render"]),
    ("error", &[]),
    ("paste", &[]),
    ("reached", &[]),
    ("secrets", &[]),
    ("stop", &[]),
    ("text", &[]),
    ("time", &[]),
    ("words", &[]),
];
const EVERYBODYS: [&str; 8] = ["error", "paste", "reached", "secrets", "stop", "text", "time", "words"];

struct Source {
    /// As in `src/cluster/connect.rs`.
    path: String,
    /// The first name below `src`.
    module: String,
    text: String,
    /// Without comments and unit tests.
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let module = path.split('/').nth(1).unwrap().trim_end_matches(".rs").to_owned();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        Source { path, module, code: code.join("\n"), text }
    };
    files("src", "rs").into_iter().map(source).collect()
}

/// The names after each occurrence of `start`, also those of `use crate::{a, b::c}`.
fn names_after<'a>(code: &'a str, start: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    for rest in code.split(start).skip(1) {
        let name =
            |text: &'a str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
        match rest.strip_prefix('{') {
            None => names.push(name(rest)),
            Some(list) => {
                let mut depth = 0;
                let mut begins = true;
                for (at, letter) in list.char_indices() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => begins = true,
                        letter if begins && letter.is_alphabetic() => {
                            names.push(name(&list[at..]));
                            begins = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

/// Sources that contain the needle as code, outside of these places.
fn uses(needles: &[&str], places: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources() {
        if places.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        for line in source.code.lines() {
            if needles.iter().any(|needle| line.contains(needle)) {
                found.push(format!("{}: {}", source.path, line.trim()));
            }
        }
    }
    found
}

#[track_caller]
fn none(wrong: &[String], sentence: &str) {
    assert!(wrong.is_empty(), "{sentence}\n{}", wrong.join("\n"));
}

fn kebab(path: &Path) -> String {
    path.file_stem().unwrap().to_str().unwrap().replace('_', "-")
}

#[test]
fn modules_use_only_what_lies_below_them() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !["main", "lib"].contains(&source.module.as_str())) {
        let Some((_, may)) = LAYERS.iter().find(|(module, _)| *module == source.module) else {
            wrong.push(format!("{}: {} has no place in the table", source.path, source.module));
            continue;
        };
        for name in names_after(&source.code, "crate::") {
            if name != source.module && !may.contains(&name) && !EVERYBODYS.contains(&name) {
                wrong.push(format!("{}: {} uses {name}", source.path, source.module));
            }
        }
    }
    none(&wrong, "a module uses what it may not; the table is in tests/architecture.rs:");
}

#[test]
fn names_are_found_in_all_forms_of_use() {
    let code = "use crate::kinds::*; use crate::{cli, render::{Page, View}, words}; crate::text::clean(x)";
    assert_eq!(names_after(code, "crate::"), ["kinds", "cli", "render", "words", "text"]);
}

#[test]
fn effects_have_their_places() {
    let cluster = ["src/cluster/"];
    none(&uses(&["kube::", "k8s_openapi::"], &cluster), "only src/cluster talks to an API server:");
    let places = [
        "src/cluster/",
        "src/cli.rs",
        "src/commands/",
        "src/reconcile",
        "src/completion",
        "src/main.rs",
        "src/signals.rs",
    ];
    none(&uses(&["async fn", "async {", "async move"], &places), "async is for what waits for a cluster:");
    let places = ["src/cluster/", "src/cli.rs", "src/reconcile", "src/commands/", "src/signals.rs"];
    none(
        &uses(&["Timestamp::now", "SystemTime", "Instant::", "Zoned::now"], &places),
        "time is data; the clock is read only where a cluster is observed:",
    );
    let places = [
        "src/main.rs",
        "src/signals.rs",
        "src/render/out.rs",
        "src/render/terminal.rs",
        "src/render/ask.rs",
        "src/render/live.rs",
    ];
    none(&uses(&["println!", "print!(", "stdout()", "stderr()"], &places), "only main and the screen write:");
}

/// What is shown, agreed to, checked and journaled is a step, and a step is sent from one place.
#[test]
fn one_file_writes_to_the_cluster() {
    let requests = ["Method::POST", "Method::PUT", "Method::PATCH", "Method::DELETE", "connection.write("];
    none(
        &uses(&requests, &["src/cluster/perform.rs"]),
        "only src/cluster/perform.rs sends anything but GET:",
    );
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let write = "pub(in crate::cluster) async fn write(";
    assert!(read("src/cluster/connect/request.rs").contains(write), "others can write too");
    // kube's own ways to write. In one file it opens streams to pods, and does nothing else there.
    let streams = "src/cluster/dns/streams.rs";
    none(&uses(&["Api::", "Api<"], &[streams]), "writes go through Connection::write:");
    let clients = ["PostParams", "PatchParams", "DeleteParams", ".request::<"];
    none(&uses(&clients, &[]), "writes go through Connection::write:");
    let code = read(streams);
    let calls: Vec<&str> = code.split("api.").skip(1).filter_map(|rest| rest.split('(').next()).collect();
    assert_eq!(calls, ["portforward", "exec"], "{streams} uses kube for more than streams");
    assert_eq!(code.matches("api(connection, namespace)").count(), 2, "{streams}: another client");
}

/// A new kind of step does not compile until everything that has to know it does.
#[test]
fn no_match_over_steps_has_a_wildcard() {
    let mut wrong = Vec::new();
    for source in sources() {
        for block in blocks(&source.code) {
            let is_about = ["Step::DeletePod", "Step::DeletePvc", "Phase::HandBack", "VolumeChange::"];
            let arms = |line: &str| {
                let line = line.trim_start();
                is_about.iter().any(|name| line.starts_with(name) || line.starts_with(&format!("| {name}")))
            };
            let wild =
                |line: &&str| line.trim_start().starts_with("_ =>") || line.trim_start().starts_with("_ if");
            if block.iter().any(|line| arms(line)) {
                let found = block.iter().copied().filter(wild);
                wrong.extend(found.map(|line| format!("{}: {}", source.path, line.trim())));
            }
        }
    }
    none(&wrong, "a match over steps has a wildcard:");
}

/// The arms of each `match`: the lines of one indentation.
fn blocks(code: &str) -> Vec<Vec<&str>> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let words = line.trim();
        if !(words.ends_with('{') && (words.starts_with("match ") || words.contains(" match "))) {
            continue;
        }
        let body =
            lines[at + 1..].iter().take_while(|inner| inner.trim().is_empty() || depth(inner) > depth(line));
        let arms = body.filter(|inner| depth(inner) == depth(line) + 4);
        found.push(arms.copied().collect());
    }
    found
}

/// Durations come from flags, and timestamps from the cluster: a sum that cannot be represented would be a panic.
#[test]
fn time_is_added_up_in_one_place() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    assert!(read("src/lib.rs").contains("warn(clippy::arithmetic_side_effects)"), "the lint is off");
    let clippy = read("clippy.toml");
    let (_, allowed) = clippy.split_once("arithmetic-side-effects-allowed").unwrap();
    for name in ["*", "Duration", "Instant", "Timestamp", "Zoned"] {
        assert!(!allowed.contains(name), "sums of {name} are allowed");
    }
    let sums = ["now() +", "now() -", "elapsed() +", "now().sub", "now().add"];
    none(&uses(&sums, &["src/time.rs"]), "src/time.rs adds to a time without a panic:");
}

/// The string literals of a source, escapes and continued lines as they are written.
fn literals(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find(['"', '\'']) {
        let raw = rest[..at].ends_with("r#");
        let character = rest[at..].starts_with('\'');
        rest = &rest[at + 1..];
        if character {
            // `'"'` is a character, and `'a` a lifetime.
            if let Some(after) = rest.strip_prefix("\"'") {
                rest = after;
            }
            continue;
        }
        let mut end = 0;
        while let Some(next) = rest[end..].find(['"', '\\']) {
            end += next;
            if raw && rest[end..].starts_with("\"#") || !raw && rest[end..].starts_with('"') {
                break;
            }
            end += if !raw && rest[end..].starts_with('\\') { 2 } else { 1 };
        }
        found.push(rest[..end].to_owned());
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    found
}

#[test]
fn commands_to_paste_are_made_of_words() {
    assert_eq!(literals(r#"f("a \" b", '"', "c") + "d{e}""#), ["a \\\" b", "c", "d{e}"]);
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.path != "src/paste.rs") {
        for literal in literals(&source.code) {
            // What is put in after `kubectl`, or added to the end, has not been through the one place that quotes it.
            let rest = literal.split_once("kubectl ").map_or("", |(_, rest)| rest);
            let rest = if rest.starts_with("sts: ") { "" } else { rest };
            if rest.contains('{') || (!rest.is_empty() && rest.ends_with(' ')) {
                wrong.push(format!("{}: {literal}", source.path));
            }
        }
    }
    none(&wrong, "commands to paste are built in src/paste.rs, from words:");
}

#[test]
fn json_and_yaml_are_written_in_one_file() {
    let places = ["src/render/encode.rs"];
    none(
        &uses(&["serde_saphyr::to_", "serde_json::to_string_pretty", "json().to_string()"], &places),
        "what is not seen is escaped in src/render/encode.rs:",
    );
}

#[test]
fn each_library_of_the_screen_is_in_one_file() {
    // Questions are asked in two files: yes or no, and which of many.
    none(
        &uses(&["dialoguer::"], &["src/render/ask.rs", "src/render/select.rs"]),
        "dialoguer asks in render only:",
    );
    none(&uses(&["comfy_table::"], &["src/render/table.rs"]), "tables are laid out in one file:");
    none(&uses(&["indicatif::"], &["src/render/spinner.rs"]), "the spinner is in render only:");
    let places = ["src/render/", "src/main.rs"];
    none(&uses(&["console::"], &places), "the terminal is for render, and its size for main:");
}

#[test]
fn each_rule_has_a_file_a_page_and_a_code_of_its_own() {
    let names: BTreeSet<String> = RULES.iter().map(|rule| rule.name.to_owned()).collect();
    let codes: BTreeSet<&str> = RULES.iter().map(|rule| rule.code).collect();
    assert_eq!((names.len(), codes.len()), (RULES.len(), RULES.len()), "a name or a code is there twice");
    assert!(RULES.is_sorted_by_key(|rule| rule.code), "RULES is not in the order of the codes");
    for rule in RULES {
        let digits = rule.code.strip_prefix("STS").unwrap_or_default();
        assert!(digits.len() == 3 && digits.parse::<u16>().is_ok(), "{} is no code", rule.code);
    }
    let pages: BTreeSet<String> = files("docs/rules", "md").iter().map(|path| kebab(path)).collect();
    assert_eq!(names, pages, "rules, and pages in docs/rules");
    let with_rule = |path: &PathBuf| fs::read_to_string(path).unwrap().contains("pub const RULE: Rule");
    let sources: BTreeSet<String> =
        files("src/rules", "rs").iter().filter(|path| with_rule(path)).map(|path| kebab(path)).collect();
    assert_eq!(names, sources, "rules, and files in src/rules");
}

#[test]
fn rules_know_nothing_of_each_other() {
    let all: BTreeSet<String> = RULES.iter().map(|rule| rule.name.replace('-', "_")).collect();
    // Which rules there are, and which of them say that a StatefulSet is stuck, is asked of the rules themselves.
    let places = ["src/rules/mod.rs", "src/rules/stuck.rs"];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| source.module == "rules") {
        let uses = ["super::", "crate::rules::"].map(|start| names_after(&source.code, start)).concat();
        let others = uses.into_iter().filter(|name| all.contains(*name));
        if !places.contains(&source.path.as_str()) {
            wrong.extend(others.map(|name| format!("{} uses {name}", source.path)));
        }
    }
    none(&wrong, "what several rules need has a file of its own:");
}

/// Only `src/messages` knows the wording of what components of Kubernetes write: elsewhere no text of a message is looked for.
#[test]
fn messages_are_read_in_one_place() {
    let of_a_message = [
        "message.contains(",
        "message.starts_with(",
        "message.split",
        "said.contains(",
        "said.starts_with(",
        "said.split",
        "text().starts_with(",
        "text().contains(",
        "text().split",
    ];
    let places = ["src/messages/", "src/messages.rs", "src/kinds/", "src/cluster/", "src/error.rs"];
    none(&uses(&of_a_message, &places), "messages are read in src/messages:");
}

#[test]
fn each_command_has_a_file_a_page_and_a_line_in_the_readme() {
    let cli = Cli::command();
    let visible = cli.get_subcommands().filter(|command| !command.is_hide_set());
    let commands: BTreeSet<String> = visible.map(|command| command.get_name().to_owned()).collect();
    let pages: BTreeSet<String> = files("docs/commands", "md").iter().map(|path| kebab(path)).collect();
    assert_eq!(commands, pages, "commands, and pages in docs/commands");
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    for command in &commands {
        let source = format!("src/commands/{}.rs", command.replace('-', "_"));
        assert!(root().join(&source).exists(), "{command} has no {source}");
        let row = format!("| [`{command}`](docs/commands/{command}.md) |");
        assert_eq!(readme.matches(&row).count(), 1, "README.md has one row for {command}: {row}");
        let page = fs::read_to_string(root().join(format!("docs/commands/{command}.md"))).unwrap();
        let wanted = format!("```console\n$ kubectl sts {command}");
        assert!(page.contains(&wanted), "docs/commands/{command}.md shows no screen of it");
    }
}

#[test]
fn the_map_in_the_docs_is_that_of_the_sources() {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let there: BTreeSet<String> = sources().into_iter().map(|source| source.module).collect();
    for module in there {
        assert!(
            text.contains(&format!("| `{module}`")),
            "docs/architecture.md does not have module {module}"
        );
    }
}

#[test]
fn each_test_file_is_run() {
    let all = fs::read_to_string(root().join("tests/all.rs")).unwrap();
    for path in fs::read_dir(root().join("tests")).unwrap().map(|entry| entry.unwrap().path()) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        // Those of `core` are part of `all`.
        if path.extension().is_some_and(|extension| extension == "rs") && !["all", "core"].contains(&name) {
            assert!(all.contains(&format!("mod {name};")), "tests/all.rs does not have {name}");
        }
    }
}

#[test]
fn files_are_short_finished_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > 500 {
            wrong.push(format!("{} has {lines} lines, more than 500", source.path));
        }
    }
    for path in [files("src", "rs"), files("tests", "rs"), files("examples", "rs")].concat() {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root()).unwrap().display();
        if !text.starts_with("//! ") {
            wrong.push(format!("{name} does not start with a sentence"));
        }
        for word in ["todo", "dbg", "unimplemented"].map(|word| format!("{word}!(")) {
            if text.contains(&word) {
                wrong.push(format!("{name} has {word})"));
            }
        }
        for word in ["FIX", "TO", "XX"].into_iter().zip(["ME", "DO", "X"]).map(|(a, b)| format!("{a}{b}")) {
            if text.split(|c: char| !c.is_alphanumeric()).any(|found| found == word) {
                wrong.push(format!("{name} has {word}"));
            }
        }
    }
    none(&wrong, "files that are not as they should be:");
}
