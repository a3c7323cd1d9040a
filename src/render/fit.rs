//! Text that fits a width, counted in the columns of a terminal: a wide character takes two, a combining mark none.

use console::measure_text_width;

/// What stands for text that was left out.
const CUT: char = '…';

/// How many columns a text takes.
pub(super) fn width(text: &str) -> usize {
    measure_text_width(text)
}

/// A text as characters with the marks that combine with them, each with its width.
fn clusters(text: &str) -> Vec<(&str, usize)> {
    let mut all: Vec<(&str, usize)> = Vec::new();
    let mut start = 0;
    let ends = text.char_indices().skip(1).map(|(at, _)| at).chain([text.len()]);
    for end in ends.filter(|end| *end > 0) {
        // A mark of no width belongs to the character before it.
        let next = text[end..].chars().next();
        if next.is_some_and(|next| width(next.encode_utf8(&mut [0; 4])) == 0) {
            continue;
        }
        let cluster = &text[start..end];
        all.push((cluster, width(cluster)));
        start = end;
    }
    all
}

/// As many clusters as fit.
fn taken<'t>(clusters: impl Iterator<Item = &'t (&'t str, usize)>, limit: usize) -> Vec<&'t str> {
    let mut used = 0;
    clusters
        .map_while(|(text, width)| {
            used += width;
            (used <= limit).then_some(*text)
        })
        .collect()
}

/// Prose cut at its end: what comes first is what it says.
pub(super) fn cut_end(text: &str, limit: usize) -> String {
    if width(text) <= limit {
        return text.to_owned();
    }
    let clusters = clusters(text);
    let head = taken(clusters.iter(), limit.saturating_sub(1)).concat();
    format!("{}{CUT}", head.trim_end())
}

/// A text in lines of at most this width, broken between words where there are any, and within them where not.
pub(super) fn broken(text: &str, limit: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let all = clusters(text);
    let mut rest = all.as_slice();
    while width(&rest.iter().map(|(text, _)| *text).collect::<String>()) > limit {
        let most = taken(rest.iter(), limit).len().max(1);
        // A word that is longer than half a line is broken.
        let space = rest[..most.min(rest.len())].iter().rposition(|(text, _)| *text == " ");
        let end = space.map(|at| at + 1).filter(|end| *end > most / 2).unwrap_or(most);
        let (line, after) = rest.split_at(end.min(rest.len()));
        lines.push(line.iter().map(|(text, _)| *text).collect());
        rest = after;
    }
    lines.push(rest.iter().map(|(text, _)| *text).collect());
    lines
}

/// A name cut in the middle: its ends tell it from others.
pub(super) fn cut_middle(text: &str, limit: usize) -> String {
    if width(text) <= limit {
        return text.to_owned();
    }
    let clusters = clusters(text);
    let room = limit.saturating_sub(1);
    let head = taken(clusters.iter(), room.div_ceil(2)).concat();
    let mut tail = taken(clusters.iter().rev(), room / 2);
    tail.reverse();
    format!("{head}{CUT}{}", tail.concat())
}

/// Prose in lines that are no wider than the limit, broken between words. A word that is wider has a line of its own.
pub(super) fn wrap(text: &str, limit: usize) -> Vec<String> {
    wrap_from(text, limit, limit)
}

/// The same, where something stands before the first line already; that stays empty if the first word does not fit.
pub(super) fn wrap_from(text: &str, first: usize, limit: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (mut used, mut room) = (0, first);
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = width(word);
        let gap = usize::from(used > 0);
        // A line of its own is no better where it would be as narrow.
        if used + gap + length > room && (used > 0 || room < limit) {
            lines.push(String::new());
            (used, room) = (0, limit);
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
    }
    lines
}

/// The width of the longest word.
pub(super) fn longest_word(text: &str) -> usize {
    text.split(' ').map(width).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn width_counts_columns_and_not_characters() {
        // Two columns each, and a mark that takes none.
        assert_eq!(cut_end("容量が足りません", 9), "容量が足…");
        assert_eq!(cut_middle("容量が足りません", 9), "容量…せん");
        let combined = "e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}e\u{301}";
        assert_eq!(width(combined), 6);
        assert_eq!(cut_end(combined, 4), "e\u{301}e\u{301}e\u{301}…");
        assert_eq!(cut_middle(combined, 5), "e\u{301}e\u{301}…e\u{301}e\u{301}");
        for limit in 1..20 {
            for text in ["容量が足りません", combined, "postgres-0", "", "a\u{301}"] {
                assert!(width(&cut_end(text, limit)) <= limit, "{text} {limit}");
                assert!(width(&cut_middle(text, limit)) <= limit, "{text} {limit}");
            }
        }
    }

    #[test]
    fn prose_is_broken_between_words_only() {
        assert_eq!(
            wrap("waiting for postgres-2 (ImagePullBackOff)", 22),
            ["waiting for postgres-2", "(ImagePullBackOff)"]
        );
        assert_eq!(wrap("a-name-that-is-wider b", 5), ["a-name-that-is-wider", "b"]);
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap_from("of the rollout", 1, 6), ["", "of the", "rollout"]);
        assert_eq!(wrap_from("of the rollout", 2, 10), ["of", "the", "rollout"]);
        assert_eq!(wrap("容量 容量 容量", 9), ["容量 容量", "容量"]);
    }
}
