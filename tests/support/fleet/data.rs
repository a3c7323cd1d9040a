//! The data set: how many objects there are, and what they have in common.

use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::kinds::{KINDS, Kind};
use super::random::Random;
use super::store::{Base, Store, Writer};
use super::{network, pods, storage, workloads};

pub const SEED: u64 = 20_261_128;

/// The time in the cluster, as the server's `Date` says it too: what is found does not depend on when it is looked for.
pub const NOW: &str = "2026-11-28T12:00:00Z";

/// Pods of Deployments for each app, and of StatefulSets for each of these.
pub const PODS_OF_APP: usize = 10;
pub const REPLICAS: usize = 3;

/// How large it is. At 10,000 pods: 1,000 StatefulSets of 3 replicas, 700 Deployments of 10, 50 namespaces, 300 nodes.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub sets: usize,
    pub apps: usize,
    pub namespaces: usize,
    pub nodes: usize,
}

impl Scale {
    /// With this number of pods, of which three in ten are those of StatefulSets.
    pub fn of_pods(pods: usize) -> Scale {
        let sets = pods / 10;
        Scale { sets, apps: sets * 7 / 10, namespaces: (sets / 20).max(2), nodes: (sets * 3 / 10).max(3) }
    }

    pub fn pods(&self) -> usize {
        self.sets * REPLICAS + self.apps * PODS_OF_APP
    }
}

/// What is wrong with the last pod of a StatefulSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    Unschedulable,
    CrashLoop,
    ImagePull,
}

/// A StatefulSet, as far as other objects are named after it.
pub struct Set {
    pub index: usize,
    pub name: String,
    pub namespace: String,
    pub uid: String,
    /// Names of its revisions, the oldest first.
    pub revisions: Vec<String>,
    pub broken: Option<Broken>,
    pub nodes: [usize; REPLICAS],
}

const DATABASES: [&str; 5] = ["postgres", "kafka", "redis", "cassandra", "elasticsearch"];

impl Set {
    pub fn of(index: usize, scale: Scale) -> Set {
        let mut random = Random::of("StatefulSet", index);
        let name = format!("{}-{index:05}", DATABASES[index % DATABASES.len()]);
        let count = if index.is_multiple_of(2) { 2 } else { 3 };
        // Every 25th: 40 of 1,000, and some of a small cluster too.
        let broken = (index % 25 == 7)
            .then(|| [Broken::Unschedulable, Broken::CrashLoop, Broken::ImagePull][index / 25 % 3]);
        Set {
            index,
            namespace: namespace(index, scale),
            uid: random.uid(),
            revisions: (0..count).map(|_| format!("{name}-{}", random.suffix(10))).collect(),
            nodes: std::array::from_fn(|ordinal| (index * 7 + ordinal) % scale.nodes),
            name,
            broken,
        }
    }

    /// Even ones have two PVCs for each pod; odd ones have one, and one of a replica that no longer exists.
    pub fn templates(&self) -> &'static [&'static str] {
        if self.index.is_multiple_of(2) { &["data", "wal"] } else { &["data"] }
    }

    pub fn update_revision(&self) -> &str {
        &self.revisions[self.revisions.len() - 1]
    }

    /// While the last pod of an update is broken, the others are on the revision before.
    pub fn current_revision(&self) -> &str {
        let back = if self.broken.is_some() { 2 } else { 1 };
        &self.revisions[self.revisions.len() - back]
    }

    pub fn is_broken(&self, ordinal: usize) -> Option<Broken> {
        self.broken.filter(|_| ordinal == REPLICAS - 1)
    }

    pub fn labels(&self) -> Value {
        json!({
            "app.kubernetes.io/component": "database",
            "app.kubernetes.io/instance": self.name,
            "app.kubernetes.io/managed-by": "Helm",
            "app.kubernetes.io/name": DATABASES[self.index % DATABASES.len()],
            "helm.sh/chart": format!("{}-16.4.2", DATABASES[self.index % DATABASES.len()]),
        })
    }

    pub fn selector(&self) -> Value {
        json!({"app.kubernetes.io/component": "database", "app.kubernetes.io/instance": self.name})
    }
}

pub fn namespace(index: usize, scale: Scale) -> String {
    format!("team-{:03}", index % scale.namespaces)
}

pub fn node(index: usize) -> String {
    format!("ip-10-{}-{}.eu-central-1.compute.internal", index / 250, index % 250)
}

pub fn zone(node: usize) -> &'static str {
    ["eu-central-1a", "eu-central-1b", "eu-central-1c"][node % 3]
}

pub fn pod_uid(set: &Set, ordinal: usize) -> String {
    Random::of("pod-uid", set.index * REPLICAS + ordinal).uid()
}

pub fn address(index: usize) -> String {
    format!("10.{}.{}.{}", 128 + index / 62_500, index / 250 % 250, index % 250 + 1)
}

/// So long ago.
pub fn ago(seconds: i64) -> String {
    let now: Timestamp = NOW.parse().expect("a time");
    now.checked_sub(SignedDuration::from_secs(seconds)).expect("a time").to_string()
}

/// Most objects are some weeks old.
pub fn age(random: &mut Random) -> i64 {
    86_400 * 7 + random.below(86_400 * 60) as i64
}

/// Metadata that every object has.
pub fn meta(kind: &str, name: &str, namespace: Option<&str>, age: i64, random: &mut Random) -> Value {
    let mut meta = json!({"name": name, "uid": random.uid(), "creationTimestamp": ago(age),
        "resourceVersion": (40_000_000 + random.below(9_000_000)).to_string()});
    if let Some(namespace) = namespace {
        meta["namespace"] = namespace.into();
    }
    if ["StatefulSet", "Deployment"].contains(&kind) {
        meta["generation"] = 3.into();
    }
    meta
}

/// The whole cluster, on disk: one file for each kind, and one for each other form of it that was asked for.
pub struct DataSet {
    pub scale: Scale,
    pub store: Store,
}

impl DataSet {
    /// # Panics
    /// If the disk is full.
    pub fn generate(scale: Scale) -> Arc<DataSet> {
        let folder = tempfile::tempdir().expect("a folder");
        let bases = KINDS.iter().map(|kind| (kind.plural, write(kind, scale, folder.path()))).collect();
        Arc::new(DataSet { scale, store: Store::new(folder, bases) })
    }

    /// The name and the namespace of a healthy StatefulSet.
    pub fn healthy(&self) -> (String, String) {
        let set = Set::of(0, self.scale);
        (set.name, set.namespace)
    }

    /// Pods that are not healthy: one of each broken StatefulSet, and every hundredth of a Deployment.
    pub fn unhealthy(&self) -> usize {
        let sets = (0..self.scale.sets).filter(|index| Set::of(*index, self.scale).broken.is_some()).count();
        sets + (self.scale.apps * PODS_OF_APP).div_ceil(100)
    }
}

/// Writes all objects of a kind, in the order etcd has them: by namespace, then by name.
fn write(kind: &'static Kind, scale: Scale, folder: &Path) -> Base {
    let mut order: Vec<(String, String, (usize, usize))> = Vec::new();
    let mut add = |namespace: String, name: String, key: (usize, usize)| order.push((namespace, name, key));
    let namespace_of = |index| namespace(index, scale);
    match kind.kind {
        "Pod" => {
            for index in 0..scale.sets {
                let set = Set::of(index, scale);
                for ordinal in 0..REPLICAS {
                    add(set.namespace.clone(), format!("{}-{ordinal}", set.name), (index, ordinal));
                }
            }
            for index in 0..scale.apps * PODS_OF_APP {
                let app = index / PODS_OF_APP;
                add(namespace_of(app), pods::app_pod_name(index), (scale.sets + index, 0));
            }
        }
        "StatefulSet" => {
            (0..scale.sets).for_each(|i| add(namespace_of(i), Set::of(i, scale).name, (i, 0)));
        }
        "ControllerRevision" => {
            for index in 0..scale.sets {
                let set = Set::of(index, scale);
                for (number, name) in set.revisions.iter().enumerate() {
                    add(set.namespace.clone(), name.clone(), (index, number));
                }
            }
        }
        "PersistentVolumeClaim" | "PersistentVolume" => {
            for index in 0..scale.sets {
                let set = Set::of(index, scale);
                for (number, (template, ordinal)) in storage::claims(&set).into_iter().enumerate() {
                    let claim = storage::Claim::of(&set, template, ordinal);
                    match kind.kind {
                        "PersistentVolume" => add(String::new(), claim.volume, (index, number)),
                        _ => add(set.namespace.clone(), claim.name, (index, number)),
                    }
                }
            }
        }
        "Service" | "EndpointSlice" => {
            for index in 0..scale.sets {
                let set = Set::of(index, scale);
                for headless in [0, 1] {
                    add(
                        set.namespace.clone(),
                        network::name(kind.kind, &set, headless == 1),
                        (index, headless),
                    );
                }
            }
        }
        "Event" => {
            for index in 0..scale.sets * 3 {
                add(network::event_namespace(index, scale), network::event_name(index, scale), (index, 0));
            }
        }
        "StorageClass" => {
            storage::CLASSES
                .iter()
                .enumerate()
                .for_each(|(i, name)| add(String::new(), (*name).into(), (i, 0)));
        }
        "Node" => (0..scale.nodes).for_each(|i| add(String::new(), node(i), (i, 0))),
        "Namespace" => (0..scale.namespaces).for_each(|i| add(String::new(), namespace_of(i), (i, 0))),
        _ => {}
    }
    order.sort();
    let mut writer = Writer::create(&folder.join(kind.plural));
    for (namespace, name, (index, number)) in order {
        let object = match kind.kind {
            "Pod" if index < scale.sets => pods::of_set(&Set::of(index, scale), number),
            "Pod" => pods::of_app(index - scale.sets, scale),
            "StatefulSet" => workloads::set(&Set::of(index, scale)),
            "ControllerRevision" => workloads::revision(&Set::of(index, scale), number),
            "PersistentVolumeClaim" => storage::claim(&Set::of(index, scale), number),
            "PersistentVolume" => storage::volume(&Set::of(index, scale), number),
            "Service" => network::service(&Set::of(index, scale), number == 1),
            "EndpointSlice" => network::slice(&Set::of(index, scale), number == 1),
            "Event" => network::event(index, scale),
            "StorageClass" => storage::class(index),
            "Node" => storage::node(index),
            "Namespace" => storage::namespace(&name),
            other => unreachable!("there is no {other}"),
        };
        debug_assert_eq!(object["metadata"]["name"], name);
        debug_assert_eq!(object["metadata"]["namespace"].as_str().unwrap_or_default(), namespace);
        writer.add(&namespace, &name, object);
    }
    writer.end()
}
