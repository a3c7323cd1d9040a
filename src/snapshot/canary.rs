//! A canary: what the annotation on the set says of it, and how its pods do.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Replica, Snapshot, Unseen};
use crate::text::one_line;

/// The annotation on the set, while a canary of ours is on.
pub const CANARY: &str = "kubectl-sts/canary";

/// What the cluster itself cannot tell of a canary, so that going on and going back need nothing but the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct CanaryAnnotation {
    /// The revision to go back to.
    pub stable: String,
    /// The partition before.
    pub partition: i32,
    /// Who began it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Which change of the template it brings, so that the same command is known again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// The partitions it is to go through, where they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<i32>,
}

/// Anybody who may annotate the set can write a mark, and the name comes to stand in commands and paths.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
}

impl<'a> Snapshot<'a> {
    /// The mark of a canary of ours; `Some(None)` for one that cannot be read.
    pub fn mark(&self) -> Option<Option<CanaryAnnotation>> {
        let text = self.set.metadata.annotations.get(CANARY)?;
        let mark = serde_json::from_str::<CanaryAnnotation>(text).ok().filter(|mark| is_name(&mark.stable));
        Some(mark.map(|mark| CanaryAnnotation { by: one_line(&mark.by, 100), ..mark }))
    }

    /// Whether it was seen that the set has no such revision any more.
    pub fn lacks_revision(&self, name: &str) -> bool {
        self.revisions().is_ok_and(|all| !all.iter().any(|revision| revision.metadata.name == name))
    }

    /// The replicas at and above a partition, highest first: the order in which they are updated.
    ///
    /// # Errors
    /// [`Unseen`] when pods could not be read.
    pub fn above(&self, partition: i32) -> Result<Vec<&Replica<'a>>, Unseen> {
        let first = i64::from(self.set.start()) + i64::from(partition.max(0));
        Ok(self.replicas()?.iter().rev().take_while(|replica| i64::from(replica.ordinal) >= first).collect())
    }

    /// Whether a replica has a pod of the update's revision that is available and stays.
    pub fn is_updated_and_available(&self, replica: &Replica<'_>) -> bool {
        replica.pod.is_some_and(|pod| {
            !pod.metadata.is_terminating()
                && pod.revision() == self.set.status.update_revision
                && self.is_available(pod)
        })
    }

    /// For how long all replicas at and above the partition have been good; `None` while one is not, and where the
    /// partition holds nothing back.
    pub fn baking(&self) -> Option<SignedDuration> {
        let (set, partition) = (self.set, self.set.partition());
        if partition == 0 || partition >= set.replicas() || !set.is_observed() {
            return None;
        }
        let pods = self.above(partition).ok()?;
        if !pods.iter().all(|replica| self.is_updated_and_available(replica)) {
            return None;
        }
        self.since(pods.iter().filter_map(|replica| replica.pod?.ready_since()).max())
    }
}
