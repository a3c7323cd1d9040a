//! What ends a refusal by pod security: the fields of the pod template that it asks for, or a level that allows the pod.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map as Json, Value, json};

use super::creations::{Way, patch_containers, retry};
use super::prelude::*;
use crate::messages::admission::{Control, security_level};

/// The way for these controls.
pub(super) fn way(snapshot: &Snapshot<'_>, said: &str, controls: &[Control<'_>]) -> Way {
    let at = home(snapshot);
    let level = security_level(said).unwrap_or("restricted");
    let weaker = if controls.iter().all(is_restricted_only) { "baseline" } else { "privileged" };
    let allow = kubectl("label namespace")
        .name(at)
        .joined("pod-security.kubernetes.io/enforce=", weaker)
        .with("--overwrite");
    let why = format!("namespace {at} enforces the Pod Security level {level}");
    let mut changes = Changes::default();
    let unknown: Vec<String> = (controls.iter())
        .filter(|control| !changes.add(control))
        .map(|control| match control.detail {
            "" => control.reason.to_owned(),
            detail => format!("{} ({detail})", control.reason),
        })
        .collect();
    if unknown.is_empty()
        && let Some(patch) = changes.command(snapshot)
    {
        let root = if changes.pod.contains_key("runAsNonRoot") {
            "; the image must be able to run as a user other than root (runAsUser, if it has no user of its own)"
        } else {
            ""
        };
        let fields = words::list(&changes.fields(), 6);
        return Way::because(format!("{why}: set {fields} in the pod template{root}")).step(patch).or(allow);
    }
    let wanted = if unknown.is_empty() {
        "containers that are not of the pod template violate it: change what adds them".to_owned()
    } else {
        format!("remove {} from the pod template", words::list(&unknown, 4))
    };
    Way::because(format!("{why}: {wanted}, or allow it with the level {weaker} for the namespace"))
        .step(allow)
        .step(retry(snapshot))
}

/// Controls of the level `restricted` alone (`pod-security-admission/policy`).
fn is_restricted_only(control: &Control<'_>) -> bool {
    match control.reason {
        "allowPrivilegeEscalation != false"
        | "unrestricted capabilities"
        | "runAsNonRoot != true"
        | "runAsUser=0" => true,
        "seccompProfile" => control.detail.contains("must set"),
        // A hostPath is not allowed by the level baseline either.
        "restricted volume types" => !control.detail.contains("\"hostPath\""),
        _ => false,
    }
}

/// What the security contexts need.
#[derive(Default)]
struct Changes<'a> {
    pod: Json<String, Value>,
    containers: BTreeMap<&'a str, Json<String, Value>>,
    fields: BTreeSet<&'static str>,
}

impl<'a> Changes<'a> {
    /// Adds what keeps a control; `false` where that takes away what the application may need.
    fn add(&mut self, control: &Control<'a>) -> bool {
        let containers = control.containers();
        let of_containers = |all: &mut Self, field: &str, value: &Value| {
            for name in &containers {
                all.containers.entry(name).or_default().insert(field.to_owned(), value.clone());
            }
        };
        match control.reason {
            "allowPrivilegeEscalation != false" => {
                of_containers(self, "allowPrivilegeEscalation", &json!(false));
                self.fields.insert("allowPrivilegeEscalation=false");
            }
            "unrestricted capabilities" if !control.detail.contains("must not include") => {
                of_containers(self, "capabilities", &json!({"drop": ["ALL"]}));
                self.fields.insert("capabilities.drop=[ALL]");
            }
            "runAsNonRoot != true" => {
                self.pod.insert("runAsNonRoot".to_owned(), json!(true));
                if control.detail.contains("must not set") {
                    of_containers(self, "runAsNonRoot", &json!(true));
                }
                self.fields.insert("runAsNonRoot=true");
            }
            "seccompProfile" => {
                let profile = json!({"type": "RuntimeDefault"});
                self.pod.insert("seccompProfile".to_owned(), profile.clone());
                if control.detail.contains("must not set") {
                    of_containers(self, "seccompProfile", &profile);
                }
                self.fields.insert("seccompProfile.type=RuntimeDefault");
            }
            _ => return false,
        }
        true
    }

    fn fields(&self) -> Vec<&'static str> {
        self.fields.iter().copied().collect()
    }

    fn command(&self, snapshot: &Snapshot<'_>) -> Option<Command> {
        let mut pod = Json::new();
        if !self.pod.is_empty() {
            pod.insert("securityContext".to_owned(), Value::Object(self.pod.clone()));
        }
        let each = self.containers.iter().map(|(name, context)| (*name, json!({"securityContext": context})));
        patch_containers(snapshot, pod, &each.collect())
    }
}
