//! What the rules about refused requests share: the words of the API server, and where to look for what refuses.

use super::prelude::*;
use crate::messages::admission::{Refuser, refuser, without_diff};
use crate::messages::clipped;
use crate::snapshot::Refused;

/// Where to look for what refuses a request.
pub(super) fn look(snapshot: &Snapshot<'_>, said: &str) -> Command {
    let at = home(snapshot);
    match refuser(said) {
        Refuser::Quota => kubectl("describe resourcequotas").namespace(at),
        Refuser::LimitRange => kubectl("describe limitranges").namespace(at),
        Refuser::PodSecurity => kubectl("get namespace").name(at).with("--show-labels"),
        Refuser::Policy(binding) => {
            kubectl("get validatingadmissionpolicybinding").name(binding).with("-o yaml")
        }
        Refuser::Webhook => kubectl("get validatingwebhookconfigurations,mutatingwebhookconfigurations"),
        Refuser::ServiceAccount => kubectl("get serviceaccounts").namespace(at),
        Refuser::Other => kubectl("describe statefulset").name(&snapshot.set.metadata.name).namespace(at),
    }
}

/// The words of the API server.
pub(super) fn quoted(snapshot: &Snapshot<'_>, refused: &Refused<'_>) -> String {
    let ago = snapshot.since(refused.at).map(|ago| format!(", last {} ago", words::age(ago)));
    let said = clipped(without_diff(refused.said));
    format!("the API server refused it{}: {said}", ago.unwrap_or_default())
}
