//! A program that is run for its output, and that cannot hold us: it is stopped when nobody waits for it any longer, its
//! output has an end, and what it leaves running is not waited for.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Most bytes of output.
const LONGEST: usize = 1 << 20;
/// How long is waited for the rest of the output of a program that has ended, while another process holds its end open.
const REST: Duration = Duration::from_millis(200);

/// A running program. Dropped, it is killed, and the terminal it may have changed is put back.
pub(super) struct Running {
    child: Child,
    output: Option<ChildStdout>,
    /// Whether it leads a process group of its own, which then is stopped as a whole.
    #[cfg_attr(not(unix), allow(dead_code))]
    group: bool,
    ended: bool,
    #[cfg(unix)]
    terminal: Option<rustix::termios::Termios>,
}

#[cfg(unix)]
fn in_own_group(mut command: std::process::Command) -> std::process::Command {
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command
}

impl Running {
    /// Starts `command`. One that talks to the user stays in our process group, as only that may read the terminal.
    pub fn start(command: std::process::Command, interactive: bool) -> io::Result<Running> {
        let group = cfg!(unix) && !interactive;
        #[cfg(unix)]
        let command = if group { in_own_group(command) } else { command };
        #[cfg(unix)]
        let terminal = interactive.then(|| rustix::termios::tcgetattr(std::io::stdin()).ok()).flatten();
        let mut command = Command::from(command);
        command.stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let output = child.stdout.take();
        Ok(Running {
            child,
            output,
            group,
            ended: false,
            #[cfg(unix)]
            terminal,
        })
    }

    /// Waits for its end; how it ended, and what it wrote to standard output.
    ///
    /// # Errors
    /// When it cannot be waited for, or writes more than 1 MiB.
    pub async fn end(mut self) -> io::Result<(ExitStatus, Vec<u8>)> {
        let mut bytes = Vec::new();
        let mut output = self.output.take();
        let status = loop {
            let Some(open) = &mut output else { break self.child.wait().await? };
            tokio::select! {
                status = self.child.wait() => break status?,
                more = take(open, &mut bytes) => if !more? { output = None },
            }
        };
        self.ended = true;
        while let Some(open) = &mut output {
            match timeout(REST, take(open, &mut bytes)).await {
                Ok(Ok(true)) => {}
                Ok(Err(error)) => return Err(error),
                Ok(Ok(false)) | Err(_) => output = None,
            }
        }
        Ok((status, bytes))
    }
}

/// Takes a piece of the output; whether there may be more.
async fn take(output: &mut ChildStdout, bytes: &mut Vec<u8>) -> io::Result<bool> {
    let mut piece = [0; 8192];
    let length = output.read(&mut piece).await?;
    bytes.extend_from_slice(piece.get(..length).unwrap_or_default());
    if bytes.len() > LONGEST {
        return Err(io::Error::other("its output is longer than 1 MiB"));
    }
    Ok(length > 0)
}

impl Drop for Running {
    fn drop(&mut self) {
        #[cfg(unix)]
        {
            if !self.ended
                && self.group
                && let Some(id) = self.child.id().and_then(|id| i32::try_from(id).ok())
                && let Some(group) = rustix::process::Pid::from_raw(id)
            {
                let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            }
            if let Some(terminal) = &self.terminal {
                use rustix::termios::{OptionalActions, tcsetattr};
                let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, terminal);
            }
        }
        if !self.ended {
            let _ = self.child.start_kill();
        }
    }
}
