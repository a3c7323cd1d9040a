//! `restore-pvc`: a claim bound again to the volume it had.

use std::time::Duration;

use serde_json::{Value, json};

use super::act::DryRun;
use super::help;
use super::prune_pvcs::{VOLUME_UID, in_one_line};
use crate::cli::{Answer, Global, Streams};
use crate::cluster::Performed;
use crate::cluster::claims::{self, Changed, claim_path, get, until, volume_path};
use crate::cluster::connect::{Connection, connect, parse_duration};
use crate::cluster::decode;
use crate::error::{Error, Exit, Result};
use crate::kinds::{CLAIM_UID, EARLIER_POLICY, PersistentVolume, RETAIN};
use crate::paste::kubectl;
use crate::reconcile::Acting;
use crate::render::live::show;
use crate::render::{Page, View, ask, render};
use crate::words;

/// Brings claims back from the backup that prune-pvcs made, bound to the volumes they had
#[derive(clap::Args, Debug)]
#[command(after_help = help!(
    "Reads the claim and its volume. Frees the volume from the claim that is gone, makes the claim anew, waits until it is"
    "bound, and verifies it. It refuses if the claim exists, or if the volume is gone or somebody else's. A volume that"
    "prune-pvcs had set to Retain until the end gets its earlier reclaim policy again; with --retain it keeps Retain."
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
    /// Whether the claim is bound.
    bound: bool,
    /// The reclaim policy the volume has to get again.
    earlier: Option<String>,
    result: String,
}

impl Return {
    /// Whether there is nothing left to do.
    fn is_settled(&self) -> bool {
        self.bound && self.earlier.is_none()
    }

    /// The policy that the volume had before prune-pvcs set it to Retain for this very claim.
    fn noted(&self, volume: &Value) -> Result<Option<String>> {
        let uid = self.manifest["metadata"]["annotations"][CLAIM_UID].as_str().unwrap_or_default();
        let volume: PersistentVolume = serde_json::from_value(volume.clone()).map_err(|error| {
            Error::cluster(format!("volume {} is not as expected", self.volume)).because(error)
        })?;
        Ok(volume.earlier_policy(uid).map(str::to_owned))
    }
}

/// How much longer a claim may take to be bound after an interruption.
const HURRY: Duration = Duration::from_secs(5);

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
    let mut report = Report { returns, acts: false, done: false, stopped: None };
    let settled = report.returns.iter().all(Return::is_settled);
    if settled || args.dry_run == DryRun::Client {
        return Ok(Answer { view: Box::new(report), exit: Exit::Good });
    }
    if args.dry_run == DryRun::Server {
        let mut exit = Exit::Good;
        for one in report.returns.iter_mut().filter(|one| !one.made) {
            one.result = match claims::create_claim(&connection, &one.namespace, &one.manifest, true).await? {
                Performed::Conflict(message) | Performed::TooManyRequests(message) => {
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
    let acting = Acting::begin();
    for one in report.returns.iter_mut().filter(|one| !one.is_settled()) {
        if acting.is_interrupted() {
            report.stopped = Some(("interrupted".to_owned(), Exit::Interrupted));
            break;
        }
        // Whatever goes wrong, what is done and what is left must be told.
        if let Err(error) = bring_back(&connection, one, args.timeout, &acting).await {
            report.stopped = Some((in_one_line(&error), error.exit()));
            break;
        }
    }
    report.done = true;
    let exit = report.stopped.as_ref().map_or(Exit::Good, |(_, exit)| *exit);
    Ok(Answer { view: Box::new(report), exit })
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
    Ok(Return {
        namespace,
        name,
        volume,
        manifest,
        seen: Value::Null,
        made: false,
        bound: false,
        earlier: None,
        result,
    })
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
        let is_leaving = !claim["metadata"]["deletionTimestamp"].is_null();
        if claim["spec"]["volumeName"] != volume.as_str() || is_leaving {
            let what = match is_leaving {
                true => format!("claim {name} exists already, and is being deleted; nothing was written"),
                false => format!("claim {name} exists already; nothing was written"),
            };
            return Err(Error::refused(what).reason("exists").hint(in_the_way(&one, claim)));
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
    one.earlier = one.noted(&seen)?;
    one.seen = seen;
    Ok(one)
}

/// How to go on when there is a claim of the name, as after a scale-up.
fn in_the_way(one: &Return, claim: &Value) -> String {
    let Return { name, namespace, volume, .. } = one;
    let has = match claim["spec"]["volumeName"].as_str().unwrap_or_default() {
        "" => "it has no volume".to_owned(),
        other if other == volume => "it waits for the pods that use it".to_owned(),
        other => format!("it is on volume {other}, which goes with it if its reclaim policy is Delete"),
    };
    let replica = name.rsplit_once('-').map_or("N", |(_, ordinal)| ordinal);
    let look = kubectl("describe pvc").name(name).namespace(namespace);
    let delete = kubectl("delete pvc").name(name).namespace(namespace).with("--ignore-not-found");
    format!(
        "look at it with: {look} ({has})\n\
         to use the data of volume {volume} instead: scale the StatefulSet down so that replica {replica} is gone, then\n\
         {delete}\n\
         and this command again, before you scale up"
    )
}

async fn bring_back(
    connection: &Connection,
    one: &mut Return,
    patience: Duration,
    acting: &Acting,
) -> Result<()> {
    let (name, volume) = (one.name.clone(), one.volume.clone());
    let no = |what: &str, why: String| Error::refused(format!("{name}: {what}")).because(why);
    if !one.made {
        if one.seen["spec"]["claimRef"]["uid"].is_string() {
            let free = json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}});
            match claims::patch_volume(connection, &one.seen, free).await? {
                Changed::Done => {}
                Changed::Gone => return Err(no("not brought back", format!("volume {volume} is gone"))),
                Changed::Conflict(why) => return Err(no("not brought back: its volume was changed", why)),
                Changed::Forbidden(why) => {
                    return Err(
                        no("not brought back: its volume may not be patched", why).reason("forbidden")
                    );
                }
            }
        }
        // From here on it goes forward: a volume that is free but reserved is no place to stop.
        if let Some(annotations) = one.manifest["metadata"]["annotations"].as_object_mut() {
            annotations.remove(CLAIM_UID);
            annotations.remove(VOLUME_UID);
        }
        one.manifest["metadata"]["namespace"] = one.namespace.clone().into();
        if let Performed::Conflict(why) | Performed::TooManyRequests(why) =
            claims::create_claim(connection, &one.namespace, &one.manifest, false).await?
        {
            return Err(no("the claim could not be made; its volume is free for it", why).hint(
                kubectl("get pvc").name(&name).namespace(&one.namespace).after("see who has the name"),
            ));
        }
    }
    let path = claim_path(&one.namespace, &name);
    let bound = |patience: Duration| {
        until(patience, || async {
            let now = get(connection, &path).await?.unwrap_or_default();
            Ok((now["status"]["phase"] == "Bound").then_some(now))
        })
    };
    let (claim, is_interrupted) = tokio::select! {
        claim = bound(patience) => (claim?, false),
        () = acting.interrupted() => (bound(patience.min(HURRY)).await?, true),
    };
    let Some(claim) = claim else {
        let look = kubectl("describe pvc").name(&name).namespace(&one.namespace).after("look at it with");
        if is_interrupted {
            let what = format!("{name} was made, but is not bound yet: interrupted");
            return Err(Error::refused(what).ending(Exit::Interrupted).hint(look));
        }
        let waited = patience.as_secs();
        return Err(Error::refused(format!("{name} was made, but is not bound after {waited}s"))
            .ending(Exit::TimedOut)
            .hint(look));
    };
    let now = get(connection, &volume_path(&volume)).await?.unwrap_or_default();
    if claim["spec"]["volumeName"] != volume.as_str()
        || now["spec"]["claimRef"]["uid"] != claim["metadata"]["uid"]
    {
        return Err(no("it is bound, but not to its volume", String::new()));
    }
    one.bound = true;
    one.result = format!("bound to {volume} again");
    give_back(connection, one, now).await
}

/// Gives the volume the reclaim policy that it had before prune-pvcs set it to Retain, now that its claim is there.
async fn give_back(connection: &Connection, one: &mut Return, mut now: Value) -> Result<()> {
    let Some(policy) = one.earlier.clone() else { return Ok(()) };
    let (name, volume) = (one.name.clone(), one.volume.clone());
    let change = json!({
        "metadata": {"annotations": {EARLIER_POLICY: null, CLAIM_UID: null}},
        "spec": {"persistentVolumeReclaimPolicy": policy},
    });
    let mut why = String::new();
    // The volume controller writes to a volume that was just bound.
    for _ in 0..5 {
        let is_its = now["spec"]["claimRef"]["name"] == name.as_str()
            && now["spec"]["claimRef"]["namespace"] == one.namespace.as_str();
        if !is_its {
            why = String::from("it is bound to another claim");
            break;
        }
        match claims::patch_volume(connection, &now, change.clone()).await? {
            Changed::Done => {}
            Changed::Gone => why = String::from("it is gone"),
            Changed::Conflict(message) | Changed::Forbidden(message) => why = message,
        }
        now = get(connection, &volume_path(&volume)).await?.unwrap_or_default();
        let spec = &now["spec"];
        if spec["persistentVolumeReclaimPolicy"] == policy.as_str()
            && now["metadata"]["annotations"][EARLIER_POLICY].is_null()
        {
            one.earlier = None;
            one.result = format!("bound to {volume} again (reclaim policy {policy})");
            return Ok(());
        }
    }
    let what = format!(
        "{name} is bound to volume {volume} again, but the volume still has the reclaim policy {RETAIN}"
    );
    Err(Error::refused(what).because(why).hint("run the same command again, to give it back its own"))
}

struct Report {
    returns: Vec<Return>,
    acts: bool,
    done: bool,
    /// Why it stopped, and how the process ends.
    stopped: Option<(String, Exit)>,
}

impl Report {
    fn outcome(&self) -> &'static str {
        match &self.stopped {
            Some((_, Exit::Interrupted)) => "interrupted",
            Some(_) => "stopped",
            None if self.returns.iter().all(Return::is_settled) => "reached",
            None => "planned",
        }
    }
}

impl View for Report {
    fn text(&self, page: &mut Page) {
        for one in &self.returns {
            let policy = one.seen["spec"]["persistentVolumeReclaimPolicy"].as_str().unwrap_or_default();
            let text = match (one.bound, one.result.as_str(), &one.earlier) {
                (true, "", None) => format!("nothing to do: it is bound to volume {}", one.volume),
                (false, "", _) if self.stopped.is_some() => "not brought back yet".to_owned(),
                (true, "", Some(earlier)) => {
                    format!(
                        "it is bound to volume {}, which will get the reclaim policy {earlier} again",
                        one.volume
                    )
                }
                (false, "", Some(earlier)) => format!(
                    "will be bound to volume {} again (reclaim policy {policy}, then {earlier} as before)",
                    one.volume
                ),
                (false, "", None) => {
                    format!("will be bound to volume {} again (reclaim policy {policy})", one.volume)
                }
                (_, result, _) => result.to_owned(),
            };
            page.prose(&format!("{} in {}: {text}", one.name, one.namespace), 2);
        }
        if let Some((why, _)) = &self.stopped {
            page.field("stopped", 9, why);
            page.field("next", 9, "run the same command again: it shows what is left, and asks");
        }
        if !self.acts && self.returns.iter().any(|one| !one.is_settled()) {
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
            "outcome": self.outcome(),
            "text": self.stopped.as_ref().map(|(text, _)| text),
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
