//! The door through which files become objects: YAML and JSON.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::kinds::Object;

/// Decodes one object of a file. Members that are `null` count as absent, as they do for the API server.
///
/// # Errors
/// When a field has the wrong type; the text names it.
pub fn object<T: Object>(mut value: Value) -> std::result::Result<T, serde_json::Error> {
    drop_nulls(&mut value);
    T::deserialize(value)
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
    }
    let mut budget = serde_saphyr::Budget::default();
    // The defaults guard a service against strangers; here a large recording is the normal case. Aliases, which can
    // blow a small file up, stay limited.
    budget.max_events = usize::MAX;
    budget.max_nodes = usize::MAX;
    budget.max_total_scalar_bytes = usize::MAX;
    budget.max_documents = usize::MAX;
    budget.max_reader_input_bytes = None;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    options.with_snippet = false;
    let values: Vec<Value> = serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let at = error.location().map_or(String::new(), |at| format!(", line {}", at.line()));
        Error::cluster(format!("{name} is neither YAML nor JSON{at}"))
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
