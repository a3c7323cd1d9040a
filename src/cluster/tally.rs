//! The progress of the lists that are being read.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts of one connection; any thread may add to them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    begun: AtomicUsize,
    done: AtomicUsize,
    objects: AtomicUsize,
    bytes: AtomicUsize,
}

/// What was read until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Lists that were asked for.
    pub lists: usize,
    /// Those of them that are complete, or could not be read.
    pub done: usize,
    /// Objects of answers that are complete.
    pub objects: usize,
    /// Bytes of answers, decompressed.
    pub bytes: usize,
}

impl Tally {
    pub fn progress(&self) -> Progress {
        let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        Progress {
            lists: of(&self.begun),
            done: of(&self.done),
            objects: of(&self.objects),
            bytes: of(&self.bytes),
        }
    }

    /// A list is read as long as what is returned lives.
    pub fn list(&self) -> Reading<'_> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Reading(self)
    }

    pub fn add_objects(&self, count: usize) {
        self.objects.fetch_add(count, Ordering::Relaxed);
    }

    pub fn add_bytes(&self, count: usize) {
        self.bytes.fetch_add(count, Ordering::Relaxed);
    }
}

pub(super) struct Reading<'t>(&'t Tally);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.done.fetch_add(1, Ordering::Relaxed);
    }
}
