//! The model run forward: what must hold of every course, and courses that the real controller took.

use std::collections::BTreeSet;

use kubectl_sts::cluster::recorded::{self, Absent};
use kubectl_sts::controller::{
    Assume, Blocker, Change, End, Forecast, Idle, MaxUnavailable, Move, Purpose, World, course,
};
use kubectl_sts::kinds::{RollingUpdate, UpdateStrategy};
use kubectl_sts::snapshot::Snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::change::HEALTHS;
use super::plain::{self, Plain};
use super::scenario::Case;
use crate::support::{self, PATIENCE};

fn run(world: &World, change: &Change, assume: &Assume) -> Forecast {
    world.look(|snapshot| course(snapshot, change, assume)).unwrap()
}

prop_compose! {
    fn any_pods()(pods in prop::collection::btree_map(
        0..8_i32,
        (prop::sample::select(vec!["A", "B", "C"]), prop::sample::select(HEALTHS.to_vec()), any::<bool>()),
        0..8,
    )) -> Vec<String> {
        pods.into_iter()
            .map(|(ordinal, (revision, (_, health), ends))| {
                format!("{ordinal} {revision} {health}{}", if ends && ordinal % 3 == 0 { " terminating" } else { "" })
            })
            .collect()
    }
}

prop_compose! {
    pub fn any_world()(
        parallel in any::<bool>(),
        strategy in 0..6_i32,
        partition in 0..6_i32,
        most in 1..4_i32,
        (start, replicas) in (prop::sample::select(vec![0, 0, 1, 3]), 0..7_i32),
        current_replicas in 0..7_i32,
        update in prop::sample::select(vec!["A", "B"]),
        server in prop::sample::select(vec!["v1.33.1", "v1.35.1", "v1.36.3", "v1.37.1"]),
        pods in any_pods(),
    ) -> World {
        let rolling = json!({"type": "RollingUpdate",
            "rollingUpdate": {"partition": partition, "maxUnavailable": most}});
        let strategy = match strategy {
            0 => json!({"type": "OnDelete"}),
            1 => json!({"type": "RollingUpdate"}),
            _ => rolling,
        };
        let case: Case = serde_json::from_value(json!({
            "policy": if parallel { "Parallel" } else { "OrderedReady" }, "strategy": strategy,
            "start": start, "replicas": replicas, "current": "A", "update": update,
            "currentReplicas": current_replicas, "pods": pods, "writes": "nothing",
        })).unwrap();
        case.world(server)
    }
}

fn any_change() -> impl Strategy<Value = Change> {
    (
        prop::option::of(prop::sample::select(vec!["A", "B", "C"])),
        prop::option::of(0..6_i32),
        prop::option::of(0..7_i32),
        prop::collection::vec(0..8_i32, 0..3),
    )
        .prop_map(|(template, partition, replicas, delete)| Change {
            template: template.map(str::to_owned),
            partition,
            replicas,
            delete,
            waits_for: Vec::new(),
        })
}

/// See [`a_parallel_set_without_the_stanza_can_go_round_in_circles`].
fn may_circle(world: &World) -> bool {
    let strategy = &world.set().spec.update_strategy;
    world.set().is_parallel()
        && strategy.r#type == "RollingUpdate"
        && strategy.rolling_update.is_none()
        && world.max_unavailable() == MaxUnavailable::Counted
}

/// How many cases, unless `PROPTEST_CASES` says otherwise.
pub fn cases(default: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(1500), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_course_ends(
        world in any_world(),
        change in any_change(),
        broken in prop::collection::btree_set(prop::sample::select(vec!["A", "B", "C"]), 0..3),
        broken_pods in prop::collection::btree_set(0..8_i32, 0..3),
        undying in prop::collection::btree_set(0..8_i32, 0..2),
    ) {
        let assume = Assume {
            broken_revisions: broken.into_iter().map(str::to_owned).collect(),
            broken_pods,
            undying,
            ..Assume::default()
        };
        let course = run(&world, &change, &assume);
        prop_assert!(course.end != End::Endless || may_circle(&world), "{:?}", course.moves);
    }

    #[test]
    fn with_nothing_broken_the_end_is_a_rest(world in any_world(), change in any_change()) {
        let on_delete = world.set().spec.update_strategy.r#type == "OnDelete";
        prop_assume!(!on_delete || change.partition.is_none());
        let course = run(&world, &change, &Assume::default());
        let ended = |on: i32| {
            let name = world.set().pod_name(on);
            world.pods().iter().any(|pod| pod.metadata.name == name && pod.is_finished())
        };
        prop_assert!(
            match course.end {
                End::At(rest) => matches!(rest, Idle::Done | Idle::Partition | Idle::OnDelete),
                // Two condemned pods that have ended keep each other for ever.
                End::Blocked(on, because) => because == Blocker::NotReady && ended(on),
                End::Endless => may_circle(&world),
                End::Refused(..) => false,
            },
            "{course:?}"
        );
    }

    #[test]
    fn an_update_starts_at_the_top_and_stops_at_the_partition(world in any_world(), change in any_change()) {
        let ordered = !world.set().is_parallel();
        let floor = world.set().start() + change.partition.unwrap_or(world.set().partition());
        let course = run(&world, &change, &Assume::default());
        let updated: Vec<i32> = course.moves.iter().filter_map(|it| match it {
            Move::Delete(ordinal, Some(Purpose::Update)) => Some(*ordinal),
            _ => None,
        }).collect();
        prop_assert!(updated.iter().all(|ordinal| *ordinal >= floor), "below {floor}: {updated:?}");
        if ordered {
            prop_assert!(updated.is_sorted_by(|a, b| a > b), "{updated:?}");
        }
    }
}

prop_compose! {
    /// With everything that a replica can have.
    fn any_crowded_world()(
        world in any_world(),
        recreates in prop::bool::weighted(0.1),
        min_ready in prop::sample::select(vec![0, 0, 3, 1_000_000]),
        when_scaled in prop::sample::select(vec!["Retain", "Delete"]),
        claims in prop::collection::btree_map(0..8_i32, prop::sample::select(vec!["", " terminating", " stale"]), 0..3),
        squatters in prop::collection::btree_set(0..8_i32, 0..2),
    ) -> World {
        let mut case: Value = serde_json::to_value(Case::of(&world, &[])).unwrap();
        let taken = |case: &Value, ordinal: &i32| {
            let start = format!("{ordinal} ");
            case["pods"].as_array().unwrap().iter().any(|pod| pod.as_str().unwrap().starts_with(&start))
        };
        for ordinal in squatters {
            if !taken(&case, &ordinal) {
                case["pods"].as_array_mut().unwrap().push(format!("{ordinal} squatter").into());
            }
        }
        case["claims"] = claims.iter().map(|(ordinal, how)| format!("{ordinal}{how}")).collect();
        case["whenScaled"] = when_scaled.into();
        case["minReadySeconds"] = min_ready.into();
        if recreates {
            case["strategy"] = json!({"type": "Recreate"});
        }
        serde_json::from_value::<Case>(case).unwrap().world(
            if min_ready == 3 { "v1.33.1" } else { "v1.37.1" },
        )
    }
}

/// What the model says of a world, in its two forms.
fn both_say(world: &World) -> [String; 2] {
    let plain = world.look(Plain::of).unwrap();
    let ordinals = 0..10;
    let fast: Vec<_> = ordinals.clone().map(|ordinal| world.revisions_for(ordinal)).collect();
    let slow: Vec<_> = ordinals.map(|ordinal| plain.revisions_for(ordinal)).collect();
    [
        format!("{:?} {:?} {fast:?}", world.next(), world.status()),
        format!("{:?} {:?} {slow:?}", plain.next(), plain.status()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(1000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_kept_is_as_what_is_looked_at_again(
        plain_world in any_world(),
        crowded_world in any_crowded_world(),
        change in any_change(),
        writes in prop::collection::vec((0..4_i32, 0..9_i32), 0..12),
        broken in prop::collection::btree_set(prop::sample::select(vec!["A", "B", "C"]), 0..3),
        broken_pods in prop::collection::btree_set(0..8_i32, 0..3),
        undying in prop::collection::btree_set(0..8_i32, 0..2),
    ) {
        let assume = Assume {
            broken_revisions: broken.into_iter().map(str::to_owned).collect(),
            broken_pods,
            undying,
            ..Assume::default()
        };
        for world in [plain_world, crowded_world] {
            let slow = world.look(|snapshot| {
                let next = plain::next(snapshot).unwrap();
                assert_eq!(kubectl_sts::controller::next(snapshot).unwrap(), next);
                let mut plain = Plain::of(snapshot).unwrap();
                plain::run(&mut plain, &change, &mut assume.clone())
            });
            prop_assert_eq!(run(&world, &change, &assume), slow);
            // And after writes that no controller would make.
            let mut world = world;
            for (what, ordinal) in &writes {
                match what {
                    0 => world.delete(*ordinal),
                    1 => world.remove(*ordinal),
                    2 => world.make_available(*ordinal),
                    _ => {
                        if let kubectl_sts::controller::Next::Act(actions) = world.next() {
                            let revision = world.revisions_for(*ordinal).0;
                            world.settle();
                            for action in actions {
                                world.act(action, &revision);
                            }
                        }
                    }
                }
                let [fast, slow] = both_say(&world);
                prop_assert_eq!(fast, slow, "after {} of {}", what, ordinal);
            }
        }
    }
}

#[test]
fn a_broken_revision_blocks_and_a_repaired_template_does_not_help() {
    let case: Case = serde_json::from_value(json!({
        "policy": "OrderedReady", "strategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "replicas": 3, "current": "A", "update": "A", "currentReplicas": 3, "writes": "nothing",
        "pods": ["0 A ready", "1 A ready", "2 A ready"],
    }))
    .unwrap();
    let world = case.world("v1.37.1");
    let assume = Assume { broken_revisions: BTreeSet::from(["B".to_owned()]), ..Assume::default() };
    let bad = Change { template: Some("B".to_owned()), ..Change::default() };
    let course = run(&world, &bad, &assume);
    assert_eq!(course.end, End::Blocked(2, Blocker::NotReady), "{course:?}");
    assert_eq!(course.moves.len(), 2, "{course:?}");

    let case: Case = serde_json::from_value(json!({
        "policy": "OrderedReady", "strategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
        "replicas": 3, "current": "A", "update": "B", "currentReplicas": 2, "writes": "nothing",
        "pods": ["0 A ready", "1 A ready", "2 B unready"],
    }))
    .unwrap();
    let world = case.world("v1.37.1");
    let back = Change { template: Some("A".to_owned()), ..Change::default() };
    let course = run(&world, &back, &assume);
    assert_eq!((course.moves.len(), course.end), (0, End::Blocked(2, Blocker::NotReady)));
    let freed = run(&world, &Change { delete: vec![2], ..back }, &assume);
    assert_eq!(freed.end, End::At(Idle::Done));
    assert_eq!(freed.moves.last(), Some(&Move::Create { ordinal: 2, revision: "A".to_owned(), or: None }));
}

#[test]
fn a_partition_in_a_set_without_the_stanza_adds_it() {
    let case: Case = serde_json::from_value(json!({
        "policy": "OrderedReady", "strategy": {"type": "RollingUpdate"}, "replicas": 2, "current": "A",
        "update": "B", "currentReplicas": 2, "writes": "nothing", "pods": ["0 A unready", "1 A ready"],
    }))
    .unwrap();
    let mut world = case.world("v1.37.1");
    let change = Change { partition: Some(0), delete: vec![0], ..Change::default() };
    let cured = run(&world, &change, &Assume::default());
    assert_eq!(cured.moves[1], Move::Create { ordinal: 0, revision: "B".to_owned(), or: None }, "{cured:?}");
    world.set_mut().spec.update_strategy =
        UpdateStrategy { r#type: "RollingUpdate".to_owned(), rolling_update: Some(RollingUpdate::default()) };
    assert_eq!(run(&world, &change, &Assume::default()), cured);
}

/// `+2` and `-2`, with a letter for the revision: a for the first, b for the second.
fn short(course: &Forecast, first: &str) -> Vec<String> {
    let letter = |revision: &str| if revision == first { "a" } else { "b" };
    course
        .moves
        .iter()
        .map(|it| match it {
            Move::Delete(ordinal, _) => format!("-{ordinal}"),
            Move::Create { ordinal, revision, .. } => format!("+{ordinal}{}", letter(revision)),
        })
        .collect()
}

/// What the pods of the namespace went through since a resourceVersion, in the same short form.
fn watched(ns: &support::Namespace, since: &str, first: &str) -> Vec<String> {
    let path =
        format!("/api/v1/namespaces/{}/pods?watch=1&resourceVersion={since}&timeoutSeconds=2", ns.name);
    let text = ns.kubectl(&["get", "--raw", &path]).ok();
    let mut ending = BTreeSet::new();
    let mut moves = Vec::new();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let meta = &event["object"]["metadata"];
        let ordinal = meta["name"].as_str().unwrap().rsplit_once('-').unwrap().1.to_owned();
        let uid = meta["uid"].as_str().unwrap().to_owned();
        if event["type"] == "ADDED" {
            let revision = meta["labels"]["controller-revision-hash"].as_str().unwrap();
            moves.push(format!("+{ordinal}{}", if revision == first { "a" } else { "b" }));
        } else if (event["type"] == "DELETED" || !meta["deletionTimestamp"].is_null()) && ending.insert(uid) {
            moves.push(format!("-{ordinal}"));
        }
    }
    moves
}

fn predicted(ns: &support::Namespace, set: &str, change: &Change) -> (Forecast, String, String) {
    let all = ns.kubectl(&["get", "statefulsets,pods,controllerrevisions,pvc", "-o", "yaml"]).ok();
    let files = [("all".to_owned(), all)];
    let mut observed = recorded::read(&files, Absent::Empty, jiff::Timestamp::now()).unwrap();
    observed.server = Some(ns.cluster.version());
    observed.taken_at = jiff::Timestamp::now();
    let namespaces = observed.namespaces();
    let namespace = &namespaces[ns.name.as_str()];
    let set = namespace.sets.iter().find(|it| it.metadata.name == set).unwrap();
    let snapshot = Snapshot::of(&observed, namespace, set);
    let course = course(&snapshot, change, &Assume::default()).unwrap();
    let path = format!("/api/v1/namespaces/{}/pods?limit=1", ns.name);
    let pods: Value = serde_json::from_str(&ns.kubectl(&["get", "--raw", &path]).ok()).unwrap();
    let version = pods["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    (course, set.status.current_revision.clone(), version)
}

/// A set whose pods are ready.
fn set_up(ns: &support::Namespace, spec: &str, replicas: u64, pod: &str) {
    ns.apply(&format!(
        r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: web}}
spec:
  serviceName: none
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
{spec}
  template:
    metadata: {{labels: {{app: web}}, annotations: {{fake.test/linger: 500ms}}}}
    spec:
      terminationGracePeriodSeconds: 1
{pod}
      containers: [{{name: c, image: "registry/app:1"}}]
"#
    ));
    ns.wait_ready("web", replicas);
    ns.wait_rolled_out("web", replicas);
}

/// Makes a set, predicts what a change leads to, makes the change, and compares when it has come to rest.
fn takes_the_course(name: &str, spec: &str, replicas: u64, change: &Change, patch: &Value, ordered: bool) {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace(&format!("course-{name}"));
    set_up(&ns, spec, replicas, "");
    let (course, first, version) = predicted(&ns, "web", change);
    if patch.is_object() {
        ns.patch("statefulset/web", patch);
    }
    for ordinal in &change.delete {
        ns.delete(&["pod", &format!("web-{ordinal}"), "--wait=false"]);
    }
    let mut wanted = short(&course, &first);
    let sort = |moves: &mut Vec<String>| {
        if !ordered {
            moves.sort();
        }
    };
    sort(&mut wanted);
    ns.wait(&format!("the course {wanted:?}"), PATIENCE, || {
        let mut seen = watched(&ns, &version, &first);
        sort(&mut seen);
        if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) }
    });
}

fn image(extra: Value) -> Value {
    let mut patch =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "registry/app:2"}]}}}});
    if let Value::Object(extra) = extra {
        patch["spec"].as_object_mut().unwrap().extend(extra);
    }
    patch
}

#[test]
fn the_real_controller_takes_the_predicted_course_to_a_partition() {
    let change = Change { template: Some("new".into()), partition: Some(3), ..Change::default() };
    let patch = image(json!({"updateStrategy": {"rollingUpdate": {"partition": 3}}}));
    takes_the_course("partition", "", 5, &change, &patch, true);
}

#[test]
fn the_real_controller_takes_the_predicted_course_up_and_down() {
    let change = |replicas| Change { replicas: Some(replicas), ..Change::default() };
    takes_the_course("up", "", 3, &change(5), &json!({"spec": {"replicas": 5}}), true);
    takes_the_course("down", "", 5, &change(2), &json!({"spec": {"replicas": 2}}), true);
}

#[test]
fn the_real_controller_takes_the_predicted_course_in_parallel() {
    let change = Change { template: Some("new".into()), replicas: Some(3), ..Change::default() };
    let patch = image(json!({"replicas": 3}));
    takes_the_course("parallel", "  podManagementPolicy: Parallel", 4, &change, &patch, false);
}

#[test]
fn the_real_controller_takes_the_predicted_course_with_two_at_a_time() {
    let change = Change { template: Some("new".into()), ..Change::default() };
    let spec = "  updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 2}}";
    takes_the_course("two", spec, 4, &change, &image(Value::Null), true);
}

#[test]
fn the_real_controller_takes_the_predicted_course_on_delete() {
    let change = Change { template: Some("new".into()), delete: vec![1], ..Change::default() };
    takes_the_course(
        "on-delete",
        "  updateStrategy: {type: OnDelete}",
        3,
        &change,
        &image(Value::Null),
        true,
    );
}

/// Found by the property that every course ends, and then seen on 1.37.1: web-0 is created on the old revision, as
/// `status.currentReplicas` still counts web-2, and deleted in the same sync, as it is old and not available. While it is
/// not, the budget is used up, and so web-2 is never updated. Adding the stanza ends it. A pod that has yet to be
/// scheduled ends at once; there the controller goes round only until it meets its own count, which a sync that
/// deletes writes one too low for a moment (seen: one and two rounds). Before 1.37 pods of a Parallel set are updated one
/// after another, from the highest ordinal down, or not at all while there is a broken one.
#[test]
fn a_parallel_set_without_the_stanza_can_go_round_in_circles() {
    let Some(cluster) = support::cluster().filter(|cluster| !cluster.plane.is_borrowed()) else { return };
    if !cluster.is_from(37) {
        return goes_straight(cluster);
    }
    // Whether web-0 comes back on the old revision depends on which status the controller has written when it makes it: on a
    // busy machine it may leave the circle by chance.
    let circles = (0..4).any(|_| goes_round(cluster));
    assert!(circles, "web-0 never came back on the old revision for the second time");
}

/// A Parallel set without the stanza: web-2 is ready, the others are not.
fn two_unready(cluster: &'static support::Cluster) -> support::Namespace {
    let ns = cluster.namespace("course-circles");
    set_up(
        &ns,
        "  podManagementPolicy: Parallel\n  updateStrategy: {type: RollingUpdate}",
        3,
        "      nodeName: node-1",
    );
    for pod in ["web-0", "web-1"] {
        ns.kubectl(&["annotate", "pod", pod, "fake.test/mode=unready"]).ok();
        ns.wait_pod(pod, "not ready", |pod| {
            let conditions = pod["status"]["conditions"].as_array();
            conditions
                .is_some_and(|all| all.iter().any(|it| it["type"] == "Ready" && it["status"] == "False"))
        });
    }
    ns.wait_ready("web", 1);
    ns
}

/// The older controllers take the predicted course, and that one ends.
fn goes_straight(cluster: &'static support::Cluster) {
    let ns = two_unready(cluster);
    let change = Change { template: Some("new".into()), ..Change::default() };
    let (course, first, version) = predicted(&ns, "web", &change);
    assert!(matches!(course.end, End::At(_)), "{:?}", course.end);
    ns.patch("statefulset/web", &image(Value::Null));
    if MaxUnavailable::of(Some(&cluster.version())) == MaxUnavailable::Trapping {
        ns.wait("the template to be observed", PATIENCE, || {
            let set = ns.kubectl_json(&["get", "statefulset", "web"]);
            let is_observed = set["status"]["observedGeneration"] == set["metadata"]["generation"];
            if is_observed { Ok(()) } else { Err(set["status"].to_string()) }
        });
        // It looks for 2 s.
        assert!(watched(&ns, &version, &first).is_empty(), "a broken pod uses up the budget");
        for pod in ["web-0", "web-1"] {
            ns.kubectl(&["annotate", "pod", pod, "fake.test/mode-"]).ok();
        }
    }
    let wanted = short(&course, &first);
    ns.wait(&format!("the course {wanted:?}"), PATIENCE, || {
        let seen = watched(&ns, &version, &first);
        if seen == wanted { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    ns.wait_rolled_out("web", 3);
}

fn goes_round(cluster: &'static support::Cluster) -> bool {
    let ns = two_unready(cluster);
    let change = Change { template: Some("new".into()), ..Change::default() };
    let (course, first, version) = predicted(&ns, "web", &change);
    assert_eq!(course.end, End::Endless, "{:?}", short(&course, &first));
    ns.patch("statefulset/web", &image(Value::Null));
    let mut back = 0;
    ns.wait("web-0 to come back on the old revision twice, or all to be new", PATIENCE, || {
        let seen = watched(&ns, &version, &first);
        back = seen.iter().filter(|it| *it == "+0a").count();
        let status = &ns.kubectl_json(&["get", "statefulset", "web"])["status"];
        let over = status["currentRevision"] == status["updateRevision"] && status["readyReplicas"] == 3;
        if back >= 2 || (over && seen.len() > 2) { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    ns.patch("statefulset/web", &json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}));
    ns.wait_rolled_out("web", 3);
    back >= 2
}
