//! The access log: one line for each request, written off the data path.
//!
//! ```text
//!  worker: Record dropped ─► Logger: format into a reused buffer ─► append to the pending buffer (bounded, locked
//!                                                                    for a copy) or drop and count
//!  writer thread: swap the pending buffer for an empty one ─► one write(2) for all records of it
//! ```
//!
//! A worker never waits for the disk or the reader of a pipe: when the writer is behind, records are dropped and
//! counted. Made only when configured.

mod capture;
mod escape;
mod format;
mod queue;
mod sink;
mod writer;

#[cfg(test)]
pub(in crate::telemetry) mod tests;

pub(in crate::telemetry) use capture::Captured;

use super::Record;
use format::Format;
use http::request;
use pillion_config::model::{AccessLog, Scheme};
use queue::Queue;
use sink::Sink;
use std::{cell::RefCell, fmt, io, path::PathBuf, sync::Arc, thread, time::Duration};

/// Largest scratch buffer that a worker keeps between records.
const SCRATCH_BYTES: usize = 16 << 10;

/// An access log in operation. Clones are the same log. When the last clone and the last [`Logger`] are gone, the
/// writer writes what is left and ends.
#[derive(Clone)]
pub struct AccessLogHandle {
    logger: Logger,
}

/// A worker's end of an access log. Shared by listeners and workers; clones are the same log.
#[derive(Clone)]
pub struct Logger {
    format: Arc<Format>,
    /// Shared by workers and the writer thread: the bounded hand-over between them.
    queue: Arc<Producer>,
}

/// Why an access log cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum AccessLogError {
    /// Its file cannot be opened for appending.
    #[error("access log {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// Standard output cannot be used.
    #[error("access log to standard output: {0}")]
    Stdout(io::Error),
    /// Its thread cannot be made.
    #[error("access log thread: {0}")]
    Thread(io::Error),
}

/// Whether everything was written in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flushed {
    /// Every record handed over before the call was written or, where that failed, counted as dropped.
    All,
    /// Time was up first.
    TimedOut,
}

impl AccessLogHandle {
    /// Opens the destination, compiles the format and starts the writer thread.
    ///
    /// # Errors
    /// When the destination cannot be opened or the thread cannot be made.
    pub fn open(config: &AccessLog) -> Result<Self, AccessLogError> {
        Self::start(config, Sink::open(&config.destination)?)
    }

    fn start(config: &AccessLog, sink: Sink) -> Result<Self, AccessLogError> {
        let queue = Arc::new(Queue::new(config.queue));
        let writers_end = queue.clone();
        thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer::run(&writers_end, sink))
            .map_err(AccessLogError::Thread)?;
        let format = Arc::new(Format::compile(&config.format));
        Ok(Self { logger: Logger { format, queue: Arc::new(Producer(queue)) } })
    }

    /// An end to write with, for [`ListenerTelemetry`](super::ListenerTelemetry).
    #[must_use]
    pub fn logger(&self) -> Logger {
        self.logger.clone()
    }

    /// Opens the file anew before the next write, after it was moved away (SIGUSR1). Returns at once; when the new
    /// file cannot be opened the old one stays in use and a warning says so. Nothing for standard output.
    pub fn reopen(&self) {
        self.logger.queue.0.reopen();
    }

    /// Waits until what was handed over is written, at most so long. Blocks the thread: for the control thread's end.
    pub fn flush(&self, within: Duration) -> Flushed {
        self.logger.queue.0.flush(within)
    }
}

impl fmt::Debug for AccessLogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessLogHandle")
    }
}

impl Logger {
    /// What the format needs of a request's head.
    pub(super) fn capture(&self, head: &request::Parts, scheme: Scheme) -> Box<Captured> {
        Box::new(Captured::begin(&self.format, head, scheme))
    }

    /// For what has no head.
    pub(super) fn capture_nothing(&self) -> Box<Captured> {
        Box::new(Captured::nothing(&self.format))
    }

    pub(super) fn format(&self) -> &Format {
        &self.format
    }

    /// Writes the line of a request that is over.
    pub(super) fn write(&self, record: &Record, captured: &Captured, duration: Duration) {
        thread_local! {
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        SCRATCH.with_borrow_mut(|line| {
            line.clear();
            self.format.write(record, captured, duration, line);
            self.queue.0.push(line);
            if line.capacity() > SCRATCH_BYTES {
                *line = Vec::new();
            }
        });
    }
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Logger")
    }
}

/// The workers' share of a queue: when it goes, no more records come.
struct Producer(Arc<Queue>);

impl Drop for Producer {
    fn drop(&mut self) {
        self.0.close();
    }
}
