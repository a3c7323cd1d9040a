//! One verdict, whichever command is asked, and the refusals of the API server, on the real control plane.

use serde_json::{Value, json};

use crate::doctor::{finds, run_remedy};
use crate::recover::{set, uids};
use crate::support::freeze::{FREEZE, Freeze};
use crate::support::verdict::agree;
use crate::support::{self, Binding, Namespace};

fn new_template(ns: &Namespace) {
    ns.patch("sts/web", &json!({"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}));
}

#[test]
fn a_deletion_that_is_refused_is_said_by_every_command() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("freeze");
    ns.apply(&set("web", 3, ""));
    ns.wait_ready("web", 3);
    let freeze = Freeze::of(&ns);
    new_template(&ns);
    finds(&ns, &["STS308 error Pod/web-2"]);
    agree(&ns);

    let doctor = ns.sts(&["doctor"]).code(1).stdout;
    for part in ["cannot delete web-2", "with binding", "denied", "kubectl sts undo web"] {
        assert!(doctor.contains(part), "{part}: {doctor}");
    }
    let status = ns.sts(&["status", "web"]).ok();
    let next = status.lines().find(|line| line.starts_with("next")).unwrap();
    assert!(next.contains("stuck: the controller cannot delete web-2"), "{status}");
    let recover = ns.sts(&["recover", "web", "--yes"]).code(4);
    assert!(recover.stderr.contains("(other-cause)") && recover.stderr.contains("denied"), "{recover}");
    let undo = ns.sts(&["undo", "web", "--dry-run=client"]).ok();
    assert!(undo.contains("refused") && undo.contains("needs no deletion"), "{undo}");

    let before = uids(&ns);
    run_remedy(&ns, "STS308");
    finds(&ns, &[]);
    assert_eq!(uids(&ns), before);

    // Where a pod was updated already, the way back needs deletions as well.
    drop(freeze);
    ns.patch("sts/web", &json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 2}}}}));
    new_template(&ns);
    ns.wait_pod("web-2", "updated and ready", |pod| {
        pod["metadata"]["annotations"]["version"] == "2"
            && pod["status"]["containerStatuses"][0]["ready"] == true
            && pod["metadata"]["deletionTimestamp"].is_null()
    });
    let freeze = Freeze::of(&ns);
    ns.patch("sts/web", &json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}));
    finds(&ns, &["STS308 error Pod/web-1"]);
    let undo = ns.sts(&["undo", "web", "--dry-run=client", "-o", "json"]).ok();
    let undo: Value = serde_json::from_str(&undo).unwrap();
    assert_eq!(undo["course"]["end"], "deletion-refused", "{undo}");
    assert!(undo["warnings"].to_string().contains("stops there until the deletion is allowed"), "{undo}");
    // Once the policy only warns, it goes on by itself.
    run_remedy(&ns, "STS308");
    finds(&ns, &[]);
    ns.wait_ready("web", 3);
    drop(freeze);
}

#[test]
fn a_scale_down_that_is_refused_can_be_taken_back() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("freeze-scale");
    ns.apply(&set("web", 3, ""));
    ns.wait_ready("web", 3);
    let _freeze = Freeze::of(&ns);
    ns.kubectl(&["scale", "sts/web", "--replicas=1"]).ok();
    finds(&ns, &["STS308 error Pod/web-2"]);
    agree(&ns);
    run_remedy(&ns, "STS308");
    finds(&ns, &[]);
    assert_eq!(ns.kubectl_json(&["get", "sts", "web"])["spec"]["replicas"], 3);
}

/// A claim template.
fn template(name: &str, class: &str) -> String {
    format!(
        "{{metadata: {{name: {name}}}, spec: {{accessModes: [ReadWriteOnce], storageClassName: {class}, resources: \
         {{requests: {{storage: 1Gi}}}}}}}}"
    )
}

/// A StatefulSet with PVCs, deleted without its pods, and created again with one more claim template.
fn with_more_storage(ns: &Namespace, class: &str, spec: &str) {
    let (data, wal) = (template("data", class), template("wal", class));
    ns.apply(&set("web", 3, &format!("volumeClaimTemplates: [{data}], {spec}")));
    ns.wait_ready("web", 3);
    ns.delete(&["sts", "web", "--cascade=orphan"]);
    ns.apply(&set("web", 3, &format!("volumeClaimTemplates: [{data}, {wal}], {spec}")));
}

#[test]
fn pods_that_lack_a_volume_are_recreated_one_by_one() {
    let Some(cluster) = support::cluster() else { return };
    let class = cluster.storage_class("lack", Binding::Immediate, false);
    std::thread::scope(|scope| {
        for (hint, policy) in [("lack-ordered", ""), ("lack-parallel", "podManagementPolicy: Parallel,")] {
            let class = &class;
            scope.spawn(move || {
                let ns = cluster.namespace(hint);
                with_more_storage(&ns, class, policy);
                finds(&ns, &["STS309 error Pod/web-0"]);
                agree(&ns);
                let refused = |run: &support::Run| run.stderr.contains("lack") && run.stderr.contains("wal");
                new_template(&ns);
                ns.wait("the revision", support::PATIENCE, || {
                    let set = ns.kubectl_json(&["get", "sts", "web"]);
                    let status = &set["status"];
                    let seen = status["observedGeneration"] == set["metadata"]["generation"];
                    if seen && status["currentRevision"] != status["updateRevision"] {
                        Ok(())
                    } else {
                        Err(set.to_string())
                    }
                });
                let undo = ns.sts(&["undo", "web", "--yes"]).code(4);
                assert!(refused(&undo) && undo.stderr.contains("(pod-lacks-volume)"), "{undo}");
                let watch = ns.sts(&["watch", "web", "--stuck-after", "2s", "--timeout", "60s"]).code(1);
                assert!(watch.stdout.contains("stuck on web-0") && watch.stdout.contains("wal"), "{watch}");

                let data = ns.kubectl_json(&["get", "pvc", "data-web-1"])["metadata"]["uid"].clone();
                let plan = ns.sts(&["recover", "web", "--dry-run=client"]).ok();
                for pod in ["web-0", "web-1", "web-2"] {
                    assert!(plan.contains(&format!("delete pod {pod} (lacks volume wal)")), "{plan}");
                }
                let before = uids(&ns);
                run_remedy(&ns, "STS309");
                let after = uids(&ns);
                assert!(before.iter().all(|(pod, uid)| after[pod] != *uid), "{before:?} {after:?}");
                ns.wait_ready("web", 3);
                finds(&ns, &[]);
                for pod in ["web-0", "web-1", "web-2"] {
                    let volumes = ns.kubectl_json(&["get", "pod", pod])["spec"]["volumes"].to_string();
                    assert!(volumes.contains(&format!("wal-{pod}")), "{volumes}");
                }
                assert_eq!(ns.kubectl_json(&["get", "pvc", "data-web-1"])["metadata"]["uid"], data);
            });
        }
    });
}

#[test]
fn an_update_whose_pods_are_refused_can_be_taken_back() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("create-refused");
    ns.apply(&set("web", 2, ""));
    ns.wait_ready("web", 2);
    let unless = "!has(object.metadata.annotations) || !('version' in object.metadata.annotations)";
    let _policy = Freeze::with(&ns, "CREATE", unless, |ns| {
        ns.kubectl(&["run", "x", "--image=x", "--annotations=version=2", "--dry-run=server"])
    });
    new_template(&ns);
    finds(&ns, &["STS411 error Pod/web-1"]);
    let recover = ns.sts(&["recover", "web", "--yes"]).code(4);
    assert!(
        recover.stderr.contains("(other-cause)") && recover.stderr.contains("denied request"),
        "{recover}"
    );
    assert!(recover.stderr.contains("kubectl sts undo web"), "{recover}");
    run_remedy(&ns, "STS411");
    ns.wait_ready("web", 2);
    finds(&ns, &[]);
}

#[test]
fn an_update_of_a_pod_that_is_refused_is_said() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("label-refused");
    ns.apply(&set("web", 2, ""));
    ns.wait_ready("web", 2);
    let labelled = "'statefulset.kubernetes.io/pod-name' in object.metadata.labels";
    let freeze = Freeze::with(&ns, "UPDATE", &format!("!({labelled})"), |ns| {
        ns.kubectl(&["annotate", "pod", "web-1", "some=text", "--dry-run=server"])
    });
    ns.kubectl(&["label", "pod", "web-0", "statefulset.kubernetes.io/pod-name-"]).ok();
    ns.wait("the refusal", support::PATIENCE, || {
        let run = ns.sts(&["doctor"]);
        if run.stdout.contains("STS309") && run.stdout.contains(FREEZE) {
            Ok(())
        } else {
            Err(run.to_string())
        }
    });
    agree(&ns);
    drop(freeze);
    finds(&ns, &[]);
}

#[test]
fn an_ended_pod_that_only_the_controller_may_not_delete_is_deleted_by_hand() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("freeze-ended");
    ns.apply(&set("web", 2, ""));
    ns.wait_ready("web", 2);
    let freeze = Freeze::as_controller(&ns, "pods", "DELETE", |ns| {
        ns.kubectl(&["delete", "pods", "--all", "--dry-run=server"])
    });
    let before = uids(&ns);
    ns.kubectl(&["annotate", "pod", "web-0", "fake.test/mode=failed"]).ok();
    finds(&ns, &["STS308 error Pod/web-0"]);
    agree(&ns);
    run_remedy(&ns, "STS308");
    ns.wait_ready("web", 2);
    finds(&ns, &[]);
    let after = uids(&ns);
    assert!(after["web-0"] != before["web-0"] && after["web-1"] == before["web-1"], "{after:?}");
    drop(freeze);
}

#[test]
fn pvcs_that_may_not_change_their_owner_are_left_as_they_are() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("freeze-owner");
    let class = cluster.storage_class("fast", Binding::Immediate, false);
    ns.apply(&set("web", 2, &format!("volumeClaimTemplates: [{}],", template("data", &class))));
    ns.wait_ready("web", 2);
    let freeze = Freeze::as_controller(&ns, "persistentvolumeclaims", "UPDATE", |ns| {
        ns.kubectl(&["annotate", "pvc", "--all", "some=text", "--dry-run=server"])
    });
    ns.patch(
        "sts/web",
        &json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"}}}),
    );
    finds(&ns, &["STS309 error Pod/web-0"]);
    agree(&ns);
    let before = uids(&ns);
    run_remedy(&ns, "STS309");
    finds(&ns, &[]);
    // The controller works again. The new PVC is bound only later, as that is an update as well.
    ns.kubectl(&["scale", "sts/web", "--replicas=3"]).ok();
    ns.wait_pod("web-2", "created", |_| true);
    drop(freeze);
    ns.wait_ready("web", 3);
    assert!(uids(&ns).iter().filter(|(pod, _)| *pod != "web-2").eq(&before));
}

/// Each pod is ready only while all are, and one crashes.
#[test]
fn the_pod_at_fault_is_named_and_not_the_one_that_suffers() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("at-fault");
    let template = |fault: &str| {
        format!("fake.test/mode-0: unready, fake.test/mode-1: unready, fake.test/mode-2: {fault}")
    };
    for (name, fault, code) in [("broker", "crashloop", "STS402"), ("queue", "imagepull", "STS401")] {
        let annotated = format!("metadata: {{annotations: {{{}}}, labels", template(fault));
        let manifest = set(name, 3, "podManagementPolicy: Parallel,");
        let at = manifest.rfind("metadata: {labels").unwrap();
        let manifest =
            format!("{}{annotated}{}", &manifest[..at], &manifest[at + "metadata: {labels".len()..]);
        ns.apply(&manifest);
        ns.wait("the fault", support::PATIENCE, || {
            let run = ns.sts(&["doctor", name]);
            if run.stdout.contains(code) { Ok(()) } else { Err(run.to_string()) }
        });
        let pod = format!("{name}-2");
        let watch = ns.sts(&["watch", name, "--stuck-after", "2s", "--timeout", "60s"]).code(1);
        assert!(watch.stdout.contains(&format!("stuck on {pod}")), "{watch}");
        let status: Value = serde_json::from_str(&ns.sts(&["status", name, "-o", "json"]).ok()).unwrap();
        assert_eq!(status["stuckOn"], json!(pod), "{status}");
    }
    agree(&ns);
}

#[test]
fn a_set_whose_first_pvc_cannot_be_bound_is_neither_done_nor_starting() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("unbound");
    let template = "volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], \
                    storageClassName: no-such-class, resources: {requests: {storage: 1Gi}}}}],";
    ns.apply(&set("web", 3, template));
    finds(&ns, &["STS201 error PersistentVolumeClaim/data-web-0"]);
    agree(&ns);
    let all = ns.sts(&["status"]).ok();
    assert!(all.contains("stuck") && !all.contains("done") && !all.contains("(starting)"), "{all}");
    let one = ns.sts(&["status", "web"]).ok();
    assert!(one.contains("PVC data-web-0 is not bound"), "{one}");
    // The time is over before it counts as stuck: what doctor knows is said.
    let watch = ns.sts(&["watch", "web", "--timeout", "3s"]).code(124);
    assert!(watch.stdout.contains("STS201"), "{watch}");
}

#[test]
fn an_undo_does_not_promise_pods_that_cannot_be_created() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("undo-quota");
    ns.apply(&set("web", 3, "podManagementPolicy: Parallel,"));
    ns.wait_ready("web", 3);
    ns.kubectl(&["set", "image", "sts/web", "web=web:does-not-exist"]).ok();
    ns.wait_pod_status("web-2", "ImagePullBackOff");
    ns.apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: pods}, spec: {hard: {pods: '2'}}}");
    ns.wait("the quota to be counted", support::PATIENCE, || {
        let quota = ns.kubectl_json(&["get", "resourcequota", "pods"]);
        if quota["status"]["used"]["pods"] == "3" { Ok(()) } else { Err(quota.to_string()) }
    });
    ns.delete(&["pod", "web-0"]);
    ns.wait("the refusal", support::PATIENCE, || {
        let run = ns.sts(&["doctor"]);
        if run.stdout.contains("STS411") { Ok(()) } else { Err(run.to_string()) }
    });
    let undo = ns.sts(&["undo", "web", "--dry-run=client", "-o", "json"]).ok();
    let undo: Value = serde_json::from_str(&undo).unwrap();
    assert_eq!(undo["course"]["end"], "creation-refused", "{undo}");
    assert!(undo["warnings"].to_string().contains("exceeded quota"), "{undo}");
    agree(&ns);
}

/// A container without a readiness probe is ready at each of its starts.
#[test]
fn watch_does_not_settle_between_two_crashes() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("flapping");
    let manifest = set("web", 1, "")
        .replace("metadata: {labels", "metadata: {annotations: {fake.test/mode: flapping}, labels");
    ns.apply(&manifest);
    ns.wait_pod("web-0", "it has restarted", |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"].as_i64().is_some_and(|count| count > 0)
    });
    for _ in 0..4 {
        let watch = ns.sts(&["watch", "web", "--stuck-after", "2s", "--timeout", "60s"]).code(1);
        assert!(watch.stdout.contains("stuck on web-0"), "{watch}");
        std::thread::sleep(std::time::Duration::from_millis(1300));
    }
    agree(&ns);
    let good = set("good", 1, "");
    ns.apply(&good);
    let watch = ns.sts(&["watch", "good", "--timeout", "60s"]).code(0);
    assert!(watch.stdout.contains("no readiness probe: Ready means only"), "{watch}");
}
