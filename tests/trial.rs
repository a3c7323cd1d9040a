//! A pod that is missing without a word of why, as events expire after an hour: the API server is asked by a dry run, which
//! creates nothing.

use serde_json::{Value, json};

use crate::recover::{set, uids};
use crate::support::freeze::Freeze;
use crate::support::{self, Namespace, Run};

/// What `doctor` reads, without events.
const READS: &str = "- {apiGroups: [apps], resources: [statefulsets, controllerrevisions], verbs: [list]}\n\
                     - {apiGroups: [''], resources: [pods, persistentvolumeclaims, services, resourcequotas, limitranges], verbs: [list]}\n";
/// What a dry run of a pod needs.
const CREATES: &str = "- {apiGroups: [''], resources: [pods], verbs: [create]}\n";

fn report(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
}

/// The findings about pods that cannot be created.
fn refused(report: &Value) -> Vec<Value> {
    let all = report["findings"].as_array().unwrap().iter();
    all.filter(|finding| finding["code"] == "STS411").cloned().collect()
}

/// Waits until the controller was refused.
fn is_refused(ns: &Namespace) {
    ns.wait("a refusal", support::PATIENCE, || {
        let events = ns.kubectl(&["get", "events", "--field-selector=reason=FailedCreate"]).ok();
        if events.contains("forbidden") { Ok(()) } else { Err(events) }
    });
}

#[test]
fn a_refusal_without_an_event_is_found_by_a_dry_run() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("trial");
    ns.apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: team}, spec: {hard: {pods: '1'}}}");
    ns.wait("the quota to be counted", support::PATIENCE, || {
        let quota = ns.kubectl_json(&["get", "resourcequota", "team"]);
        if quota["status"]["used"].is_object() { Ok(()) } else { Err(quota.to_string()) }
    });
    ns.apply(&set("web", 2, ""));
    ns.wait_ready("web", 1);
    is_refused(&ns);
    let (creator, reader) = (ns.user("creator", &format!("{READS}{CREATES}")), ns.user("reader", READS));
    let with = |user: &std::path::Path| report(&ns.sts_as(user, &["doctor", "-o", "json"]));
    // It may be on its way.
    let young = with(&creator);
    assert_eq!((refused(&young), &young["notTried"]), (Vec::new(), &json!([])), "{young}");
    if !ns.age("10m") {
        return;
    }
    // Bindings take the authorizer a moment.
    let of_creator = ns.wait("the refusal", support::PATIENCE, || {
        let report = with(&creator);
        refused(&report).first().cloned().ok_or_else(|| report.to_string())
    });
    assert_eq!(of_creator["object"]["name"], "web-1");
    let because = of_creator["because"].as_str().unwrap();
    for part in [
        "refuses a dry run of its creation: pods \"web-1\" is forbidden: exceeded quota: team",
        "pods is at 1 of 1",
    ] {
        assert!(because.contains(part), "{part:?} is not in {because:?}");
    }
    // A user who may not create pods is told what was not checked.
    let of_reader = with(&reader);
    crate::schema::holds(&of_reader.to_string());
    assert_eq!(refused(&of_reader), Vec::<Value>::new());
    assert_eq!(of_reader["notTried"][0]["pod"], "web-1", "{of_reader}");
    let text = ns.sts_as(&reader, &["doctor"]);
    let line = "not checked:  whether web-1 can be created (dry run: forbidden to user";
    assert!(text.stdout.contains(line), "{text}");
    // The screen of one StatefulSet says the same, and a list asks nothing.
    let screen = |user: &std::path::Path, args: &[&str]| {
        report(&ns.sts_as(user, &[&["status", "-o", "json"], args].concat()))
    };
    let one = screen(&creator, &["web"]);
    crate::schema::holds(&one.to_string());
    assert_eq!(refused(&one)[0]["what"], of_creator["what"], "{one}");
    assert!(
        refused(&one)[0]["because"].as_str().unwrap().contains("refuses a dry run of its creation"),
        "{one}"
    );
    assert_eq!(one["notTried"], json!([]));
    let one = screen(&reader, &["web"]);
    assert_eq!((refused(&one), &one["notTried"][0]["pod"]), (Vec::new(), &json!("web-1")), "{one}");
    assert!(ns.sts_as(&reader, &["status", "web"]).stdout.contains(line));
    let list = screen(&creator, &[])["items"][0].clone();
    assert_eq!((refused(&list), &list["notTried"]), (Vec::new(), &json!([])), "{list}");
    // Where an event says it, nothing is asked.
    let admin = report(&ns.sts(&["doctor", "-o", "json"]));
    assert!(refused(&admin)[0]["because"].as_str().unwrap().starts_with("the API server said"), "{admin}");

    for command in of_creator["try"].as_array().unwrap() {
        ns.shell(command.as_str().unwrap()).ok();
    }
    ns.wait_ready("web", 2);
    let after = with(&creator);
    assert_eq!((refused(&after), &after["notTried"]), (Vec::new(), &json!([])), "{after}");
}

#[test]
fn a_dry_run_that_is_accepted_creates_nothing() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("trial-accepted");
    // Only the controllers are refused.
    let freeze = Freeze::as_controller(&ns, "pods", "CREATE", |ns| {
        ns.kubectl(&["run", "x", "--image=x", "--dry-run=server"])
    });
    ns.apply(&set("web", 1, ""));
    is_refused(&ns);
    let creator = ns.user("creator", &format!("{READS}{CREATES}"));
    if !ns.age("10m") {
        return;
    }
    let tried = ns.wait("a trial", support::PATIENCE, || {
        let run = ns.sts_as(&creator, &["doctor", "-o", "json"]);
        let report = report(&run);
        if report["notTried"] == json!([]) { Ok(report) } else { Err(run.to_string()) }
    });
    // The rule that needs events was skipped, and the dry run says nothing against it.
    assert_eq!(refused(&tried), Vec::<Value>::new(), "{tried}");
    assert!(uids(&ns).is_empty(), "a pod was created");
    drop(freeze);
}
