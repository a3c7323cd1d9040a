//! All commands say the same of one state: stuck or not, and on which pod.

use std::sync::{Condvar, Mutex, PoisonError};

use serde_json::Value;

use super::Namespace;

/// How often a state that moves is looked at again, before two answers count as a contradiction.
const TRIES: usize = 4;

/// How many states are asked about at once: two cores have enough to do.
const AT_ONCE: usize = 6;

/// A place among [`AT_ONCE`].
struct Turn;

static TAKEN: Mutex<usize> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

impl Turn {
    fn wait() -> Turn {
        let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken =
            FREED.wait_while(taken, |taken| *taken >= AT_ONCE).unwrap_or_else(PoisonError::into_inner);
        *taken += 1;
        Turn
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREED.notify_one();
    }
}

/// Asks `doctor`, `status`, `watch`, `recover` and `undo` about every StatefulSet of the namespace.
///
/// # Panics
/// When two of them contradict each other, at each of several looks.
#[track_caller]
pub fn agree(ns: &Namespace) {
    if let Err(contradiction) = agreed(ns) {
        panic!("{contradiction}");
    }
}

/// The same; the first contradiction is the error.
pub fn agreed(ns: &Namespace) -> Result<(), String> {
    let _turn = Turn::wait();
    for set in names(ns) {
        let mut contradiction = None;
        for _ in 0..TRIES {
            contradiction = of_set(ns, &set).err();
            if contradiction.is_none() {
                break;
            }
        }
        if let Some(contradiction) = contradiction {
            return Err(format!("{set}: {contradiction}"));
        }
    }
    Ok(())
}

fn names(ns: &Namespace) -> Vec<String> {
    let sets = ns.kubectl_json(&["get", "statefulsets"]);
    let name = |set: &Value| set["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    sets["items"].as_array().unwrap().iter().map(name).collect()
}

/// The last document that a command prints.
fn json(ns: &Namespace, args: &[&str]) -> (i32, Value, String) {
    let run = ns.sts(&[args, &["-o", "json"]].concat());
    let all = serde_json::Deserializer::from_str(&run.stdout).into_iter::<Value>();
    let last = all.map_while(Result::ok).last().unwrap_or(Value::Null);
    (run.code, last, run.to_string())
}

fn of_set(ns: &Namespace, set: &str) -> Result<(), String> {
    let (_, doctor, doctor_text) = json(ns, &["doctor", set]);
    let (_, status, status_text) = json(ns, &["status", set]);
    let (_, recover, recover_text) = json(ns, &["recover", set, "--dry-run=client"]);
    let (_, undo, undo_text) = json(ns, &["undo", set, "--dry-run=client"]);
    let (_, watch, watch_text) = json(ns, &["watch", set, "--stuck-after", "4s", "--timeout", "25s"]);
    let check = |right: bool, what: &str, texts: &[&String]| {
        let texts = texts.iter().map(|text| text.as_str()).collect::<Vec<_>>().join("\n");
        if right { Ok(()) } else { Err(format!("{what}\n{texts}")) }
    };

    let stuck_on = status["stuckOn"].as_str();
    let watched = watch["stuckOn"].as_str();
    match (stuck_on, watched) {
        (Some(a), Some(b)) => {
            check(a == b, "status and watch name different pods", &[&status_text, &watch_text])?;
        }
        (Some(_), None) => check(false, "status says stuck, watch does not", &[&status_text, &watch_text])?,
        (None, Some(_)) => check(false, "watch says stuck, status does not", &[&status_text, &watch_text])?,
        (None, None) => {}
    }

    let findings = doctor["findings"].as_array().cloned().unwrap_or_default();
    if let Some(on) = stuck_on {
        let names_it = |finding: &Value| {
            let others = finding["otherObjects"].as_array().cloned().unwrap_or_default();
            let mut all = std::iter::once(&finding["object"]).chain(&others);
            // A PVC has the name of its pod in its own.
            all.any(|object| object["name"].as_str().is_some_and(|name| name.ends_with(on)))
                && finding["severity"] != "note"
        };
        let said = findings.iter().any(|finding| {
            names_it(finding) || finding["what"].as_str().is_some_and(|what| what.contains(on))
        });
        check(said, &format!("stuck on {on}, and doctor does not name it"), &[&doctor_text, &status_text])?;
    }

    let reason = recover["reason"].as_str().unwrap_or_default();
    let because = recover["text"].as_str().unwrap_or_default();
    let writes =
        recover["steps"].as_array().is_some_and(|steps| steps.iter().any(|step| step["do"] != "wait"));
    match stuck_on {
        Some(on) => {
            let denies = because.contains("not stuck")
                || recover["then"].as_str().is_some_and(|then| then.contains("nothing is stuck"));
            check(!denies, "recover says not stuck", &[&recover_text, &status_text])?;
            let names_it = recover_text.contains(on) || matches!(reason, "on-delete" | "set-deleting");
            check(names_it, &format!("recover does not name {on}"), &[&recover_text, &status_text])?;
            if undo["kind"] == "Plan" {
                check(
                    undo_text.contains(on),
                    &format!("undo does not name {on}"),
                    &[&undo_text, &status_text],
                )?;
            }
        }
        None => {
            let claims = writes
                || matches!(
                    reason,
                    "other-cause"
                        | "same-revision"
                        | "below-partition"
                        | "may-become-ready"
                        | "parallel"
                        | "scale-down"
                );
            check(!claims, "recover says stuck, status does not", &[&recover_text, &status_text])?;
        }
    }
    Ok(())
}
