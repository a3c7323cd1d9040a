//! All tests in one binary: kube is heavy to link.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tests fail by panicking, and may talk"
)]

mod connect;
mod rules;
