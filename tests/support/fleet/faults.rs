//! What can go wrong with an answer.

use super::server::Request;

/// What happens to the answer to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection ends in the middle of the body.
    Cut,
    /// 429, and when to come again in seconds.
    Busy(u32),
    /// 410: the token of a page is too old.
    Gone,
    /// A proxy on the way lets only JSON be asked for.
    Strip,
    /// The `Content-Type` is that of the other encoding.
    Mislabelled,
    /// 406: a proxy on the way knows JSON only, and minds that more is asked for.
    Unacceptable,
}

/// Chooses the fault of a request, with how many there were for the same path before. Its answer has not been given yet.
pub type Choose = dyn Fn(&Request, usize) -> Fault + Send + Sync;
