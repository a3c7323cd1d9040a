//! A cluster is observed into a snapshot; rules say what is wrong with it; the controller model says what Kubernetes
//! will do next; render shows it.

#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod cli;
pub mod cluster;
pub mod commands;
pub mod controller;
pub mod error;
pub mod kinds;
pub(crate) mod messages;
pub mod paste;
pub mod plan;
pub mod reached;
pub mod reconcile;
pub mod render;
pub mod rules;
pub(crate) mod secrets;
pub mod signals;
pub mod snapshot;
pub mod stop;
pub mod text;
pub(crate) mod time;
pub(crate) mod words;
