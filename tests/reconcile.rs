//! The loop and every goal against a simulated cluster: what was agreed to, and nothing else, whatever interferes.
//!
//! `STS_SIMULATIONS=10000 STS_SEED=1 cargo test reconcile::` runs more of them.

mod simulation;

use std::time::Duration;

use jiff::Timestamp;
use kubectl_sts::cluster::{Failure, Performed};
use kubectl_sts::controller::World;
use kubectl_sts::plan::{
    Abort, Agreement, Canary, Change, Goal, OneSet, Plan, Recover, Stamp, Step, Stop, Undo, plan_in_full,
};
use kubectl_sts::reconcile::{Cluster, Limits, Outcome, Report, Witness, reconcile};
use kubectl_sts::snapshot::{CANARY, Snapshot};
use serde_json::json;

use crate::controller::change::Random;
use crate::controller::scenario::Case;
use simulation::{Odds, Simulation, annotate};

struct Nobody;

impl Witness for Nobody {
    fn look(&mut self, _: &Snapshot<'_>) {}
    fn trouble(&mut self, _: Option<&str>) {}
}

const LIMITS: Limits = Limits {
    timeout: Some(Duration::from_secs(900)),
    stuck_after: Duration::from_secs(30),
    stable_for: Duration::ZERO,
    endless: false,
};

/// What is typed.
#[derive(Clone, Debug, PartialEq)]
enum Typed {
    Abort,
    Undo,
    Recover,
    Canary(Vec<i32>),
    Promote(i32),
}

impl Typed {
    /// The goal, made from the cluster as a command makes it.
    fn goal(&self, sim: &Simulation) -> Box<dyn Goal> {
        match self {
            Typed::Abort => Box::new(Abort {
                stable: "A".to_owned(),
                data: Some(json!({"spec": {"template": {"$patch": "replace"}}})),
                stamp: stamp(),
                warnings: Vec::new(),
            }),
            Typed::Undo => Box::new(Undo {
                target: "A".to_owned(),
                data: json!({"spec": {"template": {"$patch": "replace"}}}),
                facts: Vec::new(),
                warnings: Vec::new(),
            }),
            Typed::Recover => Box::new(Recover { evict: false, first: true }),
            Typed::Canary(_) | Typed::Promote(_) => Box::new(self.canary(sim)),
        }
    }

    fn canary(&self, sim: &Simulation) -> Canary {
        let (steps, goes_on) = match self {
            Typed::Canary(steps) => (steps.clone(), false),
            Typed::Promote(partition) => (vec![*partition], true),
            _ => unreachable!("no canary"),
        };
        let is_new = sim.set().status.update_revision != "C";
        let change = Change {
            template: json!({"metadata": {"annotations": {"revision": "C"}}}),
            digest: "c".to_owned(),
            lines: if is_new {
                vec!["image of container web: web:1 → web:2".to_owned()]
            } else {
                Vec::new()
            },
        };
        Canary {
            change: (!goes_on).then_some(change),
            ladder: if goes_on { Vec::new() } else { steps.clone() },
            steps,
            goes_on,
            allow_unhealthy: false,
            finish: true,
            stamp: stamp(),
            facts: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Carries out what was agreed to, as the command does.
    async fn run(&self, sim: &mut Simulation, agreement: &Agreement) -> Report {
        match self {
            Typed::Canary(_) | Typed::Promote(_) => {
                let goal = self.canary(sim);
                let rungs = sim.with_now(|now| goal.rungs(now.unwrap())).unwrap_or_default();
                let mut journal = Vec::new();
                for goal in rungs.into_iter().map(|rung| goal.up_to(rung)).chain([goal.ending()]) {
                    let report = reconcile(sim, &goal, agreement, &LIMITS, &mut Nobody).await;
                    journal.extend(report.journal);
                    if !matches!(report.outcome, Outcome::Reached) {
                        return Report { journal, ..report };
                    }
                }
                Report { outcome: Outcome::Reached, journal, agreed_to_write: true }
            }
            Typed::Recover => {
                let goal = Recover { evict: false, first: false };
                reconcile(sim, &goal, agreement, &LIMITS, &mut Nobody).await
            }
            Typed::Abort | Typed::Undo => {
                let goal = self.goal(sim);
                reconcile(sim, goal.as_ref(), agreement, &LIMITS, &mut Nobody).await
            }
        }
    }
}

fn stamp() -> Stamp {
    Stamp { by: "test@simulation".to_owned(), at: "2026-01-01T00:00:00Z".parse().unwrap() }
}

fn plan(sim: &Simulation, typed: &Typed) -> Result<Plan, Stop> {
    let goal = typed.goal(sim);
    sim.with_now(|now| plan_in_full(goal.as_ref(), now.unwrap()))
}

/// A set on its way from revision A to B, or caught on the way back, or at rest; and what is typed about it.
fn any(random: &mut Random) -> (World, Typed, bool) {
    let replicas = 2 + random.below(5);
    let start = random.one_of(&[0, 0, 0, 3]);
    let server = random.one_of(&["v1.33.1", "v1.35.1", "v1.36.3", "v1.37.1"]);
    let typed = match random.below(6) {
        0 | 1 => Typed::Abort,
        2 => Typed::Undo,
        3 => Typed::Recover,
        4 => {
            let mut steps: Vec<i32> = (0..replicas).filter(|_| random.chance(50)).rev().collect();
            if steps.is_empty() {
                steps.push(0);
            }
            Typed::Canary(steps)
        }
        _ => Typed::Promote(random.below(replicas)),
    };
    let canary = matches!(typed, Typed::Canary(_));
    let reached = if canary { replicas } else { random.below(replicas + 1) };
    let partition = match random.below(3) {
        0 => reached,
        1 => random.below(replicas),
        _ => 0,
    };
    let breaks = !canary && random.chance(40);
    let back = typed == Typed::Recover || (typed == Typed::Undo && random.chance(20));
    let pods: Vec<String> = (0..replicas)
        .map(|index| {
            let revision = if index >= reached { "B" } else { "A" };
            let ends = if random.chance(5) { " terminating" } else { "" };
            format!("{} {revision} ready{ends}", start + index)
        })
        .collect();
    let rolling = random.chance(85).then(|| json!({"partition": partition}));
    let case: Case = serde_json::from_value(json!({
        "policy": if random.chance(25) { "Parallel" } else { "OrderedReady" },
        "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        "start": start, "replicas": replicas, "current": "A",
        "update": if back || canary { "A" } else { "B" },
        "currentReplicas": reached, "pods": pods, "writes": "nothing",
    }))
    .unwrap();
    let mut world = case.world(server);
    if matches!(typed, Typed::Abort | Typed::Promote(_)) && random.chance(75) {
        let mark = json!({"stable": "A", "partition": random.one_of(&[0, 0, partition]), "by": "test", "at": "2026-01-01T00:00:00Z"});
        annotate(world.set_mut(), CANARY, Some(&mark.to_string()));
    }
    (world, typed, breaks)
}

fn simulated(seed: u64, odds: Odds) -> (Simulation, Typed) {
    let mut random = Random(seed);
    let (world, typed, breaks) = any(&mut random);
    let mut sim = Simulation::new(world, random, odds);
    if breaks {
        sim.broken.insert("B".to_owned());
        for _ in 0..3 {
            let calm = std::mem::take(&mut sim.odds);
            sim.tick();
            sim.odds = calm;
        }
    }
    (sim, typed)
}

/// What must hold of every run.
fn holds(seed: u64, sim: &Simulation, typed: &Typed, plan: &Plan, agreement: &Agreement, report: &Report) {
    let told = || {
        let steps = plan.steps.iter().map(|step| format!("  {step:?}\n")).collect::<String>();
        format!(
            "seed {seed}, {typed:?}: {:?}\nplan:\n{steps}restarts: {:?}\nrestarted: {:#?}\n",
            report.outcome, plan.restarts, sim.restarts
        )
    };
    for step in &sim.writes {
        assert!(agreement.covers(step), "not agreed to: {step:?}\n{}", told());
    }
    for restart in sim.restarts.iter().filter(|restart| restart.by_us) {
        assert!(plan.restarts.contains(&restart.pod), "{} was not named\n{}", restart.pod, told());
    }
    for step in &sim.writes {
        if let Step::DeletePod { seen, .. } = step {
            let deleted = sim.restarts.iter().find(|restart| restart.uid == *seen).unwrap();
            assert!(!deleted.available, "{} was available\n{}", deleted.pod, told());
        }
    }
    if let Typed::Canary(steps) = typed {
        let lowest = sim.set().start() + steps.last().unwrap();
        let below = plan.restarts.iter().find(|pod| {
            kubectl_sts::snapshot::parse_pod_name(pod).is_some_and(|(_, ordinal)| ordinal < lowest)
        });
        assert_eq!(below, None, "below the partition\n{}", told());
    }
}

/// The same command again, with nobody interfering, until it has nothing more to do.
async fn converges(seed: u64, sim: &mut Simulation, typed: &Typed) -> String {
    sim.odds = Odds::default();
    let mut tries = Vec::new();
    for _ in 0..8 {
        for _ in 0..4 {
            sim.tick();
        }
        sim.rerun();
        let plan = match plan(sim, typed) {
            Ok(plan) if plan.steps.is_empty() => return "reached".to_owned(),
            Ok(plan) => plan,
            Err(Stop::Refused(refusal)) => return refusal.reason.to_owned(),
            Err(Stop::Unseen(unseen)) => panic!("seed {seed}: {unseen}"),
        };
        let agreement = Agreement::to(&plan);
        let report = typed.run(sim, &agreement).await;
        holds(seed, sim, typed, &plan, &agreement, &report);
        let set = sim.set();
        let state = (set.replicas(), set.partition(), &set.status.update_revision, &set.metadata.annotations);
        tries.push(format!("{:?}\n  {:?}\n  {state:?} {:?}", plan.steps, report.outcome, sim.pods()));
        match report.outcome {
            Outcome::Stuck(_) => return "stuck".to_owned(),
            Outcome::Refused(refusal) => return refusal.reason.to_owned(),
            Outcome::Reached | Outcome::Drifted(_) => {}
            // A pod that is waited for and never comes, without evidence why.
            Outcome::TimedOut => return "timed-out".to_owned(),
            other => panic!("seed {seed}, {typed:?}: {other:?}"),
        }
    }
    panic!("seed {seed}, {typed:?}: it does not converge\n{}", tries[5..].join("\n"))
}

fn simulations(default: u64) -> impl Iterator<Item = u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("STS_SEED").unwrap_or(1);
    first..first + number("STS_SIMULATIONS").unwrap_or(default)
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(future)
}

#[test]
fn no_pod_restarts_that_the_agreed_plan_did_not_name() {
    let odds = Odds { edit: 2, death: 2, touch: 15, lag: 50, race: 20, lost: 2 };
    let mut ends = std::collections::BTreeMap::<String, u32>::new();
    for seed in simulations(600) {
        let (mut sim, typed) = simulated(seed, odds);
        let Ok(plan) = plan(&sim, &typed) else {
            *ends.entry("refused at once".to_owned()).or_default() += 1;
            continue;
        };
        let agreement = Agreement::to(&plan);
        // The question is on the screen.
        for _ in 0..sim.random.below(12) {
            sim.tick();
        }
        let report = block_on(typed.run(&mut sim, &agreement));
        holds(seed, &sim, &typed, &plan, &agreement, &report);
        let word = format!("{:?}", report.outcome);
        let word = word.split(['(', ' ', '{']).next().unwrap_or_default().to_owned();
        *ends.entry(word).or_default() += 1;
        block_on(converges(seed, &mut sim, &typed));
    }
    println!("ends: {ends:?}");
    if std::env::var_os("STS_SEED").is_none() {
        for word in ["Reached", "Drifted", "Stuck", "refused"] {
            assert!(ends.keys().any(|end| end.starts_with(word)), "never {word}: {ends:?}");
        }
    }
}

#[test]
fn killed_at_any_write_and_run_again_it_ends_the_same() {
    for seed in simulations(150) {
        let (mut sim, typed) = simulated(seed, Odds::default());
        if plan(&sim, &typed).is_err() {
            continue;
        }
        let mut calm = simulated(seed, Odds::default()).0;
        let end = block_on(converges(seed, &mut calm, &typed));
        for number in 0..4 {
            for after in [false, true] {
                sim = simulated(seed, Odds::default()).0;
                let Ok(plan) = plan(&sim, &typed) else { continue };
                let agreement = Agreement::to(&plan);
                sim.killed_at = Some((number, after));
                let report = block_on(typed.run(&mut sim, &agreement));
                holds(seed, &sim, &typed, &plan, &agreement, &report);
                let again = block_on(converges(seed, &mut sim, &typed));
                let told = format!("seed {seed}, {typed:?}, write {number}, after {after}");
                if end == "reached" && again == "reached" {
                    assert_eq!(sim.set().partition(), calm.set().partition(), "{told}");
                    assert_eq!(sim.set().metadata.annotations, calm.set().metadata.annotations, "{told}");
                    assert_eq!(sim.pods(), calm.pods(), "{told}");
                }
                let is_same = end == again
                    // What is done already is nothing to begin with.
                    || matches!(again.as_str(), "reached" | "merely-slow" | "no-canary" | "terminating");
                assert!(is_same, "{told}: {again} instead of {end}");
            }
        }
    }
}

#[test]
fn an_abort_of_a_moving_rollout_asks_again_before_it_restarts_more() {
    let pods = ["0 A ready", "1 A ready", "2 A ready", "3 B ready", "4 B ready"];
    let case: Case = serde_json::from_value(json!({
        "policy": "OrderedReady", "strategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "replicas": 5, "current": "A", "update": "B", "currentReplicas": 3, "pods": pods, "writes": "nothing",
    }))
    .unwrap();
    let mut world = case.world("v1.37.1");
    let mark = json!({"stable": "A", "partition": 0, "by": "test", "at": "2026-01-01T00:00:00Z"});
    annotate(world.set_mut(), CANARY, Some(&mark.to_string()));
    let mut sim = Simulation::new(world, Random(7), Odds::default());
    let shown = plan(&sim, &Typed::Abort).unwrap();
    assert_eq!(shown.restarts, ["web-4", "web-3"]);
    assert!(matches!(&shown.steps[0], Step::Patch(patch) if patch.pauses), "{:?}", shown.steps);
    let agreement = Agreement::to(&shown);
    // The rollout reaches web-2 while the question is on the screen.
    while sim.pods().get("web-2").is_none_or(|revision| revision == "A") {
        sim.tick();
    }
    let report = block_on(Typed::Abort.run(&mut sim, &agreement));
    let Outcome::Drifted(what) = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(what.contains("web-2 would restart too"), "{what}");
    // It is paused there, so that the next plan holds for as long as the question is on the screen.
    assert_eq!(sim.set().partition(), 2);
    for _ in 0..60 {
        sim.tick();
    }
    let shown = plan(&sim, &Typed::Abort).unwrap();
    assert_eq!(shown.restarts, ["web-4", "web-3", "web-2"]);
    sim.rerun();
    let report = block_on(Typed::Abort.run(&mut sim, &Agreement::to(&shown)));
    assert!(matches!(report.outcome, Outcome::Reached), "{:?}", report.outcome);
    assert!(sim.pods().values().all(|revision| revision == "A"));
    assert_eq!((sim.set().partition(), sim.set().metadata.annotations.get(CANARY)), (0, None));
    assert!(sim.restarts.iter().all(|restart| restart.pod != "web-0" && restart.pod != "web-1"));
}

#[test]
fn a_write_without_effect_is_an_error() {
    /// Answers that it was done, and does nothing.
    struct Liar(Simulation);
    impl Cluster for Liar {
        type Of = OneSet;

        fn with_now<R>(&self, look: impl FnOnce(Option<&Snapshot<'_>>) -> R) -> R {
            self.0.with_now(look)
        }
        async fn next_change(&mut self, until: tokio::time::Instant) {
            self.0.next_change(until).await;
        }
        async fn read_again(&mut self, about: Option<&Step>) -> kubectl_sts::error::Result<()> {
            self.0.read_again(about).await
        }
        async fn perform(&mut self, _: &Step, _: bool) -> Result<Performed, Failure> {
            Ok(Performed::Done)
        }
        fn trouble(&self) -> Option<&str> {
            None
        }
    }
    let case: Case = serde_json::from_value(json!({
        "policy": "OrderedReady", "strategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "replicas": 2, "current": "A", "update": "B", "pods": ["0 A ready", "1 B ready"], "writes": "nothing",
    }))
    .unwrap();
    let sim = Simulation::new(case.world("v1.37.1"), Random(7), Odds::default());
    let plan = plan(&sim, &Typed::Undo).unwrap();
    let goal = Typed::Undo.goal(&sim);
    let mut liar = Liar(sim);
    let began = Timestamp::now();
    let report = block_on(reconcile(&mut liar, goal.as_ref(), &Agreement::to(&plan), &LIMITS, &mut Nobody));
    let Outcome::Error(error) = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(error.to_string().contains("had no effect: patch StatefulSet web"), "{error}");
    assert!(!report.journal[0].is_done());
    assert!(Timestamp::now().duration_since(began).as_secs() < 60);
}
