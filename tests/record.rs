//! `record` and `--from`: what is kept, what is not, and what half a file does.

use serde_json::Value;

use crate::support::{self, Binding};

#[test]
fn a_recording_tells_the_same_as_the_cluster_and_no_secret() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("record");
    let class = cluster.storage_class("ssd", Binding::Immediate, false);
    let yaml = include_str!("manifests/postgres.yaml")
        .replace("storageClassName: ssd", &format!("storageClassName: {class}"));
    ns.apply(&yaml);
    ns.wait_ready("postgres", 3);
    ns.kubectl(&["set", "image", "sts/postgres", "postgres=postgres:does-not-exist"]).ok();
    ns.wait_pod_status("postgres-2", "ImagePullBackOff");
    ns.kubectl(&["set", "image", "sts/postgres", "postgres=postgres:16.4"]).ok();
    let live = ns.wait("the trap", support::PATIENCE, || {
        let run = ns.sts(&["doctor", "-o", "json"]);
        if run.code == 1 && run.stdout.contains("STS301") { Ok(run.stdout) } else { Err(run.to_string()) }
    });

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.yaml");
    let path = file.to_str().unwrap();
    ns.sts(&["record", "--to", path]).ok();
    let text = std::fs::read_to_string(&file).unwrap();
    for secret in ["hunter2", "last-applied", "pg_basebackup", "managedFields"] {
        assert!(!text.contains(secret), "{secret} is in the recording");
    }
    let run = ns.sts(&["record", "--to", path]).code(3);
    assert!(run.stderr.contains("could not write"), "an existing file is not overwritten: {run}");

    let again = ns.sts(&["doctor", "-o", "json", "--from", path]).code(1).stdout;
    let facts = |text: &str| -> Vec<(Value, Value, Value)> {
        let report: Value = serde_json::from_str(text).unwrap();
        let findings = report["findings"].as_array().unwrap().clone();
        findings.into_iter().map(|f| (f["code"].clone(), f["object"].clone(), f["try"].clone())).collect()
    };
    assert_eq!(facts(&live), facts(&again));

    // A recording of a recording is the same recording, in both formats.
    assert_eq!(ns.sts(&["record", "--from", path]).ok(), text);
    let json_text = ns.sts(&["record", "--from", path, "-o", "json"]).ok();
    assert_eq!(ns.sts_in(&["record", "--from", "-"], &json_text).ok(), text);

    // Half of it is refused, wherever it is cut.
    let lines: Vec<&str> = text.lines().collect();
    for keep in [1, 5, lines.len() / 2, lines.len() - 3] {
        let half = lines[..keep].join("\n");
        let run = ns.sts_in(&["doctor", "--from", "-"], &half).code(3);
        assert_eq!(run.stdout, "", "{keep} lines");
        assert!(run.stderr.starts_with("error: "), "{run}");
    }

    // What kubectl prints will do as well.
    let plain = ns.kubectl(&["get", "sts,pods,pvc,services", "-o", "yaml"]).ok();
    let run = ns.sts_in(&["doctor", "--from", "-"], &plain).code(1);
    assert!(run.stdout.contains("STS301 rollback-trap   postgres-2"), "{run}");
    assert!(run.stdout.contains("not in the files given"), "what is missing is said: {run}");
}

/// The manifests behind them have secrets in commands, variables, data and logs of other containers.
#[test]
fn recordings_of_the_pages_have_no_secret() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recordings");
    let mut with_logs = Vec::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for secret in ["hunter2", "last-applied", "pg_basebackup", "managedFields", "fake.test", "BEGIN "] {
            assert!(!text.contains(secret), "{secret} is in {}", path.display());
        }
        if text.contains("\nlogs:\n") {
            with_logs.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    }
    with_logs.sort();
    assert_eq!(with_logs, ["article.yaml", "postgres-other-version.yaml"]);
}

#[test]
fn files_that_are_no_cluster_are_named() {
    let sts = |stdin: &str, args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
        command.args(args);
        support::Run::of(&mut command, stdin)
    };
    for (stdin, error) in [
        ("a: [1, 2", "standard input is neither YAML nor JSON"),
        ("{\"kind\": \"List\", \"items\": [", "standard input is neither YAML nor JSON"),
        ("just words", "standard input holds no Kubernetes object"),
        ("kind: Secret\napiVersion: v1\nmetadata: {name: x}\n", "standard input holds no Kubernetes object"),
        ("kind: Pod\napiVersion: v1\nmetadata: {name: x}\n", "there is no StatefulSet in the files given"),
        (
            "kind: StatefulSet\napiVersion: apps/v1\nmetadata: {name: x}\nspec: {replicas: many}\n",
            "StatefulSet x is not as Kubernetes writes it",
        ),
        (
            "kind: StatefulSet\napiVersion: apps/v1\nmetadata: {name: x}\nspec: {serviceName: 'x; reboot'}\n",
            "is not a name Kubernetes allows",
        ),
        ("", "standard input holds no Kubernetes object"),
    ] {
        let run = sts(stdin, &["doctor", "--from", "-"]).code(3);
        assert_eq!(run.stdout, "");
        assert!(run.stderr.contains(error), "{stdin:?}: {run}");
    }
    let run = sts("", &["doctor", "--from", "/no/such/file"]).code(3);
    assert!(run.stderr.contains("could not read /no/such/file"), "{run}");
}

/// A set with PVCs; its label is its name.
fn with_claims(name: &str, class: &str, replicas: u64) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: StatefulSet, metadata: {{name: {name}, labels: {{app: {name}}}}}, spec: {{replicas: \
         {replicas}, serviceName: {name}, selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: \
         {name}}}}}, spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: web, image: 'web:1', volumeMounts: [{{name: \
         data, mountPath: /data}}]}}]}}}}, volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{storageClassName: {class}, \
         accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}}}}}]}}}}\n"
    )
}

#[test]
fn a_recording_of_chosen_sets_tells_of_them_what_the_cluster_does() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("record-some");
    let class = cluster.storage_class("ssd", Binding::Immediate, false);
    // The PVCs of the second are named as if they could be the first one's, and the third one is of no interest.
    for (name, replicas) in [("web", 3), ("web-1", 1), ("other", 2)] {
        ns.apply(&with_claims(name, &class, replicas));
        ns.wait_ready(name, replicas);
    }
    ns.kubectl(&["scale", "sts/web", "--replicas=1"]).ok();
    ns.wait_ready("web", 1);
    for name in ["web", "other"] {
        ns.kubectl(&["set", "image", &format!("sts/{name}"), "web=web:does-not-exist"]).ok();
    }
    ns.wait_pod_status("web-0", "ImagePullBackOff");
    ns.wait_pod_status("other-1", "ImagePullBackOff");
    let facts = |text: &str| -> (Vec<[Value; 4]>, Value) {
        let report: Value = serde_json::from_str(text).unwrap();
        let findings = report["findings"].as_array().unwrap().iter();
        let facts = findings.map(|it| ["code", "object", "what", "try"].map(|key| it[key].clone()));
        (facts.collect(), report["lookedAt"].clone())
    };
    let live = ns.wait("both findings", support::PATIENCE, || {
        let run = ns.sts(&["doctor", "web", "-o", "json"]);
        let found = ["STS401", "STS210"].iter().all(|code| run.stdout.contains(code));
        if run.code == 1 && found { Ok(run.stdout) } else { Err(run.to_string()) }
    });
    for args in [&["web"][..], &["-l", "app=web"], &["-A", "-l", "app=web"], &["sts/web"]] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("some.yaml");
        let path = file.to_str().unwrap();
        ns.sts(&[&["record", "--to", path], args].concat()).ok();
        let text = std::fs::read_to_string(&file).unwrap();
        if !args.contains(&"-A") {
            let again = ns.sts(&["doctor", "-o", "json", "--from", path]).code(1).stdout;
            assert_eq!(facts(&live), facts(&again), "{args:?}");
            let named = ns.sts(&["doctor", "web", "-o", "json", "--from", path]).code(1).stdout;
            assert_eq!(named, again);
            // The same without the cluster, and once more.
            assert_eq!(ns.sts(&["record", "--from", path]).ok(), text);
        }
        let list = ns.sts(&["status", "-o", "name", "-n", &ns.name, "--from", path]).ok();
        assert_eq!(list, "statefulset.apps/web\n", "{args:?}");
        let run = ns.sts(&["status", "other", "--from", path]).code(3);
        assert!(run.stderr.contains("no StatefulSet \"other\" in namespace"), "{run}");
        let names = ns.sts(&["record", "-o", "name", "--from", path]).ok();
        for wanted in
            ["pod/web-0", "persistentvolumeclaim/data-web-2", "persistentvolume/", "node/", "storageclass/"]
        {
            assert!(names.contains(wanted), "{wanted}: {names}");
        }
        assert!(!names.contains("controllerrevision/other-") && !names.contains("event/other-"), "{names}");
    }
    let run = ns.sts(&["record", "nothing"]).code(3);
    assert!(run.stderr.contains("no StatefulSet \"nothing\" in namespace"), "{run}");
    let run = ns.sts(&["record", "-l", "app=nothing"]).code(3);
    assert!(run.stderr.contains("no StatefulSets found"), "{run}");
}
