//! The words that people read: no help, page or message uses a phrase of this list. Each stands there with a better one.
//!
//! Read are the help of every command, all pages, the descriptions in the schemas, and all string literals of `src` except
//! those that nobody reads: keys of JSON, attributes and unit tests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use kubectl_sts::commands::definition;

/// What is not said, and what is said instead. Case does not matter; a phrase may go over the end of a line.
const BANNED: &[(&str, &str)] = &[
    // Rule 2: who does what, in words of today.
    ("whoever", "a user who; anyone who"),
    ("somebody", "a user; another client"),
    ("nobody", "no user; no pod; say who"),
    ("anew", "again; recreated"),
    ("for ever", "never; indefinitely"),
    ("forever", "never; indefinitely"),
    ("any more", "no longer"),
    ("all the same", "still; anyway"),
    ("on its way out", "is being deleted"),
    ("on their way out", "are being deleted"),
    ("be it", "whether"),
    ("goes on", "continues"),
    ("go on", "continue"),
    ("is waited for", "it waits until; waiting for"),
    ("was waited for", "it waited until"),
    ("are waited for", "it waits until"),
    ("such as is", "plain words"),
    ("so many", "this number of"),
    ("save that", "except that"),
    ("lest", "so that ... not"),
    // The words of Kubernetes.
    ("claim", "PVC"),
    ("claims", "PVCs"),
    ("claim's", "of the PVC"),
    ("the set", "the StatefulSet"),
    ("the sets", "the StatefulSets"),
    ("the set's", "of the StatefulSet"),
    ("its set", "its StatefulSet"),
    ("their set", "their StatefulSet"),
    ("a set", "a StatefulSet"),
    ("settled", "complete"),
    ("at rest", "complete; paused at partition N"),
    ("rests", "is complete; is paused at partition N"),
    ("baking", "observed for 20s"),
    ("baked", "observed"),
    ("mark of a canary", "the annotation kubectl-sts/canary"),
    ("the mark", "the annotation kubectl-sts/canary"),
    ("no mark", "no annotation kubectl-sts/canary"),
    ("left over", "orphaned"),
    ("left-over", "orphaned"),
    ("leftover", "orphaned"),
    ("abandoned", "old revision"),
    ("holds up", "blocks"),
    ("hold up", "block"),
    ("held up", "blocked"),
    ("holds back", "blocks"),
    ("comes back on", "is recreated on"),
    ("sees it through", "waits until it is complete"),
    // What the tool does.
    ("looked at", "checked"),
    ("looks at", "checks"),
    ("agree", "confirm"),
    ("agreed", "confirmed"),
    ("declined", "cancelled"),
    ("drifted", "changed after the plan was shown"),
    ("nothing was written", "nothing was changed"),
    ("bad news", "a problem was found"),
];

/// Literals that nobody reads as prose, or that are words of a program: the file, the literal, and why it may stay.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("src/commands/act/consent.rs", "declined", "the stable word of a refusal"),
    ("src/commands/act/ending.rs", "drifted", "the stable word of an outcome"),
];

/// One word of a text.
#[derive(Debug, PartialEq)]
struct Word {
    text: String,
    line: usize,
    /// Whether a phrase may go on from the word before.
    is_joined: bool,
}

/// The words of a text; what a program reads has been left out by then.
fn words(text: &str, first_line: usize) -> Vec<Word> {
    let mut found: Vec<Word> = Vec::new();
    let mut line = first_line;
    let mut is_joined = false;
    let mut word = String::new();
    for letter in text.chars().chain(['\n']) {
        if letter.is_alphanumeric() || (!word.is_empty() && ['-', '_', '\''].contains(&letter)) {
            word.push(letter);
            continue;
        }
        if !word.is_empty() {
            let text = std::mem::take(&mut word).to_lowercase();
            found.push(Word { text: text.trim_end_matches(['-', '_', '\'']).to_owned(), line, is_joined });
            is_joined = true;
        }
        line += usize::from(letter == '\n');
        is_joined &= letter.is_whitespace() || letter == '*';
    }
    found
}

/// The phrases of the list that a text has, each with its line.
fn phrases(text: &str, first_line: usize) -> Vec<(usize, &'static str)> {
    let words = words(text, first_line);
    let mut found = Vec::new();
    for (phrase, _) in BANNED {
        let wanted: Vec<&str> = phrase.split(' ').collect();
        for at in 0..words.len() {
            let there = words[at..].iter().zip(&wanted).enumerate();
            let same = there
                .filter(|(index, (word, wanted))| word.text == **wanted && (*index == 0 || word.is_joined));
            if same.count() == wanted.len() {
                found.push((words[at].line, *phrase));
            }
        }
    }
    found
}

/// A string literal of a source.
#[derive(Debug, PartialEq)]
struct Literal {
    text: String,
    line: usize,
    /// Whether it is the key of a value in `json!`, or an index.
    is_key: bool,
}

/// The string literals of a Rust source, without those in comments, attributes and unit tests.
fn literals(source: &str) -> Vec<Literal> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let letters: Vec<char> = source.chars().collect();
    let is =
        |at: usize, wanted: &str| wanted.chars().enumerate().all(|(i, c)| letters.get(at + i) == Some(&c));
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    let mut attribute = 0_usize;
    while let Some(letter) = letters.get(at).copied() {
        let begin = at;
        match letter {
            '/' if is(at, "//") => {
                while letters.get(at).is_some_and(|letter| *letter != '\n') {
                    at += 1;
                }
            }
            '/' if is(at, "/*") => {
                let mut depth = 0_usize;
                loop {
                    if is(at, "/*") {
                        depth += 1;
                        at += 2;
                    } else if is(at, "*/") {
                        depth -= 1;
                        at += 2;
                    } else {
                        at += 1;
                    }
                    if depth == 0 || at >= letters.len() {
                        break;
                    }
                }
            }
            // `'a` is a lifetime, `'a'` and `'\''` are characters.
            '\'' if letters.get(at + 1) == Some(&'\\') => {
                at += 3;
                while letters.get(at).is_some_and(|letter| *letter != '\'') {
                    at += 1;
                }
                at += 1;
            }
            '\'' if letters.get(at + 2) == Some(&'\'') => at += 3,
            '#' if is(at, "#[") || is(at, "#![") => {
                attribute += 1;
                at += if is(at, "#[") { 2 } else { 3 };
            }
            '[' if attribute > 0 => {
                attribute += 1;
                at += 1;
            }
            ']' if attribute > 0 => {
                attribute -= 1;
                at += 1;
            }
            '"' => {
                let hashes = letters[..at].iter().rev().take_while(|letter| **letter == '#').count();
                let before = at.checked_sub(hashes + 1).and_then(|at| letters.get(at).copied());
                let two_before = at.checked_sub(hashes + 2).and_then(|at| letters.get(at).copied());
                let is_name = |letter: Option<char>| letter.is_some_and(|c| c.is_alphanumeric() || c == '_');
                // `r"`, `br"` and `cr#"`, but not the end of `for"`.
                let is_raw = before == Some('r')
                    && (!is_name(two_before) || ['b', 'c'].contains(&two_before.unwrap_or_default()));
                let mut text = String::new();
                at += 1;
                loop {
                    match letters.get(at).copied() {
                        None => break,
                        Some('"') if !is_raw => {
                            at += 1;
                            break;
                        }
                        Some('"')
                            if letters[at + 1..].iter().take(hashes).filter(|c| **c == '#').count()
                                == hashes =>
                        {
                            at += 1 + hashes;
                            break;
                        }
                        // At the end of a line: the break and the blanks after it are not part of the text. A space in
                        // their place would not be either, but the line has to be counted.
                        Some('\\') if !is_raw => {
                            match letters.get(at + 1).copied() {
                                Some('\n') => {
                                    at += 1;
                                    while letters.get(at).is_some_and(|letter| letter.is_whitespace()) {
                                        at += 1;
                                    }
                                    continue;
                                }
                                Some('n') => text.push('\n'),
                                Some('t' | 'r') => text.push(' '),
                                Some('u') => {
                                    while letters.get(at).is_some_and(|letter| *letter != '}') {
                                        at += 1;
                                    }
                                    at += 1;
                                    text.push('?');
                                    continue;
                                }
                                Some('x') => {
                                    at += 4;
                                    text.push('?');
                                    continue;
                                }
                                Some(other) => text.push(other),
                                None => {}
                            }
                            at += 2;
                        }
                        Some(letter) => {
                            text.push(letter);
                            at += 1;
                        }
                    }
                }
                let after: String = letters[at.min(letters.len())..].iter().take(2).collect();
                let before = begin.checked_sub(1).and_then(|at| letters.get(at).copied());
                let is_key = after.starts_with(':') && !after.starts_with("::")
                    || before == Some('[') && after.starts_with(']');
                if attribute == 0 {
                    found.push(Literal { text, line, is_key });
                }
            }
            _ => at += 1,
        }
        line += letters[begin..at.min(letters.len())].iter().filter(|letter| **letter == '\n').count();
    }
    found
}

/// A literal without what is put in: `{claim}` is the name of a variable.
fn without_places(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        shown += before;
        // Two braces are one of the text.
        if let Some(after) = after.strip_prefix('{') {
            shown.push('{');
            rest = after;
            continue;
        }
        let Some(end) = after.find('}') else {
            rest = after;
            break;
        };
        shown.push('0');
        rest = &after[end + 1..];
    }
    shown + rest
}

/// A page without its YAML, JSON and code; the lines stay where they are. Screens stay: people read them.
fn prose(page: &str) -> String {
    let mut text = String::new();
    let mut fence: Option<(String, bool)> = None;
    for line in page.lines() {
        let start = line.trim_start();
        let ticks = start.len() - start.trim_start_matches('`').len();
        let shown = match &fence {
            Some((open, _)) if start.trim_end() == *open => {
                fence = None;
                false
            }
            Some((_, is_screen)) => *is_screen,
            None if ticks >= 3 => {
                let kind = &start[ticks..];
                fence = Some((start[..ticks].to_owned(), ["console", "finding", "text"].contains(&kind)));
                false
            }
            None => true,
        };
        if shown && fence.is_some() {
            // Commands and the JSON or YAML that a screen shows are for programs.
            let is_code = start.starts_with("$ ")
                || start.starts_with(['"', '{', '}', '[', ']', '#'])
                || start.split_once(':').is_some_and(|(key, _)| !key.contains(' ') || key.starts_with("- "));
            text += if is_code { "" } else { line };
        } else if shown {
            // What stands in backticks is code, also over the end of a line; what is linked to is a place.
            for (index, part) in line.split('`').enumerate() {
                text += if index % 2 == 0 { part } else { " 0 " };
            }
        }
        text.push('\n');
    }
    let mut shown = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("](") {
        shown += before;
        shown.push(']');
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    shown + rest
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path, ends));
        } else if path.extension().is_some_and(|end| ends.iter().any(|wanted| end == *wanted)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// All texts that people read: where, the first line, the text.
fn texts() -> Vec<(String, usize, String)> {
    let mut all = Vec::new();
    let name = |path: &Path| path.strip_prefix(root()).unwrap().display().to_string();
    let read = |path: &Path| fs::read_to_string(path).unwrap();

    let mut own = definition();
    own.build();
    for command in [&own].into_iter().chain(own.get_subcommands()) {
        let help = command.clone().term_width(1000).render_help().to_string();
        all.push((format!("the help of {}", command.get_name()), 1, help));
    }
    let top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> =
        top.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    for folder in ["docs", "completions", "tests/testcluster", ".github"] {
        pages.extend(files(&root().join(folder), &["md", "yml"]));
    }
    for path in pages {
        all.push((name(&path), 1, prose(&read(&path))));
    }
    for path in files(&root().join("docs/schema"), &["json"]) {
        for (index, line) in read(&path).lines().enumerate() {
            for key in ["\"description\": \"", "\"title\": \""] {
                if let Some((_, rest)) = line.split_once(key) {
                    all.push((name(&path), index + 1, rest.split('"').next().unwrap().to_owned()));
                }
            }
        }
    }
    for path in files(&root().join("src"), &["rs"]) {
        let path_name = name(&path);
        for literal in literals(&read(&path)).into_iter().filter(|literal| !literal.is_key) {
            let is_allowed =
                |(file, text, _): &&(&str, &str, &str)| *file == path_name && *text == literal.text;
            if !ALLOWED.iter().any(|allowed| is_allowed(&allowed)) {
                all.push((path_name.clone(), literal.line, without_places(&literal.text)));
            }
        }
    }
    all
}

#[test]
fn nothing_that_people_read_has_a_banned_phrase() {
    let mut hits: BTreeMap<(String, usize), Vec<&str>> = BTreeMap::new();
    let texts = texts();
    assert!(texts.len() > 2000, "only {} texts", texts.len());
    for (place, line, text) in &texts {
        for (line, phrase) in phrases(text, *line) {
            hits.entry((place.clone(), line)).or_default().push(phrase);
        }
    }
    let mut report = String::new();
    for ((place, line), phrases) in &hits {
        for phrase in phrases {
            let (_, better) = BANNED.iter().find(|(banned, _)| banned == phrase).unwrap();
            let _ = writeln!(report, "{place}:{line}: \"{phrase}\", better: {better}");
        }
    }
    assert!(report.is_empty(), "words that readers stumble over:\n{report}");
}

#[test]
fn what_is_allowed_is_there() {
    for (file, text, why) in ALLOWED {
        let source = fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(
            literals(&source).iter().any(|literal| literal.text == *text),
            "{file} has no {text:?} ({why})"
        );
        assert!(!phrases(&without_places(text), 1).is_empty(), "{text:?} needs no permission");
    }
}

#[test]
fn phrases_are_found_whole_over_lines_and_in_any_case() {
    let found = |text: &str| {
        phrases(text, 1).into_iter().map(|(line, phrase)| format!("{line} {phrase}")).collect::<Vec<_>>()
    };
    assert_eq!(found("It stays\nfor\n  ever."), ["2 for ever"]);
    assert_eq!(found("Claims of the Set"), ["1 claims", "1 the set"]);
    assert_eq!(found("*for* ever"), ["1 for ever"]);
    assert!(
        found(
            "wait for, ever so slightly; claim-lost, claimRef, PersistentVolumeClaim, reclaim, the settings"
        )
        .is_empty()
    );
    for (phrase, better) in BANNED {
        assert!(!better.is_empty() && !phrases(phrase, 1).is_empty(), "{phrase} is never found");
    }
}

#[test]
fn literals_are_read_as_rust_reads_them() {
    let source = r##"
// "no"
/* "no" /* "no" */ "no" */
#[expect(clippy::x, reason = "no [not] this")]
fn f<'a>(x: &'a str) -> char { let y = ["index"]; g("a \" b\n", '"', '\'', "one \
    two", r#"raw " \n"#, br"bytes", x["key"]); json!({"key": "value"}) }
// the end
const LAST: &str = "last";
#[cfg(test)]
mod tests { const NO: &str = "no"; }
"##;
    let found = literals(source);
    let texts: Vec<&str> =
        found.iter().filter(|literal| !literal.is_key).map(|literal| literal.text.as_str()).collect();
    assert_eq!(texts, ["a \" b\n", "one two", "raw \" \\n", "bytes", "value", "last"]);
    let lines: Vec<usize> = found.iter().map(|literal| literal.line).collect();
    assert_eq!(lines, [5, 5, 5, 6, 6, 6, 6, 6, 8]);
    assert_eq!(without_places("{claim} of {a:>5} is {{claim}}"), "0 of 0 is {claim}}");
}

#[test]
fn prose_is_what_people_read_of_a_page() {
    let page = "The claim of [x](docs/claim.md), `the claim`.\n```yaml\nclaim: a\n```\n```console\n$ claim\nthe claim\n\"claim\": 1\n```\n";
    assert_eq!(phrases(&prose(page), 1).into_iter().map(|(line, _)| line).collect::<Vec<_>>(), [1, 7]);
}
