//! Objects as Kubernetes writes them in protobuf: JSON in, the bytes of `generated.pb.go` out.
//!
//! One table has the fields of all messages, so that any object can be encoded, also those of a recording. A field that
//! the table does not know is a panic: nothing gets lost. `tests/fleet.rs` holds the bytes against those of k8s-pb.

use std::collections::HashMap;
use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::Value;

/// What begins every answer in protobuf (apimachinery `runtime/serializer/protobuf`).
pub const MAGIC: &[u8] = b"k8s\0";

struct Field {
    number: u32,
    name: &'static str,
    shape: Shape,
    of: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Written even if it is empty.
    Value,
    Pointer,
    List,
    Map,
    /// A message whose fields are those of the object around it.
    Inline,
}

type Messages = HashMap<&'static str, Vec<Field>>;

fn messages() -> &'static Messages {
    static MESSAGES: OnceLock<Messages> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let lines = include_str!("protobuf.txt").lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| {
                let (name, fields) = line.split_once(' ').unwrap_or((line, ""));
                (name, fields.split_whitespace().map(field).collect())
            })
            .collect()
    })
}

fn field(text: &'static str) -> Field {
    let mut parts = text.splitn(3, ':');
    let mut part = || parts.next().unwrap_or_else(|| panic!("not a field: {text}"));
    let (number, name, of) = (part(), part(), part());
    let shape = match (name, of.as_bytes().first()) {
        ("^", _) => Shape::Inline,
        (_, Some(b'?')) => Shape::Pointer,
        (_, Some(b'*')) => Shape::List,
        (_, Some(b'%')) => Shape::Map,
        _ => Shape::Value,
    };
    Field { number: number.parse().unwrap(), name, shape, of: of.trim_start_matches(['?', '*', '%']) }
}

/// The bytes of an object: the message of that name in the table, as in `core.Pod`. `kind` and `apiVersion` are not
/// part of it.
pub fn encode(message: &str, object: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let known = write_message(message, object, &mut out);
    all_known(message, object, known);
    out
}

/// Asserts that this number of fields is all that an object has, besides the `kind` and `apiVersion` of a message that
/// has no such fields.
fn all_known(message: &str, object: &Value, known: usize) {
    let fields = &messages()[message];
    let is_field = |key: &str| fields.iter().any(|field| field.name == key);
    let is_type = |key: &str| ["kind", "apiVersion"].contains(&key) && !is_field(key);
    let there = object.as_object().map_or(0, |object| object.keys().filter(|key| !is_type(key)).count());
    assert!(known == there, "{message} has a field that the table has not: {object}");
}

/// An answer: the magic bytes and a `runtime.Unknown` around a message. `length` bytes of it follow what is returned, and
/// then [`TAIL`].
pub fn head(api_version: &str, kind: &str, length: usize) -> Vec<u8> {
    let mut type_meta = Vec::new();
    bytes(1, api_version.as_bytes(), &mut type_meta);
    bytes(2, kind.as_bytes(), &mut type_meta);
    let mut out = MAGIC.to_vec();
    bytes(1, &type_meta, &mut out);
    key(2, 2, &mut out);
    varint(length as u64, &mut out);
    out
}

/// `contentEncoding` and `contentType` of a `runtime.Unknown`, which are always written.
pub const TAIL: &[u8] = &[0x1a, 0, 0x22, 0];

/// An item of a list, with what stands before it.
pub fn item(message: &str, object: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(2, &encode(message, object), &mut out);
    out
}

/// The metadata of a list, with what stands before it.
pub fn list_meta(meta: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(1, &encode("meta.ListMeta", meta), &mut out);
    out
}

/// Writes the fields of a message that the object has; how many of its keys they are.
fn write_message(message: &str, object: &Value, out: &mut Vec<u8>) -> usize {
    let fields = messages().get(message).unwrap_or_else(|| panic!("no message {message}"));
    let mut known = 0;
    for field in fields {
        if field.shape == Shape::Inline {
            let mut inner = Vec::new();
            known += write_message(field.of, object, &mut inner);
            bytes(field.number, &inner, out);
            continue;
        }
        let value = object.get(field.name);
        known += usize::from(value.is_some());
        let value = value.filter(|value| !value.is_null());
        match (field.shape, value) {
            (Shape::List, Some(value)) => {
                for value in value.as_array().expect("a list") {
                    write_value(field, value, out);
                }
            }
            (Shape::Map, Some(value)) => {
                for (name, value) in value.as_object().expect("a map") {
                    let mut entry = Vec::new();
                    bytes(1, name.as_bytes(), &mut entry);
                    write_value(&Field { number: 2, ..*field }, value, &mut entry);
                    bytes(field.number, &entry, out);
                }
            }
            (_, Some(value)) => write_value(field, value, out),
            (Shape::Value, None) => write_value(field, &Value::Null, out),
            (_, None) => {}
        }
    }
    known
}

fn write_value(field: &Field, value: &Value, out: &mut Vec<u8>) {
    let number = field.number;
    let mut inner = Vec::new();
    match field.of {
        "s" => return bytes(number, value.as_str().unwrap_or_default().as_bytes(), out),
        "i" => return integer(number, value.as_i64().unwrap_or_default(), out),
        "b" => return integer(number, value.as_bool().unwrap_or_default().into(), out),
        // Go leaves out bytes that are nil.
        "raw" | "fields" if value.is_null() => {}
        "raw" | "fields" => bytes(1, value.to_string().as_bytes(), &mut inner),
        "quantity" => {
            if let Some(text) = value.as_str() {
                bytes(1, text.as_bytes(), &mut inner);
            }
        }
        "time" => {
            if let Some(text) = value.as_str() {
                let time: Timestamp = text.parse().expect("a time");
                integer(1, time.as_second(), &mut inner);
                integer(2, time.subsec_nanosecond().into(), &mut inner);
            }
        }
        "intorstring" => {
            integer(1, value.is_string().into(), &mut inner);
            integer(2, value.as_i64().unwrap_or_default(), &mut inner);
            bytes(3, value.as_str().unwrap_or_default().as_bytes(), &mut inner);
        }
        message => {
            assert!(message.contains('.'), "no type {message}");
            let known = write_message(message, value, &mut inner);
            all_known(message, value, known);
        }
    }
    bytes(number, &inner, out);
}

fn key(number: u32, wire: u32, out: &mut Vec<u8>) {
    varint(u64::from(number << 3 | wire), out);
}

fn bytes(number: u32, content: &[u8], out: &mut Vec<u8>) {
    key(number, 2, out);
    varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

fn integer(number: u32, value: i64, out: &mut Vec<u8>) {
    key(number, 0, out);
    varint(value.cast_unsigned(), out);
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
