//! `managedFields` as the API server keeps them: for each writer the tree of the fields it owns.

use serde_json::{Map, Value, json};

/// The keys by which the items of a list are told apart (`listMapKey` in types.go); a list that is not here is owned as a
/// whole, or by value.
const KEYS: &[(&str, &[&str])] = &[
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("env", &["name"]),
    ("ports", &["containerPort", "protocol"]),
    ("volumeMounts", &["mountPath"]),
    ("volumes", &["name"]),
    ("conditions", &["type"]),
    ("ownerReferences", &["uid"]),
    ("hostIPs", &["ip"]),
    ("podIPs", &["ip"]),
];

/// Adds what this writer owns: these fields of the object, each as a path.
pub fn own(
    object: &mut Value,
    manager: &str,
    operation: &str,
    subresource: &str,
    time: &str,
    paths: &[&str],
) {
    let mut tree = Map::new();
    for path in paths {
        // As in a JSON pointer, `~1` is a slash that is part of a key.
        let keys: Vec<String> = path.split('/').map(|key| key.replace("~1", "/")).collect();
        let Some(value) = keys.iter().try_fold(&*object, |value, key| value.get(key)) else { continue };
        let (last, before) = keys.split_last().expect("a path");
        let owned = fields(value, last);
        let mut place = &mut tree;
        for key in before {
            let inner = place.entry(format!("f:{key}")).or_insert_with(|| json!({}));
            place = inner.as_object_mut().expect("a tree");
        }
        place.insert(format!("f:{last}"), owned);
    }
    let api_version = object["apiVersion"].clone();
    let mut entry = json!({"apiVersion": api_version, "fieldsType": "FieldsV1", "fieldsV1": tree,
        "manager": manager, "operation": operation, "time": time});
    if !subresource.is_empty() {
        entry["subresource"] = subresource.into();
    }
    let entries = &mut object["metadata"]["managedFields"];
    match entries.as_array_mut() {
        Some(entries) => entries.push(entry),
        None => *entries = json!([entry]),
    }
}

fn fields(value: &Value, name: &str) -> Value {
    let mut tree = Map::new();
    match value {
        Value::Object(map) if name == "requests" || name == "limits" || !map.is_empty() => {
            // A map that is there of itself is owned too.
            if ["labels", "annotations", "requests", "limits", "capacity"].contains(&name) {
                tree.insert(".".to_owned(), json!({}));
            }
            tree.extend(map.iter().map(|(key, value)| (format!("f:{key}"), fields(value, key))));
        }
        Value::Array(items) => {
            let Some((_, keys)) = KEYS.iter().find(|known| known.0 == name) else { return json!({}) };
            tree.insert(".".to_owned(), json!({}));
            for item in items {
                let key: Map<String, Value> = keys
                    .iter()
                    .filter_map(|key| Some(((*key).to_owned(), item.get(*key)?.clone())))
                    .collect();
                if key.is_empty() {
                    return json!({});
                }
                let mut inner = fields(item, "");
                inner["."] = json!({});
                tree.insert(format!("k:{}", Value::Object(key)), inner);
            }
        }
        _ => {}
    }
    Value::Object(tree)
}
