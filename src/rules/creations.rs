//! What ends a refusal to create a pod, by what refuses it: a change named with its object, field and value.

use std::collections::BTreeMap;

use serde_json::{Map as Json, Value, json};

use super::prelude::*;
use super::{amounts, limits, security, webhooks};
use crate::controller;
use crate::messages::admission::{self, Refuser, refuser};
use crate::messages::quota::{Demand, Exceeded, Lack};
use crate::paste::echo;
use crate::snapshot::{Refused, Replica};

/// How a refusal ends.
#[derive(Default)]
pub(super) struct Way {
    /// What the words mean, and what to change; empty where the words say it all.
    pub why: String,
    /// Commands that end it, in order.
    pub steps: Vec<Command>,
    /// Other commands, each of which ends it alone.
    pub instead: Vec<Command>,
    /// Whether the pods of the earlier template are refused as well.
    pub is_whatever_the_template: bool,
}

impl Way {
    pub(super) fn because(why: impl Into<String>) -> Way {
        Way { why: why.into(), ..Way::default() }
    }

    #[must_use]
    pub(super) fn step(mut self, command: Command) -> Way {
        self.steps.push(command);
        self
    }

    #[must_use]
    pub(super) fn or(mut self, command: Command) -> Way {
        self.instead.push(command);
        self
    }
}

/// The way forward for a replica whose pod was refused.
pub(super) fn forward(snapshot: &Snapshot<'_>, refused: &Refused<'_>, replica: &Replica<'_>) -> Way {
    let said = refused.said;
    let at = home(snapshot);
    let name = &snapshot.set.metadata.name;
    let way = match refuser(said) {
        Refuser::Quota(exceeded) => quota(snapshot, &exceeded, replica),
        Refuser::QuotaDemand(demand) => demanded(snapshot, &demand),
        Refuser::QuotaScope(class) => scope(snapshot, class),
        Refuser::OtherQuota => Way::default().step(kubectl("describe resourcequotas").namespace(at)),
        Refuser::LimitRange(bounds) => limits::way(snapshot, &bounds),
        Refuser::PodSecurity(controls) => security::way(snapshot, said, &controls),
        Refuser::Policy { policy, binding } => webhooks::policy_denies(snapshot, policy, binding),
        Refuser::Webhook(webhook) => webhooks::denies(snapshot, webhook),
        Refuser::WebhookDown(webhook) => webhooks::is_down(snapshot, said, webhook),
        Refuser::ServiceAccount(account) => missing_object(snapshot, "ServiceAccount", account, "serviceAccountName")
            .step(kubectl("create serviceaccount").name(account).namespace(at)),
        Refuser::PriorityClass(class) => {
            let way = missing_object(snapshot, "PriorityClass", class, "priorityClassName");
            Way { why: format!("{}; its value ranks the pods against others and cannot be changed later", way.why), ..way }
                .step(kubectl("create priorityclass").name(class).with("--value=0"))
        }
        Refuser::RuntimeClass(class) => missing_object(snapshot, "RuntimeClass", class, "runtimeClassName")
            .step(without(snapshot, "runtimeClassName")),
        Refuser::Invalid(field) => invalid(snapshot, said, field),
        Refuser::Namespace => Way::because(format!(
            "namespace {at} is being deleted, and nothing can be created in it; its status.conditions say what its \
             deletion waits for"
        ))
        .step(kubectl("get namespace").name(at).with("-o").own("jsonpath={.status.conditions}")),
        Refuser::Other => Way::default().step(kubectl("describe statefulset").name(name).namespace(at)),
    };
    let depends = way.is_whatever_the_template || refused.is_whatever_the_template();
    Way { is_whatever_the_template: depends && !was_smaller(snapshot, said), ..way }
}

/// Makes the controller try again now. It tries at every change of the StatefulSet, and else after up to 17 minutes
/// (`DefaultTypedControllerRateLimiter`).
pub(super) fn retry(snapshot: &Snapshot<'_>) -> Command {
    let set = &snapshot.set.metadata;
    let now = snapshot.taken_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    kubectl("annotate statefulset")
        .name(&set.name)
        .joined("kubectl-sts/retry=", now)
        .with("--overwrite")
        .namespace(&set.namespace)
}

/// A strategic merge patch of the pod template; lists of containers are merged by name.
pub(super) fn patch_template(snapshot: &Snapshot<'_>, spec: &Value) -> Command {
    kubectl("patch statefulset")
        .name(&snapshot.set.metadata.name)
        .namespace(home(snapshot))
        .patch(&json!({"spec": {"template": {"spec": spec}}}))
}

/// The same for containers: what to change of each, init containers too; `None` where one of them is not of the template.
pub(super) fn patch_containers(
    snapshot: &Snapshot<'_>,
    pod: Json<String, Value>,
    each: &BTreeMap<&str, Value>,
) -> Option<Command> {
    let template = &snapshot.set.spec.template.spec;
    let mut spec = pod;
    let mut known = 0;
    // Hand-written files seldom bring the template.
    if template.containers.is_empty() {
        let named = each.iter().map(|(name, change)| {
            let mut change = change.clone();
            change["name"] = json!(name);
            change
        });
        spec.insert("containers".to_owned(), named.collect());
        return Some(patch_template(snapshot, &Value::Object(spec)));
    }
    for (list, containers) in
        [("containers", &template.containers), ("initContainers", &template.init_containers)]
    {
        let changed: Vec<Value> = (containers.iter())
            .filter_map(|container| {
                let mut change = each.get(container.name.as_str())?.clone();
                change.as_object_mut()?.insert("name".to_owned(), json!(container.name));
                Some(change)
            })
            .collect();
        known += changed.len();
        if !changed.is_empty() {
            spec.insert(list.to_owned(), Value::Array(changed));
        }
    }
    (known == each.len()).then(|| patch_template(snapshot, &Value::Object(spec)))
}

/// Takes a field of the pod template away.
fn without(snapshot: &Snapshot<'_>, field: &str) -> Command {
    // The older name of the field would bring the account back (`apis/core/v1/conversion.go`).
    let fields = match field {
        "serviceAccountName" => json!({field: null, "serviceAccount": null}),
        _ => json!({field: null}),
    };
    patch_template(snapshot, &fields)
}

fn missing_object(snapshot: &Snapshot<'_>, kind: &str, name: &str, field: &str) -> Way {
    let way = Way::because(format!("spec.template.spec.{field} names {kind} {name}, which does not exist"));
    match kind {
        "RuntimeClass" => way,
        _ => way.or(without(snapshot, field)),
    }
}

/// A quota without room: raised to what the missing replicas need.
fn quota(snapshot: &Snapshot<'_>, exceeded: &Exceeded<'_>, replica: &Replica<'_>) -> Way {
    let at = home(snapshot);
    if amounts::has_room(snapshot, exceeded.quota, &exceeded.lacking) == Some(true) {
        return Way::because(format!(
            "ResourceQuota {} has room for it now, and the controller tries again within 17 minutes",
            exceeded.quota
        ))
        .step(retry(snapshot));
    }
    let missing =
        snapshot.replicas().unwrap_or_default().iter().filter(|replica| replica.pod.is_none()).count();
    let missing = missing.saturating_add(snapshot.unlisted()).max(1);
    let hard: BTreeMap<&str, String> = (exceeded.lacking.iter())
        .filter_map(|lack| Some((lack.resource, amounts::enough(lack, missing)?.to_string())))
        .collect();
    let each: Vec<String> = (exceeded.lacking.iter())
        .map(|lack| format!("{} is at {} of {}", lack.resource, lack.used, lack.hard))
        .collect();
    let users = exceeded.lacking.first().and_then(|lack| users(snapshot, lack));
    let users = users.map_or(String::new(), |users| format!(", used by {users}"));
    let needs = if missing == 1 {
        format!("{} needs", replica.name)
    } else {
        format!("{} need", words::count(missing, "missing pod"))
    };
    let raise = kubectl("patch resourcequota")
        .name(exceeded.quota)
        .with("--type=merge")
        .patch(&json!({"spec": {"hard": hard}}))
        .namespace(at);
    Way::because(format!(
        "ResourceQuota {}: {}{users}; {needs} room in it",
        exceeded.quota,
        words::list(&each, 3)
    ))
    .step(raise)
    .step(retry(snapshot))
}

/// Who uses most of what the quota counts, among the pods of the namespace.
fn users(snapshot: &Snapshot<'_>, lack: &Lack<'_>) -> Option<String> {
    let counted = matches!(lack.resource, "pods" | "count/pods");
    let resource = lack.resource.strip_prefix("requests.").or(lack.resource.strip_prefix("limits."));
    let resource = resource.unwrap_or(lack.resource);
    if !counted && !["cpu", "memory", "ephemeral-storage"].contains(&resource) {
        return None;
    }
    let limits = lack.resource.starts_with("limits.");
    let mut all: BTreeMap<String, Vec<Quantity>> = BTreeMap::new();
    // Pods that have finished are not counted (`pkg/quota/v1/evaluator/core/pods.go:QuotaV1Pod`).
    for pod in snapshot.pods().ok()?.iter().filter(|pod| !pod.is_finished()) {
        let amount = if counted {
            Quantity::parse("1")
        } else if limits {
            amounts::limited(pod, resource)
        } else {
            amounts::requested(pod, resource)
        };
        let user = match pod.metadata.controller() {
            Some(owner) => format!("{} {}", owner.kind, owner.name),
            None => format!("pod {}", pod.metadata.name),
        };
        if let Some(amount) = amount {
            all.entry(user).or_default().push(amount);
        }
    }
    let sums = all.into_iter().map(|(user, each)| (each.into_iter().sum::<Quantity>(), user));
    let mut sums: Vec<(Quantity, String)> = sums.collect();
    sums.sort_by(|(a, a_user), (b, b_user)| b.cmp(a).then_with(|| a_user.cmp(b_user)));
    let each: Vec<String> =
        sums.iter().map(|(sum, user)| format!("{user} ({})", amounts::natural(resource, *sum))).collect();
    (!each.is_empty()).then(|| words::list(&each, 3))
}

/// A quota that counts what the containers do not state: they must state it, or a LimitRange must for them.
fn demanded(snapshot: &Snapshot<'_>, demand: &Demand<'_>) -> Way {
    let template = &snapshot.set.spec.template.spec;
    let all = || template.containers.iter().chain(&template.init_containers);
    let mut each: BTreeMap<&str, Value> = BTreeMap::new();
    let mut defaults = Json::new();
    for (written, containers) in &demand.missing {
        let (field, resource) = match written.split_once('.') {
            Some(("limits", resource)) => ("limits", resource),
            Some(("requests", resource)) => ("requests", resource),
            _ => ("requests", *written),
        };
        let (value, default) =
            (usual(field, resource), if field == "limits" { "default" } else { "defaultRequest" });
        let list = defaults.entry(default).or_insert_with(|| json!({}));
        list[resource] = json!(value);
        let names: Vec<&str> = match containers.as_slice() {
            [] => all().map(|container| container.name.as_str()).collect(),
            names => names.to_vec(),
        };
        for name in names {
            let own = all().find(|container| container.name == name);
            // A limit below the request is not valid.
            let least = own.and_then(|container| container.resources.requests.get(resource));
            let larger = least.filter(|least| Quantity::parse(least) > Quantity::parse(value));
            let entry = each.entry(name).or_insert_with(|| json!({"resources": {}}));
            entry["resources"][field][resource] = json!(larger.map_or(value, String::as_str));
        }
    }
    defaults.insert("type".to_owned(), json!("Container"));
    let range = json!({
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": format!("defaults-for-{}", demand.quota)},
        "spec": {"limits": [defaults]},
    });
    let range = echo(&range.to_string()).piped_into(kubectl("apply -f -").namespace(home(snapshot)));
    let missing: Vec<String> = (demand.missing.iter())
        .map(|(resource, containers)| match containers.as_slice() {
            [] => format!("resources.{resource}"),
            names => format!("resources.{resource} of {}", words::list(names, 3)),
        })
        .collect();
    let way = Way::because(format!(
        "ResourceQuota {} counts what the pod does not state, so raising it changes nothing: set {} in the pod template to \
         what the application needs, or give the namespace defaults with a LimitRange",
        demand.quota,
        words::list(&missing, 4)
    ));
    match patch_containers(snapshot, Json::new(), &each) {
        Some(patch) => way.step(patch).or(range),
        // The containers come from a webhook.
        None => way.step(range).step(retry(snapshot)),
    }
}

/// A PriorityClass that only namespaces with a quota for it may use.
fn scope(snapshot: &Snapshot<'_>, class: &str) -> Way {
    let quota = json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": class},
        "spec": {
            "hard": {"pods": "1000"},
            "scopeSelector": {"matchExpressions": [
                {"operator": "In", "scopeName": "PriorityClass", "values": [class]},
            ]},
        },
    });
    let create = echo(&quota.to_string()).piped_into(kubectl("apply -f -").namespace(home(snapshot)));
    let way = Way::because(format!(
        "pods of PriorityClass {class} need a ResourceQuota for it in their namespace, and namespace {} has none: create \
         one, or remove priorityClassName from the pod template",
        home(snapshot)
    ));
    way.step(create).step(retry(snapshot)).or(without(snapshot, "priorityClassName"))
}

/// An amount to begin with.
fn usual(field: &str, resource: &str) -> &'static str {
    match (field, resource) {
        ("limits", "cpu") => "1",
        ("limits", "memory") => "1Gi",
        (_, "cpu") => "100m",
        (_, "memory") => "256Mi",
        _ => "1Gi",
    }
}

/// A pod that is not valid.
fn invalid(snapshot: &Snapshot<'_>, said: &str, field: &str) -> Way {
    let set = &snapshot.set.metadata;
    let is_length = admission::is_too_long(said);
    if is_length && ["metadata.labels", "spec.hostname", "metadata.name"].contains(&field) {
        // `<set>-<hash>`: the hash has up to 10 characters.
        return Way {
            is_whatever_the_template: true,
            ..Way::because(format!(
                "the name {} has {} characters, and its pods need one of at most 52: create it again with a shorter \
                 metadata.name, then delete this one",
                set.name,
                set.name.len()
            ))
        }
        // Without its pods: there may be some of a time when it was allowed.
        .step(kubectl("delete statefulset").name(&set.name).with("--cascade=orphan").namespace(&set.namespace));
    }
    if admission::is_about_claim(said) {
        return Way {
            is_whatever_the_template: true,
            ..Way::because(format!(
                "volumeClaimTemplates cannot be changed: correct {field} in the manifest, delete the StatefulSet without its \
                 pods, and apply the manifest"
            ))
        }
        .step(kubectl("delete statefulset").name(&set.name).with("--cascade=orphan").namespace(&set.namespace));
    }
    let containers = &snapshot.set.spec.template.spec.containers;
    let above = admission::above_limit(said).and_then(|(index, resource)| {
        let container = containers.get(index)?;
        let request = container.resources.requests.get(resource)?;
        // Where the template has a limit, the API server says so at once.
        (!container.resources.limits.contains_key(resource)).then_some((container, resource, request))
    });
    if let Some((container, resource, request)) = above {
        let limits = json!({"resources": {"limits": {resource: request}}});
        let patch = patch_containers(snapshot, Json::new(), &[(container.name.as_str(), limits)].into());
        let way = Way::because(format!(
            "container {} requests {request} {resource} and has no limit, so a LimitRange of namespace {} adds one that is \
             lower: set a limit in the pod template",
            container.name, set.namespace
        ));
        return patch.into_iter().fold(way, Way::step);
    }
    Way::because(format!("the pod template of {} must be changed at {field}", set.name))
        .step(kubectl("edit statefulset").name(&set.name).namespace(&set.namespace))
}

/// Whether a quota has no room for the new template, and pods of the revision before ask for less: the way back makes room.
fn was_smaller(snapshot: &Snapshot<'_>, said: &str) -> bool {
    let Some(exceeded) = Exceeded::parse(said) else { return false };
    let current = controller::current_revision(snapshot);
    let pods = snapshot.replicas().unwrap_or_default().iter().filter_map(|replica| replica.pod);
    let Some(before) = pods.into_iter().find(|pod| pod.revision() == current) else { return false };
    exceeded.lacking.iter().all(|lack| {
        let asked = Quantity::parse(lack.asked);
        let had = match lack.resource.split_once('.') {
            Some(("limits", resource)) => amounts::limited(before, resource),
            Some(("requests", resource)) => amounts::requested(before, resource),
            _ if lack.resource == "pods" || lack.resource.starts_with("count/") => return false,
            _ => amounts::requested(before, lack.resource),
        };
        asked > Some(had.unwrap_or_default())
    })
}
