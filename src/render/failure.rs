//! An error on a terminal: broken between words, and what is to be pasted never.

use super::{Page, Style, out};
use crate::error::Error;
use crate::text::clean;

/// The error as it is shown on standard error: fitted to the terminal, or on as few lines as it has where there is none.
pub fn error_text(error: &Error) -> String {
    match out::width_beside() {
        Some(width) => fitted(error, width),
        None => error.to_string(),
    }
}

fn fitted(error: &Error, width: usize) -> String {
    let mut page = Page::new(Style { width: Some(width), ..Style::PLAIN });
    for line in error.headline().lines() {
        page.prose(line, 2);
    }
    for cause in error.causes() {
        for (number, line) in cause.lines().enumerate() {
            page.wrapped(if number == 0 { "  because " } else { "          " }, &clean(line), 10);
        }
    }
    for hint in error.hints() {
        page.hint("", 2, hint);
    }
    page.finish().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_broken_between_words_and_commands_never() {
        let error = Error::refused("postgres-2 is already not available (ImagePullBackOff)")
            .reason("pod-unhealthy")
            .because("the registry answered with a long sentence that does not fit here")
            .hint("see why: kubectl sts doctor postgres -n a-namespace-with-a-long-name\nor start anyway with --allow-unhealthy");
        for (width, text) in [
            (
                44,
                "error: postgres-2 is already not available\n  (ImagePullBackOff) (pod-unhealthy)\n  because the registry \
                 answered with a long\n          sentence that does not fit here\n  see why:\n    kubectl sts doctor \
                 postgres -n a-namespace-with-a-long-name\n  or start anyway with --allow-unhealthy",
            ),
            (
                100,
                "error: postgres-2 is already not available (ImagePullBackOff) (pod-unhealthy)\n  because the registry \
                 answered with a long sentence that does not fit here\n  see why: kubectl sts doctor postgres -n \
                 a-namespace-with-a-long-name\n  or start anyway with --allow-unhealthy",
            ),
        ] {
            assert_eq!(fitted(&error, width), text);
        }
    }

    #[test]
    fn a_no_is_no_error() {
        let error = Error::cancelled("cancelled; nothing was changed").reason("declined");
        assert_eq!(fitted(&error, 80), "cancelled; nothing was changed");
        assert_eq!(error.to_string(), "cancelled; nothing was changed");
        assert_eq!(error.refusal().map(|refusal| refusal["reason"].clone()), Some("declined".into()));
    }
}
