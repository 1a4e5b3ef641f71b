//! What a run printed: the generator writes it, whoever started the generator reads it.

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, io};

/// One run. Everything but connections and the failures to make them before the start counts what happened after the
/// warm-up.
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
    /// CPU time of the generator itself (user and system) within the measured time.
    pub cpu_seconds: f64,
    /// From the moment a request should have been sent (open loop) or was (closed loop) to the last byte of its answer.
    /// Open loop: those unanswered are in it with their age at the end.
    pub latency: Latency,
    /// Open loop: how late the generator itself woke to send: from the intended moment, or from when a connection
    /// became free if that is later. Its error; to be seen beside `latency`.
    pub send_delay: Latency,
    /// Of requests that failed: from the moment each should have been sent (open loop) or was (closed loop) to its failure;
    /// those unanswered with their age at the end. To be seen beside `latency`, which knows of the others only that they were
    /// answered.
    #[serde(default)]
    pub failed_after: Latency,
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

impl Latency {
    /// Sums a histogram of nanoseconds up.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self {
            count: histogram.len(),
            mean_us: histogram.mean() / 1000.0,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max() as f64 / 1000.0,
            hdr: encode(histogram),
        }
    }

    /// The histogram itself, in nanoseconds: for quantiles that are not written out, and for adding runs up.
    ///
    /// # Errors
    ///
    /// When `hdr` is not what [`Latency::of`] wrote.
    pub fn histogram(&self) -> io::Result<Histogram<u64>> {
        let bytes = STANDARD.decode(&self.hdr).map_err(io::Error::other)?;
        Deserializer::new().deserialize(&mut bytes.as_slice()).map_err(io::Error::other)
    }
}

fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes).expect("memory takes what is written to it");
    STANDARD.encode(bytes)
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

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed_seconds.max(f64::MIN_POSITIVE);
        writeln!(
            f,
            "requests     {} in {seconds:.2} s: {:.1} a second",
            self.requests,
            self.requests as f64 / seconds
        )?;
        let (received, sent) = (self.bytes_received as f64 / seconds / 1e6, self.bytes_sent as f64 / seconds / 1e6);
        writeln!(f, "bytes        {received:.2} MB/s received, {sent:.2} MB/s sent")?;
        writeln!(f, "connections  {} opened", self.connections_opened)?;
        writeln!(f, "latency      {}", self.latency)?;
        if self.send_delay.count > 0 {
            writeln!(f, "send delay   {} (the generator's own)", self.send_delay)?;
        }
        if self.failed_after.count > 0 {
            writeln!(f, "failed after {} ({} requests)", self.failed_after, self.failed_after.count)?;
        }
        writeln!(f, "own CPU      {:.1} % of one", 100.0 * self.cpu_seconds / seconds)?;
        write!(f, "errors       ")?;
        counts(f, &self.errors)?;
        if !self.non_2xx.is_empty() {
            write!(f, "; by status: ")?;
            counts(f, &self.non_2xx)?;
        }
        Ok(())
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50_us, p90_us, p99_us, p999_us, max_us, .. } = self;
        write!(f, "p50 {p50_us:.0} µs, p90 {p90_us:.0}, p99 {p99_us:.0}, p99.9 {p999_us:.0}, max {max_us:.0}")
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "open {}, closed by the peer {}, errors ", self.open, self.closed_by_peer)?;
        counts(f, &self.errors)
    }
}

fn counts(f: &mut fmt::Formatter<'_>, counts: &BTreeMap<String, u64>) -> fmt::Result {
    if counts.is_empty() {
        return f.write_str("none");
    }
    let mut before = "";
    for (kind, count) in counts {
        write!(f, "{before}{kind} {count}")?;
        before = ", ";
    }
    Ok(())
}
