//! JSON and YAML, written in this one place: what is not seen is escaped, so that no terminal, editor or review obeys it.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_saphyr::DoubleQuoted;

use crate::error::{Error, Result};
use crate::text::is_hidden;

/// Indented JSON with a line end.
///
/// # Errors
/// When the value does not serialise.
pub fn json<T: Serialize>(value: &T) -> Result<String> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::cluster("could not write JSON").because(error))?;
    Ok(escaped(&text, json_escape) + "\n")
}

/// JSON on one line, without its end.
pub fn json_line(value: &Value) -> String {
    escaped(&value.to_string(), json_escape)
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
    let text = escaped(&text, yaml_escape);
    Ok(if text.ends_with('\n') { text } else { text + "\n" })
}

/// The text with an escape for each hidden character, all of which stand within double quotes.
fn escaped(text: &str, escape: fn(char) -> String) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_raw(c) {
            out.push_str(&escape(c));
        } else {
            out.push(c);
        }
    }
    out
}

fn json_escape(c: char) -> String {
    c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
}

fn yaml_escape(c: char) -> String {
    match u32::from(c) {
        code @ ..=0xffff => format!("\\u{code:04X}"),
        code => format!("\\U{code:08X}"),
    }
}

/// Whether a character would be written as it is, and not be seen.
fn is_raw(c: char) -> bool {
    is_hidden(c) && !matches!(c, '\n' | '\t')
}

/// A value whose texts are in double quotes where they have hidden characters, which is where YAML has escapes.
struct Seen<'a>(&'a Value);

impl Serialize for Seen<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.0 {
            Value::String(text) => Text(text).serialize(serializer),
            Value::Array(items) => serializer.collect_seq(items.iter().map(Seen)),
            Value::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(&Text(key), &Seen(value))?;
                }
                map.end()
            }
            other => other.serialize(serializer),
        }
    }
}

struct Text<'a>(&'a str);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if self.0.chars().any(is_raw) {
            DoubleQuoted(self.0).serialize(serializer)
        } else {
            serializer.serialize_str(self.0)
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
            let value = json!({"a": format!("x{c}y: \"z\"\nlast"), format!("key{c}"): [format!("{c}")], "plain": "b\nc"});
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
