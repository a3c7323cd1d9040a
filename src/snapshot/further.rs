//! Kinds that only the words of the API server or the scheduler make worth reading.

use std::collections::BTreeSet;

use super::Observed;
use crate::kinds::Kind;
use crate::messages::admission::{Refuser, refuser};
use crate::messages::scheduler::{Reason, refusals};

impl Observed {
    /// What refuses pods, and what the scheduler misses, where that is said.
    pub fn worth_reading(&self) -> BTreeSet<Kind> {
        let events = self.events.as_deref().unwrap_or_default().iter();
        let of_creation = events.filter(|event| event.reason == "FailedCreate");
        let refused = of_creation.flat_map(|event| match refuser(&event.message) {
            Refuser::LimitRange(_) => vec![Kind::LimitRange],
            Refuser::Webhook(_) | Refuser::WebhookDown(_) => {
                vec![Kind::ValidatingWebhookConfiguration, Kind::MutatingWebhookConfiguration]
            }
            _ => Vec::new(),
        });
        let pods = self.pods.as_deref().unwrap_or_default().iter();
        let messages = pods.filter_map(|pod| Some(pod.condition("PodScheduled")?.message.as_str()));
        let missed = messages.flat_map(refusals).filter_map(|refusal| match refusal.reason {
            Reason::VolumeLimit => Some(Kind::CSINode),
            Reason::FreeStorage => Some(Kind::CSIStorageCapacity),
            _ => None,
        });
        refused.chain(missed).collect()
    }
}
