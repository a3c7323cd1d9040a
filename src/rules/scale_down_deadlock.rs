//! A scale-down waits for pods that will never become ready, and that it wants to delete itself.

use super::prelude::*;
use super::rollouts::{Deadlock, deadlock};

pub const RULE: Rule = Rule {
    code: "STS305",
    name: "scale-down-deadlock",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/scale-down-deadlock.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let Some(Deadlock { replica, because }) = deadlock(snapshot)? else { return Ok(Vec::new()) };
    let name = &snapshot.set.metadata.name;
    let what = format!("the scale-down of {name} can never finish: it waits for {}", replica.name);
    let finding = RULE
        .about(Kind::Pod, &replica.name, what)
        .because(because)
        .remedy(kubectl("delete pod").name(&replica.name).namespace(home(snapshot)))
        .absorbs(Kind::Pod, &replica.name);
    Ok(vec![finding])
}
