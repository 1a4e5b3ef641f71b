//! What the first bytes of a connection are, and what a ClientHello asks for: never panics, and a verdict on a prefix
//! stands for every longer one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion_core::downstream::detect::{
    Among, Verdict,
    client_hello::{self, Hello},
    decide,
};

fuzz_target!(|input: &[u8]| {
    let Some((&how, bytes)) = input.split_first() else {
        return;
    };
    let len = bytes.len();
    let bytes = match how % 4 {
        0 => bytes.to_vec(),
        // One record of one ClientHello, whose own length fits.
        1 => {
            let message = (len as u32).to_be_bytes();
            let record = (len as u16 + 4).to_be_bytes();
            [&[22, 3, 1], &record[..], &[1], &message[1..], bytes].concat()
        }
        // With what stands before the extensions.
        2 => {
            let body = [&[3, 3][..], &[7; 32], &[0, 0, 2, 0x13, 1, 1, 0], &(len as u16).to_be_bytes(), bytes].concat();
            let message = (body.len() as u32).to_be_bytes();
            let record = (body.len() as u16 + 4).to_be_bytes();
            [&[22, 3, 1], &record[..], &[1], &message[1..], &body].concat()
        }
        // Words, the first of them one that the input chooses.
        _ => {
            let starts = [&b"GET "[..], b"OPTIONS ", b"PURGE", b"get /a ", b"Get wss://a RT", b""];
            let (&start, bytes) = bytes.split_first().unwrap_or((&0, bytes));
            [starts[usize::from(start) % starts.len()], bytes].concat()
        }
    };
    let cut = usize::from(how / 4) * bytes.len() / 64;
    let whole = client_hello::read(&bytes);
    let early = client_hello::read(&bytes[..cut]);
    assert!(early == Hello::More || early == whole, "{early:?} {whole:?}");
    if let Hello::Whole(asked) = &whole
        && let Some(name) = &asked.name
    {
        assert!(!name.is_empty() && name.len() <= 253 && name.is_ascii());
    }
    for among in [Among::Http, Among::Any, Among::Names] {
        let whole = decide(&bytes, among);
        let early = decide(&bytes[..cut], among);
        assert!(early == Verdict::More || early == whole, "{among:?} {early:?} {whole:?}");
    }
});
