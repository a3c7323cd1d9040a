//! Why the program is to end before its work is done: a signal, or an output that cannot be written. It is said once, from
//! any thread, and everything that waits hears it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::error::{Error, Exit};

/// What wants the program to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Ctrl-C (SIGINT).
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// SIGHUP: the terminal was closed.
    HungUp,
    /// Standard output is a pipe, and its reader is gone.
    ReaderGone,
    /// Standard output cannot be written; the system's reason.
    Unwritable(String),
}

impl Cause {
    /// Whether it came from outside, and not from what was written.
    pub fn is_signal(&self) -> bool {
        matches!(self, Cause::Interrupted | Cause::Terminated | Cause::HungUp)
    }

    /// How the process ends because of it.
    pub fn exit(&self) -> Exit {
        match self {
            Cause::Interrupted => Exit::Interrupted,
            Cause::Terminated => Exit::Terminated,
            Cause::HungUp => Exit::HungUp,
            Cause::ReaderGone => Exit::ReaderGone,
            Cause::Unwritable(_) => Exit::Cluster,
        }
    }

    /// What happened, as the beginning of a sentence.
    pub fn text(&self) -> &'static str {
        match self {
            Cause::Interrupted => "interrupted",
            Cause::Terminated => "terminated (SIGTERM)",
            Cause::HungUp => "the terminal was closed (SIGHUP)",
            Cause::ReaderGone => "the reader of standard output is gone",
            Cause::Unwritable(_) => "could not write to standard output",
        }
    }

    /// As an error, with what became of the work.
    pub fn error(&self, work: &str) -> Error {
        let what = if work.is_empty() { self.text().to_owned() } else { format!("{}; {work}", self.text()) };
        let error = Error::refused(what).ending(self.exit());
        match self {
            Cause::Unwritable(why) => error.because(why),
            _ => error,
        }
    }
}

struct State {
    cause: Option<Cause>,
    acting: usize,
    /// How much of what only reads ends by itself when it is asked to, with a last word.
    attending: usize,
    acted: bool,
    answered: bool,
    unfinished: Vec<PathBuf>,
}

static STATE: Mutex<State> = Mutex::new(State {
    cause: None,
    acting: 0,
    attending: 0,
    acted: false,
    answered: false,
    unfinished: Vec::new(),
});
static CHANGED: Notify = Notify::const_new();

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks the program to end. The first cause counts, but a signal before an output that cannot be written: with Ctrl-C the
/// reader of the output mostly ends too.
pub fn request(cause: Cause) {
    let mut state = state();
    let is_known = state.cause.as_ref().is_some_and(Cause::is_signal);
    if state.cause.is_none() || (cause.is_signal() && !is_known) {
        state.cause = Some(cause);
    }
    drop(state);
    CHANGED.notify_waiters();
}

/// Why it is to end, if it is.
pub fn cause() -> Option<Cause> {
    state().cause.clone()
}

/// The exit code of what was interrupted.
pub fn exit() -> Exit {
    cause().map_or(Exit::Interrupted, |cause| cause.exit())
}

/// Something is being done from now on that must not end half way.
pub(crate) fn begin_acting() {
    let mut state = state();
    state.acting = state.acting.saturating_add(1);
    state.acted = true;
}

/// It is not any more.
pub(crate) fn end_acting() {
    let mut state = state();
    state.acting = state.acting.saturating_sub(1);
    drop(state);
    CHANGED.notify_waiters();
}

/// Something is only looked at from now on, and says how things stand when it is asked to end.
pub(crate) fn begin_attending() {
    let mut state = state();
    state.attending = state.attending.saturating_add(1);
}

/// No longer.
pub(crate) fn end_attending() {
    let mut state = state();
    state.attending = state.attending.saturating_sub(1);
    drop(state);
    CHANGED.notify_waiters();
}

/// Whether something is being done that ends by itself when asked to.
pub fn ends_by_itself() -> bool {
    let state = state();
    state.acting > 0 || state.attending > 0
}

/// Whether anything was done, so that there is something to account for.
pub fn has_acted() -> bool {
    state().acted
}

/// The answer is there, and only has to be shown: whoever asks for an end now is asked to wait for that.
pub fn answered() {
    state().answered = true;
}

/// Wakes when something of this module changes. Take it before looking, or the change in between is missed.
pub fn changed() -> tokio::sync::futures::Notified<'static> {
    CHANGED.notified()
}

/// Holds everything back that could begin now, if the process may end at once: nothing is being done and no answer is on
/// its way. With `force` in any case.
pub fn hold(force: bool) -> Option<Held> {
    let state = state();
    (force || (state.acting == 0 && !state.answered)).then_some(Held(state))
}

/// See [`hold`].
pub struct Held(MutexGuard<'static, State>);

impl Held {
    /// Why the process is to end.
    pub fn cause(&self) -> Cause {
        self.0.cause.clone().unwrap_or(Cause::Interrupted)
    }

    /// Whether anything was done.
    pub fn has_acted(&self) -> bool {
        self.0.acted
    }

    /// Removes the files that are not finished.
    pub fn clean_up(&self) {
        for path in &self.0.unfinished {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A file that is not finished, and must not be left behind. It is removed when this value is dropped, or when the process
/// ends by a signal.
#[derive(Debug)]
pub struct Unfinished(PathBuf);

impl Unfinished {
    /// Registers a file before it is made.
    pub fn new(path: &Path) -> Unfinished {
        state().unfinished.push(path.to_owned());
        Unfinished(path.to_owned())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut state = state();
        let _ = std::fs::remove_file(&self.0);
        state.unfinished.retain(|path| *path != self.0);
    }
}
