//! h2spec `hpack`: RFC 7541.
//!
//! Deviation of h2: its GOAWAY says PROTOCOL_ERROR where RFC 9113 §4.3 says COMPRESSION_ERROR.

use crate::{
    table::{Case, Expect, case, play},
    wire::*,
};

fn undecodable(name: &'static str, block: Vec<u8>) -> Case {
    case(name, headers(WHOLE, 1, &block), Expect::Connection(&[COMPRESSION_ERROR, PROTOCOL_ERROR]))
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
fn every_prefix_of_a_block_is_an_error_or_malformed() {
    const PSEUDO: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "test.example")];
    let whole = after(b"\x40\x06x-test\x02ok\xbe");
    play(
        (0..whole.len())
            .map(|cut| {
                let mut case = case("prefix", headers(WHOLE, 1, &whole[..cut]), Expect::Either(1, PROTOCOL_ERROR));
                // A prefix that ends between two fields is a request, from :scheme on (see "no path" in section 8).
                let fields = |count| block(&PSEUDO[..count]).len();
                if cut == fields(2) || cut == fields(3) {
                    case.expect = Expect::Response(1, 400);
                } else if cut == fields(4) || cut == fields(4) + 11 {
                    case.expect = Expect::Response(1, 200);
                }
                case
            })
            .collect(),
    );
}
