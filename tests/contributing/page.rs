//! The steps of CONTRIBUTING.md, and how they are applied to a tree.

use std::fs;
use std::path::Path;

use super::{read, repository};

/// One change that a step asks for.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A new file.
    Create { path: String, text: String },
    /// New lines in a file, between lines that are there.
    Insert { path: String, lines: Vec<String> },
}

impl Change {
    pub(super) fn path(&self) -> &str {
        match self {
            Change::Create { path, .. } | Change::Insert { path, .. } => path,
        }
    }

    /// The lines that are inserted.
    pub(super) fn added(&self) -> Vec<&str> {
        match self {
            Change::Create { .. } => Vec::new(),
            Change::Insert { lines, .. } => lines.iter().filter_map(|line| line.strip_prefix('+')).collect(),
        }
    }

    pub(super) fn apply(&self, root: &Path) -> Result<(), String> {
        let file = root.join(self.path());
        match self {
            Change::Create { path, text } => {
                if file.exists() {
                    return Err(format!("CONTRIBUTING.md creates {path}, which exists"));
                }
                fs::write(&file, text).map_err(|error| format!("{path}: {error}"))
            }
            Change::Insert { path, lines } => {
                let text = fs::read_to_string(&file).map_err(|error| format!("{path}: {error}"))?;
                fs::write(&file, inserted(path, &text, lines)?).map_err(|error| format!("{path}: {error}"))
            }
        }
    }
}

/// The text with the lines that start with `+` put between the others, which must be there once. A line that ends with
/// `…` stands for all that begin so.
fn inserted(path: &str, text: &str, lines: &[String]) -> Result<String, String> {
    let there: Vec<&str> = text.lines().collect();
    let around: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(' ')).collect();
    let same = |wanted: &str, line: &str| match wanted.strip_suffix('…') {
        Some(start) => line.starts_with(start),
        None => line == wanted,
    };
    let places: Vec<usize> = (0..there.len())
        .filter(|at| there[*at..].len() >= around.len())
        .filter(|at| around.iter().zip(&there[*at..]).all(|(wanted, line)| same(wanted, line)))
        .collect();
    let [place] = places[..] else {
        let around = around.join("\n");
        return Err(format!(
            "CONTRIBUTING.md expects this once in {path}, not {} times:\n{around}",
            places.len()
        ));
    };
    let mut result: Vec<&str> = there[..place].to_vec();
    let mut next = place;
    for line in lines {
        match line.strip_prefix('+') {
            Some(added) => result.push(added),
            None => {
                result.push(there[next]);
                next += 1;
            }
        }
    }
    result.extend(&there[next..]);
    Ok(result.join("\n") + "\n")
}

/// The changes of a section: below `#### Create` and `#### Change`, each block of code is one.
pub(super) fn changes(section: &str) -> Vec<Change> {
    let page = read(repository(), "CONTRIBUTING.md");
    let mut lines = page.lines();
    assert!(lines.any(|line| line == section), "CONTRIBUTING.md has no section {section}");
    let mut changes = Vec::new();
    let mut step = None;
    while let Some(line) = lines.next() {
        if line.starts_with("## ") {
            break;
        }
        if let Some(title) = line.strip_prefix("#### ") {
            let path = |text: &str| text.trim_matches('`').to_owned();
            step = match (title.strip_prefix("Create "), title.strip_prefix("Change ")) {
                (Some(file), _) => Some((true, path(file))),
                (_, Some(file)) => Some((false, path(file))),
                _ => panic!("CONTRIBUTING.md: a step creates or changes a file, not: {title}"),
            };
        }
        if line.starts_with("```") {
            let fence = line.trim_end_matches(char::is_alphabetic);
            let block: Vec<String> =
                lines.by_ref().take_while(|line| *line != fence).map(str::to_owned).collect();
            let (is_new, path) = step.clone().unwrap_or_else(|| panic!("{section}: a block before any step"));
            changes.push(if is_new {
                Change::Create { path, text: block.join("\n") + "\n" }
            } else {
                assert!(
                    block.iter().all(|line| line.starts_with(['+', ' '])),
                    "{path}: a block of a change shows lines with + and the lines around them"
                );
                Change::Insert { path, lines: block }
            });
        }
    }
    changes
}

#[test]
fn lines_are_inserted_where_their_surroundings_are_once() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let hunk = lines(" b\n+new\n c…");
    assert_eq!(inserted("f", "a\nb\ncd\n", &hunk).unwrap(), "a\nb\nnew\ncd\n");
    assert!(inserted("f", "a\nc\n", &hunk).unwrap_err().contains("not 0 times"));
    assert!(inserted("f", "b\nc\nb\nc\n", &hunk).unwrap_err().contains("not 2 times"));
}
