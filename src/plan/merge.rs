//! Strategic merge patches of a pod template, applied as the API server does
//! (`apimachinery/pkg/util/strategicpatch/patch.go`).

use serde_json::{Map, Value};

/// The key by which the API server merges a list of the pod template; `None` where a list is replaced as a whole.
pub(super) fn merge_key(list: &str) -> Option<&'static str> {
    Some(match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "resourceClaims"
        | "schedulingGates" => "name",
        "ports" => "containerPort",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "hostAliases" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        _ => return None,
    })
}

/// What becomes of `now` with this patch.
pub(super) fn patched(now: &Value, patch: &Value) -> Value {
    Merge { replaces: true }.value(Some(now), patch)
}

/// The same, but what the patch replaces as a whole it only adds to: fields that the API server fills in stay.
pub(super) fn extended(now: &Value, patch: &Value) -> Value {
    Merge { replaces: false }.value(Some(now), patch)
}

/// How a patch is applied.
struct Merge {
    /// Whether `$patch: replace` is heeded.
    replaces: bool,
}

impl Merge {
    fn value(&self, now: Option<&Value>, patch: &Value) -> Value {
        match patch.as_object() {
            Some(patch) => Value::Object(self.object(now.and_then(Value::as_object), patch)),
            None => patch.clone(),
        }
    }

    fn object(&self, now: Option<&Map<String, Value>>, patch: &Map<String, Value>) -> Map<String, Value> {
        let mut out = match patch.get("$patch").and_then(Value::as_str) {
            Some("delete") => return Map::new(),
            Some("replace") if self.replaces => Map::new(),
            _ => now.cloned().unwrap_or_default(),
        };
        if let Some(kept) = patch.get("$retainKeys").and_then(Value::as_array) {
            out.retain(|key, _| kept.iter().any(|kept| kept == key));
        }
        for (key, value) in patch {
            if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
                if let (Some(Value::Array(all)), Some(gone)) = (out.get_mut(list), value.as_array()) {
                    all.retain(|item| !gone.contains(item));
                }
            } else if value.is_null() {
                out.remove(key);
            } else if !key.starts_with('$') {
                let now = out.get(key);
                let items = || now.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let merged = match (merge_key(key), value) {
                    (Some(by), Value::Array(given)) if given.iter().all(Value::is_object) => {
                        let order = patch.get(&format!("$setElementOrder/{key}")).and_then(Value::as_array);
                        Value::Array(self.list(items(), given, by, order))
                    }
                    (None, Value::Array(given)) if key == "finalizers" => {
                        let added = given.iter().filter(|it| !items().contains(it));
                        Value::Array(items().iter().chain(added).cloned().collect())
                    }
                    _ => self.value(now, value),
                };
                out.insert(key.clone(), merged);
            }
        }
        out
    }

    /// Items are merged by their key. The patch's items keep their order among each other, and so do the others; a new
    /// one comes before what the patch does not name.
    fn list(&self, now: &[Value], patch: &[Value], key: &str, order: Option<&Vec<Value>>) -> Vec<Value> {
        let given = || patch.iter().filter(|item| item.get("$patch").is_none());
        let place = |all: &[Value], item: &Value| all.iter().position(|known| known[key] == item[key]);
        let merged = |item: &Value| self.value(place(now, item).map(|at| &now[at]), item);
        if self.replaces && patch.iter().any(|item| item["$patch"] == "replace") {
            return given().map(|item| self.value(None, item)).collect();
        }
        let mut named: Vec<Value> = given().map(merged).collect();
        // What the patch names is in the list already, or is to be deleted.
        let others = now.iter().filter(|item| place(patch, item).is_none()).cloned();
        let others: Vec<Value> = match order {
            Some(order) => {
                let (ordered, rest): (Vec<_>, Vec<_>) = others.partition(|item| place(order, item).is_some());
                named.extend(ordered);
                named.sort_by_key(|item| place(order, item).unwrap_or(usize::MAX));
                rest
            }
            None => others.collect(),
        };
        let mut out = Vec::with_capacity(now.len());
        let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
        while let Some(other) = others.peek() {
            let is_next = |named: &Value| place(now, named).is_some_and(|at| place(now, other) < Some(at));
            out.extend(if named.peek().is_none_or(is_next) { others.next() } else { named.next() });
        }
        out.extend(named);
        out
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patches_are_merged_as_by_the_api_server() {
        let item = |name: &str| json!({"name": name, "value": name});
        let now = json!({
            "spec": {
                "a": {"x": 1, "y": 2}, "tolerations": [{"key": "k"}],
                "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}],
                "containers": [{"name": "web", "image": "web:1", "env": [item("A"), item("B"), item("C")]}],
            },
            "metadata": {"finalizers": ["a", "b"]},
        });
        let env = |given: Value| json!({"spec": {"containers": [{"name": "web", "env": given}]}});
        let env_of = |patch: Value| {
            let merged = patched(&now, &patch)["spec"]["containers"][0]["env"].clone();
            let names =
                merged.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned());
            names.collect::<String>()
        };
        assert_eq!(env_of(env(json!([{"name": "B", "value": "b"}]))), "ABC");
        assert_eq!(env_of(env(json!([{"name": "C"}, {"name": "A"}]))), "BCA");
        assert_eq!(env_of(env(json!([{"name": "N"}]))), "NABC");
        assert_eq!(
            env_of(env(json!([{"name": "B", "$patch": "delete"}, {"name": "Z", "$patch": "delete"}]))),
            "AC"
        );
        assert_eq!(env_of(env(json!([{"name": "N"}, {"$patch": "replace"}]))), "N");
        let mut ordered = env(json!([{"name": "N"}]));
        ordered["spec"]["containers"][0]["$setElementOrder/env"] =
            json!([{"name": "C"}, {"name": "B"}, {"name": "A"}, {"name": "N"}]);
        assert_eq!(env_of(ordered), "CBAN");
        let spec = |patch: Value| patched(&now, &json!({"spec": patch}))["spec"].clone();
        assert_eq!(spec(json!({"a": {"x": null, "z": {"n": null}}}))["a"], json!({"y": 2, "z": {}}));
        assert_eq!(spec(json!({"a": {"z": 3, "$patch": "replace"}}))["a"], json!({"z": 3}));
        assert_eq!(spec(json!({"a": {"$patch": "delete"}}))["a"], json!({}));
        assert_eq!(spec(json!({"a": null})).get("a"), None);
        assert_eq!(spec(json!({"tolerations": [{"key": "l"}]}))["tolerations"], json!([{"key": "l"}]));
        let volume = json!({"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}});
        let wanted = json!([{"name": "v", "configMap": {"name": "c"}}]);
        assert_eq!(spec(json!({"volumes": [volume]}))["volumes"], wanted);
        let finalizers =
            |patch: Value| patched(&now, &json!({"metadata": patch}))["metadata"]["finalizers"].clone();
        assert_eq!(finalizers(json!({"$deleteFromPrimitiveList/finalizers": ["a"]})), json!(["b"]));
        assert_eq!(finalizers(json!({"finalizers": ["b", "c"]})), json!(["a", "b", "c"]));
        // What is only added to keeps what it has.
        let patch = json!({"spec": {"a": {"z": 3, "$patch": "replace"}}});
        assert_eq!(extended(&now, &patch)["spec"]["a"], json!({"x": 1, "y": 2, "z": 3}));
    }

    #[test]
    fn lists_are_merged_by_the_key_that_kubernetes_gives_them() {
        // `patchMergeKey` in k8s.io/api/core/v1/types.go
        for (list, key) in [
            ("containers", "name"),
            ("initContainers", "name"),
            ("ephemeralContainers", "name"),
            ("env", "name"),
            ("volumes", "name"),
            ("imagePullSecrets", "name"),
            ("resourceClaims", "name"),
            ("schedulingGates", "name"),
            ("ports", "containerPort"),
            ("volumeMounts", "mountPath"),
            ("volumeDevices", "devicePath"),
            ("hostAliases", "ip"),
            ("topologySpreadConstraints", "topologyKey"),
        ] {
            let now = json!({(list): [{(key): "1", "a": 1}, {(key): "2", "a": 2}]});
            let merged = patched(&now, &json!({(list): [{(key): "2", "a": 3}]}));
            assert_eq!(merged, json!({(list): [{(key): "1", "a": 1}, {(key): "2", "a": 3}]}), "{list}");
        }
        for list in ["args", "command", "tolerations", "envFrom", "readinessGates"] {
            let merged = patched(&json!({(list): ["1", "2"]}), &json!({(list): ["2", "3"]}));
            assert_eq!(merged, json!({(list): ["2", "3"]}), "{list}");
        }
        // What is no object has no key, so that such a list is replaced.
        let merged = patched(&json!({"env": [{"name": "A"}]}), &json!({"env": ["B"]}));
        assert_eq!(merged, json!({"env": ["B"]}));
        let merged =
            patched(&json!({"finalizers": [{"a": 1}]}), &json!({"finalizers": [{"a": 1}, {"a": 2}]}));
        assert_eq!(merged, json!({"finalizers": [{"a": 1}, {"a": 2}]}));
    }
}
