//! PVCs that are to be brought back: each and its volume, read again before each decision.

use super::claims::{claim_path, get, volume_path};
use super::connect::Connection;
use super::deletions::typed;
use super::perform::{self, Failure, Performed, Seen};
use crate::error::Result;
use crate::plan::Step;
use crate::plan::restore::{Deleted, Remains, Returning};

/// PVCs that are to be brought back.
pub struct Returns {
    connection: Connection,
    now: Returning,
    /// The PVC that was read last.
    current: usize,
}

impl Returns {
    /// Reads what there is of each.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn start(connection: Connection, all: Vec<Deleted>) -> Result<Returns> {
        let mut remains = Vec::new();
        for deleted in all {
            remains.push(read(&connection, deleted).await?);
        }
        let now = Returning { taken_at: connection.clock().now, all: remains };
        Ok(Returns { connection, now, current: 0 })
    }

    /// How things stand.
    pub fn now(&self) -> &Returning {
        &self.now
    }

    fn index_of(&self, step: &Step) -> Option<usize> {
        let pvc = step.pvc()?;
        self.now.all.iter().position(|remains| remains.deleted.pvc == *pvc)
    }

    /// Whether what was read last is about this step.
    pub fn is_read(&self, step: &Step) -> bool {
        self.index_of(step) == Some(self.current)
    }

    /// Reads the PVC of this step and its volume again, or those that were read last.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn read_again(&mut self, about: Option<&Step>) -> Result<()> {
        let index = about.and_then(|step| self.index_of(step)).unwrap_or(self.current);
        let Some(known) = self.now.all.get_mut(index) else { return Ok(()) };
        let fresh = read(&self.connection, known.deleted.clone()).await?;
        *known = Remains { is_begun: known.is_begun, ..fresh };
        self.now.taken_at = self.connection.clock().now;
        self.current = index;
        Ok(())
    }

    /// Carries a step out, or has it checked without effect.
    ///
    /// # Errors
    /// When the server refused for good, or could not be reached. In the second case it may have been done.
    pub async fn perform(&mut self, step: &Step, dry_run: bool) -> std::result::Result<Performed, Failure> {
        let index = self.index_of(step).unwrap_or(self.current);
        let Some(remains) = self.now.all.get_mut(index) else { return Ok(Performed::AlreadyGone) };
        let seen = remains.volume.as_ref().map(|volume| Seen::of(&volume.metadata)).unwrap_or_default();
        let (performed, _) = perform::perform(&self.connection, "", step, &seen, dry_run).await?;
        remains.is_begun |= !dry_run && performed == Performed::Done;
        Ok(performed)
    }
}

async fn read(connection: &Connection, deleted: Deleted) -> Result<Remains> {
    let (pvc, volume) = (&deleted.pvc, &deleted.volume);
    let claim = get(connection, &claim_path(&pvc.namespace, &pvc.name)).await?;
    let claim = typed(claim, "PVC", &pvc.name)?;
    let found = get(connection, &volume_path(volume)).await?;
    let volume = typed(found, "volume", volume)?;
    Ok(Remains { deleted, claim, volume, is_begun: false })
}
