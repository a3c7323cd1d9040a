//! Questions on a terminal.

use std::io::{ErrorKind, IsTerminal};

use crate::error::{Error, Exit, Result};
use crate::text::clean;

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
    answered(answer).map(|answer| answer.unwrap_or(false))
}

/// Lets some of the items be chosen, none of which is so beforehand.
///
/// # Errors
/// As [`confirm`].
pub fn choose(question: &str, items: &[String]) -> Result<Vec<usize>> {
    let items: Vec<String> = items.iter().map(|item| clean(item)).collect();
    let answer = dialoguer::MultiSelect::new().with_prompt(question).items(&items).interact_opt();
    answered(answer).map(Option::unwrap_or_default)
}

/// Asks for a word to be typed.
///
/// # Errors
/// As [`confirm`].
pub fn typed(question: &str) -> Result<String> {
    answered(dialoguer::Input::<String>::new().with_prompt(question).allow_empty(true).interact_text())
}

fn answered<T>(answer: dialoguer::Result<T>) -> Result<T> {
    // The prompt hides the cursor, and forgets it when it is interrupted (console-rs/dialoguer#77).
    let _ = console::Term::stderr().show_cursor();
    answer.map_err(|dialoguer::Error::IO(error)| {
        if error.kind() == ErrorKind::Interrupted {
            Error::refused("interrupted; nothing was written").ending(Exit::Interrupted)
        } else {
            Error::refused("could not ask").because(error).hint("give --yes to agree beforehand")
        }
    })
}
