//! Readiness gates that stay closed: who sets the condition, and how to do without it.

use serde_json::json;

use super::creations::patch_template;
use super::pods::Group;
use super::prelude::*;
use crate::messages::clipped;

/// Controllers that set the conditions of readiness gates, by the start of their names.
const SETTERS: [(&str, &str); 6] = [
    // kubernetes-sigs/aws-load-balancer-controller, docs/deploy/pod_readiness_gate.md
    (AWS, "aws-load-balancer-controller"),
    ("target-health.alb.ingress.k8s.aws/", "aws-alb-ingress-controller"),
    // kubernetes/ingress-gce, pkg/neg/types/shared/types.go:NegReadinessGate
    ("cloud.google.com/load-balancer-neg-ready", "the NEG controller of GKE (kubernetes/ingress-gce)"),
    // openkruise/kruise, apis/apps/pub/pod_readiness.go and inplace_update.go
    ("KruisePodReady", "kruise-controller-manager (OpenKruise)"),
    ("InPlaceUpdateReady", "kruise-controller-manager (OpenKruise)"),
    // kubernetes/cloud-provider-alibaba-cloud, docs/getting-started.md
    ("service.readiness.alibabacloud.com/", "the cloud controller manager of Alibaba Cloud"),
];

const AWS: &str = "target-health.elbv2.k8s.aws/";

/// Says of pods whose containers are ready what keeps this gate closed, and how it opens.
pub(super) fn closed(snapshot: &Snapshot<'_>, group: &Group<'_>, gate: &str, finding: Finding) -> Finding {
    let (set, at) = (snapshot.set, home(snapshot));
    let pod = group.first().pod;
    let condition = pod.condition(gate);
    let state = match condition {
        None => format!("the pod has no condition {gate}, which its readiness gate requires"),
        Some(condition) => {
            let said = [condition.reason.as_str(), condition.message.as_str()];
            let said = said.iter().filter(|said| !said.is_empty()).map(|said| format!(": {}", clipped(said)));
            format!(
                "the condition {gate} of its readiness gate is {}{}",
                condition.status,
                said.collect::<String>()
            )
        }
    };
    let setter = SETTERS.iter().find(|(start, _)| gate.starts_with(start)).map(|(_, setter)| *setter);
    let setter = setter.map_or_else(|| of_domain(gate), str::to_owned);
    // A controller that has set it is there, and says what it waits for.
    let is_set = condition.is_some();
    let template = &set.spec.template.spec;
    let is_own = template.readiness_gates.iter().any(|own| own.condition_type == gate);
    let left: Vec<_> = (template.readiness_gates.iter())
        .filter(|own| own.condition_type != gate)
        .map(|own| json!({"conditionType": own.condition_type}))
        .collect();
    let without = if is_own {
        let left = if left.is_empty() { json!(null) } else { json!(left) };
        group.reached_by(snapshot, patch_template(snapshot, &json!({"readinessGates": left})))
    } else if gate.starts_with(AWS) {
        let pods = group.iter().map(|case| case.pod.metadata.name.as_str());
        let label = kubectl("label namespace").name(at).with("elbv2.k8s.aws/pod-readiness-gate-inject-");
        Some(label.and(kubectl("delete pod").names(pods).namespace(at)))
    } else {
        None
    };
    let does_without = match (is_own, &without) {
        (true, Some(_)) => format!(", or remove {gate} from readinessGates in the pod template"),
        (false, Some(_)) => format!(
            ", or create the pods without it: its webhook adds it to pods of namespaces with the label \
             elbv2.k8s.aws/pod-readiness-gate-inject (of {at})"
        ),
        _ => String::new(),
    };
    let needed = if is_set {
        format!("{setter} sets it: correct what it says{does_without}")
    } else {
        format!("{setter} must set it, and has not: install or start it{does_without}")
    };
    let finding = finding
        .because(format!("all containers are ready, but {state}; {}; {needed}", group.unready(snapshot)));
    if is_set {
        return without.into_iter().fold(finding.remedy(group.describe(snapshot)), Finding::instead);
    }
    let open = opened(group, gate, at);
    match without {
        Some(without) => finding.remedy(without).instead(open),
        None => {
            let because =
                format!("{}; the command sets it by hand, for as long as this pod exists", finding.because);
            finding.because(because).remedy(open)
        }
    }
}

/// Sets the condition of the pods by hand, which lasts as long as they do.
fn opened(group: &Group<'_>, gate: &str, at: &str) -> Command {
    let patch = json!({"status": {"conditions": [{"type": gate, "status": "True"}]}});
    let open =
        |name: &str| kubectl("patch pod").name(name).with("--subresource=status").patch(&patch).namespace(at);
    let mut all = group.iter().map(|case| open(&case.pod.metadata.name));
    let first = all.next().unwrap_or_else(|| open(group.pod()));
    all.fold(first, Command::and)
}

/// What is known of the controller that sets it.
fn of_domain(gate: &str) -> String {
    match gate.split_once('/') {
        Some((domain, _)) => format!("the controller of {domain}"),
        None => "the controller for which the gate was added".to_owned(),
    }
}
