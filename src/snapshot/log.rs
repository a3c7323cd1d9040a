//! The end of what a container has written.

use serde::{Deserialize, Serialize};

use super::NotRead;
use crate::kinds::Said;

/// A run of a container, whose log may be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogOf {
    /// The namespace of its pod.
    pub namespace: String,
    /// Its pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// Whether it is the run before the one that the kubelet shows first.
    #[serde(default)]
    pub previous: bool,
}

/// The end of the log of a run, or why it was not read.
#[derive(Clone, Debug)]
pub struct Log {
    /// Which run.
    pub of: LogOf,
    /// The last lines, without escapes, credentials and empty lines.
    pub lines: Result<Vec<Said>, NotRead>,
    /// Whether they are too long to be read as a whole, so that the very last ones are not among them.
    pub is_cut: bool,
}
