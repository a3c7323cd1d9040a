//! `restore-pvc`: a claim bound again to the volume it had.

use std::time::Duration;

use serde_json::{Value, json};

use super::act::{Account, Agree, DryRun, Ending, Shown, checked, permitted, question, show_plan, stopped};
use super::notes;
use super::prune_pvcs::VOLUME_UID;
use crate::cli::{Answer, Global, Ui, heading};
use crate::cluster::connect::connect;
use crate::cluster::decode;
use crate::cluster::returns::Returns;
use crate::error::{Error, Exit, Result};
use crate::kinds::CLAIM_UID;
use crate::paste::{Command, kubectl};
use crate::plan::restore::{self, Deleted, Remains, Restore, Returning};
use crate::plan::{Agreement, Goal as _, Plan, Pvc, Stop};
use crate::reconcile::{Limits, Observer, Outcome, reconcile};
use crate::render::live::show;
use crate::render::{Output, Page};
use crate::words::{self, parse_duration};

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
    let mut all: Vec<Deleted> = Vec::new();
    for file in &args.files {
        let one = read(file, global.namespace.as_deref(), &connection.namespace)?;
        let Pvc { namespace, name, .. } = &one.pvc;
        let same = |other: &Deleted| (&other.pvc.namespace, &other.pvc.name) == (namespace, name);
        if all.iter().any(same) {
            return Err(Error::usage(format!("claim {name} in {namespace} is given twice")));
        }
        all.push(one);
    }
    let mut returns = Returns::start(connection.clone(), all).await?;
    let goal = Restore { patience: args.timeout };
    let plan = plan(&goal, returns.now())?;
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
            refusal.because.push_str("; nothing was written");
            stopped(refusal.into())
        }
        unseen @ Stop::Unseen(_) => stopped(unseen),
    })?;
    plan.then = match now.all.as_slice() {
        _ if !plan.steps.is_empty() => String::new(),
        [one] => format!("it is bound to volume {}", one.deleted.volume),
        _ => "each is bound to its volume".to_owned(),
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
        Some(earlier) => format!("reclaim policy {policy}, then {earlier} as before"),
        None => format!("reclaim policy {policy}"),
    };
    let will = if remains.is_bound() { "is bound" } else { "will be bound" };
    format!("{name} in {namespace} {will} to volume {volume} again ({policy})")
}

fn object(remains: &Remains) -> String {
    format!("persistentvolumeclaim/{}", remains.deleted.pvc.name)
}

/// Reads a manifest that prune-pvcs wrote.
fn read(file: &str, asked: Option<&str>, default: &str) -> Result<Deleted> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::cluster(format!("could not read {file}")).because(error))?;
    let mut documents = decode::documents(file, &text)?;
    let is_claim =
        |document: &Value| document["kind"] == "PersistentVolumeClaim" && document["apiVersion"] == "v1";
    let (Some(mut manifest), None) = (documents.pop().filter(is_claim), documents.pop()) else {
        return Err(Error::usage(format!("{file} is not the manifest of one claim"))
            .hint("prune-pvcs writes them as NAMESPACE.CLAIM.pvc.yaml"));
    };
    let text = |path: &str| manifest.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (name, volume) = (text("/metadata/name"), text("/spec/volumeName"));
    let namespace = match text("/metadata/namespace") {
        none if none.is_empty() => default.to_owned(),
        some => some,
    };
    if asked.is_some_and(|asked| asked != namespace) {
        return Err(Error::usage(format!("claim {name} in {file} belongs to namespace {namespace}")));
    }
    let usual = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if name.is_empty() || volume.is_empty() || ![&name, &volume, &namespace].iter().all(|name| usual(name)) {
        return Err(Error::usage(format!("{file} does not name a claim and its volume"))
            .hint("a claim that had no volume is made again by its set"));
    }
    let mut annotation = |key: &str| {
        let annotations = manifest["metadata"]["annotations"].as_object_mut();
        let value = annotations.and_then(|annotations| annotations.remove(key));
        value.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (uid, volume_uid) = (annotation(CLAIM_UID), annotation(VOLUME_UID));
    manifest["metadata"]["namespace"] = namespace.clone().into();
    Ok(Deleted { pvc: Pvc { namespace, name, uid }, volume, volume_uid, manifest })
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
            if remains.is_begun && matches!(self.output, Output::Text | Output::Wide) {
                let Deleted { pvc, volume, .. } = &remains.deleted;
                // That it cannot be written ends the program by itself.
                let _ = show(&format!("{}: bound to volume {volume} again\n", pvc.name));
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
        Some(_) if is_settled => format!("bound to volume {volume} again (reclaim policy {policy})"),
        Some(_) if remains.is_bound() => {
            format!("bound to volume {volume} again, which still has the reclaim policy {policy}")
        }
        Some(_) if remains.is_begun => format!("created, but not bound to volume {volume} yet"),
        None if remains.is_begun => format!("not created yet; volume {volume} is reserved for it"),
        Some(_) | None => "not brought back yet".to_owned(),
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
            return;
        }
        page.field("stopped", 9, sentence.trim_start_matches("stopped: "));
        if let Outcome::Refused(refusal) = outcome {
            for line in refusal.hint.lines() {
                page.field("try", 9, line);
            }
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
            page.field("next", 9, "run the same command again: it shows what is left, and asks");
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
