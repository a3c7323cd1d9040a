//! All integration tests in one program: they share one build and one control plane.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, clippy::print_stdout)]

#[allow(dead_code)] // helpers for tests to come
mod support;

mod cluster_smoke;
