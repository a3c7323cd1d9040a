//! Completion, as kubectl asks its plugins for it: the words typed after `sts` are the arguments, the last one, which may
//! be empty, is to be completed. The answer is one candidate a line, a description after a tab, and at the end a colon
//! with Cobra's directive. Whatever goes wrong, the answer is only shorter: errors in the middle of typing help nobody.

mod live;
mod of_set;
mod typed;

use std::ffi::OsString;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Args as _, Command, FromArgMatches, ValueHint};

use super::line::{OUTPUT, accepted};
use crate::cli::{Global, bare};
use crate::rules::{RULES, Rule};
use crate::text::one_line;
use crate::time::std_after;
use crate::words::parse_duration;
use live::{Listing, Source};
use typed::{At, Typed};

/// The name by which kubectl asks for completion.
pub(super) const HELPER: &str = "kubectl_complete-sts";
/// The same question to the program under its own name, for the scripts in `completions/`.
const ASKED: &str = "__complete";
/// How long the API server is waited for.
const PATIENCE: Duration = Duration::from_millis(300);
/// Says how long instead, for API servers far away.
const PATIENCE_VARIABLE: &str = "KUBECTL_STS_COMPLETION_TIMEOUT";
/// The longest time that it can say.
const LONGEST: Duration = Duration::from_secs(10);
/// How long a credential plugin, and files, may take besides.
const CREDENTIALS: Duration = Duration::from_millis(600);
/// A description is not longer: a screen shows no more of it.
const DESCRIPTION: usize = 100;

/// Cobra's directive, of which kubectl and the scripts in `completions/` know the bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Directive(u8);

impl Directive {
    /// File names.
    const FILES: Directive = Directive(0);
    /// Nothing but the candidates.
    const ONLY: Directive = Directive(4);
    /// Names of directories.
    const DIRECTORIES: Directive = Directive(16);
    /// Nothing but the candidates, in the order in which they are given.
    const IN_ORDER: Directive = Directive(4 | 32);
    /// No space after the candidate, as the value goes on.
    const NO_SPACE: u8 = 2;
}

/// One thing the word could become.
struct Candidate {
    value: String,
    about: Option<String>,
}

impl Candidate {
    fn new(value: impl Into<String>, about: Option<&StyledStr>) -> Candidate {
        Candidate {
            value: value.into(),
            about: about.map(|about| about.to_string().lines().next().unwrap_or_default().to_owned()),
        }
    }

    fn with(value: impl Into<String>, about: impl Into<String>) -> Candidate {
        Candidate { value: value.into(), about: Some(about.into()) }
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

/// How long the API server is waited for. In the middle of typing there is nobody to tell what is wrong with the variable.
fn patience() -> Duration {
    let said = std::env::var(PATIENCE_VARIABLE).ok().and_then(|said| parse_duration(&said).ok());
    said.map_or(PATIENCE, |said| said.min(LONGEST))
}

/// The answer to kubectl, within a second unless somebody asked for more.
pub fn answer(words: Vec<String>) -> String {
    let patience = patience();
    // In `--flag=VALUE` it would make kubectl's script for fish fail, which takes the flag for one of its own.
    let is_in_flag = words.last().is_some_and(|word| word.starts_with('-') && word.contains('='));
    let budget = CREDENTIALS.saturating_add(patience);
    let until = std_after(Instant::now(), budget);
    let (done, wait) = mpsc::channel();
    // A thread of its own, for what cannot be interrupted: a name server, a file that is a pipe.
    let started = thread::Builder::new().spawn(move || done.send(complete(&words, patience, until)));
    // A little longer, so that a plugin that hangs is ended first.
    let answered = started.ok().and_then(|_| wait.recv_timeout(budget.saturating_add(budget / 20)).ok());
    let (mut candidates, mut directive) = answered.unwrap_or((Vec::new(), Directive::ONLY));
    // A line break would make it two candidates, and anything else of the kind could steer the terminal.
    candidates.retain(|it| !it.value.is_empty() && it.value == crate::text::clean(&it.value));
    if !candidates.is_empty()
        && !is_in_flag
        && candidates.iter().all(|it| it.value.ends_with('=') || it.value.ends_with(".."))
    {
        directive.0 |= Directive::NO_SPACE;
    }
    let mut text = String::new();
    for Candidate { value, about } in candidates {
        text += &value;
        if let Some(about) = about.map(|about| one_line(&about, DESCRIPTION))
            && !about.is_empty()
        {
            text += "\t";
            text += &about;
        }
        text += "\n";
    }
    text + &format!(":{}\n", directive.0)
}

/// Whether the text can be the name of an object. What an API server answers is pasted into a command line: a name that a
/// shell would read otherwise is none.
fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':'))
}

fn complete(words: &[String], patience: Duration, until: Instant) -> (Vec<Candidate>, Directive) {
    let mut root = accepted();
    root.build();
    let typed = Typed::read(&root, words);
    match &typed.at {
        At::Nothing => (Vec::new(), Directive::ONLY),
        At::Command(start) => (beginning(commands(typed.command), start, ""), Directive::ONLY),
        At::Flag(start) => (beginning(flags(&typed), start, ""), Directive::ONLY),
        At::Value { arg, keep, start } => {
            let (keep, start) = match arg.get_value_delimiter().and_then(|comma| start.rfind(comma)) {
                Some(comma) => (format!("{keep}{}", &start[..=comma]), &start[comma + 1..]),
                None => (keep.clone(), start.as_str()),
            };
            let question = Question { typed: &typed, arg, keep: &keep, start, patience, until };
            let (values, directive) = question.values();
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

/// The value of a flag or an argument that is asked for.
struct Question<'q> {
    typed: &'q Typed<'q>,
    arg: &'q Arg,
    /// What stands before the value in the same word.
    keep: &'q str,
    /// How the value begins.
    start: &'q str,
    patience: Duration,
    until: Instant,
}

impl Question<'_> {
    /// What it could be.
    fn values(&self) -> (Vec<Candidate>, Directive) {
        let possible = self.arg.get_possible_values();
        if !possible.is_empty() {
            let shown = possible.iter().filter(|value| !value.is_hide_set());
            let shown = shown.map(|value| Candidate::new(value.get_name(), value.get_help()));
            let templates = TEMPLATES.iter().filter(|_| self.arg.get_id() == OUTPUT);
            return (
                shown.chain(templates.map(|(value, about)| Candidate::with(*value, *about))).collect(),
                Directive::ONLY,
            );
        }
        match self.arg.get_value_hint() {
            ValueHint::AnyPath | ValueHint::FilePath | ValueHint::ExecutablePath => {
                return (Vec::new(), Directive::FILES);
            }
            ValueHint::DirPath => return (Vec::new(), Directive::DIRECTORIES),
            _ => {}
        }
        let named =
            self.arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
        if named == "COMMAND" && self.arg.is_positional() {
            return (commands(&accepted()), Directive::ONLY);
        }
        if matches!(named, "RULE" | "CODE") {
            return (self.rules(), Directive::ONLY);
        }
        let Some(global) = global(self.typed) else { return (Vec::new(), Directive::ONLY) };
        let source = Source::new(&global, self.patience, self.until);
        match self.arg.get_id().as_str() {
            "to_revision" | "diff" | "image" | "partition" | "steps" | "pods" => {
                (self.of_set(&source).unwrap_or_default(), Directive::IN_ORDER)
            }
            id => (self.named(&source, id, named), Directive::ONLY),
        }
    }

    /// Names of objects.
    fn named(&self, source: &Source<'_>, id: &str, named: &str) -> Vec<Candidate> {
        let kubeconfig = |choose| source.kubeconfig(choose).into_iter().map(Candidate::plain).collect();
        let listed = |listing| -> Vec<Candidate> {
            let rows = source.rows(listing).into_iter().filter(|row| is_name(&row.name));
            rows.map(|row| Candidate::with(row.name, row.state)).collect()
        };
        match (id, named) {
            ("context", _) => kubeconfig(|names| names.contexts),
            ("cluster", _) => kubeconfig(|names| names.clusters),
            ("user", _) => kubeconfig(|names| names.users),
            ("from_pod", _) => listed(Listing::Pods),
            ("snapshot", _) => listed(Listing::SnapshotClasses),
            ("include_zero", _) => {
                let mut zero = listed(self.sets());
                // A file does not say how many are ready.
                zero.retain(|set| matches!(set.about.as_deref(), Some("0/0" | "")));
                with_ready(zero)
            }
            (_, "NAMESPACE") => {
                let mut namespaces = listed(Listing::Namespaces);
                for namespace in &mut namespaces {
                    namespace.about = namespace.about.take().filter(|phase| phase != "Active");
                }
                namespaces
            }
            (_, "NAME") if self.arg.is_positional() => self.sets_not_named(with_ready(listed(self.sets()))),
            _ => Vec::new(),
        }
    }

    /// The list of StatefulSets that are meant.
    fn sets(&self) -> Listing {
        if self.typed.has("all_namespaces") { Listing::SetsOfAll } else { Listing::Sets }
    }

    /// Those that were not named yet, written as they are begun: `web`, `sts/web` or `statefulset.apps/web`.
    fn sets_not_named(&self, found: Vec<Candidate>) -> Vec<Candidate> {
        let kind = self.start.rfind('/').map_or("", |slash| &self.start[..=slash]);
        let given: Vec<&str> = self.typed.words.iter().map(|word| bare(word).unwrap_or(word)).collect();
        let left = found.into_iter().filter(|set| !given.contains(&set.value.as_str()));
        left.map(|set| Candidate { value: format!("{kind}{}", set.value), ..set }).collect()
    }

    /// Values that depend on the one StatefulSet that is named.
    fn of_set(&self, source: &Source<'_>) -> Option<Vec<Candidate>> {
        let name = self.typed.words.first().and_then(|name| bare(name).ok()).filter(|name| is_name(name))?;
        let set = || source.set(name);
        let is_promotion = self.typed.command.get_name() == "promote";
        Some(match self.arg.get_id().as_str() {
            id @ ("to_revision" | "diff") => {
                let (revisions, set) = source.revisions(name);
                let values = if id == "diff" { of_set::pairs } else { of_set::revisions };
                let mut values = values(&revisions, set.as_ref(), self.start);
                values.retain(|it| is_name(&it.value));
                values
            }
            // Of CONTAINER=IMAGE only the container is known.
            "image" if self.start.contains('=') => Vec::new(),
            "image" => {
                let set = set()?;
                let is_own = |arg: &Arg| arg.get_id() == self.arg.get_id();
                let given = self.typed.flags.iter().filter(|(arg, _)| is_own(arg));
                let given: Vec<&str> = given.filter_map(|(_, value)| value.as_deref()).collect();
                of_set::containers(&set, &given)
            }
            "pods" => of_set::shares(&set()?),
            "partition" if is_promotion => {
                let set = set()?;
                of_set::partitions(&set, set.partition())
            }
            "partition" => of_set::partitions(&set()?, i32::MAX),
            "steps" => of_set::partitions(&set()?, self.last_step()),
            _ => Vec::new(),
        })
    }

    /// The last partition before the cursor: the next one is lower.
    fn last_step(&self) -> i32 {
        let last = self.keep.trim_end_matches(',').rsplit([',', '=']).next();
        last.and_then(|last| last.parse().ok()).unwrap_or(i32::MAX)
    }

    /// Rules that are not in the list yet: their codes, and their names once one is begun.
    fn rules(&self) -> Vec<Candidate> {
        let given = self.typed.flags.iter().filter(|(flag, _)| flag.get_id() == self.arg.get_id());
        let given: Vec<&Rule> = given
            .filter_map(|(_, value)| value.as_deref())
            .chain([self.keep])
            .flat_map(|value| value.split(','))
            .filter_map(Rule::find)
            .collect();
        let rules = RULES.iter().filter(|rule| !given.iter().any(|given| given.code == rule.code));
        rules
            .flat_map(|rule| {
                let title = rule.explanation().title;
                let code = Candidate::with(rule.code, format!("{}: {title}", rule.name));
                let name = Candidate::with(rule.name, format!("{}: {title}", rule.code));
                [Some(code), (!self.start.is_empty()).then_some(name)]
            })
            .flatten()
            .collect()
    }
}

/// Formats that go on with a template.
const TEMPLATES: [(&str, &str); 4] = [
    ("jsonpath=", "Fields of the JSON, by a template"),
    ("jsonpath-file=", "The same, with the template in a file"),
    ("custom-columns=", "A table of fields of the JSON"),
    ("custom-columns-file=", "The same, with the columns in a file"),
];

/// How many replicas are ready, said in words.
fn with_ready(sets: Vec<Candidate>) -> Vec<Candidate> {
    let said = |ready: String| if ready.is_empty() { ready } else { format!("{ready} ready") };
    sets.into_iter().map(|set| Candidate { about: set.about.map(said), ..set }).collect()
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
