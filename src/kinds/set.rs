//! apps/v1: StatefulSet and ControllerRevision.

use serde::{Deserialize, Serialize};

use super::{Condition, LabelSelector, Meta, PersistentVolumeClaim, PodTemplate, partial};

partial! {
    /// apps/v1 StatefulSet.
    struct StatefulSet {
        metadata: Meta => 1,
        spec: StatefulSetSpec => 2,
        status: StatefulSetStatus => 3,
    }

    /// apps/v1 StatefulSetSpec.
    struct StatefulSetSpec {
        replicas: Option<i32> => 1,
        service_name: String => 5,
        selector: LabelSelector => 2,
        pod_management_policy: String => 6,
        update_strategy: UpdateStrategy => 7,
        ordinals: Option<Ordinals> => 11,
        min_ready_seconds: i32 => 9,
        revision_history_limit: Option<i32> => 8,
        persistent_volume_claim_retention_policy: RetentionPolicy => 10,
        template: PodTemplate => 3,
        volume_claim_templates: Vec<PersistentVolumeClaim> => 4,
    }

    /// apps/v1 StatefulSetUpdateStrategy.
    struct UpdateStrategy {
        r#type: String => 1,
        rolling_update: Option<RollingUpdate> => 2,
    }

    /// apps/v1 RollingUpdateStatefulSetStrategy.
    struct RollingUpdate {
        partition: i32 => 1,
        max_unavailable: Option<IntOrString> => 2,
    }

    /// apps/v1 StatefulSetOrdinals.
    struct Ordinals {
        start: i32 => 1,
    }

    /// apps/v1 StatefulSetPersistentVolumeClaimRetentionPolicy.
    struct RetentionPolicy {
        when_deleted: String => 1,
        when_scaled: String => 2,
    }

    /// apps/v1 StatefulSetStatus.
    struct StatefulSetStatus {
        observed_generation: i64 => 1,
        replicas: i32 => 2,
        ready_replicas: i32 => 3,
        available_replicas: i32 => 11,
        current_replicas: i32 => 4,
        updated_replicas: i32 => 5,
        current_revision: String => 6,
        update_revision: String => 7,
        conditions: Vec<Condition> => 10 via set_conditions,
    }

    /// apps/v1 ControllerRevision, without its data.
    struct ControllerRevision {
        metadata: Meta => 1,
        revision: i64 => 3,
    }
}

/// intstr.IntOrString: a count or a percentage.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A count.
    Int(i32),
    /// A percentage such as `25%`.
    Text(String),
}

impl Default for IntOrString {
    fn default() -> IntOrString {
        IntOrString::Int(0)
    }
}

impl std::fmt::Display for IntOrString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            IntOrString::Int(count) => write!(f, "{count}"),
            IntOrString::Text(text) => f.write_str(text),
        }
    }
}

impl IntOrString {
    /// The count, a percentage taken of `total` and rounded down (intstr.GetScaledValueFromIntOrPercent).
    pub fn rounded_down(&self, total: i32) -> Option<i32> {
        match self {
            IntOrString::Int(count) => Some(*count),
            IntOrString::Text(text) => {
                let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
                i32::try_from(percent.checked_mul(i64::from(total))? / 100).ok()
            }
        }
    }
}

/// What `spec.updateStrategy.type` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The controller replaces pods, highest ordinal first.
    RollingUpdate,
    /// Pods are replaced only when somebody deletes them.
    OnDelete,
    /// All old pods go before new ones come (alpha in 1.37).
    Recreate,
    /// A value this version does not know.
    Unknown,
}

impl StatefulSet {
    /// What its pods wait for is read of the pods.
    pub(super) fn drop_unread(&mut self) {
        self.spec.template.spec.keep_peers(None);
    }

    /// How many replicas are wanted; the API server's default is 1.
    pub fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1).max(0)
    }

    /// A revision without the name of the set: `58d44dd8f` of `web-58d44dd8f`.
    pub fn short_revision<'r>(&self, revision: &'r str) -> &'r str {
        let hash = revision.strip_prefix(self.metadata.name.as_str()).and_then(|rest| rest.strip_prefix('-'));
        hash.unwrap_or(revision)
    }

    /// The first ordinal.
    pub fn start(&self) -> i32 {
        self.spec.ordinals.as_ref().map_or(0, |ordinals| ordinals.start.max(0))
    }

    /// Whether the ordinal is one of the wanted replicas (`stateful_set_utils.go:podInOrdinalRange`).
    pub fn in_range(&self, ordinal: i32) -> bool {
        ordinal >= self.start() && i64::from(ordinal) < i64::from(self.start()) + i64::from(self.replicas())
    }

    /// Whether pods are created and deleted without waiting for one another.
    pub fn is_parallel(&self) -> bool {
        self.spec.pod_management_policy == "Parallel"
    }

    /// How pods get a new template; absent means RollingUpdate.
    pub fn strategy(&self) -> Strategy {
        match self.spec.update_strategy.r#type.as_str() {
            "" | "RollingUpdate" => Strategy::RollingUpdate,
            "OnDelete" => Strategy::OnDelete,
            "Recreate" => Strategy::Recreate,
            _ => Strategy::Unknown,
        }
    }

    /// The `rollingUpdate` stanza. The API server fills it in only where the *type* is absent
    /// (`apis/apps/v1/defaults.go:SetDefaults_StatefulSet`), so a manifest that has not been through it reads as one
    /// that has; an explicit `type: RollingUpdate` without the stanza stays without it.
    pub fn rolling_update(&self) -> Option<RollingUpdate> {
        let strategy = &self.spec.update_strategy;
        match (&strategy.rolling_update, strategy.r#type.as_str()) {
            (Some(rolling), _) => Some(rolling.clone()),
            (None, "") => Some(RollingUpdate::default()),
            (None, _) => None,
        }
    }

    /// The partition: an index counted from the first ordinal, not an ordinal (kubernetes/kubernetes#128529).
    pub fn partition(&self) -> i32 {
        match self.strategy() {
            Strategy::RollingUpdate => self.rolling_update().map_or(0, |rolling| rolling.partition.max(0)),
            _ => 0,
        }
    }

    /// The lowest ordinal that an update reaches.
    pub fn boundary(&self) -> i32 {
        self.start().saturating_add(self.partition())
    }

    /// The name of the pod with this ordinal.
    pub fn pod_name(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}", self.metadata.name)
    }

    /// The name of the claim made from a template for an ordinal (`stateful_set_utils.go:getPersistentVolumeClaimName`).
    pub fn claim_name(&self, template: &str, ordinal: i32) -> String {
        format!("{template}-{}-{ordinal}", self.metadata.name)
    }

    /// Whether the controller has seen the newest spec.
    pub fn is_observed(&self) -> bool {
        self.status.observed_generation >= self.metadata.generation
    }
}
