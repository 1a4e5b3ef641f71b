//! The writer thread: takes what is pending and writes it. A full disk or a closed pipe costs records, not the proxy.

use super::{
    queue::{Queue, Task},
    sink::Sink,
};

/// Runs until the queue is closed and empty.
pub(super) fn run(queue: &Queue, mut sink: Sink) {
    let mut batch = Vec::new();
    let mut health = Health::Good;
    while let Task::Write { records, reopen } = queue.take(&mut batch) {
        if reopen && let Err(error) = sink.reopen() {
            tracing::warn!(%error, "access log cannot be opened anew; the old file stays in use");
        }
        let (written, outcome) = sink.write(&batch);
        let lost = if outcome.is_ok() { 0 } else { records.saturating_sub(written) };
        health = health.after(outcome);
        queue.metrics().written(records - lost);
        queue.metrics().write_failed(lost);
        queue.settle(records);
    }
}

/// Says once that writing fails, and once that it works again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    Failing,
}

impl Health {
    fn after(self, outcome: std::io::Result<()>) -> Self {
        match (self, outcome) {
            (Self::Good, Err(error)) => {
                tracing::warn!(%error, "access log cannot be written; records are lost and counted");
                Self::Failing
            }
            (Self::Failing, Ok(())) => {
                tracing::warn!("access log is written again");
                Self::Good
            }
            (health, _) => health,
        }
    }
}
