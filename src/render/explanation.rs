//! A rule, explained on one screen.

use super::{Page, write_labelled_markdown, write_markdown};
use crate::paste::sts;
use crate::rules::Rule;

/// The room for the labels.
const LABEL: usize = 8;

/// Writes what a rule means, why it happens, how to check and how to fix it; with all that its page says, if wanted.
pub fn explanation(page: &mut Page, rule: &Rule, full: bool) {
    let it = rule.explanation();
    page.line(&format!("{} {} ({})", rule.code, rule.name, rule.severity.word()));
    page.line(it.title);
    for (label, text) in [("means", it.meaning), ("why", it.cause), ("check", it.check), ("fix", it.fix)] {
        page.gap();
        write_labelled_markdown(page, label, LABEL, text);
    }
    page.gap();
    page.command("see", LABEL, &rule.url());
    page.command("", LABEL, it.link);
    if full {
        write_markdown(page, it.rest);
    } else {
        page.command("more", LABEL, &sts("explain").value(rule.code).with("--full").to_string());
    }
}
