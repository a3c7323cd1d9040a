//! What ends a refusal of the scheduler: the node, label, taint, volume or field that stands in the way, and how to change it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::placement::{Demand, Obstacle, Place, contradiction, places, values};
use super::pods::Group;
use super::prelude::*;
use crate::messages::scheduler::{self, Reason, Refusal};

mod near;
mod room;
mod volumes;

pub(super) use near::unclaimed;

/// How a refusal ends.
#[derive(Default)]
pub(super) struct Way {
    /// What stands in the way; empty where the scheduler's words say it all.
    pub why: String,
    /// The command that ends it.
    pub step: Option<Command>,
    /// Other commands, each of which ends it alone.
    pub instead: Vec<Command>,
    /// Whether it is the pod template that asks for what no node has, so that an earlier one may not.
    pub is_of_template: bool,
}

impl Way {
    fn because(why: impl Into<String>) -> Way {
        Way { why: why.into(), ..Way::default() }
    }

    fn step(self, command: impl Into<Option<Command>>) -> Way {
        Way { step: command.into(), ..self }
    }

    fn or(mut self, command: impl Into<Option<Command>>) -> Way {
        match (command.into(), &self.step) {
            (Some(command), None) => self.step = Some(command),
            (Some(command), Some(_)) => self.instead.push(command),
            (None, _) => {}
        }
        self
    }

    fn of_template(self) -> Way {
        Way { is_of_template: true, ..self }
    }
}

/// The way for pods that the scheduler refuses, mostly for this reason.
pub(super) fn way(snapshot: &Snapshot<'_>, group: &Group<'_>, decisive: Refusal<'_>) -> Option<Way> {
    let pod = group.first().pod;
    let places = places(snapshot, pod);
    let scheduling = Scheduling { snapshot, group, pod, places: &places };
    match decisive.reason {
        Reason::OncePod => scheduling.once(),
        Reason::VolumeLimit => Some(scheduling.limit()),
        Reason::FreeStorage => Some(scheduling.free()),
        Reason::Ports => scheduling.ports(),
        Reason::Insufficient(resource) => scheduling.room(resource),
        Reason::TooManyPods => scheduling.full(),
        Reason::Affinity => scheduling.near(),
        Reason::Device(device) => Some(scheduling.device(device)),
        Reason::Other => None,
        Reason::Spread { .. } => scheduling.spread(),
        Reason::Taint { .. }
        | Reason::Cordoned
        | Reason::Selector
        | Reason::AntiAffinity
        | Reason::VolumeNode => {
            // Where all of these are met on some node, what is known here is not the cause.
            if places.is_empty() || places.iter().any(|place| place.obstacles.is_empty()) {
                return None;
            }
            match contradiction(&places) {
                Some(both) => scheduling.both(both),
                None => scheduling.one(decisive),
            }
        }
    }
}

struct Scheduling<'s, 'a> {
    snapshot: &'s Snapshot<'a>,
    group: &'s Group<'a>,
    pod: &'a Pod,
    places: &'s [Place<'a>],
}

impl<'a> Scheduling<'_, 'a> {
    /// A command that changes the pod template by a JSON patch, and brings the change to the pods.
    fn patch(&self, operations: &Value) -> Option<Command> {
        let set = &self.snapshot.set.metadata;
        let patch = kubectl("patch statefulset").name(&set.name).namespace(&set.namespace);
        self.group.reached_by(self.snapshot, patch.with("--type=json").patch(operations))
    }

    /// Scales down to the replicas that have a node, where the pods without one are the highest.
    fn fewer(&self) -> Option<Command> {
        let set = self.snapshot.set;
        let lowest = self.group.first().ordinal;
        let replicas = self.snapshot.replicas().ok()?;
        let above = replicas.iter().filter(|replica| replica.ordinal >= lowest);
        let placed = above.filter_map(|replica| replica.pod).any(|pod| !pod.spec.node_name.is_empty());
        let left = lowest.saturating_sub(set.start());
        (left > 0 && !placed).then(|| {
            kubectl("scale statefulset")
                .name(&set.metadata.name)
                .joined("--replicas=", left)
                .namespace(&set.metadata.namespace)
        })
    }

    /// Two demands that contradict each other.
    fn both(&self, [one, other]: [Demand; 2]) -> Option<Way> {
        let meeting = self.places.iter().filter(|place| place.meets(one));
        let names: Vec<&str> = meeting.map(Place::name).collect();
        let here = words::list(&names, 3);
        let name = &self.pod.metadata.name;
        let needs = match one {
            Demand::Volume => {
                let volume =
                    self.places.iter().flat_map(|place| &place.obstacles).find_map(|it| match it {
                        Obstacle::Volume(volume) => Some(volume),
                        _ => None,
                    })?;
                format!("PV {} can be used only on {here}", volume.metadata.name)
            }
            Demand::Selector => format!("only {here} has the labels that {name} requires"),
            Demand::Apart => format!("anti-affinity leaves only {here} for {name}"),
            Demand::Closed => return None,
        };
        let at: Vec<&Place<'_>> = self.places.iter().filter(|place| place.meets(one)).collect();
        let way = self.loosen(other, &at)?;
        Some(Way { why: format!("{needs}, but {}", way.why), ..way })
    }

    /// One demand that no node meets, or several of them.
    fn one(&self, decisive: Refusal<'_>) -> Option<Way> {
        let demand = match decisive.reason {
            Reason::Taint { .. } | Reason::Cordoned => Demand::Closed,
            Reason::Selector => Demand::Selector,
            Reason::AntiAffinity => Demand::Apart,
            _ => return None,
        };
        // Nodes that only this keeps the pod off come first.
        let only = |place: &&Place<'_>| place.lacks_only(|obstacle| obstacle.demand() == demand);
        let mut at: Vec<&Place<'_>> = self.places.iter().filter(only).collect();
        if at.is_empty() {
            at = self.places.iter().filter(|place| !place.meets(demand)).collect();
        }
        self.loosen(demand, &at)
    }

    /// What to change so that one of these nodes takes the pod, as far as this demand is concerned.
    fn loosen(&self, demand: Demand, at: &[&Place<'a>]) -> Option<Way> {
        match demand {
            Demand::Closed => self.open(at),
            Demand::Selector => self.label(at),
            Demand::Apart => self.together(at),
            Demand::Volume => None,
        }
    }

    /// Nodes that accept no pods, or not this one.
    fn open(&self, at: &[&Place<'a>]) -> Option<Way> {
        let is_cordoned = |place: &&&Place<'_>| {
            place.obstacles.iter().any(|it| matches!(it, Obstacle::Cordoned))
                && place.obstacles.iter().all(|it| !matches!(it, Obstacle::State(_) | Obstacle::Taint(_)))
        };
        let cordoned: Vec<&str> = at.iter().filter(is_cordoned).map(|place| place.name()).collect();
        if !cordoned.is_empty() {
            let is = if cordoned.len() == 1 { "is" } else { "are" };
            let way = Way::because(format!("{} {is} cordoned", words::list(&cordoned, 3)));
            return Some(way.step(kubectl("uncordon").names(&cordoned)));
        }
        let mut tainted: Vec<(&str, Vec<&Taint>)> = (at.iter())
            .map(|place| {
                let taints = place.obstacles.iter().filter_map(|it| match it {
                    Obstacle::Taint(taint) => Some(*taint),
                    _ => None,
                });
                (place.name(), taints.collect::<Vec<_>>(), place)
            })
            .filter(|(_, taints, place)| {
                !taints.is_empty() && !place.obstacles.iter().any(|it| matches!(it, Obstacle::State(_)))
            })
            .map(|(name, taints, _)| (name, taints))
            .collect();
        // A node of a role is for its role, where there is another one.
        let of_role =
            |taints: &[&Taint]| taints.iter().any(|taint| taint.key.starts_with("node-role.kubernetes.io/"));
        if tainted.iter().any(|(_, taints)| !of_role(taints)) {
            tainted.retain(|(_, taints)| !of_role(taints));
        }
        let Some((first, taints)) = tainted.first() else { return unwell(at) };
        let same: Vec<&str> =
            tainted.iter().filter(|(_, others)| others == taints).map(|(name, _)| *name).collect();
        let (has, texts) = (
            if same.len() == 1 { "has" } else { "have" },
            taints.iter().map(|taint| written(taint)).collect::<Vec<_>>(),
        );
        let noun = if texts.len() == 1 { "the taint" } else { "the taints" };
        let way = Way::because(format!(
            "{} {has} {noun} {}, which {} does not tolerate",
            words::list(&same, 3),
            words::list(&texts, 3),
            self.pod.metadata.name
        ));
        let tolerations: Vec<Value> = (taints.iter())
            .map(|taint| match taint.value.as_str() {
                "" => json!({"key": taint.key, "operator": "Exists", "effect": taint.effect}),
                value => {
                    json!({"key": taint.key, "operator": "Equal", "value": value, "effect": taint.effect})
                }
            })
            .collect();
        let path = "/spec/template/spec/tolerations";
        let operations: Vec<Value> = match self.snapshot.set.spec.template.spec.tolerations.as_slice() {
            [] => vec![json!({"op": "add", "path": path, "value": tolerations})],
            _ => {
                let add = |value: Value| json!({"op": "add", "path": format!("{path}/-"), "value": value});
                tolerations.into_iter().map(add).collect()
            }
        };
        let untaint = texts
            .iter()
            .fold(kubectl("taint node").name(first), |command, text| command.value(format!("{text}-")));
        Some(way.step(self.patch(&Value::Array(operations))).or(untaint))
    }

    /// Nodes without the labels that the pod asks for.
    fn label(&self, at: &[&Place<'a>]) -> Option<Way> {
        let nodes = self.snapshot.nodes().ok()?;
        let wanted = &self.pod.spec.node_selector;
        let lacking: Vec<(&String, &String)> = (wanted.iter())
            .filter(|(key, value)| {
                let mut at = at.iter().map(|place| &place.node.metadata.labels);
                !at.any(|labels| labels.get(*key) == Some(*value))
            })
            .collect();
        let first = at.first()?;
        let [(key, value), ..] = lacking.as_slice() else { return self.affinity(first) };
        let others = values(nodes, key);
        let none = !others.contains(value);
        let here: Vec<&str> = at.iter().map(|place| place.name()).collect();
        let lacks = if none {
            format!("no node has the label {key}={value}")
        } else {
            format!("{} lacks the label {key}={value}", words::list(&here, 3))
        };
        let have: Vec<String> = others.iter().map(|other| format!("{key}={other}")).collect();
        let there = match have.as_slice() {
            [] => ": label the nodes that are meant, or correct nodeSelector".to_owned(),
            have if none => format!("; the nodes have {}", words::list(have, 3)),
            _ => String::new(),
        };
        let way = Way::because(format!("{lacks}{there}")).of_template();
        let path = format!("/spec/template/spec/nodeSelector/{}", key.replace('~', "~0").replace('/', "~1"));
        let operation = match others.as_slice() {
            // A spelling that no node has, where all have another.
            [only] if none => json!([{"op": "replace", "path": path, "value": only}]),
            _ => json!([{"op": "remove", "path": path}]),
        };
        let of_template = self.snapshot.set.spec.template.spec.node_selector.contains_key(*key);
        let change = of_template.then(|| self.patch(&operation)).flatten();
        // What the kubelet and the cloud say of a node is not changed by hand.
        let label = (!key.contains("kubernetes.io/")).then(|| {
            kubectl("label node").name(first.name()).value(format!("{key}={value}")).with("--overwrite")
        });
        Some(match none && have.is_empty() {
            true => way.step(label).or(change),
            false => way.step(change).or(label),
        })
    }

    /// Node affinity that no node satisfies.
    fn affinity(&self, first: &Place<'a>) -> Option<Way> {
        let affinity =
            &self.pod.spec.affinity.node_affinity.required_during_scheduling_ignored_during_execution;
        let terms = &affinity.as_ref()?.node_selector_terms;
        let nodes = self.snapshot.nodes().ok()?;
        let expressions = || terms.iter().flat_map(|term| &term.match_expressions);
        let each: Vec<String> = expressions()
            .map(|it| format!("{} {} {}", it.key, it.operator, it.values.join(",")).trim_end().to_owned())
            .collect();
        let keys: BTreeSet<&str> = expressions().map(|it| it.key.as_str()).collect();
        let have: Vec<String> = (keys.iter())
            .flat_map(|key| values(nodes, key).into_iter().map(move |value| format!("{key}={value}")))
            .collect();
        let there = if have.is_empty() {
            "no node has such a label".to_owned()
        } else {
            format!("the nodes have {}", words::list(&have, 4))
        };
        let way = Way::because(format!("node affinity requires {}, and {there}", words::list(&each, 4)))
            .of_template();
        let path = "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution";
        let own = &self.snapshot.set.spec.template.spec.affinity.node_affinity;
        let is_own = own.required_during_scheduling_ignored_during_execution.is_some();
        let change = is_own.then(|| self.patch(&json!([{"op": "remove", "path": path}]))).flatten();
        let label = expressions().find(|it| it.operator == "In" && !it.key.contains("kubernetes.io/"));
        let label = label.filter(|_| expressions().count() == 1).and_then(|it| {
            let pair = format!("{}={}", it.key, it.values.first()?);
            Some(kubectl("label node").name(first.name()).value(pair).with("--overwrite"))
        });
        Some(way.step(change).or(label))
    }

    /// Pods that must not run together.
    fn together(&self, at: &[&Place<'a>]) -> Option<Way> {
        let others: BTreeSet<&str> = at
            .iter()
            .flat_map(|place| &place.obstacles)
            .filter_map(|it| match it {
                Obstacle::Apart(other) => Some(other.metadata.name.as_str()),
                _ => None,
            })
            .collect();
        let others: Vec<&str> = others.into_iter().collect();
        let terms = &self.snapshot.set.spec.template.spec.affinity.pod_anti_affinity;
        let terms = &terms.required_during_scheduling_ignored_during_execution;
        let keys: BTreeSet<&str> = terms.iter().map(|term| term.topology_key.as_str()).collect();
        let place = match keys.into_iter().collect::<Vec<_>>().as_slice() {
            ["kubernetes.io/hostname"] => "node".to_owned(),
            ["topology.kubernetes.io/zone"] => "zone".to_owned(),
            [] => return None,
            keys => words::list(keys, 2),
        };
        let is = if others.len() == 1 { "is" } else { "are" };
        let way = Way::because(format!(
            "anti-affinity allows one pod for each {place}, and {} {is} there; add a {place}, run fewer replicas, or prefer \
             different {place}s instead of requiring them",
            words::list(&others, 3)
        ))
        .of_template();
        let own = &self.snapshot.set.spec.template.spec.affinity.pod_anti_affinity;
        let known = own.preferred_during_scheduling_ignored_during_execution.len();
        let loosen = near::preferred("podAntiAffinity", terms.len(), known);
        Some(way.step(self.fewer()).or(self.loosened(&loosen, &others)))
    }

    /// Takes back anti-affinity. The pods that are there have it as well, and an update of an ordered set waits for the one
    /// without a node: it is made while that one is not wanted, or they are deleted with it.
    fn loosened(&self, operations: &Value, others: &[&str]) -> Option<Command> {
        let set = &self.snapshot.set;
        let (name, at) = (&set.metadata.name, home(self.snapshot));
        if let Some(fewer) = self.fewer().filter(|_| set.strategy() == Strategy::RollingUpdate) {
            let patch =
                kubectl("patch statefulset").name(name).namespace(at).with("--type=json").patch(operations);
            let wait = kubectl("rollout status statefulset").name(name).namespace(at);
            let back =
                kubectl("scale statefulset").name(name).joined("--replicas=", set.replicas()).namespace(at);
            return Some(fewer.and(patch).and(wait).and(back));
        }
        let own = self.snapshot.replicas().ok()?.iter().map(|replica| replica.name.as_str());
        let blocking: Vec<&str> = own.filter(|name| others.contains(name)).collect();
        let patch = self.patch(operations)?;
        Some(if blocking.is_empty() {
            patch
        } else {
            patch.and(kubectl("delete pod").names(blocking).namespace(at))
        })
    }

    /// A spread constraint that no node satisfies.
    fn spread(&self) -> Option<Way> {
        let template = &self.snapshot.set.spec.template.spec.topology_spread_constraints;
        let hard = template.iter().enumerate().filter(|(_, it)| it.when_unsatisfiable != "ScheduleAnyway");
        let hard: Vec<(usize, &SpreadConstraint)> = hard.collect();
        if hard.is_empty() {
            return None;
        }
        let keys: Vec<&str> = hard.iter().map(|(_, it)| it.topology_key.as_str()).collect();
        let operations: Vec<Value> = (hard.iter())
            .map(|(at, _)| {
                let path = format!("/spec/template/spec/topologySpreadConstraints/{at}/whenUnsatisfiable");
                json!({"op": "replace", "path": path, "value": "ScheduleAnyway"})
            })
            .collect();
        let closed: Vec<&str> = (self.places.iter())
            .filter(|place| place.lacks_only(|it| matches!(it, Obstacle::Cordoned)))
            .map(Place::name)
            .collect();
        let way = Way::because(format!("whenUnsatisfiable of {} is DoNotSchedule", words::list(&keys, 3)));
        let open = (!closed.is_empty()).then(|| kubectl("uncordon").names(&closed));
        Some(way.of_template().step(open).or(self.patch(&Value::Array(operations))))
    }

    /// A host port that is taken.
    fn ports(&self) -> Option<Way> {
        let template = &self.snapshot.set.spec.template.spec;
        let with = |container: &&Container| container.ports.iter().any(|port| port.host_port > 0);
        let containers: Vec<&Container> = template.containers.iter().filter(with).collect();
        let ports: BTreeSet<i32> = containers
            .iter()
            .flat_map(|container| &container.ports)
            .map(|port| port.host_port)
            .filter(|port| *port > 0)
            .collect();
        if ports.is_empty() {
            return None;
        }
        let ports: Vec<String> = ports.iter().map(i32::to_string).collect();
        let each: Vec<Value> = (containers.iter())
            .map(|container| {
                let ports = container.ports.iter().filter(|port| port.host_port > 0);
                let ports: Vec<Value> = ports
                    .map(|port| {
                        let protocol = if port.protocol.is_empty() { "TCP" } else { &port.protocol };
                        json!({"containerPort": port.container_port, "protocol": protocol, "hostPort": null})
                    })
                    .collect();
                json!({"name": container.name, "ports": ports})
            })
            .collect();
        let set = &self.snapshot.set.metadata;
        let change = kubectl("patch statefulset")
            .name(&set.name)
            .namespace(&set.namespace)
            .patch(&json!({"spec": {"template": {"spec": {"containers": each}}}}));
        let change = self.group.reached_by(self.snapshot, change);
        let way = Way::because(format!(
            "host port {} can be used only once on each node: add a node, run fewer replicas, or remove hostPort and use the \
             address of the pod",
            words::list(&ports, 3)
        ));
        Some(way.of_template().step(self.fewer()).or(change))
    }
}

/// Nodes that are not well.
fn unwell(at: &[&Place<'_>]) -> Option<Way> {
    let ill = at.iter().find_map(|place| {
        let state = place.obstacles.iter().find_map(|it| match it {
            Obstacle::State(taint) => Some(*taint),
            _ => None,
        })?;
        Some((place.name(), state))
    });
    let (name, taint) = ill?;
    Some(
        Way::because(format!(
            "{name} has the taint {}, which goes by itself once the node is well: its conditions say what is wrong",
            written(taint)
        ))
        .step(kubectl("describe node").name(name)),
    )
}

/// `dedicated=db:NoSchedule`.
fn written(taint: &Taint) -> String {
    match taint.value.as_str() {
        "" => format!("{}:{}", taint.key, taint.effect),
        value => format!("{}={value}:{}", taint.key, taint.effect),
    }
}

/// The way for a PVC that the pod template names and that does not exist; those of volumeClaimTemplates the controller makes.
pub(super) fn without_claim(snapshot: &Snapshot<'_>, group: &Group<'_>, claim: &str) -> Option<Way> {
    let volumes = &snapshot.set.spec.template.spec.volumes;
    let named = volumes.iter().find(|volume| {
        volume.persistent_volume_claim.as_ref().is_some_and(|source| source.claim_name == claim)
    })?;
    let way = Way::because(format!(
        "volume {} of the pod template names PVC {claim}, which does not exist: create it in namespace {}, or correct claimName",
        named.name,
        home(snapshot)
    ));
    Some(way.of_template().step(group.edit(snapshot)))
}

/// What the autoscaler says of a pod for which it adds no node.
pub(super) fn no_scale_up(snapshot: &Snapshot<'_>, pod: &Pod) -> Option<String> {
    let events = snapshot.events_about(pod).ok()?;
    let said = events.into_iter().rev().find_map(|event| {
        let of_karpenter = event.reason == "FailedScheduling" && scheduler::is_of_karpenter(event.text());
        (event.reason == crate::snapshot::NO_SCALE_UP || of_karpenter).then(|| event.text())
    })?;
    Some(format!("the autoscaler adds no node: {}", crate::messages::clipped(said)))
}
