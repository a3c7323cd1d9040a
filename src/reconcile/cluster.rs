//! What the loop acts on: a cluster that is watched, or one that is simulated.

use tokio::time::Instant;

use crate::cluster::live::Live;
use crate::cluster::{Failure, Performed};
use crate::error::Result;
use crate::plan::Step;
use crate::snapshot::Snapshot;

/// One set that can be looked at, followed and changed.
#[expect(async_fn_in_trait, reason = "one thread, and no trait objects")]
pub trait Cluster {
    /// Shows the newest snapshot; `None` when the set is gone.
    fn with_snapshot<R>(&self, look: impl FnOnce(Option<&Snapshot<'_>>) -> R) -> R;

    /// Waits until something changed, at most until `until`.
    async fn next_change(&mut self, until: Instant);

    /// Reads the set and its pods again, so that a decision is about one moment: kinds that are watched apart may be of
    /// different age.
    ///
    /// # Errors
    /// When they cannot be read.
    async fn read_again(&mut self) -> Result<()>;

    /// Carries a write out, or has it checked without effect. It names exactly what it acts on; an [`Step::Await`] is
    /// nothing to carry out. What the server answers is part of the next snapshot.
    ///
    /// # Errors
    /// When the server refused for good, or could not be reached.
    async fn perform(&mut self, step: &Step, dry_run: bool) -> std::result::Result<Performed, Failure>;

    /// Why the newest snapshot may be old: a watch that is down.
    fn trouble(&self) -> Option<&str>;
}

impl Cluster for Live {
    fn with_snapshot<R>(&self, look: impl FnOnce(Option<&Snapshot<'_>>) -> R) -> R {
        self.look(look)
    }

    async fn next_change(&mut self, until: Instant) {
        self.changed(until).await;
    }

    async fn read_again(&mut self) -> Result<()> {
        Live::read_again(self).await
    }

    async fn perform(&mut self, step: &Step, dry_run: bool) -> std::result::Result<Performed, Failure> {
        Live::perform(self, step, dry_run).await
    }

    fn trouble(&self) -> Option<&str> {
        self.broken()
    }
}
