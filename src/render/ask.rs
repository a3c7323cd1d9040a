//! Questions on a terminal.

use std::io::{ErrorKind, IsTerminal};
use std::time::Duration;

use crate::error::{Error, Exit, Result};
use crate::text::clean;

/// Whether somebody is there to be asked.
pub fn somebody() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// For how long keys are taken as meant for what stood there before.
const LEFTOVER: Duration = Duration::from_millis(300);

/// Forgets keys that were pressed before the question was there to be read: an Enter after the last answer, or a key held
/// too long. The answer to one plan must not become the answer to the next.
fn forget_keys() {
    std::thread::sleep(LEFTOVER);
    #[cfg(unix)]
    let _ = rustix::termios::tcflush(std::io::stdin(), rustix::termios::QueueSelector::IFlush);
}

/// Asks a question whose answer is no unless it is yes.
///
/// # Errors
/// When the terminal cannot be read; Ctrl-C ends the process as everywhere.
pub fn confirm(question: &str) -> Result<bool> {
    forget_keys();
    let answer = dialoguer::Confirm::new().with_prompt(question).default(false).interact_opt();
    answered(answer).map(|answer| answer.unwrap_or(false))
}

/// Lets some of the items be chosen, none of which is so beforehand.
///
/// # Errors
/// As [`confirm`].
pub fn choose(question: &str, items: &[String]) -> Result<Vec<usize>> {
    let items: Vec<String> = items.iter().map(|item| clean(item)).collect();
    forget_keys();
    let answer = dialoguer::MultiSelect::new().with_prompt(question).items(&items).interact_opt();
    answered(answer).map(Option::unwrap_or_default)
}

/// Asks for a word to be typed.
///
/// # Errors
/// As [`confirm`].
pub fn typed(question: &str) -> Result<String> {
    forget_keys();
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
