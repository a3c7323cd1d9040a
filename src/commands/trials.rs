//! Pods that are missing without a word of why: the API server is asked by a dry run whether it would create them.

use serde_json::{Value, json};

use crate::cli::Observation;
use crate::cluster::trial;
use crate::kinds::StatefulSet;
use crate::render::Page;
use crate::rules::pods_to_try;
use crate::snapshot::Trial;

/// Asks about pods of these StatefulSets, where there is a cluster to ask.
pub(super) async fn ask(sight: &mut Observation, is_chosen: impl Fn(&StatefulSet) -> bool) {
    if let Some(connection) = &sight.connection {
        let wanted = pods_to_try(&sight.observed, is_chosen);
        sight.observed.trials = trial::ask(connection, wanted).await;
    }
}

/// The pods of which it is not known whether they could be created, with the reason.
#[derive(Debug)]
pub(super) struct Untried(Vec<(String, String)>);

impl Untried {
    pub(super) fn of(trials: &[Trial]) -> Untried {
        let why = |trial: &Trial| Some((trial.pod.pod.clone(), trial.refusal.as_ref().err()?.to_string()));
        Untried(trials.iter().filter_map(why).collect())
    }

    /// One line for each.
    pub(super) fn text(&self, page: &mut Page) {
        for (pod, why) in &self.0 {
            page.field("not checked:", 14, &format!("whether {pod} can be created (dry run: {why})"));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Vec<Value> {
        self.0.iter().map(|(pod, why)| json!({"pod": pod, "why": why})).collect()
    }
}
