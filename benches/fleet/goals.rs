//! The goals P1 to P8 of the project, and whether this run meets them. P9 and P10 are those of `--bench watch`.

use super::rows::{
    COMPRESSED, DOCTOR, GET_PODS, GET_SET, KUBECTL_VERSION, RAW, Row, STATUS, Series, VERSION,
};
use super::run::{Programs, Took};

/// A goal.
pub struct Goal {
    pub name: &'static str,
    pub wanted: String,
    pub measured: String,
    pub is_met: bool,
}

/// A value that must not be above a limit.
fn at_most(name: &'static str, what: &str, value: f64, limit: f64, unit: &str) -> Goal {
    Goal {
        name,
        wanted: format!("{what} ≤ {limit}{unit}"),
        measured: format!("{value:.2}{unit}"),
        is_met: value <= limit,
    }
}

fn at_least(name: &'static str, what: &str, value: f64, limit: f64) -> Goal {
    Goal {
        name,
        wanted: format!("{what} ≥ {limit} ×"),
        measured: format!("{value:.1} ×"),
        is_met: value >= limit,
    }
}

fn wall(series: &Series) -> f64 {
    series.min(|took| took.wall)
}

fn cpu(series: &Series) -> f64 {
    series.min(|took| took.cpu)
}

fn memory(series: &Series) -> f64 {
    series.median(|took| took.memory)
}

fn bytes(series: &Series) -> f64 {
    series.median(|took| took.bytes() as f64)
}

/// All goals that these rows say something about.
pub fn of(rows: &[Row], programs: &Programs, is_large: bool) -> Vec<Goal> {
    if is_large {
        return large(rows);
    }
    let mut goals = Vec::new();
    let row = |name: &str| rows.iter().find(|row| row.name == name);
    let pair = |name: &str, ours: &str, other: &str| {
        let row = row(name)?;
        Some((row.of(ours)?, row.of(other)?))
    };
    if let Some((ours, raw)) = pair("loopback", DOCTOR, RAW) {
        goals.push(at_most("P1", "wall time", wall(ours) / wall(raw), 1.0, " × raw"));
        goals.push(at_most("P1", "processor time", cpu(ours) / cpu(raw), 1.5, " × raw"));
    }
    if let Some((ours, raw)) = pair("tls", DOCTOR, RAW) {
        goals.push(at_most("P1", "wall time, TLS", wall(ours) / wall(raw), 1.0, " × raw"));
    }
    if let Some((ours, raw)) = pair("json", DOCTOR, RAW) {
        goals.push(at_most("P1b", "wall time, JSON-only server", wall(ours) / wall(raw), 2.5, " × raw"));
    }
    if let (Some((ours, raw)), Some(row)) = (pair("link", DOCTOR, RAW), row("link")) {
        let bandwidth = row.bandwidth.unwrap_or(1) as f64;
        let floor = bytes(ours) / bandwidth * 1e3 + row.latency.as_secs_f64() * 1e3;
        let what = "wall time, 1 Gbit/s, 20 ms";
        goals.push(at_most("P2", what, wall(ours) / floor, 1.1, " × own bytes and one round trip"));
        goals.push(at_most("P2", what, wall(ours) / wall(raw), 0.4, " × raw"));
    }
    if let Some((ours, raw)) = pair("link", COMPRESSED, RAW) {
        goals.push(at_most("P2", "wall time with gzip", wall(ours) / wall(raw), 0.1, " × raw"));
    }
    if let Some((ours, raw)) = pair("loopback", DOCTOR, RAW) {
        goals.push(at_most("P3", "bytes received", bytes(ours) / bytes(raw), 0.35, " × raw"));
        let lists = ours.last().requests.iter().filter(|request| request.is_list()).count();
        let objects = ours.last().requests.iter().filter(|request| request.is_object()).count();
        goals.push(Goal {
            name: "P4",
            wanted: "at most 10 lists, and one more for each class of findings; no single objects".to_owned(),
            measured: format!("{lists} lists, {objects} objects"),
            // Of the data set, two classes need more lists: pods that are not healthy, and orphaned PVCs.
            is_met: lists <= 12 && objects == 0,
        });
        goals.push(at_most("P5", "peak memory at 10,000 pods", memory(ours), 24.0, " MB"));
    }
    if let Some((ours, kubectl)) = pair("loopback", DOCTOR, GET_PODS) {
        goals.push(at_least("P6", "faster than `kubectl get pods -A`", wall(kubectl) / wall(ours), 40.0));
        goals.push(at_least(
            "P6",
            "smaller than `kubectl get pods -A`",
            memory(kubectl) / memory(ours),
            30.0,
        ));
    }
    if let Some((ours, kubectl)) = pair("start", VERSION, KUBECTL_VERSION) {
        goals.push(at_most("P7", "`--version`", wall(ours), 5.0, " ms"));
        goals.push(at_most("P7", "`--version`", wall(ours) / wall(kubectl), 0.15, " × kubectl"));
    }
    if let Some((ours, kubectl)) = pair("one", STATUS, GET_SET) {
        goals.push(at_most("P7", "`status NAME`", wall(ours) / wall(kubectl), 0.3, " × `kubectl get`"));
    }
    if let Ok(file) = std::fs::metadata(&programs.ours) {
        goals.push(at_most("P8", "size of the binary", file.len() as f64 / 1e6, 10.0, " MB"));
    }
    goals
}

/// Memory at 100,000 pods, and how it grows.
fn large(rows: &[Row]) -> Vec<Goal> {
    let [small, large] = rows else { return Vec::new() };
    let memory_of = |row: &Row| row.of(DOCTOR).map_or(0.0, memory);
    // Three in ten pods are those of StatefulSets, and each has 5/3 PVCs.
    let objects = (large.pods - small.pods) as f64 * 0.3 * (1.0 + 5.0 / 3.0);
    let slope = (memory_of(large) - memory_of(small)) * 1e3 / objects;
    let mut goals = vec![
        at_most("P5", "peak memory at 100,000 pods", memory_of(large), 40.0, " MB"),
        at_most("P5", "memory for each pod of a StatefulSet and each PVC", slope, 0.5, " KB"),
    ];
    if let (Some(ours), Some(raw)) = (large.of(DOCTOR), large.of(RAW)) {
        goals.push(at_most("P1", "wall time at 100,000 pods", wall(ours) / wall(raw), 1.0, " × raw"));
    }
    goals
}

/// For the table.
pub fn milliseconds(series: &Series, of: impl Fn(&Took) -> f64 + Copy) -> String {
    format!("{:.1} ({:.1})", series.min(of), series.median(of))
}
