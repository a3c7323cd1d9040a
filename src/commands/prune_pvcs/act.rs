//! Deleting, one claim at a time, looking before and after.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::Args;
use super::backup::Backup;
use crate::cluster::Performed;
use crate::cluster::claims::{self, claim_path, get, set_path, until, volume_path};
use crate::cluster::connect::Connection;
use crate::cluster::inventory::{Want, observe};
use crate::error::{Error, Exit, Result};
use crate::kinds::StatefulSet;
use crate::plan::prune::{LeftOver, Wanted, find};
use crate::render::live::show;
use crate::render::{Output, Page, View};
use crate::snapshot::Scope;
use crate::words;

/// How long a deleted claim may take to be gone; only the claim protection controller is waited for.
const GOING: Duration = Duration::from_secs(60);
/// How long a snapshot may take.
const SNAPSHOT: Duration = Duration::from_secs(600);

/// The work that was agreed to.
pub(super) struct Work<'a> {
    pub connection: &'a Connection,
    pub args: &'a Args,
    pub output: Output,
    pub wanted: Wanted,
}

/// What came of it.
pub(super) struct Report {
    done: Vec<Done>,
    left: Vec<String>,
    surprise: Option<String>,
    folder: PathBuf,
}

/// A claim that is gone.
struct Done {
    namespace: String,
    claim: String,
    volume: String,
    fate: &'static str,
    file: PathBuf,
}

/// Has the server check each deletion, without effect.
pub(super) async fn check(connection: &Connection, doomed: &[LeftOver]) -> Result<Vec<(String, String)>> {
    let mut results = Vec::new();
    for left in doomed {
        let result = match claims::delete(connection, &left.claim, true).await? {
            Performed::Done => "the server would do it".to_owned(),
            Performed::AlreadySo => "it is gone already".to_owned(),
            Performed::Conflict(message) | Performed::TooManyRequests(message) => {
                format!("the server refuses: {message}")
            }
        };
        results.push((left.claim.metadata.name.clone(), result));
    }
    Ok(results)
}

impl Work<'_> {
    /// Writes all manifests, then deletes claim by claim, and stops at the first surprise.
    pub(super) async fn run(mut self, doomed: Vec<LeftOver>) -> Result<Report> {
        let backup = Backup::open(self.args.backup.as_deref())?;
        let mut files = Vec::new();
        for left in &doomed {
            files.push(backup.write(self.connection, left).await?);
        }
        backup.readme(&files, &doomed)?;
        self.tell(&format!("manifests written to {}", backup.folder.display()));
        let mut report = Report { done: Vec::new(), left: Vec::new(), surprise: None, folder: backup.folder };
        let mut rest = doomed.iter().zip(files);
        for (left, file) in rest.by_ref() {
            let meta = &left.claim.metadata;
            // Whatever goes wrong, what is done and what is left must be told.
            let surprise = match self.remove(left).await {
                Ok(surprise) => surprise,
                Err(error) => Some((false, error.to_string().trim_start_matches("error: ").to_owned())),
            };
            if surprise.as_ref().is_none_or(|(gone, _)| *gone) {
                report.done.push(Done {
                    namespace: meta.namespace.clone(),
                    claim: meta.name.clone(),
                    volume: left.claim.spec.volume_name.clone(),
                    fate: left.fate(self.args.retain),
                    file,
                });
            } else {
                report.left.push(meta.name.clone());
            }
            if let Some((_, text)) = surprise {
                report.surprise = Some(format!("{}: {text}", meta.name));
                break;
            }
        }
        report.left.extend(rest.map(|(left, _)| left.claim.metadata.name.clone()));
        Ok(report)
    }

    /// Removes one claim. A surprise says whether the claim was deleted all the same.
    async fn remove(&mut self, left: &LeftOver) -> Result<Option<(bool, String)>> {
        let meta = &left.claim.metadata;
        // Nothing is written for a claim that is not deleted in the end.
        let prepares = self.args.retain || self.args.snapshot.is_some();
        if prepares && let Some(surprise) = self.still(left).await?.err() {
            return Ok(Some((false, surprise)));
        }
        if self.args.retain {
            self.retain(left).await?;
        }
        if let Some(class) = &self.args.snapshot {
            let name = format!("{}-{}", meta.name, meta.uid.get(..8).unwrap_or_default());
            self.wanted.own_snapshots.push(name.clone());
            claims::snapshot(self.connection, &meta.namespace, &meta.name, class, &name, SNAPSHOT).await?;
            self.tell(&format!("{}: VolumeSnapshot {name} can be used", meta.name));
        }
        // The snapshot controller holds the claim a moment longer than the snapshot takes.
        let mut tries = if self.args.snapshot.is_some() { 30 } else { 0 };
        let fresh = loop {
            match self.still(left).await? {
                Ok(fresh) => break fresh,
                Err(_) if tries > 0 => tokio::time::sleep(Duration::from_secs(1)).await,
                Err(surprise) => return Ok(Some((false, surprise))),
            }
            tries -= 1;
        };
        match claims::delete(self.connection, &fresh.claim, false).await? {
            Performed::Done => {}
            Performed::AlreadySo => return Ok(Some((true, "somebody else has deleted it".to_owned()))),
            Performed::Conflict(message) | Performed::TooManyRequests(message) => {
                return Ok(Some((
                    false,
                    format!("it was changed in the last moment, so it was not deleted: {message}"),
                )));
            }
        }
        let surprise = self.after(left).await?;
        if surprise.is_none() {
            self.tell(&format!("{}: deleted", meta.name));
        }
        Ok(surprise.map(|text| (true, text)))
    }

    /// Reads everything again, and judges the claim as if for the first time; the set last, as it decides.
    async fn still(&self, left: &LeftOver) -> Result<std::result::Result<LeftOver, String>> {
        let meta = &left.claim.metadata;
        let scope = Scope::Namespace(meta.namespace.clone());
        let observed = observe(self.connection, scope.clone(), Want::Claims).await?;
        let around = claims::around(self.connection, &scope).await;
        let is_its = |set: &StatefulSet| set.metadata.name == left.set;
        let found = find(&observed, Some(&around), &self.wanted, is_its, false);
        let same = |other: &&LeftOver| other.claim.metadata.name == meta.name;
        let Some(fresh) = found.left_over.iter().find(same) else {
            let rest = found.rest.iter().find(|rest| rest.claim == meta.name);
            return Ok(Err(match rest {
                Some(rest) => format!("not deleted any more: {}", rest.reason.text),
                None => "it is gone".to_owned(),
            }));
        };
        if fresh.claim.metadata.uid != meta.uid || fresh.set_uid != left.set_uid {
            return Ok(Err("it is another one than was shown, of the same name".to_owned()));
        }
        let was = observed.sets.iter().find(|set| is_its(set));
        let now = self.set(left).await?;
        let stands = was.zip(now.as_ref()).is_some_and(|(was, now)| {
            now.metadata.uid == was.metadata.uid
                && now.metadata.generation == was.metadata.generation
                && now.status.replicas == was.status.replicas
        });
        Ok(if stands { Ok(fresh.clone()) } else { Err(format!("{} was changed meanwhile", left.set)) })
    }

    async fn set(&self, left: &LeftOver) -> Result<Option<StatefulSet>> {
        let found = get(self.connection, &set_path(&left.claim.metadata.namespace, &left.set)).await?;
        found.map(serde_json::from_value).transpose().map_err(|error| {
            Error::cluster(format!("StatefulSet {} is not as expected", left.set)).because(error)
        })
    }

    /// Keeps the volume, and verifies it.
    async fn retain(&self, left: &LeftOver) -> Result<()> {
        let name = &left.claim.spec.volume_name;
        if name.is_empty() {
            return Ok(());
        }
        let path = volume_path(name);
        let no =
            |why: String| Error::refused(format!("volume {name} could not be set to Retain")).because(why);
        let seen = get(self.connection, &path).await?.ok_or_else(|| no("it is gone".to_owned()))?;
        let policy = "persistentVolumeReclaimPolicy";
        if seen["spec"][policy] != "Retain" {
            let spec = json!({policy: "Retain"});
            if let Performed::Conflict(why) = claims::patch_volume(self.connection, &seen, spec).await? {
                return Err(no(why));
            }
        }
        let now = get(self.connection, &path).await?.unwrap_or_default();
        let is_its = now["spec"]["claimRef"]["uid"] == left.claim.metadata.uid.as_str();
        if now["spec"][policy] != "Retain" || !is_its {
            return Err(no("it is not as it was set".to_owned()));
        }
        self.tell(&format!("{}: volume {name} has the reclaim policy Retain", left.claim.metadata.name));
        Ok(())
    }

    /// Looks whether the claim goes, and whether anybody wants it now.
    async fn after(&self, left: &LeftOver) -> Result<Option<String>> {
        let meta = &left.claim.metadata;
        let path = claim_path(&meta.namespace, &meta.name);
        let gone = until(GOING, || async {
            let now = get(self.connection, &path).await?;
            let is_it = now.as_ref().is_some_and(|now| now["metadata"]["uid"] == meta.uid.as_str());
            if is_it && self.wants_it(left).await? {
                return Ok(Some(true));
            }
            Ok((!is_it).then_some(now.is_some()))
        });
        let gone = gone.await?;
        let replica = format!("{}-{}", left.set, left.ordinal);
        if gone == Some(true) || self.wants_it(left).await? {
            return Ok(Some(format!(
                "{} was scaled up meanwhile: {replica} gets a new, empty claim once this one is gone",
                left.set
            )));
        }
        Ok(gone.is_none().then(|| {
            let waited = GOING.as_secs();
            format!("its deletion was asked for, but it is still there after {waited}s: something holds it")
        }))
    }

    async fn wants_it(&self, left: &LeftOver) -> Result<bool> {
        Ok(self.set(left).await?.is_some_and(|set| set.in_range(left.ordinal)))
    }

    fn tell(&self, line: &str) {
        if matches!(self.output, Output::Text | Output::Wide) {
            // That it cannot be written ends the program by itself.
            let _ = show(&format!("{}\n", crate::text::clean(line)));
        }
    }
}

impl Report {
    /// How the process ends.
    pub(super) fn exit(&self) -> Exit {
        if self.surprise.is_some() { Exit::Refused } else { Exit::Good }
    }
}

impl View for Report {
    fn text(&self, page: &mut Page) {
        page.gap();
        let all = words::count(self.done.len(), "claim");
        page.line(&format!("{all} deleted"));
        if let Some(surprise) = &self.surprise {
            page.field("stopped", 9, surprise);
        }
        if !self.left.is_empty() {
            page.field("left", 9, &words::list(&self.left, 8));
        }
        for done in self.done.iter().filter(|done| done.fate.starts_with("the volume is kept")) {
            let command = format!("kubectl sts restore-pvc {} -n {}", done.file.display(), done.namespace);
            page.command("back", 9, &command);
        }
        page.field("backup", 9, &self.folder.display().to_string());
    }

    fn json(&self) -> Value {
        let done = self.done.iter().map(|done| {
            json!({
                "namespace": done.namespace, "name": done.claim, "volume": done.volume,
                "ifDeleted": done.fate, "manifest": done.file.display().to_string(),
            })
        });
        json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "PruneResult",
            "outcome": if self.surprise.is_some() { "stopped" } else { "reached" },
            "text": self.surprise,
            "deleted": done.collect::<Vec<_>>(),
            "left": self.left,
            "backup": self.folder.display().to_string(),
        })
    }

    fn names(&self) -> Vec<String> {
        self.done.iter().map(|done| format!("persistentvolumeclaim/{}", done.claim)).collect()
    }

    fn is_streamed(&self) -> bool {
        true
    }
}
