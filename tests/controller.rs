//! The model of the StatefulSet controller against the real one.

mod api;
mod assumed;
pub mod change;
mod course;
mod drive;
mod plain;
pub mod scenario;
mod trapped;
mod waits;

use std::cell::{Cell, RefCell};
use std::time::Instant;

use futures::future::{join_all, select};
use kubectl_sts::snapshot::ServerVersion;
use serde_json::Value;

use crate::support::{self, controlplane::loud};
use api::Api;
use change::{Change, Random};
use drive::{Progress, Source, Wrong, sequence};
use scenario::Scenario;

/// Sets at a time.
const AT_ONCE: usize = 24;
/// Changes to one set.
const CHANGES: usize = 24;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn the_model_predicts_the_real_controllers_writes() {
    let Some(cluster) = support::cluster() else { return };
    let seed = number("STS_MODEL_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs()
    });
    let cases = usize::try_from(number("STS_MODEL_CASES").unwrap_or(400)).unwrap();
    let ns = cluster.namespace("model");
    let kubeconfig = cluster.plane.kubeconfig.to_str().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let wrong = runtime.block_on(async {
        let api = Api::new(kubeconfig, &ns.name).await;
        let work = std::pin::pin!(differential(&api, seed, cases));
        let background = std::pin::pin!(join_all([
            Box::pin(api.keep_node()) as std::pin::Pin<Box<dyn Future<Output = ()>>>,
            Box::pin(api.follow_pods()),
            Box::pin(api.follow_sets()),
        ]));
        let wrong = match select(work, background).await {
            futures::future::Either::Left((wrong, _)) => wrong,
            futures::future::Either::Right(_) => unreachable!("the watches never end"),
        };
        api.remove_node().await;
        wrong
    });
    // Before the panic, which would print its thousands of events.
    drop(ns);
    if let Some(text) = wrong {
        panic!("seed {seed}: {text}");
    }
}

/// Runs random sets until that many predictions were right; gives the text of the first wrong one.
async fn differential(api: &Api, seed: u64, cases: usize) -> Option<String> {
    let began = Instant::now();
    // The watches have to be there first.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let version = api.send("GET", "/version", &Value::Null).await.unwrap();
    let server = ServerVersion { text: version["gitVersion"].as_str().unwrap().to_owned() };
    let server = match std::env::var("STS_MODEL_VERSION") {
        Ok(text) => ServerVersion { text },
        Err(_) => server,
    };
    let (done, next, stop) = (Cell::new(0), Cell::new(0_u64), Cell::new(false));
    let wrong: RefCell<Option<(Value, Box<Wrong>)>> = RefCell::new(None);
    let disturbed = Cell::new(0);
    let progress = Progress { done: &done, stop: &stop, disturbed: &disturbed, enough: cases };
    let work = || async {
        while done.get() < cases && !stop.get() {
            let number = next.replace(next.get() + 1);
            let mut random = Random(seed.wrapping_mul(1_000_003).wrapping_add(number));
            random.next();
            let name = format!("m{number}");
            let set = change::set(&mut random, &name, &api.node);
            let source = Source::Random(random, CHANGES);
            let result = sequence(api, &name, &server, &set, source, &progress).await;
            if let Err(found) = result
                && !stop.replace(true)
            {
                *wrong.borrow_mut() = Some((set, found));
            }
        }
    };
    join_all((0..AT_ONCE).map(|_| work())).await;
    let took = began.elapsed().as_secs_f64();
    let count = done.get();
    let sets = next.get();
    let Some((set, found)) = wrong.into_inner() else {
        loud(&format!(
            "controller model: {count} predictions on {sets} sets, 0 wrong, seed {seed}, {took:.0} s, {}; {} sets given up",
            server.text,
            disturbed.get(),
        ));
        return None;
    };
    loud(&format!("controller model: a wrong prediction after {count} right ones, seed {seed}; shrinking"));
    let found = shrink(api, &server, &set, found).await;
    let scenario = Scenario {
        about: format!("found by the differential test, seed {seed}"),
        server: server.text.clone(),
        cases: vec![found.case.clone()],
    };
    let path = format!("{}/tests/scenarios/found-{seed}.yaml", env!("CARGO_MANIFEST_DIR"));
    std::fs::write(&path, serde_saphyr::to_string(&scenario).unwrap()).unwrap();
    Some(format!(
        "a wrong prediction, kept in {path}\nset {}\nchanges {:#?}\n{}",
        set["spec"], found.history, found.text
    ))
}

/// Leaves out changes while the prediction stays wrong.
async fn shrink(api: &Api, server: &ServerVersion, set: &Value, found: Box<Wrong>) -> Box<Wrong> {
    let mut found = found;
    let (done, stop) = (Cell::new(0), Cell::new(false));
    let disturbed = Cell::new(0);
    let progress = Progress { done: &done, stop: &stop, disturbed: &disturbed, enough: usize::MAX };
    let mut at = 0;
    for number in 0..40 {
        if at >= found.history.len() {
            break;
        }
        let mut fewer: Vec<Change> = found.history.clone();
        fewer.remove(at);
        let name = format!("s{number}");
        match sequence(api, &name, server, set, Source::Given(fewer), &progress).await {
            Err(shorter) => found = shorter,
            Ok(()) => at += 1,
        }
    }
    found
}

#[test]
fn every_scenario_comes_out_as_it_was_seen() {
    let folder = format!("{}/tests/scenarios", env!("CARGO_MANIFEST_DIR"));
    let mut wrong = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        wrong += &scenario::replay(path.file_name().unwrap().to_str().unwrap(), &text);
    }
    assert!(wrong.is_empty(), "{wrong}");
}
