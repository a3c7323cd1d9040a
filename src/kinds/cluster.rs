//! What stands around a set: nodes, disruption budgets, quotas, autoscalers.

use super::{Condition, IntOrString, LabelSelector, Map, Meta, condition, partial};

partial! {
    /// v1 Node.
    struct Node {
        metadata: Meta,
        spec: NodeSpec,
        status: NodeStatus,
    }

    /// v1 NodeSpec.
    struct NodeSpec {
        unschedulable: bool,
        taints: Vec<Taint>,
    }

    /// v1 Taint.
    struct Taint {
        key: String,
        value: String,
        effect: String,
    }

    /// v1 NodeStatus.
    struct NodeStatus {
        conditions: Vec<Condition>,
        allocatable: Map,
        node_info: NodeInfo,
    }

    /// v1 NodeSystemInfo, of which only this decides anything.
    struct NodeInfo {
        architecture: String,
    }

    /// policy/v1 PodDisruptionBudget.
    struct PodDisruptionBudget {
        metadata: Meta,
        spec: BudgetSpec,
        status: BudgetStatus,
    }

    /// policy/v1 PodDisruptionBudgetSpec.
    struct BudgetSpec {
        min_available: Option<IntOrString>,
        max_unavailable: Option<IntOrString>,
        selector: Option<LabelSelector>,
        unhealthy_pod_eviction_policy: String,
    }

    /// policy/v1 PodDisruptionBudgetStatus.
    struct BudgetStatus {
        observed_generation: i64,
        disruptions_allowed: i32,
        current_healthy: i32,
        desired_healthy: i32,
        expected_pods: i32,
    }

    /// v1 ResourceQuota; quantities as written.
    struct ResourceQuota {
        metadata: Meta,
        status: QuotaStatus,
    }

    /// v1 ResourceQuotaStatus.
    struct QuotaStatus {
        hard: Map,
        used: Map,
    }

    /// v1 LimitRange.
    struct LimitRange {
        metadata: Meta,
        spec: LimitRangeSpec,
    }

    /// v1 LimitRangeSpec.
    struct LimitRangeSpec {
        limits: Vec<LimitRangeItem>,
    }

    /// v1 LimitRangeItem; quantities as written.
    struct LimitRangeItem {
        r#type: String,
        min: Map,
        max: Map,
        max_limit_request_ratio: Map,
    }

    /// admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration.
    struct ValidatingWebhookConfiguration {
        metadata: Meta,
        webhooks: Vec<Webhook>,
    }

    /// admissionregistration.k8s.io/v1 MutatingWebhookConfiguration.
    struct MutatingWebhookConfiguration {
        metadata: Meta,
        webhooks: Vec<Webhook>,
    }

    /// admissionregistration.k8s.io/v1 ValidatingWebhook or MutatingWebhook, without its address and certificate.
    struct Webhook {
        name: String,
        failure_policy: String,
        namespace_selector: Option<LabelSelector>,
    }

    /// admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding.
    struct ValidatingAdmissionPolicyBinding {
        metadata: Meta,
        spec: PolicyBindingSpec,
    }

    /// admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBindingSpec.
    struct PolicyBindingSpec {
        policy_name: String,
        match_resources: Option<MatchResources>,
        validation_actions: Vec<String>,
    }

    /// admissionregistration.k8s.io/v1 MatchResources, of which only this is changed.
    struct MatchResources {
        namespace_selector: Option<LabelSelector>,
    }

    /// storage.k8s.io/v1 CSINode.
    struct CSINode {
        metadata: Meta,
        spec: CSINodeSpec,
    }

    /// storage.k8s.io/v1 CSINodeSpec.
    struct CSINodeSpec {
        drivers: Vec<CSINodeDriver>,
    }

    /// storage.k8s.io/v1 CSINodeDriver.
    struct CSINodeDriver {
        name: String,
        allocatable: VolumeNodeResources,
    }

    /// storage.k8s.io/v1 VolumeNodeResources; absent means no limit.
    struct VolumeNodeResources {
        count: Option<i32>,
    }

    /// storage.k8s.io/v1 CSIStorageCapacity; quantities as written.
    struct CSIStorageCapacity {
        metadata: Meta,
        storage_class_name: String,
        node_topology: Option<LabelSelector>,
        capacity: String,
        maximum_volume_size: String,
    }

    /// autoscaling/v2 HorizontalPodAutoscaler.
    struct HorizontalPodAutoscaler {
        metadata: Meta,
        spec: AutoscalerSpec,
    }

    /// autoscaling/v2 HorizontalPodAutoscalerSpec.
    struct AutoscalerSpec {
        scale_target_ref: ScaleTarget,
        min_replicas: Option<i32>,
        max_replicas: i32,
    }

    /// autoscaling/v2 CrossVersionObjectReference.
    struct ScaleTarget {
        kind: String,
        name: String,
    }
}

impl PodDisruptionBudget {
    /// Whether it selects pods with these labels; without a selector it selects none, with an empty one all.
    pub fn selects(&self, labels: &Map) -> bool {
        self.spec.selector.as_ref().is_some_and(|selector| selector.matches(labels))
    }

    /// Whether it allows no disruption even while every pod is healthy, of at least so many replicas
    /// (`disruption/disruption.go:getExpectedPodCount`). A count of pods that must be available is compared with the pods there
    /// are, which are fewer for a moment in every update.
    pub fn never_allows(&self, replicas: i32) -> bool {
        let (spec, status) = (&self.spec, &self.status);
        let is_counted = status.expected_pods > 0 && status.observed_generation >= self.metadata.generation;
        match (&spec.max_unavailable, &spec.min_available) {
            (Some(IntOrString::Int(most)), _) => *most <= 0,
            (Some(IntOrString::Text(percent)), _) => percent.trim_end_matches('%').parse() == Ok(0),
            (None, Some(IntOrString::Int(least))) => *least >= status.expected_pods.max(replicas),
            (None, Some(IntOrString::Text(_))) if is_counted => {
                status.desired_healthy >= status.expected_pods
            }
            (None, Some(IntOrString::Text(percent))) => percent.trim_end_matches('%').parse() == Ok(100),
            (None, None) => false,
        }
    }
}

impl Node {
    /// Whether the kubelet reports, and reports well.
    pub fn is_ready(&self) -> bool {
        condition(&self.status.conditions, "Ready").is_some_and(|ready| ready.status == "True")
    }

    /// The zone it stands in.
    pub fn zone(&self) -> Option<&str> {
        self.metadata.labels.get("topology.kubernetes.io/zone").map(String::as_str)
    }
}
