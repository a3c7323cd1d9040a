//! The room on the nodes that a pod may run on, against what it requests.

use serde_json::json;

use super::super::amounts;
use super::super::prelude::*;
use super::{Scheduling, Way};

impl Scheduling<'_, '_> {
    /// Too little of a resource is free: the node with most of it decides how much may be requested.
    pub(super) fn room(&self, resource: &str) -> Option<Way> {
        let asked = amounts::requested(self.pod, resource)?;
        let taken = self.snapshot.requested(resource, |pod| amounts::requested(pod, resource)).ok()?;
        let open = self.places.iter().filter(|place| place.obstacles.is_empty());
        let rooms = open.filter_map(|place| {
            let has = Quantity::parse(place.node.status.allocatable.get(resource)?)?;
            let used = taken.get(place.name()).copied().unwrap_or_default();
            Some((has.less(used), has, place.name()))
        });
        let (free, has, node) = rooms.max_by_key(|(free, ..)| *free)?;
        // Pods of namespaces that were not read have the rest.
        if free >= asked {
            return None;
        }
        let all = self.snapshot.is_of_all_namespaces();
        let natural = |amount: Quantity| amounts::natural(resource, amount);
        let why = if amounts::too_large(self.snapshot, self.pod, resource).is_some() {
            // More is said of that than of what is free.
            String::new()
        } else {
            format!(
                "{} requests {} {resource}, but no suitable node has more than {} free: {node} has {}, and pods{} request the \
                 rest",
                self.pod.metadata.name,
                natural(asked),
                natural(free),
                natural(has),
                if all { "" } else { " of this namespace" },
            )
        };
        let way = Way::because(why).of_template();
        Some(way.step(self.request_less(resource, asked.less(free))).or(self.fewer()))
    }

    /// Takes this much from the request of the container that requests most.
    fn request_less(&self, resource: &str, surplus: Quantity) -> Option<Command> {
        let template = &self.snapshot.set.spec.template.spec;
        let request = |container: &Container| {
            let resources = &container.resources;
            let amount = resources.requests.get(resource).or_else(|| resources.limits.get(resource))?;
            Quantity::parse(amount)
        };
        let containers = template.containers.iter().filter_map(|it| Some((request(it)?, it)));
        let (most, container) = containers.max_by_key(|(amount, _)| *amount)?;
        let left = most.less(surplus);
        if left == Quantity::default() {
            return None;
        }
        let set = &self.snapshot.set.metadata;
        let mut change =
            json!({"name": container.name, "resources": {"requests": {resource: left.to_string()}}});
        // What nodes have whole, such as GPUs, is requested and limited alike (`apis/core/validation`).
        if resource.contains('/') || resource.starts_with("hugepages-") {
            change["resources"]["limits"] = json!({resource: left.to_string()});
        }
        let patch = kubectl("patch statefulset").name(&set.name).namespace(&set.namespace);
        let patch = patch.patch(&json!({"spec": {"template": {"spec": {"containers": [change]}}}}));
        self.group.reached_by(self.snapshot, patch)
    }

    /// The nodes have as many pods as they may.
    pub(super) fn full(&self) -> Option<Way> {
        let most = self.places.iter().filter_map(|place| place.node.status.allocatable.get("pods"));
        let most: Vec<&str> = most.map(String::as_str).collect();
        let most = match most.as_slice() {
            [one, others @ ..] if others.iter().all(|other| other == one) => format!(" ({one} each)"),
            _ => String::new(),
        };
        let fewer = self.fewer()?;
        let why = format!("the nodes have as many pods as they may{most}: add a node, or run fewer pods");
        Some(Way::because(why).step(fewer))
    }
}
