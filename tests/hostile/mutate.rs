//! Objects of the shipped pages and recordings, and what becomes of them when somebody tampers with them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kubectl_sts::cluster::recorded::{self, Absent};
use kubectl_sts::kinds::*;
use kubectl_sts::rules::RULES;
use kubectl_sts::snapshot::{Observed, Scope, ServerVersion};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::rules::cases;

/// Objects that belong together, and when they were looked at.
#[derive(Clone)]
pub struct World {
    pub name: String,
    pub objects: Vec<Value>,
    pub taken_at: Timestamp,
    pub server: Option<String>,
}

/// Every case of every page, and every recording.
pub fn worlds() -> Vec<World> {
    let mut worlds = Vec::new();
    for rule in RULES {
        for case in cases(rule.page) {
            let files = [(case.title.clone(), case.yaml.clone())];
            let observed = recorded::read(&files, Absent::Empty, Timestamp::UNIX_EPOCH).unwrap();
            let documents: Vec<Value> = serde_saphyr::from_multiple(&case.yaml).unwrap();
            let mut objects = Vec::new();
            for mut document in documents {
                match document.get_mut("items").and_then(Value::as_array_mut) {
                    Some(items) => objects.append(items),
                    None => objects.push(document),
                }
            }
            worlds.push(World {
                name: format!("{} / {}", rule.name, case.title),
                objects,
                taken_at: observed.taken_at,
                server: observed.server.map(|server| server.text),
            });
        }
    }
    for (name, text) in recordings() {
        let recording: Value = serde_saphyr::from_str(&text).unwrap();
        worlds.push(World {
            name,
            objects: recording["objects"].as_array().unwrap().clone(),
            taken_at: recording["takenAt"].as_str().unwrap().parse().unwrap(),
            server: recording["serverVersion"].as_str().map(str::to_owned),
        });
    }
    worlds
}

/// The shipped recordings, by name.
pub fn recordings() -> Vec<(String, String)> {
    let folder = format!("{}/docs/recordings", env!("CARGO_MANIFEST_DIR"));
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort();
    found
}

impl World {
    /// As if a cluster had said all this, without a look at the door; `None` where it is no such object any more.
    pub fn observed(&self) -> Option<Observed> {
        fn of<T: DeserializeOwned>(objects: &[Value], kind: &str) -> Option<Vec<T>> {
            let of_kind = objects.iter().filter(|object| object["kind"] == kind);
            of_kind
                .map(|object| {
                    let mut object = object.clone();
                    let namespaced = Kind::ALL.into_iter().any(|it| it.name() == kind && it.is_namespaced());
                    if namespaced && object["metadata"]["namespace"].is_null() {
                        object["metadata"]["namespace"] = "default".into();
                    }
                    serde_json::from_value(object).ok()
                })
                .collect()
        }
        let all = &self.objects;
        let mut observed = Observed::nothing(self.taken_at, Scope::All, "");
        observed.server = self.server.clone().map(|text| ServerVersion { text });
        observed.sets = of(all, "StatefulSet")?;
        let probe = all.iter().find(|object| object["kind"] == "Recording").map(|it| it["dns"].clone());
        observed.dns = probe.and_then(|probe| serde_json::from_value(probe).ok());
        observed.revisions = Ok(of(all, "ControllerRevision")?);
        observed.pods = Ok(of(all, "Pod")?);
        observed.claims = Ok(of(all, "PersistentVolumeClaim")?);
        observed.volumes = Ok(of(all, "PersistentVolume")?);
        observed.classes = Ok(of(all, "StorageClass")?);
        observed.services = Ok(of(all, "Service")?);
        observed.slices = Ok(of(all, "EndpointSlice")?);
        observed.budgets = Ok(of(all, "PodDisruptionBudget")?);
        observed.autoscalers = Ok(of(all, "HorizontalPodAutoscaler")?);
        observed.quotas = Ok(of(all, "ResourceQuota")?);
        observed.limit_ranges = Ok(of(all, "LimitRange")?);
        observed.validating_webhooks = Ok(of(all, "ValidatingWebhookConfiguration")?);
        observed.mutating_webhooks = Ok(of(all, "MutatingWebhookConfiguration")?);
        observed.policy_bindings = Ok(of(all, "ValidatingAdmissionPolicyBinding")?);
        observed.attachments = Ok(of(all, "VolumeAttachment")?);
        observed.csi_nodes = Ok(of(all, "CSINode")?);
        observed.capacities = Ok(of(all, "CSIStorageCapacity")?);
        observed.nodes = Ok(of(all, "Node")?);
        observed.events = Ok(of(all, "Event")?);
        Some(observed)
    }

    /// Every text in it that could be somebody's: values, and keys of maps.
    pub fn texts(&self) -> Vec<String> {
        let mut texts = BTreeSet::new();
        self.objects.iter().for_each(|object| collect(object, "", &mut texts));
        // Longest first, so that a name is not torn apart by one that is a part of it.
        let mut texts: Vec<String> = texts.into_iter().collect();
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        texts
    }

    /// The same with other texts, wherever they stand, within other texts and as keys too.
    pub fn with(&self, other: &BTreeMap<&str, &str>) -> World {
        let mut changed = self.clone();
        let mut pairs: Vec<(&str, &str)> = other.iter().map(|(from, to)| (*from, *to)).collect();
        pairs.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        for object in &mut changed.objects {
            *object = replaced(object, "", &pairs);
        }
        changed
    }
}

/// Kubernetes' own words, of which the objects consist whoever wrote them.
fn is_fixed(key: &str, text: &str) -> bool {
    ["kind", "apiVersion"].contains(&key)
        || text.len() < 2
        || text.parse::<Timestamp>().is_ok()
        || matches!(text, "True" | "False" | "Unknown")
}

fn is_own(key: &str) -> bool {
    !key.chars().all(|c| c.is_ascii_alphabetic()) || key.chars().all(|c| c.is_ascii_lowercase())
}

const MAPS: [&str; 7] =
    ["labels", "annotations", "matchLabels", "nodeSelector", "selector", "requests", "limits"];

fn collect(value: &Value, key: &str, texts: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if !is_fixed(key, text) => {
            texts.insert(text.clone());
            // Names within messages are found there too.
            let inner =
                text.split('"').skip(1).step_by(2).filter(|inner| inner.len() > 1 && inner.len() < 80);
            texts.extend(inner.map(str::to_owned));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, key, texts)),
        Value::Object(members) => {
            for (name, member) in members {
                if MAPS.contains(&key) && is_own(name) && name.len() > 1 {
                    texts.insert(name.clone());
                }
                collect(member, name, texts);
            }
        }
        _ => {}
    }
}

fn replaced(value: &Value, key: &str, pairs: &[(&str, &str)]) -> Value {
    // One pass: what was put in is not looked at again.
    let change = |text: &str| {
        if !pairs.iter().any(|(from, _)| text.contains(from)) {
            return text.to_owned();
        }
        let mut out = String::new();
        let mut rest = text;
        'outer: while let Some(first) = rest.chars().next() {
            for (from, to) in pairs {
                if let Some(after) = rest.strip_prefix(from) {
                    out.push_str(to);
                    rest = after;
                    continue 'outer;
                }
            }
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
        out
    };
    match value {
        Value::String(text) if !is_fixed(key, text) => Value::String(change(text)),
        Value::Array(items) => items.iter().map(|item| replaced(item, key, pairs)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| {
                let fixed = !MAPS.contains(&key);
                let name_now = if fixed { name.clone() } else { change(name) };
                (name_now, replaced(member, name, pairs))
            })
            .collect(),
        other => other.clone(),
    }
}
