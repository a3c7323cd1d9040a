//! Init containers that wait for peers, on the real control plane. The test plays the application: it ends an init container once
//! what it waits for has a DNS name, which is when an EndpointSlice of the Service has its host name.

use serde_json::Value;

use crate::doctor::found;
use crate::recover::set;
use crate::support::findings::{finding, paste};
use crate::support::verdict::agree;
use crate::support::{self, Namespace, PATIENCE};

/// A StatefulSet whose init container runs without end, with this command.
fn with(name: &str, replicas: i32, spec: &str, command: &str) -> String {
    let notes = "annotations: {fake.test/mode: unready, fake.test/container: peers}";
    set(name, replicas, spec)
        .replace("template: {metadata: {", &format!("template: {{metadata: {{{notes}, "))
        .replace(
            "terminationGracePeriodSeconds: 1",
            &format!(
                "terminationGracePeriodSeconds: 1, initContainers: [{{name: peers, image: 'web:1', command: {command}}}]"
            ),
        )
}

/// The rest of a command can hold secrets: not even in a recording of a file that has it.
#[test]
fn of_a_command_only_the_own_replicas_are_recorded() {
    let set = with(
        "web",
        2,
        "",
        "[sh, -c, 'PGPASSWORD=hunter2 until psql -h web-1.web; do sleep 1; done; echo other-1.key']",
    );
    let pod = r"
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop}
spec:
  initContainers: [{name: peers, command: [until, hunter2, web-1.web, s3cret-1.web], args: [--password=hunter2]}]
  containers: [{name: web, command: [until, web-1.web, hunter2]}]
";
    let set = set.replace("metadata: {name: web}", "metadata: {name: web, namespace: shop}");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    command.args(["record", "-o", "json", "--from", "-"]).env_clear();
    let run = support::Run::of(&mut command, &(set + pod)).code(0);
    for secret in ["hunter2", "s3cret", "other-1", "PGPASSWORD", "psql"] {
        assert!(!run.stdout.contains(secret), "{secret}: {run}");
    }
    let recording: Value = serde_json::from_str(&run.stdout).unwrap();
    let objects = recording["objects"].as_array().unwrap();
    let pod = objects.iter().find(|it| it["kind"] == "Pod").unwrap();
    assert_eq!(pod["spec"]["initContainers"][0]["command"], serde_json::json!(["until", "web-1.web"]));
    assert!(pod["spec"]["containers"][0]["command"].is_null(), "{pod:#}");
    assert_eq!(run.stdout.matches("web-1.web").count(), 1, "{run}");
}

fn bad(ns: &Namespace) -> Vec<String> {
    found(ns, &[]).into_iter().filter(|it| !it.contains(" note ")).collect()
}

/// Waits until the names of these pods resolve, as EndpointSlices say, and then ends their init containers.
fn names_come(ns: &Namespace, service: &str, pods: &[&str]) {
    ns.wait(&format!("the names of {pods:?}"), PATIENCE, || {
        let label = format!("kubernetes.io/service-name={service}");
        let slices = ns.kubectl_json(&["get", "endpointslices", "-l", &label]);
        let endpoints = slices["items"].as_array().unwrap().iter();
        let endpoints = endpoints.flat_map(|slice| slice["endpoints"].as_array().into_iter().flatten());
        let published = endpoints.filter(|it| it["conditions"]["ready"] == true);
        let hosts: Vec<&str> = published.filter_map(|it| it["hostname"].as_str()).collect();
        if pods.iter().all(|pod| hosts.contains(pod)) { Ok(()) } else { Err(format!("{hosts:?}")) }
    });
    for pod in pods {
        ns.kubectl(&["annotate", "--overwrite", "pod", pod, "fake.test/mode=succeeded"]).ok();
    }
}

fn paste_all(ns: &Namespace, commands: &Value) {
    assert!(!commands.as_array().unwrap().is_empty());
    paste(ns, commands);
}

#[test]
fn an_init_container_that_waits_for_a_later_pod_is_freed() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("peers");
    let until =
        |hosts: &str| format!("[sh, -c, 'for n in {hosts}; do until nslookup $n; do sleep 1; done; done']");
    ns.apply(&with("web", 3, "", &until("web-0.web web-1.web web-2.web")));
    // They know each other and do not wait; wait for what comes; or have only just begun.
    ns.apply(&with("list", 2, "", "[restore, '--members=list-0.list,list-1.list']"));
    ns.apply(&with("other", 2, "", &until("postgres-1.postgres other-1-ro")));
    for pod in ["web-0", "list-0", "other-0"] {
        ns.wait_pod_status(pod, "Init:0/1");
    }
    assert_eq!(bad(&ns), Vec::<String>::new());
    if !ns.age("90s") {
        return;
    }
    ns.apply(&with("young", 2, "", &until("young-1.young")));
    ns.wait_pod_status("young-0", "Init:0/1");
    ns.wait("the finding", PATIENCE, || match bad(&ns) {
        bad if bad == ["STS404 warning Pod/web-0"] => Ok(()),
        bad => Err(format!("{bad:?}")),
    });
    agree(&ns);
    ns.delete(&["statefulset/young", "--wait=true"]);
    let it = finding(
        &ns,
        "STS404",
        "web-0",
        &[
            "OrderedReady creates web-1 and web-2 only after web-0 is ready, so this is a deadlock",
            "Service web lacks publishNotReadyAddresses, so web-0, web-1 and web-2 each have no DNS name",
        ],
    );
    assert_eq!(
        it["what"],
        "web-0 waits in its init container peers for web-1 and web-2, which are created only after it"
    );
    paste_all(&ns, &it["try"]);
    for pod in ["web-1", "web-2"] {
        ns.wait_pod_status(pod, "Init:0/1");
    }
    names_come(&ns, "web", &["web-0", "web-1", "web-2"]);
    ns.wait_ready("web", 3);
    assert_eq!(bad(&ns), Vec::<String>::new());
    agree(&ns);
}

#[test]
fn init_containers_that_wait_for_names_of_each_other_get_them() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("names");
    let parallel = "podManagementPolicy: Parallel,";
    let command = |name: &str| format!("[wait-for-it, '{name}-0.{name}:80', '{name}-1.{name}:80']");
    ns.apply(&with("mesh", 2, parallel, &command("mesh")));
    // The same, published before it is ready; the pods take their time for something else.
    let published = with("open", 2, parallel, &command("open"));
    ns.apply(&published.replace("clusterIP: None", "clusterIP: None, publishNotReadyAddresses: true"));
    for pod in ["mesh-0", "mesh-1", "open-0", "open-1"] {
        ns.wait_pod_status(pod, "Init:0/1");
    }
    if !ns.age("15m") {
        return;
    }
    ns.wait("the finding", PATIENCE, || match bad(&ns) {
        bad if bad == ["STS404 error Pod/mesh-0"] => Ok(()),
        bad => Err(format!("{bad:?}")),
    });
    let it = finding(&ns, "STS404", "mesh-0", &["mesh-0 and mesh-1 each have no DNS name until it is ready"]);
    assert!(
        it["what"].as_str().unwrap().starts_with("mesh-0 and mesh-1 wait in their init container peers"),
        "{it}"
    );
    paste_all(&ns, &it["try"]);
    names_come(&ns, "mesh", &["mesh-0", "mesh-1"]);
    ns.wait_ready("mesh", 2);
    assert_eq!(bad(&ns), Vec::<String>::new());
    agree(&ns);
}
