//! Scenario files: states of a set, each with what the controller writes next. Found once on the real controller, and
//! replayed without it.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use kubectl_sts::controller::{Next, World};
use kubectl_sts::kinds::*;
use kubectl_sts::snapshot::{ServerVersion, parse_pod_name};
use serde::{Deserialize, Serialize};

use super::api::Write;
use super::change::{HEALTHS, Health};
use super::drive::{Writes, same, ways};

/// A file of tests/scenarios.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, and where it was seen.
    pub about: String,
    #[serde(default = "newest")]
    pub server: String,
    pub cases: Vec<Case>,
}

fn newest() -> String {
    "v1.37.1".to_owned()
}

/// A state and what comes of it. What is left out is as in the case before.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Case {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strategy: Option<UpdateStrategy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replicas: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_ready_seconds: Option<i32>,
    /// `status.currentRevision`.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    /// `status.updateRevision`.
    #[serde(skip_serializing_if = "Option::is_none")]
    update: Option<String>,
    /// `status.currentReplicas`.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_replicas: Option<i32>,
    /// `ORDINAL REVISION HEALTH`, with `terminating` behind it, or `ORDINAL foreign_pod`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pods: Option<Vec<String>>,
    /// Claims of the template `data`: `ORDINAL`, `ORDINAL terminating`, or `ORDINAL stale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    when_scaled: Option<String>,
    /// The controller's writes: `create ORDINAL REVISION`, `delete ORDINAL`, or `nothing`.
    pub writes: String,
    /// Its writes if a race ends the other way.
    #[serde(skip_serializing_if = "Option::is_none")]
    or: Option<String>,
    /// What is next after them, as the model has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<String>,
    /// `status.currentRevision` after them.
    #[serde(skip_serializing_if = "Option::is_none")]
    current_then: Option<String>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_saphyr::to_string(self).unwrap_or_default())
    }
}

impl Case {
    /// The state in short.
    pub fn of(world: &World, writes: &[Write]) -> Case {
        let set = world.set();
        let pod = |pod: &Pod| {
            let (_, ordinal) = parse_pod_name(&pod.metadata.name).unwrap();
            if pod.metadata.controller().is_none() {
                return format!("{ordinal} squatter");
            }
            let end = if pod.metadata.is_terminating() { " terminating" } else { "" };
            format!("{ordinal} {} {}{end}", pod.revision(), health(pod))
        };
        Case {
            policy: Some(set.spec.pod_management_policy.clone()),
            strategy: Some(set.spec.update_strategy.clone()),
            start: Some(set.start()),
            replicas: Some(set.replicas()),
            min_ready_seconds: Some(set.spec.min_ready_seconds),
            current: Some(set.status.current_revision.clone()),
            update: Some(set.status.update_revision.clone()),
            current_replicas: Some(set.status.current_replicas),
            pods: Some(world.pods().iter().map(pod).collect()),
            writes: Writes(writes).to_string(),
            ..Case::default()
        }
    }

    fn after(self, before: &Case) -> Case {
        let b = before.clone();
        Case {
            what: self.what,
            policy: self.policy.or(b.policy),
            strategy: self.strategy.or(b.strategy),
            start: self.start.or(b.start),
            replicas: self.replicas.or(b.replicas),
            min_ready_seconds: self.min_ready_seconds.or(b.min_ready_seconds),
            current: self.current.or(b.current),
            update: self.update.or(b.update),
            current_replicas: self.current_replicas.or(b.current_replicas),
            pods: self.pods.or(b.pods),
            claims: self.claims.or(b.claims),
            when_scaled: self.when_scaled.or(b.when_scaled),
            ..self
        }
    }

    pub fn world(&self, server: &str) -> World {
        let now = Timestamp::now();
        let claims = self.claims.clone().unwrap_or_default();
        let mut set = StatefulSet::default();
        "web".clone_into(&mut set.metadata.name);
        "default".clone_into(&mut set.metadata.namespace);
        "set".clone_into(&mut set.metadata.uid);
        // As in the differential test, where a pod has its node from the start: pods without one end at once.
        "node".clone_into(&mut set.spec.template.spec.node_name);
        set.spec.selector.match_labels = Map::from([("app".to_owned(), "web".to_owned())]);
        set.spec.pod_management_policy = self.policy.clone().unwrap_or_default();
        set.spec.update_strategy = self.strategy.clone().unwrap_or_default();
        set.spec.ordinals = self.start.map(|start| Ordinals { start });
        set.spec.replicas = self.replicas;
        set.spec.min_ready_seconds = self.min_ready_seconds.unwrap_or(0);
        set.spec.persistent_volume_claim_retention_policy.when_scaled =
            self.when_scaled.clone().unwrap_or_default();
        if !claims.is_empty() {
            let mut template = PersistentVolumeClaim::default();
            "data".clone_into(&mut template.metadata.name);
            set.spec.volume_claim_templates = vec![template];
        }
        set.status.current_revision = self.current.clone().unwrap_or_default();
        set.status.update_revision = self.update.clone().unwrap_or_default();
        set.status.current_replicas = self.current_replicas.unwrap_or(0);
        let pods = self.pods.iter().flatten().map(|text| pod(text, now)).collect();
        let claims = claims.iter().map(|text| claim(text, now)).collect();
        World::new(set, pods, claims, Some(ServerVersion { text: server.to_owned() }), now)
    }

    /// What is wrong with the model's answer.
    fn check(&self, server: &str) -> Option<String> {
        let world = self.world(server);
        let ways = ways(&world);
        let parallel = world.set().is_parallel();
        let wanted: Vec<Vec<Write>> = [Some(&self.writes), self.or.as_ref()]
            .into_iter()
            .flatten()
            .map(|text| parse_writes(text))
            .collect();
        let predicted = ways.iter().map(|way| Writes(&way.0).to_string()).collect::<Vec<_>>().join(" or ");
        let found = |wanted: &Vec<Write>| ways.iter().any(|way| same(&way.0, wanted, parallel));
        // A file written by a failing run knows one way of two.
        let extra = self.or.is_some() && wanted.len() != ways.len();
        if !wanted.iter().all(found) || extra {
            return Some(format!("predicted: {predicted}"));
        }
        let then = words(&ways[0].1.next());
        let current = ways[0].1.status().current_revision;
        let wrong = self.then.as_ref().is_some_and(|wanted| *wanted != then)
            || self.current_then.as_ref().is_some_and(|wanted| *wanted != current);
        wrong.then(|| format!("then: {then}, with current revision {current}"))
    }
}

/// `wait 2 NotReady` or `rest Done`.
pub fn words(next: &Next) -> String {
    match next {
        Next::Wait { on, because } => format!("wait {on} {because:?}"),
        Next::Settled(rest) => format!("rest {rest:?}"),
        Next::Act(actions) => format!("{actions:?}"),
    }
}

fn parse_writes(text: &str) -> Vec<Write> {
    let one = |part: &str| match part.split_whitespace().collect::<Vec<_>>()[..] {
        ["create", ordinal, revision] => Some(Write::Create(ordinal.parse().unwrap(), revision.to_owned())),
        ["delete", ordinal] => Some(Write::Delete(ordinal.parse().unwrap())),
        ["nothing"] => None,
        _ => panic!("no write: {part:?}"),
    };
    text.split(',').filter_map(one).collect()
}

fn health(pod: &Pod) -> &'static str {
    let ready = pod.condition("Ready");
    let status = ready.map_or("False", |ready| ready.status.as_str());
    let phase = pod.status.phase.as_str();
    let fresh = ready
        .and_then(|ready| ready.last_transition_time)
        .is_some_and(|since| Timestamp::now().duration_since(since) < SignedDuration::from_mins(30));
    let fits = |health: Health| match health {
        Health::Ready => health.parts() == (phase, status) && !fresh,
        Health::Unknown => phase == "Unknown",
        _ => health.parts() == (phase, status),
    };
    HEALTHS.into_iter().find(|(health, _)| fits(*health)).map_or("pending", |(_, word)| word)
}

fn pod(text: &str, now: Timestamp) -> Pod {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut pod = Pod::default();
    pod.metadata.name = format!("web-{}", words[0]);
    "default".clone_into(&mut pod.metadata.namespace);
    if words[1] == "squatter" {
        return pod;
    }
    let health = HEALTHS.iter().find(|(_, word)| *word == words[2]);
    let (health, _) = health.unwrap_or_else(|| panic!("no health: {text:?}"));
    pod.metadata.labels =
        Map::from([("app".to_owned(), "web".to_owned()), (REVISION_LABEL.to_owned(), words[1].to_owned())]);
    pod.metadata.owner_references = vec![OwnerReference {
        kind: "StatefulSet".to_owned(),
        name: "web".to_owned(),
        uid: "set".to_owned(),
        controller: true,
        ..OwnerReference::default()
    }];
    "node".clone_into(&mut pod.spec.node_name);
    pod.metadata.deletion_timestamp = words.get(3).map(|word| {
        assert_eq!(*word, "terminating", "{text:?}");
        now
    });
    pod.status = serde_json::from_value(health.status()).unwrap();
    pod
}

fn claim(text: &str, now: Timestamp) -> PersistentVolumeClaim {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut claim = PersistentVolumeClaim::default();
    claim.metadata.name = format!("data-web-{}", words[0]);
    "default".clone_into(&mut claim.metadata.namespace);
    match words.get(1) {
        None => {}
        Some(&"terminating") => claim.metadata.deletion_timestamp = Some(now),
        Some(&"stale") => {
            claim.metadata.owner_references = vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                name: format!("web-{}", words[0]),
                uid: "earlier".to_owned(),
                controller: true,
                ..OwnerReference::default()
            }];
        }
        Some(word) => panic!("no claim: {word:?}"),
    }
    claim
}

/// What is wrong with a file's cases.
pub fn replay(name: &str, text: &str) -> String {
    let scenario: Scenario = serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut before = Case::default();
    let mut wrong = String::new();
    for (number, case) in scenario.cases.into_iter().enumerate() {
        let case = case.after(&before);
        if let Some(found) = case.check(&scenario.server) {
            wrong += &format!("{name}, case {}:\n{case}{found}\n", number + 1);
        }
        before = case;
    }
    wrong
}
