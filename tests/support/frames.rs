//! An HTTP/2 client that speaks in frames (RFC 9113 §4), right or wrong.
//!
//! Header blocks are written as literals without indexing and without Huffman coding (RFC 7541 §6.2.2), so that any
//! byte can be sent. Of responses it reads what tests ask for: status, resets, GOAWAY, data.

use crate::wait::SOON;
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// Frame types (RFC 9113 §6).
pub mod kind {
    #![expect(missing_docs, reason = "named as RFC 9113 §6 names them")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// END_STREAM on HEADERS and DATA; ACK on SETTINGS and PING.
pub const END_STREAM: u8 = 1;
/// END_HEADERS.
pub const END_HEADERS: u8 = 4;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// A connection.
#[derive(Debug)]
pub struct Frames {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A response with this status and body.
    Answered(u16, Vec<u8>),
    /// RST_STREAM with this code.
    Reset(u32),
    /// GOAWAY with this code.
    GoAway(u32),
    /// The connection ended without a word.
    Closed,
    /// Nothing came in time.
    Silence,
}

impl Frames {
    /// Connects, exchanges SETTINGS (no dynamic table, large windows) and acknowledges the server's.
    #[must_use]
    pub fn connect(address: SocketAddr) -> Self {
        // HEADER_TABLE_SIZE 0 keeps the server's header blocks free of references.
        Self::connect_with(address, &[(1, 0), (4, 1 << 20)])
    }

    /// The same with settings of the test's own.
    #[must_use]
    pub fn connect_with(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect_timeout(&address, SOON).expect("loopback can be connected to");
        stream.set_nodelay(true).expect("a socket takes TCP_NODELAY");
        stream.set_write_timeout(Some(SOON)).expect("a socket takes a write timeout");
        let mut frames = Self { stream, buffer: Vec::new() };
        frames.bytes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("the preface is sent");
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
            .collect();
        frames.frame(kind::SETTINGS, 0, 0, &payload).expect("SETTINGS is sent");
        loop {
            let frame = frames.next(SOON).expect("the server sends SETTINGS first");
            if frame.kind == kind::SETTINGS && frame.flags & END_STREAM == 0 {
                frames.frame(kind::SETTINGS, 1, 0, &[]).expect("SETTINGS is acknowledged");
                return frames;
            }
        }
    }

    /// Sends bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a frame.
    pub fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        self.bytes(&encoded(kind, flags, stream, payload))
    }

    /// Sends HEADERS with these fields.
    pub fn headers(
        &mut self,
        stream: u32,
        fields: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)],
        end: bool,
    ) -> io::Result<()> {
        let flags = END_HEADERS | u8::from(end);
        self.frame(kind::HEADERS, flags, stream, &block(fields))
    }

    /// Sends a GET.
    pub fn get(&mut self, stream: u32, path: &str) -> io::Result<()> {
        self.headers(stream, &request("GET", path), true)
    }

    /// Sends DATA.
    pub fn data(&mut self, stream: u32, data: &[u8], end: bool) -> io::Result<()> {
        self.frame(kind::DATA, u8::from(end), stream, data)
    }

    /// The next frame, if one comes within `limit`. An end of the connection is an error.
    pub fn try_next(&mut self, limit: Duration) -> io::Result<Option<Frame>> {
        let end = Instant::now() + limit;
        loop {
            if let Some(frame) = self.take() {
                return Ok(Some(frame));
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut buffer = [0; 16 << 10];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.buffer.extend_from_slice(&buffer[..n]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The next frame, if one comes within `limit` and the connection lives.
    pub fn next(&mut self, limit: Duration) -> Option<Frame> {
        self.try_next(limit).ok().flatten()
    }

    fn take(&mut self) -> Option<Frame> {
        let head = self.buffer.get(..9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let payload = self.buffer.get(9..9 + length)?.to_vec();
        self.buffer.drain(..9 + length);
        Some(Frame { kind, flags, stream, payload })
    }

    /// Reads until the stream is answered, reset, or the connection ends. Gives back window and answers PING.
    pub fn outcome(&mut self, stream: u32) -> Outcome {
        self.outcome_within(stream, SOON)
    }

    /// The same with a limit of the test's own.
    pub fn outcome_within(&mut self, stream: u32, limit: Duration) -> Outcome {
        let end = Instant::now() + limit;
        let (mut status, mut body) = (0, Vec::new());
        loop {
            let frame = match self.try_next(end.saturating_duration_since(Instant::now())) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Outcome::Silence,
                Err(_) => return Outcome::Closed,
            };
            match frame.kind {
                kind::GOAWAY => {
                    let code = word(&frame.payload, 4);
                    // A graceful GOAWAY lets open streams finish.
                    if code != 0 {
                        return Outcome::GoAway(code);
                    }
                }
                kind::RST_STREAM if frame.stream == stream => {
                    // After a whole response, NO_ERROR only says that the rest of the request is not wanted.
                    return Outcome::Reset(word(&frame.payload, 0));
                }
                kind::HEADERS if frame.stream == stream => {
                    let informational = matches!(status_of(&frame.payload), Some(100..=199));
                    if status == 0 && !informational {
                        status = status_of(&frame.payload).unwrap_or(0);
                    }
                    if frame.flags & END_STREAM != 0 {
                        return Outcome::Answered(status, body);
                    }
                }
                kind::DATA if frame.stream == stream => {
                    body.extend_from_slice(&frame.payload);
                    self.give_back(stream, frame.payload.len());
                    if frame.flags & END_STREAM != 0 {
                        return Outcome::Answered(status, body);
                    }
                }
                kind::PING if frame.flags & 1 == 0 => drop(self.frame(kind::PING, 1, 0, &frame.payload)),
                kind::SETTINGS if frame.flags & 1 == 0 => drop(self.frame(kind::SETTINGS, 1, 0, &[])),
                _ => {}
            }
        }
    }

    /// Reads until GOAWAY or the end of the connection; the code of the GOAWAY with an error, if there was one.
    pub fn until_closed(&mut self, limit: Duration) -> Result<Option<u32>, &'static str> {
        let end = Instant::now() + limit;
        let mut code = None;
        loop {
            match self.try_next(end.saturating_duration_since(Instant::now())) {
                Ok(Some(frame)) if frame.kind == kind::GOAWAY => code = Some(word(&frame.payload, 4)),
                Ok(Some(_)) => {}
                Ok(None) => return Err("the connection stays open"),
                Err(_) => return Ok(code),
            }
        }
    }

    fn give_back(&mut self, stream: u32, count: usize) {
        if count > 0 {
            let increment = u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
            drop(self.frame(kind::WINDOW_UPDATE, 0, 0, &increment));
            drop(self.frame(kind::WINDOW_UPDATE, 0, stream, &increment));
        }
    }
}

/// The fields of a plain request.
#[must_use]
pub fn request<'a>(method: &'a str, path: &'a str) -> [(&'static str, &'a str); 4] {
    [(":method", method), (":scheme", "http"), (":authority", "test"), (":path", path)]
}

/// A frame's bytes.
#[must_use]
pub fn encoded(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block of literals (RFC 7541 §6.2.2).
#[must_use]
pub fn block(fields: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        string(&mut block, name.as_ref());
        string(&mut block, value.as_ref());
    }
    block
}

fn string(block: &mut Vec<u8>, text: &[u8]) {
    // A length with a prefix of seven bits (RFC 7541 §5.1).
    let mut left = text.len();
    if left < 127 {
        block.push(left as u8);
    } else {
        block.push(127);
        left -= 127;
        while left >= 128 {
            block.push((left % 128) as u8 | 128);
            left /= 128;
        }
        block.push(left as u8);
    }
    block.extend_from_slice(text);
}

/// The status in a response's header block, where it is the first field and the dynamic table is not used.
pub fn status_of(block: &[u8]) -> Option<u16> {
    // A table size update (RFC 7541 §6.3) may come first.
    let updates = block.iter().take_while(|&&byte| byte & 0xe0 == 0x20).count();
    let block = &block[updates..];
    match block.first()? {
        // The static table's entries 8 to 14.
        byte @ 0x88..=0x8e => [200, 204, 206, 304, 400, 404, 500].get(usize::from(byte - 0x88)).copied(),
        // A literal whose name is entry 8, in any of the three forms.
        0x48 | 0x08 | 0x18 => {
            let length = block.get(1)?;
            let text = block.get(2..2 + usize::from(length & 0x7f))?;
            if length & 0x80 == 0 { std::str::from_utf8(text).ok()?.parse().ok() } else { huffman_digits(text) }
        }
        _ => None,
    }
}

/// Digits in HPACK's Huffman code (RFC 7541 appendix B): `0` to `2` have five bits, `3` to `9` six.
fn huffman_digits(text: &[u8]) -> Option<u16> {
    let bits: Vec<u8> = text.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let five = bits.get(at..at + 5)?.iter().fold(0, |sum, bit| sum << 1 | u16::from(*bit));
        let digit = if five <= 2 {
            at += 5;
            five
        } else {
            let six = five << 1 | u16::from(*bits.get(at + 5)?);
            at += 6;
            six.checked_sub(0b01_1001)? + 3
        };
        number = number * 10 + digit;
    }
    Some(number)
}

fn word(payload: &[u8], at: usize) -> u32 {
    payload.get(at..at + 4).map_or(0, |bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_in_every_form() {
        assert_eq!(status_of(&[0x88]), Some(200));
        assert_eq!(status_of(&[0x20, 0x8d]), Some(404));
        assert_eq!(status_of(b"\x08\x03503"), Some(503));
        // 302 in Huffman code, from RFC 7541 appendix C.6.1.
        assert_eq!(status_of(&[0x48, 0x82, 0x64, 0x02]), Some(302));
    }

    #[test]
    fn lengths_beyond_the_prefix_are_encoded() {
        let mut long = Vec::new();
        string(&mut long, &[b'a'; 1337]);
        assert_eq!(&long[..3], &[127, 0xba, 0x09]);
    }
}
