//! Random sets, and random changes to them.

use kubectl_sts::controller::World;
use kubectl_sts::kinds::{IntOrString, Strategy};
use serde_json::{Value, json};

/// splitmix64: small, and the same everywhere.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub fn below(&mut self, end: i32) -> i32 {
        i32::try_from(self.next() % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    pub fn chance(&mut self, percent: i32) -> bool {
        self.below(100) < percent
    }

    pub fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(i32::try_from(all.len()).unwrap())).unwrap()].clone()
    }
}

/// How a pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Running, and ready for two hours.
    Ready,
    /// Running, and ready since now.
    Fresh,
    Unready,
    Pending,
    Failed,
    /// Failed, its condition Ready still true, as the pod garbage collector leaves it.
    FailedReady,
    Succeeded,
    Unknown,
}

pub const HEALTHS: [(Health, &str); 8] = [
    (Health::Ready, "ready"),
    (Health::Fresh, "fresh"),
    (Health::Unready, "unready"),
    (Health::Pending, "pending"),
    (Health::Failed, "failed"),
    (Health::FailedReady, "failed-ready"),
    (Health::Succeeded, "succeeded"),
    (Health::Unknown, "unknown"),
];

impl Health {
    /// Phase, and status of the condition Ready.
    pub fn parts(self) -> (&'static str, &'static str) {
        match self {
            Health::Ready | Health::Fresh => ("Running", "True"),
            Health::Unready => ("Running", "False"),
            Health::Pending => ("Pending", "False"),
            Health::Failed => ("Failed", "False"),
            Health::FailedReady => ("Failed", "True"),
            Health::Succeeded => ("Succeeded", "False"),
            Health::Unknown => ("Unknown", "Unknown"),
        }
    }

    pub fn status(self) -> Value {
        let (phase, ready) = self.parts();
        let now = jiff::Timestamp::now();
        let since = match self {
            Health::Ready | Health::FailedReady => now - jiff::SignedDuration::from_hours(2),
            _ => now,
        };
        json!({"phase": phase, "conditions":
            [{"type": "Ready", "status": ready, "lastTransitionTime": format!("{since:.0}")}]})
    }
}

/// A change by somebody other than the controller: one write.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Health(i32, Health),
    /// Deletes a pod with grace.
    Delete(i32),
    /// Deletes a pod without grace, which also is how a Terminating one ends.
    Remove(i32),
    /// A merge patch to the set's spec.
    Spec(Value),
    /// Somebody else's pod takes the name.
    Squat(i32),
}

pub fn template(variant: i32) -> Value {
    json!({"metadata": {"annotations": {"variant": variant.to_string()}}})
}

fn strategy(random: &mut Random, replicas: i32) -> Value {
    match random.below(10) {
        0 => json!({"type": "OnDelete", "rollingUpdate": null}),
        1 | 2 => json!({"type": "RollingUpdate", "rollingUpdate": null}),
        _ => {
            let partition = if random.chance(50) { 0 } else { random.below(replicas + 2) };
            let most: Vec<Value> =
                vec![json!(1), json!(1), json!(2), json!(3), json!("30%"), json!("70%"), json!("100%")];
            let most = random.one_of(&most);
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition, "maxUnavailable": most}})
        }
    }
}

/// A random set.
pub fn set(random: &mut Random, name: &str, node: &str) -> Value {
    let replicas = random.below(6);
    let min_ready = if random.chance(25) { 3600 } else { 0 };
    let mut template = template(0);
    template["metadata"]["labels"] = json!({"app": name});
    template["spec"] = json!({
        "nodeName": node, "automountServiceAccountToken": false,
        "tolerations": [{"operator": "Exists"}],
        "containers": [{"name": "c", "image": "nothing"}],
    });
    let mut strategy = strategy(random, replicas);
    if strategy["rollingUpdate"].is_null() {
        strategy.as_object_mut().unwrap().remove("rollingUpdate");
    }
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "serviceName": "none", "minReadySeconds": min_ready,
            "podManagementPolicy": if random.chance(45) { "Parallel" } else { "OrderedReady" },
            "ordinals": {"start": random.one_of(&[0, 0, 0, 1, 5])},
            "updateStrategy": strategy,
            "selector": {"matchLabels": {"app": name}}, "template": template,
        },
    })
}

/// A change that can be made now.
pub fn change(random: &mut Random, world: &World) -> Change {
    let set = world.set().clone();
    let pods: Vec<(i32, bool, bool)> = world.look(|snapshot| {
        let all = snapshot.replicas().unwrap().iter().chain(snapshot.condemned().unwrap());
        all.filter_map(|replica| {
            let pod = replica.pod?;
            let up = pod.is_available(set.spec.min_ready_seconds, snapshot.taken_at);
            Some((replica.ordinal, up, pod.metadata.is_terminating()))
        })
        .collect()
    });
    let squatted = world.look(|snapshot| {
        let mut taken = snapshot.replicas().unwrap().iter().filter(|replica| replica.foreign_pod.is_some());
        taken.next().map(|replica| replica.ordinal)
    });
    let down: Vec<i32> = pods.iter().filter(|pod| !pod.1 && !pod.2).map(|pod| pod.0).collect();
    let ending: Vec<i32> = pods.iter().filter(|pod| pod.2).map(|pod| pod.0).collect();
    let live: Vec<i32> = pods.iter().filter(|pod| !pod.2).map(|pod| pod.0).collect();
    loop {
        return match random.below(100) {
            0..=29 if !down.is_empty() => {
                // Mostly the lowest, so that ordered sets get on.
                let ordinal = if random.chance(60) { down[0] } else { random.one_of(&down) };
                Change::Health(ordinal, Health::Ready)
            }
            30..=44 if !ending.is_empty() => Change::Remove(random.one_of(&ending)),
            45..=59 if !live.is_empty() => {
                let health = random.one_of(&HEALTHS).0;
                Change::Health(random.one_of(&live), health)
            }
            60..=61 if !ending.is_empty() => {
                Change::Health(random.one_of(&ending), random.one_of(&HEALTHS).0)
            }
            62..=66 if !live.is_empty() => Change::Delete(random.one_of(&live)),
            67..=69 if !live.is_empty() => Change::Remove(random.one_of(&live)),
            70 => match squatted {
                Some(ordinal) => Change::Remove(ordinal),
                None => Change::Squat(set.start() + random.below(set.replicas() + 2)),
            },
            71 if squatted.is_some() => Change::Remove(squatted.unwrap()),
            72..=99 => Change::Spec(spec(random, &set)),
            _ => continue,
        };
    }
}

fn spec(random: &mut Random, set: &kubectl_sts::kinds::StatefulSet) -> Value {
    let mut patch = serde_json::Map::new();
    for _ in 0..=random.below(2) {
        match random.below(12) {
            0..=4 => patch.insert("template".to_owned(), template(random.below(4))),
            5..=7 => patch.insert("replicas".to_owned(), json!(random.below(7))),
            8 => patch.insert("updateStrategy".to_owned(), strategy(random, set.replicas())),
            9 => patch.insert("minReadySeconds".to_owned(), json!(random.one_of(&[0, 3600]))),
            10 => patch.insert("ordinals".to_owned(), json!({"start": random.one_of(&[0, 1, 2, 5])})),
            _ if set.strategy() == Strategy::RollingUpdate => {
                let partition = random.below(set.replicas() + 1);
                let most = set.rolling_update().and_then(|rolling| rolling.max_unavailable);
                let rolling =
                    json!({"partition": partition, "maxUnavailable": most.unwrap_or(IntOrString::Int(1))});
                patch.insert(
                    "updateStrategy".to_owned(),
                    json!({"type": "RollingUpdate", "rollingUpdate": rolling}),
                )
            }
            _ => None,
        };
    }
    Value::Object(patch)
}
