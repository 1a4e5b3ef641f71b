//! An HTTP/1.1 request as a strict server reads it (RFC 9112): what could be read in two ways is an error.

use std::io::{self, BufRead};

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The request line.
    pub line: String,
    /// Name in lower case and value, in order; bytes above 127 as Latin-1.
    pub headers: Vec<(String, String)>,
    /// Its content, without framing.
    pub body: Vec<u8>,
    /// Trailer fields.
    pub trailers: Vec<(String, String)>,
}

impl Received {
    /// The first value of a header, by lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        self.line.split(' ').next().unwrap_or("")
    }

    /// The request target.
    #[must_use]
    pub fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or("")
    }

    /// Reads a request's head only.
    pub fn read_head(from: &mut impl BufRead) -> io::Result<Self> {
        let line = read_line(from)?;
        let headers = read_fields(from)?;
        Ok(Self { line, headers, body: Vec::new(), trailers: Vec::new() })
    }

    /// Reads a whole request. An end of file before its first byte is `UnexpectedEof`.
    pub fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut request = Self::read_head(from)?;
        request.read_body(from)?;
        Ok(request)
    }

    /// Reads the body that belongs to a head.
    pub fn read_body(&mut self, from: &mut impl BufRead) -> io::Result<()> {
        let of = |name: &str| -> Vec<&str> {
            self.headers.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect()
        };
        match (of("content-length").as_slice(), of("transfer-encoding").as_slice()) {
            ([], []) => {}
            ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                let length = length.parse().map_err(|_| odd("content-length", length))?;
                self.body = vec![0; length];
                from.read_exact(&mut self.body)?;
            }
            ([], [coding]) if *coding == "chunked" => {
                while read_chunk(from, &mut self.body)? {}
                self.trailers = read_fields(from)?;
            }
            _ => return Err(odd("framing", &self.line)),
        }
        Ok(())
    }
}

/// Reads one chunk; false after the last.
pub fn read_chunk(from: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<bool> {
    let line = read_line(from)?;
    if line.is_empty() || !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(odd("chunk size", &line));
    }
    let size = usize::from_str_radix(&line, 16).map_err(|_| odd("chunk size", &line))?;
    if size == 0 {
        return Ok(false);
    }
    let start = body.len();
    body.resize(start + size, 0);
    from.read_exact(&mut body[start..])?;
    let end = read_line(from)?;
    if end.is_empty() { Ok(true) } else { Err(odd("end of a chunk", &end)) }
}

fn read_fields(from: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = read_line(from)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| odd("field line", &line))?;
        if name.is_empty() || name.contains([' ', '\t']) {
            return Err(odd("field name", &line));
        }
        fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    }
}

fn read_line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !line.ends_with(b"\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !line.ends_with(b"\r\n") {
        return Err(odd("line without CRLF", &String::from_utf8_lossy(&line)));
    }
    line.truncate(line.len() - 2);
    if line.contains(&b'\r') || line.contains(&0) {
        return Err(odd("CR or NUL in a line", &String::from_utf8_lossy(&line)));
    }
    // Latin-1, so that every byte keeps its value.
    Ok(line.iter().map(|&byte| char::from(byte)).collect())
}

fn odd(what: &str, text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {text:?}"))
}
