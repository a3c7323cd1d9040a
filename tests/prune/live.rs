//! On the real control plane: what is left over goes, what may be needed stays, and what was kept comes back.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{self, Binding, Namespace, Run};

/// A set of this many replicas, with a claim each, all ready.
pub fn set(ns: &Namespace, name: &str, replicas: u64) {
    let class = ns.cluster.storage_class("prune", Binding::Immediate, false);
    ns.apply(&format!(
        r"
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: {name}}}
spec:
  serviceName: {name}
  replicas: {replicas}
  podManagementPolicy: Parallel
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{{name: main, image: 'example.test/{name}:1', readinessProbe: {{httpGet: {{path: /, port: 80}}}}}}]
  volumeClaimTemplates:
  - metadata: {{name: data}}
    spec: {{accessModes: [ReadWriteOnce], storageClassName: {class}, resources: {{requests: {{storage: 1Gi}}}}}}
"
    ));
    ns.wait_ready(name, replicas);
}

/// Scales, and waits until it is over.
pub fn scale(ns: &Namespace, name: &str, replicas: u64) {
    ns.kubectl(&["scale", &format!("statefulset/{name}"), &format!("--replicas={replicas}")]).ok();
    ns.wait(&format!("{name} to have {replicas} pods"), support::PATIENCE, || {
        let set = ns.kubectl_json(&["get", "sts", name]);
        let pods = ns.kubectl_json(&["get", "pods", "-l", &format!("app={name}")]);
        let there = pods["items"].as_array().unwrap().len() as u64;
        let ready = set["status"]["readyReplicas"].as_u64().unwrap_or(0);
        let seen = set["status"]["observedGeneration"] == set["metadata"]["generation"];
        let has = set["status"]["replicas"].as_u64().unwrap_or(0);
        if seen && there == replicas && ready == replicas && has == replicas {
            believed_used(ns).map_or(Ok(()), |claim| Err(format!("{claim} is said to be used")))
        } else {
            Err(set["status"].to_string())
        }
    });
}

/// A PVC that no pod uses, and of which the server says so only a moment later (condition Unused, from 1.37 on).
fn believed_used(ns: &Namespace) -> Option<String> {
    let items = |kind: &str| ns.kubectl_json(&["get", kind])["items"].as_array().unwrap().clone();
    let pods = items("pods");
    let volumes = pods.iter().filter_map(|pod| pod["spec"]["volumes"].as_array()).flatten();
    let mounted: Vec<&Value> = volumes.map(|volume| &volume["persistentVolumeClaim"]["claimName"]).collect();
    let is_used = |claim: &Value| {
        let mut conditions = claim["status"]["conditions"].as_array().into_iter().flatten();
        conditions.any(|condition| condition["type"] == "Unused" && condition["status"] == "False")
    };
    let name = |claim: &Value| claim["metadata"]["name"].clone();
    let mut late =
        items("pvc").into_iter().filter(|claim| is_used(claim) && !mounted.contains(&&name(claim)));
    late.next().map(|claim| name(&claim).to_string())
}

/// The uids of claims, by name; an object that is going counts.
pub fn claims(ns: &Namespace) -> std::collections::BTreeMap<String, String> {
    let list = ns.kubectl_json(&["get", "pvc"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = list["items"].as_array().unwrap().iter();
    items.map(|claim| (text(&claim["metadata"]["name"]), text(&claim["metadata"]["uid"]))).collect()
}

pub fn names(ns: &Namespace) -> Vec<String> {
    claims(ns).into_keys().collect()
}

/// What would be deleted, and why the others are not: `NAME` or `NAME class: because`.
pub fn listing(ns: &Namespace, args: &[&str]) -> (Vec<String>, Vec<String>) {
    let run = ns.sts(&[&["prune-pvcs", "-o", "json"], args].concat());
    parsed(&run)
}

fn parsed(run: &Run) -> (Vec<String>, Vec<String>) {
    let list: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let prunable = list["prunable"].as_array().unwrap().iter().map(|claim| text(&claim["name"])).collect();
    let other = |claim: &Value| {
        format!("{} {}: {}", text(&claim["name"]), text(&claim["class"]), text(&claim["because"]))
    };
    (prunable, list["others"].as_array().unwrap().iter().map(other).collect())
}

/// Runs our program in a folder of its own, into which backups go.
pub fn sts_in_folder(ns: &Namespace, folder: &Path, args: &[&str]) -> Run {
    let mut command: Command = ns.sts_command(args);
    Run::of(command.current_dir(folder), "")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[test]
fn three_left_over_claims_go_and_new_ones_come() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("prune");
    set(&ns, "db", 5);
    scale(&ns, "db", 2);
    let before = claims(&ns);
    assert_eq!(before.len(), 5);
    let three = ["data-db-4", "data-db-3", "data-db-2"];
    let (prunable, others) = listing(&ns, &[]);
    assert_eq!(prunable, three, "highest ordinal first");
    assert_eq!(others, ["data-db-0 kept: db-0 uses it", "data-db-1 kept: db-1 uses it"]);

    // Off a terminal it only shows.
    let run = ns.sts(&["prune-pvcs", "db"]).code(0);
    assert!(run.stdout.starts_with("3 PVCs (3Gi) belong to replicas that no longer exist:\n"), "{run}");
    assert!(run.stdout.contains("data destroyed"), "{run}");
    assert!(run.stdout.contains("kept: 2 in use (list them with --show-kept)"), "{run}");
    assert_eq!(ns.sts(&["prune-pvcs", "-o", "name"]).ok().lines().count(), 3);
    ns.sts(&["prune-pvcs", "db", "--yes", "--dry-run=client"]).code(0);
    let run = ns.sts(&["prune-pvcs", "db", "--dry-run=server"]).code(0);
    assert_eq!(run.stdout.matches("accepted by the server").count(), 3, "{run}");
    assert_eq!(claims(&ns), before, "nothing was written");

    // Nothing is old enough, and of these the server knows since when they are unused.
    let (prunable, others) = listing(&ns, &["--older-than", "2d"]);
    assert!(
        prunable.is_empty() && others.contains(&"data-db-4 kept: it is younger than 2d".to_owned()),
        "{others:?}"
    );
    let (prunable, others) = listing(&ns, &["--unused-for", "2d"]);
    assert!(
        prunable.is_empty()
            && others.iter().any(|other| {
                // A server before 1.37 does not say since when.
                other.contains("it has been unused for ")
                    || other.contains("how long it has been unused is not known")
            }),
        "{others:?}"
    );

    let folder = tempfile::tempdir().unwrap();
    let run = sts_in_folder(&ns, folder.path(), &["prune-pvcs", "db", "--yes"]).code(0);
    let at = |claim: &str| run.stdout.find(&format!("{claim}: deleted")).unwrap_or_else(|| panic!("{run}"));
    assert!(at("data-db-4") < at("data-db-3") && at("data-db-3") < at("data-db-2"), "{run}");
    assert_eq!(names(&ns), ["data-db-0", "data-db-1"], "{run}");
    let backup = &files(folder.path())[0];
    assert!(backup.file_name().unwrap().to_str().unwrap().starts_with("kubectl-sts-backup-20"), "{backup:?}");
    let mut written: Vec<String> = files(backup)
        .iter()
        .map(|file| file.file_name().unwrap().to_str().unwrap().replace(&ns.name, "NS"))
        .collect();
    written.sort();
    let mut wanted = vec!["README.md".to_owned()];
    for claim in three {
        wanted.extend(["pv", "pvc"].map(|kind| format!("NS.{claim}.{kind}.yaml")));
    }
    wanted.sort();
    assert_eq!(written, wanted);
    // The manifests are such that the server takes them.
    for name in ["data-db-2", "data-db-3"] {
        let file = backup.join(format!("{}.{name}.pvc.yaml", ns.name));
        ns.kubectl(&["create", "--dry-run=server", "-f", file.to_str().unwrap()]).ok();
    }
    // A volume that was destroyed does not come back, and that is said.
    let file = backup.join(format!("{}.data-db-4.pvc.yaml", ns.name));
    let gone = ns.wait("the volume to be destroyed", support::PATIENCE, || {
        let run = ns.sts(&["restore-pvc", file.to_str().unwrap(), "--yes"]);
        if run.stderr.contains("no longer exists, so its data is lost") {
            Ok(run)
        } else {
            Err(run.to_string())
        }
    });
    gone.code(4);

    scale(&ns, "db", 5);
    let after = claims(&ns);
    assert_eq!(after.len(), 5);
    for claim in three {
        assert_ne!(after[claim], before[claim]);
    }
    let (prunable, _) = listing(&ns, &[]);
    assert!(prunable.is_empty());
    assert_eq!(
        ns.sts(&["prune-pvcs", "db", "--yes"]).code(0).stdout.lines().next().unwrap(),
        format!("no orphaned PVCs found in namespace {}", ns.name)
    );
}

#[test]
fn a_kept_volume_is_mounted_again() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("retain");
    set(&ns, "db", 2);
    let volume =
        ns.kubectl_json(&["get", "pvc", "data-db-1"])["spec"]["volumeName"].as_str().unwrap().to_owned();
    scale(&ns, "db", 1);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("b");
    let backup_arg = backup.to_str().unwrap();
    let run =
        ns.sts(&["prune-pvcs", "db", "--yes", "--retain", "--show-kept", "--backup", backup_arg]).code(0);
    assert!(run.stdout.contains("the PV is kept (--retain)"), "{run}");
    assert!(run.stdout.contains(&format!("PV {volume} has reclaim policy Retain")), "{run}");
    assert_eq!(names(&ns), ["data-db-0"]);
    let released = ns.wait("the volume to be released", support::PATIENCE, || {
        let pv = ns.kubectl_json(&["get", "pv", &volume]);
        if pv["status"]["phase"] == "Released" { Ok(pv) } else { Err(pv["status"].to_string()) }
    });
    assert_eq!(released["spec"]["persistentVolumeReclaimPolicy"], "Retain");

    let file = backup.join(format!("{}.data-db-1.pvc.yaml", ns.name));
    let file = file.to_str().unwrap();
    let run = ns.sts(&["restore-pvc", file]).code(4);
    assert!(run.stderr.contains("confirmation required, but stdin is not a terminal"), "{run}");
    let run = ns.sts(&["restore-pvc", file, "--dry-run=server"]).code(0);
    assert!(run.stdout.contains("accepted by the server"), "{run}");
    assert_eq!(names(&ns), ["data-db-0"]);
    // The folder, or all that is in it, PVs and README too.
    let mut inside: Vec<String> =
        std::fs::read_dir(&backup).unwrap().map(|it| it.unwrap().path().display().to_string()).collect();
    inside.sort();
    assert_eq!(inside.len(), 3, "{inside:?}");
    let inside: Vec<&str> = inside.iter().map(String::as_str).collect();
    for given in [&[backup_arg][..], &inside] {
        let run = ns.sts(&[&["restore-pvc", "--dry-run=server"], given].concat()).code(0);
        assert!(run.stdout.contains("restore 1 PVC") && run.stdout.contains("README.md"), "{run}");
        assert_eq!(run.stdout.matches("accepted by the server").count(), 1, "{run}");
    }
    // The command that is shown, pasted.
    let readme = std::fs::read_to_string(backup.join("README.md")).unwrap();
    assert!(
        readme.contains(&format!("kubectl sts restore-pvc {}.data-db-1.pvc.yaml -n {}", ns.name, ns.name)),
        "{readme}"
    );
    ns.shell(&format!(
        "cd {backup_arg} && kubectl sts restore-pvc {}.data-db-1.pvc.yaml -n {} --yes",
        ns.name, ns.name
    ))
    .code(0);
    let claim = ns.kubectl_json(&["get", "pvc", "data-db-1"]);
    assert_eq!(claim["spec"]["volumeName"], volume.as_str());
    assert_eq!(claim["status"]["phase"], "Bound");
    assert_eq!(claim["metadata"]["labels"]["app"], "db");
    // Again: nothing to do. Another claim on that volume, or of that name: refused.
    for given in [file, backup_arg] {
        let run = ns.sts(&["restore-pvc", given, "--yes"]).code(0);
        assert!(run.stdout.contains("nothing to do: it is already bound to PV"), "{run}");
    }
    scale(&ns, "db", 2);
    let pod = ns.kubectl_json(&["get", "pod", "db-1"]);
    let mounted = pod["spec"]["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .any(|volume| volume["persistentVolumeClaim"]["claimName"] == "data-db-1");
    assert!(mounted, "{pod}");
    let again = ns.kubectl_json(&["get", "pvc", "data-db-1"]);
    assert_eq!(
        (&again["metadata"]["uid"], &again["spec"]["volumeName"]),
        (&claim["metadata"]["uid"], &json!(volume))
    );
    cluster
        .kubectl(&[
            "patch",
            "pv",
            &volume,
            "--type=merge",
            "-p",
            r#"{"spec":{"persistentVolumeReclaimPolicy":"Delete"}}"#,
        ])
        .ok();
}

#[test]
fn what_exists_or_is_taken_is_not_restored() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("taken");
    set(&ns, "db", 2);
    scale(&ns, "db", 1);
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("b");
    ns.sts(&["prune-pvcs", "--yes", "--retain", "--backup", backup.to_str().unwrap()]).code(0);
    let file = backup.join(format!("{}.data-db-1.pvc.yaml", ns.name));
    let file = file.to_str().unwrap();
    // A scale-up made a new claim of the name.
    scale(&ns, "db", 2);
    let run = ns.sts(&["restore-pvc", file, "--yes"]).code(4);
    assert!(run.stderr.contains("PVC data-db-1 already exists"), "{run}");
    scale(&ns, "db", 1);
    ns.sts(&["prune-pvcs", "--yes", "--backup", folder.path().join("c").to_str().unwrap()]).code(0);
    // Somebody else has taken the volume.
    let text = std::fs::read_to_string(file).unwrap();
    let volume = text.lines().find_map(|line| line.trim().strip_prefix("volumeName: ")).unwrap().to_owned();
    cluster
        .kubectl(&["patch", "pv", &volume, "--type=merge", "-p",
            r#"{"spec":{"claimRef":{"name":"other","namespace":"elsewhere","uid":null,"resourceVersion":null}}}"#])
        .ok();
    let run = ns.sts(&["restore-pvc", file, "--yes"]).code(4);
    assert!(run.stderr.contains("is bound to another PVC, other in elsewhere"), "{run}");
    assert_eq!(names(&ns), ["data-db-0"]);
    cluster.kubectl(&["delete", "pv", &volume, "--wait=false"]).ok();
}

#[test]
fn a_pvc_that_was_created_by_hand_gets_the_volume_it_waits_for() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("by-hand");
    set(&ns, "db", 2);
    scale(&ns, "db", 1);
    let folder = tempfile::tempdir().unwrap();
    ns.sts(&["prune-pvcs", "--yes", "--retain", "--backup", folder.path().to_str().unwrap()]).code(0);
    let file = folder.path().join(format!("{}.data-db-1.pvc.yaml", ns.name));
    let file = file.to_str().unwrap();
    ns.kubectl(&["create", "-f", file]).ok();
    let claim = || ns.kubectl_json(&["get", "pvc", "data-db-1"]);
    let volume = claim()["spec"]["volumeName"].as_str().unwrap().to_owned();
    // The volume still names the PVC that was deleted, so that nothing binds it to this one.
    ns.wait("an event about it", support::PATIENCE, || {
        let events = ns.kubectl(&["get", "events", "--field-selector", "involvedObject.name=data-db-1"]).ok();
        if events.contains("already bound to a different claim") { Ok(()) } else { Err(events) }
    });
    assert_eq!(claim()["status"]["phase"], "Pending");
    let before = claim()["metadata"]["uid"].clone();
    let run = ns.sts(&["restore-pvc", file, "--yes"]).code(0);
    assert!(run.stdout.contains(&volume), "{run}");
    assert_eq!(claim()["status"]["phase"], "Bound");
    assert_eq!(claim()["metadata"]["uid"], before);
    ns.delete(&["pvc", "data-db-1"]);
    cluster.kubectl(&["delete", "pv", &volume, "--wait=false"]).ok();
}

#[test]
fn what_may_be_needed_is_kept_with_the_reason() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("kept");
    for (name, replicas) in [("zero", 2), ("auto", 2), ("job", 2), ("gone", 2)] {
        set(&ns, name, replicas);
    }
    ns.apply(
        r"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: auto}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: auto}
  minReplicas: 1
  maxReplicas: 5
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
",
    );
    for (name, replicas) in [("zero", 0), ("auto", 1), ("job", 1), ("gone", 1)] {
        scale(&ns, name, replicas);
    }
    // A Job whose pod has ended, and a claim that somebody is deleting while a finalizer holds it.
    ns.apply(
        r"
apiVersion: batch/v1
kind: Job
metadata: {name: backup}
spec:
  template:
    spec:
      restartPolicy: Never
      containers: [{name: main, image: 'example.test/backup:1'}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: data-job-1}}]
",
    );
    ns.wait("the Job's pod", support::PATIENCE, || {
        let pods = ns.kubectl_json(&["get", "pods", "-l", "job-name=backup"]);
        if pods["items"].as_array().is_some_and(|pods| !pods.is_empty()) {
            Ok(())
        } else {
            Err(String::new())
        }
    });
    let pod = ns.kubectl(&["get", "pods", "-l", "job-name=backup", "-o", "name"]).ok();
    ns.patch_status(pod.trim(), &json!({"status": {"phase": "Succeeded"}}));
    ns.patch(
        "pvc/data-gone-1",
        &json!({"metadata": {"finalizers": ["example.test/hold", "kubernetes.io/pvc-protection"]}}),
    );
    let (_, others) = listing(&ns, &["gone"]);
    assert!(
        others.contains(&"data-gone-1 kept: finalizer example.test/hold blocks its deletion".to_owned()),
        "{others:?}"
    );
    ns.delete(&["pvc", "data-gone-1", "--wait=false"]);

    let before = claims(&ns);
    let folder = tempfile::tempdir().unwrap();
    let run = sts_in_folder(&ns, folder.path(), &["prune-pvcs", "--yes", "--show-kept"]).code(0);
    assert!(run.stdout.contains("no orphaned PVCs found"), "{run}");
    assert_eq!(claims(&ns), before);
    let (prunable, others) = listing(&ns, &[]);
    assert!(prunable.is_empty(), "{prunable:?}");
    let others = others.join("\n");
    for reason in [
        "data-zero-0 kept: zero is scaled to 0, possibly for a short time only",
        "data-zero-1 kept: zero is scaled to 0, possibly for a short time only",
        "data-auto-1 kept: HorizontalPodAutoscaler auto can scale up to 5 replicas",
        "data-gone-1 kept: it is already being deleted",
    ] {
        assert!(others.contains(reason), "{reason} is not in\n{others}");
    }
    assert!(
        others.contains("data-job-1 kept: pod backup-") && others.contains(" (Succeeded) mounts it"),
        "{others}"
    );
    // Without its pod, the Job's template is enough.
    ns.delete(&["pods", "-l", "job-name=backup"]);
    let (_, others) = listing(&ns, &["job"]);
    let others = others.join("\n");
    assert!(others.contains("data-job-1 kept: "), "{others}");

    // What is knowingly set aside, in so many words.
    assert_eq!(listing(&ns, &["auto", "--include-hpa-range"]).0, ["data-auto-1"]);
    assert_eq!(listing(&ns, &["zero", "--include-zero"]).0, ["data-zero-1", "data-zero-0"]);
    let run = sts_in_folder(&ns, folder.path(), &["prune-pvcs", "zero", "--yes", "--include-zero"]).code(4);
    assert!(run.stderr.contains("--include-zero=zero"), "{run}");
    assert_eq!(claims(&ns), before);
    let args = ["prune-pvcs", "zero", "--yes", "--include-zero=zero", "-o", "json"];
    let run = sts_in_folder(&ns, folder.path(), &args).code(0);
    crate::schema::holds(&run.stdout);
    assert!(!names(&ns).iter().any(|name| name.starts_with("data-zero")), "{:?}", names(&ns));
    ns.patch("pvc/data-gone-1", &json!({"metadata": {"finalizers": null}}));
}
