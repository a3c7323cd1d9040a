//! What known sentences in logs mean: `hints.yaml`, read once it is needed.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::kinds::Said;

/// What a sentence in a log means.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hint {
    /// Its name, in JSON as well.
    pub name: String,
    /// The sentences, each with `{}` for what differs; a line has to have one of them.
    pub says: Vec<String>,
    /// The cause, as what follows "the log says that".
    pub cause: String,
    /// What to do, in the imperative.
    #[serde(rename = "do")]
    pub remedy: String,
    /// What of the cluster is added to the cause: `architecture`, `old-pvc`, or nothing.
    #[serde(default)]
    pub asks: String,
    /// Where the project prints it.
    pub sources: Vec<String>,
    /// Lines as they were printed, the last of which has the sentence.
    pub example: String,
}

/// All hints, those about one application before those about any.
pub fn all() -> &'static [Hint] {
    static ALL: LazyLock<Vec<Hint>> =
        LazyLock::new(|| serde_saphyr::from_str(include_str!("hints.yaml")).unwrap_or_default());
    &ALL
}

/// The first hint in the order of the file that a line of a log fits, with the last such line.
pub(super) fn of(lines: &[Said]) -> Option<(&'static Hint, &Said)> {
    // A log that is written as JSON has quotes within its messages.
    let plain: Vec<String> = lines.iter().map(|line| line.replace("\\\"", "\"")).collect();
    all().iter().find_map(|hint| {
        let at = plain.iter().rposition(|line| hint.says.iter().any(|sentence| has(line, sentence)))?;
        Some((hint, lines.get(at)?))
    })
}

/// Whether a line has a sentence, with anything in place of each `{}`.
fn has(line: &str, sentence: &str) -> bool {
    let mut rest = Some(line);
    for part in sentence.split("{}") {
        rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, rest)| rest);
    }
    rest.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_leave_room_for_what_differs() {
        let sentence = "role {} does not exist";
        assert!(has("FATAL:  role \"a\" does not exist", sentence));
        assert!(!has("does not exist: role", sentence));
        assert!(!has("role a exists", sentence));
    }
}
