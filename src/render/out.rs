//! Standard output: the only way to it. What cannot be written is never lost silently: it ends the program.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::stop::{self, Cause};

/// Held while something is written, so that it is written as a whole. Whether writing has failed.
static OUT: Mutex<bool> = Mutex::new(false);

/// Writes a text at once.
///
/// # Errors
/// When it cannot be written, now or before; the whole program is asked to end then.
pub fn write(text: &str) -> Result<()> {
    let mut failed = OUT.lock().unwrap_or_else(PoisonError::into_inner);
    if !*failed {
        let mut out = std::io::stdout().lock();
        let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) else { return Ok(()) };
        *failed = true;
        drop(out);
        failed_to_write(&error);
    }
    // Half a line must not be followed by another one, even if there is room again.
    let cause = stop::cause().unwrap_or(Cause::ReaderGone);
    Err(cause.error(""))
}

/// Writes a text to standard error: what people may read beside an answer for programs.
///
/// # Errors
/// When it cannot be written.
pub fn write_beside(text: &str) -> Result<()> {
    let written = std::io::stderr().lock().write_all(text.as_bytes());
    written.map_err(|error| Error::cluster("could not write to standard error").because(error))
}

/// Standard error, for a prompt: it is written when nobody else writes, and never again once the terminal was put back
/// for the end of the process ([`quiet`]), so that no prompt on its way there can hide the cursor afterwards.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct Prompt;

#[cfg(unix)]
impl Write for Prompt {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _turn = OUT.lock().unwrap_or_else(PoisonError::into_inner);
        std::io::stderr().lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().lock().flush()
    }
}

#[cfg(unix)]
impl std::os::fd::AsRawFd for Prompt {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::io::stderr().as_raw_fd()
    }
}

/// The terminal on which questions are asked.
pub(super) fn prompt() -> console::Term {
    #[cfg(unix)]
    let term = console::Term::read_write_pair(std::io::stdin(), Prompt);
    #[cfg(not(unix))]
    let term = console::Term::stderr();
    term
}

/// Whether standard output is a terminal, or was one when this was asked first: one that is gone says that it is none.
pub fn is_terminal() -> bool {
    static IS_TERMINAL: OnceLock<bool> = OnceLock::new();
    *IS_TERMINAL.get_or_init(|| std::io::stdout().is_terminal())
}

/// The columns of the terminal that standard error is, if it is one.
pub(super) fn width_beside() -> Option<usize> {
    let term = console::Term::stderr();
    term.is_term().then(|| usize::from(term.size().1)).filter(|width| *width > 0)
}

/// Asks the program to end because standard output cannot be written.
pub fn failed_to_write(error: &std::io::Error) {
    let cause = match error.kind() {
        ErrorKind::BrokenPipe => Cause::ReaderGone,
        // A terminal that is gone gives EIO.
        _ if is_terminal() => Cause::HungUp,
        _ => Cause::Unwritable(error.to_string()),
    };
    stop::request(cause);
}

/// Keeps everybody else from writing. `None` if that takes too long: a terminal may be stopped, and its writer with it.
pub(super) fn quiet(patience: Duration) -> Option<MutexGuard<'static, bool>> {
    const PAUSE: Duration = Duration::from_millis(5);
    let mut left = patience;
    loop {
        match OUT.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(guard)) => return Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) if left.is_zero() => return None,
            Err(TryLockError::WouldBlock) => {
                std::thread::sleep(PAUSE);
                left = left.saturating_sub(PAUSE);
            }
        }
    }
}
