//! What is read of each Kubernetes kind: small partial types, nothing that is not used.
//!
//! Fields keep the names and units of the Kubernetes API. Whatever is not listed here is dropped while decoding, so a
//! recording, which is these types written out again, holds none of what `secrecy` hides.
#![allow(missing_docs, reason = "fields are those of the Kubernetes API reference, under the same names")]

mod claim;
mod cluster;
mod meta;
mod names;
mod network;
mod object;
mod pod;
mod quantity;
mod said;
mod set;
mod workload;

pub use claim::*;
pub use cluster::*;
pub use meta::*;
pub use names::*;
pub use network::*;
pub use pod::*;
pub use quantity::Quantity;
pub use said::Said;
pub use set::*;
pub use workload::*;

/// Whether a field holds what its absence means, and can be left out of a recording.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads `null` as what its absence means: the API server writes it for lists without omitempty, such as the endpoints of
/// an EndpointSlice (discovery/v1 types.go).
pub(crate) fn or_null<'de, D: serde::Deserializer<'de>, T: Default + serde::Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    <Option<T> as serde::Deserialize>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Declares partial types: every field may be missing or null, and is left out again when it holds its default.
macro_rules! partial {
    ($($(#[$meta:meta])* struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty),* $(,)? })*) => { $(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
        #[serde(rename_all = "camelCase", default, remote = "Self")]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(skip_serializing_if = "crate::kinds::is_default", deserialize_with = "crate::kinds::or_null")]
                pub $field: $type,
            )*
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                $name::deserialize(crate::kinds::object::ObjectOnly(deserializer))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $name::serialize(self, serializer)
            }
        }
    )* };
}
pub(crate) use partial;

/// The kinds that are read, in the order they are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    StatefulSet,
    ControllerRevision,
    Pod,
    PersistentVolumeClaim,
    PersistentVolume,
    StorageClass,
    Service,
    EndpointSlice,
    PodDisruptionBudget,
    HorizontalPodAutoscaler,
    ResourceQuota,
    Node,
    Event,
}

impl Kind {
    /// Every kind, in the order they are recorded.
    pub const ALL: [Kind; 13] = [
        Kind::StatefulSet,
        Kind::ControllerRevision,
        Kind::Pod,
        Kind::PersistentVolumeClaim,
        Kind::PersistentVolume,
        Kind::StorageClass,
        Kind::Service,
        Kind::EndpointSlice,
        Kind::PodDisruptionBudget,
        Kind::HorizontalPodAutoscaler,
        Kind::ResourceQuota,
        Kind::Node,
        Kind::Event,
    ];

    /// `kind` as written in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Kind::StatefulSet => "StatefulSet",
            Kind::ControllerRevision => "ControllerRevision",
            Kind::Pod => "Pod",
            Kind::PersistentVolumeClaim => "PersistentVolumeClaim",
            Kind::PersistentVolume => "PersistentVolume",
            Kind::StorageClass => "StorageClass",
            Kind::Service => "Service",
            Kind::EndpointSlice => "EndpointSlice",
            Kind::PodDisruptionBudget => "PodDisruptionBudget",
            Kind::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Kind::ResourceQuota => "ResourceQuota",
            Kind::Node => "Node",
            Kind::Event => "Event",
        }
    }

    /// The resource as RBAC and kubectl name it.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::StatefulSet => "statefulsets",
            Kind::ControllerRevision => "controllerrevisions",
            Kind::Pod => "pods",
            Kind::PersistentVolumeClaim => "persistentvolumeclaims",
            Kind::PersistentVolume => "persistentvolumes",
            Kind::StorageClass => "storageclasses",
            Kind::Service => "services",
            Kind::EndpointSlice => "endpointslices",
            Kind::PodDisruptionBudget => "poddisruptionbudgets",
            Kind::HorizontalPodAutoscaler => "horizontalpodautoscalers",
            Kind::ResourceQuota => "resourcequotas",
            Kind::Node => "nodes",
            Kind::Event => "events",
        }
    }

    /// `apiVersion` as written in manifests.
    pub fn api_version(self) -> &'static str {
        match self {
            Kind::StatefulSet | Kind::ControllerRevision => "apps/v1",
            Kind::StorageClass => "storage.k8s.io/v1",
            Kind::EndpointSlice => "discovery.k8s.io/v1",
            Kind::PodDisruptionBudget => "policy/v1",
            Kind::HorizontalPodAutoscaler => "autoscaling/v2",
            _ => "v1",
        }
    }

    /// Whether objects of this kind live in a namespace.
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Kind::PersistentVolume | Kind::StorageClass | Kind::Node)
    }

    /// The path of the list on the API server; `namespace` is ignored for kinds that have none.
    pub fn path(self, namespace: Option<&str>) -> String {
        let group = match self.api_version() {
            "v1" => "/api/v1".to_owned(),
            version => format!("/apis/{version}"),
        };
        match namespace {
            Some(namespace) if self.is_namespaced() => {
                format!("{group}/namespaces/{namespace}/{}", self.plural())
            }
            _ => format!("{group}/{}", self.plural()),
        }
    }
}

/// An object of one of the kinds.
pub trait Object: serde::de::DeserializeOwned + serde::Serialize + Send + 'static {
    /// Which kind.
    const KIND: Kind;
    /// Its metadata.
    fn meta(&self) -> &Meta;
    /// The same, to change it.
    fn meta_mut(&mut self) -> &mut Meta;
}

macro_rules! objects {
    ($($name:ident),*) => { $(
        impl Object for $name {
            const KIND: Kind = Kind::$name;
            fn meta(&self) -> &Meta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut Meta {
                &mut self.metadata
            }
        }
    )* };
}
objects!(
    StatefulSet,
    ControllerRevision,
    Pod,
    PersistentVolumeClaim,
    PersistentVolume,
    StorageClass,
    Service,
    EndpointSlice,
    PodDisruptionBudget,
    HorizontalPodAutoscaler,
    ResourceQuota,
    Node,
    Event
);
