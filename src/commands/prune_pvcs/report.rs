//! What was deleted, what is left, and how to go on.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::look::Item;
use crate::error::Exit;
use crate::kinds::StatefulSet;
use crate::paste::{Command, kubectl, sts};
use crate::render::{Page, View};
use crate::words;

/// What came of it.
pub(super) struct Report {
    pub done: Vec<Done>,
    /// Volumes that were handed back for an earlier run, with their PVCs.
    pub finished: Vec<(String, String)>,
    /// PVCs and volumes that came to be needed in the last moment.
    pub kept: Vec<Kept>,
    /// PVCs that were chosen and are not deleted.
    pub left: Vec<String>,
    pub is_interrupted: bool,
    surprise: Option<(String, Exit)>,
    unjudged: Vec<String>,
    folder: PathBuf,
}

/// A PVC that is gone.
pub(super) struct Done {
    pub namespace: String,
    pub claim: String,
    pub volume: String,
    pub fate: &'static str,
    pub file: PathBuf,
}

/// A PVC that is needed after all, and how it comes back.
pub(super) struct Kept {
    namespace: String,
    claim: String,
    volume: String,
    /// Whether the volume has the data for certain.
    is_safe: bool,
    commands: Vec<Command>,
}

impl Kept {
    pub(super) fn of(item: &Item, set: Option<&StatefulSet>, file: Option<&Path>, is_safe: bool) -> Kept {
        let Item { namespace, claim, volume, set: name, ordinal, .. } = item;
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
    pub(super) fn new(folder: &Path, unjudged: Vec<String>) -> Report {
        Report {
            done: Vec::new(),
            finished: Vec::new(),
            kept: Vec::new(),
            left: Vec::new(),
            is_interrupted: false,
            surprise: None,
            unjudged,
            folder: folder.to_owned(),
        }
    }

    /// Notes the surprise that it stops at.
    pub(super) fn stop(&mut self, claim: &str, text: &str, exit: Exit) {
        self.surprise = Some((format!("{claim}: {text}"), exit));
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.surprise.is_some()
    }

    /// How the process ends.
    pub(super) fn exit(&self) -> Exit {
        match &self.surprise {
            Some((_, exit)) => *exit,
            None if self.is_interrupted => Exit::Interrupted,
            None if !self.unjudged.is_empty() => Exit::Refused,
            None => Exit::Good,
        }
    }

    fn outcome(&self) -> &'static str {
        match &self.surprise {
            _ if self.exit() == Exit::Interrupted => "interrupted",
            None => "reached",
            Some(_) => "stopped",
        }
    }
}

impl View for Report {
    fn text(&self, page: &mut Page) {
        page.gap();
        let all = words::count(self.done.len(), "claim");
        page.line(&format!("{all} deleted"));
        for (volume, claim) in &self.finished {
            page.field(
                "finished",
                9,
                &format!("volume {volume} of {claim}, which an earlier run had deleted"),
            );
        }
        if let Some((surprise, _)) = &self.surprise {
            page.field("stopped", 9, surprise);
        }
        if self.is_interrupted {
            page.field("stopped", 9, "interrupted");
        }
        if !self.left.is_empty() {
            page.field("left", 9, &words::list(&self.left, 8));
        }
        for unjudged in &self.unjudged {
            page.field("unread", 9, &format!("other PVCs were kept: {unjudged}"));
        }
        for kept in &self.kept {
            let Kept { claim, volume, .. } = kept;
            let what = match kept.is_safe {
                true => format!(
                    "the data of {claim} is on volume {volume}; to use it again, stop what uses the PVC, then create the PVC from the backup (a new PVC of the name is deleted first, with what was written to it):"
                ),
                false => {
                    format!("volume {volume} of {claim} is not kept; as long as it exists, this keeps it:")
                }
            };
            page.field("kept", 9, &what);
            for command in &kept.commands {
                page.command("", 9, &command.to_string());
            }
        }
        for done in self.done.iter().filter(|done| done.fate.starts_with("the volume is kept")) {
            if self.kept.iter().any(|kept| (&kept.claim, &kept.namespace) == (&done.claim, &done.namespace)) {
                continue;
            }
            let command = sts("restore-pvc").path(&done.file.display().to_string());
            page.command("back", 9, &command.namespace(&done.namespace).to_string());
        }
        page.field("backup", 9, &self.folder.display().to_string());
        if self.is_interrupted || (self.has_stopped() && !self.left.is_empty()) {
            page.field("next", 9, "run the same command again: it shows what is left, and asks");
        }
    }

    fn json(&self) -> Value {
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
        json!({
            "apiVersion": "kubectl-sts/v1",
            "kind": "PruneResult",
            "outcome": self.outcome(),
            "text": self.surprise.as_ref().map(|(text, _)| text),
            "deleted": done.collect::<Vec<_>>(),
            "finished": finished.collect::<Vec<_>>(),
            "kept": kept.collect::<Vec<_>>(),
            "left": self.left,
            "notJudged": self.unjudged,
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
