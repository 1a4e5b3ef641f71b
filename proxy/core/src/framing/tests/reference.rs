//! A second reading of the same rules: slow, whole, by splitting strings; and the property that the machines agree with it.

use proptest::prelude::*;

use super::streams;
use super::{Asks, Event, Fault, Limits, Refusal, requests, responses};
use crate::framing::{Expected, Violation};

type Fields = Vec<(String, Vec<u8>)>;
/// A line and what follows it.
type Line<'a> = (&'a [u8], &'a [u8]);
/// A host, and a port when given.
type Named = (String, Option<u32>);

/// One line without its CRLF, and what follows; `None` when it is not complete.
fn line(bytes: &[u8]) -> Option<Result<Line<'_>, Fault>> {
    let at = bytes.iter().position(|&byte| byte == b'\n')?;
    Some(match bytes[..at].strip_suffix(b"\r") {
        Some(line) => Ok((line, &bytes[at + 1..])),
        None => Err(Fault::BareLf),
    })
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn field(line: &[u8]) -> Result<(String, Vec<u8>), Fault> {
    let end = line.iter().position(|&byte| !is_tchar(byte)).unwrap_or(line.len());
    match line.get(end) {
        Some(b':') if end > 0 => {}
        Some(b' ' | b'\t') if end == 0 => return Err(Fault::ObsFold),
        Some(b' ' | b'\t') => return Err(Fault::SpaceBeforeColon),
        Some(b'\r') => return Err(Fault::BareCr),
        Some(byte) if byte.is_ascii_control() => return Err(Fault::ControlByte),
        _ => return Err(Fault::BadFieldName),
    }
    let value = &line[end + 1..];
    if value.contains(&b'\r') {
        return Err(Fault::BareCr);
    }
    if value.iter().any(|&byte| byte != b'\t' && byte.is_ascii_control()) {
        return Err(Fault::ControlByte);
    }
    let trimmed: Vec<u8> = {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
        let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |at| at + 1);
        value[start..end].to_vec()
    };
    Ok((String::from_utf8_lossy(&line[..end]).to_lowercase(), trimmed))
}

/// Rules that bite while fields come in, in their order.
fn take(fields: &mut Fields, new: (String, Vec<u8>), version: &str) -> Result<(), Refusal> {
    let has = |name: &str| fields.iter().any(|(other, _)| other == name);
    let text = String::from_utf8_lossy(&new.1).to_lowercase();
    match new.0.as_str() {
        "host" if has("host") => return Err(Refusal::SeveralHosts),
        "expect" if text != "100-continue" => return Err(Refusal::UnknownExpectation),
        "content-length" if has("content-length") => return Err(Fault::RepeatedLength.into()),
        "content-length" if has("transfer-encoding") => return Err(Fault::LengthAndEncoding.into()),
        "content-length" => {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            if !digits || text.len() > 19 || text.parse::<i64>().is_err() {
                return Err(Fault::BadLength.into());
            }
        }
        "transfer-encoding" if has("content-length") => return Err(Fault::LengthAndEncoding.into()),
        "transfer-encoding" if has("transfer-encoding") => {
            return Err(Fault::RepeatedEncoding.into());
        }
        "transfer-encoding" if version == "HTTP/1.0" => {
            return Err(Fault::EncodingOnOldVersion.into());
        }
        "transfer-encoding" if text != "chunked" => return Err(Fault::UnsupportedEncoding.into()),
        _ => {}
    }
    fields.push(new);
    Ok(())
}

fn authority(text: &str) -> Option<Named> {
    // The generated streams have no IPv6: the table has.
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) {
        return None;
    }
    let port = match port {
        None => None,
        Some(port) if (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(port.parse().ok().filter(|port| *port < 65536)?)
        }
        Some(_) => return None,
    };
    Some((host.to_lowercase(), port))
}

/// The authority a target names, if any, and its default port.
fn target(method: &str, target: &[u8]) -> Result<Option<(Named, Option<u32>)>, Refusal> {
    let bad = Err(Refusal::BadTarget);
    let Ok(target) = std::str::from_utf8(target) else {
        return bad;
    };
    if method == "CONNECT" {
        return match authority(target) {
            Some((host, Some(port))) => Ok(Some(((host, Some(port)), Some(port)))),
            _ => bad,
        };
    }
    if method == "OPTIONS" && target == "*" {
        return Ok(None);
    }
    let lower = target.to_lowercase();
    let (named, path) = if target.starts_with('/') {
        (None, target)
    } else if let Some(scheme) = ["http://", "https://"].into_iter().find(|scheme| lower.starts_with(scheme)) {
        let rest = &target[scheme.len()..];
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let Some(authority) = authority(&rest[..end]) else {
            return bad;
        };
        (Some((authority, Some(if scheme == "http://" { 80 } else { 443 }))), &rest[end..])
    } else {
        return bad;
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let fine =
        |text: &str, but: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !but.as_bytes().contains(&byte));
    if fine(path, "#<>\\`") && fine(query, "#<>\"") { Ok(named) } else { bad }
}

/// The events of a stream of requests, as `super::requests` gives them.
fn read(stream: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut rest = stream;
    loop {
        match message(rest, &mut events) {
            Ok(Some(after)) => rest = after,
            Ok(None) => return events,
            Err(refusal) => {
                events.push(Event::Refused(refusal));
                return events;
            }
        }
    }
}

fn message<'a>(stream: &'a [u8], events: &mut Vec<Event>) -> Result<Option<&'a [u8]>, Refusal> {
    let Some(first) = line(stream) else {
        return Ok(None);
    };
    let (mut first, mut rest) = first?;
    if first.is_empty() {
        let Some(second) = line(rest) else {
            return Ok(None);
        };
        (first, rest) = second?;
        if first.is_empty() {
            return Err(Refusal::EmptyLines);
        }
    }
    if first.contains(&b'\r') {
        return Err(Fault::BareCr.into());
    }
    let words: Vec<&[u8]> = first.splitn(3, |&byte| byte == b' ').collect();
    if words[0].is_empty() || !words[0].iter().all(|&byte| is_tchar(byte)) || words.len() < 2 {
        return Err(Refusal::BadMethod);
    }
    let [method, wanted, version] = words[..] else {
        return Err(Refusal::BadRequestLine);
    };
    let method = String::from_utf8_lossy(method).into_owned();
    if method.len() > 32 {
        return Err(Refusal::MethodTooLong);
    }
    let version = String::from_utf8_lossy(version).into_owned();
    if version != "HTTP/1.1" && version != "HTTP/1.0" {
        let shape: String = version.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        return Err(if shape == "HTTP/9.9" { Fault::BadVersion.into() } else { Refusal::BadRequestLine });
    }
    let named = target(&method, wanted)?;
    let mut fields = Fields::new();
    loop {
        let Some(next) = line(rest) else {
            return Ok(None);
        };
        let (text, after) = next?;
        rest = after;
        if text.is_empty() {
            break;
        }
        take(&mut fields, field(text)?, &version)?;
    }
    let get = |name: &str| fields.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_slice()).next();
    let host = match get("host") {
        Some(value) => Some(std::str::from_utf8(value).ok().and_then(authority).ok_or(Refusal::BadHost)?),
        None if version == "HTTP/1.1" => return Err(Refusal::MissingHost),
        None => None,
    };
    if let (Some(((name, port), default)), Some((host, host_port))) = (named, host)
        && (name != host || port.or(default) != host_port.or(default))
    {
        return Err(Refusal::HostMismatch);
    }
    let length =
        get("content-length").map_or(0, |value| String::from_utf8_lossy(value).parse::<usize>().expect("checked"));
    let chunked = get("transfer-encoding").is_some();
    if ["CONNECT", "TRACE"].contains(&method.as_str()) && (length > 0 || chunked) {
        return Err(Refusal::BodyNotAllowed);
    }
    let all = |name: &str| {
        let values = fields.iter().filter(|(other, _)| other == name);
        values.map(|(_, value)| String::from_utf8_lossy(value).to_lowercase()).collect::<Vec<_>>()
    };
    let connection = all("connection").iter().any(|value| value.split(',').any(|word| word.trim() == "upgrade"));
    let protocols = all("upgrade");
    let asks = if method == "CONNECT" {
        Asks::Connect
    } else if protocols.is_empty() || !connection || version == "HTTP/1.0" {
        Asks::Nothing
    } else if protocols.iter().all(|protocol| protocol == "h2c") {
        Asks::H2c
    } else {
        Asks::Upgrade
    };
    events.push(Event::Head { len: stream.len() - rest.len(), asks });
    let before = rest.len();
    let complete = if chunked { chunks(&mut rest) } else { Ok(plain(&mut rest, length)) };
    if before > rest.len() {
        events.push(Event::Body(before - rest.len()));
    }
    if !complete? {
        return Ok(None);
    }
    if matches!(asks, Asks::Upgrade | Asks::Connect) && !rest.is_empty() {
        events.push(Event::Held);
    }
    Ok(Some(rest))
}

fn plain(rest: &mut &[u8], length: usize) -> bool {
    let len = length.min(rest.len());
    *rest = &rest[len..];
    len == length
}

/// Whether a quoted string of a chunk extension is still open where the extension ends: what is left of it when its
/// closed strings are cut out has a quote.
fn ends_within_quotes(extension: &[u8]) -> bool {
    let mut rest = extension;
    while let Some(open) = rest.iter().position(|&byte| byte == b'"') {
        rest = &rest[open + 1..];
        loop {
            match rest {
                [] => return true,
                [b'"', after @ ..] => {
                    rest = after;
                    break;
                }
                [b'\\', _, after @ ..] | [_, after @ ..] => rest = after,
            }
        }
    }
    false
}

/// Eats a chunked body up to its end (`true`), the end of the bytes (`false`) or the faulty byte.
fn chunks(rest: &mut &[u8]) -> Result<bool, Refusal> {
    loop {
        let digits = rest.iter().position(|byte| !byte.is_ascii_hexdigit()).unwrap_or(rest.len());
        let size = if digits == 0 {
            0
        } else {
            u128::from_str_radix(&String::from_utf8_lossy(&rest[..digits.min(20)]), 16).expect("hex")
        };
        assert!(digits <= 16 && size < 1 << 63, "the generated streams stay below: the table does not");
        *rest = &rest[digits..];
        match rest.first() {
            None => return Ok(false),
            Some(b'\r' | b';' | b'\n') if digits > 0 => {}
            Some(_) => return Err(Fault::BadChunkSize.into()),
        }
        if rest[0] == b';' {
            let end = rest.iter().position(|&byte| byte != b'\t' && byte.is_ascii_control()).unwrap_or(rest.len());
            let extension = &rest[..end];
            *rest = &rest[end..];
            if rest.first() == Some(&b'\r') && ends_within_quotes(extension) {
                return Err(Fault::BadChunkExtension.into());
            }
        }
        match rest {
            [] => return Ok(false),
            [b'\n', ..] => return Err(Fault::BareLf.into()),
            [b'\r', ..] => *rest = &rest[1..],
            _ => return Err(Fault::BadChunkExtension.into()),
        }
        match rest {
            [] => return Ok(false),
            [b'\n', ..] => *rest = &rest[1..],
            _ => return Err(Fault::BareCr.into()),
        }
        if size == 0 {
            break;
        }
        if !plain(rest, size as usize) {
            return Ok(false);
        }
        for expected in *b"\r\n" {
            match rest.first() {
                None => return Ok(false),
                Some(byte) if *byte == expected => *rest = &rest[1..],
                Some(_) => return Err(Fault::BadChunkEnd.into()),
            }
        }
    }
    let mut trailers = *rest;
    loop {
        let Some(next) = line(trailers) else {
            return Ok(false);
        };
        let (text, after) = next?;
        trailers = after;
        if text.is_empty() {
            *rest = trailers;
            return Ok(true);
        }
        if ["content-length", "transfer-encoding", "host"].contains(&field(text)?.0.as_str()) {
            return Err(Fault::ForbiddenTrailer.into());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_machine_says_what_the_plain_reading_says(stream in streams::stream()) {
        // A byte may turn a trailer's name into another forbidden one; the plain reading knows three.
        prop_assert_eq!(requests(Limits::default(), &stream, &[]), read(&stream), "{}", stream.escape_ascii());
    }

    #[test]
    fn requests_do_not_depend_on_the_cuts(
        stream in streams::stream(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
        cuts.sort_unstable();
        let limits = Limits { max_headers: 6, max_head_bytes: 160, max_target_bytes: 12, ..Limits::default() };
        for limits in [Limits::default(), limits] {
            prop_assert_eq!(
                requests(limits, &stream, &cuts),
                requests(limits, &stream, &[]),
                "{} at {:?}", stream.escape_ascii(), cuts
            );
        }
    }

    #[test]
    fn responses_do_not_depend_on_the_cuts(
        stream in streams::stream(),
        status in proptest::sample::select(&["HTTP/1.1 200 OK", "HTTP/1.1 103", "HTTP/1.1 304 X", "HTTP/1.0 500 No"][..]),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        // The request lines become status lines.
        let text: Vec<u8> = stream.split_inclusive(|&byte| byte == b'\n')
            .flat_map(|line| if line.windows(5).any(|part| part == b"HTTP/") {
                [status.as_bytes(), b"\r\n"].concat()
            } else {
                line.to_vec()
            })
            .collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).collect();
        cuts.sort_unstable();
        let expected = [Expected::Plain, Expected::Head, Expected::Upgrade, Expected::Connect];
        let whole = responses(Limits::default(), &expected, &text, &[]);
        prop_assert_eq!(responses(Limits::default(), &expected, &text, &cuts), whole.clone(), "{}", text.escape_ascii());
        prop_assert!(!whole.contains(&Event::Violated(Violation::Early)));
    }

    #[test]
    fn any_bytes_at_all_are_judged(stream in proptest::collection::vec(any::<u8>(), 0..200)) {
        let cuts: Vec<usize> = (1..stream.len()).collect();
        prop_assert_eq!(requests(Limits::default(), &stream, &cuts), requests(Limits::default(), &stream, &[]));
    }
}
