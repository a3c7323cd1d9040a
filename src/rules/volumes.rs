//! What the rules about volumes share.

use super::prelude::*;
use crate::messages::attach;

/// The volume a message is about, and the claim it belongs to.
pub(super) fn named(snapshot: &Snapshot<'_>, message: &str) -> Option<String> {
    let name = attach::volume(message)?;
    Some(match snapshot.namespace.claim_of_volume(name) {
        Some(claim) => format!("volume {name} of PVC {}", claim.metadata.name),
        None => format!("volume {name}"),
    })
}
