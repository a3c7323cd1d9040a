//! An error on a terminal: its lines broken between words, and commands to paste never.

use super::fit::{width, wrap_from};
use crate::error::Error;

/// How causes begin.
const BECAUSE: &str = "  because ";
/// Before a command to paste.
const COMMAND: &str = ": kubectl ";
/// In front of a command on a line of its own.
const INDENT: &str = "    ";

/// The error, its causes and its hint, fitted to the width where there is one.
pub fn failure(error: &Error, room: Option<usize>) -> String {
    let text = error.to_string();
    match room {
        Some(room) => text.lines().flat_map(|line| fitted(line, room)).collect::<Vec<_>>().join("\n"),
        None => text,
    }
}

fn fitted(line: &str, room: usize) -> Vec<String> {
    if width(line) <= room || line.trim_start().starts_with("kubectl ") {
        return vec![line.to_owned()];
    }
    let (prose, command) = match line.find(COMMAND) {
        Some(at) => (&line[..=at], Some(&line[at + 2..])),
        None => (line, None),
    };
    let start = prose.len() - prose.trim_start().len();
    let indent = if prose.starts_with(BECAUSE) { BECAUSE.len() } else { start + 2 };
    let first = room.saturating_sub(start);
    let mut lines: Vec<String> = wrap_from(&prose[start..], first, room.saturating_sub(indent))
        .into_iter()
        .enumerate()
        .map(|(number, text)| format!("{}{text}", " ".repeat(if number == 0 { start } else { indent })))
        .collect();
    if let Some(command) = command {
        match lines.last_mut() {
            Some(last) if width(last) + 1 + width(command) <= room => {
                last.push(' ');
                last.push_str(command);
            }
            _ => lines.push(format!("{INDENT}{command}")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_broken_and_commands_have_a_line_of_their_own() {
        let error = Error::cluster(
            "no StatefulSet \"postgers\" in the files given by this long command line",
        )
        .because("it is not there, and neither is anything of a name that is near to it")
        .hint("there is postgres; list them with: kubectl sts status --from docs/recordings/postgres.yaml");
        assert_eq!(
            failure(&error, Some(44)),
            "error: no StatefulSet \"postgers\" in the\n  files given by this long command line\n  \
             because it is not there, and neither is\n          anything of a name that is near to\n          it\n  \
             there is postgres; list them with:\n    kubectl sts status --from docs/recordings/postgres.yaml"
        );
        assert_eq!(failure(&error, None), error.to_string());
        assert_eq!(failure(&error, Some(200)), error.to_string());
    }
}
