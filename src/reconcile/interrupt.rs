//! Ctrl-C while something is done: it ends at the next moment at which nothing is half done, and what was done is told.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

static ACTING: AtomicUsize = AtomicUsize::new(0);
static ASKED: AtomicBool = AtomicBool::new(false);
static HEARD: Notify = Notify::const_new();

/// Something is being done, that is to say what it has done when it is interrupted.
#[derive(Debug)]
pub struct Acting(());

impl Acting {
    /// From now on, until it is dropped.
    pub fn begin() -> Acting {
        ACTING.fetch_add(1, Ordering::SeqCst);
        Acting(())
    }

    /// Waits for an interruption.
    pub async fn interrupted(&self) {
        while !ASKED.load(Ordering::SeqCst) {
            HEARD.notified().await;
        }
        // Whoever waits besides hears it too.
        HEARD.notify_one();
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        ACTING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Interrupts what is being done. `false` when there is nothing that would say so, or it was asked before: then the process
/// is to end at once.
pub fn interrupt() -> bool {
    let first = !ASKED.swap(true, Ordering::SeqCst);
    HEARD.notify_one();
    first && ACTING.load(Ordering::SeqCst) > 0
}
