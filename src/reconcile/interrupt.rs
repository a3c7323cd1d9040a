//! An end that was asked for while something is done: it comes at the next moment at which nothing is half done, and what
//! was done is told.

use crate::error::Exit;
use crate::stop;

/// Something is being done, or followed, that is to say how it stands when it is interrupted.
#[derive(Debug)]
pub struct Acting {
    changes: bool,
}

impl Acting {
    /// From now on, until it is dropped.
    pub fn begin() -> Acting {
        stop::begin_acting();
        Acting { changes: true }
    }

    /// The same for what changes nothing, and so may end at any moment if it does not end by itself.
    pub fn attend() -> Acting {
        stop::begin_attending();
        Acting { changes: false }
    }

    /// Waits for an interruption: Ctrl-C, SIGTERM, SIGHUP, or an output that cannot be written any more.
    pub async fn interrupted(&self) {
        loop {
            let changed = stop::changed();
            if self.is_interrupted() {
                return;
            }
            changed.await;
        }
    }

    /// The same without waiting, for work that never waits.
    pub fn is_interrupted(&self) -> bool {
        stop::cause().is_some()
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        if self.changes {
            stop::end_acting();
        } else {
            stop::end_attending();
        }
    }
}

/// The exit code of what was interrupted: 130, 143, 129, 141 or 3.
pub fn exit() -> Exit {
    stop::exit()
}

/// Waits until the process is asked to end and nothing is being done that would say so by itself.
pub async fn unattended() -> stop::Cause {
    loop {
        let changed = stop::changed();
        if let Some(cause) = stop::cause().filter(|_| !stop::ends_by_itself()) {
            return cause;
        }
        changed.await;
    }
}
