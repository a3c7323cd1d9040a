//! Tells what happens while PVCs are deleted.

use std::collections::BTreeSet;

use crate::kinds::RETAIN;
use crate::plan::prune::phase::{End, Manner, Volume};
use crate::plan::prune::{Claims, Deletions, Known, Prune, SnapshotState};
use crate::reconcile::Observer;
use crate::render::Output;
use crate::render::live::show;

/// Tells what happens, each thing once.
pub(super) struct ProgressReporter<'g> {
    goal: &'g Prune,
    output: Output,
    told: BTreeSet<String>,
}

impl ProgressReporter<'_> {
    pub(super) fn new(goal: &Prune, output: Output) -> ProgressReporter<'_> {
        ProgressReporter { goal, output, told: BTreeSet::new() }
    }

    pub(super) fn tell(&mut self, line: String) {
        if !self.told.contains(&line) {
            // That it cannot be written ends the program by itself.
            let _ = show(&format!("{}\n", crate::text::clean(&line)), self.output);
            self.told.insert(line);
        }
    }

    fn lines(&self, known: &Known) -> Vec<String> {
        let (claim, volume) = (&known.item.pvc.name, &known.item.volume);
        let mut lines = Vec::new();
        if known.snapshot == SnapshotState::Ready {
            lines.push(format!("{claim}: VolumeSnapshot {} is ready to use", known.snapshot_name()));
        }
        if let Some(message) = known.forbidden.as_ref().filter(|_| self.goal.accept_race) {
            lines.push(format!(
                "{claim}: PV {volume} cannot be kept until the PVC is gone (--accept-race): {message}"
            ));
        }
        let is_kept = matches!(&known.state.volume, Volume::Its { policy, .. } if policy == RETAIN);
        if self.goal.manner == Manner::Keep && known.is_begun && is_kept {
            lines.push(format!("{claim}: PV {volume} has reclaim policy Retain"));
        }
        if self.goal.is_settled(known) && self.goal.end(known) == Some(End::Done) {
            let what = if known.item.was_there { "deleted" } else { "finished" };
            let handed = known
                .handed_back
                .as_deref()
                .map_or(String::new(), |policy| format!("; PV {volume} has reclaim policy {policy} again"));
            lines.push(format!("{claim}: {what}{handed}"));
        }
        lines
    }
}

impl Observer<Deletions> for ProgressReporter<'_> {
    fn look(&mut self, now: &Claims) {
        let read = now.known.iter().filter(|known| known.is_read);
        let lines: Vec<String> = read.flat_map(|known| self.lines(known)).collect();
        for line in lines {
            self.tell(line);
        }
    }

    // What cannot be read is an error, if it lasts.
    fn trouble(&mut self, _why: Option<&str>) {}
}
