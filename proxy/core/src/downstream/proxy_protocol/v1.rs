//! Version 1: one line of text (§2.1). Pure.

use super::header::{Ends, Fault, Header, Read, V1_MAX, V1_START};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// Reads a prefix that begins as version 1 does.
pub(super) fn read(prefix: &[u8]) -> Read {
    let within = &prefix[..prefix.len().min(V1_MAX)];
    let Some(end) = within.iter().position(|&byte| byte == b'\n') else {
        return if prefix.len() < V1_MAX { Read::More } else { Read::Bad(Fault::LineTooLong) };
    };
    let Some(line) = within[V1_START.len()..end].strip_suffix(b"\r") else { return Read::Bad(Fault::Line) };
    match self::line(line) {
        Ok(ends) => Read::Whole(Header { ends, ..Header::default() }, end + 1),
        Err(fault) => Read::Bad(fault),
    }
}

/// What stands between `PROXY ` and the line's end.
fn line(line: &[u8]) -> Result<Option<Ends>, Fault> {
    let text = std::str::from_utf8(line).map_err(|_| Fault::Line)?;
    if text.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
        return Err(Fault::Line);
    }
    let mut words = text.split(' ');
    let mut word = || words.next().ok_or(Fault::Line);
    match word()? {
        // Whatever follows is to be ignored.
        "UNKNOWN" => Ok(None),
        family @ ("TCP4" | "TCP6") => {
            let mut address = || match family {
                "TCP4" => parsed::<Ipv4Addr>(word()?).map(IpAddr::V4),
                _ => parsed::<Ipv6Addr>(word()?).map(IpAddr::V6),
            };
            let (source, destination) = (address()?, address()?);
            let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
            if word().is_ok() {
                return Err(Fault::Line);
            }
            Ok(Some(Ends {
                source: SocketAddr::new(source, source_port),
                destination: SocketAddr::new(destination, destination_port),
            }))
        }
        _ => Err(Fault::Line),
    }
}

fn parsed<T: FromStr>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(|_| Fault::Address)
}

/// Decimal without leading zeros, 0 to 65535.
fn port(text: &str) -> Result<u16, Fault> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { parsed(text) } else { Err(Fault::Address) }
}
