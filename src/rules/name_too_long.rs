//! A name from which the labels of the pods become too long: the API server refuses the pods.
//!
//! The API server takes names of `StatefulSets` of up to 63 characters. Each pod gets the name of its revision as the label
//! `controller-revision-hash`: the name of the `StatefulSet`, a hyphen, and a hash of up to 10 characters
//! (`controller/history/controller_history.go:ControllerRevisionName`, `HashControllerRevision`). Its own name becomes a label
//! and its hostname (`stateful_set_utils.go:updateIdentity`, `initIdentity`). All of them may have 63
//! (kubernetes/kubernetes#64023).

use serde_json::json;

use super::prelude::*;
use crate::controller;

pub const RULE: Rule = Rule {
    code: "STS315",
    name: "name-too-long",
    severity: Severity::Error,
    // The finding of the refused pod says so, where there is one; this one stands for it.
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/name-too-long.md"),
    check,
};

/// The length of a label's value, and of a hostname.
const LONGEST: usize = 63;
/// What is left for the name beside a hyphen and the longest hash.
const ROOM: usize = 52;

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    let name = &set.metadata.name;
    if name.len() <= ROOM || set.metadata.is_terminating() || set.replicas() == 0 {
        return Ok(Vec::new());
    }
    let update = &set.status.update_revision;
    let last = set.pod_name(set.start().saturating_add(set.replicas() - 1));
    let missing: Vec<&str> = (snapshot.replicas()?.iter())
        .filter(|replica| replica.pod.is_none())
        .map(|replica| replica.name.as_str())
        .collect();
    let at = home(snapshot);
    let too_long = |what: &str, text: &str| {
        format!("{what} {text}, which has {} characters; {LONGEST} are allowed", text.len())
    };
    let evidence = if update.len() > LONGEST {
        too_long("the label controller-revision-hash of a pod is the name of its revision,", update)
    } else if last.len() > LONGEST {
        too_long("the hostname of the last pod is its name,", &last)
    } else {
        let finding = RULE
            .about(Kind::StatefulSet, name, format!("the name of {name} leaves no room for the label of a revision"))
            .because(format!(
                "it has {} characters, and the pods get it with a hash of up to 10 characters as their label \
                 controller-revision-hash, which may have {LONGEST}: after an update, the API server may refuse the pods; then \
                 sts undo takes the update back; a name of at most {ROOM} characters is always possible, but a StatefulSet \
                 cannot be renamed",
                name.len()
            ))
            .remedy(sts("history").name(name).namespace(at));
        return Ok(vec![finding.only(Severity::Note)]);
    };
    let what = if missing.is_empty() {
        format!("{name} cannot create pods because its name is too long")
    } else {
        format!(
            "{} cannot be created because the name of the StatefulSet is too long",
            words::list(&missing, 2)
        )
    };
    let finding = RULE.about(Kind::StatefulSet, name, what);
    let current = controller::current_revision(snapshot);
    let is_new = current != update && current.len() <= LONGEST && last.len() <= LONGEST;
    let has_pods = missing.len() < snapshot.replicas()?.len();
    let finding = if is_new {
        let back = if snapshot.mark().is_some() { "abort" } else { "undo" };
        finding
            .because(format!("{evidence}; the hash of the old revision {current} is shorter"))
            .remedy(sts(back).name(name).namespace(at))
    } else if has_pods {
        finding
            .because(format!(
                "{evidence}; a StatefulSet cannot be renamed: move to one whose name has at most {ROOM} characters"
            ))
            .remedy(sts("history").name(name).namespace(at))
    } else {
        let short = name.chars().take(ROOM).collect::<String>();
        let short = short.trim_end_matches('-').to_owned();
        let copy = json!({"metadata": {"name": short, "uid": null, "resourceVersion": null, "generation": null,
            "creationTimestamp": null}, "status": null});
        finding
            .because(format!(
                "{evidence}; a name of at most {ROOM} characters is always possible; the commands create the StatefulSet again \
                 under a shorter name and delete this one, which never had a pod; change the name in its manifest too"
            ))
            .remedy(
                kubectl("patch statefulset")
                    .name(name)
                    .namespace(at)
                    .with("--type=merge")
                    .patch(&copy)
                    .with("--dry-run=client -o yaml")
                    .piped_into(kubectl("create -f -").namespace(at)),
            )
            .remedy(kubectl("delete statefulset").name(name).namespace(at))
    };
    Ok(vec![missing.iter().fold(finding, |finding, pod| finding.absorbs(Kind::Pod, *pod))])
}
