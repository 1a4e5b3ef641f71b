//! Clients people have: curl, h2load, nghttp, WebSocket, gRPC, through Pillion to nginx and servers in Python.

use pillion_tests::{
    need,
    nginx::{BIG, Nginx},
    origin::{Origin, pattern},
    port,
    proxy::{Proxy, Shape},
    python, some_or_return,
    tempdir::TempDir,
};
use std::{
    fs,
    process::{Command, Output},
};

fn run(program: &str, package: &str, arguments: &[&str]) -> Option<Output> {
    let path = need::program(program, package)?;
    Some(Command::new(path).args(arguments).output().unwrap_or_else(|error| panic!("{program} does not run: {error}")))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Panics unless h2load had every request answered with 2xx.
fn assert_h2load(output: &Output, count: usize) {
    let text = text(output);
    let wanted =
        format!("{count} total, {count} started, {count} done, {count} succeeded, 0 failed, 0 errored, 0 timeout");
    assert!(text.contains(&wanted), "{text}");
    assert!(text.contains(&format!("{count} 2xx, 0 3xx, 0 4xx, 0 5xx")), "{text}");
}

#[test]
fn curl_by_http1_gets_nginx_pages() {
    let nginx = some_or_return!(Nginx::start(1000));
    let proxy = Proxy::to(nginx.address);
    let url = format!("http://{}", proxy.address);
    let output = some_or_return!(run("curl", "curl", &["-sS", "--http1.1", "-i", &url]));
    assert!(text(&output).starts_with("HTTP/1.1 200"), "{}", text(&output));
    assert!(text(&output).ends_with("hello from nginx\n"), "{}", text(&output));
    let output = some_or_return!(run("curl", "curl", &["-sS", "-I", &format!("{url}/big.bin")]));
    assert!(text(&output).to_ascii_lowercase().contains(&format!("content-length: {BIG}")), "{}", text(&output));
    let output = some_or_return!(run("curl", "curl", &["-sS", "-i", &format!("{url}/empty")]));
    assert!(text(&output).starts_with("HTTP/1.1 204"), "{}", text(&output));
    let output = some_or_return!(run("curl", "curl", &["-sS", "-i", &format!("{url}/moved")]));
    assert!(text(&output).starts_with("HTTP/1.1 301"), "{}", text(&output));
}

#[test]
fn curl_by_http2_prior_knowledge_gets_nginx_pages() {
    let nginx = some_or_return!(Nginx::start(1000));
    let proxy = Proxy::to(nginx.address);
    let url = format!("http://{}", proxy.address);
    let output = some_or_return!(run("curl", "curl", &["-sS", "--http2-prior-knowledge", "-i", &url]));
    assert!(text(&output).starts_with("HTTP/2 200"), "{}", text(&output));
    assert!(text(&output).ends_with("hello from nginx\n"), "{}", text(&output));
}

#[test]
fn curl_downloads_ten_mebibytes_unchanged_by_both_protocols() {
    let nginx = some_or_return!(Nginx::start(1000));
    let proxy = Proxy::to(nginx.address);
    let dir = TempDir::new();
    let url = format!("http://{}/big.bin", proxy.address);
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        let file = dir.path().join("big");
        let name = file.display().to_string();
        let output = some_or_return!(run("curl", "curl", &["-sS", protocol, "-o", &name, &url]));
        assert!(output.status.success(), "{}", text(&output));
        let got = fs::read(&file).expect("curl wrote the file");
        assert_eq!(got.len(), BIG);
        assert!(got == pattern(0, BIG), "{protocol}: the bytes differ");
    }
}

#[test]
fn curl_uploads_with_expect_by_both_protocols() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let dir = TempDir::new();
    let body = pattern(0, 3 << 20);
    let file = format!("@{}", dir.write("body", &body).display());
    let url = format!("http://{}/echo", proxy.address);
    for protocol in ["--http1.1", "--http2-prior-knowledge"] {
        let arguments = ["-sS", "-m", "20", protocol, "-H", "Expect: 100-continue", "--data-binary", &file, &url];
        let output = some_or_return!(run("curl", "curl", &arguments));
        assert!(output.status.success(), "{}", text(&output));
        assert!(output.stdout == body, "{protocol}: {} bytes came back", output.stdout.len());
    }
}

#[test]
fn h2load_by_http1_has_no_errors() {
    let nginx = some_or_return!(Nginx::start(1_000_000));
    let proxy = Proxy::to(nginx.address);
    let url = format!("http://{}/load", proxy.address);
    let arguments = ["--h1", "-n", "5000", "-c", "16", "-t", "1", &url];
    assert_h2load(&some_or_return!(run("h2load", "nghttp2-client", &arguments)), 5000);
}

#[test]
fn h2load_by_http2_has_no_errors() {
    let nginx = some_or_return!(Nginx::start(1_000_000));
    let proxy = Proxy::to(nginx.address);
    let url = format!("http://{}/load", proxy.address);
    let arguments = ["-n", "5000", "-c", "8", "-m", "16", "-t", "1", &url];
    assert_h2load(&some_or_return!(run("h2load", "nghttp2-client", &arguments)), 5000);
}

#[test]
fn h2load_by_http2_to_http2_has_no_errors() {
    let origin = Origin::start();
    let proxy = Shape { cluster: "protocol: http2", ..Shape::default() }.start(origin.address);
    let url = format!("http://{}/status/200", proxy.address);
    let arguments = ["-n", "3000", "-c", "8", "-m", "16", "-t", "1", &url];
    assert_h2load(&some_or_return!(run("h2load", "nghttp2-client", &arguments)), 3000);
    assert!(origin.connections() < 50, "{} connections for 3000 requests", origin.connections());
}

#[test]
fn h2load_posts_have_no_errors() {
    let origin = Origin::start();
    let proxy = Proxy::to(origin.address);
    let dir = TempDir::new();
    let body = dir.write("body", pattern(0, 2000)).display().to_string();
    let url = format!("http://{}/sink", proxy.address);
    for protocol in [&["--h1"][..], &["-m", "8"]] {
        let arguments = [protocol, &["-n", "1000", "-c", "8", "-t", "1", "-d", &body, &url]].concat();
        assert_h2load(&some_or_return!(run("h2load", "nghttp2-client", &arguments)), 1000);
    }
}

#[test]
fn nghttp_gets_a_page_and_its_headers() {
    let nginx = some_or_return!(Nginx::start(1000));
    let proxy = Proxy::to(nginx.address);
    let url = format!("http://{}/", proxy.address);
    let output = some_or_return!(run("nghttp", "nghttp2-client", &["-v", &url]));
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains(":status: 200") && text.contains("hello from nginx"), "{text}");
    assert!(!text.contains("connection: ") && !text.contains("transfer-encoding: "), "{text}");
}

#[test]
fn a_websocket_client_talks_through_http1() {
    let server = some_or_return!(python::Server::start("websocket_server", &[]));
    let proxy = Proxy::to(server.address);
    let output = some_or_return!(python::run("websocket_client", &[&proxy.address.to_string()]));
    assert!(output.status.success(), "{}", text(&output));
}

/// Runs one check of the gRPC client against a gRPC server behind a proxy whose cluster speaks HTTP/2.
fn grpc(check: &str) {
    let server = some_or_return!(python::Server::start("grpc_server", &[]));
    let proxy = Shape { cluster: "protocol: http2", ..Shape::default() }.start(server.address);
    let output = some_or_return!(python::run("grpc_client", &[&proxy.address.to_string(), check]));
    assert!(output.status.success(), "{}", text(&output));
}

/// As a sidecar finds out of the application beside it.
#[test]
fn a_grpc_server_is_found_to_speak_http2() {
    let server = some_or_return!(python::Server::start("grpc_server", &[]));
    let proxy = Shape { cluster: "protocol: same-as-downstream", ..Shape::default() }.start(server.address);
    for check in ["unary", "bidi", "error"] {
        let output = some_or_return!(python::run("grpc_client", &[&proxy.address.to_string(), check]));
        assert!(output.status.success(), "{check}: {}", text(&output));
    }
    assert_eq!(proxy.metrics().sum("pillion_connect_failures_total", &[]), 0.0);
}

#[test]
fn grpc_unary_keeps_metadata_and_trailers() {
    grpc("unary");
}

#[test]
fn grpc_unary_carries_megabytes() {
    grpc("large");
}

#[test]
fn grpc_client_streaming_works() {
    grpc("client");
}

#[test]
fn grpc_server_streaming_works() {
    grpc("server");
}

#[test]
fn grpc_bidirectional_streaming_holds_nothing_back() {
    grpc("bidi");
}

#[test]
fn grpc_errors_arrive_with_code_and_message() {
    grpc("error");
}

#[test]
fn grpc_unknown_methods_are_unimplemented() {
    grpc("unknown");
}

#[test]
fn grpc_deadlines_are_honoured() {
    grpc("deadline");
}

#[test]
fn grpc_to_nobody_is_unavailable_in_grpcs_own_words() {
    let proxy = Shape { cluster: "protocol: http2", ..Shape::default() }.start(port::free());
    let output = some_or_return!(python::run("grpc_client", &[&proxy.address.to_string(), "unavailable"]));
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn grpc_works_where_the_cluster_speaks_as_downstream_does() {
    let server = some_or_return!(python::Server::start("grpc_server", &[]));
    let proxy = Shape { cluster: "protocol: same-as-downstream", ..Shape::default() }.start(server.address);
    let output = some_or_return!(python::run("grpc_client", &[&proxy.address.to_string(), "bidi"]));
    assert!(output.status.success(), "{}", text(&output));
}
