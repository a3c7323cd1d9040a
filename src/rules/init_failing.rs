//! An init container fails, so that the pod's own containers are never started.

use super::loops::looping;
use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS403",
    name: "init-failing",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/init-failing.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    looping(snapshot, &RULE, true, |container| {
        [
            format!("cannot start: its init container {container} fails"),
            format!("cannot start: their init container {container} fails"),
        ]
    })
}
