//! A container is killed by its kubelet again and again, because its liveness or startup probe fails.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::log::{last_run, next_start};
use super::pods::{Group, container, ending, grouped, timing, wanted};
use super::prelude::*;
use super::probed::{self, Wrong};
use crate::controller;
use crate::messages::kubelet::{Probe as Which, is_wrong_question, probe_words, timed_out};
use crate::snapshot::{Killer, Kills, PodFailure};

pub const RULE: Rule = Rule {
    code: "STS414",
    name: "liveness-killed",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/liveness-killed.md"),
    check,
};

/// What runs for so long between two kills works most of the time; the kubelet forgets its back-off by then.
const LONG: SignedDuration = SignedDuration::from_mins(10);
/// An update that is older than this when a pod is made did not bring what is wrong with the pod.
const RECENT: SignedDuration = SignedDuration::from_hours(1);
/// How long a start may take at least, in seconds, once it is given more time: the example of the Kubernetes documentation.
const START: i64 = 300;

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let groups = grouped(wanted(snapshot)?, |case| match (case.why()?, case.container()) {
        (PodFailure::Killed(kills), Some(container)) => {
            let rare = case.pod.is_ready() && kills.last.ran().is_some_and(|ran| ran >= LONG);
            let severity = if rare { Severity::Warning } else { Severity::Error };
            Some((container, kills.killer, severity))
        }
        _ => None,
    });
    let found = groups.iter().filter_map(|((name, killer, severity), group)| {
        let Some(PodFailure::Killed(kills)) = group.first().why() else { return None };
        let word = killer.word();
        let says = [
            format!("is restarted repeatedly because its {word} probe fails"),
            format!("are restarted repeatedly because their {word} probe fails"),
        ];
        let said = match kills.said {
            Some(said) => format!("its {}", probe_words(said)),
            None => format!("no event says why its {word} probe failed"),
        };
        let restarts = words::count(kills.restarts, "restart");
        let numbers = container(group.first().pod, name).and_then(|it| killer.probe(it)).map(numbers);
        let wrong = wrong(snapshot, group, name, kills);
        let why = wrong.as_ref().map_or(String::new(), |wrong| format!("; {}", wrong.why));
        // What is asked is shown first, where only its user knows what to ask instead.
        let edit = wrong.filter(|wrong| !wrong.is_named).and_then(|wrong| wrong.change);
        let finding = group
            .finding(&RULE, &says)
            .because(format!(
                "container {name} {}; {said}{}{why}; {restarts} so far{}",
                how_often(snapshot, kills),
                numbers.unwrap_or_default(),
                next_start(snapshot, group.first().pod, name)
            ))
            .told_by(last_run(snapshot, group.first().pod, name))
            .only(*severity);
        let remedies = remedies(snapshot, group, name, kills);
        let finding = remedies.into_iter().fold(finding, Finding::remedy);
        Some(edit.into_iter().fold(finding, Finding::instead))
    });
    Ok(found.collect())
}

/// What is wrong with the probe, where it asks for something that is not there.
fn wrong(snapshot: &Snapshot<'_>, group: &Group<'_>, name: &str, kills: &Kills<'_>) -> Option<Wrong> {
    let which = match kills.killer {
        Killer::Startup => Which::Startup,
        Killer::Liveness => Which::Liveness,
    };
    let wrong = probed::wrong(snapshot, group, (name, which), kills.said.unwrap_or_default());
    wrong.filter(|wrong| wrong.is_certain)
}

/// `was killed 5 times in 2m8s, last 8s ago`; of what events do not tell, what the status does.
fn how_often(snapshot: &Snapshot<'_>, kills: &Kills<'_>) -> String {
    let ended = format!("{}{}", ending(kills.last), timing(snapshot, kills.last));
    let Some((first, last)) = kills.seen else { return ended };
    let times = words::count(kills.times, "time");
    let killed = format!("was killed {times} in {}", words::age(last.duration_since(first)));
    let ago = snapshot.since(Some(last)).map(words::age).unwrap_or_default();
    // A kubelet that has written many events about a pod leaves most of the others out.
    if kills.last.started_at.is_some_and(|started| last < started) {
        format!("{killed}, the last such event {ago} ago; it {ended}")
    } else {
        format!("{killed}, last {ago} ago")
    }
}

/// What is set, by the names of the fields.
fn numbers(probe: &Probe) -> String {
    let delay = match probe.initial_delay_seconds {
        0 => String::new(),
        delay => format!("initialDelaySeconds {delay}, "),
    };
    format!(
        "; the probe has {delay}periodSeconds {}, timeoutSeconds {} and failureThreshold {}",
        probe.period(),
        probe.timeout(),
        probe.threshold()
    )
}

/// Another template where an update brought it; else a look at what is asked, or at who does not answer, and more time where
/// it is plain that there is too little.
fn remedies(snapshot: &Snapshot<'_>, group: &Group<'_>, name: &str, kills: &Kills<'_>) -> Vec<Command> {
    let other = is_by_update(snapshot, group, kills).then(|| group.other_template(snapshot)).flatten();
    if let Some(other) = other {
        return vec![other];
    }
    let pod = group.first().pod;
    if let Some(Wrong { change: Some(change), is_named: true, .. }) = wrong(snapshot, group, name, kills) {
        return vec![change];
    }
    if kills.said.is_some_and(is_wrong_question) {
        let (containers, probe) = (stanza(pod, name), kills.killer.word());
        let path = format!("{{.spec.{containers}[?(@.name==\"{name}\")].{probe}Probe}}");
        let show = kubectl("get pod").name(&pod.metadata.name).namespace(home(snapshot));
        return vec![show.with("-o").joined("jsonpath=", path)];
    }
    let more = more(pod, name, kills).and_then(|more| patched(snapshot, group, name, kills.killer, &more));
    [group.logs(snapshot, name)].into_iter().chain(more).collect()
}

/// Whether an update brought it: one that is under way, or one just before the pod was made, which has been killed since,
/// as has every other pod of it.
fn is_by_update(snapshot: &Snapshot<'_>, group: &Group<'_>, kills: &Kills<'_>) -> bool {
    let first = group.first();
    let (pod, has) = (first.pod, first.pod.revision());
    let gets = controller::would_get(snapshot, first.ordinal);
    if snapshot.mark().is_some() || has != gets {
        return true;
    }
    let replicas = snapshot.replicas().unwrap_or_default();
    let runs = |pod: &&Pod| pod.revision() == has && pod.is_ready() && snapshot.trouble(pod).is_none();
    if replicas.iter().filter_map(|replica| replica.pod).any(|pod| runs(&pod)) {
        return false;
    }
    if controller::current_revision(snapshot) != snapshot.set.status.update_revision {
        return true;
    }
    let revisions = snapshot.revisions().unwrap_or_default();
    let revision = revisions.iter().find(|revision| revision.metadata.name == has);
    let made = pod.metadata.creation_timestamp;
    let (Some(revision), Some(made), Some((killed, _))) =
        (revision.and_then(|revision| revision.metadata.creation_timestamp), made, kills.seen)
    else {
        return false;
    };
    made.duration_since(revision) < RECENT && killed.duration_since(made) < LONG
}

/// The fields of the probe that give the application more time, where what it lacks is time.
fn more(pod: &Pod, name: &str, kills: &Kills<'_>) -> Option<Value> {
    let container = container(pod, name)?;
    let probe = kills.killer.probe(container)?;
    let said = kills.said.unwrap_or_default();
    if timed_out(said) {
        return Some(json!({"timeoutSeconds": probe.timeout().saturating_mul(2).max(5)}));
    }
    match kills.killer {
        Killer::Startup => {
            let period = i64::from(probe.period());
            let tries = (i64::from(probe.threshold()).saturating_mul(2)).max((START + period - 1) / period);
            Some(json!({"failureThreshold": tries}))
        }
        // It has not been ready once in a whole run: it may be slower than it is allowed to be.
        Killer::Liveness => {
            let unready = pod.condition("Ready").filter(|ready| ready.status != "True")?.last_transition_time;
            let never = unready.zip(kills.last.started_at).is_some_and(|(unready, began)| unready <= began);
            let slow = never && container.readiness_probe.is_some() && container.startup_probe.is_none();
            let delay = probe.allowance().saturating_mul(2).max(START);
            slow.then(|| json!({"initialDelaySeconds": delay}))
        }
    }
}

/// Where a container stands in a spec.
fn stanza(pod: &Pod, name: &str) -> &'static str {
    if pod.spec.init_containers.iter().any(|init| init.name == name) {
        "initContainers"
    } else {
        "containers"
    }
}

/// Sets these fields of the probe in the template, and sees to it that the pods get it; `None` where the template has no
/// such container.
fn patched(
    snapshot: &Snapshot<'_>,
    group: &Group<'_>,
    name: &str,
    killer: Killer,
    fields: &Value,
) -> Option<Command> {
    let set = snapshot.set;
    let template = &set.spec.template.spec;
    let mut known = template.containers.iter().chain(&template.init_containers);
    known.find(|it| it.name == name).and_then(|it| killer.probe(it))?;
    let (containers, probe) = (stanza(group.first().pod, name), format!("{}Probe", killer.word()));
    let patch = json!({"spec": {"template": {"spec": {containers: [{"name": name, probe: fields}]}}}});
    let patch = kubectl("patch statefulset").name(&set.metadata.name).namespace(home(snapshot)).patch(&patch);
    group.reached_by(snapshot, patch)
}
