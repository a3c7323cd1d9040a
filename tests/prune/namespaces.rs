//! Random namespaces, and what must become of each claim in them.
//!
//! The oracle does not look at objects: each claim is made for a purpose, and the purpose says what it is. Only two
//! things are asked of the whole namespace afterwards: who makes claims of a name, by writing out all names that any set
//! could make, and which names are held.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};

/// A small generator of our own, so that a printed seed gives the same namespace for ever.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Dice of their own, for something apart.
    pub fn another(&mut self) -> Dice {
        Dice::new(self.next())
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    pub fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// A namespace.
pub struct Namespace {
    pub objects: Vec<Value>,
    /// Pod templates, attachments and snapshots: what [`kubectl_sts::snapshot::attribution::ClaimUsers`] holds.
    pub workloads: Vec<Value>,
    pub attachments: Vec<Value>,
    pub snapshots: Vec<Value>,
    /// The claims that must be found, and no other.
    pub orphans: BTreeSet<String>,
}

impl Namespace {
    /// Its objects, one a line.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for object in &self.objects {
            let _ = writeln!(text, "{object}");
        }
        text
    }
}

/// A set as it was made up.
struct Set {
    name: String,
    templates: Vec<String>,
    start: i64,
    replicas: i64,
    uid: String,
    /// Whether nothing about the set keeps its claims.
    rests: bool,
    /// The first ordinal that no autoscaler reaches, if there is an autoscaler.
    most: i64,
}

/// Names that can be cut in several ways, on purpose.
const SETS: [&str; 14] = [
    "web", "web-1", "1", "web-web", "db", "prod-db", "my-web", "web-db", "a", "a-1", "1-2", "data",
    "web-0-x", "db-7",
];
const TEMPLATES: [&str; 9] =
    ["data", "data-web", "data-prod", "data-1", "wal", "my", "data-my", "1", "data-web-1"];

struct Maker {
    dice: Dice,
    claims: BTreeMap<String, Value>,
    candidates: BTreeSet<String>,
    /// Names that something holds.
    held: BTreeSet<String>,
    pods: BTreeMap<String, Value>,
    objects: Vec<Value>,
    workloads: Vec<Value>,
    attachments: Vec<Value>,
    snapshots: Vec<Value>,
}

pub fn make(seed: u64) -> Namespace {
    let mut maker = Maker {
        dice: Dice::new(seed),
        claims: BTreeMap::new(),
        candidates: BTreeSet::new(),
        held: BTreeSet::new(),
        pods: BTreeMap::new(),
        objects: Vec::new(),
        workloads: Vec::new(),
        attachments: Vec::new(),
        snapshots: Vec::new(),
    };
    let sets = maker.sets();
    for set in &sets {
        maker.replicas(set);
        maker.leavings(set);
    }
    maker.strangers(&sets);
    for set in &sets {
        maker.holders(set);
    }
    maker.finish(&sets)
}

fn meta(name: &str, uid: &str) -> Value {
    json!({"name": name, "namespace": "ns", "uid": uid, "resourceVersion": "7",
        "creationTimestamp": "2026-11-01T00:00:00Z"})
}

impl Maker {
    fn sets(&mut self) -> Vec<Set> {
        let mut sets: Vec<Set> = Vec::new();
        for _ in 0..=self.dice.below(4) {
            let name = self.dice.pick(&SETS).to_owned();
            if sets.iter().any(|set| set.name == name) {
                continue;
            }
            let mut templates: Vec<String> = Vec::new();
            for _ in 0..=self.dice.below(2) {
                let template = self.dice.pick(&TEMPLATES).to_owned();
                if !templates.contains(&template) {
                    templates.push(template);
                }
            }
            let start = if self.dice.one_in(4) { i64::try_from(self.dice.below(5)).unwrap() } else { 0 };
            let replicas = i64::try_from(self.dice.below(4)).unwrap();
            let uid = format!("set-{name}");
            let mut set = Set { name, templates, start, replicas, uid, rests: replicas > 0, most: start };
            self.set(&mut set);
            sets.push(set);
        }
        sets
    }

    fn set(&mut self, set: &mut Set) {
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta(&set.name, &set.uid),
            "spec": {
                "replicas": set.replicas, "serviceName": "x",
                "selector": {"matchLabels": {"app": set.name}},
                "template": {"metadata": {"labels": {"app": set.name}}, "spec": {}},
                "volumeClaimTemplates": set.templates.iter().map(|name| json!({"metadata": {"name": name}})).collect::<Vec<_>>(),
            },
            "status": {"replicas": set.replicas, "observedGeneration": 3},
        });
        object["metadata"]["generation"] = 3.into();
        if set.start > 0 {
            object["spec"]["ordinals"] = json!({"start": set.start});
        }
        if self.dice.one_in(6) {
            set.rests = false;
            match self.dice.below(4) {
                0 => object["metadata"]["deletionTimestamp"] = "2026-11-20T00:00:00Z".into(),
                1 => object["metadata"]["generation"] = 4.into(),
                2 => object["status"]["replicas"] = (set.replicas + 1).into(),
                // A pod the scale-down has not reached yet.
                _ => {
                    let ordinal = set.start + set.replicas + 2;
                    self.pod(&format!("{}-{ordinal}", set.name), Some(set), &[]);
                }
            }
        }
        if self.dice.one_in(5) {
            set.most = set.start + set.replicas + i64::try_from(self.dice.below(3)).unwrap();
            self.objects.push(json!({
                "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta(&set.name, "hpa"),
                "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": set.name},
                    "maxReplicas": set.most - set.start},
            }));
        }
        self.objects.push(object);
    }

    fn pod(&mut self, name: &str, set: Option<&Set>, volumes: &[Value]) {
        let mut object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta(name, &format!("pod-{name}")),
            "spec": {"volumes": volumes}, "status": {"phase": self.dice.pick(&["Pending", "Running", "Succeeded", "Failed"])}});
        if let Some(set) = set {
            object["metadata"]["labels"] = json!({"app": set.name});
            object["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet",
                "name": set.name, "uid": set.uid, "controller": true}]);
        }
        self.pods.entry(name.to_owned()).or_insert(object);
    }

    /// A claim as the controller of a set makes it, with its volume.
    fn claim(&mut self, name: &str, labels: &Value) -> bool {
        if self.claims.contains_key(name) {
            return false;
        }
        let uid = format!("claim-{name}");
        let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta(name, &uid),
            "spec": {"volumeName": format!("pv-{name}"), "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"phase": "Bound"}});
        claim["metadata"]["labels"] = labels.clone();
        claim["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
        self.claims.insert(name.to_owned(), claim);
        self.objects.push(json!({"apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": format!("pv-{name}"), "uid": format!("pv-{name}")},
            "spec": {"persistentVolumeReclaimPolicy": self.dice.pick(&["Delete", "Retain"]),
                "claimRef": {"namespace": "ns", "name": name, "uid": uid}},
            "status": {"phase": "Bound"}}));
        true
    }

    /// What replicas in the range have: pods that may or may not be there, and claims.
    fn replicas(&mut self, set: &Set) {
        for ordinal in set.start..set.start + set.replicas {
            let mut volumes = Vec::new();
            for template in &set.templates {
                let name = format!("{template}-{}-{ordinal}", set.name);
                volumes.push(json!({"name": template, "persistentVolumeClaim": {"claimName": name}}));
                self.claim(&name, &json!({"app": set.name}));
            }
            if !self.dice.one_in(4) {
                for volume in &volumes {
                    self.held
                        .insert(volume["persistentVolumeClaim"]["claimName"].as_str().unwrap().to_owned());
                }
                self.pod(&format!("{}-{ordinal}", set.name), Some(set), &volumes);
            }
        }
    }

    /// Claims of ordinals out of the range, above it and below it, each clean or spoilt in one way.
    fn leavings(&mut self, set: &Set) {
        let end = set.start + set.replicas;
        for ordinal in (0..set.start).chain(end..end + 4) {
            for template in &set.templates {
                if self.dice.one_in(3) {
                    continue;
                }
                let name = format!("{template}-{}-{ordinal}", set.name);
                if self.claim(&name, &json!({"app": set.name, "more": "x"}))
                    && !self.dice.one_in(2)
                    && self.spoil(&name, set)
                {
                    continue;
                }
                if set.rests && !(ordinal >= set.start && ordinal < set.most) {
                    self.candidates.insert(name);
                }
            }
        }
    }

    /// Gives a claim one reason to stay; sometimes only something that looks like one. Whether it must stay.
    fn spoil(&mut self, name: &str, set: &Set) -> bool {
        let owner = |api: &str, kind: &str, name: &str, uid: &str| json!([{"apiVersion": api, "kind": kind, "name": name, "uid": uid}]);
        let choice = self.dice.below(22);
        let claim = self.claims.get_mut(name).unwrap();
        let meta = &mut claim["metadata"];
        match choice {
            0 => meta["deletionTimestamp"] = "2026-11-20T00:00:00Z".into(),
            1 => meta["finalizers"] = json!(["kubernetes.io/pvc-protection", "snapshot.storage.kubernetes.io/pvc-as-source-protection"]),
            2 => meta["labels"] = json!({"app": "another"}),
            3 => meta["labels"] = json!({}),
            4 => meta["ownerReferences"] = owner("v1", "Pod", &format!("{}-9", set.name), "pod"),
            5 => meta["ownerReferences"] = owner("apps/v1", "StatefulSet", &set.name, "an earlier one"),
            6 => meta["ownerReferences"] = owner("example.com/v1", "Backup", "nightly", "backup"),
            7 => meta["ownerReferences"] = owner("apps.kruise.io/v1", "StatefulSet", &set.name, "kruise"),
            8 => claim["status"]["phase"] = "Pending".into(),
            9 => claim["spec"]["volumeName"] = "pv-of-nobody".into(),
            10 => claim["status"]["conditions"] = json!([{"type": "Unused", "status": "False"}]),
            11 => meta["labels"]["kor/used"] = "true".into(),
            12 => self.pod(&format!("backup-{name}-x"), None, &[json!({"name": "d", "persistentVolumeClaim": {"claimName": name}})]),
            13 => self.workloads.push(workload(&mut self.dice, name)),
            14 => self.snapshots.push(json!({"metadata": {"name": "s", "namespace": "ns"},
                "spec": {"source": {"persistentVolumeClaimName": name}}})),
            15 => self.attachments.push(json!({"spec": {"nodeName": "node-a", "source": {"persistentVolumeName": format!("pv-{name}")}}})),
            20 => {
                // The volume knows an earlier claim of this name.
                let volume = format!("pv-{name}");
                let its = self.objects.iter_mut().find(|object| object["metadata"]["name"] == volume.as_str());
                its.unwrap()["spec"]["claimRef"]["uid"] = "an earlier one".into();
            }
            // What only looks like a reason.
            16 => {
                meta["ownerReferences"] = owner("apps/v1", "StatefulSet", &set.name, &set.uid);
                return false;
            }
            17 => {
                meta["creationTimestamp"] = "2025-01-01T00:00:00Z".into();
                return false;
            }
            18 => {
                claim["status"]["conditions"] = json!([{"type": "Unused", "status": "True", "lastTransitionTime": "2026-11-02T00:00:00Z"}]);
                return false;
            }
            19 => {
                // Of an earlier claim of this name.
                self.snapshots.push(json!({"metadata": {"name": "s", "namespace": "ns", "creationTimestamp": "2026-10-01T00:00:00Z"},
                    "spec": {"source": {"persistentVolumeClaimName": name}}, "status": {"readyToUse": true}}));
                return false;
            }
            _ => {
                // Another namespace's things of the same name.
                self.snapshots.push(json!({"metadata": {"name": "s", "namespace": "other"},
                    "spec": {"source": {"persistentVolumeClaimName": name}}}));
                return false;
            }
        }
        true
    }

    /// Claims of no set: other names, ordinals no controller writes, renamed templates, deleted sets.
    fn strangers(&mut self, sets: &[Set]) {
        for _ in 0..self.dice.below(5) {
            let set = &sets[self.dice.below(sets.len())];
            let (template, name) = (&set.templates[0], &set.name);
            let labels = json!({"app": name});
            let claim = match self.dice.below(8) {
                0 => format!("{template}-{name}-007"),
                1 => format!("{template}-{name}-99999999999"),
                2 => format!("renamed-{name}-5"),
                3 => format!("{template}-gone-{}", self.dice.below(9)),
                4 => format!("{template}-{name}x-8"),
                5 => format!("{template}-{name}"),
                6 => format!("x{template}-{name}-8"),
                _ => format!("{template}-{name}-8-x"),
            };
            // By chance it can be the very name that another template makes: then it is no stranger.
            let is_made = |set: &Set| {
                let names = (0..20).flat_map(|ordinal| {
                    set.templates.iter().map(move |template| format!("{template}-{}-{ordinal}", set.name))
                });
                names.into_iter().any(|name| name == claim)
            };
            if !sets.iter().any(is_made) {
                self.claim(&claim, &labels);
            }
        }
    }

    /// Pods whose ephemeral volumes have the names of claims, pods that squat on a replica's name, and clones.
    fn holders(&mut self, set: &Set) {
        let ordinal = set.start + set.replicas + i64::try_from(self.dice.below(4)).unwrap();
        let name = format!("{}-{}-{ordinal}", set.templates[0], set.name);
        match self.dice.below(12) {
            0 => {
                let volume = format!("{}-{ordinal}", set.name);
                if !self.pods.contains_key(&set.templates[0]) {
                    self.pod(&set.templates[0], None, &[json!({"name": volume, "ephemeral": {}})]);
                    self.held.insert(name);
                }
            }
            1 => self.pod(&format!("{}-{ordinal}", set.name), None, &[]),
            2 => {
                let copy = format!("copy-{name}-x");
                let copied = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta(&copy, &copy),
                    "spec": {"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": name}}});
                self.claims.insert(copy, copied);
                self.held.insert(name);
            }
            _ => {}
        }
    }

    fn finish(mut self, sets: &[Set]) -> Namespace {
        // All names that any set could make, by writing them out.
        let mut makers: BTreeMap<String, usize> = BTreeMap::new();
        for set in sets {
            for template in &set.templates {
                for ordinal in 0..20 {
                    let claim = format!("{template}-{}-{ordinal}", set.name);
                    if self.pods.contains_key(&format!("{}-{ordinal}", set.name)) {
                        self.held.insert(claim.clone());
                    }
                    *makers.entry(claim).or_default() += 1;
                }
            }
        }
        let orphans = self.candidates.iter().filter(|name| makers[*name] == 1 && !self.held.contains(*name));
        let orphans = orphans.cloned().collect();
        self.objects.extend(self.claims.into_values());
        self.objects.extend(self.pods.into_values());
        Namespace {
            objects: self.objects,
            workloads: self.workloads,
            attachments: self.attachments,
            snapshots: self.snapshots,
            orphans,
        }
    }
}

fn workload(dice: &mut Dice, claim: &str) -> Value {
    let pod = json!({"spec": {"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": claim}}]}});
    let spec = if dice.one_in(2) {
        json!({"template": pod})
    } else {
        json!({"jobTemplate": {"spec": {"template": pod}}})
    };
    json!({"kind": "CronJob", "metadata": {"name": "backup", "namespace": "ns"}, "spec": spec})
}
