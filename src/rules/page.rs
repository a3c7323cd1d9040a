//! A rule's page, taken apart: what `explain` shows of it. The headings are the same on every page, and a test holds the pages
//! to them.

use super::Rule;

/// The parts of a rule's page, in Markdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What is wrong, in one sentence without a period.
    pub title: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// Why it happens.
    pub cause: &'static str,
    /// How to check it.
    pub check: &'static str,
    /// How to fix it.
    pub fix: &'static str,
    /// Where to read more.
    pub link: &'static str,
    /// All that follows: details, and the cases that are the rule's tests.
    pub rest: &'static str,
}

impl Explanation {
    /// The headings, in order.
    pub const HEADINGS: [&'static str; 5] =
        ["What it means", "Why it happens", "How to check", "How to fix", "Read more"];
}

impl Rule {
    /// The address of its page in the book. It has the code, which no other rule is ever given.
    pub fn url(&self) -> String {
        format!("{}rules/{}.html", env!("CARGO_PKG_HOMEPAGE"), self.code)
    }

    /// What the page says. A part that the page lacks is empty.
    pub fn explanation(&self) -> Explanation {
        let first = self.page.lines().next().unwrap_or_default();
        let title = first.split_once(": ").map_or("", |(_, title)| title);
        let mut rest = self.page;
        let [meaning, cause, check, fix, link] = Explanation::HEADINGS.map(|heading| {
            let Some((_, after)) = rest.split_once(&format!("\n## {heading}\n")) else { return "" };
            let end = after.find("\n## ").unwrap_or(after.len());
            rest = &after[end..];
            after[..end].trim_matches('\n')
        });
        let link = link.trim_start_matches('<').trim_end_matches('>');
        Explanation { title, meaning, cause, check, fix, link, rest: rest.trim_start_matches('\n') }
    }
}
