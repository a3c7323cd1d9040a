//! The replicas have no DNS names of their own, and never will.

use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS104",
    name: "service-name-empty",
    severity: Severity::Note,
    stuck_from: None,
    page: include_str!("../../docs/rules/service-name-empty.md"),
    check,
};

#[expect(clippy::unnecessary_wraps, reason = "the signature of every check")]
fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    if !set.spec.service_name.is_empty() || set.replicas() < 2 {
        return Ok(Vec::new());
    }
    let name = &set.metadata.name;
    Ok(vec![RULE.about(Kind::StatefulSet, name, format!("{name} has no spec.serviceName")).because(format!(
        "its {} have no DNS names of their own, and serviceName cannot be set later",
        words::count(set.replicas(), "replica")
    ))])
}
