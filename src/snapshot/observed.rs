//! Everything that was read, at one instant: one list for each kind, or the reason why there is none.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use jiff::Timestamp;

use super::attribution::Around;
use super::clock::Clock;
use super::names::Names;
use crate::kinds::*;

/// Why something could not be looked at. It is never taken for healthy: whoever needs it is skipped, and named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// What could not be looked at.
    pub kind: Kind,
    /// Why not, as a fragment: `forbidden to user alice`, `not in the files given`.
    pub why: String,
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind.plural(), self.why)
    }
}

/// One kind's objects, or why they are not known.
pub type Seen<T> = Result<Vec<T>, Unseen>;

/// Which part of the cluster was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One namespace.
    Namespace(String),
    /// All of them.
    All,
}

/// The API server's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVersion {
    /// As the server says it: `v1.37.1`.
    pub text: String,
}

impl ServerVersion {
    /// Major, minor and patch; vendors append to them (`v1.33.5-eks-abc`, minor `33+`).
    pub fn numbers(&self) -> Option<(u32, u32, u32)> {
        let mut parts = self.text.trim_start_matches('v').splitn(3, '.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse().ok()
        });
        Some((parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0)))
    }
}

/// What was read of a cluster.
#[derive(Clone, Debug)]
pub struct Observed {
    /// When, by the server's clock. Ages and "for how long" are counted up to here, never up to this machine's clock.
    pub taken_at: Timestamp,
    /// How well that time is known.
    pub clock: Clock,
    /// `None` when unknown, as with plain manifests.
    pub server: Option<ServerVersion>,
    /// Which part.
    pub scope: Scope,
    /// The StatefulSets; without them nothing can be said at all.
    pub sets: Vec<StatefulSet>,
    /// Apps/v1 ControllerRevisions.
    pub revisions: Seen<ControllerRevision>,
    /// All pods, not only those of StatefulSets: others can mount a claim or take a name.
    pub pods: Seen<Pod>,
    /// Claims.
    pub claims: Seen<PersistentVolumeClaim>,
    /// Volumes.
    pub volumes: Seen<PersistentVolume>,
    /// Storage classes.
    pub classes: Seen<StorageClass>,
    /// Services.
    pub services: Seen<Service>,
    /// Endpoint slices.
    pub slices: Seen<EndpointSlice>,
    /// Disruption budgets.
    pub budgets: Seen<PodDisruptionBudget>,
    /// Autoscalers.
    pub autoscalers: Seen<HorizontalPodAutoscaler>,
    /// Resource quotas.
    pub quotas: Seen<ResourceQuota>,
    /// Nodes.
    pub nodes: Seen<Node>,
    /// Events of type Warning, and those few others that tell something: that a node is coming for a pod
    /// ([`NOMINATIONS`](super::NOMINATIONS)), and that a container was killed because a probe failed ([`super::killer`]).
    pub events: Seen<Event>,
    /// What holds claims besides pods: read only where claims seem left over, and not part of plain files.
    pub around: Option<Around>,
}

impl Observed {
    /// Nothing was read yet, for the reason given.
    pub fn nothing(taken_at: Timestamp, scope: Scope, why: &str) -> Observed {
        fn unseen<T: Object>(why: &str) -> Seen<T> {
            Err(Unseen { kind: T::KIND, why: why.to_owned() })
        }
        Observed {
            taken_at,
            clock: Clock::of_file(taken_at),
            server: None,
            scope,
            sets: Vec::new(),
            revisions: unseen(why),
            pods: unseen(why),
            claims: unseen(why),
            volumes: unseen(why),
            classes: unseen(why),
            services: unseen(why),
            slices: unseen(why),
            budgets: unseen(why),
            autoscalers: unseen(why),
            quotas: unseen(why),
            nodes: unseen(why),
            events: unseen(why),
            around: None,
        }
    }

    /// Sorted into namespaces, for those that hold a StatefulSet.
    pub fn namespaces(&self) -> BTreeMap<&str, Namespace<'_>> {
        fn sort<'a, T: Object>(
            all: &mut BTreeMap<&'a str, Namespace<'a>>,
            seen: &'a Seen<T>,
            part: impl for<'n> Fn(&'n mut Namespace<'a>) -> &'n mut Vec<&'a T>,
        ) {
            for object in seen.iter().flatten() {
                if let Some(namespace) = all.get_mut(object.meta().namespace.as_str()) {
                    part(namespace).push(object);
                }
            }
        }
        let mut all: BTreeMap<&str, Namespace<'_>> = BTreeMap::new();
        for set in &self.sets {
            all.entry(&set.metadata.namespace).or_default().sets.push(set);
        }
        for namespace in all.values_mut() {
            namespace.sets.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        }
        sort(&mut all, &self.revisions, |n| &mut n.revisions);
        sort(&mut all, &self.pods, |n| &mut n.pods);
        sort(&mut all, &self.claims, |n| &mut n.claims);
        sort(&mut all, &self.services, |n| &mut n.services);
        sort(&mut all, &self.slices, |n| &mut n.slices);
        sort(&mut all, &self.budgets, |n| &mut n.budgets);
        sort(&mut all, &self.autoscalers, |n| &mut n.autoscalers);
        sort(&mut all, &self.quotas, |n| &mut n.quotas);
        sort(&mut all, &self.events, |n| &mut n.events);
        let wide = Rc::default();
        for namespace in all.values_mut() {
            namespace.names.wide = Rc::clone(&wide);
        }
        all
    }

    /// When the newest of the objects was created, by the API server's clock.
    pub fn newest(&self) -> Option<Timestamp> {
        fn of<T: Object>(seen: &[T]) -> Option<Timestamp> {
            seen.iter().filter_map(|object| object.meta().creation_timestamp).max()
        }
        fn among<T: Object>(seen: &Seen<T>) -> Option<Timestamp> {
            of(seen.as_deref().unwrap_or_default())
        }
        let all = [
            of(&self.sets),
            among(&self.revisions),
            among(&self.pods),
            among(&self.claims),
            among(&self.volumes),
            among(&self.services),
            among(&self.slices),
            among(&self.budgets),
            among(&self.autoscalers),
            among(&self.nodes),
            among(&self.events),
        ];
        all.into_iter().flatten().max()
    }

    /// The kinds that could not be looked at, and why, in the order they are recorded.
    pub fn unseen(&self) -> Vec<Unseen> {
        let kinds = [
            self.revisions.as_ref().err(),
            self.pods.as_ref().err(),
            self.claims.as_ref().err(),
            self.volumes.as_ref().err(),
            self.classes.as_ref().err(),
            self.services.as_ref().err(),
            self.slices.as_ref().err(),
            self.budgets.as_ref().err(),
            self.autoscalers.as_ref().err(),
            self.quotas.as_ref().err(),
            self.nodes.as_ref().err(),
            self.events.as_ref().err(),
        ];
        kinds.into_iter().flatten().cloned().collect()
    }
}

/// The objects of one namespace. Kinds that were not seen are empty here; whether they were is asked of [`Observed`].
#[derive(Clone, Debug, Default)]
pub struct Namespace<'a> {
    /// Its StatefulSets, by name.
    pub sets: Vec<&'a StatefulSet>,
    /// Its ControllerRevisions.
    pub revisions: Vec<&'a ControllerRevision>,
    /// Its pods.
    pub pods: Vec<&'a Pod>,
    /// Its claims.
    pub claims: Vec<&'a PersistentVolumeClaim>,
    /// Its Services.
    pub services: Vec<&'a Service>,
    /// Its endpoint slices.
    pub slices: Vec<&'a EndpointSlice>,
    /// Its disruption budgets.
    pub budgets: Vec<&'a PodDisruptionBudget>,
    /// Its autoscalers.
    pub autoscalers: Vec<&'a HorizontalPodAutoscaler>,
    /// Its quotas.
    pub quotas: Vec<&'a ResourceQuota>,
    /// Its events.
    pub events: Vec<&'a Event>,
    pub(super) names: Names,
}

#[cfg(test)]
mod tests {
    use super::ServerVersion;

    #[test]
    fn versions_of_vendors_are_understood() {
        for (text, numbers) in [
            ("v1.37.1", Some((1, 37, 1))),
            ("v1.33.5-eks-1234", Some((1, 33, 5))),
            ("v1.35.0-alpha.1", Some((1, 35, 0))),
            ("1.34+", Some((1, 34, 0))),
            ("unknown", None),
        ] {
            assert_eq!(ServerVersion { text: text.into() }.numbers(), numbers, "{text}");
        }
    }
}
