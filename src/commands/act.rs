//! What watching and acting have in common: agreeing to a plan, telling what happens, and how it ended.

mod consent;
mod ending;
mod of_set;
mod ongoing;
mod shown;

use std::time::Duration;

use super::logs::LogArgs;
use crate::cli::{Answer, Global, Ui, heading};
use crate::cluster::inventory::Want;
use crate::cluster::live::Live;
use crate::error::{Error, Exit, Result};
use crate::plan::{Agreement, Goal, Plan, Step, forecast, plan_in_full};
use crate::reached;
use crate::reconcile::{Limits, Observer, Outcome, Report, reconcile};
use crate::render::live::{Stream, show};
use crate::render::progress::Line;
use crate::render::{ForecastView, Output, Style, ask, render_beside};
use crate::snapshot::{Snapshot, Unseen};
use crate::words::parse_duration;

pub(super) use consent::{Agree, DryRun, checked, declined, permissions, permitted, show_plan, stopped};
pub(super) use ending::{Account, Ending};
pub(super) use of_set::OfSet;
pub(super) use ongoing::{Ongoing, ongoing};
pub(super) use shown::Shown;

/// Flags of commands that change a set.
#[derive(clap::Args, Clone, Debug)]
pub struct Consent {
    /// What all commands that write have.
    #[command(flatten)]
    agree: Agree,
    /// Give up after this time, with exit code 124 (default: never)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, help_heading = heading::WAITING)]
    timeout: Option<Duration>,
    /// Report "stuck" only after the problem has lasted this long
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s", help_heading = heading::WAITING)]
    stuck_after: Duration,
    /// How much of the logs is shown if it gets stuck.
    #[command(flatten)]
    logs: LogArgs,
}

/// What came of showing a plan.
pub(super) enum Consented {
    /// It was agreed to.
    To(Plan),
    /// Nothing is left to write or to wait for.
    Nothing(Plan),
    /// It was only to be shown or checked.
    Answered(Answer),
}

/// Shows the plan for a goal, once it is known to be allowed, and asks.
pub(super) async fn confirm_plan(
    live: &mut Live,
    name: &str,
    goal: &dyn Goal,
    consent: &Consent,
    global: &Global,
    streams: &Ui,
) -> Result<Consented> {
    live.catch_up().await?;
    if consent.agree.dry_run == DryRun::Client {
        let answer = live
            .look(|now| now.map(|now| dry_run_client(now, plan_in_full(goal, now).map_err(stopped)?, name)));
        return answer.unwrap_or_else(|| Err(gone(name))).map(Consented::Answered);
    }
    let plan = live.look(|now| now.map(|now| plan_in_full(goal, now)));
    let plan = plan.ok_or_else(|| gone(name))?.map_err(stopped)?;
    if plan.steps.is_empty() {
        return Ok(Consented::Nothing(plan));
    }
    permitted(live.connection(), &plan).await?;
    if consent.agree.dry_run == DryRun::Server {
        let checks = checked(live, &plan).await?;
        let exit = checks.exit();
        let view = Shown { dry: true, checked: checks.results, ..Shown::of(plan, name, live.namespace()) };
        return Ok(Consented::Answered(Answer { view: Box::new(view), exit }));
    }
    let course = live.look(|now| course(now?, &plan).ok());
    let shown = Shown { course, ..Shown::of(plan, name, live.namespace()) };
    show_plan(&shown, global.output, streams)?;
    if shown.plan.agreed().iter().any(Step::writes) {
        consent.agree.confirm(&question(&shown.plan))?;
    }
    Ok(Consented::To(shown.plan))
}

/// What is asked about a plan.
pub(super) fn question(plan: &Plan) -> String {
    let place = reached::place().map_or(String::new(), |place| format!(" in {place}"));
    let writes: Vec<_> = plan.writes().map(Step::text).collect();
    match writes.as_slice() {
        [] => format!("Wait, and delete the pods above{place} if they get stuck?"),
        [one] => format!("{}{}{place}?", one[..1].to_uppercase(), &one[1..]),
        all => format!("Apply these {} changes{place}?", all.len()),
    }
}

/// The label of a fact that is told even where there is nothing to do.
pub(super) const NOTE: &str = "note";

/// A plan with nothing to do.
pub(super) fn idle(live: &Live, plan: Plan, name: &str) -> Answer {
    Answer { view: Box::new(Shown::of(plan, name, live.namespace())), exit: Exit::Good }
}

/// What would come of a plan.
fn course(now: &Snapshot<'_>, plan: &Plan) -> std::result::Result<ForecastView, Unseen> {
    forecast(now, plan).map(|course| ForecastView::of(now, plan, &course))
}

/// A plan that is only shown, with what would come of it.
fn dry_run_client(now: &Snapshot<'_>, plan: Plan, name: &str) -> Result<Answer> {
    let course = Some(course(now, &plan).map_err(|unseen| stopped(unseen.into()))?);
    let view = Shown { dry: true, course, ..Shown::of(plan, name, &now.set.metadata.namespace) };
    Ok(Answer { view: Box::new(view), exit: Exit::Good })
}

fn gone(name: &str) -> Error {
    Error::cluster(format!("StatefulSet {name} no longer exists"))
}

impl Consent {
    /// When to give up.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            timeout: self.timeout.filter(|timeout| !timeout.is_zero()),
            stuck_after: self.stuck_after,
            stable_for: Duration::ZERO,
            endless: false,
        }
    }

    /// Whether somebody can be asked again, about a plan that has changed.
    pub(super) fn asks_again(&self, outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Drifted(_)) && !self.agree.yes && ask::somebody()
    }
}

/// A recording cannot be changed: the plan is shown, and that is all.
pub(super) async fn recorded(
    global: &Global,
    name: &str,
    streams: &Ui,
    plan: impl Fn(&Snapshot<'_>) -> Result<Plan>,
) -> Result<Answer> {
    let sight = global.observe(false, Want::Diagnosis, streams.warn).await?;
    let chosen = sight.choose(&[name.to_owned()], &crate::cli::SetFilter::default())?;
    for namespace in sight.observed.namespaces().values() {
        if let Some(set) = namespace.sets.iter().copied().find(|set| chosen(set)) {
            let now = Snapshot::of(&sight.observed, namespace, set);
            return dry_run_client(&now, plan(&now)?, name);
        }
    }
    Err(Error::cluster(format!("no StatefulSet \"{name}\" {}", sight.place)))
}

/// Tells what happens while it happens.
pub(super) struct ProgressReporter {
    stream: Stream,
    started: Option<jiff::Timestamp>,
    seconds: i64,
}

impl ProgressReporter {
    /// Of a command whose answer is what happens.
    pub(super) fn new(look: Style, output: Output) -> ProgressReporter {
        ProgressReporter { stream: Stream::new(look, output), started: None, seconds: 0 }
    }

    /// Of a command whose answer is what came of it: with `-o json` and the like nothing else is on standard output.
    pub(super) fn beside(look: Style, output: Output) -> ProgressReporter {
        ProgressReporter { stream: Stream::beside(look, output), started: None, seconds: 0 }
    }

    /// Tells of something that happened to the set, other than what can be seen of its pods.
    pub(super) fn tell(&mut self, object: &str, event: &'static str, text: String) {
        self.stream.say(&Line { seconds: self.seconds, object: object.to_owned(), event, text });
    }
}

impl Observer for ProgressReporter {
    fn look(&mut self, snapshot: &Snapshot<'_>) {
        let started = *self.started.get_or_insert(snapshot.taken_at);
        self.seconds = snapshot.taken_at.duration_since(started).as_secs();
        self.stream.look(snapshot);
    }

    fn trouble(&mut self, why: Option<&str>) {
        self.stream.trouble(why);
    }
}

/// What is said beside the end of an acting command: what to type next, by label and command.
pub(super) type Typed = Vec<(&'static str, String)>;

/// Carries an agreement out and tells what happens. `None` when the cluster changed meanwhile and somebody can be asked
/// again, about a new plan.
///
/// # Errors
/// When a request failed before anything was done.
#[expect(clippy::too_many_arguments, reason = "all of it is needed to go on, to tell and to ask again")]
pub(super) async fn see_through(
    live: &mut Live,
    name: &str,
    goal: &dyn Goal,
    agreement: &Agreement,
    consent: &Consent,
    global: &Global,
    streams: &Ui,
    typed: impl FnOnce(Option<&Snapshot<'_>>) -> Typed,
) -> Result<Option<Answer>> {
    let mut teller = ProgressReporter::beside(streams.look, global.output);
    let report = reconcile(live, goal, agreement, &consent.limits(), &mut teller).await;
    ended(live, name, report, teller, consent, global, streams, typed).await
}

/// Shows how it ended; see [`see_through`].
#[expect(clippy::too_many_arguments, reason = "all of it is shown")]
pub(super) async fn ended(
    live: &Live,
    name: &str,
    report: Report,
    teller: ProgressReporter,
    consent: &Consent,
    global: &Global,
    streams: &Ui,
    typed: impl FnOnce(Option<&Snapshot<'_>>) -> Typed,
) -> Result<Option<Answer>> {
    let ask_again = consent.asks_again(&report.outcome);
    let mut account = OfSet::of(live, name, live.namespace(), &report, &teller);
    drop(teller);
    if account.ongoing.is_none() {
        account.typed = live.look(typed);
    }
    // On the heap, as it is large, and seldom needed.
    Box::pin(account.read_logs(live, consent.logs.lines(global.output))).await;
    let ending = Ending::of(report, account)?;
    // What cannot be shown here must be told at the end.
    let text = || render_beside(&ending, global.output, streams.look);
    if ask_again && show(&text()?, global.output).is_ok() {
        return Ok(None);
    }
    Ok(Some(ending.answer()))
}
