//! Listens for whatever wants the program to end, on a thread of its own: the others may be waiting for a key, for a
//! pipe, or for a cluster.

use std::sync::OnceLock;
use std::thread;

use std::time::{Duration, Instant};

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Exit;
use crate::render::terminal;
use crate::stop::{self, Cause, Held};

/// How long the work may take to end by itself, if nothing is being done that must not end half way.
const PATIENCE: Duration = Duration::from_secs(1);

/// Signals that come together are one: a terminal that is closed tells the shell, which tells again.
const ONE: Duration = Duration::from_millis(500);

/// Starts to listen: for Ctrl-C, SIGTERM, SIGHUP, SIGQUIT, Ctrl-Z, and for the reader of standard output to go away.
///
/// The first of them asks for an end, which comes at once, or where something is being done at the next moment at which
/// it is not half done; the second one ends the process at once. In any case the terminal is as it was found.
pub fn listen() {
    thread::spawn(|| {
        // Without it signals do what they always do.
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(hear());
    });
    #[cfg(unix)]
    watch_reader();
}

/// Something wants the program to end.
fn heard(cause: Cause) {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    let is_again = cause.is_signal() && FIRST.get_or_init(Instant::now).elapsed() > ONE;
    stop::request(cause);
    if is_again || terminal::is_asking() {
        if let Some(held) = stop::hold(is_again) {
            end(&held);
        }
        return;
    }
    thread::spawn(move || {
        // The main thread ends by itself unless it cannot listen, being blocked by something else.
        thread::sleep(PATIENCE);
        if let Some(held) = stop::hold(false) {
            end(&held);
        }
    });
}

/// Ends the process at once.
fn end(held: &Held) -> ! {
    let cause = held.cause();
    let asking = terminal::is_asking();
    let restored = terminal::restore();
    held.clean_up();
    if let Some(text) = last_words(&cause, held.has_acted(), asking) {
        terminal::tell(&text);
    }
    terminal::restore_once_more();
    let code = i32::from(cause.exit().code());
    // Nobody else draws any more.
    std::mem::forget(restored);
    std::process::exit(code);
}

fn last_words(cause: &Cause, has_acted: bool, asking: bool) -> Option<String> {
    let work = match (asking, has_acted) {
        (true, has_acted) => terminal::unchanged(has_acted),
        (false, true) => "changes made so far stay; check with: kubectl sts status",
        // Nothing was lost but an answer.
        (false, false) if !matches!(cause, Cause::Unwritable(_)) => return None,
        (false, false) => "",
    };
    Some(cause.error(work).to_string())
}

/// Ends what was only reading, or waiting: what is left to say, and the exit code.
pub fn leave(cause: &Cause) -> Exit {
    if let Some(text) = last_words(cause, stop::has_acted(), false) {
        terminal::tell(&text);
    }
    cause.exit()
}

#[cfg(not(unix))]
async fn hear() {
    while tokio::signal::ctrl_c().await.is_ok() {
        heard(Cause::Interrupted);
    }
}

#[cfg(unix)]
async fn hear() {
    let stop = SignalKind::from_raw(rustix::process::Signal::TSTP.as_raw());
    let open = |kind: SignalKind| signal(kind).ok();
    let mut interrupt = open(SignalKind::interrupt());
    let mut terminate = open(SignalKind::terminate());
    let mut quit = open(SignalKind::quit());
    // With nohup it goes on when the terminal is closed.
    let mut hang_up = if is_ignored(SignalKind::hangup()) { None } else { open(SignalKind::hangup()) };
    let mut continued = open(SignalKind::from_raw(rustix::process::Signal::CONT.as_raw()));
    let mut stopped = if is_ignored(stop) { None } else { open(stop) };
    loop {
        // A prompt that is disturbed by a signal raises SIGINT, as if that had been Ctrl-C: the other one was first.
        tokio::select! {
            biased;
            () = next(&mut hang_up) => heard(Cause::HungUp),
            () = next(&mut terminate) => heard(Cause::Terminated),
            () = next(&mut interrupt) => heard(Cause::Interrupted),
            () = next(&mut quit) => {
                std::mem::forget(terminal::restore());
                std::process::exit(QUIT);
            }
            () = next(&mut continued) => terminal::redraw(),
            () = next(&mut stopped) => pause(&mut continued).await,
        }
    }
}

/// How long it may take until all threads are stopped.
#[cfg(unix)]
const STOPPING: Duration = Duration::from_millis(300);

/// The exit code after SIGQUIT, which ends everything at once.
#[cfg(unix)]
const QUIT: i32 = 131;

/// Waits for a signal; for ever where it cannot be heard.
#[cfg(unix)]
async fn next(signal: &mut Option<Signal>) {
    let heard = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if heard.is_none() {
        std::future::pending::<()>().await;
    }
}

/// Ctrl-Z: the terminal is the shell's until the process is continued.
#[cfg(unix)]
async fn pause(continued: &mut Option<Signal>) {
    use rustix::process::{Signal as Stop, getpid, getsid, kill_process};
    // Without a shell that could continue it, as in a container, the kernel would not stop it either.
    if getsid(None).is_ok_and(|session| session == getpid()) {
        return;
    }
    let restored = terminal::restore();
    let _ = kill_process(getpid(), Stop::STOP);
    // It takes a moment until this thread is stopped too; where nothing can be stopped, this moment is all.
    let _ = tokio::time::timeout(STOPPING, next(continued)).await;
    restored.undo();
}

/// Whether the signal was ignored when the program started. Only Linux tells.
#[cfg(unix)]
fn is_ignored(kind: SignalKind) -> bool {
    let bit = u32::try_from(kind.as_raw_value()).unwrap_or_default().wrapping_sub(1);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask.checked_shr(bit).is_some_and(|mask| mask & 1 == 1))
}

/// Waits on a thread until the reader of standard output is gone: a command that has nothing to say for a while would not
/// notice otherwise.
#[cfg(unix)]
fn watch_reader() {
    use std::io::IsTerminal;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::fs::{FileType, fstat};

    let out = std::io::stdout();
    let kind = fstat(&out).map(|stat| FileType::from_raw_mode(stat.st_mode));
    let cause = match kind {
        Ok(FileType::Fifo | FileType::Socket) => Cause::ReaderGone,
        Ok(FileType::CharacterDevice) if out.is_terminal() => Cause::HungUp,
        _ => return,
    };
    if cause == Cause::HungUp && is_ignored(SignalKind::hangup()) {
        return;
    }
    thread::spawn(move || {
        loop {
            let mut fds = [PollFd::new(&out, PollFlags::empty())];
            match poll(&mut fds, None) {
                Ok(_) if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => break,
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                _ => return,
            }
        }
        heard(cause);
    });
}
