//! `prune-pvcs`: claims no replica will use again.

mod act;
mod backup;
mod files;
mod look;
mod report;
mod table;

pub(in crate::commands) use act::in_one_line;
pub(in crate::commands) use backup::VOLUME_UID;

use std::path::PathBuf;

use jiff::SignedDuration;

use super::help;
use crate::cli::{Answer, Choice, Global, Sight, Streams};
use crate::cluster::claims;
use crate::cluster::connect::{Connection, connect, parse_duration};
use crate::cluster::inventory::Want;
use crate::error::{Error, Exit, Result};
use crate::plan::prune::phase::Manner;
use crate::plan::prune::{Found, LeftOver, Unfinished, Wanted, find};
use crate::render::live::show;
use crate::render::{Output, ask, render};
use crate::snapshot::attribution::{Around, Fate};
use crate::words;
use table::Listing;

/// Finds claims of replicas their set no longer has, and deletes those you choose
#[derive(clap::Args, Debug)]
#[command(after_help = help!(
    "Reads StatefulSets, pods, claims, volumes, autoscalers, the pod templates of other workloads, VolumeAttachments and"
    "VolumeSnapshots. On a terminal it asks which claims to delete, none being chosen; elsewhere it only shows, unless"
    "--yes is given. Before it deletes, it writes the manifests of claim and volume to files; then it deletes one claim"
    "at a time, highest ordinal first, looks again before and after each, and stops at the first surprise. It patches"
    "volumes: each keeps its data (reclaim policy Retain) until its PVC is gone and nothing needs it. With --snapshot it"
    "creates VolumeSnapshots. What a run that was interrupted has left is shown, and finished with the rest."
    ""
    "Examples:"
    "  kubectl sts prune-pvcs postgres -n shop                what is left over, and the choice"
    "  kubectl sts prune-pvcs -A --unused-for 30d --show-kept  everywhere, and why the others are kept"
    "  kubectl sts prune-pvcs postgres --retain --yes         delete the claims, keep the volumes"
))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct Args {
    /// Sets to look at; without names, all
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    choice: Choice,
    /// Only claims made at least so long ago: 30d, 12h
    #[arg(long, value_name = "DURATION", value_parser = span)]
    older_than: Option<SignedDuration>,
    /// Only claims that the server knows to be unused for so long (Kubernetes 1.37)
    #[arg(long, value_name = "DURATION", value_parser = span)]
    unused_for: Option<SignedDuration>,
    /// Also show the claims that are kept, and why
    #[arg(long)]
    show_kept: bool,
    /// Also claims of sets scaled to 0; without a terminal it takes their names: --include-zero=NAME
    #[arg(long, value_name = "NAME", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    include_zero: Option<Vec<String>>,
    /// Also claims of replicas that an autoscaler may want again
    #[arg(long)]
    include_hpa_range: bool,
    /// Set the volume's reclaim policy to Retain first, so that the data stays
    #[arg(long)]
    retain: bool,
    /// Delete PVCs even if you may not patch their volumes; a pod that starts to use one in that moment loses its data
    #[arg(long, conflicts_with = "retain")]
    accept_race: bool,
    /// Make a VolumeSnapshot of this class first, and wait until it can be used
    #[arg(long, value_name = "CLASS")]
    snapshot: Option<String>,
    /// Write the manifests here [default: ./kubectl-sts-backup-YYYYMMDD-HHMMSS]
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    backup: Option<PathBuf>,
    /// Delete all that is shown, without asking
    #[arg(short, long)]
    yes: bool,
    /// Show only (client), or also send each deletion without effect (server)
    #[arg(long, value_enum, default_value_t, value_name = "WHERE", hide_default_value = true)]
    dry_run: super::act::DryRun,
}

/// A duration as everywhere, and also in days and weeks.
fn span(text: &str) -> std::result::Result<SignedDuration, String> {
    let long = |unit: char, days: u64| {
        let number = text.strip_suffix(unit)?.parse::<u64>().ok()?;
        Some(std::time::Duration::from_secs(number.checked_mul(days * 86_400)?))
    };
    let duration = match long('d', 1).or_else(|| long('w', 7)) {
        Some(duration) => duration,
        None => parse_duration(text)?,
    };
    SignedDuration::try_from(duration).map_err(|error| error.to_string())
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

pub(super) async fn run(global: &Global, args: &Args, streams: &Streams) -> Result<Answer> {
    if !global.from.is_empty() {
        if args.yes {
            return Err(Error::usage("a recording cannot be changed: --yes needs a cluster"));
        }
        let sight = global.observe(args.choice.all_namespaces, Want::Claims, streams.warn).await?;
        let chosen = sight.choose(&args.names, &args.choice)?;
        seen(&sight)?;
        let around = sight.observed.around.as_ref();
        let found = find(&sight.observed, around, &args.wanted(), chosen, args.is_about_all());
        let mut listing = Listing::new(args, &sight, found, around, Missing::default());
        listing.recorded = true;
        return Ok(Answer { view: Box::new(listing), exit: Exit::Good });
    }
    let connection = connect(&global.connect, global.namespace.as_deref(), streams.warn).await?;
    let sight = Sight::of(&connection, args.choice.all_namespaces, Want::Claims).await?;
    let around = claims::around(&connection, &sight.observed.scope).await;
    let chosen = sight.choose(&args.names, &args.choice)?;
    seen(&sight)?;
    for name in args.include_zero.iter().flatten().filter(|name| !name.is_empty()) {
        if !sight.observed.sets.iter().any(|set| set.metadata.name == *name && set.replicas() == 0) {
            return Err(Error::usage(format!("no StatefulSet \"{name}\" is scaled to 0 {}", sight.place))
                .hint("--include-zero takes the names of sets with 0 replicas"));
        }
    }
    let mut found = find(&sight.observed, Some(&around), &args.wanted(), chosen, args.is_about_all());
    let missing = missing(&connection, args, &found).await;
    if missing.may_not_finish {
        found.hold("forbidden", "you may not patch persistentvolumes");
    }
    let (left_over, unfinished) = (found.left_over.clone(), found.unfinished.clone());
    let unjudged: Vec<String> = found.unjudged().into_iter().map(str::to_owned).collect();
    let is_empty = found.is_empty();
    let mut listing = Listing::new(args, &sight, found, Some(&around), missing);
    let asking = ask::somebody() && matches!(global.output, Output::Text | Output::Wide) && !args.yes;
    listing.dry = args.dry_run != super::act::DryRun::None;
    let only_shows = args.dry_run == super::act::DryRun::Client || !(args.yes || asking);
    if let Some(error) = wrong_answer(&sight, &around).filter(|_| args.yes || asking) {
        return Err(error);
    }
    if let Some(refusal) = untimed(args, &sight).filter(|_| args.yes || asking) {
        return Err(refusal);
    }
    if is_empty && args.yes && !listing.dry && !unjudged.is_empty() {
        listing.acts = true;
        show(&render(&listing, global.output, streams.look)?)?;
        return Err(unread(&unjudged));
    }
    if is_empty || (only_shows && args.dry_run != super::act::DryRun::Server) {
        return Ok(Answer { view: Box::new(listing), exit: Exit::Good });
    }
    if args.dry_run == super::act::DryRun::Server {
        listing.checked = act::check(&connection, &left_over).await?;
        let refused = listing.checked.iter().any(|(_, result)| result.starts_with("the server refuses"));
        let exit = if refused { Exit::Refused } else { Exit::Good };
        return Ok(Answer { view: Box::new(listing), exit });
    }
    let refusal = listing.refusal();
    let manner = match (args.retain, listing.missing.may_not_guard) {
        (true, _) => Manner::Keep,
        (false, true) => Manner::Unguarded,
        (false, false) => Manner::Guarded,
    };
    listing.acts = true;
    show(&render(&listing, global.output, streams.look)?)?;
    if let Some(refusal) = refusal {
        return Err(refusal);
    }
    if args.snapshot.is_some() && !claims::has_snapshots(&connection).await? {
        return Err(Error::refused("this cluster has no VolumeSnapshots; nothing was written")
            .hint("keep the volumes instead: --retain"));
    }
    let (doomed, unfinished) =
        if asking { choose(args, left_over, unfinished)? } else { (left_over, unfinished) };
    if doomed.is_empty() && unfinished.is_empty() {
        return Err(Error::refused("nothing was chosen; nothing was written").reason("declined"));
    }
    zero(args, &doomed, &unfinished, asking)?;
    if asking && !ask::confirm(&question(args, &doomed, &unfinished))? {
        return Err(Error::refused("declined; nothing was written").reason("declined"));
    }
    let unjudged = if args.yes { unjudged } else { Vec::new() };
    let wanted = args.wanted();
    let work = act::Work { connection: &connection, args, output: global.output, wanted, manner, unjudged };
    let report = Box::pin(work.run(doomed, unfinished)).await?;
    let exit = report.exit();
    Ok(Answer { view: Box::new(report), exit })
}

/// What may not be read is named and weighed; what was answered wrongly is no ground to delete anything.
fn wrong_answer(sight: &Sight, around: &Around) -> Option<Error> {
    let observed = &sight.observed;
    let unseen =
        [observed.pods.as_ref().err(), observed.volumes.as_ref().err(), observed.autoscalers.as_ref().err()];
    let unseen = unseen.into_iter().flatten().map(|unseen| (unseen.kind.plural(), &unseen.why));
    let mut all = around.unread.iter().map(|(plural, why)| (*plural, why)).chain(unseen);
    let (plural, why) = all.find(|(_, why)| !why.starts_with("forbidden"))?;
    Some(Error::cluster(format!("cannot list {plural}; nothing was changed")).because(why))
}

/// With `--yes` an empty answer means that nothing is left over. If that is not known, it must not look like it.
fn unread(unjudged: &[String]) -> Error {
    let mut error = Error::refused("some PVCs could not be judged; nothing was deleted").reason("unread");
    for text in unjudged {
        error = error.because(text);
    }
    error.hint("get the permission to list what could not be read, then run the command again")
}

/// Ages that decide over deletion need the server's clock.
fn untimed(args: &Args, sight: &Sight) -> Option<Error> {
    let flag = args.older_than.map(|_| "--older-than").or(args.unused_for.map(|_| "--unused-for"))?;
    let unknown = sight.observed.clock.certain.is_none();
    unknown.then(|| {
        Error::refused(format!(
            "{flag} needs the API server's time, and that is unknown; nothing was changed"
        ))
        .because(sight.observed.clock.trouble().unwrap_or_default())
        .reason("server-time-unknown")
        .hint("name the StatefulSets and omit the flag, or connect past the gateway that removes the Date")
    })
}

/// Without the claims themselves there is no answer.
fn seen(sight: &Sight) -> Result<()> {
    match &sight.observed.claims {
        Ok(_) => Ok(()),
        Err(unseen) => Err(Error::cluster(format!("could not see {unseen}"))),
    }
}

impl Args {
    /// Whether claims of no set are of interest too.
    fn is_about_all(&self) -> bool {
        self.names.is_empty() && self.choice.selector.is_none()
    }
}

/// The permissions that are missing.
#[derive(Default)]
struct Missing {
    /// Without these nothing is done: as `kubectl auth can-i` takes them.
    needed: Vec<String>,
    /// Whether volumes that would be destroyed cannot be kept until the end.
    may_not_guard: bool,
    /// Whether what an earlier run has left cannot be finished.
    may_not_finish: bool,
}

/// Asks for all permissions that the plan needs.
async fn missing(connection: &Connection, args: &Args, found: &Found) -> Missing {
    let left_over = &found.left_over;
    let mut namespaces: Vec<&str> =
        left_over.iter().map(|left| left.claim.metadata.namespace.as_str()).collect();
    namespaces.extend(found.unfinished.iter().map(|left| left.namespace.as_str()));
    namespaces.sort_unstable();
    namespaces.dedup();
    let snapshots = "snapshot.storage.k8s.io";
    let mut needed = vec![
        ("delete", "", "persistentvolumeclaims", true),
        ("get", "", "persistentvolumeclaims", true),
        ("get", "apps", "statefulsets", true),
        ("get", "", "persistentvolumes", false),
    ];
    let mut missing = Missing::default();
    // A volume that has the policy Retain already is not touched.
    let is_guarded = |left: &LeftOver| left.fate == Fate::Destroyed;
    let patches = args.retain || !found.unfinished.is_empty() || left_over.iter().any(is_guarded);
    if patches && claims::may(connection, "", "patch", "", "persistentvolumes").await == Some(false) {
        if args.retain {
            missing.needed.push("patch persistentvolumes".to_owned());
        }
        missing.may_not_guard = !args.retain && left_over.iter().any(is_guarded);
        missing.may_not_finish = !args.retain;
    }
    if args.snapshot.is_some() {
        needed.push(("create", snapshots, "volumesnapshots", true));
        needed.push(("get", snapshots, "volumesnapshots", true));
    }
    for (number, namespace) in namespaces.iter().enumerate() {
        for (verb, group, plural, namespaced) in &needed {
            if !namespaced && number > 0 {
                continue;
            }
            let place = if *namespaced { *namespace } else { "" };
            if claims::may(connection, place, verb, group, plural).await == Some(false) {
                let plural =
                    if group.is_empty() { (*plural).to_owned() } else { format!("{plural}.{group}") };
                let flag = if *namespaced { format!(" -n {namespace}") } else { String::new() };
                missing.needed.push(format!("{verb} {plural}{flag}"));
            }
        }
    }
    missing
}

fn choose(
    args: &Args,
    left_over: Vec<LeftOver>,
    unfinished: Vec<Unfinished>,
) -> Result<(Vec<LeftOver>, Vec<Unfinished>)> {
    let deleted = left_over.iter().map(|left| {
        format!("{}  {}  {}", left.claim.metadata.name, left.claim.size(), left.fate(args.retain))
    });
    let finished = unfinished.iter().map(|left| {
        let (volume, size) = (&left.volume.metadata.name, left.volume.size());
        format!("finish: volume {volume} of {}  {size}  {}", left.claim, left.fate(args.retain))
    });
    let items: Vec<String> = deleted.chain(finished).collect();
    let chosen = ask::choose("Which to delete? (space chooses, enter goes on)", &items)?;
    let count = left_over.len();
    let left_over =
        left_over.into_iter().enumerate().filter(|(at, _)| chosen.contains(at)).map(|(_, left)| left);
    let unfinished = unfinished.into_iter().enumerate();
    let unfinished = unfinished.filter(|(at, _)| chosen.contains(&(at + count))).map(|(_, left)| left);
    Ok((left_over.collect(), unfinished.collect()))
}

/// A set scaled to 0 looks exactly like one that sleeps: its name must have been typed.
fn zero(args: &Args, doomed: &[LeftOver], unfinished: &[Unfinished], asking: bool) -> Result<()> {
    let deleted = doomed.iter().filter(|left| left.zero).map(|left| left.set.as_str());
    let finished = unfinished.iter().filter(|left| left.zero).map(|left| left.set.as_str());
    let mut sets: Vec<&str> = deleted.chain(finished).collect();
    sets.sort_unstable();
    sets.dedup();
    for set in sets {
        if args.include_zero.as_ref().is_some_and(|names| names.iter().any(|name| name == set)) {
            continue;
        }
        let what = format!("{set} is scaled to 0, and these would be all its claims");
        if !asking {
            return Err(Error::refused(format!("{what}; nothing was written"))
                .reason("scaled-to-zero")
                .hint(format!("if it will never be scaled up again: --include-zero={set}")));
        }
        if ask::typed(&format!("{what}. Type the set's name to go on"))? != set {
            return Err(Error::refused("that is not its name; nothing was written").reason("declined"));
        }
    }
    Ok(())
}

fn question(args: &Args, doomed: &[LeftOver], unfinished: &[Unfinished]) -> String {
    let lost = doomed.iter().filter(|left| match left.fate {
        Fate::Destroyed => !args.retain,
        Fate::Unknown => true,
        Fate::Kept | Fate::NoVolume => false,
    });
    let lost = lost.count() + if args.retain { 0 } else { unfinished.len() };
    let ends = match (lost, doomed.len() + unfinished.len()) {
        (0, _) => "No data is lost.".to_owned(),
        (lost, all) if lost == all => "Their data is destroyed.".to_owned(),
        (lost, _) => format!("The data of {lost} is destroyed."),
    };
    let delete = format!("{ends} Delete {}", words::count(doomed.len(), "claim"));
    match (doomed.len(), unfinished.len()) {
        (_, 0) => format!("{delete}?"),
        (0, all) => format!("{ends} Finish {}?", words::count(all, "volume")),
        (_, all) => format!("{delete} and finish {}?", words::count(all, "volume")),
    }
}
