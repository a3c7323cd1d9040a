//! A real bash on a real terminal, for who presses TAB.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};

use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::Home;
use crate::support::{self, PATIENCE};

/// A real bash on a terminal.
pub struct Bash {
    screen: Arc<Mutex<String>>,
    keys: Box<dyn std::io::Write + Send>,
    child: Box<dyn portable_pty::Child + Send + Sync>,
    _terminal: Box<dyn MasterPty + Send>,
}

impl Bash {
    pub fn new(home: &Home, path: &str, env: &[(&str, &Path)]) -> Bash {
        let size = PtySize { rows: 50, cols: 150, ..PtySize::default() };
        home.write(".inputrc", "set enable-bracketed-paste off\nset bell-style none\n");
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new("bash");
        command.args(["--norc", "--noprofile"]);
        command.env_clear();
        command.cwd(home.path());
        command.env("HOME", home.path());
        command.env("PATH", format!("{}:{path}", home.bin().display()));
        for (name, value) in env {
            command.env(name, value);
        }
        command.env("TERM", "xterm");
        command.env("PS1", "ready> ");
        let child = pair.slave.spawn_command(command).unwrap();
        let mut output = pair.master.try_clone_reader().unwrap();
        let screen = Arc::new(Mutex::new(String::new()));
        let seen = screen.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut piece) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..length]));
            }
        });
        let keys = pair.master.take_writer().unwrap();
        let bash = Bash { screen, keys, child, _terminal: pair.master };
        bash.see("ready> ");
        bash
    }

    pub fn press(&mut self, keys: &str) {
        self.screen.lock().unwrap().clear();
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    #[track_caller]
    pub fn see(&self, what: &str) -> String {
        support::wait(&format!("{what:?} on the screen"), PATIENCE, || {
            let screen = self.screen.lock().unwrap().clone();
            if screen.contains(what) { Ok(screen) } else { Err(screen) }
        })
    }

    /// Runs a command to its end.
    pub fn run(&mut self, line: &str) {
        // taken apart, so that the echo of what is typed is not taken for the end
        self.press(&format!("{line}; echo do''ne\r"));
        self.see("\ndone\r\nready> ");
    }

    /// Presses the keys, and gives the line as it stands then.
    #[track_caller]
    pub fn line(&mut self, keys: &str) -> String {
        self.press(&format!("{keys}\u{1}echo '<\u{5}>'\r"));
        let screen = self.see(">\r\nready> ");
        let (_, line) = screen.rsplit_once("\n<").expect(&screen);
        line.split('>').next().unwrap().to_owned()
    }
}

impl Drop for Bash {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
