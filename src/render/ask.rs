//! Questions on a terminal.

use std::io::{ErrorKind, IsTerminal};
use std::time::Duration;

use super::out;
use super::terminal::{Asking, unchanged};
use crate::error::{Error, Result};
use crate::stop::{self, Cause};
use crate::text::clean;

/// Whether somebody is there to be asked.
pub fn somebody() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// How long a signal may take to be heard.
const HEARD: Duration = Duration::from_secs(1);

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
/// When the terminal cannot be read; Ctrl-C and signals end the process as everywhere, and the terminal is as before.
pub fn confirm(question: &str) -> Result<bool> {
    let asking = asking()?;
    let answer =
        dialoguer::Confirm::new().with_prompt(clean(question)).default(false).interact_on_opt(&out::prompt());
    answered(asking, answer).map(|answer| answer.unwrap_or(false))
}

/// Lets some of the items be chosen, none of which is so beforehand.
///
/// # Errors
/// As [`confirm`].
pub fn choose(question: &str, items: &[String]) -> Result<Vec<usize>> {
    let items: Vec<String> = items.iter().map(|item| clean(item)).collect();
    let asking = asking()?;
    let answer = dialoguer::MultiSelect::new()
        .with_prompt(clean(question))
        .items(&items)
        .interact_on_opt(&out::prompt());
    answered(asking, answer).map(Option::unwrap_or_default)
}

/// Asks for a word to be typed.
///
/// # Errors
/// As [`confirm`].
pub fn typed(question: &str) -> Result<String> {
    let asking = asking()?;
    let answer = dialoguer::Input::<String>::new()
        .with_prompt(clean(question))
        .allow_empty(true)
        .interact_text_on(&out::prompt());
    answered(asking, answer)
}

/// From now on the terminal is put back however this ends.
fn asking() -> Result<Asking> {
    let asking = Asking::begin()?;
    forget_keys();
    Ok(asking)
}

fn answered<T>(asking: Asking, answer: dialoguer::Result<T>) -> Result<T> {
    answer.map_err(|dialoguer::Error::IO(error)| {
        // Ctrl-C and a terminal that is closed are signals too, and whoever hears them ends the process; a prompt only fails.
        std::thread::sleep(HEARD);
        drop(asking);
        let cause = match error.kind() {
            _ if !somebody() => Some(Cause::HungUp),
            ErrorKind::Interrupted => Some(Cause::Interrupted),
            _ => None,
        };
        let Some(cause) = cause else {
            return Error::refused("could not read the answer from the terminal")
                .because(error)
                .hint("use --yes to skip the question");
        };
        stop::request(cause.clone());
        stop::cause().unwrap_or(cause).error(unchanged(stop::has_acted()))
    })
}
