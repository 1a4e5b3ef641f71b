//! [`Kept`]: a head that has left the chain, for filters that may look at it once more when the stream is logged.
//!
//! The head itself is needed elsewhere, and few filters look: so what stays is a flat copy, one allocation, which becomes
//! [`Headers`] again when the first asks. Nearly every guest exports the callback, so every request pays for it.

use super::{Headers, headers::Plain};
use http::{HeaderValue, Request, Response, Version, response};

#[derive(Debug)]
pub(super) enum Kept {
    /// A copy.
    Copy(Copied),
    /// A response's head that was given back.
    Whole(Box<response::Parts>),
}

/// A head, flat.
#[derive(Debug)]
pub(super) struct Copied {
    of: Of,
    /// What of the line is not among the pairs.
    plain: Option<Plain>,
    pairs: Flat,
}

#[derive(Debug, Clone, Copy)]
enum Of {
    Request(Version),
    Response,
}

/// Pairs one behind the other: the lengths of name and value (`u32`, this machine's order), then their bytes.
#[derive(Debug)]
struct Flat(Box<[u8]>);

/// What becomes [`Flat`]. Written into room that is there: a vector that may have to grow asks three times a pair whether it must; and one of the
/// usual size would be more than most heads need.
struct Draft {
    usual: [u8; USUAL],
    /// In place of that, where it is not enough.
    large: Vec<u8>,
    used: usize,
}

/// A name and its value.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// Bytes that hold most heads.
const USUAL: usize = 512;

/// Bytes of a pair's two lengths.
const LENGTHS: usize = 8;

impl Kept {
    /// Of a head as it leaves the chain.
    pub(super) fn of(head: &Headers) -> Self {
        let of = head.request_line().map_or(Of::Response, |(_, _, version)| Of::Request(version));
        let plain = head.plain();
        let mut pairs = Draft::new();
        head.each(plain.as_ref(), |name, value| pairs.add(name, value));
        Self::Copy(Copied { of, plain, pairs: pairs.flat() })
    }

    /// Of a response's head that the chain has not seen.
    pub(super) fn response(head: &response::Parts) -> Self {
        let mut pairs = Draft::new();
        for (name, value) in &head.headers {
            pairs.add(name.as_str().as_bytes(), value.as_bytes());
        }
        Self::Copy(Copied { of: Of::Response, plain: Some(Plain::Response(head.status)), pairs: pairs.flat() })
    }

    /// Of a response's head that left the chain as it came, and was written.
    pub(super) fn whole(head: response::Parts) -> Self {
        Self::Whole(Box::new(head))
    }

    /// The first value of that field, whose name is in lower case.
    pub(super) fn get(&self, name: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Copy(head) => head.pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value),
            Self::Whole(head) => {
                let value = head.headers.get(std::str::from_utf8(name).ok()?);
                value.map(HeaderValue::as_bytes)
            }
        }
    }

    /// The head as a filter sees it.
    pub(super) fn into_headers(self) -> Headers {
        match self {
            Self::Copy(head) => head.headers(),
            Self::Whole(head) => Headers::response(*head),
        }
    }
}

impl Copied {
    fn headers(&self) -> Headers {
        let mut headers = match self.of {
            Of::Request(version) => {
                let mut head = Request::new(()).into_parts().0;
                head.version = version;
                Headers::request(head, "http")
            }
            Of::Response => Headers::response(Response::new(()).into_parts().0),
        };
        let (line, before): ([Option<Pair<'_>>; 2], _) = match &self.plain {
            None => ([None, None], 0),
            Some(Plain::Response(status)) => ([Some((b":status", status.as_str().as_bytes())), None], 0),
            Some(Plain::Request { method, scheme }) => {
                let line = [(&b":method"[..], method.as_str().as_bytes()), (&b":scheme"[..], scheme.as_bytes())];
                let before = self.pairs.iter().take(2).filter(|(name, _)| name.starts_with(b":")).count();
                (line.map(Some), before)
            }
        };
        let (first, rest) = (self.pairs.iter().take(before), self.pairs.iter().skip(before));
        headers.replace_all(first.chain(line.into_iter().flatten()).chain(rest));
        headers
    }
}

impl Draft {
    fn new() -> Self {
        Self { usual: [0; USUAL], large: Vec::new(), used: 0 }
    }

    #[inline]
    fn add(&mut self, name: &[u8], value: &[u8]) {
        let start = self.used;
        self.used = start + LENGTHS + name.len() + value.len();
        if self.used > self.room().len() {
            self.grow(start);
        }
        let used = self.used;
        let (lengths, text) = self.room()[start..used].split_at_mut(LENGTHS);
        let (of_name, of_value) = lengths.split_at_mut(LENGTHS / 2);
        of_name.copy_from_slice(&length(name));
        of_value.copy_from_slice(&length(value));
        let (name_here, value_here) = text.split_at_mut(name.len());
        name_here.copy_from_slice(name);
        value_here.copy_from_slice(value);
    }

    fn room(&mut self) -> &mut [u8] {
        if self.large.is_empty() { &mut self.usual } else { &mut self.large }
    }

    #[cold]
    fn grow(&mut self, written: usize) {
        let mut larger = vec![0; self.used.next_power_of_two()];
        larger[..written].copy_from_slice(&self.room()[..written]);
        self.large = larger;
    }

    fn flat(mut self) -> Flat {
        let used = self.used;
        Flat(Box::from(&self.room()[..used]))
    }
}

impl Flat {
    fn iter(&self) -> Pairs<'_> {
        Pairs(&self.0)
    }
}

/// Heads are bounded far below `u32`.
fn length(text: &[u8]) -> [u8; 4] {
    u32::try_from(text.len()).unwrap_or(u32::MAX).to_ne_bytes()
}

struct Pairs<'a>(&'a [u8]);

impl<'a> Iterator for Pairs<'a> {
    type Item = Pair<'a>;

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
        let mut longer = request(Version::HTTP_11, "/");
        longer.add(b"x-long", &[b'x'; 2 * USUAL]);
        longer.add(b"x-last", b"1");
        for head in [
            request(Version::HTTP_11, "/a?b"),
            request(Version::HTTP_11, "http://h:1/a"),
            request(Version::HTTP_11, "h:1"),
            request(Version::HTTP_2, "https://h:1/a"),
            changed,
            longer,
            Headers::response(response.clone()),
        ] {
            assert_eq!(text(&Kept::of(&head).into_headers()), text(&head));
        }
        for kept in [Kept::response(&response), Kept::whole(response.clone())] {
            assert_eq!(
                (kept.get(b"grpc-status"), kept.get(b"x"), kept.get(b"y")),
                (Some(&b"5"[..]), Some(&b""[..]), None)
            );
            assert_eq!(text(&kept.into_headers()), text(&Headers::response(response.clone())));
        }
    }
}
