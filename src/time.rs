//! Arithmetic on time that cannot overflow. Durations come from flags and probes, timestamps from the cluster and from
//! files, and `+` on either panics where the sum cannot be represented; clippy's `arithmetic_side_effects` is on for these
//! types (see `clippy.toml`), so that all sums are made here.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// What is as good as never: longer than any process runs, and representable on every system (Tokio takes the same).
const NEVER: Duration = Duration::from_secs(30 * 365 * 86_400);

/// The moment so long after another one; at most thirty years after it.
pub fn after(moment: Instant, wait: Duration) -> Instant {
    moment.checked_add(wait.min(NEVER)).unwrap_or(moment)
}

/// The same from the standard library's clock.
pub fn std_after(moment: std::time::Instant, wait: Duration) -> std::time::Instant {
    moment.checked_add(wait.min(NEVER)).unwrap_or(moment)
}

/// The timestamp so long after another one; at most the last that can be written.
pub fn later(then: Timestamp, by: SignedDuration) -> Timestamp {
    let end = if by.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
    then.checked_add(by).unwrap_or(end)
}

/// A wait twice as long, and at most this.
pub fn doubled(wait: Duration, most: Duration) -> Duration {
    wait.saturating_mul(2).min(most)
}

/// A duration as one that can be negative; at most the longest of those.
pub fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_end_at_what_can_be_represented() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::from_secs(5)).duration_since(now), Duration::from_secs(5));
        assert_eq!(after(now, Duration::MAX).duration_since(now), NEVER);
        assert_eq!(after(after(now, Duration::MAX), Duration::MAX).duration_since(now), NEVER * 2);
        let now = std::time::Instant::now();
        assert_eq!(std_after(now, Duration::MAX).duration_since(now), NEVER);
        let ages = [SignedDuration::MAX, SignedDuration::MIN, SignedDuration::ZERO];
        for then in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
            let [up, down, same] = ages.map(|age| later(then, age));
            assert_eq!((up, down, same), (Timestamp::MAX, Timestamp::MIN, then));
        }
        assert_eq!(doubled(Duration::MAX, Duration::from_secs(9)), Duration::from_secs(9));
        assert_eq!(signed(Duration::MAX), SignedDuration::MAX);
    }
}
