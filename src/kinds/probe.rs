//! v1 Probe.

use super::{Empty, IntOrString, partial};

partial! {
    /// v1 Probe, times in seconds.
    struct Probe {
        initial_delay_seconds: i32 => 2,
        period_seconds: Option<i32> => 4 via unless_zero,
        failure_threshold: Option<i32> => 6 via unless_zero,
        success_threshold: Option<i32> => 5 via unless_zero,
        timeout_seconds: Option<i32> => 3 via unless_zero,
        http_get: Option<HttpGet> => 1 / 2,
        tcp_socket: Option<TcpSocket> => 1 / 3,
        grpc: Option<Grpc> => 1 / 4,
        exec: Option<Empty> => 1 / 1,
    }

    /// v1 HTTPGetAction, without its path and headers, which can hold tokens.
    struct HttpGet {
        port: Option<IntOrString> => 2,
    }

    /// v1 TCPSocketAction.
    struct TcpSocket {
        port: Option<IntOrString> => 1,
    }

    /// v1 GRPCAction.
    struct Grpc {
        port: i32 => 1,
    }
}

/// A hundred years, in seconds.
const LONGEST: i64 = 100 * 365 * 86_400;

impl Probe {
    /// How often it must fail in a row.
    pub fn threshold(&self) -> i32 {
        self.failure_threshold.unwrap_or(3).max(1)
    }

    /// Seconds between two tries.
    pub fn period(&self) -> i32 {
        self.period_seconds.unwrap_or(10).max(1)
    }

    /// Seconds it waits for an answer.
    pub fn timeout(&self) -> i32 {
        self.timeout_seconds.unwrap_or(1).max(1)
    }

    /// Seconds after which it can have failed often enough at the earliest.
    pub fn least(&self) -> i64 {
        i64::from(self.initial_delay_seconds.max(0))
            + i64::from(self.threshold() - 1) * i64::from(self.period())
    }

    /// How long, in seconds, this probe lets a container be without success before it counts as failed: the delay, and
    /// as many periods as failures are allowed. The API server's defaults are a period of 10 s and 3 failures.
    pub fn allowance(&self) -> i64 {
        let periods = i64::from(self.period_seconds.unwrap_or(10).max(1))
            * i64::from(self.failure_threshold.unwrap_or(3).max(self.success_threshold.unwrap_or(1)));
        // Nobody waits for longer, and several of these are added up.
        (i64::from(self.initial_delay_seconds) + periods).clamp(0, LONGEST)
    }
}
