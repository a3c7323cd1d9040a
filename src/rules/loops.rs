//! Containers that end soon after every start.

use jiff::SignedDuration;

use super::log::{last_run, next_start};
use super::pods::{container as spec_of, ending, grouped, status, timing, wanted};
use super::prelude::*;
use crate::messages::kubelet::{is_start_failure, probe_words, start_failure};
use crate::snapshot::{Killer, PodFailure};
use crate::time::later;

/// How long the kubelet may take to write down what it has done to a container.
const HANDLED: SignedDuration = SignedDuration::from_secs(2);

/// Findings about init containers, or about the others, that fail again and again; out-of-memory has its own rule.
pub(super) fn looping(
    snapshot: &Snapshot<'_>,
    rule: &'static Rule,
    inits: bool,
    says: impl Fn(&str) -> [String; 2],
) -> Result<Vec<Finding>, Unseen> {
    let groups = grouped(wanted(snapshot)?, |case| match (case.why()?, case.container()) {
        (PodFailure::CrashLoop { last, init, .. }, Some(container)) if *init == inits => {
            let ended = last.map(|last| (last.exit_code, last.reason.as_str()));
            let better = last.is_some_and(|last| outlives(snapshot, case.pod, container, last));
            (!last.is_some_and(Terminated::is_out_of_memory)).then_some((container, ended, better))
        }
        _ => None,
    });
    let found = groups.iter().filter_map(|((container, _, better), group)| {
        let Some(PodFailure::CrashLoop { last, said, .. }) = group.first().why() else { return None };
        let counts = group.iter().filter_map(|case| Some(status(case.pod, container)?.restart_count));
        let restarts = usize::try_from(counts.max().unwrap_or(0)).unwrap_or(0);
        let ended = match last {
            Some(last) => format!("{}{}", ending(last), timing(snapshot, last)),
            None if said.is_some() => "cannot be started".to_owned(),
            None => "exits repeatedly".to_owned(),
        };
        let why = last.and_then(|last| cause(snapshot, group.first().pod, container, last));
        let why = why.or_else(|| said.map(|said| format!(": {}", start_failure(said))));
        let never_ran = last.map_or(said.is_some(), Terminated::never_ran);
        let says = match () {
            () if *better => ["has crashed", "have crashed"].map(str::to_owned),
            () if never_ran && !inits => {
                ["has a container that cannot start", "have a container that cannot start"].map(str::to_owned)
            }
            () => says(container),
        };
        let finding = group.finding(rule, &says).because(format!(
            "container {container} {ended}{}{}{}{}",
            why.unwrap_or_default(),
            // The kubelet counts a restart once it has done it.
            match restarts {
                0 => String::new(),
                some => format!("; {} so far", words::count(some, "restart")),
            },
            if *better { ", and it is ready now" } else { "" },
            next_start(snapshot, group.first().pod, container)
        ));
        let finding = if *better { finding.only(Severity::Warning) } else { finding };
        let back = group.back(snapshot);
        if never_ran {
            let edit = if back.is_some() { None } else { group.edit(snapshot) };
            let because = match &edit {
                Some(_) => format!(
                    "{}; correct command or args of container {container} in the pod template, or its image",
                    finding.because
                ),
                None => finding.because.clone(),
            };
            let other = group.other_template(snapshot).or(edit.clone());
            let first = other.unwrap_or_else(|| group.describe(snapshot));
            let others = edit.filter(|edit| *edit != first);
            return Some(others.into_iter().fold(finding.because(because).remedy(first), Finding::instead));
        }
        let run = last_run(snapshot, group.first().pod, container);
        let finding = finding.remedy(group.logs(snapshot, container)).told_by(run);
        let back = back.filter(|_| finding.severity == Severity::Error);
        Some(back.into_iter().fold(finding, Finding::instead))
    });
    Ok(found.collect())
}

/// A run of a few seconds more than the last one is the same rhythm.
const LONGER: SignedDuration = SignedDuration::from_secs(10);

/// Whether it is ready, and has run for clearly longer by now than the last time.
fn outlives(snapshot: &Snapshot<'_>, pod: &Pod, container: &str, last: &Terminated) -> bool {
    let running = status(pod, container).and_then(|status| status.state.running.as_ref()?.started_at);
    let before = last.started_at.zip(last.finished_at).map(|(start, end)| end.duration_since(start));
    pod.is_ready()
        && snapshot
            .since(running)
            .zip(before)
            .is_some_and(|(now, before)| now > before.saturating_add(LONGER))
}

/// What the kubelet says about the end, where it had a part in it: the probe that failed, or the runtime that refused. It
/// need not say it of the last run: most events about a pod that has been ill for long are left out.
fn cause(snapshot: &Snapshot<'_>, pod: &Pod, container: &str, last: &Terminated) -> Option<String> {
    let events = snapshot.events_about(pod).ok()?;
    let field = format!("{{{container}}}");
    let mut newest = events.iter().rev().filter(|event| {
        event.involved_object.field_path.is_empty() || event.involved_object.field_path.ends_with(&field)
    });
    if last.never_ran() {
        let failed = newest.find(|event| is_start_failure(event))?;
        return Some(format!(": {}", start_failure(failed.text())));
    }
    if !last.was_stopped() {
        return None;
    }
    // The same failure of later runs is counted in the same event: it must have been seen by the end of that run.
    let by_then = |event: &Event| {
        let first = event.first_timestamp.or(event.last_seen());
        first.zip(last.finished_at).is_none_or(|(first, end)| first <= later(end, HANDLED))
    };
    let spec = spec_of(pod, container);
    let stops = |event: &Event| {
        if event.reason == "FailedPostStartHook" {
            return true;
        }
        let killer = [Killer::Liveness, Killer::Startup].into_iter().find(|killer| killer.is_failure(event));
        killer.is_some_and(|killer| spec.is_none_or(|spec| killer.can_end(spec, last)))
    };
    let Some(event) = newest.find(|event| stops(event) && by_then(event)) else {
        let probed = spec.is_some_and(|it| it.liveness_probe.is_some() || it.startup_probe.is_some());
        return probed.then(|| {
            "; no event says why; a failed liveness or startup probe ends a container this way".to_owned()
        });
    };
    let earlier = event.last_seen().zip(last.started_at).is_some_and(|(seen, start)| seen < start);
    let ago = snapshot.since(event.last_seen().filter(|_| earlier));
    let ago =
        ago.map_or(String::new(), |ago| format!(" (the last event that says so is {} old)", words::age(ago)));
    Some(if event.reason == "Unhealthy" {
        format!("; before that its {}{ago}", probe_words(event.text()))
    } else {
        format!("; it was stopped because its postStart hook failed{ago}")
    })
}
