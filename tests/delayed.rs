//! Every acting command, while what it sees of one kind is late, comes twice, or breaks: it ends as it does with a good
//! connection, and does nothing twice.
//!
//! `STS_DELAYED_RUNS` is how often each cell of the tables runs (1), `STS_DELAYED_MS` how late a late kind is (2000),
//! `STS_DELAYED_AT_ONCE` how many cells run at once (9), and `STS_DELAYED_ONLY` a part of the names of those that run,
//! such as `abort / pods`. With more than one run, there are some cells more.

#[path = "delayed/lies.rs"]
mod lies;
#[path = "delayed/scene.rs"]
mod scene;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::support::proxy::{Bend, Proxy, Upstream};
use crate::support::{self, Binding, controlplane::loud};
use scene::{After, Before, Scene};

/// The kinds that are watched.
const KINDS: [&str; 4] = ["statefulsets", "pods", "persistentvolumeclaims", "events"];

/// A command, and how it has to end.
struct Act {
    name: &'static str,
    args: &'static [&'static str],
    before: Before,
    after: After,
}

const ACTS: &[Act] = &[
    Act {
        name: "canary",
        args: &["canary", "web", "--partition", "2", "--image", "web=web:2"],
        before: Before::Healthy,
        after: After { restarted: &["web-2"], partition: 2, canary: true, image: "web:2", writes: 1 },
    },
    Act {
        name: "canary --steps",
        args: &["canary", "web", "--steps", "2,0", "--image", "web=web:2"],
        before: Before::Healthy,
        after: After {
            restarted: &["web-2", "web-1", "web-0"],
            partition: 0,
            canary: false,
            image: "web:2",
            writes: 2,
        },
    },
    Act {
        name: "promote",
        args: &["promote", "web"],
        before: Before::Canary,
        after: After { restarted: &["web-1"], partition: 1, canary: true, image: "web:2", writes: 1 },
    },
    Act {
        name: "promote --full",
        args: &["promote", "web", "--full"],
        before: Before::Canary,
        after: After {
            restarted: &["web-1", "web-0"],
            partition: 0,
            canary: false,
            image: "web:2",
            writes: 1,
        },
    },
    Act {
        name: "abort",
        args: &["abort", "web"],
        before: Before::Canary,
        after: After { restarted: &["web-2"], partition: 0, canary: false, image: "web:1", writes: 2 },
    },
    Act {
        name: "abort, stuck",
        args: &["abort", "web"],
        before: Before::StuckCanary,
        after: After { restarted: &["web-2"], partition: 0, canary: false, image: "web:1", writes: 2 },
    },
    Act {
        name: "undo",
        args: &["undo", "web"],
        before: Before::Updated,
        after: After {
            restarted: &["web-2", "web-1", "web-0"],
            partition: 0,
            canary: false,
            image: "web:1",
            writes: 1,
        },
    },
    Act {
        name: "undo, stuck",
        args: &["undo", "web"],
        before: Before::Stuck,
        after: After { restarted: &["web-2"], partition: 0, canary: false, image: "web:1", writes: 1 },
    },
    Act {
        name: "recover",
        args: &["recover", "web"],
        before: Before::Trapped,
        after: After { restarted: &["web-2"], partition: 0, canary: false, image: "web:1", writes: 0 },
    },
];

/// What is bent, by a name for it.
type Column = (String, Vec<(&'static str, Bend)>);

/// So late is a late kind.
fn late() -> Duration {
    Duration::from_millis(setting("STS_DELAYED_MS", 2000) as u64)
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

/// Whose turn it is.
static TURN: Mutex<()> = Mutex::new(());

/// Runs each command under each column and shows the table; every cell must be good.
#[track_caller]
fn table(title: &str, columns: &[Column]) {
    let Some(cluster) = support::cluster() else { return };
    let (upstream, class) =
        (Upstream::of(cluster), cluster.storage_class("delayed", Binding::WaitForFirstConsumer, false));
    let runs = setting("STS_DELAYED_RUNS", 1);
    let only = std::env::var("STS_DELAYED_ONLY").unwrap_or_default();
    let mut cells = VecDeque::new();
    for run in 0..runs {
        for act in ACTS {
            for column in columns {
                if format!("{} / {}", act.name, column.0).contains(&only) {
                    cells.push_back((run, act, column));
                }
            }
        }
    }
    // The tables share the machine: one after the other they take as long, and each has the time it needs.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let cells = Mutex::new(cells);
    let failures: Mutex<BTreeMap<(&str, &str), Vec<String>>> = Mutex::default();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..setting("STS_DELAYED_AT_ONCE", 9) {
            scope.spawn(|| {
                loop {
                    let Some((_, act, column)) = cells.lock().unwrap().pop_front() else { return };
                    if let Some(wrong) = cell(&upstream, &class, act, column) {
                        let mut failures = failures.lock().unwrap();
                        failures.entry((act.name, column.0.as_str())).or_default().push(wrong);
                    }
                }
            });
        }
    });
    drop(turn);
    let _ = cluster.plane.kubectl().args(["delete", "storageclass", &class]).output();
    let failures = failures.into_inner().unwrap();
    let mut shown = format!("{title}: failures of {runs} runs each, {:.0?} in all\n", began.elapsed());
    let _ = write!(shown, "{:16}", "");
    for (name, _) in columns {
        let _ = write!(shown, "  {name}");
    }
    for act in ACTS {
        let _ = write!(shown, "\n{:16}", act.name);
        for (name, _) in columns {
            let count = failures.get(&(act.name, name.as_str())).map_or(0, Vec::len);
            let _ = write!(
                shown,
                "  {:width$}",
                if count == 0 { "-".into() } else { count.to_string() },
                width = name.len()
            );
        }
    }
    loud(&shown);
    let firsts: String = failures
        .iter()
        .map(|((act, column), all)| format!("\n=== {act} / {column}: {} of {runs}\n{}\n", all.len(), all[0]))
        .collect();
    assert!(failures.is_empty(), "{shown}\n{firsts}");
}

/// One command under one column; what went wrong.
fn cell(upstream: &std::sync::Arc<Upstream>, class: &str, act: &Act, (_, bent): &Column) -> Option<String> {
    let hint: String = act.name.chars().filter(char::is_ascii_alphabetic).collect();
    let scene = Scene::prepare(&format!("late-{hint}"), upstream, class, act.before);
    let proxy = Proxy::bent(upstream, bent);
    // Believing that it is stuck takes longer here than anything is late.
    let args = [act.args, &["--yes", "--stuck-after", "20s", "--server", &proxy.server]].concat();
    let run = scene.ns.sts(&args);
    let mut wrong = scene.compare(&act.after);
    if run.code != 0 {
        wrong.insert(0, format!("exit code {}", run.code));
    }
    let writes = proxy.writes();
    let deleted = writes.iter().filter(|write| !write.starts_with("PATCH")).count();
    if deleted > 1 {
        wrong.push(format!("a pod was deleted {deleted} times"));
    }
    if wrong.is_empty() {
        return None;
    }
    Some(format!("{}\nwrites: {}\n{run}", wrong.join("\n"), writes.join(", ")))
}

/// One column for each kind.
fn each(kinds: &[&'static str], bend: Bend) -> Vec<Column> {
    kinds.iter().map(|kind| ((*kind).to_owned(), vec![(*kind, bend)])).collect()
}

#[test]
fn a_kind_whose_watch_is_late_changes_no_ending() {
    table("late events", &each(&KINDS, Bend { events: late(), ..Bend::default() }));
}

#[test]
fn a_kind_whose_lists_are_late_changes_no_ending() {
    let kinds = ["statefulsets", "pods", "controllerrevisions", "persistentvolumeclaims", "events"];
    let some = if setting("STS_DELAYED_RUNS", 1) > 1 { &kinds[..] } else { &kinds[..1] };
    table("late lists", &each(some, Bend { list: late(), ..Bend::default() }));
}

#[test]
fn watches_that_repeat_or_break_change_no_ending() {
    let all = |bend: Bend| KINDS.iter().map(|kind| (*kind, bend)).collect();
    let mut columns =
        vec![("twice, and cut".to_owned(), all(Bend { twice: true, cut: true, ..Bend::default() }))];
    if setting("STS_DELAYED_RUNS", 1) > 1 {
        columns.push(("nothing".to_owned(), Vec::new()));
        columns.push(("twice".to_owned(), all(Bend { twice: true, ..Bend::default() })));
        columns.push(("late and cut".to_owned(), all(Bend { cut: true, events: late(), ..Bend::default() })));
    }
    table("repeated and broken watches", &columns);
}
