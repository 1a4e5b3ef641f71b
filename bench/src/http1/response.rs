//! One response after another, out of whatever pieces they come in.

use super::{
    Chunked, Length, Malformed,
    head::{ResponseHead, parse_response},
};

/// A head may grow to this in pieces.
const HEAD_LIMIT: usize = 64 * 1024;

/// A whole response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Its status.
    pub(crate) status: u16,
    /// Bytes of its body.
    pub(crate) body: u64,
    /// The connection may be used again.
    pub(crate) keep_alive: bool,
}

/// What became of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feed {
    /// The response goes on.
    More,
    /// It ended with the last of them.
    Done(Answer),
}

/// Reads responses to requests sent one at a time. It keeps bytes only of a head that came in pieces.
#[derive(Debug, Default)]
pub(crate) struct ResponseReader {
    part: Part,
    /// A head's first pieces.
    held: Vec<u8>,
    answer: Option<Answer>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    Known(u64),
    Chunked(Chunked),
    UntilClose,
}

impl ResponseReader {
    /// Takes what was read; `see` gets what of it is of the body.
    ///
    /// # Errors
    ///
    /// When it is no response, or goes on behind its end: nothing was asked that could be answered there.
    pub(crate) fn feed(&mut self, bytes: &[u8], see: impl FnMut(&[u8])) -> Result<Feed, Malformed> {
        if self.part != Part::Head {
            return self.body(bytes, see);
        }
        if self.held.is_empty() {
            return self.head(bytes, see);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let fed = self.head(&held, see);
        if self.held.is_empty() {
            held.clear();
            self.held = held;
        }
        fed
    }

    /// The connection ended. `Some`: and with it a response whose length it tells.
    pub(crate) fn end(&mut self) -> Option<Answer> {
        if self.part == Part::UntilClose { self.answer.take() } else { None }
    }

    /// The response has begun: an end of the connection cuts it.
    #[must_use]
    pub(crate) fn within_response(&self) -> bool {
        self.part != Part::Head || !self.held.is_empty()
    }

    fn head(&mut self, mut bytes: &[u8], see: impl FnMut(&[u8])) -> Result<Feed, Malformed> {
        loop {
            let Some(ResponseHead { status, length, keep_alive, len }) = parse_response(bytes)? else {
                if bytes.len() > HEAD_LIMIT {
                    return Err(Malformed);
                }
                self.held.extend_from_slice(bytes);
                return Ok(Feed::More);
            };
            bytes = &bytes[len..];
            if (100..200).contains(&status) {
                if bytes.is_empty() {
                    return Ok(Feed::More);
                }
                continue;
            }
            self.answer = Some(Answer { status, body: 0, keep_alive });
            self.part = match length {
                Length::Known(length) => Part::Known(length),
                Length::Chunked(chunked) => Part::Chunked(chunked),
                Length::UntilClose => Part::UntilClose,
            };
            return self.body(bytes, see);
        }
    }

    fn body(&mut self, bytes: &[u8], mut see: impl FnMut(&[u8])) -> Result<Feed, Malformed> {
        let answer = self.answer.as_mut().ok_or(Malformed)?;
        let ended = match &mut self.part {
            Part::Head => return Err(Malformed),
            Part::Known(left) => {
                *left = left.checked_sub(bytes.len() as u64).ok_or(Malformed)?;
                answer.body += bytes.len() as u64;
                see(bytes);
                *left == 0
            }
            Part::Chunked(chunked) => {
                let eaten = chunked.eat(bytes, see)?;
                answer.body += eaten.data;
                if eaten.bytes < bytes.len() {
                    return Err(Malformed);
                }
                eaten.ended
            }
            Part::UntilClose => {
                answer.body += bytes.len() as u64;
                see(bytes);
                false
            }
        };
        if !ended {
            return Ok(Feed::More);
        }
        let answer = *answer;
        (self.part, self.answer) = (Part::Head, None);
        Ok(Feed::Done(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESPONSES: [(&str, u16, u64, bool); 6] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, 5, true),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, 0, true),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx", 200, 1, false),
        ("HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 503, 2, true),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 200, 0, false),
        ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, 1, true),
    ];

    #[test]
    fn a_response_ends_where_it_ends_however_it_is_cut() {
        for (text, status, body, keep_alive) in RESPONSES {
            let done = Feed::Done(Answer { status, body, keep_alive });
            // The same reader for all: one response leaves nothing behind for the next.
            let mut reader = ResponseReader::default();
            assert_eq!(reader.feed(text.as_bytes(), |_| {}), Ok(done), "{text}");
            for cut in 1..text.len() {
                let (first, second) = text.as_bytes().split_at(cut);
                assert_eq!(reader.feed(first, |_| {}), Ok(Feed::More), "{text} cut at {cut}");
                assert_eq!(reader.feed(second, |_| {}), Ok(done), "{text} cut at {cut}");
                assert!(!reader.within_response());
            }
            for byte in &text.as_bytes()[..text.len() - 1] {
                assert_eq!(reader.feed(&[*byte], |_| {}), Ok(Feed::More), "{text}");
            }
            assert_eq!(reader.feed(&text.as_bytes()[text.len() - 1..], |_| {}), Ok(done), "{text}");
        }
    }

    #[test]
    fn the_end_of_the_connection_ends_only_what_has_no_other_end() {
        let mut reader = ResponseReader::default();
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\n\r\nabc", |_| {}), Ok(Feed::More));
        assert_eq!(reader.end(), Some(Answer { status: 200, body: 3, keep_alive: false }));
        let mut reader = ResponseReader::default();
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", |_| {}), Ok(Feed::More));
        assert!(reader.within_response());
        assert_eq!(reader.end(), None);
    }

    #[test]
    fn bytes_behind_the_end_are_malformed() {
        for (text, ..) in RESPONSES {
            let more = format!("{text}x");
            let fed = ResponseReader::default().feed(more.as_bytes(), |_| {});
            assert_eq!(fed, Err(Malformed), "{text}");
        }
    }
}
