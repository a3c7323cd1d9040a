//! Times that no clock has: in flags, and in what a cluster or a file says.

use std::process::Command;

use crate::support::{self, Run};

fn sts(args: &[&str], stdin: &str) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    command.args(args);
    Run::of(&mut command, stdin)
}

/// The longest that can be written in each unit, what is more than that, and what is more than any number.
const LONG: [&str; 6] =
    ["4294967295", "5124095h", "18446744073s", "307445734561m", "9999999999h", "99999999999999999999h"];

/// Not a panic, and no time that passes at once because it is too long.
#[test]
fn flags_take_any_time() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("extremes");
    ns.apply(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: web}\nspec:\n  replicas: 1\n  serviceName: web\n  selector: \
         {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}, annotations: {fake.test/mode: imagepull}}\n    \
         spec: {containers: [{name: web, image: \"web:1\"}]}\n---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: \
         idle}\nspec:\n  replicas: 1\n  serviceName: idle\n  selector: {matchLabels: {app: idle}}\n  template:\n    metadata: \
         {labels: {app: idle}}\n    spec: {terminationGracePeriodSeconds: 1, containers: [{name: web, image: \"web:1\"}]}\n",
    );
    ns.wait_pod_status("web-0", "ImagePullBackOff");
    ns.wait_ready("idle", 1);
    let mut taken = 0;
    for long in LONG {
        let run = ns.sts(&["watch", "web", "--timeout", long, "--stable-for", long, "--stuck-after", "0s"]);
        assert!([1, 2].contains(&run.code), "stuck, or a usage error: {run}");
        if run.code == 2 {
            for args in [
                &["watch", "web", "--stuck-after", long][..],
                &["canary", "idle", "--pods", "1", "--bake", long],
                &["undo", "idle", "--timeout", long],
                &["status", "--request-timeout", long],
            ] {
                let run = ns.sts(args).code(2);
                assert!(run.stderr.contains("expected a duration such as 90s, 1h30m, 30d or 1d12h"), "{run}");
            }
            continue;
        }
        taken += 1;
        // Not stuck before its time, nor complete, nor observed for long enough.
        let short = ["--timeout", "1s", "--request-timeout", long];
        for args in [
            &["watch", "web", "--stuck-after", long, "--stable-for", long][..],
            &["watch", "idle", "--stable-for", long],
        ] {
            ns.sts(&[args, &short].concat()).code(124);
        }
        ns.sts(&["status", "--request-timeout", long]).code(0);
        ns.sts(&["watch", "idle", "--timeout", long, "--stuck-after", long]).code(0);
    }
    assert!(taken >= 3, "{taken} were taken");
    let long = "5124095h";
    let image = ["canary", "idle", "--pods", "1", "--image", "web=web:2", "--yes", "--stuck-after", long];
    ns.sts(&[&image[..], &["--bake", long, "--timeout", "6s"]].concat()).code(124);
    ns.sts(&["undo", "idle", "--yes", "--stuck-after", long, "--timeout", long]).code(0);
    for age in ["5124095h", "213503d", "99999999999999d", "18446744073709551615w", "106751991167300d"] {
        let run = ns.sts(&["prune-pvcs", "--older-than", age, "--unused-for", age]);
        assert!([0, 2].contains(&run.code), "{run}");
    }
}

/// Every time of every object is the first and the last that can be written, in turn.
#[test]
fn objects_have_any_time() {
    let times = ["-009999-01-02T01:59:59Z", "0001-01-01T00:00:00Z", "9999-12-30T22:00:00.999999999Z"];
    let mut read = 0;
    for (one, other) in times.into_iter().flat_map(|one| times.map(|other| (one, other))) {
        let text = OBJECTS.replace("FIRST", one).replace("LAST", other);
        for args in [
            &["status"][..],
            &["status", "web"],
            &["status", "web", "-o", "json"],
            &["doctor"],
            &["doctor", "-o", "json"],
            &["history", "web"],
            &["prune-pvcs", "--older-than", "106751991167300d"],
            &["prune-pvcs", "--unused-for", "1ns"],
            &["record"],
            &["undo", "web", "--dry-run=client"],
            &["recover", "web", "--dry-run=client"],
            &["canary", "web", "--pods", "1", "--image", "web=web:2", "--dry-run=client"],
            &["abort", "web", "--dry-run=client"],
        ] {
            let run = sts(&[args, &["--from", "-"]].concat(), &text);
            assert!([0, 1, 2, 3, 4].contains(&run.code), "{one} {other} {run}");
            assert!(!run.stderr.contains("this is a bug"), "{one} {other} {run}");
            read += usize::from(run.code != 3);
        }
    }
    assert!(read > 80, "only {read} could be read");
}

/// A rollout in trouble, with all fields that are added up: probes, delays, restarts, events.
const OBJECTS: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web, namespace: shop, uid: u, creationTimestamp: "FIRST", deletionTimestamp: "LAST", generation: 2}
spec:
  replicas: 3
  minReadySeconds: 2147483647
  serviceName: web
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1"}]}
status: {observedGeneration: 2, replicas: 3, currentRevision: web-a, updateRevision: web-b}
---
apiVersion: apps/v1
kind: ControllerRevision
metadata: {name: web-a, namespace: shop, labels: {app: web}, creationTimestamp: "FIRST", ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u, controller: true}]}
revision: 1
data: {spec: {template: {spec: {containers: [{name: web, image: "web:0"}]}}}}
---
apiVersion: apps/v1
kind: ControllerRevision
metadata: {name: web-b, namespace: shop, labels: {app: web}, creationTimestamp: "LAST", ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u, controller: true}]}
revision: 2
data: {spec: {template: {spec: {containers: [{name: web, image: "web:1"}]}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, uid: p0, labels: {app: web, controller-revision-hash: web-a}, creationTimestamp: "FIRST", ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u, controller: true}]}
spec: {containers: [{name: web, image: "web:1", startupProbe: {periodSeconds: 2147483647, failureThreshold: 2147483647, initialDelaySeconds: 2147483647}, readinessProbe: {periodSeconds: 2147483647, failureThreshold: 2147483647}}]}
status:
  phase: Running
  startTime: "LAST"
  conditions: [{type: Ready, status: "False", lastTransitionTime: "LAST"}, {type: PodScheduled, status: "True", lastTransitionTime: "FIRST"}]
  containerStatuses:
  - {name: web, ready: false, started: true, restartCount: 2147483647, image: "web:1", state: {running: {startedAt: "LAST"}}, lastState: {terminated: {exitCode: 1, reason: Error, startedAt: "FIRST", finishedAt: "LAST"}}}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, uid: p1, labels: {app: web, controller-revision-hash: web-b}, creationTimestamp: "LAST", deletionTimestamp: "FIRST", deletionGracePeriodSeconds: 30, ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u, controller: true}]}
spec: {nodeName: gone, containers: [{name: web, image: "web:1"}]}
status:
  phase: Running
  startTime: "FIRST"
  conditions: [{type: Ready, status: "True", lastTransitionTime: "FIRST"}]
  containerStatuses:
  - {name: web, ready: true, restartCount: 9, image: "web:1", state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled, startedAt: "LAST", finishedAt: "FIRST"}}}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, namespace: shop, uid: p2, labels: {app: web, controller-revision-hash: web-b}, creationTimestamp: "LAST", ownerReferences: [{apiVersion: apps/v1, kind: StatefulSet, name: web, uid: u, controller: true}]}
spec: {containers: [{name: web, image: "web:1"}], volumes: [{name: data, persistentVolumeClaim: {claimName: data-web-2}}]}
status: {phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, lastTransitionTime: "FIRST"}]}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data-web-7, namespace: shop, uid: c7, labels: {app: web}, creationTimestamp: "FIRST", deletionTimestamp: "LAST"}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
status: {phase: Pending, conditions: [{type: Unused, status: "True", lastTransitionTime: "LAST"}]}
---
apiVersion: v1
kind: Event
metadata: {name: e1, namespace: shop, creationTimestamp: "FIRST"}
type: Warning
reason: BackOff
message: Back-off restarting failed container
count: 2147483647
firstTimestamp: "LAST"
lastTimestamp: "FIRST"
involvedObject: {apiVersion: v1, kind: Pod, name: web-0, namespace: shop, uid: p0}
---
apiVersion: v1
kind: Event
metadata: {name: e2, namespace: shop}
type: Warning
reason: FailedMount
message: MountVolume.SetUp failed
firstTimestamp: "FIRST"
lastTimestamp: "LAST"
involvedObject: {apiVersion: v1, kind: Pod, name: web-2, namespace: shop, uid: p2}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, creationTimestamp: "LAST"}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
"#;
