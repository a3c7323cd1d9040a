//! A container ends soon after every start.

use super::loops::looping;
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS402",
    name: "crash-loop",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/crash-loop.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    looping(snapshot, &RULE, false, |_| ["keeps crashing".to_owned(), "keep crashing".to_owned()])
}
