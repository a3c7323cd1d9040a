//! The loop and every goal of it against a simulated cluster, offline: random clusters, whatever interferes, in
//! milliseconds.
//!
//! `STS_SIMULATIONS=10000 STS_SEED=1 cargo test reconcile::` runs more of them. A case that fails prints its seed and the
//! scenario, and can be run alone: `STS_SEED=77 STS_SIMULATIONS=1 STS_GOAL=Recover cargo test reconcile::NAME`.

mod aims;
mod facts;
mod hand;
pub mod kept;
mod kubelet;
mod plans;
pub mod runs;
mod scenario;
mod simulation;
mod steps;
mod typed;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use kubectl_sts::cluster::{Failure, Performed};
use kubectl_sts::controller::{End, Forecast, Idle, Move, Next, Purpose};
use kubectl_sts::kinds::{Pod, Strategy};
use kubectl_sts::plan::{Goal, OneSet, Step, Stop, Undo, forecast};
use kubectl_sts::reconcile::{Cluster, Outcome, Report, reconcile};
use kubectl_sts::snapshot::{CANARY, CanaryAnnotation, Snapshot};
use serde_json::json;
use tokio::time::Instant;

use crate::controller::change::Random;
use kubelet::Fate;
use scenario::{Claim, Found, KINDS, Kind, Scenario, State, Typed};
use simulation::{By, Moved, Odds, Simulation};
use typed::{Agreed, Nobody, TIMEOUT};

/// Everything that can come between.
const STORM: Odds = Odds {
    edit: 2,
    death: 2,
    turn: 2,
    touch: 15,
    lag: 50,
    race: 20,
    lost: 5,
    refuse: 6,
    unread: 8,
    late: 10,
    gone: 0,
};

/// Nobody else writes, but what is seen is late, and requests fail.
const FOG: Odds = Odds { edit: 0, death: 0, turn: 0, lost: 0, ..STORM };

/// One case: what it begins with, told when it fails.
struct Case {
    seed: u64,
    kind: Kind,
    scenario: Scenario,
}

impl Case {
    fn simulation(&self) -> Simulation {
        Simulation::new(&self.scenario, Random(self.seed ^ 0x5e_ed))
    }

    /// Whether pods of it stay as they are, so that an end can be compared.
    fn is_steady(&self) -> bool {
        let restless = |fate: Fate| matches!(fate, Fate::Flaps | Fate::Finishes);
        let found = self.scenario.pods.iter();
        !self.scenario.fates.values().copied().any(restless)
            && !found.into_iter().any(|it| matches!(it.state, State::Has(fate) if restless(fate)))
    }
}

/// The cases of every goal, or of the one that is asked for.
fn cases(default: u64) -> impl Iterator<Item = Case> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("STS_SEED").unwrap_or(1);
    let seeds = first..first + number("STS_SIMULATIONS").unwrap_or(default);
    let asked = std::env::var("STS_GOAL").ok();
    let kinds =
        KINDS.into_iter().filter(move |kind| asked.as_ref().is_none_or(|it| *it == format!("{kind:?}")));
    let each = move |kind: Kind| {
        seeds.clone().map(move |seed| {
            let scenario = Scenario::random(&mut Random(seed), kind);
            Case { seed, kind, scenario }
        })
    };
    kinds.flat_map(each)
}

/// Holds a property of every case, and tells how many of them are wrong.
fn each(default: u64, holds: impl Fn(&Case, &mut Ends)) -> Ends {
    let (mut ends, mut all, mut wrong) = (Ends::default(), 0, 0);
    for case in cases(default) {
        all += 1;
        let held = catch_unwind(AssertUnwindSafe(|| {
            holds(&case, &mut ends);
        }));
        if held.is_err() {
            let Case { seed, kind, scenario } = &case;
            println!("STS_SEED={seed} STS_GOAL={kind:?} STS_SIMULATIONS=1\n{scenario}");
            wrong += 1;
        }
        assert!(wrong < 5 || are_chosen(), "{wrong} of the first {all} cases are wrong");
    }
    assert_eq!(wrong, 0, "of {all} cases");
    println!("{all} cases, 0 wrong: {:?}", ends.0);
    ends
}

/// How often what came out, by goal.
#[derive(Default)]
struct Ends(BTreeMap<(String, String), u32>);

impl Ends {
    fn count(&mut self, kind: Kind, word: String) {
        *self.0.entry((format!("{kind:?}"), word)).or_default() += 1;
    }

    /// A property that is never put to the test holds always: so every goal must come out in each of these ways, and some
    /// goal in each of those.
    fn come_up(&self, each: &[&str], some: &[&str]) {
        if are_chosen() {
            return;
        }
        let came = |kind: Option<Kind>, word: &str| {
            let mut all = self.0.keys();
            let is_it = |of: &str| kind.is_none_or(|kind| of == format!("{kind:?}"));
            all.any(|(of, end)| is_it(of) && end.starts_with(word))
        };
        for word in each {
            for kind in KINDS {
                assert!(came(Some(kind), word), "{kind:?} never came out as {word}: {:?}", self.0);
            }
        }
        for word in some {
            assert!(came(None, word), "nothing came out as {word}: {:?}", self.0);
        }
    }
}

/// Whether other cases than those of every run are asked for.
fn are_chosen() -> bool {
    let is_asked = |name: &str| std::env::var_os(name).is_some();
    ["STS_SEED", "STS_SIMULATIONS", "STS_GOAL"].into_iter().any(is_asked)
}

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Refused(refusal) => format!("refused {}", refusal.reason),
        other => format!("{other:?}").split(['(', ' ', '{']).next().unwrap_or_default().to_lowercase(),
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(future)
}

/// Runs what was agreed to, and holds that it ends in time, by an outcome that there is.
async fn run(sim: &mut Simulation, agreed: &Agreed) -> Report {
    let end = TIMEOUT + Duration::from_secs(5);
    let report = tokio::time::timeout(end, agreed.run(sim)).await;
    let report = report.unwrap_or_else(|_| panic!("it has not ended after {end:?}"));
    match &report.outcome {
        Outcome::Reached
        | Outcome::Drifted(_)
        | Outcome::Stuck(_)
        | Outcome::Refused(_)
        | Outcome::Gone
        | Outcome::TimedOut => {}
        Outcome::Error(error) => {
            let told = error.to_string();
            let known = ["no answer", "422", "does not answer", "had no effect"];
            assert!(known.iter().any(|known| told.contains(known)), "{told}");
        }
        other @ (Outcome::Unseen(_) | Outcome::Failed(..) | Outcome::Interrupted) => {
            panic!("an end of something else: {other:?}")
        }
    }
    report
}

fn told(sim: &Simulation, agreed: &Agreed, report: &Report) -> String {
    let steps: String = agreed.plan.steps.iter().map(|step| format!("  {step:?}\n")).collect();
    let needed: String = agreed.plan.if_needed.iter().map(|step| format!("  {step:?}\n")).collect();
    format!(
        "{:?}\nplan:\n{steps}if needed:\n{needed}restarts: {:?}\nmoves: {:#?}",
        report.outcome, agreed.plan.restarts, sim.moves
    )
}

/// What holds of every run, whatever interferes: only what was agreed to is written, no pod restarts because of it that
/// the plan did not name, and what each goal leaves alone is left alone.
fn holds(case: &Case, sim: &Simulation, agreed: &Agreed, report: &Report) {
    let told = || told(sim, agreed, report);
    for step in &sim.writes {
        assert!(agreed.agreement.covers(step), "not agreed to: {step:?}\n{}", told());
    }
    let set = sim.set();
    let lowest = match &case.scenario.typed {
        Typed::Canary { steps, .. } => steps.last().copied(),
        Typed::Promote(partition) => Some(*partition),
        Typed::Recover { .. } | Typed::Undo(_) | Typed::Abort => None,
    };
    for moved in &sim.moves {
        let Moved::Deleted { ordinal, by, ours: true, available: (seen, is), .. } = moved else { continue };
        let pod = set.pod_name(*ordinal);
        // A pod that is ready only now and then restarts whatever is planned.
        let named = agreed.plan.restarts.contains(&pod) || !case.is_steady();
        assert!(named, "{pod} was not named\n{}", told());
        let below = lowest.is_some_and(|lowest| ordinal - set.start() < lowest);
        assert!(!below, "{pod} is below the partition\n{}", told());
        let lacks =
            case.scenario.pods.iter().any(|it| it.ordinal == *ordinal && it.state == State::LacksVolume);
        // Of an abort every pod that has left the stable revision restarts, whoever deletes it.
        let frees = matches!(case.scenario.typed, Typed::Recover { .. } | Typed::Undo(_));
        if *by == By::Us && !lacks && frees {
            assert!(!seen, "{pod} was seen available\n{}", told());
            assert!(!is || sim.odds.race > 0 || sim.odds.late > 0, "{pod} was available\n{}", told());
        }
    }
    for step in &sim.writes {
        let fits = match (&case.scenario.typed, step) {
            (Typed::Canary { .. } | Typed::Promote(_), Step::Patch(_)) => true,
            (Typed::Canary { .. } | Typed::Promote(_), _) => false,
            (Typed::Recover { .. }, Step::Patch(patch)) => patch.body.pointer("/spec/template").is_none(),
            (Typed::Undo(_), Step::Patch(patch)) => patch.body.pointer("/metadata").is_none(),
            (Typed::Abort, Step::Patch(_)) => true,
            (Typed::Recover { evict }, Step::DeletePod { evict: evicts, .. }) => evict == evicts,
            (Typed::Undo(_) | Typed::Abort, Step::DeletePod { evict, .. }) => !evict,
            (
                _,
                Step::Await { .. }
                | Step::AwaitPvc { .. }
                | Step::CreateSnapshot { .. }
                | Step::PatchVolume(_)
                | Step::DeletePvc { .. }
                | Step::CreatePvc { .. },
            ) => false,
        };
        assert!(fits, "nothing that this goal writes: {step:?}\n{}", told());
    }
    if matches!(report.outcome, Outcome::Reached) {
        let missing = sim.last_read(agreed.agreement.writes()).look(|now| is_missing(case, sim, now));
        assert_eq!(missing, None, "\n{}\n{}", sim.end_state(), told());
        // What was shown is what was rolled out, unless somebody came after the last look.
        let last = sim.last_read(agreed.agreement.writes());
        let update = last.look(|now| now.set.status.update_revision.clone());
        assert!(
            agreed.plan.template.as_ref().is_none_or(|shown| *shown == update),
            "{update} was not shown\n{}",
            told()
        );
    }
}

/// What is missing of the goal, judged by the cluster and not by the plan.
fn is_missing(case: &Case, sim: &Simulation, now: &Snapshot<'_>) -> Option<String> {
    let (set, update) = (now.set, &now.set.status.update_revision);
    // One that is ready now and then may be so again in the next moment.
    let flaps = |pod: &Pod| {
        let fate = case.scenario.fates.get(pod.revision());
        matches!(fate, Some(Fate::Flaps | Fate::Finishes))
    };
    let up = |pod: &Pod| {
        let is_up = pod.is_available(set.spec.min_ready_seconds, now.taken_at);
        (is_up || flaps(pod)) && !pod.metadata.is_terminating()
    };
    let down = |from: i32| {
        let all = now.replicas().unwrap().iter().filter(move |it| it.ordinal - set.start() >= from);
        all.filter(|it| !it.pod.is_some_and(up)).map(|it| it.name.clone()).next()
    };
    let not_on = |revision: &str, from: i32| {
        let mut all = now.replicas().unwrap().iter().filter(|it| it.ordinal - set.start() >= from);
        all.find(|it| it.pod.is_none_or(|pod| pod.revision() != revision)).map(|it| it.name.clone())
    };
    let partition = set.partition();
    let mark = set.metadata.annotations.get(CANARY);
    let not = |is: bool, what: String| (!is).then_some(what);
    match &case.scenario.typed {
        Typed::Recover { .. } => {
            let down = if set.strategy() == Strategy::RollingUpdate { down(0) } else { None };
            down.map(|pod| format!("{pod} is not available"))
        }
        Typed::Undo(target) => {
            let rolls = set.strategy() == Strategy::RollingUpdate;
            not(update == target, format!("the template is {update}"))
                .or_else(|| not_on(target, partition).filter(|_| rolls).map(|pod| format!("{pod} is old")))
                .or_else(|| down(partition).filter(|_| rolls).map(|pod| format!("{pod} is not available")))
        }
        Typed::Canary { steps, image } => {
            let to = steps.last().copied().unwrap_or(0);
            not(partition == to, format!("the partition is {partition}"))
                .or_else(|| not(!image || update == "C", format!("the template is {update}")))
                .or_else(|| not_on(&set.status.update_revision, to).map(|pod| format!("{pod} is old")))
                .or_else(|| down(to).map(|pod| format!("{pod} is not available")))
                .or_else(|| {
                    not((to == 0) == mark.is_none(), format!("the annotation is {mark:?}"))
                        .filter(|_| !sim.disturbed)
                })
        }
        Typed::Promote(to) => not(partition == *to, format!("the partition is {partition}"))
            .or_else(|| not_on(&set.status.update_revision, *to).map(|pod| format!("{pod} is old")))
            .or_else(|| down(*to).map(|pod| format!("{pod} is not available")))
            .or_else(|| not(*to > 0 || mark.is_none(), format!("the annotation is {mark:?}"))),
        Typed::Abort => {
            let before: Option<CanaryAnnotation> =
                case.scenario.mark.as_ref().map(|mark| serde_json::from_value(mark.clone()).unwrap());
            let stable = before.as_ref().map_or(case.scenario.current.to_owned(), |mark| mark.stable.clone());
            let rolling = case.scenario.strategy.pointer("/rollingUpdate/partition");
            let rolling = rolling.and_then(serde_json::Value::as_i64).unwrap_or(0);
            let earlier = before.as_ref().map_or(rolling, |mark| mark.partition.into());
            // A pod from before the canary is what it was, whether it is well or not.
            let began = before.map_or(scenario::beginning(), |mark| mark.at);
            let untouched = |pod: &Pod| pod.metadata.creation_timestamp.is_some_and(|born| born < began);
            let mut replicas = now.replicas().unwrap().iter();
            let bad = replicas.find(|it| !it.pod.is_some_and(|pod| up(pod) || untouched(pod)));
            not(mark.is_none(), format!("the annotation is {mark:?}"))
                .or_else(|| {
                    not(
                        sim.disturbed || sim.template() == stable.as_str(),
                        format!("the template is {}", sim.template()),
                    )
                })
                .or_else(|| {
                    not_on(&stable, 0)
                        .filter(|_| !sim.disturbed)
                        .map(|pod| format!("{pod} is not on {stable}"))
                })
                .or_else(|| bad.filter(|_| !sim.disturbed).map(|it| format!("{} is not available", it.name)))
                .or_else(|| {
                    not(
                        sim.disturbed || i64::from(partition) == earlier,
                        format!("the partition is {partition} and not {earlier}"),
                    )
                })
        }
    }
}

/// The same command again, with nobody interfering, until it has nothing more to do.
async fn converges(case: &Case, sim: &mut Simulation) -> String {
    sim.odds = Odds::default();
    let mut tries = Vec::new();
    let mut told_to_wait = false;
    for _ in 0..8 {
        sim.rerun();
        for _ in 0..4 {
            sim.tick();
        }
        sim.rerun();
        let agreed = match case.scenario.typed.agree(sim) {
            Ok(agreed) if agreed.plan.steps.is_empty() => return "reached".to_owned(),
            Ok(agreed) => agreed,
            // Where something is under way it says so, and how to follow it.
            Err(Stop::Refused(_)) if !told_to_wait => {
                told_to_wait = true;
                settles(sim);
                continue;
            }
            Err(Stop::Refused(refusal)) => return refusal.reason.to_owned(),
            Err(Stop::Unseen(unseen)) => panic!("{unseen}"),
        };
        told_to_wait = false;
        let report = run(sim, &agreed).await;
        holds(case, sim, &agreed, &report);
        tries.push(format!("{}\n{}", told(sim, &agreed, &report), sim.end_state()));
        match report.outcome {
            Outcome::Reached | Outcome::Drifted(_) => {}
            outcome => return word(&outcome),
        }
    }
    panic!("it does not converge\n{}", tries[5..].join("\n"))
}

/// Lets the cluster come to rest.
fn settles(sim: &mut Simulation) {
    sim.odds = Odds::default();
    for _ in 0..70 {
        sim.tick();
    }
}

#[test]
fn whatever_interferes_every_run_ends_and_does_only_what_was_agreed() {
    let runs = RefCell::new(String::new());
    let ends = each(40, |case, ends| {
        let mut sim = case.simulation();
        sim.odds = Odds { gone: if case.seed % 10 == 0 { 2 } else { 0 }, ..STORM };
        let agreed = match case.scenario.typed.agree(&sim) {
            Ok(agreed) if agreed.plan.steps.is_empty() => {
                ends.count(case.kind, "nothing to do".to_owned());
                return;
            }
            Ok(agreed) => agreed,
            Err(stop) => {
                ends.count(case.kind, word(&stop.into()));
                return;
            }
        };
        // The question is on the screen.
        for _ in 0..sim.random.below(12) {
            sim.tick();
        }
        let report = block_on(run(&mut sim, &agreed));
        holds(case, &sim, &agreed, &report);
        runs::write(&mut runs.borrow_mut(), &format!("{:?} {}", case.kind, case.seed), &report);
        ends.count(case.kind, word(&report.outcome));
        block_on(converges(case, &mut sim));
    });
    runs::compare(&runs.into_inner());
    ends.come_up(&["reached", "refused"], &["drifted", "stuck", "error", "gone", "nothing to do"]);
}

/// The plan, where there is something to do.
fn begun(case: &Case, sim: &Simulation) -> Option<Agreed> {
    case.scenario.typed.agree(sim).ok().filter(|agreed| !agreed.plan.steps.is_empty())
}

#[test]
fn where_only_sight_is_bad_it_ends_as_in_clear_sight() {
    let ends = each(20, |case, ends| {
        let mut sim = case.simulation();
        let Some(agreed) = begun(case, &sim) else { return };
        sim.odds = FOG;
        let report = block_on(run(&mut sim, &agreed));
        holds(case, &sim, &agreed, &report);
        ends.count(case.kind, word(&report.outcome));
        block_on(converges(case, &mut sim));
    });
    ends.come_up(&["reached"], &["stuck", "error"]);
}

#[test]
fn killed_at_any_write_and_run_again_it_ends_the_same() {
    let ends = each(8, |case, ends| {
        let mut calm = case.simulation();
        let Some(agreed) = begun(case, &calm) else { return };
        let report = block_on(run(&mut calm, &agreed));
        holds(case, &calm, &agreed, &report);
        let writes = calm.asked;
        // What moves by itself goes on while nothing is written.
        let moves = !matches!(case.simulation().truth().next(), Next::Settled(_));
        let end = block_on(converges(case, &mut calm));
        settles(&mut calm);
        for (number, after) in (0..writes).flat_map(|number| [(number, false), (number, true)]) {
            let mut sim = case.simulation();
            let Ok(agreed) = case.scenario.typed.agree(&sim) else { panic!("it had a plan") };
            sim.killed_at = Some((number, after));
            let report = block_on(run(&mut sim, &agreed));
            holds(case, &sim, &agreed, &report);
            assert!(matches!(report.outcome, Outcome::Error(_)), "not killed: {:?}", report.outcome);
            let again = block_on(converges(case, &mut sim));
            settles(&mut sim);
            ends.count(case.kind, end.clone());
            // Where the goal cannot be reached, how far it comes is a matter of when it began; and what an OnDelete set
            // makes in place of a pod that ended by itself as well.
            let is_late = moves && number == 0 && !after;
            if case.is_steady() && end == "reached" && !is_late && calm.set().strategy() != Strategy::OnDelete
            {
                let told = format!(
                    "killed {} write {number}: {end} and {again}",
                    if after { "after" } else { "before" }
                );
                assert_eq!(calm.end_state(), sim.end_state(), "{told}");
            }
        }
    });
    ends.come_up(&["reached"], &[]);
}

/// What a course says of each replica, in order: `-` and `+REVISION`.
fn predicted(course: &Forecast) -> BTreeMap<i32, Vec<String>> {
    let mut again = BTreeSet::new();
    let mut all: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for step in &course.moves {
        match step {
            // A known gap: the course deletes a pod for us although the controller has replaced it by then.
            Move::Delete(ordinal, None) if all.contains_key(ordinal) => {
                again.insert(*ordinal);
            }
            Move::Create { ordinal, .. } if again.remove(ordinal) => {}
            Move::Delete(ordinal, _) => all.entry(*ordinal).or_default().push("-".to_owned()),
            Move::Create { ordinal, revision, .. } => {
                // A new template has no name yet.
                let revision = if revision.is_empty() { "C" } else { revision };
                all.entry(*ordinal).or_default().push(format!("+{revision}"));
            }
        }
    }
    all
}

fn happened(sim: &Simulation) -> BTreeMap<i32, Vec<String>> {
    let mut all: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for moved in &sim.moves {
        match moved {
            Moved::Deleted { ordinal, .. } => all.entry(*ordinal).or_default().push("-".to_owned()),
            Moved::Created { ordinal, revision } => {
                all.entry(*ordinal).or_default().push(format!("+{revision}"));
            }
        }
    }
    all
}

#[test]
fn what_the_dry_run_predicts_is_what_happens() {
    let ends = each(40, |case, ends| {
        let mut sim = case.simulation();
        let Some(agreed) = begun(case, &sim) else { return };
        let course = sim.look(|now| forecast(now.unwrap(), &agreed.plan).unwrap());
        let report = block_on(run(&mut sim, &agreed));
        holds(case, &sim, &agreed, &report);
        let told = |sim: &Simulation| format!("{course:#?}\n{}", told(sim, &agreed, &report));
        for moved in &sim.moves {
            let Moved::Deleted { ordinal, by: By::Us | By::Controller(Purpose::Update), .. } = moved else {
                continue;
            };
            let pod = sim.set().pod_name(*ordinal);
            let ends = case.scenario.claims.iter().any(|(_, claim)| *claim == Claim::Ending);
            let named = agreed.plan.restarts.contains(&pod) || !sim.set().in_range(*ordinal) || ends;
            assert!(named, "{pod} was not named\n{}", told(&sim));
        }
        let forks = course.moves.iter().any(|step| matches!(step, Move::Create { or: Some(_), .. }));
        let held = |found: &Found| matches!(found.state, State::Held | State::Guarded);
        let is_held = case.scenario.pods.iter().any(held) || !case.scenario.claims.is_empty();
        if !case.is_steady() || forks || is_held {
            return;
        }
        let breaks = |fate: &Fate| !matches!(fate, Fate::Good | Fate::Slow);
        // One that has been there for hours and is still slow is stuck by all signs.
        let is_stuck = |found: &Found| match found.state {
            State::Has(fate) => fate != Fate::Good,
            State::Old => case.scenario.fates.get(found.revision) == Some(&Fate::Slow),
            _ => false,
        };
        let is_updated_and_available =
            !case.scenario.fates.values().any(breaks) && !case.scenario.pods.iter().any(is_stuck);
        if is_updated_and_available && matches!(course.end, End::At(Idle::Done | Idle::Partition)) {
            assert!(matches!(report.outcome, Outcome::Reached), "it was to end well\n{}", told(&sim));
        }
        ends.count(case.kind, word(&report.outcome));
        if matches!(report.outcome, Outcome::Reached) {
            settles(&mut sim);
            let (predicted, mut happened) = (predicted(&course), happened(&sim));
            // What the signs say of a slow pod may prove wrong: then more follows than was predicted, of pods that were named.
            if matches!(course.end, End::Blocked(..)) {
                happened.retain(|ordinal, _| predicted.contains_key(ordinal));
            }
            assert_eq!(predicted, happened, "\n{}", told(&sim));
        }
    });
    ends.come_up(&["reached"], &[]);
}

/// The first write waits for what the plan waits for before it, and what is missing comes back before that.
#[test]
fn a_forecast_waits_where_the_plan_waits() {
    let (seed, kind) = (94, Kind::Promote);
    let case = Case { seed, kind, scenario: Scenario::random(&mut Random(seed), kind) };
    let mut sim = case.simulation();
    let agreed = begun(&case, &sim).unwrap();
    assert!(agreed.plan.steps.first().is_some_and(|step| !step.writes()), "{:?}", agreed.plan.steps);
    let course = sim.look(|now| forecast(now.unwrap(), &agreed.plan).unwrap());
    let report = block_on(run(&mut sim, &agreed));
    assert!(matches!(report.outcome, Outcome::Reached), "{:?}", report.outcome);
    settles(&mut sim);
    assert_eq!(predicted(&course), happened(&sim), "{course:#?}");
}

/// A set of five that comes from A and goes to B, three pods of it still on A.
fn rolling(replicas: i32, reached: i32, mark: Option<serde_json::Value>, typed: Typed) -> Scenario {
    let pods = (0..replicas).map(|ordinal| Found {
        ordinal,
        revision: if ordinal < reached { "A" } else { "B" },
        state: State::Old,
    });
    Scenario {
        server: "v1.37.1",
        parallel: false,
        strategy: json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}),
        start: 0,
        replicas,
        min_ready: 0,
        volumes: false,
        template: "B",
        current: "A",
        mark,
        pods: pods.collect(),
        fates: BTreeMap::from([("A", Fate::Good), ("B", Fate::Good)]),
        claims: Vec::new(),
        typed,
    }
}

#[test]
fn an_abort_of_a_moving_rollout_asks_again_before_it_restarts_more() {
    let mark = json!({"stable": "A", "partition": 0, "by": "test", "at": "2026-01-01T00:00:00Z"});
    let scenario = rolling(5, 3, Some(mark), Typed::Abort);
    let mut sim = Simulation::new(&scenario, Random(7));
    let shown = scenario.typed.agree(&sim).ok().unwrap();
    assert_eq!(shown.plan.restarts, ["web-4", "web-3"]);
    assert!(matches!(&shown.plan.steps[0], Step::Patch(patch) if patch.pauses), "{:?}", shown.plan.steps);
    // The rollout reaches web-2 while the question is on the screen.
    let is_new = |sim: &Simulation| {
        let mut pods = sim.truth().pods().iter();
        pods.any(|pod| pod.metadata.name == "web-2" && pod.revision() == "B")
    };
    while !is_new(&sim) {
        sim.tick();
    }
    let report = block_on(shown.run(&mut sim));
    let Outcome::Drifted(what) = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(what.contains("web-2 would restart too"), "{what}");
    // It is paused there, so that the next plan holds for as long as the question is on the screen.
    assert_eq!(sim.set().partition(), 2);
    for _ in 0..60 {
        sim.tick();
    }
    let shown = scenario.typed.agree(&sim).ok().unwrap();
    assert_eq!(shown.plan.restarts, ["web-4", "web-3", "web-2"]);
    sim.rerun();
    let report = block_on(shown.run(&mut sim));
    assert!(matches!(report.outcome, Outcome::Reached), "{:?}", report.outcome);
    assert!(sim.truth().pods().iter().all(|pod| pod.revision() == "A"));
    assert_eq!((sim.set().partition(), sim.set().metadata.annotations.get(CANARY)), (0, None));
    let restarted: BTreeSet<i32> = (sim.moves.iter())
        .filter_map(|moved| match moved {
            Moved::Deleted { ordinal, .. } => Some(*ordinal),
            Moved::Created { .. } => None,
        })
        .collect();
    assert_eq!(restarted, BTreeSet::from([2, 3, 4]));
}

#[test]
fn a_canary_of_nothing_at_partition_0_has_nothing_to_do() {
    let rest =
        Scenario { template: "A", ..rolling(3, 3, None, Typed::Canary { steps: vec![0], image: false }) };
    let sim = Simulation::new(&rest, Random(7));
    let agreed = rest.typed.agree(&sim).ok().unwrap();
    assert!(agreed.plan.steps.is_empty(), "{:?}", agreed.plan.steps);
    // Where something changes there is.
    let typed = Typed::Canary { steps: vec![0], image: true };
    let agreed = typed.agree(&sim).ok().unwrap();
    assert_eq!(agreed.plan.writes().count(), 2, "{:?}", agreed.plan.steps);
    let typed = Typed::Canary { steps: vec![2], image: false };
    let agreed = typed.agree(&sim).ok().unwrap();
    assert_eq!(agreed.plan.writes().count(), 1, "{:?}", agreed.plan.steps);
}

#[test]
fn a_canary_by_hand_that_holds_no_pod_back_is_promoted_as_it_was_shown() {
    let mut scenario = rolling(4, 0, None, Typed::Promote(0));
    scenario.strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 2}});
    scenario.pods[2].revision = "C";
    let mut sim = Simulation::new(&scenario, Random(7));
    let agreed = scenario.typed.agree(&sim).ok().unwrap();
    // The rollout is over as soon as web-2 is available, and then there is no canary to note.
    let report = block_on(agreed.run(&mut sim));
    assert!(matches!(report.outcome, Outcome::Reached), "{:?}", report.outcome);
    assert_eq!(sim.set().partition(), 0);
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
        async fn next_change(&mut self, until: Instant) {
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
    let scenario = rolling(2, 1, None, Typed::Undo("A"));
    let sim = Simulation::new(&scenario, Random(7));
    let agreed = scenario.typed.agree(&sim).ok().unwrap();
    let data =
        json!({"spec": {"template": {"metadata": {"annotations": {"revision": "A"}}, "$patch": "replace"}}});
    let goal = Undo { target: "A".to_owned(), data, facts: Vec::new(), warnings: Vec::new() };
    let mut liar = Liar(sim);
    let limits = kubectl_sts::reconcile::Limits {
        timeout: Some(TIMEOUT),
        stuck_after: Duration::from_secs(10),
        stable_for: Duration::ZERO,
        endless: false,
    };
    let goal: &dyn Goal = &goal;
    let report = block_on(reconcile(&mut liar, goal, &agreed.agreement, &limits, &mut Nobody));
    let Outcome::Error(error) = &report.outcome else { panic!("{:?}", report.outcome) };
    assert!(error.to_string().contains("had no effect: patch StatefulSet web"), "{error}");
    assert!(!report.journal[0].is_done());
}
