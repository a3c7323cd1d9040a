//! Objects by name, so that what belongs together is found without looking at everything there is. Each index is made when
//! it is asked for first.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::{Namespace, parse_pod_name};
use crate::kinds::*;

/// Where the objects of a name are, in the order they came in.
///
/// It holds no references, as a cell of them would tie the lifetimes of all who look at it together.
#[derive(Clone, Debug, Default)]
pub(super) struct Index(OnceCell<HashMap<String, Vec<usize>>>);

impl Index {
    pub fn of<N: Into<String>>(&self, names: impl Iterator<Item = (usize, N)>, name: &str) -> &[usize] {
        let all = self.0.get_or_init(|| {
            let mut all: HashMap<String, Vec<usize>> = HashMap::new();
            for (at, name) in names {
                all.entry(name.into()).or_default().push(at);
            }
            all
        });
        all.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

/// The indexes of a namespace, and those that all namespaces share.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pods: Index,
    members: Index,
    mounts: Index,
    claims: Index,
    sources: Index,
    volumes: Index,
    events: Index,
    pub wide: Rc<Wide>,
}

/// Indexes of kinds that are in no namespace.
#[derive(Debug, Default)]
pub(super) struct Wide {
    volumes: Index,
    nodes: Index,
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
}

impl<'a> Namespace<'a> {
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
