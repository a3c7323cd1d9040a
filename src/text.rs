//! Text from the cluster, made safe for a terminal.

use std::iter::Peekable;
use std::str::Chars;

/// `text` on one line, without anything a terminal would obey or an eye would miss: ANSI and OSC escapes, controls
/// and hidden characters ([`is_hidden`]) are dropped; tabs and line breaks become spaces.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_escape(&mut rest),
            '\u{9b}' => skip_csi(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut rest),
            '\r' if rest.peek() == Some(&'\n') => {}
            '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => out.push(' '),
            c if is_hidden(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// What follows an ESC: a CSI sequence, a control string, or one intermediate-and-final pair.
fn skip_escape(rest: &mut Peekable<Chars<'_>>) {
    match rest.peek() {
        Some('[') => {
            rest.next();
            skip_csi(rest);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            rest.next();
            skip_string(rest);
        }
        Some(' '..='/') => {
            while rest.next_if(|c| (' '..='/').contains(c)).is_some() {}
            rest.next_if(|c| ('0'..='~').contains(c));
        }
        Some('0'..='~') => {
            rest.next();
        }
        _ => {}
    }
}

fn skip_csi(rest: &mut Peekable<Chars<'_>>) {
    while rest.next_if(|c| (' '..='?').contains(c)).is_some() {}
    rest.next_if(|c| ('@'..='~').contains(c));
}

/// A control string ends with BEL or ST. Without an end only its introducer is dropped, so that a lone escape cannot
/// hide the rest of a message.
fn skip_string(rest: &mut Peekable<Chars<'_>>) {
    let mut ahead = rest.clone();
    while let Some(c) = ahead.next() {
        let ended = match c {
            '\u{7}' | '\u{9c}' => true,
            '\u{1b}' => ahead.next_if_eq(&'\\').is_some(),
            _ => false,
        };
        if ended {
            *rest = ahead;
            return;
        }
    }
}

/// Whether a character is not seen where it stands: controls, marks that change the direction of text, fillers of no width,
/// variation selectors and tags. With them one text can look like another, or hide a third.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{70f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// `text` cleaned, its runs of spaces closed up, and cut to at most `limit` characters with `…` as the last.
pub fn one_line(text: &str, limit: usize) -> String {
    let words = clean(text).split_whitespace().collect::<Vec<_>>().join(" ");
    match words.char_indices().nth(limit) {
        None => words,
        Some(_) => words.chars().take(limit.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// At most 60 characters of a text in quotes, with an escape for each that is not seen.
pub fn in_quotes(text: &str) -> String {
    let mut shown = String::from('"');
    for c in text.chars().take(60) {
        if is_hidden(c) || c.is_whitespace() && c != ' ' || matches!(c, '"' | '\\') {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown + "\"" + if text.chars().nth(60).is_some() { "…" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_plain_text_and_drops_what_a_terminal_would_obey() {
        for (given, wanted) in [
            ("", ""),
            ("web-0 is not ready", "web-0 is not ready"),
            ("Größe 容量 🚀", "Größe 容量 🚀"),
            ("a\tb\nc\r\nd\re", "a b c d e"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[2J\u{1b}[1;1Hgone", "gone"),
            ("\u{9b}31mred", "red"),
            ("\u{1b}]0;title\u{7}text", "text"),
            ("\u{1b}]8;;https://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{9d}0;title\u{9c}text", "text"),
            ("\u{1b}P1$r0m\u{1b}\\dcs", "dcs"),
            ("\u{1b}]0;no end", "0;no end"),
            ("\u{1b}(Bcharset", "charset"),
            ("\u{1b}creset", "reset"),
            ("end\u{1b}", "end"),
            ("end\u{1b}[", "end"),
            ("bell\u{7} null\0 del\u{7f} nel\u{85}x", "bell null del nel x"),
            ("abc\u{202e}fed\u{2066}x\u{200f}", "abcfedx"),
            ("a\u{ad}b\u{200b}c\u{2060}d\u{feff}e\u{e0041}f\u{fe0f}g\u{fff9}h\u{3164}i", "abcdefghi"),
        ] {
            assert_eq!(clean(given), wanted, "{given:?}");
        }
    }

    #[test]
    fn cuts_by_characters_not_bytes() {
        assert_eq!(one_line("  a \n\n b\tc ", 10), "a b c");
        assert_eq!(one_line("äöüß", 4), "äöüß");
        assert_eq!(one_line("äöüßx", 4), "äöü…");
    }
}
