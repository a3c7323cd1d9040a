//! Disruption budgets that refuse every eviction of the pods, so that a node with one of them can never be drained.
//!
//! The rollout is another matter: the controller deletes pods, and a deletion asks no budget.

use serde_json::json;

use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS313",
    name: "budget-blocks-all",
    severity: Severity::Warning,
    stuck_from: None,
    page: include_str!("../../docs/rules/budget-blocks-all.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    if set.metadata.is_terminating() || set.replicas() == 0 {
        return Ok(Vec::new());
    }
    let pods: Vec<&Pod> = (snapshot.replicas()?.iter().filter_map(|replica| replica.pod))
        .filter(|pod| !pod.metadata.is_terminating() && !pod.is_finished())
        .collect();
    let budgets: Vec<&PodDisruptionBudget> =
        snapshot.budgets()?.iter().copied().filter(|budget| !budget.metadata.is_terminating()).collect();
    let mut found: Vec<Finding> = several(snapshot, &pods, &budgets).into_iter().collect();
    // What those commands take the pods from does not have to allow anything.
    let is_left = |budget: &PodDisruptionBudget| {
        let mut taken = found.iter().flat_map(|finding| &finding.also);
        !taken.any(|taken| taken.name == budget.metadata.name)
    };
    let left: Vec<&PodDisruptionBudget> = budgets.into_iter().filter(|budget| is_left(budget)).collect();
    for budget in left.into_iter().filter(|budget| budget.never_allows(set.replicas())) {
        found.extend(never(snapshot, &pods, budget));
    }
    Ok(found)
}

/// The pods that a budget selects; without pods, whether it selects those of the template.
fn selected<'a>(budget: &PodDisruptionBudget, pods: &[&'a Pod]) -> Vec<&'a str> {
    let pods = pods.iter().filter(|pod| budget.selects(&pod.metadata.labels));
    pods.map(|pod| pod.metadata.name.as_str()).collect()
}

/// How many pods of the namespace a budget selects that are not among these.
fn others(snapshot: &Snapshot<'_>, budget: &PodDisruptionBudget, own: &[&Pod]) -> usize {
    let is_own = |pod: &Pod| own.iter().any(|own| own.metadata.name == pod.metadata.name);
    let all = snapshot.pods().unwrap_or_default().iter();
    all.filter(|pod| !is_own(pod) && budget.selects(&pod.metadata.labels)).count()
}

/// A budget that allows no disruption, however healthy all pods are.
fn never(snapshot: &Snapshot<'_>, pods: &[&Pod], budget: &PodDisruptionBudget) -> Option<Finding> {
    let set = snapshot.set;
    let (name, of) = (&budget.metadata.name, &set.metadata.name);
    let names = selected(budget, pods);
    if names.is_empty() && !(pods.is_empty() && budget.selects(&set.spec.template.metadata.labels)) {
        return None;
    }
    let spec = &budget.spec;
    let demand = match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => format!("maxUnavailable is {most}"),
        (None, Some(least)) => {
            let expected = budget.status.expected_pods.max(set.replicas());
            format!("minAvailable is {least} of {}", words::count(expected, "pod"))
        }
        (None, None) => return None,
    };
    let more = match others(snapshot, budget, pods) {
        0 => String::new(),
        number => format!("; it also selects {} that {of} does not own", words::count(number, "pod")),
    };
    // A node that is to be emptied waits for it now.
    let cordoned = cordoned(snapshot, pods, budget);
    let now = match &cordoned {
        Some(node) => format!("node {node} is cordoned, and a drain of it waits"),
        None => "a drain of a node with such a pod waits indefinitely".to_owned(),
    };
    let allow = json!({"spec": {"minAvailable": null, "maxUnavailable": 1}});
    let finding = RULE
        .about(
            Kind::PodDisruptionBudget,
            name,
            format!("PodDisruptionBudget {name} allows no eviction of the pods of {of}"),
        )
        .because(format!(
            "{demand}, so every eviction is refused, also while all pods are healthy; {now}; updates of {of} are not \
             affected{more}"
        ))
        .remedy(
            kubectl("patch pdb").name(name).namespace(home(snapshot)).with("--type=merge").patch(&allow),
        );
    Some(if cordoned.is_some() { finding } else { finding.only(Severity::Note) })
}

/// The cordoned node of a pod that the budget selects.
fn cordoned(snapshot: &Snapshot<'_>, pods: &[&Pod], budget: &PodDisruptionBudget) -> Option<String> {
    let on = pods.iter().filter(|pod| budget.selects(&pod.metadata.labels));
    let nodes = on.filter_map(|pod| snapshot.node(&pod.spec.node_name).ok().flatten());
    nodes.into_iter().find(|node| node.spec.unschedulable).map(|node| node.metadata.name.clone())
}

/// Two budgets for one pod: the API server refuses every eviction of it, whatever the budgets say
/// (`registry/core/pod/storage/eviction.go:Create`: "This pod has more than one `PodDisruptionBudget`, which the eviction
/// subresource does not support.").
fn several(snapshot: &Snapshot<'_>, pods: &[&Pod], budgets: &[&PodDisruptionBudget]) -> Option<Finding> {
    let set = snapshot.set;
    let of = &set.metadata.name;
    let template = &set.spec.template.metadata.labels;
    let on = |labels: &Map| -> Vec<&PodDisruptionBudget> {
        budgets.iter().copied().filter(|budget| budget.selects(labels)).collect()
    };
    let (names, mut all) = if pods.is_empty() {
        (Vec::new(), on(template))
    } else {
        let twice: Vec<&&Pod> = pods.iter().filter(|pod| on(&pod.metadata.labels).len() > 1).collect();
        let names: Vec<&str> = twice.iter().map(|pod| pod.metadata.name.as_str()).collect();
        (names, twice.first().map(|pod| on(&pod.metadata.labels)).unwrap_or_default())
    };
    if all.len() < 2 {
        return None;
    }
    // What is left over is the one that is for these pods alone, and lets one of them go.
    all.sort_by_key(|budget| {
        (
            budget.never_allows(set.replicas()),
            others(snapshot, budget, pods) > 0,
            budget.metadata.creation_timestamp,
            &budget.metadata.name,
        )
    });
    let kept = &all[0].metadata.name;
    let each: Vec<&str> = all.iter().map(|budget| budget.metadata.name.as_str()).collect();
    let which = if names.is_empty() { format!("the pods of {of}") } else { words::list(&names, 3) };
    let finding = RULE
        .about(
            Kind::PodDisruptionBudget,
            kept,
            format!("PodDisruptionBudgets {} select the same pods of {of}", words::list(&each, 3)),
        )
        .because(format!(
            "every eviction of {which} is refused, because the eviction API supports only one PodDisruptionBudget for each \
             pod; a drain of their nodes waits indefinitely; updates of {of} are not affected; the commands leave {kept} in \
             force for these pods"
        ));
    let finding = all[1..].iter().fold(finding, |finding, budget| {
        let without = excluding(snapshot, budget, others(snapshot, budget, pods) > 0);
        finding.also(Kind::PodDisruptionBudget, &budget.metadata.name).remedy(without)
    });
    Some(if names.is_empty() { finding.only(Severity::Note) } else { finding })
}

/// Takes the pods of the StatefulSet out of a budget; one that is for no other pods goes as a whole.
fn excluding(snapshot: &Snapshot<'_>, budget: &PodDisruptionBudget, has_others: bool) -> Command {
    let (set, name, at) = (snapshot.set, &budget.metadata.name, home(snapshot));
    let selector = budget.spec.selector.clone().unwrap_or_default();
    let mut labels = set.spec.selector.match_labels.iter();
    // With a label that it asks for itself it would select nothing any more.
    let label = labels.find(|(key, _)| {
        !selector.match_labels.contains_key(*key)
            && !selector.match_expressions.iter().any(|term| term.key == **key)
    });
    let Some((key, value)) = label.filter(|_| has_others) else {
        return kubectl("delete pdb").name(name).namespace(at);
    };
    let mut terms: Vec<serde_json::Value> = (selector.match_expressions.iter())
        .map(|term| json!({"key": term.key, "operator": term.operator, "values": term.values}))
        .collect();
    terms.push(json!({"key": key, "operator": "NotIn", "values": [value]}));
    let patch = json!({"spec": {"selector": {"matchExpressions": terms}}});
    kubectl("patch pdb").name(name).namespace(at).with("--type=merge").patch(&patch)
}
