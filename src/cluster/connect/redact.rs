//! What is never shown: the secrets of this connection, and the secret parts of any URL.

use std::sync::{Arc, Mutex, PoisonError};

/// What stands in place of a secret.
const HIDDEN: &str = "[hidden]";
/// A shorter text would also be found where it is none.
const SHORTEST: usize = 4;
/// Secrets come and go when credentials are renewed; older ones than these have expired.
const MOST: usize = 64;

/// Knows the secrets that this process sends, and takes them out of messages: servers and proxies repeat them.
#[derive(Clone, Default)]
pub(super) struct Redactor(Arc<Mutex<Vec<String>>>);

impl Redactor {
    /// From now on `secret` is not shown.
    pub fn hide(&self, secret: &str) {
        let secret = secret.trim();
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if secret.len() < SHORTEST || secrets.iter().any(|known| known == secret) {
            return;
        }
        if secrets.len() == MOST {
            secrets.remove(0);
        }
        secrets.push(secret.to_owned());
    }

    /// `text` without secrets.
    pub fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), HIDDEN);
            }
        }
        plain_urls(&text)
    }
}

/// `text` with each URL in it cut down to scheme, host and path.
pub(super) fn plain_urls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, tail) = rest.split_at(at + 3);
        out.push_str(before);
        let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '`');
        let (url, after) = tail.split_at(tail.find(is_end).unwrap_or(tail.len()));
        let path = url.find(['/', '?', '#']).unwrap_or(url.len());
        let (authority, path) = match url.rfind('@') {
            // A password may hold a slash: all before the last @ goes.
            Some(at) if at >= path && !url[path..at].contains(['?', '#']) => {
                let host = &url[at + 1..];
                host.split_at(host.find(['/', '?', '#']).unwrap_or(host.len()))
            }
            _ => url.split_at(path),
        };
        out.push_str(authority.rsplit_once('@').map_or(authority, |(_, host)| host));
        // The colon that ends `Post "https://a/b?c": refused` stands behind the quote; without one it may be lost.
        out.push_str(path.split(['?', '#']).next().unwrap_or_default());
        rest = after;
    }
    out.push_str(rest);
    out
}

/// `text` without what stands in quotes: parsers quote the value they could not read.
pub(super) fn unquoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = None;
    let mut escaped = false;
    for c in text.chars() {
        match inside {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(quote) if c == quote => inside = None,
            Some(_) => {}
            None if c == '"' => {
                inside = Some(c);
                out.push('…');
            }
            None => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_scheme_host_and_path_only() {
        for (text, wanted) in [
            ("at https://me:pw@host:1/a?b=c#d now", "at https://host:1/a now"),
            ("https://me:p/w@host/x", "https://host/x"),
            ("https://me@you:p@host", "https://host"),
            ("Post \"https://svc/mutate?timeout=10s\": refused", "Post \"https://svc/mutate\": refused"),
            ("https://host/a?x=a@b", "https://host/a"),
            ("a http://b#c http://d?e", "a http://b http://d"),
            ("no address: //", "no address: //"),
            ("https://", "https://"),
        ] {
            assert_eq!(plain_urls(text), wanted);
        }
    }

    #[test]
    fn secrets_are_taken_out_wherever_they_stand() {
        let redactor = Redactor::default();
        redactor.hide("hunter2\n");
        redactor.hide("abc");
        assert_eq!(redactor.clean("token hunter2 of abc"), "token [hidden] of abc");
    }

    #[test]
    fn a_parsers_quotes_are_emptied() {
        assert_eq!(
            unquoted(r#"invalid type: string "a\"b", expected i32 at line 1"#),
            "invalid type: string …, expected i32 at line 1"
        );
    }
}
