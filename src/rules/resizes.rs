//! What the rules about growing PVCs share: what fails, and how a volume grows that must not be attached meanwhile.

use jiff::SignedDuration;
use serde_json::json;

use super::claims::Used;
use super::prelude::*;
use crate::messages::provisioner;
use crate::text;

/// Whoever fails tries again, in minutes at most; an older complaint may be of another size.
const STALE: SignedDuration = SignedDuration::from_mins(15);
/// What the external resizer and the kubelet complain with.
const REASONS: [&str; 2] = ["VolumeResizeFailed", "FileSystemResizeFailed"];
/// Conditions that stand as long as the failure lasts, since Kubernetes 1.31.
const CONDITIONS: [&str; 2] = ["ControllerResizeError", "NodeResizeError"];

/// What keeps a PVC from growing.
pub(super) struct Failure {
    /// In words.
    pub says: String,
    /// Whether the driver grows a volume only while it is not attached to a node.
    pub is_attached: bool,
}

/// What fails; `None` while nothing does.
pub(super) fn failure(
    snapshot: &Snapshot<'_>,
    claim: &PersistentVolumeClaim,
) -> Result<Option<Failure>, Unseen> {
    let condition = CONDITIONS.iter().filter_map(|name| claim.condition(name)).find(|it| it.status == "True");
    let status = claim.status.allocated_resource_statuses.get("storage").map(String::as_str);
    let status = status.filter(|status| provisioner::has_failed(status));
    let message = condition.map(|condition| condition.message.as_str()).filter(|message| !message.is_empty());
    let message = match message {
        None if is_larger(claim) => complaint(snapshot, claim)?,
        message => message,
    };
    let word = status.or(condition.map(|condition| condition.r#type.as_str()));
    let is_attached = message.is_some_and(provisioner::is_attached);
    let says = match (message, word) {
        (Some(message), _) => {
            format!("the resizer says: {}", text::one_line(message, 300).trim_end_matches('.'))
        }
        (None, Some(word)) => format!("its status is {word}"),
        (None, None) => return Ok(None),
    };
    Ok(Some(Failure { says, is_attached }))
}

fn complaint<'a>(snapshot: &Snapshot<'a>, claim: &PersistentVolumeClaim) -> Result<Option<&'a str>, Unseen> {
    let is_current = |event: &&Event| {
        REASONS.contains(&event.reason.as_str())
            && snapshot.since(event.last_seen()).is_none_or(|age| age < STALE)
    };
    let mut current = snapshot.events_about(claim)?.into_iter().rev().filter(is_current).peekable();
    let last = current.peek().map(|event| event.message.as_str());
    // The resizer writes the error of the driver and its own account of it in turn.
    let telling =
        current.map(|event| event.message.as_str()).find(|message| provisioner::is_attached(message));
    Ok(telling.or(last))
}

/// Whether it asks for more than it has.
fn is_larger(claim: &PersistentVolumeClaim) -> bool {
    let sizes = (Quantity::parse(claim.requested()), Quantity::parse(claim.size()));
    matches!(sizes, (Some(wants), Some(has)) if wants > has)
}

/// Takes the volumes off their nodes, waits until they have grown, and starts the replicas again. A deleted pod would be there
/// again at once, and with it its attachment: only a replica that is not wanted stays away.
///
/// The size of the PVC follows only once a pod mounts it, where the file system has to grow too: what is waited for is the
/// size of the PV, which the resizer sets first (`external-resizer: markForPendingNodeExpansion`).
pub(super) fn offline(snapshot: &Snapshot<'_>, grow: &[&Used<'_>]) -> Vec<Command> {
    let Some(lowest) = grow.iter().map(|used| used.ordinal).min() else { return Vec::new() };
    let wait = grow.iter().map(|used| {
        kubectl("wait pv")
            .name(&used.claim.spec.volume_name)
            .joined("--for=jsonpath={.spec.capacity.storage}=", used.claim.requested())
            .with("--timeout=15m")
    });
    without(snapshot, lowest, wait.collect())
}

/// Does this while the replicas from this ordinal on are away.
pub(super) fn without(snapshot: &Snapshot<'_>, lowest: i32, meanwhile: Vec<Command>) -> Vec<Command> {
    let set = snapshot.set;
    let (name, at) = (&set.metadata.name, home(snapshot));
    let scale =
        |replicas: i32| kubectl("scale statefulset").name(name).joined("--replicas=", replicas).namespace(at);
    // The scale-down would delete the PVCs.
    let policy = |word: &str| {
        let patch = json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenScaled": word}}});
        kubectl("patch statefulset").name(name).namespace(at).with("--type=merge").patch(&patch)
    };
    let deletes = set.spec.persistent_volume_claim_retention_policy.when_scaled == "Delete";
    let mut commands = Vec::new();
    commands.extend(deletes.then(|| policy(RETAIN)));
    commands.push(scale(lowest.saturating_sub(set.start())));
    commands.extend(meanwhile);
    commands.push(scale(set.replicas()));
    commands.extend(deletes.then(|| policy("Delete")));
    commands
}
