//! Metadata, label selectors and conditions, which all kinds share.

use std::collections::BTreeMap;
use std::ops::Deref;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Said, partial};
use crate::secrets::without_credentials;

/// Label and annotation maps.
pub type Map = BTreeMap<String, String>;

/// Where `kubectl apply` keeps the manifest it applied last, as a whole.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// All that is kept of that manifest: its `spec.replicas`.
pub const APPLIED_REPLICAS: &str = "kubectl-sts/applied-replicas";

/// The annotations that mean something to this tool. All others are dropped: users put whole manifests and
/// credentials into annotations.
const ANNOTATIONS: [&str; 15] = [
    APPLIED_REPLICAS,
    "kubectl-sts/canary",
    "kubectl-sts/claim-uid",
    "kubectl-sts/reclaim-policy",
    "kubernetes.io/change-cause",
    "kubectl.kubernetes.io/restartedAt",
    "volume.kubernetes.io/selected-node",
    "volume.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.beta.kubernetes.io/storage-class",
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
    "pv.kubernetes.io/provisioned-by",
    "meta.helm.sh/release-name",
    "argocd.argoproj.io/tracking-id",
];

/// Annotations, of which only known ones are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Annotations(Map);

impl Deref for Annotations {
    type Target = Map;

    fn deref(&self) -> &Map {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Annotations, D::Error> {
        let mut all = Map::deserialize(deserializer)?;
        if let Some(replicas) = all.get(LAST_APPLIED).and_then(|applied| applied_replicas(applied)) {
            all.insert(APPLIED_REPLICAS.to_owned(), replicas.to_string());
        }
        all.retain(|key, _| ANNOTATIONS.contains(&key.as_str()));
        if let Some(cause) = all.get_mut("kubernetes.io/change-cause") {
            // `kubectl annotate` and scripts write whole command lines here.
            *cause = without_credentials(cause);
        }
        Ok(Annotations(all))
    }
}

/// `spec.replicas` of a manifest.
fn applied_replicas(manifest: &str) -> Option<i32> {
    let manifest: serde_json::Value = serde_json::from_str(manifest).ok()?;
    i32::try_from(manifest.get("spec")?.get("replicas")?.as_i64()?).ok()
}

/// Who sets `spec.replicas` by server-side apply: the names of the field managers, which is all that is kept of
/// managedFields.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Appliers(Vec<String>);

impl Deref for Appliers {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0
    }
}

/// A metav1.ManagedFieldsEntry, or what a recording has of one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Name(String),
    Managed {
        #[serde(default)]
        manager: String,
        #[serde(default)]
        operation: String,
        #[serde(default, rename = "fieldsV1")]
        fields: serde_json::Value,
    },
}

impl<'de> Deserialize<'de> for Appliers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Appliers, D::Error> {
        let all = Vec::<Entry>::deserialize(deserializer)?.into_iter();
        let names = all.filter_map(|entry| match entry {
            Entry::Name(name) => Some(name),
            Entry::Managed { manager, operation, fields } => {
                let sets = fields.get("f:spec").is_some_and(|spec| spec.get("f:replicas").is_some());
                (operation == "Apply" && sets).then_some(manager)
            }
        });
        Ok(Appliers(names.collect()))
    }
}

partial! {
    /// metav1.ObjectMeta, with known annotations only, and of managedFields only who applies `spec.replicas`.
    struct Meta {
        name: String,
        namespace: String,
        uid: String,
        resource_version: String,
        generation: i64,
        creation_timestamp: Option<Timestamp>,
        deletion_timestamp: Option<Timestamp>,
        deletion_grace_period_seconds: Option<i64>,
        labels: Map,
        annotations: Annotations,
        owner_references: Vec<OwnerReference>,
        finalizers: Vec<String>,
        #[serde(alias = "managedFields")]
        replicas_appliers: Appliers,
    }

    /// metav1.OwnerReference.
    struct OwnerReference {
        api_version: String,
        kind: String,
        name: String,
        uid: String,
        controller: bool,
        block_owner_deletion: bool,
    }

    /// metav1.LabelSelector.
    struct LabelSelector {
        match_labels: Map,
        match_expressions: Vec<Requirement>,
    }

    /// metav1.LabelSelectorRequirement.
    struct Requirement {
        key: String,
        operator: String,
        values: Vec<String>,
    }

    /// The conditions of pods, claims, nodes and sets, which have these fields in common.
    struct Condition {
        r#type: String,
        status: String,
        reason: String,
        message: Said,
        last_transition_time: Option<Timestamp>,
    }

    /// v1.ObjectReference.
    struct Reference {
        kind: String,
        namespace: String,
        name: String,
        uid: String,
        field_path: String,
    }
}

impl Meta {
    /// The owner that manages this object (metav1.GetControllerOf).
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller)
    }

    /// Whether a deletion was asked for and has not ended.
    pub fn is_terminating(&self) -> bool {
        self.deletion_timestamp.is_some()
    }
}

impl LabelSelector {
    /// Whether the labels satisfy every term. An empty selector matches everything, as in metav1.
    pub fn matches(&self, labels: &Map) -> bool {
        matches_labels(&self.match_labels, labels)
            && self.match_expressions.iter().all(|term| {
                let value = labels.get(&term.key);
                match term.operator.as_str() {
                    "In" => value.is_some_and(|value| term.values.contains(value)),
                    "NotIn" => value.is_none_or(|value| !term.values.contains(value)),
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}

impl LabelSelector {
    /// As a `labelSelector` query: `app=db,tier in (gold,silver),!old`.
    pub fn to_query(&self) -> String {
        let pairs = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let terms = self.match_expressions.iter().map(|term| match term.operator.as_str() {
            "In" => format!("{} in ({})", term.key, term.values.join(",")),
            "NotIn" => format!("{} notin ({})", term.key, term.values.join(",")),
            "DoesNotExist" => format!("!{}", term.key),
            _ => term.key.clone(),
        });
        pairs.chain(terms).collect::<Vec<_>>().join(",")
    }
}

/// Whether `labels` has every pair of `wanted`.
pub fn matches_labels(wanted: &Map, labels: &Map) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The condition of the given type.
pub fn condition<'a>(conditions: &'a [Condition], name: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.r#type == name)
}
