//! Completion, as kubectl asks its plugins for it: the words typed after `sts` are the arguments, the last one, which may
//! be empty, is to be completed. The answer is one candidate a line, a description after a tab, and at the end a colon
//! with Cobra's directive. Whatever goes wrong, the answer is only shorter: errors in the middle of typing help nobody.

mod live;
mod typed;

use std::ffi::OsString;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Args as _, Command, FromArgMatches, ValueHint};

use super::line::accepted;
use crate::cli::Global;
use crate::rules::{RULES, Rule};
use crate::time::std_after;
use typed::{At, Typed};

/// The name by which kubectl asks for completion.
pub(super) const HELPER: &str = "kubectl_complete-sts";
/// The same question to the program under its own name, for the scripts in `completions/`.
const ASKED: &str = "__complete";
/// Longest time from the question to the answer, credential plugins included.
const BUDGET: Duration = Duration::from_millis(900);

/// Cobra's directive, of which kubectl and the scripts in `completions/` know the bits.
#[derive(Clone, Copy)]
enum Directive {
    /// File names.
    Files = 0,
    /// Nothing but the candidates.
    Only = 4,
    /// Names of directories.
    Directories = 16,
}

/// One thing the word could become.
struct Candidate {
    value: String,
    about: Option<String>,
}

impl Candidate {
    fn new(value: impl Into<String>, about: Option<&StyledStr>) -> Candidate {
        Candidate { value: value.into(), about: about.map(ToString::to_string) }
    }

    fn plain(value: impl Into<String>) -> Candidate {
        Candidate { value: value.into(), about: None }
    }
}

/// The words to complete, if `args`, the program's own name first, ask for completion.
pub fn asked(args: impl IntoIterator<Item = OsString>) -> Option<Vec<String>> {
    let mut args = args.into_iter().map(|arg| arg.to_string_lossy().into_owned());
    let called = args.next()?;
    let name = called.rsplit(std::path::is_separator).next().unwrap_or_default();
    if name == HELPER || name.strip_suffix(std::env::consts::EXE_SUFFIX) == Some(HELPER) {
        return Some(args.collect());
    }
    (args.next()? == ASKED).then(|| args.collect())
}

/// The answer to kubectl, within a second.
pub fn answer(words: Vec<String>) -> String {
    let until = std_after(Instant::now(), BUDGET);
    let (done, wait) = mpsc::channel();
    // A thread of its own, for what cannot be interrupted: a name server, a file that is a pipe, a credential plugin.
    let started = thread::Builder::new().spawn(move || done.send(complete(&words, until)));
    let answered = started.ok().and_then(|_| wait.recv_timeout(BUDGET).ok());
    let (candidates, directive) = answered.unwrap_or((Vec::new(), Directive::Only));
    let mut text = String::new();
    for Candidate { value, about } in candidates {
        // A line break would make it two candidates, and anything else of the kind could steer the terminal.
        if value.is_empty() || value != crate::text::clean(&value) {
            continue;
        }
        text += &value;
        if let Some(about) = about.as_deref().and_then(|about| about.lines().next()) {
            text += "\t";
            text += about;
        }
        text += "\n";
    }
    text + &format!(":{}\n", directive as u8)
}

fn complete(words: &[String], until: Instant) -> (Vec<Candidate>, Directive) {
    let mut root = accepted();
    root.build();
    let typed = Typed::read(&root, words);
    match &typed.at {
        At::Nothing => (Vec::new(), Directive::Only),
        At::Command(start) => (beginning(commands(typed.command), start, ""), Directive::Only),
        At::Flag(start) => (beginning(flags(&typed), start, ""), Directive::Only),
        At::Value { arg, keep, start } => {
            let (keep, start) = match arg.get_value_delimiter().and_then(|comma| start.rfind(comma)) {
                Some(comma) => (format!("{keep}{}", &start[..=comma]), &start[comma + 1..]),
                None => (keep.clone(), start.as_str()),
            };
            let (values, directive) = values(&typed, arg, &keep, start, until);
            (beginning(values, start, &keep), directive)
        }
    }
}

/// The candidates that begin with `start`, after what stands before them in the same word.
fn beginning(mut candidates: Vec<Candidate>, start: &str, keep: &str) -> Vec<Candidate> {
    candidates.retain(|candidate| candidate.value.starts_with(start));
    for candidate in &mut candidates {
        candidate.value.insert_str(0, keep);
    }
    candidates
}

fn commands(command: &Command) -> Vec<Candidate> {
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.map(|command| Candidate::new(command.get_name(), command.get_about())).collect()
}

/// Flags not given yet, and those that may be given again.
fn flags(typed: &Typed<'_>) -> Vec<Candidate> {
    let mut flags = Vec::new();
    for arg in typed.command.get_opts().chain(typed.command.get_arguments().filter(|arg| is_switch(arg))) {
        let again = matches!(arg.get_action(), ArgAction::Append | ArgAction::Count);
        if arg.is_hide_set() || (!again && typed.has(arg.get_id().as_str())) {
            continue;
        }
        let short = arg.get_short().map(|short| format!("-{short}"));
        let long = arg.get_long().map(|long| format!("--{long}"));
        flags.extend([long, short].into_iter().flatten().map(|name| Candidate::new(name, arg.get_help())));
    }
    flags.sort_by(|a, b| a.value.cmp(&b.value));
    flags
}

fn is_switch(arg: &Arg) -> bool {
    !arg.is_positional() && !arg.get_action().takes_values()
}

/// What a flag or an argument could be.
fn values(
    typed: &Typed<'_>,
    arg: &Arg,
    keep: &str,
    start: &str,
    until: Instant,
) -> (Vec<Candidate>, Directive) {
    let possible = arg.get_possible_values();
    if !possible.is_empty() {
        let shown = possible.iter().filter(|value| !value.is_hide_set());
        let shown = shown.map(|value| Candidate::new(value.get_name(), value.get_help()));
        return (shown.collect(), Directive::Only);
    }
    match arg.get_value_hint() {
        ValueHint::AnyPath | ValueHint::FilePath | ValueHint::ExecutablePath => {
            return (Vec::new(), Directive::Files);
        }
        ValueHint::DirPath => return (Vec::new(), Directive::Directories),
        _ => {}
    }
    let named = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    if named == "COMMAND" && arg.is_positional() {
        return (commands(&accepted()), Directive::Only);
    }
    let live = |wanted| live::names(global(typed).as_ref(), wanted, until);
    let found = match (arg.get_id().as_str(), named) {
        (_, "RULE" | "CODE") => return (rules(typed, arg, keep, start), Directive::Only),
        (_, "NAMESPACE") => live(live::Wanted::Namespaces),
        ("context", _) => live(live::Wanted::Contexts),
        ("cluster", _) => live(live::Wanted::Clusters),
        ("user", _) => live(live::Wanted::Users),
        (_, "NAME") if arg.is_positional() => sets(typed, start, &live),
        _ => Vec::new(),
    };
    (found.into_iter().map(Candidate::plain).collect(), Directive::Only)
}

/// Rules that are not in the list yet: their codes, and their names once one is begun.
fn rules(typed: &Typed<'_>, arg: &Arg, keep: &str, start: &str) -> Vec<Candidate> {
    let given = typed.flags.iter().filter(|(flag, _)| flag.get_id() == arg.get_id());
    let given: Vec<&Rule> = given
        .filter_map(|(_, value)| value.as_deref())
        .chain([keep])
        .flat_map(|value| value.split(','))
        .filter_map(Rule::find)
        .collect();
    let rules = RULES.iter().filter(|rule| !given.iter().any(|given| given.code == rule.code));
    let both = rules.flat_map(|rule| [(rule.code, rule.name), (rule.name, rule.code)]);
    let wanted =
        both.filter(|(value, _)| !start.is_empty() || Rule::find(value).is_some_and(|r| r.code == *value));
    wanted
        .map(|(value, about)| Candidate { value: value.to_owned(), about: Some(about.to_owned()) })
        .collect()
}

/// Sets that were not named yet, written as they are begun: `web`, `sts/web` or `statefulset.apps/web`.
fn sets(typed: &Typed<'_>, start: &str, live: &dyn Fn(live::Wanted) -> Vec<String>) -> Vec<String> {
    let kind = start.rfind('/').map_or("", |slash| &start[..=slash]);
    let bare = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let given: Vec<String> = typed.words.iter().map(|word| bare(word)).collect();
    let wanted = if typed.has("all_namespaces") { live::Wanted::SetsOfAll } else { live::Wanted::Sets };
    live(wanted)
        .into_iter()
        .filter(|name| !given.contains(name))
        .map(|name| format!("{kind}{name}"))
        .collect()
}

/// The flags every command shares, as far as they were typed and make sense.
fn global(typed: &Typed<'_>) -> Option<Global> {
    let shared = Global::augment_args(Command::new(HELPER)).no_binary_name(true);
    let mut line: Vec<String> = Vec::new();
    for (at, (arg, value)) in typed.flags.iter().enumerate() {
        let later = || typed.flags[at + 1..].iter().any(|(later, _)| later.get_id() == arg.get_id());
        let known = shared.get_arguments().any(|own| own.get_id() == arg.get_id());
        if let (true, Some(long)) = (known, arg.get_long())
            && (matches!(arg.get_action(), ArgAction::Append) || !later())
        {
            line.push(match value {
                Some(value) => format!("--{long}={value}"),
                None => format!("--{long}"),
            });
        }
    }
    let matches = shared.ignore_errors(true).try_get_matches_from(line).ok()?;
    Global::from_arg_matches(&matches).ok()
}
