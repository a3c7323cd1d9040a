//! What you can type: one file a command, with its arguments and help, what it does, and what it shows.

mod abort;
mod act;
mod canary;
mod complete;
mod completion;
mod doctor;
mod explain;
mod history;
mod promote;
mod prune_pvcs;
mod record;
mod recover;
mod restore_pvc;
mod status;
mod undo;
mod watch;

use clap::{Parser, Subcommand};

pub use complete::{answer, asked};

use crate::cli::{Answer, Global, Ui};
use crate::error::Result;

/// The exit codes, as every command's help shows them.
const EXIT_CODES: &str = "\
Exit codes:
  0 good, 1 the answer is bad news, 2 usage, 3 the cluster or a file could not be read or changed,
  4 refused, declined or drifted, 124 timed out, 130 interrupted (143 by SIGTERM, 129 by SIGHUP),
  141 the reader of the output is gone, 101 a bug";

/// StatefulSet day-2 operations: see what is wrong, what happens next, and why
#[derive(Parser, Debug)]
#[command(name = "kubectl-sts", bin_name = "kubectl sts", version, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(args_override_self = true, after_help = EXIT_CODES)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What you can type.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Shows sets: one line each, or one set on a screen
    Status(status::Args),
    /// Follows a rollout or a scaling until it is settled or stuck
    Watch(watch::Args),
    /// Frees a set held up by a pod of an abandoned revision
    Recover(recover::Args),
    /// Puts an earlier template back and sees it through
    Undo(undo::Args),
    /// Shows the revisions of a set, and how two of them differ
    History(history::Args),
    /// Gives some pods a new template first
    Canary(canary::Args),
    /// Goes on with a canary: to the next pods, or to all
    Promote(promote::Args),
    /// Ends a canary: template, pods and partition as before
    Abort(abort::Args),
    /// Looks for what is wrong, and says what to type
    Doctor(doctor::Args),
    /// Finds claims no replica will use again, and deletes those you choose
    PrunePvcs(prune_pvcs::Args),
    /// Brings a claim back from the backup that prune-pvcs made
    RestorePvc(restore_pvc::Args),
    /// Explains a rule
    Explain(explain::Args),
    /// Writes what can be observed to a file, without secrets
    Record(record::Args),
    /// Sets up completion in the shell
    Completion(completion::Args),
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
            Command::Doctor(args) => doctor::run(&self.global, args, warn).await,
            Command::PrunePvcs(args) => Box::pin(prune_pvcs::run(&self.global, args, streams)).await,
            Command::RestorePvc(args) => Box::pin(restore_pvc::run(&self.global, args, streams)).await,
            Command::Explain(args) => explain::run(args),
            Command::Record(args) => record::run(&self.global, args, warn).await,
            Command::Completion(args) => completion::run(args),
        }
    }
}

/// `-A`, a selector and names, in a help text: what a command reads, writes, and two examples.
macro_rules! help {
    ($($line:literal)*) => {
        concat!($($line, "\n",)* "\n", "Exit codes:\n",
            "  0 good, 1 the answer is bad news, 2 usage, 3 the cluster or a file could not be read or changed,\n",
            "  4 refused, declined or drifted, 124 timed out, 130 interrupted (143 by SIGTERM, 129 by SIGHUP),\n",
            "  141 the reader of the output is gone, 101 a bug")
    };
}
use help;
