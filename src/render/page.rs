//! A page of text: lines that fit the width, colour that only repeats what a word says.

use anstyle::{AnsiColor, Effects};
use console::measure_text_width;

use super::Table;
use super::fit::{broken, cut_end, longest_word, wrap_from};
use crate::paste::split_command;
use crate::text::clean;

/// How the page looks.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Columns of the terminal; `None` off a terminal, where tables are never cut.
    pub width: Option<usize>,
    /// Whether colours may be used.
    pub color: bool,
    /// Whether only ASCII may be used.
    pub ascii: bool,
    /// Whether more columns are wanted.
    pub wide: bool,
    /// Whether tables go without their first line.
    pub no_headers: bool,
}

impl Style {
    /// Off a terminal, without colour.
    pub const PLAIN: Style =
        Style { width: None, color: false, ascii: false, wide: false, no_headers: false };

    /// The same for where nothing is known of what shows it.
    #[must_use]
    pub fn plain(self) -> Style {
        Style { ascii: self.ascii, ..Style::PLAIN }
    }
}

/// A sign in front of a line. It never stands alone: a word beside it says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glyph {
    /// All is well.
    Good,
    /// On its way.
    Moving,
    /// Not there.
    Empty,
    /// Broken.
    Bad,
    /// Will break.
    Warning,
    /// Worth knowing.
    Note,
}

impl Glyph {
    pub(super) fn sign(self, ascii: bool) -> &'static str {
        match (self, ascii) {
            (Glyph::Good, false) => "●",
            (Glyph::Moving, false) => "◐",
            (Glyph::Empty, false) => "○",
            (Glyph::Bad, false) => "✗",
            (Glyph::Note, false) => "·",
            (Glyph::Warning, _) => "!",
            (Glyph::Good, true) => "*",
            (Glyph::Moving, true) => "~",
            (Glyph::Empty, true) => "o",
            (Glyph::Bad, true) => "x",
            (Glyph::Note, true) => "-",
        }
    }

    /// The sign, in colour where that is wanted.
    pub(super) fn painted(self, look: Style) -> String {
        let sign = self.sign(look.ascii);
        if look.color { format!("{0}{sign}{0:#}", self.style()) } else { sign.to_owned() }
    }

    fn style(self) -> anstyle::Style {
        let color = match self {
            Glyph::Good => AnsiColor::Green,
            Glyph::Moving | Glyph::Warning => AnsiColor::Yellow,
            Glyph::Bad => AnsiColor::Red,
            Glyph::Note => AnsiColor::Cyan,
            Glyph::Empty => return anstyle::Style::new().effects(Effects::DIMMED),
        };
        color.on_default()
    }
}

/// A page being written. Every text is stripped of what a terminal would obey.
#[derive(Debug)]
pub struct Page {
    /// How it looks.
    pub look: Style,
    text: String,
}

/// A line of a log takes at most this number of lines, and needs this number of columns.
const QUOTED_LINES: usize = 3;
const QUOTED_LEAST: usize = 30;

/// Prose is broken here off a terminal, and on wider ones.
const PROSE: usize = 100;

impl Page {
    /// An empty page.
    pub fn new(look: Style) -> Page {
        Page { look, text: String::new() }
    }

    /// The finished text.
    pub fn finish(self) -> String {
        if self.look.ascii { ascii(&self.text) } else { self.text }
    }

    /// An empty line, unless the page is empty or has one already.
    pub fn gap(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// A line as it is, never broken.
    pub fn line(&mut self, text: &str) {
        self.text.push_str(plain_spaces(&clean(text)).trim_end());
        self.text.push('\n');
    }

    /// Text that is safe already and keeps its own lines.
    pub fn raw(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Prose, broken at the width, further lines indented.
    pub fn prose(&mut self, text: &str, indent: usize) {
        self.wrapped("", &clean(text), indent);
    }

    /// A label and prose behind it, further lines under the prose.
    pub fn field(&mut self, label: &str, width: usize, text: &str) {
        let label = clean(label);
        // Without a label the prose stands where it is indented to.
        let least = if label.is_empty() { 0 } else { 2 };
        let pad = width.saturating_sub(measure_text_width(&label)).max(least);
        let head = format!("{label}{}", " ".repeat(pad));
        let indent = measure_text_width(&head);
        self.wrapped(&head, &clean(text), indent);
    }

    /// A label and a line of a log: broken anywhere, as it may have no spaces, and cut where it is too long.
    pub fn quoted(&mut self, label: &str, width: usize, text: &str) {
        let room = self.look.width.map_or(PROSE, |columns| columns.min(PROSE));
        let width = if width + QUOTED_LEAST > room { 4.min(width) } else { width };
        let room = room.saturating_sub(width + 2).max(1);
        let text = clean(text);
        let text = if self.look.ascii { ascii(&text) } else { text };
        for (number, line) in broken(&cut_end(&text, room * QUOTED_LINES), room).iter().enumerate() {
            let label = if number == 0 { label } else { "" };
            let sign = if number == 0 { "|" } else { " " };
            self.text.push_str(format!("{label:width$}{sign} {line}").trim_end());
            self.text.push('\n');
        }
    }

    /// A label and a command behind it, never broken: it is there to be pasted. Where the screen is too narrow it has a
    /// line of its own.
    pub fn command(&mut self, label: &str, width: usize, command: &str) {
        for (number, line) in command.lines().enumerate() {
            let label = if number == 0 { label } else { "" };
            let (head, line) = (format!("{label:width$}"), clean(line));
            let room = self.look.width.unwrap_or(usize::MAX);
            if measure_text_width(&head) + measure_text_width(&line) <= room {
                self.text.push_str(&head);
            } else {
                if !label.is_empty() {
                    self.text.push_str(label.trim_end());
                    self.text.push('\n');
                }
                self.text.push_str("    ");
            }
            self.text.push_str(&line);
            self.text.push('\n');
        }
    }

    /// A label and a hint behind it: prose, and often a command at its end, which is never broken. It stands on a line of
    /// its own unless both fit on one.
    pub fn hint(&mut self, label: &str, width: usize, hint: &str) {
        let room = self.look.width.map_or(PROSE, |columns| columns.min(PROSE));
        for (number, line) in hint.lines().enumerate() {
            let label = if number == 0 { label } else { "" };
            let Some((prose, command)) = split_command(line) else {
                self.field(label, width, line);
                continue;
            };
            if prose.is_empty() {
                self.command(label, width, command);
            } else if width + measure_text_width(&clean(line)) <= room {
                self.text.push_str(&format!("{label:width$}{}\n", clean(line)));
            } else {
                self.field(label, width, prose);
                self.command("", width + 2, command);
            }
        }
    }

    /// A sign, a heading and prose behind it.
    pub fn sign(&mut self, glyph: Glyph, heading: &str, text: &str) {
        let sign = self.painted(glyph);
        let start = self.text.len();
        let head = format!("{} {}", glyph.sign(false), clean(heading));
        self.wrapped(&format!("{head}   "), &clean(text), 4);
        self.text.replace_range(start..start + glyph.sign(false).len(), &sign);
    }

    /// A table, fitted to the width on a terminal.
    pub fn table(&mut self, table: &Table) {
        for line in table.lines(self.look) {
            let sign = line.glyph.map(|glyph| (glyph.sign(self.look.ascii), self.painted(glyph)));
            let text = match sign {
                Some((plain, painted)) if line.text.starts_with(plain) => painted + &line.text[plain.len()..],
                _ => line.text,
            };
            self.text.push_str(text.trim_end());
            self.text.push('\n');
        }
    }

    fn painted(&self, glyph: Glyph) -> String {
        glyph.painted(self.look)
    }

    pub(super) fn wrapped(&mut self, head: &str, text: &str, indent: usize) {
        let room = self.look.width.map_or(PROSE, |width| width.min(PROSE));
        let text = if self.look.ascii { ascii(text) } else { text.to_owned() };
        // Under a long label there may be no room left.
        let indent = if indent + longest_word(&text) > room { indent.min(4) } else { indent };
        let first = room.saturating_sub(measure_text_width(head));
        for (number, line) in wrap_from(&text, first, room.saturating_sub(indent)).into_iter().enumerate() {
            let start = if number == 0 { head.to_owned() } else { " ".repeat(indent) };
            self.text.push_str(plain_spaces(&(start + &line)).trim_end());
            self.text.push('\n');
        }
    }
}

/// Spaces that keep a name on one line are written as any other, as they may be copied.
fn plain_spaces(text: &str) -> String {
    text.replace('\u{a0}', " ")
}

/// The few signs beyond ASCII that this tool writes itself, in ASCII. Names and messages of the cluster stay.
pub(super) fn ascii(text: &str) -> String {
    // One for one where it can be, so that what fits still fits.
    text.replace('→', "->").replace(['─', '–'], "-").replace('…', "~").replace('×', "x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_broken_between_words_and_commands_never() {
        let mut page = Page::new(Style { width: Some(40), ..Style::PLAIN });
        page.field("  because", 11, "it runs the abandoned revision and is in ImagePullBackOff for 14m");
        page.command("  try", 11, "kubectl delete pod postgres-2 -n a-namespace-with-a-long-name");
        assert_eq!(
            page.finish(),
            "  because  it runs the abandoned\n           revision and is in\n           ImagePullBackOff for 14m\n  \
             try\n    kubectl delete pod postgres-2 -n a-namespace-with-a-long-name\n"
        );
    }

    #[test]
    fn no_line_is_broken_within_a_name() {
        let mut page = Page::new(Style { width: Some(30), ..Style::PLAIN });
        page.prose("recover web in shop (context\u{a0}\"a\u{a0}b\")", 4);
        assert_eq!(page.finish(), "recover web in shop\n    (context \"a b\")\n");
    }

    #[test]
    fn escapes_of_the_cluster_do_not_reach_the_terminal() {
        let mut page = Page::new(Style { color: true, ..Style::PLAIN });
        page.line("a\u{1b}[31mb");
        page.sign(Glyph::Bad, "c\u{1b}]0;x\u{7}", "d\u{9b}2Je");
        assert_eq!(page.finish(), "ab\n\u{1b}[31m✗\u{1b}[0m c   de\n");
    }
}
