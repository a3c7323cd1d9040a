//! The door: what no API server would have taken is not let in, whether a file or a server brings it. The texts name the
//! object and the field, and quote nothing but names.

use serde_json::{Value, json};

use crate::kinds::{Kind, Object, is_label, is_label_key, is_label_value, is_segment, is_subdomain};
use crate::text::in_quotes;

/// What is wrong with an object of a list of the server.
pub(super) fn unfit<T: Object>(object: &T) -> Option<String> {
    let meta = object.meta();
    let wrong = |field: &str, text: &str| {
        Some(format!(
            "{field} of a {} is {}, which is not a name Kubernetes allows",
            T::KIND.name(),
            in_quotes(text)
        ))
    };
    if !is_name(T::KIND, &meta.name) {
        return wrong("metadata.name", &meta.name);
    }
    let has_namespace = !T::KIND.is_namespaced() || is_label(&meta.namespace);
    if has_namespace { None } else { wrong("metadata.namespace", &meta.namespace) }
}

fn is_name(kind: Kind, text: &str) -> bool {
    match kind {
        // What `PrepareForCreate` leaves of a name is asked for the path only.
        Kind::Event => is_segment(text),
        // RelaxedServiceNameValidation allows a label; before, a digit could not stand first.
        Kind::Service => is_label(text),
        _ => is_subdomain(text),
    }
}

/// Whether a name is one.
type Judge = fn(&str) -> bool;

/// What is wrong with an object of a file: the field, and what about it.
pub(super) fn unfit_in_file(kind: Kind, value: &Value) -> Option<String> {
    let text = |path: &str| value.pointer(path).and_then(Value::as_str);
    let field = |path: &str| path.trim_start_matches('/').replace('/', ".");
    let names: [(&str, Judge); 10] = [
        ("/metadata/namespace", is_label),
        ("/spec/serviceName", is_subdomain),
        ("/spec/storageClassName", is_subdomain),
        ("/spec/volumeName", is_subdomain),
        ("/spec/nodeName", is_subdomain),
        ("/spec/hostname", is_label),
        ("/spec/subdomain", is_label),
        ("/spec/template/spec/nodeName", is_subdomain),
        ("/status/currentRevision", is_subdomain),
        ("/status/updateRevision", is_subdomain),
    ];
    let name = text("/metadata/name").unwrap_or_default();
    // Events are seldom written by hand, and nobody calls them by name.
    let is_nameless = kind == Kind::Event && name.is_empty();
    if !is_nameless && !is_name(kind, name) {
        return Some(match name {
            "" => "it has no metadata.name".to_owned(),
            name => not_allowed("metadata.name", name),
        });
    }
    for (path, is_allowed) in names {
        if let Some(text) = text(path).filter(|text| !text.is_empty() && !is_allowed(text)) {
            return Some(not_allowed(&field(path), text));
        }
    }
    let maps = [
        "/metadata/labels",
        "/spec/selector/matchLabels",
        "/spec/template/metadata/labels",
        "/spec/selector",
    ];
    // The selector of a Service is a map itself.
    let maps = if kind == Kind::Service { &maps[..] } else { &maps[..3] };
    for path in maps {
        for (key, label) in value.pointer(path).and_then(Value::as_object).into_iter().flatten() {
            let label = label.as_str().filter(|label| !is_label_value(label));
            if let Some(text) = Some(key.as_str()).filter(|key| !is_label_key(key)).or(label) {
                return Some(not_allowed(&field(path), text));
            }
        }
    }
    let numbers = [
        "/spec/replicas",
        "/spec/minReadySeconds",
        "/spec/ordinals/start",
        "/spec/updateStrategy/rollingUpdate/partition",
    ];
    let negative = numbers.iter().find_map(|path| {
        let number = value.pointer(path)?.as_i64().filter(|number| *number < 0)?;
        Some(format!("{} is {number}, and cannot be negative", field(path)))
    });
    negative.filter(|_| kind == Kind::StatefulSet)
}

fn not_allowed(field: &str, text: &str) -> String {
    format!("{field} is {}, which is not a name Kubernetes allows", in_quotes(text))
}

/// Where an object does not decode, and what stands there: `spec.replicas is a text, and a number belongs there`. All
/// fields may be missing, so the part that fails alone is the one.
pub(super) fn misfit<T: Object>(value: &Value, error: &serde_json::Error) -> String {
    let mut path: Vec<Step> = Vec::new();
    let mut at = value;
    let mut last = error.to_string();
    loop {
        let parts: Vec<Step> = match at {
            Value::Object(members) => members.keys().map(|key| Step::Member(key.clone())).collect(),
            Value::Array(items) => (0..items.len()).map(Step::Item).collect(),
            _ => Vec::new(),
        };
        let culprit = parts.into_iter().find_map(|step| {
            let part = match &step {
                Step::Member(key) => at.get(key)?,
                Step::Item(index) => at.get(*index)?,
            };
            let alone = path.iter().chain([&step]).rev().fold(part.clone(), |inner, step| match step {
                Step::Member(key) => json!({key.as_str(): inner}),
                Step::Item(_) => json!([inner]),
            });
            let error = T::deserialize(alone).err()?;
            Some((step, part, error.to_string()))
        });
        let Some((step, part, error)) = culprit else { break };
        path.push(step);
        at = part;
        last = error;
    }
    let mut field = String::new();
    for step in &path {
        match step {
            Step::Member(key) if field.is_empty() => field.push_str(key),
            Step::Member(key) => field.push_str(&format!(".{key}")),
            Step::Item(index) => field.push_str(&format!("[{index}]")),
        }
    }
    let field = if field.is_empty() { "it".to_owned() } else { field };
    format!("{field} {}", what(&last, Some(at)))
}

enum Step {
    Member(String),
    Item(usize),
}

/// Why the head of a recording does not decode.
pub(super) fn header(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // The names of fields are ours.
    match text.strip_prefix("missing field ") {
        Some(field) => format!("it has no {}", field.trim_matches('`')),
        None => format!("a part of its head {}", what(&text, None)),
    }
}

/// What is there and what belongs there. Serde quotes the value before it names what it expected, which is ours.
fn what(error: &str, value: Option<&Value>) -> String {
    let is = match value {
        Some(Value::String(_)) => "is a text",
        Some(Value::Number(_)) => "is a number",
        Some(Value::Bool(_)) => "is true or false",
        Some(Value::Array(_)) => "is a list",
        Some(Value::Object(_)) => "is an object",
        Some(Value::Null) | None => "is not right",
    };
    let expected = error.rsplit_once("expected ").map_or("", |(_, expected)| expected);
    let expected = expected.split(" at line ").next().unwrap_or_default();
    let belongs = match expected {
        "i32" | "i64" | "u32" | "u64" if matches!(value, Some(Value::Number(_))) => "one in range",
        "i32" | "i64" | "u32" | "u64" => "a whole number",
        "a string" => "a text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" | "an object" => "an object",
        _ if error.contains("IntOrString") => "a number or a percentage",
        _ if error.contains("missing field") => return "lacks a field".to_owned(),
        _ if matches!(value, Some(Value::String(_))) => "a time such as 2026-01-31T12:00:00Z",
        _ => return "does not fit".to_owned(),
    };
    format!("{is}, where {belongs} belongs")
}
