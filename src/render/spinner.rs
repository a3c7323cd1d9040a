//! A sign of life while the cluster is read.

use std::time::Duration;

use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};

use super::terminal::Spinning;

/// How often the sign moves.
const TICK: Duration = Duration::from_millis(120);

/// A line on standard error that says what is being done; nothing where that is no terminal. It goes with this value.
#[derive(Debug)]
pub struct Spinner(ProgressBar, Spinning);

impl Spinner {
    /// Shows what is being done.
    pub fn start(doing: &str) -> Spinner {
        let bar = ProgressBar::new_spinner().with_message(crate::text::clean(doing));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style.tick_chars("|/-\\ "));
        }
        bar.enable_steady_tick(TICK);
        Spinner(bar, Spinning::begin())
    }

    /// Shows what is being done now.
    pub fn say(&self, doing: &str) {
        self.0.set_message(crate::text::clean(doing));
    }
}

/// So many bytes, as in `34.20 MB`.
pub fn bytes(count: usize) -> String {
    DecimalBytes(u64::try_from(count).unwrap_or(u64::MAX)).to_string()
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
