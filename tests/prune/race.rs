//! A world that moves while claims are deleted, and people who may not delete.

use std::thread;
use std::time::Duration;

use serde_json::json;

use super::data::Data;
use super::live::{claims, listing, names, scale, set};
use crate::support::proxy::Proxy;
use crate::support::{self, Run};

#[test]
fn a_scale_up_in_the_last_moment_loses_no_claim() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("race");
    set(&ns, "db", 5);
    let data = Data::of(&ns, "data-db-4");
    scale(&ns, "db", 2);
    let before = claims(&ns);
    let proxy = Proxy::start(cluster);
    proxy.hold("DELETE ");
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("b");
    let args = ["prune-pvcs", "db", "--yes", "--server", &proxy.server, "--backup", backup.to_str().unwrap()];
    let run = thread::scope(|scope| {
        let pruning = scope.spawn(|| ns.sts(&args));
        support::wait("the deletion to be on its way", support::PATIENCE, || {
            if proxy.held() > 0 { Ok(()) } else { Err("no deletion yet".to_owned()) }
        });
        scale(&ns, "db", 5);
        proxy.release();
        pruning.join().unwrap()
    });
    assert_eq!(run.code, 4, "{run}");
    assert!(run.stdout.contains("0 PVCs deleted"), "{run}");
    assert!(
        run.stdout.contains("stopped") && run.stdout.contains("data-db-4: it was changed at the last moment"),
        "{run}"
    );
    assert!(run.stdout.contains("left     data-db-4, data-db-3 and data-db-2"), "{run}");
    assert_eq!(claims(&ns), before, "{run}");
    let list = ns.kubectl_json(&["get", "pvc"]);
    let is_going = |claim: &&serde_json::Value| !claim["metadata"]["deletionTimestamp"].is_null();
    let going = list["items"].as_array().unwrap().iter().find(is_going);
    if cluster.is_from(37) {
        assert_eq!(going, None);
        assert_eq!(data.policy(), "Delete", "the volume is as it was\n{run}");
        return;
    }
    // An older server cannot tell that the PVC is mounted, and deletes it once the pod is gone. Its data is kept, and the
    // commands that are printed bring it back to the replica.
    assert_eq!(going.unwrap()["metadata"]["name"], "data-db-4", "{run}");
    assert_eq!(data.policy(), "Retain, noted Delete", "{run}");
    let said = run.stdout.split_once("\nkept ").unwrap().1;
    let commands: Vec<&str> =
        said.lines().map(str::trim).filter(|line| line.starts_with("kubectl ")).collect();
    let kinds: Vec<&str> = commands.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(kinds, ["scale", "delete", "sts", "scale"], "{run}");
    for command in commands {
        let yes = if command.starts_with("kubectl sts ") { " --yes" } else { "" };
        ns.shell(&format!("{command}{yes}")).code(0);
    }
    scale(&ns, "db", 5);
    data.is_in(&ns, "data-db-4");
    assert_eq!(data.policy(), "Delete");
}

#[test]
fn a_new_pvc_of_the_name_keeps_the_volume_of_the_old() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("race-new");
    set(&ns, "db", 3);
    let data = Data::of(&ns, "data-db-2");
    scale(&ns, "db", 2);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("b");
    // The first write keeps the volume, the second deletes the PVC, the third hands the volume back.
    let (name, volume) = (ns.name.clone(), data.volume.clone());
    let proxy = crate::support::proxy::Proxy::of(&ns, move |write| {
        if write == 2 {
            let label = json!({"metadata": {"labels": {"changed": "meanwhile"}}}).to_string();
            cluster.kubectl(&["patch", "pv", &volume, "--type=merge", "-p", &label]).ok();
            cluster.kubectl(&["-n", &name, "scale", "statefulset/db", "--replicas=3"]).ok();
            cluster.kubectl(&["-n", &name, "rollout", "status", "statefulset/db", "--timeout=90s"]).ok();
        }
        crate::support::proxy::Then::Pass
    });
    let args = ["prune-pvcs", "db", "--yes", "--server", &proxy.server, "--backup", backup.to_str().unwrap()];
    let run = ns.sts(&[&args[..], &["--show-kept"]].concat());
    assert_eq!(run.code, 4, "{run}");
    assert!(run.stdout.contains("data-db-2: its PVC is gone, but db-2 needs it"), "{run}");
    assert_eq!(data.policy(), "Retain, noted Delete", "{run}");
    // The next run does not touch it either, and says so.
    let again = ns.sts(&["prune-pvcs", "db", "--yes"]).code(0);
    assert!(again.stdout.contains(&data.volume) && again.stdout.contains("db-2 needs it"), "{again}");
    // In the way is a new, empty PVC.
    let file = backup.join(format!("{}.data-db-2.pvc.yaml", ns.name));
    let refused = ns.sts(&["restore-pvc", file.to_str().unwrap(), "--yes"]).code(4);
    assert!(refused.stderr.contains("kubectl delete pvc data-db-2"), "{refused}");
    let said = run.stdout.split_once("\nkept ").unwrap().1;
    for command in said.lines().map(str::trim).filter(|line| line.starts_with("kubectl ")) {
        let yes = if command.starts_with("kubectl sts ") { " --yes" } else { "" };
        ns.shell(&format!("{command}{yes}")).code(0);
    }
    scale(&ns, "db", 3);
    data.is_in(&ns, "data-db-2");
    assert_eq!(data.policy(), "Delete");
}

#[test]
fn a_scale_up_after_the_first_claim_stops_the_rest() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("race-next");
    set(&ns, "db", 4);
    scale(&ns, "db", 1);
    let before = claims(&ns);
    let proxy = Proxy::start(cluster);
    proxy.hold("DELETE ");
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("b");
    let args = ["prune-pvcs", "db", "--yes", "--server", &proxy.server, "--backup", backup.to_str().unwrap()];
    let run = thread::scope(|scope| {
        let pruning = scope.spawn(|| ns.sts(&args));
        support::wait("the deletion to be on its way", support::PATIENCE, || {
            if proxy.held() > 0 { Ok(()) } else { Err("no deletion yet".to_owned()) }
        });
        // Up to the replica below the claim that is being deleted: that one is nobody's still.
        scale(&ns, "db", 3);
        proxy.release();
        pruning.join().unwrap()
    });
    assert_eq!(run.code, 4, "{run}");
    assert!(run.stdout.contains("data-db-3: deleted") && run.stdout.contains("1 PVC deleted"), "{run}");
    assert!(run.stdout.contains("data-db-2: no longer deleted: db-2 uses it"), "{run}");
    let after = claims(&ns);
    for claim in ["data-db-0", "data-db-1", "data-db-2"] {
        assert_eq!(after[claim], before[claim], "{run}");
    }
}

#[test]
fn a_set_on_its_way_keeps_its_claims() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("mid-scale");
    set(&ns, "db", 3);
    // A pod that does not end: the scale-down has begun and cannot be over.
    ns.patch("pod/db-2", &json!({"metadata": {"finalizers": ["example.test/hold"]}}));
    ns.kubectl(&["scale", "statefulset/db", "--replicas=1"]).ok();
    ns.wait("db-1 to be gone", support::PATIENCE, || {
        let run = ns.kubectl(&["get", "pod", "db-1"]);
        if run.code == 1 { Ok(()) } else { Err(run.stdout) }
    });
    let (prunable, others) = listing(&ns, &[]);
    assert!(prunable.is_empty(), "{prunable:?}");
    for claim in ["data-db-1", "data-db-2"] {
        let why = others.iter().find(|other| other.starts_with(claim)).unwrap();
        assert!(why.contains("kept: db is being scaled"), "{others:?}");
    }
    ns.patch("pod/db-2", &json!({"metadata": {"finalizers": null}}));
}

#[test]
fn who_may_only_read_sees_the_table_and_the_missing_permission() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("reader");
    set(&ns, "db", 2);
    scale(&ns, "db", 1);
    let before = claims(&ns);
    let everything = "- {apiGroups: ['*'], resources: ['*'], verbs: [get, list, watch]}";
    let reader = ns.user("reader", everything);
    let namespaced = |args: &[&str]| ns.sts_as(&reader, args);
    // Of volumes, which lie in no namespace, nothing is known yet: that keeps the claims.
    let shown = |run: &Run, text: &str| assert!(run.stdout.contains(text), "{text} is not in {run}");
    ns.wait("the role to be known", support::PATIENCE, || {
        let run = namespaced(&["prune-pvcs", "--show-kept"]);
        if run.code == 0 { Ok(()) } else { Err(run.to_string()) }
    });
    let run = namespaced(&["prune-pvcs", "--show-kept"]).code(0);
    shown(&run, "data-db-1");
    shown(&run, "could not be checked: persistentvolumes (forbidden to user system:serviceaccount:");
    ns.grant_cluster("reader", everything);
    ns.wait("volumes to be readable", support::PATIENCE, || {
        let run = namespaced(&["prune-pvcs"]);
        if run.stdout.starts_with("1 PVC (1Gi) belongs to") { Ok(()) } else { Err(run.to_string()) }
    });
    let run = namespaced(&["prune-pvcs"]).code(0);
    shown(&run, "data-db-1");
    shown(&run, "data destroyed");
    shown(&run, &format!("missing permission: delete persistentvolumeclaims -n {}", ns.name));
    let run = namespaced(&["prune-pvcs", "--yes"]).code(4);
    shown(&run, "data-db-1");
    assert!(run.stderr.contains("you are not allowed to delete persistentvolumeclaims"), "{run}");
    assert_eq!(claims(&ns), before);
}

#[test]
fn a_snapshot_is_made_first_or_nothing_is_deleted() {
    let Some(cluster) = support::cluster() else { return };
    if cluster.plane.is_borrowed() {
        return;
    }
    let ns = cluster.namespace("snapshot");
    set(&ns, "db", 2);
    scale(&ns, "db", 1);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("b");
    let backup = backup.to_str().unwrap();
    let args = ["prune-pvcs", "--yes", "--snapshot", "fast", "--backup", backup];
    let run = ns.sts(&args).code(4);
    assert!(run.stderr.contains("this cluster has no VolumeSnapshots"), "{run}");
    assert!(!std::path::Path::new(backup).exists());
    cluster.apply(
        r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: volumesnapshots.snapshot.storage.k8s.io
  annotations: {api-approved.kubernetes.io: 'https://github.com/kubernetes-csi/external-snapshotter/pull/814'}
spec:
  group: snapshot.storage.k8s.io
  scope: Namespaced
  names: {kind: VolumeSnapshot, listKind: VolumeSnapshotList, plural: volumesnapshots, singular: volumesnapshot}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
",
    );
    cluster
        .kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "crd/volumesnapshots.snapshot.storage.k8s.io",
        ])
        .ok();
    support::wait("the new kind to be served", support::PATIENCE, || {
        let run = ns.kubectl(&["get", "volumesnapshots"]);
        if run.code == 0 { Ok(()) } else { Err(run.stderr) }
    });
    let run = thread::scope(|scope| {
        let pruning = scope.spawn(|| ns.sts(&args));
        let name = ns.wait("a snapshot", support::PATIENCE, || {
            let list = ns.kubectl_json(&["get", "volumesnapshots"]);
            let name = list["items"][0]["metadata"]["name"].as_str().map(str::to_owned);
            name.ok_or_else(|| list.to_string())
        });
        thread::sleep(Duration::from_secs(2));
        assert_eq!(names(&ns), ["data-db-0", "data-db-1"], "not before the snapshot is ready");
        let snapshot = ns.kubectl_json(&["get", "volumesnapshot", &name]);
        assert_eq!(snapshot["spec"]["source"]["persistentVolumeClaimName"], "data-db-1");
        assert_eq!(snapshot["spec"]["volumeSnapshotClassName"], "fast");
        ns.patch_status(&format!("volumesnapshot/{name}"), &json!({"status": {"readyToUse": true}}));
        pruning.join().unwrap()
    });
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(names(&ns), ["data-db-0"], "{run}");
    // Any other snapshot keeps the claim it is made from.
    scale(&ns, "db", 2);
    scale(&ns, "db", 1);
    ns.apply("{apiVersion: snapshot.storage.k8s.io/v1, kind: VolumeSnapshot, metadata: {name: nightly}, spec: {source: {persistentVolumeClaimName: data-db-1}}}");
    let (prunable, others) = listing(&ns, &[]);
    assert!(
        prunable.is_empty()
            && others.contains(&"data-db-1 kept: VolumeSnapshot nightly was taken of it".to_owned()),
        "{others:?}"
    );
    cluster.kubectl(&["delete", "crd", "volumesnapshots.snapshot.storage.k8s.io", "--wait=false"]).ok();
}
