//! Every rule finds its fault on the real control plane, in the cases of `tests/manifests/playground`, and what it says to try
//! ends it.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kubectl_sts::rules::RULES;
use serde_json::{Value, json};

use crate::support::findings::pasted;
use crate::support::playground::{self, Case};
use crate::support::{self, Cluster, Namespace};

/// So many faults are made at once: with all of them the controllers have no time for any.
const AT_ONCE: usize = 16;

/// Why the rules about DNS have no case there.
const DNS: &str = "it takes --probe-dns and a DNS server, of which a cluster has one: see the tests of dns";

/// Rules whose fault cannot be made there, and why.
pub const EXCEPTIONS: &[(&str, &str)] = &[
    ("dns-answer-stale", DNS),
    ("dns-name-unknown", DNS),
    ("dns-name-not-published", DNS),
    ("dns-pod-silent", DNS),
    ("dns-forward-loop", DNS),
];

/// Rules whose fault of the playground no printed command ends, and why. The modules named carry out the advice of other faults
/// of the same rule.
const NOT_SOLVED: &[(&str, &str)] = &[
    ("claim-lost", "its volume is gone, and only a backup has the data: storage"),
    (
        "claim-name-collision",
        "pods of both StatefulSets run, and who keeps the PVC is for people to say: causes",
    ),
    ("claim-no-default-class", "it would make a class the default one for all other tests: doctor"),
    ("claim-older-than-set", "whether the old data is wanted is for people to say"),
    ("claim-provisioning-failed", "the message of this provisioner says nothing that is known: remedies"),
    ("claim-resize-failed", "there is no driver that would resize: truth_growth"),
    ("claim-waiting-for-consumer", "it goes with its cause, which is another finding"),
    ("crash-loop", "the log has the cause: logs, article"),
    ("evicted-repeatedly", "the test itself evicts: causes"),
    ("image-pull", "only the registry knows which tags there are: causes"),
    ("init-failing", "the log has the cause: article, and for real in realnode"),
    ("liveness-killed", "the log has the cause: probes"),
    ("never-ready", "the log has the cause: causes, advice"),
    ("parallel-not-ordered", "a note: it is no fault"),
    ("service-name-empty", "a note: it cannot be changed in place"),
    ("volume-mount-failed", "the message of this driver says nothing that is known: remedies"),
    ("volume-released", "a note: what was kept on purpose"),
    (
        "volume-terminating",
        "the PV stays so until its PVC is deleted, and then keeps the data: truth_storage",
    ),
];

/// Rules of which the other way is taken: what the first says to look at, a node that is off, stands in the case.
const OTHER_WAY: &[&str] = &["node-lost"];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_rule_has_a_case() {
    let cases = playground::cases(repository()).unwrap();
    let mut wrong = Vec::new();
    for rule in RULES {
        let has = cases.iter().any(|case| case.name == rule.name);
        let excepted = EXCEPTIONS.iter().any(|(name, _)| *name == rule.name);
        let unsolved = NOT_SOLVED.iter().filter(|(name, _)| *name == rule.name).count();
        if unsolved > 1 || (unsolved == 1 && !has) {
            wrong.push(format!("{} stands in NOT_SOLVED without a case, or twice", rule.name));
        }
        if has == excepted {
            wrong.push(format!(
                "{} needs tests/manifests/playground/{0}.yaml, or a reason in EXCEPTIONS, not both",
                rule.name
            ));
        }
    }
    for case in &cases {
        for name in [&case.name].into_iter().chain(&case.allowed) {
            if !RULES.iter().any(|rule| rule.name == *name) {
                wrong.push(format!("{}.yaml speaks of {name}, which is no rule", case.name));
            }
        }
        if case.title.is_empty() {
            wrong.push(format!("{}.yaml does not say what it shows", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_finds_its_fault_and_no_other_error() {
    let Some(cluster) = support::cluster() else { return };
    if cluster.plane.etcd.is_none() {
        support::controlplane::loud(
            "SKIPPED: the playground, which needs an etcd of its own to age what it makes",
        );
        return;
    }
    cluster.apply(include_str!("manifests/classes.yaml"));
    let mut cases = playground::cases(repository()).unwrap();
    cases.retain(|case| {
        let is_possible = cluster.is_from(case.since);
        if !is_possible {
            support::controlplane::loud(&format!(
                "SKIPPED: {}, which needs Kubernetes 1.{}",
                case.name, case.since
            ));
        }
        is_possible
    });
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let failed = match panic::catch_unwind(AssertUnwindSafe(|| found(cluster, case))) {
                        Ok(result) => result.err(),
                        Err(panic) => Some(format!("{}: {:?}", case.name, panic.downcast_ref::<String>())),
                    };
                    failures.lock().unwrap().extend(failed);
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

/// Makes the fault, and looks at what is found of it.
fn found(cluster: &'static Cluster, case: &Case) -> Result<(), String> {
    let (plane, program) = (&cluster.plane, Path::new(env!("CARGO_BIN_EXE_kubectl-sts")));
    // Another test's default class would mend this fault.
    let _guard = (case.name == "claim-no-default-class").then(|| cluster.no_default_class());
    let ns = cluster.namespace(&case.name);
    let found =
        case.make(plane, repository(), &ns.name).and_then(|()| case.wait(plane, program, &ns.name)).and_then(
            // Some faults bring others with them, a moment later.
            |_| {
                thread::sleep(Duration::from_secs(3));
                case.wait(plane, program, &ns.name)
            },
        );
    let agreed = found.as_ref().map_or(Ok(()), |_| support::verdict::agreed(&ns));
    let pasted = found.as_ref().map_or(Ok(1), |_| support::pasted::works(&ns));
    let solved = found.as_ref().map_or(Ok(()), |_| solved(&ns, &case.name));
    case.end(plane, repository(), &ns.name);
    let found = found?;
    agreed.map_err(|contradiction| format!("{}: {contradiction}", case.name))?;
    let count = pasted.map_err(|line| format!("{}: {line}", case.name))?;
    if count == 0 {
        return Err(format!("{}: no command is printed", case.name));
    }
    solved.map_err(|why| format!("{}: {why}", case.name))?;
    let other = |(rule, severity): &&(String, String)| {
        severity == "error" && *rule != case.name && !case.allowed.contains(rule)
    };
    match found.iter().find(other) {
        Some((rule, _)) => Err(format!("{}: {rule} is found too: {found:?}", case.name)),
        None => Ok(()),
    }
}

/// What a change that is named in words, and that no command does, has made.
enum Done {
    Node(#[expect(dead_code, reason = "it is there as long as the value lives")] support::Node),
    Class,
}

/// Does what the words of a finding say, with the object, field and value that they name; `None` where a command does it.
fn named(ns: &Namespace, rule: &str, because: &str) -> Result<Option<Done>, String> {
    let between = |start: &str, end: &[char]| {
        let (_, rest) = because.split_once(start).ok_or(format!("{start:?} is not in {because:?}"))?;
        Ok::<&str, String>(rest.split(end).next().unwrap_or_default())
    };
    match rule {
        // Where a class can be copied, a command does that.
        "claim-class-missing" if because.contains("create a StorageClass named ") => {
            let name = between("create a StorageClass named ", &[',', ';'])?;
            let class = include_str!("manifests/classes.yaml").split("---").next().unwrap();
            ns.cluster.apply(&class.replace("name: ssd", &format!("name: {name}")));
            Ok(Some(Done::Class))
        }
        "claim-zone-mismatch" => {
            let label = between("can be used only on nodes with ", &[';'])?;
            between("add a node with that label", &[])?;
            let zone = label.strip_prefix("topology.kubernetes.io/zone=").ok_or(label.to_owned())?;
            // Pods of other tests must not come to it.
            let kept = json!({"spec": {"tolerations": [{"key": "test.dev/zone", "operator": "Exists"}]}});
            ns.patch("pod/web-0", &kept);
            let node = ns.cluster.node("zone", &["--zone", zone, "--taints", "test.dev/zone=c:NoSchedule"]);
            Ok(node.map(Done::Node))
        }
        _ => Ok(None),
    }
}

/// Runs what the finding says to try, as printed, and waits until it is gone.
fn solved(ns: &Namespace, rule: &str) -> Result<(), String> {
    if NOT_SOLVED.iter().any(|(name, _)| *name == rule) {
        return Ok(());
    }
    let finding = || -> Result<Option<Value>, String> {
        let run = ns.sts(&["doctor", "--only", rule, "-o", "json"]);
        let report: Value = serde_json::from_str(&run.stdout).map_err(|error| format!("{error}: {run}"))?;
        let findings = report["findings"].as_array().cloned().unwrap_or_default();
        Ok(findings.into_iter().find(|finding| finding["rule"] == rule))
    };
    // Some end by themselves meanwhile.
    let Some(found) = finding()? else { return Ok(()) };
    let of = |field: &str| found[field].as_array().unwrap().iter().filter_map(Value::as_str);
    let other = OTHER_WAY.contains(&rule).then(|| of("or")).into_iter().flatten();
    let commands: Vec<&str> = of("try").chain(other).collect();
    if commands.is_empty() {
        return Err(format!("there is nothing to try: {found:#}"));
    }
    let done = named(ns, rule, found["because"].as_str().unwrap_or_default())?;
    for command in commands.into_iter().filter(|_| done.is_none()) {
        // Shown if the test fails.
        println!("{rule}: {command}");
        let run = pasted(ns, command);
        if run.code != 0 {
            return Err(format!("what is printed fails:\n{run}"));
        }
    }
    if rule == "claim-resize-pending" {
        // The kubelet that mounts the volume for the new pod, and grows its file system.
        let grown = json!({"status": {"conditions": [], "capacity": {"storage": "2Gi"}}});
        ns.patch_status("pvc/data-web-0", &grown);
    }
    let began = Instant::now();
    while let Some(still) = finding()? {
        if began.elapsed() > support::PATIENCE {
            return Err(format!("its commands were run, and it is still there: {still:#}"));
        }
        thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}
