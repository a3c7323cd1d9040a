//! A screen that is redrawn in place, and one line for each change where there is no screen: the only place that moves
//! the cursor.

use console::{Term, truncate_str};

use super::progress::{Line, Progress, ReplicaRow};
use super::{Glyph, Output, Style, json_line, out, terminal, yaml};
use crate::error::Result;
use crate::snapshot::Snapshot;
use crate::text::clean;

/// Where a rollout is told.
pub struct Stream {
    look: Style,
    progress: Progress,
    how: How,
}

enum How {
    /// Redrawn in place.
    Screen(Screen),
    /// A line for each change.
    Lines,
    /// A JSON object for each change.
    Json,
    /// A YAML document for each change.
    Yaml,
}

struct Screen {
    /// Shows the cursor again when it is dropped.
    _hidden: terminal::Screen,
    shown: usize,
    last: Vec<String>,
    pending: Vec<String>,
    trouble: Option<String>,
}

impl Stream {
    /// On a terminal a screen, elsewhere lines; JSON where that is asked for.
    pub fn new(look: Style, output: Output) -> Stream {
        let how = match (output, look.width) {
            (Output::Json, _) => How::Json,
            (Output::Yaml, _) => How::Yaml,
            (_, Some(_)) if !look.ascii || std::env::var_os("TERM").is_none_or(|term| term != "dumb") => {
                let hidden = terminal::Screen::begin();
                How::Screen(Screen {
                    _hidden: hidden,
                    shown: 0,
                    last: Vec::new(),
                    pending: Vec::new(),
                    trouble: None,
                })
            }
            _ => How::Lines,
        };
        Stream { look, progress: Progress::default(), how }
    }
}

impl Stream {
    /// Shows what is new, and how things stand.
    pub fn look(&mut self, snapshot: &Snapshot<'_>) {
        for line in self.progress.lines(snapshot) {
            self.say(&line);
        }
        let How::Screen(screen) = &mut self.how else { return };
        let (rows, columns) = Term::stdout().size();
        let (rows, columns) = (usize::from(rows), usize::from(columns));
        let (heading, replicas) = self.progress.frame(snapshot);
        let frame = fit(&heading, &replicas, screen.trouble.as_deref(), rows, columns, self.look);
        screen.draw(frame, columns);
    }

    /// Tells of something that happened.
    pub fn say(&mut self, line: &Line) {
        match &mut self.how {
            How::Screen(screen) => screen.pending.push(clean(&line.text())),
            How::Lines => tell(&clean(&line.text())),
            How::Json => tell(&json_line(&line.json())),
            How::Yaml => tell(&format!("---\n{}", yaml(&line.json()).unwrap_or_default().trim_end())),
        }
    }

    /// Shows that the picture may be old, and why.
    pub fn trouble(&mut self, why: Option<&str>) {
        if let How::Screen(screen) = &mut self.how {
            screen.trouble = why.map(clean);
        }
    }
}

impl Screen {
    fn draw(&mut self, rows: Vec<String>, columns: usize) {
        if terminal::is_stale() {
            (self.shown, self.last) = (0, Vec::new());
        }
        if rows == self.last && self.pending.is_empty() {
            return;
        }
        let mut text = String::from("\x1b[?2026h");
        if self.shown > 0 {
            text.push_str(&format!("\x1b[{}A\r", self.shown));
        }
        text.push_str("\x1b[0J");
        for line in self.pending.drain(..) {
            text.push_str(&truncate_str(&line, columns.saturating_sub(1), "…"));
            text.push('\n');
        }
        for row in &rows {
            text.push_str(row);
            text.push('\n');
        }
        text.push_str("\x1b[?2026l");
        // That it cannot be written ends the program by itself.
        let _ = out::write(&text);
        self.shown = rows.len();
        self.last = rows;
    }
}

/// The frame for a screen of this size. Where not all replicas fit, those that rest are left out first.
fn fit(
    heading: &str,
    replicas: &[ReplicaRow],
    trouble: Option<&str>,
    rows: usize,
    columns: usize,
    look: Style,
) -> Vec<String> {
    let (rows, columns) = (rows.max(4), columns.max(10));
    let cut = |text: &str| truncate_str(text, columns - 1, "…").into_owned();
    let mut frame = vec![cut(&clean(heading))];
    frame.extend(trouble.map(|why| cut(&format!("! {why}"))));
    let room = rows - 1 - frame.len();
    let shown: Vec<usize> = if replicas.len() <= room {
        (0..replicas.len()).collect()
    } else {
        let mut by_interest: Vec<usize> = (0..replicas.len()).collect();
        by_interest.sort_by_key(|index| {
            let row = &replicas[*index];
            (row.glyph == Glyph::Good && !row.is_next, *index)
        });
        let mut chosen: Vec<usize> = by_interest.into_iter().take(room.saturating_sub(1)).collect();
        chosen.sort_unstable();
        chosen
    };
    for index in &shown {
        let ReplicaRow { glyph, text, .. } = &replicas[*index];
        let line = cut(&format!("{}  {}", glyph.sign(look.ascii), clean(text)));
        frame.push(match line.strip_prefix(glyph.sign(look.ascii)) {
            Some(rest) if look.color => format!("{}{rest}", glyph.painted(look)),
            _ => line,
        });
    }
    if shown.len() < replicas.len() {
        let hidden: Vec<&ReplicaRow> = (0..replicas.len())
            .filter(|index| !shown.contains(index))
            .map(|index| &replicas[index])
            .collect();
        let good = hidden.iter().filter(|row| row.glyph == Glyph::Good).count();
        frame.push(cut(&format!("   … {} more, {good} of them available", hidden.len())));
    }
    frame
}

/// Shows a text on standard output at once, before the answer.
///
/// # Errors
/// When it cannot be written: what follows was not shown then, and must not be done.
pub fn show(text: &str) -> Result<()> {
    out::write(text)
}

/// One line on standard output, at once.
fn tell(line: &str) {
    // That it cannot be written ends the program by itself.
    let _ = out::write(&format!("{line}\n"));
}
