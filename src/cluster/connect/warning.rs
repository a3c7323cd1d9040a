//! The `Warning:` headers of the API server, which kube drops.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;

use super::redact::Redactor;
use crate::text::one_line;

/// More distinct warnings than anybody reads; also bounds what a hostile server can make us keep.
const MOST: usize = 100;

/// Passes each distinct warning on once.
#[derive(Clone)]
pub(super) struct Warnings {
    seen: Arc<Mutex<HashSet<String>>>,
    redactor: Redactor,
    tell: Arc<dyn Fn(&str) + Send + Sync>,
}

impl Warnings {
    pub fn new(tell: impl Fn(&str) + Send + Sync + 'static, redactor: Redactor) -> Warnings {
        Warnings { seen: Arc::default(), redactor, tell: Arc::new(tell) }
    }

    /// Passes `text` on unless it was before.
    pub fn tell(&self, text: &str) {
        let text = one_line(&self.redactor.clean(text), 1000);
        self.tell_once(&text, &text);
    }

    /// Passes `text` on unless one of this `kind` was before.
    pub fn tell_kind(&self, kind: &str, text: &str) {
        self.tell_once(kind, &one_line(&self.redactor.clean(text), 1000));
    }

    fn tell_once(&self, key: &str, text: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let new = !text.is_empty() && seen.len() < MOST && seen.insert(key.to_owned());
        drop(seen);
        if new {
            (self.tell)(text);
        }
    }

    /// Passes on the warnings of an answer.
    pub fn read(&self, headers: &HeaderMap) {
        for value in headers.get_all(http::header::WARNING) {
            for text in texts(&String::from_utf8_lossy(value.as_bytes())) {
                self.tell(&text);
            }
        }
    }
}

/// The texts of `299 - "text" ["date"], 299 …`; 299 is the only code Kubernetes uses. A malformed rest is ignored.
fn texts(header: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = header.trim_start();
    while let Some(quoted) =
        rest.strip_prefix("299 ").and_then(|tail| tail.split_once(" \"")).map(|(_, text)| text)
    {
        let mut text = String::new();
        let mut chars = quoted.char_indices();
        let mut end = None;
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = Some(at + 1);
                    break;
                }
                '\\' => text.extend(chars.next().map(|(_, escaped)| escaped)),
                c => text.push(c),
            }
        }
        let Some(end) = end else { break };
        found.push(text);
        rest = quoted[end..].find("299 ").map_or("", |next| &quoted[end + next..]);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_or_many_texts() {
        for (header, wanted) in [
            (r#"299 - "spec.x is deprecated""#, vec!["spec.x is deprecated"]),
            (r#"299 - "say \"hi\" \\ bye""#, vec![r#"say "hi" \ bye"#]),
            (r#"299 - "one, two", 299 k8s "three""#, vec!["one, two", "three"]),
            (r#"299 - "dated" "Wed, 21 Oct 2015 07:28:00 GMT", 299 - "next""#, vec!["dated", "next"]),
            (r#"199 - "other code""#, vec![]),
            (r#"299 - "no end"#, vec![]),
            ("299", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(texts(header), wanted, "{header}");
        }
    }
}
