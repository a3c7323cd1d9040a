//! `undo`: an earlier template.

use jiff::Timestamp;
use serde_json::Value;

use super::act::{Consent, Consented, NOTE, confirm_plan, idle, see_through, stopped};
use super::canary::{current, managed};
use super::notes;
use crate::cli::{Answer, Global, Ui, bare, heading};
use crate::cluster::connect::connect;
use crate::cluster::live::Live;
use crate::error::{Error, Result};
use crate::kinds::Kind;
use crate::paste::sts;
use crate::plan::{Agreement, LastWritten, Undo, UndoTarget, aim, template};
use crate::rules::stuck;
use crate::snapshot::{CANARY, Snapshot};
use crate::words;

/// Roll back to an earlier revision and wait until it is complete
///
/// Without --to-revision, it rolls back to the revision before the current rollout, or before the last one. It also deletes the pods that are stuck on the revision it rolls back from, because they would block the rollback. The patch is the one that `kubectl rollout undo` sends: only the template changes, not replicas, partition, PVCs or annotations. After an interruption, run the same command again.
#[derive(clap::Args, Debug)]
#[command(after_help = notes!(
    "Examples:"
    "  # Show what would be done"
    "  kubectl sts undo postgres --dry-run"
    ""
    "  # Roll back to revision 3, in a pipeline"
    "  kubectl sts undo postgres --to-revision 3 --yes"
    ""
    "Reads what `watch` reads, and the data of ControllerRevisions. Patches the template of the StatefulSet, and \
     deletes pods that are stuck on the revision it rolls back from."
))]
pub struct Args {
    /// StatefulSet to roll back
    #[arg(value_name = "NAME")]
    name: String,
    /// Revision to roll back to, by number or name (default: the one before the last rollout)
    #[arg(long, value_name = "REVISION", help_heading = heading::CHANGES)]
    to_revision: Option<String>,
    /// What is agreed to.
    #[command(flatten)]
    consent: Consent,
}

pub(super) async fn run(global: &Global, args: &Args, streams: &Ui) -> Result<Answer> {
    let (name, consent) = (bare(&args.name)?, &args.consent);
    if let Some(file) = global.from.first() {
        return Err(Error::usage("a recording contains no templates, so none can be restored")
            .hint(sts("history").name(name).with("--from").path(file).after("see its revisions")));
    }
    let connection = connect(&global.connect, global.namespace.as_deref(), streams.warn).await?;
    let namespace = connection.namespace.clone();
    let mut live = Live::start(connection, &namespace, name).await?;
    loop {
        live.catch_up().await?;
        let goal = goal(&live, name, args.to_revision.as_deref()).await?;
        let plan = match confirm_plan(&mut live, name, &goal, consent, global, streams).await? {
            Consented::To(plan) => plan,
            Consented::Nothing(plan) => return Ok(idle(&live, plan, name)),
            Consented::Answered(answer) => return Ok(answer),
        };
        let left = |now: Option<&Snapshot<'_>>| {
            let command = now.and_then(|now| goal.left(now).ok().flatten());
            command.map(|command| ("next", command.to_string())).into_iter().collect()
        };
        let agreement = Agreement::to(&plan);
        let done = see_through(&mut live, name, &goal, &agreement, consent, global, streams, left).await?;
        if let Some(answer) = done {
            return Ok(answer);
        }
    }
}

async fn goal(live: &Live, name: &str, asked: Option<&str>) -> Result<Undo> {
    let uid = current(live, name, |now| now.set.metadata.uid.clone())?;
    let revisions = live.owned(Kind::ControllerRevision, &uid).await?;
    let written: LastWritten = revisions.iter().filter_map(written).collect();
    let aim = current(live, name, |now| aim(now, asked, &written))?.map_err(stopped)?;
    let set = live.raw(Kind::StatefulSet, name).await?.unwrap_or_default();
    let own = revisions.into_iter().find(|revision| revision["metadata"]["name"] == aim.name.as_str());
    let Some(mut revision) = own else {
        return Err(Error::refused(format!("revision {} no longer exists", aim.name))
            .reason("no-such-revision")
            .hint(sts("history").name(name).after("see its revisions")));
    };
    let data = revision["data"].take();
    current(live, name, |now| {
        let mut warnings = managed(now.set, Some(&set));
        // What the API server refuses is said by the plan, with what becomes of it.
        let stuck = stuck(now).filter(|stuck| !stuck.is_on_refusal());
        warnings.extend(stuck.map(|stuck| format!("{} is stuck: {}", stuck.on, stuck.because())));
        if now.set.metadata.annotations.contains_key(CANARY) {
            warnings.push(format!(
                "a canary is in progress; to restore its partition too, use `{}`",
                sts("abort").name(name).namespace(&now.set.metadata.namespace)
            ));
        }
        Undo { target: aim.name.clone(), facts: facts(now, &aim, &set, &data), data: data.clone(), warnings }
    })
}

/// A revision's name and when it was last written.
fn written(revision: &Value) -> Option<(String, Timestamp)> {
    let meta = &revision["metadata"];
    let times = meta["managedFields"].as_array()?.iter().filter_map(|entry| entry["time"].as_str());
    let last = times.filter_map(|time| time.parse().ok()).max()?;
    Some((meta["name"].as_str()?.to_owned(), last))
}

/// From which revision to which, and what that changes.
fn facts(now: &Snapshot<'_>, aim: &UndoTarget, set: &Value, data: &Value) -> Vec<(&'static str, String)> {
    let revisions = now.revisions().unwrap_or_default();
    let word = |name: &str| {
        let short = now.set.short_revision(name);
        match revisions.iter().find(|revision| revision.metadata.name == name) {
            Some(revision) => format!("{} ({short})", revision.revision),
            None => short.to_owned(),
        }
    };
    let update = &now.set.status.update_revision;
    let mut facts = Vec::new();
    if *update == aim.name {
        facts.push(("revision", word(update)));
    } else {
        let target = revisions.iter().find(|revision| revision.metadata.name == aim.name);
        let age = now.since(target.and_then(|target| target.metadata.creation_timestamp));
        let age = age.map_or(String::new(), |age| format!(", created {} ago", words::age(age)));
        facts.push(("revision", format!("{} → {}{age}", word(update), word(&aim.name))));
        let changes = template::changes(&set["spec"]["template"], &data["spec"]["template"]);
        facts.push(("template", changes.join("\n")));
    }
    facts.extend(aim.why.clone().map(|why| (NOTE, why)));
    facts
}
