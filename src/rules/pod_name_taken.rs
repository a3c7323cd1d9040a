//! A pod the set does not own has the name of one of its replicas.

use jiff::SignedDuration;

use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS410",
    name: "pod-name-taken",
    severity: Severity::Error,
    stuck_from: Some(Severity::Error),
    page: include_str!("../../docs/rules/pod-name-taken.md"),
    check,
};

/// How long the garbage collector may take to remove what an earlier set of the same name left.
const COLLECTED: SignedDuration = SignedDuration::from_mins(2);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    if set.metadata.is_terminating() {
        return Ok(Vec::new());
    }
    let name = &set.metadata.name;
    let new = snapshot.since(set.metadata.creation_timestamp).is_some_and(|age| age < COLLECTED);
    let mut found = Vec::new();
    for replica in snapshot.replicas()? {
        let Some(foreign_pod) = replica.foreign_pod.filter(|pod| !pod.metadata.is_terminating()) else {
            continue;
        };
        let because = match foreign_pod.metadata.controller() {
            Some(owner) if owner.kind == "StatefulSet" && owner.name == *name => {
                if new {
                    continue;
                }
                format!("that pod belongs to an earlier StatefulSet {name} (uid {})", owner.uid)
            }
            Some(owner) => format!("that pod belongs to {} {}", owner.kind, owner.name),
            None => format!(
                "that pod has no owner, and {name} does not adopt it, because its labels do not match"
            ),
        };
        let ordered =
            if set.is_parallel() { "" } else { "; until then no replica above it is created or updated" };
        found.push(
            RULE.about(
                Kind::Pod,
                &replica.name,
                format!("{name} cannot create {}, because another pod has that name", replica.name),
            )
            .because(format!("{because}; the controller retries without writing an event{ordered}"))
            .remedy(kubectl("describe pod").name(&replica.name).namespace(home(snapshot))),
        );
    }
    Ok(found)
}
