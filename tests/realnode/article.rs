//! The workflow of the article with PostgreSQL, a primary and streaming replicas, from the first rollout to the failed upgrade.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::machine::{Machine, machine, undisturbed};
use crate::support::controlplane::loud;
use crate::support::{Namespace, Run};

/// PostgreSQL.
const MANIFEST: &str = include_str!("manifests/postgres.yaml");

/// A database takes longer than a pod of the fake node, and here up to five start one after another.
const PATIENCE: Duration = Duration::from_secs(300);

/// Asks the database of each updated pod whether it is a replica.
const CHECK: &str = r#"for pod in $STS_PODS; do
    kubectl exec -n "$STS_NAMESPACE" "$pod" -c postgres -- psql -U postgres -Atc 'select pg_is_in_recovery()' | grep -qx t || exit 1
done"#;

/// A namespace with a database.
pub struct Shop {
    pub ns: Namespace,
    began: Instant,
}

impl Shop {
    /// An empty namespace, to apply [`MANIFEST`] to.
    pub fn new(machine: &'static Machine, hint: &str) -> Self {
        Self { ns: machine.cluster.namespace(hint), began: Instant::now() }
    }

    /// Says how far it is: the whole takes minutes.
    fn tell(&self, what: &str) {
        loud(&format!("{:>5.0?} {}: {what}", self.began.elapsed(), self.ns.name));
    }

    /// Runs psql on the server of a pod.
    #[track_caller]
    pub fn sql(&self, pod: &str, query: &str) -> String {
        let psql = ["psql", "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-Atc", query];
        let run = self.ns.kubectl(&[&["exec", pod, "-c", "postgres", "--"], &psql[..]].concat());
        run.ok().trim().to_owned()
    }

    /// Waits until this number of replicas stream from the primary.
    #[track_caller]
    pub fn streams(&self, replicas: usize) {
        let query = "select count(*) from pg_stat_replication where state = 'streaming'";
        self.ns.wait(&format!("{replicas} replicas that stream"), PATIENCE, || {
            let found = self.sql("postgres-0", query);
            if found == replicas.to_string() { Ok(()) } else { Err(found) }
        });
    }

    /// Waits until the server of a pod has these rows in the table of these tests.
    #[track_caller]
    fn has_rows(&self, pod: &str, rows: &str) {
        self.ns.wait(&format!("{pod} to have the rows {rows}"), PATIENCE, || {
            let found = self.sql(pod, "select string_agg(x, '+' order by n) from t");
            if found == rows { Ok(()) } else { Err(found) }
        });
    }

    /// Follows the rollout to its end.
    #[track_caller]
    pub fn watch(&self, code: i32) -> Run {
        let run = self.ns.sts(&["watch", "postgres", "--timeout", "170s", "--stuck-after", "20s"]).code(code);
        self.tell(&format!("watch ended with {code}"));
        run
    }

    /// Codes of the findings now.
    pub fn codes(&self) -> Vec<String> {
        codes(&self.ns)
    }

    /// Waits until these are the findings, and no others.
    #[track_caller]
    pub fn finds(&self, expected: &[&str]) {
        self.ns.wait(&format!("doctor to find {expected:?}"), PATIENCE, || {
            let codes = self.codes();
            if codes == expected { Ok(()) } else { Err(format!("{codes:?}")) }
        });
    }

    /// Waits until there is nothing to say.
    #[track_caller]
    pub fn is_well(&self) {
        self.finds(&[]);
    }

    fn set_image(&self, image: &str) {
        self.ns.kubectl(&["set", "image", "statefulset/postgres", &format!("postgres={image}")]).ok();
    }

    fn images(&self) -> Vec<String> {
        let path = "jsonpath={range .items[*]}{.spec.containers[0].image} {end}";
        let text = self.ns.kubectl(&["get", "pods", "-l", "app=postgres", "-o", path]).ok();
        text.split_whitespace().map(|image| image.replace("localhost/postgres:", "")).collect()
    }
}

/// Codes of the findings in a namespace now.
#[track_caller]
pub fn codes(ns: &Namespace) -> Vec<String> {
    let run = ns.sts(&["doctor", "--no-logs", "-o", "json"]);
    let report: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}\n{run}"));
    let findings = report["findings"].as_array().unwrap();
    let mut codes: Vec<String> =
        findings.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect();
    codes.sort();
    codes.dedup();
    codes
}

/// Asserts that these words come in this order.
#[track_caller]
fn in_order(run: &Run, words: &[&str]) {
    let mut rest = run.stdout.as_str();
    for word in words {
        let at = rest.find(word).unwrap_or_else(|| panic!("no {word:?} in its place of {words:?}\n{run}"));
        rest = &rest[at..];
    }
}

/// Asserts that each pod was created only when the one before it was Ready.
#[track_caller]
fn one_after_another(ns: &Namespace, replicas: usize) {
    let pod = |ordinal: usize| ns.kubectl_json(&["get", "pod", &format!("postgres-{ordinal}")]);
    let pods: Vec<Value> = (0..replicas).map(pod).collect();
    for pair in pods.windows(2) {
        let conditions = pair[0]["status"]["conditions"].as_array().unwrap();
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready").unwrap();
        let ready = ready["lastTransitionTime"].as_str().unwrap();
        let created = pair[1]["metadata"]["creationTimestamp"].as_str().unwrap();
        assert!(ready <= created, "{} was Ready at {ready}", pair[0]["metadata"]["name"]);
    }
}

#[test]
fn the_article_from_the_first_rollout_to_the_failed_upgrade() {
    let Some(machine) = machine() else { return };
    let _held = undisturbed();
    let shop = Shop::new(machine, "article");
    first_rollout_and_scaling(&shop);
    pruned_and_restored(&shop);
    canaries(&shop);
    bad_image(&shop);
    failed_upgrade(&shop);
}

fn first_rollout_and_scaling(shop: &Shop) {
    shop.ns.apply(MANIFEST);
    let run = shop.watch(0);
    in_order(&run, &["postgres-0", "postgres-1", "postgres-2"]);
    one_after_another(&shop.ns, 3);
    shop.streams(2);
    shop.is_well();
    shop.sql("postgres-0", "create table t(n serial, x text)");
    shop.sql("postgres-0", "insert into t(x) values('first')");
    shop.has_rows("postgres-2", "first");
    let refused = ["exec", "postgres-1", "-c", "postgres", "--", "psql", "-U", "postgres", "-c"];
    let refused = shop.ns.kubectl(&[&refused[..], &["insert into t(x) values('no')"]].concat()).code(1);
    assert!(refused.stderr.contains("read-only transaction"), "{refused}");

    shop.ns.kubectl(&["scale", "statefulset", "postgres", "--replicas=5"]).ok();
    in_order(&shop.watch(0), &["postgres-3", "postgres-4"]);
    one_after_another(&shop.ns, 5);
    shop.streams(4);
    shop.has_rows("postgres-4", "first");
    shop.ns
        .kubectl(&["exec", "postgres-4", "-c", "postgres", "--", "sh", "-c", "echo mine > $PGDATA/marker"])
        .ok();
    shop.ns.kubectl(&["scale", "statefulset", "postgres", "--replicas=2"]).ok();
    let run = shop.watch(0);
    in_order(&run, &["postgres-4", "postgres-3", "postgres-2"]);
    assert_eq!(shop.ns.pods().into_keys().collect::<Vec<_>>(), ["postgres-0", "postgres-1"], "{run}");
    shop.streams(1);
}

fn pruned_and_restored(shop: &Shop) {
    let ns = &shop.ns;
    let prunable = |count: usize| {
        ns.wait(&format!("{count} PVCs"), PATIENCE, || {
            let found = ns.kubectl_json(&["get", "pvc"])["items"].as_array().unwrap().len();
            if found == count { Ok(()) } else { Err(found.to_string()) }
        });
    };
    prunable(5);
    shop.finds(&["STS210"]);
    let backup = tempfile::tempdir().unwrap();
    let folder = backup.path().join("backup");
    let folder = folder.to_str().unwrap();
    ns.sts(&["prune-pvcs", "postgres", "--retain", "--yes", "--backup", folder]).ok();
    prunable(2);
    // Their PVs, which cost as much as before.
    shop.finds(&["STS220"]);
    let volumes = ns.cluster.kubectl(&["get", "pv", "-o", "json"]).ok();
    let volumes: Value = serde_json::from_str(&volumes).unwrap();
    let released = volumes["items"].as_array().unwrap().iter().filter(|volume| {
        volume["spec"]["claimRef"]["namespace"] == ns.name.as_str()
            && volume["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
            && volume["status"]["phase"] == "Released"
    });
    assert_eq!(released.count(), 3, "{volumes}");
    shop.sql("postgres-0", "insert into t(x) values('while pruned')");
    for ordinal in [4, 3, 2] {
        let file = Path::new(folder).join(format!("{}.data-postgres-{ordinal}.pvc.yaml", ns.name));
        ns.sts(&["restore-pvc", file.to_str().unwrap(), "--yes"]).ok();
    }
    prunable(5);
    ns.kubectl(&["scale", "statefulset", "postgres", "--replicas=5"]).ok();
    shop.watch(0);
    shop.streams(4);
    // Its own old files, and not a new base backup: the replica continued from where it was.
    let marker = ["exec", "postgres-4", "-c", "postgres", "--", "sh", "-c", "cat $PGDATA/marker"];
    assert_eq!(ns.kubectl(&marker).ok(), "mine\n");
    for pod in ["postgres-2", "postgres-3", "postgres-4"] {
        shop.has_rows(pod, "first+while pruned");
    }
    shop.is_well();
    shop.tell("pruned and restored");
}

fn canaries(shop: &Shop) {
    let ns = &shop.ns;
    let canary = |image: &str, check: &str| {
        let image = format!("postgres=localhost/postgres:{image}");
        let what = ["canary", "postgres", "--partition", "3", "--image", &image];
        ns.sts(&[&what[..], &["--check", check, "--yes", "--timeout", "170s"]].concat())
    };
    canary("15.1", CHECK).ok();
    assert_eq!(shop.images(), ["15", "15", "15", "15.1", "15.1"]);
    shop.tell("canary");
    ns.sts(&["promote", "postgres", "--full", "--yes", "--timeout", "170s"]).ok();
    assert_eq!(shop.images(), ["15.1"; 5]);
    shop.streams(4);
    shop.is_well();
    shop.tell("promoted");
    // A database that answers, and says no.
    let run = canary("15.2", &CHECK.replace("grep -qx t", "grep -qx f"));
    assert_eq!(run.code, 1, "{run}");
    assert_eq!(shop.images(), ["15.1", "15.1", "15.1", "15.2", "15.2"], "{run}");
    ns.sts(&["abort", "postgres", "--yes", "--timeout", "170s"]).ok();
    assert_eq!(shop.images(), ["15.1"; 5]);
    shop.streams(4);
    shop.is_well();
    shop.tell("aborted");
}

fn bad_image(shop: &Shop) {
    shop.set_image("localhost:5000/postgres:16-nosuch");
    let run = shop.watch(1);
    assert!(run.stdout.contains("STS401") && run.stdout.contains("16-nosuch"), "{run}");
    assert!(shop.codes().contains(&"STS401".to_owned()));
    shop.ns.sts(&["undo", "postgres", "--yes", "--timeout", "170s"]).ok();
    assert_eq!(shop.images(), ["15.1"; 5]);
    shop.streams(4);
    shop.is_well();
    shop.tell("undone");
}

fn failed_upgrade(shop: &Shop) {
    let ns = &shop.ns;
    shop.set_image("localhost/postgres:17");
    let run = shop.watch(1);
    assert!(run.stdout.contains("STS402") && run.stdout.contains("postgres-4"), "{run}");
    assert!(run.stdout.contains("database files are incompatible"), "the log is not shown\n{run}");
    // The way back that everybody knows leaves the pod.
    ns.kubectl(&["rollout", "undo", "statefulset/postgres"]).ok();
    ns.wait("the rollback trap", PATIENCE, || {
        let codes = shop.codes();
        if codes.contains(&"STS301".to_owned()) { Ok(()) } else { Err(format!("{codes:?}")) }
    });
    ns.kubectl(&["rollout", "status", "statefulset/postgres", "--timeout=15s"]).code(1);
    assert_eq!(shop.images(), ["15.1", "15.1", "15.1", "15.1", "17"]);
    ns.sts(&["recover", "postgres", "--yes", "--timeout", "170s"]).ok();
    assert_eq!(shop.images(), ["15.1"; 5]);
    shop.is_well();
    shop.streams(4);
    shop.has_rows("postgres-4", "first+while pruned");
    shop.tell("recovered");
}
