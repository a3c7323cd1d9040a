//! The model run forward: which pods go and come, in which order, and where it ends.

use std::collections::BTreeSet;

use super::{Action, Blocker, Idle, Next, Purpose, World, would_get};
use crate::snapshot::{Snapshot, Unseen, Verb};

/// What is changed before the run.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Another pod template: the name its revision has or will have.
    pub template: Option<String>,
    /// Another partition; it adds the `rollingUpdate` stanza where there is none.
    pub partition: Option<i32>,
    /// Another number of replicas.
    pub replicas: Option<i32>,
    /// Pods somebody deletes, all at once.
    pub delete: Vec<i32>,
    /// Pods that have to be available before it is made.
    pub waits_for: Vec<i32>,
}

/// What is assumed of pods: those not named here become available, and end when they are deleted.
#[derive(Clone, Debug, Default)]
pub struct Assume {
    /// Pods made from these revisions never become ready.
    pub broken_revisions: BTreeSet<String>,
    /// Pods that are there and stay as they are, until they are deleted.
    pub broken_pods: BTreeSet<i32>,
    /// Pods that never end once they are deleted.
    pub undying: BTreeSet<i32>,
    /// Whether the API server refuses the controller to delete pods.
    pub refuses_deletion: bool,
    /// The revisions of which the API server refuses pods.
    pub refused_revisions: Refusal,
}

/// The revisions of which no pod can be created.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Refusal {
    /// None.
    #[default]
    None,
    /// This one.
    Of(String),
    /// Whatever they are: a quota is used up, or a webhook does not answer.
    All,
}

impl Refusal {
    fn is_of(&self, revision: &str) -> bool {
        match self {
            Refusal::None => false,
            Refusal::Of(refused) => refused == revision,
            Refusal::All => true,
        }
    }
}

impl Assume {
    /// Assumes that pods with a hard trouble keep it, and that the API server keeps to what it refused.
    ///
    /// # Errors
    /// [`Unseen`] when pods could not be read.
    pub fn of(snapshot: &Snapshot<'_>) -> Result<Assume, Unseen> {
        let all = snapshot.replicas()?.iter().chain(snapshot.condemned()?);
        let hard = all.filter(|replica| {
            let trouble = replica.pod.and_then(|pod| snapshot.trouble(pod));
            trouble.is_some_and(|trouble| trouble.why.needs_intervention())
        });
        let broken_pods = hard.map(|replica| replica.ordinal).collect();
        let mut pods = snapshot.replicas()?.iter().chain(snapshot.condemned()?).filter_map(|it| it.pod);
        // Where events cannot be read nothing is known to be refused.
        let is_refused = |pod| snapshot.refused_for(Verb::Delete, pod).ok().flatten().is_some();
        let refused_revisions = match snapshot.creation_refused().ok().flatten() {
            None => Refusal::None,
            Some((refused, _)) if refused.is_whatever_the_template() => Refusal::All,
            Some((_, replica)) => Refusal::Of(would_get(snapshot, replica.ordinal).to_owned()),
        };
        Ok(Assume {
            broken_pods,
            refuses_deletion: pods.any(is_refused),
            refused_revisions,
            ..Assume::default()
        })
    }
}

/// One pod's going or coming.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// The controller deletes it, for this purpose; or, without one, whoever makes the change.
    Delete(i32, Option<Purpose>),
    /// The controller creates it.
    Create {
        /// Its ordinal.
        ordinal: i32,
        /// The revision it is made from.
        revision: String,
        /// The revision it may be made from instead, see [`super::may_get`].
        or: Option<String>,
    },
}

/// Where a course ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing is left to do, for this reason.
    At(Idle),
    /// A replica is waited for that is not going to do it.
    Blocked(i32, Blocker),
    /// The API server refuses to create or delete the pod of this replica.
    Refused(i32, Verb),
    /// The controller deletes and creates for ever: seen where a Parallel set has no `rollingUpdate` stanza and its
    /// template names a node, from 1.37 on.
    Endless,
}

/// What is predicted to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Deletions and creations in order. Those of pods that start at the same time may be in another order.
    pub moves: Vec<Move>,
    /// Where it ends.
    pub end: End,
}

/// Runs the controller to its end on what was seen, after a change.
///
/// # Errors
/// [`Unseen`] when pods could not be read.
pub fn course(snapshot: &Snapshot<'_>, change: &Change, assume: &Assume) -> Result<Forecast, Unseen> {
    let mut world = World::of(snapshot)?;
    world.assume(assume.clone());
    Ok(run(&mut world, change))
}

/// Runs the controller through several changes, one after the other, each to its end; up to one that waits for a pod that
/// does not become available.
///
/// # Errors
/// [`Unseen`] when pods could not be read.
pub fn courses(snapshot: &Snapshot<'_>, changes: &[Change]) -> Result<Forecast, Unseen> {
    let mut world = World::of(snapshot)?;
    world.assume(Assume::of(snapshot)?);
    Ok(run_all(&mut world, changes))
}

/// The same if nothing stays in the way: pods that are stuck become available, PVCs that are being deleted go, and the API
/// server refuses nothing any longer.
///
/// # Errors
/// [`Unseen`] when pods could not be read.
pub fn courses_unblocked(snapshot: &Snapshot<'_>, changes: &[Change]) -> Result<Forecast, Unseen> {
    let mut world = World::of(snapshot)?;
    world.assume(Assume::default());
    if let Some(claims) = world.claims_mut() {
        claims.retain(|claim| !claim.metadata.is_terminating());
    }
    Ok(run_all(&mut world, changes))
}

fn run_all(world: &mut World, changes: &[Change]) -> Forecast {
    let first = changes.first().filter(|change| change.waits_for.is_empty());
    let mut all = run(world, first.unwrap_or(&Change::default()));
    for change in changes.iter().skip(usize::from(first.is_some())) {
        if let End::Blocked(ordinal, _) | End::Refused(ordinal, _) = all.end
            && change.waits_for.contains(&ordinal)
        {
            break;
        }
        let next = run(world, change);
        all.moves.extend(next.moves);
        all.end = next.end;
    }
    all
}

pub(super) fn run(world: &mut World, change: &Change) -> Forecast {
    let mut moves = Vec::new();
    world.change(change);
    for ordinal in &change.delete {
        world.delete(*ordinal);
        moves.push(Move::Delete(*ordinal, None));
    }
    // Each replica goes and comes a few times at most: at the old revision, and at the new one.
    let listed = world.look(|now| now.replicas().map_or(0, <[_]>::len));
    let limit = 40 + 20 * (world.pods().len() + listed);
    while moves.len() < limit {
        let end = match world.next() {
            Next::Act(actions) => {
                let revisions: Vec<(String, Option<String>)> = actions
                    .iter()
                    .map(|action| match action {
                        Action::Create(ordinal) => world.revisions_for(*ordinal),
                        Action::Delete(..) => Default::default(),
                    })
                    .collect();
                if let Some(end) = refused(world, &actions, &revisions) {
                    return Forecast { moves, end };
                }
                // The status of a sync counts what it saw at its start, not what it has just created.
                world.settle();
                for (action, (revision, or)) in actions.into_iter().zip(revisions) {
                    world.act(action, &revision);
                    moves.push(match action {
                        Action::Create(ordinal) => Move::Create { ordinal, revision, or },
                        Action::Delete(ordinal, purpose) => Move::Delete(ordinal, Some(purpose)),
                    });
                }
                continue;
            }
            Next::Wait { on, because } => End::Blocked(on, because),
            Next::Settled(rest) => End::At(rest),
        };
        world.settle();
        if !world.pass_time() {
            return Forecast { moves, end };
        }
    }
    Forecast { moves, end: End::Endless }
}

/// The first of these writes that the API server refuses.
fn refused(world: &World, actions: &[Action], revisions: &[(String, Option<String>)]) -> Option<End> {
    let assume = world.assumed();
    actions.iter().zip(revisions).find_map(|(action, (revision, _))| match action {
        Action::Create(ordinal) => {
            assume.refused_revisions.is_of(revision).then_some(End::Refused(*ordinal, Verb::Create))
        }
        Action::Delete(ordinal, _) => assume.refuses_deletion.then_some(End::Refused(*ordinal, Verb::Delete)),
    })
}
