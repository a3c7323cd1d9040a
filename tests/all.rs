//! All tests in one binary: kube is heavy to link, and they share one control plane.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail by panicking, and may talk"
)]

#[allow(dead_code, reason = "helpers for tests to come")]
mod support;

mod advice;
mod answers;
mod architecture;
mod article;
mod auth;
mod book;
mod canary;
mod causes;
mod cluster_smoke;
mod completion;
mod connect;
mod contributing;
mod controller;
mod defaults;
mod delayed;
mod deploy;
mod dns;
mod docs;
mod doctor;
mod extremes;
mod fake_node;
mod fleet;
mod growth;
mod help;
mod hints;
mod history;
mod hostile;
mod labels;
mod live_matrix;
mod lives;
mod logs;
mod packages;
mod peers;
mod permissions;
mod phases;
mod pictures;
mod pipeline;
mod playground;
mod probes;
mod prune;
mod realnode;
mod reconcile;
mod record;
mod recover;
mod reference;
mod refused;
mod remedies;
mod repository;
mod requests;
mod rules;
mod scheduled;
mod schema;
mod screens;
mod storage;
mod terminal;
mod trial;
mod truth;
mod truth_growth;
mod truth_rollout;
mod truth_storage;
mod undo;
mod watch;
mod wire;
mod words;
