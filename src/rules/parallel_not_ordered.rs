//! Several replicas are down or on their way at once, because the set is Parallel.

use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS307",
    name: "parallel-not-ordered",
    severity: Severity::Note,
    stuck_from: None,
    page: include_str!("../../docs/rules/parallel-not-ordered.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    if !set.is_parallel() || set.metadata.is_terminating() {
        return Ok(Vec::new());
    }
    let update = &set.status.update_revision;
    let updating = snapshot.replicas()?.iter().any(|it| it.pod.is_some_and(|pod| pod.revision() != update));
    // How many are down at a time in an update is maxUnavailable's to say.
    if updating {
        return Ok(Vec::new());
    }
    let min_ready = set.spec.min_ready_seconds;
    let down: Vec<_> = snapshot
        .replicas()?
        .iter()
        .filter(|replica| replica.pod.is_none_or(|pod| !pod.is_available(min_ready, snapshot.taken_at)))
        .map(|replica| replica.name.clone())
        .collect();
    if down.len() < 2 {
        return Ok(Vec::new());
    }
    let name = &set.metadata.name;
    Ok(vec![
        RULE.about(
            Kind::StatefulSet,
            name,
            format!("{name} starts and stops its replicas in no order: {} are not available", words::list(&down, 3)),
        )
        .because(
            "podManagementPolicy is Parallel: creating and scaling down wait for no other pod; the field cannot be \
             changed on a living set",
        ),
    ])
}
