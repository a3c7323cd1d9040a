//! `help`: the same as `--help`.

use serde_json::{Value, json};

use super::{definition, notes, unknown_command};
use crate::cli::Answer;
use crate::error::{Exit, Result};
use crate::render::{Page, View};

/// Show the help of a command
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # Show the help of watch, as kubectl sts watch --help does"
    "  kubectl sts help watch"
    ""
    "Reads nothing from the cluster and changes nothing."
))]
pub struct Args {
    /// Command to show the help of; without it, all commands are listed
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<Answer> {
    let mut root = definition();
    root.build();
    let command = match &args.command {
        None => &mut root,
        Some(name) => root.find_subcommand_mut(name).ok_or_else(|| unknown_command(name))?,
    };
    let text = command.render_help().to_string();
    Ok(Answer { view: Box::new(Text(text)), exit: Exit::Good })
}

/// A text of our own, broken into lines already.
pub(super) struct Text(pub(super) String);

impl View for Text {
    fn text(&self, page: &mut Page) {
        page.raw(&self.0);
    }

    fn json(&self) -> Value {
        json!({"apiVersion": "kubectl-sts/v1", "kind": "Help", "text": self.0})
    }

    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}
