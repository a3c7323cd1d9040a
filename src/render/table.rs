//! Tables in kubectl's layout, the only place that knows comfy-table.

use comfy_table::{ColumnConstraint, ContentArrangement, presets};
use console::measure_text_width;

use super::{Glyph, Style};
use crate::text::clean;

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub title: &'static str,
    /// Whether it may be dropped where the screen is too narrow.
    pub optional: bool,
    /// Whether it is shown with `-o wide` only.
    pub wide: bool,
    /// Whether its text may be shortened before columns are dropped for it.
    pub elastic: bool,
}

impl Column {
    /// A column that is always shown.
    pub const fn new(title: &'static str) -> Column {
        Column { title, optional: false, wide: false, elastic: false }
    }

    /// A column that goes first where the screen is too narrow.
    pub const fn optional(title: &'static str) -> Column {
        Column { title, optional: true, wide: false, elastic: false }
    }

    /// A column of words, shortened before it goes.
    pub const fn elastic(title: &'static str) -> Column {
        Column { title, optional: true, wide: false, elastic: true }
    }

    /// A column of `-o wide`.
    pub const fn wide(title: &'static str) -> Column {
        Column { title, optional: true, wide: true, elastic: false }
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

/// No name is shortened below this.
const SHORTEST: usize = 12;
/// An elastic column is not shortened below this before it is dropped.
const ELASTIC: usize = 16;
const GAP: usize = 3;

impl Table {
    /// An empty table.
    pub fn new(columns: &[Column]) -> Table {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row; it needs a cell for each column.
    pub fn row(&mut self, glyph: Option<Glyph>, cells: Vec<Cell>) {
        self.rows.push(Row::Cells(glyph, cells));
    }

    /// Adds a line across the table with a word in it.
    pub fn ruler(&mut self, word: impl Into<String>) {
        self.rows.push(Row::Ruler(word.into()));
    }

    /// The lines, each with its sign, fitted to the look's width where it has one.
    pub fn lines(&self, look: Style) -> Vec<(Option<Glyph>, String)> {
        let signs = self.rows.iter().any(|row| matches!(row, Row::Cells(Some(_), _)));
        let shown = self.shown(look, signs);
        let limits = self.limits(&shown, look, signs);
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let cells = |glyph: Option<&str>, cells: &[Cell]| -> Vec<String> {
            let sign = signs.then(|| glyph.unwrap_or(" ").to_owned());
            let texts =
                shown.iter().zip(&limits).map(|(column, limit)| shorten(&clean(&cells[*column]), *limit));
            sign.into_iter().chain(texts).collect()
        };
        let header: Vec<Cell> = self.columns.iter().map(|column| column.title.to_owned()).collect();
        table.add_row(cells(None, &header));
        for row in &self.rows {
            if let Row::Cells(glyph, row) = row {
                table.add_row(cells(glyph.map(|glyph| glyph.sign(look.ascii)), row));
            }
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            let gap = if signs && index == 0 { 2 } else { GAP };
            column.set_padding((0, u16::try_from(gap).unwrap_or(3)));
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
        let mut lines = table.lines();
        let head = lines.next().unwrap_or_default();
        let body: Vec<String> = lines.collect();
        let width =
            body.iter().chain([&head]).map(|line| measure_text_width(line.trim_end())).max().unwrap_or(0);
        let mut body = body.into_iter();
        let mut out = vec![(None, head)];
        for row in &self.rows {
            match row {
                Row::Cells(glyph, _) => out.push((*glyph, body.next().unwrap_or_default())),
                Row::Ruler(word) => {
                    let word = format!("── {} ", clean(word));
                    let rest = width.saturating_sub(measure_text_width(&word));
                    out.push((None, format!("{word}{}", "─".repeat(rest))));
                }
            }
        }
        out
    }

    /// Which columns fit: optional ones are dropped from the right.
    fn shown(&self, look: Style, signs: bool) -> Vec<usize> {
        let mut shown: Vec<usize> =
            (0..self.columns.len()).filter(|index| look.wide || !self.columns[*index].wide).collect();
        // A column in which nothing is ever said tells nothing.
        shown.retain(|column| {
            !self.columns[*column].optional || self.rows.is_empty() || self.says_something(*column)
        });
        let Some(width) = look.width else { return shown };
        while self.least(&shown, signs) > width {
            let Some(at) = shown.iter().rposition(|column| self.columns[*column].optional) else { break };
            shown.remove(at);
        }
        shown
    }

    fn says_something(&self, column: usize) -> bool {
        self.rows.iter().any(|row| match row {
            Row::Cells(_, cells) => !matches!(cells[column].as_str(), "" | "–" | "<none>"),
            Row::Ruler(_) => false,
        })
    }

    /// How wide each column may be: the widest are shortened until all fit.
    fn limits(&self, shown: &[usize], look: Style, signs: bool) -> Vec<usize> {
        let mut limits: Vec<usize> = shown.iter().map(|column| self.widest(*column)).collect();
        let Some(width) = look.width else { return limits };
        let mut over = self.total(shown, signs).saturating_sub(width);
        while over > 0 {
            let Some(widest) = limits.iter_mut().max().filter(|widest| **widest > SHORTEST) else { break };
            *widest -= 1;
            over -= 1;
        }
        limits
    }

    /// The width below which a column has to go.
    fn least(&self, shown: &[usize], signs: bool) -> usize {
        let spare = |column: &&usize| self.columns[**column].elastic;
        let spared: usize =
            shown.iter().filter(spare).map(|column| self.widest(*column).saturating_sub(ELASTIC)).sum();
        self.total(shown, signs) - spared
    }

    fn total(&self, shown: &[usize], signs: bool) -> usize {
        let columns: usize = shown.iter().map(|column| self.widest(*column)).sum();
        columns + GAP * shown.len().saturating_sub(1) + if signs { 3 } else { 0 }
    }

    fn widest(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| match row {
            Row::Cells(_, cells) => Some(measure_text_width(&clean(&cells[column]))),
            Row::Ruler(_) => None,
        });
        cells.max().unwrap_or(0).max(self.columns[column].title.len())
    }
}

/// Shortened in the middle: the ends of names tell them apart.
fn shorten(text: &str, limit: usize) -> String {
    if measure_text_width(text) <= limit {
        return text.to_owned();
    }
    let chars: Vec<char> = text.chars().collect();
    let (head, tail) = (limit.saturating_sub(1).div_ceil(2), limit.saturating_sub(1) / 2);
    let tail = chars[chars.len().saturating_sub(tail)..].iter();
    chars.iter().take(head).chain(['…'].iter()).chain(tail).collect()
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

    fn text(look: Style) -> String {
        table().lines(look).into_iter().map(|(_, line)| line.trim_end().to_owned() + "\n").collect()
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
    fn narrow_screens_lose_columns_from_the_right_then_the_middle_of_names() {
        assert_eq!(
            text(Style { width: Some(34), ..Style::PLAIN }),
            "   POD          STATE\n\
             ●  postgres-1   Running\n\
             ── partition 1 ─────────────────\n\
             ✗  postgres-0   ImagePullBackOff\n"
        );
        let narrow = text(Style { width: Some(30), ..Style::PLAIN });
        assert!(narrow.contains("✗  postgres-0   ImagePu…ackOff"), "{narrow}");
    }
}
