//! What was deleted, what is left, and how to go on.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::commands::act::Account;
use crate::error::Exit;
use crate::kinds::StatefulSet;
use crate::paste::{Command, kubectl, sts};
use crate::plan::prune::phase::{Claim, End};
use crate::plan::prune::{Claims, Item, Known, Prune};
use crate::reached;
use crate::reconcile::Outcome;
use crate::render::Page;
use crate::words;

/// What came of it.
pub(super) struct Report {
    done: Vec<Done>,
    /// Volumes that were given back for an earlier run, with their PVCs.
    finished: Vec<(String, String)>,
    /// PVCs and volumes that came to be needed in the last moment.
    kept: Vec<Kept>,
    /// PVCs with which something was begun that is not finished, and how they stand.
    begun: Vec<String>,
    /// PVCs that were chosen and are not deleted, or whose volume is not as it is to be.
    left: Vec<String>,
    unjudged: Vec<String>,
    folder: PathBuf,
    /// Whether only this run has written to the folder.
    is_fresh: bool,
}

/// A PVC that is gone.
struct Done {
    namespace: String,
    claim: String,
    volume: String,
    /// Whether its volume keeps the data.
    is_kept: bool,
    fate: &'static str,
    file: PathBuf,
}

/// A PVC that is needed after all, and how it comes back.
struct Kept {
    namespace: String,
    claim: String,
    volume: String,
    /// Whether the volume has the data for certain.
    is_safe: bool,
    commands: Vec<Command>,
}

impl Kept {
    fn of(item: &Item, set: Option<&StatefulSet>, file: Option<&Path>, is_safe: bool) -> Kept {
        let Item { pvc, volume, set: name, ordinal, .. } = item;
        let (namespace, claim) = (&pvc.namespace, &pvc.name);
        let mut commands = Vec::new();
        let wants = set.filter(|set| set.in_range(*ordinal));
        let scale = |to: i32| {
            let scale = kubectl("scale").joined("statefulset/", name).joined("--replicas=", to);
            scale.namespace(namespace)
        };
        if is_safe {
            if let Some(set) = wants {
                commands.push(scale(ordinal.saturating_sub(set.start())));
            }
            commands.push(kubectl("delete pvc").name(claim).namespace(namespace).with("--ignore-not-found"));
            let file = file
                .map_or_else(|| format!("{namespace}.{claim}.pvc.yaml"), |file| file.display().to_string());
            commands.push(sts("restore-pvc").path(&file).namespace(namespace));
            if let Some(set) = wants {
                commands.push(scale(set.replicas()));
            }
        } else if !volume.is_empty() {
            let retain = json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}});
            commands.push(kubectl("patch pv").name(volume).with("--type=merge").patch(&retain));
        }
        let (namespace, claim, volume) = (namespace.clone(), claim.clone(), volume.clone());
        Kept { namespace, claim, volume, is_safe, commands }
    }
}

impl Report {
    /// What has become of each PVC; its manifest is in the file of the same place.
    pub(super) fn of(
        now: &Claims,
        goal: &Prune,
        files: &[Option<PathBuf>],
        (folder, is_fresh): (&Path, bool),
        unjudged: Vec<String>,
    ) -> Report {
        let mut report = Report {
            done: Vec::new(),
            finished: Vec::new(),
            kept: Vec::new(),
            begun: Vec::new(),
            left: Vec::new(),
            unjudged,
            folder: folder.to_owned(),
            is_fresh,
        };
        for (known, file) in now.known.iter().zip(files) {
            report.take(known, goal, file.as_deref());
        }
        report
    }

    fn take(&mut self, known: &Known, goal: &Prune, file: Option<&Path>) {
        let Known { item, set, .. } = known;
        let end = goal.end(known);
        if known.is_begun && end.is_none() {
            self.begun.push(standing(known));
        }
        let is_safe = match end {
            Some(End::Kept(_)) => Some(true),
            Some(End::Late(_)) => Some(false),
            Some(End::Done | End::Stays(_)) | None => None,
        };
        if let Some(is_safe) = is_safe {
            self.kept.push(Kept::of(item, set.as_ref(), file, is_safe));
        }
        let (namespace, claim) = (item.pvc.namespace.clone(), item.pvc.name.clone());
        let is_deleted = known.is_gone() && item.was_there;
        if let Some(file) = file.filter(|_| is_deleted) {
            self.done.push(Done {
                namespace,
                claim: claim.clone(),
                volume: item.volume.clone(),
                is_kept: is_safe == Some(true) || item.keeps_volume,
                fate: if is_safe == Some(true) { "the PV is kept" } else { item.fate },
                file: file.to_owned(),
            });
        }
        let is_settled = goal.is_settled(known);
        if is_settled && !item.was_there {
            self.finished.push((item.volume.clone(), claim));
        } else if !is_settled && (!is_deleted || end.is_none()) {
            self.left.push(claim);
        }
    }

    /// Why it ended before all was done, and what is half done.
    fn end(&self, page: &mut Page, outcome: &Outcome, sentence: &str) {
        match outcome {
            Outcome::Reached => {}
            Outcome::Refused(refusal) => {
                page.field("stopped", 9, &format!("{sentence} ({})", refusal.reason));
                page.hint("try", 9, &refusal.hint);
            }
            Outcome::Drifted(_)
            | Outcome::Stuck(_)
            | Outcome::Unseen(_)
            | Outcome::Failed(..)
            | Outcome::Error(_)
            | Outcome::TimedOut
            | Outcome::Interrupted
            | Outcome::Gone => page.field("stopped", 9, sentence),
        }
        for begun in &self.begun {
            page.field("begun", 9, begun);
        }
    }

    /// One command that restores everything, where the folder holds nothing but PVCs whose PVs are kept.
    fn whole_folder(&self) -> Option<Command> {
        let is_whole = self.is_fresh && self.done.len() > 1 && self.kept.is_empty() && self.left.is_empty();
        (is_whole && self.done.iter().all(|done| done.is_kept))
            .then(|| sts("restore-pvc").path(&self.folder.display().to_string()))
    }

    /// What brings back what is needed again, or was kept.
    fn way_back(&self, page: &mut Page) {
        for kept in &self.kept {
            let Kept { claim, volume, .. } = kept;
            let what = match kept.is_safe {
                true => format!(
                    "the data of {claim} is on PV {volume}; to use it again, stop the pod that uses the PVC, then create the PVC from the backup (a new PVC of that name is deleted first, with the data written to it):"
                ),
                false => {
                    format!(
                        "PV {volume} of {claim} is not kept; as long as it exists, this command keeps it:"
                    )
                }
            };
            page.field("kept", 9, &what);
            for command in &kept.commands {
                page.command("", 9, &command.to_string());
            }
        }
        if let Some(command) = self.whole_folder() {
            page.command("restore", 9, &command.to_string());
            return;
        }
        for done in self.done.iter().filter(|done| done.is_kept) {
            if self.kept.iter().any(|kept| (&kept.claim, &kept.namespace) == (&done.claim, &done.namespace)) {
                continue;
            }
            let command = sts("restore-pvc").path(&done.file.display().to_string());
            page.command("restore", 9, &command.namespace(&done.namespace).to_string());
        }
    }
}

/// How a PVC stands with which something was begun.
fn standing(known: &Known) -> String {
    let Item { pvc, volume, .. } = &known.item;
    let is = match known.state.claim {
        Claim::There => "is not deleted",
        Claim::Leaving => "is being deleted",
        Claim::Gone | Claim::Replaced => "is deleted",
    };
    let keeps = match known.state.volume.is_noted() {
        true => format!("; until that is finished, PV {volume} has reclaim policy Retain"),
        false => String::new(),
    };
    format!("{} {is}{keeps}", pvc.name)
}

impl Account for Report {
    fn state(&self) -> String {
        words::count(self.done.len(), "PVC") + " deleted"
    }

    fn text(&self, page: &mut Page, outcome: &Outcome, sentence: &str) {
        page.gap();
        page.line(&format!("{}{}", self.state(), reached::suffix()));
        for (volume, claim) in &self.finished {
            page.field("finished", 9, &format!("PV {volume} of {claim}, which an earlier run had deleted"));
        }
        self.end(page, outcome, sentence.trim_start_matches("stopped: "));
        if !self.left.is_empty() {
            page.field("left", 9, &words::list(&self.left, 8));
        }
        for unjudged in &self.unjudged {
            page.field("unread", 9, &format!("other PVCs were kept: {unjudged}"));
        }
        self.way_back(page);
        page.field("backup", 9, &self.folder.display().to_string());
        if !self.left.is_empty() {
            page.field("next", 9, "run the same command again: it shows what is left to do and asks");
        }
    }

    fn json(&self, value: &mut Value) {
        let done = self.done.iter().map(|done| {
            json!({
                "namespace": done.namespace, "name": done.claim, "volume": done.volume,
                "ifDeleted": done.fate, "manifest": done.file.display().to_string(),
            })
        });
        let finished = self.finished.iter().map(|(volume, claim)| json!({"volume": volume, "claim": claim}));
        let kept = self.kept.iter().map(|kept| {
            json!({
                "namespace": kept.namespace, "name": kept.claim, "volume": kept.volume,
                "isSafe": kept.is_safe, "commands": kept.commands.iter().filter_map(Command::line).collect::<Vec<_>>(),
            })
        });
        value["deleted"] = done.collect();
        value["finished"] = finished.collect();
        value["kept"] = kept.collect();
        value["begun"] = self.begun.clone().into();
        value["left"] = self.left.clone().into();
        value["notJudged"] = self.unjudged.clone().into();
        value["backup"] = self.folder.display().to_string().into();
    }

    fn names(&self) -> Vec<String> {
        self.done.iter().map(|done| format!("persistentvolumeclaim/{}", done.claim)).collect()
    }

    /// That PVCs could not be judged is no good end, if it was to be all of them.
    fn exit(&self, outcome: &Outcome) -> Option<Exit> {
        let is_unjudged = matches!(outcome, Outcome::Reached) && !self.unjudged.is_empty();
        is_unjudged.then_some(Exit::Refused)
    }

    fn is_always_told(&self) -> bool {
        true
    }
}
