//! The command line as it is read and shown: clap's definition, with what the help of all commands has in common.

use std::ffi::{OsStr, OsString};

use clap::builder::{PossibleValue, PossibleValuesParser, StringValueParser, StyledStr, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command as Definition, CommandFactory as _, FromArgMatches as _, ValueEnum};

use super::{Cli, Command, defaults, given_kind};
use crate::render::Output;

/// Ends the help of every command.
const EXIT_CODES: &str = "Exit codes: 0 success, 1 a problem was found, 2 wrong usage, 3 the cluster or a file could \
    not be read or changed, 4 refused, cancelled, or the cluster changed after the plan was shown, 124 timed out, \
    130 interrupted (143 by SIGTERM, 129 by SIGHUP), 141 the reader of the output is gone, 101 a bug.";
/// Where the flags are that the help of no other command lists.
const OPTIONS: &str = "Use \"kubectl sts options\" for the connection flags.";
/// Usage first on a line of its own, as kubectl has it, so that it fits into 80 columns.
const TEMPLATE: &str =
    "{about-with-newline}\n{before-help}{usage-heading}\n  {usage}\n\n{all-args}{after-help}";

/// The id of `-o`.
pub(super) const OUTPUT: &str = "output";

/// The heading of the flags that say how to reach the cluster.
pub(super) const CONNECTION: &str = "Connection";

/// Commands that print tables.
const WITH_TABLES: [&str; 5] = ["status", "history", "prune-pvcs", "auth", "explain"];

/// Commands that need no cluster. They take the connection flags, as those of kubectl do, but do not list them.
const WITHOUT_CLUSTER: [&str; 4] = ["explain", "completion", "options", "help"];

/// The command line as it is read: flags that a command accepts although they mean nothing to it are hidden.
pub(super) fn accepted() -> Definition {
    let root = Cli::command();
    let every_output = root.get_arguments().find(|arg| arg.get_id() == OUTPUT).cloned();
    let root = root.mut_arg(OUTPUT, |arg| arg.value_parser(Formats(&Output::COMMON)));
    let every_output = every_output.map(|arg| arg.value_parser(Formats(Output::value_variants())));
    let root = root.mut_subcommand("doctor", |doctor| doctor.args(every_output));
    let shared: Vec<Arg> = root.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    root.mut_subcommands(|command| {
        let name = command.get_name().to_owned();
        let pointless = shared.iter().filter(|arg| is_pointless(&name, arg));
        // A subcommand that has the flag already does not get that of the root.
        pointless.fold(command, |command, arg| command.arg(arg.clone().hide(true)))
    })
}

/// The same, with the help as it is shown.
pub fn definition() -> Definition {
    let root = accepted().mut_subcommands(|command| {
        let usage = usage(&command);
        with_help(command, usage)
    });
    with_help(root, "kubectl sts COMMAND [flags]".to_owned())
}

/// Reads a format: one of these, or one that is made of a template.
#[derive(Clone)]
struct Formats(&'static [Output]);

impl TypedValueParser for Formats {
    type Value = Output;

    fn parse_ref(
        &self,
        command: &Definition,
        arg: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Output, clap::Error> {
        let template = StringValueParser::new().try_map(|text| Output::of_template(&text));
        if let Some(output) = template.parse_ref(command, arg, value)? {
            return Ok(output);
        }
        let values = self.0.iter().filter_map(ValueEnum::to_possible_value);
        let named = PossibleValuesParser::new(values);
        named.map(|name| Output::from_str(&name, false).unwrap_or_default()).parse_ref(command, arg, value)
    }

    // Nobody completes a template.
    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().filter_map(ValueEnum::to_possible_value)))
    }
}

/// Whether a flag of every command means nothing to this one.
fn is_pointless(command: &str, arg: &Arg) -> bool {
    let of_cluster = arg.get_help_heading() == Some(CONNECTION) || arg.get_id() == "namespace";
    match command {
        "auth" => arg.get_id() == "from",
        "version" => ["namespace", "from", "no_headers"].contains(&arg.get_id().as_str()),
        _ if arg.get_id() == "no_headers" => !WITH_TABLES.contains(&command),
        _ => WITHOUT_CLUSTER.contains(&command) && (of_cluster || arg.get_id() == "from"),
    }
}

fn with_help(command: Definition, usage: String) -> Definition {
    let mut notes = vec![command.get_after_help().map(ToString::to_string).unwrap_or_default()];
    notes.push(EXIT_CODES.to_owned());
    if !WITHOUT_CLUSTER.contains(&command.get_name()) {
        notes.push(OPTIONS.to_owned());
    }
    let notes: Vec<&str> = notes.iter().map(|note| note.trim_end()).filter(|note| !note.is_empty()).collect();
    let summary = command.get_about().map(ToString::to_string).unwrap_or_default();
    let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    let description = long.strip_prefix(&summary).unwrap_or_default().trim().to_owned();
    // With a long text clap would give each flag three lines; `-h` and `--help` are one help, as those of kubectl.
    let command = command.long_about(None::<&'static str>);
    let command = if description.is_empty() { command } else { command.before_help(description) };
    command.after_help(notes.join("\n\n")).override_usage(usage).help_template(TEMPLATE).mut_args(described)
}

/// `kubectl sts canary NAME (--partition N | --pods K|P%) [flags]`: the names first, as everybody types them.
fn usage(command: &Definition) -> String {
    let mut words = vec!["kubectl sts".to_owned(), command.get_name().to_owned()];
    let is_grouped =
        |arg: &Arg| required_groups(command).any(|group| group.get_args().any(|id| id == arg.get_id()));
    for arg in command.get_positionals().filter(|arg| !is_grouped(arg)) {
        let name = shown(arg);
        let name = if is_repeated(arg) { format!("{name}...") } else { name };
        words.push(if arg.is_required_set() { name } else { format!("[{name}]") });
    }
    for group in required_groups(command) {
        let args = group.get_args().filter_map(|id| command.get_arguments().find(|arg| arg.get_id() == id));
        words.push(format!("({})", args.map(shown).collect::<Vec<_>>().join(" | ")));
    }
    words.push("[flags]".to_owned());
    words.join(" ")
}

fn required_groups(command: &Definition) -> impl Iterator<Item = &clap::ArgGroup> {
    command.get_groups().filter(|group| group.is_required_set())
}

fn is_repeated(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
        || arg.get_num_args().is_some_and(|range| range.max_values() > 1)
}

/// `NAME`, `--full`, `--partition N`.
fn shown(arg: &Arg) -> String {
    let value = arg.get_value_names().and_then(|names| names.first()).map_or("", |name| name.as_str());
    match arg.get_long() {
        None => value.to_owned(),
        Some(long) if arg.get_action().takes_values() => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
    }
}

/// Says all that is to be said of a flag in one sentence on one line: possible values and the default belong to it.
fn described(arg: Arg) -> Arg {
    let arg = if arg.get_help_heading() == Some(CONNECTION) { arg.hide(true) } else { arg };
    if !arg.get_action().takes_values() {
        return arg;
    }
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values = arg.get_possible_values();
    let mut names: Vec<&str> =
        values.iter().filter(|value| !value.is_hide_set()).map(PossibleValue::get_name).collect();
    if arg.get_id() == OUTPUT {
        names.extend(["jsonpath=TEMPLATE", "custom-columns=COLUMNS"]);
    }
    let is_switch = names == ["true", "false"];
    if let ([head @ .., last], false) = (&names[..], is_switch) {
        help += &format!(": {} or {last}", head.join(", "));
    }
    if let ([default], false) = (arg.get_default_values(), is_switch) {
        let variable = defaults::variable(&arg).map_or_else(String::new, |name| format!(", or {name}"));
        help += &format!(" (default: {}{variable})", default.to_string_lossy());
    }
    arg.help(StyledStr::from(help)).hide_possible_values(true).hide_default_value(true)
}

/// Reads a command line, the program's own name first.
///
/// # Errors
/// When it is none, and where it asks for the help or the version, which clap answers.
pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut definition = definition();
    let words = given_kind::dropped(&definition, words);
    let mut matches = definition.try_get_matches_from_mut(words.clone())?;
    if let Some(mut changed) =
        defaults::with_defaults(&mut definition, &matches, |name| std::env::var_os(name))?
    {
        matches = changed.try_get_matches_from_mut(words)?;
    }
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))?;
    let name = matches.subcommand_name().unwrap_or_default();
    if !cli.global.from.is_empty() && !cli.command.takes_files() {
        let command = definition.find_subcommand(name).cloned().unwrap_or_default();
        let mut command = command.bin_name(["kubectl sts", name].join(" "));
        let text = format!("--from has no meaning for {name}, which reads nothing from files");
        return Err(command.error(ErrorKind::UnknownArgument, text));
    }
    Ok(cli)
}

impl Command {
    /// Whether the command reads a cluster, or files instead of one.
    fn takes_files(&self) -> bool {
        !matches!(
            self,
            Command::Explain(_)
                | Command::Auth(_)
                | Command::Completion(_)
                | Command::Version(_)
                | Command::Options(_)
                | Command::Help(_)
        )
    }
}
