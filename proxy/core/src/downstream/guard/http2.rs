//! The guard over an HTTP/2 connection: counts what a peer may flood us with and names what it broke.
//!
//! ```text
//!  socket ─► FrameGuarded::poll_read ─► FrameGuard (frame headers only) ─► h2 ─► codec
//!  socket ◄─ FrameGuarded::poll_write ◄─ SentFrames (RST_STREAM, DATA)  ◄─ h2 ◄─ codec
//!                       └────────────── Watch ──────────────┘ the connection loop reads the verdict here
//! ```
//!
//! The h2 crate speaks the protocol; it has no bound for most control frames, no deadline for a header block, and
//! answers some errors with another code than RFC 9113 asks for. This stands in front of it. It follows the 9-byte
//! frame headers of both directions, keeps the header blocks of the last read, and reads a clock only when a counter
//! reaches its limit. After a breach it lets nothing more through, and the connection loop (`codec::http2`) says GOAWAY
//! with the breach's code. What h2 holds for a client that does not read counts as what it has not finished does ([`Unread`]). It looks into a header block only after h2 ended the connection over one, and changes a
//! single byte then: the code of that GOAWAY, if the block cannot be decoded.

mod blocks;
mod frames;
pub(crate) mod head;
mod hpack;
mod huffman;
mod sent;
mod shell;
mod streams;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed assertion is what a test is for")]
mod tests;
mod unread;

pub use frames::{FrameGuard, Stopped};
pub use sent::{Credit, SentFrames};
pub use shell::{FrameGuarded, PROTOCOL, Watch};
pub use unread::Unread;

use h2::Reason;
use pillion_config::model::{Http2, HttpLimits};
use std::time::Duration;

/// What a peer did that ends its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Breach {
    /// Too many RST_STREAM in a window (CVE-2023-44487).
    ResetsReceived,
    /// Too many streams reset by us for the peer's errors in a window (CVE-2025-8671).
    ResetsSent,
    /// Too many PING in a window.
    Pings,
    /// Too many SETTINGS in a window.
    Settings,
    /// Too many PRIORITY, GOAWAY and unknown frames in a window.
    Priorities,
    /// Too many DATA frames without data and without END_STREAM in a window.
    EmptyData,
    /// Too many WINDOW_UPDATE in a window, beyond twice the DATA frames sent.
    WindowUpdates,
    /// Too many CONTINUATION in one header block (CVE-2024-30255).
    Continuations,
    /// Too many bytes of one header block, as compressed.
    HeaderBlockBytes,
    /// The preface and the first SETTINGS did not come in time.
    HandshakeTimeout,
    /// A header block, or a frame other than DATA, did not end in time.
    HeaderTimeout,
    /// The peer took no byte of what waits for it in time.
    WriteTimeout,
    /// Memory is short, and the header block that has not ended, or what the peer does not read, is among the largest things that wait for
    /// a client.
    ShortMemory,
    /// A frame longer than SETTINGS_MAX_FRAME_SIZE, or of a length its type does not have (RFC 9113 §4.2, §6).
    FrameSize,
    /// The first frame was not SETTINGS (RFC 9113 §3.4).
    FirstFrame,
    /// A client sent PUSH_PROMISE (RFC 9113 §8.4).
    PushPromise,
    /// SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1 (RFC 9113 §6.5.2).
    InitialWindow,
    /// HEADERS that depends on its own stream (RFC 7540 §5.3.1). h2 would skip the header block and lose HPACK state.
    SelfDependency,
    /// Trailers that begin with a pseudo-header field (RFC 9113 §8.1), which h2 drops silently.
    TrailerPseudo,
    /// DATA or HEADERS on a stream that the client has ended, or HEADERS on one it has reset (RFC 9113 §5.1).
    StreamClosed,
}

impl Breach {
    /// All of them, in the order of [`Breach::index`].
    pub const ALL: [Self; 20] = [
        Self::ResetsReceived,
        Self::ResetsSent,
        Self::Pings,
        Self::Settings,
        Self::Priorities,
        Self::EmptyData,
        Self::WindowUpdates,
        Self::Continuations,
        Self::HeaderBlockBytes,
        Self::HandshakeTimeout,
        Self::HeaderTimeout,
        Self::WriteTimeout,
        Self::ShortMemory,
        Self::FrameSize,
        Self::FirstFrame,
        Self::PushPromise,
        Self::InitialWindow,
        Self::SelfDependency,
        Self::TrailerPseudo,
        Self::StreamClosed,
    ];

    /// Its place in [`Breach::ALL`], for a table of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// A stable name, the label of its counter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ResetsReceived => "resets_received",
            Self::ResetsSent => "resets_sent",
            Self::Pings => "pings",
            Self::Settings => "settings",
            Self::Priorities => "priorities",
            Self::EmptyData => "empty_data",
            Self::WindowUpdates => "window_updates",
            Self::Continuations => "continuations",
            Self::HeaderBlockBytes => "header_block_bytes",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HeaderTimeout => "header_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::ShortMemory => "short_memory",
            Self::FrameSize => "frame_size",
            Self::FirstFrame => "first_frame",
            Self::PushPromise => "push_promise",
            Self::InitialWindow => "initial_window",
            Self::SelfDependency => "self_dependency",
            Self::TrailerPseudo => "trailer_pseudo",
            Self::StreamClosed => "stream_closed",
        }
    }

    /// The error code of the GOAWAY that answers it (RFC 9113 §7).
    #[must_use]
    pub const fn code(self) -> Reason {
        match self {
            Self::ResetsReceived
            | Self::ResetsSent
            | Self::Pings
            | Self::Settings
            | Self::Priorities
            | Self::EmptyData
            | Self::WindowUpdates
            | Self::Continuations
            | Self::HeaderBlockBytes
            | Self::HandshakeTimeout
            | Self::HeaderTimeout
            | Self::WriteTimeout
            | Self::ShortMemory => Reason::ENHANCE_YOUR_CALM,
            Self::FrameSize => Reason::FRAME_SIZE_ERROR,
            Self::StreamClosed => Reason::STREAM_CLOSED,
            Self::InitialWindow => Reason::FLOW_CONTROL_ERROR,
            Self::FirstFrame | Self::PushPromise | Self::SelfDependency | Self::TrailerPseudo => Reason::PROTOCOL_ERROR,
        }
    }
}

/// How much of each frame is borne. Built once for a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameLimits {
    /// The period over which the counts below hold.
    pub window: Duration,
    /// RST_STREAM received beyond one for each answer that began.
    pub resets: u32,
    /// Streams reset by us for the peer's errors.
    pub reset_by_us: u32,
    /// PING received beyond those that DATA sent has earned and those that answer ours.
    pub pings: u32,
    /// SETTINGS received beyond those that acknowledge ours.
    pub settings: u32,
    /// DATA without data and without END_STREAM.
    pub empty_data: u32,
    /// WINDOW_UPDATE beyond those that DATA sent has earned.
    pub window_updates: u32,
    /// PRIORITY, GOAWAY and unknown frames.
    pub priorities: u32,
    /// CONTINUATION in one header block.
    pub continuations: u32,
    /// Bytes of one header block as compressed, with padding.
    pub block_bytes: u32,
    /// Bytes of one frame's payload: our SETTINGS_MAX_FRAME_SIZE.
    pub frame_bytes: u32,
}

/// SETTINGS_MAX_FRAME_SIZE that we announce: the smallest there is (RFC 9113 §6.5.2), since larger frames would let
/// one stream hold the connection longer and save nothing.
pub const MAX_FRAME_SIZE: u32 = 16_384;

impl FrameLimits {
    /// The limits of a listener. `header_list` is the SETTINGS_MAX_HEADER_LIST_SIZE given to h2.
    #[must_use]
    pub fn new(http2: &Http2, limits: &HttpLimits, header_list: u32) -> Self {
        // h2 bears this many CONTINUATION without END_HEADERS and one with it, whatever the configuration says;
        // with the smaller of both the counter that names the breach is ours.
        let frames = (header_list / MAX_FRAME_SIZE).max(1);
        let borne_by_h2 = (frames + (frames >> 2)).max(5);
        Self {
            window: http2.flood_window,
            resets: http2.resets,
            reset_by_us: http2.reset_by_us,
            pings: http2.pings,
            settings: http2.settings,
            empty_data: http2.empty_data,
            window_updates: http2.window_updates,
            priorities: http2.priorities,
            continuations: http2.continuations.min(borne_by_h2),
            // Compression makes a block smaller, but for Huffman-coded rarities and padding.
            block_bytes: limits.header_bytes.saturating_mul(2).max(2 * MAX_FRAME_SIZE),
            frame_bytes: MAX_FRAME_SIZE,
        }
    }
}

/// One kind of event, counted over a window. Any span as long as the window sees less than twice the limit.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    count: u32,
    /// Milliseconds of the guard's clock at which counting began.
    since: u32,
}

/// Whether one more is borne.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    Borne,
    Exceeded,
}

impl Window {
    /// Counts one. `clock` gives milliseconds since the connection began, and is read only at the limit.
    #[inline]
    fn count(&mut self, limit: u32, window: Duration, clock: impl FnOnce() -> u32) -> Counted {
        if self.count < limit {
            self.count += 1;
            return Counted::Borne;
        }
        self.start_again(limit, window, clock())
    }

    #[cold]
    fn start_again(&mut self, limit: u32, window: Duration, now: u32) -> Counted {
        let elapsed = u128::from(now.wrapping_sub(self.since));
        if limit == 0 || elapsed < window.as_millis() {
            return Counted::Exceeded;
        }
        *self = Self { count: 1, since: now };
        Counted::Borne
    }
}
