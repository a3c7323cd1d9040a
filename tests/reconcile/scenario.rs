//! Random clusters, and what is typed about them.

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::kubelet::{BROKEN, Fate};
use crate::controller::change::Random;

/// A goal that works on a StatefulSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Recover,
    Undo,
    Canary,
    Promote,
    PromoteFull,
    Abort,
}

pub const KINDS: [Kind; 6] =
    [Kind::Recover, Kind::Undo, Kind::Canary, Kind::Promote, Kind::PromoteFull, Kind::Abort];

/// What is typed.
#[derive(Clone, Debug, PartialEq)]
pub enum Typed {
    Recover {
        evict: bool,
    },
    /// Back to this revision.
    Undo(&'static str),
    /// Through these partitions, with a new image or without.
    Canary {
        steps: Vec<i32>,
        image: bool,
    },
    Promote(i32),
    Abort,
}

/// How a pod is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum State {
    /// Made long ago, and as the fate of its revision says.
    Old,
    /// Made this many seconds ago.
    Young(i64),
    /// Made long ago, and has this fate whatever others of its revision have.
    Has(Fate),
    /// Being deleted, for so many seconds yet.
    Ending(i64),
    /// Being deleted, and held by a finalizer.
    Held,
    /// As long as it is there, it has a finalizer.
    Guarded,
    /// Made before the set had a volume claim template.
    LacksVolume,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    pub ordinal: i32,
    pub revision: &'static str,
    pub state: State,
}

/// A cluster as it is found, and what is typed about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    pub server: &'static str,
    pub parallel: bool,
    pub strategy: Value,
    pub start: i32,
    pub replicas: i32,
    pub min_ready: i32,
    /// Whether it has a volume claim template.
    pub volumes: bool,
    pub template: &'static str,
    pub current: &'static str,
    pub mark: Option<Value>,
    pub pods: Vec<Found>,
    pub fates: BTreeMap<&'static str, Fate>,
    /// Ordinals of which the PVC is being deleted, or belongs to an earlier pod.
    pub claims: Vec<(i32, Claim)>,
    pub typed: Typed,
}

/// What is wrong with a PVC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is being deleted, and goes when no pod uses it.
    Ending,
    /// The same, and something else holds it.
    Held,
    /// No volume is there for it.
    Unbound,
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scenario { server, strategy, start, replicas, min_ready, template, current, typed, .. } = self;
        let policy = if self.parallel { "Parallel" } else { "OrderedReady" };
        writeln!(f, "  typed: {typed:?}")?;
        writeln!(f, "  {server}, {policy}, {replicas} replicas from {start}, minReadySeconds {min_ready}")?;
        writeln!(f, "  updateStrategy {strategy}, volumes {}", self.volumes)?;
        writeln!(f, "  template {template}, currentRevision {current}, fates {:?}", self.fates)?;
        if let Some(mark) = &self.mark {
            writeln!(f, "  annotation {mark}")?;
        }
        for Found { ordinal, revision, state } in &self.pods {
            writeln!(f, "  web-{ordinal}: {revision} {state:?}")?;
        }
        for (ordinal, claim) in &self.claims {
            writeln!(f, "  data-web-{ordinal}: {claim:?}")?;
        }
        Ok(())
    }
}

/// What went on with the set before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// All pods on A.
    Idle,
    /// From A to B.
    Rolling,
    /// From A to B, and the template is A again.
    Back,
    /// From A to B, and from there to C.
    Forward,
    /// A canary of ours to C.
    Own,
    /// Anything on anything.
    Wild,
}

/// The moment at which every simulation begins.
pub fn beginning() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

impl Scenario {
    pub fn random(random: &mut Random, kind: Kind) -> Scenario {
        let replicas = 1 + random.below(6);
        let start = random.one_of(&[0, 0, 0, 3]);
        let shape = match kind {
            Kind::Recover => [Shape::Back, Shape::Back, Shape::Back, Shape::Forward, Shape::Wild],
            Kind::Undo => [Shape::Rolling, Shape::Rolling, Shape::Back, Shape::Forward, Shape::Wild],
            Kind::Canary => [Shape::Idle, Shape::Idle, Shape::Idle, Shape::Own, Shape::Wild],
            Kind::Promote | Kind::PromoteFull | Kind::Abort => {
                [Shape::Rolling, Shape::Rolling, Shape::Own, Shape::Back, Shape::Wild]
            }
        };
        let shape = random.one_of(&shape);
        let reached = random.below(replicas + 1);
        let partition = match random.below(5) {
            // A canary is held by its partition.
            0 | 1 if !matches!(kind, Kind::Promote | Kind::PromoteFull) => 0,
            0..=3 => reached.min(replicas - 1),
            _ => random.below(replicas + 1),
        };
        let strategy = strategy(random, partition);
        let volumes = random.chance(25);
        let all = ["A", "B", "C"];
        let (template, current) = match shape {
            Shape::Idle | Shape::Back => ("A", "A"),
            Shape::Rolling => ("B", "A"),
            Shape::Forward | Shape::Own => ("C", "A"),
            Shape::Wild => (random.one_of(&all), random.one_of(&all)),
        };
        let mut fates = BTreeMap::from([("A", Fate::Good), ("B", Fate::Good), ("C", Fate::Good)]);
        let breaks = match (kind, shape) {
            (Kind::Recover, _) => [5, 90, 10],
            (_, Shape::Back | Shape::Forward) => [5, 70, 10],
            (_, Shape::Rolling) => [4, 30, 10],
            (_, Shape::Own) => [4, 4, 30],
            (_, Shape::Idle | Shape::Wild) => [4, 15, 15],
        };
        for (revision, percent) in all.into_iter().zip(breaks) {
            if random.chance(percent) {
                let mut all = BROKEN.to_vec();
                // Most of what is met.
                all.extend([Fate::ImagePull, Fate::CrashLoop, Fate::Flaps, Fate::Slow, Fate::Finishes]);
                fates.insert(revision, random.one_of(&all));
            }
        }
        let mut pods = Vec::new();
        for index in 0..replicas {
            let revision = match shape {
                Shape::Idle => "A",
                Shape::Rolling | Shape::Back if index >= reached => "B",
                Shape::Own if index >= reached => "C",
                Shape::Forward if index >= reached => random.one_of(&["B", "B", "C"]),
                Shape::Rolling | Shape::Back | Shape::Forward | Shape::Own => "A",
                Shape::Wild => random.one_of(&all),
            };
            // What is at rest mostly is well.
            let odd = if shape == Shape::Idle { 3 } else { 15 };
            let state = if random.chance(odd) { self::odd(random, volumes) } else { Some(State::Old) };
            pods.extend(state.map(|state| Found { ordinal: start + index, revision, state }));
        }
        if random.chance(8) {
            for ordinal in start + replicas..=start + replicas + random.below(2) {
                pods.push(Found { ordinal, revision: random.one_of(&all), state: State::Old });
            }
        }
        if start > 0 && random.chance(8) {
            pods.push(Found { ordinal: start - 1, revision: random.one_of(&all), state: State::Old });
        }
        let mut claims = Vec::new();
        if volumes && random.chance(15) {
            let claim = random.one_of(&[Claim::Ending, Claim::Held, Claim::Unbound]);
            claims.push((start + random.below(replicas), claim));
        }
        let ago = SignedDuration::from_secs(random.one_of(&[7200, 3600, 60, 5]));
        let mark = |random: &mut Random, change: Option<&str>| {
            let any = random.below(replicas + 1);
            let partition = random.one_of(&[0, 0, partition, any]);
            let at = (beginning() - ago).to_string();
            json!({"stable": "A", "partition": partition, "by": "test", "at": at, "change": change})
        };
        let mark = match (kind, shape) {
            (_, Shape::Own) => Some(mark(random, Some(super::typed::DIGEST))),
            (Kind::Abort | Kind::Promote | Kind::PromoteFull, _) if random.chance(70) => {
                Some(mark(random, None))
            }
            _ if random.chance(4) => Some(mark(random, None)),
            _ => None,
        };
        Scenario {
            server: random.one_of(&["v1.33.1", "v1.35.1", "v1.36.3", "v1.37.1"]),
            parallel: random.chance(30),
            strategy,
            start,
            replicas,
            min_ready: random.one_of(&[0, 0, 0, 3, 8]),
            volumes,
            template,
            current,
            mark,
            pods,
            fates,
            claims,
            typed: typed(random, kind, replicas, partition),
        }
    }
}

fn strategy(random: &mut Random, partition: i32) -> Value {
    match random.below(20) {
        0 => json!({"type": "OnDelete"}),
        1..=3 => json!({"type": "RollingUpdate"}),
        _ => {
            let most = random.one_of(&[json!(null), json!(1), json!(2), json!("50%"), json!("100%")]);
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition, "maxUnavailable": most}})
        }
    }
}

/// A pod that is not simply there; `None` where it is absent.
fn odd(random: &mut Random, volumes: bool) -> Option<State> {
    Some(match random.below(16) {
        0..=2 => return None,
        3..=5 => State::Young(i64::from(random.below(5))),
        6..=8 => State::Ending(i64::from(1 + random.below(6))),
        9 => State::Held,
        10 => State::Guarded,
        11 => State::Has(Fate::Finishes),
        12 => State::Has(Fate::Slow),
        _ if volumes => State::LacksVolume,
        _ => State::Has(random.one_of(&BROKEN)),
    })
}

fn typed(random: &mut Random, kind: Kind, replicas: i32, partition: i32) -> Typed {
    match kind {
        Kind::Recover => Typed::Recover { evict: random.chance(25) },
        Kind::Undo => Typed::Undo(random.one_of(&["A", "A", "A", "B"])),
        Kind::Canary => {
            let mut steps: Vec<i32> = (0..replicas).filter(|_| random.chance(45)).rev().collect();
            if steps.is_empty() {
                steps.push(random.below(replicas + 1));
            }
            if random.chance(40) {
                steps.truncate(1);
            }
            Typed::Canary { steps, image: random.chance(75) }
        }
        // Mostly further down than it is.
        Kind::Promote if random.chance(80) => Typed::Promote(random.below(partition.min(replicas))),
        Kind::Promote => Typed::Promote(random.below(replicas)),
        Kind::PromoteFull => Typed::Promote(0),
        Kind::Abort => Typed::Abort,
    }
}
