//! What is changed of the terminal, and how it is put back, however the program ends.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[cfg(unix)]
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use super::out;
use crate::error::Result;
use crate::stop;
use crate::text::clean;

/// How long a prompt may take from showing its question to waiting for a key.
const PROMPT: Duration = Duration::from_millis(50);

/// How long somebody else may be writing before the terminal is put back in spite of it.
const PATIENCE: Duration = Duration::from_millis(200);

/// A frame is redrawn in place on standard output, with the cursor hidden.
static SCREEN: AtomicBool = AtomicBool::new(false);
/// A line on standard error says what is being done.
static SPINNER: AtomicBool = AtomicBool::new(false);
/// What is on the screen has to be drawn again from the start.
static STALE: AtomicBool = AtomicBool::new(false);
/// A question stands on standard error; with the modes of the terminal before it.
static QUESTION: Mutex<Option<Modes>> = Mutex::new(None);

/// The modes of the terminal before a frame was drawn.
static AUDIBLE: Mutex<Option<Modes>> = Mutex::new(None);

#[cfg(unix)]
type Modes = Option<Termios>;
#[cfg(not(unix))]
type Modes = ();

fn question() -> MutexGuard<'static, Option<Modes>> {
    QUESTION.lock().unwrap_or_else(PoisonError::into_inner)
}

fn audible() -> MutexGuard<'static, Option<Modes>> {
    AUDIBLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the terminal not show what is typed, as an Enter after the answer to a question: it would move a frame that is redrawn
/// in place. A process in the background is stopped if it changes the modes, so there nothing is done.
#[cfg(unix)]
fn hush() {
    if !is_in_front() {
        return;
    }
    let mut audible = audible();
    let Some(mut quiet) = audible.get_or_insert_with(modes).clone() else { return };
    quiet.local_modes.remove(LocalModes::ECHO);
    set_modes(&Some(quiet));
}

#[cfg(not(unix))]
fn hush() {}

/// Ends [`hush`].
fn unhush(audible: Option<&Modes>) {
    if let Some(before) = audible.filter(|_| is_in_front()) {
        set_modes(before);
    }
}

/// Whether the terminal is this process's, and not that of another job of the shell.
#[cfg(unix)]
fn is_in_front() -> bool {
    tcgetpgrp(std::io::stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(not(unix))]
fn is_in_front() -> bool {
    false
}

#[cfg(unix)]
fn modes() -> Modes {
    tcgetattr(std::io::stdin()).ok()
}

#[cfg(unix)]
fn set_modes(modes: &Modes) {
    if let Some(modes) = modes {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, modes);
    }
}

#[cfg(not(unix))]
fn modes() -> Modes {}

#[cfg(not(unix))]
fn set_modes((): &Modes) {}

/// The cursor is hidden and a frame redrawn, until this is dropped.
pub(super) struct Screen(());

impl Screen {
    pub(super) fn begin() -> Screen {
        SCREEN.store(true, Ordering::SeqCst);
        hush();
        let _ = out::write("\x1b[?25l");
        Screen(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Of Ctrl-C its echo would stand before the next line.
        let echo = if stop::cause().is_some() { "\r\x1b[K" } else { "" };
        // The terminal throws away what it has not shown yet when Ctrl-C is pressed, also the end of a frame.
        let _ = out::write(&format!("{echo}\x1b[?2026l\x1b[?25h"));
        unhush(audible().take().as_ref());
        SCREEN.store(false, Ordering::SeqCst);
    }
}

/// Whether the frame has to be drawn again from the start, as after Ctrl-Z and `fg`. True once.
pub(super) fn is_stale() -> bool {
    STALE.swap(false, Ordering::SeqCst)
}

/// A spinner is shown until this is dropped.
#[derive(Debug)]
pub(super) struct Spinning(());

impl Spinning {
    pub(super) fn begin() -> Spinning {
        SPINNER.store(true, Ordering::SeqCst);
        Spinning(())
    }
}

impl Drop for Spinning {
    fn drop(&mut self) {
        SPINNER.store(false, Ordering::SeqCst);
    }
}

/// A question is asked until this is dropped, and the terminal is as before then.
pub(super) struct Asking(());

impl Asking {
    /// # Errors
    /// When the program was asked to end meanwhile: then nothing is to be asked.
    pub(super) fn begin() -> Result<Asking> {
        *question() = Some(modes());
        let asking = Asking(());
        match stop::cause() {
            Some(cause) => Err(cause.error(unchanged(stop::has_acted()))),
            None => Ok(asking),
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if let Some(before) = question().take() {
            set_modes(&before);
            // The prompt hides the cursor, and forgets it when it is interrupted (console-rs/dialoguer#77).
            let _ = std::io::stderr().write_all(b"\x1b[?25h");
        }
    }
}

/// Whether a question stands on the screen.
pub fn is_asking() -> bool {
    question().is_some()
}

/// What to say of the work when a question is not answered.
pub fn unchanged(has_acted: bool) -> &'static str {
    if has_acted { "nothing more was changed" } else { "nothing was changed" }
}

/// Puts the terminal back: cursor, colours, modes. It may be called from any thread and at any time, and does nothing
/// where nothing was changed. As long as the answer is kept nobody else draws.
pub fn restore() -> Restored {
    let quiet = out::quiet(PATIENCE);
    if SCREEN.load(Ordering::SeqCst) {
        // Not through the buffer of the standard library, which may be locked by the thread that failed.
        raw_write(&std::io::stdout(), b"\r\x1b[K\x1b[?2026l\x1b[0m\x1b[?25h");
    }
    if SPINNER.load(Ordering::SeqCst) {
        raw_write(&std::io::stderr(), b"\r\x1b[K");
    }
    let mut now = None;
    if let Some(before) = question().as_ref() {
        now = Some(modes());
        set_modes(before);
        raw_write(&std::io::stderr(), b"\x1b[0m\x1b[?25h\r\n");
    }
    unhush(audible().as_ref());
    Restored { now, _quiet: quiet }
}

/// Puts the modes back once more before the process ends: a prompt that was just about to wait for a key on another
/// thread may have changed them after [`restore`]. Once it waits, it changes nothing.
pub fn restore_once_more() {
    if let Some(before) = question().as_ref() {
        std::thread::sleep(PROMPT);
        set_modes(before);
        unhush(audible().as_ref());
    }
}

/// Has the frame drawn again from the start, as after a stop that could not be heard.
pub fn redraw() {
    if SCREEN.load(Ordering::SeqCst) {
        hush();
        raw_write(&std::io::stdout(), b"\x1b[?25l");
        STALE.store(true, Ordering::SeqCst);
    }
}

/// The terminal as it was before the program changed it.
pub struct Restored {
    now: Option<Modes>,
    _quiet: Option<MutexGuard<'static, bool>>,
}

impl Restored {
    /// Changes it again, as after Ctrl-Z and `fg`.
    pub fn undo(self) {
        redraw();
        if let Some(modes) = &self.now {
            set_modes(modes);
            raw_write(&std::io::stderr(), b"\x1b[?25l");
        }
    }
}

#[cfg(unix)]
fn raw_write(to: &impl std::os::fd::AsFd, bytes: &[u8]) {
    let _ = rustix::io::write(to, bytes);
}

#[cfg(not(unix))]
fn raw_write<W>(to: &W, bytes: &[u8])
where
    for<'w> &'w W: Write,
{
    let mut to = to;
    let _ = to.write_all(bytes);
}

/// Says something on standard error, also where somebody else holds its lock.
pub fn tell(text: &str) {
    raw_write(&std::io::stderr(), format!("{text}\n").as_bytes());
}

/// The exit code after a fault of this program; that of every Rust program.
const FAULT: i32 = 101;

/// Puts the terminal back when the program fails, says so, and ends.
pub fn on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        std::mem::forget(restore());
        let payload = panic.payload();
        let what = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no reason given");
        let place = panic.location().map_or(String::new(), |place| format!(" at {place}"));
        let what: Vec<String> = what.lines().take(5).map(clean).collect();
        let done = match stop::has_acted() {
            true => "\n  changes made so far stay; check with: kubectl sts status",
            false => "",
        };
        let text = format!(
            "error: kubectl-sts failed; this is a bug in kubectl-sts {}\n  because {}{place}{done}\n  report it with \
             these lines and the command line, please\n",
            env!("CARGO_PKG_VERSION"),
            what.join(" "),
        );
        raw_write(&std::io::stderr(), text.as_bytes());
        std::process::exit(FAULT);
    }));
}
