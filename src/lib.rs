//! A cluster is observed into a snapshot; rules say what is wrong with it; render shows it.

pub mod cluster;
pub mod controller;
pub mod error;
pub mod kinds;
pub mod rules;
pub mod snapshot;
pub mod words;
