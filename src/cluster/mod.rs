//! The only code that talks to an API server.

pub(crate) mod claims;
pub mod connect;
pub(crate) mod decode;
pub mod deletions;
pub(crate) mod dns;
mod door;
mod follow;
pub(crate) mod inventory;
mod items;
mod lists;
pub(crate) mod live;
pub(crate) mod logs;
pub mod needs;
mod perform;
mod place;
mod protobuf;
pub(crate) mod raw;
pub mod recorded;
pub(crate) mod returns;
mod tally;
pub(crate) mod trial;

pub use perform::{Failure, Performed};
