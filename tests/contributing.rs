//! CONTRIBUTING.md is followed: its steps are applied to a copy of this repository, and every rule and every command has
//! the files and lines that the steps make.

mod page;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::playground::EXCEPTIONS;
use page::{Change, changes};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_default()
}

/// A name as the sources write it: `prune_pvcs`, `prune-pvcs` and `PrunePvcs`.
struct Name {
    snake: String,
    kebab: String,
    pascal: String,
}

impl Name {
    fn new(name: &str) -> Name {
        let words = name.split(['-', '_']);
        let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
        Name {
            snake: name.replace('-', "_"),
            kebab: name.replace('_', "-"),
            pascal: words.map(capital).collect(),
        }
    }

    /// The text about the example, about this instead. In sources names have underscores, on pages hyphens.
    fn instead_of(&self, example: &Name, path: &str, text: &str) -> String {
        let is_source = path.starts_with("src/");
        let (own, other) =
            if is_source { (&self.snake, &example.snake) } else { (&self.kebab, &example.kebab) };
        let text = text.replace(other, own).replace(&example.pascal, &self.pascal);
        text.replace(&example.kebab, &self.kebab)
    }

    /// Whether the text names it.
    fn is_in(&self, text: &str) -> bool {
        text.contains(&self.snake) || text.contains(&self.kebab)
    }
}

/// What has to be in a line: all of it, but for what differs between commands: the call, and the words for people.
fn needed(line: &str) -> Vec<String> {
    if let Some((case, call)) = line.split_once(" => ") {
        let function = call.split('(').next().unwrap_or_default();
        return vec![format!("{case} => "), format!("{function}(")];
    }
    match line.strip_prefix("| ").and_then(|row| row.split_once(" | ")) {
        Some((cell, _)) => vec![format!("| {cell} | ")],
        None => vec![line.to_owned()],
    }
}

/// What a rule or a command of this tree lacks of what the steps make.
fn missing(root: &Path, changes: &[Change], example: &Name, names: &BTreeSet<String>) -> Vec<String> {
    let mut missing = Vec::new();
    for name in names.iter().map(|name| Name::new(name)) {
        for change in changes {
            let path = change.path();
            if let Change::Create { .. } = change {
                let path = name.instead_of(example, path, path);
                let is_excepted = path.starts_with("tests/manifests/playground/")
                    && EXCEPTIONS.iter().any(|(excepted, _)| *excepted == name.kebab);
                if name.is_in(&path) && !root.join(&path).exists() && !is_excepted {
                    missing.push(format!("{} has no {path}", name.kebab));
                }
            }
            // Which answers the tests ask for is told by their kinds, see `kinds`.
            if path.starts_with("tests/") {
                continue;
            }
            let text = read(root, path);
            for line in change.added().into_iter().filter(|line| !line.trim_start().starts_with("//")) {
                let line = name.instead_of(example, path, line);
                let needed = needed(&line);
                let is_whole = needed == [line.clone()];
                let found = text.lines().filter(|there| {
                    if is_whole {
                        *there == line
                    } else {
                        needed.iter().all(|part| there.contains(part.as_str()))
                    }
                });
                if found.count() != 1 {
                    missing.push(format!("{} has no line in {path}: {line}", name.kebab));
                }
            }
        }
    }
    missing
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap().to_string_lossy().into_owned()
}

/// Every name of which this tree has a part of a rule.
fn rules(root: &Path) -> BTreeSet<String> {
    let is_rule = |path: &PathBuf| fs::read_to_string(path).unwrap().contains("pub const RULE: Rule");
    let mut names: BTreeSet<String> =
        files(&root.join("src/rules")).iter().filter(|path| is_rule(path)).map(|path| stem(path)).collect();
    for folder in ["docs/rules", "tests/manifests/playground"] {
        let yaml_or_page = |path: &&PathBuf| path.extension().is_some_and(|end| end == "md" || end == "yaml");
        names.extend(files(&root.join(folder)).iter().filter(yaml_or_page).map(|path| stem(path)));
    }
    let list = read(root, "src/rules/mod.rs");
    let listed = |line: &str| line.strip_prefix("    &")?.strip_suffix("::RULE,").map(str::to_owned);
    names.extend(list.lines().filter_map(listed));
    names.iter().map(|name| name.replace('_', "-")).collect()
}

/// Every name of which this tree has a part of a command.
fn commands(root: &Path) -> BTreeSet<String> {
    let mut names: BTreeSet<String> =
        files(&root.join("docs/commands")).iter().map(|path| stem(path)).collect();
    let list = read(root, "src/commands/mod.rs");
    let variant = |line: &str| Some(line.strip_suffix("::Args),")?.split_once('(')?.1.to_owned());
    names.extend(list.lines().filter_map(variant));
    let readme = read(root, "README.md");
    names.extend(
        readme
            .split("](docs/commands/")
            .skip(1)
            .filter_map(|rest| Some(rest.split_once(".md)")?.0.to_owned())),
    );
    names.iter().map(|name| name.replace('_', "-")).collect()
}

/// Kinds that only a cluster brings: the tests that act hold them against their schemas, with `schema::holds`.
const ONLY_LIVE: [&str; 6] =
    ["Event", "Permissions", "PruneResult", "RestoreResult", "Result", "RevisionDiff"];

/// Kinds of answers without a schema, and those that `tests/schema.rs` does not ask for.
fn kinds(root: &Path) -> Vec<String> {
    let mut wrong = Vec::new();
    let tests = read(root, "tests/schema.rs");
    for path in files(&root.join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        for rest in text.split("\"apiVersion\": \"kubectl-sts/v1\"").skip(1) {
            let kind = rest.split("\"kind\": \"").nth(1).and_then(|rest| rest.split('"').next());
            let Some(kind) = kind else { continue };
            if !root.join(format!("docs/schema/{kind}.json")).exists() {
                wrong.push(format!("{kind} has no docs/schema/{kind}.json"));
            }
            if !ONLY_LIVE.contains(&kind) && !tests.contains(&format!("\"{kind}.json\"")) {
                wrong.push(format!("{kind} is not in tests/schema.rs"));
            }
        }
    }
    wrong
}

const SKIPPED: [&str; 2] = [".git", "target"];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        let (source, target) = (entry.path(), to.join(&name));
        if source.is_dir() {
            copy(&source, &target);
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}

/// A copy of what the steps are about.
fn tree() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    for folder in ["src", "docs", "tests/manifests"] {
        copy(&repository().join(folder), &place.path().join(folder));
    }
    for file in ["README.md", "tests/schema.rs"] {
        fs::copy(repository().join(file), place.path().join(file)).unwrap();
    }
    place
}

/// What is wrong with the rules, or the commands, of a tree.
type Check<'a> = &'a dyn Fn(&Path) -> Vec<String>;

/// The steps can be applied and satisfy the check, and the check notices each that is left out.
fn follow(changes: &[Change], check: Check<'_>) {
    assert_eq!(check(repository()), Vec::<String>::new(), "not as CONTRIBUTING.md says");
    for left_out in std::iter::once(None).chain((0..changes.len()).map(Some)) {
        let place = tree();
        for (_, change) in changes.iter().enumerate().filter(|(index, _)| Some(*index) != left_out) {
            change.apply(place.path()).unwrap_or_else(|error| panic!("{error}"));
        }
        let wrong = check(place.path());
        match left_out {
            None => assert_eq!(wrong, Vec::<String>::new(), "the steps of CONTRIBUTING.md are not enough"),
            Some(index) => {
                let path = changes[index].path();
                assert!(
                    wrong.iter().any(|wrong| wrong.contains(path)),
                    "nothing notices that {path} was left out: {:?}, {wrong:?}",
                    changes[index]
                );
            }
        }
    }
}

#[test]
fn the_steps_for_a_rule_are_those_of_every_rule() {
    let changes = changes("## Add a rule");
    let example = Name::new("history-limit-zero");
    assert!(rules(repository()).len() > 40, "no rules were found");
    follow(&changes, &|root| missing(root, &changes, &example, &rules(root)));

    // And no rule has a file that the steps do not make.
    let mut more = Vec::new();
    let all: Vec<PathBuf> =
        ["src", "docs", "tests"].iter().flat_map(|folder| files(&repository().join(folder))).collect();
    for name in rules(repository()).iter().map(|name| Name::new(name)) {
        let made: BTreeSet<PathBuf> = changes
            .iter()
            .filter(|change| matches!(change, Change::Create { .. }))
            .map(|change| repository().join(name.instead_of(&example, change.path(), change.path())))
            .collect();
        let about = |path: &&PathBuf| [&name.snake, &name.kebab].contains(&&stem(path));
        more.extend(all.iter().filter(about).filter(|path| !made.contains(*path)));
    }
    assert!(more.is_empty(), "CONTRIBUTING.md does not know of files that are named for a rule: {more:?}");
}

#[test]
fn the_steps_for_a_command_are_those_of_every_command() {
    let changes = changes("## Add a command");
    let example = Name::new("images");
    assert!(commands(repository()).len() > 10, "no commands were found");
    follow(&changes, &|root| {
        let mut wrong = missing(root, &changes, &example, &commands(root));
        wrong.extend(kinds(root));
        wrong
    });
}

/// All places that the page names are there, or made by its steps.
#[test]
fn the_places_that_the_page_names_are_there() {
    let page = read(repository(), "CONTRIBUTING.md");
    let made: Vec<Change> = [changes("## Add a rule"), changes("## Add a command")].concat();
    let mut places = 0;
    for path in page.lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
        let is_place = ["src/", "tests/", "docs/", ".ci/"].iter().any(|start| path.starts_with(start));
        if is_place && !path.contains([' ', '\'', '"']) {
            let is_made = made.iter().any(|change| change.path() == path);
            assert!(is_made || repository().join(path).exists(), "CONTRIBUTING.md: there is no {path}");
            places += 1;
        }
    }
    assert!(places > 20, "only {places} places are named");
}

/// The walk-through of a step has no example, but what it says of the compiler is true.
#[test]
fn the_places_for_a_step_are_there() {
    let page = read(repository(), "CONTRIBUTING.md");
    let (_, rest) = page.split_once("## Add a step\n").expect("a section on steps");
    let section = rest.split("\n## ").next().unwrap();
    for place in ["src/plan/mod.rs", "src/cluster/perform.rs", "docs/schema/Step.json"] {
        assert!(section.contains(&format!("`{place}`")), "the section on steps does not name {place}");
    }
    let with = |folder: &str, text: &str| {
        files(&repository().join(folder)).iter().any(|path| fs::read_to_string(path).unwrap().contains(text))
    };
    assert!(with("src/plan", "pub enum Step {"), "Step is not in src/plan any more");
    // The compiler names a place only where a match lists all kinds of steps.
    for folder in ["src/plan", "src/cluster", "src/render"] {
        let matches = files(&repository().join(folder));
        let matches = matches.iter().flat_map(|path| matches_on_steps(&fs::read_to_string(path).unwrap()));
        let whole = |arms: &Vec<String>| arms.len() > 2 && !arms.iter().any(|arm| arm.starts_with("_ =>"));
        assert!(matches.filter(whole).count() > 0, "{folder} has no match that lists all kinds of steps");
    }
}

/// The arms of the matches on steps, as rustfmt indents them.
fn matches_on_steps(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if !(line.ends_with('{') && line.contains("match ")) {
            continue;
        }
        let body = lines[at + 1..].iter().take_while(|next| next.is_empty() || indent(next) > indent(line));
        let arms: Vec<String> = body
            .filter(|next| indent(next) == indent(line) + 4)
            .map(|arm| arm.trim().to_owned())
            .filter(|arm| arm.starts_with("Step::") || arm.starts_with("_ =>"))
            .collect();
        if arms.iter().any(|arm| arm.starts_with("Step::")) {
            found.push(arms);
        }
    }
    found
}

/// Compiles the copy, so it takes a minute or two. `.ci/run` runs it.
#[test]
#[ignore = "compiles the project a second time"]
fn the_steps_compile_and_pass_the_tests() {
    // .../target/debug/deps/all-0123456789abcdef
    let profile = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    let place = tempfile::tempdir_in(profile.parent().unwrap()).unwrap();
    let root = place.path().join("kubectl-sts");
    copy(repository(), &root);
    for change in [changes("## Add a rule"), changes("## Add a command")].concat() {
        change.apply(&root).unwrap();
    }
    // The dependencies are compiled already. Ours has the same file names, and must not be written to.
    for folder in ["deps", "build", ".fingerprint"] {
        link(&profile.join(folder), &root.join("target/debug").join(folder));
    }
    let cargo = |bless: bool, args: &[&str]| {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args(args)
            .current_dir(&root)
            .env("STS_TEST_CLUSTER", "none")
            .env_remove("CI")
            .env_remove("BLESS");
        command.env("CARGO_TARGET_DIR", root.join("target"));
        if bless {
            command.env("BLESS", "1");
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !text.contains("warning:"), "cargo {}:\n{text}", args.join(" "));
        text.into_owned()
    };
    let mut test = vec!["test", "--offline", "--locked", "--test", "all", "--"];
    test.extend([
        "architecture::",
        "docs::",
        "rules::",
        "reference::",
        "help::",
        "schema::",
        "book::",
        "hostile::commands",
    ]);
    test.push("playground::every_rule_has_a_case");
    cargo(true, &test);
    let text = cargo(false, &test);
    let mut passed = String::new();
    for line in text.lines().filter(|line| line.ends_with("... ok")) {
        let _ = writeln!(passed, "{line}");
    }
    for wanted in
        ["rules::every_page_shows", "architecture::each_command", "schema::answers", "docs::screens"]
    {
        assert!(passed.contains(wanted), "{wanted} did not run:\n{text}");
    }
    cargo(false, &["fmt", "--check"]);
    let screen = read(&root, "docs/commands/images.md");
    assert!(screen.contains("\nshop        postgres   postgres"), "{screen}");
    let list = read(&root, "docs/commands/explain.md");
    let is_listed = |line: &str| line.starts_with("STS499 ") && line.contains(" history-limit-zero ");
    assert!(list.lines().any(is_listed), "{list}");
    assert!(read(&root, "docs/reference.md").contains("\n## kubectl sts images\n"));
}

/// Hard links to all that is not built from this package.
fn link(from: &Path, to: &Path) {
    const OURS: [&str; 7] =
        ["kubectl-sts-", "kubectl_sts-", "libkubectl_sts-", "all-", "watch-", "growth-", "playground-"];
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let name = entry.file_name();
        let is_ours = OURS.iter().any(|start| name.to_string_lossy().starts_with(start));
        match (is_ours, entry.path().is_dir()) {
            (true, _) => {}
            (false, true) => link(&entry.path(), &to.join(name)),
            (false, false) => drop(fs::hard_link(entry.path(), to.join(name))),
        }
    }
}
