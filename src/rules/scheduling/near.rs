//! Pods that must be near others, and devices that pods claim.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::prelude::*;
use super::super::services;
use super::{Scheduling, Way};
use crate::messages::clipped;
use crate::messages::scheduler::Device;

/// The way for a pod that the scheduler does not even look at because a ResourceClaim is not there: it says so nowhere
/// (`framework/plugins/dynamicresources/dynamicresources.go:PreEnqueue`). `None` where the pod claims nothing.
pub(in super::super) fn unclaimed(snapshot: &Snapshot<'_>, pod: &Pod) -> Option<Way> {
    let at = home(snapshot);
    let is_made = |claim: &PodResourceClaim| {
        let mut made = pod.status.resource_claim_statuses.iter();
        made.any(|made| made.name == claim.name && !made.resource_claim_name.is_empty())
    };
    let missing: Vec<String> = (pod.spec.resource_claims.iter())
        .filter(|claim| !is_made(claim))
        .map(|claim| match claim.resource_claim_template_name.as_str() {
            "" => format!("ResourceClaim {}", claim.resource_claim_name),
            template => format!("ResourceClaimTemplate {template}"),
        })
        .collect();
    if missing.is_empty() {
        return None;
    }
    let events = snapshot.events_about(pod).unwrap_or_default();
    let said = events.into_iter().rev().find(|event| event.reason == "FailedResourceClaimCreation");
    let said = said.map_or(String::new(), |event| {
        format!("; the ResourceClaim controller says: {}", clipped(event.text()))
    });
    let way = Way::because(format!(
        "the scheduler does not process a pod until its ResourceClaims exist: create {} in namespace {at}, or correct \
         spec.resourceClaims of the pod template{said}",
        words::list(&missing, 3)
    ));
    Some(way.of_template().step(kubectl("get resourceclaims,resourceclaimtemplates").namespace(at)))
}

impl Scheduling<'_, '_> {
    /// Pod affinity that no node satisfies.
    pub(super) fn near(&self) -> Option<Way> {
        let own = &self.snapshot.set.spec.template.spec.affinity.pod_affinity;
        let own = &own.required_during_scheduling_ignored_during_execution;
        let terms = &self.pod.spec.affinity.pod_affinity.required_during_scheduling_ignored_during_execution;
        let term = terms.first()?;
        let selector = term.label_selector.clone().unwrap_or_default();
        let wanted = services::written(&selector.match_labels);
        let others: Vec<&Pod> = (self.snapshot.pods().ok()?.iter().copied())
            .filter(|other| !other.is_finished() && other.metadata.name != self.pod.metadata.name)
            .filter(|other| selector.matches(&other.metadata.labels))
            .collect();
        let placed: Vec<&Pod> =
            others.iter().copied().filter(|other| !other.spec.node_name.is_empty()).collect();
        let place = match term.topology_key.as_str() {
            "kubernetes.io/hostname" => "node",
            "topology.kubernetes.io/zone" => "zone",
            key => key,
        };
        let at = home(self.snapshot);
        let which = if wanted.is_empty() {
            "a pod that the affinity selects".to_owned()
        } else {
            format!("a pod with {wanted}")
        };
        let state = match (placed.as_slice(), others.first()) {
            ([], Some(other)) => format!("{} has no node itself", other.metadata.name),
            ([], None) => format!("namespace {at} has no such pod: start it, or correct the labels"),
            (placed, _) => {
                let each: BTreeSet<String> = placed
                    .iter()
                    .map(|other| format!("{} on {}", other.metadata.name, other.spec.node_name))
                    .collect();
                let each: Vec<String> = each.into_iter().collect();
                let only = if each.len() == 1 { "the only such pod is" } else { "such pods are" };
                format!("{only} {}, where {} cannot run", words::list(&each, 3), self.pod.metadata.name)
            }
        };
        let way = Way::because(format!(
            "podAffinity requires {which} on the same {place}, and {state}; preferring that instead of requiring it lets the pod run \
             elsewhere"
        ))
        .of_template();
        let affinity = &self.snapshot.set.spec.template.spec.affinity.pod_affinity;
        let known = affinity.preferred_during_scheduling_ignored_during_execution.len();
        let loosen = preferred("podAffinity", own.len(), known);
        let change = if own.is_empty() { None } else { self.patch(&loosen) };
        // Where nothing of the template asks for it, a webhook does.
        Some(way.step(change))
    }

    /// Devices that are not there, or not free.
    pub(super) fn device(&self, device: Device<'_>) -> Way {
        let at = home(self.snapshot);
        let claims = &self.pod.spec.resource_claims;
        match device {
            Device::NoClass(class) => Way::because(format!(
                "DeviceClass {class} does not exist: install the driver of the devices, which creates it, or correct deviceClassName \
                 in the ResourceClaim or ResourceClaimTemplate; the scheduler then tries again by itself"
            ))
            .of_template()
            .step(kubectl("get deviceclasses")),
            Device::NoClaim(name) => {
                let by_name = claims.iter().find(|claim| claim.resource_claim_name == name);
                let template = claims.iter().find(|claim| !claim.resource_claim_template_name.is_empty());
                match (by_name, template) {
                    (None, Some(claim)) => Way::because(format!(
                        "spec.resourceClaims[{}] of the pod template names ResourceClaimTemplate {}, of which no ResourceClaim was made: \
                         create it in namespace {at}, or correct resourceClaimTemplateName",
                        claim.name, claim.resource_claim_template_name
                    )),
                    (Some(claim), _) => Way::because(format!(
                        "spec.resourceClaims[{}] of the pod template names ResourceClaim {name}, which does not exist: create it in \
                         namespace {at}, or correct resourceClaimName",
                        claim.name
                    )),
                    (None, None) => Way::because(format!("create ResourceClaim {name} in namespace {at}")),
                }
                .of_template()
                .step(self.group.edit(self.snapshot))
            }
            Device::NoneFree => Way::because(
                "no suitable node has enough free devices for the ResourceClaims of the pod: add a node with such devices, or run fewer \
                 replicas",
            )
            .of_template()
            .step(self.fewer())
            .or(kubectl("get resourceclaims").namespace(at)),
        }
    }
}

/// Prefers what is required: each term is moved as it is, behind the preferences that are there.
pub(super) fn preferred(affinity: &str, required: usize, known: usize) -> Value {
    let path = format!("/spec/template/spec/affinity/{affinity}");
    let from = format!("{path}/requiredDuringSchedulingIgnoredDuringExecution");
    let to = format!("{path}/preferredDuringSchedulingIgnoredDuringExecution");
    let mut operations = Vec::new();
    if known == 0 {
        operations.push(json!({"op": "add", "path": to, "value": []}));
    }
    for at in known..known.saturating_add(required) {
        operations.push(json!({"op": "add", "path": format!("{to}/-"), "value": {"weight": 100}}));
        let term = format!("{to}/{at}/podAffinityTerm");
        operations.push(json!({"op": "move", "from": format!("{from}/0"), "path": term}));
    }
    operations.push(json!({"op": "remove", "path": from}));
    Value::Array(operations)
}
