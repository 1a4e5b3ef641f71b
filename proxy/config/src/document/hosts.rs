//! Hosts: what a name may look like, and the ways in which an address is written wrongly.

use super::value::FromText;
use crate::model::HostPattern;
use std::{
    borrow::Cow,
    net::{Ipv4Addr, Ipv6Addr},
};

impl FromText for HostPattern {
    fn words() -> Cow<'static, str> {
        "a host such as example.com, *.example.com, *-canary, api-* or [2001:db8::7]".into()
    }

    fn from_text(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Err(Self::expected(text, "to match any host, leave `host` out"));
        }
        if let Some((_, rest)) = text.split_once("://") {
            return Err(Self::expected(
                text,
                &format!("write {} without the scheme", rest.split('/').next().unwrap_or(rest)),
            ));
        }
        if let Some(literal) = text.strip_prefix('[') {
            let Some((address, after)) = literal.split_once(']') else {
                return Err(Self::expected(text, "a bracket is not closed"));
            };
            if !after.is_empty() {
                return Err(Self::expected(
                    text,
                    &format!("a host has no port here, every port matches: write [{address}]"),
                ));
            }
            let address: Ipv6Addr = address.parse().map_err(|_| Self::expected(text, ""))?;
            return Ok(Self::Exact(format!("[{address}]")));
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Err(Self::expected(text, &format!("write [{text}]")));
        }
        if let Some((host, port)) = text.rsplit_once(':')
            && port.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(Self::expected(text, &format!("a host has no port here, every port matches: write {host}")));
        }
        type Kind = fn(String) -> HostPattern;
        // A dot beside the star ends a label.
        let (rest, name, kind): (&str, &str, Kind) = match (text.strip_prefix('*'), text.strip_suffix('*')) {
            (Some(rest), _) => (rest, rest.strip_prefix('.').unwrap_or(rest), Self::Suffix),
            (None, Some(rest)) => (rest, rest.strip_suffix('.').unwrap_or(rest), Self::Prefix),
            (None, None) => (text, text, Self::Exact),
        };
        if rest.contains('*') {
            return Err(Self::expected(text, "one star stands at the beginning or at the end"));
        }
        // Beside a star stands a part of a name, or of an address: `10.*`.
        let judged = if rest.len() < text.len() { labels(name) } else { host_name(name) };
        judged.map_err(|remedy| Self::expected(text, &remedy))?;
        Ok(kind(rest.to_ascii_lowercase()))
    }
}

/// RFC 1123 §2.1 names, with the underscores that service names have in practice. An error is the remedy.
pub(super) fn host_name(name: &str) -> Result<(), String> {
    labels(name)?;
    // What ends in a number is an IPv4 address by intent (WHATWG URL §3.5), and it did not parse as one.
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|b| b.is_ascii_digit()) && name.parse::<Ipv4Addr>().is_err() {
        return Err("that is not an IPv4 address".into());
    }
    Ok(())
}

/// Labels with dots between.
fn labels(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a host is missing".into());
    }
    if !name.is_ascii() {
        return Err("write international names in their ASCII form (xn--…)".into());
    }
    if name.len() > 253 {
        return Err("a name has at most 253 characters".into());
    }
    if name.ends_with('.') {
        return Err("leave the final dot out".into());
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err("between dots stand 1 to 63 characters".into());
        }
        if let Some(bad) = label.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))) {
            return Err(format!("{bad:?} cannot be in a host name"));
        }
    }
    Ok(())
}

/// `::1:8080` could mean two things.
pub(super) fn ipv6_without_brackets(text: &str) -> Option<String> {
    if text.starts_with('[') || text.bytes().filter(|b| *b == b':').count() < 2 {
        return None;
    }
    let (host, port) = text.rsplit_once(':')?;
    let host = host.parse::<Ipv6Addr>().map_or_else(|_| text.to_owned(), |host| host.to_string());
    Some(format!("put an IPv6 address in brackets: [{host}]:{}", if port.is_empty() { "8080" } else { port }))
}
