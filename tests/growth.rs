//! The work for a large set grows with its pods, not with their square. Counted, not timed: `cargo bench --bench growth`
//! shows the speed.

use kubectl_sts::cluster::recorded::{self, Absent};
use kubectl_sts::controller::{Assume, Change, World};
use kubectl_sts::snapshot::Snapshot;

use crate::support::large::{STATES, State, recording};

/// At most so often a replica is looked at for each pod and each move of a course.
const FACTOR: u64 = 8;
/// How many pods: whoever looks at all of them for each move is far above the factor.
const SIZE: i32 = 600;

fn world(state: State, size: i32) -> World {
    let files = [("large".to_owned(), recording(state, size))];
    let observed = recorded::read(&files, Absent::Empty, jiff::Timestamp::now()).unwrap();
    let namespaces = observed.namespaces();
    let namespace = &namespaces["shop"];
    let snapshot = Snapshot::of(&observed, namespace, namespace.sets[0]);
    let mut world = World::of(&snapshot).unwrap();
    world.assume(Assume::of(&snapshot).unwrap());
    world
}

#[test]
fn a_course_looks_at_each_replica_a_few_times() {
    let changes = [
        ("template", Change { template: Some("web-cccccccccc".to_owned()), ..Change::default() }),
        ("partition", Change { partition: Some(0), ..Change::default() }),
        ("scale down", Change { replicas: Some(0), ..Change::default() }),
        ("delete all", Change { delete: (0..SIZE).collect(), ..Change::default() }),
    ];
    for (state, parallel) in STATES.iter().flat_map(|state| [(*state, false), (*state, true)]) {
        let mut before = world(state, SIZE);
        if parallel {
            "Parallel".clone_into(&mut before.set_mut().spec.pod_management_policy);
        }
        for (name, change) in &changes {
            let mut world = before.clone();
            let moves = u64::try_from(world.run(change).moves.len()).unwrap();
            let units = moves + u64::try_from(SIZE).unwrap();
            let looks = world.effort();
            let least = u64::try_from(before.pods().len()).unwrap().max(moves);
            assert!(looks >= least, "{state:?}, {name}: {looks} looks are too few to have been counted");
            assert!(
                looks <= FACTOR * units,
                "{state:?}, {name}, parallel {parallel}: {looks} looks for {SIZE} pods and {moves} moves"
            );
        }
    }
}
