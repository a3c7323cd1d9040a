//! What is read of each Kubernetes kind: small partial types, nothing that is not used.
//!
//! Fields keep the names and units of the Kubernetes API. Whatever is not listed here is dropped while decoding, so a
//! recording, which is these types written out again, holds none of what `secrets` hides.
#![allow(missing_docs, reason = "fields are those of the Kubernetes API reference, under the same names")]

mod claim;
mod cluster;
mod event;
mod meta;
mod names;
mod network;
mod object;
mod others;
mod peers;
mod pod;
mod probe;
mod quantity;
mod said;
mod set;
pub(crate) mod wire;
mod workload;

pub use claim::*;
pub use cluster::*;
pub use event::*;
pub use meta::*;
pub use names::*;
pub use network::*;
pub use peers::Peers;
pub use pod::*;
pub use probe::*;
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

/// Declares partial types: every field may be missing or null, and is left out again when it holds its default. The numbers are
/// those of the fields in protobuf, see `wire`.
macro_rules! partial {
    ($($(#[$meta:meta])* struct $name:ident {
        $($(#[$field_meta:meta])* $field:ident: $type:ty => $outer:literal $(/ $inner:literal)? $(via $with:ident)?),* $(,)?
    })*) => { $(
        crate::kinds::partial_json! {
            $(#[$meta])* struct $name { $($(#[$field_meta])* $field: $type),* }
        }
        crate::kinds::wire::wire! { $name { $($field => $outer $(/ $inner)? $(via $with)?),* } }
    )* };
}
pub(crate) use partial;

/// The same for what is read as JSON only.
macro_rules! partial_json {
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
pub(crate) use partial_json;

/// Calls a macro with the table of all kinds that are read, in the order they are recorded: the kind and its type, the field
/// that holds them, the resource as RBAC and kubectl name it, `apiVersion`, whether they live in a namespace, and what they
/// are. To read another kind, give it a line here and a type of that name, with the numbers of its fields in protobuf. The StatefulSets come first: there is always a
/// list of them.
macro_rules! for_each_kind {
    ($each:ident) => {
        $each! {
            [StatefulSet sets "statefulsets" "apps/v1" namespaced "The StatefulSets"]
            [ControllerRevision revisions "controllerrevisions" "apps/v1" namespaced "Their revisions"]
            [Pod pods "pods" "v1" namespaced "All pods: others than those of StatefulSets can mount a PVC or take a name"]
            [PersistentVolumeClaim claims "persistentvolumeclaims" "v1" namespaced "PVCs"]
            [PersistentVolume volumes "persistentvolumes" "v1" cluster "Volumes"]
            [StorageClass classes "storageclasses" "storage.k8s.io/v1" cluster "Storage classes"]
            [Service services "services" "v1" namespaced "Services"]
            [EndpointSlice slices "endpointslices" "discovery.k8s.io/v1" namespaced "Endpoint slices"]
            [PodDisruptionBudget budgets "poddisruptionbudgets" "policy/v1" namespaced "Disruption budgets"]
            [HorizontalPodAutoscaler autoscalers "horizontalpodautoscalers" "autoscaling/v2" namespaced "Autoscalers"]
            [ResourceQuota quotas "resourcequotas" "v1" namespaced "Resource quotas"]
            [LimitRange limit_ranges "limitranges" "v1" namespaced "Limit ranges"]
            [ValidatingWebhookConfiguration validating_webhooks "validatingwebhookconfigurations" "admissionregistration.k8s.io/v1" cluster "Validating webhooks"]
            [MutatingWebhookConfiguration mutating_webhooks "mutatingwebhookconfigurations" "admissionregistration.k8s.io/v1" cluster "Mutating webhooks"]
            [ValidatingAdmissionPolicyBinding policy_bindings "validatingadmissionpolicybindings" "admissionregistration.k8s.io/v1" cluster "Bindings of admission policies"]
            [CSINode csi_nodes "csinodes" "storage.k8s.io/v1" cluster "Storage drivers of the nodes"]
            [CSIStorageCapacity capacities "csistoragecapacities" "storage.k8s.io/v1" everywhere "Free space of storage drivers: in namespaces of the \
                drivers, so that all namespaces are read"]
            [VolumeAttachment attachments "volumeattachments" "storage.k8s.io/v1" cluster "Which volume is attached to which node"]
            [Node nodes "nodes" "v1" cluster "Nodes"]
            [Event events "events" "v1" namespaced "Events of type Warning, and those few others that tell something: that a \
                node is coming for a pod, and that a container was killed because a probe failed"]
        }
    };
}
pub(crate) use for_each_kind;

/// Declares [`Kind`] and [`Object`] by the table.
macro_rules! declare_kinds {
    ($([$name:ident $field:ident $plural:literal $version:literal $scope:ident $about:literal])*) => {
        /// The kinds that are read, in the order they are recorded.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($name,)*
        }

        impl Kind {
            /// Every kind, in the order they are recorded.
            pub const ALL: [Kind; [$(Kind::$name),*].len()] = [$(Kind::$name),*];

            /// `kind` as written in manifests.
            pub fn name(self) -> &'static str {
                match self {
                    $(Kind::$name => stringify!($name),)*
                }
            }

            /// The resource as RBAC and kubectl name it.
            pub fn plural(self) -> &'static str {
                match self {
                    $(Kind::$name => $plural,)*
                }
            }

            /// `apiVersion` as written in manifests.
            pub fn api_version(self) -> &'static str {
                match self {
                    $(Kind::$name => $version,)*
                }
            }

            fn scope(self) -> Scope {
                match self {
                    $(Kind::$name => Scope::$scope,)*
                }
            }
        }

        $(
            impl Object for $name {
                const KIND: Kind = Kind::$name;
                fn meta(&self) -> &Meta {
                    &self.metadata
                }
                fn meta_mut(&mut self) -> &mut Meta {
                    &mut self.metadata
                }
                fn of_list(bytes: &[u8]) -> Result<$name, wire::Malformed> {
                    $name::decode(bytes)
                }
                fn settle(&mut self) {
                    self.drop_unread();
                }
            }
        )*
    };
}
for_each_kind!(declare_kinds);

/// Where objects of a kind live, in the words of the table.
#[allow(non_camel_case_types, reason = "words of the table of kinds")]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    namespaced,
    /// In namespaces, and read in all of them, wherever the StatefulSets are.
    everywhere,
    cluster,
}

impl Kind {
    /// Whether objects of this kind live in a namespace.
    pub fn is_namespaced(self) -> bool {
        self.scope() != Scope::cluster
    }

    /// Whether it is read in all namespaces, as what the cluster is made of.
    pub fn is_of_cluster(self) -> bool {
        self.scope() != Scope::namespaced
    }

    /// The path of the list on the API server; `namespace` is ignored for kinds that have none.
    pub fn path(self, namespace: Option<&str>) -> String {
        let group = match self.api_version() {
            "v1" => "/api/v1".to_owned(),
            version => format!("/apis/{version}"),
        };
        match namespace {
            Some(namespace) if !self.is_of_cluster() => {
                format!("{group}/namespaces/{namespace}/{}", self.plural())
            }
            _ => format!("{group}/{}", self.plural()),
        }
    }
}

/// An object of one of the kinds.
pub trait Object:
    wire::Wire + Default + serde::de::DeserializeOwned + serde::Serialize + Send + 'static
{
    /// Which kind.
    const KIND: Kind;
    /// Its metadata.
    fn meta(&self) -> &Meta;
    /// The same, to change it.
    fn meta_mut(&mut self) -> &mut Meta;
    /// Reads it from the protobuf of a list.
    ///
    /// # Errors
    /// When it is no protobuf of this type.
    fn of_list(bytes: &[u8]) -> Result<Self, wire::Malformed>;
    /// Drops what nobody reads of this object, of which a large cluster has many.
    fn settle(&mut self);
}

/// Of most kinds all is kept: a type that drops something has a method of this name.
trait KeepAll: wire::Wire + Default {
    fn decode(bytes: &[u8]) -> Result<Self, wire::Malformed> {
        wire::decode(bytes)
    }
    fn drop_unread(&mut self) {}
}

impl<T: Object> KeepAll for T {}
