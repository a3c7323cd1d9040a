//! Protobuf and JSON of the same objects, from the real API server.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::proxy::Proxy;
use crate::support::{self, Namespace};

/// Fields that no object of the test has, and why.
const ABSENT: [&str; 4] = [
    // The API server drops it without the feature gate CrossNamespaceVolumeDataSource.
    "TypedReference.namespace",
    // Only of a volume that could not be recycled or deleted, which is deleted again and again.
    "VolumeStatus.reason",
    "VolumeStatus.message",
    // It is recorded with the logs only; see the tests of logs for protobuf and JSON.
    "Terminated.message",
];

#[test]
fn protobuf_and_json_tell_the_same_of_every_field() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("wire");
    // What stands in the way of pods comes after these.
    rollout(&ns);
    let yaml =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manifests/every-field.yaml"));
    let yaml = yaml.unwrap().replace("NAME", &ns.name);
    ns.kubectl_in(&["apply", "--server-side", "-f", "-"], &yaml).ok();
    let _end = End(&ns);
    statuses(&ns);
    // What is being deleted, and held.
    ns.delete(&["statefulset/full", "--wait=false"]);

    let proxy = Proxy::start(cluster);
    let record = |json_only: bool| {
        proxy.strip_protobuf(json_only);
        let before = proxy.lists_in_protobuf();
        let text = ns.sts(&["record", "-o", "json", "--server", &proxy.server]).ok();
        let lists = proxy.lists_in_protobuf() - before;
        assert_eq!(lists > 15, !json_only, "{lists} lists in protobuf");
        ours(&text, &ns.name)
    };
    let both = ns.wait("a moment in which nothing changes", support::PATIENCE, || {
        let (protobuf, text) = (record(false), record(true));
        let differs = protobuf.iter().zip(&text).find(|(one, other)| one != other);
        match (differs, protobuf.len() == text.len()) {
            (None, true) => Ok(protobuf),
            (Some((one, other)), _) => Err(format!("protobuf:\n{one:#}\nJSON:\n{other:#}")),
            (None, false) => Err(format!("{} and {} objects", protobuf.len(), text.len())),
        }
    });

    let types = types();
    let mut seen = BTreeSet::new();
    for object in &both {
        mark(object, object["kind"].as_str().unwrap(), &types, &mut seen);
    }
    let unseen: Vec<String> = types
        .iter()
        .flat_map(|(name, fields)| fields.keys().map(move |field| format!("{name}.{field}")))
        .filter(|field| !seen.contains(field) && !ABSENT.contains(&field.as_str()))
        // Without its feature gate, which is off in 1.36, the API server drops it.
        .filter(|field| field != "RollingUpdate.maxUnavailable" || cluster.is_from(37))
        .collect();
    assert!(unseen.is_empty(), "no object has a value for {unseen:#?}");
}

/// A StatefulSet with pods of two revisions, with bound PVCs and a budget.
fn rollout(ns: &Namespace) {
    ns.cluster.apply(include_str!("manifests/classes.yaml"));
    ns.apply(include_str!("manifests/postgres.yaml"));
    ns.apply(
        "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: postgres}, spec: {minAvailable: 1, selector: \
         {matchLabels: {app: postgres}}}}",
    );
    ns.wait_ready("postgres", 3);
    ns.patch(
        "statefulset/postgres",
        &json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 2}}}}),
    );
    ns.kubectl(&["set", "image", "statefulset/postgres", "postgres=postgres:16.5"]).ok();
    ns.wait("one pod of the new revision", support::PATIENCE, || {
        let set = ns.kubectl_json(&["get", "statefulset/postgres"]);
        let status = &set["status"];
        let is_there = status["updatedReplicas"] == 1 && status["readyReplicas"] == 3;
        if is_there { Ok(()) } else { Err(status.to_string()) }
    });
}

/// Values that only components of the cluster give.
fn statuses(ns: &Namespace) {
    ns.patch_status(
        "pod/gated",
        &json!({"status": {
            "phase": "Running", "reason": "Odd", "message": "it is odd", "nominatedNodeName": "n-1",
            "podIP": "10.1.2.4", "podIPs": [{"ip": "10.1.2.4"}, {"ip": "fd00::4"}],
            "startTime": "2026-11-20T10:00:00Z",
            "conditions": [{"type": "Ready", "status": "False", "reason": "Gate", "message": "closed",
                "lastTransitionTime": "2026-11-20T10:00:01Z"}],
            "initContainerStatuses": [{"name": "init", "image": "init:1", "imageID": "", "ready": true,
                "restartCount": 0, "state": {"running": {"startedAt": "2026-11-20T10:00:02Z"}}}],
            "containerStatuses": [{"name": "main", "image": "main:1", "imageID": "", "ready": true, "started": true,
                "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                "lastState": {"terminated": {"exitCode": 137, "signal": 9, "reason": "OOMKilled",
                    "startedAt": "2026-11-20T10:00:03Z", "finishedAt": "2026-11-20T10:00:04Z"}}}],
            "resourceClaimStatuses": [{"name": "gpu", "resourceClaimName": "gated-gpu-1"}],
        }}),
    );
    ns.patch_status(
        "pvc/full",
        &json!({"status": {
            "conditions": [{"type": "Resizing", "status": "True", "reason": "r", "message": "m",
                "lastTransitionTime": "2026-11-20T10:00:05Z"}],
            "allocatedResourceStatuses": {"storage": "ControllerResizeInProgress"},
        }}),
    );
    ns.patch_status(
        &format!("node/{}", ns.name),
        &json!({"status": {"conditions": [{"type": "Ready", "status": "False", "reason": "r", "message": "m",
            "lastTransitionTime": "2026-11-20T10:00:08Z"}], "allocatable": {"cpu": "3", "memory": "5Gi"}, "nodeInfo": {
            "architecture": "arm64", "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "",
            "osImage": "", "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "",
            "operatingSystem": ""}}}),
    );
    ns.patch_status(
        &format!("volumeattachment/{}", ns.name),
        &json!({"status": {"attached": true, "detachError": {"message": "busy", "time": "2026-11-20T10:00:06Z"}}}),
    );
    let condition = json!({"type": "Odd", "status": "True", "reason": "r", "message": "m",
        "lastTransitionTime": "2026-11-20T10:00:07Z"});
    ns.patch_status("statefulset/full", &json!({"status": {"conditions": [condition]}}));
}

/// Removes what the end of the namespace leaves.
struct End<'a>(&'a Namespace);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let ns = self.0;
        let free = r#"{"metadata":{"finalizers":null}}"#;
        ns.kubectl(&["patch", "statefulset/full", "--type=merge", "-p", free]);
        for kind in [
            "persistentvolume",
            "storageclass",
            "validatingwebhookconfiguration",
            "mutatingwebhookconfiguration",
            "validatingadmissionpolicybinding",
            "node",
            "csinode",
            "volumeattachment",
        ] {
            ns.kubectl(&["delete", kind, &ns.name, "--ignore-not-found", "--wait=false"]);
        }
        ns.kubectl(&["delete", "persistentvolume", &format!("{}-path", ns.name), "--wait=false"]);
    }
}

/// The objects of a recording that are of this test, in order; other tests change others meanwhile.
fn ours(text: &str, namespace: &str) -> Vec<Value> {
    let recording: Value = serde_json::from_str(text).unwrap();
    let mut objects = Vec::new();
    collect(&recording, &mut objects);
    objects.retain(|object| {
        let meta = &object["metadata"];
        meta["namespace"] == namespace || meta["name"].as_str().unwrap().starts_with(namespace)
    });
    assert!(objects.len() > 20, "{} objects", objects.len());
    objects
}

fn collect(value: &Value, objects: &mut Vec<Value>) {
    match value {
        Value::Object(fields) if fields.contains_key("kind") && value["metadata"]["uid"].is_string() => {
            objects.push(value.clone());
        }
        Value::Object(fields) => fields.values().for_each(|field| collect(field, objects)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, objects)),
        _ => {}
    }
}

/// The types of `partial!` with their fields, as JSON calls them, and the types of these.
fn types() -> BTreeMap<String, BTreeMap<String, String>> {
    let mut types = BTreeMap::new();
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/kinds")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let (mut name, mut renamed) = (String::new(), None);
        for line in text.lines().map(str::trim) {
            if let Some(begun) = line.strip_prefix("struct ") {
                begun.split([' ', '(']).next().unwrap().clone_into(&mut name);
            } else if let Some(rename) = line.strip_prefix("#[serde(rename = \"") {
                renamed = rename.split('"').next().map(str::to_owned);
            } else if let (Some((field, of)), true) = (line.split_once(": "), line.contains(" => ")) {
                let Some((of, number)) = of.split_once(" => ") else { continue };
                if !number.starts_with(|c: char| c.is_ascii_digit()) || !line.ends_with(',') {
                    continue;
                }
                let inner =
                    ["Option<", "Box<", "Vec<"].iter().fold(of, |of, around| of.trim_start_matches(around));
                let inner = inner.trim_end_matches('>');
                let inner = inner.rsplit("::").next().unwrap().to_owned();
                let field = renamed.take().unwrap_or_else(|| camel(field.trim_start_matches("r#")));
                let fields: &mut BTreeMap<String, String> = types.entry(name.clone()).or_default();
                fields.insert(field, inner);
            }
        }
    }
    assert!(types.len() > 90, "{} types", types.len());
    types
}

fn camel(snake: &str) -> String {
    let mut words = snake.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}

/// Notes which fields of which types have a value.
fn mark(
    value: &Value,
    name: &str,
    types: &BTreeMap<String, BTreeMap<String, String>>,
    seen: &mut BTreeSet<String>,
) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| mark(item, name, types, seen)),
        Value::Object(fields) => {
            let Some(known) = types.get(name) else { return };
            for (field, value) in fields {
                if let Some(of) = known.get(field) {
                    seen.insert(format!("{name}.{field}"));
                    mark(value, of, types, seen);
                }
            }
        }
        _ => {}
    }
}
