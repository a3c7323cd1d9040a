//! What a canary changes of the pod template: read from images and a patch.

use serde_json::{Map, Value, json};

use crate::kinds::PodTemplate;
use crate::plan::merge::{extended, patched};
use crate::plan::{Refusal, template};
use crate::words;

/// A change of the pod template.
#[derive(Clone, Debug)]
pub struct Change {
    /// A strategic merge patch of the template.
    pub template: Value,
    /// Tells one change from another, across runs.
    pub digest: String,
    /// What differs from the template as it is, for people; empty when nothing does.
    pub lines: Vec<String>,
}

/// Fields of a StatefulSet's spec that a pod's spec does not have.
const OF_THE_SET: [&str; 11] = [
    "replicas",
    "serviceName",
    "selector",
    "updateStrategy",
    "podManagementPolicy",
    "volumeClaimTemplates",
    "minReadySeconds",
    "ordinals",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "template",
];

impl Change {
    /// Puts images (`container`, `image`) and a patch, of the template or of the set, together. `now` is the template as
    /// it is, as far as it is known.
    ///
    /// # Errors
    /// [`Refusal`] when something else than the template would change, or there is no such container.
    pub fn of(
        images: &[(String, String)],
        patch: Option<Value>,
        containers: &PodTemplate,
        now: &Value,
    ) -> Result<Option<Change>, Refusal> {
        let mut body = patch.map(of_template).transpose()?.unwrap_or_else(|| json!({}));
        for (container, image) in images {
            set_image(&mut body, container, image, containers)?;
        }
        if body.as_object().is_none_or(Map::is_empty) {
            return Ok(None);
        }
        let lines = template::changes(now, &patched(now, &body));
        let digest = digest(&body);
        Ok(Some(Change { template: body, digest, lines }))
    }

    /// The first thing that the patch sets, and that the template does not have now. What the patch replaces as a whole, the
    /// API server has filled in since.
    pub fn missing(&self, now: &Value) -> Option<String> {
        template::changes(now, &extended(now, &self.template)).into_iter().next()
    }
}

/// The part of a patch that is about the template; nothing else may be in it.
fn of_template(mut patch: Value) -> Result<Value, Refusal> {
    let refusal = |because: String| Refusal {
        reason: "not-the-template",
        because,
        hint:
            "give a patch of the pod template, or a patch of the StatefulSet that contains only spec.template"
                .to_owned(),
    };
    let Some(top) = patch.as_object_mut() else {
        return Err(refusal("the patch is not an object".to_owned()));
    };
    let of_set = top.get("spec").and_then(Value::as_object).is_some_and(|spec| spec.contains_key("template"));
    let allowed: &[&str] =
        if of_set { &["apiVersion", "kind", "spec", "metadata"] } else { &["metadata", "spec", "$patch"] };
    if let Some(other) = top.keys().find(|key| !allowed.contains(&key.as_str())) {
        return Err(refusal(format!(
            "the patch changes {other}, but a canary changes only the pod template"
        )));
    }
    if of_set {
        let metadata = top.get("metadata").and_then(Value::as_object).into_iter().flat_map(Map::keys);
        let spec = top.get("spec").and_then(Value::as_object).into_iter().flat_map(Map::keys);
        let other = metadata
            .filter(|key| !["name", "namespace"].contains(&key.as_str()))
            .map(|key| format!("metadata.{key}"))
            .chain(spec.filter(|key| *key != "template").map(|key| format!("spec.{key}")))
            .next();
        return match other {
            Some(other) => Err(refusal(format!(
                "the patch changes {other} of the StatefulSet, but a canary changes only the pod template"
            ))),
            None => Ok(top["spec"]["template"].take()),
        };
    }
    let spec = top.get("spec").and_then(Value::as_object);
    if let Some(other) = OF_THE_SET.iter().find(|key| spec.is_some_and(|spec| spec.contains_key(**key))) {
        return Err(refusal(format!(
            "the patch changes spec.{other} of the StatefulSet, but a canary changes only the pod template"
        )));
    }
    Ok(patch)
}

fn set_image(body: &mut Value, name: &str, image: &str, template: &PodTemplate) -> Result<(), Refusal> {
    let spec = &template.spec;
    let list = if spec.containers.iter().any(|container| container.name == name) {
        "containers"
    } else if spec.init_containers.iter().any(|container| container.name == name) {
        "initContainers"
    } else {
        let all: Vec<_> =
            spec.containers.iter().chain(&spec.init_containers).map(|container| &container.name).collect();
        return Err(Refusal {
            reason: "no-such-container",
            because: format!("the template has no container {name}"),
            hint: format!("it has {}", words::list(&all, usize::MAX)),
        });
    };
    if !body["spec"].is_object() {
        body["spec"] = json!({});
    }
    let containers = &mut body["spec"][list];
    if !containers.is_array() {
        *containers = json!([]);
    }
    if let Some(all) = containers.as_array_mut() {
        match all.iter_mut().find(|container| container["name"] == name) {
            Some(container) => container["image"] = image.into(),
            None => all.push(json!({"name": name, "image": image})),
        }
    }
    Ok(())
}

/// FNV-1a of the patch as JSON, whose keys are sorted.
fn digest(body: &Value) -> String {
    let hash = body.to_string().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> Value {
        json!({
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{
                "name": "web", "image": "web:1", "env": [{"name": "PASSWORD", "value": "hunter2"}],
                "resources": {"limits": {"memory": "1Gi"}}, "ports": [{"containerPort": 80}],
            }]},
        })
    }

    fn change(patch: Value) -> Change {
        let typed: PodTemplate = serde_json::from_value(template()).unwrap();
        Change::of(&[], Some(patch), &typed, &template()).unwrap().unwrap()
    }

    #[test]
    fn what_differs_is_told_without_values_of_variables() {
        for (patch, lines) in [
            (json!({"metadata": {"labels": {"app": "web"}}}), vec![]),
            (
                json!({"metadata": {"annotations": {"token": "hunter3"}}}),
                vec!["metadata.annotations: none → {\"token\":\"(value not shown)\"}"],
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:2"}]}}}}),
                vec!["image of container web: web:1 → web:2"],
            ),
            (
                json!({"spec": {"containers": [{"name": "web", "env": [{"name": "PASSWORD", "value": "hunter4"}],
                    "resources": {"limits": {"memory": "2Gi"}}, "ports": [{"containerPort": 81}]}]}}),
                vec![
                    "spec.containers[web].env[PASSWORD].value: changed (value not shown)",
                    "spec.containers[web].ports[81]: none → {\"containerPort\":81}",
                    "spec.containers[web].resources.limits.memory: 1Gi → 2Gi",
                ],
            ),
            (json!({"spec": {"containers": [{"name": "side", "$patch": "delete"}]}}), vec![]),
            (
                json!({"spec": {"containers": [{"name": "web", "args": ["--password=hunter5"]}]}}),
                vec!["spec.containers[web].args: added (value not shown)"],
            ),
        ] {
            let found = change(patch).lines;
            assert_eq!(found, lines);
            assert!(!found.join(" ").contains("hunter"));
        }
    }

    #[test]
    fn only_the_template_may_be_changed() {
        let typed: PodTemplate = serde_json::from_value(template()).unwrap();
        for patch in [
            json!({"spec": {"replicas": 3}}),
            json!({"spec": {"template": {}, "replicas": 3}}),
            json!({"metadata": {"labels": {"a": "b"}}, "spec": {"template": {}}}),
            json!({"status": {}}),
            json!([1]),
        ] {
            let refusal = Change::of(&[], Some(patch.clone()), &typed, &template()).unwrap_err();
            assert_eq!(refusal.reason, "not-the-template", "{patch}");
        }
        let image = [("wbe".to_owned(), "web:2".to_owned())];
        let refusal = Change::of(&image, None, &typed, &template()).unwrap_err();
        assert_eq!((refusal.reason, refusal.hint.as_str()), ("no-such-container", "it has web"));
        assert!(Change::of(&[], None, &typed, &template()).unwrap().is_none());
    }

    #[test]
    fn the_same_change_has_the_same_digest() {
        let one = change(json!({"spec": {"terminationGracePeriodSeconds": 5, "hostname": "a"}}));
        let same = change(
            json!({"spec": {"template": {"spec": {"hostname": "a", "terminationGracePeriodSeconds": 5}}}}),
        );
        let other = change(json!({"spec": {"terminationGracePeriodSeconds": 6, "hostname": "a"}}));
        assert_eq!(one.digest, same.digest);
        assert_ne!(one.digest, other.digest);
    }

    #[test]
    fn an_image_is_put_where_its_container_is() {
        let now = json!({"spec": {
            "containers": [{"name": "web", "image": "web:1"}, {"name": "side", "image": "side:1"}],
            "initContainers": [{"name": "init", "image": "init:1"}],
        }});
        let typed: PodTemplate = serde_json::from_value(now.clone()).unwrap();
        let image = |name: &str, image: &str| (name.to_owned(), image.to_owned());
        let template = |images: &[(String, String)], patch: Option<Value>| {
            Change::of(images, patch, &typed, &now).unwrap().unwrap().template
        };
        let of_init =
            template(&[image("init", "init:2"), image("side", "side:2"), image("web", "web:2")], None);
        let containers = json!([{"name": "side", "image": "side:2"}, {"name": "web", "image": "web:2"}]);
        let inits = json!([{"name": "init", "image": "init:2"}]);
        assert_eq!(of_init, json!({"spec": {"containers": containers, "initContainers": inits}}));
        // What a patch says of the same container stays, and so does what it says of others.
        let patch = json!({"spec": {"hostname": "a", "containers": [
            {"name": "side", "args": ["-v"]}, {"name": "web", "image": "web:9", "args": ["-v"]},
        ]}});
        let containers =
            json!([{"name": "side", "args": ["-v"]}, {"name": "web", "image": "web:2", "args": ["-v"]}]);
        let expected = json!({"spec": {"hostname": "a", "containers": containers}});
        assert_eq!(template(&[image("web", "web:2")], Some(patch)), expected);
    }

    #[test]
    fn what_was_edited_since_is_missing() {
        let change = change(json!({"spec": {"containers": [{"name": "web", "image": "web:2"}]}}));
        let mut now = template();
        assert_eq!(change.missing(&now).as_deref(), Some("image of container web: web:1 → web:2"));
        now["spec"]["containers"][0]["image"] = "web:2".into();
        now["spec"]["hostname"] = "filled-in".into();
        assert_eq!(change.missing(&now), None);
    }

    #[test]
    fn a_digest_is_the_same_in_every_version() {
        // An annotation of an earlier version has it.
        assert_eq!(digest(&json!({})), "08f44b07b5901a25");
        assert_eq!(digest(&json!({"spec": {"hostname": "a"}})), "610d1d926456b982");
    }
}
