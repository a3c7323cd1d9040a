//! The only code that talks to an API server.

pub mod connect;
pub mod decode;
pub mod recorded;
