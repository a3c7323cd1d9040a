//! The pictures of the README: small, alone, the same in both themes, and of what the program shows today.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::pipeline::{Element, elements};
use crate::support::Run;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pictures() -> Vec<PathBuf> {
    let all = fs::read_dir(repository().join("docs/pictures")).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.extension().is_some_and(|end| end == "svg")).collect()
}

fn picture(name: &str) -> Vec<Element> {
    elements(&fs::read_to_string(repository().join(format!("docs/pictures/{name}.svg"))).unwrap())
}

/// What is written in a picture, in the order in which it appears.
fn text(elements: &[Element]) -> Vec<&str> {
    elements.iter().filter(|(name, ..)| name == "text").map(|(_, _, text)| text.as_str()).collect()
}

/// What keeps a picture from being one file without a program in it.
fn foreign(elements: &[Element]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, attributes, text) in elements {
        if !["svg", "title", "style", "rect", "g", "text"].contains(&name.as_str()) {
            wrong.push(format!("<{name}>"));
        }
        for (key, value) in attributes {
            let known = [
                "class",
                "fill",
                "height",
                "role",
                "rx",
                "stroke",
                "textLength",
                "viewBox",
                "width",
                "x",
                "y",
            ];
            let is_namespace = key == "xmlns" && value == "http://www.w3.org/2000/svg";
            if !known.contains(&key.as_str()) && !is_namespace {
                wrong.push(format!("{key}={value}"));
            }
        }
        let is_loading = ["@import", "url(", "@font-face"].iter().any(|word| text.contains(word));
        if name == "style" && is_loading {
            wrong.push("the style loads something".into());
        }
    }
    wrong
}

#[test]
fn every_picture_is_small_and_stands_alone() {
    let all = pictures();
    assert!(all.len() >= 4, "{all:?}");
    for path in all {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() < 150 * 1024, "{}: {} bytes", path.display(), text.len());
        assert_eq!(foreign(&elements(&text)), Vec::<String>::new(), "{}", path.display());
    }
    let hostile = elements(
        "<svg onload=\"x()\"><image href=\"https://example.test/a.png\"/><style>@import 'x'</style></svg>",
    );
    assert_eq!(
        foreign(&hostile),
        ["onload=x()", "<image>", "href=https://example.test/a.png", "the style loads something"]
    );
}

#[test]
fn both_themes_show_the_same() {
    let names: BTreeSet<String> = pictures()
        .iter()
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .map(|name| name.trim_end_matches("-dark").trim_end_matches("-light").to_owned())
        .collect();
    for name in names {
        let (light, dark) = (picture(&format!("{name}-light")), picture(&format!("{name}-dark")));
        assert_eq!(text(&light), text(&dark), "{name}");
        let style = |elements: &[Element]| {
            elements.iter().find(|(name, ..)| name == "style").map(|(_, _, text)| text.clone())
        };
        assert_ne!(style(&light), style(&dark), "{name}");
    }
}

/// The words of a screen, without names of revisions, ages and nodes.
fn words(screen: &str) -> Vec<String> {
    let is_hash = |word: &str| {
        // The alphabet of hashes in names (apimachinery, pkg/util/rand: SafeEncodeString).
        word.len() >= 7
            && word.bytes().all(|byte| b"bcdfghjklmnpqrstvwxz2456789".contains(&byte))
            && word.bytes().any(|byte| byte.is_ascii_digit())
    };
    let is_age = |word: &str| {
        let digits = word.trim_end_matches(['s', 'm', 'h', 'd']);
        digits.len() < word.len() && !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
    };
    let plain = |word: &str| {
        if word.starts_with("node-") {
            return "#".to_owned();
        }
        let letters: String = word.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect();
        let last = letters.rsplit('-').next().unwrap_or_default();
        if is_hash(last) || is_age(last) { word.replace(last, "#") } else { word.to_owned() }
    };
    screen.split_whitespace().map(plain).collect()
}

/// A picture is made once; the program changes.
#[test]
fn the_pictures_show_what_the_program_shows_now() {
    let shown = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
        command.current_dir(repository()).args(args).env_clear().env("LANG", "C.UTF-8");
        command.args(["--from", "docs/recordings/postgres-rollback-trap.yaml"]);
        words(&Run::of(&mut command, "").stdout)
    };
    let status = picture("status-light");
    let mut drawn = words(&text(&status).join(" "));
    let command: Vec<String> = drawn.drain(..5).collect();
    assert_eq!(command.join(" "), "$ kubectl sts status postgres");
    assert_eq!(drawn, shown(&["status", "postgres"]), "docs/pictures/make draws it again");

    let recover = picture("recover-light");
    let drawn = words(&text(&recover).join(" "));
    let has = |wanted: &[String]| drawn.windows(wanted.len()).any(|run| run == wanted);
    let plan = shown(&["recover", "postgres"]);
    // On a terminal the first line names the context too, and nothing is a dry run.
    let (start, rest) = plan.split_at(4);
    let rest = &rest[..rest.iter().position(|word| word == "dry").unwrap()];
    assert!(has(start) && has(rest), "docs/pictures/make draws it again: {}", rest.join(" "));
    for line in ["$ kubectl rollout undo statefulset/postgres", "the rollout is complete"] {
        assert!(has(&words(line)), "{line}");
    }
}

#[test]
fn what_is_drawn_is_escaped() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("hostile.svg");
    let mut command = Command::new("python3");
    command.arg(repository().join("docs/pictures/make")).arg("--draw").arg(&path).stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let screen = "<script>x()</script> &amp; ]]>\n\x1b[31mred\x1b[0m  \x1b[1;32mbold\x1b[m\n\x1b]0;title\x07a\u{202e}b\n";
    child.stdin.take().unwrap().write_all(screen.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    let drawn = elements(&fs::read_to_string(path).unwrap());
    assert_eq!(foreign(&drawn), Vec::<String>::new());
    let all = text(&drawn);
    assert_eq!(all[..3], ["<script>x()</script> &amp; ]]>", "red", "bold"]);
    assert!(all[3..].iter().all(|text| !text.contains(['\x1b', '\x07', '\u{202e}'])), "{all:?}");
    let class = |wanted: &str| {
        let (_, attributes, _) = drawn.iter().find(|(_, _, text)| text == wanted).unwrap();
        attributes.get("class").cloned()
    };
    assert_eq!((class("red").as_deref(), class("bold").as_deref()), (Some("c1"), Some("c2 b")));
}

/// A picture is shown in both themes, and described for those who do not see it.
#[test]
fn pages_describe_their_pictures() {
    let mut found = 0;
    for page in ["README.md", "docs/README.md", "docs/README.ja.md", "docs/workflows/recover.md"] {
        let text = fs::read_to_string(repository().join(page)).unwrap();
        let folder = repository().join(page).parent().unwrap().to_owned();
        for picture in text.split("<picture>").skip(1).filter_map(|rest| rest.split("</picture>").next()) {
            let value = |name: &str| {
                let start = format!("{name}=\"");
                picture.split(&start).nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default()
            };
            assert!(value("alt").chars().count() > 20, "{page}: {picture}");
            assert!(picture.contains("media=\"(prefers-color-scheme: dark)\""), "{page}: {picture}");
            let (dark, light) = (value("srcset"), value(" src"));
            assert_eq!(dark.replace("-dark", "-light"), light, "{page}");
            assert!(folder.join(dark).exists() && folder.join(light).exists(), "{page}: {dark}, {light}");
            found += 1;
        }
    }
    assert!(found >= 5, "only {found} pictures");
}
