//! `status -L` and `--show-labels`, beside kubectl.

use std::fs;

use crate::support::{self, Run};

const RECORDED: &str = "\
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web, namespace: shop, labels: {tier: gold, app.kubernetes.io/name: web}}
spec: {replicas: 0}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec: {replicas: 0}
";

fn status(args: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.yaml");
    fs::write(&file, RECORDED).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kubectl-sts"));
    command.env_clear().arg("status").arg("--from").arg(&file).args(args);
    Run::of(&mut command, "")
}

/// The cells of a line, from its end.
fn last(line: &str, count: usize) -> Vec<&str> {
    let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    cells[cells.len() - count..].to_vec()
}

#[test]
fn labels_are_columns() {
    let text = status(&["-L", "tier,app.kubernetes.io/name", "--show-labels"]).ok();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(last(lines[0], 4), ["TIER", "NAME", "NEXT", "LABELS"], "{text}");
    let web = lines.iter().find(|line| line.contains(" web ")).unwrap();
    let db = lines.iter().find(|line| line.contains(" db ")).unwrap();
    assert_eq!(last(web, 1), ["app.kubernetes.io/name=web,tier=gold"], "{text}");
    assert!(web.contains(" gold ") && last(db, 1) == ["–"], "{text}");

    let one = status(&["web", "-L", "tier", "-L", "none"]).ok();
    let header = one.lines().next().unwrap();
    assert_eq!(last(header, 3), ["TIER", "NONE", "NEXT"], "one name is a list of one:\n{one}");
    assert!(!status(&["web"]).ok().contains("LABELS"));
    // programs read the same as without
    let json: serde_json::Value =
        serde_json::from_str(&status(&["web", "-o", "json", "--show-labels"]).ok()).unwrap();
    assert_eq!(json["kind"], "Status");
    for wrong in
        [&["-L", ""][..], &["-L", "a b"], &["-L", "tier", "-w", "web"], &["--show-labels", "-w", "web"]]
    {
        status(wrong).code(2);
    }
}

#[test]
fn the_columns_are_named_as_kubectl_names_them() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("labels");
    ns.apply(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: web, labels: {tier: gold, example.com/Team: a}}\nspec:\n  \
         replicas: 0\n  selector: {matchLabels: {app: a}}\n  template:\n    metadata: {labels: {app: a}}\n    \
         spec: {containers: [{name: main, image: 'example.test/a:1'}]}\n",
    );
    let flags = ["-L", "tier,example.com/Team", "-L", "missing", "--show-labels"];
    let theirs = ns.kubectl(&[&["get", "sts"], &flags[..]].concat()).ok();
    let ours = ns.sts(&[&["status"], &flags[..]].concat()).ok();
    let titles =
        |text: &str| text.lines().next().unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let ours_titles: Vec<String> = titles(&ours).into_iter().filter(|title| title != "NEXT").collect();
    let (their_end, our_end) = (&titles(&theirs)[3..], &ours_titles[ours_titles.len() - 4..]);
    assert_eq!(our_end, their_end, "{theirs}\n{ours}");
    let labels = |text: &str| text.lines().nth(1).unwrap().split_whitespace().last().unwrap().to_owned();
    assert_eq!(labels(&ours), labels(&theirs));
}
