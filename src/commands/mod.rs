//! What you can type: one file a command, with its arguments and help, what it does, and what it shows.

mod abort;
mod act;
mod auth;
mod canary;
mod complete;
mod completion;
mod defaults;
mod doctor;
mod explain;
mod given_kind;
mod help;
mod hints;
mod history;
mod line;
mod logs;
mod options;
mod probe;
mod promote;
mod prune_pvcs;
mod record;
mod recover;
mod restore_pvc;
mod status;
mod trials;
mod undo;
mod version;
mod watch;

/// The end of a command's help, which the help of all commands goes on with: examples, each below a line that says what
/// for, and what the command reads and changes. A paragraph is one line: clap breaks it to the width of the terminal.
macro_rules! notes {
    ($($line:literal)*) => { concat!($($line, "\n",)*) };
}
use notes;

use clap::{Parser, Subcommand};

pub use complete::{answer, asked};
pub use hints::{tip, unknown_word};
pub use line::{definition, read};

use crate::cli::{Answer, Global, Ui, heading};
use crate::error::Result;
use hints::unknown_command;

/// Day-2 operations for StatefulSets: find out what is wrong, and fix it
#[derive(Parser, Debug)]
#[command(name = "kubectl-sts", bin_name = "kubectl sts", version, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, args_override_self = true)]
#[command(disable_help_subcommand = true, disable_help_flag = true, disable_version_flag = true)]
#[command(after_help = notes!(
    "Examples:"
    "  # Show all StatefulSets of the cluster, the worst first"
    "  kubectl sts status -A"
    ""
    "  # Find out what is wrong in a namespace, and how to fix it"
    "  kubectl sts doctor -n shop"
    ""
    "Use \"kubectl sts COMMAND --help\" for more about a command."
))]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// Print help
    #[arg(short, long, global = true, action = clap::ArgAction::Help, help_heading = heading::OUTPUT, display_order = 104)]
    help: Option<bool>,
    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version, help_heading = heading::OUTPUT, display_order = 105)]
    version: Option<bool>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What you can type.
#[derive(Subcommand, Debug)]
#[expect(missing_docs, reason = "the documentation of its arguments is the help of each")]
pub enum Command {
    Status(status::Args),
    Doctor(doctor::Args),
    Watch(watch::Args),
    History(history::Args),
    Recover(recover::Args),
    Undo(undo::Args),
    Canary(canary::Args),
    Promote(promote::Args),
    Abort(abort::Args),
    PrunePvcs(prune_pvcs::Args),
    RestorePvc(restore_pvc::Args),
    Record(record::Args),
    Explain(explain::Args),
    Auth(auth::Args),
    Completion(completion::Args),
    Version(version::Args),
    Options(options::Args),
    Help(help::Args),
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// As the command says.
    pub async fn run(&self, streams: &Ui) -> Result<Answer> {
        let warn = streams.warn;
        // Each is on the heap: together they would make the one that runs as large as the largest.
        match &self.command {
            Command::Status(args) => Box::pin(status::run(&self.global, args, streams)).await,
            Command::Watch(args) => Box::pin(watch::run(&self.global, args, streams)).await,
            Command::Recover(args) => Box::pin(recover::run(&self.global, args, streams)).await,
            Command::Undo(args) => Box::pin(undo::run(&self.global, args, streams)).await,
            Command::History(args) => Box::pin(history::run(&self.global, args, streams)).await,
            Command::Canary(args) => Box::pin(canary::run(&self.global, args, streams)).await,
            Command::Promote(args) => Box::pin(promote::run(&self.global, args, streams)).await,
            Command::Abort(args) => Box::pin(abort::run(&self.global, args, streams)).await,
            Command::Doctor(args) => Box::pin(doctor::run(&self.global, args, warn)).await,
            Command::PrunePvcs(args) => Box::pin(prune_pvcs::run(&self.global, args, streams)).await,
            Command::RestorePvc(args) => Box::pin(restore_pvc::run(&self.global, args, streams)).await,
            Command::Explain(args) => explain::run(args),
            Command::Auth(args) => Box::pin(auth::run(&self.global, args, streams)).await,
            Command::Record(args) => Box::pin(record::run(&self.global, args, warn)).await,
            Command::Completion(args) => completion::run(args),
            Command::Version(args) => version::run(&self.global, args, streams).await,
            Command::Options(args) => Ok(options::run(args)),
            Command::Help(args) => help::run(args),
        }
    }
}
