//! `options`: the connection flags, which the help of no other command lists.

use clap::{Args as _, Command};

use super::help::Text;
use super::line::CONNECTION;
use super::notes;
use crate::cli::Answer;
use crate::cluster::connect::ConnectArgs;
use crate::error::Exit;

/// List the connection flags, which all commands accept
///
/// They mean the same as in kubectl, and can be given before or after the command.
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # List the connection flags"
    "  kubectl sts options"
    ""
    "  # Use another context, and another user's permissions"
    "  kubectl sts status --context staging --as alice"
    ""
    "Reads nothing from the cluster and changes nothing."
))]
pub struct Args {}

pub(super) fn run(_: &Args) -> Answer {
    let flags =
        ConnectArgs::augment_args(Command::new("options").disable_help_flag(true).max_term_width(100));
    let flags = flags.mut_args(|arg| match arg.get_help_heading() {
        Some(CONNECTION) => arg.hide_short_help(false).help_heading(None::<&'static str>),
        _ => arg,
    });
    // What stands before and after is wrapped, and the template is not.
    let mut flags = flags
        .before_help("All commands that use a cluster accept these flags, before or after the command:")
        .after_help("Use \"kubectl sts COMMAND --help\" for the flags of a command.")
        .help_template("{before-help}{options}{after-help}");
    let text = flags.render_help().to_string() + "\n";
    Answer { view: Box::new(Text(text)), exit: Exit::Good }
}
