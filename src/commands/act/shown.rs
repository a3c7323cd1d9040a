//! A plan, as it is shown before anything is written.

use serde_json::{Value, json};

use super::NOTE;
use crate::plan::Plan;
use crate::render::{Course, Page, View, plan, plan_json};

/// A plan, shown.
pub(super) struct Shown {
    pub(super) plan: Plan,
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) dry: bool,
    pub(super) checked: Vec<(String, String)>,
    pub(super) course: Option<Course>,
}

impl Shown {
    pub(super) fn of(plan: Plan, name: &str, namespace: &str) -> Shown {
        let (name, namespace) = (name.to_owned(), namespace.to_owned());
        Shown { plan, name, namespace, dry: false, checked: Vec::new(), course: None }
    }
}

impl View for Shown {
    fn text(&self, page: &mut Page) {
        if self.plan.steps.is_empty() {
            page.prose(&format!("nothing to do: {}", self.plan.then), 4);
            for (_, note) in self.plan.facts.iter().filter(|(label, _)| *label == NOTE) {
                page.field("", 2, note);
            }
            return;
        }
        plan(page, &self.plan);
        if let Some(course) = &self.course {
            page.field("  course", 10, &course.text());
        }
        for (step, result) in &self.checked {
            page.field("  check", 10, &format!("{step}: {result}"));
        }
        if self.dry {
            page.line("dry run: nothing was written");
        } else {
            page.gap();
        }
    }

    fn json(&self) -> Value {
        let mut value = plan_json(&self.plan);
        value["metadata"] = json!({"name": self.name, "namespace": self.namespace});
        if let Some(course) = &self.course {
            value["course"] = course.json();
        }
        value["dryRun"] = self.dry.into();
        if !self.checked.is_empty() {
            let checks = self.checked.iter().map(|(step, result)| json!({"step": step, "result": result}));
            value["checks"] = checks.collect();
        }
        value
    }

    fn names(&self) -> Vec<String> {
        vec![format!("statefulset.apps/{}", self.name)]
    }

    fn is_streamed(&self) -> bool {
        true
    }
}
