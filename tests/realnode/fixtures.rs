//! What the real kubelet writes, kept in files: the fake node of the ordinary tests is held against them. `BLESS=1` writes them.

use std::fmt::Write as _;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::machine::{disturbed, machine};
use crate::support::controlplane::loud;
use crate::support::recorder::{Record, WINDOW, Watch, compare, states};

/// Between two pods, so that none waits for the processor while another starts.
const APART: Duration = Duration::from_millis(1500);

/// A step that lasts less than this many seconds may be missed: a kubelet writes a status only now and then.
const LASTING: u64 = 4;

/// Writes the record of a state, or tells what is not as in the file.
pub fn hold(name: &str, now: &Record) -> String {
    let file = Record::file(name);
    let is_other = || !differs(name, &Record::fixture(name), now).is_empty();
    if std::env::var_os("BLESS").is_some() && (!file.is_file() || is_other()) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, now.to_json()).unwrap();
    }
    // One of them is enough.
    let wrong =
        Record::variants(name).iter().map(|fixture| differs(name, fixture, now)).min_by_key(String::len);
    wrong.unwrap_or_default()
}

/// What one has that lasts, and not the other.
fn differs(name: &str, fixture: &Record, now: &Record) -> String {
    let lasts =
        |record: &Record, text: &str| record.lasting(LASTING).steps.iter().any(|step| step.text == text);
    let mut wrong = String::new();
    for row in compare(fixture, now) {
        let counts = row.is_event || lasts(fixture, &row.text) || lasts(now, &row.text);
        // The kubelet measures its volumes about once a minute.
        let is_free = |difference: &String| name == "evicted" && difference.contains(" s, not ");
        if let Some(difference) = row.difference().filter(|difference| counts && !is_free(difference)) {
            let _ = writeln!(wrong, "{name}: {difference}");
        }
    }
    wrong
}

#[test]
fn the_kubelet_writes_what_the_fixtures_say() {
    let Some(machine) = machine() else { return };
    // Its times are those of a machine that does nothing else.
    let _held = disturbed();
    let ns = machine.cluster.namespace("fixtures");
    let states = states();
    // Each pod takes longer to be made when the machine is busy.
    let watch = Watch::of(&ns, Duration::from_secs(400));
    let mut deleted = Vec::new();
    for state in &states {
        ns.apply(&state.manifest().to_string());
        deleted.extend(state.deleted.map(|after| (Instant::now() + after, state.name)));
        thread::sleep(APART);
    }
    let made = Instant::now();
    deleted.sort();
    for (when, name) in deleted {
        thread::sleep(when.saturating_duration_since(Instant::now()));
        ns.delete(&["pod", name, "--wait=false"]);
    }
    thread::sleep((WINDOW + Duration::from_secs(5)).saturating_sub(made.elapsed()));
    let wrong: String = states.iter().map(|state| hold(state.name, &watch.record(state.name))).collect();
    loud(&format!("{} states of the real kubelet\n{wrong}", states.len()));
    assert!(wrong.is_empty(), "BLESS=1 writes them\n{wrong}");
}
