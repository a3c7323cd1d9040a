//! Deleting, one PVC at a time: look, decide, write, look again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Args;
use super::backup::Backup;
use super::look::{Item, look};
use super::report::{Done, Kept, Report};
use crate::cluster::Performed;
use crate::cluster::claims::{self, Changed};
use crate::cluster::connect::Connection;
use crate::error::{Error, Exit, Result};
use crate::kinds::{CLAIM_UID, EARLIER_POLICY, RETAIN, StatefulSet};
use crate::plan::prune::phase::{Claim, End, Manner, Phase, State, Volume, next};
use crate::plan::prune::{LeftOver, Unfinished, Wanted};
use crate::reconcile::Acting;
use crate::render::Output;
use crate::render::live::show;
use crate::snapshot::attribution::Reason;
use crate::time::after;

/// How long a deleted PVC may take to be gone; only controllers of Kubernetes are waited for.
const GOING: Duration = Duration::from_secs(60);
/// How much longer it may take after an interruption.
const HURRY: Duration = Duration::from_secs(5);
/// How long a snapshot may take.
const SNAPSHOT: Duration = Duration::from_secs(600);
/// How often a write is tried against conflicts.
const TRIES: u32 = 6;

/// The work that was agreed to.
pub(super) struct Work<'a> {
    pub connection: &'a Connection,
    pub args: &'a Args,
    pub output: Output,
    pub wanted: Wanted,
    pub manner: Manner,
    /// What could not be judged because it could not be read.
    pub unjudged: Vec<String>,
}

/// How it ended with one PVC.
struct Ended {
    end: End,
    claim: Claim,
    set: Option<StatefulSet>,
    /// Whether this run has deleted the PVC.
    sent: bool,
    /// The reclaim policy that the volume was given back to.
    handed: Option<String>,
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

/// The reason of a deletion that takes too long.
const HELD: &str = "held";

/// What was not meant to come of one PVC.
fn surprise(end: &End, item: &Item, is_gone: bool, sent: bool) -> Option<String> {
    let volume = &item.volume;
    let text = match end {
        End::Done if sent || !item.was_there => return None,
        End::Done => "it was deleted by another client".to_owned(),
        End::Stays(Reason { word: "changed" | "another" | "gone", text }) => text.clone(),
        End::Stays(Reason { text, .. }) => format!("not deleted any more: {text}"),
        End::Kept(Reason { word: HELD, text }) => {
            format!("its deletion was asked for, but {text}; until then volume {volume} is kept")
        }
        End::Late(Reason { word: HELD, text }) => format!("its deletion was asked for, but {text}"),
        End::Kept(Reason { text, .. }) => {
            let how = match is_gone {
                true => format!("its PVC is gone, but {text}"),
                false => format!("it was changed in the last moment: {text}; its deletion waits for that"),
            };
            format!("{how}; volume {volume} keeps the data (reclaim policy Retain)")
        }
        End::Late(Reason { text, .. }) => match is_gone {
            true => format!("it is gone, but {text}: its next user gets a new, empty PVC"),
            false => format!(
                "it was changed in the last moment: {text}; its deletion waits for that, and then volume {volume} \
                 goes too"
            ),
        },
    };
    Some(text)
}

/// Whether an interruption was asked for by now.
fn is_interrupted(acting: &Acting) -> bool {
    acting.is_interrupted()
}

impl Work<'_> {
    /// Writes all manifests, then deletes PVC by PVC, and stops at the first surprise.
    pub(super) async fn run(mut self, doomed: Vec<LeftOver>, unfinished: Vec<Unfinished>) -> Result<Report> {
        let acting = Acting::begin();
        let retain = self.args.retain;
        let mut backup = Backup::open(self.args.backup.as_deref(), retain)?;
        let mut rest: Vec<(Item, Option<PathBuf>)> = Vec::new();
        // What an earlier run has left half done comes first.
        for left in &unfinished {
            backup.write_volume(self.connection, left).await?;
            rest.push((Item::unfinished(left, retain), None));
        }
        for left in &doomed {
            if is_interrupted(&acting) {
                return Err(Error::refused("interrupted; nothing was changed").ending(Exit::Interrupted));
            }
            let file = backup.write(self.connection, left).await?;
            rest.push((Item::of(left, retain), Some(file)));
        }
        backup.finish()?;
        self.tell(&format!("manifests written to {}", backup.path().display()));
        let mut report = Report::new(backup.path(), std::mem::take(&mut self.unjudged));
        let mut rest = rest.into_iter();
        for (item, file) in rest.by_ref() {
            if is_interrupted(&acting) {
                report.is_interrupted = true;
                report.left.push(item.claim);
                break;
            }
            // Whatever goes wrong, what is done and what is left must be told.
            match self.remove(&item, &acting).await {
                Ok(ended) => self.take(&mut report, item, file.as_deref(), ended, is_interrupted(&acting)),
                Err(error) => {
                    report.stop(&item.claim, &in_one_line(&error), error.exit());
                    report.left.push(item.claim);
                }
            }
            report.is_interrupted = is_interrupted(&acting);
            if report.has_stopped() {
                break;
            }
        }
        report.left.extend(rest.map(|(item, _)| item.claim));
        report.is_interrupted &= !report.left.is_empty() || report.has_stopped();
        Ok(report)
    }

    /// Notes what became of one PVC.
    fn take(&self, report: &mut Report, item: Item, file: Option<&Path>, ended: Ended, is_interrupted: bool) {
        let Ended { end, claim, set, sent, handed } = ended;
        let is_gone = matches!(claim, Claim::Gone | Claim::Replaced);
        let surprise = surprise(&end, &item, is_gone, sent);
        let is_held =
            matches!(&end, End::Kept(Reason { word: HELD, .. }) | End::Late(Reason { word: HELD, .. }));
        if matches!(&end, End::Kept(_) | End::Late(_)) && !is_held {
            let is_kept = matches!(end, End::Kept(_));
            report.kept.push(Kept::of(&item, set.as_ref(), file, is_kept));
        }
        match &surprise {
            Some(text) => {
                let exit = if is_held && is_interrupted { Exit::Interrupted } else { Exit::Refused };
                report.stop(&item.claim, text, exit);
            }
            None => {
                let what = if item.was_there { "deleted" } else { "finished" };
                let handed = handed.as_deref().map_or(String::new(), |policy| {
                    format!("; volume {} has the reclaim policy {policy} again", item.volume)
                });
                self.tell(&format!("{}: {what}{handed}", item.claim));
            }
        }
        match (is_gone, item.was_there, file) {
            (true, true, Some(file)) => report.done.push(Done {
                namespace: item.namespace,
                claim: item.claim,
                volume: item.volume,
                fate: if matches!(end, End::Kept(_)) { "the volume is kept" } else { item.fate },
                file: file.to_owned(),
            }),
            (true, false, _) if surprise.is_none() => report.finished.push((item.volume, item.claim)),
            _ => report.left.push(item.claim),
        }
    }

    /// Removes one PVC: looks, decides, writes, and looks again, until nothing is left to do.
    async fn remove(&mut self, item: &Item, acting: &Acting) -> Result<Ended> {
        let mut course = Course {
            item,
            last: None,
            sent: false,
            refused: None,
            pending: None,
            tries: TRIES,
            since: None,
            until: None,
        };
        let mut snapshot_tries: u32 = if self.args.snapshot.is_some() { 30 } else { 0 };
        let mut has_snapshot = self.args.snapshot.is_none() || !item.was_there;
        let mut handed = None;
        loop {
            let looked = look(self.connection, item, &self.wanted).await?;
            let state = course.state(&looked.state);
            let against = state.against.as_ref().map(|against| against.word);
            // The snapshot controller holds the PVC a moment longer than the snapshot takes.
            let is_held = self.args.snapshot.is_some() && has_snapshot && against == Some("finalizer");
            if is_held && snapshot_tries > 0 && state.claim == Claim::There {
                snapshot_tries = snapshot_tries.saturating_sub(1);
                sleep(Duration::from_secs(1)).await;
                continue;
            }
            let phase = next(self.manner, &state);
            // The lists are younger than the PVC that was read first.
            if state.claim == Claim::There && matches!(against, Some("gone" | "deleting")) {
                course.again(&format!("PVC {} is being deleted by another client", item.claim))?;
                continue;
            }
            course.verify(&phase)?;
            if !has_snapshot && matches!(phase, Phase::Guard | Phase::Keep | Phase::Delete) {
                self.snapshot(item, acting).await?;
                has_snapshot = true;
                continue;
            }
            if let (Phase::Delete, Some(Phase::Keep)) = (&phase, &course.last) {
                self.tell(&format!("{}: volume {} has the reclaim policy Retain", item.claim, item.volume));
            }
            match phase {
                Phase::End(end) => {
                    return Ok(Ended { end, claim: state.claim, set: looked.set, sent: course.sent, handed });
                }
                Phase::Wait => {
                    if let Some(end) = course.wait(&state, acting).await {
                        return Ok(Ended {
                            end,
                            claim: state.claim,
                            set: looked.set,
                            sent: course.sent,
                            handed,
                        });
                    }
                }
                Phase::Delete => match &looked.fresh {
                    Some(fresh) => course.deleted(claims::delete(self.connection, &fresh.claim, false).await),
                    None => Ok(()),
                }?,
                Phase::Guard | Phase::Keep | Phase::HandBack(_) | Phase::PutBack(_) => {
                    let change = change(&phase, item, &state);
                    let changed = claims::patch_volume(self.connection, &looked.volume, change).await?;
                    if let (Changed::Done, Phase::HandBack(policy)) = (&changed, &phase) {
                        handed = Some(policy.clone());
                    }
                    self.changed(&mut course, phase, changed)?;
                }
            }
        }
    }

    /// What follows from the answer to a change of the volume.
    fn changed(&mut self, course: &mut Course<'_>, phase: Phase, changed: Changed) -> Result<()> {
        let (claim, volume) = (&course.item.claim, &course.item.volume);
        match changed {
            Changed::Done => course.last = Some(phase),
            Changed::Gone => course.again(&format!("volume {volume} is gone"))?,
            Changed::Conflict(message) => course.again(&message)?,
            Changed::Forbidden(message) if phase == Phase::Guard && self.args.accept_race => {
                self.manner = Manner::Unguarded;
                self.tell(&format!(
                    "{claim}: volume {volume} cannot be kept until the end (--accept-race): {message}"
                ));
            }
            Changed::Forbidden(message) if phase == Phase::Guard => {
                return Err(race(&format!("volume {volume} may not be patched; {claim} was not deleted"))
                    .because(message));
            }
            Changed::Forbidden(message) => {
                return Err(Error::refused(format!("volume {volume} may not be patched; it is kept"))
                    .because(message)
                    .reason("forbidden"));
            }
        }
        Ok(())
    }

    async fn snapshot(&mut self, item: &Item, acting: &Acting) -> Result<()> {
        let Some(class) = &self.args.snapshot else { return Ok(()) };
        let name = format!("{}-{}", item.claim, item.uid.get(..8).unwrap_or_default());
        self.wanted.own_snapshots.push(name.clone());
        let made = claims::snapshot(self.connection, &item.namespace, &item.claim, class, &name, SNAPSHOT);
        tokio::select! {
            made = made => made?,
            () = acting.interrupted() => {
                let what = format!("interrupted while VolumeSnapshot {name} was made; {} was not deleted", item.claim);
                return Err(Error::refused(what).ending(Exit::Interrupted));
            }
        }
        self.tell(&format!("{}: VolumeSnapshot {name} can be used", item.claim));
        Ok(())
    }

    fn tell(&self, line: &str) {
        if matches!(self.output, Output::Text | Output::Wide) {
            // That it cannot be written ends the program by itself.
            let _ = show(&format!("{}\n", crate::text::clean(line)));
        }
    }
}

/// An error as a part of an account.
pub(in crate::commands) fn in_one_line(error: &Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join("; ").trim_start_matches("error: ").to_owned()
}

/// Why a PVC whose volume cannot be kept until the end is not deleted.
pub(super) fn race(what: &str) -> Error {
    Error::refused(what)
        .reason("last-moment-race")
        .hint("a pod that starts to use the PVC in the moment of its deletion would lose its data: the volume must be set to Retain until then\nget patch on persistentvolumes, or take the risk: --accept-race")
}

/// The change of a volume that a phase makes, as a merge patch without preconditions.
fn change(phase: &Phase, item: &Item, state: &State) -> Value {
    let (policy, note) = match phase {
        Phase::HandBack(policy) | Phase::PutBack(policy) => (policy.as_str(), Value::Null),
        Phase::Guard => match &state.volume {
            Volume::Its { policy, .. } => (RETAIN, policy.as_str().into()),
            _ => (RETAIN, Value::Null),
        },
        _ => (RETAIN, Value::Null),
    };
    let of = if note.is_null() { Value::Null } else { item.uid.as_str().into() };
    json!({
        "metadata": {"annotations": {EARLIER_POLICY: note, CLAIM_UID: of}},
        "spec": {"persistentVolumeReclaimPolicy": policy},
    })
}

/// What was done so far about one PVC.
struct Course<'a> {
    item: &'a Item,
    /// The write that the server has accepted last.
    last: Option<Phase>,
    /// Whether it has accepted the deletion.
    sent: bool,
    /// Why it has refused the deletion: the server's message.
    refused: Option<String>,
    /// Whether there was a note of an earlier run, whose deletion may still arrive.
    pending: Option<bool>,
    /// How many conflicts are left.
    tries: u32,
    /// Since when it waits.
    since: Option<Instant>,
    /// Until when it waits.
    until: Option<Instant>,
}

impl Course<'_> {
    /// The state, with what only this run knows.
    fn state(&mut self, seen: &State) -> State {
        let is_noted = matches!(&seen.volume, Volume::Its { noted: Some(_), .. });
        let pending = *self.pending.get_or_insert(is_noted);
        let mut state = State { pending, ..seen.clone() };
        if let (Claim::There, Some(message)) = (state.claim, &self.refused) {
            let why = state.against.as_ref().map_or(message, |against| &against.text);
            let text = format!("it was changed in the last moment, so it was not deleted: {why}");
            state.against = Some(Reason { word: "changed", text });
        }
        state
    }

    /// A write that was answered with success has to be seen.
    fn verify(&self, phase: &Phase) -> Result<()> {
        let Item { claim, volume, .. } = self.item;
        let what = match phase {
            Phase::Delete if self.sent => format!("PVC {claim} was deleted, but it is there as before"),
            Phase::Delete | Phase::Wait | Phase::End(_) => return Ok(()),
            write if self.last.as_ref() == Some(write) => {
                format!("volume {volume} was patched, but its reclaim policy is as before")
            }
            _ => return Ok(()),
        };
        Err(Error::cluster(format!("the server answered that {what}")))
    }

    /// Counts a conflict.
    fn again(&mut self, why: &str) -> Result<()> {
        self.tries = self.tries.saturating_sub(1);
        if self.tries > 0 {
            return Ok(());
        }
        let Item { claim, volume, .. } = self.item;
        Err(Error::refused(format!("{claim} or its volume {volume} keeps changing")).because(why))
    }

    fn deleted(&mut self, answer: Result<Performed>) -> Result<()> {
        match answer? {
            Performed::Done => {
                self.sent = true;
                self.last = Some(Phase::Delete);
                Ok(())
            }
            Performed::AlreadySo => self.again("the PVC is gone"),
            Performed::Conflict(message) | Performed::TooManyRequests(message) => {
                self.refused = Some(message);
                Ok(())
            }
        }
    }

    /// Waits a little; says how it ended when it has taken too long.
    async fn wait(&mut self, state: &State, acting: &Acting) -> Option<End> {
        self.since.get_or_insert_with(Instant::now);
        let until = *self.until.get_or_insert_with(|| after(Instant::now(), GOING));
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let held = || {
                let what = if state.claim == Claim::Leaving {
                    "it is still there"
                } else {
                    "its volume is not released"
                };
                let waited = self.since.map_or(0, |since| since.elapsed().as_secs());
                let text = format!("{what} after {waited}s: something holds it");
                Reason { word: HELD, text }
            };
            let why = state.against.clone().unwrap_or_else(held);
            let is_kept = matches!(&state.volume, Volume::Its { policy, .. } if policy == RETAIN);
            return Some(if is_kept { End::Kept(why) } else { End::Late(why) });
        }
        let pause = sleep(left.min(Duration::from_millis(300)));
        tokio::select! {
            () = pause => {}
            () = acting.interrupted() => {
                self.until = Some(until.min(after(Instant::now(), HURRY)));
                sleep(left.min(Duration::from_millis(300))).await;
            }
        }
        None
    }
}
