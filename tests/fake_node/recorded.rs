//! The fake node against what a real kubelet wrote (`tests/realnode/fixtures`): each status in order, each event, and when.
//! `docs/fake-node.md` shows the two side by side; `BLESS=1` writes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::recorder::{Record, Row, WINDOW, Watch, compare, states};
use crate::support::{self, controlplane::loud};

/// What the fake node shows otherwise, and why it may: the state, a part of each such difference, and the reason.
const DIFFERENCES: &[(&str, &str, &str)] = &[];

/// The state whose table has this difference in it.
fn reason(state: &str, difference: &str) -> Option<usize> {
    DIFFERENCES.iter().position(|(own, part, _)| (*own == state || *own == "*") && difference.contains(part))
}

#[test]
fn writes_what_a_real_kubelet_writes() {
    let Some(cluster) = support::cluster() else { return };
    let ns = cluster.namespace("recorded");
    let states = states();
    let watch = Watch::of(&ns, WINDOW + Duration::from_secs(15));
    let began = Instant::now();
    let all: Vec<String> = states.iter().map(|state| state.manifest().to_string()).collect();
    ns.apply(&all.join("\n---\n"));
    let applied = Instant::now();
    for state in &states {
        if let Some(after) = state.deleted {
            thread::sleep(after.saturating_sub(applied.elapsed()));
            ns.delete(&["pod", state.name, "--wait=false"]);
        }
    }
    thread::sleep((WINDOW + Duration::from_secs(4)).saturating_sub(began.elapsed()));
    let mut rows: BTreeMap<&str, Vec<Row>> = BTreeMap::new();
    for state in &states {
        rows.insert(state.name, compare(&Record::fixture(state.name), &watch.record(state.name)));
    }
    let mut wrong = String::new();
    let mut used = vec![false; DIFFERENCES.len()];
    for (state, rows) in &rows {
        for difference in rows.iter().filter_map(Row::difference) {
            match reason(state, &difference) {
                Some(index) => used[index] = true,
                None => _ = writeln!(wrong, "{state}: {difference}"),
            }
        }
    }
    for ((state, part, _), _) in DIFFERENCES.iter().zip(&used).filter(|(_, used)| !**used) {
        let _ = writeln!(wrong, "{state}: is no longer different in {part:?}");
    }
    loud(&wrong);
    assert!(wrong.is_empty(), "{wrong}");
}
