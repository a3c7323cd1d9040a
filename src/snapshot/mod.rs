//! What was observed of one set: facts, no opinions.

pub mod attribution;
mod canary;
mod clock;
mod dns;
mod further;
mod log;
mod names;
mod node;
mod observed;
mod ordinal;
pub(crate) mod owner;
mod ownership;
mod refused;
mod replica;
mod standby;
mod state;
mod steady;
mod trial;
mod trouble;

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};

pub use canary::{CANARY, CanaryAnnotation};
pub use clock::{Clock, TimeSource};
pub use dns::{Corefile, DnsAnswer, DnsCache, DnsCode, DnsProbe, DnsServer, dns_names};
pub use log::{Log, LogOf, is_no_log, termination_message};
pub use node::{Lost, lost};
pub use observed::{Coverage, Namespace, NotRead, Observed, Scope, Seen, ServerVersion, Unseen};
pub use ordinal::{ClaimName, parse_pod_name};
pub use refused::{Refused, Verb};
pub use replica::{Replica, ReplicaClaim};
pub use state::{pod_restarts, pod_state};
pub use trial::{Trial, Wanted};
use trouble::Unbound;
pub use trouble::{
    KILLING, Killer, Kills, NO_SCALE_UP, NOMINATIONS, PodFailure, Trouble, killer, may_be_killed,
};

use crate::kinds::*;

/// One StatefulSet and all that belongs to it or stands around it.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// When it was taken.
    pub taken_at: Timestamp,
    /// The API server's version, where known.
    pub server: Option<&'a ServerVersion>,
    /// The set.
    pub set: &'a StatefulSet,
    /// Everything in its namespace.
    pub namespace: &'a Namespace<'a>,
    observed: &'a Observed,
    replicas: Vec<Replica<'a>>,
    condemned: Vec<Replica<'a>>,
    /// Where the set's own revisions are, oldest first, once they were asked for.
    revisions: OnceCell<Vec<usize>>,
}

/// Gives the part of the namespace if its kind was seen.
macro_rules! seen {
    ($($(#[$doc:meta])* $name:ident: $kind:ident),* $(,)?) => { $(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`Unseen`] when the kind could not be read.
        pub fn $name(&self) -> Result<&[&'a $kind], Unseen> {
            self.observed.$name.as_ref().map(|_| self.namespace.$name.as_slice()).map_err(Clone::clone)
        }
    )* };
}

/// The same for kinds of which all objects count, wherever they are.
macro_rules! seen_of_cluster {
    ($($(#[$doc:meta])* $name:ident: $kind:ident),* $(,)?) => { $(
        $(#[$doc])*
        ///
        /// # Errors
        /// [`Unseen`] when the kind could not be read.
        pub fn $name(&self) -> Result<&'a [$kind], Unseen> {
            self.observed.$name.as_deref().map_err(Clone::clone)
        }
    )* };
}

impl<'a> Snapshot<'a> {
    /// Puts together what belongs to `set`, which must be one of the namespace's.
    pub fn of(observed: &'a Observed, namespace: &'a Namespace<'a>, set: &'a StatefulSet) -> Snapshot<'a> {
        let named = namespace.members(&set.metadata.name);
        let mut members: Vec<(i32, &'a Pod)> = named.filter(|(_, pod)| is_member(set, pod)).collect();
        members.sort_by_key(|(ordinal, _)| *ordinal);
        let replicas = wanted(set, namespace)
            .map(|ordinal| {
                let pod = members
                    .binary_search_by_key(&ordinal, |(ordinal, _)| *ordinal)
                    .ok()
                    .map(|at| members[at].1);
                Replica::new(set, namespace, ordinal, pod)
            })
            .collect();
        let condemned = members
            .iter()
            .filter(|(ordinal, _)| !set.in_range(*ordinal))
            .map(|(ordinal, pod)| Replica::new(set, namespace, *ordinal, Some(pod)))
            .collect();
        Snapshot {
            taken_at: observed.taken_at,
            server: observed.server.as_ref(),
            set,
            namespace,
            observed,
            replicas,
            condemned,
            revisions: OnceCell::new(),
        }
    }

    /// The same, if the set were this one: for a look at what a change of it would lead to.
    pub fn with_set<'b>(&self, set: &'b StatefulSet) -> Snapshot<'b>
    where
        'a: 'b,
    {
        Snapshot::of(self.observed, self.namespace, set)
    }

    /// The wanted replicas, lowest ordinal first, with or without a pod. Of those of which nothing is there only the first
    /// [`UNMADE`] are among them, so that a number somebody wrote down does not decide how much is held.
    ///
    /// # Errors
    /// [`Unseen`] when pods could not be read.
    pub fn replicas(&self) -> Result<&[Replica<'a>], Unseen> {
        self.pods().map(|_| self.replicas.as_slice())
    }

    /// Whether a pod is available: ready for the `minReadySeconds` of the set.
    pub fn is_available(&self, pod: &Pod) -> bool {
        pod.is_available(self.set.spec.min_ready_seconds, self.taken_at)
    }

    /// What DNS answers about the StatefulSets, where it was asked.
    pub fn dns(&self) -> Option<&'a DnsProbe> {
        self.observed.dns.as_ref()
    }

    /// The kinds that could not be looked at, and why.
    pub fn unseen(&self) -> Vec<Unseen> {
        self.observed.unseen()
    }

    /// How many wanted replicas are not among [`replicas`](Snapshot::replicas).
    pub fn unlisted(&self) -> usize {
        usize::try_from(self.set.replicas()).unwrap_or(0).saturating_sub(self.replicas.len())
    }

    /// The claims that have the name of one that the set makes, also for replicas it no longer has.
    ///
    /// # Errors
    /// [`Unseen`] when claims could not be read.
    pub fn named_claims(&self) -> Result<Vec<(ClaimName<'a>, &'a PersistentVolumeClaim)>, Unseen> {
        self.claims()?;
        Ok(self.namespace.claims_named_by(self.set).collect())
    }

    /// Those of them that are for no wanted replica, with their ordinals.
    ///
    /// # Errors
    /// [`Unseen`] when claims could not be read.
    pub fn surplus_claims(&self) -> Result<Vec<(i32, &'a PersistentVolumeClaim)>, Unseen> {
        let named = self.named_claims()?.into_iter().map(|(name, claim)| (name.ordinal, claim));
        Ok(named.filter(|(ordinal, _)| !self.set.in_range(*ordinal)).collect())
    }

    /// The volumes that named claims have, or had before they were deleted.
    ///
    /// # Errors
    /// [`Unseen`] when volumes could not be read.
    pub fn volumes_of_named_claims(&self) -> Result<impl Iterator<Item = &'a PersistentVolume>, Unseen> {
        let Meta { namespace, .. } = &self.set.metadata;
        Ok(self.namespace.names.wide.volumes_of(self.volumes()?, namespace, self.set))
    }

    /// How much of a resource the pods that were read request on each node, as `of` says of each.
    ///
    /// # Errors
    /// [`Unseen`] when pods could not be read, or not all of them.
    pub fn requested(
        &self,
        resource: &str,
        of: impl Fn(&Pod) -> Option<Quantity>,
    ) -> Result<Rc<HashMap<String, Quantity>>, Unseen> {
        let pods = self.pods_everywhere()?;
        if !self.observed.has_all_pods {
            let why = NotRead::Other("those of ReplicaSets were not read".to_owned());
            return Err(Unseen { kind: Kind::Pod, why });
        }
        Ok(self.namespace.names.wide.requested(resource, pods, of))
    }

    /// Pods of the set outside the wanted range, which a scale-down will delete; lowest ordinal first.
    ///
    /// # Errors
    /// [`Unseen`] when pods could not be read.
    pub fn condemned(&self) -> Result<&[Replica<'a>], Unseen> {
        self.pods().map(|_| self.condemned.as_slice())
    }

    /// The replica with this ordinal, wanted or condemned.
    ///
    /// # Errors
    /// [`Unseen`] when pods could not be read.
    pub fn replica<'s>(&'s self, ordinal: i32) -> Result<Option<&'s Replica<'a>>, Unseen> {
        self.pods()?;
        // Both are sorted.
        let found = |all: &'s [Replica<'a>]| {
            let at = all.binary_search_by_key(&ordinal, |replica| replica.ordinal);
            at.ok().and_then(|at| all.get(at))
        };
        Ok(found(&self.replicas).or_else(|| found(&self.condemned)))
    }

    seen! {
        /// All pods of the namespace, whoever owns them.
        pods: Pod,
        /// All claims of the namespace.
        claims: PersistentVolumeClaim,
        /// All Services of the namespace.
        services: Service,
        /// All endpoint slices of the namespace.
        slices: EndpointSlice,
        /// All disruption budgets of the namespace.
        budgets: PodDisruptionBudget,
        /// All autoscalers of the namespace.
        autoscalers: HorizontalPodAutoscaler,
        /// All quotas of the namespace.
        quotas: ResourceQuota,
        /// All limit ranges of the namespace.
        limit_ranges: LimitRange,
        /// All Warning events of the namespace, and those few others that tell something.
        events: Event,
    }

    seen_of_cluster! {
        /// All storage classes.
        classes: StorageClass,
        /// All volumes.
        volumes: PersistentVolume,
        /// All nodes.
        nodes: Node,
        /// All validating webhooks.
        validating_webhooks: ValidatingWebhookConfiguration,
        /// All mutating webhooks.
        mutating_webhooks: MutatingWebhookConfiguration,
        /// All bindings of admission policies.
        policy_bindings: ValidatingAdmissionPolicyBinding,
        /// All attachments of volumes to nodes.
        attachments: VolumeAttachment,
        /// The storage drivers of all nodes.
        csi_nodes: CSINode,
        /// The free space that storage drivers report.
        capacities: CSIStorageCapacity,
    }

    /// The node of that name.
    ///
    /// # Errors
    /// [`Unseen`] when nodes could not be read.
    pub fn node(&self, name: &str) -> Result<Option<&'a Node>, Unseen> {
        Ok(self.namespace.names.wide.node(self.nodes()?, name))
    }

    /// The set's own revisions, oldest first.
    ///
    /// # Errors
    /// [`Unseen`] when they could not be read.
    pub fn revisions(&self) -> Result<Vec<&'a ControllerRevision>, Unseen> {
        self.observed.revisions.as_ref().map_err(Clone::clone)?;
        let all = &self.namespace.revisions;
        let own = self.revisions.get_or_init(|| {
            let own = (0..).zip(all).filter(|(_, revision)| is_controlled_by(&revision.metadata, self.set));
            let mut own: Vec<(i64, usize)> = own.map(|(at, revision)| (revision.revision, at)).collect();
            own.sort_unstable();
            own.into_iter().map(|(_, at)| at).collect()
        });
        Ok(own.iter().filter_map(|at| all.get(*at).copied()).collect())
    }

    /// The Service that `serviceName` names; `None` when it does not exist or no name is given.
    ///
    /// # Errors
    /// [`Unseen`] when Services could not be read.
    pub fn service(&self) -> Result<Option<&'a Service>, Unseen> {
        let name = &self.set.spec.service_name;
        Ok(self
            .services()?
            .iter()
            .copied()
            .find(|service| !name.is_empty() && service.metadata.name == *name))
    }

    /// What the API server says to a pod of the set that is not there, where it was asked.
    pub fn trial(&self) -> Option<&'a Trial> {
        let meta = &self.set.metadata;
        let is_its = |trial: &&Trial| trial.pod.namespace == meta.namespace && trial.pod.set == meta.name;
        self.observed.trials.iter().find(is_its)
    }

    /// How much of an application was read, where that was manifests and no cluster.
    pub fn manifests(&self) -> Option<Coverage> {
        self.observed.manifests
    }

    /// Services of that name in other namespaces, where they were read.
    pub fn service_elsewhere(&self) -> Option<&'a Service> {
        let name = &self.set.spec.service_name;
        let all = self.observed.services.as_ref().ok()?;
        all.iter().find(|service| {
            service.metadata.name == *name && service.metadata.namespace != self.set.metadata.namespace
        })
    }

    /// The claim of that name in the set's namespace.
    ///
    /// # Errors
    /// [`Unseen`] when claims could not be read.
    pub fn claim(&self, name: &str) -> Result<Option<&'a PersistentVolumeClaim>, Unseen> {
        self.claims()?;
        Ok(self.namespace.claim(name))
    }

    /// The volume a claim is bound to, or names.
    ///
    /// # Errors
    /// [`Unseen`] when volumes could not be read.
    pub fn volume_of(&self, claim: &PersistentVolumeClaim) -> Result<Option<&'a PersistentVolume>, Unseen> {
        Ok(self.namespace.names.wide.volume(self.volumes()?, &claim.spec.volume_name))
    }

    /// The class a claim will get or has got: the one it names, or the default one (the newest, where there are
    /// several: `storage/admission/util.go:GetDefaultClass`).
    ///
    /// # Errors
    /// [`Unseen`] when classes could not be read.
    pub fn class_of(&self, claim: &PersistentVolumeClaim) -> Result<Option<&'a StorageClass>, Unseen> {
        let classes = self.classes()?;
        Ok(match claim.class() {
            Some(name) => classes.iter().find(|class| class.metadata.name == name),
            None => classes
                .iter()
                .filter(|class| class.is_default())
                .max_by_key(|class| class.metadata.creation_timestamp),
        })
    }

    /// Events about an object, newest last: warnings, and those few others that tell something. Events about an earlier object of the same name are left out.
    ///
    /// # Errors
    /// [`Unseen`] when events could not be read.
    pub fn events_about<T: Object>(&self, object: &T) -> Result<Vec<&'a Event>, Unseen> {
        let meta = object.meta();
        self.events()?;
        let mut about: Vec<_> = self
            .namespace
            .events_on(&meta.name)
            .filter(|event| {
                let it = &event.involved_object;
                it.kind == T::KIND.name() && (it.uid.is_empty() || meta.uid.is_empty() || it.uid == meta.uid)
            })
            .collect();
        about.sort_by_key(|event| event.last_seen());
        Ok(about)
    }

    /// Whether it is known what time it was: by the API server's clock, or by that of a recording.
    pub fn is_dated(&self) -> bool {
        matches!(self.observed.clock.source, TimeSource::Server | TimeSource::File)
    }

    /// How long ago that was; never negative.
    pub fn since(&self, then: Option<Timestamp>) -> Option<SignedDuration> {
        then.map(|then| self.taken_at.duration_since(then).max(SignedDuration::ZERO))
    }

    /// What is known of whom the claims of the namespace belong to, as `prune-pvcs` judges it.
    pub fn census(&self) -> attribution::ClaimAudit<'a> {
        attribution::ClaimAudit::new(self.observed, self.namespace, self.observed.around.as_ref())
    }

    /// What keeps this pod from being available, if anything does.
    pub fn trouble(&self, pod: &'a Pod) -> Option<Trouble<'a>> {
        if pod.is_ready() && pod.restarts() == 0 {
            return None;
        }
        let events = self.events_about(pod).unwrap_or_default();
        let trouble = trouble::of(pod, &events, self.unbound(pod), self.taken_at)?;
        Some(self.at_work(pod, trouble))
    }

    /// The youngest of the pod's claims without a volume; where claims were not seen there may be one as old as the pod.
    fn unbound(&self, pod: &Pod) -> Option<Unbound> {
        if self.claims().is_err() {
            return Some(Unbound { made: pod.metadata.creation_timestamp, has_node: false });
        }
        let claims = pod.claim_names().filter_map(|name| self.claim(&name).ok().flatten());
        let unbound = claims.filter(|claim| !claim.is_bound());
        let youngest = unbound.max_by_key(|claim| claim.metadata.creation_timestamp)?;
        let has_node = youngest.metadata.annotations.contains_key("volume.kubernetes.io/selected-node");
        Some(Unbound { made: youngest.metadata.creation_timestamp, has_node })
    }

    /// Since when the pod has been running without being ready for longer than its probes allow; `None` while it is
    /// still in time, ready, not running, or looks like a standby.
    pub fn overdue_since(&self, pod: &Pod) -> Option<Timestamp> {
        trouble::overdue_since(pod).filter(|late| *late <= self.taken_at && !self.stands_by(pod))
    }

    /// The autoscaler that scales this set.
    ///
    /// # Errors
    /// [`Unseen`] when autoscalers could not be read.
    pub fn autoscaler(&self) -> Result<Option<&'a HorizontalPodAutoscaler>, Unseen> {
        Ok(self.autoscalers()?.iter().copied().find(|hpa| {
            hpa.spec.scale_target_ref.kind == "StatefulSet"
                && hpa.spec.scale_target_ref.name == self.set.metadata.name
        }))
    }

    /// Whether a pod in trouble runs, on the revision that was good until the update, as others of it are ready: it may be
    /// replaying its log, and become ready yet.
    pub fn may_recover(&self, pod: &Pod, trouble: &Trouble<'_>) -> bool {
        let status = &self.set.status;
        let good = |other: &Pod| other.is_ready() && other.revision() == status.current_revision;
        matches!(trouble.why, PodFailure::Unready { .. })
            && pod.revision() == status.current_revision
            && status.current_revision != status.update_revision
            && self.replicas.iter().any(|replica| replica.pod.is_some_and(good))
    }

    /// Whether it was seen that no claim of that name is in that namespace, which may be another than the set's.
    pub fn lacks_claim(&self, namespace: &str, name: &str) -> bool {
        let is_seen = match &self.observed.scope {
            Scope::All => true,
            Scope::Namespace(seen) => seen == namespace,
        };
        let is_it = |claim: &PersistentVolumeClaim| {
            claim.metadata.name == name && claim.metadata.namespace == namespace
        };
        is_seen && self.observed.claims.as_ref().is_ok_and(|claims| !claims.iter().any(is_it))
    }
}

/// How many replicas are listed of which neither a pod nor a claim is there.
pub const UNMADE: usize = 1000;

/// The wanted ordinals in order: those of which something is there, and the lowest [`UNMADE`] of the others.
fn wanted<'n>(set: &'n StatefulSet, namespace: &Namespace<'n>) -> impl Iterator<Item = i32> + use<'n> {
    let pods = namespace.members(&set.metadata.name);
    let claims = namespace.claims_named_by(set);
    let made: BTreeSet<i32> = (pods.map(|(ordinal, _)| ordinal))
        .chain(claims.map(|(claim, _)| claim.ordinal))
        .filter(|ordinal| set.in_range(*ordinal))
        .collect();
    let ordinals = (0..set.replicas()).map_while(|index| set.start().checked_add(index));
    let is_made = made.clone();
    let unmade: BTreeSet<i32> =
        ordinals.filter(move |ordinal| !is_made.contains(ordinal)).take(UNMADE).collect();
    made.into_iter().chain(unmade).collect::<BTreeSet<i32>>().into_iter()
}

/// Whether the set owns the pod, or will adopt it (`stateful_set.go:getPodsForStatefulSet`). Objects in hand-written
/// files have no uids; there the name decides.
fn is_member(set: &StatefulSet, pod: &Pod) -> bool {
    match pod.metadata.controller() {
        Some(_) => is_controlled_by(&pod.metadata, set),
        None => set.metadata.uid.is_empty() || set.spec.selector.matches(&pod.metadata.labels),
    }
}

fn is_controlled_by(meta: &Meta, set: &StatefulSet) -> bool {
    match meta.controller() {
        Some(owner) if !owner.uid.is_empty() && !set.metadata.uid.is_empty() => owner.uid == set.metadata.uid,
        Some(owner) => owner.kind == "StatefulSet" && owner.name == set.metadata.name,
        None => set.metadata.uid.is_empty() && meta.name.starts_with(&format!("{}-", set.metadata.name)),
    }
}
