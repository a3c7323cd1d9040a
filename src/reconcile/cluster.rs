//! What the loop acts on: a set that is watched, PVCs that are read again and again, or a cluster that is simulated.

use tokio::time::Instant;

use super::Facts;
use crate::cluster::deletions::Deletions;
use crate::cluster::live::Live;
use crate::cluster::returns::Returns;
use crate::cluster::{Failure, Performed};
use crate::error::Result;
use crate::plan::{OneSet, Step, Subject, prune, restore};
use crate::snapshot::Snapshot;

/// What there is of a cluster at one moment, for what the loop is about.
pub type Now<'a, C> = <<C as Cluster>::Of as Subject>::Now<'a>;

/// Something that can be looked at, followed and changed.
#[expect(async_fn_in_trait, reason = "one thread, and no trait objects")]
pub trait Cluster {
    /// What it is about: one set, or PVCs.
    type Of: Facts;

    /// Whether changes come by themselves. If not, it is read again after each pause.
    const IS_WATCHED: bool = true;

    /// Shows how things stand; `None` when the set is gone.
    fn with_now<R>(&self, look: impl FnOnce(Option<&Now<'_, Self>>) -> R) -> R;

    /// Whether what was read last is about this step: where there are many objects, they are read one after another.
    fn is_read(&self, _step: &Step) -> bool {
        true
    }

    /// Waits until something changed, at most until `until`.
    async fn next_change(&mut self, until: Instant);

    /// Reads again what a decision about this step needs, so that it is about one moment: kinds that are watched apart may
    /// be of different age.
    ///
    /// # Errors
    /// When it cannot be read.
    async fn read_again(&mut self, about: Option<&Step>) -> Result<()>;

    /// Carries a write out, or has it checked without effect. It names exactly what it acts on; a step that waits is
    /// nothing to carry out. What the server answers is part of how things stand then.
    ///
    /// # Errors
    /// When the server refused for good, or could not be reached.
    async fn perform(&mut self, step: &Step, dry_run: bool) -> std::result::Result<Performed, Failure>;

    /// Why what is known may be old: a watch that is down.
    fn trouble(&self) -> Option<&str> {
        None
    }
}

impl Cluster for Live {
    type Of = OneSet;

    fn with_now<R>(&self, look: impl FnOnce(Option<&Snapshot<'_>>) -> R) -> R {
        self.look(look)
    }

    async fn next_change(&mut self, until: Instant) {
        self.changed(until).await;
    }

    async fn read_again(&mut self, _about: Option<&Step>) -> Result<()> {
        Live::read_again(self).await
    }

    async fn perform(&mut self, step: &Step, dry_run: bool) -> std::result::Result<Performed, Failure> {
        Live::perform(self, step, dry_run).await
    }

    fn trouble(&self) -> Option<&str> {
        self.broken()
    }
}

/// PVCs are looked at by lists, one after another.
macro_rules! listed {
    ($cluster:ty, $of:ty, $now:ty) => {
        impl Cluster for $cluster {
            type Of = $of;

            const IS_WATCHED: bool = false;

            fn with_now<R>(&self, look: impl FnOnce(Option<&$now>) -> R) -> R {
                look(Some(self.now()))
            }

            fn is_read(&self, step: &Step) -> bool {
                <$cluster>::is_read(self, step)
            }

            async fn next_change(&mut self, until: Instant) {
                tokio::time::sleep_until(until).await;
            }

            async fn read_again(&mut self, about: Option<&Step>) -> Result<()> {
                <$cluster>::read_again(self, about).await
            }

            async fn perform(
                &mut self,
                step: &Step,
                dry_run: bool,
            ) -> std::result::Result<Performed, Failure> {
                <$cluster>::perform(self, step, dry_run).await
            }
        }
    };
}

listed!(Deletions, prune::Deletions, prune::Claims);
listed!(Returns, restore::Returns, restore::Returning);
