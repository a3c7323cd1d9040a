//! A plan, as it is shown before anything is written.

use serde_json::{Value, json};

use super::NOTE;
use crate::plan::Plan;
use crate::reached;
use crate::render::{ForecastView, Page, View, plan, plan_json};

/// A plan, shown.
pub(in crate::commands) struct Shown {
    pub(in crate::commands) plan: Plan,
    /// The set's name and namespace, if it is about a set.
    pub(in crate::commands) set: Option<(String, String)>,
    /// The objects it is about.
    pub(in crate::commands) names: Vec<String>,
    pub(in crate::commands) dry: bool,
    pub(in crate::commands) checked: Vec<(String, String)>,
    pub(in crate::commands) course: Option<ForecastView>,
}

impl Shown {
    /// About a set.
    pub(in crate::commands) fn of(plan: Plan, name: &str, namespace: &str) -> Shown {
        let set = Some((name.to_owned(), namespace.to_owned()));
        Shown { set, ..Shown::about(plan, vec![format!("statefulset.apps/{name}")]) }
    }

    /// About other objects.
    pub(in crate::commands) fn about(plan: Plan, names: Vec<String>) -> Shown {
        Shown { plan, set: None, names, dry: false, checked: Vec::new(), course: None }
    }
}

impl View for Shown {
    fn text(&self, page: &mut Page) {
        if self.plan.steps.is_empty() {
            page.prose(&format!("nothing to do: {}{}", self.plan.then, reached::suffix()), 4);
            for (_, note) in self.plan.facts.iter().filter(|(label, _)| *label == NOTE) {
                page.field("", 2, note);
            }
            return;
        }
        plan(page, &self.plan, self.course.as_ref().map(ForecastView::text).as_deref());
        for (step, result) in &self.checked {
            page.field("  check", 13, &format!("{step}: {result}"));
        }
        if self.dry {
            page.line("dry run: nothing was changed");
        } else {
            page.gap();
        }
    }

    fn json(&self) -> Value {
        let mut value = plan_json(&self.plan);
        if let Some((name, namespace)) = &self.set {
            value["metadata"] = json!({"name": name, "namespace": namespace});
        }
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
        self.names.clone()
    }

    fn is_streamed(&self) -> bool {
        true
    }
}
