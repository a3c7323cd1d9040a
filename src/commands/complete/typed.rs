//! A command line that is still being typed, read against clap's own description of it: no list of flags is kept here.

use clap::{Arg, ArgAction, Command};

use super::super::given_kind;

/// What was typed so far, and what the cursor is at.
pub(super) struct Typed<'a> {
    /// The innermost command named.
    pub command: &'a Command,
    /// Flags given before the cursor, with their values.
    pub flags: Vec<(&'a Arg, Option<String>)>,
    /// Words before the cursor that are neither flags nor their values nor the command's name.
    pub words: Vec<String>,
    /// What the cursor is at.
    pub at: At<'a>,
}

/// What the cursor is at.
pub(super) enum At<'a> {
    /// The name of a command, which begins so.
    Command(String),
    /// A flag, which begins so.
    Flag(String),
    /// The value of a flag or of an argument.
    Value {
        arg: &'a Arg,
        /// What stands before the value in the same word, and must be repeated: `-n` of `-nshop`. Not `--output=`:
        /// kubectl's scripts put that back themselves.
        keep: String,
        start: String,
    },
    /// Nothing that is known.
    Nothing,
}

/// A word beginning with `-`, taken apart.
struct Flags<'a> {
    /// All but the last with their values.
    whole: Vec<(&'a Arg, Option<String>)>,
    /// A flag that takes a value, which is not in this word.
    waiting: Option<&'a Arg>,
    /// The flag whose value ends the word, what stands before the value and must be repeated, and the value.
    value: Option<(&'a Arg, String, String)>,
}

impl<'a> Typed<'a> {
    /// Reads `words`, of which the last is the one to complete; `root` must have been built.
    pub fn read(root: &'a Command, words: &[String]) -> Typed<'a> {
        let (last, before) = match words.split_last() {
            Some((last, before)) => (last.as_str(), before),
            None => ("", words),
        };
        let mut typed = Typed { command: root, flags: Vec::new(), words: Vec::new(), at: At::Nothing };
        let mut waiting = None;
        let mut only_words = false;
        for word in before {
            if let Some(arg) = waiting.take() {
                typed.flags.push((arg, Some(word.clone())));
            } else if only_words || !word.starts_with('-') || word == "-" {
                typed.word(word);
            } else if word == "--" {
                only_words = true;
            } else {
                let flags = typed.take_apart(word);
                typed.flags.extend(flags.whole);
                typed.flags.extend(flags.value.map(|(arg, _, value)| (arg, Some(value))));
                waiting = flags.waiting;
            }
        }
        let is_word = waiting.is_none() && (only_words || !last.starts_with('-'));
        if (is_word || typed.words.len() > 1)
            && let Some(first) = typed.words.first()
            && given_kind::is_kind_before_name(typed.command, first)
        {
            typed.words.remove(0);
        }
        typed.at = match waiting {
            Some(arg) => At::Value { arg, keep: String::new(), start: last.to_owned() },
            None if last.starts_with('-') && !only_words => match typed.take_apart(last).value {
                Some((arg, keep, start)) => At::Value { arg, keep, start },
                None => At::Flag(last.to_owned()),
            },
            None if typed.command.has_subcommands() && typed.words.is_empty() => At::Command(last.to_owned()),
            None if typed.command.has_subcommands() => At::Nothing,
            None => match typed.next_argument() {
                Some(arg) => At::Value { arg, keep: String::new(), start: last.to_owned() },
                None => At::Nothing,
            },
        };
        typed
    }

    /// Whether a flag was given before the cursor.
    pub fn has(&self, id: &str) -> bool {
        self.flags.iter().any(|(arg, _)| arg.get_id() == id)
    }

    fn word(&mut self, word: &str) {
        match self.command.find_subcommand(word).filter(|_| self.words.is_empty()) {
            Some(command) => self.command = command,
            None => self.words.push(word.to_owned()),
        }
    }

    /// The argument the next word would be.
    fn next_argument(&self) -> Option<&'a Arg> {
        let arguments: Vec<&Arg> = self.command.get_positionals().collect();
        let last = *arguments.last()?;
        let endless = matches!(last.get_action(), ArgAction::Append)
            || last.get_num_args().is_some_and(|range| range.max_values() > 1);
        arguments.get(self.words.len()).copied().or(endless.then_some(last))
    }

    fn take_apart(&self, word: &str) -> Flags<'a> {
        let command = self.command;
        let mut flags = Flags { whole: Vec::new(), waiting: None, value: None };
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let named = |arg: &&Arg| {
                arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|all| all.contains(&name))
            };
            match (command.get_arguments().find(named), value) {
                (Some(arg), Some(value)) => flags.value = Some((arg, String::new(), value.to_owned())),
                (Some(arg), None) if waits(arg) => flags.waiting = Some(arg),
                (Some(arg), None) => flags.whole.push((arg, None)),
                (None, _) => {}
            }
            return flags;
        }
        for (at, short) in word.char_indices().skip(1) {
            let Some(arg) = command.get_arguments().find(|arg| arg.get_short() == Some(short)) else { break };
            let (head, rest) = word.split_at(at + short.len_utf8());
            match rest.strip_prefix('=') {
                Some(value) => flags.value = Some((arg, String::new(), value.to_owned())),
                None if !waits(arg) => {
                    flags.whole.push((arg, None));
                    continue;
                }
                None if rest.is_empty() => flags.waiting = Some(arg),
                None => flags.value = Some((arg, head.to_owned(), rest.to_owned())),
            }
            break;
        }
        flags
    }
}

/// Whether the flag takes the next word for its value.
fn waits(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}
