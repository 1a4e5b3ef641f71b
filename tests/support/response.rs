//! An HTTP/1.1 response as a client reads it (RFC 9112 §6), strictly: anything odd is an error of the test.

use std::io::{self, BufRead, Read};

/// One response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// The head as received, with the blank line.
    pub head: String,
    /// Name in lower case and value, in order.
    pub headers: Vec<(String, String)>,
    /// Its content.
    pub body: Vec<u8>,
    /// What came after the last chunk.
    pub trailers: Vec<(String, String)>,
    /// How its end was known.
    pub framing: Framing,
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none by rule: HEAD, 1xx, 204, 304.
    None,
    /// `Content-Length`.
    Length,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// The connection's end.
    Close,
}

impl Response {
    /// The first value of a header, by lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// All values of a header, by lower-case name.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    /// Whether the server says that this connection carries nothing more.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.values("connection").iter().any(|value| value.to_ascii_lowercase().contains("close"))
    }

    /// Reads one response to a request with this method.
    pub fn read(from: &mut impl BufRead, method: &str) -> io::Result<Self> {
        let head = read_head(from)?;
        let mut response = parse_head(&head)?;
        response.read_body(from, method)?;
        Ok(response)
    }

    fn read_body(&mut self, from: &mut impl BufRead, method: &str) -> io::Result<()> {
        let is_tunnel = method == "CONNECT" && (200..300).contains(&self.status);
        if is_tunnel || method == "HEAD" || self.status < 200 || self.status == 204 || self.status == 304 {
            self.framing = Framing::None;
        } else if let Some(coding) = self.header("transfer-encoding") {
            if !coding.eq_ignore_ascii_case("chunked") || self.header("content-length").is_some() {
                return Err(odd("transfer-encoding other than chunked, or beside content-length", &self.head));
            }
            self.framing = Framing::Chunked;
            self.read_chunks(from)?;
        } else if let Some(length) = self.header("content-length") {
            let length: usize = length.parse().map_err(|_| odd("content-length", length))?;
            self.framing = Framing::Length;
            self.body = vec![0; length];
            from.read_exact(&mut self.body)?;
        } else {
            self.framing = Framing::Close;
            from.read_to_end(&mut self.body)?;
        }
        Ok(())
    }

    fn read_chunks(&mut self, from: &mut impl BufRead) -> io::Result<()> {
        loop {
            let line = read_line(from)?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or(""), 16)
                .map_err(|_| odd("chunk size", &line))?;
            if size == 0 {
                break;
            }
            let start = self.body.len();
            self.body.resize(start + size, 0);
            from.read_exact(&mut self.body[start..])?;
            let end = read_line(from)?;
            if !end.is_empty() {
                return Err(odd("end of a chunk", &end));
            }
        }
        loop {
            let line = read_line(from)?;
            if line.is_empty() {
                return Ok(());
            }
            self.trailers.push(parse_field(&line)?);
        }
    }
}

/// Reads up to and with the blank line. An end of file before the first byte is `UnexpectedEof`.
pub fn read_head(from: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    loop {
        let line = read_line(from)?;
        head.push_str(&line);
        head.push_str("\r\n");
        if line.is_empty() {
            return Ok(head);
        }
    }
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    let taken = from.take(1 << 20).read_until(b'\n', &mut line)?;
    if taken == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !line.ends_with(b"\r\n") {
        return Err(odd("line without CRLF", &String::from_utf8_lossy(&line)));
    }
    line.truncate(line.len() - 2);
    // Latin-1, so that every byte keeps its value.
    Ok(line.iter().map(|&byte| char::from(byte)).collect())
}

fn parse_head(head: &str) -> io::Result<Response> {
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let first = lines.next().unwrap_or("");
    let status = first
        .strip_prefix("HTTP/1.1 ")
        .or_else(|| first.strip_prefix("HTTP/1.0 "))
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| odd("status line", first))?;
    Ok(Response {
        status,
        head: head.to_owned(),
        headers: lines.map(parse_field).collect::<io::Result<_>>()?,
        body: Vec::new(),
        trailers: Vec::new(),
        framing: Framing::None,
    })
}

fn parse_field(line: &str) -> io::Result<(String, String)> {
    let (name, value) = line.split_once(':').ok_or_else(|| odd("field line", line))?;
    Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
}

fn odd(what: &str, text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {text:?}"))
}
