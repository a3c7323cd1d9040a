//! Credentials in every place of a manifest where people put them: no view and no recording has them.

use serde_json::{Value, json};

use super::run::{file, looks, sts};
use crate::support::{self, Namespace, PATIENCE, Run};

/// A template with a canary wherever a secret may be.
fn template() -> serde_json::Value {
    let command = json!({"exec": {"command": ["sh", "-c", "psql --password=CANARY1"]}});
    let get = json!({"httpGet": {"path": "/health?token=CANARY2", "port": 8080,
        "httpHeaders": [{"name": "Authorization", "value": "Bearer CANARY3"}]}});
    json!({
        "metadata": {"labels": {"app": "db"}, "annotations": {"vault/token": "CANARY4"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "db",
                "image": "registry.does.not.exist/db:1",
                "command": ["db", "CANARY5"],
                "args": ["--dsn=postgres://bob:CANARY6@db/x"],
                "env": [{"name": "PASSWORD", "value": "CANARY7"}],
                "readinessProbe": get,
                "livenessProbe": command,
                "lifecycle": {"preStop": command},
            }],
            "volumes": [
                {"name": "n", "nfs": {"server": "CANARY8", "path": "/CANARY9"}},
                {"name": "c", "csi": {"driver": "x.csi", "volumeAttributes": {"password": "CANARY10"}}},
                {"name": "f", "flexVolume": {"driver": "a/b", "options": {"password": "CANARY11"}}},
            ],
        },
    })
}

fn set() -> serde_json::Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "shop", "uid": "u1", "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "CANARY12",
            "kubernetes.io/change-cause": "kubectl set env sts/db PASSWORD=CANARY13",
        }, "managedFields": [{"manager": "CANARY14"}]},
        "spec": {"replicas": 1, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": template()},
        "status": {"currentRevision": "db-1", "updateRevision": "db-1", "replicas": 1},
    })
}

#[test]
fn no_view_shows_a_credential_of_a_manifest() {
    let owner = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u1", "controller": true}]);
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": template()["spec"]});
    pod["metadata"] = json!({"name": "db-0", "namespace": "shop", "uid": "p1", "ownerReferences": owner,
        "labels": {"app": "db", "controller-revision-hash": "db-1"}, "creationTimestamp": "2026-01-01T00:00:00Z"});
    pod["spec"]["nodeName"] = "node-1".into();
    pod["spec"]["containers"][0]["image"] = "bob:CANARY15@registry.example/db:1".into();
    let state = |message: &str, reason: &str| {
        let mut pod = pod.clone();
        pod["status"] = json!({
            "phase": "Pending", "message": "see https://bob:CANARY16@h/x?y=CANARY17",
            "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady",
                "message": "token=CANARY18", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
            "containerStatuses": [{"name": "db", "image": "bob:CANARY19@registry.example/db:1", "ready": false, "restartCount": 7,
                "state": {"waiting": {"reason": reason, "message": message}},
                "lastState": {"terminated": {"exitCode": 1, "reason": "Error", "message": "password CANARY20",
                    "finishedAt": "2026-01-01T00:00:00Z"}}}],
        });
        pod
    };
    let event = |number: u32, kind: &str, name: &str, reason: &str, message: &str| {
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("e{number}"), "namespace": "shop"},
            "involvedObject": {"kind": kind, "name": name, "namespace": "shop"}, "type": "Warning", "reason": reason,
            "message": message, "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:59:00Z"})
    };
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-db-0", "namespace": "shop",
        "annotations": {"secret": "CANARY21"}, "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"storageClassName": "ssd"}, "status": {"phase": "Pending"}});
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "pv-1"}, "spec": {
        "csi": {"driver": "x", "volumeHandle": "CANARY22", "volumeAttributes": {"password": "CANARY23"}},
        "iscsi": {"targetPortal": "CANARY24"}, "rbd": {"keyring": "CANARY25"}, "cephfs": {"user": "CANARY26"}},
        "status": {"phase": "Failed", "message": "delete https://bob:CANARY27@h/"}});
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "ssd"},
        "provisioner": "x.csi", "parameters": {"adminSecret": "CANARY28"}});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "shop"},
        "data": {"a": "CANARY29"}, "stringData": {"b": "CANARY30"}});
    let config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "shop"},
        "data": {"a": "CANARY31"}});
    let revision = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1,
        "metadata": {"name": "db-1", "namespace": "shop", "ownerReferences": owner, "annotations":
            {"kubernetes.io/change-cause": "kubectl create secret --from-literal=password=CANARY32"}},
        "data": {"spec": {"template": template()}}});
    let events = [
        event(
            1,
            "Pod",
            "db-0",
            "Unhealthy",
            "Readiness probe failed: Get \"http://10.0.0.1:8080/health?token=CANARY33\": EOF",
        ),
        event(2, "Pod", "db-0", "Unhealthy", "Liveness probe failed: psql: PGPASSWORD=CANARY34 is wrong"),
        event(
            3,
            "Pod",
            "db-0",
            "Failed",
            "Failed to pull image \"bob:CANARY35@r/db:1\": Get \"https://bob:CANARY36@r/v2/?a=CANARY37\": denied",
        ),
        event(
            4,
            "PersistentVolumeClaim",
            "data-db-0",
            "ProvisioningFailed",
            "rpc error: {\"adminPassword\": \"CANARY38\"}, Authorization: Basic CANARY39",
        ),
        event(5, "Pod", "db-0", "FailedMount", "mount failed: -o username=bob,password=CANARY40 //h/x"),
    ];
    for (reason, message) in [
        ("ImagePullBackOff", "Back-off pulling image \"bob:CANARY41@r/db:1\""),
        ("CrashLoopBackOff", "back-off 5m0s restarting failed container"),
        ("CreateContainerError", "cannot run: --token=CANARY42"),
    ] {
        let mut items = vec![set(), state(message, reason), claim.clone(), volume.clone(), class.clone()];
        items.extend([secret.clone(), config.clone(), revision.clone()]);
        items.extend(events.clone());
        let (_folder, path) = file(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
        for look in looks("db") {
            let ran = sts(&look, &path);
            assert!(ran.code < 2, "{look:?}: {}", ran.all());
            assert!(!ran.all().contains("CANARY"), "{look:?}: {}", ran.all());
        }
    }
}

#[test]
fn errors_quote_nothing_of_a_file() {
    for given in [
        "kind: StatefulSet\napiVersion: apps/v1\nmetadata: {name: db}\nspec: {replicas: CANARY}\n",
        "kind: StatefulSet\napiVersion: apps/v1\nmetadata: {name: db, creationTimestamp: CANARY}\n",
        "kind: StatefulSet\napiVersion: apps/v1\nmetadata: {name: db, labels: [CANARY]}\n",
        "kind: Pod\napiVersion: v1\nmetadata: {name: db}\nspec: {containers: {password: CANARY}}\n",
        "kind: Pod\napiVersion: v1\nmetadata: {name: db}\nspec: {containers: [CANARY]}\n",
        "kind: Pod\napiVersion: v1\nmetadata: {name: db}\nspec: CANARY\n",
        "kind: Service\napiVersion: v1\nmetadata: {name: db}\nspec: {selector: CANARY}\n",
        "kind: Recording\napiVersion: kubectl-sts/v1\ntakenAt: CANARY\n",
        "kind: Recording\napiVersion: kubectl-sts/v1\ntakenAt: 2026-01-01T00:00:00Z\ncounts: CANARY\n",
        "{\"kind\": \"List\", \"items\": [\"CANARY",
        "password: CANARY\npassword: CANARY\n",
        "a: &CANARY [*CANARY]\n",
        "!CANARY x: [CANARY",
    ] {
        let (_folder, path) = file(given);
        for command in [vec!["doctor"], vec!["status", "-o", "json"], vec!["record"]] {
            let ran = sts(&command, &path);
            assert_eq!(ran.code, 3, "{given}: {}", ran.all());
            assert!(!ran.all().contains("CANARY"), "{given}: {}", ran.all());
        }
    }
}

#[test]
fn no_view_shows_a_credential_of_a_cluster() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("hostile-secrets");
    let mut given = set();
    let metadata = given["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| ["name", "annotations"].contains(&key.as_str()));
    ns.apply(&given.to_string());
    ns.wait_pod_status("db-0", "ImagePullBackOff");
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "said"}, "type": "Warning", "reason": "Unhealthy",
        "involvedObject": {"kind": "Pod", "name": "db-0", "namespace": ns.name},
        "message": "Readiness probe failed: Get \"http://bob:CANARY50@10.0.0.1/health?token=CANARY51\": EOF",
        "lastTimestamp": "2026-01-01T00:00:00Z"});
    ns.apply(&event.to_string());
    ns.wait("the event", PATIENCE, || {
        let text = ns.sts(&["record"]).ok();
        if text.contains("/health\\\": EOF") || text.contains("/health\": EOF") { Ok(()) } else { Err(text) }
    });
    for look in looks("db") {
        let run = ns.sts(&look);
        assert!(
            run.code < 2 && !run.stdout.contains("CANARY") && !run.stderr.contains("CANARY"),
            "{look:?}: {run}"
        );
    }
}

/// A template with a secret in every place where one may stand, and a name by which it is told from others.
fn secretive(image: &str, canary: &str) -> Value {
    let exec = json!({"exec": {"command": ["sh", "-c", format!("psql {canary}1")]}});
    let get = json!({"httpGet": {"path": format!("/health?token={canary}2"), "port": 8080, "httpHeaders": [
        {"name": "Authorization", "value": format!("Bearer {canary}3")}, {"name": "X", "value": format!("{canary}4")}]}});
    let container = |name: &str| {
        json!({
            "name": name, "image": image,
            "command": ["db", format!("{canary}5")],
            "args": ["-v", format!("--password={canary}6"), format!("{canary}7")],
            "env": [
                {"name": "PASSWORD", "value": format!("{canary}8")}, {"name": "PLAIN", "value": format!("{canary}9")},
                {"name": canary.to_lowercase(), "value": "new"},
            ],
            "startupProbe": get, "readinessProbe": get, "livenessProbe": exec,
            "lifecycle": {"postStart": exec, "preStop": get},
        })
    };
    let mut init = container("init");
    for field in ["startupProbe", "readinessProbe", "livenessProbe", "lifecycle"] {
        init.as_object_mut().unwrap().remove(field);
    }
    json!({
        "metadata": {"labels": {"app": "db"}, "annotations": {
            "team": image, "vault/token": format!("{canary}10"), "dsn": format!("postgres://bob:{canary}11@db/x?a={canary}12"),
            "kubectl.kubernetes.io/last-applied-configuration": format!("{{\"a\": \"{canary}13\"}}"),
            "note": format!("password={canary}14"),
        }},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "initContainers": [init],
            "containers": [container("db")],
            "volumes": [
                {"name": "c", "csi": {"driver": "x.csi", "volumeAttributes": {"password": format!("{canary}15")}}},
                {"name": "f", "flexVolume": {"driver": "a/b", "options": {"password": format!("{canary}16")}}},
            ],
        },
    })
}

/// What nobody may see, told as where it was seen.
#[track_caller]
fn hides(what: &str, seen: &str) {
    let words = seen.split(|c: char| !c.is_alphanumeric()).filter(|word| word.contains("CANARY"));
    assert_eq!(words.collect::<Vec<_>>(), Vec::<&str>::new(), "{what}: {seen}");
}

const OUTPUTS: [&str; 4] = ["text", "wide", "json", "yaml"];

#[test]
fn a_canary_of_a_recording_hides_what_the_patch_holds() {
    let mut given = set();
    given["spec"]["template"] = secretive("db:1", "CANARYA");
    given["status"]["observedGeneration"] = 0.into();
    given["status"]["replicas"] = 1.into();
    let owner = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "u1", "controller": true}]);
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": secretive("db:1", "CANARYA")["spec"]});
    pod["metadata"] = json!({"name": "db-0", "namespace": "shop", "uid": "p1", "ownerReferences": owner,
        "labels": {"app": "db", "controller-revision-hash": "db-1"}, "creationTimestamp": "2026-01-01T00:00:00Z"});
    pod["status"] = json!({"phase": "Running", "conditions": [
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    let revision = json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1,
        "metadata": {"name": "db-1", "namespace": "shop", "ownerReferences": owner}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [given, pod, revision]});
    let (_folder, path) = file(&list.to_string());
    let patch = secretive("bob:CANARYB0@registry.example/db:2", "CANARYB").to_string();
    for output in OUTPUTS {
        let run = sts(
            &["canary", "db", "--partition", "0", "--patch", &patch, "--dry-run=client", "-o", output],
            &path,
        );
        assert_eq!(run.code, 0, "{output}: {}", run.all());
        assert!(
            run.all().contains("db:2") && run.all().contains("(value not shown)"),
            "{output}: {}",
            run.all()
        );
        hides(output, &run.all());
    }
}

#[test]
fn no_command_shows_what_a_template_or_a_patch_hides() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("hostile-template");
    ns.apply(
        &json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "db"}},
                "template": secretive("db:1", "CANARYA")},
        })
        .to_string(),
    );
    ns.wait_ready("db", 2);
    let patch = secretive("db:2", "CANARYB").to_string();
    let canary = ["canary", "db", "--partition", "1", "--patch", &patch];
    let all = |ns: &Namespace, command: &[&str], code: i32| {
        for output in OUTPUTS {
            let run = ns.sts(&[command, &["-o", output]].concat()).code(code);
            hides(&format!("{command:?} {output}"), &format!("{}{}", run.stdout, run.stderr));
        }
    };
    for dry_run in ["--dry-run=client", "--dry-run=server"] {
        all(&ns, &[&canary[..], &[dry_run]].concat(), 0);
    }
    let plan = ns.sts(&[&canary[..], &["--dry-run=client"]].concat()).ok();
    let plan = plan.split_whitespace().collect::<Vec<_>>().join(" ");
    for line in [
        "image of container db: db:1 → db:2",
        "metadata.annotations.team: db:1 → db:2",
        "metadata.annotations.vault/token: changed (value not shown)",
        "metadata.annotations.dsn: changed (value not shown)",
        "spec.containers[db].args: changed (value not shown)",
        "spec.containers[db].command: changed (value not shown)",
        "spec.containers[db].env[PASSWORD].value: changed (value not shown)",
        "spec.containers[db].livenessProbe.exec.command: changed (value not shown)",
        "spec.containers[db].lifecycle.preStop.httpGet.path: changed (value not shown)",
        "spec.volumes[c].csi.volumeAttributes.password: changed (value not shown)",
    ] {
        assert!(plan.contains(line), "{line}\n{plan}");
    }
    // What the server refuses is quoted by it.
    let mut refused = secretive("db:2", "CANARYB");
    refused["spec"]["containers"][0]["livenessProbe"]["httpGet"] =
        json!({"path": "/?token=CANARYB20", "port": 0});
    let refused = refused.to_string();
    all(&ns, &["canary", "db", "--partition", "1", "--patch", &refused, "--dry-run=server"], 3);

    let run = ns.sts(&[&canary[..], &["--yes", "-o", "json"]].concat()).code(0);
    hides("canary --yes", &format!("{}{}", run.stdout, run.stderr));
    for command in [
        &["history", "db"][..],
        &["history", "db", "--diff", "1..2"],
        &["undo", "db", "--dry-run=client"],
        &["undo", "db", "--dry-run=server"],
        &["abort", "db", "--dry-run=client"],
        &["promote", "db", "--dry-run=client"],
        &["status", "db"],
        &["doctor", "db"],
        &["record"],
    ] {
        all(&ns, command, 0);
    }
    let mut command = ns.sts_command(&["history", "db", "--diff", "1..2"]);
    command.env("KUBECTL_EXTERNAL_DIFF", "diff -u").env("PATH", "/usr/bin:/bin");
    let text = Run::of(&mut command, "").ok();
    hides("KUBECTL_EXTERNAL_DIFF", &text);
    // A password that is the only thing to change is a change for the other program, too.
    assert!(text.contains("(value not shown) (another value, not shown)"), "{text}");
    let run = ns.sts(&["undo", "db", "--yes", "-o", "json"]).code(0);
    hides("undo --yes", &format!("{}{}", run.stdout, run.stderr));
}
