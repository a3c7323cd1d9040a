//! What every rule needs.

pub(super) use super::{Blocked, Finding, Rule, Severity};
pub(super) use crate::kinds::*;
pub(super) use crate::paste::{Command, kubectl, sts};
pub(super) use crate::snapshot::{Snapshot, Unseen};
pub(super) use crate::words;

/// The namespace of the set, for commands to paste.
pub(super) fn home<'a>(snapshot: &Snapshot<'a>) -> &'a str {
    &snapshot.set.metadata.namespace
}
