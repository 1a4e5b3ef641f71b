//! [`Kept`]: a head that has left the chain, for filters that may look at it once more when the stream is logged.
//!
//! The head itself is needed elsewhere, and few filters look: so what stays is a flat copy, one allocation, which becomes
//! [`Headers`] again when the first asks.

use super::Headers;
use http::{Request, Response, Version, response};

/// Pairs one behind the other: the lengths of name and value (`u32`, this machine's order), then their bytes.
#[derive(Debug)]
pub(super) struct Kept {
    of: Of,
    pairs: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Of {
    Request(Version),
    Response,
}

/// Bytes that hold most heads.
const USUAL: usize = 512;

impl Kept {
    /// Of a head as it leaves the chain.
    pub(super) fn of(head: &Headers) -> Self {
        let of = head.request_line().map_or(Of::Response, |(_, _, version)| Of::Request(version));
        let mut kept = Self::empty(of);
        head.each(|name, value| kept.add(name, value));
        kept
    }

    /// Of a response's head that the chain has not seen.
    pub(super) fn response(head: &response::Parts) -> Self {
        let mut kept = Self::empty(Of::Response);
        kept.add(b":status", head.status.as_str().as_bytes());
        for (name, value) in &head.headers {
            kept.add(name.as_str().as_bytes(), value.as_bytes());
        }
        kept
    }

    fn empty(of: Of) -> Self {
        Self { of, pairs: Vec::with_capacity(USUAL) }
    }

    fn add(&mut self, name: &[u8], value: &[u8]) {
        let [[a, b, c, d], [e, f, g, h]] = [length(name), length(value)];
        self.pairs.extend_from_slice(&[a, b, c, d, e, f, g, h]);
        self.pairs.extend_from_slice(name);
        self.pairs.extend_from_slice(value);
    }

    fn pairs(&self) -> Pairs<'_> {
        Pairs(&self.pairs)
    }

    /// The first value of that name, which is in lower case.
    pub(super) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.pairs().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// The head as a filter sees it.
    pub(super) fn headers(&self) -> Headers {
        let mut headers = match self.of {
            Of::Request(version) => {
                let mut head = Request::new(()).into_parts().0;
                head.version = version;
                Headers::request(head, "http")
            }
            Of::Response => Headers::response(Response::new(()).into_parts().0),
        };
        headers.replace_all(self.pairs());
        headers
    }
}

/// Heads are bounded far below `u32`.
fn length(text: &[u8]) -> [u8; 4] {
    u32::try_from(text.len()).unwrap_or(u32::MAX).to_ne_bytes()
}

struct Pairs<'a>(&'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.0.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_first_chunk::<4>()?;
        let (name, rest) = rest.split_at_checked(u32::from_ne_bytes(*name) as usize)?;
        let (value, rest) = rest.split_at_checked(u32::from_ne_bytes(*value) as usize)?;
        self.0 = rest;
        Some((name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(headers: &Headers) -> Vec<(Vec<u8>, Vec<u8>)> {
        headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
    }

    #[test]
    fn what_was_kept_reads_as_it_was() {
        let request = |version, uri: &str| {
            let request = Request::post(uri).version(version).header("x-a", "1").header("x-b", "2").header("x-a", "3");
            let request = if version == Version::HTTP_2 { request } else { request.header("host", "h:1") };
            Headers::request(request.body(()).unwrap().into_parts().0, "http")
        };
        let mut changed = request(Version::HTTP_11, "/a?b");
        changed.replace(b":path", b"/c");
        changed.add(b"bad name", b"a\nb");
        changed.remove(b":method");
        let response = Response::builder().status(404).header("grpc-status", "5").header("x", "").body(()).unwrap();
        let response = response.into_parts().0;
        for head in [
            request(Version::HTTP_11, "/a?b"),
            request(Version::HTTP_2, "https://h:1/a"),
            changed,
            Headers::response(response.clone()),
        ] {
            assert_eq!(text(&Kept::of(&head).headers()), text(&head));
        }
        let kept = Kept::response(&response);
        assert_eq!(text(&kept.headers()), text(&Headers::response(response)));
        assert_eq!(
            (kept.get(b"grpc-status"), kept.get(b":status"), kept.get(b"y")),
            (Some(&b"5"[..]), Some(&b"404"[..]), None)
        );
    }
}
