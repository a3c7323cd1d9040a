//! A large cluster that exists only as lists: a data set from a seed, and an API server for it that counts what it is
//! asked for. For `cargo bench --bench fleet`, and for tests.
//!
//! ```ignore
//! let data = Arc::new(DataSet::generate(Scale::of_pods(600)));
//! let server = Server::start(&data, Options::default());
//! // kubectl-sts --server … doctor -A
//! assert!(server.requests().len() < 20);
//! ```
#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::len_without_is_empty,
    clippy::should_implement_trait,
    clippy::too_many_lines,
    reason = "numbers are small here, and objects long"
)]

pub mod data;
pub mod faults;
pub mod http;
pub mod kinds;
pub mod link;
pub mod managed;
pub mod network;
pub mod pods;
pub mod protobuf;
pub mod random;
pub mod select;
pub mod server;
pub mod storage;
pub mod store;
pub mod table;
pub mod workloads;

pub use data::{DataSet, Scale};
#[allow(unused_imports, reason = "for tests")]
pub use faults::Fault;
pub use server::{Options, Request, Server};
