//! The requests of one connection, as a machine over its bytes.

use memchr::memchr;

use super::chunked::{Chunked, Eaten};
use super::class;
use super::fault::{Fault, Refusal};
use super::layout::{self, Layout, Line, Span, Version};
use super::length::{Declared, Left};
use super::limits::Limits;
use super::section::{Bounds, Field, Next, Section};
use super::target::{Authority, Method, Target};

/// RFC 9112 3 leaves the bound to us; no registered method is longer than 17 bytes.
const MAX_METHOD: usize = 32;
/// What a request line holds beside its target: a method, two spaces, a version, CR; rounded up.
const LINE_EXTRA: usize = 64;

/// Finds every request head in a stream of bytes, says whether it is well-formed, and follows each body to the next.
///
/// Feed it with [`step`](Self::step). It keeps no bytes and never allocates.
#[derive(Clone, Debug)]
pub struct RequestFramer {
    limits: Limits,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Head(Head),
    Length { left: u64, asks: Asks },
    Chunked { body: Chunked, asks: Asks },
    Held,
    Opaque,
    Refused(Refusal),
}

/// What is known of a head that is not complete.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    section: Section,
    /// Where the request line begins: 2 after an empty line.
    start: usize,
    /// Whether a byte of the request line has been seen.
    begun: bool,
    line: Option<RequestLine>,
    host: Option<Span>,
    body: Declared,
    connection_upgrade: bool,
    upgrade: Asks,
}

#[derive(Clone, Copy, Debug)]
struct RequestLine {
    method: Method,
    version: Version,
    /// Where the target is, when it names an authority that Host must agree with.
    authority: Option<Span>,
}

/// Whether a request asks for the connection to become something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Asks {
    /// It does not.
    #[default]
    Nothing,
    /// `Upgrade: h2c` and no other protocol. Never granted, so nothing is held back: the next request may follow.
    H2c,
    /// `Connection: upgrade` with another protocol. RFC 9110 7.8.
    Upgrade,
    /// CONNECT. RFC 9110 9.3.6.
    Connect,
}

/// What the next bytes are. Lengths count from the first byte given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A whole, valid head of `len` bytes.
    Head {
        /// Bytes of the head, an empty line before it included.
        len: usize,
        /// What it asks the connection to become.
        asks: Asks,
    },
    /// `len` bytes of the current body's content.
    Body {
        /// At least 1.
        len: usize,
    },
    /// `len` bytes that frame the current body: chunk sizes, extensions, line ends.
    Framing {
        /// At least 1.
        len: usize,
    },
    /// `len` bytes of trailer section, which end the current body; the layout has its fields.
    Trailers {
        /// At least 2: the empty line.
        len: usize,
    },
    /// Nothing more can be said: an incomplete head or trailer section, or no byte at all. Give these bytes again with
    /// more behind them.
    More,
    /// Bytes behind a request that asked for an upgrade: what they are depends on its answer.
    Held,
    /// The upgrade was accepted: all bytes belong to the other protocol.
    Opaque,
}

/// Where the stream stands, for deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No byte of a head has come (an empty line does not count).
    Between,
    /// A head is incomplete.
    InHead,
    /// A body, or its section of trailers, is incomplete.
    InBody,
    /// An answer decides what follows.
    Held,
    /// It is no longer HTTP.
    Opaque,
    /// A refusal ended it.
    Refused(Refusal),
}

impl RequestFramer {
    /// A machine before the first byte of a connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits: limits.within_codec(), state: State::Head(Head::default()) }
    }

    /// Looks at `bytes`, which begin at the first byte not yet accounted for by a `len`. Where the parts of a head or of
    /// trailers lie is noted in `layout`.
    ///
    /// The sequence of heads, the bytes in bodies and the refusal do not depend on how the stream is cut.
    ///
    /// # Errors
    ///
    /// The refusal of what `bytes` begin with; it is final, and repeated ever after.
    #[inline]
    pub fn step(&mut self, bytes: &[u8], layout: &mut Layout) -> Result<Step, Refusal> {
        if bytes.is_empty() {
            return match self.state {
                State::Refused(refusal) => Err(refusal),
                State::Head(_) | State::Length { .. } | State::Chunked { .. } | State::Held | State::Opaque => {
                    Ok(Step::More)
                }
            };
        }
        let step = match &mut self.state {
            State::Head(head) => match head.read(bytes, &self.limits, layout) {
                Ok(Some(found)) => {
                    self.state = after_head(found.body, found.asks);
                    Ok(Step::Head { len: found.len, asks: found.asks })
                }
                Ok(None) => Ok(Step::More),
                Err(refusal) => Err(refusal),
            },
            State::Length { left, asks } => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= len as u64;
                if *left == 0 {
                    self.state = after_body(*asks);
                }
                Ok(Step::Body { len })
            }
            State::Chunked { body, asks } => match body.step(bytes, &self.limits, layout) {
                Ok(Eaten::Data(len)) => Ok(Step::Body { len }),
                Ok(Eaten::Framing(len)) => Ok(Step::Framing { len }),
                Ok(Eaten::Trailers(len)) => {
                    self.state = after_body(*asks);
                    Ok(Step::Trailers { len })
                }
                Ok(Eaten::None) => Ok(Step::More),
                Err(fault) => Err(Refusal::Malformed(fault)),
            },
            State::Held => Ok(Step::Held),
            State::Opaque => Ok(Step::Opaque),
            State::Refused(refusal) => Err(*refusal),
        };
        if let Err(refusal) = step {
            self.state = State::Refused(refusal);
        }
        step
    }

    /// The upgrade that [`Step::Held`] waits for was accepted: everything passes. Ignored when nothing is held.
    pub fn accept_upgrade(&mut self) {
        if matches!(self.state, State::Held) {
            self.state = State::Opaque;
        }
    }

    /// It was declined: the next request follows. Ignored when nothing is held.
    pub fn decline_upgrade(&mut self) {
        if matches!(self.state, State::Held) {
            self.state = State::Head(Head::default());
        }
    }

    /// Ends the stream for a reason that is not in its bytes, such as a deadline.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.state = State::Refused(refusal);
    }

    /// What is left of the current body.
    #[must_use]
    #[inline]
    pub fn left(&self) -> Left {
        match &self.state {
            State::Length { left, .. } => Left::Length(*left),
            State::Chunked { .. } => Left::Chunked,
            State::Head(_) | State::Held | State::Opaque | State::Refused(_) => Left::Nothing,
        }
    }

    /// Where the stream stands after the last step.
    #[must_use]
    #[inline]
    pub fn standing(&self) -> Standing {
        match self.state {
            State::Head(Head { begun: false, .. }) => Standing::Between,
            State::Head(_) => Standing::InHead,
            State::Length { .. } | State::Chunked { .. } => Standing::InBody,
            State::Held => Standing::Held,
            State::Opaque => Standing::Opaque,
            State::Refused(refusal) => Standing::Refused(refusal),
        }
    }
}

fn after_head(body: Declared, asks: Asks) -> State {
    match body {
        Declared::Nothing | Declared::Length(0) => after_body(asks),
        Declared::Length(left) => State::Length { left, asks },
        Declared::Chunked => State::Chunked { body: Chunked::new(), asks },
    }
}

fn after_body(asks: Asks) -> State {
    match asks {
        Asks::Nothing | Asks::H2c => State::Head(Head::default()),
        Asks::Upgrade | Asks::Connect => State::Held,
    }
}

/// A complete head.
struct Found {
    len: usize,
    body: Declared,
    asks: Asks,
}

impl Head {
    /// Goes on with the head that `bytes` begin with; `None` while it is incomplete.
    #[inline]
    fn read(&mut self, bytes: &[u8], limits: &Limits, layout: &mut Layout) -> Result<Option<Found>, Refusal> {
        let line = match self.line {
            Some(line) => line,
            None => match self.request_line(bytes, limits, layout)? {
                Some(line) => *self.line.insert(line),
                None => return Ok(None),
            },
        };
        let bounds = Bounds {
            end: self.start + limits.max_head_bytes as usize,
            too_large: Fault::HeadTooLarge,
            fields: limits.max_headers,
            too_many: Fault::TooManyFields,
            underscores: limits.underscores,
        };
        loop {
            match self.section.next(bytes, &bounds, layout)? {
                Next::Field(field) => self.field(field, line.version, bytes, layout)?,
                Next::End(len) => return self.conclude(line, bytes, len).map(Some),
                Next::Partial => return Ok(None),
            }
        }
    }

    fn request_line(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        layout: &mut Layout,
    ) -> Result<Option<RequestLine>, Refusal> {
        let max_line = (limits.max_target_bytes as usize + LINE_EXTRA).min(limits.max_head_bytes as usize);
        loop {
            let Some(line) = self.section.peek(bytes) else {
                let line = &bytes[self.section.at()..];
                self.begun = !matches!(line, [] | [b'\r']);
                return if line.len() > max_line { Err(Refusal::TargetTooLong) } else { Ok(None) };
            };
            let at = self.section.at();
            self.section.pass(line);
            if line.len() > max_line {
                return Err(Refusal::TargetTooLong);
            }
            match line {
                // An old client's extra line after a body; RFC 9112 2.2 asks for tolerance of one.
                [b'\r'] if at == 0 => self.start = self.section.at(),
                [b'\r'] => return Err(Refusal::EmptyLines),
                [line @ .., b'\r'] => {
                    self.begun = true;
                    return request_line(line, at, limits, layout).map(Some);
                }
                _ => return Err(Fault::BareLf.into()),
            }
        }
    }

    /// Takes in one field. The name's length rules nearly all of them out.
    #[inline(always)]
    fn field(&mut self, field: Field<'_>, version: Version, bytes: &[u8], layout: &mut Layout) -> Result<(), Refusal> {
        let Field { name, value } = field;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if self.host.is_some() {
                    return Err(Refusal::SeveralHosts);
                }
                // `value` lies within `bytes`: their distance is its place.
                let start = value.as_ptr() as usize - bytes.as_ptr() as usize;
                self.host = Some(Span::of(start..start + value.len()));
            }
            6 if name.eq_ignore_ascii_case(b"expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Refusal::UnknownExpectation);
                }
                layout.line.expects_continue = true;
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                let h2c = value.eq_ignore_ascii_case(b"h2c") && self.upgrade != Asks::Upgrade;
                self.upgrade = if h2c { Asks::H2c } else { Asks::Upgrade };
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for option in layout::options(value) {
                    self.connection_upgrade |= option.eq_ignore_ascii_case(b"upgrade");
                    layout.connection_option(option);
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.body.length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.body.encoding(value, version)?,
            _ => {}
        }
        Ok(())
    }

    /// Judges what only the whole head tells.
    #[inline]
    fn conclude(&self, line: RequestLine, bytes: &[u8], len: usize) -> Result<Found, Refusal> {
        let host = match self.host {
            Some(span) => Some(Authority::read(&bytes[span.range()]).ok_or(Refusal::BadHost)?),
            None if line.version == Version::Http11 => return Err(Refusal::MissingHost),
            None => None,
        };
        if let (Some(target), Some(host)) = (line.authority, host) {
            Target::read(line.method, &bytes[target.range()])?.agree(host)?;
        }
        if matches!(line.method, Method::Connect | Method::Trace)
            && !matches!(self.body, Declared::Nothing | Declared::Length(0))
        {
            return Err(Refusal::BodyNotAllowed);
        }
        let asks = match (line.method, line.version) {
            (Method::Connect, _) => Asks::Connect,
            // RFC 9110 7.8: Upgrade in an HTTP/1.0 request is ignored.
            (Method::Options | Method::Trace | Method::Other, Version::Http11) if self.connection_upgrade => {
                self.upgrade
            }
            (Method::Options | Method::Trace | Method::Other, Version::Http10 | Version::Http11) => Asks::Nothing,
        };
        Ok(Found { len, body: self.body, asks })
    }
}

/// Reads `method SP target SP version`, the line's own place being `at`.
#[inline]
fn request_line(line: &[u8], at: usize, limits: &Limits, layout: &mut Layout) -> Result<RequestLine, Refusal> {
    let method_end = class::span(line, class::TOKEN);
    if memchr(b'\r', line).is_some() {
        return Err(Fault::BareCr.into());
    }
    if method_end == 0 || line.get(method_end) != Some(&b' ') {
        return Err(Refusal::BadMethod);
    }
    if method_end > MAX_METHOD {
        return Err(Refusal::MethodTooLong);
    }
    let rest = &line[method_end + 1..];
    let target_len = memchr(b' ', rest).ok_or(Refusal::BadRequestLine)?;
    let version = Version::read(&rest[target_len + 1..]).ok_or(Refusal::BadRequestLine)??;
    if target_len > limits.max_target_bytes as usize {
        return Err(Refusal::TargetTooLong);
    }
    let target = &rest[..target_len];
    let method = Method::read(&line[..method_end]);
    let start = at + method_end + 1;
    let authority = match Target::read(method, target)? {
        Target::Local => None,
        Target::Absolute(..) | Target::Tunnel(_) => Some(Span::of(start..start + target_len)),
    };
    layout.begin(Line {
        method: Span::of(at..at + method_end),
        target: Span::of(start..start + target_len),
        version,
        ..Line::default()
    });
    Ok(RequestLine { method, version, authority })
}
