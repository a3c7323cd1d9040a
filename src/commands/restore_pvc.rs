//! `restore-pvc`: a claim bound again to the volume it had.

use std::time::Duration;

use serde_json::{Value, json};

use super::act::DryRun;
use super::help;
use super::prune_pvcs::{CLAIM_UID, VOLUME_UID};
use crate::cli::{Answer, Global, Streams};
use crate::cluster::Performed;
use crate::cluster::claims::{self, claim_path, get, until, volume_path};
use crate::cluster::connect::{Connection, connect, parse_duration};
use crate::cluster::decode;
use crate::error::{Error, Exit, Result};
use crate::render::live::show;
use crate::render::{Page, View, ask, render};
use crate::words;

/// Brings claims back from the backup that prune-pvcs made, bound to the volumes they had
#[derive(clap::Args, Debug)]
#[command(after_help = help!(
    "Reads the claim and its volume. Frees the volume from the claim that is gone, makes the claim anew, waits until it is"
    "bound, and verifies it. It refuses if the claim exists, or if the volume is gone or somebody else's. The volume keeps"
    "its reclaim policy."
    ""
    "Examples:"
    "  kubectl sts restore-pvc kubectl-sts-backup-20261120-120000/shop.data-db-4.pvc.yaml"
    "  kubectl sts restore-pvc shop.data-db-*.pvc.yaml --dry-run client"
))]
pub struct Args {
    /// Files that prune-pvcs wrote: NAMESPACE.CLAIM.pvc.yaml
    #[arg(value_name = "FILE", required = true, value_hint = clap::ValueHint::FilePath)]
    files: Vec<String>,
    /// Agree to the plan beforehand
    #[arg(short, long)]
    yes: bool,
    /// Show only (client), or also send the new claim without effect (server)
    #[arg(long, value_enum, default_value_t, value_name = "WHERE", hide_default_value = true)]
    dry_run: DryRun,
    /// How long a claim may take to be bound
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "60s")]
    timeout: Duration,
}

/// One claim to bring back.
struct Return {
    namespace: String,
    name: String,
    volume: String,
    manifest: Value,
    /// The volume as it was seen.
    seen: Value,
    /// Whether the claim is there already, from an earlier run.
    made: bool,
    /// Whether there is nothing left to do.
    bound: bool,
    result: String,
}

pub(super) async fn run(global: &Global, args: &Args, streams: &Streams) -> Result<Answer> {
    if !global.from.is_empty() {
        return Err(Error::usage("a recording cannot be changed: restore-pvc needs a cluster"));
    }
    let connection = connect(&global.connect, global.namespace.as_deref(), streams.warn).await?;
    let mut returns = Vec::new();
    for file in &args.files {
        let one = read(file, global.namespace.as_deref(), &connection.namespace)?;
        let same = |other: &Return| (&other.namespace, &other.name) == (&one.namespace, &one.name);
        if returns.iter().any(same) {
            return Err(Error::usage(format!("claim {} in {} is given twice", one.name, one.namespace)));
        }
        returns.push(look(&connection, one).await?);
    }
    let mut report = Report { returns, acts: false, done: false };
    let settled = report.returns.iter().all(|one| one.bound);
    if settled || args.dry_run == DryRun::Client {
        return Ok(Answer { view: Box::new(report), exit: Exit::Good });
    }
    if args.dry_run == DryRun::Server {
        let mut exit = Exit::Good;
        for one in report.returns.iter_mut().filter(|one| !one.made) {
            one.result = match claims::create_claim(&connection, &one.namespace, &one.manifest, true).await? {
                Performed::Conflict(message) => {
                    exit = Exit::Refused;
                    format!("the server refuses: {message}")
                }
                _ => "the server would make it".to_owned(),
            };
        }
        return Ok(Answer { view: Box::new(report), exit });
    }
    report.acts = true;
    show(&render(&report, global.output, streams.look)?)?;
    if !args.yes {
        if !ask::somebody() {
            return Err(Error::refused("nobody is here to agree to the plan; nothing was written")
                .reason("nobody-agreed")
                .hint("look at it with --dry-run=client, and agree with --yes"));
        }
        if !ask::confirm(&format!("Bring back {}?", words::count(report.returns.len(), "claim")))? {
            return Err(Error::refused("declined; nothing was written").reason("declined"));
        }
    }
    // The set may have made the claim itself since, and freeing the volume would then only lay it open.
    for one in std::mem::take(&mut report.returns) {
        report.returns.push(look(&connection, one).await?);
    }
    for one in report.returns.iter_mut().filter(|one| !one.bound) {
        bring_back(&connection, one, args.timeout).await?;
    }
    report.done = true;
    Ok(Answer { view: Box::new(report), exit: Exit::Good })
}

/// Reads a manifest that prune-pvcs wrote.
fn read(file: &str, asked: Option<&str>, default: &str) -> Result<Return> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Error::cluster(format!("could not read {file}")).because(error))?;
    let mut documents = decode::documents(file, &text)?;
    let is_claim =
        |document: &Value| document["kind"] == "PersistentVolumeClaim" && document["apiVersion"] == "v1";
    let (Some(manifest), None) = (documents.pop().filter(is_claim), documents.pop()) else {
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
    let result = String::new();
    Ok(Return { namespace, name, volume, manifest, seen: Value::Null, made: false, bound: false, result })
}

/// Looks whether it can be brought back.
async fn look(connection: &Connection, mut one: Return) -> Result<Return> {
    let (name, volume) = (&one.name, &one.volume);
    let annotation =
        |key: &str| one.manifest["metadata"]["annotations"][key].as_str().unwrap_or_default().to_owned();
    let (old_claim, old_volume) = (annotation(CLAIM_UID), annotation(VOLUME_UID));
    let claim = get(connection, &claim_path(&one.namespace, name)).await?;
    let claim_uid = claim.as_ref().and_then(|claim| claim["metadata"]["uid"].as_str()).unwrap_or_default();
    if let Some(claim) = &claim {
        if claim["spec"]["volumeName"] != volume.as_str() || !claim["metadata"]["deletionTimestamp"].is_null()
        {
            return Err(Error::refused(format!("claim {name} exists already; nothing was written"))
                .hint(format!("look at it with: kubectl get pvc {name} -n {}", one.namespace)));
        }
        one.made = true;
        one.bound = claim["status"]["phase"] == "Bound";
    }
    let no = |why: &str| Error::refused(format!("volume {volume} of {name} {why}; nothing was written"));
    let Some(seen) = get(connection, &volume_path(volume)).await? else {
        return Err(no("is gone, and its data with it"));
    };
    let same_volume = old_volume.is_empty() || seen["metadata"]["uid"] == old_volume.as_str();
    if !same_volume {
        return Err(no("is another one of the same name"));
    }
    let reference = &seen["spec"]["claimRef"];
    let holder = reference["uid"].as_str().unwrap_or_default();
    let is_for_it = reference.is_null()
        || reference["name"] == name.as_str() && reference["namespace"] == one.namespace.as_str();
    if !is_for_it || !(holder.is_empty() || holder == claim_uid || holder == old_claim) {
        let whose = reference["name"].as_str().unwrap_or_default();
        let space = reference["namespace"].as_str().unwrap_or_default();
        return Err(no(&format!("is bound to another claim, {whose} in {space}")));
    }
    if !seen["metadata"]["deletionTimestamp"].is_null() {
        return Err(no("is being deleted"));
    }
    let released = claim.is_none() && seen["status"]["phase"] == "Released";
    if released && seen["spec"]["persistentVolumeReclaimPolicy"] != "Retain" {
        return Err(no("is about to be destroyed (reclaim policy Delete)"));
    }
    one.seen = seen;
    Ok(one)
}

async fn bring_back(connection: &Connection, one: &mut Return, patience: Duration) -> Result<()> {
    let (name, volume) = (one.name.clone(), one.volume.clone());
    let no = |what: &str, why: String| Error::refused(format!("{name}: {what}")).because(why);
    if !one.made {
        if one.seen["spec"]["claimRef"]["uid"].is_string() {
            let free = json!({"claimRef": {"uid": null, "resourceVersion": null}});
            match claims::patch_volume(connection, &one.seen, free).await? {
                Performed::Done => {}
                Performed::AlreadySo => {
                    return Err(no("not brought back", format!("volume {volume} is gone")));
                }
                Performed::Conflict(why) | Performed::TooManyRequests(why) => {
                    return Err(no("not brought back: its volume was changed", why));
                }
            }
        }
        if let Some(annotations) = one.manifest["metadata"]["annotations"].as_object_mut() {
            annotations.remove(CLAIM_UID);
            annotations.remove(VOLUME_UID);
        }
        one.manifest["metadata"]["namespace"] = one.namespace.clone().into();
        if let Performed::Conflict(why) =
            claims::create_claim(connection, &one.namespace, &one.manifest, false).await?
        {
            return Err(no("the claim could not be made; its volume is free for it", why)
                .hint(format!("see who has the name: kubectl get pvc {name} -n {}", one.namespace)));
        }
    }
    let path = claim_path(&one.namespace, &name);
    let bound = until(patience, || async {
        let now = get(connection, &path).await?.unwrap_or_default();
        Ok((now["status"]["phase"] == "Bound").then_some(now))
    });
    let Some(claim) = bound.await? else {
        let waited = patience.as_secs();
        return Err(Error::refused(format!("{name} was made, but is not bound after {waited}s"))
            .ending(Exit::TimedOut)
            .hint(format!("look at it with: kubectl describe pvc {name} -n {}", one.namespace)));
    };
    let now = get(connection, &volume_path(&volume)).await?.unwrap_or_default();
    if claim["spec"]["volumeName"] != volume.as_str()
        || now["spec"]["claimRef"]["uid"] != claim["metadata"]["uid"]
    {
        return Err(no("it is bound, but not to its volume", String::new()));
    }
    one.result = format!("bound to {volume} again");
    one.bound = true;
    Ok(())
}

struct Report {
    returns: Vec<Return>,
    acts: bool,
    done: bool,
}

impl View for Report {
    fn text(&self, page: &mut Page) {
        for one in &self.returns {
            let text = match (one.bound, one.result.as_str()) {
                (true, "") => format!("nothing to do: it is bound to volume {}", one.volume),
                (_, "") => {
                    let policy =
                        one.seen["spec"]["persistentVolumeReclaimPolicy"].as_str().unwrap_or_default();
                    format!("will be bound to volume {} again (reclaim policy {policy})", one.volume)
                }
                (_, result) => result.to_owned(),
            };
            page.prose(&format!("{} in {}: {text}", one.name, one.namespace), 2);
        }
        if !self.acts && self.returns.iter().any(|one| !one.bound) {
            page.line("dry run: nothing was written");
        }
    }

    fn json(&self) -> Value {
        let claims = self.returns.iter().map(|one| {
            json!({
                "namespace": one.namespace, "name": one.name, "volume": one.volume,
                "bound": one.bound, "text": one.result,
            })
        });
        json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "RestoreResult",
            "outcome": if self.returns.iter().all(|one| one.bound) { "reached" } else { "planned" },
            "claims": claims.collect::<Vec<_>>(),
        })
    }

    fn names(&self) -> Vec<String> {
        self.returns.iter().map(|one| format!("persistentvolumeclaim/{}", one.name)).collect()
    }

    fn is_streamed(&self) -> bool {
        self.acts || self.done
    }
}
