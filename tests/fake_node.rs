//! The fake node shows what a real kubelet shows between two states, see `tests/testcluster/README.md`. Every change of a
//! pod is looked at, so that none can be missed.

mod recorded;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::phases::Phase;
use crate::support::{self, Namespace, PATIENCE};

/// A pod with one container named `main`; the annotations are `KEY=VALUE KEY=VALUE …`.
fn pod(name: &str, annotations: &str, container: &str, more: &str) -> String {
    let mut text = String::new();
    for (key, value) in annotations.split(' ').filter_map(|pair| pair.split_once('=')) {
        let _ = write!(text, "fake.test/{key}: {}, ", json!(value));
    }
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, annotations: {{{text}}}}}\nspec:\n  \
         terminationGracePeriodSeconds: 30\n  {more}\n  containers: [{{name: main, image: 'a:1', {container}}}]\n"
    )
}

/// The pods of a manifest from their first status on, each change of each.
fn changes(
    ns: &Namespace,
    manifest: &str,
    enough: impl Fn(&BTreeMap<String, Vec<Value>>) -> bool,
) -> BTreeMap<String, Vec<Value>> {
    let mut command = ns.cluster.plane.kubectl();
    command.args(["-n", &ns.name, "get", "pods", "--watch", "-o", "json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let seen = Arc::new(Mutex::new(BTreeMap::<String, Vec<Value>>::new()));
    let (sink, out) = (Arc::clone(&seen), child.stdout.take().unwrap());
    let reader = thread::spawn(move || {
        for pod in serde_json::Deserializer::from_reader(out).into_iter::<Value>().map_while(Result::ok) {
            let name = pod["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            sink.lock().unwrap().entry(name).or_default().push(pod);
        }
    });
    ns.apply(manifest);
    ns.wait("the changes of the pods", PATIENCE, || {
        let seen = seen.lock().unwrap();
        if enough(&seen) { Ok(()) } else { Err(format!("{:?}", courses(&seen))) }
    });
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    seen.lock().unwrap().clone()
}

/// The phases of a pod's container, as `STATE RESTARTS` with a `+` if the pod is Ready, one after the other.
fn phases(pods: &[Value], container: &str) -> Vec<String> {
    let shown = |pod: &Value| {
        let Phase { state, restarts, ready } = Phase::of(pod, container);
        let short = match state.as_str() {
            "CrashLoopBackOff" => "backoff",
            "RunContainerError" => "error",
            "PostStartHookError" => "hook",
            other => other,
        };
        format!("{short}{restarts}{}", if ready { "+" } else { "" })
    };
    let mut all: Vec<String> = pods.iter().map(shown).collect();
    all.retain(|phase| {
        !phase.starts_with("ContainerCreating") && !phase.starts_with("PodInitializing") && phase != "0"
    });
    all.dedup();
    all
}

fn courses(seen: &BTreeMap<String, Vec<Value>>) -> BTreeMap<String, Vec<String>> {
    let container = |name: &str| if name == "init" { "setup" } else { "main" };
    seen.iter().map(|(name, pods)| (name.clone(), phases(pods, container(name)))).collect()
}

const LIVENESS: &str = "livenessProbe: {exec: {command: ['false']}, failureThreshold: 2}";
const STARTUP: &str = "startupProbe: {tcpSocket: {port: 80}, failureThreshold: 2}";
const READINESS: &str = "readinessProbe: {tcpSocket: {port: 80}}";

/// A pod of each restart loop: name, annotations, container, and the phases that come. See [`phases`] for these.
const COURSES: &[(&str, &str, &str, &str)] = &[
    (
        "crash",
        "mode=crashloop moment=1s down=1s",
        "",
        "terminated0 terminated1 backoff1 terminated2 backoff2 terminated3 backoff3",
    ),
    (
        "ready",
        "mode=crashloop up=1s moment=1s down=1s",
        "",
        "running0+ terminated0 running1+ terminated1 backoff1 running2+ terminated2 backoff2 running3+ terminated3",
    ),
    (
        "probed",
        "mode=crashloop up=1s moment=1s down=1s",
        READINESS,
        "running0 terminated0 running1 terminated1 backoff1 running2 terminated2 backoff2 running3 terminated3",
    ),
    (
        "jump",
        "mode=crashloop restarts=5 moment=1s down=1s",
        "",
        "terminated0 terminated5 backoff5 terminated6 backoff6 terminated7 backoff7",
    ),
    (
        "oom",
        "mode=oom up=1s moment=1s down=1s",
        "",
        "running0+ terminated0 running1+ terminated1 backoff1 running2+ terminated2 backoff2 running3+ terminated3",
    ),
    (
        "init",
        "mode=init-fail up=1s moment=1s down=1s",
        "",
        "running0 terminated0 running1 terminated1 backoff1 running2 terminated2 backoff2 running3 terminated3",
    ),
    (
        "live",
        "mode=liveness moment=1s down=1s",
        LIVENESS,
        "running0+ running1+ backoff1 running2+ backoff2 running3+ backoff3",
    ),
    ("live-long", "mode=liveness up=2s moment=1s", LIVENESS, "running0+ running1+ running2+ backoff2"),
    (
        "startup",
        "mode=startup moment=1s down=1s",
        STARTUP,
        "running0 running1 backoff1 running2 backoff2 running3 backoff3",
    ),
    (
        "no-command",
        "mode=starterror moment=1s down=1s",
        "command: [postgers]",
        "error0 error1 backoff1 error2 backoff2 error3 backoff3",
    ),
    (
        "no-hook",
        "mode=poststart moment=1s down=1s",
        "lifecycle: {postStart: {exec: {command: ['false']}}}",
        "hook0 hook1 backoff1 hook2 backoff2 hook3 backoff3",
    ),
    (
        "lingers",
        "mode=crashloop up=1s moment=back-off down=3s",
        "",
        "running0+ terminated0 running1+ terminated1 backoff1 running2+ terminated2 backoff2 running3+ terminated3",
    ),
    (
        "pull",
        "mode=imagepull moment=1s down=1s",
        "",
        "ErrImagePull0 ImagePullBackOff0 ErrImagePull0 ImagePullBackOff0 ErrImagePull0 ImagePullBackOff0",
    ),
];

#[test]
fn restarts_pass_through_the_states_of_a_real_kubelet() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("restarts");
    let own = |(name, annotations, container, _): &(&str, &str, &str, &str)| {
        let init = if *name == "init" { "initContainers: [{name: setup, image: 'b:1'}]" } else { "" };
        pod(name, annotations, container, init)
    };
    let manifest: String = COURSES.iter().map(own).collect();
    let reached = |seen: &BTreeMap<String, Vec<Value>>| {
        let courses = courses(seen);
        COURSES.iter().all(|(name, _, _, wanted)| {
            courses.get(*name).is_some_and(|course| course.len() >= wanted.split(' ').count())
        })
    };
    let seen = changes(&ns, &manifest, reached);
    let courses = courses(&seen);
    let mut wrong = String::new();
    for (name, _, _, wanted) in COURSES {
        let course = &courses[*name];
        let wanted: Vec<&str> = wanted.split(' ').collect();
        if course[..wanted.len()] != wanted {
            let _ = writeln!(wrong, "{name}:\n  {course:?}, not\n  {wanted:?}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");

    for (name, code, reason) in [
        ("crash", 1, "Error"),
        ("oom", 137, "OOMKilled"),
        ("live", 0, "Completed"),
        ("no-command", 128, "StartError"),
    ] {
        let status = &seen[name].last().unwrap()["status"]["containerStatuses"][0];
        let ended = [&status["state"]["terminated"], &status["lastState"]["terminated"]];
        let ended = ended.into_iter().find(|ended| !ended.is_null()).unwrap();
        assert_eq!(
            (ended["exitCode"].as_i64(), ended["reason"].as_str()),
            (Some(code), Some(reason)),
            "{name}"
        );
    }
    let pull =
        seen["pull"].iter().map(|pod| &pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]);
    let pull: Vec<&str> = pull.filter_map(Value::as_str).collect();
    assert!(
        pull.iter().any(|text| text
            .starts_with("Back-off pulling image \"a:1\": ErrImagePull: rpc error: code = NotFound")),
        "{pull:?}"
    );
    probes_and_start_errors_have_their_events(&ns);
}

/// The events a kubelet has written about a pod: `TYPE REASON FIELD MESSAGE`, with their counts.
fn events(ns: &Namespace, pod: &str) -> BTreeMap<String, u64> {
    let events =
        ns.kubectl_json(&["get", "events", "--field-selector", &format!("involvedObject.name={pod}")]);
    let events = events["items"].as_array().cloned().unwrap_or_default();
    let kubelet = events.iter().filter(|event| event["source"]["component"] == "kubelet");
    let mut all = BTreeMap::new();
    for event in kubelet {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let key =
            [&event["type"], &event["reason"], &event["involvedObject"]["fieldPath"], &event["message"]]
                .map(text);
        *all.entry(key.join(" ")).or_insert(0) += event["count"].as_u64().unwrap_or(1);
    }
    all
}

fn probes_and_start_errors_have_their_events(ns: &Namespace) {
    for (pod, expected) in [
        (
            "live",
            &[
                ("Warning Unhealthy spec.containers{main} Liveness probe failed: command failed", 6),
                (
                    "Normal Killing spec.containers{main} Container main failed liveness probe, will be restarted",
                    3,
                ),
            ][..],
        ),
        (
            "startup",
            &[
                (
                    "Warning Unhealthy spec.containers{main} Startup probe failed: dial tcp: connect: connection refused",
                    4,
                ),
                (
                    "Normal Killing spec.containers{main} Container main failed startup probe, will be restarted",
                    2,
                ),
            ][..],
        ),
        (
            "no-command",
            &[(
                "Warning Failed spec.containers{main} Error: failed to create containerd task: failed to create shim task: OCI \
             runtime create failed: runc create failed: unable to start container process: exec: \"postgers\": executable \
             file not found in $PATH: unknown",
                3,
            )][..],
        ),
    ] {
        let seen = events(ns, pod);
        for (key, least) in expected {
            assert!(
                seen.get(*key).is_some_and(|count| count >= least),
                "{pod}: {key} {least} times\n{seen:#?}"
            );
        }
    }
    assert!(!events(ns, "no-command").keys().any(|key| key.contains(" Started ")), "it never started");
}

/// A kubelet writes 25 events of each type about a pod, then one in 5 minutes, while its status goes on.
#[test]
fn events_dry_up_while_the_status_goes_on() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("budget");
    let quick = "mode=liveness up=0s moment=0s down=1s message=";
    let manifest =
        pod("real", quick, LIVENESS, "") + &pod("small", &format!("{quick} event-burst=4"), LIVENESS, "");
    ns.apply(&manifest);
    let restarts = |more: u64| {
        ns.wait("restarts", PATIENCE, || {
            let pods = ns.pods();
            let low = pods.values().map(|pod| u64::from(pod.restarts)).min().unwrap_or(0);
            if pods.len() == 2 && low >= more { Ok(low) } else { Err(format!("{pods:?}")) }
        })
    };
    let counts = |pod: &str| {
        let all = events(&ns, pod);
        let of = |kind: &str| {
            all.iter().filter(|(key, _)| key.starts_with(kind)).map(|(_, count)| count).sum::<u64>()
        };
        (of("Normal"), of("Warning"))
    };
    let reached = restarts(12);
    assert_eq!((counts("real"), counts("small")), ((25, 25), (4, 4)), "after {reached} restarts");
    restarts(reached + 2);
    assert_eq!((counts("real"), counts("small")), ((25, 25), (4, 4)), "and no more after that");
    let empty = "Warning Unhealthy spec.containers{main} Liveness probe failed: ";
    assert!(
        events(&ns, "real").contains_key(empty),
        "a probe that prints nothing: {:#?}",
        events(&ns, "real")
    );
}

#[test]
fn the_log_of_the_former_run_is_gone_while_a_container_is_terminated() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("former");
    let slow = "up=3s moment=3s down=3s log=FATAL";
    let init = "initContainers: [{name: setup, image: 'b:1'}]";
    let manifest = pod("crash", &format!("{slow} mode=crashloop"), "", "")
        + &pod("init", &format!("{slow} mode=init-fail"), "", init);
    ns.apply(&manifest);
    for (name, container) in [("crash", "main"), ("init", "setup")] {
        let mut open = vec!["running", "terminated", "CrashLoopBackOff"];
        ns.wait("the log to be read in each phase", PATIENCE, || {
            let phase = || {
                let run = ns.kubectl(&["get", "pod", name, "-o", "json"]);
                Phase::of(&serde_json::from_str(&run.stdout).unwrap_or_default(), container)
            };
            let before = phase();
            let now = ns.kubectl(&["logs", name, "-c", container]);
            let former = ns.kubectl(&["logs", name, "-c", container, "--previous"]);
            if before.restarts > 0 && before == phase() && open.contains(&before.state.as_str()) {
                assert_eq!(now.ok(), "FATAL\n", "{before:?}");
                let former = former.code(0).stdout;
                if before.state == "terminated" {
                    assert!(
                        former.starts_with("unable to retrieve container logs for containerd://"),
                        "{former}"
                    );
                } else {
                    assert_eq!(former, "FATAL\n", "{before:?}");
                }
                open.retain(|state| *state != before.state);
            }
            if open.is_empty() { Ok(()) } else { Err(format!("{open:?} not yet, now {before:?}")) }
        });
    }
}

#[test]
fn a_terminating_pod_stays_ready_until_its_containers_have_ended() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("stays-ready");
    ns.apply(&pod("slow", "linger=3s", "", ""));
    ns.wait_pod("slow", "Ready", |pod| Phase::of(pod, "main").ready);
    ns.delete(&["pod", "slow", "--wait=false"]);
    let gone = ns.wait("the pod to be gone", PATIENCE, || {
        let run = ns.kubectl(&["get", "pod", "slow", "-o", "json"]);
        if run.code != 0 {
            return Ok(run.stderr);
        }
        let pod: Value = serde_json::from_str(&run.stdout).unwrap();
        assert!(!pod["metadata"]["deletionTimestamp"].is_null());
        let running = !pod["status"]["containerStatuses"][0]["state"]["running"].is_null();
        let ready = pod["status"]["containerStatuses"][0]["ready"] == true;
        assert_eq!((running, running), (ready, Phase::of(&pod, "main").ready), "{pod}");
        Err("it is there".to_owned())
    });
    assert!(gone.contains("not found"), "{gone}");
    let stop = "Normal Killing spec.containers{main} Stopping container main";
    assert_eq!(events(&ns, "slow").get(stop), Some(&1), "{:#?}", events(&ns, "slow"));
}

/// Without a readiness probe a container is Ready as soon as it runs, which is enough for the StatefulSet controller.
#[test]
fn a_crash_loop_stops_an_ordered_set_only_with_a_readiness_probe() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("ordered");
    for (name, probe) in [("open", ""), ("probed", READINESS)] {
        ns.apply(&format!(
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: {name}}}\nspec:\n  serviceName: {name}\n  replicas: \
             2\n  selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}, \
             annotations: {{fake.test/mode: crashloop, fake.test/up: 2s, fake.test/down: 1s}}}}\n    spec: \
             {{containers: [{{name: main, image: 'a:1', {probe}}}]}}\n"
        ));
    }
    ns.wait("two restarts of the second pod", PATIENCE, || {
        let pods = ns.pods();
        let restarts = |name: &str| pods.get(name).map_or(0, |pod| pod.restarts);
        let done = restarts("open-1") >= 2 && restarts("probed-0") >= 2;
        if done { Ok(()) } else { Err(format!("{pods:?}")) }
    });
    assert!(!ns.pods().contains_key("probed-1"), "{:?}", ns.pods());
}
