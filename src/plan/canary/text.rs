//! What is said of a canary around its steps.

use super::{Canary, command, is_held};
use crate::controller::MaxUnavailable;
use crate::plan::{Plan, unchanged};
use crate::snapshot::{CanaryAnnotation, Replica, Snapshot, Unseen};
use crate::words;

impl Canary {
    /// The words around the steps.
    pub(super) fn words(
        &self,
        now: &Snapshot<'_>,
        mark: Option<&CanaryAnnotation>,
        plan: &mut Plan,
    ) -> Result<(), Unseen> {
        let set = now.set;
        let (name, namespace) = (&set.metadata.name, &set.metadata.namespace);
        let target = self.target();
        let verb = if self.goes_on { "promote" } else { "canary" };
        let moves: Vec<String> = now
            .above(target)?
            .into_iter()
            .filter(|replica| self.is_to_move(now, replica, mark))
            .map(|replica| replica.name.clone())
            .collect();
        let all = set.replicas();
        plan.headline = format!("{verb} {name} in {namespace}");
        if !moves.is_empty() {
            plan.extent = format!(
                "{} of {} ({}) {} updated to the new template",
                moves.len(),
                words::count(all, "pod"),
                in_order(&moves),
                if moves.len() == 1 { "is" } else { "are" }
            );
        }
        if let Some(change) = &self.change
            && !change.lines.is_empty()
        {
            plan.facts.push(("template", change.lines.join("\n")));
        }
        plan.facts.extend(self.facts.iter().cloned());
        (plan.then, plan.is_then_expected) = self.then(now, mark, plan, &moves);
        let keeps = now.replicas()?.first().and_then(|replica| replica.pod).map_or("", |pod| pod.revision());
        let stays: Vec<String> = now
            .replicas()?
            .iter()
            .take(usize::try_from(target).unwrap_or(0))
            .filter(|replica| replica.pod.is_none_or(|pod| pod.revision() == keeps))
            .map(|it| it.name.clone())
            .collect();
        if !stays.is_empty() && !plan.steps.is_empty() {
            let (names, verb) = (through(&stays), if stays.len() == 1 { "keeps" } else { "keep" });
            let revision = now.set.short_revision(keeps);
            plan.stays = format!("{names} {verb} revision {revision} until you promote; all PVCs");
        } else if !plan.steps.is_empty() {
            plan.stays = unchanged::<&str>(&[]);
        }
        if mark.is_some_and(|mark| now.lacks_revision(&mark.stable)) {
            return Ok(());
        }
        if self.finish && target == 0 && !plan.steps.is_empty() {
            // Then no canary is on any more.
            if mark.is_some() || !self.goes_on || !moves.is_empty() {
                plan.back = format!(
                    "{}\n{}",
                    command(now, "abort").after("while it runs"),
                    command(now, "undo").after("afterwards")
                );
            }
        } else if mark.is_some() || !self.goes_on {
            plan.back = command(now, "abort").to_string();
        }
        Ok(())
    }

    fn is_to_move(&self, now: &Snapshot<'_>, replica: &Replica<'_>, mark: Option<&CanaryAnnotation>) -> bool {
        let begins = self.change.as_ref().is_some_and(|change| {
            !change.lines.is_empty() && mark.and_then(|mark| mark.change.as_ref()) != Some(&change.digest)
        });
        begins || replica.pod.is_none_or(|pod| pod.revision() != now.set.status.update_revision)
    }

    /// How things stand at the end, and whether the predicted sequence says as much.
    fn then(
        &self,
        now: &Snapshot<'_>,
        mark: Option<&CanaryAnnotation>,
        plan: &Plan,
        moves: &[String],
    ) -> (String, bool) {
        let set = now.set;
        let target = self.target();
        let first = set.pod_name(set.start().saturating_add(target));
        if plan.steps.is_empty() {
            let text = match target {
                0 => format!("every pod is on {}", now.set.short_revision(&set.status.update_revision)),
                _ => format!("the canary is already complete at partition {target} ({first})"),
            };
            return (text, false);
        }
        if !moves.is_empty() {
            let at_once = set.rolling_update().and_then(|rolling| rolling.max_unavailable);
            let at_once = at_once.and_then(|most| most.rounded_down(set.replicas())).unwrap_or(1);
            let several = match MaxUnavailable::of(now.server) {
                MaxUnavailable::Counted | MaxUnavailable::Trapping => at_once > 1 && moves.len() > 1,
                MaxUnavailable::Ignored => false,
            };
            let pace = match several {
                true => format!(", at most {at_once} unavailable at a time"),
                false if moves.len() > 1 => ", each after the one before is available".to_owned(),
                false => String::new(),
            };
            let text = if target == 0 {
                format!("all pods are updated{pace}, and the partition is 0")
            } else {
                format!(
                    "the pods down to {first} are updated{pace}; the rollout pauses at partition {target}"
                )
            };
            return (text, !several);
        }
        if self.goes_on || self.change.is_some() || mark.is_some() || is_held(now).unwrap_or(true) {
            return (format!("the partition is {target}"), true);
        }
        let container = set.spec.template.spec.containers.first().map_or("CONTAINER", |it| it.name.as_str());
        let canary = command(now, "canary").with("--partition").value(target.to_string());
        let canary = canary.with("--image").value(format!("{container}=IMAGE"));
        (format!("no pod is updated yet; change the template next:\n{canary}"), false)
    }
}

/// `postgres-4, then postgres-3`.
fn in_order(names: &[String]) -> String {
    match names {
        [first, .., last] if names.len() > 3 => format!("{first} down to {last}"),
        names => names.join(", then "),
    }
}

/// `postgres-0 to postgres-2`.
fn through(names: &[String]) -> String {
    match names {
        [first, .., last] if names.len() > 2 => format!("{first} to {last}"),
        names => words::list(names, 3),
    }
}
