//! The loop and the goal of `restore-pvc` on simulated PVCs and volumes: only agreed writes, no data given up, and the
//! same end after a kill at any write.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kubectl_sts::cluster::{Failure, Performed};
use kubectl_sts::error::Result;
use kubectl_sts::kinds::{CLAIM_UID, EARLIER_POLICY};
use kubectl_sts::plan::restore::{Deleted, Remains, Restore, Returning, Returns};
use kubectl_sts::plan::{Agreement, Goal as _, Pvc, Step, Stop, VolumeChange};
use kubectl_sts::reconcile::{Cluster, Outcome, Report};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::namespaces::Dice;
use super::simulated::{killed, reconciled};
use crate::reconcile::{kept, runs};

/// A PVC that was deleted and its volume, as the API server and the volume controller treat them.
#[derive(Clone, Debug)]
struct World {
    number: usize,
    claim: Option<Value>,
    volume: Option<Value>,
    /// The next resourceVersion or uid.
    next: u64,
    /// Whether another client gave up the data: it deleted the volume, or the PVC while the policy was Delete.
    given_up: bool,
}

impl World {
    /// Its volume was kept for good, or by a run of prune-pvcs that was interrupted.
    fn new(number: usize, is_noted: bool) -> World {
        let annotations = match is_noted {
            true => json!({EARLIER_POLICY: "Delete", CLAIM_UID: format!("old-{number}")}),
            false => json!({}),
        };
        let volume = json!({
            "metadata": {
                "name": format!("pv-{number}"), "uid": format!("volume-{number}"), "resourceVersion": "1",
                "annotations": annotations,
            },
            "spec": {
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {
                    "kind": "PersistentVolumeClaim", "namespace": "shop", "name": format!("data-db-{number}"),
                    "uid": format!("old-{number}"), "resourceVersion": "7",
                },
            },
            "status": {"phase": "Released"},
        });
        World { number, claim: None, volume: Some(volume), next: 2, given_up: false }
    }

    fn deleted(&self) -> Deleted {
        let (name, volume) = (format!("data-db-{}", self.number), format!("pv-{}", self.number));
        Deleted {
            manifest: json!({
                "metadata": {"namespace": "shop", "name": name}, "spec": {"volumeName": volume},
            }),
            pvc: Pvc { namespace: "shop".to_owned(), uid: format!("old-{}", self.number), name },
            volume,
            volume_uid: format!("volume-{}", self.number),
        }
    }

    fn see(&self) -> Remains {
        let typed = |value: &Value| serde_json::from_value(value.clone()).unwrap();
        Remains {
            deleted: self.deleted(),
            claim: self.claim.as_ref().map(|claim| serde_json::from_value(claim.clone()).unwrap()),
            volume: self.volume.as_ref().map(typed),
            is_begun: false,
        }
    }

    fn fresh(&mut self) -> String {
        self.next += 1;
        self.next.to_string()
    }

    fn touch(&mut self) {
        let version = self.fresh();
        if let Some(volume) = &mut self.volume {
            volume["metadata"]["resourceVersion"] = version.into();
        }
    }

    fn version(&self) -> Value {
        self.volume.as_ref().map_or(Value::Null, |volume| volume["metadata"]["resourceVersion"].clone())
    }

    fn create(&mut self, volume: &str) {
        let uid = self.fresh();
        let uid = format!("new-{}-{uid}", self.number);
        self.claim = Some(json!({
            "metadata": {"namespace": "shop", "name": format!("data-db-{}", self.number), "uid": uid},
            "spec": {"volumeName": volume}, "status": {"phase": "Pending"},
        }));
    }

    /// The volume controller gets to it (`pkg/controller/volume/persistentvolume/pv_controller.go`: `syncVolume`, `syncClaim`).
    fn control(&mut self) {
        let name = format!("pv-{}", self.number);
        let claim = self.claim.as_ref().map(|claim| claim["metadata"]["uid"].clone());
        if let Some(volume) = &mut self.volume {
            let holder = volume["spec"]["claimRef"]["uid"].clone();
            let phase = match (&claim, holder.is_null()) {
                (_, true) => "Available",
                (Some(uid), false) if *uid == holder => "Bound",
                (_, false) => "Released",
            };
            if volume["status"]["phase"] != phase {
                volume["status"]["phase"] = phase.into();
                self.touch();
            }
        }
        let policy =
            self.volume.as_ref().map(|volume| volume["spec"]["persistentVolumeReclaimPolicy"].clone());
        let phase = self.volume.as_ref().map(|volume| volume["status"]["phase"].clone());
        if phase == Some("Released".into()) && policy == Some("Delete".into()) {
            self.volume = None;
        }
        let Some(claim) = &mut self.claim else { return };
        if claim["spec"]["volumeName"] != name.as_str() {
            claim["status"]["phase"] = "Bound".into();
            return;
        }
        let Some(volume) = &mut self.volume else { return };
        let holder = &volume["spec"]["claimRef"]["uid"];
        if holder.is_null() || *holder == claim["metadata"]["uid"] {
            claim["status"]["phase"] = "Bound".into();
            if volume["status"]["phase"] != "Bound" {
                volume["spec"]["claimRef"]["uid"] = claim["metadata"]["uid"].clone();
                volume["status"]["phase"] = "Bound".into();
                self.touch();
            }
        }
    }

    /// Another client does something.
    fn interfere(&mut self, dice: &mut Dice) {
        match dice.below(14) {
            0 if self.claim.is_none() => self.create("pv-another"),
            1 if self.claim.is_none() => self.create(&format!("pv-{}", self.number)),
            2 => {
                let policy = self.volume.as_ref().map(|it| &it["spec"]["persistentVolumeReclaimPolicy"]);
                self.given_up |= self.claim.is_some() && policy.is_some_and(|policy| policy == "Delete");
                self.claim = None;
            }
            3 => {
                let number = self.number;
                if let Some(volume) = &mut self.volume {
                    volume["metadata"]["annotations"]["note"] = number.to_string().into();
                    self.touch();
                }
            }
            4 if dice.one_in(4) => {
                self.volume = None;
                self.given_up = true;
            }
            5 if dice.one_in(4) => {
                if let Some(volume) = &mut self.volume {
                    volume["spec"]["persistentVolumeReclaimPolicy"] = "Delete".into();
                    self.given_up = true;
                    self.touch();
                }
            }
            _ => self.control(),
        }
    }

    /// Whether the PVC is there, bound to the volume it had.
    fn is_back(&self) -> bool {
        let (Some(claim), Some(volume)) = (&self.claim, &self.volume) else { return false };
        claim["status"]["phase"] == "Bound"
            && claim["spec"]["volumeName"] == volume["metadata"]["name"]
            && claim["metadata"]["uid"] == volume["spec"]["claimRef"]["uid"]
    }

    /// What the volume ends as, for comparison: all but what differs from run to run.
    fn end(&self) -> (bool, Option<Value>, Option<Value>) {
        let of = |path: &str| self.volume.as_ref().and_then(|volume| volume.pointer(path)).cloned();
        (self.is_back(), of("/spec/persistentVolumeReclaimPolicy"), of("/metadata/annotations"))
    }
}

/// RFC 7386.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            if !into[key].is_object() && value.is_object() {
                into[key] = json!({});
            }
            merge(&mut into[key], value);
        }
    }
}

struct Simulation {
    worlds: Vec<World>,
    now: Returning,
    /// The volume's resourceVersion of each when it was read.
    seen: Vec<Value>,
    current: usize,
    dice: Dice,
    busy: usize,
    writes: Vec<Step>,
    killed_at: Option<(usize, bool)>,
    looks: u32,
    /// A write that gave up data, if there was one.
    wrong: Option<String>,
}

impl Simulation {
    fn new(worlds: Vec<World>, dice: Dice, busy: usize) -> Simulation {
        Simulation {
            now: Returning { taken_at: Timestamp::UNIX_EPOCH, all: worlds.iter().map(World::see).collect() },
            seen: worlds.iter().map(World::version).collect(),
            worlds,
            current: 0,
            dice,
            busy,
            writes: Vec::new(),
            killed_at: None,
            looks: 3000,
            wrong: None,
        }
    }

    fn index(&self, step: &Step) -> usize {
        self.now.all.iter().position(|remains| Some(&remains.deleted.pvc) == step.pvc()).unwrap()
    }

    fn pass(&mut self) {
        for world in &mut self.worlds {
            for _ in 0..self.dice.below(self.busy + 1) {
                world.interfere(&mut self.dice);
            }
        }
    }

    /// The API server's answer, and what it does.
    fn write(&mut self, index: usize, step: &Step) -> Performed {
        let (world, seen) = (&mut self.worlds[index], &self.seen[index]);
        match step {
            Step::PatchVolume(patch) => {
                if world.volume.is_none() {
                    return Performed::AlreadyGone;
                }
                if world.version() != *seen {
                    return Performed::Conflict("another version".to_owned());
                }
                let gives_up =
                    matches!(&patch.change, VolumeChange::GiveBack { policy, .. } if policy != "Retain");
                let holder = world.volume.as_ref().map(|volume| volume["status"]["phase"].clone());
                if gives_up && holder != Some("Bound".into()) {
                    self.wrong = Some(format!("the policy was given back of {world:?}"));
                }
                merge(world.volume.as_mut().unwrap(), &patch.body());
                world.touch();
            }
            Step::CreatePvc { manifest, .. } => {
                if world.claim.is_some() {
                    return Performed::Conflict("it exists".to_owned());
                }
                world.create(manifest["spec"]["volumeName"].as_str().unwrap());
            }
            Step::Patch(_)
            | Step::DeletePod { .. }
            | Step::CreateSnapshot { .. }
            | Step::DeletePvc { .. }
            | Step::Await { .. }
            | Step::AwaitPvc { .. } => unreachable!("no write of restore-pvc: {step:?}"),
        }
        Performed::Done
    }
}

impl Cluster for Simulation {
    type Of = Returns;

    const IS_WATCHED: bool = false;

    fn with_now<R>(&self, look: impl FnOnce(Option<&Returning>) -> R) -> R {
        look(Some(&self.now))
    }

    fn is_read(&self, step: &Step) -> bool {
        self.index(step) == self.current
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
        let index = about.map_or(self.current, |step| self.index(step));
        self.current = index;
        self.seen[index] = self.worlds[index].version();
        let known = &mut self.now.all[index];
        *known = Remains { is_begun: known.is_begun, ..self.worlds[index].see() };
        Ok(())
    }

    async fn perform(&mut self, step: &Step, _dry_run: bool) -> std::result::Result<Performed, Failure> {
        self.pass();
        let (number, index) = (self.writes.len(), self.index(step));
        let dies = self.killed_at.filter(|(at, _)| *at == number);
        if let Some((_, false)) = dies {
            return Err(killed());
        }
        let performed = self.write(index, step);
        if performed == Performed::Done {
            self.writes.push(step.clone());
            self.now.all[index].is_begun = true;
        }
        if let Some((_, true)) = dies {
            return Err(killed());
        }
        Ok(performed)
    }
}

fn goal() -> Restore {
    Restore { patience: Duration::from_secs(60) }
}

/// `None` where the plan is refused before anything is asked.
fn run(sim: &mut Simulation) -> std::result::Result<(Agreement, Report), Stop> {
    let agreement = Agreement::to(&goal().plan(&sim.now)?);
    // The question is on the screen.
    sim.pass();
    let report = reconciled(sim, &goal(), &agreement);
    Ok((agreement, report))
}

/// What must hold of every run.
fn holds(seed: u64, sim: &Simulation, agreement: &Agreement, report: &Report) {
    let told = || format!("seed {seed}\n{:?}\n{:#?}\n{:#?}", report.outcome, sim.writes, sim.worlds);
    for step in &sim.writes {
        assert!(agreement.covers(step), "not agreed to: {step:?}\n{}", told());
    }
    assert_eq!(sim.wrong, None, "{}", told());
    for world in &sim.worlds {
        assert!(world.volume.is_some() || world.given_up, "the data is gone\n{}", told());
    }
    if let Outcome::Reached = report.outcome {
        // What another client did after the last look is not ours to know.
        assert!(sim.busy > 0 || sim.worlds.iter().all(World::is_back), "{}", told());
    }
}

/// The same again, with nobody interfering, until it ends or is refused.
fn again(seed: u64, mut worlds: Vec<World>) -> (Vec<World>, bool) {
    for world in &mut worlds {
        world.control();
        world.control();
    }
    let mut sim = Simulation::new(worlds, Dice::new(seed), 0);
    match run(&mut sim) {
        Err(_) => (sim.worlds, false),
        Ok((agreement, report)) => {
            holds(seed, &sim, &agreement, &report);
            assert!(matches!(report.outcome, Outcome::Reached), "seed {seed}: {:?}", report.outcome);
            (sim.worlds, true)
        }
    }
}

#[test]
fn a_restored_pvc_has_its_volume_and_nothing_is_given_up() {
    let mut ends = BTreeMap::<String, u32>::new();
    let (mut back, mut refused) = (0, 0);
    let mut told = String::new();
    for seed in 0..3000 {
        let mut dice = Dice::new(seed);
        let worlds: Vec<World> = (0..2).map(|number| World::new(number, dice.one_in(2))).collect();
        let busy = dice.below(3);
        let mut sim = Simulation::new(worlds, dice.another(), busy);
        if dice.one_in(3) {
            sim.killed_at = Some((dice.below(6), dice.one_in(2)));
        }
        let (agreement, report) = run(&mut sim).unwrap();
        holds(seed, &sim, &agreement, &report);
        if seed < 100 {
            runs::write(&mut told, &seed.to_string(), &report);
        }
        let word = format!("{:?}", report.outcome);
        *ends.entry(word.split(['(', ' ', '{']).next().unwrap().to_owned()).or_default() += 1;
        let (worlds, is_reached) = again(seed, sim.worlds);
        match is_reached {
            true => back += 1,
            false => refused += 1,
        }
        // No note is left on a volume that has its PVC.
        for world in worlds.iter().filter(|world| world.is_back() && is_reached && !world.given_up) {
            let (_, _, annotations) = world.end();
            assert!(!annotations.unwrap().to_string().contains(EARLIER_POLICY), "seed {seed}: {world:#?}");
        }
    }
    kept::compare("prune/returns.txt", &told);
    for word in ["Reached", "Refused", "Error"] {
        assert!(ends.contains_key(word), "never {word}: {ends:?}");
    }
    assert!(back > 500 && refused > 200, "back {back}, refused {refused}, {ends:?}");
}

#[test]
fn a_restore_killed_at_any_write_and_run_again_ends_the_same() {
    let start = || vec![World::new(0, true), World::new(1, false)];
    let mut whole = Simulation::new(start(), Dice::new(1), 0);
    let (agreement, report) = run(&mut whole).unwrap();
    holds(0, &whole, &agreement, &report);
    let ends: Vec<_> = whole.worlds.iter().map(World::end).collect();
    // Free, create and give back the first; free and create the second.
    assert_eq!(whole.writes.len(), 5, "{:#?}", whole.writes);
    for number in 0..5 {
        for after in [false, true] {
            let mut sim = Simulation::new(start(), Dice::new(1), 0);
            sim.killed_at = Some((number, after));
            let (agreement, report) = run(&mut sim).unwrap();
            holds(0, &sim, &agreement, &report);
            assert!(matches!(report.outcome, Outcome::Error(_)), "{number} {after}: {:?}", report.outcome);
            let (worlds, is_reached) = again(2, sim.worlds);
            assert!(is_reached, "{number} {after}");
            assert_eq!(worlds.iter().map(World::end).collect::<Vec<_>>(), ends, "{number} {after}");
        }
    }
}
