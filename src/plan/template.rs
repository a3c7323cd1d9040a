//! Two pod templates side by side, without what may be a secret.

use std::collections::BTreeSet;

use serde_json::Value;

use super::canary::merge_key;
use crate::text::without_credentials;

/// What stands in place of a value that may be a secret.
pub const HIDDEN: &str = "(value not shown)";
/// A value longer than this is cut.
const LONGEST: usize = 80;

/// What differs, a line each: `image of container web: web:1 → web:2`. Values of environment variables and HTTP headers,
/// commands and arguments, and annotations and the like that are named as secrets are, are not shown, nor credentials in
/// URLs.
pub fn changes(old: &Value, new: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    walk(&mut Vec::new(), Some(old), Some(new), &mut lines);
    lines
}

/// The same object with [`HIDDEN`] for each value that [`changes`] would not show.
pub fn redacted(mut value: Value) -> Value {
    redact(&mut value, &mut Vec::new());
    value
}

fn redact(value: &mut Value, path: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                path.push(key.clone());
                redact(value, path);
                path.pop();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| redact(item, path)),
        Value::Null => {}
        _ if is_hidden(path) => *value = HIDDEN.into(),
        Value::String(text) => *text = without_credentials(text),
        _ => {}
    }
}

fn is_hidden(path: &[String]) -> bool {
    let part = |part: &String| part.split('[').next().unwrap_or_default().to_owned();
    let within = |name: &str| path.iter().any(|step| part(step) == name);
    let last = path.last().map(|last| last.to_ascii_lowercase()).unwrap_or_default();
    if within("annotations") {
        let telling =
            ["pass", "secret", "token", "credential", "key", "auth", "cert", "last-applied-configuration"];
        return telling.iter().any(|word| last.contains(word));
    }
    // What a container and a hook are started with, and what a storage driver is told.
    let given = ["args", "command", "volumeAttributes"].iter().any(|name| within(name));
    let told = within("flexVolume") && within("options");
    given || told || (last == "value" && (within("env") || within("httpHeaders")))
}

fn walk(path: &mut Vec<String>, old: Option<&Value>, new: Option<&Value>, lines: &mut Vec<String>) {
    let there = |value: Option<&Value>| value.is_some_and(|value| !value.is_null());
    if old == new || (!there(old) && !there(new)) {
        return;
    }
    match (old, new) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys.into_iter().filter(|key| !key.starts_with('$')) {
                path.push(key.clone());
                walk(path, a.get(key), b.get(key), lines);
                path.pop();
            }
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            let list = path.last().cloned().unwrap_or_default();
            match merge_key(&list).filter(|key| a.iter().chain(b).all(|item| item.get(*key).is_some())) {
                Some(key) => {
                    let of =
                        |items: &[Value], name: &Value| items.iter().find(|item| item[key] == *name).cloned();
                    let mut names: Vec<&Value> = Vec::new();
                    for item in a.iter().chain(b) {
                        if !names.contains(&&item[key]) {
                            names.push(&item[key]);
                        }
                    }
                    for name in names {
                        path.pop();
                        path.push(format!("{list}[{}]", plain(name)));
                        walk(path, of(a, name).as_ref(), of(b, name).as_ref(), lines);
                        path.pop();
                        path.push(list.clone());
                    }
                    let order =
                        |items: &[Value]| items.iter().map(|item| item[key].clone()).collect::<Vec<_>>();
                    let (mut from, mut to) = (order(a), order(b));
                    from.retain(|name| to.contains(name));
                    to.retain(|name| from.contains(name));
                    if from != to {
                        lines.push(format!("{}: in another order", path.join(".")));
                    }
                }
                None => lines.push(leaf(path, old, new)),
            }
        }
        _ => lines.push(leaf(path, old, new)),
    }
}

fn leaf(path: &[String], old: Option<&Value>, new: Option<&Value>) -> String {
    let name = match path {
        [.., container, last] if last == "image" && container.contains('[') => {
            let name = container.split_once('[').map_or("", |(_, name)| name.trim_end_matches(']'));
            format!("image of container {name}")
        }
        _ => path.join("."),
    };
    let old = old.filter(|old| !old.is_null());
    let new = new.filter(|new| !new.is_null());
    if is_hidden(path) {
        let word = match (old, new) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        };
        return format!("{name}: {word} {HIDDEN}");
    }
    let shown = |value: &Value| {
        let mut value = value.clone();
        redact(&mut value, &mut path.to_vec());
        let text = plain(&value);
        match text.char_indices().nth(LONGEST) {
            Some((at, _)) => format!("{}…", &text[..at]),
            None => text,
        }
    };
    match (old, new) {
        (Some(old), Some(new)) => format!("{name}: {} → {}", shown(old), shown(new)),
        (None, Some(new)) => format!("{name}: none → {}", shown(new)),
        _ => format!("{name}: removed"),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_told_without_secrets() {
        let container =
            |image: &str, env: Value| json!({"name": "web", "image": image, "env": env, "args": ["-v"]});
        let template = |containers: Value, annotations: Value| json!({"metadata": {"annotations": annotations}, "spec": {"containers": containers}});
        let old = template(
            json!([container(
                "web:1",
                json!([{"name": "A", "value": "s3cret"}, {"name": "B", "value": "s3cret"}])
            )]),
            json!({"team": "shop", "vault/token": "s3cret"}),
        );
        let new = template(
            json!([
                container("web:2", json!([{"name": "A", "value": "s3cret2"}, {"name": "C", "value": "s3cret"}])),
                {"name": "side", "image": "side:1", "env": [{"name": "D", "value": "s3cret"}]},
            ]),
            json!({"team": "stock", "vault/token": "s3cret2"}),
        );
        let lines = changes(&old, &new);
        assert_eq!(
            lines,
            [
                "metadata.annotations.team: shop → stock",
                "metadata.annotations.vault/token: changed (value not shown)",
                "spec.containers[web].env[A].value: changed (value not shown)",
                "spec.containers[web].env[B]: removed",
                "spec.containers[web].env[C]: none → {\"name\":\"C\",\"value\":\"(value not shown)\"}",
                "image of container web: web:1 → web:2",
                "spec.containers[side]: none → {\"env\":[{\"name\":\"D\",\"value\":\"(value not shown)\"}],\"image\":\"side:1\",\"name\":\"side\"…",
            ]
        );
        let given = |word: &str| {
            let probe = json!({"httpGet": {"path": format!("/health?token={word}")}});
            let volume = json!({"name": "c", "csi": {"volumeAttributes": {"password": word}}});
            json!({"spec": {"volumes": [volume], "containers": [
                {"name": "web", "args": [word], "command": ["sh", word], "readinessProbe": probe, "image": format!("bob:{word}@r/web")}
            ]}})
        };
        let lines = changes(&given("s3cret"), &given("s3cret2"));
        assert!(lines.len() == 5 && !lines.concat().contains("s3cret"), "{lines:?}");
        assert!(!redacted(given("s3cret")).to_string().contains("s3cret"));
        assert!(!redacted(new.clone()).to_string().contains("s3cret"));
        assert_eq!(changes(&new, &new), Vec::<String>::new());
    }
}
