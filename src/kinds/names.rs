//! Which names Kubernetes allows, by its own rules.

/// An RFC 1123 subdomain (`apimachinery/pkg/util/validation.IsDNS1123Subdomain`): the names of almost all objects.
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_word)
}

/// An RFC 1123 label (`IsDNS1123Label`): namespaces, Services and host names.
pub fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_word(text)
}

fn is_word(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// What can stand in the path of a request (`apimachinery/pkg/api/validation/path.IsValidPathSegmentName`), and is seen.
pub fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && !text.contains(['/', '%'])
        && text.len() <= 253
        && !text.chars().any(|c| c.is_whitespace() || crate::text::is_hidden(c))
}

/// The key of a label (`IsQualifiedName`): a name, after a domain and a slash or alone.
pub fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((domain, name)) => is_subdomain(domain) && is_label_name(name),
        None => is_label_name(text),
    }
}

/// The value of a label (`IsValidLabelValue`).
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_name(text)
}

fn is_label_name(text: &str) -> bool {
    let (inner, ends) =
        (|b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b), |c: char| c.is_ascii_alphanumeric());
    text.len() <= 63 && text.bytes().all(inner) && text.starts_with(ends) && text.ends_with(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_kubernetes_judges_them() {
        for (text, subdomain, label, segment, value) in [
            ("db-0", true, true, true, true),
            ("a.b-c.d1", true, false, true, true),
            ("Db", false, false, true, true),
            ("a_b", false, false, true, true),
            ("-a", false, false, true, false),
            ("a-", false, false, true, false),
            ("a..b", false, false, true, true),
            ("a b", false, false, false, false),
            ("a/b", false, false, false, false),
            ("a\u{200b}b", false, false, false, false),
            ("x;touch", false, false, true, false),
            ("..", false, false, false, false),
            ("", false, false, false, true),
        ] {
            let is = (is_subdomain(text), is_label(text), is_segment(text), is_label_value(text));
            assert_eq!(is, (subdomain, label, segment, value), "{text:?}");
        }
        assert!(is_label_key("app.kubernetes.io/name") && !is_label_key("a/b/c") && !is_label_key("/a"));
        let long = "a".repeat(64);
        assert!(is_subdomain(&long) && !is_label(&long) && !is_label_value(&long));
        assert!(!is_subdomain(&"a".repeat(254)));
    }
}
