//! A partition that nobody has taken away again: updates reach some pods only.

use jiff::SignedDuration;

use super::prelude::*;
use crate::controller::{self, Idle, Next};

pub const RULE: Rule = Rule {
    code: "STS303",
    name: "partition-left-behind",
    severity: Severity::Warning,
    stuck_from: None,
    page: include_str!("../../docs/rules/partition-left-behind.md"),
    check,
};

/// A canary made by hand may take a working day.
const BY_HAND: SignedDuration = SignedDuration::from_hours(24);
/// One with a mark is somebody's intention, and is spoken of only once it looks forgotten.
const MARKED: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A partition without an update is a habit or a preparation; one that was set just now is the latter.
const IDLE: SignedDuration = SignedDuration::from_hours(1);

fn check(snapshot: &Snapshot<'_>) -> Result<Vec<Finding>, Unseen> {
    let set = snapshot.set;
    let (name, partition) = (&set.metadata.name, set.partition());
    if partition == 0 || partition >= set.replicas() {
        return Ok(Vec::new());
    }
    let Next::Settled(rest) = controller::next(snapshot)? else { return Ok(Vec::new()) };
    let replicas = snapshot.replicas()?;
    let youngest = replicas.iter().filter_map(|replica| replica.pod?.metadata.creation_timestamp).max();
    let Some(age) = snapshot.since(youngest) else { return Ok(Vec::new()) };
    let at = home(snapshot);
    let full = sts("promote").name(name).namespace(at).with("--full");
    let update = &set.status.update_revision;
    let held: Vec<&str> = replicas
        .iter()
        .filter(|replica| replica.pod.is_some_and(|pod| pod.revision() != update))
        .map(|replica| replica.name.as_str())
        .collect();
    // An operator has its own way with partitions.
    let marked = snapshot.mark().is_some() || set.metadata.controller().is_some();
    let first = set.pod_name(set.boundary());
    match rest {
        Idle::Partition if age >= if marked { MARKED } else { BY_HAND } => {
            let finding = RULE
                .about(Kind::StatefulSet, name, format!("the update of {name} has been paused at partition {partition}"))
                .because(format!(
                    "{} still on the old revision, and the newest pod was created {} ago; the partition stops the update at \
                     {first}",
                    are(&held),
                    words::age(age)
                ))
                .remedy(full)
                .instead(sts("abort").name(name).namespace(at));
            Ok(vec![if marked { finding.only(Severity::Note) } else { finding }])
        }
        Idle::Done if !marked && age >= IDLE && set.status.current_revision == *update => Ok(vec![
            RULE.about(Kind::StatefulSet, name, format!("{name} has partition {partition}, and no update is in progress"))
                .because(format!(
                    "every pod is on {update}; the next update will stop at {first} and not update the pods below it"
                ))
                .remedy(full)
                .only(Severity::Note),
        ]),
        _ => Ok(Vec::new()),
    }
}

fn are(names: &[&str]) -> String {
    format!("{} {}", words::list(names, 3), if names.len() == 1 { "is" } else { "are" })
}
