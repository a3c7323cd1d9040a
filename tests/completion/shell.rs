//! A real shell on a real terminal, for who presses TAB.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex};

use portable_pty::{CommandBuilder, MasterPty, PtySize, native_pty_system};

use super::Home;
use crate::support::controlplane::loud;
use crate::support::{self, PATIENCE};

/// A real shell on a terminal.
pub struct Shell {
    screen: Arc<Mutex<String>>,
    keys: Box<dyn std::io::Write + Send>,
    child: Box<dyn portable_pty::Child + Send + Sync>,
    _terminal: Box<dyn MasterPty + Send>,
}

/// Whether a shell is on this machine; one line says so where it is not.
pub fn is_here(shell: &str) -> bool {
    let found = ["/usr/bin", "/bin", "/usr/local/bin"].iter().any(|dir| Path::new(dir).join(shell).is_file());
    if !found {
        loud(&format!("SKIPPED: completion in {shell}, which is not on this machine"));
    }
    found
}

impl Shell {
    pub fn bash(home: &Home, path: &str, env: &[(&str, &Path)]) -> Shell {
        home.write(".inputrc", "set enable-bracketed-paste off\nset bell-style none\n");
        Shell::new("bash", &["--norc", "--noprofile"], home, path, env)
    }

    /// With its own completion on, and a prompt that is at the beginning of a line.
    pub fn zsh(home: &Home, path: &str, env: &[(&str, &Path)]) -> Shell {
        let mut zsh = Shell::new("zsh", &["-f", "-i", "+o", "prompt_sp", "+o", "prompt_cr"], home, path, env);
        zsh.run("unset zle_bracketed_paste; bindkey -e; autoload -Uz compinit; compinit -u -d $HOME/dump");
        zsh
    }

    fn new(shell: &str, args: &[&str], home: &Home, path: &str, env: &[(&str, &Path)]) -> Shell {
        let size = PtySize { rows: 50, cols: 150, ..PtySize::default() };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(shell);
        command.args(args);
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
        let shell = Shell { screen, keys, child, _terminal: pair.master };
        shell.see("ready> ");
        shell
    }

    pub fn press(&mut self, keys: &str) {
        self.screen.lock().unwrap().clear();
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    #[track_caller]
    pub fn see(&self, what: &str) -> String {
        support::wait(&format!("{what:?} on the screen"), PATIENCE, || {
            let screen = plain(&self.screen.lock().unwrap());
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

/// What was written, without what moves the cursor and colors the text.
fn plain(screen: &str) -> String {
    let text = console::strip_ansi_codes(screen);
    // What a backspace goes over is written again.
    text.replace('\u{7}', "").replace("\r\r\n", "\r\n")
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
