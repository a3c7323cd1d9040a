//! Which claims are left over, in the order in which they are deleted.

mod deletion;
mod judge;
pub mod phase;
mod unfinished;

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};

use crate::kinds::{PersistentVolumeClaim, Quantity, StatefulSet};
use crate::snapshot::attribution::{
    ClaimAudit, ClaimUsers, Class, DataOnDelete, Overrides, Reason, ReasonCode, Verdict, unused_for,
};
use crate::snapshot::{Clock, Observed};
use crate::words;

pub use deletion::{Claims, Deletions, Known, Prune, SnapshotState, race};
pub use judge::{Item, Reading};
use unfinished::Note;
pub use unfinished::{Held, Unfinished};

/// What is wanted, beyond the names of sets.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Sets scaled to 0 too: `None` none, empty all, else these.
    pub zero: Option<Vec<String>>,
    /// Also what an autoscaler may want again.
    pub autoscaler_range: bool,
    /// Only claims made at least so long ago.
    pub older_than: Option<SignedDuration>,
    /// Only claims of which the server knows that they were not used for so long.
    pub unused_for: Option<SignedDuration>,
    /// Snapshots made for this very deletion.
    pub own_snapshots: Vec<String>,
}

/// A claim that may be deleted, with the evidence.
#[derive(Clone, Debug)]
pub struct LeftOver {
    /// The claim, as it was seen.
    pub claim: PersistentVolumeClaim,
    /// Its set.
    pub set: String,
    /// The set's uid.
    pub set_uid: String,
    /// Whether the set is scaled to 0.
    pub zero: bool,
    /// The replica it was for.
    pub ordinal: i32,
    /// What becomes of the data.
    pub fate: DataOnDelete,
    /// How old it is.
    pub age: Option<SignedDuration>,
    /// For how long the server knows it unused.
    pub unused: Option<SignedDuration>,
    /// What is worth knowing first.
    pub warnings: Vec<String>,
}

/// A claim that is not deleted.
#[derive(Clone, Debug)]
pub struct KeptClaim {
    /// Its namespace.
    pub namespace: String,
    /// The claim.
    pub claim: String,
    /// Its set, where there is exactly one.
    pub set: Option<String>,
    /// Its class, with the reason.
    pub class: Class,
}

/// All claims, sorted out.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// What may be deleted, highest ordinal first within a set.
    pub left_over: Vec<LeftOver>,
    /// All others.
    pub rest: Vec<KeptClaim>,
    /// Volumes that an interrupted run has kept, and that nothing needs, highest ordinal first within a set.
    pub unfinished: Vec<Unfinished>,
    /// Volumes that an interrupted run has kept, and that stay.
    pub held: Vec<Held>,
}

/// Sorts out the claims of the chosen sets; `all` means that those of no set are of interest too.
pub fn find(
    observed: &Observed,
    around: Option<&ClaimUsers>,
    wanted: &Wanted,
    chosen: impl Fn(&StatefulSet) -> bool,
    all: bool,
) -> Found {
    let mut found = Found::default();
    let clock = observed.clock;
    let namespaces = observed.namespaces();
    for (name, namespace) in &namespaces {
        let census = ClaimAudit::new(observed, namespace, around);
        let all = all && namespace.sets.iter().any(|set| chosen(set));
        let mut waivers = Overrides {
            zero: false,
            autoscaler_range: wanted.autoscaler_range,
            own_snapshots: wanted.own_snapshots.clone(),
            unread: false,
        };
        for claim in &namespace.claims {
            let mut owners = namespace.makers(&claim.metadata.name).peekable();
            let none = owners.peek().is_none();
            if !(none && all || owners.any(|(set, _)| chosen(set))) {
                continue;
            }
            let mut verdict = census.judge(claim, &waivers);
            let asleep = verdict.class.reason().is_some_and(|reason| reason.code == ReasonCode::ScaledToZero);
            if asleep && verdict.owner.is_some_and(|(set, _)| wanted.wants_zero(set)) {
                waivers.zero = true;
                verdict = census.judge(claim, &waivers);
                waivers.zero = false;
            }
            found.take(verdict, &census, wanted, clock);
        }
        for volume in observed.volumes.as_deref().unwrap_or_default() {
            match unfinished::judge(volume, (name, namespace), &census, wanted, &chosen, all) {
                Some(Note::Unfinished(unfinished)) => found.unfinished.push(*unfinished),
                Some(Note::Held(held)) => found.held.push(held),
                None => {}
            }
        }
    }
    // The volume of a PVC that is deleted now is set right with it.
    let is_left_over = |held: &Held, left: &LeftOver| {
        let meta = &left.claim.metadata;
        held.is_bound && (&held.namespace, &held.claim) == (&meta.namespace, &meta.name)
    };
    found.held.retain(|held| !found.left_over.iter().any(|left| is_left_over(held, left)));
    found.unfinished.sort_by(|a, b| a.order().cmp(&b.order()));
    found.left_over.sort_by(|a, b| a.order().cmp(&b.order()));
    found.rest.sort_by(|a, b| (&a.namespace, &a.claim).cmp(&(&b.namespace, &b.claim)));
    found
}

impl Wanted {
    /// Whether a set scaled to 0 loses its PVCs too.
    pub fn wants_zero(&self, set: &StatefulSet) -> bool {
        self.zero.as_ref().is_some_and(|names| names.is_empty() || names.contains(&set.metadata.name))
    }

    /// Why a claim is too young, or not unused for long enough.
    fn too_young(&self, age: Option<SignedDuration>, unused: Option<SignedDuration>) -> Option<Reason> {
        if let Some(wanted) = self.older_than
            && age.is_none_or(|age| age < wanted)
        {
            let text = format!("it is younger than {}", words::age(wanted));
            return Some(Reason { code: ReasonCode::TooYoung, text });
        }
        let wanted = self.unused_for?;
        let text = match unused {
            Some(unused) if unused >= wanted => return None,
            Some(unused) => format!("it has been unused for {} only", words::age(unused)),
            None => "how long it has been unused is not known".to_owned(),
        };
        Some(Reason { code: ReasonCode::UsedLately, text })
    }
}

impl Found {
    fn take(&mut self, verdict: Verdict<'_>, census: &ClaimAudit<'_>, wanted: &Wanted, clock: Clock) {
        let Verdict { claim, owner, class, warnings } = verdict;
        let age_at = |now: Timestamp| claim.metadata.creation_timestamp.map(|then| now.duration_since(then));
        let (age, unused) = (age_at(clock.now), unused_for(claim, clock.now));
        // What may be deleted for its age is that old by a time that has passed for certain.
        let certain = clock.certain.map(|certain| (age_at(certain), unused_for(claim, certain)));
        let (certain_age, certain_unused) = certain.unwrap_or_default();
        let class = match class {
            Class::Prunable => {
                wanted.too_young(certain_age, certain_unused).map_or(Class::Prunable, Class::Kept)
            }
            other => other,
        };
        match (&class, owner) {
            (Class::Prunable, Some((set, name))) => self.left_over.push(LeftOver {
                claim: claim.clone(),
                set: set.metadata.name.clone(),
                set_uid: set.metadata.uid.clone(),
                zero: set.replicas() == 0,
                ordinal: name.ordinal,
                fate: census.fate(claim),
                age,
                unused,
                warnings,
            }),
            (Class::Prunable, None) => {}
            (Class::Kept(_) | Class::Ambiguous(_) | Class::NotOurs(_), owner) => self.rest.push(KeptClaim {
                namespace: claim.metadata.namespace.clone(),
                claim: claim.metadata.name.clone(),
                set: owner.map(|(set, _)| set.metadata.name.clone()),
                class,
            }),
        }
    }

    /// How much the claims that may be deleted take up.
    pub fn size(&self) -> Quantity {
        self.left_over.iter().filter_map(|left| Quantity::parse(left.claim.size())).sum()
    }
}

impl Found {
    /// Leaves what an interrupted run has left as it is.
    pub fn hold(&mut self, code: ReasonCode, why: &str) {
        let reason = || Reason::new(code, why);
        self.held.extend(self.unfinished.drain(..).map(|left| Held {
            volume: left.volume.metadata.name,
            namespace: left.namespace,
            claim: left.claim,
            earlier: left.earlier,
            is_bound: false,
            reason: reason(),
        }));
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.left_over.is_empty() && self.unfinished.is_empty()
    }

    /// What could not be judged because something was not read: the reasons, each once.
    pub fn unjudged(&self) -> Vec<&str> {
        let reasons = self
            .rest
            .iter()
            .filter_map(|rest| rest.class.reason())
            .chain(self.held.iter().map(|held| &held.reason));
        let mut texts: Vec<&str> =
            reasons.filter(|reason| reason.code.is_unread()).map(|reason| reason.text.as_str()).collect();
        texts.sort_unstable();
        texts.dedup();
        texts
    }
}

impl Unfinished {
    fn order(&self) -> (&str, &str, Reverse<i32>, &str) {
        (&self.namespace, &self.set, Reverse(self.ordinal), &self.claim)
    }

    /// What becomes of the data, in words.
    pub fn fate(&self, retain: bool) -> &'static str {
        match retain {
            true => "the PV is kept (--retain)",
            false => "the PV and its data will be destroyed",
        }
    }
}

impl LeftOver {
    /// Highest ordinal first, as a set is scaled down.
    fn order(&self) -> (&str, &str, Reverse<i32>, &str) {
        let meta = &self.claim.metadata;
        (&meta.namespace, &self.set, Reverse(self.ordinal), &meta.name)
    }

    /// What becomes of the data, in words; `retain` says that the volume will be kept first.
    pub fn fate(&self, retain: bool) -> &'static str {
        match self.fate {
            DataOnDelete::NoVolume => "nothing is lost: it never had a PV",
            DataOnDelete::Kept => "the PV is kept",
            DataOnDelete::Destroyed if retain => "the PV is kept (--retain)",
            DataOnDelete::Destroyed => "the PV and its data will be destroyed",
            DataOnDelete::Unknown => "unknown: its PV could not be read",
        }
    }

    /// The same in a few words, for a column of a table.
    pub fn fate_in_short(&self, retain: bool) -> &'static str {
        match self.fate {
            DataOnDelete::NoVolume => "nothing lost (no PV)",
            DataOnDelete::Kept => "PV kept",
            DataOnDelete::Destroyed if retain => "PV kept (--retain)",
            DataOnDelete::Destroyed => "data destroyed",
            DataOnDelete::Unknown => "unknown",
        }
    }

    /// Whether the volume is there with its data when the PVC is gone.
    pub fn keeps_volume(&self, retain: bool) -> bool {
        match self.fate {
            DataOnDelete::Kept => true,
            DataOnDelete::Destroyed => retain,
            DataOnDelete::NoVolume | DataOnDelete::Unknown => false,
        }
    }

    /// On what evidence it is called unused.
    pub fn evidence(&self) -> &'static str {
        match self.unused {
            Some(_) => "the server's condition Unused",
            None => "no pod in any phase mounts it; the server does not report since when",
        }
    }
}
