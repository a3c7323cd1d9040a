//! Which write comes next: a table of what can be observed, and random interference on a model of the cluster.

use kubectl_sts::plan::prune::phase::{Claim, End, Manner, Phase, State, Volume, next};
use kubectl_sts::snapshot::attribution::{Reason, ReasonCode};

use super::namespaces::Dice;

fn its(policy: &str, noted: Option<&str>, released: bool) -> Volume {
    Volume::Its { policy: policy.to_owned(), noted: noted.map(str::to_owned), released }
}

fn reason(code: ReasonCode) -> Reason {
    Reason::new(code, code.word())
}

/// A letter for each end, and the phase's name.
fn word(phase: &Phase) -> String {
    match phase {
        Phase::Guard => "guard".to_owned(),
        Phase::Keep => "keep".to_owned(),
        Phase::Delete => "delete".to_owned(),
        Phase::Wait => "wait".to_owned(),
        Phase::HandBack(policy) => format!("hand back {policy}"),
        Phase::PutBack(policy) => format!("put back {policy}"),
        Phase::End(End::Done) => "done".to_owned(),
        Phase::End(End::Stays(reason)) => format!("stays: {}", reason.code.word()),
        Phase::End(End::Kept(reason)) => format!("kept: {}", reason.code.word()),
        Phase::End(End::Late(reason)) => format!("late: {}", reason.code.word()),
    }
}

#[test]
fn each_state_has_its_next_write() {
    use Claim::{Gone, Leaving, Replaced, There};
    use Manner::{Guarded, Keep, Unguarded};
    let delete = || its("Delete", None, false);
    let noted = |released| its("Retain", Some("Delete"), released);
    let users = |released| its("Retain", None, released);
    let (no, mounted, scaling) = (None, Some(ReasonCode::Mounted), Some(ReasonCode::Scaling));
    for (manner, claim, volume, against, wanted) in [
        // From the beginning, without a surprise.
        (Guarded, There, delete(), no, "guard"),
        (Guarded, There, noted(false), no, "delete"),
        (Guarded, Leaving, noted(false), no, "wait"),
        (Guarded, Gone, noted(false), no, "wait"),
        (Guarded, Gone, noted(true), no, "hand back Delete"),
        (Guarded, Gone, its("Delete", None, true), no, "done"),
        (Guarded, Gone, Volume::Missing, no, "done"),
        (Guarded, There, its("Recycle", None, false), no, "guard"),
        (Guarded, Gone, its("Retain", Some("Recycle"), true), no, "hand back Recycle"),
        // A volume whose user has chosen Retain is not touched, and one that never was needs nothing.
        (Guarded, There, users(false), no, "delete"),
        (Guarded, Gone, users(true), no, "done"),
        (Guarded, There, Volume::Never, no, "delete"),
        (Guarded, Gone, Volume::Never, no, "done"),
        // A surprise before the deletion: as it was before.
        (Guarded, There, delete(), mounted, "stays: mounted"),
        (Guarded, There, noted(false), mounted, "put back Delete"),
        (Guarded, There, users(false), mounted, "stays: mounted"),
        (Guarded, There, Volume::Missing, no, "stays: lost"),
        (Guarded, There, Volume::Elsewhere, no, "stays: volume-elsewhere"),
        // A surprise after it: the data stays.
        (Guarded, Leaving, noted(false), mounted, "kept: mounted"),
        (Guarded, Gone, noted(true), mounted, "kept: mounted"),
        (Guarded, Replaced, noted(true), no, "kept: replaced"),
        (Guarded, Replaced, noted(true), mounted, "kept: mounted"),
        (Guarded, Gone, users(true), mounted, "kept: mounted"),
        (Guarded, Gone, Volume::Missing, mounted, "late: mounted"),
        // Somebody has set the policy back in between; what is needed is kept.
        (Guarded, Leaving, delete(), mounted, "guard"),
        (Guarded, Leaving, delete(), no, "wait"),
        // A set that is still on its way is waited for.
        (Guarded, Leaving, noted(false), scaling, "wait"),
        (Guarded, Gone, noted(true), scaling, "wait"),
        (Guarded, There, noted(false), scaling, "put back Delete"),
        // Another has got the volume.
        (Guarded, Gone, Volume::Elsewhere, no, "done"),
        // A policy that is not Retain keeps nothing, whatever was noted; what is scaled may need no more in the end.
        (Guarded, Gone, its("Delete", Some("Delete"), true), no, "done"),
        (Guarded, Gone, its("Delete", Some("Delete"), true), mounted, "late: mounted"),
        (Guarded, Gone, users(true), scaling, "done"),
        (Guarded, Gone, delete(), scaling, "done"),
        (Guarded, Gone, Volume::Missing, scaling, "done"),
        // --retain leaves no note.
        (Keep, There, delete(), no, "keep"),
        (Keep, There, noted(false), no, "keep"),
        (Keep, There, users(false), no, "delete"),
        (Keep, Gone, users(true), no, "done"),
        (Keep, Gone, noted(true), no, "keep"),
        (Keep, Replaced, users(true), no, "kept: replaced"),
        // --accept-race
        (Unguarded, There, delete(), no, "delete"),
        (Unguarded, Leaving, delete(), mounted, "late: mounted"),
        (Unguarded, Leaving, users(false), mounted, "kept: mounted"),
        (Unguarded, Gone, Volume::Missing, no, "done"),
        (Unguarded, Gone, delete(), no, "done"),
    ] {
        let state = State { claim, volume, against: against.map(reason), pending: false };
        assert_eq!(word(&next(manner, &state)), wanted, "{manner:?} {state:?}");
        if wanted.starts_with("put back") {
            let pending = State { pending: true, ..state };
            let got = word(&next(manner, &pending));
            assert!(
                got.starts_with("stays"),
                "a deletion that may still arrive must find it kept: {pending:?} {got}"
            );
        }
    }
}

#[test]
fn only_a_policy_that_was_noted_is_given_back() {
    for (volume, is_noted) in [
        (its("Retain", Some("Delete"), false), true),
        (its("Retain", None, false), false),
        (Volume::Never, false),
        (Volume::Missing, false),
        (Volume::Elsewhere, false),
    ] {
        assert_eq!(volume.is_noted(), is_noted, "{volume:?}");
    }
}

/// A PVC, its volume and whatever can use it, as Kubernetes treats them.
#[derive(Clone, Debug)]
pub struct World {
    pub claim: Claim,
    pub volume: Volume,
    /// Whether the replica is in the range.
    in_range: bool,
    /// Whether a pod uses the PVC that is to be deleted.
    uses: bool,
    /// Whether a pod names the PVC without using it: it came when the PVC was being deleted or gone.
    names: bool,
    /// Whether the data was destroyed.
    pub destroyed: bool,
    /// Whether the deletion of a run that was killed is still on its way to the server, and with what it was sent.
    on_its_way: Option<u64>,
    /// The PVC's resourceVersion, which a mount changes from Kubernetes 1.37 on.
    pub version: u64,
    modern: bool,
    /// Whether the PVC was needed at the moment in which it was gone.
    pub needed_when_gone: bool,
    /// How often the controllers look before a PVC that is being deleted is gone.
    pub slow: u32,
}

impl World {
    /// A PVC that nothing needs; its volume may have been set to Retain by its user.
    pub fn new(is_kept: bool, modern: bool) -> World {
        World {
            claim: Claim::There,
            volume: if is_kept { its("Retain", None, false) } else { its("Delete", None, false) },
            in_range: false,
            uses: false,
            names: false,
            destroyed: false,
            on_its_way: None,
            version: 1,
            modern,
            needed_when_gone: false,
            slow: 0,
        }
    }

    fn needed(&self) -> bool {
        self.in_range || self.uses || self.names || self.claim == Claim::Replaced
    }

    pub fn see(&self) -> State {
        State {
            claim: self.claim,
            volume: self.volume.clone(),
            against: self.needed().then(|| reason(ReasonCode::Mounted)),
            pending: false,
        }
    }

    /// Something that is not us does something.
    pub fn interfere(&mut self, dice: &mut Dice) {
        match dice.below(9) {
            0 => {
                self.in_range = true;
                self.pod();
            }
            1 => self.pod(),
            2 => {
                (self.in_range, self.uses, self.names) = (false, false, false);
                // Whoever needed it has gone without it; a new PVC of the name stays.
                self.needed_when_gone &= self.needed();
            }
            3 if matches!(self.claim, Claim::Gone) && self.in_range => self.claim = Claim::Replaced,
            4 => {
                if let Some(version) = self.on_its_way.take() {
                    self.delete(version);
                }
            }
            _ => self.control(),
        }
    }

    /// A pod that names the PVC is created.
    fn pod(&mut self) {
        match self.claim {
            Claim::There => {
                self.uses = true;
                if self.modern {
                    self.version += 1;
                }
            }
            // Nothing starts with a PVC that is being deleted, but its pod is there and names it.
            Claim::Leaving | Claim::Gone | Claim::Replaced => self.names = true,
        }
    }

    /// The controllers of Kubernetes get to it.
    pub fn control(&mut self) {
        // claim protection
        if self.claim == Claim::Leaving && self.slow > 0 {
            self.slow -= 1;
        } else if self.claim == Claim::Leaving && !self.uses {
            self.claim = Claim::Gone;
            self.needed_when_gone = self.needed();
        }
        // the volume controller
        if let (Claim::Gone | Claim::Replaced, Volume::Its { policy, released, .. }) =
            (self.claim, &mut self.volume)
        {
            *released = true;
            if policy != "Retain" {
                self.volume = Volume::Missing;
                self.destroyed = true;
            }
        }
    }

    fn delete(&mut self, version: u64) {
        if self.claim == Claim::There && self.version == version {
            self.claim = Claim::Leaving;
        }
    }

    pub fn write(&mut self, phase: &Phase, seen: &World) {
        // The volume's resourceVersion stands for all of it.
        let same = self.volume == seen.volume;
        match (phase, &mut self.volume) {
            (Phase::Guard, Volume::Its { policy, noted, .. }) if same => {
                *noted = Some(std::mem::replace(policy, "Retain".to_owned()));
            }
            (Phase::Keep, Volume::Its { policy, noted, .. }) if same => {
                (*policy, *noted) = ("Retain".to_owned(), None);
            }
            (Phase::HandBack(earlier) | Phase::PutBack(earlier), Volume::Its { policy, noted, .. })
                if same =>
            {
                (*policy, *noted) = (earlier.clone(), None);
            }
            (Phase::Delete, _) => self.delete(seen.version),
            _ => {}
        }
    }
}

/// One random history: the program runs, is killed and runs again, while the world moves between every look and write.
/// Whether the data was destroyed in the end, or the story of how needed data was.
fn history(seed: u64) -> Result<bool, String> {
    let dice = &mut Dice::new(seed);
    let is_kept = dice.one_in(8);
    let mut world = World::new(is_kept, dice.one_in(2));
    let mut story = Vec::new();
    let busy = dice.below(4);
    let manner = if dice.one_in(5) { Manner::Keep } else { Manner::Guarded };
    for _ in 0..4 {
        let (mut pending, mut refused) = (None, false);
        for _ in 0..30 {
            let seen = world.clone();
            let noted = matches!(&seen.volume, Volume::Its { noted: Some(_), .. });
            let pending = *pending.get_or_insert(noted);
            let mut state = State { pending, ..seen.see() };
            if state.claim == Claim::There && refused {
                state.against = state.against.or_else(|| Some(reason(ReasonCode::Changed)));
            }
            let phase = next(manner, &state);
            story.push(format!("{} on {seen:?}", word(&phase)));
            // The last look and the handing back are two requests; what comes to need the name in between got, and gets,
            // a new PVC. All that came before is seen.
            for _ in 0..dice.below(busy + 1) {
                world.interfere(dice);
            }
            if let Phase::End(_) = phase {
                break;
            }
            if phase == Phase::Wait {
                world.control();
                continue;
            }
            // Killed: before the write, after it, or while it is on its way.
            match dice.below(12) {
                0 => {
                    story.push("killed before".to_owned());
                    break;
                }
                1 => {
                    world.write(&phase, &seen);
                    story.push("killed after".to_owned());
                    break;
                }
                2 if phase == Phase::Delete => {
                    world.on_its_way = Some(seen.version);
                    story.push("killed with the deletion on its way".to_owned());
                    break;
                }
                _ => {}
            }
            let before = world.claim;
            world.write(&phase, &seen);
            refused |= phase == Phase::Delete && before == Claim::There && world.claim == Claim::There;
            if world.destroyed && world.needed_when_gone {
                return Err(story.join("\n"));
            }
        }
        for _ in 0..dice.below(6) {
            world.interfere(dice);
        }
        world.control();
        if world.destroyed && (world.needed_when_gone || manner == Manner::Keep) {
            return Err(story.join("\n"));
        }
    }
    Ok(world.destroyed)
}

#[test]
fn the_data_of_a_pvc_that_is_needed_is_never_given_up() {
    let (mut destroyed, mut kept) = (0, 0);
    for seed in 0..200_000 {
        match history(seed) {
            Ok(true) => destroyed += 1,
            Ok(false) => kept += 1,
            Err(story) => panic!("seed {seed}: the data is gone, and was needed\n{story}"),
        }
    }
    // A program that does nothing would hold the promise too.
    assert!(destroyed > 20_000 && kept > 20_000, "destroyed {destroyed}, kept {kept}");
}
