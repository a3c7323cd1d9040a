//! The loop and its goals on a simulated cluster, alone: quick to link, for many cases and for `cargo mutants`.
//! `tests/all.rs` has the same tests.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail by panicking, and may talk"
)]

mod controller {
    pub mod change;
}
mod reconcile;
