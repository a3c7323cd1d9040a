//! Findings as `doctor` prints them, and what they say to do.

use serde_json::Value;

use super::{Namespace, PATIENCE, Run};

/// The finding with this code about this object, once it is there and says all this.
pub fn finding(ns: &Namespace, code: &str, name: &str, parts: &[&str]) -> Value {
    ns.wait(&format!("{code} about {name} that says {parts:?}"), PATIENCE, || {
        let run = ns.sts(&["doctor", "-o", "json"]);
        let report: Value = serde_json::from_str(&run.stdout).map_err(|error| format!("{error}: {run}"))?;
        let is_it = |finding: &&Value| finding["code"] == code && finding["object"]["name"] == name;
        let found = report["findings"].as_array().unwrap().iter().find(is_it).cloned();
        let says = |found: &Value| {
            let because = found["because"].as_str().unwrap_or_default();
            parts.iter().all(|part| because.contains(part))
        };
        found.filter(says).ok_or_else(|| run.to_string())
    })
}

/// Runs commands as printed, in a shell.
pub fn paste(ns: &Namespace, commands: &Value) {
    let commands: Vec<&str> = commands.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(!commands.is_empty(), "nothing to paste");
    for command in commands {
        pasted(ns, command).ok();
    }
}

/// Runs one command as printed, in a shell. Commands of our own would ask first, and here nobody answers.
pub fn pasted(ns: &Namespace, command: &str) -> Run {
    const ACTING: [&str; 7] = ["recover", "undo", "canary", "promote", "abort", "prune-pvcs", "restore-pvc"];
    let agreed = ACTING.iter().fold(command.to_owned(), |line, verb| {
        line.replace(&format!("kubectl sts {verb} "), &format!("kubectl sts {verb} --yes "))
    });
    ns.shell(&agreed)
}
