//! A program on a terminal: what it writes, keys and signals for it, and how it leaves the terminal behind.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, SlavePty, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;

/// A pipe with a name, read until it is closed.
pub struct Pipe {
    /// What was read.
    seen: Arc<Mutex<Vec<u8>>>,
    closed: Arc<AtomicBool>,
    /// How often there was nothing to read.
    idle: Arc<AtomicUsize>,
    reader: Option<JoinHandle<()>>,
    path: PathBuf,
}

impl Pipe {
    /// Makes it, and reads.
    pub fn at(path: &Path) -> Pipe {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let mut file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).unwrap();
        let (seen, closed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let idle = Arc::new(AtomicUsize::new(0));
        let (sink, ends, nothing) = (Arc::clone(&seen), Arc::clone(&closed), Arc::clone(&idle));
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while !ends.load(Ordering::SeqCst) {
                match file.read(&mut buffer) {
                    Ok(count @ 1..) => sink.lock().unwrap().extend_from_slice(&buffer[..count]),
                    Err(error) if error.kind() != ErrorKind::WouldBlock => break,
                    _ => {
                        nothing.fetch_add(1, Ordering::SeqCst);
                        thread::sleep(Duration::from_millis(10));
                    }
                }
            }
        });
        Pipe { seen, closed, idle, reader: Some(reader), path: path.to_owned() }
    }

    /// What was written to it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// All that was written to it, when nobody writes any more.
    pub fn all(&self) -> String {
        let before = self.idle.load(Ordering::SeqCst);
        while self.reader.is_some() && self.idle.load(Ordering::SeqCst) < before + 2 {
            thread::sleep(Duration::from_millis(5));
        }
        self.text()
    }

    /// Reads no more, as `head` does.
    pub fn close(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
            // A program that another test starts has a copy of all files for a moment.
            let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
            let is_read =
                || OpenOptions::new().write(true).custom_flags(nonblocking).open(&self.path).is_ok();
            while is_read() {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.close();
    }
}

/// What no program writes.
const MARK: u8 = 0x1a;

/// A program on a terminal of its own, of which it is the controlling process.
pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    master: Option<Box<dyn MasterPty + Send>>,
    // Open until the end: the last to close it resets its modes.
    slave: Option<Box<dyn SlavePty + Send>>,
    keys: Option<Box<dyn Write + Send>>,
    seen: Arc<Mutex<Vec<u8>>>,
    closing: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

/// How it ended.
pub struct Ended {
    /// Its exit code.
    pub code: u32,
    /// All it wrote to the terminal.
    pub text: String,
    /// Whether typed keys are shown and collected to lines; `None` when the terminal is gone.
    pub is_cooked: Option<bool>,
    /// From the last thing that was done to it.
    pub after: Duration,
}

impl Terminal {
    /// Starts it on a terminal of so many rows and columns; with standard output in a file if that is given.
    pub fn start(command: &Command, (rows, cols): (u16, u16), out: Option<&Path>) -> Terminal {
        let size = PtySize { rows, cols, pixel_width: 0, pixel_height: 0 };
        let pty = native_pty_system().openpty(size).unwrap();
        let mut builder = if let Some(out) = out {
            let mut shell = CommandBuilder::new("/bin/sh");
            shell.args(["-c", "out=$1; shift; exec \"$@\" > \"$out\"", "sh"]);
            shell.arg(out);
            shell.arg(command.get_program());
            shell
        } else {
            CommandBuilder::new(command.get_program())
        };
        builder.args(command.get_args());
        builder.env_clear();
        for (key, value) in command.get_envs() {
            builder.env(key, value.unwrap_or_default());
        }
        builder.env("TERM", "xterm");
        builder.env("LANG", "C.UTF-8");
        let child = pty.slave.spawn_command(builder).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let closing = Arc::new(AtomicBool::new(false));
        let (sink, closes) = (Arc::clone(&seen), Arc::clone(&closing));
        let mut from = pty.master.try_clone_reader().unwrap();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                let mut seen = sink.lock().unwrap();
                seen.extend_from_slice(&buffer[..count]);
                if closes.load(Ordering::SeqCst) && seen.contains(&MARK) {
                    seen.retain(|byte| *byte != MARK);
                    break;
                }
            }
        });
        Terminal {
            child,
            master: Some(pty.master),
            slave: Some(pty.slave),
            keys: None,
            seen,
            closing,
            reader: Some(reader),
        }
    }

    /// What it has written to the terminal.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        // Taken only now: when it is dropped it presses Enter, which is an answer.
        let master = self.master.as_ref().unwrap();
        let writer = self.keys.get_or_insert_with(|| master.take_writer().unwrap());
        writer.write_all(keys.as_bytes()).unwrap();
        writer.flush().unwrap();
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.process_id().unwrap().cast_signed()).unwrap()
    }

    /// Sends a signal. Nothing happens if it has ended.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid(), signal);
    }

    /// Closes the terminal, as when its window is closed.
    pub fn close(&mut self) {
        // The reader has a descriptor of the terminal too: something has to be read before it lets go.
        self.closing.store(true, Ordering::SeqCst);
        if let Some(master) = &self.master
            && let Some(reader) = self.reader.take()
        {
            let other_side = OpenOptions::new()
                .write(true)
                .custom_flags(rustix::fs::OFlags::NOCTTY.bits().cast_signed())
                .open(master.tty_name().unwrap());
            other_side.unwrap().write_all(&[MARK]).unwrap();
            reader.join().unwrap();
        }
        (self.keys, self.slave, self.master) = (None, None, None);
    }

    /// Waits for the end.
    #[track_caller]
    pub fn ended(mut self) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > PATIENCE {
                let _ = self.child.kill();
                panic!("it does not end; it wrote {:?}", self.text());
            }
            thread::sleep(Duration::from_millis(5));
        };
        let after = began.elapsed();
        let is_cooked = self.master.as_ref().and_then(|master| master.get_termios()).map(|modes| {
            use rustix::termios::LocalModes;
            let modes = LocalModes::from_bits_retain(modes.local_flags.bits());
            modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
        });
        self.close();
        Ended { code: status.exit_code(), text: self.text(), is_cooked, after }
    }
}

impl Ended {
    /// That the terminal is as it was found, whatever the program did to it.
    #[track_caller]
    pub fn left_as_found(&self, what: &str) {
        let text = &self.text;
        assert_ne!(self.is_cooked, Some(false), "{what}: typed keys are not shown any more: {text:?}");
        for (on, off, name) in
            [("\x1b[?25h", "\x1b[?25l", "the cursor"), ("\x1b[?2026l", "\x1b[?2026h", "the updates")]
        {
            assert!(text.rfind(off) <= text.rfind(on), "{what}: {name}: {text:?}");
        }
    }
}

/// A file that cannot be written, as on a full disk; only Linux has one.
pub fn full_disk() -> Option<File> {
    OpenOptions::new().write(true).open("/dev/full").ok()
}
