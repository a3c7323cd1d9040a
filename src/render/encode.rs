//! JSON and YAML, written in this one place: what is not seen is escaped, so that no terminal, editor or review obeys it.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::text::is_hidden;

/// Indented JSON with a line end.
///
/// # Errors
/// When the value does not serialise.
pub fn json<T: Serialize>(value: &T) -> Result<String> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::cluster("could not write JSON").because(error))?;
    Ok(escaped(&text) + "\n")
}

/// JSON on one line, without its end.
pub fn json_line(value: &Value) -> String {
    escaped(&value.to_string())
}

/// YAML with a line end.
///
/// # Errors
/// When the value does not serialise.
pub fn yaml<T: Serialize>(value: &T) -> Result<String> {
    let value =
        serde_json::to_value(value).map_err(|error| Error::cluster("could not write YAML").because(error))?;
    let text = serde_saphyr::to_string(&Seen(&value));
    let text = text.map_err(|error| Error::cluster("could not write YAML").because(error))?;
    let text = unmarked(&text);
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}

/// JSON with an escape for each hidden character, all of which stand within texts.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_raw(c) {
            out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// The library writes this character as [`ESCAPED`], and a text with it in double quotes. Between two of it stands the code
/// of a character that is to be escaped, or nothing.
const MARK: char = '\u{feff}';
const ESCAPED: &str = "\\uFEFF";

/// The text with a mark in place of each character that is not seen.
fn marked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_raw(c) {
            out.push_str(&format!("{MARK}{:x}{MARK}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    if text.contains(ESCAPED) {
        // In quotes it is told from a mark.
        out.extend([MARK, MARK]);
    }
    out
}

/// The written text with escapes in place of marks.
fn unmarked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some((code, after)) = rest.strip_prefix(ESCAPED).and_then(|rest| rest.split_once(ESCAPED)) {
            if let Ok(code) = u32::from_str_radix(code, 16) {
                let escape = if code > 0xffff { format!("\\U{code:08X}") } else { format!("\\u{code:04X}") };
                out.push_str(&escape);
            }
            rest = after;
        } else {
            let pair: String = rest.chars().take(2).collect();
            out.push_str(&pair);
            rest = &rest[pair.len()..];
        }
    }
    out + rest
}

/// Whether a character would be written as it is, and not be seen.
fn is_raw(c: char) -> bool {
    is_hidden(c) && !matches!(c, '\n' | '\t')
}

/// A value with [`marked`] texts.
struct Seen<'a>(&'a Value);

impl Serialize for Seen<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) => serializer.serialize_str(&marked(text)),
            Value::Array(items) => serializer.collect_seq(items.iter().map(Seen)),
            Value::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(&marked(key), &Seen(value))?;
                }
                map.end()
            }
            other => other.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_seen_is_escaped_and_comes_back() {
        let hidden = ('\0'..='\u{a0}').chain('\u{ad}'..='\u{ad}').chain('\u{200b}'..='\u{206f}');
        let hidden = hidden.chain("\u{61c}\u{feff}\u{fe0f}\u{fff9}\u{e0041}\u{3164}".chars());
        for c in hidden.filter(|c| is_hidden(*c)) {
            let value = json!({"a": format!("x{c}y: \"z\"\nlast"), format!("key{c}"): [format!("{c}")], "plain": "b\nc", "\\uFEFF": "\\uFEFF41\\uFEFF"});
            let texts = [json(&value).unwrap(), json_line(&value) + "\n", yaml(&value).unwrap()];
            for text in &texts {
                let raw = text.chars().find(|c| is_raw(*c));
                assert_eq!(raw, None, "{c:?} in {text:?}");
            }
            assert_eq!(serde_json::from_str::<Value>(&texts[0]).unwrap(), value);
            assert_eq!(serde_json::from_str::<Value>(&texts[1]).unwrap(), value);
            assert_eq!(serde_saphyr::from_str::<Value>(&texts[2]).unwrap(), value, "{c:?}: {}", texts[2]);
        }
    }
}
