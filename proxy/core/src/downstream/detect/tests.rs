//! What first bytes are taken for, cut wherever they may be.

use super::*;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt;

#[test]
fn every_proper_prefix_of_the_preface_asks_for_more() {
    for end in 0..PREFACE.len() {
        assert_eq!(decide(&PREFACE[..end], Among::Http), Verdict::More, "{end} bytes");
        assert_eq!(decide(&PREFACE[..end], Among::Any), Verdict::More, "{end} bytes");
    }
    assert_eq!(decide(PREFACE, Among::Http), Verdict::Http2);
    assert_eq!(decide(PREFACE, Among::Any), Verdict::Http2);
}

#[test]
fn one_byte_that_differs_is_http1() {
    for at in 0..PREFACE.len() {
        let mut bytes = PREFACE.to_vec();
        bytes[at] ^= 1;
        assert_eq!(decide(&bytes, Among::Http), Verdict::Http1, "byte {at}");
        assert_eq!(decide(&bytes[..=at], Among::Http), Verdict::Http1, "byte {at}, cut behind it");
    }
    assert_eq!(decide(b"PUT / HTTP/1.1\r\n", Among::Http), Verdict::Http1);
}

#[test]
fn where_only_http_is_spoken_two_bytes_tell_tls() {
    let http = |bytes: &[u8]| decide(bytes, Among::Http);
    assert_eq!(http(&[0x16]), Verdict::More);
    for version in 0..=4 {
        assert_eq!(http(&[0x16, 0x03, version, 0x02, 0x00, 0x01]), Verdict::Tls(None));
    }
    assert_eq!(http(&[0x16, 0x04]), Verdict::Http1);
    assert_eq!(http(b"\x16GET / HTTP/1.1\r\n"), Verdict::Http1);
}

#[test]
fn http1_is_told_from_protocols_that_look_like_it() {
    for (http, known) in [
        ("OPTIONS * HTTP/1.0\r\n\r\n", "OPTIONS * HTTP/"),
        ("GET x HTTP/01.1\r\n", "GET x H"),
        ("REPORT /a http/9\r\n", "REPORT /"),
        // What some servers answer, whatever protocol's version it has.
        ("GET * RTSP/1.0\r\n", "GET * "),
        ("POST a b\r\n", "POST a b"),
        ("GET HTTP://a/b\r\n", "GET HTTP:"),
        // A path behind capitals, as methods of WebDAV, SSDP and UPnP are written.
        ("PROPFIND /admin\r\n", "PROPFIND /"),
        ("M-SEARCH \t/admin\n", "M-SEARCH \t/"),
        ("REPORT /a RTSP/2.0\r\n", "REPORT /"),
        ("SOURCE /a ICE/1.0\r\n", "SOURCE /"),
        ("PURGE /a\0b HTTP/1.1\r\n", "PURGE /"),
        ("PROPFIND foo://a/admin\r\n", "PROPFIND foo://"),
        // A path, or a URL, before any protocol's version.
        ("propfind /admin RTSP/1.0\r\n", "propfind /admin RTSP/1.0"),
        ("Get /admin ice/1.1\r\n", "Get /admin ice/1.1"),
        ("Propfind wss://a/b RTSP/1.0\r\n", "Propfind wss://a/b RTSP/1.0"),
        // URLs of another scheme, and all that there is.
        ("GET wss://a/admin\r\n", "GET wss://"),
        ("POST FILE:///admin\r\n", "POST FILE://"),
        ("GET a+b-1.c://a/admin\r\n", "GET a+b-1.c://"),
        ("GET rtsp://a/admin\r\n", "GET rtsp://"),
        ("OPTIONS foo://a/b\r\n", "OPTIONS foo://"),
        ("CONNECT ws://a\r\n", "CONNECT ws://"),
        ("GET *\r\n", "GET *\r"),
        ("DELETE *\n", "DELETE *\n"),
        ("HEAD \t* \n", "HEAD \t* "),
        ("OPTIONS https://a/b RTSP/1.0\r\n", "OPTIONS https:"),
        ("CONNECT a:443 HTTP/2.0\r\n", "CONNECT a:443 HTTP/"),
        ("M-SEARCH http://a/ HTTP/1.1\r\n", "M-SEARCH http://"),
        ("DESCRIBE rtsp://a/ HTTP/1.1\r\n", "DESCRIBE rtsp://a/ HTTP/"),
        ("REPORT /a HTTP/1.1\r\n", "REPORT /"),
        ("GET / HTTP/1.1\r\n", "GET /"),
        // What the guard refuses, and lenient servers would not.
        ("\r\n\n \tPOST\t/a\tHTTP/1.1\r\n", "\r\n\n \tPOST\t/"),
        ("GET /\r\n", "GET /"),
        ("GET \t /a HTTP/1.1\r\n", "GET \t /"),
        ("GET / http/1.1\r\n", "GET /"),
        ("GET / HTTP/2.0\r\n", "GET /"),
        ("XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX / HTTP/1.1\r\n", "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX /"),
        ("XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX * HTTP/1.1\r\n", "XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX * HTTP/"),
        (
            "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ * HTTP/1.0\r\n",
            "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ * HTTP/",
        ),
    ] {
        assert_eq!(decide(http.as_bytes(), Among::Any), Verdict::Http1, "{http}");
        for end in 0..known.len() {
            assert_eq!(decide(&http.as_bytes()[..end], Among::Any), Verdict::More, "{:?}", &http[..end]);
        }
        assert_eq!(decide(known.as_bytes(), Among::Any), Verdict::Http1, "{known}");
    }
    for other in [
        &b"EHLO mail.example.com\r\n"[..],
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"USER anonymous\r\n",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"*3\r\n$3\r\nSET\r\n",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"OPTIONS rtsp://a/ RTSP/1.0\r\n",
        b"OPTIONS * RTSP/1.0\r\n",
        b"GET key\r\n",
        b"get /\r\n",
        b"get /key\r\n",
        b"get /one two /three\r\n",
        b"gets /key RTSP/\r\n",
        b"set /key 0 0 5\r\n",
        b"put 10 0 60 5\r\n",
        b"SET key value\r\n",
        b"KEYS *\r\n",
        b"GET urn:key\r\n",
        b"GET a:b://c\r\n",
        b"GET *key\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"OPTIONS *\r\n",
        b"OPTIONS *  RTSP/1.0\r\n",
        b"OPTIONS RTSPU://a/ RTSP/1.0\r\n",
        b"OPTIONS icap://a/reqmod ICAP/1.0\r\n",
        b"REQMOD icap://a/reqmod ICAP/1.0\r\n",
        b"DESCRIBE rtsp://a/b RTSP/1.0\r\n",
        b"INVITE sip:a@example.com SIP/2.0\r\n",
        b"OPTIONS sip:a@example.com SIP/2.0\r\n",
        b"REGISTER sips:example.com SIP/2.0\r\n",
        b"CONNECT\naccept-version:1.2\nhost:/\n\n\0",
        b"STOMP\naccept-version:1.2\n",
        b"NICK a\r\n",
        b"USER a 0 * :/a RTSP/1.0\r\n",
        b"CAP LS 302\r\n",
        b"HELO a\r\n",
        b"A001 LOGIN a b\r\n",
        b"a1 SELECT /box\r\n",
        b"APOP a c4c9334bac560ecc979e58001b3e22fb\r\n",
        b"INFO {\"server_id\":\"/\"}\r\n",
        b"SUB a.> 1\r\n",
        b"/selector\r\n",
        b"/W a\r\n",
        b"0033git-upload-pack /a.git\0host=a\0",
        b"MEAS\r/VOLT\r",
        b"SET url http://a/\r\n",
        b"CONNECT {\"verbose\": false, \"pedantic\": false}\r\n",
        b"GET http\r\n",
        // iperf3's cookie, and git's first line: longer than most methods, and no request's.
        b"q2xkz6wvmbpjgnr3htcydf5aslu4e7oi6qxv\0",
        b"003egit-upload-pack-of-a-very-long-name /site.git\0host=example.com\0",
        b"SSH-2.0-OpenSSH_9.6p1.of.a.very.long.name Ubuntu-3ubuntu13.5\r\n",
        b"XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX\r\n",
    ] {
        assert_eq!(decide(other, Among::Any), Verdict::Opaque, "{}", other.escape_ascii());
    }
    let long = [&b"REPORT /"[..], &[b'a'; MAX_LINE]].concat();
    assert_eq!(decide(&long, Among::Any), Verdict::Http1, "the guard says that it is too long");
    let method = [&[b'X'; MAX_LINE - 1][..], b" / HTTP/1.1\r\n"].concat();
    assert_eq!(decide(&method[..MAX_LINE], Among::Any), Verdict::More);
    assert_eq!(decide(&method, Among::Any), Verdict::Http1);
    assert_eq!(decide(&[b'X'; MAX_LINE], Among::Any), Verdict::More);
    assert_eq!(decide(&[b'X'; MAX_LINE + 1], Among::Any), Verdict::Http1, "so is this");
    assert_eq!(decide(&[b'\n'; MAX_LINE], Among::Any), Verdict::More);
    assert_eq!(decide(&[b'\n'; MAX_LINE + 1], Among::Any), Verdict::Http1);
}

#[test]
fn all_that_a_lenient_server_takes_for_white_space_is_white_space_beside_a_method() {
    for &white in b"\x0b\x0c\r\x1c\x1d\x1e\x1f\x85\xa0" {
        for line in
            [&b"_GET /admin HTTP/1.1\r\n"[..], b"GET_/admin HTTP/1.1\r\n", b" _ GET _ /admin", b"GET /admin_HTTP/1.1"]
                .into_iter()
                .chain([
                    &b"GET_admin HTTP/1.1"[..],
                    b"GET admin_HTTP/1.1",
                    b"GET admin _ HTTP/1.1",
                    b"OPTIONS *_HTTP/1.1",
                ])
        {
            let line: Vec<u8> = line.iter().map(|&byte| if byte == b'_' { white } else { byte }).collect();
            assert_eq!(decide(&line, Among::Any), Verdict::Http1, "{}", line.escape_ascii());
            for end in 0..line.len() {
                let early = decide(&line[..end], Among::Any);
                assert!(early == Verdict::More || early == Verdict::Http1, "{}", line[..end].escape_ascii());
            }
        }
        assert!(is_usual(&[white, b'G', b'E', b'T', white]));
    }
    assert_eq!(decide(b"PROPFIND\x0c/a\xa0HTTP/1.1", Among::Any), Verdict::Http1);
    assert_eq!(
        decide("REPORT /\u{e0}b HTTP/1.1".as_bytes(), Among::Any),
        Verdict::Http1,
        "no space within a character"
    );
    for other in [
        &b"get foo\r\n"[..],
        b"GET foo\r\n",
        b"GET\r\n",
        b"\x0bMSH|^~\\&|A|B\r",
        b"MEAS VOLT\r",
        b"PING\r",
        b"\x1c\0\0\0",
        b"\x1f\x8b\x08",
        b"\0\x0bGET /",
        b"\x85\x0b\xa0EHLO a\r\n",
    ] {
        assert_eq!(decide(other, Among::Any), Verdict::Opaque, "{}", other.escape_ascii());
    }
}

#[test]
fn what_has_begun_is_no_silence_and_may_still_become_something() {
    let hello = client_hello::tests::named("api.example.com");
    for (whole, known) in [
        (&b"GET / HTTP/1.1\r\n"[..], "GET /".len()),
        (b"\r\nREPORT /a HTTP/1.1\r\n", "\r\nREPORT /".len()),
        (PREFACE, PREFACE.len()),
        (&hello, hello.len()),
    ] {
        assert!(!has_begun(b""));
        for end in 1..=whole.len() {
            assert_eq!(has_begun(&whole[..end]), end < known, "{} of {}", end, whole.escape_ascii());
        }
    }
    assert!(!has_begun(b"\x01") && !has_begun(b"EHLO a\r\n"));
}

proptest! {
    #[test]
    fn a_token_a_target_and_a_version_are_a_request_whatever_their_length(
        method in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}",
        target in "[!-~]{1,40}",
    ) {
        let line = format!("{method} {target} HTTP/1.1\r\n");
        let known = line.len() - "1.1\r\n".len();
        prop_assert_eq!(decide(line.as_bytes(), Among::Any), Verdict::Http1);
        prop_assert_eq!(decide(&line.as_bytes()[..known], Among::Any), Verdict::Http1);
        for end in 0..known {
            let early = decide(&line.as_bytes()[..end], Among::Any);
            // With a known method and a path behind it the version need not be waited for.
            prop_assert!(early == Verdict::More || early == Verdict::Http1, "{end}: {early:?}");
        }
    }

    #[test]
    fn a_decision_stands(start in 0u8..18, bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let long: &[u8] = b"XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX";
        let start: &[u8] = [
            &b""[..],
            b"\r\nGET ",
            b"TRACED /x",
            b"PRI * HT",
            &[22, 3, 1, 0, 9, 1],
            long,
            b"\x0cGET\xa0",
            b"GET a\x1cHTT",
            b"REPORT\x85a\r",
            b"GET hTt",
            b"POST a ",
            b"SET a hT",
            b"OPTIONS * ",
            b"PURGE\x85/",
            b"get /a RTSP/1",
            b"Get wss://a ICE",
            b"OPTIONS ic",
            b"GET *",
        ][usize::from(start)];
        let bytes = [start, &bytes].concat();
        for among in [Among::Http, Among::Any, Among::Names] {
            let whole = decide(&bytes, among);
            for end in 0..bytes.len() {
                let early = decide(&bytes[..end], among);
                prop_assert!(early == Verdict::More || early == whole, "{among:?} {end}");
            }
        }
    }
}

proptest! {
    #[test]
    fn a_decision_on_words_stands(words in proptest::collection::vec(proptest::sample::select(&[
        "GET", "OPTIONS", "CONNECT", "PURGE", "get", "*", "/", "/a", "foo://a", "rtsp://a", "http", "a:", "HTTP/1", "RTSP/1.", "ice/1.0", ".0",
        " ", " ", " ", "\t", "\r", "\n", "\r\n", "\x0b", "\u{85}", "\0", "x",
    ][..]), 0..9)) {
        let text = words.concat();
        let latin1: Vec<u8> = text.chars().map(|char| char as u8).collect();
        for bytes in [text.as_bytes(), &latin1] {
            let whole = decide(bytes, Among::Any);
            for end in 0..bytes.len() {
                let early = decide(&bytes[..end], Among::Any);
                prop_assert!(early == Verdict::More || early == whole, "{} {end} {early:?} {whole:?}", bytes.escape_ascii());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_hello_that_has_begun_is_waited_for_and_silence_is_not() {
    let deadline = Duration::from_millis(200);
    let hello = client_hello::tests::named("api.example.com");
    for (among, cut) in [(Among::Names, 1), (Among::Names, 100), (Among::Any, 3), (Among::Any, hello.len() - 1)] {
        let (mut client, server) = tokio::io::duplex(4096);
        let mut socket = Socket::Memory(server);
        let control = Control::default();
        let reading = async { first_bytes(&mut socket, Bytes::new(), among, deadline, &control).await };
        let writing = async {
            client.write_all(&hello[..cut]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(3)).await;
            client.write_all(&hello[cut..]).await.unwrap();
        };
        let (detected, ()) = tokio::join!(reading, writing);
        let name = Some("api.example.com");
        assert!(
            matches!(&detected, Detected::Tls(bytes, asked) if bytes == &hello && asked.as_deref() == name),
            "{among:?}, cut behind {cut}: {detected:?}"
        );
        // One whose rest never comes goes nowhere; one that says nothing is opaque, the sooner the longer it was waited for before.
        client.write_all(&hello[..cut]).await.unwrap();
        let began = tokio::time::Instant::now();
        let detected = first_bytes(&mut socket, Bytes::new(), among, deadline, &control).await;
        assert!(matches!(detected, Detected::TimedOut), "{detected:?}");
        assert!(began.elapsed() >= HELLO_TIMEOUT);
        for left in [deadline, Duration::ZERO] {
            let began = tokio::time::Instant::now();
            let detected = first_bytes(&mut socket, Bytes::new(), among, left, &control).await;
            assert!(matches!(detected, Detected::Opaque(_, Heard::TooLittle)), "{detected:?}");
            assert!(began.elapsed() <= deadline + Duration::from_millis(1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_in_pieces_are_kept_and_silence_ends() {
    let (mut client, server) = tokio::io::duplex(256);
    let mut socket = Socket::Memory(server);
    let reading = async {
        first_bytes(&mut socket, Bytes::new(), Among::Http, Duration::from_secs(10), &Control::default()).await
    };
    let writing = async {
        for piece in PREFACE.chunks(5) {
            client.write_all(piece).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    let (detected, ()) = tokio::join!(reading, writing);
    assert!(matches!(detected, Detected::Http2(bytes) if bytes == PREFACE));

    let silent =
        first_bytes(&mut socket, Bytes::new(), Among::Http, Duration::from_secs(10), &Control::default()).await;
    assert!(matches!(silent, Detected::TimedOut));
    drop(client);
    assert!(matches!(
        first_bytes(&mut socket, Bytes::new(), Among::Http, Duration::from_secs(10), &Control::default()).await,
        Detected::Closed
    ));
}

#[test]
fn a_usual_method_is_told_from_a_word_that_might_be_one() {
    for begun in
        ["G", "GET", "GET ", "GET \t ", "\r\n PO", "DELETE", "P", "PRI", "PRI * HTTP/2.0\r\n", "\x16", "\x16\x03\x01"]
    {
        assert!(is_usual(begun.as_bytes()), "{begun:?}");
        assert!(has_begun(begun.as_bytes()), "{begun:?}");
    }
    for begun in ["\r\n", " ", "ruok", "JDWP-Handshake", "+", "GETX", "GE ", "get", "PRIX", "REPORT ", "report /a"] {
        assert!(!is_usual(begun.as_bytes()), "{begun:?}");
        assert!(has_begun(begun.as_bytes()), "{begun:?}");
    }
}
