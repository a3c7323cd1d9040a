//! Whose time it is: a snapshot is taken by the server's clock, as far as that is known.

use jiff::{SignedDuration, Timestamp};

use crate::words;

/// Whose word a time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeSource {
    /// The API server's: the `Date` of its answers.
    Server,
    /// This machine's, and that of objects created since: the answers had no `Date`.
    Client,
    /// The same, as the `Date` of the answers cannot be true.
    Disbelieved,
    /// A file's: the time of the recording.
    File,
    /// The newest time in plain files, which may be much older than they are.
    Newest,
}

impl TimeSource {
    /// For programs; these words stay the same.
    pub fn word(self) -> &'static str {
        match self {
            TimeSource::Server => "server",
            TimeSource::Client => "client",
            TimeSource::Disbelieved => "client-as-date-is-wrong",
            TimeSource::File | TimeSource::Newest => "file",
        }
    }
}

/// The time at the API server, as far as it can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The best guess.
    pub now: Timestamp,
    /// Whose word it is.
    pub source: TimeSource,
    /// How far this machine's clock is ahead of the server's; negative when it is behind. `None` when that is unknown.
    pub ahead: Option<SignedDuration>,
    /// A time that has passed at the server for certain: what is deleted for its age is old by this one. `None` when
    /// the server's time is unknown.
    pub certain: Option<Timestamp>,
}

impl Clock {
    /// The clock of a file.
    pub fn of_file(taken_at: Timestamp) -> Clock {
        Clock { now: taken_at, source: TimeSource::File, ahead: None, certain: Some(taken_at) }
    }

    /// The clock of files that do not say when they were made.
    pub fn of_newest(taken_at: Timestamp) -> Clock {
        Clock { source: TimeSource::Newest, ..Clock::of_file(taken_at) }
    }

    /// What is wrong with the clocks, as one sentence without a period; `None` when nothing is.
    pub fn trouble(&self) -> Option<String> {
        let apart = |ahead: &SignedDuration| ahead.abs() > SignedDuration::from_mins(1);
        let ahead = self.ahead.filter(apart);
        let by = |ahead: SignedDuration| words::age(ahead.abs());
        let way = |ahead: SignedDuration| if ahead.is_negative() { "behind" } else { "ahead of" };
        match (self.source, ahead) {
            (TimeSource::File | TimeSource::Newest, _) | (TimeSource::Server, None) => None,
            (TimeSource::Server, Some(ahead)) => Some(format!(
                "this machine's clock is {} {} the API server's; ages are counted by the server's clock",
                by(ahead),
                way(ahead)
            )),
            (source, ahead) => {
                let date = match source {
                    TimeSource::Disbelieved => "an impossible Date",
                    _ => "no Date",
                };
                let own = match ahead {
                    Some(ahead) => {
                        format!("the newest object, as this machine's clock is at least {} behind", by(ahead))
                    }
                    None => "this machine's clock".to_owned(),
                };
                Some(format!("the API server's answers have {date}; ages are counted by {own}"))
            }
        }
    }
}
