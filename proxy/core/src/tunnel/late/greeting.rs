//! What a server that speaks first says by it: a server of HTTP greets, too. Pure.
//!
//! One of HTTP/2 may send its SETTINGS before its client's preface has come (RFC 9113 §3.4), and gRPC's and Node's do; one of HTTP/1
//! may say 408 of a silence that lasts (RFC 9110 §15.5.9). Neither has heard what its client speaks.

/// What the first bytes of a server say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Greets {
    /// As servers of HTTP do.
    AsHttp,
    /// As others do: the connection speaks another protocol.
    Otherwise,
    /// Too little to tell.
    More,
}

/// How an answer of HTTP/1 begins.
const ANSWER: &[u8] = b"HTTP/";

/// Bytes of a frame's head (RFC 9113 §4.1), and of a frame's content at most, while nobody has allowed more.
const FRAME_HEAD: usize = 9;
const MAX_FRAME: usize = 1 << 14;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
/// Bytes of one setting.
const SETTING: usize = 6;

/// What `said` says. What it says of a prefix it says of every longer one, [`Greets::More`] excepted.
pub(super) fn of(said: &[u8]) -> Greets {
    if said.starts_with(ANSWER) {
        return Greets::AsHttp;
    }
    if ANSWER.starts_with(said) {
        return Greets::More;
    }
    let head = &said[..said.len().min(FRAME_HEAD)];
    let begins = head.iter().enumerate().all(|(at, &byte)| match at {
        3 => byte == SETTINGS,
        4 => byte == 0 || byte == ACK,
        // The highest bit is reserved, and ignored.
        5 => byte & 0x7f == 0,
        6.. => byte == 0,
        _ => true,
    });
    let length = head
        .first_chunk()
        .map(|&[high, middle, low]| usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low));
    let fits = length.is_none_or(|length| {
        let acknowledges = head.get(4) == Some(&ACK);
        length.is_multiple_of(SETTING) && length <= MAX_FRAME && !(acknowledges && length > 0)
    });
    match head.len() {
        _ if !(begins && fits) => Greets::Otherwise,
        FRAME_HEAD => Greets::AsHttp,
        _ => Greets::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_told_of_a_beginning_stands(start in 0usize..4, bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let start: &[u8] = [&b""[..], b"HTT", b"\0\0\x06\x04", b"\0\0\0\x04\0\0\0"][start];
            let bytes = [start, &bytes].concat();
            for end in 0..bytes.len() {
                let early = of(&bytes[..end]);
                prop_assert!(early == Greets::More || early == of(&bytes), "{end}");
            }
        }
    }

    #[test]
    fn settings_of_any_length_they_may_have_are_http_s() {
        for length in 0..0x2_0000u32 {
            let head = [&length.to_be_bytes()[1..], &[SETTINGS, 0, 0, 0, 0, 0]].concat();
            let fits = length % 6 == 0 && length <= 16_384;
            assert_eq!(of(&head) == Greets::AsHttp, fits, "{length}");
            assert_eq!(of(&head[..3]), if fits { Greets::More } else { Greets::Otherwise }, "{length}");
        }
        assert_eq!(of(b"\0\0\x06\x04\x01"), Greets::Otherwise, "an acknowledgment is empty");
    }
}
