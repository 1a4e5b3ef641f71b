//! Byte classes of HTTP/1, one table look-up a byte.
//!
//! Knows characters only; what a run of them means is decided by the callers. Never allocates.

/// `tchar`, RFC 9110 5.6.2.
pub(super) const TOKEN: u8 = 1;
/// What a path may hold: `pchar` and `/` of RFC 3986 3.3, and the few others that browsers send as they are
/// and that `http::Uri` carries. Backslash is left out: some servers read it as a slash.
pub(super) const PATH: u8 = 1 << 1;
/// What a query may hold after its `?`.
pub(super) const QUERY: u8 = 1 << 2;
/// What a registered name may hold: `unreserved` of RFC 3986 2.3. Sub-delimiters and percent-encoding are
/// legal there on paper, unused in practice, and read differently by different servers.
pub(super) const HOST: u8 = 1 << 3;
/// `field-vchar`, SP and HTAB: RFC 9110 5.5, obs-text included.
pub(super) const VALUE: u8 = 1 << 4;

static CLASSES: [u8; 256] = classes();

/// The classes that `byte` belongs to.
#[inline(always)]
pub(super) fn of(byte: u8) -> u8 {
    CLASSES[byte as usize]
}

/// The length of the longest prefix of `bytes` whose every byte is in `class`. Four at a time while all four are.
#[inline(always)]
pub(super) fn span(bytes: &[u8], class: u8) -> usize {
    let (fours, _) = bytes.as_chunks::<4>();
    let mut at = 0;
    for &[a, b, c, d] in fours {
        if of(a) & of(b) & of(c) & of(d) & class == 0 {
            break;
        }
        at += 4;
    }
    while let Some(&byte) = bytes.get(at) {
        if of(byte) & class == 0 {
            break;
        }
        at += 1;
    }
    at
}

/// Whether every byte of `value` may stand in a field value. Eight bytes at a time; the last eight may overlap the ones
/// before them.
#[inline(always)]
pub(super) fn is_field_value(value: &[u8]) -> bool {
    let (words, _) = value.as_chunks::<8>();
    let Some(tail) = value.last_chunk::<8>() else {
        return span(value, VALUE) == value.len();
    };
    let suspect = words.iter().fold(suspects(*tail), |suspect, word| suspect | suspects(*word));
    // A tab is a control byte that may stand there, and rare enough to be looked up.
    suspect == 0 || span(value, VALUE) == value.len()
}

/// Not zero if one of eight bytes is below 0x20 or is 0x7f. (Which one it does not say: a borrow may mark the next too.)
#[inline(always)]
fn suspects(word: [u8; 8]) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let word = u64::from_le_bytes(word);
    let below = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = word ^ (ONES * 0x7f);
    let delete = delete.wrapping_sub(ONES) & !delete;
    (below | delete) & (ONES * 0x80)
}

/// `value` without the spaces and tabs around it (OWS, RFC 9110 5.6.3).
#[inline(always)]
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        let byte = i as u8;
        let mut class = 0;
        if byte.is_ascii_alphanumeric() {
            class |= TOKEN | PATH | QUERY | HOST;
        }
        if matches!(byte, b'-' | b'.' | b'_' | b'~') {
            class |= TOKEN | PATH | QUERY | HOST;
        }
        if matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'^' | b'`' | b'|') {
            class |= TOKEN;
        }
        if matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@') {
            class |= PATH | QUERY;
        }
        if matches!(byte, b'/' | b'%' | b'|' | b'^' | b'[' | b']' | b'{' | b'}') {
            class |= PATH | QUERY;
        }
        if byte == b'"' {
            class |= PATH;
        }
        if matches!(byte, b'?' | b'\\' | b'`') {
            class |= QUERY;
        }
        if byte == b'\t' || (byte >= 0x20 && byte != 0x7f) {
            class |= VALUE;
        }
        table[i] = class;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_check_is_the_table() {
        for byte in 0..=255u8 {
            assert_eq!(is_field_value(&[b'a', byte, b'z']), of(byte) & VALUE != 0, "{byte:#x}");
        }
    }

    #[test]
    fn what_a_target_may_hold_is_what_the_uri_type_carries() {
        for byte in 0..=255u8 {
            if of(byte) & PATH != 0 {
                let target = [b'/', byte];
                assert!(http::Uri::try_from(&target[..]).is_ok(), "path {byte:#x}");
            }
            if of(byte) & QUERY != 0 {
                let target = [b'/', b'?', byte];
                assert!(http::Uri::try_from(&target[..]).is_ok(), "query {byte:#x}");
            }
        }
    }

    #[test]
    fn tokens_are_those_of_the_http_types() {
        for byte in 0..=255u8 {
            let token = of(byte) & TOKEN != 0;
            assert_eq!(http::HeaderName::from_bytes(&[byte]).is_ok(), token, "name {byte:#x}");
        }
    }

    #[test]
    fn trimming_takes_spaces_and_tabs_only() {
        assert_eq!(trim(b" \t a b\t "), b"a b");
        assert_eq!(trim(b" \t "), b"");
        assert_eq!(trim(b"\x0ba"), b"\x0ba");
    }
}
