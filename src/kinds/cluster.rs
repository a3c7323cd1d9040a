//! What stands around a set: nodes, disruption budgets, quotas, autoscalers.

use super::{Condition, IntOrString, LabelSelector, Map, Meta, condition, partial};

partial! {
    /// v1 Node.
    struct Node {
        metadata: Meta => 1,
        spec: NodeSpec => 2,
        status: NodeStatus => 3,
    }

    /// v1 NodeSpec.
    struct NodeSpec {
        unschedulable: bool => 4,
        taints: Vec<Taint> => 5,
    }

    /// v1 Taint.
    struct Taint {
        key: String => 1,
        value: String => 2,
        effect: String => 3,
    }

    /// v1 NodeStatus.
    struct NodeStatus {
        conditions: Vec<Condition> => 4,
        allocatable: Map => 2 via quantities,
        node_info: NodeInfo => 7,
    }

    /// v1 NodeSystemInfo, of which only this decides anything.
    struct NodeInfo {
        architecture: String => 10,
    }

    /// policy/v1 PodDisruptionBudget.
    struct PodDisruptionBudget {
        metadata: Meta => 1,
        spec: BudgetSpec => 2,
        status: BudgetStatus => 3,
    }

    /// policy/v1 PodDisruptionBudgetSpec.
    struct BudgetSpec {
        min_available: Option<IntOrString> => 1,
        max_unavailable: Option<IntOrString> => 3,
        selector: Option<LabelSelector> => 2,
        unhealthy_pod_eviction_policy: String => 4,
    }

    /// policy/v1 PodDisruptionBudgetStatus.
    struct BudgetStatus {
        observed_generation: i64 => 1,
        disruptions_allowed: i32 => 3,
        current_healthy: i32 => 4,
        desired_healthy: i32 => 5,
        expected_pods: i32 => 6,
    }

    /// v1 ResourceQuota; quantities as written.
    struct ResourceQuota {
        metadata: Meta => 1,
        status: QuotaStatus => 3,
    }

    /// v1 ResourceQuotaStatus.
    struct QuotaStatus {
        hard: Map => 1 via quantities,
        used: Map => 2 via quantities,
    }

    /// v1 LimitRange.
    struct LimitRange {
        metadata: Meta => 1,
        spec: LimitRangeSpec => 2,
    }

    /// v1 LimitRangeSpec.
    struct LimitRangeSpec {
        limits: Vec<LimitRangeItem> => 1,
    }

    /// v1 LimitRangeItem; quantities as written.
    struct LimitRangeItem {
        r#type: String => 1,
        min: Map => 3 via quantities,
        max: Map => 2 via quantities,
        max_limit_request_ratio: Map => 6 via quantities,
    }

    /// admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration.
    struct ValidatingWebhookConfiguration {
        metadata: Meta => 1,
        webhooks: Vec<Webhook> => 2,
    }

    /// admissionregistration.k8s.io/v1 MutatingWebhookConfiguration.
    struct MutatingWebhookConfiguration {
        metadata: Meta => 1,
        webhooks: Vec<Webhook> => 2,
    }

    /// admissionregistration.k8s.io/v1 ValidatingWebhook or MutatingWebhook, without its address and certificate.
    struct Webhook {
        name: String => 1,
        failure_policy: String => 4,
        namespace_selector: Option<LabelSelector> => 5,
    }

    /// admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding.
    struct ValidatingAdmissionPolicyBinding {
        metadata: Meta => 1,
        spec: PolicyBindingSpec => 2,
    }

    /// admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBindingSpec.
    struct PolicyBindingSpec {
        policy_name: String => 1,
        match_resources: Option<MatchResources> => 3,
        validation_actions: Vec<String> => 4,
    }

    /// admissionregistration.k8s.io/v1 MatchResources, of which only this is changed.
    struct MatchResources {
        namespace_selector: Option<LabelSelector> => 1,
    }

    /// storage.k8s.io/v1 CSINode.
    struct CSINode {
        metadata: Meta => 1,
        spec: CSINodeSpec => 2,
    }

    /// storage.k8s.io/v1 CSINodeSpec.
    struct CSINodeSpec {
        drivers: Vec<CSINodeDriver> => 1,
    }

    /// storage.k8s.io/v1 CSINodeDriver.
    struct CSINodeDriver {
        name: String => 1,
        allocatable: VolumeNodeResources => 4,
    }

    /// storage.k8s.io/v1 VolumeNodeResources; absent means no limit.
    struct VolumeNodeResources {
        count: Option<i32> => 1,
    }

    /// storage.k8s.io/v1 CSIStorageCapacity; quantities as written.
    struct CSIStorageCapacity {
        metadata: Meta => 1,
        storage_class_name: String => 3,
        node_topology: Option<LabelSelector> => 2,
        capacity: String => 4 via quantity,
        maximum_volume_size: String => 5 via quantity,
    }

    /// autoscaling/v2 HorizontalPodAutoscaler.
    struct HorizontalPodAutoscaler {
        metadata: Meta => 1,
        spec: AutoscalerSpec => 2,
    }

    /// autoscaling/v2 HorizontalPodAutoscalerSpec.
    struct AutoscalerSpec {
        scale_target_ref: ScaleTarget => 1,
        min_replicas: Option<i32> => 2,
        max_replicas: i32 => 3,
    }

    /// autoscaling/v2 CrossVersionObjectReference.
    struct ScaleTarget {
        kind: String => 1,
        name: String => 2,
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
