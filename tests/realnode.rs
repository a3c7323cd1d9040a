//! The article that this tool was asked for with, and faults that only a kubelet has, on a real node: kubelet, containerd, cluster
//! DNS and PostgreSQL.
//!
//! `STS_REAL_NODE=1 cargo test realnode::`, or `.ci/realnode`, which also installs what is needed. Without the variable, these tests
//! are skipped with one line.

mod article;
mod faults;
mod fixtures;
mod machine;
mod problems;
mod promotion;
mod remains;
mod unreachable;
