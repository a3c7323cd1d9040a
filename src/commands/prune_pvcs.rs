//! `prune-pvcs`: claims no replica will use again.

mod backup;
mod consent;
mod files;
mod report;
mod table;
mod tell;

pub(in crate::commands) use backup::VOLUME_UID;
pub(in crate::commands) use files::{LONGEST, read as read_manifest};

use std::path::PathBuf;

use jiff::SignedDuration;

use super::act::{Agree, DryRun, Ending, Shown, checked, declined, show_plan, stopped};
use super::notes;
use crate::cli::{Answer, Global, Observation, SetFilter, Ui, heading};
use crate::cluster::claims;
use crate::cluster::connect::{Connection, connect};
use crate::cluster::deletions::Deletions;
use crate::cluster::inventory::Want;
use crate::error::{Error, Exit, Result};
use crate::plan::prune::phase::Manner;
use crate::plan::prune::{Claims, Item, LeftOver, Prune, Unfinished, Wanted, find};
use crate::plan::{Agreement, Goal as _, Plan};
use crate::reconcile::{Acting, Limits, reconcile};
use crate::render::{Output, ask};
use crate::snapshot::Observed;
use crate::snapshot::attribution::{ClaimUsers, ReasonCode};
use crate::words::parse_age;
use backup::Backup;
use consent::{Missing, choose, missing, question, zero};
use report::Report;
use table::Listing;
use tell::ProgressReporter;

/// Find orphaned PVCs and delete the ones you select
///
/// A PVC is orphaned if it belongs to a replica that no longer exists and nothing else uses it. On a terminal you select which PVCs to delete; otherwise it only lists them, unless --yes is given. Before it deletes a PVC, it writes the manifests of PVC and PV to files, so that restore-pvc can bring the PVC back. It deletes one PVC at a time, highest ordinal first, reads the cluster again before and after each, and stops if anything is unexpected. The PV keeps its data (reclaim policy Retain) until the PVC is gone and nothing needs it. After an interruption, run the same command again.
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # List the orphaned PVCs of a StatefulSet, and select which to delete"
    "  kubectl sts prune-pvcs postgres -n shop"
    ""
    "  # List those of all namespaces, and why the other PVCs are kept"
    "  kubectl sts prune-pvcs -A --unused-for 30d --show-kept"
    ""
    "  # Delete the PVCs but keep the PVs and their data, without asking"
    "  kubectl sts prune-pvcs postgres --retain --yes"
    ""
    "Reads StatefulSets, pods, PVCs, PVs, autoscalers, the pod templates of other workloads, VolumeAttachments and \
     VolumeSnapshots. Deletes PVCs, patches PVs, and with --snapshot creates VolumeSnapshots."
))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct Args {
    /// StatefulSets whose PVCs to check; without names, all
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    choice: SetFilter,
    /// Only PVCs created at least this long ago: 30d, 12h
    #[arg(long, value_name = "DURATION", value_parser = parse_age, help_heading = heading::PVCS)]
    older_than: Option<SignedDuration>,
    /// Only PVCs unused for at least this long (Kubernetes 1.37)
    #[arg(long, value_name = "DURATION", value_parser = parse_age, help_heading = heading::PVCS)]
    unused_for: Option<SignedDuration>,
    /// Also PVCs of StatefulSets scaled to 0; in scripts, name them: --include-zero=NAME
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "", help_heading = heading::PVCS)]
    include_zero: Option<Vec<String>>,
    /// Also PVCs of replicas that an autoscaler may create again
    #[arg(long, help_heading = heading::PVCS)]
    include_hpa_range: bool,
    /// Also show the PVCs that are kept, and why
    #[arg(long, help_heading = heading::PVCS)]
    show_kept: bool,
    /// Keep the PV and its data: set its reclaim policy to Retain before deleting the PVC
    #[arg(long, help_heading = heading::SAFETY)]
    retain: bool,
    /// Create a VolumeSnapshot of this class first, and wait until it is ready
    #[arg(long, value_name = "CLASS", help_heading = heading::SAFETY)]
    snapshot: Option<String>,
    /// Write the manifests to this directory (default: ./kubectl-sts-backup-YYYYMMDD-HHMMSS)
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath, help_heading = heading::SAFETY)]
    backup: Option<PathBuf>,
    /// Delete PVCs even if you may not patch their PVs; a pod that starts to use one at that moment loses its data
    #[arg(long, conflicts_with = "retain", help_heading = heading::SAFETY)]
    accept_race: bool,
    /// What all commands that write have.
    #[command(flatten)]
    agree: Agree,
}

impl Args {
    fn wanted(&self) -> Wanted {
        let zero = self.include_zero.clone();
        Wanted {
            zero: zero.map(|names| names.into_iter().filter(|name| !name.is_empty()).collect()),
            autoscaler_range: self.include_hpa_range,
            older_than: self.older_than,
            unused_for: self.unused_for,
            own_snapshots: Vec::new(),
        }
    }
}

pub(super) async fn run(global: &Global, args: &Args, streams: &Ui) -> Result<Answer> {
    if !global.from.is_empty() {
        return recorded(global, args, streams).await;
    }
    let connection = connect(&global.connect, global.namespace.as_deref(), streams.warn).await?;
    let sight = Observation::of(&connection, args.choice.all_namespaces, Want::Claims).await?;
    let around = claims::around(&connection, &sight.observed.scope).await;
    let chosen = sight.choose(&args.names, &args.choice)?;
    seen(&sight)?;
    sleeping(args, &sight)?;
    let mut found = find(&sight.observed, Some(&around), &args.wanted(), chosen, args.is_about_all());
    let missing = missing(&connection, args, &found, &sight.observed).await?;
    if missing.may_not_finish {
        found.hold(ReasonCode::Forbidden, "you are not allowed to patch persistentvolumes");
    }
    let mut work = Work {
        goal: args.goal(missing.may_not_guard),
        left_over: found.left_over.clone(),
        unfinished: found.unfinished.clone(),
        unjudged: found.unjudged().into_iter().map(str::to_owned).collect(),
        args,
        observed: &sight.observed,
    };
    let asking = ask::somebody() && matches!(global.output, Output::Text | Output::Wide) && !args.agree.yes;
    let acts = args.agree.yes || asking;
    if let Some(error) = wrong_answer(&sight, &around).or_else(|| untimed(args, &sight)).filter(|_| acts) {
        return Err(error);
    }
    let mut listing = Listing::new(args, &sight, found, Some(&around), missing);
    listing.dry = args.agree.is_dry();
    if work.is_empty() && args.agree.yes && !listing.dry && !work.unjudged.is_empty() {
        listing.acts = true;
        show_plan(&listing, global.output, streams)?;
        return Err(unread(&work.unjudged));
    }
    let only_shows = !acts && !listing.dry;
    if work.is_empty() || only_shows {
        return Ok(Answer { view: Box::new(listing), exit: Exit::Good });
    }
    // What is chosen is shown once more, when it is.
    if !asking || listing.dry {
        listing.plan = Some(work.plan()?);
    }
    if args.agree.dry_run == DryRun::Client {
        return Ok(Answer { view: Box::new(listing), exit: Exit::Good });
    }
    if args.agree.dry_run == DryRun::Server {
        let checks = checked(&mut work.deletions(&connection), &work.plan()?).await?;
        let exit = checks.exit();
        listing.checked = checks.results;
        return Ok(Answer { view: Box::new(listing), exit });
    }
    listing.acts = true;
    show_plan(&listing, global.output, streams)?;
    listing.refusal().map_or(Ok(()), Err)?;
    can_snapshot(args, &connection).await?;
    work.consent(asking, global.output, streams)?;
    Box::pin(work.run(&connection, global.output)).await
}

/// A cluster without VolumeSnapshots is refused before anything is written.
async fn can_snapshot(args: &Args, connection: &Connection) -> Result<()> {
    if args.snapshot.is_none() || claims::has_snapshots(connection).await? {
        return Ok(());
    }
    Err(Error::refused("this cluster has no VolumeSnapshots; nothing was changed")
        .hint("keep the PVs instead with --retain"))
}

/// Of a recording it is only shown what is left over.
async fn recorded(global: &Global, args: &Args, streams: &Ui) -> Result<Answer> {
    if args.agree.yes {
        return Err(Error::usage("a recording cannot be changed: --yes needs a cluster"));
    }
    let sight = global.observe(args.choice.all_namespaces, Want::Claims, streams.warn).await?;
    let chosen = sight.choose(&args.names, &args.choice)?;
    seen(&sight)?;
    let around = sight.observed.around.as_ref();
    let found = find(&sight.observed, around, &args.wanted(), chosen, args.is_about_all());
    let mut listing = Listing::new(args, &sight, found, around, Missing::default());
    listing.recorded = true;
    Ok(Answer { view: Box::new(listing), exit: Exit::Good })
}

/// What is to be done, as far as it was chosen.
struct Work<'a> {
    left_over: Vec<LeftOver>,
    unfinished: Vec<Unfinished>,
    /// What could not be judged because it could not be read.
    unjudged: Vec<String>,
    goal: Prune,
    args: &'a Args,
    observed: &'a Observed,
}

impl Work<'_> {
    fn is_empty(&self) -> bool {
        self.left_over.is_empty() && self.unfinished.is_empty()
    }

    /// What an earlier run has left half done comes first.
    fn deletions(&self, connection: &Connection) -> Deletions {
        let items = items(self.args.retain, &self.left_over, &self.unfinished, self.observed);
        Deletions::new(connection.clone(), items, self.args.wanted())
    }

    fn plan(&self) -> Result<Plan> {
        let items = items(self.args.retain, &self.left_over, &self.unfinished, self.observed);
        let now = Claims::shown(items, self.observed.taken_at);
        self.goal.plan(&now).map_err(stopped)
    }

    /// Asks which PVCs are meant, shows the plan for them, and asks about it.
    fn consent(&mut self, asking: bool, output: Output, streams: &Ui) -> Result<()> {
        if asking {
            choose(self.args, &mut self.left_over, &mut self.unfinished)?;
        }
        if self.is_empty() {
            return Err(declined("no PVC was selected"));
        }
        zero(self.args, &self.left_over, &self.unfinished, asking)?;
        if asking {
            let shown = Shown::about(self.plan()?, Vec::new());
            show_plan(&shown, output, streams)?;
            self.args.agree.confirm(&question(self.args, &self.left_over, &self.unfinished))?;
        }
        Ok(())
    }

    /// Writes all manifests, then deletes PVC by PVC, and tells how that ended.
    async fn run(self, connection: &Connection, output: Output) -> Result<Answer> {
        let acting = Acting::begin();
        let mut backup = Backup::open(self.args.backup.as_deref(), self.args.retain)?;
        let mut files = Vec::new();
        for left in &self.unfinished {
            backup.write_volume(connection, left).await?;
            files.push(None);
        }
        for left in &self.left_over {
            if acting.is_interrupted() {
                return Err(Error::refused("interrupted; nothing was changed").ending(Exit::Interrupted));
            }
            files.push(Some(backup.write(connection, left).await?));
        }
        backup.finish()?;
        let mut teller = ProgressReporter::new(&self.goal, output);
        teller.tell(format!("backup written to {}", backup.path().display()));
        let agreement = Agreement::to(&self.plan()?);
        let mut deletions = self.deletions(connection);
        let limits = Limits::default();
        // Large, as it holds what is known of every PVC.
        let run = Box::pin(reconcile(&mut deletions, &self.goal, &agreement, &limits, &mut teller));
        let report = run.await;
        drop(teller);
        drop(acting);
        let is_fresh = self.args.backup.is_none();
        let unjudged = if self.args.agree.yes { self.unjudged } else { Vec::new() };
        let account = Report::of(deletions.now(), &self.goal, &files, (backup.path(), is_fresh), unjudged);
        Ending::of(report, account).map(Ending::answer)
    }
}

fn items(retain: bool, left_over: &[LeftOver], unfinished: &[Unfinished], observed: &Observed) -> Vec<Item> {
    let finished = unfinished.iter().map(|left| Item::unfinished(left, retain));
    finished.chain(left_over.iter().map(|left| Item::of(left, retain, observed))).collect()
}

/// Names given to `--include-zero` must be those of sets that are scaled to 0.
fn sleeping(args: &Args, sight: &Observation) -> Result<()> {
    for name in args.include_zero.iter().flatten().filter(|name| !name.is_empty()) {
        if !sight.observed.sets.iter().any(|set| set.metadata.name == *name && set.replicas() == 0) {
            return Err(Error::usage(format!("no StatefulSet \"{name}\" is scaled to 0 {}", sight.place))
                .hint("give --include-zero the name of a StatefulSet with 0 replicas"));
        }
    }
    Ok(())
}

/// What may not be read is named and weighed; what was answered wrongly is no ground to delete anything.
fn wrong_answer(sight: &Observation, around: &ClaimUsers) -> Option<Error> {
    let observed = &sight.observed;
    let unseen =
        [observed.pods.as_ref().err(), observed.volumes.as_ref().err(), observed.autoscalers.as_ref().err()];
    let unseen = unseen.into_iter().flatten().map(|unseen| (unseen.kind.plural(), &unseen.why));
    let mut all = around.unread.iter().map(|(plural, why)| (*plural, why)).chain(unseen);
    let (plural, why) = all.find(|(_, why)| !why.is_forbidden())?;
    Some(Error::cluster(format!("cannot list {plural}; nothing was changed")).because(why))
}

/// With `--yes` an empty answer means that nothing is left over. If that is not known, it must not look like it.
fn unread(unjudged: &[String]) -> Error {
    let mut error = Error::refused("some PVCs were not checked; nothing was changed").reason("unread");
    for text in unjudged {
        error = error.because(text);
    }
    error.hint("get the permission to list what could not be read, then run the command again")
}

/// Ages that decide over deletion need the server's clock.
fn untimed(args: &Args, sight: &Observation) -> Option<Error> {
    let flag = args.older_than.map(|_| "--older-than").or(args.unused_for.map(|_| "--unused-for"))?;
    let unknown = sight.observed.clock.certain.is_none();
    unknown.then(|| {
        Error::refused(format!(
            "{flag} needs the time of the API server, which is unknown; nothing was changed"
        ))
        .because(sight.observed.clock.trouble().unwrap_or_default())
        .reason("server-time-unknown")
        .hint("omit the flag and name the StatefulSets, or connect without the gateway that removes the Date header")
    })
}

/// Without the claims themselves there is no answer.
fn seen(sight: &Observation) -> Result<()> {
    match &sight.observed.claims {
        Ok(_) => Ok(()),
        Err(unseen) => Err(Error::cluster(format!("could not read {unseen}"))),
    }
}

impl Args {
    /// Whether claims of no set are of interest too.
    fn is_about_all(&self) -> bool {
        self.names.is_empty() && self.choice.selector.is_none()
    }

    fn goal(&self, may_not_guard: bool) -> Prune {
        let manner = match (self.retain, may_not_guard) {
            (true, _) => Manner::Keep,
            (false, true) => Manner::Unguarded,
            (false, false) => Manner::Guarded,
        };
        Prune { manner, accept_race: self.accept_race, class: self.snapshot.clone() }
    }
}
