//! The fake node against what a real kubelet wrote (`tests/realnode/fixtures`): each status in order, each event, and when.
//! `docs/fake-node.md` shows the two side by side; `BLESS=1` writes it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::recorder::{
    HORIZON, LOST, Record, Row, WINDOW, Watch, compare, conditions, lost, states,
};
use crate::support::{self, Cluster, controlplane::loud};

/// What the fake node shows otherwise, and why it may: the state, a part of each such difference, and the reason.
const DIFFERENCES: &[(&str, &str, &str)] = &[];

const INTRODUCTION: &str = "# The fake node against a real kubelet

The nodes of the ordinary tests run no containers, but report what a test asks for. So that they report what is true, each state was
recorded from a real kubelet (1.37.1 with its own settings, containerd 1.6, runc 1.1; `tests/realnode/fixtures`, written by
`BLESS=1 STS_REAL_NODE=1 cargo test realnode::fixtures`): every status in order and every event, for a minute.
`fake_node::recorded` makes the same states on the fake node and compares. It fails if a status, an event, its type, reason, component,
object or message is different, or their order, or if it comes at another time (5 s and 30 % are allowed, because a kubelet jitters
its looks), unless the difference is in the list of that test with its reason. It also fails if a difference in the list is gone.

Two states have two right answers: a kubelet that evicts a pod may find its container gone (ContainerStatusUnknown, `evicted.other.json`),
and one that checks a pod more often shows CrashLoopBackOff earlier, as the fake node does without `fake.test/moment: back-off`.

What this page shows is written by that test. A `–` is what comes after the end of the record. The times are seconds since the node took the pod, with the number of times of an event.
";

/// The place in the list of a difference.
fn reason(state: &str, difference: &str) -> Option<usize> {
    DIFFERENCES.iter().position(|(own, part, _)| (*own == state || *own == "*") && difference.contains(part))
}

/// Records all states at once.
fn records(cluster: &'static Cluster) -> BTreeMap<&'static str, Record> {
    let ns = cluster.namespace("recorded");
    let node = cluster.node("recorded", &["--taints", "lost=true:NoSchedule"]);
    let states = states();
    let watch = Watch::of(&ns, WINDOW + Duration::from_secs(90));
    let mut all: Vec<String> = states.iter().map(|state| state.manifest().to_string()).collect();
    all.extend(node.as_ref().map(|node| lost(&node.name).manifest().to_string()));
    ns.apply(&all.join("\n---\n"));
    let made = Instant::now();
    let since = |after: Duration| thread::sleep(after.saturating_sub(made.elapsed()));
    for state in &states {
        if let Some(after) = state.deleted {
            since(after);
            ns.delete(&["pod", state.name, "--wait=false"]);
        }
    }
    if let Some(node) = &node {
        since(LOST);
        cluster.lose_node(&node.name, true);
    }
    since(WINDOW + Duration::from_secs(4));
    let mut records: BTreeMap<_, _> =
        states.iter().map(|state| (state.name, watch.record(state.name))).collect();
    if let Some(node) = &node {
        let mut record = watch.record("lost-node");
        record.steps.push(conditions(cluster, &node.name));
        records.insert("lost-node", record);
    }
    records
}

/// All states side by side, and what is wrong.
fn compared(cluster: &'static Cluster) -> (BTreeMap<&'static str, Vec<Row>>, String) {
    let compared = |(name, record): (&'static str, Record)| (name, compare(&Record::fixture(name), &record));
    let rows: BTreeMap<&str, Vec<Row>> = records(cluster).into_iter().map(compared).collect();
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
    (rows, wrong)
}

#[test]
fn writes_what_a_real_kubelet_writes() {
    let Some(cluster) = support::cluster() else { return };
    let (mut rows, mut wrong) = compared(cluster);
    if !wrong.is_empty() {
        // Times are compared, and a machine may stand still for a while: what is really wrong is so again.
        loud(&format!("once more, because of\n{wrong}"));
        (rows, wrong) = compared(cluster);
    }
    assert!(wrong.is_empty(), "{wrong}");

    let (page, file) = (page(&rows), PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/fake-node.md"));
    if std::env::var_os("BLESS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(timeless(&written), timeless(&page), "BLESS=1 writes {}", file.display());
}

/// Two records side by side, for people.
fn page(rows: &BTreeMap<&str, Vec<Row>>) -> String {
    let mut page = INTRODUCTION.to_owned();
    let _ = write!(page, "\n| state | statuses | events | equal |\n|---|---|---|---|\n");
    for (state, rows) in rows {
        let different = rows.iter().filter_map(Row::difference);
        let mut reasons: Vec<usize> = different.filter_map(|difference| reason(state, &difference)).collect();
        reasons.sort_unstable();
        reasons.dedup();
        let why: Vec<&str> = reasons.iter().map(|index| DIFFERENCES[*index].2).collect();
        let why = if why.is_empty() { "yes".to_owned() } else { format!("but for this: {}", why.join("; ")) };
        let events = rows.iter().filter(|row| row.is_event).count();
        let _ = writeln!(page, "| [{state}](#{state}) | {} | {events} | {why} |", rows.len() - events);
    }
    for (state, rows) in rows {
        let _ = write!(page, "\n## {state}\n\n| real | fake | what is written |\n|---|---|---|\n");
        for row in rows {
            let cell = |own: Option<(u64, u64)>| match own {
                Some((at, 1)) => format!("{at}"),
                Some((at, count)) => format!("{at}, {count} times"),
                None => "–".to_owned(),
            };
            let text = row.text.replace('|', "\\|");
            let why = row.difference().and_then(|difference| reason(state, &difference));
            let why = why.map(|index| format!(" — {}", DIFFERENCES[index].2)).unwrap_or_default();
            let _ = writeln!(page, "| {} | {} | `{text}`{why} |", cell(row.real), cell(row.other));
        }
    }
    page
}

/// The page without what differs from run to run: times, and what comes so late that it may not come.
fn timeless(page: &str) -> String {
    let line = |line: &str| {
        let cells: Vec<&str> = line.splitn(3, " | ").collect();
        let [real, fake, text] = cells[..] else { return format!("{line}\n") };
        let Some(real) =
            line.strip_prefix("| ").and(real.strip_prefix("| ")).filter(|cell| !cell.starts_with('['))
        else {
            return format!("{line}\n");
        };
        let at = real.split(',').next().unwrap_or_default().parse::<u64>().unwrap_or(0);
        let there = |cell: &str| if cell == "–" && at <= HORIZON { "no" } else { "yes" };
        format!("{} {} {text}\n", there(real), there(fake))
    };
    page.lines().map(line).collect()
}
