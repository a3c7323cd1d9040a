//! The goal of `prune-pvcs`: the chosen PVCs are gone, one after another, and no data that came to be needed.

use std::time::Duration;

use jiff::Timestamp;

use super::judge::Item;
use super::phase::{Claim, End, Manner, Phase, State, Volume, next};
use crate::kinds::{RETAIN, StatefulSet};
use crate::plan::{Goal, Plan, Pvc, Refusal, Step, Stop, Subject, VolumeChange, VolumePatch};
use crate::snapshot::attribution::{Reason, ReasonCode};
use crate::words;

/// How long a deleted PVC may take to be gone; only controllers of Kubernetes are waited for.
const GOING: Duration = Duration::from_secs(60);
/// How long a VolumeSnapshot may take until it can be used.
const SNAPSHOT: Duration = Duration::from_secs(600);
/// How long the snapshot controller may hold the PVC afterwards.
const HELD_BY_SNAPSHOT: Duration = Duration::from_secs(30);
/// How long a PVC may be there while the lists say that it is not.
const UNCLEAR: Duration = Duration::from_secs(10);

/// PVCs that are to be deleted.
#[derive(Clone, Copy, Debug)]
pub enum Deletions {}

impl Subject for Deletions {
    type Now<'a> = Claims;
}

/// How things stand with the PVCs that are to be deleted.
#[derive(Clone, Debug)]
pub struct Claims {
    /// When it was looked last.
    pub taken_at: Timestamp,
    /// Each PVC, in order.
    pub known: Vec<Known>,
}

impl Claims {
    /// What is known when the plan is shown.
    pub fn shown(items: Vec<Item>, taken_at: Timestamp) -> Claims {
        Claims { taken_at, known: items.into_iter().map(Known::of).collect() }
    }
}

/// What is known of one PVC.
#[derive(Clone, Debug)]
pub struct Known {
    /// The PVC.
    pub item: Item,
    /// How it stands; as it was shown, until it is read.
    pub state: State,
    /// Whether it was read since the plan was shown.
    pub is_read: bool,
    /// The set, as it was read last.
    pub set: Option<StatefulSet>,
    /// Whether this run has changed anything of it.
    pub is_begun: bool,
    /// Whether the server has accepted our deletion.
    pub is_sent: bool,
    /// Why the server has refused our deletion.
    pub refused: Option<String>,
    /// Why the server does not let us change the volume.
    pub forbidden: Option<String>,
    /// The reclaim policy that the volume was given back to.
    pub handed_back: Option<String>,
    /// What there is of the VolumeSnapshot.
    pub snapshot: SnapshotState,
}

/// What there is of a VolumeSnapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotState {
    /// It was not created yet.
    Missing,
    /// It was created by this run, and cannot be used yet.
    Made,
    /// It can be used.
    Ready,
    /// It could not be created, or says that it failed: why.
    Failed(String),
}

impl Known {
    /// What is known when the plan is shown.
    pub fn of(item: Item) -> Known {
        Known {
            state: item.shown.clone(),
            item,
            is_read: false,
            set: None,
            is_begun: false,
            is_sent: false,
            refused: None,
            forbidden: None,
            handed_back: None,
            snapshot: SnapshotState::Missing,
        }
    }

    /// The name of the VolumeSnapshot made for this very deletion.
    pub fn snapshot_name(&self) -> String {
        let Pvc { name, uid, .. } = &self.item.pvc;
        format!("{name}-{}", uid.get(..8).unwrap_or_default())
    }

    /// Whether the PVC is gone.
    pub fn is_gone(&self) -> bool {
        self.is_read && matches!(self.state.claim, Claim::Gone | Claim::Replaced)
    }

    /// The state, with what only this run knows: a deletion that the server has refused is not sent again.
    fn judged(&self) -> State {
        let mut state = self.state.clone();
        if let (Claim::There, Some(message)) = (state.claim, &self.refused) {
            let why = state.against.as_ref().map_or(message, |against| &against.text);
            let text = format!("it was changed at the last moment, so it was not deleted: {why}");
            state.against = Some(Reason { code: ReasonCode::Changed, text });
        }
        state
    }
}

/// The chosen PVCs are gone, and each volume is as was agreed.
#[derive(Clone, Debug)]
pub struct Prune {
    /// How each is deleted.
    pub manner: Manner,
    /// Whether to go on where a volume cannot be kept until the end (`--accept-race`).
    pub accept_race: bool,
    /// The class of the VolumeSnapshot to make of each PVC first.
    pub class: Option<String>,
}

/// What is left to do about one PVC.
struct Left {
    steps: Vec<Step>,
    /// Whether nothing follows: it will not be deleted.
    is_last: bool,
}

impl Goal<Deletions> for Prune {
    fn plan(&self, now: &Claims) -> Result<Plan, Stop> {
        let deleted = now.known.iter().filter(|known| known.item.was_there).count();
        let finished = now.known.len().saturating_sub(deleted);
        let delete = format!("delete {}", words::count(deleted, "PVC"));
        let finish = format!("finish {} from an earlier run", words::count(finished, "PV"));
        let headline = match (deleted, finished) {
            (_, 0) => delete,
            (0, _) => finish,
            _ => format!("{delete} and {finish}"),
        };
        let mut plan = Plan { headline, ..Plan::default() };
        for known in &now.known {
            let left = self.left(known)?;
            plan.is_half_done |= plan.steps.is_empty() && known.is_begun && !left.steps.is_empty();
            plan.steps.extend(left.steps);
            plan.if_needed.extend(self.if_needed(known));
            if left.is_last {
                break;
            }
        }
        Ok(plan)
    }

    fn overdue(&self, now: &Claims, waited: Duration) -> Option<Refusal> {
        let known = now.known.iter().find(|known| !self.is_settled(known))?;
        let Known { item: Item { pvc, volume, .. }, state, .. } = known;
        let waited = waited.as_secs();
        let (word, text) = match state.claim {
            Claim::There if self.waits_for_snapshot(known) => {
                let name = known.snapshot_name();
                ("snapshot", format!("VolumeSnapshot {name} was not ready to use within {waited}s"))
            }
            Claim::There => {
                let why = state.against.as_ref().map_or("", |against| &against.text);
                ("held", format!("no longer deleted: {why}"))
            }
            Claim::Leaving | Claim::Gone | Claim::Replaced => {
                let held = match (&state.against, state.claim) {
                    (Some(against), _) => against.text.clone(),
                    (None, Claim::Leaving) => {
                        format!("it still exists after {waited}s: something blocks the deletion")
                    }
                    (None, _) => format!("its PV is not released after {waited}s: something blocks that"),
                };
                let kept = match &state.volume {
                    Volume::Its { policy, .. } if policy == RETAIN => {
                        format!("; until then PV {volume} is kept")
                    }
                    Volume::Its { .. } | Volume::Never | Volume::Missing | Volume::Elsewhere => String::new(),
                };
                ("held", format!("its deletion was requested, but {held}{kept}"))
            }
        };
        Some(refusal(word, &pvc.name, &text))
    }
}

fn refusal(reason: &'static str, claim: &str, text: &str) -> Refusal {
    Refusal { reason, because: format!("{claim}: {text}"), hint: String::new() }
}

/// Why a PVC whose volume cannot be kept until the end is not deleted.
pub fn race(because: String) -> Refusal {
    Refusal {
        reason: "last-moment-race",
        because,
        hint: "a pod that starts to use the PVC at the moment of its deletion would lose its data, so the PV must be set to Retain first\nget the permission to patch persistentvolumes, or accept the risk with --accept-race".to_owned(),
    }
}

impl Prune {
    /// Whether nothing is left to do about it.
    pub fn is_settled(&self, known: &Known) -> bool {
        known.is_read && self.left(known).is_ok_and(|left| left.steps.is_empty())
    }

    /// How it has ended, if it has.
    pub fn end(&self, known: &Known) -> Option<End> {
        let phase = known.is_read.then(|| next(self.manner_of(known), &known.judged()));
        match phase {
            Some(Phase::End(end)) => Some(end),
            Some(
                Phase::Guard
                | Phase::Keep
                | Phase::Delete
                | Phase::Wait
                | Phase::HandBack(_)
                | Phase::PutBack(_),
            )
            | None => None,
        }
    }

    fn manner_of(&self, known: &Known) -> Manner {
        match (self.manner, &known.forbidden) {
            (Manner::Guarded, Some(_)) if self.accept_race => Manner::Unguarded,
            (manner, _) => manner,
        }
    }

    fn waits_for_snapshot(&self, known: &Known) -> bool {
        self.class.is_some() && known.snapshot == SnapshotState::Made
    }

    /// What is left to do about one PVC.
    fn left(&self, known: &Known) -> Result<Left, Refusal> {
        let (item, state) = (&known.item, known.judged());
        if state.claim != Claim::There {
            return self.course(known, state);
        }
        self.forbidden(known)?;
        let code = state.against.as_ref().map(|against| against.code);
        let waiting = |until, limit| {
            let wait = Step::AwaitPvc { pvc: item.pvc.clone(), until, limit };
            Ok(Left { steps: vec![wait], is_last: true })
        };
        match (&self.class, &known.snapshot) {
            (Some(_), SnapshotState::Failed(why)) => {
                let name = known.snapshot_name();
                return Err(refusal("snapshot", &item.pvc.name, &format!("VolumeSnapshot {name}: {why}")));
            }
            // While it is made, the snapshot controller holds the PVC by a finalizer.
            (Some(_), SnapshotState::Made) => return waiting("to get its VolumeSnapshot", SNAPSHOT),
            (Some(_), SnapshotState::Ready) if code == Some(ReasonCode::Finalizer) && !known.is_begun => {
                return waiting("to be released by the snapshot controller", HELD_BY_SNAPSHOT);
            }
            (Some(_) | None, _) => {}
        }
        // The lists are younger than the PVC that was read first.
        if let Some(ReasonCode::Gone | ReasonCode::Deleting) = code {
            return waiting("to be gone", UNCLEAR);
        }
        if let (Some(class), SnapshotState::Missing, None) = (&self.class, &known.snapshot, code) {
            let (pvc, name, class) = (item.pvc.clone(), known.snapshot_name(), class.clone());
            let wait =
                Step::AwaitPvc { pvc: pvc.clone(), until: "to get its VolumeSnapshot", limit: SNAPSHOT };
            let mut left = self.course(known, state)?;
            left.steps.splice(0..0, [Step::CreateSnapshot { pvc, name, class }, wait]);
            return Ok(left);
        }
        self.course(known, state)
    }

    /// Refuses to delete what cannot be kept until the end, or is kept although the plan said otherwise.
    fn forbidden(&self, known: &Known) -> Result<(), Refusal> {
        let Item { pvc: Pvc { name, .. }, volume, shown, .. } = &known.item;
        if let Some(message) = &known.forbidden {
            match self.manner {
                Manner::Guarded if self.accept_race => {}
                Manner::Guarded => {
                    let what =
                        format!("no permission to patch PV {volume}; {name} was not deleted: {message}");
                    return Err(race(what));
                }
                Manner::Keep | Manner::Unguarded => {
                    let what = format!("no permission to patch PV {volume}; it is kept: {message}");
                    return Err(refusal("forbidden", name, &what));
                }
            }
        }
        if let (Volume::Its { policy: was, .. }, Volume::Its { policy, .. }) =
            (&shown.volume, &known.state.volume)
            && was == RETAIN
            && policy != RETAIN
            && self.manner != Manner::Keep
            && !known.is_begun
        {
            let what =
                format!("PV {volume} had reclaim policy {was} when the plan was shown, and now has {policy}");
            return Err(refusal("volume-changed", name, &what));
        }
        Ok(())
    }

    /// All steps from this state on, if nobody interferes.
    fn course(&self, known: &Known, mut state: State) -> Result<Left, Refusal> {
        let (manner, item) = (self.manner_of(known), &known.item);
        let mut left = Left { steps: Vec::new(), is_last: false };
        loop {
            let phase = next(manner, &state);
            if let Phase::End(end) = &phase {
                left.is_last = !matches!(end, End::Done);
                let is_sent = known.is_sent || !left.steps.is_empty();
                let surprise = surprise(end, item, known.is_gone(), is_sent);
                return match surprise {
                    Some((word, text)) if left.steps.is_empty() => Err(refusal(word, &item.pvc.name, &text)),
                    Some(_) | None => Ok(left),
                };
            }
            left.steps.push(step(item, &phase, &state));
            follow(&mut state, &phase);
        }
    }

    /// What keeps the data if another client interferes, where it is not among the steps anyway.
    fn if_needed(&self, known: &Known) -> Option<Step> {
        let Volume::Its { policy, noted, .. } = &known.state.volume else { return None };
        let change = match (self.manner, noted) {
            (Manner::Guarded, None) if policy == RETAIN => {
                VolumeChange::Guard { earlier: "Delete".to_owned() }
            }
            (Manner::Keep, Some(earlier)) => {
                VolumeChange::GiveBack { policy: earlier.clone(), destroys: false }
            }
            (Manner::Guarded | Manner::Keep | Manner::Unguarded, _) => return None,
        };
        Some(patch(&known.item, change))
    }
}

fn patch(item: &Item, change: VolumeChange) -> Step {
    Step::PatchVolume(VolumePatch { pvc: item.pvc.clone(), volume: item.volume.clone(), change })
}

/// The step that a phase is.
fn step(item: &Item, phase: &Phase, state: &State) -> Step {
    let pvc = item.pvc.clone();
    match phase {
        Phase::Guard => {
            let earlier = match &state.volume {
                Volume::Its { policy, .. } => policy.clone(),
                Volume::Never | Volume::Missing | Volume::Elsewhere => String::new(),
            };
            patch(item, VolumeChange::Guard { earlier })
        }
        Phase::Keep => patch(item, VolumeChange::Keep),
        Phase::HandBack(policy) => {
            patch(item, VolumeChange::GiveBack { policy: policy.clone(), destroys: true })
        }
        Phase::PutBack(policy) => {
            patch(item, VolumeChange::GiveBack { policy: policy.clone(), destroys: false })
        }
        Phase::Delete => Step::DeletePvc { pvc, note: item.fate.to_owned() },
        Phase::Wait | Phase::End(_) => {
            let until = match state.claim {
                Claim::There | Claim::Leaving => "to be gone",
                Claim::Gone | Claim::Replaced => "to release its PV",
            };
            Step::AwaitPvc { pvc, until, limit: GOING }
        }
    }
}

/// What becomes of the state by a phase, if nobody interferes.
fn follow(state: &mut State, phase: &Phase) {
    match (phase, &mut state.volume) {
        (Phase::Guard, Volume::Its { policy, noted, .. }) => {
            *noted = Some(std::mem::replace(policy, RETAIN.to_owned()));
        }
        (Phase::Keep, Volume::Its { policy, noted, .. }) => {
            (*policy, *noted) = (RETAIN.to_owned(), None);
        }
        (Phase::HandBack(earlier) | Phase::PutBack(earlier), Volume::Its { policy, noted, .. }) => {
            (*policy, *noted) = (earlier.clone(), None);
        }
        (Phase::Delete, _) => state.claim = Claim::Leaving,
        (Phase::Wait, volume) => {
            if state.claim == Claim::Leaving {
                state.claim = Claim::Gone;
            }
            if let Volume::Its { released, .. } = volume {
                *released = true;
            }
            state.against = None;
        }
        // Without a volume nothing of it changes.
        (Phase::Guard | Phase::Keep | Phase::HandBack(_) | Phase::PutBack(_) | Phase::End(_), _) => {
            state.volume = Volume::Missing;
        }
    }
}

/// What was not meant to come of one PVC: a word and a text.
fn surprise(end: &End, item: &Item, is_gone: bool, is_sent: bool) -> Option<(&'static str, String)> {
    let volume = &item.volume;
    Some(match end {
        End::Done if is_sent || !item.was_there => return None,
        End::Done => ("deleted", "it was deleted by another client".to_owned()),
        End::Stays(Reason {
            code: code @ (ReasonCode::Changed | ReasonCode::Another | ReasonCode::Gone),
            text,
        }) => (code.word(), text.clone()),
        End::Stays(Reason { code, text }) => (code.word(), format!("no longer deleted: {text}")),
        End::Kept(Reason { code, text }) => {
            let how = match is_gone {
                true => format!("its PVC is gone, but {text}"),
                false => format!("it was changed at the last moment: {text}; its deletion waits for that"),
            };
            (code.word(), format!("{how}; PV {volume} keeps the data (reclaim policy Retain)"))
        }
        End::Late(Reason { code, text }) => match is_gone {
            true => (code.word(), format!("it is gone, but {text}: its next user gets a new, empty PVC")),
            false => (
                code.word(),
                format!(
                    "it was changed at the last moment: {text}; its deletion waits for that, and then PV {volume} is \
                     deleted too"
                ),
            ),
        },
    })
}
