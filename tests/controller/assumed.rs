//! What a forecast takes for granted: pods that are broken stay so, and the API server keeps to what it refused.

use kubectl_sts::cluster::recorded::{self, Absent};
use kubectl_sts::controller::{
    Action, Blocker, Change, End, Forecast, Idle, Move, Next, Purpose, courses, courses_unblocked, next,
};
use kubectl_sts::snapshot::{Snapshot, Verb};

/// Two replicas of an ordered set whose pods are on web-a, with what differs from case to case.
fn files(update: &str, partition: i32, pods: &[&str], event: &str) -> String {
    let mut text = format!(
        r"apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: web, namespace: shop, uid: set, generation: 1}}
spec:
  replicas: 2
  serviceName: web
  selector: {{matchLabels: {{app: web}}}}
  updateStrategy: {{type: RollingUpdate, rollingUpdate: {{partition: {partition}}}}}
  template: {{metadata: {{labels: {{app: web}}}}, spec: {{containers: [{{name: web, image: web}}]}}}}
status: {{observedGeneration: 1, replicas: 2, currentRevision: web-a, updateRevision: {update}}}
"
    );
    for pod in pods {
        let (name, state) = pod.split_once(' ').unwrap();
        let status = match state {
            "ready" => {
                r#"{phase: Running, conditions: [{type: Ready, status: "True", lastTransitionTime: "2026-11-20T10:00:20Z"}]}"#
            }
            "broken" => {
                r#"{phase: Pending, conditions: [{type: Ready, status: "False", lastTransitionTime: "2026-11-20T10:00:20Z"}],
  containerStatuses: [{name: web, ready: false, restartCount: 0, image: web, imageID: "",
    state: {waiting: {reason: ImagePullBackOff, message: "not found"}}}]}"#
            }
            _ => unreachable!("{state}"),
        };
        text += &format!(
            r#"---
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: shop
  uid: uid-{name}
  creationTimestamp: "2026-11-20T10:00:00Z"
  labels: {{app: web, controller-revision-hash: web-a}}
  ownerReferences: [{{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: set, controller: true}}]
spec: {{nodeName: node-a, containers: [{{name: web, image: web}}]}}
status: {status}
"#
        );
    }
    if !event.is_empty() {
        let (reason, message) = event.split_once(": ").unwrap();
        text += &format!(
            r#"---
apiVersion: v1
kind: Event
metadata: {{name: web.1, namespace: shop}}
type: Warning
reason: {reason}
involvedObject: {{kind: StatefulSet, name: web, namespace: shop, uid: set}}
message: {message:?}
lastTimestamp: "2026-11-20T12:00:00Z"
"#
        );
    }
    text
}

fn look<T>(text: &str, look: impl FnOnce(&Snapshot<'_>) -> T) -> T {
    let files = [("file".to_owned(), text.to_owned())];
    let now = "2026-11-20T12:01:00Z".parse().unwrap();
    let observed = recorded::read(&files, Absent::Empty, now).unwrap();
    let namespaces = observed.namespaces();
    look(&Snapshot::of(&observed, &namespaces["shop"], &observed.sets[0]))
}

fn forecast(text: &str, change: &Change) -> Forecast {
    look(text, |snapshot| courses(snapshot, std::slice::from_ref(change))).unwrap()
}

fn template(revision: &str) -> Change {
    Change { template: Some(revision.to_owned()), ..Change::default() }
}

fn create(ordinal: i32, revision: &str) -> Move {
    Move::Create { ordinal, revision: revision.to_owned(), or: None }
}

const QUOTA: &str = "FailedCreate: create Pod web-1 in StatefulSet web failed error: pods \"web-1\" is forbidden: exceeded \
    quota: team, requested: pods=1, used: pods=10, limited: pods=10";
const POLICY: &str = "FailedCreate: create Pod web-1 in StatefulSet web failed error: pods \"web-1\" is forbidden: \
    violates PodSecurity \"restricted:latest\": host namespaces";
const FREEZE: &str = "FailedDelete: delete Pod web-1 in StatefulSet web failed error: pods \"web-1\" is forbidden: \
    ValidatingAdmissionPolicy 'freeze' with binding 'all' denied request: no deletions until Monday";

#[test]
fn a_pod_that_was_refused_is_refused_again() {
    let still = Change::default();
    let refused = End::Refused(1, Verb::Create);
    // Whatever the template is, where the quota is used up.
    let quota = files("web-a", 0, &["web-0 ready"], QUOTA);
    for change in [&still, &template("web-b")] {
        let course = forecast(&quota, change);
        assert_eq!((course.moves, course.end), (Vec::new(), refused), "{change:?}");
    }
    // Of this template, where it is about the pod.
    let policy = files("web-a", 0, &["web-0 ready"], POLICY);
    let course = forecast(&policy, &still);
    assert_eq!((course.moves, course.end), (Vec::new(), refused));
    let course = forecast(&policy, &template("web-b"));
    assert_eq!(course.moves[0], create(1, "web-b"));
    assert_eq!(course.end, End::At(Idle::Done));
    // Below the partition it is made from the refused one again.
    let held = files("web-a", 2, &["web-0 ready"], POLICY);
    assert_eq!(forecast(&held, &template("web-b")).end, refused);
    // Without an event nothing is refused.
    let course = forecast(&files("web-a", 0, &["web-0 ready"], ""), &still);
    assert_eq!((course.moves, course.end), (vec![create(1, "web-a")], End::At(Idle::Done)));
}

#[test]
fn a_deletion_that_was_refused_is_refused_again() {
    let pods = ["web-0 ready", "web-1 ready"];
    let frozen = files("web-b", 0, &pods, FREEZE);
    let course = forecast(&frozen, &Change::default());
    assert_eq!((course.moves, course.end), (Vec::new(), End::Refused(1, Verb::Delete)));
    let thawed = look(&frozen, |snapshot| courses_unblocked(snapshot, &[])).unwrap();
    assert_eq!(thawed.moves[0], Move::Delete(1, Some(Purpose::Update)));
    assert_eq!(thawed.end, End::At(Idle::Done));
    let free = forecast(&files("web-b", 0, &pods, ""), &Change::default());
    assert_eq!(free, thawed);
}

#[test]
fn a_pod_that_is_broken_stays_so_until_it_is_deleted() {
    let broken = files("web-b", 0, &["web-0 broken", "web-1 ready"], "");
    let course = forecast(&broken, &Change::default());
    assert_eq!((course.moves, course.end), (Vec::new(), End::Blocked(0, Blocker::NotReady)));
    let course = forecast(&broken, &Change { delete: vec![0], ..Change::default() });
    assert_eq!(course.end, End::At(Idle::Done));
    assert_eq!(course.moves[..2], [Move::Delete(0, None), create(0, "web-b")]);
    let unblocked = look(&broken, |snapshot| courses_unblocked(snapshot, &[])).unwrap();
    assert_eq!(unblocked.end, End::At(Idle::Done));
}

#[test]
fn one_change_follows_the_other() {
    let text = files("web-a", 0, &["web-0 ready", "web-1 ready"], "");
    let changes = [template("web-b"), Change { replicas: Some(1), ..Change::default() }];
    let course = look(&text, |snapshot| courses(snapshot, &changes)).unwrap();
    let moves = [
        Move::Delete(1, Some(Purpose::Update)),
        create(1, "web-b"),
        Move::Delete(0, Some(Purpose::Update)),
        create(0, "web-b"),
        Move::Delete(1, Some(Purpose::ScaleDown)),
    ];
    assert_eq!((course.moves.as_slice(), course.end), (&moves[..], End::At(Idle::Done)));
}

/// A PVC that is being deleted keeps its replica from being created, as long as it is there.
#[test]
fn a_pvc_that_is_being_deleted_is_in_the_way_until_it_is_gone() {
    let mut text = files("web-a", 0, &["web-0 ready"], "");
    text = text.replace(
        "  serviceName: web\n",
        "  serviceName: web\n  volumeClaimTemplates: [{metadata: {name: data}, spec: {}}]\n",
    );
    // Of a pod without a uid nothing is known of its volumes.
    text = text.replace("  uid: uid-web-0\n", "");
    for (name, deleted) in
        [("data-web-0", ""), ("data-web-1", ", deletionTimestamp: \"2026-11-20T11:00:00Z\"")]
    {
        text += &format!(
            "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: {name}, namespace: shop, labels: {{app: web}}{deleted}}}\n\
             spec: {{volumeName: pv-{name}}}\nstatus: {{phase: Bound}}\n"
        );
    }
    assert_eq!(forecast(&text, &Change::default()).end, End::Blocked(1, Blocker::ClaimEnding));
    let unblocked = look(&text, |snapshot| courses_unblocked(snapshot, &[])).unwrap();
    assert_eq!((unblocked.moves, unblocked.end), (vec![create(1, "web-a")], End::At(Idle::Done)));
}

#[test]
fn a_set_the_controller_does_not_look_at_does_nothing() {
    let text = files("web-a", 0, &["web-0 ready"], "");
    assert_eq!(look(&text, next).unwrap(), Next::Act(vec![Action::Create(1)]));
    let unobserved = text.replace("generation: 1}", "generation: 2}");
    assert_eq!(look(&unobserved, next).unwrap(), Next::Settled(Idle::Unobserved));
    let deleted = text
        .replace("uid: set, generation", "deletionTimestamp: \"2026-11-20T11:00:00Z\", uid: set, generation");
    assert_eq!(look(&deleted, next).unwrap(), Next::Settled(Idle::Deleting));
}
