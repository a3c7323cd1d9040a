//! Whose a claim is, and whether anything may ever use it again.
//!
//! Every claim of a namespace ends in exactly one class. A claim is prunable only if nothing speaks against it: doubt
//! keeps it. This is the one place where that is decided, for what is reported and for what is deleted.

mod again;
mod reason;

use std::cell::RefCell;
use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

pub use again::Gone;
pub use reason::{Reason, ReasonCode};

use super::names::Index;
use super::{ClaimName, Namespace, NotRead, Observed, Seen, Unseen, is_member};
use crate::kinds::*;
use crate::words;

/// The finalizer that keeps a claim while a pod uses it; every claim has it.
const PROTECTION: &str = "kubernetes.io/pvc-protection";

/// What holds claims besides pods.
#[derive(Clone, Debug, Default)]
pub struct ClaimUsers {
    /// Everything with a pod template, apart from StatefulSets.
    pub workloads: Vec<Workload>,
    /// Attachments of volumes to nodes.
    pub attachments: Vec<VolumeAttachment>,
    /// Snapshots of claims.
    pub snapshots: Vec<VolumeSnapshot>,
    /// What could not be read: kinds by their plural, and why not. Templates that were not read keep every claim.
    pub unread: Vec<(&'static str, NotRead)>,
}

/// Kinds of [`ClaimUsers`] that prove little, so that not being allowed to read them keeps no claim. Any other failure does: it
/// may be over at the next try.
const SUPPORTING: [&str; 2] = ["volumeattachments", "volumesnapshots"];

impl ClaimUsers {
    /// What was not read and is needed to call anything left over.
    fn unread(&self) -> Option<Reason> {
        let needed = |(kind, why): &&(&str, NotRead)| !(SUPPORTING.contains(kind) && why.is_forbidden());
        let unread = self.unread.iter().find(needed);
        unread.map(|(kind, why)| {
            Reason::new(ReasonCode::Unchecked, format!("could not be checked: {kind} ({why})"))
        })
    }
}

/// What a claim is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// Of a replica its set no longer has, and used by nothing.
    Prunable,
    /// Used, or possibly needed again.
    Kept(Reason),
    /// It cannot be told whose it is.
    Ambiguous(Reason),
    /// No set's, or somebody else's.
    NotOurs(Reason),
}

impl Class {
    /// As written in output.
    pub fn word(&self) -> &'static str {
        match self {
            Class::Prunable => "prunable",
            Class::Kept(_) => "kept",
            Class::Ambiguous(_) => "ambiguous",
            Class::NotOurs(_) => "not-ours",
        }
    }

    /// Why, unless it is prunable.
    pub fn reason(&self) -> Option<&Reason> {
        match self {
            Class::Prunable => None,
            Class::Kept(reason) | Class::Ambiguous(reason) | Class::NotOurs(reason) => Some(reason),
        }
    }

    /// Whether it is left over, as far as can be told without its volume: enough to report it, not to delete it.
    pub fn is_left_over(&self) -> bool {
        matches!(self, Class::Prunable)
            || self.reason().is_some_and(|reason| reason.code == ReasonCode::VolumeUnseen)
    }
}

/// What would keep a claim, and is knowingly set aside.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// Sets scaled to 0 lose their claims too.
    pub zero: bool,
    /// Ordinals that an autoscaler may want again lose theirs too.
    pub autoscaler_range: bool,
    /// Snapshots made for this very deletion.
    pub own_snapshots: Vec<String>,
    /// Whatever of [`ClaimUsers`] could not be read: enough to report a claim together with [`ClaimAudit::unchecked`], not to
    /// delete it.
    pub unread: bool,
}

/// A claim, judged.
#[derive(Clone, Debug)]
pub struct Verdict<'a> {
    /// The claim.
    pub claim: &'a PersistentVolumeClaim,
    /// The only set whose controller could have made it, and for which replica.
    pub owner: Option<(&'a StatefulSet, ClaimName<'a>)>,
    /// What it is.
    pub class: Class,
    /// What is worth knowing before it is deleted.
    pub warnings: Vec<String>,
}

/// What becomes of the data when a claim is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataOnDelete {
    /// The volume goes with the claim.
    Destroyed,
    /// The volume stays.
    Kept,
    /// There never was a volume.
    NoVolume,
    /// The volume could not be looked at.
    Unknown,
}

/// Everything that is looked at to judge the claims of one namespace.
pub struct ClaimAudit<'a> {
    namespace: &'a Namespace<'a>,
    pods: Result<(), Unseen>,
    autoscalers: Result<(), Unseen>,
    volumes: &'a Seen<PersistentVolume>,
    around: Option<&'a ClaimUsers>,
    attached: Index,
    snapshots: Index,
    /// For each set that was asked for, by name and uid, a pod of it that is not wanted any more.
    condemned: RefCell<HashMap<(String, String), Option<String>>>,
}

impl<'a> ClaimAudit<'a> {
    /// Of a namespace. Without `around`, which only a cluster can tell, nothing must be deleted on its word.
    pub fn new(
        observed: &'a Observed,
        namespace: &'a Namespace<'a>,
        around: Option<&'a ClaimUsers>,
    ) -> ClaimAudit<'a> {
        ClaimAudit {
            namespace,
            pods: observed.pods.as_ref().map(|_| ()).map_err(Clone::clone),
            autoscalers: observed.autoscalers.as_ref().map(|_| ()).map_err(Clone::clone),
            volumes: &observed.volumes,
            around,
            attached: Index::default(),
            snapshots: Index::default(),
            condemned: RefCell::default(),
        }
    }

    /// Judges every claim of the namespace.
    pub fn verdicts(&self, waivers: &Overrides) -> Vec<Verdict<'a>> {
        self.namespace.claims.iter().map(|claim| self.judge(claim, waivers)).collect()
    }

    /// Judges one claim of the namespace.
    pub fn judge(&self, claim: &'a PersistentVolumeClaim, waivers: &Overrides) -> Verdict<'a> {
        let mut owners: Vec<(&'a StatefulSet, ClaimName<'a>)> =
            self.namespace.makers(&claim.metadata.name).collect();
        let mut warnings = Vec::new();
        let (owner, class) = match owners.len() {
            0 => (None, Class::NotOurs(no_set(claim))),
            1 => {
                let (set, name) = owners.remove(0);
                let class = self.class(claim, set, name.ordinal, waivers);
                warnings = self.warnings(claim, set, name.ordinal);
                (Some((set, name)), class)
            }
            _ => {
                let names: Vec<&str> = owners.iter().map(|(set, _)| set.metadata.name.as_str()).collect();
                let text = format!("{} create PVCs of this name", words::list(&names, 4));
                (None, Class::Ambiguous(Reason { code: ReasonCode::SharedName, text }))
            }
        };
        Verdict { claim, owner, class, warnings }
    }

    /// The steps of judging, cheapest first; the first that speaks decides.
    fn class(
        &self,
        claim: &PersistentVolumeClaim,
        set: &StatefulSet,
        ordinal: i32,
        waivers: &Overrides,
    ) -> Class {
        if set.in_range(ordinal) {
            return Class::Kept(Reason::new(
                ReasonCode::InRange,
                format!("{} uses it", set.pod_name(ordinal)),
            ));
        }
        if let Some(class) = whose(claim, set) {
            return class;
        }
        let kept = held(claim)
            .or_else(|| self.unsettled(set, waivers))
            .or_else(|| self.autoscaled(set, ordinal, waivers))
            .or_else(|| self.mounted(claim, set, ordinal))
            .or_else(|| self.named(claim, waivers))
            .or_else(|| self.volume(claim));
        kept.map_or(Class::Prunable, Class::Kept)
    }

    /// Why no claim of the set can be told to be left over now.
    fn unsettled(&self, set: &StatefulSet, waivers: &Overrides) -> Option<Reason> {
        let name = &set.metadata.name;
        if set.metadata.is_terminating() {
            return Some(Reason::new(
                ReasonCode::SetDeleting,
                format!("StatefulSet {name} is being deleted"),
            ));
        }
        if !set.is_observed() {
            return Some(Reason::new(
                ReasonCode::SetChanging,
                format!("the controller has not yet observed the newest spec of {name}"),
            ));
        }
        if set.status.replicas != set.replicas() {
            let (has, wants) = (set.status.replicas, set.replicas());
            let text = format!("{name} is being scaled: it has {has} pods and wants {wants}");
            return Some(Reason::new(ReasonCode::Scaling, text));
        }
        if let Err(unseen) = &self.pods {
            return Some(Reason::unchecked(unseen));
        }
        let mut known = self.condemned.borrow_mut();
        // Names of sets are unique in a namespace; in files they need not be, and the uid tells those apart.
        let condemned = known.entry((name.clone(), set.metadata.uid.clone())).or_insert_with(|| {
            let mut members = self.namespace.members(name);
            let found = members.find(|(ordinal, pod)| !set.in_range(*ordinal) && is_member(set, pod));
            found.map(|(_, pod)| pod.metadata.name.clone())
        });
        if let Some(pod) = condemned {
            let text = format!("{name} is being scaled: {pod} still exists");
            return Some(Reason::new(ReasonCode::Scaling, text));
        }
        if set.replicas() == 0 && !waivers.zero {
            let text = format!("{name} is scaled to 0, possibly for a short time only");
            return Some(Reason::new(ReasonCode::ScaledToZero, text));
        }
        None
    }

    fn autoscaled(&self, set: &StatefulSet, ordinal: i32, waivers: &Overrides) -> Option<Reason> {
        if waivers.autoscaler_range {
            return None;
        }
        if let Err(unseen) = &self.autoscalers {
            return Some(Reason::unchecked(unseen));
        }
        self.namespace.autoscalers.iter().find_map(|autoscaler| {
            let target = &autoscaler.spec.scale_target_ref;
            let most = autoscaler.spec.max_replicas;
            let reaches = i64::from(ordinal) < i64::from(set.start()) + i64::from(most);
            let is_its = target.kind == "StatefulSet" && target.name == set.metadata.name;
            (is_its && ordinal >= set.start() && reaches).then(|| {
                let name = &autoscaler.metadata.name;
                Reason::new(
                    ReasonCode::AutoscalerRange,
                    format!("HorizontalPodAutoscaler {name} can scale up to {most} replicas"),
                )
            })
        })
    }

    /// A pod in any phase, scheduled or not.
    fn mounted(&self, claim: &PersistentVolumeClaim, set: &StatefulSet, ordinal: i32) -> Option<Reason> {
        let used = claim.condition("Unused").is_some_and(|unused| unused.status == "False");
        let by_server = || Reason::new(ReasonCode::Mounted, "the server reports that a pod uses it");
        self.pod(&claim.metadata.name, set, ordinal).or_else(|| used.then(by_server))
    }

    /// A pod that names a PVC, or has the name of its replica.
    fn pod(&self, name: &str, set: &StatefulSet, ordinal: i32) -> Option<Reason> {
        let replica = set.pod_name(ordinal);
        if let Some(pod) = self.namespace.mounts(name, &replica) {
            let other = &pod.metadata.name;
            if pod.claim_names().any(|mounted| mounted == name) {
                let phase = if pod.status.phase.is_empty() { "Pending" } else { &pod.status.phase };
                return Some(Reason::new(ReasonCode::Mounted, format!("pod {other} ({phase}) mounts it")));
            }
            return Some(Reason::new(ReasonCode::PodThere, format!("pod {other} exists")));
        }
        None
    }

    /// What will use it without having a pod now.
    fn named(&self, claim: &PersistentVolumeClaim, waivers: &Overrides) -> Option<Reason> {
        let template = self.by_template(&claim.metadata.name, &claim.metadata.namespace);
        if template.is_some() {
            return template;
        }
        let copied = self.namespace.copies(&claim.metadata.name).find(|other| is_source_of(claim, other));
        if let Some(copy) = copied {
            return Some(Reason::new(
                ReasonCode::Source,
                format!("PVC {} is a clone of it", copy.metadata.name),
            ));
        }
        let around = self.around?;
        let name = claim.metadata.name.as_str();
        let sources = around.snapshots.iter().map(|it| it.spec.source.persistent_volume_claim_name.as_str());
        let named = self.snapshots.of(sources.enumerate(), name).iter();
        let snapshot = named.filter_map(|at| around.snapshots.get(*at)).find(|snapshot| {
            snapshot.is_of(claim) && !waivers.own_snapshots.contains(&snapshot.metadata.name)
        });
        if let Some(snapshot) = snapshot {
            return Some(Reason::new(
                ReasonCode::Source,
                format!("VolumeSnapshot {} was taken of it", snapshot.metadata.name),
            ));
        }
        around.unread().filter(|_| !waivers.unread)
    }

    /// What was not looked at of that which holds claims besides pods, as a fragment; `None` if all of it was.
    pub fn unchecked(&self) -> Option<String> {
        let Some(around) = self.around else {
            return Some("pod templates of other workloads and VolumeSnapshots".to_owned());
        };
        let mut reasons: Vec<(&NotRead, Vec<&str>)> = Vec::new();
        for (kind, why) in &around.unread {
            match reasons.iter_mut().find(|(known, _)| *known == why) {
                Some((_, kinds)) => kinds.push(kind),
                None => reasons.push((why, vec![kind])),
            }
        }
        let each: Vec<String> =
            reasons.iter().map(|(why, kinds)| format!("{} ({why})", words::list(kinds, 8))).collect();
        (!each.is_empty()).then(|| each.join(", "))
    }

    /// A pod template that names a PVC.
    fn by_template(&self, name: &str, namespace: &str) -> Option<Reason> {
        let sets = &self.namespace.sets;
        if let Some(set) = sets.iter().find(|set| set.spec.template.claim_names().any(|it| it == name)) {
            return Some(Reason::named("StatefulSet", &set.metadata.name));
        }
        let here = |workload: &&Workload| workload.metadata.namespace == namespace;
        let mut workloads = self.around?.workloads.iter().filter(here);
        let workload = workloads.find(|workload| workload.claim_names().any(|it| it == name))?;
        Some(Reason::named(&workload.kind, &workload.metadata.name))
    }

    /// What its volume says.
    fn volume(&self, claim: &PersistentVolumeClaim) -> Option<Reason> {
        let name = &claim.spec.volume_name;
        if name.is_empty() {
            return (claim.status.phase == "Lost").then(|| Reason::new(ReasonCode::Lost, "its PV is lost"));
        }
        if claim.status.phase == "Pending" {
            return Some(Reason::new(ReasonCode::Pending, format!("it is not bound to PV {name} yet")));
        }
        let volumes = match self.volumes {
            Ok(volumes) => volumes,
            Err(unseen) => {
                return Some(Reason { code: ReasonCode::VolumeUnseen, ..Reason::unchecked(unseen) });
            }
        };
        let Some(volume) = self.namespace.names.wide.volume(volumes, name) else {
            return Some(Reason::new(ReasonCode::Lost, format!("its PV {name} does not exist")));
        };
        let is_its = volume.spec.claim_ref.as_ref().is_some_and(|reference| {
            let meta = &claim.metadata;
            reference.name == meta.name && reference.namespace == meta.namespace && reference.uid == meta.uid
        });
        if !is_its {
            return Some(Reason::new(
                ReasonCode::VolumeElsewhere,
                format!("its PV {name} is bound to another PVC"),
            ));
        }
        let all = &self.around?.attachments;
        let volumes = all.iter().map(|it| it.spec.source.persistent_volume_name.as_str()).enumerate();
        let attached = all.get(*self.attached.of(volumes, name).first()?)?;
        Some(Reason::new(
            ReasonCode::Attached,
            format!("its PV is attached to node {}", attached.spec.node_name),
        ))
    }

    fn warnings(&self, claim: &PersistentVolumeClaim, set: &StatefulSet, ordinal: i32) -> Vec<String> {
        let mut warnings = Vec::new();
        if let (Some(claim), Some(set)) = (claim.metadata.creation_timestamp, set.metadata.creation_timestamp)
            && claim < set
        {
            warnings.push("it is older than the StatefulSet, which was recreated".to_owned());
        }
        if let Some(reason) = self.autoscaled(set, ordinal, &Overrides::default()) {
            warnings.push(reason.text);
        }
        if set.replicas() == 0 {
            warnings.push(format!("{} is scaled to 0", set.metadata.name));
        }
        warnings
    }

    /// What becomes of the data when the claim is deleted.
    pub fn fate(&self, claim: &PersistentVolumeClaim) -> DataOnDelete {
        let name = &claim.spec.volume_name;
        if name.is_empty() {
            return DataOnDelete::NoVolume;
        }
        let volumes = self.volumes.as_deref().unwrap_or_default();
        let volume = self.namespace.names.wide.volume(volumes, name);
        // What an interrupted deletion has set to Retain goes in the end.
        if volume.is_some_and(|volume| volume.earlier_policy(&claim.metadata.uid).is_some()) {
            return DataOnDelete::Destroyed;
        }
        match volume.map(|volume| volume.spec.persistent_volume_reclaim_policy.as_str()) {
            Some("Delete" | "Recycle") => DataOnDelete::Destroyed,
            Some("Retain") => DataOnDelete::Kept,
            _ => DataOnDelete::Unknown,
        }
    }
}

/// How long the server has known that no pod uses the claim (condition `Unused`, 1.37). A claim that never was used has
/// it too; without it nothing is known.
pub fn unused_for(claim: &PersistentVolumeClaim, now: Timestamp) -> Option<SignedDuration> {
    let unused = claim.condition("Unused").filter(|unused| unused.status == "True")?;
    unused.last_transition_time.map(|since| now.duration_since(since).max(SignedDuration::ZERO))
}

/// Why no set makes claims of this name.
fn no_set(claim: &PersistentVolumeClaim) -> Reason {
    match claim.metadata.controller().or(claim.metadata.owner_references.first()) {
        Some(owner) => Reason::new(ReasonCode::Owned, format!("{} {} owns it", owner.kind, owner.name)),
        None => Reason::new(ReasonCode::NoSet, "no StatefulSet in the namespace creates PVCs of this name"),
    }
}

/// What speaks against the claim being this set's, beyond its name.
fn whose(claim: &PersistentVolumeClaim, set: &StatefulSet) -> Option<Class> {
    let meta = &claim.metadata;
    for owner in &meta.owner_references {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        let is_set = owner.kind == "StatefulSet"
            && owner.name == set.metadata.name
            && (group == "apps" || owner.api_version.is_empty());
        if is_set && owner.uid == set.metadata.uid {
            continue;
        }
        if is_set || owner.kind == "Pod" {
            let text =
                format!("the garbage collector deletes it together with {} {}", owner.kind, owner.name);
            return Some(Class::Kept(Reason::new(ReasonCode::Collected, text)));
        }
        return Some(Class::NotOurs(Reason::new(
            ReasonCode::Owned,
            format!("{} {} owns it", owner.kind, owner.name),
        )));
    }
    let labels = &set.spec.selector.match_labels;
    if labels.is_empty() || !matches_labels(labels, &meta.labels) {
        let text = format!("it does not have the labels of the selector of {}", set.metadata.name);
        return Some(Class::Ambiguous(Reason::new(ReasonCode::Unproven, text)));
    }
    None
}

/// What the claim itself says against its deletion.
fn held(claim: &PersistentVolumeClaim) -> Option<Reason> {
    let meta = &claim.metadata;
    if meta.is_terminating() {
        return Some(Reason::new(ReasonCode::Deleting, "it is already being deleted"));
    }
    if let Some(finalizer) = meta.finalizers.iter().find(|finalizer| *finalizer != PROTECTION) {
        return Some(Reason::new(
            ReasonCode::Finalizer,
            format!("finalizer {finalizer} blocks its deletion"),
        ));
    }
    (meta.labels.get("kor/used").is_some_and(|used| used == "true"))
        .then(|| Reason::new(ReasonCode::DeclaredUsed, "its label kor/used marks it as used"))
}

fn is_source_of(claim: &PersistentVolumeClaim, other: &PersistentVolumeClaim) -> bool {
    [&other.spec.data_source, &other.spec.data_source_ref].into_iter().flatten().any(|source| {
        let here = source.namespace.is_empty() || source.namespace == claim.metadata.namespace;
        here && source.kind == "PersistentVolumeClaim" && source.name == claim.metadata.name
    })
}
