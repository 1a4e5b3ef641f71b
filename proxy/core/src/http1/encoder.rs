//! [`Encoder`]: a body out, framed as its head says.

use super::{Outbox, write::Framing, write::field};
use bytes::Bytes;
use http::{HeaderMap, header::TRAILER};

/// A body on its way out.
#[derive(Debug)]
pub struct Encoder {
    left: Left,
    trailers: Taken,
}

/// Which trailers are sent on.
#[derive(Debug)]
enum Taken {
    None,
    /// Those that the head's Trailer names (RFC 9110 §6.6.2).
    Promised(Box<[Bytes]>),
    All,
}

/// What of a body is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Length(u64),
    Chunks,
    UntilClose,
    /// It has ended.
    Nothing,
}

/// A body that is not what its head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It is longer than its Content-Length.
    #[error("a body longer than its Content-Length")]
    TooLong,
    /// It ends before its Content-Length.
    #[error("a body shorter than its Content-Length")]
    TooShort,
}

impl Encoder {
    /// An encoder for a body framed like this. Trailers are left out, until [`promise`](Self::promise) or
    /// [`welcome`](Self::welcome).
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let left = match framing {
            Framing::Nothing | Framing::Length(0) => Left::Nothing,
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::Chunks,
            Framing::UntilClose => Left::UntilClose,
        };
        Self { left, trailers: Taken::None }
    }

    /// Lets those trailers through that the head's Trailer field names.
    pub fn promise(&mut self, headers: &HeaderMap) {
        if self.left != Left::Chunks || !headers.contains_key(TRAILER) {
            return;
        }
        let names = headers.get_all(TRAILER).iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
        self.trailers = Taken::Promised(names.map(|name| Bytes::copy_from_slice(name.trim_ascii())).collect());
    }

    /// Lets all trailers through: whoever reads said `TE: trailers` (RFC 9110 §6.5.1). A server of gRPC promises none by name.
    pub fn welcome(&mut self) {
        self.trailers = Taken::All;
    }

    /// Whether nothing more is to be written, the end included.
    #[must_use]
    #[inline]
    pub fn is_done(&self) -> bool {
        self.left == Left::Nothing
    }

    /// Writes content. `out` must [have room](Outbox::has_room).
    ///
    /// # Errors
    ///
    /// [`Misfit::TooLong`]; nothing is written then.
    pub fn data(&mut self, data: Bytes, out: &mut Outbox) -> Result<(), Misfit> {
        match &mut self.left {
            Left::Nothing if data.is_empty() => {}
            Left::Nothing => return Err(Misfit::TooLong),
            Left::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Misfit::TooLong)?;
                if *left == 0 {
                    self.left = Left::Nothing;
                }
                out.push(data);
            }
            // A chunk of no bytes would be the last.
            Left::Chunks if data.is_empty() => {}
            Left::Chunks => out.push_chunk(data),
            Left::UntilClose => out.push(data),
        }
        Ok(())
    }

    /// Ends the body with these trailers, as far as they are taken. `out` must [have room](Outbox::has_room).
    ///
    /// # Errors
    ///
    /// As [`end`](Self::end).
    pub fn trailers(&mut self, trailers: &HeaderMap, out: &mut Outbox) -> Result<(), Misfit> {
        if self.left != Left::Chunks {
            return self.end(out);
        }
        let bytes = out.buffer();
        bytes.extend_from_slice(b"0\r\n");
        for (name, value) in trailers {
            let name_bytes = name.as_str().as_bytes();
            let taken = match &self.trailers {
                Taken::None => false,
                Taken::Promised(names) => names.iter().any(|known| known.eq_ignore_ascii_case(name_bytes)),
                Taken::All => true,
            };
            if taken {
                field(bytes, name_bytes, value.as_bytes());
            }
        }
        bytes.extend_from_slice(b"\r\n");
        self.left = Left::Nothing;
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    ///
    /// [`Misfit::TooShort`]: the message cannot be ended but by closing the connection.
    pub fn end(&mut self, out: &mut Outbox) -> Result<(), Misfit> {
        match self.left {
            Left::Nothing | Left::UntilClose => {}
            Left::Length(_) => return Err(Misfit::TooShort),
            Left::Chunks => out.push_last_chunk(),
        }
        self.left = Left::Nothing;
        Ok(())
    }
}
