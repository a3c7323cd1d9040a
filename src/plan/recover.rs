//! Freeing a set that cannot free itself: the pods of an abandoned revision that block it, one after another.

mod held;

use std::collections::HashSet;

use held::{deletable, ending, lost};

use super::{Goal, PatchKind, Plan, Refusal, SetPatch, Step, Stop, unchanged};
use crate::controller::{self, Blocker, Idle, Next, next, would_get};
use crate::kinds::{Pod, StatefulSet, Strategy};
use crate::paste::{kubectl, sts};
use crate::rules::{Severity, Stuck, said_of, stuck};
use crate::snapshot::owner::managed_by;
use crate::snapshot::{Replica, Snapshot, Trouble, Unseen};
use crate::words;

/// No pod of an abandoned revision blocks the set any more, and it has come to rest.
#[derive(Clone, Copy, Debug)]
pub struct Recover {
    /// Whether to ask the disruption budgets, by evicting.
    pub evict: bool,
    /// Whether nothing was done yet: then there must be something to free. Later a pod that starts is what was hoped for.
    pub first: bool,
}

impl Goal for Recover {
    fn plan(&self, now: &Snapshot<'_>) -> Result<Plan, Stop> {
        let set = now.set;
        let (name, namespace) = (&set.metadata.name, &set.metadata.namespace);
        let mut plan = Plan { headline: format!("recover {name} in {namespace}"), ..Plan::default() };
        if set.metadata.is_terminating() {
            return Err(leaving(now));
        }
        let lacks_volume = matches!(next(now)?, Next::Wait { because: Blocker::VolumeMissing, .. });
        if set.strategy() == Strategy::OnDelete && !lacks_volume {
            return Err(on_delete(now));
        }
        let waited = match next(now)? {
            Next::Settled(Idle::Unobserved) | Next::Act(_) => {
                plan.steps.push(Step::Await { pods: Vec::new(), until: "the controller".to_owned() });
                return self.waiting(plan, now, None);
            }
            Next::Settled(_) => {
                plan.then = format!("nothing is stuck: the rollout of {name} is complete");
                return self.unless_stuck(plan, now);
            }
            Next::Wait { on, because } if needs_volume(now, on, because)? => {
                return self.with_volumes(plan, now);
            }
            Next::Wait { on, because } => (on, because),
        };
        if self.first
            && let Some(stuck) = stuck(now).filter(Stuck::is_on_pvc)
        {
            // The next pod would have the same PVC.
            return Err(otherwise(now, &stuck));
        }
        let trapped = trapped(now)?;
        if trapped.is_empty() {
            return self.without_trap(plan, now, waited);
        }
        plan.warnings.extend(owner(set));
        if set.strategy() == Strategy::RollingUpdate && set.rolling_update().is_none() {
            plan.steps.push(Step::Patch(stanza(now)));
        }
        for (replica, pod, trouble) in &trapped {
            deletable(now, pod)?;
            let grace = pod.spec.termination_grace_period_seconds.unwrap_or(30);
            plan.steps.push(Step::DeletePod {
                pod: replica.name.clone(),
                seen: pod.metadata.uid.clone(),
                evict: self.evict,
                note: format!(
                    "{} on old revision {}; it will be recreated on {} (grace period {grace}s)",
                    trouble.why.word(),
                    now.set.short_revision(pod.revision()),
                    now.set.short_revision(target(now, replica.ordinal)),
                ),
            });
            plan.steps
                .push(Step::Await { pods: vec![replica.name.clone()], until: "to be available".to_owned() });
        }
        let names: HashSet<&str> = trapped.iter().map(|(replica, ..)| replica.name.as_str()).collect();
        let boundary = set.boundary();
        let others = now.replicas()?.iter().filter(|replica| !names.contains(replica.name.as_str()));
        let (follow, keep): (Vec<_>, Vec<_>) =
            others.filter_map(|replica| Some((replica, replica.pod?))).partition(|(replica, pod)| {
                replica.ordinal >= boundary && pod.revision() != target(now, replica.ordinal)
            });
        let follow: Vec<_> = follow.into_iter().rev().collect();
        let named = |pods: &[(&Replica<'_>, &Pod)]| {
            let names: Vec<&str> = pods.iter().map(|(replica, _)| replica.name.as_str()).collect();
            words::list(&names, 4)
        };
        plan.then = match follow.as_slice() {
            [] => "the controller continues the rollout".to_owned(),
            follow => format!("the controller continues the rollout and recreates {} too", named(follow)),
        };
        plan.is_then_expected = true;
        let keep: Vec<&str> = keep.iter().map(|(replica, _)| replica.name.as_str()).collect();
        plan.stays = unchanged(&keep);
        Ok(plan)
    }
}

impl Recover {
    /// Every pod that lacks a volume of the claim templates is deleted in turn, the lowest first: the controller stops at
    /// the first such pod, so that one above it would not be recreated.
    fn with_volumes(self, mut plan: Plan, now: &Snapshot<'_>) -> Result<Plan, Stop> {
        let set = now.set;
        let lacking = now.replicas()?.iter().filter_map(|replica| Some((replica, replica.pod?)));
        let lacking: Vec<(&Replica<'_>, &Pod)> =
            lacking.filter(|(_, pod)| controller::lacks_volume(set, pod)).collect();
        plan.warnings.extend(owner(set));
        // One at a time: a Parallel set does not wait by itself.
        let starting = now.replicas()?.iter().filter(|replica| set.is_parallel() && starts(now, replica));
        let starting: Vec<String> = starting.map(|replica| replica.name.clone()).collect();
        if !starting.is_empty() {
            plan.steps.push(Step::Await { pods: starting, until: "to be available".to_owned() });
        }
        for (replica, pod) in &lacking {
            if pod.metadata.is_terminating() {
                ending(now, pod)?;
            } else {
                deletable(now, pod)?;
                let grace = pod.spec.termination_grace_period_seconds.unwrap_or(30);
                let volumes = words::list(&controller::missing_volumes(set, pod), 3);
                plan.steps.push(Step::DeletePod {
                    pod: replica.name.clone(),
                    seen: pod.metadata.uid.clone(),
                    evict: self.evict,
                    note: format!(
                        "lacks volume {volumes}; it will be recreated with it on {} (grace period {grace}s)",
                        now.set.short_revision(target(now, replica.ordinal))
                    ),
                });
            }
            plan.steps
                .push(Step::Await { pods: vec![replica.name.clone()], until: "to be available".to_owned() });
        }
        let ready = lacking.iter().filter(|(_, pod)| pod.is_ready()).count();
        if ready > 0 {
            plan.warnings.push(format!(
                "{} of these pods {} Ready now: each is restarted, one after the other",
                ready,
                if ready == 1 { "is" } else { "are" }
            ));
        }
        "the controller continues the rollout".clone_into(&mut plan.then);
        plan.is_then_expected = true;
        "existing PVCs, and every pod that has all volumes".clone_into(&mut plan.stays);
        Ok(plan)
    }

    /// The plan, unless something is wrong that no recovery helps against.
    fn unless_stuck(self, plan: Plan, now: &Snapshot<'_>) -> Result<Plan, Stop> {
        stuck(now).filter(|_| self.first).map_or(Ok(plan), |stuck| Err(otherwise(now, &stuck)))
    }

    /// The controller waits for a pod that is no trap: either it only needs time, or deleting it changes nothing.
    fn without_trap(
        self,
        mut plan: Plan,
        now: &Snapshot<'_>,
        (on, because): (i32, Blocker),
    ) -> Result<Plan, Stop> {
        let set = now.set;
        let (name, namespace) = (&set.metadata.name, &set.metadata.namespace);
        let known = if self.first { stuck(now) } else { None };
        let Some((replica, pod)) = now.replica(on)?.and_then(|replica| Some((replica, replica.pod?))) else {
            if because == Blocker::NameTaken {
                let pod = set.pod_name(on);
                return Err(refuse(
                    "name-taken",
                    format!("the name {pod} is taken by a pod that does not belong to {name}"),
                    kubectl("describe pod").name(&pod).namespace(namespace).after("see its owner"),
                ));
            }
            let until = format!("the earlier PVC of {} to be deleted", set.pod_name(on));
            plan.steps.push(Step::Await { pods: vec![set.pod_name(on)], until });
            return self.waiting(plan, now, Some(&set.pod_name(on)));
        };
        if because == Blocker::Terminating {
            ending(now, pod)?;
            if self.first {
                let over = pod.metadata.deletion_timestamp.is_none_or(|at| at < now.taken_at);
                if over || pod.revision() == would_get(now, on) {
                    return Err(refuse(
                        "terminating",
                        format!("{} is already being deleted", replica.name),
                        sts("watch").name(name).namespace(namespace).after("follow it"),
                    ));
                }
                // This is what an interrupted recovery leaves behind: all that is left is to see it through.
                let until = format!("to be available on {}", now.set.short_revision(would_get(now, on)));
                plan.steps.push(Step::Await { pods: vec![replica.name.clone()], until });
                return Ok(plan);
            }
        } else if self.first {
            lost(now, pod)?;
        }
        let hard = now.trouble(pod).filter(|trouble| trouble.why.needs_intervention());
        // On the way it is not refused at once: trouble of a pod just made may pass, and else ends the waiting.
        let is_error = |stuck: &Stuck| {
            let mut findings = stuck.findings.iter();
            stuck.on == replica.name && findings.any(|finding| finding.severity == Severity::Error)
        };
        if let (Some(trouble), true) = (&hard, self.first)
            && now.may_recover(pod, trouble)
            && !known.as_ref().is_some_and(is_error)
        {
            return Err(refuse(
                "merely-slow",
                format!(
                    "{} is on the revision from before the update and may still become ready",
                    replica.name
                ),
                sts("doctor").name(name).namespace(namespace).after("see why it is not ready"),
            ));
        }
        if let Some(stuck) = known.as_ref().filter(|stuck| {
            // Another pod, a PVC, a node, or a refusal of the API server is at fault.
            stuck.on != replica.name || because != Blocker::NotReady || hard.is_none()
        }) {
            return Err(otherwise(now, stuck));
        }
        if let (Some(trouble), true) = (hard, known.is_some()) {
            let state = format!("{} is stuck ({})", replica.name, trouble.why.word());
            let would_get = would_get(now, on);
            let condemned = now.condemned()?.iter().any(|replica| replica.ordinal == on);
            let below = on < set.boundary();
            return Err(if condemned {
                refuse(
                    "scale-down",
                    format!("{state} and is part of the scale-down: it is not recreated after a deletion"),
                    kubectl("delete pod")
                        .name(&replica.name)
                        .namespace(namespace)
                        .after("if nothing in it is needed"),
                )
            } else if pod.revision() != would_get && !set.is_parallel() {
                // It ran well before the update: it may be replaying its log, which a deletion would begin again.
                refuse(
                    "may-become-ready",
                    format!(
                        "{state} on {}, the revision from before the update: it blocks the update, and may still become ready",
                        now.set.short_revision(pod.revision())
                    ),
                    kubectl("delete pod").name(&replica.name).namespace(namespace).after(&format!(
                        "if you know that it will not, delete it; it is recreated on {}",
                        now.set.short_revision(would_get)
                    )),
                )
            } else if pod.revision() != would_get {
                refuse(
                    "parallel",
                    format!("{state}, and the controller replaces it by itself because {name} is Parallel"),
                    sts("watch").name(name).namespace(namespace).after("follow it"),
                )
            } else if below && set.status.current_revision != set.status.update_revision {
                refuse(
                    "below-partition",
                    format!(
                        "{state} and below the partition, so it would be recreated on {} again",
                        now.set.short_revision(would_get)
                    ),
                    sts("doctor").name(name).namespace(namespace).after("see how the update can reach it"),
                )
            } else {
                refuse(
                    "same-revision",
                    format!(
                        "{state} on the revision it would be recreated on: the cause is the pod template or the application"
                    ),
                    if set.status.current_revision == set.status.update_revision {
                        sts("doctor").name(name).namespace(namespace).after("see why")
                    } else {
                        sts("undo").name(name).namespace(namespace).after("roll back to the earlier template")
                    },
                )
            });
        }
        plan.steps
            .push(Step::Await { pods: vec![replica.name.clone()], until: "to be available".to_owned() });
        self.waiting(plan, now, Some(&replica.name))
    }

    /// A plan without writes: fine on the way, but no recovery to begin with.
    fn waiting(self, plan: Plan, now: &Snapshot<'_>, pod: Option<&str>) -> Result<Plan, Stop> {
        if !self.first {
            return Ok(plan);
        }
        let (name, namespace) = (&now.set.metadata.name, &now.set.metadata.namespace);
        let because = match (stuck(now), pod) {
            (Some(stuck), _) => return Err(otherwise(now, &stuck)),
            (None, Some(pod)) if is_late(now, pod) => {
                format!("{pod} has run for longer than its probes allow and may still become ready")
            }
            (None, Some(pod)) => match said_of(now, pod) {
                Some(said) => format!("{pod} is not ready, and deleting a pod would not help: {said}"),
                None => format!("{pod} is not stuck, it only needs more time"),
            },
            (None, None) => format!("{name} is not stuck, the controller is working"),
        };
        Err(refuse("merely-slow", because, sts("watch").name(name).namespace(namespace).after("follow it")))
    }
}

/// Whether the pod of this name is not ready for longer than its probes allow.
fn is_late(now: &Snapshot<'_>, pod: &str) -> bool {
    let is_it = |replica: &Replica<'_>| {
        replica.name == pod && replica.pod.is_some_and(|pod| now.overdue_since(pod).is_some())
    };
    now.replicas().is_ok_and(|replicas| replicas.iter().any(is_it))
}

/// Whether the controller waits for a pod that comes up only as one with more volumes: it is held to be in order, or it is
/// stuck for want of them.
fn needs_volume(now: &Snapshot<'_>, on: i32, because: Blocker) -> Result<bool, Unseen> {
    let pod = now.replica(on)?.and_then(|replica| replica.pod);
    let hard = |pod| now.trouble(pod).is_some_and(|trouble| trouble.why.needs_intervention());
    Ok(pod.is_some_and(|pod| {
        controller::lacks_volume(now.set, pod)
            && match because {
                Blocker::VolumeMissing => true,
                Blocker::NotReady => hard(pod),
                Blocker::Terminating
                | Blocker::NotYetAvailable
                | Blocker::NameTaken
                | Blocker::ClaimEnding => false,
            }
    }))
}

/// Whether a pod that has all volumes is not available, and may become it.
fn starts(now: &Snapshot<'_>, replica: &Replica<'_>) -> bool {
    replica.pod.is_some_and(|pod| {
        !controller::lacks_volume(now.set, pod)
            && !now.is_available(pod)
            && !now.trouble(pod).is_some_and(|trouble| trouble.why.needs_intervention())
    })
}

/// It is stuck, and not on pods that have to be deleted: the finding, and what helps against it.
fn otherwise(now: &Snapshot<'_>, stuck: &Stuck) -> Stop {
    let (name, namespace) = (&now.set.metadata.name, &now.set.metadata.namespace);
    let hint = match stuck.remedy() {
        Some(command) => command.after("instead"),
        None => sts("doctor").name(name).namespace(namespace).after("see all findings"),
    };
    refuse("other-cause", format!("{name} is stuck, but not on an old pod: {}", stuck.because()), hint)
}

/// Says who may change the set back: a controller that acts for another object. Delivery tools do not heed pods.
fn owner(set: &StatefulSet) -> Option<String> {
    let owner = managed_by(&set.metadata).into_iter().find(|manager| manager.source.is_some())?;
    Some(format!("{} manages this StatefulSet and may revert these changes", owner.name))
}

/// The pods of an OnDelete set are for its users to delete.
fn on_delete(now: &Snapshot<'_>) -> Stop {
    let (name, namespace) = (&now.set.metadata.name, &now.set.metadata.namespace);
    let stuck = stuck(now);
    let command = stuck.as_ref().and_then(Stuck::remedy);
    refuse(
        "on-delete",
        match &stuck {
            Some(stuck) => format!(
                "{name} is OnDelete: a pod is updated only after you delete it; it is stuck: {}",
                stuck.because()
            ),
            None => {
                format!("{name} is OnDelete: a pod is updated when you delete it, and nothing blocks that")
            }
        },
        match command {
            Some(command) => command.after("instead"),
            None => sts("status").name(name).namespace(namespace).after("see which pods are outdated"),
        },
    )
}

/// The `rollingUpdate` stanza where there is none, without which a pod may come back on the old revision. It is no part of
/// the template, so it starts no rollout.
pub(super) fn stanza(now: &Snapshot<'_>) -> SetPatch {
    let meta = &now.set.metadata;
    SetPatch {
        set: meta.name.clone(),
        seen: meta.uid.clone(),
        generation: meta.generation,
        kind: PatchKind::Merge,
        body: serde_json::json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}),
        revision: None,
        pauses: false,
        note: "rollingUpdate: partition 0, so that the pod is recreated on the current template; starts no rollout"
            .to_owned(),
    }
}

type Trapped<'s, 'a> = (&'s Replica<'a>, &'a Pod, Trouble<'a>);

/// All pods that block the set now or will once the ones before are freed, lowest first: not available, on evidence
/// that they will not become so, and of a revision they would not get again.
fn trapped<'s, 'a>(now: &'s Snapshot<'a>) -> Result<Vec<Trapped<'s, 'a>>, Unseen> {
    if controller::trap(now)?.is_none() {
        return Ok(Vec::new());
    }
    let stuck = now.replicas()?.iter().filter_map(|replica| {
        let pod = replica.pod.filter(|pod| !pod.is_finished() && !now.is_available(pod))?;
        let trouble = now.trouble(pod).filter(|trouble| trouble.why.needs_intervention())?;
        if now.may_recover(pod, &trouble) {
            return None;
        }
        let abandoned = pod.revision() != target(now, replica.ordinal);
        (abandoned && !pod.metadata.is_terminating()).then_some((replica, pod, trouble))
    });
    Ok(stuck.collect())
}

/// The revision a successor gets once `rollingUpdate` is given.
fn target<'a>(now: &Snapshot<'a>, ordinal: i32) -> &'a str {
    if now.set.rolling_update().is_none() { &now.set.status.update_revision } else { would_get(now, ordinal) }
}

/// Nothing is done to a set that is being deleted.
pub(super) fn leaving(now: &Snapshot<'_>) -> Stop {
    let (name, namespace) = (&now.set.metadata.name, &now.set.metadata.namespace);
    let stuck = stuck(now);
    let command = stuck.as_ref().and_then(Stuck::remedy);
    refuse(
        "set-deleting",
        match &stuck {
            Some(stuck) => format!("{name} is being deleted: {}", stuck.because()),
            None => format!("{name} is being deleted"),
        },
        match command {
            Some(_) => sts("doctor").name(name).namespace(namespace).after("see what blocks the deletion"),
            None => kubectl("get statefulset")
                .name(name)
                .namespace(namespace)
                .with("-o")
                .own("jsonpath={.metadata.finalizers}")
                .after("see its finalizers"),
        },
    )
}

pub(super) fn refuse(reason: &'static str, because: String, hint: String) -> Stop {
    Stop::Refused(Refusal { reason, because, hint })
}
