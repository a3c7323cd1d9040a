//! The loop and the goal of `prune-pvcs` on simulated PVCs: only agreed writes, no data lost that is needed, and the same
//! end after a kill at any write.

use jiff::Timestamp;
use kubectl_sts::cluster::deletions::note;
use kubectl_sts::cluster::{Failure, Performed};
use kubectl_sts::error::{Error, Result};
use kubectl_sts::plan::prune::phase::{Claim, Manner, Phase, State, Volume};
use kubectl_sts::plan::prune::{Claims, Deletions, Item, Prune};
use kubectl_sts::plan::{Agreement, Goal, Pvc, Step, Subject, VolumeChange};
use kubectl_sts::reconcile::{Cluster, Limits, Observer, Outcome, Report, reconcile};
use tokio::time::{Instant, sleep_until};

use super::namespaces::Dice;
use super::phases::World;
use crate::reconcile::{kept, runs};

struct Nobody;

impl<S: Subject> Observer<S> for Nobody {
    fn look(&mut self, _: &S::Now<'_>) {}
    fn trouble(&mut self, why: Option<&str>) {
        assert_eq!(why, None, "nothing is watched that could be down");
    }
}

/// The loop, with the clock paused.
pub fn reconciled<C: Cluster>(sim: &mut C, goal: &dyn Goal<C::Of>, agreement: &Agreement) -> Report {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(reconcile(sim, goal, agreement, &Limits::default(), &mut Nobody))
}

struct Simulation {
    worlds: Vec<World>,
    /// Which of them each PVC of the run is.
    of: Vec<usize>,
    now: Claims,
    /// Each as it was when it was read.
    seen: Vec<World>,
    current: usize,
    dice: Dice,
    /// How much happens between a look and a write.
    busy: usize,
    writes: Vec<Step>,
    /// Dies at this write: before it is done, or after.
    killed_at: Option<(usize, bool)>,
    /// A write that the server says is done, and is not.
    idle_at: Option<usize>,
    /// Whether every write finds that its object has changed.
    is_busy: bool,
    /// Looks that are left before it counts as endless.
    looks: u32,
}

/// A PVC as a run would find it; `None` if it would leave it alone.
fn item(number: usize, world: &World) -> Option<Item> {
    let shown = State { pending: false, ..world.see() };
    let is_noted = matches!(&shown.volume, Volume::Its { noted: Some(_), released: true, .. });
    let was_there = match shown.claim {
        Claim::There => true,
        Claim::Gone if is_noted => false,
        Claim::Gone | Claim::Leaving | Claim::Replaced => return None,
    };
    if shown.against.is_some() {
        return None;
    }
    let name = format!("data-db-{number}");
    Some(Item {
        pvc: Pvc { namespace: "shop".to_owned(), uid: format!("uid-{number}"), name },
        version: String::new(),
        volume: format!("pv-{number}"),
        set: "db".to_owned(),
        set_uid: "set".to_owned(),
        ordinal: 0,
        fate: "the PV and its data will be destroyed",
        keeps_volume: false,
        was_there,
        shown,
    })
}

impl Simulation {
    fn new(worlds: Vec<World>, dice: Dice, busy: usize) -> Simulation {
        let found: Vec<(usize, Item)> = worlds
            .iter()
            .enumerate()
            .filter_map(|(number, world)| Some((number, item(number, world)?)))
            .collect();
        let of: Vec<usize> = found.iter().map(|(number, _)| *number).collect();
        let now = Claims::shown(found.into_iter().map(|(_, item)| item).collect(), Timestamp::UNIX_EPOCH);
        Simulation {
            seen: of.iter().map(|number| worlds[*number].clone()).collect(),
            worlds,
            of,
            now,
            current: 0,
            dice,
            busy,
            writes: Vec::new(),
            killed_at: None,
            idle_at: None,
            is_busy: false,
            looks: 3000,
        }
    }

    fn index(&self, step: &Step) -> Option<usize> {
        self.now.known.iter().position(|known| Some(&known.item.pvc) == step.pvc())
    }

    /// The world moves on; Kubernetes does its part, and so do others.
    fn pass(&mut self) {
        for world in &mut self.worlds {
            for _ in 0..self.dice.below(self.busy + 1) {
                world.interfere(&mut self.dice);
            }
        }
    }
}

/// The phase whose write a step is.
fn phase(step: &Step) -> Phase {
    match step {
        Step::DeletePvc { .. } => Phase::Delete,
        Step::PatchVolume(patch) => match &patch.change {
            VolumeChange::Guard { .. } => Phase::Guard,
            VolumeChange::Keep => Phase::Keep,
            VolumeChange::GiveBack { policy, .. } => Phase::HandBack(policy.clone()),
            VolumeChange::Free => unreachable!("nothing is restored"),
        },
        Step::Patch(_)
        | Step::DeletePod { .. }
        | Step::CreateSnapshot { .. }
        | Step::CreatePvc { .. }
        | Step::Await { .. }
        | Step::AwaitPvc { .. } => unreachable!("no write of prune-pvcs: {step:?}"),
    }
}

/// What a run sees of a write at which it dies.
pub fn killed() -> Failure {
    Failure { error: Error::cluster("killed"), is_uncertain: true, forbidden: None }
}

impl Cluster for Simulation {
    type Of = Deletions;

    const IS_WATCHED: bool = false;

    fn with_now<R>(&self, look: impl FnOnce(Option<&Claims>) -> R) -> R {
        look(Some(&self.now))
    }

    fn is_read(&self, step: &Step) -> bool {
        self.index(step) == Some(self.current) && self.now.known[self.current].is_read
    }

    async fn next_change(&mut self, until: Instant) {
        self.pass();
        for world in &mut self.worlds {
            world.control();
        }
        sleep_until(until).await;
    }

    async fn read_again(&mut self, about: Option<&Step>) -> Result<()> {
        self.looks = self.looks.checked_sub(1).expect("it ends");
        let index = about.and_then(|step| self.index(step)).unwrap_or(self.current);
        self.current = index;
        let world = self.worlds[self.of[index]].clone();
        let known = &mut self.now.known[index];
        let state = world.see();
        let pending = if known.is_read { known.state.pending } else { state.volume.is_noted() };
        (known.state, known.is_read) = (State { pending, ..state }, true);
        self.seen[index] = world;
        Ok(())
    }

    async fn perform(&mut self, step: &Step, _dry_run: bool) -> std::result::Result<Performed, Failure> {
        self.pass();
        let (number, index) = (self.writes.len(), self.index(step).unwrap());
        let dies = self.killed_at.filter(|(at, _)| *at == number);
        if let Some((_, false)) = dies {
            return Err(killed());
        }
        if self.idle_at == Some(number) {
            return Ok(Performed::Done);
        }
        let (world, seen) = (&mut self.worlds[self.of[index]], &self.seen[index]);
        let performed = match step {
            _ if self.is_busy => Performed::Conflict("another version".to_owned()),
            Step::DeletePvc { .. } if world.claim != Claim::There => Performed::AlreadyGone,
            Step::DeletePvc { .. } if world.version != seen.version => {
                Performed::Conflict("another version".to_owned())
            }
            Step::PatchVolume(_) if world.volume != seen.volume => {
                Performed::Conflict("another version".to_owned())
            }
            _ => Performed::Done,
        };
        if performed == Performed::Done {
            world.write(&phase(step), seen);
            self.writes.push(step.clone());
        }
        note(&mut self.now.known[index], step, &performed);
        if let Some((_, true)) = dies {
            return Err(killed());
        }
        Ok(performed)
    }
}

fn worlds(dice: &mut Dice) -> Vec<World> {
    let modern = dice.one_in(2);
    (0..3).map(|_| World::new(dice.one_in(8), modern)).collect()
}

fn goal(manner: Manner) -> Prune {
    Prune { manner, accept_race: false, class: None }
}

fn run(sim: &mut Simulation, goal: &Prune) -> (Agreement, Report) {
    let plan = goal.plan(&sim.now).unwrap();
    let agreement = Agreement::to(&plan);
    // The question is on the screen.
    sim.pass();
    let report = reconciled(sim, goal, &agreement);
    (agreement, report)
}

/// What must hold of every run.
fn holds(seed: u64, sim: &Simulation, manner: Manner, agreement: &Agreement, report: &Report) {
    let told =
        || format!("seed {seed} {manner:?}\n{:?}\n{:#?}\n{:#?}", report.outcome, sim.writes, sim.worlds);
    for step in &sim.writes {
        assert!(agreement.covers(step), "not agreed to: {step:?}\n{}", told());
    }
    for world in &sim.worlds {
        assert!(!(world.destroyed && world.needed_when_gone), "needed data is gone\n{}", told());
        assert!(!(world.destroyed && manner == Manner::Keep), "data is gone that was to be kept\n{}", told());
    }
}

/// The same again, with nobody interfering, until nothing is left to do.
fn converges(seed: u64, mut worlds: Vec<World>, dice: &mut Dice, manner: Manner) -> Vec<World> {
    for _ in 0..6 {
        for world in &mut worlds {
            world.control();
            world.control();
        }
        let mut sim = Simulation::new(worlds, dice.another(), 0);
        if sim.of.is_empty() {
            return sim.worlds;
        }
        let (agreement, report) = run(&mut sim, &goal(manner));
        holds(seed, &sim, manner, &agreement, &report);
        worlds = sim.worlds;
    }
    panic!("seed {seed} {manner:?}: it does not converge\n{worlds:#?}")
}

#[test]
fn no_data_is_lost_and_nothing_is_written_that_was_not_agreed_to() {
    let mut ends = std::collections::BTreeMap::<String, u32>::new();
    let mut told = String::new();
    for seed in 0..1500 {
        let mut dice = Dice::new(seed);
        let worlds = worlds(&mut dice);
        let manner = if dice.one_in(5) { Manner::Keep } else { Manner::Guarded };
        let busy = dice.below(3);
        let mut sim = Simulation::new(worlds, dice.another(), busy);
        if dice.one_in(2) {
            sim.killed_at = Some((dice.below(8), dice.one_in(2)));
        }
        let (agreement, report) = run(&mut sim, &goal(manner));
        holds(seed, &sim, manner, &agreement, &report);
        if seed < 100 {
            runs::write(&mut told, &format!("{manner:?} {seed}"), &report);
        }
        let word = format!("{:?}", report.outcome);
        *ends.entry(word.split(['(', ' ', '{']).next().unwrap().to_owned()).or_default() += 1;
        for world in converges(seed, sim.worlds, &mut dice, manner) {
            // What nothing needs is gone, and no volume waits for its policy.
            let is_done = world.claim == Claim::Gone && !world.volume.is_noted();
            assert!(is_done || world.see().against.is_some(), "seed {seed}: left undone: {world:?}");
        }
    }
    kept::compare("prune/runs.txt", &told);
    for word in ["Reached", "Refused", "Error"] {
        assert!(ends.contains_key(word), "never {word}: {ends:?}");
    }
}

#[test]
fn killed_at_any_write_and_run_again_it_ends_the_same() {
    for manner in [Manner::Guarded, Manner::Keep] {
        for number in 0..9 {
            for after in [false, true] {
                let worlds: Vec<World> = (0..3).map(|_| World::new(false, true)).collect();
                let mut sim = Simulation::new(worlds, Dice::new(1), 0);
                sim.killed_at = Some((number, after));
                let (agreement, report) = run(&mut sim, &goal(manner));
                holds(0, &sim, manner, &agreement, &report);
                let most = if manner == Manner::Guarded { 9 } else { 6 };
                assert_eq!(matches!(report.outcome, Outcome::Error(_)), number < most, "{manner:?} {number}");
                for world in converges(0, sim.worlds, &mut Dice::new(2), manner) {
                    assert_eq!(world.claim, Claim::Gone, "{manner:?} {number} {after}");
                    assert_eq!(world.destroyed, manner == Manner::Guarded, "{manner:?} {number} {after}");
                }
            }
        }
    }
}

#[test]
fn a_write_about_a_pvc_without_effect_is_an_error() {
    for manner in [Manner::Guarded, Manner::Keep, Manner::Unguarded] {
        let writes = match manner {
            Manner::Guarded => 3,
            Manner::Keep => 2,
            Manner::Unguarded => 1,
        };
        for number in 0..writes {
            let mut sim = Simulation::new(vec![World::new(false, true)], Dice::new(1), 0);
            sim.idle_at = Some(number);
            let (_, report) = run(&mut sim, &goal(manner));
            let Outcome::Error(error) = &report.outcome else { panic!("{manner:?} {number}: {report:#?}") };
            assert!(error.to_string().contains("had no effect"), "{error}");
            let last = report.journal.last().unwrap();
            assert!(
                last.is_refused() && report.journal.len() == number + 1,
                "{manner:?} {number}: {report:#?}"
            );
        }
    }
}

#[test]
fn what_always_changes_is_left_alone() {
    let mut sim = Simulation::new(vec![World::new(false, true)], Dice::new(1), 0);
    sim.is_busy = true;
    let (_, report) = run(&mut sim, &goal(Manner::Guarded));
    let Outcome::Drifted(what) = &report.outcome else { panic!("{report:#?}") };
    assert_eq!(what, "another client keeps changing PV pv-0");
    assert_eq!((report.journal.len(), sim.writes.len()), (25, 0));
}

#[test]
fn a_pvc_that_does_not_go_is_waited_for_no_longer_than_it_may_take() {
    let mut sim = Simulation::new(vec![World::new(false, true), World::new(false, true)], Dice::new(1), 0);
    let plan = goal(Manner::Guarded).plan(&sim.now).unwrap();
    let limit = plan.steps.iter().find_map(Step::limit).unwrap();
    // The first takes a while, and then goes; the time is that of each wait, not of all.
    sim.worlds[0].slow = 2;
    sim.worlds[1].slow = u32::MAX;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let (report, took) = runtime.unwrap().block_on(async {
        let started = Instant::now();
        let agreement = Agreement::to(&plan);
        let report =
            reconcile(&mut sim, &goal(Manner::Guarded), &agreement, &Limits::default(), &mut Nobody).await;
        (report, started.elapsed())
    });
    let Outcome::Refused(refusal) = &report.outcome else { panic!("{report:#?}") };
    let because = format!(
        "data-db-1: its deletion was requested, but it still exists after {}s: something blocks the deletion; until then \
         PV pv-1 is kept",
        limit.as_secs()
    );
    assert_eq!((refusal.reason, refusal.because.as_str()), ("held", because.as_str()));
    assert!(took >= limit && took < limit * 3 / 2, "{took:?}");
}

#[test]
fn each_pvc_may_take_its_time() {
    let mut sim = Simulation::new(vec![World::new(false, true), World::new(false, true)], Dice::new(1), 0);
    let plan = goal(Manner::Guarded).plan(&sim.now).unwrap();
    let limit = plan.steps.iter().find_map(Step::limit).unwrap();
    // Reads come every 300 ms: each takes two thirds of the limit.
    let looks = u32::try_from(limit.as_millis() * 2 / 900).unwrap();
    sim.worlds[0].slow = looks;
    sim.worlds[1].slow = looks;
    let report = reconciled(&mut sim, &goal(Manner::Guarded), &Agreement::to(&plan));
    assert!(matches!(report.outcome, Outcome::Reached), "{report:#?}");
}
