//! What a listener asks of its HTTP/2 connections.
//!
//! Beside the path: read once for each connection. Nothing of it changes while one lives but the window (`downstream/windows.rs`).

use crate::downstream::{
    guard::http2::{FrameLimits, MAX_FRAME_SIZE},
    windows::Window,
};
use h2::server::Builder;
use pillion_config::model::{Http, HttpLimits, HttpTimeouts};
use std::rc::Rc;

/// A listener's settings. Built once for a listener and worker.
pub struct Settings {
    pub(super) builder: Builder,
    /// Of a stream; of a connection at most; and with what its streams hold that nobody takes.
    pub(super) windows: (u32, u32, u32),
    pub(super) frames: Rc<FrameLimits>,
    pub(super) limits: HttpLimits,
    pub(super) timeouts: HttpTimeouts,
}

/// Response bytes that h2 holds for one stream while the connection's socket is busy: a few frames keep it busy, and
/// the product with the streams of a connection is what a peer that reads nothing can make us hold, until memory is short (`guard/http2/unread.rs`).
const SEND_BUFFER: usize = 64 * 1024;

/// What h2's own default never goes below: a hundred small DATA frames.
const SMALLEST_BUDGET: u32 = 25_600;

/// What small DATA frames may cost in any case that the connection's window allows: what nobody asks for. Whoever waits takes them out of
/// h2 (`io/received.rs`).
const USUAL_BUDGET: u32 = 1024 * 1024;

/// What DATA frames of less than 256 bytes may lack of it, together, while they wait; beyond it h2 ends the connection. It holds
/// 800 to 1,200 bytes for a frame, so that with a sixth of the window they make us hold no more than large ones do; the whole of one
/// of common size, since gRPC streams of small messages have slow consumers.
fn data_frame_budget(connection_window: u32) -> usize {
    (connection_window / 6).max(connection_window.min(USUAL_BUDGET)).max(SMALLEST_BUDGET) as usize
}

/// Streams that h2 remembers for a second after we reset them, so that what the client had sent already is ignored
/// (RFC 9113 §5.4.2). So many uploads that are refused in a second, some hundred bytes for each.
const REMEMBERED_RESETS: usize = 500;

impl Settings {
    /// From a listener's model.
    #[must_use]
    pub fn new(http: &Http) -> Self {
        // h2 answers a list over its own limit by itself, with no record; over four times that it ends the
        // connection. With twice ours there, what an honest client may send by mistake is refused by `check`.
        let header_list = http.limits.header_bytes.saturating_mul(2);
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(http.http2.streams)
            .initial_window_size(http.http2.stream_window)
            .initial_connection_window_size(Window::first(http.http2.stream_window, http.http2.connection_window))
            .max_frame_size(MAX_FRAME_SIZE)
            .max_header_list_size(header_list)
            .max_send_buffer_size(SEND_BUFFER)
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            // All frames at hand are read before a stream is accepted, so cancelling a batch is honest. The guard
            // counts resets, and bounds what one turn reads.
            .max_pending_accept_reset_streams(http.http2.resets as usize)
            // h2 counts over the life of a connection; the guard counts what we send, in windows.
            .max_local_error_reset_streams(None)
            .data_frame_budget(data_frame_budget(http.http2.connection_window))
            .enable_connect_protocol();
        Self {
            builder,
            windows: (http.http2.stream_window, http.http2.connection_window, http.http2.connection_most),
            frames: Rc::new(FrameLimits::new(&http.http2, &http.limits, header_list)),
            limits: http.limits.clone(),
            timeouts: http.timeouts.clone(),
        }
    }
}
