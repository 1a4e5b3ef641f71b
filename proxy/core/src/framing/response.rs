//! The responses of one connection, as a machine over its bytes.

use super::chunked::{Chunked, Eaten};
use super::class;
use super::fault::{Fault, Violation};
use super::layout::{self, Layout, Line, Version};
use super::length::{Declared, Left};
use super::limits::Limits;
use super::section::{Bounds, Field, Next, Section};

/// The longest status line: a reason phrase is for people, and nobody reads it.
const MAX_STATUS_LINE: usize = 1024;

/// Finds every response head in a stream of bytes, says whether it is well-formed, and follows each body to its end.
///
/// Tell it of each request with [`expect`](Self::expect) before the request is sent, feed it with
/// [`step`](Self::step). It keeps no bytes and never allocates.
#[derive(Clone, Debug)]
pub struct ResponseFramer {
    limits: Limits,
    state: State,
    request: Expected,
    interim: u8,
}

/// What a request makes its response mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expected {
    /// An ordinary response.
    #[default]
    Plain,
    /// HEAD: never a body.
    Head,
    /// CONNECT: a tunnel after 2xx.
    Connect,
    /// An upgrade was asked for: 101 may come.
    Upgrade,
}

#[derive(Clone, Debug)]
enum State {
    Idle,
    Head(Head),
    Length { left: u64 },
    Chunked(Chunked),
    UntilClose,
    Opaque,
    Refused(Violation),
}

#[derive(Clone, Copy, Debug, Default)]
struct Head {
    section: Section,
    line: Option<StatusLine>,
    body: Declared,
}

#[derive(Clone, Copy, Debug)]
struct StatusLine {
    version: Version,
    status: u16,
}

/// What the next bytes are. Lengths count from the first byte given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A whole, valid head of `len` bytes.
    Head {
        /// Bytes of the head.
        len: usize,
        /// Its status.
        status: u16,
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
    /// The connection has become something else: all bytes belong to that.
    Opaque,
}

/// Where the stream of responses stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// No request is outstanding.
    Idle,
    /// The head of the response is awaited.
    InHead,
    /// Its body is.
    InBody,
    /// It is no longer HTTP.
    Opaque,
    /// A violation ended it.
    Refused(Violation),
}

impl ResponseFramer {
    /// A machine before the first request of a connection: any byte is unsolicited.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits: limits.within_codec(), state: State::Idle, request: Expected::Plain, interim: 0 }
    }

    /// A request is about to be sent. The response before must have ended: on a connection where it has not, this ends
    /// the stream, since the two could not be told apart.
    pub fn expect(&mut self, request: Expected) {
        self.state = match self.state {
            State::Idle => State::Head(Head::default()),
            State::Refused(violation) => State::Refused(violation),
            State::Head(_) | State::Length { .. } | State::Chunked(_) | State::UntilClose | State::Opaque => {
                State::Refused(Violation::Unsolicited)
            }
        };
        self.request = request;
        self.interim = 0;
    }

    /// Looks at `bytes`, which begin at the first byte not yet accounted for by a `len`. Where the parts of a head or of
    /// trailers lie is noted in `layout`.
    ///
    /// The sequence of heads, the bytes in bodies and the violation do not depend on how the stream is cut.
    ///
    /// # Errors
    ///
    /// The violation that `bytes` begin with; it is final, and repeated ever after.
    #[inline]
    pub fn step(&mut self, bytes: &[u8], layout: &mut Layout) -> Result<Part, Violation> {
        if bytes.is_empty() {
            return match self.state {
                State::Refused(violation) => Err(violation),
                State::Idle
                | State::Head(_)
                | State::Length { .. }
                | State::Chunked(_)
                | State::UntilClose
                | State::Opaque => Ok(Part::More),
            };
        }
        let part = match &mut self.state {
            State::Idle => Err(Violation::Unsolicited),
            State::Head(head) => match head.read(bytes, &self.limits, layout) {
                Ok(Some((line, len))) => {
                    let body = head.body;
                    self.after_head(line, body).map(|()| Part::Head { len, status: line.status })
                }
                Ok(None) => Ok(Part::More),
                Err(violation) => Err(violation),
            },
            State::Length { left } => {
                let len = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= len as u64;
                if *left == 0 {
                    self.state = State::Idle;
                }
                Ok(Part::Body { len })
            }
            State::Chunked(body) => match body.step(bytes, &self.limits, layout) {
                Ok(Eaten::Data(len)) => Ok(Part::Body { len }),
                Ok(Eaten::Framing(len)) => Ok(Part::Framing { len }),
                Ok(Eaten::Trailers(len)) => {
                    self.state = State::Idle;
                    Ok(Part::Trailers { len })
                }
                Ok(Eaten::None) => Ok(Part::More),
                Err(fault) => Err(Violation::Malformed(fault)),
            },
            State::UntilClose => Ok(Part::Body { len: bytes.len() }),
            State::Opaque => Ok(Part::Opaque),
            State::Refused(violation) => Err(*violation),
        };
        if let Err(violation) = part {
            self.state = State::Refused(violation);
        }
        part
    }

    /// Ends the stream for a reason that is not in its bytes.
    pub fn refuse(&mut self, violation: Violation) {
        self.state = State::Refused(violation);
    }

    /// What is left of the current body.
    #[must_use]
    #[inline]
    pub fn left(&self) -> Left {
        match &self.state {
            State::Length { left } => Left::Length(*left),
            State::Chunked(_) => Left::Chunked,
            State::UntilClose => Left::UntilClose,
            State::Idle | State::Head(_) | State::Opaque | State::Refused(_) => Left::Nothing,
        }
    }

    /// Where the stream stands after the last step.
    #[must_use]
    #[inline]
    pub fn progress(&self) -> Progress {
        match self.state {
            State::Idle => Progress::Idle,
            State::Head(_) => Progress::InHead,
            State::Length { .. } | State::Chunked(_) | State::UntilClose => Progress::InBody,
            State::Opaque => Progress::Opaque,
            State::Refused(violation) => Progress::Refused(violation),
        }
    }

    /// RFC 9112 6.3, without the cases that a refusal took away.
    fn after_head(&mut self, line: StatusLine, body: Declared) -> Result<(), Violation> {
        let empty = matches!(body, Declared::Nothing | Declared::Length(0));
        self.state = match (line.status, self.request) {
            (101, Expected::Upgrade) if empty => State::Opaque,
            (101, Expected::Plain | Expected::Head | Expected::Connect) => {
                return Err(Violation::UnaskedUpgrade);
            }
            (100..=199 | 204, _) if !empty => return Err(Violation::BodyNotAllowed),
            (100..=199, _) => {
                self.interim += 1;
                if self.interim > self.limits.max_interim {
                    return Err(Violation::TooManyInterim);
                }
                State::Head(Head::default())
            }
            (200..=299, Expected::Connect) if empty => State::Opaque,
            (200..=299, Expected::Connect) => return Err(Violation::BodyNotAllowed),
            (204 | 304, _) | (_, Expected::Head) => State::Idle,
            (_, Expected::Plain | Expected::Connect | Expected::Upgrade) => match body {
                Declared::Length(0) => State::Idle,
                Declared::Length(left) => State::Length { left },
                Declared::Chunked => State::Chunked(Chunked::new()),
                Declared::Nothing => State::UntilClose,
            },
        };
        Ok(())
    }
}

impl Head {
    /// Goes on with the head that `bytes` begin with; `None` while it is incomplete.
    #[inline]
    fn read(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        layout: &mut Layout,
    ) -> Result<Option<(StatusLine, usize)>, Violation> {
        let line = match self.line {
            Some(line) => line,
            None => match self.status_line(bytes)? {
                Some(line) => {
                    let StatusLine { version, status } = line;
                    layout.begin(Line { version, status, ..Line::default() });
                    *self.line.insert(line)
                }
                None => return Ok(None),
            },
        };
        let bounds = Bounds {
            end: limits.max_head_bytes as usize,
            too_large: Fault::HeadTooLarge,
            fields: limits.max_headers,
            too_many: Fault::TooManyFields,
            underscores: limits.underscores,
        };
        loop {
            match self.section.next(bytes, &bounds, layout)? {
                Next::Field(Field { name, value }) => match name.len() {
                    10 if name.eq_ignore_ascii_case(b"connection") => {
                        layout::options(value).for_each(|option| layout.connection_option(option));
                    }
                    14 if name.eq_ignore_ascii_case(b"content-length") => self.body.length(value)?,
                    17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.body.encoding(value, line.version)?,
                    _ => {}
                },
                Next::End(len) => return Ok(Some((line, len))),
                Next::Partial => return Ok(None),
            }
        }
    }

    fn status_line(&mut self, bytes: &[u8]) -> Result<Option<StatusLine>, Violation> {
        let Some(line) = self.section.peek(bytes) else {
            return if bytes.len() > MAX_STATUS_LINE { Err(Violation::BadStatusLine) } else { Ok(None) };
        };
        self.section.pass(line);
        if line.len() > MAX_STATUS_LINE {
            return Err(Violation::BadStatusLine);
        }
        let [line @ .., b'\r'] = line else {
            return Err(Fault::BareLf.into());
        };
        status_line(line).map(Some)
    }
}

/// Reads `version SP 3digits [SP reason]`; many servers leave out the second space with the reason.
fn status_line(line: &[u8]) -> Result<StatusLine, Violation> {
    let (version, rest) = line.split_at_checked(8).ok_or(Violation::BadStatusLine)?;
    let version = Version::read(version).ok_or(Violation::BadStatusLine)??;
    let [b' ', a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', reason @ ..] = rest else {
        return Err(Violation::BadStatusLine);
    };
    match reason {
        [] => {}
        [b' ', text @ ..] if class::is_field_value(text) => {}
        [b' ', text @ ..] if memchr::memchr(b'\r', text).is_some() => {
            return Err(Fault::BareCr.into());
        }
        [b' ', ..] => return Err(Fault::ControlByte.into()),
        _ => return Err(Violation::BadStatusLine),
    }
    let digit = |byte: u8| u16::from(byte - b'0');
    Ok(StatusLine { version, status: digit(*a) * 100 + digit(*b) * 10 + digit(*c) })
}
