//! `kubectl sts status sts web`: the kind as a word before the names, as `kubectl get sts web` has it.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command as Definition};

use crate::cli::KIND_WORDS;

/// The ids of the arguments that take names of StatefulSets.
const NAMES: [&str; 2] = ["name", "names"];

/// The words of a command line without the kind before the names. Alone it is a name itself.
pub(super) fn dropped(definition: &Definition, words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let at = kind(definition, &words);
    if let Some(at) = at {
        words.remove(at);
    }
    words
}

/// Where the word is.
fn kind(definition: &Definition, words: &[OsString]) -> Option<usize> {
    let (name, of_command) = positional(&[definition], words, 1)?;
    let command = definition.find_subcommand(name)?;
    let (word, next) = positional(&[command, definition], words, of_command)?;
    let followed = words.get(next).and_then(|word| word.to_str()).is_some_and(|word| !word.starts_with('-'));
    (followed && is_kind_before_name(command, word.to_str()?)).then(|| next - 1)
}

/// Whether this word, before another one, is the kind and not a name.
pub(super) fn is_kind_before_name(command: &Definition, word: &str) -> bool {
    KIND_WORDS.contains(&word) && command.get_positionals().any(|arg| NAMES.contains(&arg.get_id().as_str()))
}

/// The first word from here that is neither a flag of these commands nor the value of one, and where the next one is.
fn positional<'w>(
    commands: &[&Definition],
    words: &'w [OsString],
    from: usize,
) -> Option<(&'w OsStr, usize)> {
    let mut at = from;
    loop {
        let word = words.get(at)?;
        let text = word.to_str()?;
        at += 1;
        if text == "--" {
            return None;
        }
        if !text.starts_with('-') || text == "-" {
            return Some((word, at));
        }
        if takes_next(commands, text) {
            at += 1;
        }
    }
}

/// Whether the value of a flag is the next word.
fn takes_next(commands: &[&Definition], flag: &str) -> bool {
    let takes = |is_it: &dyn Fn(&Arg) -> bool| {
        let found = commands.iter().flat_map(|command| command.get_arguments()).find(|arg| is_it(arg));
        found.is_some_and(|arg| {
            let optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
            arg.get_action().takes_values() && !optional
        })
    };
    if let Some(long) = flag.strip_prefix("--") {
        return !long.contains('=') && takes(&|arg| arg.get_long() == Some(long));
    }
    // `-An shop`: the first one that takes a value has the rest.
    let shorts: Vec<char> = flag.chars().skip(1).collect();
    let taking = shorts.iter().position(|short| takes(&|arg| arg.get_short() == Some(*short)));
    taking.is_some_and(|at| at + 1 == shorts.len())
}

#[cfg(test)]
mod tests {
    use crate::commands::definition;

    fn without(line: &str) -> String {
        let words = super::dropped(&definition(), line.split(' ').map(Into::into));
        let words: Vec<String> = words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    #[test]
    fn the_kind_before_a_name_is_dropped() {
        for (line, wanted) in [
            ("sts status sts web", "sts status web"),
            ("sts status statefulsets.apps web db", "sts status web db"),
            ("sts canary statefulset web --partition 3", "sts canary web --partition 3"),
            ("sts -n shop canary --partition 3 sts web", "sts -n shop canary --partition 3 web"),
            ("sts --context=a recover --yes sts web -n shop", "sts --context=a recover --yes web -n shop"),
            ("sts status -Ao json sts web", "sts status -Ao json web"),
        ] {
            assert_eq!(without(line), wanted);
        }
        for line in [
            "sts status sts",
            "sts status sts -n shop",
            "sts status -n sts web",
            "sts status --namespace sts web",
            "sts status -o sts web",
            "sts status web sts",
            "sts explain sts web",
            "sts restore-pvc sts web",
            "sts status -- sts web",
            "sts",
            "sts status",
            "sts nothing sts web",
        ] {
            assert_eq!(without(line), line);
        }
    }
}
