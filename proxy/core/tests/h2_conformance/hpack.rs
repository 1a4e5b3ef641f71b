//! h2spec `hpack`: RFC 7541. What cannot be decoded ends the connection with COMPRESSION_ERROR (RFC 9113 §4.3).

use crate::{
    table::{Case, Expect, Step, case, play, steps},
    wire::*,
};

fn undecodable(name: &'static str, block: Vec<u8>) -> Case {
    case(name, headers(WHOLE, 1, &block), Expect::Connection(&[COMPRESSION_ERROR]))
}

fn after(extra: &[u8]) -> Vec<u8> {
    [&get("/")[..], extra].concat()
}

#[test]
fn hpack_errors() {
    play(vec![
        undecodable("2.3.3/1 index beyond the tables", after(&integer(0x80, 7, 70))),
        undecodable("2.3.3/2 name index beyond the tables", after(&[integer(0x40, 6, 70), b"\x01x".to_vec()].concat())),
        undecodable("4.2/1 table size update at the end of a block", after(&[0x20])),
        // The Huffman code of 'x' padded with more than seven bits, with zeros, and with EOS within.
        undecodable("5.2/1 padding longer than 7 bits", after(b"\x00\x01x\x82\xf3\xff")),
        undecodable("5.2/2 padded with zeros", after(b"\x00\x01x\x81\x00")),
        undecodable("5.2/3 EOS within a string", after(b"\x00\x01x\x84\xff\xff\xff\xff")),
        undecodable("6.1/1 index 0", after(&[0x80])),
        undecodable("6.3/1 table size over the limit", [integer(0x20, 5, 4097), get("/")].concat()),
        undecodable("an integer that overflows", after(&[0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01])),
        undecodable("a block that ends within a string", after(b"\x00\x05x-tes")),
    ]);
}

#[test]
fn wherever_the_block_stands() {
    let fine = |stream| headers(WHOLE, stream, &after(b"\x40\x01a\x01b\xbe"));
    let bad = after(&[0xc6]);
    let padded = [&[4][..], &bad, &[0; 4]].concat();
    let (first, rest) = bad.split_at(bad.len() - 1);
    let split = [headers(END_STREAM, 1, first), frame(CONTINUATION, END_HEADERS, 1, rest)].concat();
    let byte_by_byte = headers(WHOLE, 1, &after(&[0x80])).into_iter().map(|byte| Step::Send(vec![byte])).collect();
    let fatal = |name, bytes| case(name, bytes, Expect::Connection(&[COMPRESSION_ERROR]));
    let trailers = [headers(END_HEADERS, 1, &post("/hang")), headers(WHOLE, 1, &[0x80])].concat();
    play(vec![
        fatal("behind requests of the same read", [fine(1), fine(3), headers(WHOLE, 5, &bad)].concat()),
        fatal("before one of the same read", [headers(WHOLE, 1, &bad), fine(3)].concat()),
        fatal("padded", headers(WHOLE | PADDED, 1, &padded)),
        fatal("behind a priority", headers(WHOLE | WITH_PRIORITY, 1, &[&[0, 0, 0, 0, 9], &bad[..]].concat())),
        fatal("in a CONTINUATION", split),
        fatal("in trailers", trailers),
        steps("byte by byte", byte_by_byte, Expect::Connection(&[COMPRESSION_ERROR])),
        // What can be decoded keeps the code of what is wrong with it.
        case(
            "a bad name before a bad index",
            headers(WHOLE, 1, &after(b"\x00\x01X\x00\x80")),
            Expect::Connection(&[PROTOCOL_ERROR]),
        ),
        case("an even stream", headers(WHOLE, 2, &after(b"\x40\x01a\x01b\xbe")), Expect::Connection(&[PROTOCOL_ERROR])),
        case(
            "a request that refers to the table, then a frame that is wrong",
            [fine(1), frame(PING, 0, 1, &[0; 8])].concat(),
            Expect::Connection(&[PROTOCOL_ERROR]),
        ),
    ]);
}

#[test]
fn every_prefix_of_a_block_is_an_error_or_malformed() {
    const PSEUDO: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "test.example")];
    let whole = after(b"\x40\x06x-test\x02ok\xbe");
    play(
        (0..whole.len())
            .map(|cut| {
                let mut case =
                    case("prefix", headers(WHOLE, 1, &whole[..cut]), Expect::Connection(&[COMPRESSION_ERROR]));
                // A prefix that ends between two fields is a request, from :scheme on (see "no path" in section 8).
                let fields = |count| block(&PSEUDO[..count]).len();
                if cut == 0 || cut == fields(1) {
                    case.expect = Expect::Stream(1, &[PROTOCOL_ERROR]);
                } else if cut == fields(2) || cut == fields(3) {
                    case.expect = Expect::Response(1, 400);
                } else if cut == fields(4) || cut == fields(4) + 11 {
                    case.expect = Expect::Response(1, 200);
                }
                case
            })
            .collect(),
    );
}
