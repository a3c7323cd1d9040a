//! The pods are killed without time to stop.

use serde_json::json;

use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS316",
    name: "grace-period-zero",
    severity: Severity::Note,
    stuck_from: None,
    page: include_str!("../../docs/rules/grace-period-zero.md"),
    check,
};

#[expect(clippy::unnecessary_wraps, reason = "the signature of every check")]
fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    if set.spec.template.spec.termination_grace_period_seconds != Some(0) || set.metadata.is_terminating() {
        return Ok(Vec::new());
    }
    let name = &set.metadata.name;
    let grace = json!({"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 30}}}});
    Ok(vec![
        RULE.about(Kind::StatefulSet, name, format!("{name} gives its pods no time to stop"))
            .because(
                "terminationGracePeriodSeconds is 0: a deleted pod is removed from the API at once, and its replacement may \
                 start while the old containers still run; the command updates the template, so the pods are replaced",
            )
            .remedy(
                kubectl("patch statefulset")
                    .name(name)
                    .namespace(home(snapshot))
                    .with("--type=merge")
                    .patch(&grace),
            ),
    ])
}
