//! Values that may be secrets. One policy holds for all that is shown, compared, recorded or sent to another program:
//!
//! | place | what is kept of it |
//! |---|---|
//! | `command` and `args` of containers, of probes and of lifecycle hooks | only that there are some, and that they differ; of init containers also which replicas of their own StatefulSet they wait for |
//! | `value` of environment variables and of HTTP headers | the name |
//! | annotations whose key is [telling](is_telling_annotation), such as `vault/token` or `last-applied-configuration` | the key |
//! | `volumeAttributes` of CSI and `options` of flexVolume volumes | the keys |
//! | lines of logs, which are shown, and recorded only with `--logs` | everything [without credentials](without_credentials) |
//! | any other text, such as images, paths of probes, and messages of the cluster | everything [without credentials](without_credentials) |
//! | the data of Secrets and ConfigMaps | nothing: they are never read |
//!
//! Objects as the server has them (templates, revisions, patches) go through [`redacted`], and single values through
//! [`is_hidden`]. Everything else is read into the types of `kinds`, which have no field for what is hidden here; a
//! recording is these types written out again. A test puts a marker into every one of these places and looks for it in
//! what each command writes (tests/hostile/secrets.rs).

mod credentials;

use serde_json::Value;

pub use credentials::without_credentials;

/// What stands in place of a value that may be a secret.
pub const HIDDEN: &str = "(value not shown)";

/// Parts of the keys of annotations whose values may be secrets, in lower case.
const TELLING: [&str; 8] =
    ["pass", "secret", "token", "credential", "key", "auth", "cert", "last-applied-configuration"];

/// The same object with [`HIDDEN`] for each value that may be a secret, and without credentials in all texts.
pub fn redacted(mut value: Value) -> Value {
    redact(&mut value, &mut Vec::new());
    value
}

/// The same, of a value that stands at this path of an object.
pub fn redacted_at(path: &[String], mut value: Value) -> Value {
    redact(&mut value, &mut path.to_vec());
    value
}

/// Whether the value at this path of an object is hidden. An item of a list may have its name in brackets: `env[PASSWORD]`.
pub fn is_hidden(path: &[String]) -> bool {
    let within = |name: &str| path.iter().any(|step| field(step) == name);
    let last = path.last().map(String::as_str).unwrap_or_default();
    if within("annotations") {
        return is_telling_annotation(last);
    }
    let is_given = ["args", "command", "volumeAttributes"].iter().any(|name| within(name));
    let is_option = within("flexVolume") && within("options");
    is_given || is_option || (last == "value" && (within("env") || within("httpHeaders")))
}

/// Whether the key of an annotation says that its value is a secret.
pub fn is_telling_annotation(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    TELLING.iter().any(|word| key.contains(word))
}

/// The field of a step of a path, also where a patch has a directive for it: `$setElementOrder/env`.
fn field(step: &str) -> &str {
    let name = step.split('[').next().unwrap_or_default();
    name.strip_prefix('$').and_then(|directive| directive.split_once('/')).map_or(name, |(_, field)| field)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_be_a_secret_is_hidden_wherever_it_stands() {
        let command = json!({"exec": {"command": ["sh", "s3cret"]}});
        let get =
            json!({"httpGet": {"path": "/?token=s3cret", "httpHeaders": [{"name": "A", "value": "s3cret"}]}});
        let container = json!({
            "name": "web", "image": "bob:s3cret@r/web:1", "command": ["s3cret"], "args": ["s3cret"],
            "env": [{"name": "A", "value": "s3cret"}, {"name": "B", "value": 5}],
            "startupProbe": command, "livenessProbe": get, "lifecycle": {"postStart": command, "preStop": get},
        });
        let spec = json!({
            "containers": [container], "$setElementOrder/containers": [{"name": "web"}],
            "volumes": [
                {"name": "c", "csi": {"driver": "x.csi", "volumeAttributes": {"password": "s3cret"}}},
                {"name": "f", "flexVolume": {"driver": "a/b", "options": {"password": "s3cret"}}},
            ],
        });
        let annotations = json!({
            "team": "shop", "vault/Token": "s3cret", "dsn": "postgres://bob:s3cret@db/x",
            "kubectl.kubernetes.io/last-applied-configuration": "s3cret",
        });
        let shown =
            redacted(json!({"metadata": {"annotations": annotations}, "spec": {"template": {"spec": spec}}}));
        let text = shown.to_string();
        assert!(!text.contains("s3cret"), "{text}");
        for kept in ["\"team\":\"shop\"", "r/web:1", "x.csi", "a/b", "postgres://db/x", "\"path\":\"/\""] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        assert_eq!(shown["spec"]["template"]["spec"]["containers"][0]["env"][1]["value"], HIDDEN);
    }
}
