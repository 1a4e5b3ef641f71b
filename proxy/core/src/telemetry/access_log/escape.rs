//! Outsiders' bytes made harmless in a line of text or of JSON: no byte of theirs can end a line, a quoted word or a
//! string, or steer a terminal.

/// Appends bytes to a line of text. Control characters, `"`, `\`, line separators and bytes that are not UTF-8 become
/// `\xNN`; the result can be undone, since every backslash of the input is one of them.
pub(super) fn text(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        runs(chunk.valid(), out, |character, out| {
            let mut buffer = [0; 4];
            for byte in character.encode_utf8(&mut buffer).bytes() {
                hex(byte, out);
            }
        });
        for byte in chunk.invalid() {
            hex(*byte, out);
        }
    }
}

/// Appends bytes within a JSON string (RFC 8259 §7), without its quotes. A byte that is not UTF-8 is taken for
/// ISO 8859-1, which header values once were (RFC 9110 §5.5).
pub(super) fn json(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        runs(chunk.valid(), out, |character, out| match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    unicode(*unit, out);
                }
            }
        });
        for byte in chunk.invalid() {
            unicode(u16::from(*byte), out);
        }
    }
}

/// Copies what is harmless in runs, and hands every other character to `escape`.
fn runs(text: &str, out: &mut Vec<u8>, escape: impl Fn(char, &mut Vec<u8>)) {
    let mut rest = text;
    while let Some(at) = rest.find(harmful) {
        let (run, tail) = rest.split_at(at);
        out.extend_from_slice(run.as_bytes());
        let mut characters = tail.chars();
        if let Some(character) = characters.next() {
            escape(character, out);
        }
        rest = characters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// U+0080 to U+009F steer terminals as ESC does; U+2028 and U+2029 end lines for some readers.
fn harmful(character: char) -> bool {
    character.is_control() || matches!(character, '"' | '\\' | '\u{2028}' | '\u{2029}')
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn hex(byte: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\x");
    out.push(DIGITS[usize::from(byte >> 4)]);
    out.push(DIGITS[usize::from(byte & 15)]);
}

fn unicode(unit: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\\u");
    for shift in [12, 8, 4, 0] {
        out.push(DIGITS[usize::from(unit >> shift & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn escaped(escape: fn(&[u8], &mut Vec<u8>), bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape(bytes, &mut out);
        String::from_utf8(out).expect("escaped text is UTF-8")
    }

    #[test]
    fn known_cases() {
        for (bytes, as_text, as_json) in [
            (&b"plain /path?q=1"[..], "plain /path?q=1", "plain /path?q=1"),
            (b"a\"b\\c", "a\\x22b\\x5cc", "a\\\"b\\\\c"),
            (b"\r\n\tx\0\x1b\x7f", "\\x0d\\x0a\\x09x\\x00\\x1b\\x7f", "\\r\\n\\tx\\u0000\\u001b\\u007f"),
            ("ä€😀".as_bytes(), "ä€😀", "ä€😀"),
            ("\u{9b}\u{2028}".as_bytes(), "\\xc2\\x9b\\xe2\\x80\\xa8", "\\u009b\\u2028"),
            (b"caf\xe9\xff", "caf\\xe9\\xff", "caf\\u00e9\\u00ff"),
            (b"\xe2\x82", "\\xe2\\x82", "\\u00e2\\u0082"),
        ] {
            assert_eq!(escaped(text, bytes), as_text);
            assert_eq!(escaped(json, bytes), as_json);
        }
    }

    /// The reverse of [`text`].
    fn undo(line: &str) -> Vec<u8> {
        let (mut out, mut rest) = (Vec::new(), line.as_bytes());
        while let [first, tail @ ..] = rest {
            if *first == b'\\' {
                let digits = std::str::from_utf8(&tail[1..3]).unwrap();
                out.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &tail[3..];
            } else {
                out.push(*first);
                rest = tail;
            }
        }
        out
    }

    proptest! {
        #[test]
        fn text_is_one_safe_line_and_can_be_undone(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let line = escaped(text, &bytes);
            prop_assert!(!line.chars().any(|c| c.is_control() || c == '"'));
            prop_assert_eq!(undo(&line), bytes);
        }

        #[test]
        fn text_that_is_utf8_survives_json(value in any::<String>()) {
            let line = escaped(json, value.as_bytes());
            prop_assert!(!line.chars().any(char::is_control));
            prop_assert_eq!(super::super::tests::json_string(&format!("\"{line}\"")), value);
        }

        #[test]
        fn any_bytes_make_a_json_string(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let line = escaped(json, &bytes);
            super::super::tests::json_string(&format!("\"{line}\""));
        }
    }
}
