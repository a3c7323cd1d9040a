//! A partition that no replica reaches: no update ever comes to a pod.

use super::prelude::*;

pub const RULE: Rule = Rule {
    code: "STS304",
    name: "partition-above-replicas",
    severity: Severity::Warning,
    page: include_str!("../../docs/rules/partition-above-replicas.md"),
    check,
};

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    let (name, partition, replicas) = (&set.metadata.name, set.partition(), set.replicas());
    if replicas == 0 || partition < replicas || !set.is_observed() || set.metadata.is_terminating() {
        return Ok(Vec::new());
    }
    let update = &set.status.update_revision;
    let pods: Vec<&Pod> = snapshot.replicas()?.iter().filter_map(|replica| replica.pod).collect();
    let waiting = *update != set.status.current_revision && pods.iter().any(|pod| pod.revision() != update);
    let count = words::count(usize::try_from(replicas).unwrap_or(0), "replica");
    let n = in_namespace(snapshot);
    Ok(vec![if waiting {
        RULE.about(Kind::StatefulSet, name, format!("the update of {name} reaches no pod"))
            .because(format!("{update} is waiting, and partition {partition} is not below {count}"))
            .remedy(format!("kubectl sts promote {name} {n} --partition {}", replicas - 1))
            .remedy(format!("kubectl sts promote {name} {n} --full"))
    } else {
        RULE.about(Kind::StatefulSet, name, format!("{name} has a partition that no replica reaches"))
            .because(format!("partition {partition} is not below {count}: the next update will reach no pod"))
            .remedy(format!("kubectl sts promote {name} {n} --full"))
            .only(Severity::Note)
    }])
}
