//! The control plane of the tests itself: does it behave as the tests rely on?

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::thread;

use serde_json::json;

use crate::support::{self, Binding, PATIENCE, Run};

/// A `StatefulSet` named `web` with one container and these annotations in its template.
fn web(replicas: u32, annotations: &[(&str, &str)], more: &str) -> String {
    let mut text = String::new();
    for (key, value) in annotations {
        let _ = write!(text, "fake.test/{key}: {}, ", json!(value));
    }
    format!(
        r"
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: web}}
spec:
  serviceName: web
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata:
      labels: {{app: web}}
      annotations: {{{text}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: main
        image: example.test/web:1
{more}"
    )
}

#[test]
fn a_set_with_claims_becomes_ready() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("claims");
    for binding in [Binding::Immediate, Binding::WaitForFirstConsumer] {
        let class = cluster.storage_class("smoke", binding, true);
        let claims = format!(
            "  volumeClaimTemplates:
  - metadata: {{name: data}}
    spec: {{accessModes: [ReadWriteOnce], storageClassName: {class}, resources: {{requests: {{storage: 1Gi}}}}}}"
        );
        ns.apply(&web(3, &[], &claims));
        ns.wait_rolled_out("web", 3);
        let claims = ns.kubectl_json(&["get", "pvc"]);
        let bound = |claim: &serde_json::Value| claim["status"]["phase"] == "Bound";
        assert_eq!(claims["items"].as_array().unwrap().iter().filter(|claim| bound(claim)).count(), 3);
        ns.delete(&["statefulset/web"]);
        ns.delete(&["pods", "--all"]);
        ns.delete(&["pvc", "--all"]);
    }
}

/// One pod for each mode, all at once, against what kubectl itself makes of the statuses.
#[test]
fn every_mode_looks_like_the_real_fault() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("modes");
    let plain = "";
    let init = "  initContainers: [{name: setup, image: 'example.test/setup:1'}]\n";
    let missing_env = "    envFrom: [{configMapRef: {name: absent}}]\n";
    let missing_volume = "  volumes: [{name: conf, secret: {secretName: absent}}]\n";
    let sidecar = "  initContainers: [{name: proxy, image: 'example.test/proxy:1', restartPolicy: Always}]\n";
    // name, annotations, image, more of the spec, READY, STATUS
    let table = [
        ("ready", "", "a:1", plain, "1/1", "Running"),
        ("unready", "mode: unready", "a:1", plain, "0/1", "Running"),
        ("crashloop", "mode: crashloop", "a:1", plain, "0/1", "CrashLoopBackOff"),
        ("oom", "mode: oom", "a:1", plain, "0/1", "CrashLoopBackOff"),
        ("imagepull", "mode: imagepull", "a:1", plain, "0/1", "ImagePullBackOff"),
        ("errimagepull", "mode: errimagepull", "a:1", plain, "0/1", "ErrImagePull"),
        ("configmissing", "mode: configmissing", "a:1", plain, "0/1", "CreateContainerConfigError"),
        ("creating", "mode: creating", "a:1", plain, "0/1", "ContainerCreating"),
        ("init-fail", "mode: init-fail", "a:1", init, "0/1", "Init:CrashLoopBackOff"),
        ("init-ok", "", "a:1", init, "1/1", "Running"),
        ("sidecar", "", "a:1", sidecar, "2/2", "Running"),
        ("succeeded", "mode: succeeded", "a:1", plain, "0/1", "Completed"),
        ("failed", "mode: failed", "a:1", plain, "0/1", "Evicted"),
        ("typo", "mode: redy", "a:1", plain, "0/1", "UnknownFakeMode"),
        ("typo-key", "mod: ready", "a:1", plain, "0/1", "UnknownFakeMode"),
        ("no-such-tag", "", "a:does-not-exist", plain, "0/1", "ImagePullBackOff"),
        ("no-such-host", "", "does.not.exist/a:1", plain, "0/1", "ImagePullBackOff"),
        ("no-config", "", "a:1", missing_env, "0/1", "CreateContainerConfigError"),
        ("no-secret", "", "a:1", missing_volume, "0/1", "ContainerCreating"),
        ("then", "then: crashloop, fake.test/then-after: 1s", "a:1", plain, "0/1", "CrashLoopBackOff"),
        ("then-evicted", "then: failed, fake.test/then-after: 1s", "a:1", plain, "0/1", "Error"),
        ("late", "delay: 1s, fake.test/ready-delay: 1s", "a:1", plain, "1/1", "Running"),
        ("ordinal-0", "mode-1: crashloop", "a:1", plain, "1/1", "Running"),
        ("ordinal-1", "mode-1: crashloop", "a:1", plain, "0/1", "CrashLoopBackOff"),
    ];
    let mut manifest = String::new();
    for (name, annotations, image, more, _, _) in table {
        let annotations =
            if annotations.is_empty() { String::new() } else { format!("fake.test/{annotations}") };
        let _ = write!(
            manifest,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, annotations: {{{annotations}}}}}\nspec:\n  \
             terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: '{image}'\n{more}"
        );
    }
    ns.apply(&manifest);
    ns.wait("every pod with the status of its mode", PATIENCE, || {
        let pods = ns.pods();
        let wrong: Vec<String> = table
            .iter()
            .filter_map(|(name, _, _, _, ready, status)| match pods.get(*name) {
                Some(row) if row.ready == *ready && row.status == *status => None,
                row => Some(format!("{name}: {row:?}, not {ready} {status}")),
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    });

    let oom = ns.kubectl_json(&["get", "pod", "oom"]);
    let last = &oom["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((last["reason"].as_str(), last["exitCode"].as_i64()), (Some("OOMKilled"), Some(137)));
    let no_config = ns.kubectl_json(&["get", "pod", "no-config"]);
    let waiting = &no_config["status"]["containerStatuses"][0]["state"]["waiting"];
    assert_eq!(waiting["message"], json!("configmap \"absent\" not found"));
    let seen = |reason: &str, pod: &str| {
        let fields = format!("involvedObject.name={pod},reason={reason}");
        ns.wait(&format!("event {reason} of pod {pod}"), PATIENCE, || {
            let events = ns.kubectl_json(&["get", "events", "--field-selector", &fields]);
            if events["items"].as_array().is_some_and(|items| !items.is_empty()) {
                Ok(())
            } else {
                Err("none".into())
            }
        });
    };
    seen("BackOff", "crashloop");
    seen("FailedMount", "no-secret");
    seen("Failed", "no-such-tag");
    seen("Started", "ready");
    seen("UnknownFakeMode", "typo");

    // What was missing appears: both pods recover, as with a kubelet.
    ns.kubectl(&["create", "configmap", "absent", "--from-literal=a=b"]).ok();
    ns.kubectl(&["create", "secret", "generic", "absent", "--from-literal=a=b"]).ok();
    ns.wait_pod_status("no-config", "Running");
    ns.wait_pod_status("no-secret", "Running");
}

#[test]
fn logs_and_exec_answer() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("logs");
    ns.apply(&web(
        1,
        &[("mode", "crashloop"), ("log", "one\ntwo\nthree"), ("exit-code", "3"), ("restarts", "4")],
        "",
    ));
    let row = ns.wait_pod_status("web-0", "CrashLoopBackOff");
    assert!(row.restarts >= 4, "{row:?}");
    assert_eq!(ns.kubectl(&["logs", "web-0", "--previous", "--tail=2"]).ok(), "two\nthree\n");
    assert_eq!(ns.kubectl(&["logs", "web-0"]).ok(), "one\ntwo\nthree\n");

    ns.apply(&web(1, &[("exec", "forty-two\n"), ("exec-code", "42")], ""));
    ns.delete(&["pod", "web-0"]); // the controller does not replace a pod that never was Ready
    ns.wait_rolled_out("web", 1);
    let run = ns.kubectl(&["exec", "web-0", "--", "anything"]).code(42);
    assert_eq!(run.stdout, "forty-two\n");
    let run = ns.kubectl(&["logs", "web-0", "--previous"]).code(1);
    assert!(
        run.stderr.contains("previous terminated container \"main\" in pod \"web-0\" not found"),
        "{run}"
    );

    ns.apply(&web(1, &[], ""));
    ns.wait_rolled_out("web", 1);
    let run = ns.kubectl(&["exec", "web-0", "--", "sh", "-c", "exit 7"]);
    if !run.stderr.contains("has no static busybox") && !run.stderr.contains("not root") {
        assert_eq!(run.code, 7, "{run}");
    }
}

/// kubernetes#67250, which much of this program is about: after a revert the pod that is stuck stays stuck.
#[test]
fn a_reverted_template_leaves_the_broken_pod() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("trap");
    ns.apply(&web(3, &[], ""));
    let good = ns.wait_rolled_out("web", 3)["status"]["updateRevision"].clone();
    ns.apply(&web(3, &[("mode", "crashloop")], ""));
    ns.wait_pod_status("web-2", "CrashLoopBackOff");
    let broken =
        ns.kubectl_json(&["get", "pod", "web-2"])["metadata"]["labels"]["controller-revision-hash"].clone();
    ns.apply(&web(3, &[], ""));
    ns.wait("the controller to see the revert", PATIENCE, || {
        let status = ns.kubectl_json(&["get", "statefulset", "web"])["status"].clone();
        if status["updateRevision"] == good && status["observedGeneration"] == 3 {
            Ok(())
        } else {
            Err(status.to_string())
        }
    });
    // Two more reconciliations of the set, so that "it stays" is more than "not yet".
    for step in ["a", "b"] {
        ns.patch("statefulset/web", &json!({ "metadata": { "annotations": { "step": step } } }));
        thread::sleep(std::time::Duration::from_millis(500));
    }
    let pod = ns.kubectl_json(&["get", "pod", "web-2"]);
    assert_eq!(pod["metadata"]["labels"]["controller-revision-hash"], broken);
    ns.delete(&["pod", "web-2"]);
    let set = ns.wait_rolled_out("web", 3);
    assert_eq!(set["status"]["currentRevision"], good);
}

#[test]
fn terminating_pods_linger() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("linger");
    ns.apply(&web(2, &[("linger-0", "never")], ""));
    ns.wait_rolled_out("web", 2);
    ns.delete(&["pod", "web-0", "--wait=false"]);
    ns.wait_pod("web-0", "Terminating and still Ready", |pod| {
        !pod["metadata"]["deletionTimestamp"].is_null()
            && pod["status"]["containerStatuses"][0]["ready"] == true
    });
    ns.delete(&["pod", "web-0", "--force", "--grace-period=0"]);
    ns.wait_rolled_out("web", 2);
    ns.patch("pod/web-1", &json!({ "metadata": { "finalizers": ["example.test/hold"] } }));
    ns.delete(&["pod", "web-1", "--wait=false"]);
    ns.wait_pod("web-1", "without containers, held by its finalizer", |pod| {
        !pod["status"]["containerStatuses"][0]["state"]["terminated"].is_null()
    });
    ns.patch("pod/web-1", &json!({ "metadata": { "finalizers": null } }));
    ns.wait_rolled_out("web", 2);
}

#[test]
fn a_flapping_pod_is_ready_now_and_then() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("flapping");
    ns.apply(&web(1, &[("mode", "flapping"), ("up", "2s"), ("down", "2s")], ""));
    for restarts in 0..2 {
        ns.wait_pod("web-0", "Ready", |pod| {
            let main = &pod["status"]["containerStatuses"][0];
            main["ready"] == true && main["restartCount"].as_u64() >= Some(restarts)
        });
        ns.wait_pod_status("web-0", "CrashLoopBackOff");
    }
}

#[test]
fn ports_are_forwarded() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("forward");
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let forward = format!("53={}", server.local_addr().unwrap().port());
    thread::spawn(move || {
        for mut stream in server.incoming().flatten() {
            let _ = stream.write_all(b"hello");
        }
    });
    ns.apply(&web(1, &[("forward", &forward)], ""));
    ns.wait_rolled_out("web", 1);
    let mut command = cluster.plane.kubectl();
    command.args(["-n", &ns.name, "port-forward", "--address=127.0.0.1", "pod/web-0", ":53"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let address = line.split_whitespace().find(|word| word.starts_with("127.0.0.1:")).map(str::to_owned);
    let mut answer = String::new();
    let result = address.ok_or(line).and_then(|address| {
        let mut stream = TcpStream::connect(address).map_err(|error| error.to_string())?;
        stream.read_to_string(&mut answer).map_err(|error| error.to_string())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!((result, answer.as_str()), (Ok(5), "hello"));
}

#[test]
fn a_lost_node_is_not_ready_and_comes_back() {
    let Some(cluster) = support::cluster() else { return };
    let flags = ["--zone", "zone-c", "--labels", "disk=fast", "--taints", "test=lost:NoSchedule"];
    let Some(node) = cluster.node("lost", &flags) else { return };
    let ready = |status: &str| {
        support::wait(&format!("node {} with Ready {status}", node.name), PATIENCE, || {
            let path = "jsonpath={.metadata.labels.disk}/{.status.conditions[?(@.type=='Ready')].status}";
            let seen = cluster.kubectl(&["get", "node", &node.name, "-o", path]).ok();
            if seen == format!("fast/{status}") { Ok(()) } else { Err(seen) }
        });
    };
    ready("True");
    cluster.lose_node(&node.name, true);
    ready("Unknown");
    cluster.lose_node(&node.name, false);
    ready("True");
}

#[test]
fn the_plugin_is_found_by_kubectl() {
    let Some(cluster) = support::cluster() else { return };
    let mut kubectl = std::process::Command::new(&cluster.plane.kubectl);
    let run = Run::of(cluster.plane.clean(&mut kubectl).args(["plugin", "list"]), "").code(0);
    assert!(run.stdout.contains("kubectl-sts"), "{run}");
    let mut kubectl = std::process::Command::new(&cluster.plane.kubectl);
    let run = Run::of(cluster.plane.clean(&mut kubectl).args(["__complete", "get", "statefulse"]), "");
    assert_eq!(run.code, 0, "{run}");
}

#[test]
fn age_makes_things_older() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("age");
    ns.apply(&web(1, &[], ""));
    let set = ns.wait_rolled_out("web", 1);
    if !ns.age("9d") {
        return; // somebody else's etcd
    }
    let ages = |object: &str| ns.kubectl(&["get", object, "--no-headers"]).ok();
    ns.wait("everything to be nine days old", PATIENCE, || {
        let all = ["statefulset/web", "pod/web-0", "controllerrevisions"].map(ages).join("");
        if all.lines().all(|line| line.contains("9d")) { Ok(()) } else { Err(all) }
    });
    // Nothing of it is a change to the controller: the same pod, the same revision.
    let after = ns.wait_rolled_out("web", 1);
    assert_eq!(after["status"]["updateRevision"], set["status"]["updateRevision"]);
    assert_eq!(after["metadata"]["generation"], set["metadata"]["generation"]);
}

#[test]
fn a_user_has_the_rights_it_was_given_and_no_more() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("user");
    let config = ns.user("reader", "- {apiGroups: [apps], resources: [statefulsets], verbs: [get, list]}");
    let config = config.to_str().unwrap();
    ns.kubectl(&["--kubeconfig", config, "get", "statefulsets"]).ok();
    let run = ns.kubectl(&["--kubeconfig", config, "get", "pods"]).code(1);
    assert!(run.stderr.contains("cannot list resource \"pods\""), "{run}");
}

#[test]
fn only_local_servers_are_taken() {
    let local = support::controlplane::is_local;
    for server in [
        "https://127.0.0.1:6443",
        "https://[::1]:6443",
        "https://10.0.0.7",
        "https://localhost:1",
        "https://192.168.3.4:6443/x",
    ] {
        assert!(local(server), "{server}");
    }
    for server in [
        "https://8.8.8.8:6443",
        "https://api.example.com",
        "https://localhost.example.com",
        "https://[2001:db8::1]",
        "",
    ] {
        assert!(!local(server), "{server}");
    }
}
