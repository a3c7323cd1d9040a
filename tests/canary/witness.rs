//! Sees every pod of a namespace come and go, while a test runs.

use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;

use crate::support::{Namespace, PATIENCE};

/// A pod as one event of the watch had it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub event: String,
    pub name: String,
    pub uid: String,
    pub leaving: bool,
    pub restarts: i64,
}

/// A watch of all pods of a namespace.
pub struct Observer {
    child: Child,
    seen: Arc<Mutex<Vec<Seen>>>,
    reader: Option<JoinHandle<()>>,
}

impl Observer {
    /// Starts to watch; all pods that are there have been seen when it returns.
    pub fn of(ns: &Namespace, pods: usize) -> Observer {
        let mut command = ns.cluster.plane.kubectl();
        command.args(["-n", &ns.name, "get", "pods", "-w", "-o", "json", "--output-watch-events"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = child.stdout.take().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            for event in serde_json::Deserializer::from_reader(out).into_iter::<Value>().map_while(Result::ok)
            {
                let pod = &event["object"];
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let restarts = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
                sink.lock().unwrap().push(Seen {
                    event: text(&event["type"]),
                    name: text(&pod["metadata"]["name"]),
                    uid: text(&pod["metadata"]["uid"]),
                    leaving: !pod["metadata"]["deletionTimestamp"].is_null(),
                    restarts: restarts.filter_map(|status| status["restartCount"].as_i64()).sum(),
                });
            }
        });
        let witness = Observer { child, seen, reader: Some(reader) };
        ns.wait("the watch to have seen all pods", PATIENCE, || {
            let seen = witness.seen.lock().unwrap().len();
            if seen >= pods { Ok(()) } else { Err(seen.to_string()) }
        });
        witness
    }

    /// Everything up to the pods that are there now.
    pub fn all(&self, ns: &Namespace) -> Vec<Seen> {
        let now: Vec<(String, String)> =
            super::pods(ns).into_iter().map(|(name, uid, _)| (name, uid)).collect();
        ns.wait("the watch to catch up", PATIENCE, || {
            let seen = self.seen.lock().unwrap();
            let caught = now.iter().all(|(name, uid)| {
                seen.iter().rev().find(|seen| seen.name == *name).is_some_and(|seen| seen.uid == *uid)
            });
            if caught { Ok(seen.clone()) } else { Err(format!("{} events", seen.len())) }
        })
    }

    /// The pods that were deleted, in this order.
    pub fn deleted(&self, ns: &Namespace) -> Vec<String> {
        self.all(ns).into_iter().filter(|seen| seen.event == "DELETED").map(|seen| seen.name).collect()
    }

    /// Asserts that these pods were never touched: no other uid, no deletion, no restart.
    #[track_caller]
    pub fn never_touched(&self, ns: &Namespace, names: &[&str]) {
        for name in names {
            let all: Vec<Seen> = self.all(ns).into_iter().filter(|seen| seen.name == *name).collect();
            let first = all.first().unwrap_or_else(|| panic!("{name} was never seen"));
            let touched = all
                .iter()
                .find(|seen| seen.uid != first.uid || seen.leaving || seen.restarts != first.restarts);
            assert!(touched.is_none(), "{name} was touched: {touched:?}");
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
