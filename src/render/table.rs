//! Tables in kubectl's layout, fitted to the terminal: the only place that knows comfy-table, which lays out each row.
//!
//! Where the screen is too narrow, columns are left out as a whole, the last optional one first, and a line says how many.
//! Nothing else is lost: prose goes on in further lines, and where even that is too narrow on lines of its own under the row.

use std::borrow::Cow;

use comfy_table::{ColumnConstraint, ContentArrangement, Width, presets};

use super::fit::{cut_end, cut_middle, longest_word, width, wrap};
use super::page::ascii;
use super::{Glyph, Style};
use crate::text::clean;

/// What becomes of a text that is too wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excess {
    /// A name: cut in the middle, when nothing else helps.
    Middle,
    /// Prose that may lose its end.
    End,
    /// Prose of which nothing may be lost: it goes on in further lines.
    Wrap,
}

/// When a column is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Always,
    IfItFits,
    /// As the one before, also where nothing is in it.
    AskedFor,
    Wide,
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    title: Cow<'static, str>,
    shown: Shown,
    excess: Excess,
}

impl Column {
    /// A column that is always shown.
    pub const fn new(title: &'static str) -> Column {
        Column { title: Cow::Borrowed(title), shown: Shown::Always, excess: Excess::Middle }
    }

    /// A column that is left out where the screen is too narrow: the last one first.
    pub const fn optional(title: &'static str) -> Column {
        Column { title: Cow::Borrowed(title), shown: Shown::IfItFits, excess: Excess::Middle }
    }

    /// A column of words that is always shown and never cut: it goes on in further lines. Only the last one may be.
    pub const fn prose(title: &'static str) -> Column {
        Column { title: Cow::Borrowed(title), shown: Shown::Always, excess: Excess::Wrap }
    }

    /// A column of words that are cut at their end before it is left out.
    pub const fn remark(title: &'static str) -> Column {
        Column { title: Cow::Borrowed(title), shown: Shown::IfItFits, excess: Excess::End }
    }

    /// A column that somebody asked for by its title, left out only where the screen is too narrow.
    pub fn titled(title: &str) -> Column {
        Column { title: Cow::Owned(clean(title)), shown: Shown::AskedFor, excess: Excess::Middle }
    }

    /// A column of `-o wide`.
    pub const fn wide(title: &'static str) -> Column {
        Column { title: Cow::Borrowed(title), shown: Shown::Wide, excess: Excess::Middle }
    }
}

/// A cell: plain text.
pub type Cell = String;

#[derive(Debug)]
enum Row {
    Cells(Option<Glyph>, Vec<Cell>),
    Ruler(String),
}

/// A table with an optional sign in front of each row.
#[derive(Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Row>,
}

/// A line of a table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its sign, with which the text begins.
    pub(super) glyph: Option<Glyph>,
    pub(super) text: String,
}

/// No name is shortened below this.
const SHORTEST: usize = 12;
/// A remark is not cut below this before its column is left out, and prose not squeezed below it.
const NARROW: usize = 16;
/// Between columns; the smaller one where the screen is narrow.
const GAPS: [usize; 2] = [3, 2];
/// A sign and what follows it.
const SIGN: usize = 3;

/// Which columns are shown, and how wide.
struct Layout {
    shown: Vec<usize>,
    limits: Vec<usize>,
    gap: usize,
    signs: bool,
    /// The column whose cells stand under their rows.
    below: Option<usize>,
    hidden: usize,
}

impl Layout {
    /// The lines of a row whose cells fit.
    fn lines(&self, cells: Vec<Cell>) -> Vec<String> {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.add_row(cells);
        let last = self.limits.len().saturating_sub(1);
        for (number, (column, limit)) in table.column_iter_mut().zip(&self.limits).enumerate() {
            let gap = u16::try_from(if number == last { 0 } else { self.gap }).unwrap_or(0);
            column.set_padding((0, gap));
            let width = u16::try_from(*limit).unwrap_or(u16::MAX).saturating_add(gap);
            column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
        }
        table.lines().collect()
    }
}

impl Table {
    /// An empty table.
    pub fn new(columns: &[Column]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; it needs a cell for each column.
    pub fn row(&mut self, glyph: Option<Glyph>, cells: Vec<Cell>) {
        self.rows.push(Row::Cells(glyph, cells.into_iter().map(|cell| clean(&cell)).collect()));
    }

    /// Adds a line across the table with a word in it.
    pub fn ruler(&mut self, word: impl Into<String>) {
        self.rows.push(Row::Ruler(clean(&word.into())));
    }

    /// The lines, fitted to the look's width where it has one; with `-o wide` never.
    pub(super) fn lines(&self, look: Style) -> Vec<Line> {
        let room = look.width.filter(|_| !look.wide);
        let layout = self.layout(look, room);
        let titles: Vec<Cell> = self.columns.iter().map(|column| column.title.to_string()).collect();
        let mut out = Vec::new();
        if !look.no_headers {
            self.write_row(&layout, None, &titles, room, look, &mut out);
        }
        for row in &self.rows {
            match row {
                Row::Cells(glyph, cells) => self.write_row(&layout, *glyph, cells, room, look, &mut out),
                Row::Ruler(word) => out.push(Line { glyph: None, text: format!("── {word}") }),
            }
        }
        let widest = out.iter().map(|line| width(line.text.trim_end())).max().unwrap_or(0);
        let widest = room.map_or(widest, |room| widest.min(room));
        for line in out.iter_mut().filter(|line| line.text.starts_with("── ")) {
            line.text = cut_end(&line.text, widest);
            let rest = widest.saturating_sub(width(&line.text) + 1);
            if rest > 0 {
                line.text.push(' ');
                line.text.push_str(&"─".repeat(rest));
            }
        }
        if layout.hidden > 0 {
            let columns = if layout.hidden == 1 { "column" } else { "columns" };
            let text = format!("{} {columns} hidden: -o wide", layout.hidden);
            out.push(Line { glyph: None, text });
        }
        out
    }

    /// Writes a row: one line, and more where prose goes on.
    fn write_row(
        &self,
        layout: &Layout,
        glyph: Option<Glyph>,
        cells: &[Cell],
        room: Option<usize>,
        look: Style,
        out: &mut Vec<Line>,
    ) {
        // What continues the row above it may say nothing in the columns that are left.
        if glyph.is_none() && layout.shown.iter().all(|column| cells[*column].is_empty()) {
            return;
        }
        let fitted = layout.shown.iter().zip(&layout.limits).map(|(column, limit)| {
            let cell = &if look.ascii { ascii(&cells[*column]) } else { cells[*column].clone() };
            match self.columns[*column].excess {
                Excess::Middle => cut_middle(cell, *limit),
                Excess::End => cut_end(cell, *limit),
                Excess::Wrap => wrap(cell, *limit).join("\n"),
            }
        });
        for (number, line) in layout.lines(fitted.collect()).into_iter().enumerate() {
            let glyph = glyph.filter(|_| number == 0);
            let sign = glyph.map_or(" ", |glyph| glyph.sign(look.ascii));
            let text = if layout.signs { format!("{sign:SIGN$}{line}") } else { line };
            out.push(Line { glyph, text: text.trim_end().to_owned() });
        }
        let Some(below) = layout.below else { return };
        // Its title stands in front of each, as it heads no column.
        let (title, cell) = (&self.columns[below].title, &cells[below]);
        if cell != title && !is_empty(cell) {
            let indent = if layout.signs { SIGN } else { 2 };
            let label = format!("{}: ", title.to_lowercase());
            let limit = room.unwrap_or(usize::MAX).saturating_sub(indent + 2);
            for (number, line) in wrap(&format!("{label}{cell}"), limit).into_iter().enumerate() {
                let indent = if number == 0 { indent } else { indent + 2 };
                out.push(Line { glyph: None, text: format!("{}{line}", " ".repeat(indent)) });
            }
        }
    }

    /// Which columns fit, and how wide they may be.
    fn layout(&self, look: Style, room: Option<usize>) -> Layout {
        let mut shown: Vec<usize> = (0..self.columns.len())
            .filter(|index| look.wide || self.columns[*index].shown != Shown::Wide)
            .collect();
        // A column in which nothing is ever said tells nothing.
        shown.retain(|column| {
            matches!(self.columns[*column].shown, Shown::Always | Shown::AskedFor)
                || self.rows.is_empty()
                || self.says_something(*column)
        });
        let signs = self.rows.iter().any(|row| matches!(row, Row::Cells(Some(_), _)));
        let mut layout = Layout { shown, limits: Vec::new(), gap: GAPS[0], signs, below: None, hidden: 0 };
        let Some(room) = room else {
            layout.limits = layout.shown.iter().map(|column| self.widest(*column)).collect();
            return layout;
        };
        loop {
            // A smaller gap is better than prose that goes on in a further line.
            let needs: [fn(&Table, usize) -> usize; 2] = [Table::widest, Table::narrowest];
            let fits = needs
                .into_iter()
                .find_map(|need| GAPS.into_iter().find(|gap| self.total(&layout, *gap, need) <= room));
            layout.gap = fits.unwrap_or(GAPS[1]);
            if fits.is_some() {
                break;
            }
            let optional = |column: &usize| self.columns[*column].shown != Shown::Always;
            if let Some(at) = layout.shown.iter().rposition(optional) {
                layout.shown.remove(at);
                layout.hidden += 1;
            } else if let Some(at) =
                layout.shown.iter().position(|column| self.columns[*column].excess == Excess::Wrap)
            {
                layout.below = Some(layout.shown.remove(at));
            } else {
                break;
            }
        }
        layout.limits = self.limits(&layout, room);
        layout
    }

    fn says_something(&self, column: usize) -> bool {
        self.rows.iter().any(|row| matches!(row, Row::Cells(_, cells) if !is_empty(&cells[column])))
    }

    /// How wide each column may be: prose takes what is left, and then names are shortened, the widest first.
    fn limits(&self, layout: &Layout, room: usize) -> Vec<usize> {
        let mut limits: Vec<usize> = layout.shown.iter().map(|column| self.widest(*column)).collect();
        let gaps = layout.gap * limits.len().saturating_sub(1) + if layout.signs { SIGN } else { 0 };
        let mut over = (limits.iter().sum::<usize>() + gaps).saturating_sub(room);
        for (column, limit) in layout.shown.iter().zip(&mut limits) {
            let spare = limit.saturating_sub(self.narrowest(*column)).min(over);
            *limit -= spare;
            over -= spare;
        }
        while over > 0 {
            let Some(widest) = limits.iter_mut().max().filter(|widest| **widest > SHORTEST) else { break };
            *widest -= 1;
            over -= 1;
        }
        limits
    }

    /// The width of the table, if each column needs so much.
    fn total(&self, layout: &Layout, gap: usize, need: fn(&Table, usize) -> usize) -> usize {
        let columns: usize = layout.shown.iter().map(|column| need(self, *column)).sum();
        columns + gap * layout.shown.len().saturating_sub(1) + if layout.signs { SIGN } else { 0 }
    }

    /// The least a column needs.
    fn narrowest(&self, column: usize) -> usize {
        let widest = self.widest(column);
        match self.columns[column].excess {
            Excess::Middle => widest,
            Excess::End => widest.min(NARROW),
            Excess::Wrap => {
                let longest = self.cells(column).map(longest_word).max().unwrap_or(0);
                widest.min(longest.max(NARROW))
            }
        }
    }

    fn widest(&self, column: usize) -> usize {
        self.cells(column).map(width).max().unwrap_or(0).max(self.columns[column].title.len())
    }

    fn cells(&self, column: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().filter_map(move |row| match row {
            Row::Cells(_, cells) => Some(cells[column].as_str()),
            Row::Ruler(_) => None,
        })
    }
}

fn is_empty(cell: &str) -> bool {
    matches!(cell, "" | "–" | "<none>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&[
            Column::new("POD"),
            Column::new("STATE"),
            Column::optional("NODE"),
            Column::wide("IP"),
        ]);
        table
            .row(Some(Glyph::Good), ["postgres-1", "Running", "node-b", "10.0.0.1"].map(String::from).into());
        table.ruler("partition 1");
        table.row(
            Some(Glyph::Bad),
            ["postgres-0", "ImagePullBackOff", "node-a", "10.0.0.2"].map(String::from).into(),
        );
        table
    }

    fn text_of(table: &Table, look: Style) -> String {
        table.lines(look).into_iter().map(|line| line.text + "\n").collect()
    }

    fn text(look: Style) -> String {
        text_of(&table(), look)
    }

    fn narrow(width: usize) -> Style {
        Style { width: Some(width), ..Style::PLAIN }
    }

    #[test]
    fn looks_like_kubectl_with_signs_and_rulers() {
        assert_eq!(
            text(Style::PLAIN),
            "   POD          STATE              NODE\n\
             ●  postgres-1   Running            node-b\n\
             ── partition 1 ──────────────────────────\n\
             ✗  postgres-0   ImagePullBackOff   node-a\n"
        );
    }

    #[test]
    fn narrow_screens_lose_gaps_then_columns_and_say_so_then_the_middle_of_names() {
        assert!(text(narrow(39)).contains("✗  postgres-0  ImagePullBackOff  node-a\n"));
        assert_eq!(
            text(narrow(34)),
            "   POD          STATE\n\
             ●  postgres-1   Running\n\
             ── partition 1 ─────────────────\n\
             ✗  postgres-0   ImagePullBackOff\n\
             1 column hidden: -o wide\n"
        );
        let narrow = text(narrow(30));
        assert!(narrow.contains("✗  postgres-0  ImagePu…BackOff"), "{narrow}");
    }

    #[test]
    fn wide_never_loses_a_column() {
        let wide = text(Style { wide: true, ..narrow(20) });
        assert!(wide.contains("✗  postgres-0   ImagePullBackOff   node-a   10.0.0.2\n"), "{wide}");
        assert!(!wide.contains("hidden"), "{wide}");
    }

    #[test]
    fn prose_goes_on_in_further_lines_and_then_under_the_row() {
        let mut table = Table::new(&[Column::new("NAME"), Column::optional("NODE"), Column::prose("NEXT")]);
        let cells = ["postgres", "node-1", "waiting for postgres-2 (ImagePullBackOff)"];
        table.row(Some(Glyph::Bad), cells.map(String::from).into());
        table.row(Some(Glyph::Good), ["web", "node-2", "–"].map(String::from).into());
        assert_eq!(
            text_of(&table, narrow(46)),
            "   NAME       NODE     NEXT\n\
             ✗  postgres   node-1   waiting for postgres-2\n\
             \x20                      (ImagePullBackOff)\n\
             ●  web        node-2   –\n"
        );
        assert_eq!(
            text_of(&table, narrow(28)),
            "   NAME\n\
             ✗  postgres\n\
             \x20  next: waiting for\n\
             \x20    postgres-2\n\
             \x20    (ImagePullBackOff)\n\
             ●  web\n\
             1 column hidden: -o wide\n"
        );
    }

    #[test]
    fn remarks_lose_their_end_before_they_go() {
        let mut table = Table::new(&[Column::new("NAME"), Column::remark("CHANGE-CAUSE")]);
        table.row(None, ["web", "kubectl set image sts/web web=web:2"].map(String::from).into());
        assert!(text_of(&table, narrow(30)).contains("web    kubectl set image sts/…\n"));
        assert!(text_of(&table, narrow(18)).contains("1 column hidden"));
    }

    #[test]
    fn columns_line_up_by_width_and_not_by_characters() {
        let mut table = Table::new(&[Column::new("NAME"), Column::new("NODE")]);
        table.row(None, ["容量", "a"].map(String::from).into());
        table.row(None, ["e\u{301}e\u{301}", "b"].map(String::from).into());
        assert_eq!(text_of(&table, Style::PLAIN), "NAME   NODE\n容量   a\ne\u{301}e\u{301}     b\n");
    }
}
