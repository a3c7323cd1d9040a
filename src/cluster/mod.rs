//! The only code that talks to an API server.

pub mod decode;
pub mod recorded;
