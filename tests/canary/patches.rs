//! What a plan says of a patch is what the API server makes of it.

use kubectl_sts::kinds::PodTemplate;
use kubectl_sts::plan::{Change, template};
use serde_json::{Value, json};

use crate::support;

#[test]
fn a_patch_changes_what_the_plan_says() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("canary-patches");
    let variable = |name: &str, value: &str| json!({"name": name, "value": value});
    let container = |given: Value| {
        let mut container = json!({"name": "web"});
        container.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
        json!({"spec": {"containers": [container]}})
    };
    ns.apply(
        &json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"},
            "spec": {"replicas": 0, "serviceName": "web", "selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}, "annotations": {"a": "1", "b": "1"}},
                "spec": {
                    "nodeSelector": {"disk": "ssd", "zone": "a"},
                    "tolerations": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}],
                    "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}, {"name": "w", "emptyDir": {}}],
                    "containers": [
                        {"name": "web", "image": "web:1", "env": [variable("A", "1"), variable("B", "1"), variable("C", "1")],
                            "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}]},
                        {"name": "side", "image": "side:1"},
                    ],
                },
            }},
        })
        .to_string(),
    );
    let now = ns.kubectl_json(&["get", "sts", "web"])["spec"]["template"].clone();
    let typed: PodTemplate = serde_json::from_value(now.clone()).unwrap();
    let mut ordered = container(json!({"env": [variable("N", "1")]}));
    ordered["spec"]["containers"][0]["$setElementOrder/env"] =
        json!(["C", "N", "B", "A"].map(|name| json!({"name": name})));
    for patch in [
        json!({"metadata": {"annotations": {"a": null, "b": "2", "c": "3", "d": null}}}),
        json!({"spec": {"nodeSelector": {"zone": null}}}),
        json!({"spec": {"nodeSelector": {"zone": "b", "$patch": "replace"}}}),
        json!({"spec": {"nodeSelector": null}}),
        json!({"spec": {"tolerations": [{"key": "c", "operator": "Exists"}]}}),
        json!({"spec": {"containers": [{"name": "side", "$patch": "delete"}]}}),
        json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "emptyDir"], "emptyDir": {"medium": null}}]}}),
        json!({"spec": {"containers": [{"name": "side", "image": "side:2"}, {"name": "web", "image": "web:2"}]}}),
        container(json!({"env": [variable("B", "2")]})),
        container(json!({"env": [variable("C", "2"), variable("A", "2")]})),
        container(json!({"env": [variable("N", "1")]})),
        container(json!({"env": [{"name": "B", "$patch": "delete"}, variable("N", "1")]})),
        container(json!({"env": [{"$patch": "replace"}, variable("N", "1"), variable("A", "1")]})),
        container(json!({"volumeMounts": [{"mountPath": "/w", "readOnly": true}]})),
        container(json!({"resources": {"limits": {"memory": "1Gi"}}, "args": ["-v"]})),
        ordered,
    ] {
        let whole = json!({"spec": {"template": patch}}).to_string();
        let patched =
            ns.kubectl_json(&["patch", "sts", "web", "--type=strategic", "--dry-run=server", "-p", &whole]);
        let change = Change::of(&[], Some(patch.clone()), &typed, &now).unwrap().unwrap();
        assert_eq!(change.lines, template::changes(&now, &patched["spec"]["template"]), "{patch}");
        let done =
            Change::of(&[], Some(patch.clone()), &typed, &patched["spec"]["template"]).unwrap().unwrap();
        assert_eq!(done.missing(&patched["spec"]["template"]), None, "{patch}");
    }
}
