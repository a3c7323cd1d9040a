//! `doctor -A` on a large cluster, side by side with a bare download of the same lists and with `kubectl get pods -A`.
//!
//! `cargo bench --bench fleet` generates the cluster, serves it, runs each program in turn, and writes the table and the
//! goals into docs/performance.md. After `--`:
//!
//! | | |
//! |---|---|
//! | `--large` | measure 100,000 pods instead, which takes 10 minutes and 5 GB of the disk |
//! | `--pods N`, `--rounds N` | another size, another number of rounds; nothing is written |
//! | `--only ROW` | one row, as in `--only link`; nothing is written |
//! | `--busy` | measure although the machine is busy |
//! | `--sizes` | only print the sizes of the data set |
//! | `--serve` | only serve it, for a profiler: prints a kubeconfig, and waits for the end of its input |
//!
//! `STS_BIN` is another program to measure, and `KUBECTL` another kubectl.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "benches fail by panicking, and talk"
)]

#[path = "../tests/support/fleet/mod.rs"]
mod fleet;

#[path = "fleet/goals.rs"]
mod goals;
#[path = "fleet/page.rs"]
mod page;
#[path = "fleet/raw.rs"]
mod raw;
#[path = "fleet/rows.rs"]
mod rows;
#[path = "fleet/run.rs"]
mod run;

use fleet::kinds::NAIVE;
use fleet::store::{Form, Query};
use fleet::{DataSet, Scale};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--launch") => return run::launch(&arguments[1..]),
        Some("--raw") => return raw::download(&arguments[1]),
        _ => {}
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        Some(arguments.get(at + 1).unwrap_or_else(|| panic!("{flag} needs a value")).as_str())
    };
    let is_large = has("--large");
    let number = |flag: &str| value(flag).map(|text| text.parse::<usize>().expect("a number"));
    let pods = number("--pods").unwrap_or(10_000);
    let rounds = number("--rounds").unwrap_or(if is_large { 5 } else { 9 });
    if has("--sizes") {
        return sizes(pods);
    }
    if has("--serve") {
        return serve(pods);
    }
    let only = value("--only");
    let mut gate = run::Gate::new(has("--busy"));
    let programs = run::Programs::find();
    let rows = rows::measure(&programs, &mut gate, pods, rounds, is_large, only);
    let whole = only.is_none() && number("--pods").is_none() && number("--rounds").is_none();
    let text = page::text(&rows, &goals::of(&rows, &programs, is_large), &programs, &gate, rounds);
    println!("{text}");
    if whole {
        page::write(if is_large { "fleet-large" } else { "fleet" }, &text);
    }
}

fn serve(pods: usize) {
    let server = fleet::Server::start(&DataSet::generate(Scale::of_pods(pods)), fleet::Options::default());
    let programs = run::Programs::find();
    println!("{}", programs.kubeconfig(&server.address, false).display());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

/// The data set as section 2 of the facts has it: how many objects of each kind, and how large they are.
fn sizes(pods: usize) {
    let data = DataSet::generate(Scale::of_pods(pods));
    println!("{:26} {:>7} {:>9} {:>9} {:>9}", "", "n", "JSON B", "metadata", "protobuf");
    let (mut json, mut protobuf) = (0, 0);
    for plural in NAIVE.iter().chain(&["nodes"]) {
        let form = |form| {
            let query = Query {
                plural,
                namespace: String::new(),
                labels: String::new(),
                fields: String::new(),
                form,
            };
            let items = data.store.view(&query).unwrap();
            items.range(0, items.len()).1
        };
        let count = data.store.size(plural).0 as u64;
        let (text, binary) = (form(Form::Json), form(Form::Protobuf));
        if *plural != "nodes" {
            json += text;
            protobuf += binary;
        }
        let meta = form(Form::MetaJson);
        println!("{plural:26} {count:>7} {:>9} {:>9} {:>9}", text / count, meta / count, binary / count);
    }
    println!("naive plan: {:.1} MB JSON, {:.1} MB protobuf", json as f64 / 1e6, protobuf as f64 / 1e6);
}
