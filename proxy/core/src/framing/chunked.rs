//! The chunked coding, RFC 9112 7.1: followed byte by byte, its data skipped in one step.
//!
//! It tells content from what frames it; at a fault it has eaten everything before the faulty byte and nothing after.

use super::class;
use super::fault::Fault;
use super::layout::Layout;
use super::length;
use super::limits::Limits;
use super::section::{Bounds, Next, Section};

/// Where in a chunked body the stream stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunked {
    state: State,
    /// Bytes of chunk extensions in this body so far.
    extensions: u32,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Size { value: u64, digits: u8 },
    Extension { value: u64, quote: Quote },
    SizeLf { value: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailers(Section),
}

/// Where a chunk extension stands towards a quoted string. One that the line ends within is read on by some servers,
/// beyond the line (RFC 9112 §7.1.1 has `quoted-string` there, which holds no line end).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Quote {
    Outside,
    Inside,
    Escaped,
}

impl Quote {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Outside, b'"') | (Self::Escaped, _) => Self::Inside,
            (Self::Outside, _) | (Self::Inside, b'"') => Self::Outside,
            (Self::Inside, b'\\') => Self::Escaped,
            (Self::Inside, _) => Self::Inside,
        }
    }
}

/// How far a step came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eaten {
    /// These many bytes are content.
    Data(usize),
    /// These many bytes frame the content: sizes, extensions, line ends.
    Framing(usize),
    /// These many bytes are the trailer section; the body ends with them.
    Trailers(usize),
    /// The bytes are an incomplete trailer section: give them again with more behind them.
    None,
}

impl Chunked {
    pub(super) const fn new() -> Self {
        Self { state: State::Size { value: 0, digits: 0 }, extensions: 0 }
    }

    /// Takes a step over `bytes`, which are not empty. A fault is reported only when it is at the first byte, or in the
    /// trailer section that begins there.
    pub(super) fn step(&mut self, bytes: &[u8], limits: &Limits, layout: &mut Layout) -> Result<Eaten, Fault> {
        let mut at = 0;
        while at < bytes.len() {
            match &mut self.state {
                State::Trailers(_) | State::Data { .. } if at > 0 => break,
                State::Trailers(section) => return trailers(section, bytes, limits, layout),
                State::Data { left } => {
                    let eaten = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= eaten as u64;
                    if *left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Eaten::Data(eaten));
                }
                State::Size { .. } | State::Extension { .. } | State::SizeLf { .. } | State::DataCr | State::DataLf => {
                }
            }
            match self.advance(&bytes[at..], limits) {
                Ok(eaten) => at += eaten,
                Err(fault) if at == 0 => return Err(fault),
                // The state stands before the faulty byte: the next step meets it first.
                Err(_) => break,
            }
        }
        Ok(Eaten::Framing(at))
    }

    /// Moves over at least one byte, or leaves the state as it is and says what is wrong with the first.
    fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Result<usize, Fault> {
        let first = bytes[0];
        let room = limits.max_chunk_extension_bytes.saturating_sub(self.extensions) as usize;
        match self.state {
            State::Size { value, digits } => {
                self.state = match first {
                    b'\r' if digits > 0 => State::SizeLf { value },
                    b';' if digits > 0 && room == 0 => return Err(Fault::ChunkExtensionsTooLong),
                    b';' if digits > 0 => {
                        self.extensions += 1;
                        State::Extension { value, quote: Quote::Outside }
                    }
                    b'\n' if digits > 0 => return Err(Fault::BareLf),
                    _ => State::Size { value: push_hex(value, digits, first)?, digits: digits + 1 },
                };
                Ok(1)
            }
            State::Extension { value, quote } => {
                let span = class::span(bytes, class::VALUE);
                match (span, first) {
                    (0, b'\r') if quote != Quote::Outside => Err(Fault::BadChunkExtension),
                    (0, b'\r') => {
                        self.state = State::SizeLf { value };
                        Ok(1)
                    }
                    (0, b'\n') => Err(Fault::BareLf),
                    (0, _) => Err(Fault::BadChunkExtension),
                    _ if room == 0 => Err(Fault::ChunkExtensionsTooLong),
                    _ => {
                        let eaten = span.min(room);
                        // At most `room`, which is no more than the limit, a u32.
                        self.extensions += eaten as u32;
                        let quote = bytes[..eaten].iter().fold(quote, |quote, &byte| quote.after(byte));
                        self.state = State::Extension { value, quote };
                        Ok(eaten)
                    }
                }
            }
            State::SizeLf { value } => {
                if first != b'\n' {
                    return Err(Fault::BareCr);
                }
                self.state = if value == 0 { State::Trailers(Section::default()) } else { State::Data { left: value } };
                Ok(1)
            }
            State::DataCr if first == b'\r' => {
                self.state = State::DataLf;
                Ok(1)
            }
            State::DataLf if first == b'\n' => {
                self.state = State::Size { value: 0, digits: 0 };
                Ok(1)
            }
            State::DataCr | State::DataLf => Err(Fault::BadChunkEnd),
            // `step` takes content and trailers whole; a stray call eats nothing wrong.
            State::Data { .. } | State::Trailers(_) => Err(Fault::BadChunkEnd),
        }
    }
}

/// The size so far with one more digit; 16 digits and 2^63 are the bounds.
fn push_hex(value: u64, digits: u8, digit: u8) -> Result<u64, Fault> {
    let digit = (digit as char).to_digit(16).ok_or(Fault::BadChunkSize)?;
    if digits >= 16 || value > (i64::MAX as u64) >> 4 {
        return Err(Fault::BadChunkSize);
    }
    Ok(value << 4 | u64::from(digit))
}

fn trailers(section: &mut Section, bytes: &[u8], limits: &Limits, layout: &mut Layout) -> Result<Eaten, Fault> {
    if section.at() == 0 {
        layout.begin_section();
    }
    let bounds = Bounds {
        end: limits.max_trailer_bytes as usize,
        too_large: Fault::TrailersTooLarge,
        fields: limits.max_trailers,
        too_many: Fault::TooManyTrailers,
        underscores: limits.underscores,
    };
    loop {
        match section.next(bytes, &bounds, layout)? {
            Next::Field(field) => length::trailer(field)?,
            Next::End(len) => return Ok(Eaten::Trailers(len)),
            Next::Partial => return Ok(Eaten::None),
        }
    }
}
