//! Kinds that only the words of the API server, the kubelet or the scheduler make worth reading.

use std::collections::BTreeSet;

use super::Observed;
use crate::kinds::Kind;
use crate::messages::admission::{Refuser, refuser};
use crate::messages::scheduler::{Reason, refusals};
use crate::messages::{attach, mount};

impl Observed {
    /// What refuses requests, what the scheduler misses, and where volumes are, where that is said.
    pub fn worth_reading(&self) -> BTreeSet<Kind> {
        let events = || self.events.as_deref().unwrap_or_default().iter();
        let of_controller = |reason: &str| matches!(reason, "FailedCreate" | "FailedDelete" | "FailedUpdate");
        let refused = events().filter(|event| of_controller(&event.reason)).flat_map(|event| {
            match refuser(&event.message) {
                Refuser::LimitRange(_) => vec![Kind::LimitRange],
                Refuser::Webhook(_) | Refuser::WebhookDown(_) => {
                    vec![Kind::ValidatingWebhookConfiguration, Kind::MutatingWebhookConfiguration]
                }
                Refuser::Policy { .. } => vec![Kind::ValidatingAdmissionPolicyBinding],
                _ => Vec::new(),
            }
        });
        let of_volume = |reason: &str| matches!(reason, "FailedAttachVolume" | "FailedMount");
        let unmounted = events().filter(|event| of_volume(&event.reason)).flat_map(|event| {
            match mount::Fault::parse(&event.message) {
                _ if attach::is_multi_attach(&event.message) => vec![Kind::VolumeAttachment, Kind::Node],
                Some(mount::Fault::NoDriver(_) | mount::Fault::NoAttacher(_)) => vec![Kind::CSINode],
                _ => Vec::new(),
            }
        });
        let pods = self.pods.as_deref().unwrap_or_default().iter();
        let messages = pods.filter_map(|pod| Some(pod.condition("PodScheduled")?.message.as_str()));
        let missed = messages.flat_map(refusals).filter_map(|refusal| match refusal.reason {
            Reason::VolumeLimit => Some(Kind::CSINode),
            Reason::FreeStorage => Some(Kind::CSIStorageCapacity),
            _ => None,
        });
        refused.chain(unmounted).chain(missed).collect()
    }
}
