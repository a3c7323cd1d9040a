//! A screen that is redrawn in place, and one line for each change where there is no screen: the only place that moves
//! the cursor.

use console::Term;

use super::fit::{cut_end, width, wrap, wrap_from};
use super::progress::{About, Frame, Line, Progress, ReplicaRow};
use super::{Glyph, Output, Style, json_line, out, placed, terminal, yaml};
use crate::error::Result;
use crate::snapshot::Snapshot;
use crate::text::clean;

/// Where a rollout is told.
pub struct Stream {
    look: Style,
    progress: Progress,
    about: About,
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
    /// A line for each change on standard error: standard output is for the answer alone.
    Beside,
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
            (Output::Name | Output::Template(_), _) => How::Beside,
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
        Stream { look, progress: Progress::default(), about: About::default(), how }
    }

    /// Beside an answer for programs: on standard error then.
    pub fn beside(look: Style, output: Output) -> Stream {
        if output.is_text() {
            return Stream::new(look, output);
        }
        Stream { look, progress: Progress::default(), about: About::default(), how: How::Beside }
    }
}

impl Stream {
    /// Shows what is new, and how things stand.
    pub fn look(&mut self, snapshot: &Snapshot<'_>) {
        let metadata = &snapshot.set.metadata;
        self.about = About {
            time: snapshot.taken_at,
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
        };
        for line in self.progress.lines(snapshot) {
            self.say(&line);
        }
        let How::Screen(screen) = &mut self.how else { return };
        let (rows, columns) = Term::stdout().size();
        let (rows, columns) = (usize::from(rows), usize::from(columns));
        let frame = self.progress.frame(snapshot);
        let frame = fit(&frame, screen.trouble.as_deref(), rows, columns, self.look);
        screen.draw(frame, columns);
    }

    /// Tells of something that happened.
    pub fn say(&mut self, line: &Line) {
        match &mut self.how {
            How::Screen(screen) => screen.pending.push(clean(&line.text())),
            How::Lines => tell(&clean(&line.text())),
            How::Json => tell(&json_line(&placed(line.json(&self.about)))),
            How::Yaml => {
                let value = placed(line.json(&self.about));
                tell(&format!("---\n{}", yaml(&value).unwrap_or_default().trim_end()));
            }
            // Nothing depends on whether it was read.
            How::Beside => drop(out::write_beside(&format!("{}\n", clean(&line.text())))),
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
            for line in wrap_line(&line, columns.saturating_sub(1)) {
                text.push_str(&line);
                text.push('\n');
            }
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

/// Where what happened begins in its line, after the time.
const HAPPENED: usize = 8;

/// A line that has scrolled stays: nothing of it is cut, and what does not fit goes on below.
fn wrap_line(line: &str, columns: usize) -> Vec<String> {
    if width(line) <= columns || columns < 2 * HAPPENED {
        return vec![cut_end(line, columns)];
    }
    let start = line.len() - line.trim_start().len();
    let room = columns.saturating_sub(start + 1);
    let mut lines = wrap_from(&line[start..], room, columns - HAPPENED).into_iter();
    // The time keeps its place in front of the first one.
    let first = format!("{}{}", &line[..start], lines.next().unwrap_or_default().replacen(' ', "  ", 1));
    [first].into_iter().chain(lines.map(|line| format!("{}{line}", " ".repeat(HAPPENED)))).collect()
}

/// How many lines a warning may take.
const WARNING: usize = 2;

/// The frame for a screen of this size, never taller or wider. Where not all fits, notes are left out first, then
/// warnings, then replicas that rest.
fn fit(frame: &Frame, trouble: Option<&str>, rows: usize, columns: usize, look: Style) -> Vec<String> {
    let (rows, columns) = (rows.max(4), columns.max(10) - 1);
    let replicas = &frame.replicas;
    let mut out = heading(&frame.heading, columns);
    // Two thirds are for the replicas.
    out.truncate((rows / 3).max(1));
    if out.len() < rows - 2 {
        out.extend(trouble.map(|why| cut_end(&format!("! {why}"), columns)));
    }
    let room = rows - 1 - out.len();
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
    let mut spare = room.saturating_sub(shown.len() + usize::from(shown.len() < replicas.len()));
    let mut take = |lines: Vec<String>| {
        let fits = lines.len() <= spare;
        spare -= if fits { lines.len() } else { 0 };
        if fits { lines } else { Vec::new() }
    };
    // The cause of what is broken comes before all else that is told.
    let mut warnings: Vec<Vec<String>> = vec![Vec::new(); replicas.len()];
    for is_first in [true, false] {
        let wanted = shown.iter().filter(|index| (replicas[**index].glyph == Glyph::Bad) == is_first);
        for index in wanted {
            if let Some(text) = &replicas[*index].warning {
                warnings[*index] = take(indented(text, columns));
            }
        }
    }
    for note in &frame.notes {
        out.extend(take(wrap(&clean(note), columns).iter().map(|line| cut_end(line, columns)).collect()));
    }
    for index in &shown {
        let ReplicaRow { glyph, text, .. } = &replicas[*index];
        let sign = glyph.sign(look.ascii);
        let line = cut_end(&format!("{sign}  {}", clean(text)), columns);
        out.push(match line.strip_prefix(sign) {
            Some(rest) if look.color => format!("{}{rest}", glyph.painted(look)),
            _ => line,
        });
        out.append(&mut warnings[*index]);
    }
    if shown.len() < replicas.len() {
        let hidden: Vec<&ReplicaRow> = (0..replicas.len())
            .filter(|index| !shown.contains(index))
            .map(|index| &replicas[index])
            .collect();
        let good = hidden.iter().filter(|row| row.glyph == Glyph::Good).count();
        out.push(cut_end(&format!("   … {} more, {good} of them available", hidden.len()), columns));
    }
    out
}

/// The parts of a heading beside each other, in as many lines as it takes.
fn heading(parts: &[String], columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts.iter().map(|part| clean(part)) {
        match lines.last_mut() {
            Some(line) if width(line) + 3 + width(&part) <= columns => {
                line.push_str("   ");
                line.push_str(&part);
            }
            _ => lines.push(part),
        }
    }
    let lines = lines.iter().enumerate();
    let indented = lines.map(|(number, line)| if number == 0 { line.clone() } else { format!("   {line}") });
    indented.map(|line| cut_end(&line, columns)).collect()
}

/// A warning under its replica, cut where it is long.
fn indented(text: &str, columns: usize) -> Vec<String> {
    let (indent, text) = ("     ", clean(text));
    let limit = columns.saturating_sub(indent.len());
    let mut lines = wrap(&text, limit);
    if lines.len() > WARNING {
        let rest = lines.split_off(WARNING - 1).join(" ");
        lines.push(cut_end(&rest, limit));
    }
    lines.iter().map(|line| format!("{indent}{}", cut_end(line, limit))).collect()
}

/// Shows a text for people at once, before the answer: on standard output, or on standard error where the answer is for
/// programs.
///
/// # Errors
/// When it cannot be written: what follows was not shown then, and must not be done.
pub fn show(text: &str, output: Output) -> Result<()> {
    if output.is_text() { out::write(text) } else { out::write_beside(text) }
}

/// One line on standard output, at once.
fn tell(line: &str) {
    // That it cannot be written ends the program by itself.
    let _ = out::write(&format!("{line}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ordinal: usize, glyph: Glyph, text: &str, warning: Option<&str>) -> ReplicaRow {
        let text = format!("postgres-{ordinal}  {text}");
        ReplicaRow { glyph, text, warning: warning.map(str::to_owned), is_next: false }
    }

    fn frame(replicas: usize) -> Frame {
        let warning = "Failed 12s ago: Failed to pull image \"postgres:17.O\": rpc error: code = NotFound desc = failed to \
                       resolve reference docker.io/library/postgres:17.O: not found, and so on";
        let rows = (0..replicas).rev().map(|ordinal| match ordinal {
            2 => row(2, Glyph::Bad, "updated   ImagePullBackOff for 14m", Some(warning)),
            _ => row(ordinal, Glyph::Good, "outdated  available", None),
        });
        Frame {
            heading: [
                "postgres",
                "1 of 5 complete",
                "14m",
                "rolling out postgres-7c47b8f9fc, about 16s left",
            ]
            .map(str::to_owned)
            .to_vec(),
            notes: vec![
                "image: postgres:17.O".to_owned(),
                "no readiness probe: Ready only means that the container has started".to_owned(),
            ],
            replicas: rows.collect(),
        }
    }

    fn text(frame: &Frame, rows: usize, columns: usize) -> String {
        fit(frame, None, rows, columns, Style::PLAIN).join("\n")
    }

    #[test]
    fn a_frame_is_never_taller_or_wider_than_the_screen() {
        for rows in 4..40 {
            for columns in 12..130 {
                for replicas in [0, 1, 3, 5, 12, 60] {
                    for trouble in [None, Some("the connection to the server broke, and it is tried again")] {
                        let lines = fit(&frame(replicas), trouble, rows, columns, Style::PLAIN);
                        assert!(lines.len() < rows, "{} lines in {rows} rows", lines.len());
                        for line in &lines {
                            assert!(width(line) < columns, "{columns} columns: {line:?}");
                        }
                        let is_shown = lines.iter().any(|line| line.contains("postgres-2"));
                        // What is broken is shown first.
                        assert!(is_shown || replicas < 3 || rows < 8 || columns < 20, "{lines:#?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_small_screen_loses_notes_then_warnings_then_replicas_that_rest() {
        assert_eq!(
            text(&frame(5), 15, 60),
            "postgres   1 of 5 complete   14m\n   \
             rolling out postgres-7c47b8f9fc, about 16s left\n\
             image: postgres:17.O\n\
             no readiness probe: Ready only means that the container has\n\
             started\n\
             ●  postgres-4  outdated  available\n\
             ●  postgres-3  outdated  available\n\
             ✗  postgres-2  updated   ImagePullBackOff for 14m\n     \
             Failed 12s ago: Failed to pull image \"postgres:17.O\":\n     \
             rpc error: code = NotFound desc = failed to resolve r…\n\
             ●  postgres-1  outdated  available\n\
             ●  postgres-0  outdated  available"
        );
        let smaller = text(&frame(5), 11, 60);
        assert!(smaller.contains("Failed 12s ago") && !smaller.contains("no readiness probe"), "{smaller}");
        let smaller = text(&frame(5), 8, 60);
        assert!(smaller.contains("postgres-0") && !smaller.contains("Failed 12s ago"), "{smaller}");
        let smallest = text(&frame(5), 6, 60);
        assert!(
            smallest.contains("postgres-2") && smallest.contains("3 more, 3 of them available"),
            "{smallest}"
        );
    }

    #[test]
    fn what_scrolls_away_is_not_cut() {
        let line =
            "    14m  postgres-2: no longer available: a very long reason that needs more than one line here";
        let lines = wrap_line(line, 50);
        assert!(lines.iter().all(|line| width(line) <= 50), "{lines:#?}");
        assert_eq!(lines[0], "    14m  postgres-2: no longer available: a very");
        assert!(lines[1].starts_with("        long reason"), "{lines:#?}");
    }
}
