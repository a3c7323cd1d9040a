//! The ends of logs, in a recording.

use serde::{Deserialize, Serialize};

use crate::kinds::Said;
use crate::snapshot::{Log, LogOf, NotRead};
use crate::text::clean;

/// The end of a log.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Written {
    #[serde(flatten)]
    of: LogOf,
    #[serde(default)]
    lines: Vec<String>,
    /// Why it was not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_read: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    /// The termination message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    message: Vec<String>,
}

impl Written {
    pub(super) fn of(log: &Log) -> Written {
        Written {
            of: log.of.clone(),
            lines: log.lines.iter().flatten().map(ToString::to_string).collect(),
            not_read: log.lines.as_ref().err().map(ToString::to_string),
            cut: log.is_cut,
            message: log.message.iter().map(ToString::to_string).collect(),
        }
    }

    pub(super) fn log(self) -> Log {
        let Written { of, lines, not_read, cut, message } = self;
        // A file may have been written by hand.
        let cleaned = lines.iter().map(|line| Said::from(clean(line)));
        let message = message.iter().map(|line| Said::from(clean(line))).collect();
        let lines = match not_read {
            Some(why) => Err(NotRead::parse(&why)),
            None => Ok(cleaned.collect()),
        };
        Log { of, lines, is_cut: cut, message }
    }
}
