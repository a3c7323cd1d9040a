//! What was done: every write, and what came of it.

use jiff::Timestamp;

use crate::cluster::Performed;
use crate::controller::would_get;
use crate::kinds::Strategy;
use crate::plan::Step;
use crate::snapshot::{Snapshot, parse_pod_name};

/// A write, and what came of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// What.
    pub step: Step,
    /// What came of it.
    pub result: EntryResult,
}

/// What came of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryResult {
    /// It was done.
    Done,
    /// It was done, and the pod came back on this revision, and is available.
    CameBack {
        /// The revision's name.
        on: String,
    },
    /// It was done, and the pod came back on another revision than was to be expected.
    CameBackElsewhere {
        /// The revision it has.
        on: String,
        /// The revision it was to have.
        instead_of: String,
    },
    /// The object was gone before.
    AlreadyGone,
    /// The object had changed, so nothing was done: the server's message.
    Conflict(String),
    /// Refused by a budget or a limit of requests, so nothing was done: the server's message.
    TooManyRequests(String),
    /// The server refused it for good, or it had no effect: why.
    Refused(String),
    /// No answer came; it may still have been carried out: why.
    Uncertain(String),
}

impl EntryResult {
    /// The same in words.
    pub fn text(&self) -> String {
        match self {
            EntryResult::Done => "done".to_owned(),
            EntryResult::CameBack { on } => format!("done; recreated on {on} and available"),
            EntryResult::CameBackElsewhere { on, instead_of } => {
                format!("done; recreated on {on} instead of {instead_of}")
            }
            EntryResult::AlreadyGone => "it was already gone".to_owned(),
            EntryResult::Conflict(_) => {
                "not done: it was changed in the meantime; the cluster was read again".to_owned()
            }
            EntryResult::TooManyRequests(message) => format!("not done: {message}"),
            EntryResult::Refused(message) => format!("not done: {message}"),
            EntryResult::Uncertain(message) => format!("it is unknown whether this was done: {message}"),
        }
    }
}

impl From<&Performed> for EntryResult {
    fn from(performed: &Performed) -> EntryResult {
        match performed {
            Performed::Done => EntryResult::Done,
            Performed::AlreadyGone => EntryResult::AlreadyGone,
            Performed::Conflict(message) => EntryResult::Conflict(message.clone()),
            Performed::TooManyRequests(message) => EntryResult::TooManyRequests(message.clone()),
            Performed::Forbidden(message) => EntryResult::Refused(message.clone()),
        }
    }
}

impl Entry {
    /// Whether nothing was changed by it, for certain.
    pub fn is_refused(&self) -> bool {
        match self.result {
            EntryResult::AlreadyGone
            | EntryResult::Conflict(_)
            | EntryResult::TooManyRequests(_)
            | EntryResult::Refused(_) => true,
            EntryResult::Done
            | EntryResult::CameBack { .. }
            | EntryResult::CameBackElsewhere { .. }
            | EntryResult::Uncertain(_) => false,
        }
    }

    /// Whether the write went through.
    pub fn is_done(&self) -> bool {
        match self.result {
            EntryResult::Done | EntryResult::CameBack { .. } | EntryResult::CameBackElsewhere { .. } => true,
            EntryResult::AlreadyGone
            | EntryResult::Conflict(_)
            | EntryResult::TooManyRequests(_)
            | EntryResult::Refused(_)
            | EntryResult::Uncertain(_) => false,
        }
    }
}

/// What has to come back in place of a deleted pod.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// Its deletion in the journal.
    entry: usize,
    pod: String,
    before: String,
    /// The revision it gets; `None` where that is not certain (see [`would_get`]).
    revision: Option<String>,
}

impl Replacement {
    /// What a deletion that is about to be the journal's `entry` leads to.
    pub(super) fn of(step: &Step, now: &Snapshot<'_>, entry: usize) -> Option<Replacement> {
        let Step::DeletePod { pod, seen, .. } = step else { return None };
        let (_, ordinal) = parse_pod_name(pod)?;
        let certain = now.set.strategy() != Strategy::RollingUpdate || now.set.rolling_update().is_some();
        let revision = certain.then(|| would_get(now, ordinal).to_owned());
        Some(Replacement { entry, pod: pod.clone(), before: seen.clone(), revision })
    }
}

/// Notes what came back in the journal; says so if something else did than was shown.
pub(super) fn check_replacements(
    now: &Snapshot<'_>,
    replacements: &mut Vec<Replacement>,
    journal: &mut [Entry],
) -> Option<String> {
    let mut elsewhere = None;
    replacements.retain(|replacement| {
        let replicas = now.replicas().unwrap_or_default();
        let pod = replicas.iter().find(|replica| replica.name == replacement.pod);
        let pod = pod.and_then(|it| it.pod).filter(|pod| pod.metadata.uid != replacement.before);
        let (Some(pod), Some(entry)) = (pod, journal.get_mut(replacement.entry)) else { return true };
        let has = pod.revision();
        if let Some(meant) = replacement.revision.as_deref().filter(|meant| *meant != has) {
            elsewhere = Some(format!("{} was recreated on {has} instead of {meant}", replacement.pod));
            let (on, instead_of) = (has.to_owned(), meant.to_owned());
            entry.result = EntryResult::CameBackElsewhere { on, instead_of };
            return false;
        }
        let available = pod.is_available(now.set.spec.min_ready_seconds, now.taken_at);
        if available {
            entry.result = EntryResult::CameBack { on: has.to_owned() };
        }
        !available
    });
    elsewhere
}
