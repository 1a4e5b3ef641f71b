//! HTTP/1 requests by combination: every byte in every place, every length beside every coding, limits and one beyond.

use super::{
    recorder::{normal, read_all},
    requests::{Reaches, Row, answers, run},
};

fn refused(name: String, input: Vec<u8>, status: &str) -> Row {
    Row { name, input, answers: answers(status), reaches: Reaches::Whole(Vec::new()) }
}

fn forwarded(name: String, input: Vec<u8>, status: &str) -> Row {
    let requests = read_all(&input).into_iter().map(|request| Some(normal(request))).collect();
    Row { name, input, answers: answers(status), reaches: Reaches::Whole(requests) }
}

fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[test]
fn every_byte_in_a_method() {
    // RFC 9110 §9.1: a method is a token. A CR or LF at its front would be an empty line, of which one is borne.
    let rows: Vec<_> = (0..=255u8)
        .map(|byte| {
            let input = [b"G", &[byte][..], b"T / HTTP/1.1\r\nHost: test\r\n\r\n"].concat();
            let name = format!("method byte {byte:#04x}");
            if is_tchar(byte) { forwarded(name, input, "200") } else { refused(name, input, "400") }
        })
        .collect();
    run(&rows);
}

#[test]
fn every_byte_in_a_target() {
    let rows: Vec<_> = (0..=255u8)
        .map(|byte| {
            let input = [b"GET /a", &[byte][..], b"b HTTP/1.1\r\nHost: test\r\n\r\n"].concat();
            let name = format!("target byte {byte:#04x}");
            let is_pchar = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&byte);
            // Printable, outside the grammar, and read alike by everyone: forwarded as it is or refused.
            let is_lenient = b"\"%<>[]^`{|}".contains(&byte);
            if is_pchar {
                forwarded(name, input, "200")
            } else if is_lenient {
                forwarded(name, input, "200/400k")
            } else {
                refused(name, input, "400")
            }
        })
        .collect();
    run(&rows);
}

#[test]
fn every_byte_in_a_field_name() {
    let rows: Vec<_> = (0..=255u8)
        .filter(|&byte| byte != b':')
        .map(|byte| {
            let input = [b"GET / HTTP/1.1\r\nHost: test\r\nX", &[byte][..], b"A: v\r\n\r\n"].concat();
            let name = format!("name byte {byte:#04x}");
            match byte {
                // CGI-like servers confuse it with a hyphen, so refusing is allowed.
                b'_' => forwarded(name, input, "200/400"),
                _ if is_tchar(byte) => forwarded(name, input, "200"),
                _ => refused(name, input, "400"),
            }
        })
        .collect();
    run(&rows);
}

#[test]
fn every_byte_in_a_field_value() {
    let rows: Vec<_> = (0..=255u8)
        .map(|byte| {
            let input = [b"GET / HTTP/1.1\r\nHost: test\r\nX-A: a", &[byte][..], b"b\r\n\r\n"].concat();
            let name = format!("value byte {byte:#04x}");
            // RFC 9110 §5.5: field-vchar, SP, HTAB.
            let is_allowed = byte == b'\t' || (byte >= 0x20 && byte != 0x7f);
            if is_allowed { forwarded(name, input, "200") } else { refused(name, input, "400") }
        })
        .collect();
    run(&rows);
}

#[test]
fn every_byte_in_a_length_a_coding_a_host_and_a_version() {
    let places: [(&str, &[u8], &[u8], &str); 4] = [
        ("length", b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: ", b"\r\n\r\n", "400"),
        ("coding", b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked", b"\r\n\r\n0\r\n\r\n", "400/501"),
        ("host", b"GET / HTTP/1.1\r\nHost: te", b"st\r\n\r\n", "400"),
        ("version", b"GET / HTTP/1.1", b"\r\nHost: test\r\n\r\n", "400/505"),
    ];
    let mut rows = Vec::new();
    for (place, before, after, status) in places {
        for byte in 0..=255u8 {
            let is_sound = match place {
                "length" | "version" => false,
                "coding" => b" \t".contains(&byte),
                // Letters, and what a port or an IP literal is made of, are for the table.
                _ => byte.is_ascii_alphanumeric() || b"-._~".contains(&byte),
            };
            // A digit is a sound length that promises a body; RFC 3986 lets a name hold sub-delims and `%`; `:` before
            // letters is a bad port.
            let is_other = match place {
                "length" => byte.is_ascii_digit(),
                "host" => b"!$&'()*+,;=%".contains(&byte),
                _ => false,
            };
            if is_sound || is_other {
                continue;
            }
            let input = [before, &[byte], after].concat();
            rows.push(refused(format!("{place} byte {byte:#04x}"), input, status));
        }
    }
    run(&rows);
}

#[test]
fn every_byte_in_a_chunk_size_and_its_end() {
    let head = b"POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut rows = Vec::new();
    for byte in 0..=255u8 {
        let mut add = |place: &str, body: &[&[u8]]| {
            let input = [&head[..], &body.concat()].concat();
            let name = format!("chunk {place} byte {byte:#04x}");
            rows.push(Row { name, input, answers: answers("400"), reaches: Reaches::Cut });
        };
        if !byte.is_ascii_hexdigit() {
            add("size front", &[&[byte], b"5\r\nhello\r\n0\r\n\r\n"]);
        }
        if !byte.is_ascii_hexdigit() && byte != b';' && byte != b'\r' {
            add("size back", &[b"5", &[byte], b"\r\nhello\r\n0\r\n\r\n"]);
        }
        if byte != b'\r' {
            add("data end", &[b"5\r\nhello", &[byte], b"\n0\r\n\r\n"]);
        }
        if byte != b'\n' {
            add("line end", &[b"5\r", &[byte], b"hello\r\n0\r\n\r\n"]);
            add("body end", &[b"0\r\n\r", &[byte], b"\r\n\r\n"]);
        }
    }
    run(&rows);
}

#[test]
fn every_length_beside_every_coding() {
    let lengths = ["0", "5", "05", "+5", "-1", "5,5", "", "0x5", "5 5", "99999999999999999999"];
    let codings = [
        "chunked",
        "Chunked",
        "chunked, chunked",
        "gzip, chunked",
        "chunked, gzip",
        "identity",
        "xchunked",
        "",
        "\tchunked",
        "chunked\x0b",
        "\"chunked\"",
        "chunked;a=b",
    ];
    let mut rows = Vec::new();
    for version in ["1.1", "1.0"] {
        for length in lengths {
            for coding in codings {
                for is_length_first in [true, false] {
                    let (length_line, coding_line) =
                        (format!("Content-Length: {length}\r\n"), format!("Transfer-Encoding: {coding}\r\n"));
                    let fields = if is_length_first { [length_line, coding_line] } else { [coding_line, length_line] };
                    let input = format!(
                        "POST / HTTP/{version}\r\nHost: test\r\n{}\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n",
                        fields.concat()
                    );
                    let name = format!("HTTP/{version} length {length:?} coding {coding:?} first {is_length_first}");
                    rows.push(refused(name, input.into_bytes(), "400/501"));
                }
            }
        }
    }
    run(&rows);
}

#[test]
fn every_authority_in_the_target_beside_every_host() {
    // RFC 9112 §3.2.2 lets the target win; Pillion refuses what disagrees, so that no two readers can choose apart.
    let authorities = ["test", "other", "test:81", "other:81", "[::1]", "127.0.0.1", "tes", "test.other"];
    let mut rows = Vec::new();
    for target in authorities {
        for host in authorities {
            let input = format!("GET http://{target}/x HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
            let name = format!("target {target} host {host}");
            if target == host {
                let origin_form = format!("GET /x HTTP/1.1\r\nHost: {host}\r\n\r\n");
                let requests = read_all(origin_form.as_bytes()).into_iter().map(|request| Some(normal(request)));
                let reaches = Reaches::Whole(requests.collect());
                rows.push(Row { name, input, answers: answers("200"), reaches });
            } else {
                rows.push(refused(name, input, "400"));
            }
        }
    }
    run(&rows);
}

#[test]
fn heads_beyond_every_limit() {
    let head = "GET / HTTP/1.1\r\nHost: test\r\n";
    let many: String = (0..1000).map(|number| format!("X-{number}: v\r\n")).collect();
    let rows = [
        refused("a thousand fields".to_owned(), format!("{head}{many}\r\n").into_bytes(), "431"),
        refused(
            "a value of 1 MiB".to_owned(),
            format!("{head}X-A: {}\r\n\r\n", "v".repeat(1 << 20)).into_bytes(),
            "431",
        ),
        refused(
            "a name of 1 MiB".to_owned(),
            format!("{head}{}: v\r\n\r\n", "n".repeat(1 << 20)).into_bytes(),
            "431/400",
        ),
        refused(
            "a target of 1 MiB".to_owned(),
            format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "p".repeat(1 << 20)).into_bytes(),
            "414",
        ),
        refused(
            "a query of 1 MiB".to_owned(),
            format!("GET /?{} HTTP/1.1\r\nHost: test\r\n\r\n", "q".repeat(1 << 20)).into_bytes(),
            "414",
        ),
        refused(
            "a method of 1 MiB".to_owned(),
            format!("{} / HTTP/1.1\r\nHost: test\r\n\r\n", "M".repeat(1 << 20)).into_bytes(),
            "400/414/431/501",
        ),
        refused("a line without end".to_owned(), "A".repeat(1 << 20).into_bytes(), "400/414/431/501"),
        refused("a thousand empty lines".to_owned(), "\r\n".repeat(1000).into_bytes(), "400/431"),
        Row {
            name: "a chunk extension of 1 MiB".to_owned(),
            input: format!(
                "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5;{}\r\nhello\r\n0\r\n\r\n",
                "e".repeat(1 << 20)
            )
            .into_bytes(),
            answers: answers("400/413/431"),
            reaches: Reaches::Cut,
        },
        Row {
            name: "a thousand trailers".to_owned(),
            input: format!(
                "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n{many}\r\n"
            )
            .into_bytes(),
            answers: answers("400/413/431"),
            reaches: Reaches::Cut,
        },
        Row {
            name: "a chunk size of a thousand zeros".to_owned(),
            input: format!(
                "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n{}5\r\nhello\r\n0\r\n\r\n",
                "0".repeat(1000)
            )
            .into_bytes(),
            answers: answers("400"),
            reaches: Reaches::Cut,
        },
    ];
    run(&rows);
}

#[test]
fn sound_requests_cut_at_every_byte_into_two_segments() {
    let messages = [
        "POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello",
        "POST /b HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n",
    ];
    let recorder = super::recorder::Recorder::start();
    let proxy = pillion_tests::proxy::Proxy::to(recorder.server.address);
    for message in messages {
        let want = normal(read_all(message.as_bytes()).remove(0));
        for at in 1..message.len() {
            let mut client = proxy.connect();
            client.send(&message[..at]);
            // Long enough, most of the time, for the two to be read apart; the answer is the same when they are not.
            std::thread::sleep(std::time::Duration::from_micros(300));
            client.send(&message[at..]);
            assert_eq!(client.receive_for("POST").status, 200, "cut at {at}");
            match recorder.take().as_slice() {
                [super::recorder::Arrival::Whole(got)] => assert_eq!(normal(got.clone()), want, "cut at {at}"),
                other => panic!("cut at {at}: {other:?}"),
            }
        }
    }
}
