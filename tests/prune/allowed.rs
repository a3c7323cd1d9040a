//! What may be done without a permission, and what is said then.

use serde_json::Value;

use super::data::Data;
use super::live::{claims, names, scale, set};
use crate::support::{self, Namespace, PATIENCE, Run};

const READS: &str = "- {apiGroups: ['*'], resources: ['*'], verbs: [get, list, watch]}";
const DELETES: &str = "- {apiGroups: [''], resources: [persistentvolumeclaims], verbs: [delete]}";

/// Wherever the lines are broken.
fn says(run: &Run, text: &str) -> bool {
    [&run.stdout, &run.stderr].iter().any(|said| {
        let words: Vec<&str> = said.split_whitespace().collect();
        words.join(" ").contains(text)
    })
}

#[track_caller]
fn shown(run: &Run, text: &str) {
    assert!(says(run, text), "{text} is not in {run}");
}

/// Runs until the roles are known.
fn allowed(ns: &Namespace, user: &std::path::Path, text: &str) {
    ns.wait(text, PATIENCE, || {
        let run = ns.sts_as(user, &["prune-pvcs"]);
        if says(&run, text) { Ok(()) } else { Err(run.to_string()) }
    });
}

#[test]
fn without_patch_on_volumes_the_race_must_be_accepted() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("no-patch");
    set(&ns, "db", 3);
    let data = ["data-db-2", "data-db-1"].map(|claim| Data::of(&ns, claim));
    scale(&ns, "db", 2);
    let user = ns.user("deleter", READS);
    ns.grant_cluster("deleter", &format!("{READS}\n{DELETES}"));
    allowed(&ns, &user, "use --accept-race to delete anyway");
    let folder = tempfile::tempdir().unwrap();
    let args = ["prune-pvcs", "db", "--yes", "--backup", folder.path().to_str().unwrap()];
    let run = ns.sts_as(&user, &args).code(4);
    shown(&run, "(last-moment-race)");
    shown(&run, "--accept-race");
    assert!(data[0].is_there() && names(&ns).len() == 3, "{run}");
    let run = ns.sts_as(&user, &[&args[..], &["-o", "json"]].concat()).code(4);
    crate::schema::holds(&run.stdout);
    let last: Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
    assert_eq!((&last["kind"], &last["reason"]), (&"Refusal".into(), &"last-moment-race".into()), "{run}");
    let run = ns.sts_as(&user, &[&args[..], &["--accept-race"]].concat()).code(0);
    assert_eq!(names(&ns), ["data-db-0", "data-db-1"], "{run}");
    data[0].wait_destroyed();
    // A volume that is kept anyway needs no patch.
    let retain = serde_json::json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}}).to_string();
    cluster.kubectl(&["patch", "pv", &data[1].volume, "--type=merge", "-p", &retain]).ok();
    scale(&ns, "db", 1);
    let folder = tempfile::tempdir().unwrap();
    let args = ["prune-pvcs", "db", "--yes", "--backup", folder.path().to_str().unwrap()];
    ns.sts_as(&user, &args).code(0);
    assert_eq!(names(&ns), ["data-db-0"]);
    assert_eq!(data[1].policy(), "Retain");
    assert!(data[1].is_there());
    let delete = serde_json::json!({"spec": {"persistentVolumeReclaimPolicy": "Delete"}}).to_string();
    cluster.kubectl(&["patch", "pv", &data[1].volume, "--type=merge", "-p", &delete]).ok();
}

#[test]
fn a_patch_that_is_forbidden_in_the_moment_stops_it() {
    let Some(cluster) = support::cluster() else { return };
    if cluster.plane.is_borrowed() {
        return;
    }
    let ns = cluster.namespace("forbidden");
    set(&ns, "db", 2);
    let data = Data::of(&ns, "data-db-1");
    scale(&ns, "db", 1);
    let before = claims(&ns);
    let policy = cluster.unique("no-retain");
    let volume = &data.volume;
    cluster.apply(&format!(
        r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {policy}}}
spec:
  matchConstraints: {{resourceRules: [{{apiGroups: [""], apiVersions: [v1], operations: [UPDATE], resources: [persistentvolumes]}}]}}
  validations:
  - expression: object.metadata.name != '{volume}' || object.spec.persistentVolumeReclaimPolicy != 'Retain'
    reason: Forbidden
    message: volumes of this cluster are not kept
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {policy}}}
spec: {{policyName: {policy}, validationActions: [Deny]}}
"#
    ));
    let retain = serde_json::json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}}).to_string();
    ns.wait("the policy to hold", PATIENCE, || {
        let run =
            cluster.kubectl(&["patch", "pv", volume, "--type=merge", "-p", &retain, "--dry-run=server"]);
        if run.code == 0 { Err(run.stdout) } else { Ok(()) }
    });
    let folder = tempfile::tempdir().unwrap();
    let args = ["prune-pvcs", "db", "--yes", "--backup", folder.path().to_str().unwrap()];
    let run = ns.sts(&args).code(4);
    shown(&run, "(last-moment-race)");
    shown(&run, "volumes of this cluster are not kept");
    shown(&run, "left data-db-1");
    assert_eq!(claims(&ns), before);
    assert!(data.is_there());
    let run = ns.sts(&[&args[..], &["--accept-race"]].concat()).code(0);
    assert_eq!(names(&ns), ["data-db-0"], "{run}");
    data.wait_destroyed();
    for kind in ["validatingadmissionpolicybinding", "validatingadmissionpolicy"] {
        cluster.kubectl(&["delete", kind, &policy]).ok();
    }
}

#[test]
fn what_could_not_be_judged_is_no_good_end() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("unjudged");
    set(&ns, "db", 2);
    scale(&ns, "db", 1);
    let before = claims(&ns);
    // Everything but one list each.
    let lists = [
        ("''", "pods"),
        ("''", "persistentvolumes"),
        ("autoscaling", "horizontalpodautoscalers"),
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("apps", "daemonsets"),
        ("batch", "jobs"),
        ("batch", "cronjobs"),
        ("''", "replicationcontrollers"),
    ];
    let other =
        [("''", "persistentvolumeclaims"), ("apps", "statefulsets"), ("storage.k8s.io", "volumeattachments")];
    let users: Vec<_> = lists
        .iter()
        .map(|(_, without)| {
            let rules: Vec<String> = lists
                .iter()
                .chain(&other)
                .filter(|(_, resource)| resource != without)
                .map(|(group, resource)| {
                    format!("- {{apiGroups: [{group}], resources: [{resource}], verbs: ['*']}}")
                })
                .collect();
            let user = ns.user(&format!("no-{without}"), DELETES);
            ns.grant_cluster(&format!("no-{without}"), &rules.join("\n"));
            (*without, user)
        })
        .collect();
    for (without, user) in users {
        let wanted = format!("could not be checked: {without} (forbidden to user ");
        let folder = tempfile::tempdir().unwrap();
        let args = ["prune-pvcs", "db", "--yes", "--backup", folder.path().to_str().unwrap()];
        let run = ns.wait(&format!("{wanted}, and nothing else"), PATIENCE, || {
            let run = ns.sts_as(&user, &args);
            let is_it =
                run.stderr.contains(&wanted) && run.stderr.matches("could not be checked").count() == 1;
            if is_it { Ok(run) } else { Err(run.to_string()) }
        });
        assert_eq!(run.code, 4, "{run}");
        shown(&run, "(unread)");
        assert_eq!(claims(&ns), before, "{run}");
        // To look is no failure, and it says the same.
        let run = ns.sts_as(&user, &["prune-pvcs", "db"]).code(0);
        shown(&run, &format!("not checked: {without}"));
    }
}
