//! Names: Service and EndpointSlice.

use super::{Map, Meta, Reference, partial};

partial! {
    /// v1 Service.
    struct Service {
        metadata: Meta,
        spec: ServiceSpec,
    }

    /// v1 ServiceSpec.
    struct ServiceSpec {
        r#type: String,
        #[serde(rename = "clusterIP")]
        cluster_ip: String,
        selector: Map,
        publish_not_ready_addresses: bool,
        external_name: String,
    }

    /// discovery.k8s.io/v1 EndpointSlice.
    struct EndpointSlice {
        metadata: Meta,
        endpoints: Vec<Endpoint>,
    }

    /// discovery.k8s.io/v1 Endpoint.
    struct Endpoint {
        addresses: Vec<String>,
        hostname: String,
        conditions: EndpointConditions,
        target_ref: Option<Reference>,
    }

    /// discovery.k8s.io/v1 EndpointConditions; absent means true for `ready`.
    struct EndpointConditions {
        ready: Option<bool>,
        serving: Option<bool>,
        terminating: Option<bool>,
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
