//! [`Layout`]: where the parts of a head lie, noted while the head is judged, so that nobody reads it a second time.

use std::{cell::Cell, ops::Range};

/// The protocol version of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// Where the parts of a head or a trailer section lie, counted from the first byte given to `step`, and what the head
/// says of its connection. Complete once `step` has given the whole head or section; until the next one begins.
///
/// Give a machine the same layout from a head's first byte to its last.
#[derive(Debug, Default)]
pub struct Layout {
    pub(super) line: Line,
    connection: Connection,
    fields: Vec<FieldAt>,
}

/// The parts of a first line. A request has no status, a response no method and no target.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    pub(super) method: Span,
    pub(super) target: Span,
    pub(super) status: u16,
    pub(super) version: Version,
    pub(super) expects_continue: bool,
}

/// A place in a head. Heads are at most 256 KiB long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

/// Where one field lies, its value trimmed.
#[derive(Clone, Copy, Debug)]
pub struct FieldAt {
    start: u32,
    name_len: u16,
    value: Span,
}

/// What the options of all Connection fields say of the connection itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Connection {
    #[default]
    Nothing,
    KeepAlive,
    Close,
}

/// Whether a message leaves its connection open for another (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Another message may follow.
    Keep,
    /// It is the last.
    Close,
}

/// Fields a layout kept for the next user may have room for: a head at the default limit.
const MOST_KEPT: usize = 128;

thread_local! {
    /// One table of places for all heads of a thread: nearly every head is whole when it is first looked at.
    static SPARE: Cell<Vec<FieldAt>> = const { Cell::new(Vec::new()) };
}

impl Layout {
    /// A layout with the room of the one last [given back](Self::give_back) on this thread.
    #[must_use]
    pub fn lent() -> Self {
        Self { fields: SPARE.take(), ..Self::default() }
    }

    /// Holds no memory any more; the next [`lent`](Self::lent) has it. What was noted is forgotten.
    pub fn give_back(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        if (1..=MOST_KEPT).contains(&fields.capacity()) {
            fields.clear();
            SPARE.set(fields);
        }
    }

    /// Where a request's method is.
    #[must_use]
    pub fn method(&self) -> Range<usize> {
        self.line.method.range()
    }

    /// Where a request's target is.
    #[must_use]
    pub fn target(&self) -> Range<usize> {
        self.line.target.range()
    }

    /// A response's status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.line.status
    }

    /// The message's version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.line.version
    }

    /// The fields, in their order.
    #[must_use]
    pub fn fields(&self) -> &[FieldAt] {
        &self.fields
    }

    /// Whether the message leaves the connection open. RFC 9112 §9.3: HTTP/1.1 does unless it says `close`, HTTP/1.0 does
    /// if it says `keep-alive`.
    #[must_use]
    pub fn persistence(&self) -> Persistence {
        match (self.connection, self.line.version) {
            (Connection::Nothing | Connection::KeepAlive, Version::Http11)
            | (Connection::KeepAlive, Version::Http10) => Persistence::Keep,
            (Connection::Close, _) | (Connection::Nothing, Version::Http10) => Persistence::Close,
        }
    }

    /// Whether a request says `Expect: 100-continue`.
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.line.expects_continue
    }

    /// A first line has been read: a new head begins.
    #[inline(always)]
    pub(super) fn begin(&mut self, line: Line) {
        self.line = line;
        self.connection = Connection::Nothing;
        self.fields.clear();
    }

    /// A trailer section begins.
    pub(super) fn begin_section(&mut self) {
        self.fields.clear();
    }

    /// A field line of `name_len` bytes of name begins at `start`; its value lies at `value`.
    #[inline(always)]
    pub(super) fn field(&mut self, start: usize, name_len: usize, value: Range<usize>) {
        // A name is at most 256 bytes long, a head at most 256 KiB.
        self.fields.push(FieldAt { start: start as u32, name_len: name_len as u16, value: Span::of(value) });
    }

    /// One option of a Connection field.
    #[inline]
    pub(super) fn connection_option(&mut self, option: &[u8]) {
        if option.eq_ignore_ascii_case(b"close") {
            self.connection = Connection::Close;
        } else if option.eq_ignore_ascii_case(b"keep-alive") && self.connection == Connection::Nothing {
            self.connection = Connection::KeepAlive;
        }
    }
}

impl FieldAt {
    /// Where its name is.
    #[must_use]
    #[inline]
    pub fn name(&self) -> Range<usize> {
        self.start as usize..self.start as usize + usize::from(self.name_len)
    }

    /// Where its value is, without the space around it.
    #[must_use]
    #[inline]
    pub fn value(&self) -> Range<usize> {
        self.value.range()
    }
}

impl Span {
    #[inline(always)]
    pub(super) fn of(range: Range<usize>) -> Self {
        Self { start: range.start as u32, end: range.end as u32 }
    }

    #[inline(always)]
    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The options of a Connection field's value (RFC 9110 §7.6.1).
#[inline]
pub(super) fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(super::class::trim)
}
