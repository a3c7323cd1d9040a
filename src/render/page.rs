//! A page of text: lines that fit the width, colour that only repeats what a word says.

use anstyle::{AnsiColor, Effects};
use console::measure_text_width;

use super::Table;
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
}

impl Style {
    /// Off a terminal, without colour.
    pub const PLAIN: Style = Style { width: None, color: false, ascii: false, wide: false };
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
        self.text.push_str(clean(text).trim_end());
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
        let pad = width.saturating_sub(measure_text_width(&label)).max(2);
        let head = format!("{label}{}", " ".repeat(pad));
        let indent = measure_text_width(&head);
        self.wrapped(&head, &clean(text), indent);
    }

    /// A label and a command behind it, never broken: it is there to be pasted.
    pub fn command(&mut self, label: &str, width: usize, command: &str) {
        for (number, line) in command.lines().enumerate() {
            let label = if number == 0 { label } else { "" };
            self.text.push_str(&format!("{label:width$}{}", clean(line)));
            self.text.push('\n');
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
        for (glyph, line) in table.lines(self.look) {
            let sign = glyph.map(|glyph| (glyph.sign(self.look.ascii), self.painted(glyph)));
            let line = match sign {
                Some((plain, painted)) if line.starts_with(plain) => painted + &line[plain.len()..],
                _ => line,
            };
            self.text.push_str(line.trim_end());
            self.text.push('\n');
        }
    }

    fn painted(&self, glyph: Glyph) -> String {
        glyph.painted(self.look)
    }

    fn wrapped(&mut self, head: &str, text: &str, indent: usize) {
        let width = self.look.width.map_or(PROSE, |width| width.min(PROSE)).max(indent + 20);
        let mut line = head.to_owned();
        let mut used = measure_text_width(head);
        let mut fresh = true;
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let length = measure_text_width(word);
            if !fresh && used + 1 + length > width || fresh && used > indent && used + length > width {
                self.text.push_str(line.trim_end());
                self.text.push('\n');
                line = " ".repeat(indent);
                used = indent;
                fresh = true;
            }
            if !fresh {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
            fresh = false;
        }
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}

/// The few signs beyond ASCII that this tool writes itself, in ASCII. Names and messages of the cluster stay.
fn ascii(text: &str) -> String {
    text.replace('→', "->").replace(['─', '–'], "-").replace('…', "..").replace('×', "x")
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
             try      kubectl delete pod postgres-2 -n a-namespace-with-a-long-name\n"
        );
    }

    #[test]
    fn escapes_of_the_cluster_do_not_reach_the_terminal() {
        let mut page = Page::new(Style { color: true, ..Style::PLAIN });
        page.line("a\u{1b}[31mb");
        page.sign(Glyph::Bad, "c\u{1b}]0;x\u{7}", "d\u{9b}2Je");
        assert_eq!(page.finish(), "ab\n\u{1b}[31m✗\u{1b}[0m c   de\n");
    }
}
