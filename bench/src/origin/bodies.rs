//! Answers, made once.

use bytes::Bytes;

/// Names of bodies: the last segment of a path. Any other path gets 16 bytes.
const NAMED: [(&str, usize); 5] = [("empty", 0), ("1k", 1 << 10), ("16k", 1 << 14), ("64k", 1 << 16), ("1m", 1 << 20)];
const SMALL: usize = 16;

/// Every answer there is.
#[derive(Debug)]
pub(super) struct Bodies {
    small: Answer,
    named: Vec<Answer>,
}

/// One answer in both forms.
#[derive(Debug)]
pub(super) struct Answer {
    name: &'static str,
    /// Head and body.
    pub(super) http1: Bytes,
    /// The body alone.
    pub(super) body: Bytes,
}

/// The bytes that an origin answers a path with.
#[must_use]
pub fn body(path: &str) -> Bytes {
    Bodies::new().find(path).body.clone()
}

impl Bodies {
    pub(super) fn new() -> Self {
        Self {
            small: Answer::new("small", SMALL),
            named: NAMED.into_iter().map(|(name, length)| Answer::new(name, length)).collect(),
        }
    }

    /// The answer for a path.
    pub(super) fn find(&self, path: &str) -> &Answer {
        let path = path.split_once('?').map_or(path, |(path, _query)| path);
        let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
        self.named.iter().find(|answer| answer.name == name).unwrap_or(&self.small)
    }
}

impl Answer {
    fn new(name: &'static str, length: usize) -> Self {
        let body: Vec<u8> = (0..length).map(|i| b'a' + (i % 26) as u8).collect();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
        Self { name, http1: [head.as_bytes(), &body].concat().into(), body: body.into() }
    }
}
