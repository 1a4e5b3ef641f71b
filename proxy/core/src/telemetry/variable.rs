//! Values of template variables, and templates rendered with them. Serves the access log and header values.
//!
//! Knows nothing of escaping: that is the business of what the text is put into.

use super::{flags::ResponseFlags, time};
use pillion_config::template::{Part, Template, Variable};
use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    sync::OnceLock,
    time::SystemTime,
};

/// The value of a variable. Only [`Value::Bytes`] can hold what a client chose; all others print as plain ASCII
/// without quotes, backslashes or control characters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A number, and so it stays in JSON.
    Number(u64),
    /// Bytes, perhaps of an outsider's choice.
    Bytes(&'a [u8]),
    /// An address and port.
    Address(SocketAddr),
    /// An address.
    Ip(IpAddr),
    /// A point in time.
    Time(SystemTime),
    /// Response flags.
    Flags(ResponseFlags),
}

/// Where the values of variables come from.
pub trait Source {
    /// The variable's value; `None`: there is none.
    fn value(&self, variable: &Variable) -> Option<Value<'_>>;
}

/// Appends the template's text: values as they are, nothing for a value that is missing.
pub fn render(template: &Template, source: &impl Source, out: &mut Vec<u8>) {
    for part in &template.0 {
        match part {
            Part::Literal(text) => out.extend_from_slice(text.as_bytes()),
            Part::Variable(variable, limit) => {
                if let Some(value) = source.value(variable) {
                    value.limited(*limit).write(*limit, out);
                }
            }
        }
    }
}

impl Value<'_> {
    /// Appends the value, unescaped.
    pub fn append(self, out: &mut Vec<u8>) {
        self.write(None, out);
    }

    /// The value with its bytes cut to the limit, at the beginning of a UTF-8 character.
    pub(super) fn limited(self, limit: Option<usize>) -> Self {
        match (self, limit) {
            (Value::Bytes(bytes), Some(limit)) => Value::Bytes(cut(bytes, limit)),
            _ => self,
        }
    }

    /// Appends the value, unescaped, at most `limit` bytes of it.
    pub(super) fn write(self, limit: Option<usize>, out: &mut Vec<u8>) {
        let start = out.len();
        match self {
            Value::Number(number) => {
                out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
            Value::Bytes(bytes) => out.extend_from_slice(bytes),
            // A dual-stack socket reports IPv4 peers as ::ffff:a.b.c.d; people search for a.b.c.d.
            Value::Address(address) => {
                let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                write_display(address, out);
            }
            Value::Ip(ip) => write_display(ip.to_canonical(), out),
            Value::Time(at) => time::write_rfc3339(at, out),
            Value::Flags(flags) => write_display(flags, out),
        }
        if let Some(limit) = limit {
            out.truncate(start.saturating_add(limit));
        }
    }
}

fn write_display(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    // Writing into a Vec cannot fail, and none of our Display impls does.
    let _ = write!(out, "{value}");
}

/// At most `limit` bytes; not ending within a UTF-8 character, unless there is none in sight.
pub(super) fn cut(bytes: &[u8], limit: usize) -> &[u8] {
    if bytes.len() <= limit {
        return bytes;
    }
    let boundary = (limit.saturating_sub(3)..=limit).rev().find(|&at| bytes[at] & 0xC0 != 0x80);
    &bytes[..boundary.unwrap_or(limit)]
}

/// This machine's name, read once.
pub(crate) fn hostname() -> &'static [u8] {
    static NAME: OnceLock<Box<[u8]>> = OnceLock::new();
    NAME.get_or_init(|| rustix::system::uname().nodename().to_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fixed<'a>(Option<Value<'a>>);

    impl Source for Fixed<'_> {
        fn value(&self, _: &Variable) -> Option<Value<'_>> {
            self.0
        }
    }

    fn rendered(value: Option<Value<'_>>, limit: Option<usize>) -> String {
        let parts =
            vec![Part::Literal("[".into()), Part::Variable(Variable::Hostname, limit), Part::Literal("]".into())];
        let mut out = Vec::new();
        render(&Template(parts), &Fixed(value), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_render_as_plain_text() {
        let mapped: SocketAddr = "[::ffff:10.0.0.7]:80".parse().unwrap();
        assert_eq!(rendered(None, None), "[]");
        assert_eq!(rendered(Some(Value::Number(u64::MAX)), None), "[18446744073709551615]");
        assert_eq!(rendered(Some(Value::Number(12345)), Some(2)), "[12]");
        assert_eq!(rendered(Some(Value::Address(mapped)), None), "[10.0.0.7:80]");
        assert_eq!(rendered(Some(Value::Ip("::1".parse().unwrap())), None), "[::1]");
        assert_eq!(rendered(Some(Value::Bytes("aä".as_bytes())), Some(2)), "[a]");
        assert_eq!(rendered(Some(Value::Bytes("aä".as_bytes())), Some(3)), "[aä]");
        assert!(!hostname().is_empty());
    }

    proptest! {
        #[test]
        fn a_cut_is_a_short_prefix_and_keeps_utf8_whole(text in ".*", limit in 0usize..40) {
            let piece = cut(text.as_bytes(), limit);
            prop_assert!(piece.len() <= limit && text.as_bytes().starts_with(piece));
            prop_assert!(std::str::from_utf8(piece).is_ok());
            prop_assert!(piece.len() + 3 >= limit.min(text.len()));
        }

        #[test]
        fn a_cut_of_any_bytes_is_a_prefix(bytes in proptest::collection::vec(any::<u8>(), 0..60), limit in 0usize..80) {
            let piece = cut(&bytes, limit);
            prop_assert!(piece.len() <= limit && bytes.starts_with(piece));
        }
    }
}
