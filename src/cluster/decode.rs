//! The door through which files become objects: YAML and JSON.

use serde_json::Value;

use super::door;
use crate::error::{Error, Result};
use crate::kinds::Object;

/// How deep objects may lie in each other.
const DEEPEST: usize = 64;

/// The text of a file: UTF-8, or UTF-16 as a redirection in PowerShell writes it.
///
/// # Errors
/// When it is neither.
pub fn text(bytes: Vec<u8>) -> std::result::Result<String, &'static str> {
    let wide = |unit: fn([u8; 2]) -> u16| {
        let units = bytes[2..].chunks(2).map(|pair| unit([pair[0], *pair.get(1).unwrap_or(&0)]));
        char::decode_utf16(units)
            .collect::<std::result::Result<String, _>>()
            .map_err(|_| "it is not text in UTF-16")
    };
    match bytes.as_slice() {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => String::from_utf8(bytes).map_err(|_| "it is not text in UTF-8"),
    }
}

/// Decodes one object of a file. Members that are `null` count as absent, as they do for the API server.
///
/// # Errors
/// When a field has the wrong type; the text names it, and does not quote what is there.
pub fn object<T: Object>(mut value: Value) -> std::result::Result<T, String> {
    drop_nulls(&mut value);
    T::deserialize(&value).map_err(|error| door::misfit::<T>(&value, &error))
}

/// Splits a file into its documents: JSON, or YAML with any number of documents. Empty documents are dropped.
///
/// # Errors
/// Names the line where it is neither. The text never quotes the file, which may hold secrets.
pub fn documents(name: &str, text: &str) -> Result<Vec<Value>> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') {
        let values: std::result::Result<Vec<Value>, _> =
            serde_json::Deserializer::from_str(text).into_iter().collect();
        if let Ok(values) = values {
            return Ok(values);
        }
        // What is cut off or garbled is no YAML either, but YAML allows more than JSON does.
    }
    let mut budget = serde_saphyr::Budget::default();
    // The defaults guard a service against strangers; here a large recording is the normal case. Aliases, which can
    // blow a small file up, stay limited.
    budget.max_events = usize::MAX;
    budget.max_nodes = usize::MAX;
    budget.max_total_scalar_bytes = usize::MAX;
    budget.max_documents = usize::MAX;
    budget.max_reader_input_bytes = None;
    // Whoever walks a value goes down its whole depth on the stack; no object is as deep as that.
    budget.max_depth = DEEPEST;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    options.with_snippet = false;
    options.alias_limits.max_total_replayed_events = 50_000;
    let values: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let at = error.location().map_or(String::new(), |at| format!(", line {}", at.line()));
        let because = match error.without_snippet() {
            serde_saphyr::Error::DuplicateMappingKey { .. } => "a key stands there twice",
            serde_saphyr::Error::Budget { .. } => "it is too deep, or has too many aliases",
            _ => "",
        };
        Error::cluster(format!("{name} is neither YAML nor JSON{at}"))
            .because(because)
            .hint("a recording is made with: kubectl sts record > FILE")
    })?;
    Ok(values.into_iter().filter(|value| !value.is_null()).collect())
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}
