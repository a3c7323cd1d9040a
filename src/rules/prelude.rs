//! What every rule needs.

pub(super) use super::{Finding, Rule, Severity};
pub(super) use crate::kinds::*;
pub(super) use crate::snapshot::{Snapshot, Unseen};
pub(super) use crate::words;

/// `-n NAMESPACE` of the set, for commands to paste.
pub(super) fn in_namespace(snapshot: &Snapshot<'_>) -> String {
    format!("-n {}", snapshot.set.metadata.namespace)
}
