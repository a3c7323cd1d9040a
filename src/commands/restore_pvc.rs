//! `restore-pvc`: a claim bound again to the volume it had.

mod read;

use std::time::Duration;

use serde_json::{Value, json};

use super::act::{Account, Agree, DryRun, Ending, Shown, checked, permitted, question, show_plan, stopped};
use super::notes;
use crate::cli::{Answer, Global, Ui, heading};
use crate::cluster::connect::connect;
use crate::cluster::returns::Returns;
use crate::error::{Error, Exit, Result};
use crate::paste::{Command, kubectl};
use crate::plan::restore::{self, Deleted, Remains, Restore, Returning};
use crate::plan::{Agreement, Goal as _, Plan, Pvc, Stop};
use crate::reached;
use crate::reconcile::{Limits, Observer, Outcome, reconcile};
use crate::render::live::show;
use crate::render::{Output, Page};
use crate::words::{self, parse_duration};
use read::read;

/// Restore PVCs from the backup of prune-pvcs
///
/// It makes the PV available again, recreates the PVC, waits until it is bound to the same PV, and checks the result. It refuses if the PVC exists, or if the PV is gone or belongs to another PVC. If prune-pvcs had changed the reclaim policy of the PV, the earlier policy is restored, except after prune-pvcs --retain.
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # Restore one PVC"
    "  kubectl sts restore-pvc kubectl-sts-backup-20261120-120000/shop.db-0.pvc.yaml"
    ""
    "  # Show what would be done"
    "  kubectl sts restore-pvc shop.data-db-*.pvc.yaml --dry-run"
    ""
    "Reads the PVC and its PV. Patches the PV and creates the PVC."
))]
pub struct Args {
    /// Files that prune-pvcs wrote: NAMESPACE.PVC.pvc.yaml
    #[arg(value_name = "FILE", required = true, value_hint = clap::ValueHint::FilePath)]
    files: Vec<String>,
    /// What all commands that write have.
    #[command(flatten)]
    agree: Agree,
    /// Time for each PVC to become bound
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s", help_heading = heading::WAITING)]
    timeout: Duration,
}

pub(super) async fn run(global: &Global, args: &Args, streams: &Ui) -> Result<Answer> {
    if !global.from.is_empty() {
        return Err(Error::usage("a recording cannot be changed: restore-pvc needs a cluster"));
    }
    let connection = connect(&global.connect, global.namespace.as_deref(), streams.warn).await?;
    let backup = read(&args.files, global.namespace.as_deref(), &connection.namespace)?;
    let mut returns = Returns::start(connection.clone(), backup.all).await?;
    let goal = Restore { patience: args.timeout };
    let mut plan = plan(&goal, returns.now())?;
    plan.facts.extend((!backup.skipped.is_empty()).then(|| ("skipped", words::list(&backup.skipped, 4))));
    let names = returns.now().all.iter().map(object).collect();
    let mut shown = Shown { dry: args.agree.is_dry(), ..Shown::about(plan, names) };
    if shown.plan.steps.is_empty() || args.agree.dry_run == DryRun::Client {
        return Ok(Answer { view: Box::new(shown), exit: Exit::Good });
    }
    permitted(&connection, &shown.plan).await?;
    if args.agree.dry_run == DryRun::Server {
        let checks = checked(&mut returns, &shown.plan).await?;
        let exit = checks.exit();
        shown.checked = checks.results;
        return Ok(Answer { view: Box::new(shown), exit });
    }
    show_plan(&shown, global.output, streams)?;
    args.agree.confirm(&question(&shown.plan))?;
    let agreement = Agreement::to(&shown.plan);
    let mut teller = ProgressReporter { output: global.output, told: 0 };
    let report = reconcile(&mut returns, &goal, &agreement, &Limits::default(), &mut teller).await;
    let account = Restored::of(returns.now(), &goal);
    Ending::of(report, account).map(Ending::answer)
}

/// The plan, with what becomes of each PVC. Nothing is written if any of them cannot be brought back.
fn plan(goal: &Restore, now: &Returning) -> Result<Plan> {
    let mut plan = goal.plan(now).map_err(|stop| match stop {
        Stop::Refused(mut refusal) => {
            refusal.because.push_str("; nothing was changed");
            if refusal.hint.is_empty() && now.all.len() > 1 {
                "give only the files of the other PVCs to restore those".clone_into(&mut refusal.hint);
            }
            stopped(refusal.into())
        }
        unseen @ Stop::Unseen(_) => stopped(unseen),
    })?;
    plan.then = match now.all.as_slice() {
        _ if !plan.steps.is_empty() => String::new(),
        [one] => format!("it is already bound to PV {}", one.deleted.volume),
        _ => "each PVC is already bound to its PV".to_owned(),
    };
    let facts = now.all.iter().filter(|_| !plan.steps.is_empty());
    plan.facts = facts.map(|remains| ("PVC", outlook(remains))).collect();
    Ok(plan)
}

/// What becomes of one PVC.
fn outlook(remains: &Remains) -> String {
    let Deleted { pvc: Pvc { namespace, name, .. }, volume, .. } = &remains.deleted;
    let policy = remains.volume.as_ref().map_or("", |it| &it.spec.persistent_volume_reclaim_policy);
    let policy = match remains.earlier_policy() {
        Some(earlier) => format!("reclaim policy {policy}, then {earlier} again"),
        None => format!("reclaim policy {policy}"),
    };
    let will = if remains.is_bound() { "is bound" } else { "will be bound" };
    format!("{name} in {namespace} {will} to PV {volume} again ({policy})")
}

fn object(remains: &Remains) -> String {
    format!("persistentvolumeclaim/{}", remains.deleted.pvc.name)
}

/// Tells of each PVC that is brought back.
struct ProgressReporter {
    output: Output,
    /// How many were told of.
    told: usize,
}

impl Observer<restore::Returns> for ProgressReporter {
    fn look(&mut self, now: &Returning) {
        let is_back = |remains: &&Remains| remains.is_bound() && remains.earlier_policy().is_none();
        for remains in now.all.iter().take_while(is_back).skip(self.told) {
            self.told = self.told.saturating_add(1);
            if remains.is_begun {
                let Deleted { pvc, volume, .. } = &remains.deleted;
                // That it cannot be written ends the program by itself.
                let _ = show(&format!("{}: bound to PV {volume} again\n", pvc.name), self.output);
            }
        }
    }

    // What cannot be read is an error, if it lasts.
    fn trouble(&mut self, _why: Option<&str>) {}
}

/// What has become of the PVCs.
struct Restored {
    all: Vec<Remains>,
    /// Whether nothing is left to do, of each.
    settled: Vec<bool>,
}

impl Restored {
    fn of(now: &Returning, goal: &Restore) -> Restored {
        let is_settled = |remains| goal.left(remains).is_ok_and(|left| left.is_empty());
        Restored { all: now.all.clone(), settled: now.all.iter().map(is_settled).collect() }
    }

    fn each(&self) -> impl Iterator<Item = (&Remains, bool)> {
        self.all.iter().zip(self.settled.iter().copied())
    }
}

/// How one PVC stands.
fn standing(remains: &Remains, is_settled: bool) -> String {
    let volume = &remains.deleted.volume;
    let policy = remains.volume.as_ref().map_or("", |it| &it.spec.persistent_volume_reclaim_policy);
    match &remains.claim {
        Some(_) if is_settled => format!("bound to PV {volume} again (reclaim policy {policy})"),
        Some(_) if remains.is_bound() => {
            format!("bound to PV {volume} again, which still has reclaim policy {policy}")
        }
        Some(_) if remains.is_begun => format!("created, but not yet bound to PV {volume}"),
        None if remains.is_begun => format!("not created yet; PV {volume} is reserved for it"),
        Some(_) | None => "not restored yet".to_owned(),
    }
}

/// The command that shows why a PVC is not bound.
fn look_at(remains: &Remains) -> Command {
    let Pvc { namespace, name, .. } = &remains.deleted.pvc;
    kubectl("describe pvc").name(name).namespace(namespace)
}

impl Account for Restored {
    fn state(&self) -> String {
        let settled = self.settled.iter().filter(|settled| **settled).count();
        format!("{settled} of {} restored", words::count(self.all.len(), "PVC"))
    }

    fn text(&self, page: &mut Page, outcome: &Outcome, sentence: &str) {
        page.gap();
        for (remains, is_settled) in self.each() {
            let Pvc { namespace, name, .. } = &remains.deleted.pvc;
            page.prose(&format!("{name} in {namespace}: {}", standing(remains, is_settled)), 2);
        }
        if let Outcome::Reached = outcome {
            page.line(&format!("{}{}", self.state(), reached::suffix()));
            return;
        }
        page.field("stopped", 9, sentence.trim_start_matches("stopped: "));
        if let Outcome::Refused(refusal) = outcome {
            page.hint("try", 9, &refusal.hint);
        }
        for (remains, _) in self.each().filter(|(remains, _)| remains.is_begun && !remains.is_bound()) {
            page.command("look", 9, &look_at(remains).to_string());
        }
        let left: Vec<&str> = self
            .each()
            .filter(|(_, is_settled)| !is_settled)
            .map(|(remains, _)| remains.deleted.pvc.name.as_str())
            .collect();
        if !left.is_empty() {
            page.field("left", 9, &words::list(&left, 8));
            page.field("next", 9, "run the same command again: it shows what is left to do and asks");
        }
    }

    fn json(&self, value: &mut Value) {
        let claims = self.each().map(|(remains, is_settled)| {
            let Deleted { pvc: Pvc { namespace, name, .. }, volume, .. } = &remains.deleted;
            json!({
                "namespace": namespace, "name": name, "volume": volume, "bound": remains.is_bound(),
                "text": standing(remains, is_settled),
            })
        });
        value["claims"] = claims.collect();
    }

    fn names(&self) -> Vec<String> {
        self.all.iter().map(object).collect()
    }

    fn is_always_told(&self) -> bool {
        true
    }
}
