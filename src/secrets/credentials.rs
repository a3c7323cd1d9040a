//! Messages without the credentials in them: what the kubelet, a provisioner or a registry says quotes URLs and arguments.

/// Stands in place of a credential.
const HIDDEN: &str = "(not shown)";
/// Names of values that are nobody's business, as parts of words in lower case.
const TELLING: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "accesskey",
    "access_key",
    "credential",
    "signature",
];

/// `text` without the user and query of each URL in it, without `user:password@` before a host, and without the values of
/// what is named as a credential (`token=…`, `"password": "…"`, `Authorization: …`).
pub fn without_credentials(text: &str) -> String {
    // What was hidden before, as in a recording, stays as it is.
    text.split(HIDDEN).map(hidden_in).collect::<Vec<_>>().join(HIDDEN)
}

fn hidden_in(text: &str) -> String {
    if !text.contains([':', '=', '?', '@']) && !text.to_ascii_lowercase().contains("bearer") {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut hidden = 0;
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end_matches(char::is_whitespace);
        let space = &piece[word.len()..];
        if word.is_empty() {
            out.push_str(space);
            continue;
        }
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
        if hidden > 0 && !word.starts_with("realm=") {
            hidden -= 1;
            if !["basic", "bearer", "digest"].contains(&bare.as_str()) {
                hidden = 0;
                out.push_str(HIDDEN);
                out.push_str(space);
                continue;
            }
        } else if bare == "bearer" {
            hidden = 1;
        }
        if ["authorization", "proxy-authorization"].contains(&bare.as_str()) && word.ends_with([':', '=']) {
            hidden = 2;
        }
        // `"token": "…"` and `password: …`; but `anonymous token: unexpected status` is prose.
        let quoted = word.contains('"') && is_telling(&bare);
        if word.ends_with(':')
            && (quoted || ["password", "passwd", "passphrase"].iter().any(|it| bare.ends_with(it)))
        {
            hidden = 1;
        }
        out.push_str(&clean_word(word));
        out.push_str(space);
    }
    out
}

fn clean_word(word: &str) -> String {
    // Quotes and brackets are not a part of what they hold.
    let is_edge = |c: char| matches!(c, '"' | '`' | '<' | '>' | '\\' | '{' | '}' | '[' | ']' | '\'' | '|');
    let mut out = String::new();
    let mut telling = false;
    for part in word.split_inclusive(is_edge) {
        let inner = part.trim_end_matches(is_edge);
        let edge = &part[inner.len()..];
        if telling && !inner.is_empty() && !inner.chars().all(|c| matches!(c, ':' | '=' | ',')) {
            out.push_str(HIDDEN);
            telling = false;
        } else {
            out.push_str(&clean_part(inner));
            if inner.contains(',') {
                telling = false;
            }
            // `"password":"…"`: the value comes after the quotes.
            let name = inner.trim_end_matches(['=', ':']);
            if is_telling(name) && (edge == "\"" || edge == "\\" || name.len() < inner.len()) {
                telling = word.contains([':', '=']);
            }
        }
        out.push_str(edge);
    }
    out
}

fn clean_part(part: &str) -> String {
    if let Some((scheme, rest)) = part.split_once("://") {
        return format!("{}://{}", values(scheme), without_query(without_user(rest)));
    }
    let part = without_query(part);
    values(without_user_of_host(part))
}

/// The part after the scheme, from the host on. A password may have a slash in it; a digest may not be taken for a host.
fn without_user(rest: &str) -> &str {
    let path = rest.find(['?', '#']).unwrap_or(rest.len());
    let user = rest[..path].rmatch_indices('@').find(|(at, _)| !is_digest(&rest[at + 1..]));
    user.map_or(rest, |(at, _)| &rest[at + 1..])
}

fn is_digest(text: &str) -> bool {
    text.starts_with("sha256:") || text.starts_with("sha512:")
}

/// `registry/image` of `user:password@registry/image`.
fn without_user_of_host(part: &str) -> &str {
    let user = part.rmatch_indices('@').find(|(at, _)| !is_digest(&part[at + 1..]));
    match user {
        Some((at, _)) if part[..at].contains(':') && at + 1 < part.len() => &part[at + 1..],
        _ => part,
    }
}

/// Without what follows a `?`, apart from the punctuation of the sentence.
fn without_query(part: &str) -> &str {
    match part.split_once(['?', '#']) {
        Some((path, query)) if query.contains('=') || path.contains('/') => path,
        _ => part,
    }
}

/// With the values of telling names hidden, in `a=b,token=c` and `a=b&token=c`.
fn values(part: &str) -> String {
    if !part.contains(['=', ':']) {
        return part.to_owned();
    }
    let pair = |pair: &str| {
        let (text, end) =
            pair.strip_suffix([',', '&', ';']).map_or((pair, ""), |text| (text, &pair[text.len()..]));
        // `--from-literal=password=…`: the name stands right before the value.
        let mut start = 0;
        for (at, _) in text.match_indices(['=', ':']) {
            if is_telling(&text[start..at]) && at + 1 < text.len() {
                return format!("{}{HIDDEN}{end}", &text[..=at]);
            }
            start = at + 1;
        }
        pair.to_owned()
    };
    part.split_inclusive([',', '&', ';']).map(pair).collect()
}

fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TELLING.iter().any(|word| name.ends_with(word)) || name.ends_with("authorization")
}

#[cfg(test)]
mod tests {
    use super::without_credentials;

    #[test]
    fn credentials_are_not_said() {
        for (message, said) in [
            ("", ""),
            ("Back-off pulling image \"me/db:1\"", "Back-off pulling image \"me/db:1\""),
            ("0/4 nodes are available: 1 Insufficient cpu.", "0/4 nodes are available: 1 Insufficient cpu."),
            (
                "Get \"http://10.0.0.1:8080/health?token=abc\": dial tcp 10.0.0.1:8080: refused",
                "Get \"http://10.0.0.1:8080/health\": dial tcp 10.0.0.1:8080: refused",
            ),
            ("Get \"https://bob:abc@r.example/v2/\": 401", "Get \"https://r.example/v2/\": 401"),
            ("Get https://bob:a/bc@r.example/v2/?x=y: 401", "Get https://r.example/v2/ 401"),
            ("pull bob:abc@r.example/db:1", "pull r.example/db:1"),
            ("image db@sha256:0123 is there", "image db@sha256:0123 is there"),
            ("docker://r.example/db@sha256:0123", "docker://r.example/db@sha256:0123"),
            ("GET /health?token=abc failed", "GET /health failed"),
            ("run with --password=abc --user=bob", "run with --password=(not shown) --user=bob"),
            ("dsn host=db,password=abc,port=1", "dsn host=db,password=(not shown),port=1"),
            ("{\"password\":\"abc\",\"a\":\"b\"}", "{\"password\":\"(not shown)\",\"a\":\"b\"}"),
            ("{\\\"token\\\": \\\"abc\\\"}", "{\\\"token\\\": (not shown)"),
            ("password: abc", "password: (not shown)"),
            ("--from-literal=password=abc --user=bob", "--from-literal=password=(not shown) --user=bob"),
            ("Authorization: Bearer abc was refused", "Authorization: Bearer (not shown) was refused"),
            ("header Bearer abc", "header Bearer (not shown)"),
            ("no basic auth credentials", "no basic auth credentials"),
            (
                "failed to fetch anonymous token: unexpected status",
                "failed to fetch anonymous token: unexpected status",
            ),
            ("why? because", "why? because"),
        ] {
            assert_eq!(without_credentials(message), said, "{message}");
        }
    }
}
