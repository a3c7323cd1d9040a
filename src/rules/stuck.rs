//! Whether a StatefulSet is stuck, and on what: decided here for `doctor`, `status`, `watch`, `recover` and `undo`.

use std::collections::HashSet;

use super::{
    Filter, Finding, Rule, Severity, Subject, never_ready, of_set, pod_creation_failed, pod_deletion_refused,
    pod_update_refused,
};
use crate::controller::{Action, Idle, Next, Purpose, next};
use crate::kinds::{Kind, Pod, StatefulSet};
use crate::paste::Command;
use crate::snapshot::{Replica, Snapshot};

/// What it is stuck on.
#[derive(Clone, Debug)]
pub struct Stuck {
    /// The StatefulSet, as it was then.
    pub set: StatefulSet,
    /// The pod at fault, or the StatefulSet where no pod is.
    pub on: String,
    /// The pod that the controller waits for, where that is another one.
    pub waits_for: Option<String>,
    /// Why it will not come, the strongest evidence first; never empty.
    pub findings: Vec<Finding>,
    /// Whether all that is wrong is time: the pod runs, and is not ready for longer than its probes allow.
    pub is_late: bool,
}

impl Stuck {
    /// In one line: what is wrong, and the evidence.
    pub fn because(&self) -> String {
        match self.findings.first() {
            Some(finding) if finding.because.is_empty() => finding.what.clone(),
            Some(finding) => format!("{}: {}", finding.what, finding.because),
            None => String::new(),
        }
    }

    /// The first command that helps, where a rule knows one.
    pub fn remedy(&self) -> Option<&Command> {
        self.findings.first()?.remedy.first()
    }

    /// Whether the API server refuses to create or delete the pod.
    pub fn is_on_refusal(&self) -> bool {
        self.findings.first().is_some_and(|finding| {
            is_of(finding, &pod_deletion_refused::RULE)
                || (is_of(finding, &pod_creation_failed::RULE) && finding.subject.kind == Kind::Pod)
        })
    }

    /// Whether a PVC is the strongest evidence: it outlives its pods.
    pub fn is_on_pvc(&self) -> bool {
        self.findings.first().is_some_and(|finding| finding.subject.kind == Kind::PersistentVolumeClaim)
    }
}

/// What a rule says of a pod, however bad it is, in one line.
pub fn said_of(snapshot: &Snapshot<'_>, pod: &str) -> Option<String> {
    let (findings, _) = of_set(snapshot, &Filter::default());
    let about = findings.iter().find(|finding| has(finding, pod))?;
    Some(format!("{} ({})", about.what, about.rule.code))
}

/// Whether the StatefulSet is stuck: the controller waits for something, and a finding says that it will not come by
/// itself. `None` also where pods were not seen.
pub fn stuck(snapshot: &Snapshot<'_>) -> Option<Stuck> {
    let (findings, _) = of_set(snapshot, &Filter::default());
    stuck_by(snapshot, &findings)
}

/// The same, by the findings of all rules about this StatefulSet.
pub fn stuck_by(snapshot: &Snapshot<'_>, findings: &[Finding]) -> Option<Stuck> {
    let evidence: Vec<&Finding> = findings.iter().filter(|finding| finding.is_stuck()).collect();
    let waited = Waited::of(snapshot)?;
    let set = snapshot.set;
    if let Some(finding) = evidence.iter().find(|finding| waited.is_held_by(finding, set)) {
        return Some(Stuck {
            set: set.clone(),
            on: finding.subject.name.clone(),
            waits_for: None,
            findings: vec![(*finding).clone()],
            is_late: false,
        });
    }
    let on = waited.at_fault(snapshot, &evidence)?;
    let mut findings: Vec<Finding> = waited.about(&evidence, on).cloned().collect();
    findings.sort_by_key(rank);
    let is_late = findings.first().is_some_and(|finding| rank(finding) == Rank::NotReady)
        && on.pod.is_some_and(|pod| snapshot.overdue_since(pod).is_some());
    let first = waited.first.first().map(|replica| replica.name.clone());
    let waits_for = first.filter(|first| *first != on.name && !findings.iter().any(|it| has(it, first)));
    Some(Stuck { set: set.clone(), on: on.name.clone(), waits_for, findings, is_late })
}

/// How strong evidence is: a pod that crashes, cannot get its image or cannot be created may be why others are not ready.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Hard,
    Passing,
    NotReady,
}

fn rank(finding: &Finding) -> Rank {
    match finding.severity {
        _ if is_of(finding, &never_ready::RULE) => Rank::NotReady,
        Severity::Error => Rank::Hard,
        Severity::Warning | Severity::Note => Rank::Passing,
    }
}

fn is_of(finding: &Finding, rule: &Rule) -> bool {
    finding.rule.code == rule.code
}

/// Whether a pod of that name is among what a finding is about.
fn has(finding: &Finding, pod: &str) -> bool {
    let mut all = std::iter::once(&finding.subject).chain(&finding.also);
    all.any(|subject| subject.kind == Kind::Pod && subject.name == pod)
}

/// What the controller waits for.
struct Waited<'s, 'a> {
    /// The one it waits for first; all of them in a Parallel set.
    first: Vec<&'s Replica<'a>>,
    /// Other replicas that are not ready, which may be why the first one is not.
    others: Vec<&'s Replica<'a>>,
    /// Pods that it is about to delete: nothing in them has to work any more.
    going: HashSet<i32>,
    /// It has nothing to do about any replica.
    rests: bool,
}

impl<'s, 'a> Waited<'s, 'a> {
    fn of(snapshot: &'s Snapshot<'a>) -> Option<Waited<'s, 'a>> {
        let next = next(snapshot).ok()?;
        let replicas = snapshot.replicas().ok()?;
        let is_available = |pod: &Pod| snapshot.is_available(pod) && !pod.metadata.is_terminating();
        // A pod that is ready for a moment between two crashes is waited for as well.
        let is_up = |pod: &'a Pod| {
            is_available(pod)
                && !snapshot.trouble(pod).is_some_and(|trouble| trouble.why.needs_intervention())
        };
        let down = || replicas.iter().filter(|replica| !replica.pod.is_some_and(is_up));
        let named = |ordinals: Vec<i32>| -> Vec<&'s Replica<'a>> {
            ordinals.into_iter().filter_map(|ordinal| snapshot.replica(ordinal).ok().flatten()).collect()
        };
        let nothing = Waited { first: Vec::new(), others: Vec::new(), going: HashSet::new(), rests: false };
        let parallel = snapshot.set.is_parallel();
        Some(match next {
            Next::Act(actions) => {
                let ordinals = actions.iter().map(|action| match action {
                    Action::Create(ordinal) | Action::Delete(ordinal, _) => *ordinal,
                });
                let going = actions.iter().filter_map(|action| match action {
                    // What ends again and again will end in the next pod as well.
                    Action::Create(_) | Action::Delete(_, Purpose::Replace) => None,
                    Action::Delete(ordinal, Purpose::Update | Purpose::ScaleDown) => Some(*ordinal),
                });
                Waited { first: named(ordinals.collect()), going: going.collect(), ..nothing }
            }
            Next::Wait { on, .. } => {
                let (mut first, mut others) = (named(vec![on]), Vec::new());
                let rest = down().filter(|replica| replica.ordinal != on);
                (if parallel { &mut first } else { &mut others }).extend(rest);
                Waited { first, others, ..nothing }
            }
            Next::Settled(Idle::Done | Idle::Partition) => {
                Waited { first: down().collect(), rests: true, ..nothing }
            }
            Next::Settled(Idle::OnDelete | Idle::Deleting | Idle::Unobserved | Idle::UnknownStrategy) => {
                Waited { rests: true, ..nothing }
            }
        })
    }

    /// Whether a finding about the whole StatefulSet keeps the controller from everything.
    fn is_held_by(&self, finding: &Finding, set: &StatefulSet) -> bool {
        let is_whole = finding.subject.kind == Kind::StatefulSet && finding.subject.name == set.metadata.name;
        is_of(finding, &pod_update_refused::RULE)
            || (is_whole && (set.metadata.is_terminating() || !self.rests))
    }

    /// The findings about a replica: its pod, or one of its PVCs.
    fn about<'f>(
        &self,
        evidence: &[&'f Finding],
        replica: &Replica<'_>,
    ) -> impl Iterator<Item = &'f Finding> {
        let is_its = |subject: &Subject| match subject.kind {
            Kind::Pod => subject.name == replica.name,
            Kind::PersistentVolumeClaim => {
                let mut mounted = replica.pod.into_iter().flat_map(Pod::claim_names);
                replica.slots.iter().any(|slot| slot.name == subject.name)
                    || mounted.any(|name| name == subject.name)
            }
            _ => false,
        };
        let goes = self.going.contains(&replica.ordinal);
        let counts = |finding: &&&Finding| {
            let mut all = std::iter::once(&finding.subject).chain(&finding.also).chain(&finding.absorbs);
            (!goes || is_of(finding, &pod_deletion_refused::RULE)) && all.any(is_its)
        };
        let about: Vec<&Finding> = evidence.iter().filter(counts).copied().collect();
        about.into_iter()
    }

    /// The replica with the strongest evidence; the controller's own first among equals.
    fn at_fault(&self, snapshot: &Snapshot<'_>, evidence: &[&Finding]) -> Option<&'s Replica<'a>> {
        let ranked = |replicas: &[&'s Replica<'a>]| {
            let all = replicas
                .iter()
                .filter_map(|replica| Some((self.about(evidence, replica).map(rank).min()?, *replica)));
            all.reduce(|best, next| if next.0 < best.0 { next } else { best })
        };
        let first = ranked(&self.first);
        let is_late = || self.late(snapshot).is_some();
        match first {
            Some((Rank::Hard | Rank::Passing, replica)) => Some(replica),
            None if self.others.is_empty() || !is_late() => None,
            None | Some((Rank::NotReady, _)) => {
                let hard = ranked(&self.others).filter(|(rank, _)| *rank == Rank::Hard);
                hard.or(first).map(|(_, replica)| replica)
            }
        }
    }

    /// A replica that has run for longer than its probes allow.
    fn late(&self, snapshot: &Snapshot<'_>) -> Option<&'s Replica<'a>> {
        let is_late = |replica: &&&Replica<'_>| {
            !self.going.contains(&replica.ordinal)
                && replica.pod.is_some_and(|pod| {
                    !pod.metadata.is_terminating() && snapshot.overdue_since(pod).is_some()
                })
        };
        self.first.iter().find(is_late).copied()
    }
}
