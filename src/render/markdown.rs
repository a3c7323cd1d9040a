//! Markdown for a terminal: as much of it as the pages of the rules use.

use super::Page;
use crate::text::clean;

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Block<'a> {
    Heading(&'a str),
    Paragraph(String),
    /// The mark in front of it, and the text.
    Item(&'a str, String),
    /// Lines that are shown as they are.
    Code(Vec<&'a str>),
}

/// Writes a text behind a label, everything under it indented as far.
pub fn write_labelled_markdown(page: &mut Page, label: &str, width: usize, text: &str) {
    let mut label = label;
    for block in blocks(text) {
        write(page, &format!("{:width$}", std::mem::take(&mut label)), block);
    }
}

/// Writes a text with its headings, indented under them.
pub fn write_markdown(page: &mut Page, text: &str) {
    for block in blocks(text) {
        if !matches!(block, Block::Item(..)) {
            page.gap();
        }
        match block {
            Block::Heading(text) => page.line(text),
            Block::Code(_) => write(page, "    ", block),
            Block::Paragraph(_) | Block::Item(..) => write(page, "  ", block),
        }
    }
}

/// Writes a block behind a head, and its further lines under it.
fn write(page: &mut Page, head: &str, block: Block<'_>) {
    let width = head.chars().count();
    match block {
        Block::Heading(text) => page.wrapped(head, &clean(text), width),
        Block::Paragraph(text) => page.wrapped(head, &clean(&text), width),
        Block::Item(mark, text) => {
            page.wrapped(&format!("{head}{mark} "), &clean(&text), width + mark.chars().count() + 1);
        }
        Block::Code(lines) => {
            for (number, line) in lines.into_iter().enumerate() {
                let head = if number == 0 { head.to_owned() } else { " ".repeat(width) };
                page.line(&format!("{head}{line}"));
            }
        }
    }
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut all: Vec<Block<'_>> = Vec::new();
    // Whether the next line of prose belongs to what is before it.
    let mut open = false;
    let mut fenced = false;
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
            if fenced {
                all.push(Block::Code(Vec::new()));
            }
            open = false;
            continue;
        }
        if let (true, Some(Block::Code(lines))) = (fenced, all.last_mut()) {
            lines.push(line);
            continue;
        }
        if line.trim().is_empty() {
            open = false;
            continue;
        }
        if let Some(code) = line.strip_prefix("    ") {
            match all.last_mut() {
                Some(Block::Code(lines)) => lines.push(code),
                _ => all.push(Block::Code(vec![code])),
            }
            open = false;
            continue;
        }
        if let Some(heading) = line.strip_prefix("## ") {
            all.push(Block::Heading(heading));
            open = false;
            continue;
        }
        if let Some((mark, text)) = item(line) {
            all.push(Block::Item(mark, plain(text)));
            open = true;
            continue;
        }
        match all.last_mut() {
            Some(Block::Paragraph(text) | Block::Item(_, text)) if open => {
                text.push(' ');
                text.push_str(&plain(line.trim()));
            }
            _ => all.push(Block::Paragraph(plain(line.trim()))),
        }
        open = true;
    }
    all
}

/// The mark of an item of a list, and its text.
fn item(line: &str) -> Option<(&str, &str)> {
    let (mark, text) = line.split_once(' ')?;
    let number = mark.strip_suffix('.').is_some_and(|digits| digits.parse::<u8>().is_ok());
    (mark == "-" || number).then_some((mark, text))
}

/// A line without its marks: code without its ticks, links with their addresses behind them.
fn plain(line: &str) -> String {
    let mut out = String::new();
    for (number, part) in line.split('`').enumerate() {
        if number % 2 == 1 {
            out.push_str(part);
            continue;
        }
        let mut rest = part.replace("**", "");
        while let Some((before, link)) = rest.split_once('[')
            && let Some((text, after)) = link.split_once("](")
            && let Some((address, after)) = after.split_once(')')
        {
            out.push_str(&format!("{before}{text} ({address})"));
            rest = after.to_owned();
        }
        out.push_str(&rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Style;

    #[test]
    fn marks_are_taken_away_and_words_are_not() {
        for (text, shown) in [
            ("use `kubectl get pv -o yaml`, **not** `**`", "use kubectl get pv -o yaml, not **"),
            ("see [the issue](https://x.test/1) and [a]", "see the issue (https://x.test/1) and [a]"),
        ] {
            assert_eq!(plain(text), shown);
        }
    }

    #[test]
    fn lists_and_commands_hang_under_their_label() {
        let mut page = Page::new(Style::PLAIN);
        write_labelled_markdown(
            &mut page,
            "fix",
            8,
            "Do\nthis:\n\n    kubectl get pv\n    kubectl get pvc\n\n- one\n  more\n- two",
        );
        let shown = "fix     Do this:\n        kubectl get pv\n        kubectl get pvc\n        - one more\n        - two\n";
        assert_eq!(page.finish(), shown);
    }

    #[test]
    fn fenced_lines_are_shown_as_they_are() {
        let mut page = Page::new(Style::PLAIN);
        write_markdown(&mut page, "## A case\n\nProse.\n\n```yaml\na: `b`\n\n# c\n```");
        assert_eq!(page.finish(), "A case\n\n  Prose.\n\n    a: `b`\n\n    # c\n");
    }
}
