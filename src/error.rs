//! What failed, why, what to type next, and the exit code that follows from it.

use std::fmt;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::text::clean;

/// How the program ended; the same numbers for every command and every output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The answer is good news.
    Good,
    /// The answer is bad news: stuck, or findings at or above `--fail-on`.
    Bad,
    /// The command line was wrong.
    Usage,
    /// The cluster, or a file given instead of it, could not be read or changed.
    Cluster,
    /// Refused, declined, or the world had drifted from what was shown.
    Refused,
    /// `--timeout` passed first.
    TimedOut,
    /// Ctrl-C (SIGINT).
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// SIGHUP: the terminal was closed.
    HungUp,
    /// The reader of standard output is gone, as `head` is after some lines.
    ReaderGone,
}

impl Exit {
    /// The exit code of the process.
    pub fn code(self) -> u8 {
        match self {
            Exit::Good => 0,
            Exit::Bad => 1,
            Exit::Usage => 2,
            Exit::Cluster => 3,
            Exit::Refused => 4,
            Exit::TimedOut => 124,
            Exit::HungUp => 129,
            Exit::Interrupted => 130,
            Exit::ReaderGone => 141,
            Exit::Terminated => 143,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// An error as the user sees it: `error: <what>`, then the causes, then the hint, each on a line of its own.
#[derive(Clone, Debug)]
pub struct Error {
    what: String,
    causes: Vec<String>,
    hint: Option<String>,
    reason: Option<&'static str>,
    exit: Exit,
    is_answer: bool,
}

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The cluster or a file could not be read or changed (exit code 3).
    pub fn cluster(what: impl Into<String>) -> Error {
        let (causes, hint, reason) = (Vec::new(), None, None);
        Error { what: what.into(), causes, hint, reason, exit: Exit::Cluster, is_answer: false }
    }

    /// The command line was wrong (exit code 2).
    pub fn usage(what: impl Into<String>) -> Error {
        Error { exit: Exit::Usage, ..Error::cluster(what) }
    }

    /// The tool says no before or while acting (exit code 4).
    pub fn refused(what: impl Into<String>) -> Error {
        Error { exit: Exit::Refused, ..Error::cluster(what) }
    }

    /// A user said no (exit code 4). That is an answer, and is not shown as an error.
    pub fn cancelled(what: impl Into<String>) -> Error {
        Error { is_answer: true, ..Error::refused(what) }
    }

    /// Ends the process in another way.
    #[must_use]
    pub fn ending(mut self, exit: Exit) -> Error {
        self.exit = exit;
        self
    }

    /// Adds why it failed; may be called several times, outermost cause first. Empty and repeated texts are dropped.
    #[must_use]
    pub fn because(mut self, cause: impl fmt::Display) -> Error {
        let cause = cause.to_string();
        if !cause.is_empty() && !self.what.contains(&cause) && !self.causes.contains(&cause) {
            self.causes.push(cause);
        }
        self
    }

    /// Says what to type or look at next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// Names the reason of a refusal by a word that stays the same, for programs.
    #[must_use]
    pub fn reason(mut self, reason: &'static str) -> Error {
        self.reason = Some(reason);
        self
    }

    /// A refusal as programs read it; `None` for other errors.
    pub fn refusal(&self) -> Option<Value> {
        (self.exit == Exit::Refused).then(|| {
            json!({
                "apiVersion": "kubectl-sts/v1",
                "kind": "Refusal",
                "reason": self.reason,
                "text": self.what,
                "because": self.causes,
                "hint": self.hint,
            })
        })
    }

    /// What failed, without causes and hints.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The first line, as it is shown: what failed, and the word for programs.
    pub fn headline(&self) -> String {
        let what = self.what.lines().map(clean).collect::<Vec<_>>().join("\n");
        match self.reason {
            _ if self.is_answer => what,
            Some(reason) => format!("error: {what} ({reason})"),
            None => format!("error: {what}"),
        }
    }

    /// Why it failed, outermost cause first.
    pub fn causes(&self) -> &[String] {
        &self.causes
    }

    /// What to type or look at next, one thing a line; empty where nothing helps.
    pub fn hints(&self) -> impl Iterator<Item = &str> {
        self.hint.as_deref().unwrap_or_default().lines()
    }

    /// How the process ends because of this error.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names and messages come from the cluster.
        let safe = |text: &str| text.lines().map(clean).collect::<Vec<_>>().join("\n");
        f.write_str(&self.headline())?;
        for cause in &self.causes {
            write!(f, "\n  because {}", safe(cause))?;
        }
        for line in self.hints() {
            write!(f, "\n  {}", clean(line))?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
