//! The files in `deploy`: each command line in them runs, and an API server takes what is for one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{self, Run};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

fn read(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

/// Our command lines in a file, from `kubectl sts` to the end of the line.
fn lines(text: &str) -> Vec<String> {
    let own = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    own.filter_map(|line| Some(line[line.find("kubectl sts ")?..].to_owned())).collect()
}

#[test]
fn the_examples_run() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.postgres("examples");
    let here = tempfile::tempdir().unwrap();
    fs::create_dir(here.path().join("manifests")).unwrap();
    fs::write(here.path().join("manifests/postgres.yaml"), include_str!("manifests/postgres.yaml")).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(folder().join("ci")).unwrap() {
        let path = entry.unwrap().path();
        let found = lines(&fs::read_to_string(&path).unwrap());
        assert!(!found.is_empty(), "{}", path.display());
        for line in found {
            // The kubectl of the tests finds no plugins: the plugin is called by its own name.
            let shell = line.replace("-n shop", &format!("-n {}", ns.name));
            let shell = format!(
                "cd {} && {}",
                here.path().display(),
                shell.replace("kubectl sts", env!("CARGO_BIN_EXE_kubectl-sts"))
            );
            let run = ns.shell(&shell);
            assert_eq!(run.code, 0, "{}: {line}\n{run}", path.display());
            count += 1;
        }
    }
    assert!(count >= 8, "{count}");
    // The gate closes: a rollout that gets stuck fails in time, with its cause.
    ns.kubectl(&["set", "image", "statefulset/postgres", "postgres=registry.does.not.exist/postgres:1"]).ok();
    let run = ns.sts(&["watch", "postgres", "--timeout", "2m", "--stuck-after", "1s"]).code(1);
    assert!(run.stdout.contains("stuck on postgres-2"), "{run}");
}

/// Manifests of a file, one a document.
fn documents(name: &str) -> Vec<Value> {
    let text = read(name);
    text.split("\n---\n").map(|text| serde_saphyr::from_str(text).unwrap()).collect()
}

#[test]
fn the_cronjob_is_taken_where_pods_are_restricted() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("cronjob");
    ns.cluster
        .kubectl(&["label", "namespace", &ns.name, "pod-security.kubernetes.io/enforce=restricted"])
        .ok();
    let text = read("cronjob.yaml").replace("namespace: monitoring", &format!("namespace: {}", ns.name));
    let text =
        text.replace("metadata: {name: kubectl-sts-doctor}", &format!("metadata: {{name: {}}}", ns.name));
    cluster.apply(&text);
    let job = documents("cronjob.yaml").into_iter().find(|it| it["kind"] == "CronJob").unwrap();
    let template = &job["spec"]["jobTemplate"]["spec"]["template"]["spec"];
    let create = |spec: &Value| {
        let pod = serde_json::json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "doctor"}, "spec": spec});
        ns.kubectl_in(&["create", "--dry-run=server", "-f", "-"], &pod.to_string())
    };
    create(template).code(0);
    let mut loose = template.clone();
    loose["containers"][0]["securityContext"]["capabilities"] = Value::Null;
    let run = create(&loose);
    assert!(run.code != 0 && run.stderr.contains("restricted"), "{run}");
    // What the container runs, as the ServiceAccount would.
    let script = template["containers"][0]["args"][0].as_str().unwrap();
    let here = tempfile::tempdir().unwrap();
    let script = script.replace("/reports", here.path().to_str().unwrap());
    let script =
        script.replace("kubectl-sts doctor", &format!("{} doctor", env!("CARGO_BIN_EXE_kubectl-sts")));
    let run = ns.shell(&script);
    assert_eq!(run.code, 0, "{run}");
    let metrics = fs::read_to_string(here.path().join("kubectl-sts.prom")).unwrap();
    assert!(metrics.contains("kubectl_sts_read_timestamp_seconds "), "{metrics}");
    cluster.kubectl(&["delete", "clusterrolebinding", &ns.name]);
}

#[test]
fn k9s_takes_the_plugins() {
    let schema: Value = serde_json::from_str(include_str!("k9s/plugins.json")).unwrap();
    let plugins: Value = serde_saphyr::from_str(&read("k9s.yaml")).unwrap();
    let mut wrong = Vec::new();
    crate::schema::check(&schema, &schema, &plugins, "plugins", &mut wrong);
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (name, plugin) in plugins["plugins"].as_object().unwrap() {
        let args = plugin["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap());
        let ours: Vec<&str> = args.skip_while(|arg| *arg != "kubectl-sts").skip(1).collect();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
        let ours = ours.iter().map(|arg| arg.replace('$', ""));
        // The command line is read, down to the context, which is not there.
        let run = Run::of(
            command.args(ours).args(["--server", "http://127.0.0.1:1"]).env("KUBECONFIG", "/dev/null"),
            "",
        );
        assert!(run.stderr.contains("context \"CONTEXT\" does not exist"), "{name}: {run}");
    }
}

/// A diagnosis with this text in an event of the StatefulSet.
fn metrics(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args([
        "doctor",
        "-o",
        "prometheus",
        "--fail-on",
        "never",
    ]);
    Run::of(command.args(args).env_clear(), "").code(0).stdout
}

/// The parser of Prometheus' own Python client.
#[test]
fn prometheus_reads_the_metrics() {
    let trap = metrics(&["--from", "docs/recordings/postgres-rollback-trap.yaml"]);
    assert!(trap.contains("kubectl_sts_finding{rule=\"rollback-trap\""), "{trap}");
    let lines: Vec<&str> = trap.lines().filter(|line| !line.starts_with('#')).collect();
    let series: std::collections::BTreeSet<&str> =
        lines.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
    assert_eq!(series.len(), lines.len(), "a series is there twice: {trap}");
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/prometheus_client");
    let script = "import sys\nfrom prometheus_client.parser import text_string_to_metric_families as p\n\
                  for f in p(sys.stdin.read()):\n  assert f.type == 'gauge' and f.documentation, f\n  for s in f.samples: print(s.name, len(s.labels))\n";
    let python = |input: &str| {
        let mut command = Command::new("python3");
        Run::of(command.args(["-c", script]).env("PYTHONPATH", &tools), input)
    };
    let run = python(&trap);
    if run.stderr.contains("ModuleNotFoundError") || run.code == 127 {
        eprintln!(
            "SKIPPED: no prometheus_client; python3 -m pip install --target target/tools/prometheus_client prometheus_client"
        );
        return;
    }
    assert_eq!(run.code, 0, "{run}");
    assert_eq!(run.stdout.lines().count(), lines.len(), "{run}");
    assert!(run.stdout.contains("kubectl_sts_finding 8"), "{run}");
    // The parser is a judge: it refuses what is broken.
    assert_ne!(python(&trap.replace("\"} 1", "} 1")).code, 0);
}
