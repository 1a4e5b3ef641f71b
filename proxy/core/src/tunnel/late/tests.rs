//! Who speaks first, and how long is waited for it.

use super::*;
use crate::drain::{Register, Signal};
use pillion_config::model::{NotHttp, Tcp};
use std::sync::Arc;
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

fn any() -> Ear {
    Ear { among: Among::Any, word: None, greets: Instant::now() + REST }
}

fn names() -> Ear {
    Ear { among: Among::Names, ..any() }
}

struct Ends {
    client: DuplexStream,
    downstream: DuplexStream,
    server: DuplexStream,
    upstream: DuplexStream,
    said: Said,
}

fn ends(early: &[u8]) -> Ends {
    let ((client, downstream), (server, upstream)) = (duplex(4096), duplex(4096));
    Ends { client, downstream, server, upstream, said: Said { client: early.into(), ..Said::default() } }
}

async fn word_of(ends: &mut Ends, ear: Ear) -> FirstWord {
    first_word(&mut ends.downstream, (&mut ends.said, ear), &mut ends.upstream, std::future::pending()).await
}

async fn word(ends: &mut Ends) -> FirstWord {
    word_of(ends, any()).await
}

#[tokio::test(start_paused = true)]
async fn a_client_that_speaks_first_is_what_it_says() {
    for (said, is) in [
        (&b"GET / HTTP/1.1\r\n"[..], FirstWord::Known),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", FirstWord::Known),
        (b"\0\0\0\x08", FirstWord::Opaque),
        (b"HELO\n", FirstWord::Opaque),
    ] {
        for cut in (0..said.len()).filter(|&cut| any().may_become_known(&said[..cut])) {
            let mut ends = ends(&said[..cut]);
            ends.client.write_all(&said[cut..]).await.unwrap();
            assert_eq!(word(&mut ends).await, is, "{}", said.escape_ascii());
            assert_eq!(ends.said.client, said);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_names_alone_are_looked_at_tls_is_known_and_all_else_is_opaque() {
    let hello = detect::client_hello::tests::named("api.example.com");
    for cut in 0..hello.len() {
        let mut ends = ends(&hello[..cut]);
        ends.client.write_all(&hello[cut..]).await.unwrap();
        assert_eq!(word_of(&mut ends, names()).await, FirstWord::Known, "{cut}");
        assert_eq!(ends.said.client, hello);
    }
    let mut http = ends(b"");
    http.client.write_all(b"G").await.unwrap();
    assert_eq!(word_of(&mut http, names()).await, FirstWord::Opaque);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_speaks_first_makes_it_opaque_whatever_the_client_began() {
    for begun in [&b""[..], b"GET"] {
        let mut ends = ends(begun);
        ends.server.write_all(b"220 ready\r\n").await.unwrap();
        assert_eq!(word(&mut ends).await, FirstWord::Servers);
        assert_eq!((&ends.said.client[..], &ends.said.server[..]), (begun, &b"220 ready\r\n"[..]));
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_last_call_who_has_said_nothing_goes_and_who_has_begun_may_go_on() {
    let drained = Duration::from_secs(1);
    let register = Register::within(Arc::default(), Arc::default());
    for (silent_for, begun, said, is, after) in [
        (REST, &b""[..], &b""[..], FirstWord::Nobodys, drained + LAST_REQUEST),
        // Its server may be slow to greet.
        (Duration::ZERO, b"", b"", FirstWord::Nobodys, REST),
        (REST / 2, b"", b"", FirstWord::Nobodys, REST / 2),
        (REST, b"", b"GET / HTTP/1.1\r\n", FirstWord::Known, drained + LAST_REQUEST / 2),
        (REST, b"G", b"", FirstWord::Unfinished, REST),
        (REST, b"G", b"ET / HTTP/1.1\r\n", FirstWord::Known, drained + LAST_REQUEST / 2),
    ] {
        let greets = Instant::now() + REST;
        tokio::time::advance(silent_for).await;
        let mut ends = ends(begun);
        let registration = register.enter(0);
        let began = Instant::now();
        let told = async {
            tokio::time::sleep(drained).await;
            registration.control().tell(Signal::Drain);
            tokio::time::sleep(LAST_REQUEST / 2).await;
            ends.client.write_all(said).await.unwrap();
        };
        let word = first_word(
            &mut ends.downstream,
            (&mut ends.said, any()),
            &mut ends.upstream,
            last_call(&registration, greets),
        );
        let (word, ()) = tokio::join!(word, told);
        assert_eq!(word, is, "{} {}", begun.escape_ascii(), said.escape_ascii());
        let (took, accuracy) = (began.elapsed(), Duration::from_millis(5));
        assert!(
            (after..after + accuracy).contains(&took),
            "{} {}: {took:?}",
            begun.escape_ascii(),
            said.escape_ascii()
        );
    }
}

#[test]
fn only_a_server_that_may_be_the_first_to_speak_has_time_to_greet() {
    let began = Instant::now();
    let tcp = Tcp {
        clusters: Vec::new(),
        destinations: Vec::new(),
        server_names: Vec::new(),
        idle_timeout: None,
        detect_timeout: Duration::ZERO,
        server_first: vec![25],
        not_http: NotHttp::Pass,
        filters: None,
    };
    let detect = ListenerProtocol::Detect(tcp.clone());
    assert_eq!([25, 80].map(|port| greets(&detect, port, began) - began), [REST, Duration::ZERO]);
    assert_eq!(greets(&ListenerProtocol::Opaque(tcp), 80, began) - began, REST);
}

#[tokio::test(start_paused = true)]
async fn where_words_pass_those_of_no_usual_method_are_waited_for_no_longer_than_their_time() {
    let time = Duration::from_millis(200);
    let ear = Ear { word: Some(time), ..any() };
    for (begun, is, after) in [
        (&b"JDWP-Handshake"[..], FirstWord::Opaque, time),
        (b"\r\n", FirstWord::Opaque, time),
        (b"GE", FirstWord::Unfinished, REST),
        (b"PRI * HT", FirstWord::Unfinished, REST),
        (b"\x16\x03", FirstWord::Unfinished, REST),
    ] {
        let mut ends = ends(begun);
        let began = Instant::now();
        assert_eq!(word_of(&mut ends, ear).await, is, "{}", begun.escape_ascii());
        assert!((after..after + time).contains(&began.elapsed()), "{}", begun.escape_ascii());
        assert_eq!(ends.said.client, begun);
    }
    // A word may outgrow a method, and what goes on in time is what it becomes.
    for (first, second, is) in [
        (&b"GE"[..], &b"TX"[..], FirstWord::Opaque),
        (b"RUOK", b" / HTTP/1.1\r\n", FirstWord::Known),
        (b"RUOK", b"\0", FirstWord::Opaque),
    ] {
        let mut ends = ends(first);
        let began = Instant::now();
        let Ends { client, .. } = &mut ends;
        let mut client = std::mem::replace(client, duplex(1).0);
        let said = async {
            tokio::time::sleep(time / 2).await;
            client.write_all(second).await.unwrap();
            std::future::pending::<()>().await;
        };
        let word = tokio::select! {
            word = word_of(&mut ends, ear) => word,
            () = said => unreachable!("it waits"),
        };
        assert_eq!(word, is, "{}", second.escape_ascii());
        assert!(began.elapsed() <= time + time / 10);
    }
}

#[tokio::test(start_paused = true)]
async fn silence_lasts_and_what_was_begun_does_not() {
    let mut quiet = ends(b"");
    assert!(tokio::time::timeout(Duration::from_secs(3600), word(&mut quiet)).await.is_err());
    let mut begun = ends(b"G");
    let began = Instant::now();
    assert_eq!(word(&mut begun).await, FirstWord::Unfinished);
    assert!(began.elapsed() >= REST && began.elapsed() < 2 * REST);
    // The end of either side is the copy's to pass on.
    drop(std::mem::replace(&mut quiet.server, duplex(1).0));
    assert_eq!(word(&mut quiet).await, FirstWord::Opaque);
    let mut left = ends(b"");
    drop(std::mem::replace(&mut left.client, duplex(1).0));
    assert_eq!(word(&mut left).await, FirstWord::Opaque);
}

/// The SETTINGS of gRPC's and of Node's servers, an empty one, one with what follows it, and what servers say of silence.
const HTTP_GREETINGS: [&[u8]; 5] = [
    b"\0\0\x12\x04\0\0\0\0\0\0\x04\0\x40\0\0\0\x05\0\x40\0\0\0\x06\0\0\x20\0\0\0\x04\x08\0\0\0\0\0\0\x3f\0\x01",
    b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64",
    b"\0\0\0\x04\0\0\0\0\0",
    b"\0\0\0\x04\x01\0\0\0\0\0\0\x08\x07\0\0\0\0\0",
    b"HTTP/1.1 408 Request Timeout\r\n\r\n",
];

#[tokio::test(start_paused = true)]
async fn a_server_that_greets_as_those_of_http_do_settles_nothing_before_its_client_has_spoken() {
    for greeting in HTTP_GREETINGS {
        for cut in [0, 1, 5, greeting.len() - 1] {
            for (said, is) in [
                (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], FirstWord::Known),
                (b"POST /admin HTTP/1.1\r\n", FirstWord::Known),
                (b"\x01\x02", FirstWord::Opaque),
                (b"QUIT\n", FirstWord::Opaque),
            ] {
                let mut ends = ends(b"");
                ends.server.write_all(&greeting[..cut]).await.unwrap();
                let Ends { client, server, .. } = &mut ends;
                let (mut client, mut server) =
                    (std::mem::replace(client, duplex(1).0), std::mem::replace(server, duplex(1).0));
                let speak = async {
                    tokio::time::sleep(REST / 2).await;
                    server.write_all(&greeting[cut..]).await.unwrap();
                    tokio::time::sleep(6 * REST).await;
                    let (begun, rest) = said.split_at(1);
                    client.write_all(begun).await.unwrap();
                    tokio::time::sleep(REST / 2).await;
                    client.write_all(rest).await.unwrap();
                    std::future::pending::<()>().await;
                };
                let word = tokio::select! {
                    word = word(&mut ends) => word,
                    () = speak => unreachable!("it waits"),
                };
                assert_eq!(word, is, "{} {cut} {}", greeting.escape_ascii(), said.escape_ascii());
                // Both are there to be passed on.
                let heard = if is == FirstWord::Opaque && said[0] == 1 { &said[..1] } else { said };
                assert_eq!((&ends.said.client[..], &ends.said.server[..]), (heard, greeting));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_greeting_that_is_none_of_http_s_is_passed_on_at_once_and_one_that_may_become_one_in_time() {
    for (greeting, after) in [
        // MySQL's, an SMTP server's, SETTINGS of no length that they have, on a stream, and of other flags.
        (&b"\x4a\0\0\0\x0a8.0.36\0"[..], Duration::ZERO),
        (b"220 a\r\n", Duration::ZERO),
        (b"HTTQ/", Duration::ZERO),
        (b"\0\0\x05\x04", Duration::ZERO),
        (b"\0\0\0\x04\0\0\0\0\x01", Duration::ZERO),
        (b"\0\0\0\x04\x02", Duration::ZERO),
        (b"\0\0\0\0", Duration::ZERO),
        (b"\0", REST),
        (b"HTTP", REST),
    ] {
        let mut ends = ends(b"");
        ends.server.write_all(greeting).await.unwrap();
        let began = Instant::now();
        assert_eq!(word(&mut ends).await, FirstWord::Servers, "{}", greeting.escape_ascii());
        assert!((after..after + REST / 10).contains(&began.elapsed()), "{}", greeting.escape_ascii());
        assert_eq!(ends.said.server, greeting);
    }
    // Where nobody asks for HTTP, HTTP's are as all others.
    for greeting in HTTP_GREETINGS {
        let mut ends = ends(b"");
        ends.server.write_all(greeting).await.unwrap();
        assert_eq!(word_of(&mut ends, names()).await, FirstWord::Servers);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_server_of_http_goes_on_to_say_is_left_to_the_kernel_and_its_end_is_passed_on() {
    let greeting = HTTP_GREETINGS[4];
    let mut closes = ends(b"");
    closes.server.write_all(greeting).await.unwrap();
    drop(std::mem::replace(&mut closes.server, duplex(1).0));
    assert_eq!(word(&mut closes).await, FirstWord::Opaque);
    assert_eq!(closes.said.server, greeting);
    let mut talks = ends(b"");
    let (server, upstream) = duplex(1 << 20);
    (talks.server, talks.upstream) = (server, upstream);
    talks.server.write_all(&[greeting, &[b'x'; 1 << 19]].concat()).await.unwrap();
    assert!(tokio::time::timeout(6 * REST, word(&mut talks)).await.is_err());
    assert!(talks.said.server.len() < 2 * READ, "{}", talks.said.server.len());
    // A word that might be a method is no other's where a server of HTTP waits for one.
    let mut begun = ends(b"PROPF");
    begun.server.write_all(greeting).await.unwrap();
    let ear = Ear { word: Some(Duration::from_millis(200)), ..any() };
    assert_eq!(word_of(&mut begun, ear).await, FirstWord::Unfinished);
}
