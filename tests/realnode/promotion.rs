//! A replica becomes the primary: the usual way out when the first one is to be replaced. For the tool, the pods are what they were.

use std::time::Duration;

use super::article::Shop;
use super::machine::{machine, undisturbed};

const PATIENCE: Duration = Duration::from_secs(300);

/// Asks the database of each updated pod whether it has the rows, wherever the primary is.
const CHECK: &str = r#"for pod in $STS_PODS; do
    kubectl exec -n "$STS_NAMESPACE" "$pod" -c postgres -- psql -U postgres -Atc 'select count(*) from t' | grep -qx 2 || exit 1
done"#;

/// Makes the server of a pod follow postgres-1.
fn follow(shop: &Shop, pod: &str) {
    let script = format!(
        "psql -v ON_ERROR_STOP=1 -U postgres -c \"alter system set primary_conninfo = 'host=postgres-1.postgres-headless \
         port=5432 user=replicator password=$REPLICATION_PASSWORD application_name={pod}'\" -c 'select pg_reload_conf()'"
    );
    shop.ns.kubectl(&["exec", pod, "-c", "postgres", "--", "sh", "-c", &script]).ok();
}

fn in_recovery(shop: &Shop, pod: &str, is: &str) {
    shop.ns.wait(&format!("{pod} to have pg_is_in_recovery() = {is}"), PATIENCE, || {
        let psql = ["psql", "-U", "postgres", "-Atc", "select pg_is_in_recovery()"];
        let run = shop.ns.kubectl(&[&["exec", pod, "-c", "postgres", "--"], &psql[..]].concat());
        if run.stdout.trim() == is { Ok(()) } else { Err(run.to_string()) }
    });
}

/// Waits until all have these rows, and follow postgres-1.
fn has_rows(shop: &Shop, rows: &str) {
    for pod in ["postgres-0", "postgres-1", "postgres-2"] {
        shop.ns.wait(&format!("{pod} to have the rows {rows}"), PATIENCE, || {
            let psql = ["psql", "-U", "postgres", "-Atc", "select string_agg(x, '+' order by n) from t"];
            let run = shop.ns.kubectl(&[&["exec", pod, "-c", "postgres", "--"], &psql[..]].concat());
            if run.stdout.trim() == rows { Ok(()) } else { Err(run.to_string()) }
        });
        in_recovery(shop, pod, if pod == "postgres-1" { "f" } else { "t" });
    }
}

fn images(shop: &Shop) -> Vec<String> {
    let path = "jsonpath={range .items[*]}{.spec.containers[0].image} {end}";
    let text = shop.ns.kubectl(&["get", "pods", "-l", "app=postgres", "-o", path]).ok();
    text.split_whitespace().map(|image| image.replace("localhost/postgres:", "")).collect()
}

#[test]
fn a_replica_is_promoted_and_the_commands_go_on() {
    let Some(machine) = machine() else { return };
    let _held = undisturbed();
    let shop = Shop::new(machine, "promotion");
    let ns = &shop.ns;
    ns.apply(include_str!("manifests/postgres.yaml"));
    shop.watch(0);
    shop.streams(2);
    shop.sql("postgres-0", "create table t(n serial, x text)");
    shop.sql("postgres-0", "insert into t(x) values('before')");
    // The old primary is fenced: it comes back as a replica of the new one, and ends before that is promoted.
    follow(&shop, "postgres-0");
    let fence = "touch $PGDATA/standby.signal && kill -INT 1";
    ns.kubectl(&["exec", "postgres-0", "-c", "postgres", "--", "sh", "-c", fence]);
    in_recovery(&shop, "postgres-0", "t");
    assert_eq!(shop.sql("postgres-1", "select pg_promote()"), "t");
    follow(&shop, "postgres-2");
    in_recovery(&shop, "postgres-1", "f");
    // A row of the new primary has the number that comes after those its sequence had in stock.
    shop.sql("postgres-1", "insert into t(x) values('after')");
    has_rows(&shop, "before+after");
    shop.is_well();

    let canary = |image: &str, check: &str| {
        let image = format!("postgres=localhost/postgres:{image}");
        let what = ["canary", "postgres", "--partition", "2", "--image", &image];
        ns.sts(&[&what[..], &["--check", check, "--yes", "--timeout", "170s"]].concat())
    };
    canary("15.1", CHECK).ok();
    assert_eq!(images(&shop), ["15", "15", "15.1"]);
    ns.sts(&["promote", "postgres", "--full", "--yes", "--timeout", "170s"]).ok();
    assert_eq!(images(&shop), ["15.1"; 3]);
    has_rows(&shop, "before+after");
    // A restart of all pods: the roles are in the files, not in the ordinals.
    ns.kubectl(&["rollout", "restart", "statefulset/postgres"]).ok();
    shop.watch(0);
    has_rows(&shop, "before+after");
    shop.is_well();

    // The trap, and out of it.
    ns.kubectl(&["set", "image", "statefulset/postgres", "postgres=localhost/postgres:17"]).ok();
    let run = shop.watch(1);
    assert!(run.stdout.contains("STS402") && run.stdout.contains("postgres-2"), "{run}");
    ns.kubectl(&["rollout", "undo", "statefulset/postgres"]).ok();
    ns.wait("the rollback trap", PATIENCE, || {
        let codes = shop.codes();
        if codes.contains(&"STS301".to_owned()) { Ok(()) } else { Err(format!("{codes:?}")) }
    });
    ns.sts(&["recover", "postgres", "--yes", "--timeout", "170s"]).ok();
    assert_eq!(images(&shop), ["15.1"; 3]);
    has_rows(&shop, "before+after");
    shop.sql("postgres-1", "insert into t(x) values('at last')");
    has_rows(&shop, "before+after+at last");
    shop.is_well();
}
