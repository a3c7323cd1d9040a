//! What the API server says when it refuses: a Status, as JSON or (when we asked for protobuf) as protobuf.

use http::StatusCode;
use serde::Deserialize;

use crate::kinds::wire::{Field, Fields};
use crate::secrets::without_credentials;
use crate::text::one_line;

/// Messages are for one line; a 422 repeats the whole object.
const LONGEST: usize = 400;

/// The two parts of a Status worth showing.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Refusal {
    pub reason: String,
    pub message: String,
}

impl Refusal {
    /// Cleaned and shortened; without a message the code's own name.
    pub fn new(reason: &str, message: &str, code: u16) -> Refusal {
        let mut message = one_line(&without_credentials(&without_object(message)), LONGEST);
        if message.is_empty() {
            let name = StatusCode::from_u16(code).ok().and_then(|code| code.canonical_reason());
            message = one_line(&format!("the server answered {code} {}", name.unwrap_or_default()), LONGEST);
        }
        Refusal { reason: one_line(reason, 60), message }
    }
}

/// Field validation echoes the value it refuses (`Invalid value: {"kind":…}: why`): only the why is wanted.
fn without_object(message: &str) -> String {
    // What a patch is refused for has no name of its own.
    let message = message.trim_start().strip_prefix("\"\" is invalid: ").unwrap_or(message);
    for start in ["{", "\"{", "v1.", "core.", "map[", "\"map["] {
        if let Some((before, rest)) = message.split_once(&format!(": Invalid value: {start}")) {
            let ends = ["}: ", "}\": ", "]: ", "]\": "];
            let why =
                ends.iter().filter_map(|end| Some(rest.rsplit_once(end)?.1)).min_by_key(|why| why.len());
            return why.map_or_else(|| before.to_owned(), |why| format!("{before}: {why}"));
        }
    }
    message.to_owned()
}

/// Reads the body of a refusal, whatever it is: a Status, a proxy's page, or nothing.
pub(super) fn decode(code: StatusCode, body: &[u8]) -> Refusal {
    let status = match body.strip_prefix(b"k8s\0") {
        Some(unknown) => {
            let raw = field(unknown, 2).unwrap_or_default();
            Some(Refusal { reason: text(raw, 4), message: text(raw, 3) })
        }
        None => serde_json::from_slice(body).ok(),
    };
    let status = status.unwrap_or_else(|| {
        let page = String::from_utf8_lossy(body);
        // of an HTML page the code says more than the first words of its markup
        let message = if page.trim_start().starts_with('<') { String::new() } else { page.into_owned() };
        Refusal { reason: String::new(), message }
    });
    Refusal::new(&status.reason, &status.message, code.as_u16())
}

/// The last text with this number in a message; nothing where it is no message.
fn text(message: &[u8], number: u64) -> String {
    field(message, number).map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

fn field(message: &[u8], number: u64) -> Option<&[u8]> {
    let mut found = None;
    for field in Fields(message) {
        match field.ok()? {
            (at, Field::Bytes(bytes)) if at == number => found = Some(bytes),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(reason: &str, message: &str) -> Refusal {
        Refusal { reason: reason.into(), message: message.into() }
    }

    #[test]
    fn an_echoed_patch_is_left_out() {
        let message = "\"\" is invalid: patch: Invalid value: \"map[spec:map[env:[map[name:A value:hunter2]]]]\": \
                       strict decoding error: unknown field \"spec.template.spec.containers[0].imag\"";
        let shown = without_object(message);
        assert_eq!(
            shown,
            "patch: strict decoding error: unknown field \"spec.template.spec.containers[0].imag\""
        );
        // Cut off in the middle, nothing is known of what follows.
        assert_eq!(without_object(&message[..80]), "patch");
    }

    #[test]
    fn reads_statuses_and_whatever_else_a_server_may_send() {
        let code = StatusCode::FORBIDDEN;
        let json = br#"{"kind":"Status","reason":"Forbidden","message":"pods is\nforbidden","code":403}"#;
        assert_eq!(decode(code, json), pair("Forbidden", "pods is forbidden"));
        let status = b"\x1a\x06denied\x22\x09Forbidden\x30\x93\x03";
        let mut protobuf = b"k8s\0\x0a\x04\x0a\x02v1\x12".to_vec();
        protobuf.push(u8::try_from(status.len()).unwrap_or_default());
        protobuf.extend_from_slice(status);
        assert_eq!(decode(code, &protobuf), pair("Forbidden", "denied"));
        assert_eq!(
            decode(code, &protobuf[..protobuf.len() - 3]),
            pair("", "the server answered 403 Forbidden")
        );
        assert_eq!(decode(code, b"<html><h1>403"), pair("", "the server answered 403 Forbidden"));
        assert_eq!(decode(code, b""), pair("", "the server answered 403 Forbidden"));
        assert_eq!(decode(code, b"go \x1b[31maway"), pair("", "go away"));
    }

    #[test]
    fn a_refused_object_is_not_repeated() {
        let message = r#"StatefulSet.apps "web" is invalid: spec: Invalid value: {"kind":"x","a":{"b":1}}: is immutable"#;
        assert_eq!(
            Refusal::new("Invalid", message, 422).message,
            r#"StatefulSet.apps "web" is invalid: spec: is immutable"#
        );
        assert_eq!(Refusal::new("", &"x".repeat(5000), 422).message.chars().count(), LONGEST);
    }
}
