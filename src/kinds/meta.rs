//! Metadata, label selectors and conditions, which all kinds share.

use std::fmt;
use std::ops::{Deref, DerefMut};

use jiff::Timestamp;
use litemap::LiteMap;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::wire::{self, Field, Malformed, Wire};
use super::{Said, partial};
use crate::secrets::without_credentials;

/// Label and annotation maps, sorted by their keys: one block of memory for the few entries that an object has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map(LiteMap<String, String>);

impl Deref for Map {
    type Target = LiteMap<String, String>;

    fn deref(&self) -> &LiteMap<String, String> {
        &self.0
    }
}

impl DerefMut for Map {
    fn deref_mut(&mut self) -> &mut LiteMap<String, String> {
        &mut self.0
    }
}

impl FromIterator<(String, String)> for Map {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(entries: I) -> Map {
        Map(entries.into_iter().collect())
    }
}

impl<const N: usize> From<[(String, String); N]> for Map {
    fn from(entries: [(String, String); N]) -> Map {
        entries.into_iter().collect()
    }
}

impl<'a> IntoIterator for &'a Map {
    type Item = (&'a String, &'a String);
    type IntoIter = <&'a LiteMap<String, String> as IntoIterator>::IntoIter;

    fn into_iter(self) -> Self::IntoIter {
        (&self.0).into_iter()
    }
}

// An empty LiteMap is written as a list, and one is read from a list.
impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

impl<'de> Deserialize<'de> for Map {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Map;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Map, A::Error> {
                let mut map = Map::default();
                while let Some((key, value)) = entries.next_entry()? {
                    map.insert(key, value);
                }
                Ok(map)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

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

impl Annotations {
    /// Takes an annotation in, if it is one of those that mean something.
    fn take(&mut self, key: &str, value: &str) {
        if key == LAST_APPLIED {
            if let Some(replicas) = applied_replicas(value) {
                self.0.insert(APPLIED_REPLICAS.to_owned(), replicas.to_string());
            }
        } else if ANNOTATIONS.contains(&key) {
            // `kubectl annotate` and scripts write whole command lines here.
            let is_line = key == "kubernetes.io/change-cause";
            let value = if is_line { without_credentials(value) } else { value.to_owned() };
            self.0.insert(key.to_owned(), value);
        }
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Annotations, D::Error> {
        let mut known = Annotations::default();
        for (key, value) in &Map::deserialize(deserializer)? {
            known.take(key, value);
        }
        Ok(known)
    }
}

impl Wire for Annotations {
    fn merge(&mut self, value: Field<'_>) -> Result<(), Malformed> {
        let (key, value) = wire::entry(value)?;
        self.take(&key.text()?, &value.text()?);
        Ok(())
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
struct Entry(Option<String>);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entry, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an object")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Entry, E> {
                Ok(Entry(Some(name.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                let (mut manager, mut operation, mut sets) = (String::new(), String::new(), false);
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "manager" => manager = map.next_value()?,
                        "operation" => operation = map.next_value()?,
                        "fieldsV1" => Managed(sets) = map.next_value()?,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(Entry((operation == "Apply" && sets).then_some(manager)))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Whether `spec.replicas` is among the fields of an entry. They are many, and nothing else of them is kept.
struct Managed(bool);

impl<'de> Deserialize<'de> for Managed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Managed, D::Error> {
        deserializer.deserialize_any(Within(&["f:spec", "f:replicas"])).map(Managed)
    }
}

/// Whether a value has a member of this path.
struct Within(&'static [&'static str]);

impl<'de> Visitor<'de> for Within {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut is_there = false;
        while let Some(key) = map.next_key::<String>()? {
            match self.0 {
                [wanted] if key == *wanted => {
                    is_there = true;
                    map.next_value::<IgnoredAny>()?;
                }
                [wanted, rest @ ..] if key == *wanted => is_there |= map.next_value_seed(Within(rest))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(is_there)
    }
}

impl<'de> DeserializeSeed<'de> for Within {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Deserialize<'de> for Appliers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Appliers, D::Error> {
        let all = Vec::<Entry>::deserialize(deserializer)?;
        Ok(Appliers(all.into_iter().filter_map(|entry| entry.0).collect()))
    }
}

impl Wire for Appliers {
    /// One metav1.ManagedFieldsEntry. Its fields are JSON in protobuf too.
    fn merge(&mut self, value: Field<'_>) -> Result<(), Malformed> {
        let (mut manager, mut operation, mut fields) = (String::new(), Field::Bytes(&[]), Field::Bytes(&[]));
        for field in value.fields()? {
            match field? {
                (1, value) => manager.merge(value)?,
                (2, value) => operation = value,
                (7, value) => fields = value,
                _ => {}
            }
        }
        if operation.bytes()? != b"Apply" {
            return Ok(());
        }
        for field in fields.fields()? {
            if let (1, value) = field? {
                let Managed(sets) = serde_json::from_slice(value.bytes()?).map_err(|_| Malformed)?;
                self.0.extend(sets.then(|| manager.clone()));
            }
        }
        Ok(())
    }
}

partial! {
    /// metav1.ObjectMeta, with known annotations only, and of managedFields only who applies `spec.replicas`.
    struct Meta {
        name: String => 1,
        namespace: String => 3,
        uid: String => 5,
        resource_version: String => 6,
        generation: i64 => 7,
        creation_timestamp: Option<Timestamp> => 8,
        deletion_timestamp: Option<Timestamp> => 9,
        deletion_grace_period_seconds: Option<i64> => 10,
        labels: Map => 11,
        annotations: Annotations => 12,
        owner_references: Vec<OwnerReference> => 13,
        finalizers: Vec<String> => 14,
        #[serde(alias = "managedFields")]
        replicas_appliers: Appliers => 17,
    }

    /// metav1.OwnerReference.
    struct OwnerReference {
        api_version: String => 5,
        kind: String => 1,
        name: String => 3,
        uid: String => 4,
        controller: bool => 6,
        block_owner_deletion: bool => 7,
    }

    /// metav1.LabelSelector.
    struct LabelSelector {
        match_labels: Map => 1,
        match_expressions: Vec<Requirement> => 2,
    }

    /// metav1.LabelSelectorRequirement.
    struct Requirement {
        key: String => 1,
        operator: String => 2,
        values: Vec<String> => 3,
    }

    /// The conditions of pods, claims, nodes and sets, which have these fields in common.
    struct Condition {
        r#type: String => 1,
        status: String => 2,
        reason: String => 5,
        message: Said => 6,
        last_transition_time: Option<Timestamp> => 4,
    }

    /// v1.ObjectReference.
    struct Reference {
        kind: String => 1,
        namespace: String => 2,
        name: String => 3,
        uid: String => 4,
        field_path: String => 7,
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
