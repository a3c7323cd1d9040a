//! What could not be read is said by every command that only looks, in text and in JSON.

use kubectl_sts::kinds::Kind;
use serde_json::Value;

use super::mutate::recordings;
use super::run::{file, sts};

/// The recording without a kind, which its user was not allowed to list.
fn without(text: &str, kind: Kind) -> String {
    let mut recording: Value = serde_saphyr::from_str(text).unwrap();
    recording["objects"].as_array_mut().unwrap().retain(|object| object["kind"] != kind.name());
    recording["counts"].as_object_mut().unwrap().remove(kind.name());
    recording["notSeen"] = serde_json::json!({kind.name(): "forbidden to user bob"});
    recording.to_string()
}

#[test]
fn every_view_names_what_it_did_not_see() {
    let (_, text) = recordings().into_iter().find(|(name, _)| name == "postgres-rollback-trap.yaml").unwrap();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::StatefulSet) {
        let (_folder, path) = file(&without(&text, kind));
        for command in
            [vec!["status"], vec!["status", "postgres"], vec!["doctor"], vec!["history", "postgres"]]
        {
            for output in ["text", "json"] {
                let ran = sts(&[command.clone(), vec!["-o", output]].concat(), &path);
                if command[0] == "history" && kind == Kind::ControllerRevision {
                    assert_eq!(ran.code, 3, "there is no history without revisions");
                }
                let said = if output == "json" && ran.code != 3 {
                    let value: Value = serde_json::from_str(&ran.out).unwrap();
                    let views = if value["kind"] == "StatusList" { &value["items"][0] } else { &value };
                    views["notLookedAt"].to_string()
                } else {
                    ran.all()
                };
                let (one, many) = (kind.name(), kind.plural());
                let named = said.contains(many) || (output == "json" && said.contains(one));
                assert!(
                    named && said.contains("forbidden to user bob"),
                    "{command:?} -o {output}: {}",
                    ran.all()
                );
            }
        }
        let recorded = sts(&["record", "-o", "json"], &path).out;
        let recorded: Value = serde_json::from_str(&recorded).unwrap();
        assert_eq!(recorded["notSeen"][kind.name()], "forbidden to user bob");
    }
}

#[test]
fn nothing_is_missed_where_all_was_seen() {
    let (_, text) = recordings().into_iter().find(|(name, _)| name == "postgres-rollback-trap.yaml").unwrap();
    let (_folder, path) = file(&text);
    for command in [vec!["status"], vec!["status", "postgres"], vec!["doctor"], vec!["history", "postgres"]] {
        let ran = sts(&command, &path);
        assert!(!ran.all().contains("not checked"), "{}", ran.all());
    }
}

/// What could not be read is not counted as healthy: in no output, and not by the exit code.
#[test]
fn what_was_not_read_is_no_good_news() {
    let (_, text) = recordings().into_iter().find(|(name, _)| name == "postgres.yaml").unwrap();
    let (_folder, path) = file(&text);
    assert_eq!((sts(&["doctor"], &path).code, sts(&["status"], &path).code), (0, 0));
    let mut failed = Vec::new();
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::StatefulSet) {
        let (_folder, path) = file(&without(&text, kind));
        let run = sts(&["doctor", "-o", "json"], &path);
        let diagnosis: Value = serde_json::from_str(&run.out).unwrap();
        assert_eq!(diagnosis["findings"], Value::Array(Vec::new()), "{kind:?}: {}", run.all());
        let missed = diagnosis["notLookedAt"].as_array().unwrap().iter().find(|it| it["kind"] == kind.name());
        let rules: Vec<&str> =
            missed.unwrap()["rules"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(diagnosis["summary"]["skippedRules"], rules.len(), "{kind:?}");
        let is_failure = !rules.is_empty() && kind.is_namespaced();
        let code = if is_failure { 3 } else { 0 };
        let outputs = ["text", "json", "wide", "name", "sarif", "junit", "github"];
        let ran = outputs.map(|output| sts(&["doctor", "--fail-on", "never", "-o", output], &path));
        assert!(ran.iter().all(|ran| ran.code == code), "{kind:?}");
        let [text, _, _, _, sarif, junit, github] = ran.map(|ran| ran.out);
        assert_eq!(text.contains("no problems found:"), rules.is_empty(), "{kind:?}: {text}");
        assert!(sarif.contains(&format!("\"executionSuccessful\": {}", !is_failure)), "{kind:?}: {sarif}");
        assert_eq!(junit.contains("<error message="), is_failure, "{kind:?}: {junit}");
        assert_eq!(github.contains("::error title=not checked::"), is_failure, "{kind:?}: {github}");
        assert_eq!(sts(&["status", "postgres"], &path).code, code, "{kind:?}");
        let list = sts(&["status"], &path);
        assert_eq!((list.code, list.out.contains("unknown")), (code, is_failure), "{kind:?}: {}", list.out);
        if is_failure {
            failed.push(kind);
            let limited = sts(&["doctor", "--skip", &rules.join(",")], &path);
            assert_eq!(limited.code, 0, "{kind:?}: {}", limited.all());
        }
    }
    for kind in [Kind::Pod, Kind::PersistentVolumeClaim, Kind::Service] {
        assert!(failed.contains(&kind), "{failed:?}");
    }
}
