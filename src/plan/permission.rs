//! What the API server must allow for a request.

/// What a request needs to be allowed, as `kubectl auth can-i` takes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// The verb.
    pub verb: &'static str,
    /// The API group.
    pub group: &'static str,
    /// The resource, in the plural.
    pub resource: &'static str,
    /// The subresource, or nothing.
    pub subresource: &'static str,
    /// The namespace; `None` where it is that of the set, empty where it is in none.
    pub namespace: Option<String>,
}

/// The API group of VolumeSnapshots.
pub const SNAPSHOT_GROUP: &str = "snapshot.storage.k8s.io";

impl Permission {
    /// In the namespace of the set.
    pub const fn of_set(verb: &'static str, group: &'static str, resource: &'static str) -> Permission {
        Permission { verb, group, resource, subresource: "", namespace: None }
    }

    /// In a namespace, or for what lies in none.
    pub fn within(
        namespace: &str,
        verb: &'static str,
        group: &'static str,
        resource: &'static str,
    ) -> Permission {
        Permission { namespace: Some(namespace.to_owned()), ..Permission::of_set(verb, group, resource) }
    }

    /// The same in this namespace, where it is that of the set.
    #[must_use]
    pub fn placed(self, namespace: &str) -> Permission {
        Permission { namespace: Some(self.namespace.unwrap_or_else(|| namespace.to_owned())), ..self }
    }

    /// To change a StatefulSet.
    pub const PATCH_SET: Permission = Permission::of_set("patch", "apps", "statefulsets");
    /// To delete a pod.
    pub const DELETE_POD: Permission = Permission::of_set("delete", "", "pods");
    /// To evict a pod.
    pub const EVICT_POD: Permission =
        Permission { verb: "create", group: "", resource: "pods", subresource: "eviction", namespace: None };

    /// To read a PVC again.
    pub const READ_PVC: Permission = Permission::of_set("get", "", "persistentvolumeclaims");
    /// To read again what is about to be deleted: the PVC, and the StatefulSet that may need it.
    pub const READ_BEFORE_DELETION: [Permission; 2] =
        [Permission::READ_PVC, Permission::of_set("get", "apps", "statefulsets")];
    /// To create a VolumeSnapshot.
    pub const CREATE_SNAPSHOT: Permission = Permission::of_set("create", SNAPSHOT_GROUP, "volumesnapshots");
    /// To wait for a VolumeSnapshot.
    pub const READ_SNAPSHOT: Permission = Permission::of_set("get", SNAPSHOT_GROUP, "volumesnapshots");

    /// To write a PVC.
    pub const fn write_pvc(verb: &'static str) -> Permission {
        Permission::of_set(verb, "", "persistentvolumeclaims")
    }

    /// To change a PV.
    pub fn patch_volume() -> Permission {
        Permission::within("", "patch", "", "persistentvolumes")
    }

    /// To read a PV again.
    pub fn read_volume() -> Permission {
        Permission::within("", "get", "", "persistentvolumes")
    }

    /// `pods/eviction`, `statefulsets.apps`.
    pub fn resource_text(&self) -> String {
        let Permission { group, resource, subresource, .. } = self;
        let group = if group.is_empty() { String::new() } else { format!(".{group}") };
        let subresource = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
        format!("{resource}{group}{subresource}")
    }
}
