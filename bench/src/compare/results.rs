//! What was measured: one [`Run`] after another, in the form in which it is kept as JSON.

use super::{
    measure::{machine::Machine, procfs::Memory, trace::Calls},
    peers::Peer,
};
use crate::load::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A figure's kind; in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Requests sent a second, by intention.
    Rate,
    /// Requests answered a second.
    Throughput,
    /// CPU time of the proxy for a request, in microseconds.
    CpuPerRequest,
    /// CPU time of the proxy and of the server behind it for a request, in microseconds.
    CpuWithOrigin,
    /// Bytes of bodies (TCP: all bytes) a second, in MB.
    Bandwidth,
    /// MB moved for a second of the proxy's CPU time.
    BytesPerCpuSecond,
    /// System calls of the proxy for a request.
    SystemCalls,
    /// Latency in microseconds, the proxy's and the direct way's together.
    P50,
    /// The same at 90 %.
    P90,
    /// The same at 99 %.
    P99,
    /// The same at 99.9 %.
    P999,
    /// The same at most.
    Max,
    /// Latency less that of the direct run of the same round, in microseconds.
    AddedP50,
    /// The same at 90 %.
    AddedP90,
    /// The same at 99 %.
    AddedP99,
    /// The same at 99.9 %.
    AddedP999,
    /// The same at most.
    AddedMax,
    /// How late the generator itself was at 99 %, in microseconds.
    Lateness,
    /// Resident memory in MB.
    Resident,
    /// Proportional memory in MB.
    Proportional,
    /// Resident memory for each idle connection, in KB.
    ConnectionMemory,
    /// From exec to the first answer, in milliseconds.
    FirstAnswer,
    /// Requests that failed.
    Errors,
    /// From when a request that failed was due to its failure, in microseconds, the middle one.
    FailedP50,
    /// The same at most.
    FailedMax,
    /// Reloads carried out.
    Reloads,
    /// Connections the generator opened.
    Connections,
    /// CPU time of the proxy for a request more than without a filter, in microseconds.
    FilterCpu,
    /// Resident memory for each further machine of a filter, in KB.
    MachineMemory,
    /// Requests answered 503 where a filter fails closed.
    Refused,
    /// Requests of a filter that fails which got anything else: no answer, or another one.
    Unanswered,
}

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// The smaller, the better.
    Less,
    /// The larger, the better.
    More,
    /// It says how, not how well.
    Neither,
}

impl Metric {
    /// Name and unit, as tables have them.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Rate => "sent, 1/s",
            Self::Throughput => "throughput, 1/s",
            Self::CpuPerRequest => "CPU a request, µs",
            Self::CpuWithOrigin => "CPU a request with the server's, µs",
            Self::Bandwidth => "bandwidth, MB/s",
            Self::BytesPerCpuSecond => "moved per CPU second, MB",
            Self::SystemCalls => "system calls a request",
            Self::P50 => "latency p50, µs",
            Self::P90 => "latency p90, µs",
            Self::P99 => "latency p99, µs",
            Self::P999 => "latency p99.9, µs",
            Self::Max => "latency max, µs",
            Self::AddedP50 => "added p50, µs",
            Self::AddedP90 => "added p90, µs",
            Self::AddedP99 => "added p99, µs",
            Self::AddedP999 => "added p99.9, µs",
            Self::AddedMax => "added max, µs",
            Self::Lateness => "generator late p99, µs",
            Self::Resident => "resident, MB",
            Self::Proportional => "proportional, MB",
            Self::ConnectionMemory => "a connection, KB",
            Self::FirstAnswer => "exec to first answer, ms",
            Self::Errors => "failed requests",
            Self::FailedP50 => "failed after, p50, µs",
            Self::FailedMax => "failed after, max, µs",
            Self::Reloads => "reloads",
            Self::Connections => "connections opened",
            Self::FilterCpu => "CPU a request that the filter adds, µs",
            Self::MachineMemory => "a further machine, KB",
            Self::Refused => "with the filter: answered 503",
            Self::Unanswered => "with the filter: failed otherwise",
        }
    }

    /// Which way it is better.
    #[must_use]
    pub fn better(self) -> Better {
        match self {
            Self::Throughput | Self::Bandwidth | Self::BytesPerCpuSecond => Better::More,
            Self::Rate | Self::Reloads | Self::Lateness | Self::Refused | Self::FailedP50 | Self::FailedMax => {
                Better::Neither
            }
            _ => Better::Less,
        }
    }

    /// Whether it is counted in whole pieces.
    #[must_use]
    pub fn is_count(self) -> bool {
        matches!(self, Self::Errors | Self::Reloads | Self::Connections | Self::Refused | Self::Unanswered)
    }

    /// The difference to the direct run that belongs to a latency.
    #[must_use]
    pub fn added(self) -> Option<Self> {
        match self {
            Self::P50 => Some(Self::AddedP50),
            Self::P90 => Some(Self::AddedP90),
            Self::P99 => Some(Self::AddedP99),
            Self::P999 => Some(Self::AddedP999),
            Self::Max => Some(Self::AddedMax),
            _ => None,
        }
    }
}

/// Figures by kind.
pub type Figures = BTreeMap<Metric, f64>;

/// One measurement of one peer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// The scenario's name.
    pub scenario: String,
    /// The step of the scenario, such as `maximum`.
    pub step: String,
    /// Who.
    pub peer: Peer,
    /// In which round, from 1.
    pub round: u32,
    /// What was measured.
    pub figures: Figures,
    /// The generator's arguments, where it took part.
    #[serde(default)]
    pub command: Vec<String>,
    /// What the generator printed.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// System calls by name, where they were counted.
    #[serde(default)]
    pub calls: Option<Calls>,
}

impl Run {
    /// Requests that failed while it was measured.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^52")]
    pub fn failed(&self) -> f64 {
        let told = self.outcome.as_ref().map_or(0, |outcome| outcome.errors.values().sum::<u64>()) as f64;
        self.figures.get(&Metric::Errors).copied().unwrap_or_default().max(told)
    }
}

/// Something to be said beside the figures: who cannot do a scenario, what failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The scenario's name.
    pub scenario: String,
    /// About whom.
    pub peer: Peer,
    /// What.
    pub text: String,
    /// Whether figures are missing for it.
    #[serde(default)]
    pub gravity: Gravity,
}

/// What a note means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gravity {
    /// It is to be known beside the figures.
    #[default]
    Remark,
    /// Figures that were asked for are missing.
    Failure,
}

/// All of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Results {
    /// What it ran on.
    pub machine: Machine,
    /// Who ran on which core.
    pub cores: String,
    /// The command line.
    pub command: String,
    /// Rounds asked for.
    pub rounds: u32,
    /// Seconds of one measurement.
    pub seconds: f64,
    /// Options that change what is measured.
    #[serde(default)]
    pub options: String,
    /// A digest of the templates that the peers' configurations are made from.
    #[serde(default)]
    pub configurations: String,
    /// Programs and their versions.
    pub versions: Vec<String>,
    /// Peers that were not there, and why.
    pub missing: Vec<String>,
    /// In the order of the run.
    pub runs: Vec<Run>,
    /// In the order of the run.
    pub notes: Vec<Note>,
}

/// Megabytes (10⁶ bytes).
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "sizes of memory are far below 2^52")]
pub fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Adds memory to figures.
pub fn add_memory(figures: &mut Figures, memory: Memory) {
    figures.insert(Metric::Resident, mb(memory.resident));
    figures.insert(Metric::Proportional, mb(memory.proportional));
}

/// The figures of a generator's run. `cpu` is the proxy's CPU time meanwhile, in nanoseconds; `rate` what was intended.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts and nanoseconds of a run are far below 2^52")]
pub fn figures(outcome: &Outcome, cpu: Option<u64>, rate: Option<f64>) -> Figures {
    let mut figures = Figures::new();
    let bytes = outcome.bytes_received.max(outcome.bytes_sent);
    if outcome.requests > 0 {
        let requests = outcome.requests as f64;
        if let Some(cpu) = cpu {
            figures.insert(Metric::CpuPerRequest, cpu as f64 / 1e3 / requests);
        }
        match rate {
            None => {
                figures.insert(Metric::Throughput, requests / outcome.elapsed_seconds);
            }
            Some(rate) => {
                let latency = &outcome.latency;
                figures.extend([
                    (Metric::Rate, rate),
                    (Metric::P50, latency.p50_us),
                    (Metric::P90, latency.p90_us),
                    (Metric::P99, latency.p99_us),
                    (Metric::P999, latency.p999_us),
                    (Metric::Max, latency.max_us),
                    (Metric::Lateness, outcome.send_delay.p99_us),
                ]);
            }
        }
    }
    // Small bodies: the requests are the figure.
    if rate.is_none() && bytes > outcome.requests.saturating_mul(4_096) {
        figures.insert(Metric::Bandwidth, mb(bytes) / outcome.elapsed_seconds);
        if let Some(cpu) = cpu.filter(|&cpu| cpu > 0) {
            figures.insert(Metric::BytesPerCpuSecond, mb(bytes) / (cpu as f64 / 1e9));
        }
    }
    let errors: u64 = outcome.errors.values().sum();
    if errors > 0 {
        figures.insert(Metric::Errors, errors as f64);
    }
    if outcome.failed_after.count > 0 {
        figures.insert(Metric::FailedP50, outcome.failed_after.p50_us);
        figures.insert(Metric::FailedMax, outcome.failed_after.max_us);
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::{Figures, Metric, figures};
    use crate::load::{Latency, Outcome};

    #[test]
    fn a_maximum_has_throughput_and_cost() {
        let outcome = Outcome { requests: 1000, elapsed_seconds: 0.5, bytes_received: 16_000, ..Outcome::default() };
        let expected = [(Metric::Throughput, 2000.0), (Metric::CpuPerRequest, 25.0)];
        assert_eq!(figures(&outcome, Some(25_000_000), None), Figures::from(expected));
    }

    #[test]
    fn a_rate_has_latencies_and_failures() {
        let latency = Latency { p50_us: 5.0, max_us: 9.0, ..Latency::default() };
        let errors = [("reset".to_owned(), 2), ("status".to_owned(), 1)].into();
        let outcome = Outcome { requests: 10, elapsed_seconds: 1.0, latency, errors, ..Outcome::default() };
        let figures = figures(&outcome, None, Some(10.0));
        assert_eq!((figures[&Metric::P50], figures[&Metric::Max], figures[&Metric::Errors]), (5.0, 9.0, 3.0));
        assert!(!figures.contains_key(&Metric::Throughput));
    }

    #[test]
    fn a_stream_has_bandwidth() {
        let outcome = Outcome { bytes_received: 3_000_000, elapsed_seconds: 0.5, ..Outcome::default() };
        let expected = [(Metric::Bandwidth, 6.0), (Metric::BytesPerCpuSecond, 12.0)];
        assert_eq!(figures(&outcome, Some(250_000_000), None), Figures::from(expected));
        assert_eq!(figures(&Outcome::default(), None, None), Figures::new());
    }
}
