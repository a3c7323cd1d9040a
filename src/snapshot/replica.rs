//! A slot of the set: an ordinal, with or without a pod and claims.

use super::Namespace;
use crate::kinds::*;

/// One replica of a set.
#[derive(Clone, Debug)]
pub struct Replica<'a> {
    /// Its ordinal, not its index.
    pub ordinal: i32,
    /// The name its pod has or will have.
    pub name: String,
    /// Its pod.
    pub pod: Option<&'a Pod>,
    /// A pod of this name that the set does not own, which keeps the controller from making its own.
    pub foreign_pod: Option<&'a Pod>,
    /// One for each claim template.
    pub slots: Vec<ReplicaClaim<'a>>,
}

/// The claim a replica uses for one claim template.
#[derive(Clone, Debug)]
pub struct ReplicaClaim<'a> {
    /// The claim template.
    pub template: &'a PersistentVolumeClaim,
    /// The name the claim has or will have.
    pub name: String,
    /// The claim.
    pub claim: Option<&'a PersistentVolumeClaim>,
}

impl<'a> Replica<'a> {
    pub(super) fn new(
        set: &'a StatefulSet,
        namespace: &Namespace<'a>,
        ordinal: i32,
        pod: Option<&'a Pod>,
    ) -> Replica<'a> {
        let name = set.pod_name(ordinal);
        let foreign_pod = match pod {
            Some(_) => None,
            None => namespace.pod(&name),
        };
        let slots = set
            .spec
            .volume_claim_templates
            .iter()
            .map(|template| {
                let name = set.claim_name(&template.metadata.name, ordinal);
                let claim = namespace.claim(&name);
                ReplicaClaim { template, name, claim }
            })
            .collect();
        Replica { ordinal, name, pod, foreign_pod, slots }
    }

    /// The claims that exist.
    pub fn claims(&self) -> impl Iterator<Item = &'a PersistentVolumeClaim> + '_ {
        self.slots.iter().filter_map(|slot| slot.claim)
    }
}
