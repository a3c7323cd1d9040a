//! A sign of life while the cluster is read.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

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
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
