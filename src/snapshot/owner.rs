//! Who else writes an object, and may change it back.

use crate::kinds::{Map, Meta, OwnerReference};

/// Somebody who keeps an object as it is written down elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// `Helm`, or for a controller the object it acts for: `Kafka events`.
    pub name: String,
    /// How that is known, as a fragment: `label app.kubernetes.io/managed-by`.
    pub evidence: String,
    /// What it has made the object from, where that is in the cluster.
    pub source: Option<Source>,
}

/// The object that owns another one as its controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As kubectl takes it: `Kafka.v1.kafka.example.com`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// What delivery tools write on the objects they keep.
const MARKS: [(&str, Part, &str); 8] = [
    ("Argo CD", Part::Annotation, "argocd.argoproj.io/tracking-id"),
    ("Argo CD", Part::Label, "argocd.argoproj.io/instance"),
    ("Flux", Part::Label, "kustomize.toolkit.fluxcd.io/name"),
    ("Flux", Part::Label, "helm.toolkit.fluxcd.io/name"),
    ("Helm", Part::Annotation, "meta.helm.sh/release-name"),
    ("Fleet", Part::Label, "objectset.rio.cattle.io/hash"),
    ("kapp", Part::Label, "kapp.k14s.io/app"),
    ("Kubernetes' addon manager", Part::Label, "addonmanager.kubernetes.io/mode"),
];

#[derive(Clone, Copy)]
enum Part {
    Label,
    Annotation,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Part::Label => "label",
            Part::Annotation => "annotation",
        }
    }
}

/// The label with which a tool or controller says that it keeps the object.
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Values of it that name no program that acts by itself.
const BY_HAND: [&str; 4] = ["kubectl", "kustomize", "manual", "none"];

/// Who manages an object, as it says itself: the object that controls it first, each manager once.
pub fn managed_by(meta: &Meta) -> Vec<Manager> {
    let mut all: Vec<Manager> = meta.controller().map(controller).into_iter().collect();
    let annotations: &Map = &meta.annotations;
    for (name, part, key) in MARKS {
        let map = match part {
            Part::Label => &meta.labels,
            Part::Annotation => annotations,
        };
        if map.contains_key(key) {
            add(&mut all, name, format!("{} {key}", part.word()));
        }
    }
    // A controller puts its own name there: who it acts for is said already.
    if let Some(value) = meta.labels.get(MANAGED_BY).filter(|_| meta.controller().is_none()) {
        let by_hand = value.is_empty() || BY_HAND.iter().any(|word| value.eq_ignore_ascii_case(word));
        if !by_hand {
            add(&mut all, value, format!("label {MANAGED_BY}"));
        }
    }
    all
}

/// The same, and delivery tools among the managers of its fields. Those come from `managedFields`, which recordings lack.
pub fn managed_by_fields(meta: &Meta, fields: &[String]) -> Vec<Manager> {
    let mut all: Vec<Manager> = Vec::new();
    for manager in fields {
        let name = match manager.to_ascii_lowercase().as_str() {
            name if name.starts_with("argocd") => "Argo CD",
            name if name.starts_with("kustomize-controller") || name.starts_with("flux") => "Flux",
            name if name.starts_with("helm-controller") => "Flux",
            name if name.starts_with("helm") => "Helm",
            _ => continue,
        };
        add(&mut all, name, format!("field manager {manager}"));
    }
    for manager in managed_by(meta) {
        match manager.source {
            Some(_) => all.push(manager),
            None => add(&mut all, &manager.name, manager.evidence),
        }
    }
    all
}

fn add(all: &mut Vec<Manager>, name: &str, evidence: String) {
    if !all.iter().any(|known| known.name == name) {
        all.push(Manager { name: name.to_owned(), evidence, source: None });
    }
}

/// An owner that controls the object.
pub fn controller(owner: &OwnerReference) -> Manager {
    let kind = match owner.api_version.split_once('/') {
        Some((group, version)) => format!("{}.{version}.{group}", owner.kind),
        None => owner.kind.clone(),
    };
    Manager {
        name: format!("{} {}", owner.kind, owner.name),
        evidence: "ownerReference".to_owned(),
        source: Some(Source { kind, name: owner.name.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(meta: &serde_json::Value) -> Vec<String> {
        let meta: Meta = serde_json::from_value(meta.clone()).unwrap();
        managed_by(&meta).into_iter().map(|it| format!("{} ({})", it.name, it.evidence)).collect()
    }

    #[test]
    fn each_manager_is_found_once_and_hands_are_no_manager() {
        let managed = serde_json::json!({
            "labels": {"app.kubernetes.io/managed-by": "Helm", "helm.toolkit.fluxcd.io/name": "web"},
            "annotations": {"meta.helm.sh/release-name": "web"},
        });
        assert_eq!(
            names(&managed),
            ["Flux (label helm.toolkit.fluxcd.io/name)", "Helm (annotation meta.helm.sh/release-name)",]
        );
        let owner = serde_json::json!({"apiVersion": "example.com/v1", "kind": "Kafka", "name": "events", "controller": true});
        let owned = serde_json::json!({
            "labels": {"app.kubernetes.io/managed-by": "kafka-operator"}, "ownerReferences": [owner],
        });
        assert_eq!(names(&owned), ["Kafka events (ownerReference)"]);
        assert_eq!(
            managed_by(&serde_json::from_value(owned).unwrap())[0].source.as_ref().unwrap().kind,
            "Kafka.v1.example.com"
        );
        let labelled =
            |value: &str| names(&serde_json::json!({"labels": {"app.kubernetes.io/managed-by": value}}));
        assert_eq!(labelled("web-operator"), ["web-operator (label app.kubernetes.io/managed-by)"]);
        for by_hand in ["Kustomize", "kubectl", ""] {
            assert_eq!(labelled(by_hand), Vec::<String>::new(), "{by_hand}");
        }
    }
}
