//! `--baseline`: only what is new since a diagnosis that was saved.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::cli::read_file;
use crate::cluster::decode;
use crate::cluster::recorded::STANDARD_INPUT;
use crate::error::{Error, Result};
use crate::kinds::StatefulSet;
use crate::rules::{Finding, Severity};

/// What was known before.
#[derive(Debug, Default)]
pub(super) struct Baseline {
    /// The severity of each finding about each object.
    known: BTreeMap<Key, Severity>,
}

/// A rule, a namespace, a StatefulSet, and the kind and name of an object.
type Key = [String; 5];

/// What of a saved diagnosis is compared: not its words, which change with every second.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    api_version: String,
    kind: String,
    findings: Vec<SavedFinding>,
    /// There where it is itself a comparison.
    baseline: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedFinding {
    code: String,
    severity: String,
    namespace: String,
    set: String,
    object: SavedObject,
    #[serde(default)]
    other_objects: Vec<SavedObject>,
}

#[derive(Deserialize)]
struct SavedObject {
    kind: String,
    name: String,
    /// There where it is another than the StatefulSet's.
    namespace: Option<String>,
}

impl Baseline {
    /// Reads a diagnosis that was saved with `-o json` or `-o yaml`.
    ///
    /// # Errors
    /// When the file cannot be read, or is no diagnosis.
    pub(super) fn read(name: &str) -> Result<Baseline> {
        let label = if name == "-" { STANDARD_INPUT } else { name };
        let none = || {
            Error::cluster(format!("{label} is no saved diagnosis"))
                .hint("save one with: kubectl sts doctor -o json > FILE")
        };
        let mut documents = decode::documents(label, &read_file(name)?)?;
        let (Some(document), true) = (documents.pop(), documents.is_empty()) else { return Err(none()) };
        let saved: Saved = serde_json::from_value(document).map_err(|_| none())?;
        if saved.api_version != "kubectl-sts/v1" || saved.kind != "Diagnosis" {
            return Err(none());
        }
        if saved.baseline.is_some() {
            return Err(Error::cluster(format!("{label} holds only what was new when it was saved"))
                .hint("save a diagnosis without --baseline"));
        }
        let mut known = BTreeMap::new();
        for finding in saved.findings {
            let severity = Severity::parse(&finding.severity).ok_or_else(none)?;
            for object in std::iter::once(finding.object).chain(finding.other_objects) {
                let namespace = object.namespace.as_ref().unwrap_or(&finding.namespace);
                let key = [&finding.code, namespace, &finding.set, &object.kind, &object.name];
                let worst = known.entry(key.map(Clone::clone)).or_insert(severity);
                *worst = severity.max(*worst);
            }
        }
        Ok(Baseline { known })
    }

    /// Takes out what was known: findings of the same rule about the same objects that are no worse than before. Tells how
    /// many of each kind there are.
    pub(super) fn keep_new(&self, findings: &mut Vec<(&StatefulSet, Finding)>) -> Compared {
        let before = findings.len();
        let mut still: Vec<Key> = Vec::new();
        findings.retain(|(set, finding)| {
            let objects = std::iter::once(&finding.subject).chain(&finding.also);
            let keys: Vec<Key> = objects
                .map(|it| {
                    let namespace = it.namespace.as_ref().unwrap_or(&set.metadata.namespace);
                    let set = &set.metadata.name;
                    [finding.rule.code, namespace, set, it.kind.name(), &it.name].map(str::to_owned)
                })
                .collect();
            let is_known = |key: &Key| self.known.get(key).is_some_and(|known| finding.severity <= *known);
            let is_new = !keys.iter().all(is_known);
            still.extend(keys);
            is_new
        });
        let of_rule = |key: &Key| [key[0].clone(), key[1].clone(), key[2].clone()];
        let still: Vec<[String; 3]> = still.iter().map(of_rule).collect();
        let mut gone: Vec<[String; 3]> = self.known.keys().map(of_rule).collect();
        gone.dedup();
        gone.retain(|key| !still.contains(key));
        Compared { known: before - findings.len(), gone: gone.len() }
    }
}

/// How a diagnosis compares with the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compared {
    /// Findings that were there before, and are not shown.
    pub(super) known: usize,
    /// Rules that found something in a StatefulSet before, and find nothing there now.
    pub(super) gone: usize,
}
