//! Every rule finds its fault on the real control plane, in the cases of `tests/manifests/playground`.

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use kubectl_sts::rules::RULES;

use crate::support::playground::{self, Case};
use crate::support::{self, Cluster};

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
    let cases = playground::cases(repository()).unwrap();
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
    case.end(plane, repository(), &ns.name);
    let found = found?;
    agreed.map_err(|contradiction| format!("{}: {contradiction}", case.name))?;
    let count = pasted.map_err(|line| format!("{}: {line}", case.name))?;
    if count == 0 {
        return Err(format!("{}: no command is printed", case.name));
    }
    let other = |(rule, severity): &&(String, String)| {
        severity == "error" && *rule != case.name && !case.allowed.contains(rule)
    };
    match found.iter().find(other) {
        Some((rule, _)) => Err(format!("{}: {rule} is found too: {found:?}", case.name)),
        None => Ok(()),
    }
}
