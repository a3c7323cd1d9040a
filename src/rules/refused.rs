//! What the rules about refused requests share: the words of the API server, and where to look for what refuses.

use super::prelude::*;
use super::webhooks;
use crate::messages::admission::{Refuser, refuser, without_diff};
use crate::messages::clipped;
use crate::snapshot::Refused;

/// Where to look for what refuses a request.
pub(super) fn look(snapshot: &Snapshot<'_>, said: &str) -> Command {
    let at = home(snapshot);
    match refuser(said) {
        Refuser::Quota(_) | Refuser::QuotaDemand(_) | Refuser::QuotaScope(_) | Refuser::OtherQuota => {
            kubectl("describe resourcequotas").namespace(at)
        }
        Refuser::LimitRange(_) => kubectl("describe limitranges").namespace(at),
        Refuser::PodSecurity(_) | Refuser::Namespace => {
            kubectl("get namespace").name(at).with("--show-labels")
        }
        Refuser::Policy { binding, .. } => {
            kubectl("get validatingadmissionpolicybinding").name(binding).with("-o yaml")
        }
        Refuser::Webhook(_) | Refuser::WebhookDown(_) => {
            kubectl("get validatingwebhookconfigurations,mutatingwebhookconfigurations")
        }
        Refuser::ServiceAccount(_) => kubectl("get serviceaccounts").namespace(at),
        Refuser::PriorityClass(_) | Refuser::RuntimeClass(_) | Refuser::Invalid(_) | Refuser::Other => {
            kubectl("describe statefulset").name(&snapshot.set.metadata.name).namespace(at)
        }
    }
}

/// The words of the API server.
pub(super) fn quoted(snapshot: &Snapshot<'_>, refused: &Refused<'_>) -> String {
    let ago = snapshot.since(refused.at).map(|ago| format!(", last {} ago", words::age(ago)));
    let said = clipped(without_diff(refused.said));
    format!("the API server refused it{}: {said}", ago.unwrap_or_default())
}

/// What allows the request again, in words and as commands. For what is no policy or webhook it is not known what it objects
/// to, beyond its words. With `retries` the controller tries again at once.
pub(super) fn lift(snapshot: &Snapshot<'_>, said: &str, retries: bool) -> (String, Vec<Command>) {
    webhooks::lifted(snapshot, said, retries).unwrap_or_else(|| (String::new(), vec![look(snapshot, said)]))
}

/// Whether a command changes something.
pub(super) fn changes(command: &Command) -> bool {
    !command.words().iter().any(|words| matches!(words.as_slice(), ["kubectl", "get" | "describe", ..]))
}
