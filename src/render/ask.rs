//! Questions on a terminal.

use std::io::{ErrorKind, IsTerminal};

use crate::error::{Error, Exit, Result};

/// Whether somebody is there to be asked.
pub fn somebody() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a question whose answer is no unless it is yes.
///
/// # Errors
/// When the terminal cannot be read; Ctrl-C ends the process as everywhere.
pub fn confirm(question: &str) -> Result<bool> {
    let answer = dialoguer::Confirm::new().with_prompt(question).default(false).interact_opt();
    // The prompt hides the cursor, and forgets it when it is interrupted (console-rs/dialoguer#77).
    let _ = console::Term::stderr().show_cursor();
    answer.map(|answer| answer.unwrap_or(false)).map_err(|dialoguer::Error::IO(error)| {
        if error.kind() == ErrorKind::Interrupted {
            Error::refused("interrupted; nothing was written").ending(Exit::Interrupted)
        } else {
            Error::refused("could not ask").because(error).hint("give --yes to agree beforehand")
        }
    })
}
