//! Each protocol, generator against origin.

use crate::{assert_all_good, certificates::Certificates, load, origin};

#[test]
fn http1_with_bodies_of_all_sizes_both_ways() {
    let origin = origin("--threads 2");
    let target = origin.listening.http1;
    let outcome = load(&format!(
        "--target {target} --protocol http1 --connections 3 --rate 60 --duration 1 --path /empty --path /a/1k --path \
         /64k?q --path /1m --path /other --expect-bytes 0 --expect-bytes 1024 --expect-bytes 65536 --expect-bytes \
         1048576 --expect-bytes 16 --same-bytes"
    ));
    assert_all_good(&outcome, 60);
    assert_eq!(outcome.bytes_received, 12 * (1024 + 65536 + 1_048_576 + 16));
    let outcome = load(&format!(
        "--target {target} --protocol http1 --connections 3 --rate 60 --duration 1 --body-bytes 100000 --body-bytes 10"
    ));
    assert_all_good(&outcome, 60);
    assert_eq!((outcome.bytes_sent, outcome.bytes_received), (30 * 100_010, 60 * 16));
}

#[test]
fn a_connection_for_each_request() {
    let origin = origin("");
    for (protocol, target) in [("http1", origin.listening.http1), ("http2", origin.listening.http2)] {
        let outcome = load(&format!(
            "--target {target} --protocol {protocol} --connections 2 --rate 50 --duration 1 \
             --new-connection-per-request --expect-bytes 16"
        ));
        assert_all_good(&outcome, 50);
        assert_eq!(outcome.connections_opened, 50, "{protocol}");
    }
}

#[test]
fn http2_and_grpc() {
    let origin = origin("");
    let target = origin.listening.http2;
    let http2 = format!("--target {target} --protocol http2 --connections 2 --streams 4 --rate 60 --duration 1");
    let outcome =
        load(&format!("{http2} --path /1m --path /1k --expect-bytes 1048576 --expect-bytes 1024 --same-bytes"));
    assert_all_good(&outcome, 60);
    let outcome = load(&format!("{http2} --body-bytes 300000 --expect-bytes 16"));
    assert_all_good(&outcome, 60);
    assert_eq!(outcome.bytes_sent, 60 * 300_000);
    // The message comes back with its five bytes before it, in however many pieces it went.
    let grpc = format!("--target {target} --protocol grpc --connections 2 --streams 4 --rate 60 --duration 1");
    for message in [0, 100, 300_000] {
        let outcome = load(&format!("{grpc} --body-bytes {message} --expect-bytes {} --same-bytes", message + 5));
        assert_all_good(&outcome, 60);
    }
}

#[test]
fn tls_with_certificates_on_both_sides() {
    let certificates = Certificates::new();
    let origin = origin(&certificates.options("--cert @/server.pem --key @/server.key --client-ca @/ca.pem"));
    let target = origin.listening.tls.unwrap();
    let run = |protocol: &str, options: &str| {
        let options = certificates.options(options);
        load(&format!("--target {target} --protocol {protocol} --rate 20 --duration 0.5 {options}"))
    };
    let mutual = "--ca @/ca.pem --cert @/client.pem --key @/client.key";
    for protocol in ["tls-http1", "tls-http2"] {
        assert_all_good(&run(protocol, &format!("{mutual} --path /64k --expect-bytes 65536 --same-bytes")), 10);
        let outcome = run(protocol, &format!("{mutual} --new-connection-per-request"));
        assert_all_good(&outcome, 10);
        assert_eq!(outcome.connections_opened, 10);
    }
    assert_all_good(&run("tls-grpc", &format!("{mutual} --body-bytes 10 --expect-bytes 15")), 10);

    // The server's alert comes with the handshake or after it.
    let outcome = run("tls-http1", "--ca @/ca.pem --new-connection-per-request");
    assert_eq!(outcome.requests, 0, "without a certificate: {outcome}");
    assert_eq!(outcome.errors.values().sum::<u64>(), 10, "{outcome}");
    for wrong in [mutual.replace("--ca @/ca.pem", "--ca @/stranger.pem"), format!("{mutual} --server-name other")] {
        let outcome = run("tls-http1", &format!("{wrong} --new-connection-per-request"));
        assert_eq!((outcome.requests, outcome.errors.get("tls")), (0, Some(&10)), "{wrong}: {outcome}");
    }
}

#[test]
fn tcp_messages_and_streams() {
    let origin = origin("");
    let (echo, discard, source) =
        (origin.listening.tcp_echo, origin.listening.tcp_discard, origin.listening.tcp_source);
    let small = format!("--target {echo} --protocol tcp-small --connections 2 --rate 60 --duration 1");
    let outcome = load(&format!("{small} --body-bytes 64 --body-bytes 200000"));
    assert_all_good(&outcome, 60);
    assert_eq!((outcome.bytes_sent, outcome.bytes_received), (30 * 200_064, 30 * 200_064));
    for (direction, target, received, sent) in
        [("download", source, true, false), ("upload", discard, false, true), ("both", echo, true, true)]
    {
        let outcome = load(&format!("--target {target} --protocol tcp-stream --direction {direction} --duration 1"));
        assert_eq!(outcome.errors, Default::default(), "{direction}");
        let moved = (outcome.bytes_received > 0, outcome.bytes_sent > 0);
        assert_eq!(moved, (received, sent), "{direction}: {outcome}");
    }
}

#[test]
fn a_closed_loop_counts_what_it_was_answered() {
    let origin = origin("");
    let outcome = load(&format!("--target {} --protocol http1 --connections 4 --duration 1", origin.listening.http1));
    assert!(outcome.requests > 0, "{outcome}");
    assert_eq!((outcome.latency.count, &outcome.errors), (outcome.requests, &Default::default()));
    assert_eq!((outcome.connections_opened, outcome.send_delay.count), (4, 0));
    assert!(outcome.cpu_seconds > 0.0);
}
