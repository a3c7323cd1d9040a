//! What is measured.

use std::sync::Arc;
use std::time::Duration;

use super::fleet::{DataSet, Options, Scale, Server};
use super::run::{Gate, Line, Programs, Took};

/// A kind of server or size, and what each program took there.
pub struct Row {
    /// As in `--only link`.
    pub name: &'static str,
    /// As in the table.
    pub title: String,
    pub series: Vec<Series>,
    /// Bytes in a second.
    pub bandwidth: Option<u64>,
    pub latency: Duration,
    pub pods: usize,
}

/// All rounds of one program.
pub struct Series {
    pub program: &'static str,
    pub rounds: Vec<Took>,
}

impl Series {
    pub fn min(&self, of: impl Fn(&Took) -> f64) -> f64 {
        self.rounds.iter().map(of).fold(f64::INFINITY, f64::min)
    }

    pub fn median(&self, of: impl Fn(&Took) -> f64) -> f64 {
        let mut all: Vec<f64> = self.rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    }

    /// The requests of the last round.
    pub fn last(&self) -> &Took {
        self.rounds.last().expect("a round")
    }
}

impl Row {
    pub fn of(&self, program: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.program == program)
    }
}

pub const DOCTOR: &str = "doctor -A";
pub const COMPRESSED: &str = "doctor -A with gzip";
pub const RAW: &str = "raw download";
pub const GET_PODS: &str = "kubectl get pods -A";
pub const VERSION: &str = "kubectl-sts --version";
pub const KUBECTL_VERSION: &str = "kubectl version --client";
pub const STATUS: &str = "status NAME";
pub const GET_SET: &str = "kubectl get sts NAME";

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn doctor() -> (&'static str, Line) {
    (DOCTOR, Line::Ours(words("doctor -A")))
}

fn get_pods() -> (&'static str, Line) {
    (GET_PODS, Line::Kubectl(words("get pods -A")))
}

/// Measures all rows, or this one.
pub fn measure(
    programs: &Programs,
    gate: &mut Gate,
    pods: usize,
    rounds: usize,
    is_large: bool,
    only: Option<&str>,
) -> Vec<Row> {
    let scales = if is_large { vec![pods, pods * 10] } else { vec![pods] };
    let mut rows = Vec::new();
    for pods in scales {
        eprintln!("generating {pods} pods");
        let data = DataSet::generate(Scale::of_pods(pods));
        for (name, title, options, lines) in plan(&data, pods, is_large) {
            if only.is_some_and(|only| only != name) {
                continue;
            }
            let (bandwidth, latency) = (options.bandwidth, options.latency);
            let server = Server::start(&data, options);
            let series = interleaved(programs, gate, &server, &lines, rounds, name);
            rows.push(Row { name, title, series, bandwidth, latency, pods: data.scale.pods() });
        }
    }
    assert!(!rows.is_empty(), "there is no row {only:?}");
    rows
}

type Planned = (&'static str, String, Options, Vec<(&'static str, Line)>);

fn plan(data: &Arc<DataSet>, pods: usize, is_large: bool) -> Vec<Planned> {
    let plain = Options::default;
    let tls = || Options { tls: true, ..plain() };
    let raw = || (RAW, Line::Raw);
    if is_large {
        return vec![("loopback", format!("loopback, {pods} pods"), plain(), vec![doctor(), raw()])];
    }
    let link = || Options { latency: Duration::from_millis(20), bandwidth: Some(125_000_000), ..plain() };
    let compressed = (COMPRESSED, Line::Compressed(words("doctor -A")));
    let (name, namespace) = data.healthy();
    let one = vec![
        (STATUS, Line::Ours(words(&format!("status {name} -n {namespace}")))),
        (GET_SET, Line::Kubectl(words(&format!("get statefulsets {name} -n {namespace}")))),
    ];
    let start = vec![
        (VERSION, Line::Ours(words("--version"))),
        (KUBECTL_VERSION, Line::Kubectl(words("version --client"))),
    ];
    vec![
        ("loopback", "loopback".to_owned(), plain(), vec![doctor(), raw(), get_pods()]),
        ("tls", "loopback, TLS".to_owned(), tls(), vec![doctor(), raw()]),
        (
            "json",
            "loopback, JSON-only server".to_owned(),
            Options { protobuf: false, ..plain() },
            vec![doctor(), raw()],
        ),
        ("link", "1 Gbit/s, 20 ms".to_owned(), link(), vec![doctor(), compressed, raw()]),
        ("one", "one StatefulSet, TLS".to_owned(), tls(), one),
        ("start", "start".to_owned(), plain(), start),
    ]
}

/// Runs all programs in turn, so that what else the machine does hits all of them.
fn interleaved(
    programs: &Programs,
    gate: &mut Gate,
    server: &Server,
    lines: &[(&'static str, Line)],
    rounds: usize,
    name: &str,
) -> Vec<Series> {
    let mut series: Vec<Series> =
        lines.iter().map(|(program, _)| Series { program, rounds: Vec::new() }).collect();
    for round in 0..=rounds {
        for ((program, line), series) in lines.iter().zip(&mut series) {
            if round > 0 {
                gate.pass();
            }
            let took = programs.run(line, server);
            eprintln!(
                "{name} {round}/{rounds} {program}: {:.1} ms, {:.1} ms of the processor, {:.1} MB, {:.1} MB received",
                took.wall,
                took.cpu,
                took.memory,
                took.bytes() as f64 / 1e6
            );
            // In the first one the server makes the forms that it is asked for, and caches are filled.
            if round > 0 {
                series.rounds.push(took);
            }
        }
    }
    series
}
