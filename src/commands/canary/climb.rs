//! One goal after another: each partition is reached and looked after before the next one.

use serde_json::Value;
use tokio::time::Instant;

use super::Verification;
use crate::cli::{Answer, Global, Ui, bare};
use crate::cluster::connect::connect;
use crate::cluster::live::Live;
use crate::cluster::raw::managers;
use crate::commands::act::{
    Consent, Consented, ProgressReporter, confirm_plan, ended, idle, recorded, stopped,
};
use crate::error::{Error, Result};
use crate::kinds::{HorizontalPodAutoscaler, Kind, StatefulSet};
use crate::paste::sts;
use crate::plan::{Agreement, Canary, Stamp, plan_in_full};
use crate::reconcile::{Acting, Entry, Outcome, Report, reconcile};
use crate::snapshot::Snapshot;
use crate::snapshot::owner::{Manager, managed_by_fields};
use crate::time::after;

/// Shows the plan, asks, and goes through the steps. The goal is made anew from the cluster before each asking.
pub(in crate::commands) async fn climb(
    global: &Global,
    name: &str,
    consent: &Consent,
    looking: &Verification,
    streams: &Ui,
    make: impl Fn(&Snapshot<'_>, Option<&Value>) -> Result<Canary>,
) -> Result<Answer> {
    let name = bare(name)?;
    if !global.from.is_empty() {
        let goal = |now: &Snapshot<'_>| -> Result<Canary> {
            Ok(Canary { facts: looking.facts(), ..make(now, None)? })
        };
        return recorded(global, name, streams, |now| plan_in_full(&goal(now)?, now).map_err(stopped)).await;
    }
    let connection = connect(&global.connect, global.namespace.as_deref(), streams.warn).await?;
    let namespace = connection.namespace.clone();
    let mut live = Live::start(connection, &namespace, name).await?;
    loop {
        live.catch_up().await?;
        let raw = live.raw(Kind::StatefulSet, name).await?;
        let mut goal = current(&live, name, |now| make(now, raw.as_ref()))??;
        goal.facts = looking.facts();
        goal.warnings.extend(scaled(&live, name).await);
        let all_steps = current(&live, name, |now| goal.all_steps(now).map_err(stopped))?;
        let agreement = match confirm_plan(&mut live, name, &goal, consent, global, streams).await? {
            Consented::To(plan) => Agreement::to(&plan),
            Consented::Nothing(plan) => match &all_steps {
                // A command that was interrupted while the pods were looked after goes on there.
                Ok(all_steps) if !all_steps.is_empty() && looking.is_wanted() => Agreement::to_nothing(),
                _ => return Ok(idle(&live, plan, name)),
            },
            Consented::Answered(answer) => return Ok(answer),
        };
        let mut teller = ProgressReporter::beside(streams.look, global.output);
        let report =
            up(&mut live, name, &goal, &all_steps?, &agreement, consent, looking, &mut teller).await?;
        let reached = matches!(report.outcome, Outcome::Reached);
        // What is on may then be another client's.
        let idle = !reached && !report.journal.iter().any(Entry::is_done);
        let typed = |now: Option<&Snapshot<'_>>| {
            now.filter(|_| !idle).map(|now| next_commands(now, reached)).unwrap_or_default()
        };
        if let Some(answer) = ended(&live, name, report, teller, consent, global, streams, typed).await? {
            return Ok(answer);
        }
    }
}

/// Asks a question of the newest snapshot.
pub(in crate::commands) fn current<R>(
    live: &Live,
    name: &str,
    look: impl FnOnce(&Snapshot<'_>) -> R,
) -> Result<R> {
    live.look(|now| now.map(look))
        .ok_or_else(|| Error::cluster(format!("StatefulSet {name} no longer exists")))
}

#[expect(clippy::too_many_arguments, reason = "it is one part of one function, apart for its length")]
async fn up(
    live: &mut Live,
    name: &str,
    goal: &Canary,
    all_steps: &[usize],
    agreement: &Agreement,
    consent: &Consent,
    looking: &Verification,
    teller: &mut ProgressReporter,
) -> Result<Report> {
    let started = Instant::now();
    let limits = || {
        let mut limits = consent.limits();
        limits.timeout = limits.timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
        limits
    };
    let mut journal = Vec::new();
    for rung in all_steps {
        let report = reconcile(live, &goal.up_to(*rung), agreement, &limits(), teller).await;
        journal.extend(report.journal);
        if !matches!(report.outcome, Outcome::Reached) {
            return Ok(Report { journal, ..report });
        }
        let deadline = limits().timeout.map(|left| after(Instant::now(), left));
        let acting = Acting::begin();
        let outcome = tokio::select! {
            outcome = looking.after(live, name, teller, deadline) => outcome?,
            () = acting.interrupted() => Some(Outcome::Interrupted),
        };
        if let Some(outcome) = outcome {
            return Ok(Report { outcome, journal, agreed_to_write: agreement.writes() });
        }
    }
    let report = reconcile(live, &goal.ending(), agreement, &limits(), teller).await;
    journal.extend(report.journal);
    Ok(Report { journal, ..report })
}

/// What can be typed now.
fn next_commands(now: &Snapshot<'_>, reached: bool) -> Vec<(&'static str, String)> {
    let Some(Some(mark)) = now.mark() else { return Vec::new() };
    let command = |verb| sts(verb).name(&now.set.metadata.name).namespace(&now.set.metadata.namespace);
    let back = ("to undo", command("abort").to_string());
    if !reached {
        return vec![back];
    }
    let update = &now.set.status.update_revision;
    let next = if mark.change.is_none() && mark.stable == *update {
        let container = now.set.spec.template.spec.containers.first();
        let container = container.map_or("CONTAINER", |container| container.name.as_str());
        let canary = command("canary").with("--partition").value(now.set.partition().to_string());
        canary.with("--image").value(format!("{container}=IMAGE")).to_string()
    } else {
        command("promote").to_string()
    };
    vec![("next", next), back]
}

/// Who scales the set. Autoscalers are not looked at otherwise unless claims are left over.
async fn scaled(live: &Live, name: &str) -> Option<String> {
    let all: Vec<HorizontalPodAutoscaler> = live.listed().await.ok()?;
    let scaler = all.into_iter().find(|scaler| {
        let target = &scaler.spec.scale_target_ref;
        target.kind == "StatefulSet" && target.name == name
    })?;
    Some(format!(
        "HorizontalPodAutoscaler {} scales this StatefulSet: if it does so now, this command may stop; run the same \
         command again to continue",
        scaler.metadata.name
    ))
}

/// Who does it, and when.
pub(in crate::commands) fn stamp(now: &Snapshot<'_>) -> Stamp {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(|| "unknown".to_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|host| host.trim().to_owned());
    let host = host.filter(|host| !host.is_empty()).or_else(|| variable("HOSTNAME"));
    let by = host.map_or(user.clone(), |host| format!("{user}@{host}"));
    Stamp { by, at: now.taken_at }
}

/// Who else writes the template and the partition, and may put them back.
pub(in crate::commands) fn managed(set: &StatefulSet, raw: Option<&Value>) -> Vec<String> {
    let paths = [["f:spec", "f:template"], ["f:spec", "f:updateStrategy"]];
    let fields: Vec<String> =
        raw.into_iter().flat_map(|raw| paths.iter().flat_map(|path| managers(raw, path))).collect();
    let all = managed_by_fields(&set.metadata, &fields).into_iter();
    all.map(|Manager { name, evidence, .. }| {
        format!(
            "{name} manages this StatefulSet ({evidence}) and may revert the template and the partition: change them \
             there too, or suspend it in the meantime"
        )
    })
    .collect()
}
