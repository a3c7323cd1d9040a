//! `canary`, `promote` and `abort` on the real control plane: who restarts, in which order, and who never does.

#[path = "canary/abort.rs"]
mod abort;
#[path = "canary/begin.rs"]
mod begin;
#[path = "canary/interrupted.rs"]
mod interrupted;
#[path = "canary/moving.rs"]
mod moving;
#[path = "canary/patches.rs"]
mod patches;
#[path = "canary/refusals.rs"]
mod refusals;
#[path = "canary/witness.rs"]
pub mod witness;

use serde_json::Value;

pub use crate::support::proxy;
use crate::support::{Namespace, PATIENCE};

/// The annotation of a canary.
const MARK: &str = "kubectl-sts/canary";

/// A set with a Service; `spec` and `annotations` of the template in flow style.
fn set(name: &str, replicas: i32, spec: &str, annotations: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}, spec: {{clusterIP: None, selector: {{app: {name}}}, \
         ports: [{{port: 80}}]}}}}\n---\n{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: {name}}}, spec: \
         {{replicas: {replicas}, serviceName: {name}, selector: {{matchLabels: {{app: {name}}}}}, {spec} template: {{metadata: \
         {{labels: {{app: {name}}}, annotations: {{{annotations}}}}}, spec: {{terminationGracePeriodSeconds: 1, containers: \
         [{{name: {name}, image: 'postgres:15-alpine'}}]}}}}}}}}\n"
    )
}

/// Applies such a set and waits until it is there.
pub fn ready(ns: &Namespace, name: &str, replicas: u64, spec: &str, annotations: &str) -> Value {
    ns.apply(&set(name, i32::try_from(replicas).unwrap(), spec, annotations));
    ns.wait_rolled_out(name, replicas)
}

pub fn get(ns: &Namespace, name: &str) -> Value {
    ns.kubectl_json(&["get", "statefulset", name])
}

pub fn partition(set: &Value) -> i64 {
    set["spec"]["updateStrategy"]["rollingUpdate"]["partition"].as_i64().unwrap_or(0)
}

pub fn mark(set: &Value) -> Option<Value> {
    let text = set["metadata"]["annotations"][MARK].as_str()?;
    Some(serde_json::from_str(text).unwrap())
}

/// The uid and the revision of every pod, lowest ordinal first.
pub fn pods(ns: &Namespace) -> Vec<(String, String, String)> {
    let list = ns.kubectl_json(&["get", "pods"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut pods: Vec<_> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| {
            let meta = &pod["metadata"];
            (text(&meta["name"]), text(&meta["uid"]), text(&meta["labels"]["controller-revision-hash"]))
        })
        .collect();
    pods.sort_by_key(|(name, _, _)| name.rsplit_once('-').and_then(|(_, n)| n.parse::<u32>().ok()));
    pods
}

/// Waits until the status says that all is done: every pod on the update's revision, which is the current one.
fn settled(ns: &Namespace, name: &str, replicas: u64) -> Value {
    ns.wait(&format!("{name} to be settled"), PATIENCE, || {
        let set = get(ns, name);
        let status = &set["status"];
        let done = status["currentRevision"] == status["updateRevision"]
            && status["updatedReplicas"].as_u64().unwrap_or(0) == replicas
            && status["readyReplicas"].as_u64().unwrap_or(0) == replicas;
        if done { Ok(set) } else { Err(status.to_string()) }
    })
}
