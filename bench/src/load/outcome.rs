//! What a run printed: the generator writes it, whoever started the generator reads it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One run. Everything but the errors of connecting counts what happened after the warm-up.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Requests answered whole and as expected (2xx, right length). `tcp-stream`: 0.
    pub requests: u64,
    /// Requests not answered so, by kind: `connect`, `tls`, `reset`, `closed`, `short_body`, `long_body`, `malformed`,
    /// `status` (not 2xx), `grpc_status`, `mismatch` (an echo that differs), `unanswered` (open loop: due in the
    /// measured time and still without an answer at the end).
    pub errors: BTreeMap<String, u64>,
    /// Answers by status that are not 2xx; their sum is `errors["status"]`.
    pub non_2xx: BTreeMap<String, u64>,
    /// Bytes of answers' bodies received (`tcp-*`: all bytes received).
    pub bytes_received: u64,
    /// Bytes of requests' bodies sent (`tcp-*`: all bytes sent).
    pub bytes_sent: u64,
    /// Connections made, the first ones included.
    pub connections_opened: u64,
    /// Length of the measured time.
    pub elapsed_seconds: f64,
    /// CPU time of the generator itself (user and system), warm-up and set-up included.
    pub cpu_seconds: f64,
    /// From the moment a request should have been sent (open loop) or was (closed loop) to the last byte of its answer.
    /// Open loop: those unanswered are in it with their age at the end.
    pub latency: Latency,
    /// Open loop: how late the generator itself woke to send: from the intended moment, or from when a connection
    /// became free if that is later. Its error; to be seen beside `latency`.
    pub send_delay: Latency,
}

/// A distribution of times.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Values in it.
    pub count: u64,
    /// Mean, in microseconds.
    pub mean_us: f64,
    /// Quantiles, in microseconds.
    pub p50_us: f64,
    /// 0.9.
    pub p90_us: f64,
    /// 0.99.
    pub p99_us: f64,
    /// 0.999.
    pub p999_us: f64,
    /// The largest.
    pub max_us: f64,
    /// All of it: an HdrHistogram of nanoseconds with three digits, V2 with deflate, in base64.
    pub hdr: String,
}

/// `--idle`: printed once when the connections are open, and once when they were let go.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Held {
    /// Connections open and idle.
    pub open: u64,
    /// Connections or requests that failed, by kind as in [`Outcome`].
    pub errors: BTreeMap<String, u64>,
    /// Connections the peer closed since.
    pub closed_by_peer: u64,
}
