//! What the rules about pods share: which pods are in trouble, which of them for the same cause, and how to say it.

use std::collections::HashMap;
use std::hash::Hash;

use jiff::SignedDuration;

use super::placement;
use super::prelude::*;
use crate::controller::{self, MaxUnavailable, Next};
use crate::snapshot::{PodFailure, Trouble, parse_pod_name};

/// Deployments give up after this long (`progressDeadlineSeconds`); a `StatefulSet` never does.
pub(super) const DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// A pod of the set.
#[derive(Clone, Debug)]
pub(super) struct Case<'a> {
    /// Its ordinal.
    pub ordinal: i32,
    /// The pod.
    pub pod: &'a Pod,
    /// What keeps it from being available, if anything does.
    pub trouble: Option<Trouble<'a>>,
}

impl<'a> Case<'a> {
    /// Why it is not available.
    pub fn why(&self) -> Option<&PodFailure<'a>> {
        self.trouble.as_ref().map(|trouble| &trouble.why)
    }

    /// The container its trouble is about.
    pub fn container(&self) -> Option<&'a str> {
        self.trouble.as_ref().and_then(|trouble| trouble.container)
    }

    /// How long it has not been ready.
    pub fn unready(&self, snapshot: &Snapshot<'_>) -> Option<SignedDuration> {
        snapshot.since(self.trouble.as_ref()?.since)
    }
}

/// Pods of which the same is to be said, lowest ordinal first; never empty.
#[derive(Clone, Debug)]
pub(super) struct Group<'a>(Vec<Case<'a>>);

/// The pods whose health matters: those of wanted replicas, and the condemned one a scale-down waits for. Pods that are
/// being deleted are left out, as nothing in them has to work any more.
pub(super) fn wanted<'a>(snapshot: &Snapshot<'a>) -> Result<Vec<Case<'a>>, Unseen> {
    if snapshot.set.metadata.is_terminating() {
        return Ok(Vec::new());
    }
    let condemned = snapshot.condemned()?;
    let next = (!condemned.is_empty()).then(|| controller::next(snapshot)).transpose()?;
    let waits_for = match next {
        Some(Next::Wait { on, .. }) => Some(on),
        _ => None,
    };
    let blocking = condemned.iter().filter(|replica| Some(replica.ordinal) == waits_for);
    Ok(snapshot
        .replicas()?
        .iter()
        .chain(blocking)
        .filter_map(|replica| {
            let pod = replica.pod.filter(|pod| !pod.metadata.is_terminating())?;
            Some(Case { ordinal: replica.ordinal, pod, trouble: snapshot.trouble(pod) })
        })
        .collect())
}

/// All pods of the set, terminating and condemned ones too, without a look at their troubles.
pub(super) fn all<'a>(snapshot: &Snapshot<'a>) -> Result<Vec<Case<'a>>, Unseen> {
    let all = snapshot.replicas()?.iter().chain(snapshot.condemned()?);
    Ok(all.filter_map(|it| Some(Case { ordinal: it.ordinal, pod: it.pod?, trouble: None })).collect())
}

/// Pods that have the name of a wanted replica while they belong to an earlier set, and are on their way out.
pub(super) fn leaving<'a>(snapshot: &Snapshot<'a>) -> Result<Vec<Case<'a>>, Unseen> {
    let squatters = snapshot.replicas()?.iter().filter_map(|it| Some((it.ordinal, it.foreign_pod?)));
    let leaving = squatters.filter(|(_, pod)| pod.metadata.is_terminating());
    Ok(leaving.map(|(ordinal, pod)| Case { ordinal, pod, trouble: None }).collect())
}

/// Puts together the pods for which `cause` gives the same answer; those without an answer are left out.
pub(super) fn grouped<'a, C: Clone + Eq + Hash>(
    cases: Vec<Case<'a>>,
    cause: impl Fn(&Case<'a>) -> Option<C>,
) -> Vec<(C, Group<'a>)> {
    let mut groups: Vec<(C, Group<'a>)> = Vec::new();
    let mut known: HashMap<C, usize> = HashMap::new();
    for case in cases {
        let Some(cause) = cause(&case) else { continue };
        let at = *known.entry(cause.clone()).or_insert(groups.len());
        match groups.get_mut(at) {
            Some((_, group)) => group.0.push(case),
            None => groups.push((cause, Group(vec![case]))),
        }
    }
    for (_, group) in &mut groups {
        group.0.sort_by_key(|case| case.ordinal);
    }
    groups
}

impl<'a> Group<'a> {
    /// One pod alone; `None` where it is no replica.
    pub fn of(snapshot: &Snapshot<'a>, pod: &'a Pod) -> Option<Group<'a>> {
        let (_, ordinal) = parse_pod_name(&pod.metadata.name)?;
        Some(Group(vec![Case { ordinal, pod, trouble: snapshot.trouble(pod) }]))
    }

    /// The one with the lowest ordinal.
    pub fn first(&self) -> &Case<'a> {
        &self.0[0]
    }

    /// The name of the pod with the lowest ordinal.
    pub fn pod(&self) -> &'a str {
        &self.first().pod.metadata.name
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Case<'a>> {
        self.0.iter()
    }

    /// A finding about these pods; `says` is what follows their names, for one pod and for several.
    pub fn finding<T: AsRef<str>>(&self, rule: &'static Rule, says: &[T; 2]) -> Finding {
        let names: Vec<&str> = self.0.iter().map(|case| case.pod.metadata.name.as_str()).collect();
        let says = says[usize::from(names.len() > 1)].as_ref();
        let finding = rule.about(Kind::Pod, names[0], format!("{} {says}", words::list(&names, 3)));
        names[1..].iter().fold(finding, |finding, name| finding.also(Kind::Pod, *name))
    }

    /// The longest time one of them has not been ready.
    pub fn longest(&self, snapshot: &Snapshot<'_>) -> Option<SignedDuration> {
        self.0.iter().filter_map(|case| case.unready(snapshot)).max()
    }

    /// `not ready for 14m`: the longest of them.
    pub fn unready(&self, snapshot: &Snapshot<'_>) -> String {
        let longest = self.longest(snapshot);
        longest.map_or("not ready".to_owned(), |time| format!("not ready for {}", words::age(time)))
    }

    /// A command that shows the lowest one.
    pub fn describe(&self, snapshot: &Snapshot<'_>) -> Command {
        kubectl("describe pod").name(self.pod()).namespace(home(snapshot))
    }

    /// A command that shows the log of the container's run that ended last, in the lowest one.
    pub fn logs(&self, snapshot: &Snapshot<'_>, container: &str) -> Command {
        last_run(snapshot, self.first().pod, container)
    }

    /// The command that gives the pods another template where there is one that can help: away from an abandoned
    /// revision, or back to an earlier one.
    pub fn other_template(&self, snapshot: &Snapshot<'_>) -> Option<Command> {
        let set = snapshot.set;
        let (name, at) = (&set.metadata.name, home(snapshot));
        let delete = kubectl("delete pod").name(self.pod()).namespace(at);
        let Case { ordinal, pod, .. } = self.first();
        let (has, gets) = (pod.revision(), controller::would_get(snapshot, *ordinal));
        if has.is_empty() || gets.is_empty() {
            return None;
        }
        if snapshot.mark().is_some() {
            return Some(sts("abort").name(name).namespace(at));
        }
        if has != gets {
            return Some(delete);
        }
        let update = &set.status.update_revision;
        let on_update = self.0.iter().all(|case| case.pod.revision() == *update);
        if !on_update {
            return None;
        }
        let rolling = set.strategy() == Strategy::RollingUpdate;
        if rolling && controller::current_revision(snapshot) != update {
            return Some(sts("undo").name(name).namespace(at));
        }
        // Nothing says which revision it came from: the one before, unless that was left by putting this one back.
        let revisions = snapshot.revisions().unwrap_or_default();
        let (this, before) = match revisions.as_slice() {
            [.., before, this] if this.metadata.name == *update => (this, before),
            _ => return None,
        };
        if this.metadata.creation_timestamp < before.metadata.creation_timestamp {
            return None;
        }
        let undo =
            sts("undo").name(name).with("--to-revision").value(before.revision.to_string()).namespace(at);
        Some(if rolling { undo } else { undo.and(delete) })
    }

    /// Another template for pods that may fail because of theirs: the one from which they would be created now, or, where an
    /// update brought it, the one before.
    pub fn back(&self, snapshot: &Snapshot<'_>) -> Option<Command> {
        let may_help = self.is_outdated(snapshot) || self.is_since_update(snapshot);
        self.other_template(snapshot).filter(|_| may_help)
    }

    /// A change of the template, and what it takes for these pods to get it; `None` where they cannot get it.
    pub fn reached_by(&self, snapshot: &Snapshot<'_>, change: Command) -> Option<Command> {
        let set = snapshot.set;
        let (name, at) = (&set.metadata.name, home(snapshot));
        // A new template does not reach pods below the partition.
        if self.first().ordinal < set.boundary() && set.strategy() == Strategy::RollingUpdate {
            return None;
        }
        // An ordered set waits for the pods that fail instead of replacing them (kubernetes/kubernetes#67250).
        let trapping = MaxUnavailable::of(snapshot.server) == MaxUnavailable::Trapping;
        let freed = match set.strategy() {
            Strategy::RollingUpdate => !set.is_parallel() || trapping,
            Strategy::OnDelete => true,
            Strategy::Recreate | Strategy::Unknown => false,
        };
        if !freed {
            return Some(change);
        }
        // Without the stanza the pod would come back as it was, which recover knows.
        if set.strategy() == Strategy::RollingUpdate && set.rolling_update().is_none() {
            return Some(change.and(sts("recover").name(name).namespace(at)));
        }
        let pods = self.iter().map(|case| case.pod.metadata.name.as_str());
        Some(change.and(kubectl("delete pod").names(pods).namespace(at)))
    }

    /// The commands that move the pods to other nodes, where another node that is known takes the first of them as far as its
    /// labels, taints and volumes go; `None` where none does, or the pods have no node.
    pub fn elsewhere(&self, snapshot: &Snapshot<'_>) -> Option<Command> {
        let own = self.first().pod.spec.node_name.as_str();
        let takes = |place: &placement::Place<'_>| {
            place.name() != own && place.node.is_ready() && place.obstacles.is_empty()
        };
        let is_moved = !own.is_empty() && placement::places(snapshot, self.first().pod).iter().any(takes);
        let on_it = self.0.iter().filter(|case| case.pod.spec.node_name == own);
        let pods = on_it.map(|case| case.pod.metadata.name.as_str());
        is_moved.then(|| {
            kubectl("cordon").name(own).and(kubectl("delete pod").names(pods).namespace(home(snapshot)))
        })
    }

    /// Whether the pods would come back from another template: then nothing is wrong with that one.
    pub fn is_outdated(&self, snapshot: &Snapshot<'_>) -> bool {
        let Case { ordinal, pod, .. } = self.first();
        let (has, gets) = (pod.revision(), controller::would_get(snapshot, *ordinal));
        !has.is_empty() && !gets.is_empty() && has != gets
    }

    /// The command that opens the pod template for a change that only its user knows, and brings the change to the pods.
    pub fn edit(&self, snapshot: &Snapshot<'_>) -> Option<Command> {
        let edit = kubectl("edit statefulset").name(&snapshot.set.metadata.name).namespace(home(snapshot));
        self.reached_by(snapshot, edit)
    }

    /// Whether an update brought this: the pods that do not have it yet, of which there are some, are all available.
    pub fn is_since_update(&self, snapshot: &Snapshot<'_>) -> bool {
        let set = snapshot.set;
        let update = &set.status.update_revision;
        let mut before = snapshot
            .replicas()
            .unwrap_or_default()
            .iter()
            .filter_map(|replica| replica.pod)
            .filter(|pod| pod.revision() != update)
            .peekable();
        before.peek().is_some()
            && before.all(|pod| snapshot.is_available(pod))
            && self.iter().all(|case| case.pod.revision() == update)
    }
}

/// A command that shows the log of a container's run that ended last. The kubelet keeps the container that ended last, and
/// no other: while it is the newest, `--previous` asks for one that has been removed; once another one runs, it is the
/// previous one (`kuberuntime_gc.go:evictContainers`, `pruneInitContainersBeforeStart`).
pub(super) fn last_run(snapshot: &Snapshot<'_>, pod: &Pod, container: &str) -> Command {
    let logs = kubectl("logs").name(&pod.metadata.name).with("-c").value(container);
    let runs = status(pod, container)
        .is_some_and(|status| status.state.running.is_some() && status.last_state.terminated.is_some());
    let logs = if runs { logs.with("--previous") } else { logs };
    logs.namespace(home(snapshot))
}

/// The container of that name, init container or not.
pub(super) fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    pod.spec.containers.iter().chain(&pod.spec.init_containers).find(|container| container.name == name)
}

/// The status of the container of that name.
pub(super) fn status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let mut all = pod.status.container_statuses.iter().chain(&pod.status.init_container_statuses);
    all.find(|status| status.name == name)
}

/// How a container ended.
pub(super) fn ending(end: &Terminated) -> String {
    if end.never_ran() {
        return format!("could not be started (exit code {})", end.exit_code);
    }
    match end.exit_code {
        0 => "exited without an error (code 0)".to_owned(),
        126 => "exited with code 126 (its command cannot be executed)".to_owned(),
        127 => "exited with code 127 (its command was not found)".to_owned(),
        137 => "exited with code 137 (killed)".to_owned(),
        139 => "exited with code 139 (segmentation fault)".to_owned(),
        143 => "exited with code 143 (SIGTERM)".to_owned(),
        code => format!("exited with code {code}"),
    }
}

/// When it ended and how long it had run: `, 20s ago, after running for 3s`.
pub(super) fn timing(snapshot: &Snapshot<'_>, end: &Terminated) -> String {
    let ago = snapshot.since(end.finished_at).map(|ago| format!(", {} ago", words::age(ago)));
    let ran = end.ran().map(|ran| match ran < SignedDuration::from_secs(1) {
        true => ", right after it started".to_owned(),
        false => format!(", after running for {}", words::age(ran)),
    });
    format!("{}{}", ago.unwrap_or_default(), ran.unwrap_or_default())
}
