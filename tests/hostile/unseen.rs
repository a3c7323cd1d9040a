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
