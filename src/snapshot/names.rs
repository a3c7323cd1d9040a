//! Objects by name, so that what belongs together is found without looking at everything there is. Each index is made when
//! it is asked for first.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::ordinal::{ClaimName, stem};
use super::{Namespace, parse_pod_name};
use crate::kinds::*;

/// Where the objects of a name are, in the order they came in.
///
/// It holds no references, as a cell of them would tie the lifetimes of all who look at it together.
#[derive(Clone, Debug, Default)]
pub(super) struct Index(OnceCell<HashMap<String, Vec<usize>>>);

impl Index {
    pub fn of<N: Into<String>>(&self, names: impl Iterator<Item = (usize, N)>, name: &str) -> &[usize] {
        let all = self.all(names);
        all.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// All of them, by name.
    fn all<N: Into<String>>(&self, names: impl Iterator<Item = (usize, N)>) -> &HashMap<String, Vec<usize>> {
        self.0.get_or_init(|| {
            let mut all: HashMap<String, Vec<usize>> = HashMap::new();
            for (at, name) in names {
                all.entry(name.into()).or_default().push(at);
            }
            all
        })
    }
}

/// The indexes of a namespace, and those that all namespaces share.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pods: Index,
    members: Index,
    mounts: Index,
    claims: Index,
    stems: Index,
    makers: Index,
    sources: Index,
    volumes: Index,
    events: Index,
    pub wide: Rc<Wide>,
}

/// Indexes of kinds that are in no namespace.
#[derive(Debug, Default)]
pub(super) struct Wide {
    volumes: Index,
    references: Index,
    nodes: Index,
    requested: RefCell<HashMap<String, Rc<HashMap<String, Quantity>>>>,
}

/// The first one: files may have two of one name.
fn first<'a, T: Object>(index: &Index, all: &[&'a T], name: &str) -> Option<&'a T> {
    let names = all.iter().map(|object| object.meta().name.as_str()).enumerate();
    all.get(*index.of(names, name).first()?).copied()
}

impl Wide {
    pub fn volume<'a>(&self, volumes: &'a [PersistentVolume], name: &str) -> Option<&'a PersistentVolume> {
        let names = volumes.iter().map(|volume| volume.metadata.name.as_str()).enumerate();
        volumes.get(*self.volumes.of(names, name).first()?)
    }

    pub fn node<'a>(&self, nodes: &'a [Node], name: &str) -> Option<&'a Node> {
        let names = nodes.iter().map(|node| node.metadata.name.as_str()).enumerate();
        nodes.get(*self.nodes.of(names, name).first()?)
    }

    /// The volumes whose claims have such a name, and were in this namespace.
    pub fn volumes_of<'a>(
        &self,
        volumes: &'a [PersistentVolume],
        namespace: &str,
        set: &StatefulSet,
    ) -> impl Iterator<Item = &'a PersistentVolume> {
        let key = |namespace: &str, stem: &str| format!("{namespace}/{stem}");
        let names = volumes.iter().enumerate().filter_map(|(at, volume)| {
            let claim = volume.spec.claim_ref.as_ref()?;
            Some((at, key(&claim.namespace, stem(&claim.name)?)))
        });
        let all = self.references.all(names);
        let found = stems(set).filter_map(move |stem| all.get(&key(namespace, &stem)));
        found.flatten().filter_map(|at| volumes.get(*at))
    }

    /// How much of a resource the pods on each node request, which `of` says of each pod. It is added up once.
    pub fn requested(
        &self,
        resource: &str,
        pods: &[Pod],
        of: impl Fn(&Pod) -> Option<Quantity>,
    ) -> Rc<HashMap<String, Quantity>> {
        if let Some(known) = self.requested.borrow().get(resource) {
            return Rc::clone(known);
        }
        let mut all: HashMap<&str, Vec<Quantity>> = HashMap::new();
        for pod in pods.iter().filter(|pod| !pod.is_finished()) {
            all.entry(&pod.spec.node_name).or_default().extend(of(pod));
        }
        let sums = all.into_iter().map(|(node, each)| (node.to_owned(), each.into_iter().sum()));
        let sums = Rc::new(sums.collect());
        self.requested.borrow_mut().insert(resource.to_owned(), Rc::clone(&sums));
        sums
    }
}

/// The stems of the claims that a set makes.
fn stems(set: &StatefulSet) -> impl Iterator<Item = String> {
    let templates = set.spec.volume_claim_templates.iter();
    templates.map(|template| format!("{}-{}", template.metadata.name, set.metadata.name))
}

impl<'a> Namespace<'a> {
    /// The claims that have the name of one that the set makes, in the order they came in.
    pub fn claims_named_by<'s>(
        &self,
        set: &'s StatefulSet,
    ) -> impl Iterator<Item = (ClaimName<'s>, &'a PersistentVolumeClaim)> {
        let names = self.claims.iter().enumerate();
        let names = names.filter_map(|(at, claim)| Some((at, stem(&claim.metadata.name)?)));
        let all = self.names.stems.all(names);
        let mut found: Vec<usize> = stems(set).filter_map(|stem| all.get(&stem)).flatten().copied().collect();
        found.sort_unstable();
        found.dedup();
        let found = found.into_iter().filter_map(|at| self.claims.get(at).copied());
        found.filter_map(|claim| Some((ClaimName::parse(set, &claim.metadata.name)?, claim)))
    }

    /// The sets that make claims of this name.
    pub fn makers(&self, claim: &str) -> impl Iterator<Item = (&'a StatefulSet, ClaimName<'a>)> {
        let names = self.sets.iter().enumerate();
        let names = names.flat_map(|(at, set)| stems(set).map(move |stem| (at, stem)));
        let mut found: Vec<usize> =
            stem(claim).and_then(|stem| self.names.makers.all(names).get(stem)).cloned().unwrap_or_default();
        found.dedup();
        let found = found.into_iter().filter_map(|at| self.sets.get(at).copied());
        found.filter_map(|set| Some((set, ClaimName::parse(set, claim)?)))
    }

    /// The pod of that name.
    pub fn pod(&self, name: &str) -> Option<&'a Pod> {
        first(&self.names.pods, &self.pods, name)
    }

    /// The claim of that name.
    pub fn claim(&self, name: &str) -> Option<&'a PersistentVolumeClaim> {
        first(&self.names.claims, &self.claims, name)
    }

    /// Pods with an ordinal, whose names say that they are of this parent.
    pub(super) fn members(&self, parent: &str) -> impl Iterator<Item = (i32, &'a Pod)> {
        let named = |pod: &'a Pod| parse_pod_name(&pod.metadata.name);
        let all = self.pods.iter().copied().enumerate();
        let parents = all.filter_map(|(at, pod)| named(pod).map(|(parent, _)| (at, parent)));
        let found =
            self.names.members.of(parents, parent).iter().filter_map(|at| self.pods.get(*at).copied());
        found.filter_map(move |pod| named(pod).map(|(_, ordinal)| (ordinal, pod)))
    }

    /// The first pod that mounts a claim, or has this name: whichever comes first.
    pub(super) fn mounts(&self, claim: &str, pod: &str) -> Option<&'a Pod> {
        let all = || self.pods.iter().enumerate();
        let names = all().flat_map(|(at, pod)| pod.claim_names().map(move |name| (at, name)));
        let mounts = self.names.mounts.of(names, claim).first();
        let named = self.names.pods.of(all().map(|(at, pod)| (at, pod.metadata.name.as_str())), pod).first();
        self.pods.get(*mounts.into_iter().chain(named).min()?).copied()
    }

    /// The pods that mount a claim.
    pub fn users(&self, claim: &str) -> impl Iterator<Item = &'a Pod> {
        let names = self.pods.iter().enumerate();
        let names = names.flat_map(|(at, pod)| pod.claim_names().map(move |name| (at, name)));
        self.names.mounts.of(names, claim).iter().filter_map(|at| self.pods.get(*at).copied())
    }

    /// The claim that names a volume.
    pub fn claim_of_volume(&self, volume: &str) -> Option<&'a PersistentVolumeClaim> {
        let names = self.claims.iter().map(|claim| claim.spec.volume_name.as_str()).enumerate();
        self.claims.get(*self.names.volumes.of(names, volume).first()?).copied()
    }

    /// Claims that may be made from the one of that name.
    pub(super) fn copies(&self, claim: &str) -> impl Iterator<Item = &'a PersistentVolumeClaim> {
        let names = self.claims.iter().enumerate().flat_map(|(at, claim)| {
            let sources = [&claim.spec.data_source, &claim.spec.data_source_ref].into_iter().flatten();
            sources.map(move |source| (at, source.name.as_str()))
        });
        self.names.sources.of(names, claim).iter().filter_map(|at| self.claims.get(*at).copied())
    }

    /// Events about objects of that name, whatever their kind.
    pub(super) fn events_on(&self, name: &str) -> impl Iterator<Item = &'a Event> {
        let names = self.events.iter().map(|event| event.involved_object.name.as_str()).enumerate();
        self.names.events.of(names, name).iter().filter_map(|at| self.events.get(*at).copied())
    }
}
