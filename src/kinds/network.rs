//! Names: Service and EndpointSlice.

use super::{Map, Meta, Reference, partial};

partial! {
    /// v1 Service.
    struct Service {
        metadata: Meta => 1,
        spec: ServiceSpec => 2,
    }

    /// v1 ServiceSpec.
    struct ServiceSpec {
        r#type: String => 4,
        #[serde(rename = "clusterIP")]
        cluster_ip: String => 3,
        selector: Map => 2,
        publish_not_ready_addresses: bool => 13,
        external_name: String => 10,
    }

    /// discovery.k8s.io/v1 EndpointSlice.
    struct EndpointSlice {
        metadata: Meta => 1,
        endpoints: Vec<Endpoint> => 2,
    }

    /// discovery.k8s.io/v1 Endpoint.
    struct Endpoint {
        addresses: Vec<String> => 1,
        hostname: String => 3,
        conditions: EndpointConditions => 2,
        target_ref: Option<Reference> => 4,
    }

    /// discovery.k8s.io/v1 EndpointConditions; absent means true for `ready`.
    struct EndpointConditions {
        ready: Option<bool> => 1,
        serving: Option<bool> => 2,
        terminating: Option<bool> => 3,
    }
}

impl Service {
    /// Whether names under it resolve to pods, one by one.
    pub fn is_headless(&self) -> bool {
        self.spec.cluster_ip == "None"
    }
}

impl EndpointSlice {
    /// The Service it belongs to.
    pub fn service(&self) -> &str {
        self.metadata.labels.get("kubernetes.io/service-name").map_or("", String::as_str)
    }
}
