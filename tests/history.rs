//! `history` on the real control plane.

use serde_json::{Value, json};

use crate::recover::set;
use crate::support::{self, Run};

#[test]
fn each_revision_is_shown_with_its_pods() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("history");
    ns.apply(&set("web", 3, "updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 2}},"));
    ns.kubectl(&["annotate", "sts/web", "kubernetes.io/change-cause=the second"]).ok();
    ns.wait_ready("web", 3);
    let change = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "web", "image": "web:2", "env": [{"name": "PASSWORD", "value": "s3cret"}]}]}}}});
    ns.patch("sts/web", &change);
    let items = ns.wait("the canary", support::PATIENCE, || {
        let history: Value = serde_json::from_str(&ns.sts(&["history", "web", "-o", "json"]).ok()).unwrap();
        let items = history["items"].as_array().unwrap().clone();
        if items.len() == 2 && items[0]["pods"] == json!(["web-2"]) {
            Ok(items)
        } else {
            Err(history.to_string())
        }
    });
    let set = ns.kubectl_json(&["get", "sts", "web"]);
    assert_eq!(items[0]["revision"], 2);
    assert_eq!(items[0]["is"], json!(["update"]));
    assert_eq!(items[0]["name"], set["status"]["updateRevision"]);
    assert_eq!(items[0]["changeCause"], "the second");
    assert_eq!(items[1]["is"], json!(["current"]));
    assert_eq!(items[1]["pods"], json!(["web-0", "web-1"]));
    let text = ns.sts(&["history", "web"]).ok();
    assert!(text.contains("the second") && text.contains("web-0 and web-1"), "{text}");

    let name = items[1]["name"].as_str().unwrap();
    let hash = items[0]["hash"].as_str().unwrap();
    for pair in ["1..2", &format!("{name}..{hash}")] {
        let text = ns.sts(&["history", "web", "--diff", pair]).ok();
        assert!(text.contains("image of container web: web:1 → web:2"), "{text}");
        assert!(text.contains("PASSWORD") && text.contains("(value not shown)"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
    let mut command = ns.sts_command(&["history", "web", "--diff", "1..2"]);
    command.env("KUBECTL_EXTERNAL_DIFF", "diff -u").env("PATH", "/usr/bin:/bin");
    let text = Run::of(&mut command, "").ok();
    assert!(text.contains("web:1") && text.contains('+') && text.contains("web:2"), "{text}");
    assert!(text.contains("(value not shown)") && !text.contains("s3cret"), "{text}");
    let run = ns.sts(&["history", "web", "--diff", "1..9"]).code(3);
    assert!(run.stderr.contains("web has no revision 9"), "{run}");
    ns.sts(&["history", "web", "--diff", "1"]).code(2);
}
