//! A cluster is observed into a snapshot; rules say what is wrong with it; render shows it.

pub mod cluster;
pub mod error;
