//! Pods that the API server does not let the controller create, on the real control plane: each refusal is told from the
//! others, and what is printed ends it.

use serde_json::{Value, json};

use crate::doctor::finds;
use crate::recover::set;
use crate::support::findings::{self, paste};
use crate::support::{self, Namespace};

/// The finding about this object, once it is there.
fn finding(ns: &Namespace, code: &str, name: &str) -> Value {
    findings::finding(ns, code, name, &[])
}

#[track_caller]
fn says(found: &Value, parts: &[&str]) {
    let because = found["because"].as_str().unwrap();
    for part in parts {
        assert!(because.contains(part), "{part:?} is not in {because:?}");
    }
}

/// The StatefulSet with these resources for its container.
fn asking(name: &str, replicas: i32, resources: &str) -> String {
    set(name, replicas, "").replace("image: 'web:1'", &format!("image: 'web:1', resources: {{{resources}}}"))
}

/// The StatefulSet with this in the spec of its pods.
fn with(name: &str, replicas: i32, spec: &str) -> String {
    set(name, replicas, "")
        .replace("terminationGracePeriodSeconds: 1", &format!("terminationGracePeriodSeconds: 1, {spec}"))
}

/// A quota, once its use is counted.
fn quota(ns: &Namespace, hard: &str) {
    ns.apply(&format!(
        "{{apiVersion: v1, kind: ResourceQuota, metadata: {{name: team}}, spec: {{hard: {{{hard}}}}}}}"
    ));
    ns.wait("the quota to be counted", support::PATIENCE, || {
        let quota = ns.kubectl_json(&["get", "resourcequota", "team"]);
        if quota["status"]["used"].is_object() { Ok(()) } else { Err(quota.to_string()) }
    });
}

/// The finding ends, and all replicas are there.
fn ends(ns: &Namespace, name: &str, replicas: u64) {
    ns.wait_rolled_out(name, replicas);
    finds(ns, &[]);
}

#[test]
fn a_quota_without_room_is_raised_by_what_is_missing() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("refused-quota");
    ns.kubectl(&["run", "guest", "--image=guest:1"]).ok();
    quota(&ns, "pods: '2'");
    ns.apply(&set("web", 3, ""));
    let found = finding(&ns, "STS411", "web-1");
    says(
        &found,
        &[
            "exceeded quota: team",
            "pods is at 2 of 2",
            "pod guest (1)",
            "StatefulSet web (1)",
            "2 missing pods need",
        ],
    );
    paste(&ns, &found["try"]);
    ends(&ns, "web", 3);
    assert_eq!(ns.kubectl_json(&["get", "quota", "team"])["spec"]["hard"]["pods"], "4");
}

#[test]
fn a_quota_that_requires_limits_is_not_raised() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("refused-limits");
    quota(&ns, "limits.cpu: '10', requests.memory: 10Gi");
    ns.apply(&set("web", 2, ""));
    let found = finding(&ns, "STS411", "web-0");
    says(&found, &["failed quota: team", "raising it changes nothing", "resources.limits.cpu of web"]);
    paste(&ns, &found["try"]);
    ends(&ns, "web", 2);
    // The other way: defaults for the namespace.
    ns.apply(&set("other", 1, ""));
    let found = finding(&ns, "STS411", "other-0");
    paste(&ns, &found["or"]);
    // The controller tries again by itself, after a delay that grows.
    ns.kubectl(&["annotate", "sts", "other", "try=again"]).ok();
    ends(&ns, "other", 1);
}

#[test]
fn values_within_a_limit_range_are_set() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("refused-range");
    ns.apply(
        "{apiVersion: v1, kind: LimitRange, metadata: {name: small}, spec: {limits: [{type: Container, max: {cpu: '1'}, \
         min: {memory: 64Mi}, default: {cpu: 500m, memory: 128Mi}}, {type: PersistentVolumeClaim, max: {storage: 1Gi}}]}}",
    );
    ns.apply(&asking("web", 2, "limits: {cpu: '2', memory: 32Mi}"));
    let found = finding(&ns, "STS411", "web-0");
    says(&found, &["LimitRange small allows at most 1 cpu per Container", "requires at least 64Mi memory"]);
    paste(&ns, &found["try"]);
    ends(&ns, "web", 2);
    // A request above the limit that it adds.
    ns.apply(&asking("above", 1, "requests: {memory: 256Mi}"));
    let found = finding(&ns, "STS411", "above-0");
    says(&found, &["requests 256Mi memory and has no limit"]);
    paste(&ns, &found["try"]);
    ends(&ns, "above", 1);
    // A PVC cannot be changed in the template.
    let class = cluster.storage_class("range", support::Binding::Immediate, false);
    ns.apply(&set(
        "db",
        1,
        &format!(
            "volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{accessModes: [ReadWriteOnce], storageClassName: \
             {class}, resources: {{requests: {{storage: 2Gi}}}}}}}}],"
        ),
    ));
    let found = finding(&ns, "STS411", "db-0");
    says(&found, &["allows at most 1Gi storage per PersistentVolumeClaim"]);
    paste(&ns, &found["try"]);
    ends(&ns, "db", 1);
}

#[test]
fn pod_security_names_the_fields_and_the_level() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("refused-security");
    ns.kubectl(&["label", "namespace", &ns.name, "pod-security.kubernetes.io/enforce=restricted"]).ok();
    ns.apply(&set("web", 2, ""));
    let found = finding(&ns, "STS411", "web-0");
    says(&found, &["level restricted", "runAsNonRoot=true", "seccompProfile.type=RuntimeDefault"]);
    assert!(found["or"][0].as_str().unwrap().contains("enforce=baseline"), "{found}");
    paste(&ns, &found["try"]);
    ends(&ns, "web", 2);
    // What the application asks for is not taken away by a command.
    ns.apply(&with("agent", 1, "hostNetwork: true"));
    let found = finding(&ns, "STS411", "agent-0");
    says(&found, &["host namespaces"]);
    paste(&ns, &found["try"]);
    ends(&ns, "agent", 1);
}

#[test]
fn an_object_that_the_template_names_is_created_or_the_update_taken_back() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("refused-missing");
    let class = ns.name.clone();
    ns.apply(&set("web", 2, ""));
    ns.wait_ready("web", 2);
    ns.patch("sts/web", &json!({"spec": {"template": {"spec": {"priorityClassName": class}}}}));
    let found = finding(&ns, "STS411", "web-1");
    says(&found, &["no PriorityClass with name", "spec.template.spec.priorityClassName names PriorityClass"]);
    assert!(found["try"][0].as_str().unwrap().starts_with("kubectl sts undo web "), "{found}");
    assert!(found["or"].to_string().contains("kubectl create priorityclass"), "{found}");
    paste(&ns, &found["try"]);
    ends(&ns, "web", 2);
    // Nothing came before these.
    for (name, field, object) in [
        ("prio", "priorityClassName", "PriorityClass"),
        ("account", "serviceAccountName", "ServiceAccount"),
        ("runtime", "runtimeClassName", "RuntimeClass"),
    ] {
        ns.apply(&with(name, 1, &format!("{field}: {class}")));
        let found = finding(&ns, "STS411", &format!("{name}-0"));
        says(&found, &[&format!("names {object} {class}, which does not exist")]);
        paste(&ns, &found["try"]);
        if object != "RuntimeClass" {
            ns.kubectl(&["annotate", "sts", name, "try=again"]).ok();
        }
        ends(&ns, name, 1);
    }
    cluster.kubectl(&["delete", "priorityclass", &class]).ok();
}

/// A webhook for the pods of this namespace, behind a Service that is not there, or behind nothing.
fn webhook(ns: &Namespace, kind: &str, service: &str) {
    let name = &ns.name;
    ns.apply(&format!(
        "{{apiVersion: admissionregistration.k8s.io/v1, kind: {kind}, metadata: {{name: {name}}}, webhooks: [{{name: \
         pods.example.com, sideEffects: None, admissionReviewVersions: [v1], timeoutSeconds: 2, failurePolicy: Fail, clientConfig: \
         {{service: {{namespace: {name}, name: {service}}}}}, namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: \
         {name}}}}}, rules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}}]}}]}}"
    ));
    ns.wait("the webhook to be asked", support::PATIENCE, || {
        let run = ns.kubectl(&["run", "x", "--image=x", "--dry-run=server"]);
        if run.stderr.contains("failed calling webhook") { Ok(()) } else { Err(run.to_string()) }
    });
}

#[test]
fn a_webhook_that_does_not_answer_is_named_with_its_configuration() {
    let Some(cluster) = support::cluster() else { return };
    for (kind, service, command) in [
        ("ValidatingWebhookConfiguration", "gone", "kubectl patch validatingwebhookconfiguration "),
        ("MutatingWebhookConfiguration", "idle", "kubectl patch mutatingwebhookconfiguration "),
    ] {
        let ns = cluster.namespace("refused-webhook");
        ns.apply("{apiVersion: v1, kind: Service, metadata: {name: idle}, spec: {selector: {app: idle}, ports: [{port: 443}]}}");
        webhook(&ns, kind, service);
        ns.apply(&set("web", 1, ""));
        let found = finding(&ns, "STS411", "web-0");
        let of =
            format!("webhook pods.example.com of {kind} {} (failurePolicy Fail) does not answer", ns.name);
        says(
            &found,
            &["failed calling webhook", &of, &format!("Service {service} in namespace {}", ns.name)],
        );
        assert!(found["try"][0].as_str().unwrap().starts_with(command), "{found}");
        let removes = found["or"][0].as_str().is_some_and(|line| line.starts_with("kubectl delete "));
        assert_eq!(removes, service == "gone", "{found}");
        paste(&ns, &found["try"]);
        ends(&ns, "web", 1);
        cluster.kubectl(&["delete", &kind.to_lowercase(), &ns.name, "--ignore-not-found"]).ok();
    }
}

#[test]
fn a_pod_that_lost_its_label_gets_it_back() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("refused-label");
    ns.apply(&set("web", 2, ""));
    ns.apply(&set("cut", 1, ""));
    ns.wait_ready("web", 2);
    ns.wait_ready("cut", 1);
    let before = crate::recover::uids(&ns);
    ns.kubectl(&["label", "pod", "web-1", "app=debug", "--overwrite"]).ok();
    ns.kubectl(&["label", "pod", "cut-0", "app-"]).ok();
    let found = finding(&ns, "STS410", "web-1");
    says(&found, &["its label app is debug and not web"]);
    assert!(
        found["try"][0].as_str().unwrap().starts_with("kubectl label pod web-1 app=web --overwrite "),
        "{found}"
    );
    paste(&ns, &found["try"]);
    let found = finding(&ns, "STS410", "cut-0");
    says(&found, &["it lacks the label app=cut"]);
    paste(&ns, &found["try"]);
    ns.wait_ready("web", 2);
    ns.wait_ready("cut", 1);
    finds(&ns, &[]);
    assert_eq!(crate::recover::uids(&ns), before);
    // One that was never a replica is deleted.
    ns.kubectl(&["run", "made-0", "--image=made:1"]).ok();
    ns.apply(&set("made", 1, ""));
    let found = finding(&ns, "STS410", "made-0");
    paste(&ns, &found["try"]);
    ends(&ns, "made", 1);
}
