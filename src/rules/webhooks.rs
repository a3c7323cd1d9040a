//! Admission webhooks and policies that refuse what a controller asks for: how they come to allow it.

use serde_json::{Value, json};

use super::creations::{Way, retry};
use super::prelude::*;
use crate::messages::admission;
use crate::paste::tool;
use crate::snapshot::owner::managed_by;

/// A webhook of a configuration.
struct Configured<'a> {
    resource: &'static str,
    kind: &'static str,
    configuration: &'a str,
    meta: &'a Meta,
    selector: Option<&'a LabelSelector>,
    index: usize,
    policy: &'a str,
    /// Whether the configuration has no other webhook.
    is_alone: bool,
}

impl Configured<'_> {
    fn said(&self) -> String {
        format!("{} {}", self.kind, self.configuration)
    }
}

/// The configuration that has this webhook.
fn configured<'a>(snapshot: &Snapshot<'a>, webhook: &str) -> Option<Configured<'a>> {
    fn of<'a>(
        [resource, kind]: [&'static str; 2],
        meta: &'a Meta,
        webhooks: &'a [Webhook],
        name: &str,
    ) -> Option<Configured<'a>> {
        let index = webhooks.iter().position(|webhook| webhook.name == name)?;
        let policy = webhooks[index].failure_policy.as_str();
        let selector = webhooks[index].namespace_selector.as_ref();
        let (configuration, is_alone) = (meta.name.as_str(), webhooks.len() == 1);
        Some(Configured { resource, kind, configuration, meta, selector, index, policy, is_alone })
    }
    let validating = snapshot.validating_webhooks().unwrap_or_default().iter().find_map(|it| {
        let kind = ["validatingwebhookconfiguration", "ValidatingWebhookConfiguration"];
        of(kind, &it.metadata, &it.webhooks, webhook)
    });
    validating.or_else(|| {
        snapshot.mutating_webhooks().unwrap_or_default().iter().find_map(|it| {
            let kind = ["mutatingwebhookconfiguration", "MutatingWebhookConfiguration"];
            of(kind, &it.metadata, &it.webhooks, webhook)
        })
    })
}

/// A webhook that cannot be asked: no pod can be created until it answers, or is not asked.
pub(super) fn is_down(snapshot: &Snapshot<'_>, said: &str, webhook: &str) -> Way {
    let configured = configured(snapshot, webhook);
    let of = configured.as_ref().map_or(String::new(), |it| {
        let policy = if it.policy.is_empty() { "Fail" } else { it.policy };
        format!(" of {} (failurePolicy {policy})", it.said())
    });
    let service = admission::webhook_service(said);
    let behind = match service {
        Some((namespace, service)) if admission::lacks_webhook_service(said) => {
            format!(
                "its Service {service} in namespace {namespace} does not exist: install its program again, or do not require its answer"
            )
        }
        Some((namespace, service)) => format!(
            "start the pods behind Service {service} in namespace {namespace}, or do not require its answer"
        ),
        None => "start the program behind it, or do not require its answer".to_owned(),
    };
    let way = Way::because(format!("webhook {webhook}{of} does not answer; {behind}"));
    let way = Way { is_whatever_the_template: true, ..way };
    let pods = service.map(|(namespace, service)| {
        kubectl("get endpointslices -l").joined("kubernetes.io/service-name=", service).namespace(namespace)
    });
    let Some(Configured { resource, configuration, index, is_alone, .. }) = configured else {
        // Which configuration has it may not be read.
        let find = kubectl("get validatingwebhookconfigurations,mutatingwebhookconfigurations -o")
            .own("custom-columns=KIND:.kind,NAME:.metadata.name,WEBHOOKS:.webhooks[*].name");
        return way.step(pods.unwrap_or(find));
    };
    // By then another webhook may have this place.
    let ignore = json!([
        {"op": "test", "path": format!("/webhooks/{index}/name"), "value": webhook},
        {"op": "replace", "path": format!("/webhooks/{index}/failurePolicy"), "value": "Ignore"},
    ]);
    let ignore = kubectl("patch").with(resource).name(configuration).with("--type=json").patch(&ignore);
    let way = way.step(ignore).step(retry(snapshot));
    if is_alone && admission::lacks_webhook_service(said) {
        way.or(kubectl("delete").with(resource).name(configuration))
    } else {
        way
    }
}

/// The label by which a selector can name a namespace: the API server sets it on each.
const NAMESPACE: &str = "kubernetes.io/metadata.name";

/// The same selector, without this namespace.
fn excluding(selector: Option<&LabelSelector>, namespace: &str) -> Value {
    let selector = selector.cloned().unwrap_or_default();
    let mut terms: Vec<Value> = (selector.match_expressions.iter())
        .map(|term| match term.values.as_slice() {
            [] => json!({"key": term.key, "operator": term.operator}),
            values => json!({"key": term.key, "operator": term.operator, "values": values}),
        })
        .collect();
    terms.push(json!({"key": NAMESPACE, "operator": "NotIn", "values": [namespace]}));
    let mut value = json!({"matchExpressions": terms});
    if !selector.match_labels.is_empty() {
        value["matchLabels"] = json!(selector.match_labels);
    }
    value
}

/// The command that takes the namespace out of what a binding applies to. Without a view of the binding it could overwrite
/// what the binding selects: then it warns instead of denying.
fn exempt_from_policy(snapshot: &Snapshot<'_>, binding: &str) -> (String, Command) {
    let at = home(snapshot);
    let known = snapshot.policy_bindings().unwrap_or_default();
    let known = known.iter().find(|it| it.metadata.name == binding);
    let patch = kubectl("patch validatingadmissionpolicybinding").name(binding).with("--type=merge");
    match known {
        Some(known) => {
            let selector = known.spec.match_resources.as_ref().and_then(|it| it.namespace_selector.as_ref());
            let spec = json!({"spec": {"matchResources": {"namespaceSelector": excluding(selector, at)}}});
            (
                format!(
                    "exclude namespace {at} in spec.matchResources of ValidatingAdmissionPolicyBinding {binding}{}",
                    kept(&known.metadata)
                ),
                patch.patch(&spec),
            )
        }
        None => (
            format!(
                "set validationActions of ValidatingAdmissionPolicyBinding {binding} to [Warn], with which it denies nothing in any namespace"
            ),
            patch.patch(&json!({"spec": {"validationActions": ["Warn"]}})),
        ),
    }
}

/// The same for a webhook; `None` where its configuration is not known.
fn exempt_from_webhook(snapshot: &Snapshot<'_>, webhook: &str) -> Option<(String, Command)> {
    let at = home(snapshot);
    let it = configured(snapshot, webhook)?;
    // By then another webhook may have this place.
    let patch = json!([
        {"op": "test", "path": format!("/webhooks/{}/name", it.index), "value": webhook},
        {"op": "add", "path": format!("/webhooks/{}/namespaceSelector", it.index), "value": excluding(it.selector, at)},
    ]);
    let why = format!("exclude namespace {at} in its namespaceSelector in {}{}", it.said(), kept(it.meta));
    let command = kubectl("patch").with(it.resource).name(it.configuration).with("--type=json").patch(&patch);
    Some((why, command))
}

/// Who may put the object back as it was.
fn kept(meta: &Meta) -> String {
    let managers = managed_by(meta);
    let names: Vec<&str> = managers.iter().map(|manager| manager.name.as_str()).collect();
    if names.is_empty() {
        return String::new();
    }
    format!(" ({} manages it and may revert that: change it there too)", words::list(&names, 2))
}

/// A policy that denies pods.
pub(super) fn policy_denies(snapshot: &Snapshot<'_>, policy: &str, binding: &str) -> Way {
    let (exempt, command) = exempt_from_policy(snapshot, binding);
    let set = &snapshot.set.metadata;
    let way = Way::because(format!(
        "change the pod template to what ValidatingAdmissionPolicy {policy} says, or, if these pods may be as they are, {exempt}"
    ));
    let edit = kubectl("edit statefulset").name(&set.name).namespace(&set.namespace);
    let exempt = then_retry(snapshot, command);
    // Nobody gives up a policy for the whole cluster first.
    let is_known =
        snapshot.policy_bindings().is_ok_and(|all| all.iter().any(|it| it.metadata.name == binding));
    if is_known { way.step(exempt).or(edit) } else { way.step(edit).or(exempt) }
}

/// A webhook that denies pods.
pub(super) fn denies(snapshot: &Snapshot<'_>, webhook: &str) -> Way {
    let set = &snapshot.set.metadata;
    let edit = kubectl("edit statefulset").name(&set.name).namespace(&set.namespace);
    let Some((exempt, command)) = exempt_from_webhook(snapshot, webhook) else {
        return Way::because(format!(
            "webhook {webhook} decides what pods must be like: change the pod template to what it says, or the rule it quotes"
        ))
        .step(edit);
    };
    Way::because(format!(
        "change the pod template to what webhook {webhook} says, or the rule it quotes, or, if these pods may be as they are, {exempt}"
    ))
    .step(then_retry(snapshot, command))
    .or(edit)
}

/// The same with a try of the controller after it. API servers look at policies once a second
/// (`admission/plugin/policy/generic/policy_source.go`), and a try before that would be refused again.
fn then_retry(snapshot: &Snapshot<'_>, command: Command) -> Command {
    command.and(tool("sleep 5")).and(retry(snapshot))
}

/// What allows a request again that a webhook or policy refuses, in words and as commands, the last of which lets the
/// controller try again if that is wanted; `None` for others.
pub(super) fn lifted(snapshot: &Snapshot<'_>, said: &str, retries: bool) -> Option<(String, Vec<Command>)> {
    let (words, command) = match admission::refuser(said) {
        admission::Refuser::Policy { binding, .. } => exempt_from_policy(snapshot, binding),
        admission::Refuser::Webhook(webhook) => exempt_from_webhook(snapshot, webhook)?,
        admission::Refuser::WebhookDown(webhook) => {
            let way = is_down(snapshot, said, webhook);
            let steps = way.steps.into_iter().take(if retries { usize::MAX } else { 1 });
            return Some((format!("; {}", way.why), steps.collect()));
        }
        _ => return None,
    };
    let command = if retries { then_retry(snapshot, command) } else { command };
    Some((format!("; if it may be allowed, {words}"), vec![command]))
}
