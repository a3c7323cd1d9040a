//! The only code that talks to an API server.

pub mod claims;
pub mod connect;
pub mod decode;
mod door;
mod follow;
pub mod inventory;
mod items;
mod lists;
pub mod live;
mod perform;
mod place;
pub mod raw;
pub mod recorded;

pub use perform::{Failure, Performed};
