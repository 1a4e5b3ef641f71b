//! What each stage of the path costs by itself, without a socket or a system call.
//!
//! A benchmark's name is `stage::what_goes_in_and_what_is_decided`; above each stands the flow of bytes it measures.
//! Run `cargo bench -p pillion-bench --bench stages [NAME]`. Times are of this machine at this moment; what must not
//! drift is counted by `pillion-bench instructions`.

mod balance;
mod detect;
mod exchange;
mod framing;
mod memory;
mod route;

fn main() {
    divan::main();
}

/// A GET as `curl` sends it with a few of a browser's fields: 9 field lines, 455 bytes.
const BROWSER_GET: &[u8] = b"GET /api/v1/orders/4711?expand=lines HTTP/1.1\r\n\
    Host: shop.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Connection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    X-Request-Id: 0e2b6c1c-9a2f-4b7e-8f44-1d2f3c4b5a69\r\n\r\n";

/// The least a client sends: 1 field line.
const SMALL_GET: &[u8] = b"GET /small HTTP/1.1\r\nHost: test\r\n\r\n";
