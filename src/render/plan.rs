//! A plan, before anything is written.

use serde_json::{Value, json};

use super::Page;
use crate::plan::{Plan, Step};
use crate::reached;
use crate::secrets::redacted;
use crate::snapshot::parse_pod_name;

/// How wide the labels are.
const LABEL: usize = 13;

/// Writes the plan: every write by name, what is not touched, how to undo it, and what is expected to happen, if that could be
/// predicted.
pub fn plan(page: &mut Page, plan: &Plan, expected: Option<&str>) {
    page.prose(&plan.title(&reached::suffix()), 4);
    for (label, text) in &plan.facts {
        for (number, line) in text.lines().enumerate() {
            page.field(&format!("  {}", if number == 0 { label } else { "" }), LABEL, line);
        }
    }
    for warning in &plan.warnings {
        page.hint("  ! note", LABEL, warning);
    }
    for (number, step) in plan.steps.iter().enumerate() {
        page.field(&format!("  {}", number + 1), 5, &step.sentence(""));
    }
    for step in &plan.if_needed {
        let when = if step.pvc().is_some() { "if necessary" } else { "if it gets stuck" };
        page.field("  or", 5, &step.sentence(when));
    }
    if !plan.restarts.is_empty() {
        page.field("  restarts", LABEL, &restarts(&plan.restarts));
    }
    page.hint("  unchanged", LABEL, &plan.stays);
    if let Some(expected) = expected {
        page.field("  expected", LABEL, expected);
    }
    if !(plan.is_then_expected && expected.is_some()) {
        page.hint("  then", LABEL, &plan.then);
    }
    page.hint("  to undo", LABEL, &plan.back);
}

/// Every pod by name; neighbours as a range: `web-9 down to web-3, web-1`.
fn restarts(pods: &[String]) -> String {
    let ordinal = |pod: &String| parse_pod_name(pod).map(|(_, ordinal)| ordinal);
    let mut runs: Vec<Vec<&String>> = Vec::new();
    for pod in pods {
        match runs.last_mut() {
            Some(run) if run.last().is_some_and(|last| ordinal(last) == ordinal(pod).map(|it| it + 1)) => {
                run.push(pod);
            }
            _ => runs.push(vec![pod]),
        }
    }
    let parts = runs.iter().map(|run| match run.as_slice() {
        [first, .., last] if run.len() > 3 => format!("{first} down to {last}"),
        few => few.iter().map(|pod| pod.as_str()).collect::<Vec<_>>().join(", "),
    });
    parts.collect::<Vec<_>>().join(", ")
}

/// The plan for programs.
pub fn plan_json(plan: &Plan) -> Value {
    json!({
        "apiVersion": "kubectl-sts/v1",
        "kind": "Plan",
        "headline": plan.title(""),
        "facts": plan.facts.iter().map(|(label, text)| json!({"label": label, "text": text})).collect::<Vec<_>>(),
        "warnings": plan.warnings,
        "steps": plan.steps.iter().map(step_json).collect::<Vec<_>>(),
        "ifNeeded": plan.if_needed.iter().map(step_json).collect::<Vec<_>>(),
        "restarts": plan.restarts,
        "then": plan.then,
        "stays": plan.stays,
        "back": plan.back,
    })
}

/// A step for programs.
pub fn step_json(step: &Step) -> Value {
    let mut value = json!({"do": step.verb()});
    if let Some((kind, name)) = step.object() {
        value["kind"] = kind.into();
        value["name"] = name.into();
        value["note"] = step.note().into();
    }
    match step {
        Step::Patch(patch) => {
            value["uid"] = patch.seen.clone().into();
            value["generation"] = patch.generation.into();
            value["patch"] = redacted(patch.body.clone());
        }
        Step::DeletePod { seen, .. } => value["uid"] = seen.clone().into(),
        Step::PatchVolume(patch) => value["patch"] = patch.body(),
        Step::DeletePvc { pvc, .. } => value["uid"] = pvc.uid.clone().into(),
        Step::CreateSnapshot { .. } | Step::CreatePvc { .. } => {}
        Step::Await { pods, until } => {
            value = json!({"do": "await", "pods": pods, "until": until});
        }
        Step::AwaitPvc { pvc, until, .. } => {
            value = json!({"do": "await", "pvcs": [pvc.name], "until": until});
        }
    }
    if let Some(pvc) = step.pvc() {
        value["namespace"] = pvc.namespace.clone().into();
    }
    value
}
