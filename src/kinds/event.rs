//! v1 Event.

use jiff::Timestamp;

use super::{Meta, Reference, Said, partial};

partial! {
    /// v1 Event.
    struct Event {
        metadata: Meta => 1,
        involved_object: Reference => 2,
        r#type: String => 9,
        reason: String => 3,
        message: Said => 4,
        count: i32 => 8,
        first_timestamp: Option<Timestamp> => 6,
        last_timestamp: Option<Timestamp> => 7,
        event_time: Option<Timestamp> => 10,
        series: Option<EventSeries> => 11,
    }

    /// v1 EventSeries.
    struct EventSeries {
        count: i32 => 1,
        last_observed_time: Option<Timestamp> => 2,
    }
}

impl Event {
    /// The message, without what client-go puts before it once many of a kind differ (`EventAggregatorByReasonMessageFunc`).
    pub fn text(&self) -> &str {
        self.message.strip_prefix("(combined from similar events): ").unwrap_or(&self.message)
    }

    /// When it was seen last.
    pub fn last_seen(&self) -> Option<Timestamp> {
        let series = self.series.as_ref().and_then(|series| series.last_observed_time);
        series.or(self.last_timestamp).or(self.event_time).or(self.metadata.creation_timestamp)
    }

    /// How often it was seen.
    pub fn times(&self) -> i32 {
        self.series.as_ref().map_or(self.count, |series| series.count).max(1)
    }
}
