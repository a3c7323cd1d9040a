//! Whether the API server would create a pod that the controller should have created: asked by a dry run, which creates
//! nothing (`dryRun=All`).

use serde_json::{Value, json};

use super::connect::{Connection, RequestError};
use super::inventory::why;
use super::perform;
use super::raw::object;
use crate::kinds::{Kind, REVISION_LABEL};
use crate::snapshot::{NotRead, Trial, Wanted};

/// How many pods are asked about for one answer.
pub const MOST: usize = 5;

/// Asks about these pods, at most [`MOST`], one after another.
pub async fn ask(connection: &Connection, wanted: Vec<Wanted>) -> Vec<Trial> {
    let mut all = Vec::new();
    for (index, pod) in wanted.into_iter().enumerate() {
        let refusal = match index < MOST {
            true => one(connection, &pod).await,
            false => Err(NotRead::Other(format!("at most {MOST} pods are checked"))),
        };
        all.push(Trial { pod, refusal });
    }
    all
}

async fn one(connection: &Connection, wanted: &Wanted) -> Result<Option<String>, NotRead> {
    let Wanted { namespace, set, .. } = wanted;
    let read = object(connection, namespace, Kind::StatefulSet, set).await;
    let set = read.map_err(|error| NotRead::Other(error.to_string()))?;
    let Some(pod) = set.and_then(|set| pod_of(&set, wanted)) else { return Ok(None) };
    match perform::check_pod(connection, namespace, &pod).await {
        // That it is there by now is an answer too.
        Ok(()) | Err(RequestError::Api { code: 409, .. }) => Ok(None),
        Err(RequestError::Forbidden { message }) if message.contains(" cannot create resource ") => {
            Err(why(RequestError::Forbidden { message }))
        }
        Err(RequestError::Forbidden { message }) => Ok(Some(message)),
        // A webhook that does not know dry runs is not asked (`admission/plugin/webhook/errors`).
        Err(RequestError::Api { code: 400, message, .. }) => Err(NotRead::Other(message)),
        Err(RequestError::Api { code: 422 | 500, message, .. }) => Ok(Some(message)),
        Err(error) => Err(why(error)),
    }
}

/// The pod as the controller makes it (`stateful_set_utils.go:newStatefulSetPod`, `controller_utils.go:GetPodFromTemplate`).
/// `None` where the set is not what was seen, or its template is not the one that the pod gets.
fn pod_of(set: &Value, wanted: &Wanted) -> Option<Value> {
    let meta = &set["metadata"];
    if meta["uid"] != wanted.uid.as_str() || set["status"]["updateRevision"] != wanted.revision.as_str() {
        return None;
    }
    let template = &set["spec"]["template"];
    let name = wanted.pod.as_str();
    let mut labels = template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    for (key, value) in [
        ("statefulset.kubernetes.io/pod-name", name.to_owned()),
        ("apps.kubernetes.io/pod-index", wanted.ordinal.to_string()),
        (REVISION_LABEL, wanted.revision.clone()),
    ] {
        labels.insert(key.to_owned(), value.into());
    }
    let mut spec = template["spec"].clone();
    spec["hostname"] = name.into();
    spec["subdomain"] = set["spec"]["serviceName"].clone();
    let templates: Vec<&str> = (set["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten())
        .filter_map(|template| template["metadata"]["name"].as_str())
        .collect();
    let mut volumes: Vec<Value> = (templates.iter())
        .map(|template| {
            let claim = format!("{template}-{name}");
            json!({"name": template, "persistentVolumeClaim": {"claimName": claim}})
        })
        .collect();
    let others = spec["volumes"].as_array().cloned().unwrap_or_default();
    volumes.extend(others.into_iter().filter(|it| !templates.iter().any(|name| it["name"] == *name)));
    spec["volumes"] = volumes.into();
    Some(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "generateName": format!("{}-", wanted.set),
            "namespace": wanted.namespace,
            "labels": labels,
            "annotations": template["metadata"]["annotations"],
            "finalizers": template["metadata"]["finalizers"],
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "StatefulSet", "name": wanted.set, "uid": wanted.uid, "controller": true,
            }],
        },
        "spec": spec,
    }))
}
