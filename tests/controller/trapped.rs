//! Which pod traps a set, held against the model itself: the controller leaves that pod alone whatever it does, and makes
//! another one of its successor.

use std::collections::{BTreeMap, BTreeSet};

use kubectl_sts::cluster::recorded::{self, Absent};
use kubectl_sts::controller::{
    Assume, Blocker, Change, MaxUnavailable, Move, Next, World, course, current_revision, trap,
};
use kubectl_sts::kinds::RollingUpdate;
use kubectl_sts::snapshot::{Snapshot, parse_pod_name};
use proptest::prelude::*;

use super::course::{any_world, cases};

/// The pod that holds up the set, the revision it has, and the one that its successor gets; told by removing it.
fn expected(world: &World) -> Option<(i32, String, String)> {
    let set = world.set();
    let (is_parallel, strategy) = (set.is_parallel(), &set.spec.update_strategy);
    if strategy.r#type != "RollingUpdate" {
        return None;
    }
    let most = strategy.rolling_update.as_ref().map_or(1, |rolling| {
        let most = rolling.max_unavailable.as_ref().map_or(1, |most| most.rounded_down(0).unwrap());
        usize::try_from(most).unwrap()
    });
    let pods: BTreeMap<String, _> =
        world.pods().iter().map(|pod| (pod.metadata.name.clone(), pod.clone())).collect();
    // Not available, and not about to be replaced for another reason.
    let stuck: Vec<i32> = (set.start()..set.start() + set.replicas())
        .filter(|ordinal| {
            pods.get(&set.pod_name(*ordinal)).is_some_and(|pod| {
                let is_free = pod.metadata.is_terminating() || pod.is_finished();
                pod.metadata.controller().is_some()
                    && !is_free
                    && !pod.is_available(set.spec.min_ready_seconds, world.now())
            })
        })
        .collect();
    let successor = |ordinal: i32| {
        let mut after = world.clone();
        if strategy.rolling_update.is_none() {
            after.set_mut().spec.update_strategy.rolling_update = Some(RollingUpdate::default());
        }
        let has = pods[&set.pod_name(ordinal)].revision().to_owned();
        after.remove(ordinal);
        let gets = after.revisions_for(ordinal).0;
        (!has.is_empty() && has != gets).then_some((ordinal, has, gets))
    };
    if !is_parallel {
        let Next::Wait { on, because: Blocker::NotReady | Blocker::NotYetAvailable } = world.next() else {
            return None;
        };
        return stuck.contains(&on).then(|| successor(on)).flatten();
    }
    let is_trapping = world.max_unavailable() == MaxUnavailable::Trapping;
    (is_trapping && stuck.len() >= most)
        .then(|| stuck.iter().rev().find_map(|ordinal| successor(*ordinal)))?
}

fn found(world: &World) -> Option<(i32, String, String)> {
    let owned = |snapshot: &Snapshot<'_>| {
        let trap = trap(snapshot).unwrap()?;
        Some((trap.ordinal, trap.has.to_owned(), trap.would_get.to_owned()))
    };
    world.look(owned)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(4000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_trap_is_a_pod_that_only_a_deletion_replaces(world in any_world()) {
        let trap = found(&world);
        prop_assert_eq!(&trap, &expected(&world));
        let Some((ordinal, ..)) = trap else { return Ok(()) };
        // No pod that is not available now becomes so by waiting.
        let set = world.set();
        let broken_pods: BTreeSet<i32> = world.pods().iter()
            .filter(|pod| !pod.is_available(set.spec.min_ready_seconds, world.now()))
            .filter_map(|pod| parse_pod_name(&pod.metadata.name).map(|(_, ordinal)| ordinal))
            .collect();
        let assume = Assume { broken_pods, ..Assume::default() };
        let course = world.look(|snapshot| course(snapshot, &Change::default(), &assume)).unwrap();
        let is_its = |step: &Move| match step {
            Move::Delete(other, _) | Move::Create { ordinal: other, .. } => *other == ordinal,
        };
        prop_assert!(!course.moves.iter().any(is_its), "it is replaced: {:?}", course.moves);
    }
}

#[test]
fn a_set_that_is_being_deleted_is_not_trapped() {
    let case = r#"{"policy": "OrderedReady", "strategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "replicas": 2, "current": "A", "update": "A", "pods": ["0 B unready", "1 A ready"], "writes": "nothing"}"#;
    let case: super::scenario::Case = serde_json::from_str(case).unwrap();
    let mut world = case.world("v1.37.1");
    assert_eq!(found(&world), Some((0, "B".to_owned(), "A".to_owned())));
    world.set_mut().metadata.deletion_timestamp = Some(world.now());
    assert_eq!(found(&world), None);
}

/// `stateful_set_control.go:getStatefulSetRevisions`
#[test]
fn the_current_revision_is_the_updates_where_its_own_is_gone() {
    let set = |current: &str| {
        format!(
            "{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: web, namespace: shop}}, \
             spec: {{replicas: 0, selector: {{matchLabels: {{app: web}}}}}}, \
             status: {{currentRevision: {current:?}, updateRevision: web-b}}}}"
        )
    };
    let revision = |name: &str| {
        format!(
            "{{apiVersion: apps/v1, kind: ControllerRevision, revision: 1, metadata: {{name: {name}, namespace: shop, \
             labels: {{app: web}}, ownerReferences: [{{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: '', \
             controller: true}}]}}}}"
        )
    };
    let both = [revision("web-a"), revision("web-b")].join("\n---\n");
    for (current, revisions, wanted) in [
        ("web-a", both.as_str(), "web-a"),
        ("", &both, "web-b"),
        ("web-a", &revision("web-b"), "web-b"),
        ("web-a", &revision("web-a"), "web-a"),
        // Files without revisions do not say that one is gone.
        ("web-a", "", "web-a"),
    ] {
        let text = format!("{}\n---\n{revisions}", set(current));
        let files = [("file".to_owned(), text.clone())];
        let observed = recorded::read(&files, Absent::Empty, jiff::Timestamp::UNIX_EPOCH).unwrap();
        let namespaces = observed.namespaces();
        let snapshot = Snapshot::of(&observed, &namespaces["shop"], &observed.sets[0]);
        assert_eq!(current_revision(&snapshot), wanted, "{text}");
    }
}
