//! The way between server and clients: its latency, and a bandwidth that all connections share.

use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What is written at a time on a link with a limit, in bytes.
pub const PIECE: usize = 16 * 1024;

pub struct Link {
    /// Before each answer: one round trip.
    pub latency: Duration,
    /// Bytes in a second.
    pub bandwidth: Option<u64>,
    free: Mutex<Instant>,
}

impl Link {
    pub fn new(latency: Duration, bandwidth: Option<u64>) -> Link {
        Link { latency, bandwidth, free: Mutex::new(Instant::now()) }
    }

    /// Waits until this number of bytes has gone over the link. Whoever asks first goes first, so that connections share it.
    pub fn pass(&self, bytes: usize) {
        let Some(bandwidth) = self.bandwidth else { return };
        let takes = Duration::from_secs_f64(bytes as f64 / bandwidth as f64);
        let until = {
            let mut free = self.free.lock().expect("no one failed");
            *free = (*free).max(Instant::now()) + takes;
            *free
        };
        // Sleeping is not exact; what is lost in one wait is not added to the next, as `free` does not know of it.
        let left = until.saturating_duration_since(Instant::now());
        if left > Duration::from_micros(200) {
            sleep(left);
        }
    }
}
