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
