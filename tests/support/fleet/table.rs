//! Tables as `kubectl get` asks for them (kubernetes `pkg/printers/internalversion/printers.go`).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::data::NOW;

/// Name, type and priority of each column.
fn definitions(kind: &str) -> &'static [(&'static str, &'static str, u32)] {
    match kind {
        "Pod" => &[
            ("Name", "string", 0),
            ("Ready", "string", 0),
            ("Status", "string", 0),
            ("Restarts", "string", 0),
            ("Age", "string", 0),
            ("IP", "string", 1),
            ("Node", "string", 1),
            ("Nominated Node", "string", 1),
            ("Readiness Gates", "string", 1),
        ],
        "PersistentVolumeClaim" => &[
            ("Name", "string", 0),
            ("Status", "string", 0),
            ("Volume", "string", 0),
            ("Capacity", "string", 0),
            ("Access Modes", "string", 0),
            ("StorageClass", "string", 0),
            ("VolumeAttributesClass", "string", 0),
            ("Age", "string", 0),
            ("VolumeMode", "string", 1),
        ],
        "PersistentVolume" => &[
            ("Name", "string", 0),
            ("Capacity", "string", 0),
            ("Access Modes", "string", 0),
            ("Reclaim Policy", "string", 0),
            ("Status", "string", 0),
            ("Claim", "string", 0),
            ("StorageClass", "string", 0),
            ("VolumeAttributesClass", "string", 0),
            ("Reason", "string", 0),
            ("Age", "string", 0),
            ("VolumeMode", "string", 1),
        ],
        "StatefulSet" => &[
            ("Name", "string", 0),
            ("Ready", "string", 0),
            ("Age", "string", 0),
            ("Containers", "string", 1),
            ("Images", "string", 1),
        ],
        "ControllerRevision" => &[
            ("Name", "string", 0),
            ("Controller", "string", 0),
            ("Revision", "integer", 0),
            ("Age", "string", 0),
        ],
        "Node" => &[
            ("Name", "string", 0),
            ("Status", "string", 0),
            ("Roles", "string", 0),
            ("Age", "string", 0),
            ("Version", "string", 0),
            ("Internal-IP", "string", 1),
            ("External-IP", "string", 1),
            ("OS-Image", "string", 1),
            ("Kernel-Version", "string", 1),
            ("Container-Runtime", "string", 1),
        ],
        _ => &[("Name", "string", 0), ("Age", "string", 0)],
    }
}

/// The columns of a kind, in JSON.
pub fn columns(kind: &str) -> Value {
    definitions(kind)
        .iter()
        .map(|(name, r#type, priority)| {
            let format = if *name == "Name" { "name" } else { "" };
            json!({"name": name, "type": r#type, "format": format, "description": "", "priority": priority})
        })
        .collect()
}

/// The cells of an object, as many as its kind has columns.
pub fn cells(kind: &str, object: &Value) -> Value {
    let (meta, spec, status) = (&object["metadata"], &object["spec"], &object["status"]);
    let text = |value: &Value, absent: &str| value.as_str().unwrap_or(absent).to_owned();
    let name = text(&meta["name"], "");
    let age = age(&meta["creationTimestamp"]);
    let modes = |value: &Value| {
        let short = |mode: &Value| match mode.as_str() {
            Some("ReadWriteOnce") => "RWO",
            Some("ReadOnlyMany") => "ROX",
            Some("ReadWriteMany") => "RWX",
            _ => "RWOP",
        };
        value.as_array().map(|all| all.iter().map(short).collect::<Vec<_>>().join(",")).unwrap_or_default()
    };
    match kind {
        "Pod" => pod(object, &name, &age),
        "PersistentVolumeClaim" => json!([
            name,
            status["phase"],
            text(&spec["volumeName"], ""),
            text(&status["capacity"]["storage"], ""),
            modes(&status["accessModes"]),
            text(&spec["storageClassName"], ""),
            "<unset>",
            age,
            text(&spec["volumeMode"], "<unset>")
        ]),
        "PersistentVolume" => {
            let claim = &spec["claimRef"];
            let claim =
                claim["name"].as_str().map(|name| format!("{}/{name}", text(&claim["namespace"], "")));
            json!([
                name,
                spec["capacity"]["storage"],
                modes(&spec["accessModes"]),
                spec["persistentVolumeReclaimPolicy"],
                status["phase"],
                claim.unwrap_or_default(),
                text(&spec["storageClassName"], ""),
                "<unset>",
                text(&status["reason"], ""),
                age,
                text(&spec["volumeMode"], "<unset>")
            ])
        }
        "StatefulSet" => {
            let containers = spec["template"]["spec"]["containers"].as_array();
            let all = |key: &str| {
                let names = containers.into_iter().flatten().map(|container| text(&container[key], ""));
                names.collect::<Vec<_>>().join(",")
            };
            let ready = status["readyReplicas"].as_i64().unwrap_or_default();
            json!([name, format!("{ready}/{}", spec["replicas"]), age, all("name"), all("image")])
        }
        "ControllerRevision" => {
            let owner = &meta["ownerReferences"][0];
            json!([name, format!("statefulset.apps/{}", text(&owner["name"], "")), object["revision"], age])
        }
        "Node" => {
            let info = &status["nodeInfo"];
            let conditions = status["conditions"].as_array();
            let ready =
                conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True");
            json!([
                name,
                if ready { "Ready" } else { "NotReady" },
                "<none>",
                age,
                info["kubeletVersion"],
                text(&status["addresses"][0]["address"], "<none>"),
                "<none>",
                info["osImage"],
                info["kernelVersion"],
                info["containerRuntimeVersion"]
            ])
        }
        _ => json!([name, age]),
    }
}

fn pod(object: &Value, name: &str, age: &str) -> Value {
    let (spec, status) = (&object["spec"], &object["status"]);
    let containers = spec["containers"].as_array().map_or(0, Vec::len);
    let statuses: Vec<&Value> = status["containerStatuses"].as_array().into_iter().flatten().collect();
    let ready = statuses.iter().filter(|status| status["ready"] == true).count();
    let restarts: i64 = statuses.iter().filter_map(|status| status["restartCount"].as_i64()).sum();
    let waiting = statuses.iter().find_map(|status| status["state"]["waiting"]["reason"].as_str());
    let phase = waiting.or(status["phase"].as_str()).unwrap_or("Unknown");
    let absent = |value: &Value| value.as_str().unwrap_or("<none>").to_owned();
    json!([
        name,
        format!("{ready}/{containers}"),
        phase,
        restarts.to_string(),
        age,
        absent(&status["podIP"]),
        absent(&spec["nodeName"]),
        "<none>",
        "<none>"
    ])
}

/// As `duration.HumanDuration` does it, in days where the objects are old.
fn age(created: &Value) -> String {
    let (now, created): (Timestamp, Option<Timestamp>) =
        (NOW.parse().expect("a time"), created.as_str().and_then(|text| text.parse().ok()));
    let Some(created) = created else { return "<unknown>".to_owned() };
    let seconds = now.duration_since(created).as_secs();
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
