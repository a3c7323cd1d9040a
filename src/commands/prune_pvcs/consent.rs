//! Which PVCs are meant, whether that is allowed, and what is asked about it.

use super::{Args, items};
use crate::cluster::claims::denied;
use crate::cluster::connect::Connection;
use crate::commands::act::{declined, permissions, stopped};
use crate::error::{Error, Result};
use crate::plan::prune::{Claims, Found, LeftOver, Unfinished};
use crate::plan::{Goal as _, Permission};
use crate::reached;
use crate::render::ask;
use crate::snapshot::Observed;
use crate::snapshot::attribution::DataOnDelete;
use crate::words;

/// The permissions that are missing.
#[derive(Default)]
pub(super) struct Missing {
    /// Without these nothing is done: as `kubectl auth can-i` takes them.
    pub needed: Vec<String>,
    /// Whether volumes that would be destroyed cannot be kept until the end.
    pub may_not_guard: bool,
    /// Whether what an earlier run has left cannot be finished.
    pub may_not_finish: bool,
}

/// Asks for all permissions that the plan needs: for its writes, and for what is read before each.
pub(super) async fn missing(
    connection: &Connection,
    args: &Args,
    found: &Found,
    observed: &Observed,
) -> Result<Missing> {
    let items = items(args.retain, &found.left_over, &found.unfinished, observed);
    let mut namespaces: Vec<&str> = items.iter().map(|item| item.pvc.namespace.as_str()).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    let mut wanted = Vec::new();
    for namespace in &namespaces {
        wanted.extend(Permission::READ_BEFORE_DELETION.map(|read| read.placed(namespace)));
        if args.snapshot.is_some() {
            wanted.push(Permission::READ_SNAPSHOT.placed(namespace));
        }
    }
    if !items.is_empty() {
        wanted.push(Permission::read_volume());
    }
    let plan = args.goal(false).plan(&Claims::shown(items, observed.taken_at)).map_err(stopped)?;
    wanted.splice(0..0, permissions(&plan.steps));
    let mut missing = Missing::default();
    for permission in denied(connection, &wanted).await {
        let Permission { verb, group, resource, namespace, .. } = &permission;
        let patches = *verb == "patch" && *resource == "persistentvolumes";
        // Without --retain there is another way.
        if patches && !args.retain {
            let is_guarded = |left: &LeftOver| left.fate == DataOnDelete::Destroyed;
            missing.may_not_guard = found.left_over.iter().any(is_guarded);
            missing.may_not_finish = true;
            continue;
        }
        let plural = if group.is_empty() { (*resource).to_owned() } else { format!("{resource}.{group}") };
        let flag = namespace.as_deref().filter(|namespace| !namespace.is_empty());
        let flag = flag.map_or(String::new(), |namespace| format!(" -n {namespace}"));
        missing.needed.push(format!("{verb} {plural}{flag}"));
    }
    Ok(missing)
}

/// Leaves only what is chosen.
pub(super) fn choose(
    args: &Args,
    left_over: &mut Vec<LeftOver>,
    unfinished: &mut Vec<Unfinished>,
) -> Result<()> {
    let deleted = left_over.iter().map(|left| {
        format!("{}  {}  {}", left.claim.metadata.name, left.claim.size(), left.fate(args.retain))
    });
    let finished = unfinished.iter().map(|left| {
        let (volume, size) = (&left.volume.metadata.name, left.volume.size());
        format!("finish: PV {volume} of {}  {size}  {}", left.claim, left.fate(args.retain))
    });
    let items: Vec<String> = deleted.chain(finished).collect();
    let chosen = ask::choose("Select PVCs to delete (space: select, a: all, enter: confirm)", &items)?;
    let mut number = 0..;
    let mut is_chosen = || number.next().is_some_and(|number| chosen.contains(&number));
    left_over.retain(|_| is_chosen());
    unfinished.retain(|_| is_chosen());
    Ok(())
}

/// A set scaled to 0 looks exactly like one that sleeps: its name must have been typed.
pub(super) fn zero(args: &Args, doomed: &[LeftOver], unfinished: &[Unfinished], asking: bool) -> Result<()> {
    let deleted = doomed.iter().filter(|left| left.zero).map(|left| left.set.as_str());
    let finished = unfinished.iter().filter(|left| left.zero).map(|left| left.set.as_str());
    let mut sets: Vec<&str> = deleted.chain(finished).collect();
    sets.sort_unstable();
    sets.dedup();
    for set in sets {
        if args.include_zero.as_ref().is_some_and(|names| names.iter().any(|name| name == set)) {
            continue;
        }
        let what = format!("{set} is scaled to 0, and these are all of its PVCs");
        let place = reached::place().map_or(String::new(), |place| format!(" in {place}"));
        if !asking {
            return Err(Error::refused(format!("{what}; nothing was changed"))
                .reason("scaled-to-zero")
                .hint(format!("if it is never scaled up again, use --include-zero={set}")));
        }
        if ask::typed(&format!("{what}. To delete them{place}, type the name of the StatefulSet"))? != set {
            return Err(declined("cancelled: that is not the name"));
        }
    }
    Ok(())
}

/// What is asked about it.
pub(super) fn question(args: &Args, doomed: &[LeftOver], unfinished: &[Unfinished]) -> String {
    let lost = doomed.iter().filter(|left| match left.fate {
        DataOnDelete::Destroyed => !args.retain,
        DataOnDelete::Unknown => true,
        DataOnDelete::Kept | DataOnDelete::NoVolume => false,
    });
    let lost = lost.count() + if args.retain { 0 } else { unfinished.len() };
    let ends = match (lost, doomed.len() + unfinished.len()) {
        (0, _) => "No data is lost.".to_owned(),
        (lost, all) if lost == all => "Their data is destroyed.".to_owned(),
        (lost, _) => format!("The data of {lost} is destroyed."),
    };
    let place = reached::place().map_or(String::new(), |place| format!(" in {place}"));
    let delete = format!("{ends} Delete {}", words::count(doomed.len(), "PVC"));
    match (doomed.len(), unfinished.len()) {
        (_, 0) => format!("{delete}{place}?"),
        (0, all) => format!("{ends} Finish {}{place}?", words::count(all, "PV")),
        (_, all) => format!("{delete} and finish {}{place}?", words::count(all, "PV")),
    }
}
