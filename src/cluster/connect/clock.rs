//! The server's time, from what its answers say. This machine's clock is only a witness, and the least trusted one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use http::header::DATE;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::snapshot::{Clock, TimeSource};

/// Answers that are remembered: the lists of one look, and those of a few before.
const SAMPLES: usize = 16;
/// `Date` has no fractions of seconds.
const RESOLUTION: SignedDuration = SignedDuration::from_secs(1);
/// Answers that differ by no more than this are of one clock.
const SLACK: SignedDuration = SignedDuration::from_secs(2);
/// A difference between two clocks that is worth a word.
pub(super) const WORTH_A_WORD: SignedDuration = SignedDuration::from_secs(60);
/// A `Date` further than this from both other witnesses is not believed.
const FAR: SignedDuration = SignedDuration::from_hours(366 * 24);
/// Years in which this program can be running.
const YEARS: std::ops::Range<i16> = 2024..2100;

/// What the answers said.
#[derive(Clone, Default)]
pub(super) struct ServerClock(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    /// The oldest first.
    samples: Vec<Sample>,
    /// The newest moment at which an object is known to have been created, and when that became known.
    evidence: Option<(Timestamp, Instant)>,
    /// Whether any answer came, with or without a date.
    answered: bool,
}

/// The `Date` of one answer. The server wrote it between the two instants.
#[derive(Clone, Copy)]
struct Sample {
    sent: Instant,
    received: Instant,
    date: Timestamp,
}

impl Sample {
    /// The earliest and the latest that it can be on that server at `now`.
    fn bounds(&self, now: Instant) -> (Timestamp, Timestamp) {
        let earliest = later(self.date, now.saturating_duration_since(self.received));
        let latest = later(self.date, now.saturating_duration_since(self.sent));
        (earliest, latest.saturating_add(RESOLUTION).unwrap_or(Timestamp::MAX))
    }
}

impl ServerClock {
    /// Takes the `Date` of an answer to a request that was sent at `sent`.
    pub fn read(&self, headers: &HeaderMap, sent: Instant) {
        let received = Instant::now();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.answered = true;
        let Some(date) = headers.get(DATE).and_then(|date| parse(date.to_str().ok()?)) else { return };
        if known.samples.len() == SAMPLES {
            known.samples.remove(0);
        }
        known.samples.push(Sample { sent, received, date });
    }

    /// Takes the newest creation time of the objects read; the API server sets it.
    pub fn witness(&self, newest: Option<Timestamp>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some(newest) = newest
            && known.evidence.is_none_or(|(then, at)| newest > later(then, now.saturating_duration_since(at)))
        {
            known.evidence = Some((newest, now));
        }
    }

    /// What can be said about the time now.
    pub fn now(&self) -> Clock {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let evidence = known.evidence.map(|(then, at)| later(then, now.saturating_duration_since(at)));
        decide(date(&known.samples, now), evidence, Timestamp::now())
    }

    /// Whether the server has said anything yet.
    pub fn is_known(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).answered
    }
}

/// The server's time by its answers. Several servers behind one address may differ; then it is the one whose clock is
/// furthest behind, as ages that are too short do no harm.
fn date(samples: &[Sample], now: Instant) -> Option<Timestamp> {
    let bounds: Vec<_> = samples.iter().map(|sample| sample.bounds(now)).collect();
    let latest_start = bounds.iter().map(|(earliest, _)| *earliest).max()?;
    let first_start = bounds.iter().map(|(earliest, _)| *earliest).min()?;
    let first_end = bounds.iter().map(|(_, latest)| *latest).min()?;
    let agree = latest_start <= first_end.saturating_add(SLACK).unwrap_or(Timestamp::MAX);
    Some(if agree { latest_start.min(first_end) } else { first_start })
}

/// Weighs the witnesses: the server's `Date`, the newest creation time, this machine's clock.
fn decide(date: Option<Timestamp>, evidence: Option<Timestamp>, own: Timestamp) -> Clock {
    let floor = evidence.map_or(own, |evidence| evidence.max(own));
    match date.filter(|date| is_believable(*date, evidence, own)) {
        Some(date) => Clock {
            now: date,
            source: TimeSource::Server,
            ahead: Some(own.duration_since(date)),
            // Where the two clocks differ, one of them is wrong. The earlier one cannot make an object older than it is;
            // what has been created proves that this much time has passed.
            certain: Some(date.min(floor)),
        },
        None => Clock {
            now: floor,
            source: if date.is_some() { TimeSource::Disbelieved } else { TimeSource::Client },
            ahead: evidence.filter(|evidence| *evidence > own).map(|evidence| own.duration_since(evidence)),
            certain: None,
        },
    }
}

fn is_believable(date: Timestamp, evidence: Option<Timestamp>, own: Timestamp) -> bool {
    let year = date.to_zoned(jiff::tz::TimeZone::UTC).year();
    let contradicted = evidence.is_some_and(|evidence| evidence.duration_since(date) > WORTH_A_WORD);
    let far = |other: Timestamp| date.duration_since(other).abs() > FAR;
    let alone = far(own)
        && evidence.is_some_and(|evidence| {
            far(evidence) && evidence.duration_since(own).abs() < evidence.duration_since(date).abs()
        });
    YEARS.contains(&year) && !contradicted && !alone
}

/// `then`, a while later.
fn later(then: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| then.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

/// Reads `Sat, 28 Nov 2026 02:11:19 GMT`.
fn parse(date: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(date).ok().map(|date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap_or_default()
    }

    #[test]
    fn reads_the_date_of_an_answer() {
        assert_eq!(parse("Sat, 28 Nov 2026 02:11:19 GMT"), Some(at("2026-11-28T02:11:19Z")));
        for wrong in ["", "now", "Sat, 99 Nov 2026 02:11:19 GMT", "2026-11-28T02:11:19Z"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ages_that_decide_are_counted_by_the_earlier_clock() {
        let date = at("2026-11-28T12:00:00Z");
        let newest = date - SignedDuration::from_secs(5);
        // A client ahead is corrected, one behind is outvoted by what was created since.
        let ahead = decide(Some(date), Some(newest), date + HOUR);
        assert_eq!((ahead.now, ahead.certain, ahead.ahead), (date, Some(date), Some(HOUR)));
        let behind = decide(Some(date), Some(newest), date - HOUR);
        assert_eq!((behind.now, behind.certain, behind.ahead), (date, Some(newest), Some(-HOUR)));
        // A gateway that forges a date an hour ahead makes nothing an hour old.
        let own = date - HOUR;
        let forged = decide(Some(date), Some(own - SignedDuration::from_secs(5)), own);
        assert_eq!(forged.certain, Some(own));
    }

    #[test]
    fn a_date_that_cannot_be_is_not_believed() {
        let own = at("2026-11-28T12:00:00Z");
        let newest = own - SignedDuration::from_secs(5);
        for wrong in
            ["1970-01-01T00:00:00Z", "2026-11-28T11:00:00Z", "2031-01-01T00:00:00Z", "9999-01-01T00:00:00Z"]
        {
            let clock = decide(Some(at(wrong)), Some(newest), own);
            assert_eq!((clock.source, clock.certain), (TimeSource::Disbelieved, None), "{wrong}");
            assert_eq!(clock.now, own);
        }
        let none = decide(None, Some(own + HOUR), own);
        assert_eq!((none.now, none.ahead, none.certain), (own + HOUR, Some(-HOUR), None));
        // A machine whose own clock was never set.
        let dead = decide(Some(own), Some(newest), at("1970-01-01T00:00:00Z"));
        assert_eq!((dead.now, dead.certain), (own, Some(newest)));
    }

    #[test]
    fn servers_that_differ_count_as_the_one_behind() {
        let now = Instant::now();
        let date_ = at("2026-11-28T12:00:00Z");
        let sample = |date| Sample { sent: now, received: now, date };
        let one = sample(date_);
        let next = sample(date_ + SignedDuration::from_secs(1));
        assert_eq!(date(&[one, next], now), Some(next.date));
        assert_eq!(date(&[sample(date_ + HOUR), one], now), Some(date_));
        assert_eq!(date(&[one, sample(date_ + HOUR)], now), Some(date_));
        assert_eq!(date(&[], now), None);
        assert_eq!(date(&[sample(Timestamp::MAX)], now), Some(Timestamp::MAX));
    }
}
